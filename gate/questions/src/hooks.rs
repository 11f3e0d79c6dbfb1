//! What arrives by the relay, read and checked: hooks of CodeDeploy, hooks of ECS, jobs of CodePipeline.

use std::fmt;

use policies::Stage;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::ask::{Ask, Asked, Token};
use crate::place::Place;

/// Where hooks of CodeDeploy are posted; part of what is signed.
pub const CODEDEPLOY_PATH: &str = "/hooks/codedeploy";
/// Where hooks of ECS are posted.
pub const ECS_PATH: &str = "/hooks/ecs";
/// Where jobs of CodePipeline are posted.
pub const CODEPIPELINE_PATH: &str = "/hooks/codepipeline";
/// A deployment id: `d-` and a few capital letters and digits.
const DEPLOYMENT_ID_MAX: usize = 64;
/// An execution id has about 270 characters; the model names no limit.
const TOKEN_MAX: usize = 4096;
/// The longest ARN of anything gate is asked about.
const ARN_MAX: usize = 1024;

/// What CodeDeploy tells a hook's Lambda function, and the whole of it; the relay adds its own ARN, which says
/// in which region and account it is.
//= https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html
#[derive(Clone, Deserialize, Serialize)]
pub struct HookEvent {
    /// Id of the deployment.
    #[serde(rename = "DeploymentId")]
    pub deployment_id: String,
    /// The token that the answer must carry.
    #[serde(rename = "LifecycleEventHookExecutionId")]
    pub execution_id: String,
    /// ARN of the relay.
    #[serde(rename = "FunctionArn", default, skip_serializing_if = "Option::is_none")]
    pub function_arn: Option<String>,
}

impl fmt::Debug for HookEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookEvent")
            .field("deployment_id", &self.deployment_id)
            .finish_non_exhaustive()
    }
}

/// What ECS tells a hook's Lambda function. Older copies of the documentation show what is in
/// `executionDetails` beside it.
//= https://docs.aws.amazon.com/AmazonECS/latest/developerguide/deployment-lifecycle-hooks.html
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EcsEvent {
    execution_id: String,
    lifecycle_stage: String,
    resource_arn: String,
    #[serde(default)]
    execution_details: Option<EcsDetails>,
    /// What the service's definition says, and what gate said when it was asked before.
    #[serde(default)]
    hook_details: Value,
    #[serde(flatten)]
    flat: EcsDetails,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct EcsDetails {
    #[serde(default)]
    target_service_revision_arn: Option<String>,
    #[serde(default)]
    test_traffic_weights: Value,
    #[serde(default)]
    production_traffic_weights: Value,
}

/// A hook of ECS.
#[derive(Clone, Debug, PartialEq)]
pub struct EcsAsked {
    /// The question.
    pub asked: Asked,
    /// The hook is asked again while its deployment goes back.
    pub is_rollback: bool,
    /// The evaluation that gate told of when it was asked before.
    pub told: Option<String>,
}

/// A job of CodePipeline as the relay forwards it: its credentials stay behind.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct JobEvent {
    /// CodePipeline's id of the job.
    pub job_id: String,
    /// What the action's configuration says.
    #[serde(default)]
    pub user_parameters: String,
    /// Id of the first job of this action, where it was invoked before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub continuation: Option<String>,
    /// ARN of the relay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub function_arn: Option<String>,
}

/// Where the relay is, if it says so.
fn place(function_arn: Option<&str>) -> Place {
    function_arn.map(Place::of_arn).unwrap_or_default()
}

/// A hook of CodeDeploy.
///
/// # Errors
/// What is wrong with it.
pub fn codedeploy(body: &[u8]) -> Result<Asked, String> {
    let event: HookEvent = serde_json::from_slice(body).map_err(|error| {
        format!("not a CodeDeploy hook event: {}; it has the keys DeploymentId and LifecycleEventHookExecutionId", crate::unread(&error))
    })?;
    check_deployment_id(&event.deployment_id)?;
    let token = &event.execution_id;
    let graphic = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || token.len() > TOKEN_MAX || !graphic {
        return Err(format!(
            "LifecycleEventHookExecutionId must be 1 to {TOKEN_MAX} printable characters"
        ));
    }
    let place = place(event.function_arn.as_deref());
    let ask = Ask::CodedeployHook {
        deployment_id: event.deployment_id,
        execution_id: Token(event.execution_id),
    };
    Ok(Asked::now(ask, place))
}

/// Whether a text can be CodeDeploy's id of a deployment.
///
/// # Errors
/// It cannot.
pub fn check_deployment_id(id: &str) -> Result<(), String> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !id.starts_with("d-") || id.len() > DEPLOYMENT_ID_MAX || !plain(id) {
        return Err("DeploymentId must look like d-ABCDEF123".to_owned());
    }
    Ok(())
}

