//! Targets that misbehave in every phase: each gives a named outcome, in time, within bounds.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

use common::{
    GET, TICK, TIMEOUT, Then, answering, came_to, check, order, plan, probe, say, server, target,
    tick_of, tick_until,
};
use policies::plan::Plan;
use policies::{ArmTick, Outcome, Target};
use probes::{Order, Prober};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Ten plain GETs a tick, with time between them: every one costs a little, and without optimisation more.
fn seldom(address: SocketAddr) -> Plan {
    let mut plan = plan(GET, vec![target(address, false)], vec![]);
    (plan.rate, plan.tick) = (policies::plan::Rate::constant(5.0), Duration::from_secs(2));
    plan
}

#[tokio::test]
async fn a_good_answer_is_ok() {
    check(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await, Outcome::Ok).await;
    check(answering(b"HTTP/1.1 204 No Content\r\n\r\n").await, Outcome::Ok).await;
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
    check(answering(chunked).await, Outcome::Ok).await;
    // As large as it may be, and as fast as it comes; whole and in small pieces.
    let large = |head: &'static [u8], piece: Vec<u8>, last: &'static [u8]| {
        let answer = [head, &piece.repeat(1024 * 1024 / 256), last].concat();
        server(move |mut stream| {
            let answer = answer.clone();
            async move {
                let _read = stream.read(&mut [0; 2048]).await;
                let _sent = stream.write_all(&answer).await;
            }
        })
    };
    let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n";
    let tick = tick_of(order(seldom(large(whole, vec![b'x'; 256], b"").await))).await;
    came_to(&tick, Outcome::Ok);
    let pieces = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let piece = format!("100\r\n{}\r\n", "x".repeat(256)).into_bytes();
    let tick = tick_of(order(seldom(large(pieces, piece, b"0\r\n\r\n").await))).await;
    came_to(&tick, Outcome::Ok);
    // Without a length the close is the end.
    check(answering(b"HTTP/1.1 200 OK\r\n\r\nok").await, Outcome::Ok).await;
}

#[tokio::test]
async fn where_metadata_is_served_is_never_probed_whoever_names_it() {
    for host in
        ["169.254.169.254", "169.254.170.2", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0"]
    {
        let named = Target { host: host.to_owned(), ..target(([127, 0, 0, 1], 80).into(), false) };
        let tick = tick_of(order(plan(GET, vec![named], vec![]))).await;
        came_to(&tick, Outcome::Forbidden);
    }
}

#[tokio::test]
async fn an_unexpected_status_is_named_and_counted() {
    let tick = probe(
        GET,
        target(answering(b"HTTP/1.1 503 Unavailable\r\ncontent-length: 0\r\n\r\n").await, false),
    )
    .await;
    assert_eq!(tick.statuses.get(&503).copied().unwrap_or(0) + tick.late, 10, "{tick:?}");
    // A redirect is an answer, not an invitation.
    let redirect =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    check(answering(redirect).await, Outcome::Status).await;
}

#[tokio::test]
async fn a_body_that_is_not_as_expected_is_told_apart_from_a_bad_status() {
    let outcome = async |body: &'static [u8]| {
        let http = "{ http: { path: /, expect: { json: { $.status: ok } } } }";
        let tick = probe(http, target(answering(body).await, false)).await;
        let answered = |outcome| tick.outcomes.get(&outcome).copied().unwrap_or(0);
        assert_eq!(
            answered(Outcome::Ok) + answered(Outcome::Expectation) + tick.late,
            10,
            "{tick:?}"
        );
        answered(Outcome::Expectation)
    };
    assert_eq!(outcome(b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"ok\"}").await, 0);
    assert!(outcome(b"HTTP/1.1 200 OK\r\n\r\n{\"status\":\"starting\"}").await > 0);
    assert!(outcome(b"HTTP/1.1 200 OK\r\n\r\nnot json at all").await > 0);
}

#[tokio::test]
async fn nobody_listening_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    check(address, Outcome::Refused).await;
}

