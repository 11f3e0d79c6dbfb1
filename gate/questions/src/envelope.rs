//! What stands on the queue: events of EventBridge, notifications of SNS, hooks from the relay.

use jiff::Timestamp;
use policies::Stage;
use serde::Deserialize;
use serde_json::Value;

use crate::ask::{Ask, Asked, Token, Watched};
use crate::hooks::{self, check_deployment_id, check_service_deployment, policy_named};
use crate::place::Place;

/// An SNS notification may hold an event; nothing holds an SNS notification.
const DEPTH_MAX: u8 = 2;

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Envelope {
    /// Somebody asks.
    Asked(Box<Asked>),
    /// ECS has begun to deploy a service: which deployment that is has to be looked up.
    ServiceDeploys {
        /// ARN of the service.
        service_arn: String,
    },
    /// Understood, and no question.
    Nothing,
}

#[derive(Deserialize)]
struct Event {
    source: String,
    #[serde(rename = "detail-type")]
    detail_type: String,
    #[serde(default)]
    account: Option<String>,
    #[serde(default)]
    region: Option<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    detail: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Notification {
    #[serde(rename = "Type")]
    kind: String,
    message: String,
    #[serde(default)]
    topic_arn: Option<String>,
}

#[derive(Deserialize)]
struct ApprovalNotice {
    #[serde(default)]
    region: Option<String>,
    approval: ApprovalText,
}

/// What CodePipeline tells of a manual approval.
//= https://docs.aws.amazon.com/codepipeline/latest/userguide/approvals-json-format.html
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApprovalText {
    pipeline_name: String,
    stage_name: String,
    action_name: String,
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    expires: Option<String>,
    #[serde(default)]
    custom_data: Option<String>,
}

/// Reads a message.
///
/// # Errors
/// Why it is none that gate knows.
pub fn read(body: &str) -> Result<Envelope, String> {
    open(body, None, DEPTH_MAX)
}

fn open(body: &str, topic: Option<&str>, depth: u8) -> Result<Envelope, String> {
    let value: Value =
        serde_json::from_str(body).map_err(|error| format!("it is not JSON: {error}"))?;
    let has = |key: &str| value.get(key).is_some();
    if has("detail-type") && has("source") {
        let event = parsed(value, "an event of EventBridge")?;
        return of_event(event);
    }
    if has("Type") && has("Message") {
        let notice: Notification = parsed(value, "a notification of SNS")?;
        if notice.kind != "Notification" {
            return Err(format!(
                "it is a `{}` of SNS; subscribe the queue itself, which needs no confirmation",
                notice.kind
            ));
        }
        if depth == 0 {
            return Err("a notification within a notification".to_owned());
        }
        return open(&notice.message, notice.topic_arn.as_deref(), depth - 1);
    }
    if has("approval") {
        return of_approval(parsed(value, "a manual approval")?, topic);
    }
    if has("eventTriggerName") {
        return of_trigger(&value);
    }
    if has("DeploymentId") {
        return hooks::codedeploy(body.as_bytes()).map(|asked| Envelope::Asked(Box::new(asked)));
    }
    Err("it is no event of EventBridge, no notification of SNS and no hook".to_owned())
}

fn parsed<T: serde::de::DeserializeOwned>(value: Value, what: &str) -> Result<T, String> {
    serde_json::from_value(value)
        .map_err(|error| format!("it is not {what}: {}", crate::unread(&error)))
}

/// The text of a key, where it is one.
fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str)
}

fn asked(ask: Ask, place: Place) -> Result<Envelope, String> {
    Ok(Envelope::Asked(Box::new(Asked::now(ask, place))))
}

