//! The simulated AWS: it knows each deployment, accepts one answer to each question, and fails in every way a call can.

use std::time::Duration;

use policies::Answer;
use tokio::time::sleep;

use super::targets::address;
use super::world::{Green, Kind, Shared, SimQuestion, Trial, Try, deployment_arn};
use crate::aws::balancing::{Balancing, Listener, Registered, TargetGroup};
use crate::aws::codedeploy::{
    CodeDeploy, DeploymentFacts, DeploymentTarget, EcsTarget, GroupFacts, Shift, TaskSet,
};
use crate::aws::ecs::{
    Ecs, HookFacts, ServiceDeployment, ServiceFacts, ServiceRevision, TaskFacts,
};
use crate::aws::fake::{FakeAws, events, registered};
use crate::aws::functions::{AliasFacts, FunctionFacts, Functions, Invocation};
use crate::aws::identity::{Caller, Identity};
use crate::aws::measurements::{AlarmFacts, Measurements, MetricQuery, Series, Span};
use crate::aws::messages::{Message, Messages, Secrets};
use crate::aws::pipelines::{Approval, PipelineFacts, Pipelines, WaitingApproval};
use crate::aws::{Aws, AwsError, Call, Failure, Reply};

/// What has no part in a simulation is as in other tests.
#[derive(Debug)]
pub(super) struct SimAws {
    world: Shared,
    other: FakeAws,
}

/// How a call goes.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    Good,
    /// Done, and nobody hears of it.
    Unheard,
}

fn error(call: Call, subject: &str, code: &str, failure: Failure) -> AwsError {
    AwsError {
        call,
        subject: subject.to_owned(),
        code: code.to_owned(),
        message: String::new(),
        failure,
    }
}

impl SimAws {
    pub(super) fn new(world: Shared) -> Self {
        Self { world, other: FakeAws::new() }
    }

    /// The way there: slow, throttled, silent, or cut.
    async fn way(&self, call: Call, subject: &str) -> Result<Fate, AwsError> {
        self.world.lock().calls += 1;
        let unreached = || error(call, subject, "Unreachable", Failure::Passing);
        let about = format!("{call} {subject}");
        if self.world.is_partitioned() {
            // An attempt, or a read with its retries.
            sleep(Duration::from_secs(if self.world.chance(&about) < 0.5 { 5 } else { 15 })).await;
            return Err(unreached());
        }
        sleep(Duration::from_secs_f64(0.004 + 0.06 * self.world.chance(&about))).await;
        let (storms, trial) = {
            let world = self.world.lock();
            (world.climate.storms, world.climate.trial)
        };
        if let Some(Trial::SlowAws(time)) = trial {
            sleep(time).await;
        }
        if !storms {
            return Ok(Fate::Good);
        }
        match self.world.chance(&about) {
            throttled if throttled < 0.06 => {
                Err(error(call, subject, "ThrottlingException", Failure::Passing))
            }
            broken if broken < 0.08 => {
                Err(error(call, subject, "InternalServerError", Failure::Passing))
            }
            slow if slow < 0.12 => {
                sleep(Duration::from_secs_f64(4.5 * self.world.chance(&about))).await;
                Ok(Fate::Good)
            }
            silent if silent < 0.14 => {
                sleep(Duration::from_secs(5)).await;
                Err(unreached())
            }
            unheard if unheard < 0.17 => Ok(Fate::Unheard),
            _ => Ok(Fate::Good),
        }
    }

    /// A read of one question's facts.
    async fn read<T>(
        &self,
        call: Call,
        subject: &str,
        find: impl FnOnce(&SimQuestion, Duration) -> Option<T>,
    ) -> Result<T, AwsError> {
        self.way(call, subject).await?;
        let world = self.world.lock();
        let question = number(subject).and_then(|number| world.questions.get(number));
        question
            .and_then(|question| find(question, world.now()))
            .ok_or_else(|| error(call, subject, "DoesNotExistException", Failure::Missing))
    }

