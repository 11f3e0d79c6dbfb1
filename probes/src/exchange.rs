//! One request and its answer over HTTP/1.1 or HTTP/2, on a new connection or one used before.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use policies::plan::HttpVersion;
use policies::sample::Outcome;
use tokio::time::timeout_at;

use crate::connect::{Dialled, broken, dial};
use crate::pool::{Driver, Hold, Line, Sender, Tasks};
use crate::probe::{Asked, Attempt, Lost};
use crate::trust::Trust;

/// Response head: status line and headers. Endless headers end here.
const HEAD_MAX_BYTES: u32 = 64 * 1024;
/// What servers answer to a request that did not come in time (RFC 9110 §15.5.9).
const REQUEST_TIMEOUT: u16 = 408;
/// What an HTTP/2 target may send before gate has read it.
const WINDOW_BYTES: u32 = 256 * 1024;

/// The way a step goes to its targets.
#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) trust: Arc<Trust>,
    /// Host and port in place of the target's.
    pub(crate) host: Option<String>,
    /// Name asked for and verified in place of the host's.
    pub(crate) server_name: Option<String>,
    pub(crate) version: HttpVersion,
    /// Number of the step: connections are used again by the same step alone.
    pub(crate) step: usize,
    pub(crate) idle_max: Duration,
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("step", &self.step).finish_non_exhaustive()
    }
}

impl Route {
    /// Host, with a port where it is not the usual one: what stands in a `Host` header.
    pub(crate) fn authority(&self, attempt: &Attempt<'_>) -> String {
        let target = attempt.target;
        if let Some(host) = self.host.as_ref().or(target.name.as_ref()) {
            return host.clone();
        }
        let is_v6 = target.host.contains(':');
        let host = if is_v6 { format!("[{}]", target.host) } else { target.host.clone() };
        // What signs a request, as clients do, leaves the usual one out.
        let usual = if target.tls { 443 } else { 80 };
        if target.port == usual { host } else { format!("{host}:{}", target.port) }
    }

    /// The name for the TLS handshake.
    pub(crate) fn name<'a>(&'a self, attempt: &Attempt<'a>) -> &'a str {
        let written = self.server_name.as_deref().or(self.host.as_deref());
        let target = attempt.target;
        let name = written.or(target.name.as_deref()).unwrap_or(target.host.as_str());
        // A port is no part of it; an IPv6 address has colons of its own.
        match name.rsplit_once(':') {
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                if port.bytes().all(|b| b.is_ascii_digit()) { host } else { name }
            }
            _ => name,
        }
    }
}

/// A request, made as often as it is sent.
pub(crate) struct Outgoing<'a> {
    /// Makes it, for HTTP/2 or not.
    pub(crate) make: &'a (dyn Fn(bool) -> Result<Request<Full<Bytes>>, Outcome> + Send + Sync),
    /// Whether it may be sent twice.
    pub(crate) is_safe: bool,
    /// Whether the body of the answer is looked at.
    pub(crate) keep: bool,
    /// The largest body that is read.
    pub(crate) most_bytes: usize,
}

/// An answer, whole.
#[derive(Debug)]
pub(crate) struct Incame {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) trailers: Option<HeaderMap>,
    pub(crate) body: Vec<u8>,
    pub(crate) size_bytes: u64,
}

