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
use tokio::time::timeout;
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
/// A connection is let finish what it is at after so long, and ended: whoever reads no answers must not keep its place.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(120);
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
    if timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
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
    let ended = timeout(CONNECTION_TIMEOUT, stop.cancelled());
    let served = tokio::select! {
        served = &mut connection => served,
        _ended = ended => {
            connection.as_mut().graceful_shutdown();
            // A request that came just now has its time as any other.
            let Ok(served) = timeout(HEAD_TIMEOUT + REQUEST_TIMEOUT, connection).await else {
                metrics.lost("slow-reader");
                return;
            };
            served
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
    let mut response = match timeout(REQUEST_TIMEOUT, next.run(request)).await {
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
    use tokio::time::{Instant, sleep};

    use super::*;

    const ASKED: &[u8] = b"GET / HTTP/1.1\r\nhost: gate\r\n\r\n";

    /// How long a connection lasts, and what is counted of it, where its client asks and then does this.
    async fn check<T>(
        client: impl FnOnce(tokio::io::DuplexStream) -> T,
        expected: Duration,
        counted: bool,
    ) where
        T: Future<Output = ()> + Send + 'static,
    {
        let metrics = Arc::new(Metrics::new().unwrap());
        let router = Router::new().route("/", get(|| async { "x".repeat(1 << 14) }));
        let (ours, theirs) = duplex(1024);
        let began = Instant::now();
        let client = tokio::spawn(client(theirs));
        let service = TowerToHyperService::new(router);
        converse(ours, service, &metrics, CancellationToken::new()).await;
        assert_eq!(began.elapsed().as_secs(), expected.as_secs());
        let text = metrics.text().unwrap();
        assert_eq!(text.contains(r#"gate_lost_total{what="slow-reader"} 1"#), counted, "{text}");
        client.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_reads_no_answer_loses_its_place_and_whoever_reads_is_let_finish() {
        let longest = CONNECTION_TIMEOUT + HEAD_TIMEOUT + REQUEST_TIMEOUT;
        let silent = |mut stream: tokio::io::DuplexStream| async move {
            stream.write_all(ASKED).await.unwrap();
            sleep(longest * 2).await;
        };
        check(silent, longest, true).await;
        let reading = |mut stream: tokio::io::DuplexStream| async move {
            let mut answer = vec![0; 64 * 1024];
            stream.write_all(ASKED).await.unwrap();
            loop {
                match timeout(Duration::from_secs(1), stream.read(&mut answer)).await {
                    Ok(Ok(0) | Err(_)) => break,
                    Ok(Ok(_)) => {}
                    // One request after another, so that it is never idle for long.
                    Err(_elapsed) => stream.write_all(ASKED).await.unwrap(),
                }
            }
        };
        check(reading, CONNECTION_TIMEOUT, false).await;
    }
}