/// Whether a text can be the ARN of a service deployment.
///
/// # Errors
/// It cannot.
pub fn check_service_deployment(arn: &str) -> Result<(), String> {
    let sound = arn.starts_with("arn:")
        && arn.contains(":service-deployment/")
        && arn.len() <= ARN_MAX
        && arn.bytes().all(|byte| byte.is_ascii_graphic());
    if sound {
        Ok(())
    } else {
        Err("resourceArn must be the ARN of a service deployment".to_owned())
    }
}

/// A hook of ECS.
///
/// # Errors
/// What is wrong with it.
pub fn ecs(body: &[u8]) -> Result<EcsAsked, String> {
    let event: EcsEvent = serde_json::from_slice(body).map_err(|error| {
        format!("not an ECS hook event: {}; it has the keys executionId, lifecycleStage and resourceArn", crate::unread(&error))
    })?;
    check_service_deployment(&event.resource_arn)?;
    if event.execution_id.is_empty() || event.execution_id.len() > TOKEN_MAX {
        return Err(format!("executionId must be 1 to {TOKEN_MAX} characters"));
    }
    let Some(stage) = Stage::named(&event.lifecycle_stage) else {
        return Err(format!("`{}` is not a stage gate knows", event.lifecycle_stage));
    };
    let told = event.hook_details.pointer("/gate/evaluation").and_then(Value::as_str);
    let told = told.filter(|id| id.len() <= ARN_MAX).map(str::to_owned);
    let details = event.execution_details.unwrap_or(event.flat);
    let is_rollback = goes_back(stage, &details);
    let place = Place::of_arn(&event.resource_arn);
    let ask = Ask::EcsHook {
        deployment_arn: event.resource_arn,
        execution_id: event.execution_id,
        stage,
    };
    Ok(EcsAsked { asked: Asked::now(ask, place), is_rollback, told })
}

/// During a rollback the shift hooks are asked again, with nothing for green and all for another revision.
fn goes_back(stage: Stage, details: &EcsDetails) -> bool {
    let weights = if stage == Stage::TestTrafficShift {
        &details.test_traffic_weights
    } else if stage == Stage::ProductionTrafficShift {
        &details.production_traffic_weights
    } else {
        return false;
    };
    let (Some(weights), Some(green)) = (weights.as_object(), &details.target_service_revision_arn)
    else {
        return false;
    };
    let weight = |value: &Value| value.as_f64().unwrap_or(-1.0);
    let none = |value: &Value| weight(value).abs() < f64::EPSILON;
    let green_has_none = weights.get(green).is_some_and(none);
    let all = |(arn, value): (&String, &Value)| arn != green && weight(value) >= 100.0;
    green_has_none && weights.iter().any(all)
}