/// Sends a request and reads the answer to its end, by the attempt's deadline.
pub(crate) async fn exchange(
    route: &Route,
    attempt: &Attempt<'_>,
    outgoing: &Outgoing<'_>,
    asked: &mut Asked,
) -> Result<Incame, Lost> {
    let target = attempt.target.id.as_str();
    if attempt.may_reuse
        && let Some(line) = attempt.pool.take(target, route.step, route.idle_max)
    {
        line.stamps.restart();
        asked.reused = true;
        // The certificate that it was opened with.
        asked.certificate_days = line.certificate_days.or(asked.certificate_days);
        match over(line, route, attempt, outgoing, asked).await {
            // Many servers say so before they close what idled: the request came after that.
            Ok(incame) if incame.status == REQUEST_TIMEOUT => {
                asked.stale = true;
                asked.reused = false;
            }
            Err(Broken { outcome: Outcome::Reset, answered: false, unsent }) => {
                // The target closed it while the request was on its way: nobody's fault.
                if !(unsent || outgoing.is_safe) {
                    return Err(Outcome::Stale.into());
                }
                asked.stale = true;
                asked.reused = false;
            }
            Err(broken) => return Err(broken.outcome.into()),
            Ok(incame) => return Ok(incame),
        }
    }
    let name = route.name(attempt);
    let tls = attempt.target.tls;
    let dialled = dial(
        &route.trust,
        attempt.target,
        (name, tls),
        Some(route.version),
        attempt.deadline,
        &mut asked.phases,
    )
    .await?;
    asked.certificate_days = dialled.certificate_days.or(asked.certificate_days);
    let line = match timeout_at(attempt.deadline, begin(route, dialled, tls)).await {
        Ok(line) => line?,
        Err(_elapsed) => return Err(Outcome::Timeout.into()),
    };
    over(line, route, attempt, outgoing, asked).await.map_err(|broken| broken.outcome.into())
}

/// Begins to speak HTTP over a new connection.
async fn begin(route: &Route, dialled: Dialled, tls: bool) -> Result<Line, Lost> {
    let Dialled { wire, chose_two, certificate_days } = dialled;
    let stamps = wire.stamps();
    let two = match route.version {
        HttpVersion::One => false,
        HttpVersion::Two if tls && !chose_two => {
            let saw = Some("the target did not choose h2 by ALPN".to_owned());
            return Err(Lost { outcome: Outcome::Protocol, saw });
        }
        HttpVersion::Two => true,
        HttpVersion::Auto => chose_two,
    };
    let io = TokioIo::new(wire);
    let (sender, driver) = if two {
        stamps.begin_by_head();
        let tasks = Tasks::default();
        let (sender, driver) = http2::Builder::new(tasks.clone())
            .max_header_list_size(HEAD_MAX_BYTES)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(io)
            .await
            .map_err(|error| classify(&error))?;
        let ended = Arc::clone(&stamps);
        let main = tokio::spawn(async move {
            if let Err(error) = driver.await {
                ended.end(classify(&error));
            }
        });
        (Sender::Two(sender), Driver::new(main.abort_handle(), Some(tasks)))
    } else {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(HEAD_MAX_BYTES as usize)
            .handshake(io)
            .await
            .map_err(|error| classify(&error))?;
        let main = tokio::spawn(async move { drop(driver.await) });
        (Sender::One(sender), Driver::new(main.abort_handle(), None))
    };
    Ok(Line { sender, stamps, certificate_days, driver })
}

/// A connection that gave no whole answer.
struct Broken {
    outcome: Outcome,
    /// Whether the target answered this request, if only by refusing it.
    answered: bool,
    /// Whether the request surely was not looked at.
    unsent: bool,
}

impl From<Outcome> for Broken {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, answered: false, unsent: false }
    }
}

/// One exchange over a connection, which is kept where it may be used again.
async fn over(
    mut line: Line,
    route: &Route,
    attempt: &Attempt<'_>,
    outgoing: &Outgoing<'_>,
    asked: &mut Asked,
) -> Result<Incame, Broken> {
    let hold = attempt.pool.hold(attempt.arm);
    line.stamps.allow(outgoing.most_bytes);
    let talked = timeout_at(attempt.deadline, talk(&mut line, outgoing, hold)).await;
    line.stamps.note(&mut asked.phases);
    match talked {
        Ok(Ok(incame)) => {
            if attempt.may_reuse {
                attempt.pool.put(&attempt.target.id, route.step, line);
            } else {
                attempt.pool.leave(line);
            }
            Ok(incame)
        }
        Ok(Err(broken)) => {
            let answered = broken.answered || line.stamps.was_answered();
            // A request that was let go of because the connection had ended: that says why.
            let let_go = broken.outcome == Outcome::Reset;
            let outcome = line.stamps.ended().filter(|_| let_go).unwrap_or(broken.outcome);
            Err(Broken { outcome, answered, ..broken })
        }
        Err(_elapsed) => Err(Outcome::Timeout.into()),
    }
}

