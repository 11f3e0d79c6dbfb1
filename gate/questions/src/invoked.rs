//! What a Lambda function of gate's may be invoked with, told apart by its keys.

use serde::Deserialize;
use serde_json::Value;

use crate::hooks::{HookEvent, JobEvent};

/// Who invoked the relay.
#[derive(Debug)]
pub enum Invoked {
    /// A hook of CodeDeploy.
    CodeDeploy(HookEvent),
    /// A hook of ECS, as it came: the response is its answer.
    Ecs(Value),
    /// A Lambda action of CodePipeline, without the credentials that came with it.
    Job(JobEvent),
}

/// What CodePipeline invokes a function with; there is more, credentials among it.
//= https://docs.aws.amazon.com/codepipeline/latest/userguide/actions-invoke-lambda-function.html
#[derive(Deserialize)]
struct Job {
    id: String,
    data: JobData,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JobData {
    #[serde(default)]
    action_configuration: ActionConfiguration,
    #[serde(default)]
    continuation_token: Option<String>,
}

#[derive(Default, Deserialize)]
struct ActionConfiguration {
    #[serde(default)]
    configuration: Configuration,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Configuration {
    #[serde(default)]
    user_parameters: String,
}

/// Tells who invoked the relay.
///
/// # Errors
/// Nobody gate answers.
pub fn read(event: Value, function_arn: &str) -> Result<Invoked, String> {
    let has = |key: &str| event.get(key).is_some();
    if has("DeploymentId") {
        let hook: HookEvent = serde_json::from_value(event)
            .map_err(|error| format!("not a CodeDeploy hook event: {}", crate::unread(&error)))?;
        let function_arn = Some(function_arn.to_owned());
        return Ok(Invoked::CodeDeploy(HookEvent { function_arn, ..hook }));
    }
    if has("lifecycleStage") && has("resourceArn") {
        return Ok(Invoked::Ecs(event));
    }
    if let Some(job) = event.get("CodePipeline.job") {
        // The error of the parser may quote what it could not read.
        let job =
            Job::deserialize(job).map_err(|_hidden| "not a job of CodePipeline".to_owned())?;
        return Ok(Invoked::Job(JobEvent {
            job_id: job.id,
            user_parameters: job.data.action_configuration.configuration.user_parameters,
            continuation: job.data.continuation_token,
            function_arn: Some(function_arn.to_owned()),
        }));
    }
    Err("the event is no hook of CodeDeploy or ECS and no job of CodePipeline".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_credentials_of_a_job_stay_behind() {
        let event = json!({ "CodePipeline.job": {
            "id": "j-1",
            "accountId": "1",
            "data": {
                "actionConfiguration": { "configuration": { "FunctionName": "f", "UserParameters": "checkout" } },
                "inputArtifacts": [], "outputArtifacts": [],
                "artifactCredentials": { "accessKeyId": "AKIA", "secretAccessKey": "SECRET", "sessionToken": "T" },
                "continuationToken": "j-0",
            },
        } });
        let Ok(Invoked::Job(job)) = read(event, "arn:aws:lambda:r:1:function:f") else {
            panic!("a job is known");
        };
        assert_eq!((job.job_id.as_str(), job.user_parameters.as_str()), ("j-1", "checkout"));
        assert_eq!(job.continuation.as_deref(), Some("j-0"));
        assert!(!serde_json::to_string(&job).unwrap().contains("SECRET"));
    }

    #[test]
    fn events_are_told_apart_by_their_keys() {
        let check = |event: Value, known: bool| {
            assert_eq!(read(event.clone(), "arn").is_ok(), known, "{event}");
        };
        check(json!({ "DeploymentId": "d-1", "LifecycleEventHookExecutionId": "e" }), true);
        check(json!({ "executionId": "e", "lifecycleStage": "S", "resourceArn": "a" }), true);
        check(json!({ "DeploymentId": "d-1" }), false);
        check(json!({ "CodePipeline.job": {} }), false);
        check(json!({}), false);
        check(json!("text"), false);
        let event = json!({ "DeploymentId": "d-1", "LifecycleEventHookExecutionId": 4_815_162 });
        let told = read(event, "arn").unwrap_err();
        assert_eq!(told, "not a CodeDeploy hook event: a value is not of its kind");
    }
}