fn of_event(event: Event) -> Result<Envelope, String> {
    let place = Place { region: event.region, account: event.account };
    match (event.source.as_str(), event.detail_type.as_str()) {
        ("aws.ecs", "ECS Hook State Change") => of_pause(&event.detail),
        ("aws.ecs", "ECS Deployment State Change") => {
            let begins = text(&event.detail, "eventName") == Some("SERVICE_DEPLOYMENT_IN_PROGRESS");
            let service = event.resources.into_iter().find(|arn| arn.contains(":service/"));
            match service.filter(|_| begins) {
                Some(service_arn) => Ok(Envelope::ServiceDeploys { service_arn }),
                None => Ok(Envelope::Nothing),
            }
        }
        ("aws.codedeploy", "CodeDeploy Deployment State-change Notification") => {
            let Some(id) = text(&event.detail, "deploymentId") else {
                return Err("the event names no deployment".to_owned());
            };
            of_state(id, text(&event.detail, "state"), place)
        }
        // A rule that is wider than it has to be: nothing to be done about what else it lets through.
        ("aws.ecs" | "aws.codedeploy", _) => Ok(Envelope::Nothing),
        (source, _) => Err(format!("gate expects no event of `{source}`")),
    }
}

fn of_state(id: &str, state: Option<&str>, place: Place) -> Result<Envelope, String> {
    check_deployment_id(id)?;
    let deployment_id = id.to_owned();
    match state {
        Some("START" | "DeploymentStart") => {
            asked(Ask::Watch { of: Watched::CodeDeploy { deployment_id } }, place)
        }
        Some("READY" | "DeploymentReady") => asked(Ask::CodedeployReady { deployment_id }, place),
        _ => Ok(Envelope::Nothing),
    }
}

fn of_pause(detail: &Value) -> Result<Envelope, String> {
    if text(detail, "eventName") != Some("HOOK_AWAITING_ACTION")
        || text(detail, "hookType") != Some("PAUSE")
    {
        return Ok(Envelope::Nothing);
    }
    let (Some(arn), Some(hook_id)) = (text(detail, "serviceDeploymentArn"), text(detail, "hookId"))
    else {
        return Err("the pause names no deployment or no hook".to_owned());
    };
    check_service_deployment(arn)?;
    let ask = Ask::EcsPause {
        deployment_arn: arn.to_owned(),
        hook_id: hook_id.to_owned(),
        stage: text(detail, "lifecycleStage").and_then(Stage::named),
        expires_unix_millis: text(detail, "expiresAt").and_then(unix_millis),
    };
    asked(ask, Place::of_arn(arn))
}

/// A trigger of a deployment group, told by SNS.
fn of_trigger(value: &Value) -> Result<Envelope, String> {
    let Some(id) = text(value, "deploymentId") else {
        return Err("the trigger names no deployment".to_owned());
    };
    let place = Place {
        region: text(value, "region").map(str::to_owned),
        account: text(value, "accountId").map(str::to_owned),
    };
    of_state(id, text(value, "eventTriggerName"), place)
}

fn of_approval(notice: ApprovalNotice, topic: Option<&str>) -> Result<Envelope, String> {
    let topic = topic.map(Place::of_arn).unwrap_or_default();
    let place = Place { region: notice.region.or(topic.region), account: topic.account };
    let ApprovalText { pipeline_name, stage_name, action_name, token, expires, custom_data } =
        notice.approval;
    let ask = Ask::Approval {
        pipeline: pipeline_name,
        stage: stage_name,
        action: action_name,
        // In a PARALLEL pipeline there is none: it is looked up.
        token: Token(token.unwrap_or_default()),
        policy: custom_data.as_deref().and_then(policy_named),
        expires_unix_millis: expires.as_deref().and_then(unix_millis),
    };
    asked(ask, place)
}