    /// An answer: the first one that comes in time is accepted.
    async fn answer(
        &self,
        call: Call,
        subject: &str,
        proceed: bool,
        refusal: (&str, Failure),
    ) -> Result<(), AwsError> {
        let answer = if proceed { Answer::Continue } else { Answer::Rollback };
        let number = number(subject).unwrap();
        let index = {
            let mut world = self.world.lock();
            let (at, process) = (world.now(), world.incarnations);
            let tries = &mut world.questions[number].tries;
            tries.push(Try { at, answer, process, heard: None });
            tries.len() - 1
        };
        let fate = self.way(call, subject).await?;
        let taken = {
            let mut world = self.world.lock();
            let now = world.now();
            let question = &mut world.questions[number];
            let waits = question.waits(now);
            if waits {
                question.accepted.push((now, answer));
            }
            // What may mean anything tells nothing of a pause: it is looked up, and where that fails, sent again.
            if fate == Fate::Good && (waits || refusal.1 == Failure::Completed) {
                question.tries[index].heard = Some(now);
            }
            waits
        };
        if fate == Fate::Unheard {
            sleep(Duration::from_secs(5)).await;
            return Err(error(call, subject, "Unreachable", Failure::Passing));
        }
        if taken { Ok(()) } else { Err(error(call, subject, refusal.0, refusal.1)) }
    }
}

/// The number that an id, a name or an ARN ends with.
fn number(subject: &str) -> Option<usize> {
    subject.rsplit(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn status(question: &SimQuestion, now: Duration) -> &'static str {
    match question.accepted.first() {
        Some((_, Answer::Continue)) => "Succeeded",
        Some((_, Answer::Rollback)) => "Failed",
        None if question.stopped_at.is_some_and(|at| now >= at) => "Stopped",
        None if now >= question.ends_at => "Failed",
        None => "InProgress",
    }
}

impl Aws for SimAws {}

impl CodeDeploy for SimAws {
    fn deployment<'a>(&'a self, id: &'a str) -> Reply<'a, DeploymentFacts> {
        let found = |question: &SimQuestion, now| {
            Some(DeploymentFacts {
                application: if question.patient { "patient" } else { "quick" }.into(),
                status: status(question, now).into(),
                production_listener: None,
                test_listener: None,
                ..self.other.facts.clone()
            })
        };
        Box::pin(self.read(Call::GetDeployment, id, found))
    }

    fn deployment_target<'a>(&'a self, id: &'a str) -> Reply<'a, Option<DeploymentTarget>> {
        Box::pin(self.read(Call::BatchGetDeploymentTargets, id, |_, _| {
            let set = |label: &str| {
                TaskSet {
                    id: format!("ecs-svc/{label}"),
                    label: label.into(),
                    target_group: Some(format!("{}-{}", label.to_lowercase(), number(id)?)),
                    weight: None,
                }
                .into()
            };
            let sets: Option<Vec<TaskSet>> = ["Blue", "Green"].map(set).into_iter().collect();
            Some(Some(DeploymentTarget::Ecs(EcsTarget {
                id: "prod:web".into(),
                events: events("AfterAllowTestTraffic"),
                task_sets: sets?,
            })))
        }))
    }

    fn shift<'a>(&'a self, config: &'a str) -> Reply<'a, Shift> {
        self.other.shift(config)
    }

    fn answer_hook<'a>(&'a self, id: &'a str, _: &'a str, proceed: bool) -> Reply<'a, ()> {
        const CALL: Call = Call::PutLifecycleEventHookExecutionStatus;
        let over = ("LifecycleEventAlreadyCompletedException", Failure::Completed);
        Box::pin(self.answer(CALL, id, proceed, over))
    }

    fn end_ready_wait<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.other.end_ready_wait(id)
    }

    fn stop_with_rollback<'a>(&'a self, id: &'a str) -> Reply<'a, bool> {
        self.other.stop_with_rollback(id)
    }

    fn ready_deployments<'a>(
        &'a self,
        application: &'a str,
        group: &'a str,
    ) -> Reply<'a, Vec<String>> {
        self.other.ready_deployments(application, group)
    }

    fn deployment_group<'a>(
        &'a self,
        application: &'a str,
        group: &'a str,
    ) -> Reply<'a, GroupFacts> {
        self.other.deployment_group(application, group)
    }
}

impl Balancing for SimAws {
    fn target_group<'a>(&'a self, name: &'a str) -> Reply<'a, TargetGroup> {
        Box::pin(self.read(Call::DescribeTargetGroups, name, |_, _| {
            Some(TargetGroup {
                arn: name.to_owned(),
                target_type: "ip".into(),
                protocol: "HTTP".into(),
                protocol_version: "HTTP1".into(),
                load_balancer: None,
            })
        }))
    }

