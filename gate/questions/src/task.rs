//! What the ECS agent says of the task that gate runs in: who it is, and whether it is protected.

use policies::Arm;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Who this task is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all(deserialize = "PascalCase"))]
pub struct OwnTask {
    /// Name or ARN.
    pub cluster: String,
    /// Of the task.
    #[serde(rename(deserialize = "TaskARN"))]
    pub task_arn: String,
    /// Of its task definition.
    pub family: String,
    /// Of its task definition.
    pub revision: String,
    /// Absent for a task that no service started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_name: Option<String>,
    /// Where it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub availability_zone: Option<String>,
    /// `green` or `blue` while its service is being deployed and that may be looked up.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    pub colour: Option<Arm>,
}

/// Reads the agent's answer to `GET .../task`.
///
/// # Errors
/// Why it says of no task who it is.
pub fn read(answer: &[u8]) -> Result<OwnTask, String> {
    let task: OwnTask = serde_json::from_slice(answer).map_err(|error| error.to_string())?;
    if task.task_arn.is_empty() { Err("there is no TaskARN".to_owned()) } else { Ok(task) }
}

/// Reads the agent's answer to a change of protection: whether the task is protected now. `None` where it refused,
/// which it does with status 200 too.
pub fn is_protected(answer: &[u8]) -> Option<bool> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    answer.pointer("/protection/ProtectionEnabled")?.as_bool()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_agents_answer_says_who_this_is() {
        let answer = r#"{"Cluster":"prod","TaskARN":"arn:aws:ecs:r:1:task/prod/158d","Family":"web","Revision":"5","ServiceName":"web","DesiredStatus":"RUNNING","AvailabilityZone":"eu-west-1a","Containers":[{"Name":"gate"}]}"#;
        let task = read(answer.as_bytes()).unwrap();
        assert_eq!(
            (task.task_arn.as_str(), task.service_name.as_deref(), task.revision.as_str()),
            ("arn:aws:ecs:r:1:task/prod/158d", Some("web"), "5")
        );
        let shown = serde_json::to_value(&task).unwrap();
        assert_eq!(shown["task_arn"], "arn:aws:ecs:r:1:task/prod/158d");
        assert_eq!(read(b"{}").unwrap_err(), "there is no TaskARN");
        assert!(read(b"<html>").unwrap_err().starts_with("expected value"));
    }

    #[test]
    fn only_what_the_agent_confirms_counts() {
        let check = |answer: &str, protect: bool, expected: bool| {
            assert_eq!(is_protected(answer.as_bytes()) == Some(protect), expected, "{answer}");
        };
        let protected = r#"{"protection":{"ExpirationDate":"2026-01-01T00:00:00Z","ProtectionEnabled":true,"TaskArn":"arn"}}"#;
        check(protected, true, true);
        check(protected, false, false);
        check(r#"{"protection":{"ProtectionEnabled":false,"TaskArn":"arn"}}"#, false, true);
        check(
            r#"{"failure":{"Arn":"arn","Detail":null,"Reason":"DEPLOYMENT_BLOCKED"}}"#,
            true,
            false,
        );
        check(r#"{"error":{"Arn":"arn","Code":"AccessDeniedException"}}"#, true, false);
        check("<html>", true, false);
    }
}
