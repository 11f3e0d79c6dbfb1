//! Serves a router on a socket with limits on connections, heads, bodies and time.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::telemetry::Metrics;
use crate::tls::Tls;

/// Connections at once on one listener; each costs a few kilobytes.
const CONNECTIONS_MAX: usize = 1024;
/// A hook's body has two ids of a few hundred characters.
const BODY_MAX_BYTES: usize = 64 * 1024;
/// The head of a request: a signature, a token and what browsers add.
const HEAD_MAX_BYTES: usize = 16 * 1024;
/// Time for a client to send the head of its request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for one request, its body included.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// On a stop, requests under way get this long.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// Pages hold no script and load nothing, their form goes back to gate alone, and nobody frames them.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// Serves until told to stop, then lets requests under way finish.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Option<Tls>,
    router: Router,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) {
    let limited = Arc::clone(&metrics);
    let router = router.layer(DefaultBodyLimit::max(BODY_MAX_BYTES)).layer(middleware::from_fn(
        move |request, next| limit(Arc::clone(&limited), request, next),
    ));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, _peer): (_, SocketAddr) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of descriptors, most likely: do not spin.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            metrics.lost("connection");
            continue;
        };
        let service = TowerToHyperService::new(router.clone());
        let (stop, tls, metrics) = (stop.clone(), tls.clone(), Arc::clone(&metrics));
        connections.spawn(async move {
            let _place = place;
            match tls {
                None => converse(stream, service, &metrics, stop).await,
                Some(tls) => match tls.accept(stream).await {
                    Some(stream) => converse(stream, service, &metrics, stop).await,
                    None => metrics.lost("handshake"),
                },
            }
        });
    }
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!("some requests did not finish before the stop");
    }
}

/// Serves one connection to its end.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    service: TowerToHyperService<Router>,
    metrics: &Metrics,
    stop: CancellationToken,
) {
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_MAX_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        served = &mut connection => served,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        if error.is_parse_too_large() {
            metrics.lost("too-large-head");
        } else if error.is_timeout() {
            metrics.lost("timed-out-head");
        }
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn limit(metrics: Arc<Metrics>, request: Request, next: Next) -> Response {
    let mut response = match tokio::time::timeout(REQUEST_TIMEOUT, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => {
            metrics.lost("timed-out-request");
            StatusCode::REQUEST_TIMEOUT.into_response()
        }
    };
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        metrics.lost("too-large-request");
    }
    // Say so to the browser.
    let headers = response.headers_mut();
    headers
        .insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
