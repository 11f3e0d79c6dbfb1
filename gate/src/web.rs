//! What people and programs read: pages, their JSON, health and metrics.

mod pages;

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use tracing::error;

use crate::app::Gate;

/// The pages, for the hooks' listener too: a hook's answer names one of them.
pub(crate) fn pages(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/", get(|| async { Redirect::temporary("/evaluations") }))
        .route("/evaluations", get(list))
        .route("/evaluations/{id}", get(evaluation))
        .route("/evaluations/{id}/record", get(record))
        .with_state(gate)
}

/// Everything operators and Prometheus look at.
pub(crate) fn admin(gate: Arc<Gate>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(Arc::clone(&gate))
        .merge(pages(gate))
}

async fn ready(State(gate): State<Arc<Gate>>) -> Response {
    if gate.ready() {
        "ready\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "stopping: hooks are refused\n").into_response()
    }
}

async fn metrics(State(gate): State<Arc<Gate>>) -> Response {
    match gate.metrics.text() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => internal(&error),
    }
}

async fn list(State(gate): State<Arc<Gate>>, headers: HeaderMap) -> Response {
    match gate.list().await {
        Ok(listed) if wants_html(&headers) => page(pages::list(&listed)),
        Ok(listed) => Json(json!({ "evaluations": listed })).into_response(),
        Err(error) => internal(&error),
    }
}

async fn evaluation(
    State(gate): State<Arc<Gate>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    match gate.report(&id).await {
        Ok(Some((report, accepted_at))) if wants_html(&headers) => {
            page(pages::evaluation(&report, accepted_at))
        }
        Ok(Some((report, _))) => Json(report).into_response(),
        Ok(None) => unknown(),
        Err(error) => internal(&error),
    }
}

async fn record(State(gate): State<Arc<Gate>>, Path(id): Path<String>) -> Response {
    match gate.record(&id).await {
        Ok(Some(record)) => Json(record).into_response(),
        Ok(None) => unknown(),
        Err(error) => internal(&error),
    }
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
