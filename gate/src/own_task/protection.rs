//! Keeps ECS from taking the daemon's task away while somebody waits for an answer.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use questions::task::is_protected;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use super::AGENT_TIMEOUT;
use crate::app::Gate;
use crate::cli::story;
use crate::client::Client;

/// Where the agent takes requests, set in every container of a task.
//= https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
const AGENT_URI: &str = "ECS_AGENT_URI";
/// How long a protection holds by itself: a gate that dies is not protected for ever.
const PROTECTED_MINUTES: u32 = 60;
/// It is renewed this often while questions wait.
const RENEW_EVERY: Duration = Duration::from_secs(30 * 60);
/// How often it is looked whether anybody waits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// What the agent refused is tried again after so long.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Protects the task while questions wait, until gate stops. Outside ECS it does nothing.
pub(crate) async fn protect(gate: Arc<Gate>) {
    let Ok(base) = std::env::var(AGENT_URI) else { return };
    let client = Client::new();
    let uri = format!("{}/task-protection/v1/state", base.trim_end_matches('/'));
    let mut protected: Option<Instant> = None;
    let mut warned = false;
    loop {
        let stopping = gate.stop.is_cancelled();
        let wanted = !stopping && gate.questions_waiting() > 0;
        let due = match protected {
            Some(since) => !wanted || since.elapsed() >= RENEW_EVERY,
            None => wanted,
        };
        let mut wait = LOOK_EVERY;
        if due {
            match put(&client, &uri, wanted).await {
                Ok(()) => {
                    if protected.is_some() != wanted {
                        info!(protected = wanted, "task protection");
                    }
                    protected = wanted.then(Instant::now);
                }
                Err(reason) => {
                    // Without it ECS may replace the task; the next one takes the question up.
                    if !warned {
                        warn!(
                            reason,
                            "the task is not protected; allow `ecs:UpdateTaskProtection` to its role"
                        );
                        warned = true;
                    }
                    wait = AGAIN_AFTER;
                }
            }
        }
        if stopping {
            return;
        }
        tokio::select! {
            () = gate.stop.cancelled() => {}
            () = sleep(wait) => {}
        }
    }
}

async fn put(client: &Client, uri: &str, protect: bool) -> Result<(), String> {
    let body = if protect {
        json!({ "ProtectionEnabled": true, "ExpiresInMinutes": PROTECTED_MINUTES })
    } else {
        json!({ "ProtectionEnabled": false })
    };
    let request = Request::put(uri)
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body.to_string())))
        .map_err(|error| format!("{AGENT_URI}: {error}"))?;
    match client.send(request, AGENT_TIMEOUT).await {
        // A refusal comes as 200 with `failure` or `error` in it, too.
        Ok((StatusCode::OK, body)) if is_protected(&body) == Some(protect) => Ok(()),
        Ok((status, body)) => Err(format!("{status}: {}", String::from_utf8_lossy(&body))),
        Err(error) => Err(story(&error)),
    }
}
