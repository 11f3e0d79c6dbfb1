//! HTTP/2, by prior knowledge and by ALPN, with targets that misbehave in every phase.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::certificates::Authority;
use common::frames::{
    CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, PING, PUSH_PROMISE, RST_STREAM, SETTINGS,
    STATUS_200, WINDOW_UPDATE, frame, goaway, literal, request,
};
use common::service::{answer, serving, serving_tls};
use common::{
    Then, came_to, order, plan, probe, say, sentence, server, target, tick_of, tick_until,
};
use http_body_util::{BodyExt, StreamBody};
use hyper::Version;
use hyper::body::{Bytes, Frame};
use policies::Outcome;
use policies::plan::Rate;
use policies::sample::Phase;
use probes::Order;
use tokio::io::AsyncWriteExt;

const TWO: &str = "{ http: { path: /, version: 2 } }";

/// When the target says what it says.
#[derive(Clone, Copy)]
enum When {
    /// As soon as it is connected.
    AtOnce,
    /// After the request.
    Asked,
}

/// Every probe of a target that says this comes to `expected`, within the time-out.
async fn check(when: When, says: &[Vec<u8>], then: Then, expected: Outcome) {
    let address = saying(when, says, then).await;
    let start = std::time::Instant::now();
    came_to(&probe(TWO, target(address, false)).await, expected);
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

async fn saying(when: When, says: &[Vec<u8>], then: Then) -> SocketAddr {
    let says = says.to_vec();
    server(move |mut stream| {
        let says = says.clone();
        async move {
            if matches!(when, When::Asked) {
                let _settings = stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
                request(&mut stream, true).await;
            }
            say(stream, &says, then).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_good_answer_is_ok() {
    let good = serving(true, |request| async move {
        answer(if request.version() == Version::HTTP_2 { 200 } else { 500 }, "ok")
    });
    came_to(&probe(TWO, target(good.await, false)).await, Outcome::Ok);
    let head = frame(HEADERS, END_HEADERS, 1, STATUS_200);
    let last = frame(DATA, END_STREAM, 1, b"ok");
    check(When::Asked, &[head, last], Then::Stall, Outcome::Ok).await;
    let bare = frame(HEADERS, END_HEADERS | END_STREAM, 1, STATUS_200);
    check(When::Asked, &[bare], Then::Close, Outcome::Ok).await;
    // As large as it may be, and as fast as it comes.
    let large = serving(true, |_request| async { answer(200, vec![b'x'; 1024 * 1024]) });
    came_to(&probe(TWO, target(large.await, false)).await, Outcome::Ok);
    // `:status: 404`, from the static table.
    let bad = frame(HEADERS, END_HEADERS | END_STREAM, 1, &[0x8d]);
    check(When::Asked, &[bad], Then::Close, Outcome::Status).await;
}

#[tokio::test]
async fn a_target_that_ends_the_exchange_resets_it() {
    let head = || frame(HEADERS, END_HEADERS, 1, STATUS_200);
    let reset = |code: u8| frame(RST_STREAM, 0, 1, &[0, 0, 0, code]);
    // INTERNAL_ERROR, REFUSED_STREAM and NO_ERROR alike.
    for code in [2, 7, 0] {
        check(When::Asked, &[reset(code)], Then::Stall, Outcome::Reset).await;
    }
    check(When::Asked, &[head(), reset(2)], Then::Stall, Outcome::Reset).await;
    let settings = || frame(SETTINGS, 0, 0, &[]);
    check(When::AtOnce, &[settings(), goaway(0, 0)], Then::Close, Outcome::Reset).await;
    check(When::Asked, &[goaway(0, 0)], Then::Close, Outcome::Reset).await;
    check(When::Asked, &[goaway(0, 11)], Then::Close, Outcome::Reset).await;
    check(When::Asked, &[], Then::Close, Outcome::Reset).await;
    check(When::AtOnce, &[], Then::Close, Outcome::Reset).await;
    check(When::Asked, &[head()], Then::Close, Outcome::Reset).await;
    // A farewell that lets the answer through is none of the probe's business.
    let last = frame(DATA, END_STREAM, 1, b"ok");
    check(When::Asked, &[goaway(1, 0), head(), last], Then::Close, Outcome::Ok).await;
}

#[tokio::test]
async fn what_is_no_http2_is_a_protocol_error() {
    let bad = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n".to_vec();
    check(When::AtOnce, &[bad], Then::Stall, Outcome::Protocol).await;
    check(When::AtOnce, &[vec![0xff; 64]], Then::Stall, Outcome::Protocol).await;
    // Settings whose length is no multiple of six.
    check(When::AtOnce, &[frame(SETTINGS, 0, 0, &[0; 5])], Then::Stall, Outcome::Protocol).await;
    // Data before the head, a head that is no HPACK, a head without a status, a body of another length.
    check(When::Asked, &[frame(DATA, 0, 1, b"ok")], Then::Stall, Outcome::Protocol).await;
    let garbled = frame(HEADERS, END_HEADERS, 1, &[0xff; 40]);
    check(When::Asked, &[garbled], Then::Stall, Outcome::Protocol).await;
    let nameless = frame(HEADERS, END_HEADERS | END_STREAM, 1, &literal("x-a", "b"));
    check(When::Asked, &[nameless], Then::Stall, Outcome::Protocol).await;
    let ten = [STATUS_200, &literal("content-length", "10")].concat();
    let short = [frame(HEADERS, END_HEADERS, 1, &ten), frame(DATA, END_STREAM, 1, b"ok")];
    check(When::Asked, &short, Then::Stall, Outcome::Protocol).await;
    // Streams that nobody opened are reset and promised, a request is made of who asks, a window of more than there is.
    let reset = frame(RST_STREAM, 0, 7, &[0, 0, 0, 8]);
    check(When::Asked, &[reset], Then::Repeat, Outcome::Protocol).await;
    let promise = frame(PUSH_PROMISE, END_HEADERS, 1, &[&[0, 0, 0, 2], STATUS_200].concat());
    check(When::Asked, &[promise], Then::Repeat, Outcome::Protocol).await;
    let asks = frame(HEADERS, END_HEADERS | END_STREAM, 2, STATUS_200);
    check(When::Asked, &[asks], Then::Repeat, Outcome::Protocol).await;
    let window = frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]);
    check(When::Asked, &[window], Then::Repeat, Outcome::Protocol).await;
    // A frame larger than was agreed on.
    let large = frame(DATA, 0, 1, &[0; 16_385]);
    check(
        When::Asked,
        &[frame(HEADERS, END_HEADERS, 1, STATUS_200), large],
        Then::Stall,
        Outcome::Protocol,
    )
    .await;
}

#[tokio::test]
async fn endless_answers_are_cut() {
    // A head that goes on for ever: within one frame's limit, and over many.
    let begun = frame(HEADERS, 0, 1, STATUS_200);
    let more = frame(CONTINUATION, 0, 1, &literal("x-more", &"and more ".repeat(12)).repeat(100));
    check(When::Asked, &[begun.clone(), more], Then::Repeat, Outcome::Protocol).await;
    let empty = frame(CONTINUATION, 0, 1, &[]);
    check(When::Asked, &[begun, empty], Then::Repeat, Outcome::Protocol).await;
    // A body within what is allowed, as fast as it is read.
    let endless = serving(true, |_request| async {
        let block = Bytes::from_static(&[b'x'; 16_384]);
        let blocks = std::iter::repeat_with(move || Ok(Frame::data(block.clone())));
        let body = StreamBody::new(futures_util::stream::iter(blocks));
        hyper::Response::new(BodyExt::boxed(body))
    });
    came_to(&probe(TWO, target(endless.await, false)).await, Outcome::TooLarge);
    let long = [STATUS_200, &literal("content-length", "9999999999")].concat();
    let long = frame(HEADERS, END_HEADERS, 1, &long);
    check(When::Asked, &[long], Then::Stall, Outcome::TooLarge).await;
}

#[tokio::test]
async fn chatter_without_an_answer_is_cut() {
    let early = frame(HEADERS, END_HEADERS, 1, &literal(":status", "103"));
    // Unknown frames are to be passed over; a window may grow, if only by one at a time.
    let (unknown, window) = (frame(0x7f, 0, 0, b"what"), frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]));
    let (ping, settings) = (frame(PING, 0, 0, &[7; 8]), frame(SETTINGS, 0, 0, &[]));
    for chatter in [ping, settings, early, unknown, window] {
        let address = saying(When::Asked, &[chatter], Then::Repeat).await;
        let mut plan = plan(TWO, vec![target(address, false)], vec![]);
        // Every frame costs a little, and without optimisation more.
        (plan.rate, plan.tick) = (Rate::constant(2.5), Duration::from_secs(4));
        came_to(&tick_until(order(plan), 7).await, Outcome::TooLarge);
    }
}

#[tokio::test]
async fn silence_in_any_phase_is_a_timeout() {
    check(When::AtOnce, &[], Then::Stall, Outcome::Timeout).await;
    check(When::AtOnce, &[frame(SETTINGS, 0, 0, &[])], Then::Stall, Outcome::Timeout).await;
    let head = frame(HEADERS, END_HEADERS, 1, STATUS_200);
    check(When::Asked, std::slice::from_ref(&head), Then::Stall, Outcome::Timeout).await;
    check(When::Asked, &[frame(HEADERS, 0, 1, STATUS_200)], Then::Stall, Outcome::Timeout).await;
    check(When::Asked, &[head, vec![0]], Then::Drip, Outcome::Timeout).await;
}

#[tokio::test]
async fn waiting_is_until_the_head_of_the_answer() {
    const THOUGHT: Duration = Duration::from_millis(100);
    // Its settings come at once: they are no answer.
    let thoughtful = serving(true, |_request| async {
        tokio::time::sleep(THOUGHT).await;
        answer(200, "ok")
    });
    let tick = probe(TWO, target(thoughtful.await, false)).await;
    came_to(&tick, Outcome::Ok);
    let waited = &tick.phases[&Phase::Wait];
    assert_eq!(waited.above(THOUGHT / 2), waited.count(), "{tick:?}");
    let received = &tick.phases[&Phase::Receive];
    assert_eq!(received.above(THOUGHT / 2), 0, "{tick:?}");
}

/// What a request of this version over TLS comes to, where the target chooses among these protocols;
/// which version it was, and what was seen.
async fn by_alpn(version: &str, protocols: &[&str], expected: Outcome) -> String {
    let authority = Authority::new();
    let acceptor = authority.issue(&["127.0.0.1"], 30).acceptor(protocols, None);
    let address =
        serving_tls(
            acceptor,
            |request| async move { answer(200, format!("{:?}", request.version())) },
        );
    let http = format!("path: /, version: {version}, expect: {{ text: HTTP/2 }}");
    let probe = format!("{{ http: {{ {http} }}, client-tls: {{ roots: 'env:ROOTS' }} }}");
    let plan = plan(&probe, vec![target(address.await, true)], vec![]);
    let pem = authority.pem();
    let tick = tick_of(Order::new(plan, &|_: &str| Ok(pem.clone())).unwrap()).await;
    came_to(&tick, expected);
    if tick.unmet.is_empty() { String::new() } else { sentence(&tick) }
}

#[tokio::test]
async fn over_tls_the_version_is_chosen_by_alpn() {
    let both = &["h2", "http/1.1"];
    by_alpn("2", both, Outcome::Ok).await;
    by_alpn("auto", both, Outcome::Ok).await;
    by_alpn("auto", &["h2"], Outcome::Ok).await;
    for (version, protocols) in
        [("auto", &["http/1.1"][..]), ("auto", &[]), ("1.1", both), ("1.1", &[])]
    {
        let saw = by_alpn(version, protocols, Outcome::Expectation).await;
        assert!(saw.contains("saw `HTTP/1.1`"), "{version} {protocols:?}: {saw}");
    }
}

#[tokio::test]
async fn a_target_without_the_wanted_version_is_told_so() {
    let saw = by_alpn("2", &[], Outcome::Protocol).await;
    assert_eq!(saw, "the target did not choose h2 by ALPN");
    // One that chooses, but nothing that was offered, ends the handshake.
    by_alpn("2", &["http/1.1"], Outcome::Tls).await;
    by_alpn("1.1", &["h2"], Outcome::Tls).await;
}

#[tokio::test]
async fn without_tls_auto_is_http1() {
    let old = serving(false, |_request| async { answer(200, "ok") });
    let auto = "{ http: { path: /, version: auto } }";
    came_to(&probe(auto, target(old.await, false)).await, Outcome::Ok);
    let new = serving(true, |_request| async { answer(200, "ok") }).await;
    let tick = tick_of(order(plan(auto, vec![target(new, false)], vec![]))).await;
    assert_eq!(tick.judged(), tick.bad(), "{tick:?}");
}

#[tokio::test]
async fn a_connection_given_up_is_closed() {
    // The target takes what fits its windows and says nothing: more waits to be sent.
    let (closed, mut count) = tokio::sync::watch::channel(0);
    let address = server(move |mut stream| {
        let closed = closed.clone();
        async move {
            let _settings = stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
            // Ends when the prober closes, by a reset or in good order.
            let _ended = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
            closed.send_modify(|count| *count += 1);
        }
    });
    let body = "x".repeat(200_000);
    let post = format!("{{ http: {{ path: /, version: 2, method: POST, body: {body} }} }}");
    let prober = probes::Prober::start().unwrap();
    let plan = plan(&post, vec![target(address.await, false)], vec![]);
    let mut session = prober.begin(order(plan));
    came_to(&session.tick().await.unwrap().green.total(), Outcome::Timeout);
    let all = count.wait_for(|closed| *closed >= 10);
    tokio::time::timeout(Duration::from_secs(10), all).await.unwrap().unwrap();
}
