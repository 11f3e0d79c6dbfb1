//! The ECS task that gate itself runs in: who it is, which side of a deployment, and its protection.

mod protection;

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use policies::Arm;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::aws::ecs::TaskFacts;
use crate::aws::{Aws, AwsError};
use crate::cli::story;
use crate::client::Client;

pub(crate) use protection::protect;

/// Set in every container of a task by the ECS agent.
//= https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-metadata-endpoint-v4.html
pub(crate) const METADATA_URI: &str = "ECS_CONTAINER_METADATA_URI_V4";
/// Colours change with each deployment.
const COLOUR_EVERY: Duration = Duration::from_secs(60);
/// The agent is on the same host and answers in milliseconds.
const AGENT_TIMEOUT: Duration = Duration::from_secs(2);

/// Who this task is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase"))]
pub(crate) struct OwnTask {
    /// Name or ARN.
    pub(crate) cluster: String,
    #[serde(rename(deserialize = "TaskARN"))]
    pub(crate) task_arn: String,
    /// Of its task definition.
    pub(crate) family: String,
    /// Of its task definition.
    pub(crate) revision: String,
    /// Absent for a task that no service started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) availability_zone: Option<String>,
    /// `green` or `blue` while its service is being deployed and that may be looked up.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub(crate) colour: Option<Arm>,
}

/// Whether gate runs in a task of ECS.
pub(crate) fn in_ecs() -> bool {
    std::env::var_os(METADATA_URI).is_some_and(|uri| !uri.is_empty())
}

/// Finds out who this task is, and again and again which side it is on, until `stop`. Ends at once where the
/// agent does not answer.
pub(crate) async fn know(
    aws: Arc<dyn Aws>,
    known: watch::Sender<Option<OwnTask>>,
    stop: CancellationToken,
) {
    let Ok(base) = std::env::var(METADATA_URI) else { return };
    let fetched = fetch(&Client::new(), &format!("{}/task", base.trim_end_matches('/'))).await;
    let mut task = match fetched {
        Ok(task) => task,
        Err(reason) => {
            warn!(reason, "the ECS agent does not say which task this is");
            return;
        }
    };
    info!(task = task.task_arn, service = task.service_name, "running in an ECS task");
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

async fn fetch(client: &Client, uri: &str) -> Result<OwnTask, String> {
    let request = Request::get(uri).body(Full::<Bytes>::default());
    let request = request.map_err(|error| format!("{METADATA_URI}: {error}"))?;
    match client.send(request, AGENT_TIMEOUT).await {
        Ok((StatusCode::OK, body)) => {
            serde_json::from_slice(&body).map_err(|error| format!("its answer: {error}"))
        }
        Ok((status, _)) => Err(format!("{uri} answered {status}")),
        Err(error) => Err(format!("{uri}: {}", story(&error))),
    }
}

/// Which side of its service's deployment a task is on. `None` where there is no deployment, or it may not be
/// looked up: nothing depends on it but what is shown.
pub(crate) async fn colour(aws: &dyn Aws, task: &OwnTask) -> Option<Arm> {
    let service = task.service_name.as_deref()?;
    match looked_up(aws, task, service).await {
        Ok(colour) => colour,
        Err(error) => {
            debug!(reason = error.story(), "this task's colour is not known");
            None
        }
    }
}

async fn looked_up(aws: &dyn Aws, own: &OwnTask, service: &str) -> Result<Option<Arm>, AwsError> {
    let Some(task) = aws.task(&own.cluster, &own.task_arn).await? else { return Ok(None) };
    if let Some(id) = task.started_by.as_deref().filter(|id| id.starts_with("ecs-svc/")) {
        // CodeDeploy's task sets say it themselves; for other services this is no task set.
        match aws.task_set_status(&own.cluster, service, id).await {
            Ok(Some(status)) if status == "ACTIVE" => return Ok(Some(Arm::Green)),
            Ok(Some(_primary)) => return Ok(Some(Arm::Blue)),
            Ok(None) | Err(_) => {}
        }
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

/// Green runs what is deployed, everything else is blue.
fn side(task: &TaskFacts, deployed: &str) -> Arm {
    if task.task_definition.as_deref() == Some(deployed) { Arm::Green } else { Arm::Blue }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::ecs::{ServiceDeployment, ServiceRevision};
    use crate::aws::fake::FakeAws;
    use crate::aws::{Call, Failure};

    #[test]
    fn the_agents_answer_says_who_this_is() {
        let answer = r#"{"Cluster":"prod","TaskARN":"arn:aws:ecs:r:1:task/prod/158d","Family":"web","Revision":"5","ServiceName":"web","DesiredStatus":"RUNNING","AvailabilityZone":"eu-west-1a","Containers":[{"Name":"gate"}]}"#;
        let task: OwnTask = serde_json::from_str(answer).unwrap();
        assert_eq!(
            (task.task_arn.as_str(), task.service_name.as_deref(), task.revision.as_str()),
            ("arn:aws:ecs:r:1:task/prod/158d", Some("web"), "5")
        );
        let shown = serde_json::to_value(&task).unwrap();
        assert_eq!(shown["task_arn"], "arn:aws:ecs:r:1:task/prod/158d");
    }

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
}
