//! gRPC: the health check and other unary calls, and answers that are none.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use common::service::{Answer, answer, serving};
use common::{came_to, plan, probe, target, tick_of};
use http_body_util::{BodyExt, Full};
use hyper::HeaderMap;
use hyper::body::{Body, Bytes};
use policies::{Outcome, TargetTick};
use probes::Order;

const HEALTH: &str = "{ grpc: {} }";
/// `HealthCheckResponse`s in their frames.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 1];
const NOT_SERVING: &[u8] = &[0, 0, 0, 0, 2, 8, 2];

/// An answer with trailers.
fn replied(status: u16, body: &[u8], trailers: &[(&'static str, &str)]) -> Answer {
    let mut last = HeaderMap::new();
    for (name, value) in trailers {
        last.insert(*name, value.parse().unwrap());
    }
    let body = Full::new(Bytes::copy_from_slice(body));
    let body = body.with_trailers(async move { Some(Ok(last)) });
    hyper::Response::builder()
        .status(status)
        .header("content-type", "application/grpc")
        .body(BodyExt::boxed(body))
        .unwrap()
}

/// An answer that is nothing but headers.
fn headers_alone(headers: &[(&'static str, &str)]) -> Answer {
    let mut answer = answer(200, "");
    for (name, value) in headers {
        answer.headers_mut().insert(*name, value.parse().unwrap());
    }
    answer
}

/// What a probe makes of a target that always answers so; the sentence of what was seen.
async fn check(
    probe: &str,
    answer: impl Fn() -> Answer + Clone + Send + Sync + 'static,
    expected: Outcome,
) -> (TargetTick, String) {
    let address = serving(true, move |request| {
        let answer = answer.clone();
        async move {
            // A server may answer before it has read everything; this one does not.
            let _read = request.into_body().collect().await;
            answer()
        }
    });
    let tick = common::probe(probe, target(address.await, false)).await;
    came_to(&tick, expected);
    let saw = tick.unmet.keys().next().cloned().unwrap_or_default();
    (tick, saw)
}

#[tokio::test]
async fn health_is_good_only_when_serving() {
    let ok = [("grpc-status", "0")];
    check(HEALTH, move || replied(200, SERVING, &ok), Outcome::Ok).await;
    let (_, saw) =
        check(HEALTH, move || replied(200, NOT_SERVING, &ok), Outcome::Expectation).await;
    assert_eq!(saw, "health: saw NOT_SERVING");
    // An absent field is 0, and a number that nobody has named.
    let empty = &[0, 0, 0, 0, 0];
    let (_, saw) = check(HEALTH, move || replied(200, empty, &ok), Outcome::Expectation).await;
    assert_eq!(saw, "health: saw UNKNOWN");
    let odd = &[0, 0, 0, 0, 2, 8, 99];
    let (_, saw) = check(HEALTH, move || replied(200, odd, &ok), Outcome::Expectation).await;
    assert_eq!(saw, "health: saw an unknown status");
}

#[tokio::test]
async fn a_code_is_found_in_trailers_and_where_there_are_only_headers() {
    let unknown = [("grpc-status", "5"), ("grpc-message", "unknown service")];
    for expected in [Outcome::Status, Outcome::Ok] {
        let code = if expected == Outcome::Ok { "expect: { code: [OK, NOT_FOUND] }" } else { "" };
        let probe = format!("{{ grpc: {{ service: shop, {code} }} }}");
        let (tick, _) = check(&probe, move || replied(200, &[], &unknown), expected).await;
        let counted = if expected == Outcome::Ok { None } else { Some(10) };
        assert_eq!(tick.statuses.get(&5).copied(), counted, "{tick:?}");
        check(&probe, move || headers_alone(&unknown), expected).await;
    }
    // Expected to fail, it must.
    let missing = "{ grpc: { expect: { code: NOT_FOUND } } }";
    let ok = [("grpc-status", "0")];
    let (tick, _) = check(missing, move || replied(200, SERVING, &ok), Outcome::Status).await;
    assert_eq!(tick.statuses.keys().collect::<Vec<_>>(), [&0]);
}

#[tokio::test]
async fn an_answer_that_is_no_grpc_is_a_protocol_error() {
    let ok = [("grpc-status", "0")];
    let (_, saw) = check(HEALTH, || answer(503, "busy"), Outcome::Protocol).await;
    assert_eq!(saw, "HTTP status 503 in place of gRPC");
    let (_, saw) = check(HEALTH, || answer(200, SERVING), Outcome::Protocol).await;
    assert_eq!(saw, "no grpc-status in the answer");
    let garbled = [("grpc-status", "fine")];
    check(HEALTH, move || replied(200, SERVING, &garbled), Outcome::Protocol).await;
    let bodies: [&[u8]; 6] = [
        b"",
        b"garbage that is long enough",
        // Shorter and longer than it says, compressed without being asked, a field that is cut off.
        &[0, 0, 0, 0, 9, 8, 1],
        &[0, 0, 0, 0, 1, 8, 1],
        &[1, 0, 0, 0, 2, 8, 1],
        &[0, 0, 0, 0, 1, 8],
    ];
    for body in bodies {
        let (_, saw) = check(HEALTH, move || replied(200, body, &ok), Outcome::Protocol).await;
        assert_eq!(saw, "no HealthCheckResponse", "{body:?}");
    }
    let call = "{ grpc: { method: /shop.Basket/Get } }";
    for body in [b"".as_slice(), b"garbage that is long enough", &[0, 0, 0, 0, 9, 8, 1]] {
        let (_, saw) = check(call, move || replied(200, body, &ok), Outcome::Protocol).await;
        assert_eq!(saw, "no whole message in the answer", "{body:?}");
    }
    let large = || replied(200, &vec![0; 2 * 1024 * 1024], &[("grpc-status", "0")]);
    check(HEALTH, large, Outcome::TooLarge).await;
    check(call, large, Outcome::TooLarge).await;
}

#[tokio::test]
async fn a_server_that_speaks_http1_is_no_grpc() {
    let old = serving(false, |_request| async { answer(200, "") });
    let tick = probe(HEALTH, target(old.await, false)).await;
    assert_eq!((tick.judged(), tick.bad()), (10, 10), "{tick:?}");
}

/// Answers `OK` with the message that was sent, where everything else is as expected, else `UNKNOWN`.
async fn echo(request: hyper::Request<hyper::body::Incoming>) -> Answer {
    let headers = request.headers();
    let is = |name: &str, value: &str| headers.get(name).is_some_and(|found| found == value);
    let timeout = headers.get("grpc-timeout").and_then(|value| value.to_str().ok());
    let millis: Option<u64> = timeout.and_then(|text| text.strip_suffix('m')?.parse().ok());
    let sound = is("content-type", "application/grpc")
        && is("te", "trailers")
        && is("x-tenant", "blue-1")
        && is("authorization", "Bearer a-token")
        && millis.is_some_and(|millis| (1..=300).contains(&millis))
        && request.method() == "POST"
        && !request.body().is_end_stream();
    let path = request.uri().path().to_owned();
    let authority = request.uri().authority().map(ToString::to_string);
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let whole = match path.as_str() {
        // Field 1, two bytes: `hi`.
        "/shop.Basket/Echo" => body[..] == [0, 0, 0, 0, 4, 10, 2, b'h', b'i'],
        "/grpc.health.v1.Health/Check" => {
            body[..] == [0, 0, 0, 0, 6, 10, 4, b's', b'h', b'o', b'p']
        }
        _ => false,
    };
    let sound = sound && whole && authority.as_deref() == Some("shop.example.com");
    let code = if sound { "0" } else { "2" };
    let body = if path.ends_with("Check") { SERVING.to_vec() } else { body.to_vec() };
    replied(200, &body, &[("grpc-status", code)])
}

#[tokio::test]
async fn message_metadata_authority_and_deadline_are_sent() {
    let address = serving(true, echo).await;
    for call in [
        "method: /shop.Basket/Echo, message: CgJoaQ==, host: shop.example.com",
        "service: shop, host: shop.example.com",
    ] {
        let metadata = "headers: { x-tenant: blue-1 }";
        let token = "headers: { authorization: { secret: 'env:T', prefix: 'Bearer ' } }";
        let probe = format!("{{ grpc: {{ {call}, {metadata} }}, {token} }}");
        let plan = plan(&probe, vec![target(address, false)], vec![]);
        let order = Order::new(plan, &|_: &str| Ok("a-token".to_owned())).unwrap();
        came_to(&tick_of(order).await, Outcome::Ok);
    }
}
