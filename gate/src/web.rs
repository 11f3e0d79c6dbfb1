//! What people and programs read: pages, their JSON, health and metrics.

mod overrides;
mod pages;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use policies::Report;
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::app::{Gate, Turn, replayed};
use crate::own_task::OwnTask;
use crate::record;
use crate::sidecar::Sidecar;
use crate::telemetry::Metrics;

/// What operators look at.
#[derive(Debug)]
pub(crate) struct Operators {
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) sidecar: Sidecar,
    /// Where somebody may ask.
    pub(crate) gate: Option<Arc<Gate>>,
    /// The ECS task gate runs in, once it is known.
    pub(crate) task: watch::Receiver<Option<OwnTask>>,
    pub(crate) stop: CancellationToken,
}

/// The pages, for the hooks' listener too: a hook's answer names one of them.
pub(crate) fn pages(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/evaluations") }))
        .route("/evaluations", get(list))
        .route("/evaluations/{id}", get(evaluation))
        .route("/evaluations/{id}/record", get(recorded))
        .route("/evaluations/{id}/override", get(overrides::form).post(overrides::take))
        .with_state(gate)
}

/// Everything operators and Prometheus look at.
pub(crate) fn admin(operators: Operators) -> Router {
    let pages = operators.gate.clone().map_or_else(Router::new, pages);
    Router::new()
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/snapshot", get(snapshot))
        .with_state(Arc::new(operators))
        .merge(pages)
}

/// Gate's own liveness. A target that is guarded and Broken is the one thing else that fails it.
async fn health(State(operators): State<Arc<Operators>>) -> Response {
    match operators.sidecar.broken() {
        None => "ok\n".into_response(),
        Some(reasons) => (StatusCode::SERVICE_UNAVAILABLE, reasons).into_response(),
    }
}

async fn ready(State(operators): State<Arc<Operators>>) -> Response {
    if operators.stop.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "stopping: hooks are refused\n").into_response();
    }
    let gate = operators.gate.as_ref();
    // First what somebody has to mend.
    let text = if let Some(trouble) = gate.and_then(|gate| gate.journal().0.trouble) {
        format!(
            "journal: {trouble}; no question is accepted, those under way are judged and answered\n"
        )
    } else {
        match gate.map_or(0, |gate| gate.resuming()) {
            0 => return "ready\n".into_response(),
            left => format!("resuming: {left} questions are still to be taken up\n"),
        }
    };
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn snapshot(State(operators): State<Arc<Operators>>) -> Response {
    let task = operators.task.borrow().clone();
    Json(json!({ "task": task, "targets": operators.sidecar.snapshot() })).into_response()
}

async fn metrics(State(operators): State<Arc<Operators>>) -> Response {
    if let Some(gate) = &operators.gate {
        let (state, waiting) = gate.journal();
        operators.metrics.journal(state.trouble.is_none(), state.bytes, waiting);
    }
    match operators.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => internal(&error),
    }
}

async fn list(State(gate): State<Arc<Gate>>, headers: HeaderMap) -> Response {
    let Some(turn) = gate.readers.turn().await else { return busy(&gate) };
    let listing = async move { gate.list().await };
    in_turn(turn, listing, move |listed| match listed {
        Ok(listed) if wants_html(&headers) => page(pages::list(&listed)),
        Ok(listed) => Json(json!({ "evaluations": listed })).into_response(),
        Err(error) => internal(&error),
    })
    .await
}

async fn evaluation(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let html = wants_html(&headers);
    // The form is for whoever has a token.
    let form = gate.tokens.are_there();
    if let Some(found) = gate.report(&id) {
        return told(found, html, form, true);
    }
    let Some(turn) = gate.readers.turn().await else { return busy(&gate) };
    let loading = async move { gate.stored(&id).await };
    in_turn(turn, loading, move |stored| match stored {
        Ok(Some(stored)) => told(replayed(stored), html, form, false),
        Ok(None) => unknown(),
        Err(error) => internal(&error),
    })
    .await
}

/// A question as it stands. A page of a run that is not under way here does not load itself again.
fn told((mut report, accepted_at): (Report, u64), html: bool, form: bool, live: bool) -> Response {
    if html {
        report.overridable &= form;
        page(pages::evaluation(&report, accepted_at, live))
    } else {
        Json(report).into_response()
    }
}

async fn recorded(State(gate): State<Arc<Gate>>, Path(id): Path<String>) -> Response {
    let Some(turn) = gate.readers.turn().await else { return busy(&gate) };
    let loading = async move { gate.stored(&id).await };
    in_turn(turn, loading, |stored| match stored {
        Ok(Some(stored)) => Json(record::of(stored)).into_response(),
        Ok(None) => unknown(),
        Err(error) => internal(&error),
    })
    .await
}

/// What is made of what was read.
async fn in_turn<T: Send + 'static>(
    turn: Turn,
    reading: impl Future<Output = T> + Send + 'static,
    making: impl FnOnce(T) -> Response + Send + 'static,
) -> Response {
    turn.spend(reading, making).await.unwrap_or_else(|error| internal(&error))
}

/// Too many read at once.
fn busy(gate: &Gate) -> Response {
    gate.metrics.lost("reader");
    let body = json!({ "error": "too many read the journal right now; try again" });
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "1")], Json(body)).into_response()
}

fn unknown() -> Response {
    let body = json!({ "error": "no such evaluation in this journal" });
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

/// Browsers name HTML; programs and `curl` do not.
fn wants_html(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.contains("text/html"))
}

fn page(rendered: Result<String, askama::Error>) -> Response {
    match rendered {
        Ok(html) => Html(html).into_response(),
        Err(error) => internal(&error),
    }
}

fn internal(error: &(dyn std::error::Error + 'static)) -> Response {
    error!(error, "a request could not be served");
    let body = json!({ "error": crate::cli::story(error) });
    (StatusCode::INTERNAL_SERVER_ERROR, Json(body)).into_response()
}
