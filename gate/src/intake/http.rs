//! Questions by HTTP: `POST /hooks/codedeploy`, `/hooks/ecs`, `/hooks/codepipeline`.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use policies::{Answer, Delivery};
use serde_json::json;
use tracing::{error, info, warn};

use super::door::Shut;
use super::hooks::{self, CODEDEPLOY_PATH, CODEPIPELINE_PATH, ECS_PATH};
use crate::app::{Gate, Heard, Intake};
use crate::ask::{Ask, Asked};
use crate::aws::Failure;
use crate::journal::JournalError;

/// After this long a refused sender may try again.
const RETRY_AFTER_SECONDS: &str = "5";
/// Nothing can be written down, and so nothing is accepted.
const UNWRITTEN: &str = "gate cannot write to its journal, so it does not accept questions";
/// ECS asks again after so long.
const CALL_BACK_SECONDS: u32 = 30;

/// The routes of hooks.
pub(crate) fn router(gate: Arc<Gate>) -> Router {
    Router::new()
        .route(CODEDEPLOY_PATH, post(codedeploy))
        .route(ECS_PATH, post(ecs))
        .route(CODEPIPELINE_PATH, post(codepipeline))
        .with_state(gate)
}

/// A request that ends here, with its answer.
type Refused = Response;

fn refused(gate: &Gate, kind: &str, outcome: &str, status: StatusCode, why: &str) -> Refused {
    gate.metrics.question(kind, outcome);
    (status, Json(json!({ "error": why }))).into_response()
}