/// `2026-03-05T16:04:41Z`, or without seconds as CodePipeline writes it.
fn unix_millis(text: &str) -> Option<u64> {
    let parsed = text.parse::<Timestamp>().ok().or_else(|| {
        let whole = format!("{}:00Z", text.strip_suffix('Z')?);
        whole.parse::<Timestamp>().ok()
    });
    u64::try_from(parsed?.as_millisecond()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(body: &str, expected: Expect) {
        let shown = match read(body) {
            Ok(Envelope::Asked(asked)) => format!(
                "{} {} {:?} in {:?} {:?}",
                asked.ask.kind(),
                asked.ask.subject().id(),
                asked.limit(0),
                asked.place.region,
                asked.place.account
            ),
            Ok(other) => format!("{other:?}"),
            Err(reason) => format!("refused: {reason}"),
        };
        expected.assert_eq(&shown);
    }

    const PAUSE: &str = r#"{"version":"0","detail-type":"ECS Hook State Change","source":"aws.ecs","account":"123456789012","region":"us-west-2","detail":{"eventName":"NAME","hookId":"ecs-pause-e7","hookType":"PAUSE","expiresAt":"1970-01-01T00:10:00Z","lifecycleStage":"POST_TEST_TRAFFIC_SHIFT","serviceDeploymentArn":"arn:aws:ecs:us-west-2:123456789012:service-deployment/c/s/0EYS"}}"#;

    #[test]
    fn a_pause_that_waits_is_a_question_and_its_end_is_none() {
        check(
            &PAUSE.replace("NAME", "HOOK_AWAITING_ACTION"),
            expect![[r#"ecs-pause 0EYS Some(600s) in Some("us-west-2") Some("123456789012")"#]],
        );
        check(&PAUSE.replace("NAME", "HOOK_SUCCEEDED"), expect!["Nothing"]);
    }

    #[test]
    fn a_deployment_that_begins_is_watched_and_one_that_is_ready_asks() {
        let event = |state: &str| {
            format!(
                r#"{{"source":"aws.codedeploy","detail-type":"CodeDeploy Deployment State-change Notification","account":"1","region":"us-east-1","detail":{{"deploymentId":"d-123456789","state":"{state}"}}}}"#
            )
        };
        check(
            &event("START"),
            expect![[r#"watch d-123456789 None in Some("us-east-1") Some("1")"#]],
        );
        check(
            &event("READY"),
            expect![[r#"codedeploy-ready d-123456789 None in Some("us-east-1") Some("1")"#]],
        );
        check(&event("SUCCESS"), expect!["Nothing"]);
        check(
            r#"{"source":"aws.ecs","detail-type":"ECS Deployment State Change","resources":["arn:aws:ecs:eu-west-1:1:service/prod/web"],"detail":{"eventName":"SERVICE_DEPLOYMENT_IN_PROGRESS"}}"#,
            expect![[
                r#"ServiceDeploys { service_arn: "arn:aws:ecs:eu-west-1:1:service/prod/web" }"#
            ]],
        );
    }

    #[test]
    fn notifications_are_opened_whatever_they_hold() {
        let notice = |message: &str| {
            serde_json::json!({ "Type": "Notification", "Message": message, "TopicArn": "arn:aws:sns:us-east-2:42:gate" })
                .to_string()
        };
        let approval = r#"{"region":"us-east-2","approval":{"pipelineName":"P","stageName":"S","actionName":"A","token":"t","expires":"1970-01-01T01:00Z","customData":"checkout"}}"#;
        check(
            &notice(approval),
            expect![[r#"approval P Some(3600s) in Some("us-east-2") Some("42")"#]],
        );
        let trigger = r#"{"region":"eu-west-1","accountId":"7","eventTriggerName":"DeploymentReady","deploymentId":"d-9"}"#;
        check(
            &notice(trigger),
            expect![[r#"codedeploy-ready d-9 None in Some("eu-west-1") Some("7")"#]],
        );
        check(
            &notice(&PAUSE.replace("NAME", "HOOK_AWAITING_ACTION")),
            expect![[r#"ecs-pause 0EYS Some(600s) in Some("us-west-2") Some("123456789012")"#]],
        );
        check(
            &notice(&notice(&notice("{}"))),
            expect!["refused: a notification within a notification"],
        );
    }

    #[test]
    fn what_gate_does_not_know_says_what_it_is() {
        check("hello", expect!["refused: it is not JSON: expected value at line 1 column 1"]);
        check(
            "{}",
            expect!["refused: it is no event of EventBridge, no notification of SNS and no hook"],
        );
        check(
            r#"{"source":"aws.s3","detail-type":"Object Created"}"#,
            expect!["refused: gate expects no event of `aws.s3`"],
        );
        check(
            r#"{"DeploymentId":"x","LifecycleEventHookExecutionId":"e"}"#,
            expect!["refused: DeploymentId must look like d-ABCDEF123"],
        );
    }
}
