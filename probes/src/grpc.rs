//! Unary gRPC calls over HTTP/2, and the health check, encoded by hand: twelve bytes need no code generator.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use policies::plan::{BODY_MAX_BYTES, Message};
use policies::reply::Reply;
use policies::sample::Outcome;

use crate::exchange::{Incame, Outgoing, Route, exchange};
use crate::order::ReadyHeaders;
use crate::probe::{Asked, Attempt, Lost, Probe};

/// `grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING`.
const SERVING: u64 = 1;
/// The names of the serving statuses, by number.
const STATUSES: [&str; 4] = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];
/// Bytes of a `grpc-message` that are shown.
const MESSAGE_MAX: usize = 200;

/// A unary call, ready to be sent.
pub(crate) struct GrpcProbe {
    pub(crate) route: Route,
    pub(crate) path: String,
    pub(crate) headers: ReadyHeaders,
    pub(crate) message: Message,
}

impl fmt::Debug for GrpcProbe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcProbe").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Probe for GrpcProbe {
    fn ask<'a>(&'a self, attempt: Attempt<'a>) -> Pin<Box<dyn Future<Output = Asked> + Send + 'a>> {
        Box::pin(async move {
            let mut asked = Asked::new();
            asked.result = self.call(&attempt, &mut asked).await;
            asked
        })
    }
}

impl GrpcProbe {
    async fn call(&self, attempt: &Attempt<'_>, asked: &mut Asked) -> Result<Reply, Lost> {
        let headers = self.headers.fill(attempt.arm, attempt.values)?;
        let authority = self.route.authority(attempt);
        let scheme = if attempt.target.tls { "https" } else { "http" };
        let left = attempt.deadline.saturating_duration_since(asked.began);
        let uri = format!("{scheme}://{authority}{}", self.path);
        let body = framed(&self.message);
        let make = |_two: bool| {
            let mut request = Request::post(uri.as_str())
                .body(Full::new(body.clone()))
                .map_err(|_invalid| Outcome::NotSent)?;
            *request.headers_mut() = HeaderMap::clone(&headers);
            let set = |request: &mut Request<_>, name, value| {
                request.headers_mut().insert(name, value);
            };
            set(&mut request, CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
            set(&mut request, hyper::header::TE, HeaderValue::from_static("trailers"));
            let timeout = HeaderValue::try_from(format!("{}m", left.as_millis().max(1)));
            let timeout = timeout.map_err(|_invalid| Outcome::NotSent)?;
            set(&mut request, hyper::header::HeaderName::from_static("grpc-timeout"), timeout);
            Ok(request)
        };
        let is_safe = matches!(self.message, Message::Health { .. });
        let outgoing = Outgoing { make: &make, is_safe, keep: true, most_bytes: BODY_MAX_BYTES };
        let incame = exchange(&self.route, attempt, &outgoing, asked).await?;
        self.reply(incame)
    }

    fn reply(&self, incame: Incame) -> Result<Reply, Lost> {
        let lost = |saw: String| Lost { outcome: Outcome::Protocol, saw: Some(saw) };
        if incame.status != 200 {
            return Err(lost(format!("HTTP status {} in place of gRPC", incame.status)));
        }
        // In trailers, or among the headers where there is nothing else.
        let trailers = incame.trailers.as_ref();
        let code = trailers.and_then(code).or_else(|| code(&incame.headers));
        let code = code.ok_or_else(|| lost("no grpc-status in the answer".to_owned()))?;
        if code == 0 && matches!(self.message, Message::Encoded(_)) && !is_framed(&incame.body) {
            return Err(lost("no whole message in the answer".to_owned()));
        }
        if code == 0
            && let Message::Health { .. } = self.message
        {
            let status = unframed(&incame.body).and_then(serving_status);
            let status = status.ok_or_else(|| lost("no HealthCheckResponse".to_owned()))?;
            if status != SERVING {
                let known = usize::try_from(status).ok().and_then(|place| STATUSES.get(place));
                let saw = format!("health: saw {}", known.copied().unwrap_or("an unknown status"));
                return Err(Lost { outcome: Outcome::Expectation, saw: Some(saw) });
            }
        }
        let mut reply = Reply::new(Some(code), Vec::new());
        reply.size_bytes = incame.size_bytes;
        let said = trailers.and_then(|trailers| trailers.get("grpc-message"));
        if let Some(said) = said.or_else(|| incame.headers.get("grpc-message")) {
            let said = String::from_utf8_lossy(said.as_bytes());
            let said = said.chars().take(MESSAGE_MAX).collect();
            reply.headers.push(("grpc-message".to_owned(), said));
        }
        Ok(reply)
    }
}

fn code(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// A message behind its five-byte frame: not compressed, and its length.
fn framed(message: &Message) -> Bytes {
    let encoded = match message {
        Message::Encoded(bytes) => bytes.clone(),
        Message::Health { service } if service.is_empty() => Vec::new(),
        Message::Health { service } => {
            // Field 1, length-delimited.
            let mut bytes = vec![0x0a];
            push_varint(&mut bytes, service.len());
            bytes.extend_from_slice(service.as_bytes());
            bytes
        }
    };
    let length = u32::try_from(encoded.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&encoded);
    framed.into()
}

fn push_varint(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return;
        }
        bytes.push(low | 0x80);
    }
}

