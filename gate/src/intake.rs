//! Questions that arrive by HTTP: `POST /hooks/codedeploy`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::json;
use tracing::{error, warn};

use crate::app::{Gate, Intake};
use crate::journal::unix_millis;
use crate::signature;

/// Where hooks are posted; part of what is signed.
pub(crate) const CODEDEPLOY_PATH: &str = "/hooks/codedeploy";
/// A deployment id: `d-` and a few capital letters and digits.
const DEPLOYMENT_ID_MAX: usize = 64;
/// An execution id has about 270 characters; the model names no limit.
const EXECUTION_ID_MAX: usize = 4096;
/// After this long a refused sender may try again.
const RETRY_AFTER_SECONDS: &str = "5";

/// What CodeDeploy tells a hook's Lambda function, and the whole of it.
//= https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct HookEvent {
    /// Id of the deployment.
    #[serde(rename = "DeploymentId")]
    pub(crate) deployment_id: String,
    /// The token that the answer must carry.
    #[serde(rename = "LifecycleEventHookExecutionId")]
    pub(crate) execution_id: String,
}

pub(crate) fn router(gate: Arc<Gate>) -> Router {
    Router::new().route(CODEDEPLOY_PATH, post(codedeploy)).with_state(gate)
}

async fn codedeploy(State(gate): State<Arc<Gate>>, headers: HeaderMap, body: Bytes) -> Response {
    let refused = |outcome, status, reason: String| {
        gate.metrics.question("codedeploy-hook", outcome);
        (status, Json(json!({ "error": reason }))).into_response()
    };
    if !gate.keys.is_empty() {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let signed = (header(signature::TIMESTAMP), header(signature::SIGNATURE));
        let now = unix_millis() / 1000;
        let request = ("POST", CODEDEPLOY_PATH);
        if let Err(reason) = signature::verify(&gate.keys, request, signed, &body, now) {
            warn!(%reason, "a hook was refused");
            let text = "this hook needs a valid signature; see docs/aws-setup.md".to_owned();
            return refused("unsigned", StatusCode::UNAUTHORIZED, text);
        }
    }
    let event = match parse(&body) {
        Ok(event) => event,
        Err(reason) => return refused("malformed", StatusCode::BAD_REQUEST, reason),
    };
    let (id, joined) = match gate.accept(&event.deployment_id, &event.execution_id).await {
        Intake::Accepted(id) => (id, false),
        Intake::Joined(id) => (id, true),
        Intake::Full => {
            let text = "gate takes no more questions right now".to_owned();
            let mut response = refused("full", StatusCode::SERVICE_UNAVAILABLE, text);
            let value = header::HeaderValue::from_static(RETRY_AFTER_SECONDS);
            response.headers_mut().insert(header::RETRY_AFTER, value);
            return response;
        }
        Intake::Unwritten(error) => {
            error!(error = &error as &dyn std::error::Error, "a hook could not be written down");
            let text =
                "gate cannot write to its journal, so it does not accept questions".to_owned();
            return refused("unwritten", StatusCode::SERVICE_UNAVAILABLE, text);
        }
    };
    gate.metrics.question("codedeploy-hook", if joined { "joined" } else { "accepted" });
    let url = format!("/evaluations/{id}");
    let body = json!({ "evaluation": id, "url": url, "joined": joined });
    (StatusCode::ACCEPTED, [(header::LOCATION, url)], Json(body)).into_response()
}

fn parse(body: &[u8]) -> Result<HookEvent, String> {
    let event: HookEvent = serde_json::from_slice(body).map_err(|error| {
        format!("not a CodeDeploy hook event: {error}; it has the keys DeploymentId and LifecycleEventHookExecutionId")
    })?;
    let id = &event.deployment_id;
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if !id.starts_with("d-") || id.len() > DEPLOYMENT_ID_MAX || !plain(id) {
        return Err("DeploymentId must look like d-ABCDEF123".to_owned());
    }
    let token = &event.execution_id;
    let graphic = token.bytes().all(|byte| byte.is_ascii_graphic());
    if token.is_empty() || token.len() > EXECUTION_ID_MAX || !graphic {
        return Err(format!(
            "LifecycleEventHookExecutionId must be 1 to {EXECUTION_ID_MAX} printable characters"
        ));
    }
    Ok(event)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, accepted: bool) {
        assert_eq!(parse(body.as_bytes()).is_ok(), accepted, "{body}");
    }

    #[test]
    fn a_hook_event_has_two_sane_ids() {
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
}
