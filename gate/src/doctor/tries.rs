//! Calls that are made only to see whether they may be made.
//!
//! Reads are made of what is there. A write is made only in a form that certainly has no effect, for each of which the
//! reason stands beside it; a write without such a form is not made.

use policies::Stage;

use super::facts::{Facts, Found};
use super::finding::Area;
use super::ledger::About;
use super::measured::reads_cloudwatch;
use super::policy::Judged;
use super::{Finding, Level, Patient, Visit, together};
use crate::aws::codedeploy::{DeploymentTarget, EcsTarget, GroupFacts};
use crate::aws::pipelines::Approval;
use crate::aws::{Call, Failure, Place};
use crate::intake::queue::region_of;
use crate::shell::Doing;

/// A deployment of the form that CodeDeploy gives ids, and that it gave to none.
const NO_DEPLOYMENT: &str = "d-000000000";
/// CodeDeploy's tokens are encrypted by itself; this is none.
const NO_TOKEN: &str = "gate-doctor";
/// The last part of a service deployment's ARN, and of a revision's.
const NO_SERVICE_DEPLOYMENT: &str = "0000000000000000000000";
const NO_PAUSE: &str = "ecs-pause-gate-doctor";
/// A job's id, and an approval's token, are random UUIDs: never this one.
const NO_UUID: &str = "00000000-0000-0000-0000-000000000000";
/// SQS makes receipts by itself; this is none.
const NO_RECEIPT: &str = "gate-doctor";
/// A target group that nobody has, to see whether they may be asked for at all.
const NO_TARGET_GROUP: &str = "gate-doctor-none";
/// An alarm that nobody has.
const NO_ALARM: &str = "gate-doctor-none";
/// What a task set's tasks name, where none is known.
const NO_TASK_SET: &str = "ecs-svc/0000000000000000000";
/// Manual approvals of a pipeline that are tried: each is a permission of its own.
const APPROVALS_MAX: usize = 5;

type Trying<'a> = Vec<Doing<'a, Vec<Finding>>>;

pub(super) async fn make(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Finding> {
    let mut work: Trying<'_> = Vec::new();
    match &facts.found {
        Found::Group(group) => of_group(visit, facts, group, &mut work),
        Found::Service(_) => of_service(visit, facts, &mut work),
        Found::Pipeline(_) => of_pipeline(visit, facts, &mut work),
        // A role that may not read how it is set up may have all that the daemon needs.
        Found::Unread => match &visit.patient {
            Patient::Group { .. } => of_codedeploy(visit, facts, &mut work),
            Patient::Service { .. } => of_service(visit, facts, &mut work),
            Patient::Pipeline { .. } => {}
        },
        Found::Nothing => {}
    }
    if let Some(queue) = &visit.settings.intake.queue {
        work.push(Box::pin(of_queue(visit, queue)));
    }
    if reads_cloudwatch(judged) {
        work.push(Box::pin(async {
            let names = [NO_ALARM.to_owned()];
            let reply = visit.aws.alarms(&names);
            noted(visit.ask_about(About::Invented, &[Call::DescribeAlarms], reply).await)
        }));
    }
    together(work).await.into_iter().flatten().collect()
}

/// What matters of it is in the notes.
fn noted<T, E>(result: Result<T, E>) -> Vec<Finding> {
    drop(result);
    Vec::new()
}

/// What is asked of CodeDeploy, whatever it deploys to.
fn of_codedeploy<'a>(visit: &'a Visit, facts: &'a Facts, work: &mut Trying<'a>) {
    let aws = visit.aws.as_ref();
    let over = facts.last.as_ref().filter(|last| last.is_over());
    work.push(Box::pin(async move {
        // No event is meant by what is no token of CodeDeploy's. A deployment that is over has none that waits, and
        // shows what is scoped to its group; one under way is left alone.
        let (id, about) = match over {
            Some(last) => (last.id.as_str(), About::Real),
            None => (NO_DEPLOYMENT, About::Invented),
        };
        let call = [Call::PutLifecycleEventHookExecutionStatus];
        noted(visit.ask_about(about, &call, aws.answer_hook(id, NO_TOKEN, false)).await)
    }));
    work.push(Box::pin(async move {
        // There is no such deployment to go on with.
        let reply = aws.end_ready_wait(NO_DEPLOYMENT);
        noted(visit.ask_about(About::Invented, &[Call::ContinueDeployment], reply).await)
    }));
    work.push(Box::pin(async move {
        // There is no such deployment to stop.
        let reply = aws.stop_with_rollback(NO_DEPLOYMENT);
        noted(visit.ask_about(About::Invented, &[Call::StopDeployment], reply).await)
    }));
    if facts.last.is_none() {
        let targets = [Call::ListDeploymentTargets, Call::BatchGetDeploymentTargets];
        work.push(Box::pin(async move {
            let reply = aws.deployment(NO_DEPLOYMENT);
            noted(visit.ask_about(About::Invented, &[Call::GetDeployment], reply).await)
        }));
        work.push(Box::pin(async move {
            let reply = aws.deployment_target(NO_DEPLOYMENT);
            noted(visit.ask_about(About::Invented, &targets, reply).await)
        }));
    }
    if let Patient::Group { application, group: name } = &visit.patient {
        work.push(Box::pin(async move {
            let reply = aws.ready_deployments(application, name);
            noted(visit.ask(&[Call::ListDeployments], reply).await)
        }));
    }
}