/// Whether a body is one whole message, compressed or not.
fn is_framed(body: &[u8]) -> bool {
    let length = body.get(1..5).and_then(|length| length.try_into().ok()).map(u32::from_be_bytes);
    length.and_then(|length| usize::try_from(length).ok()) == body.len().checked_sub(5)
        && body.len() >= 5
}

/// The message of an uncompressed frame that is all of the body.
fn unframed(body: &[u8]) -> Option<&[u8]> {
    let (frame, message) = body.split_at_checked(5)?;
    let (compressed, length) = frame.split_first()?;
    let length = u32::from_be_bytes(length.try_into().ok()?);
    (*compressed == 0 && usize::try_from(length).ok()? == message.len()).then_some(message)
}

/// Field 1 of a `HealthCheckResponse`; what is absent is 0. Other fields are passed over.
fn serving_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = varint(&mut message)?;
        match (key >> 3, key & 7) {
            (1, 0) => status = varint(&mut message)?,
            (_, 0) => {
                varint(&mut message)?;
            }
            (_, 2) => {
                let length = usize::try_from(varint(&mut message)?).ok()?;
                message = message.split_at_checked(length)?.1;
            }
            _ => return None,
        }
    }
    Some(status)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_health_check_is_encoded_as_protobuf_has_it() {
        let health = |service: &str| framed(&Message::Health { service: service.to_owned() });
        assert_eq!(health("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(health("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = health(&"x".repeat(300));
        assert_eq!(long[5..8], [0x0a, 0xac, 0x02]);
    }

    #[test]
    fn a_serving_status_is_read_among_other_fields() {
        let check =
            |bytes: &[u8], expected| assert_eq!(serving_status(bytes), expected, "{bytes:?}");
        check(&[], Some(0));
        check(&[0x08, 1], Some(1));
        check(&[0x12, 1, 7, 0x08, 2], Some(2));
        check(&[0x08, 0xac, 0x02], Some(300));
        check(&[0x08], None);
        check(&[0x12, 9, 7], None);
        check(&[0x0f, 1], None);
        check(&[0xff; 20], None);
    }

    #[test]
    fn a_frame_is_whole_and_not_compressed() {
        assert_eq!(unframed(&[0, 0, 0, 0, 1, 9]), Some(&[9][..]));
        for body in
            [&[][..], &[0, 0, 0, 0], &[1, 0, 0, 0, 1, 9], &[0, 0, 0, 0, 2, 9], &[0, 0, 0, 0, 0, 9]]
        {
            assert_eq!(unframed(body), None, "{body:?}");
        }
    }
}