#[tokio::test]
async fn a_connection_closed_before_the_answer_is_reset() {
    check(server(|stream| async move { drop(stream) }).await, Outcome::Reset).await;
    // It promises ten bytes and sends two.
    check(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nok").await, Outcome::Reset)
        .await;
}

#[tokio::test]
async fn silence_in_any_phase_is_a_timeout_in_time() {
    let silent = |bytes: &'static [u8]| {
        server(move |mut stream| async move {
            let _read = stream.read(&mut [0; 2048]).await;
            say(stream, &[bytes.to_vec()], Then::Stall).await;
        })
    };
    for bytes in
        [b"".as_slice(), b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok"]
    {
        let start = std::time::Instant::now();
        check(silent(bytes).await, Outcome::Timeout).await;
        assert!(start.elapsed() < 10 * (TICK + TIMEOUT), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn garbage_is_a_protocol_error_and_endless_answers_are_cut() {
    check(answering(b"\x16\x03\x01\x02\x00garbage\r\n\r\n").await, Outcome::Protocol).await;
    let endless_head = server(|mut stream| async move {
        let _read = stream.read(&mut [0; 2048]).await;
        let _status = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x-more: and more and more and more\r\n").await.is_ok() {}
    });
    check(endless_head.await, Outcome::Protocol).await;
    let endless_body = server(|mut stream| async move {
        let _read = stream.read(&mut [0; 2048]).await;
        let _status = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        let block = [b'x'; 65536];
        while stream.write_all(&block).await.is_ok() {}
    });
    check(endless_body.await, Outcome::TooLarge).await;
    check(
        answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9999999999\r\n\r\n").await,
        Outcome::TooLarge,
    )
    .await;
}

#[tokio::test]
async fn an_answer_that_lies_about_its_length_is_no_answer() {
    // A chunk whose size is none, one of more than any number, one that does not end where it says.
    let chunks: [&[u8]; 3] = [
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nok\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
    ];
    for chunked in chunks {
        check(answering(chunked).await, Outcome::Protocol).await;
    }
    let twice = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!";
    check(answering(twice).await, Outcome::Protocol).await;
    // More than it says is not looked at.
    check(answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokay").await, Outcome::Ok).await;
}

#[tokio::test]
async fn an_answer_that_drips_or_never_comes_is_a_timeout() {
    let dripping = server(|mut stream| async move {
        let _read = stream.read(&mut [0; 2048]).await;
        let whole = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        say(stream, &[whole.to_vec()], Then::Drip).await;
    });
    check(dripping.await, Outcome::Timeout).await;
    // Answers that are none yet, for ever.
    let early = server(|mut stream| async move {
        let _read = stream.read(&mut [0; 2048]).await;
        let early = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(4);
        while stream.write_all(&early).await.is_ok() {}
    });
    let tick = tick_until(order(seldom(early.await)), 7).await;
    assert_eq!(u64::from(tick.due - tick.late), tick.bad(), "{tick:?}");
}

#[tokio::test]
async fn tls_that_is_no_tls_is_a_tls_error() {
    let plain = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let tick = probe(GET, target(plain, true)).await;
    assert_eq!(tick.outcomes.get(&Outcome::Tls).copied().unwrap_or(0) + tick.late, 10, "{tick:?}");
}

#[tokio::test]
async fn a_name_that_does_not_resolve_is_not_the_targets_fault() {
    let nowhere = Target {
        host: "no-such-host.invalid".into(),
        ..target("127.0.0.1:1".parse().unwrap(), false)
    };
    let tick = probe(GET, nowhere).await;
    assert_eq!(tick.judged(), 0, "{tick:?}");
}

#[tokio::test]
async fn a_stalled_green_does_not_slow_the_probes_of_blue() {
    let green = server(|stream| say(stream, &[], Then::Stall));
    let blue = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let prober = Prober::start().unwrap();
    let plan = plan(GET, vec![target(green.await, false)], vec![target(blue, false)]);
    let mut session = prober.begin(order(plan));
    for index in 7..10 {
        let tick = session.tick().await.unwrap();
        assert_eq!(tick.index, index, "ticks arrive in order");
        let total = |arm: Option<&ArmTick>| arm.unwrap().total();
        let (green, blue) = (total(Some(&tick.green)), total(tick.blue.as_ref()));
        assert_eq!((green.due, blue.due), (10, 10), "open loop: a stalled target is not spared");
        assert_eq!(green.outcomes.get(&Outcome::Timeout).copied().unwrap_or(0) + green.late, 10);
        assert_eq!(blue.outcomes.get(&Outcome::Ok).copied().unwrap_or(0) + blue.late, 10);
    }
}

#[tokio::test]
async fn the_request_is_the_policys_and_marked_as_gates() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let probe = "{ http: { path: /shop?deep=1, host: shop.example.com }, headers: { x-plain: 1, \
                 authorization: { secret: 'env:TOKEN', prefix: 'Bearer ' } } }";
    let plan = plan(probe, vec![target(address, false)], vec![]);
    let secret = |reference: &str| Ok(format!("secret of {reference}"));
    let order = Order::new(plan, &secret).unwrap();
    assert!(!format!("{order:?}").contains("secret of"), "secrets are not printed");
    let prober = Prober::start().unwrap();
    let _session = prober.begin(order);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut request = vec![0; 2048];
    let length = stream.read(&mut request).await.unwrap();
    let request = String::from_utf8_lossy(&request[..length]).to_lowercase();
    for line in [
        "get /shop?deep=1 http/1.1\r\n",
        "host: shop.example.com\r\n",
        "user-agent: gate/",
        "x-plain: 1\r\n",
        "authorization: bearer secret of env:token\r\n",
        "connection: close\r\n",
    ] {
        assert!(request.contains(line), "{line:?} is not in {request}");
    }
}
