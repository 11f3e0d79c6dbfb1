//! The ECS task that gate itself runs in: who it is, which side of a deployment, and its protection.

mod protection;

use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use policies::Arm;
use questions::task;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::aws::ecs::{TaskFacts, TaskSetFacts};
use crate::aws::{Aws, AwsError, Clouds, Place};
use crate::cli::story;
use crate::client::Client;

pub(crate) use protection::protect;
pub(crate) use questions::task::OwnTask;

/// Set in every container of a task by the ECS agent.
//= https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
pub(crate) const METADATA_URI: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// An agent that does not say who this is may be busy; it is asked again after so long.
const ASK_AGAIN: Duration = Duration::from_secs(5);
/// Colours change with each deployment.
const COLOUR_EVERY: Duration = Duration::from_secs(60);
/// The agent is on the same host and answers in milliseconds.
const AGENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Whether gate runs in a task of ECS.
pub(crate) fn in_ecs() -> bool {
    std::env::var_os(METADATA_URI).is_some_and(|uri| !uri.is_empty())
}

/// Finds out who this task is, and again and again which side it is on, until `stop`.
pub(crate) async fn know(
    clouds: Clouds,
    known: watch::Sender<Option<OwnTask>>,
    stop: CancellationToken,
) {
    let Ok(base) = std::env::var(METADATA_URI) else { return };
    let uri = format!("{}/task", base.trim_end_matches('/'));
    let Some(Some(mut task)) = stop.run_until_cancelled(asked(&uri)).await else { return };
    info!(task = task.task_arn, service = task.service_name, "running in an ECS task");
    // Its ARN names its region, also where the environment names another one, or none.
    let place = Place { account: None, ..Place::of_arn(&task.task_arn) };
    let aws = clouds.at(&place).await;
    loop {
        let colour = colour(aws.as_ref(), &task).await;
        if colour != task.colour {
            info!(colour = colour.map(Arm::name), "this task's side of the deployment");
            task.colour = colour;
        }
        known.send_replace(Some(task.clone()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(COLOUR_EVERY) => {}
        }
    }
}

/// Asks the agent until it says who this is; what keeps it from that is said once. `None` where it cannot be
/// asked at all.
async fn asked(uri: &str) -> Option<OwnTask> {
    let client = Client::new();
    let mut warned = false;
    loop {
        match fetch(&client, uri).await {
            Ok(task) => return Some(task),
            Err(reason) if !warned => {
                warn!(reason, "the ECS agent does not say which task this is");
                warned = true;
            }
            Err(reason) => debug!(reason, "the ECS agent still does not say which task this is"),
        }
        if uri.parse::<hyper::Uri>().is_err() {
            return None;
        }
        sleep(ASK_AGAIN).await;
    }
}

async fn fetch(client: &Client, uri: &str) -> Result<OwnTask, String> {
    let request = Request::get(uri).body(Full::<Bytes>::default());
    let request = request.map_err(|error| format!("{METADATA_URI}: {error}"))?;
    match client.send(request, AGENT_TIMEOUT).await {
        Ok((StatusCode::OK, body)) => {
            task::read(&body).map_err(|reason| format!("its answer: {reason}"))
        }
        Ok((status, _)) => Err(format!("{uri} answered {status}")),
        Err(error) => Err(format!("{uri}: {}", story(&error))),
    }
}

/// Which side of its service's deployment a task is on. `None` where there is no deployment, or it may not be
/// looked up: nothing depends on it but what is shown.
pub(crate) async fn colour(aws: &dyn Aws, task: &OwnTask) -> Option<Arm> {
    match looked_up(aws, task).await {
        Ok(colour) => colour,
        Err(error) => {
            debug!(reason = error.story(), "this task's colour is not known");
            None
        }
    }
}

async fn looked_up(aws: &dyn Aws, own: &OwnTask) -> Result<Option<Arm>, AwsError> {
    let Some(task) = aws.task(&own.cluster, &own.task_arn).await? else { return Ok(None) };
    // Older agents do not name the service.
    let group = task.group.as_deref().and_then(|group| group.strip_prefix("service:"));
    let Some(service) = own.service_name.as_deref().or(group) else { return Ok(None) };
    // CodeDeploy's services have task sets; where that may not be looked up, it may be another one.
    if let Ok(facts) = aws.service(&own.cluster, service).await
        && let Some(own_set) = task.started_by.as_deref()
        && facts.task_sets.iter().any(|set| set.id == own_set)
    {
        return Ok(side_of_set(&facts.task_sets, own_set));
    }
    let Some(arn) = aws.deployments_under_way(&own.cluster, service).await?.into_iter().next()
    else {
        return Ok(None);
    };
    let deployment = aws.service_deployment(&arn).await?;
    let Some(target) = deployment.target_revision else { return Ok(None) };
    let revisions = aws.service_revisions(&[target]).await?;
    let new = revisions.into_iter().next().and_then(|revision| revision.task_definition);
    Ok(new.map(|new| side(&task, &new)))
}

/// Green is the task set that was made last. Which one is PRIMARY says nothing: that changes with the traffic,
/// in the middle of the deployment. One alone is no deployment.
fn side_of_set(sets: &[TaskSetFacts], own: &str) -> Option<Arm> {
    let newest = sets.iter().max_by_key(|set| set.created_unix_millis)?;
    let side = if newest.id == own { Arm::Green } else { Arm::Blue };
    (sets.len() > 1).then_some(side)
}

/// Green runs what is deployed, everything else is blue.
fn side(task: &TaskFacts, deployed: &str) -> Arm {
    if task.task_definition.as_deref() == Some(deployed) { Arm::Green } else { Arm::Blue }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::ecs::{ServiceDeployment, ServiceFacts, ServiceRevision};
    use crate::aws::fake::FakeAws;
    use crate::aws::{Call, Failure};

    async fn check(change: impl FnOnce(&mut FakeAws), expected: Option<Arm>) {
        let own = OwnTask {
            cluster: "prod".into(),
            task_arn: "arn:task".into(),
            service_name: Some("web".into()),
            ..OwnTask::default()
        };
        let mut aws = FakeAws::default();
        aws.tasks.push(TaskFacts {
            arn: "arn:task".into(),
            started_by: Some("deployment".into()),
            task_definition: Some("web:43".into()),
            status: "RUNNING".into(),
            ..TaskFacts::default()
        });
        let deployment = ServiceDeployment {
            target_revision: Some("arn:new".into()),
            ..ServiceDeployment::default()
        };
        aws.service_deployments.insert("arn:sd".into(), deployment);
        aws.revisions.push(ServiceRevision {
            arn: "arn:new".into(),
            task_definition: Some("web:43".into()),
            ..ServiceRevision::default()
        });
        change(&mut aws);
        assert_eq!(colour(&aws, &own).await, expected);
    }

    #[tokio::test]
    async fn a_task_is_green_if_it_runs_what_is_deployed() {
        check(|_| {}, Some(Arm::Green)).await;
        check(|aws| aws.tasks[0].task_definition = Some("web:42".into()), Some(Arm::Blue)).await;
        check(|aws| aws.tasks[0].started_by = Some("ecs-svc/1".into()), Some(Arm::Green)).await;
        check(|aws| aws.service_deployments.clear(), None).await;
        check(|aws| aws.tasks.clear(), None).await;
        check(|aws| aws.failures = [(Call::DescribeTasks, Failure::Denied)].into(), None).await;
    }

    /// Beside others of these ages, a task whose own set is so old.
    async fn check_sets(own: i64, others: &[i64], expected: Option<Arm>) {
        let set = |age: &i64| TaskSetFacts {
            id: format!("ecs-svc/{age}"),
            created_unix_millis: Some(1_000_000 - age),
        };
        let task_sets = others.iter().chain([&own]).map(set).collect();
        let change = |aws: &mut FakeAws| {
            aws.tasks[0].started_by = Some(format!("ecs-svc/{own}"));
            aws.services
                .insert("web".into(), ServiceFacts { task_sets, ..ServiceFacts::default() });
        };
        check(change, expected).await;
    }

    #[tokio::test]
    async fn the_task_set_that_was_made_last_is_green_while_there_is_another() {
        check_sets(1, &[60], Some(Arm::Green)).await;
        check_sets(60, &[1], Some(Arm::Blue)).await;
        check_sets(60, &[], None).await;
    }

    #[tokio::test]
    async fn an_agent_that_does_not_name_the_service_does_no_harm() {
        let mut aws = FakeAws::default();
        aws.tasks.push(TaskFacts {
            arn: "arn:task".into(),
            started_by: Some("ecs-svc/1".into()),
            group: Some("service:web".into()),
            ..TaskFacts::default()
        });
        let set = |id: &str, at| TaskSetFacts { id: id.into(), created_unix_millis: Some(at) };
        let task_sets = vec![set("ecs-svc/0", 1), set("ecs-svc/1", 2)];
        aws.services.insert("web".into(), ServiceFacts { task_sets, ..ServiceFacts::default() });
        let own = OwnTask { task_arn: "arn:task".into(), ..OwnTask::default() };
        assert_eq!(colour(&aws, &own).await, Some(Arm::Green));
        aws.tasks[0].group = Some("family:web".into());
        assert_eq!(colour(&aws, &own).await, None);
    }
}