    fn target_health<'a>(&'a self, group: &'a str) -> Reply<'a, Vec<Registered>> {
        Box::pin(self.read(Call::DescribeTargetHealth, group, |question, _| {
            let number = number(group)?;
            Some(match question.green {
                _ if group.starts_with("blue") => {
                    vec![registered(&address(Green::Healthy, number), "healthy", None)]
                }
                Green::Absent => Vec::new(),
                green @ (Green::Healthy | Green::Faulty | Green::Hangs | Green::Starved) => {
                    vec![registered(&address(green, number), "healthy", None)]
                }
            })
        }))
    }

    fn listener<'a>(&'a self, arn: &'a str) -> Reply<'a, Listener> {
        self.other.listener(arn)
    }
}

impl Ecs for SimAws {
    fn deployments_under_way<'a>(
        &'a self,
        cluster: &'a str,
        service: &'a str,
    ) -> Reply<'a, Vec<String>> {
        self.other.deployments_under_way(cluster, service)
    }

    fn service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ServiceDeployment> {
        Box::pin(self.read(Call::DescribeServiceDeployments, arn, |question, now| {
            let number = number(arn)?;
            let (status, hook) = match (status(question, now), question.kind) {
                ("InProgress", Kind::EcsHook) => ("IN_PROGRESS", "IN_PROGRESS"),
                ("InProgress", _) => ("IN_PROGRESS", "AWAITING_ACTION"),
                ("Succeeded", _) => ("SUCCESSFUL", "SUCCEEDED"),
                ("Stopped", _) => ("STOPPED", "FAILED"),
                _ if question.accepted.is_empty() => ("ROLLBACK_SUCCESSFUL", "TIMED_OUT"),
                _ => ("ROLLBACK_SUCCESSFUL", "FAILED"),
            };
            let (id, kind) = match question.kind {
                Kind::EcsHook => (format!("hook-{number}"), "AWS_LAMBDA"),
                Kind::Hook | Kind::Pause | Kind::Approval => (format!("pause-{number}"), "PAUSE"),
            };
            let expires = i64::try_from(question.ends_at.as_secs()).ok()? + 1_780_000_000;
            Some(ServiceDeployment {
                arn: deployment_arn(number, question),
                service_arn: format!(
                    "arn:aws:ecs:eu-west-1:1:service/sim/{}",
                    if question.patient { "patient" } else { "quick" }
                ),
                cluster_arn: "arn:aws:ecs:eu-west-1:1:cluster/sim".into(),
                status: status.into(),
                stage: Some("POST_TEST_TRAFFIC_SHIFT".into()),
                target_revision: Some(format!("green-{number}")),
                source_revisions: vec![format!("blue-{number}")],
                hooks: vec![HookFacts {
                    id,
                    kind: kind.into(),
                    status: hook.into(),
                    expires_unix_seconds: Some(expires),
                }],
                strategy: "BLUE_GREEN".into(),
                ..ServiceDeployment::default()
            })
        }))
    }

    fn service_revisions<'a>(&'a self, arns: &'a [String]) -> Reply<'a, Vec<ServiceRevision>> {
        let subject = arns.first().map_or("", String::as_str);
        Box::pin(self.read(Call::DescribeServiceRevisions, subject, |_, _| {
            let revision = |arn: &String| ServiceRevision {
                arn: arn.clone(),
                target_groups: vec![arn.clone()],
                ..ServiceRevision::default()
            };
            Some(arns.iter().map(revision).collect())
        }))
    }

    fn answer_pause<'a>(&'a self, arn: &'a str, _: &'a str, proceed: bool) -> Reply<'a, ()> {
        let over = ("ClientException", Failure::Invalid);
        Box::pin(self.answer(Call::ContinueServiceDeployment, arn, proceed, over))
    }

    fn stop_service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ()> {
        self.other.stop_service_deployment(arn)
    }

    fn tasks<'a>(
        &'a self,
        cluster: &'a str,
        service: &'a str,
        stopped: bool,
    ) -> Reply<'a, Vec<TaskFacts>> {
        self.other.tasks(cluster, service, stopped)
    }

    fn task<'a>(&'a self, cluster: &'a str, arn: &'a str) -> Reply<'a, Option<TaskFacts>> {
        self.other.task(cluster, arn)
    }

    fn service<'a>(&'a self, cluster: &'a str, service: &'a str) -> Reply<'a, ServiceFacts> {
        self.other.service(cluster, service)
    }
}