/// A job of CodePipeline, and the id of the job to be answered now.
///
/// # Errors
/// What is wrong with it.
pub fn codepipeline(body: &[u8]) -> Result<(Asked, String), String> {
    let event: JobEvent = serde_json::from_slice(body)
        .map_err(|error| format!("not a job of CodePipeline: {}", crate::unread(&error)))?;
    let plain = |id: &str| {
        !id.is_empty()
            && id.len() <= DEPLOYMENT_ID_MAX
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if !plain(&event.job_id) || event.continuation.as_deref().is_some_and(|id| !plain(id)) {
        return Err("a job's id is letters, digits and `-`".to_owned());
    }
    let ask = Ask::PipelineJob {
        pipeline: String::new(),
        job_id: event.continuation.unwrap_or_else(|| event.job_id.clone()),
        policy: policy_named(&event.user_parameters),
    };
    let place = place(event.function_arn.as_deref());
    Ok((Asked::now(ask, place), event.job_id))
}

/// The policy that a person's text names: `gate:NAME` anywhere in it, else the whole of it where that is one
/// word.
pub fn policy_named(text: &str) -> Option<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let said = words.iter().find_map(|word| word.strip_prefix("gate:"));
    let named = said.or(match words.as_slice() {
        [one] => Some(*one),
        _ => None,
    })?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (!named.is_empty() && named.bytes().all(plain)).then(|| named.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hook_event_has_two_sane_ids() {
        let check = |body: &str, accepted: bool| {
            assert_eq!(codedeploy(body.as_bytes()).is_ok(), accepted, "{body}");
        };
        check(r#"{"DeploymentId":"d-IHWDEND8F","LifecycleEventHookExecutionId":"eyJl=="}"#, true);
        check(r#"{"DeploymentId":"d-1","LifecycleEventHookExecutionId":"e","Combined":{}}"#, true);
        check(r#"{"DeploymentId":"d-../../etc","LifecycleEventHookExecutionId":"e"}"#, false);
        check(r#"{"DeploymentId":"x-1","LifecycleEventHookExecutionId":"e"}"#, false);
        check(r#"{"DeploymentId":"d-1","LifecycleEventHookExecutionId":""}"#, false);
        check(r#"{"DeploymentId":"d-1","LifecycleEventHookExecutionId":"a\nb"}"#, false);
        check(r#"{"DeploymentId":"d-1"}"#, false);
        check("[]", false);
        check("", false);
    }

    #[test]
    fn what_cannot_be_read_is_told_by_its_place_and_not_quoted() {
        let check = |told: Result<(), String>, expected: &str| {
            let told = told.unwrap_err();
            assert!(told.contains(expected) && !told.contains("hunter2"), "{told}");
        };
        let hook = br#"{"DeploymentId":{"hunter2":1},"LifecycleEventHookExecutionId":"e"}"#;
        check(codedeploy(hook).map(drop), "event: a value is not of its kind (line 1, column ");
        check(codedeploy(b"[\"hunter2\"]").map(drop), "event: a value is not of its kind");
        check(codedeploy(b"hunter2").map(drop), "event: it is no JSON (line 1, column 1)");
        check(codedeploy(b"{\"hunter2").map(drop), "event: it ends too early (line 1, ");
        check(codedeploy(b"{}").map(drop), "event: `DeploymentId` is missing (line 1, column 2)");
        check(
            ecs(br#"{"executionId":["hunter2"]}"#).map(drop),
            "event: a value is not of its kind",
        );
        check(codepipeline(br#""hunter2""#).map(drop), "CodePipeline: a value is not of its kind");
    }

    const ARN: &str = "arn:aws:ecs:us-west-2:123456789012:service-deployment/c/s/EZe5";

    #[test]
    fn both_shapes_of_an_ecs_hook_are_one_question_and_a_rollback_is_known_by_its_weights() {
        let nested = |stage: &str, weights: &str| {
            format!(
                r#"{{"executionId":"f4f","lifecycleStage":"{stage}","resourceArn":"{ARN}","executionDetails":{{"serviceArn":"s","targetServiceRevisionArn":"green","testTrafficWeights":{{}},"productionTrafficWeights":{weights}}},"hookDetails":{{"any":1}}}}"#
            )
        };
        let flat = |stage: &str, weights: &str| {
            format!(
                r#"{{"executionId":"f4f","lifecycleStage":"{stage}","resourceArn":"{ARN}","serviceArn":"s","targetServiceRevisionArn":"green","testTrafficWeights":{{}},"productionTrafficWeights":{weights}}}"#
            )
        };
        let shift = "PRODUCTION_TRAFFIC_SHIFT";
        for (stage, weights, is_rollback) in [
            (shift, r#"{"green":100,"blue":0}"#, false),
            (shift, r#"{"green":0,"blue":100}"#, true),
            (shift, r#"{"green":10,"blue":90}"#, false),
            (shift, "{}", false),
            // Production is blue's while test traffic shifts.
            ("TEST_TRAFFIC_SHIFT", r#"{"green":0,"blue":100}"#, false),
            ("POST_TEST_TRAFFIC_SHIFT", r#"{"green":0,"blue":100}"#, false),
        ] {
            let (one, other) = (nested(stage, weights), flat(stage, weights));
            let (one, other) = (ecs(one.as_bytes()).unwrap(), ecs(other.as_bytes()).unwrap());
            assert_eq!(one, other);
            assert_eq!(one.is_rollback, is_rollback, "{stage} {weights}");
            assert_eq!(one.asked.place.region.as_deref(), Some("us-west-2"));
        }
        for body in [
            r#"{"executionId":"f","lifecycleStage":"NEW_STAGE","resourceArn":"arn:aws:ecs:r:1:service-deployment/c/s/E"}"#,
            r#"{"executionId":"f","lifecycleStage":"PRE_SCALE_UP","resourceArn":"arn:aws:ecs:r:1:service/c/s"}"#,
            "{}",
        ] {
            assert!(ecs(body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_job_that_comes_again_is_the_same_question() {
        let first = codepipeline(br#"{"job_id":"j-1","user_parameters":"checkout"}"#).unwrap();
        let again = br#"{"job_id":"j-2","user_parameters":"checkout","continuation":"j-1"}"#;
        let again = codepipeline(again).unwrap();
        assert_eq!(first.0, again.0);
        assert_eq!((first.1.as_str(), again.1.as_str()), ("j-1", "j-2"));
        codepipeline(br#"{"job_id":"../x"}"#).unwrap_err();
    }

    #[test]
    fn a_policy_is_named_by_one_word_or_after_gate() {
        for (text, named) in [
            ("checkout", Some("checkout")),
            ("Please approve. gate:checkout-e2e thanks", Some("checkout-e2e")),
            ("please approve", None),
            ("", None),
            ("../../etc/passwd", None),
            ("gate:", None),
        ] {
            assert_eq!(policy_named(text).as_deref(), named, "{text}");
        }
    }
}