fn of_group<'a>(visit: &'a Visit, facts: &'a Facts, group: &'a GroupFacts, work: &mut Trying<'a>) {
    let aws = visit.aws.as_ref();
    of_codedeploy(visit, facts, work);
    if let Some(config) = &group.config {
        work.push(Box::pin(async move {
            noted(visit.ask(&[Call::GetDeploymentConfig], aws.shift(config)).await)
        }));
    }
    let target = facts.last.as_ref().and_then(|last| last.target.as_ref());
    match target {
        Some(DeploymentTarget::Function(target)) => {
            work.push(Box::pin(async move {
                let reply = aws.alias(&target.function, &target.alias);
                noted(visit.ask(&[Call::GetAlias], reply).await)
            }));
            let version = target.target_version.as_deref().or(target.current_version.as_deref());
            let version = version.unwrap_or("$LATEST");
            let qualified = format!("{}:{version}", target.function);
            work.push(Box::pin(async move {
                // A dry run is Lambda's own way to ask this: nothing runs.
                noted(visit.ask(&[Call::Invoke], aws.may_invoke(&qualified)).await)
            }));
        }
        Some(DeploymentTarget::Ecs(target)) => tasks(visit, facts, Some(target), work),
        None if group.platform == "ECS" => tasks(visit, facts, None, work),
        None => {}
    }
    if group.platform == "ECS" {
        balancing(visit, facts, work);
    }
}

/// What is asked of ECS about the tasks of a deployment.
fn tasks<'a>(
    visit: &'a Visit,
    facts: &'a Facts,
    target: Option<&'a EcsTarget>,
    work: &mut Trying<'a>,
) {
    let aws = visit.aws.as_ref();
    let Some((cluster, service)) = facts.deployment.service.split_once(':') else { return };
    let set = target.and_then(|target| target.task_sets.first());
    let set = set.map_or(NO_TASK_SET, |set| set.id.as_str());
    work.push(Box::pin(async move {
        // Of no tasks none are described.
        match visit.ask(&[Call::ListTasks], aws.tasks(cluster, service, false)).await {
            Ok(tasks) if !tasks.is_empty() => {
                let arn = tasks.first().map(|task| task.arn.clone()).unwrap_or_default();
                noted(visit.ask(&[Call::DescribeTasks], aws.task(cluster, &arn)).await)
            }
            other => noted(other),
        }
    }));
    if matches!(visit.patient, Patient::Group { .. }) {
        work.push(Box::pin(async move {
            let reply = aws.task_set_status(cluster, service, set);
            noted(visit.ask(&[Call::DescribeTaskSets], reply).await)
        }));
    }
}

/// Where nothing is known to ask about, whether anything may be asked.
fn balancing<'a>(visit: &'a Visit, facts: &'a Facts, work: &mut Trying<'a>) {
    if facts.groups.is_empty() {
        work.push(Box::pin(async move {
            let reply = visit.aws.target_group(NO_TARGET_GROUP);
            noted(visit.ask_about(About::Invented, &[Call::DescribeTargetGroups], reply).await)
        }));
    }
}