async fn talk(line: &mut Line, outgoing: &Outgoing<'_>, hold: Hold<'_>) -> Result<Incame, Broken> {
    let unsent = |outcome| Broken { unsent: true, ..Broken::from(outcome) };
    let response = match &mut line.sender {
        Sender::One(sender) => {
            sender.ready().await.map_err(|error| unsent(classify(&error)))?;
            let request = (outgoing.make)(false).map_err(unsent)?;
            sender.try_send_request(request).await.map_err(|mut error| Broken {
                unsent: error.take_message().is_some(),
                ..classify(error.error()).into()
            })?
        }
        Sender::Two(sender) => {
            sender.ready().await.map_err(|error| unsent(classify(&error)))?;
            let request = (outgoing.make)(true).map_err(unsent)?;
            sender.send_request(request).await.map_err(|error| refused(&error))?
        }
    };
    line.stamps.head_came();
    Ok(read(response, outgoing, hold).await?)
}

/// An HTTP/2 request without an answer, and whether the target looked at it (RFC 9113 §8.7).
fn refused(error: &hyper::Error) -> Broken {
    let mut broken = Broken::from(classify(error));
    let source = std::error::Error::source(error).and_then(|cause| cause.downcast_ref());
    let said: Option<&h2::Error> = source.filter(|h2: &&h2::Error| h2.is_remote());
    if let Some((h2, reason)) = said.and_then(|h2| Some((h2, h2.reason()?))) {
        // What ends a connection in good order ends it for streams that were not begun.
        broken.unsent = match reason {
            h2::Reason::REFUSED_STREAM => true,
            h2::Reason::NO_ERROR => h2.is_go_away(),
            _ => false,
        };
        broken.answered = !broken.unsent;
    }
    broken
}

/// Reads the body to its end, so that the latency is a whole answer's; keeps it only where it is wanted.
async fn read(
    response: Response<Incoming>,
    outgoing: &Outgoing<'_>,
    mut hold: Hold<'_>,
) -> Result<Incame, Outcome> {
    let (head, mut body) = response.into_parts();
    // Two ways to tell where it ends: an attempt to smuggle (RFC 9112 §6.3), which load balancers refuse too.
    if head.headers.contains_key(TRANSFER_ENCODING) && head.headers.contains_key(CONTENT_LENGTH) {
        return Err(Outcome::Protocol);
    }
    if body.size_hint().lower() > outgoing.most_bytes as u64 {
        return Err(Outcome::TooLarge);
    }
    let (mut size, mut kept, mut trailers) = (0, Vec::new(), None);
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| classify(&error))?;
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                continue;
            }
        };
        size += data.len();
        if size > outgoing.most_bytes {
            return Err(Outcome::TooLarge);
        }
        if outgoing.keep {
            if !hold.grow_to(size) {
                return Err(Outcome::TooLarge);
            }
            kept.extend_from_slice(&data);
        }
    }
    let status = head.status.as_u16();
    Ok(Incame { status, headers: head.headers, trailers, body: kept, size_bytes: size as u64 })
}

/// A connection that broke before the answer was complete, or an answer that is none.
fn classify(error: &hyper::Error) -> Outcome {
    let mut cause = std::error::Error::source(error);
    let mut broke = error.is_incomplete_message() || error.is_closed() || error.is_canceled();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return broken(io);
        }
        if let Some(h2) = inner.downcast_ref::<h2::Error>() {
            if let Some(io) = h2.get_io() {
                return broken(io);
            }
            // The target's own GOAWAY or RST_STREAM ends an exchange as a TCP reset does; what the library
            // itself found wrong is no HTTP/2.
            broke |= h2.is_remote() && (h2.is_go_away() || h2.is_reset());
        }
        cause = inner.source();
    }
    if broke { Outcome::Reset } else { Outcome::Protocol }
}
