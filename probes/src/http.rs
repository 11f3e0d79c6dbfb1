//! One HTTP/1.1 request over a connection of its own.

use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderValue};
use hyper::http::uri::Authority;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use policies::Target;
use policies::plan::BODY_MAX_BYTES;
use policies::sample::{Outcome, Sample};
use tokio::time::{Instant, timeout_at};

use crate::connect::{Connection, Dialer};
use crate::order::Order;

/// Response head: status line and headers. Endless headers end here.
const HEAD_MAX_BYTES: usize = 64 * 1024;

/// The status of an answer, and its body where the policy expects something of it.
type Answered = (u16, Vec<u8>);

/// Makes the order's request to `target`; always comes back by the due time plus the time-out.
pub(crate) async fn probe(dialer: &Dialer, order: &Order, target: &Target, due: Instant) -> Sample {
    let sent = Instant::now();
    let deadline = due.max(sent) + order.plan.timeout;
    let (outcome, status) = match exchange(dialer, order, target, deadline).await {
        Ok((status, _)) if !order.plan.request.expects(status) => (Outcome::Status, Some(status)),
        Ok((status, body)) if order.plan.request.expects_body(&body) => (Outcome::Ok, Some(status)),
        Ok((status, _)) => (Outcome::Expectation, Some(status)),
        Err(outcome) => (outcome, None),
    };
    Sample { held: since(sent, due), latency: since(Instant::now(), due), outcome, status }
}

/// A probe that was never sent.
pub(crate) fn not_sent(due: Instant) -> Sample {
    let held = since(Instant::now(), due);
    Sample { held, latency: held, outcome: Outcome::NotSent, status: None }
}

fn since(later: Instant, earlier: Instant) -> Duration {
    later.saturating_duration_since(earlier)
}

async fn exchange(
    dialer: &Dialer,
    order: &Order,
    target: &Target,
    deadline: Instant,
) -> Result<Answered, Outcome> {
    let named: Option<Authority> =
        order.plan.request.host.as_ref().and_then(|host| host.parse().ok());
    let name = named.as_ref().map_or(target.host.as_str(), Authority::host);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let connection = dialer.dial(target, name, deadline).await?;
    match timeout_at(deadline, request(connection, order, target)).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Outcome::Timeout),
    }
}

async fn request(
    connection: Box<dyn Connection>,
    order: &Order,
    target: &Target,
) -> Result<Answered, Outcome> {
    let (mut sender, driver) = http1::Builder::new()
        .max_buf_size(HEAD_MAX_BYTES)
        .handshake(TokioIo::new(connection))
        .await
        .map_err(|error| classify(&error))?;
    let request = build(order, target)?;
    let keep = !order.plan.request.expect_json.is_empty();
    let asking = async move {
        let response = sender.send_request(request).await.map_err(|error| classify(&error))?;
        let status = response.status().as_u16();
        read(response, keep).await.map(|body| (status, body))
    };
    // The driver moves the bytes; it lives and dies with this one exchange.
    let mut driver = pin!(driver);
    let mut asking = pin!(asking);
    tokio::select! {
        biased;
        result = &mut asking => result,
        ended = &mut driver => match ended {
            // The connection is done, but its last bytes may still have to be read.
            Ok(()) => asking.await,
            Err(error) => Err(classify(&error)),
        },
    }
}

fn build(order: &Order, target: &Target) -> Result<Request<Empty<Bytes>>, Outcome> {
    let spec = &order.plan.request;
    let mut request = Request::builder()
        .method(spec.method.as_str())
        .uri(spec.path.as_str())
        .body(Empty::new())
        .map_err(|_invalid| Outcome::NotSent)?;
    *request.headers_mut() = order.headers.clone();
    let host = match &order.host {
        Some(host) => host.clone(),
        None => HeaderValue::try_from(authority(target)).map_err(|_invalid| Outcome::NotSent)?,
    };
    request.headers_mut().insert(HOST, host);
    Ok(request)
}

/// `host:port`, with the brackets an IPv6 address needs.
fn authority(target: &Target) -> String {
    if target.host.contains(':') {
        format!("[{}]:{}", target.host, target.port)
    } else {
        format!("{}:{}", target.host, target.port)
    }
}

/// Reads the body to its end, so that the latency is a whole answer's; keeps it only where it is wanted.
async fn read(response: Response<Incoming>, keep: bool) -> Result<Vec<u8>, Outcome> {
    let mut body = response.into_body();
    if body.size_hint().lower() > BODY_MAX_BYTES as u64 {
        return Err(Outcome::TooLarge);
    }
    let (mut bytes, mut kept) = (0, Vec::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| classify(&error))?;
        let Some(data) = frame.data_ref() else { continue };
        bytes += data.len();
        if bytes > BODY_MAX_BYTES {
            return Err(Outcome::TooLarge);
        }
        if keep {
            kept.extend_from_slice(data);
        }
    }
    Ok(kept)
}

/// A connection that broke before the answer was complete, or an answer that is none.
fn classify(error: &hyper::Error) -> Outcome {
    let cause = std::error::Error::source(error);
    let broke = cause.is_some_and(|cause| cause.is::<std::io::Error>());
    if error.is_incomplete_message() || error.is_closed() || error.is_canceled() || broke {
        Outcome::Reset
    } else {
        Outcome::Protocol
    }
}