fn of_service<'a>(visit: &'a Visit, facts: &'a Facts, work: &mut Trying<'a>) {
    let Patient::Service { cluster, service } = &visit.patient else { return };
    let aws = visit.aws.as_ref();
    work.push(Box::pin(async move {
        let reply = aws.deployments_under_way(cluster, service);
        noted(visit.ask(&[Call::ListServiceDeployments], reply).await)
    }));
    tasks(visit, facts, None, work);
    balancing(visit, facts, work);
    let Place { region: Some(region), account: Some(account) } = &facts.place else { return };
    // The scope of the permissions is this service's, so a refusal is one; the deployment in it is not there.
    let arn = |kind: &str| {
        format!("arn:aws:ecs:{region}:{account}:{kind}/{cluster}/{service}/{NO_SERVICE_DEPLOYMENT}")
    };
    let (described, answered, stopped) =
        (arn("service-deployment"), arn("service-deployment"), arn("service-deployment"));
    work.push(Box::pin(async move {
        let reply = aws.service_deployment(&described);
        noted(visit.ask(&[Call::DescribeServiceDeployments], reply).await)
    }));
    work.push(Box::pin(async move {
        // There is no such deployment, and no such pause in it.
        let reply = aws.answer_pause(&answered, NO_PAUSE, false);
        noted(visit.ask(&[Call::ContinueServiceDeployment], reply).await)
    }));
    work.push(Box::pin(async move {
        // There is no such deployment to stop.
        let reply = aws.stop_service_deployment(&stopped);
        noted(visit.ask(&[Call::StopServiceDeployment], reply).await)
    }));
    let revisions = [arn("service-revision")];
    work.push(Box::pin(async move {
        let reply = aws.service_revisions(&revisions);
        noted(visit.ask(&[Call::DescribeServiceRevisions], reply).await)
    }));
}

fn of_pipeline<'a>(visit: &'a Visit, facts: &'a Facts, work: &mut Trying<'a>) {
    let aws = visit.aws.as_ref();
    let (Patient::Pipeline { name }, Found::Pipeline(pipeline)) = (&visit.patient, &facts.found)
    else {
        return;
    };
    let manual = pipeline.actions.iter().filter(|action| action.provider == "Manual");
    for (place, action) in manual.take(APPROVALS_MAX).enumerate() {
        let approval = Approval {
            pipeline: name.clone(),
            stage: action.stage.clone(),
            action: action.name.clone(),
            token: NO_UUID.to_owned(),
        };
        work.push(Box::pin(async move {
            // The token names the approval; none that waits has this one.
            let reply = aws.answer_approval(&approval, false, "gate doctor");
            drop(visit.ask(&[Call::PutApprovalResult], reply).await);
            if place == 0 {
                let reply = aws.waiting_approvals(&approval);
                drop(visit.ask(&[Call::ListActionExecutions], reply).await);
            }
            Vec::new()
        }));
    }
    if facts.asks.iter().any(|asks| asks.stage == Stage::Invoke) {
        for (success, call) in
            [(true, Call::PutJobSuccessResult), (false, Call::PutJobFailureResult)]
        {
            work.push(Box::pin(async move {
                // There is no such job.
                let reply = aws.answer_job(NO_UUID, success, "gate doctor");
                noted(visit.ask_about(About::Invented, &[call], reply).await)
            }));
        }
    }
}

async fn of_queue(visit: &Visit, queue: &str) -> Vec<Finding> {
    let place = Place { region: region_of(queue), account: None };
    let aws = visit.clouds.at(&place).await;
    // A message is known by its receipt alone, and none has this one. Receiving is not tried: it hides messages
    // from the daemon.
    let (hidden, deleted) = tokio::join!(
        visit.ask(&[Call::ChangeMessageVisibility], aws.hide(queue, NO_RECEIPT, 0)),
        visit.ask(&[Call::DeleteMessage], aws.delete(queue, NO_RECEIPT))
    );
    if [&hidden, &deleted]
        .iter()
        .any(|tried| tried.as_ref().is_err_and(|error| error.is(Failure::Missing)))
    {
        return vec![Finding::new(
            Area::Intake,
            Level::Error,
            format!("there is no queue {queue}"),
            "no question arrives by it",
            "mend the setting `intake.queue`, or make the queue",
        )];
    }
    Vec::new()
}