impl Functions for SimAws {
    fn alias<'a>(&'a self, function: &'a str, alias: &'a str) -> Reply<'a, AliasFacts> {
        self.other.alias(function, alias)
    }

    fn function<'a>(&'a self, name: &'a str) -> Reply<'a, FunctionFacts> {
        self.other.function(name)
    }

    fn may_invoke<'a>(&'a self, qualified: &'a str) -> Reply<'a, ()> {
        self.other.may_invoke(qualified)
    }

    fn invoke<'a>(
        &'a self,
        qualified: &'a str,
        payload: Vec<u8>,
        timeout: Duration,
    ) -> Reply<'a, Invocation> {
        self.other.invoke(qualified, payload, timeout)
    }
}

impl Identity for SimAws {
    fn caller(&self) -> Reply<'_, Caller> {
        self.other.caller()
    }

    fn region(&self) -> Option<String> {
        self.other.region()
    }

    fn clock_ahead_seconds(&self) -> Option<i64> {
        None
    }

    /// AWS's clock is right by definition.
    fn unix_millis(&self) -> u64 {
        self.world.lock().unix_millis()
    }
}

impl Measurements for SimAws {
    fn metric_data<'a>(&'a self, queries: &'a [MetricQuery], span: Span) -> Reply<'a, Vec<Series>> {
        self.other.metric_data(queries, span)
    }

    fn alarms<'a>(&'a self, names: &'a [String]) -> Reply<'a, Vec<AlarmFacts>> {
        self.other.alarms(names)
    }

    fn metric_exists<'a>(&'a self, query: &'a MetricQuery) -> Reply<'a, bool> {
        self.other.metric_exists(query)
    }
}

impl Pipelines for SimAws {
    fn answer_approval<'a>(
        &'a self,
        approval: &'a Approval,
        proceed: bool,
        _: &'a str,
    ) -> Reply<'a, ()> {
        let over = ("ApprovalAlreadyCompletedException", Failure::Completed);
        Box::pin(self.answer(Call::PutApprovalResult, &approval.action, proceed, over))
    }

    fn waiting_approvals<'a>(&'a self, approval: &'a Approval) -> Reply<'a, Vec<WaitingApproval>> {
        self.other.waiting_approvals(approval)
    }

    fn answer_job<'a>(&'a self, job: &'a str, success: bool, summary: &'a str) -> Reply<'a, ()> {
        self.other.answer_job(job, success, summary)
    }

    fn continue_job<'a>(&'a self, job: &'a str, token: &'a str) -> Reply<'a, ()> {
        self.other.continue_job(job, token)
    }

    fn pipeline<'a>(&'a self, name: &'a str) -> Reply<'a, PipelineFacts> {
        self.other.pipeline(name)
    }
}

impl Messages for SimAws {
    fn receive<'a>(&'a self, queue: &'a str, seconds: u32) -> Reply<'a, Vec<Message>> {
        let mut world = self.world.lock();
        let Some(said) = &mut world.flood else { return self.other.receive(queue, seconds) };
        let hook = r#"{"DeploymentId":"d-0","LifecycleEventHookExecutionId":"token-0"}"#;
        let message = |number: u64| Message {
            id: number.to_string(),
            receipt: number.to_string(),
            body: hook.to_owned(),
            received: 1,
            sent_unix_millis: None,
        };
        let messages = (*said..*said + 10).map(message).collect();
        *said += 10;
        Box::pin(async move {
            sleep(Duration::from_millis(10)).await;
            Ok(messages)
        })
    }

    fn hide<'a>(&'a self, queue: &'a str, receipt: &'a str, seconds: u32) -> Reply<'a, ()> {
        self.other.hide(queue, receipt, seconds)
    }

    fn delete<'a>(&'a self, queue: &'a str, receipt: &'a str) -> Reply<'a, ()> {
        self.other.delete(queue, receipt)
    }

    fn send<'a>(&'a self, queue: &'a str, body: &'a str) -> Reply<'a, ()> {
        self.other.send(queue, body)
    }

    fn publish<'a>(&'a self, topic: &'a str, subject: &'a str, message: &'a str) -> Reply<'a, ()> {
        self.other.publish(topic, subject, message)
    }
}

impl Secrets for SimAws {
    fn parameter<'a>(&'a self, name: &'a str) -> Reply<'a, String> {
        self.other.parameter(name)
    }

    fn secret<'a>(&'a self, id: &'a str) -> Reply<'a, String> {
        self.other.secret(id)
    }
}