/// Lets a request in whose signature is good and new.
async fn admitted(
    gate: &Gate,
    (kind, path): (&str, &str),
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(), Refused> {
    if !gate.keys.are_required() {
        return Ok(());
    }
    super::door::admit(gate, path, headers, body).await.map_err(|shut| {
        let (status, text) = match shut {
            Shut::Unsigned => {
                (StatusCode::UNAUTHORIZED, "this hook needs a valid signature; see docs/aws.md")
            }
            Shut::Replayed => (StatusCode::CONFLICT, "replayed: sign it afresh, with another time"),
            Shut::Unwritten => return unavailable(gate, kind, shut.outcome(), UNWRITTEN),
        };
        refused(gate, kind, shut.outcome(), status, text)
    })
}

/// Accepts a question, and says by which id it is known and whether it was before.
async fn accepted(gate: &Arc<Gate>, asked: Asked) -> Result<(String, bool), Refused> {
    let kind = asked.ask.kind();
    let (id, joined) = match gate.accept(asked).await {
        Intake::Accepted(id) => (id, false),
        Intake::Joined(id) => (id, true),
        Intake::Full => {
            let text = "gate takes no more questions right now";
            return Err(unavailable(gate, kind, "full", text));
        }
        Intake::Unwritten(error) => {
            error!(error = &error as &dyn std::error::Error, "a hook could not be written down");
            return Err(unavailable(gate, kind, "unwritten", UNWRITTEN));
        }
    };
    gate.metrics.question(kind, if joined { "joined" } else { "accepted" });
    Ok((id, joined))
}

/// The answer to a question that is polled for, where there is one.
async fn heard(gate: &Gate, kind: &str, id: &str) -> Result<Heard, Refused> {
    gate.heard(id).await.map_err(|error| unread(gate, kind, &error))
}

fn unread(gate: &Gate, kind: &str, error: &JournalError) -> Refused {
    error!(error = error as &dyn std::error::Error, "the journal cannot be read");
    unavailable(gate, kind, "unread", "gate cannot read its journal")
}

/// Refuses somebody who may come back soon.
fn unavailable(gate: &Gate, kind: &str, outcome: &str, text: &str) -> Refused {
    let mut response = refused(gate, kind, outcome, StatusCode::SERVICE_UNAVAILABLE, text);
    let after = header::HeaderValue::from_static(RETRY_AFTER_SECONDS);
    response.headers_mut().insert(header::RETRY_AFTER, after);
    response
}

async fn codedeploy(State(gate): State<Arc<Gate>>, headers: HeaderMap, body: Bytes) -> Response {
    const KIND: &str = "codedeploy-hook";
    let taken = async {
        admitted(&gate, (KIND, CODEDEPLOY_PATH), &headers, &body).await?;
        let asked = hooks::codedeploy(&body)
            .map_err(|why| refused(&gate, KIND, "malformed", StatusCode::BAD_REQUEST, &why))?;
        accepted(&gate, asked).await
    };
    match taken.await {
        Ok((id, joined)) => {
            let url = format!("/evaluations/{id}");
            let body = json!({ "evaluation": id, "url": url, "joined": joined });
            (StatusCode::ACCEPTED, [(header::LOCATION, url)], Json(body)).into_response()
        }
        Err(refused) => refused,
    }
}

/// The body of the response is the hook's answer.
async fn ecs(State(gate): State<Arc<Gate>>, headers: HeaderMap, body: Bytes) -> Response {
    const KIND: &str = "ecs-hook";
    let taken = async {
        admitted(&gate, (KIND, ECS_PATH), &headers, &body).await?;
        let hook = hooks::ecs(&body)
            .map_err(|why| refused(&gate, KIND, "malformed", StatusCode::BAD_REQUEST, &why))?;
        if hook.is_rollback {
            gate.metrics.question(KIND, "rollback");
            info!(deployment = hook.asked.ask.subject().id(), "a rollback is never gated");
            let reason = "the deployment goes back, which is never gated";
            return Ok(Json(json!({
                "hookStatus": "SUCCEEDED",
                "hookDetails": { "gate": { "reason": reason } },
            })));
        }
        // ECS may call each asking an execution of its own; what gate told it the last time comes back with it.
        let before = match hook.told {
            // Whether it is the same must be known: another question would be judged from nothing.
            Some(id) => {
                let same = gate.asks_the_same(&id, &hook.asked.ask).await;
                same.map_err(|error| unread(&gate, KIND, &error))?.then_some(id)
            }
            None => None,
        };
        let id = match before {
            Some(id) => id,
            None => accepted(&gate, hook.asked).await?.0,
        };
        let url = format!("/evaluations/{id}");
        Ok(Json(match heard(&gate, KIND, &id).await? {
            Heard::Waiting => json!({
                "hookStatus": "IN_PROGRESS",
                "callBackDelay": CALL_BACK_SECONDS,
                "hookDetails": { "gate": { "evaluation": id, "url": url } },
            }),
            // It asks on while it goes back: that is never gated.
            Heard::Ended => json!({
                "hookStatus": "SUCCEEDED",
                "hookDetails": { "gate": {
                    "evaluation": id, "url": url, "reason": "the deployment ended or went back before a decision",
                } },
            }),
            Heard::Decided(decision) => {
                let status = match decision.answer {
                    Answer::Continue => "SUCCEEDED",
                    Answer::Rollback => "FAILED",
                };
                gate.told(&id, Delivery::Confirmed).await;
                json!({
                    "hookStatus": status,
                    "hookDetails": { "gate": { "evaluation": id, "url": url, "reason": decision.reason } },
                })
            }
        }))
    };
    match taken.await {
        Ok(told) => told.into_response(),
        Err::<_, Refused>(refused) => refused,
    }
}

/// The job is answered by a call; until there is an answer, CodePipeline is asked to come again.
async fn codepipeline(State(gate): State<Arc<Gate>>, headers: HeaderMap, body: Bytes) -> Response {
    const KIND: &str = "pipeline-job";
    let taken = async {
        admitted(&gate, (KIND, CODEPIPELINE_PATH), &headers, &body).await?;
        let (asked, job_id) = hooks::codepipeline(&body)
            .map_err(|why| refused(&gate, KIND, "malformed", StatusCode::BAD_REQUEST, &why))?;
        let aws = gate.clouds.at(&asked.place).await;
        let token = asked.ask.clone();
        let (id, _joined) = accepted(&gate, asked).await?;
        let decision = heard(&gate, KIND, &id).await?;
        let (decided, told) = match (&decision, &token) {
            (Heard::Decided(decision), _) => {
                let proceed = decision.answer == Answer::Continue;
                (true, aws.answer_job(&job_id, proceed, &decision.reason).await)
            }
            (Heard::Waiting, Ask::PipelineJob { job_id: first, .. }) => {
                (false, aws.continue_job(&job_id, first).await)
            }
            (Heard::Waiting | Heard::Ended, _) => (false, Ok(())),
        };
        let delivery = match told {
            Ok(()) => Delivery::Confirmed,
            // Delivered twice, or answered by other hands: nobody waits for this job, so that the relay need not
            // try again.
            Err(error) if matches!(error.failure, Failure::Completed | Failure::Missing) => {
                info!(error = error.story(), "a job of CodePipeline is over already");
                Delivery::AlreadyCompleted
            }
            Err(error) => {
                warn!(error = error.story(), "a job of CodePipeline is not answered yet");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(refused(&gate, KIND, "unanswered", status, &error.to_string()));
            }
        };
        if decided {
            gate.told(&id, delivery).await;
        }
        let url = format!("/evaluations/{id}");
        Ok(Json(json!({ "evaluation": id, "url": url, "decided": decided })))
    };
    match taken.await {
        Ok(told) => (StatusCode::ACCEPTED, told).into_response(),
        Err(refused) => refused,
    }
}
