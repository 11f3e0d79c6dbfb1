//! Targets that are half dead or attack whoever asks, beside the careless ones of `misbehaviour.rs`: each gives the
//! outcome that docs/troubleshooting.md names.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use common::{
    GET, TICK, TIMEOUT, Then, answering, came_to, check, order, plan, probe, say, server, target,
    tick_of, tick_until,
};
use policies::plan::Rate;
use policies::{Outcome, TargetTick};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A target that reads the request and then does this.
async fn asked<F>(treat: impl Fn(TcpStream) -> F + Clone + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    server(move |mut stream| {
        let treat = treat.clone();
        async move {
            let _request = stream.read(&mut [0; 2048]).await;
            treat(stream).await;
        }
    })
    .await
}

/// What probes over connections that are used again come to.
async fn again(address: SocketAddr) -> TargetTick {
    let probe = "{ http: { path: / }, connections: reuse }";
    tick_of(order(plan(probe, vec![target(address, false)], vec![]))).await
}

#[tokio::test]
async fn a_body_that_drips_is_a_timeout() {
    let dripping = |head: &'static [u8], body: &'static [u8]| {
        asked(move |mut stream| async move {
            let _head = stream.write_all(head).await;
            say(stream, &[body.to_vec()], Then::Drip).await;
        })
    };
    let start = Instant::now();
    let sized = b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n";
    check(dripping(sized, &[b'x'; 60]).await, Outcome::Timeout).await;
    let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    check(dripping(chunked, &[b'0'; 200]).await, Outcome::Timeout).await;
    check(dripping(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 200]).await, Outcome::Timeout).await;
    assert!(start.elapsed() < 30 * (TICK + TIMEOUT), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_head_without_end_is_a_protocol_error() {
    // A status line, a name, a value that never end; small lines without number; blank lines before any answer.
    for (begins, goes_on) in [
        ("HTTP/1.1 200 ", "O"),
        ("HTTP/1.1 200 OK\r\n", "x"),
        ("HTTP/1.1 200 OK\r\nx-long: ", "x"),
        ("HTTP/1.1 200 OK\r\n", "a: b\r\n"),
        ("", "\r\n"),
    ] {
        let endless = asked(move |mut stream| async move {
            let _begun = stream.write_all(begins.as_bytes()).await;
            let more = goes_on.repeat(16_384);
            while stream.write_all(more.as_bytes()).await.is_ok() {}
        });
        let mut plan = plan(GET, vec![target(endless.await, false)], vec![]);
        (plan.rate, plan.tick) = (Rate::constant(10.0), Duration::from_secs(1));
        came_to(&tick_until(order(plan), 7).await, Outcome::Protocol);
    }
}

#[tokio::test]
async fn an_answer_that_could_end_in_two_places_is_no_answer() {
    for twice in [
        &b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 99\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: xchunked\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\ncontent-length: 2, 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length: 18446744073709551617\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ncontent-length : 2\r\n\r\nok",
        b"HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: 1\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n-2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0x2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffe\r\nok\r\n0\r\n\r\n",
    ] {
        let tick = probe(GET, target(answering(twice).await, false)).await;
        let shown = twice.escape_ascii();
        let too_large = twice.windows(8).any(|part| part == b"\nfffffff");
        let expected = if too_large { Outcome::Reset } else { Outcome::Protocol };
        assert_eq!(tick.outcomes.get(&expected).copied().unwrap_or(0) + tick.late, 10, "{shown}: {tick:?}");
    }
}

#[tokio::test]
async fn what_a_target_sends_unasked_is_never_the_next_answer() {
    // Behind the answer and a little after it; of its own accord before any request.
    let unasked = b"HTTP/1.1 500 Smuggled\r\ncontent-length: 0\r\n\r\n";
    for at_once in [true, false] {
        let address = server(move |mut stream| async move {
            let _nodelay = stream.set_nodelay(true);
            while stream.read(&mut [0; 2048]).await.is_ok_and(|read| read > 0) {
                let both = [OK, unasked].concat();
                let (first, rest) = both.split_at(if at_once { both.len() } else { OK.len() });
                let _answer = stream.write_all(first).await;
                tokio::task::yield_now().await;
                if stream.write_all(rest).await.is_err() {
                    return;
                }
            }
        });
        let tick = again(address.await).await;
        came_to(&tick, Outcome::Ok);
        assert!(tick.statuses.is_empty(), "{tick:?}");
    }
}

#[tokio::test]
async fn a_connection_that_is_reset_is_a_reset_wherever_it_was() {
    // With a reset, not in good order: what is on its way is thrown away.
    let reset = |says: &'static [u8]| {
        asked(move |mut stream| async move {
            let _said = stream.write_all(says).await;
            let _linger = stream.set_zero_linger();
        })
    };
    for says in [
        &b""[..],
        b"HTTP/1.1 20",
        b"HTTP/1.1 200 OK\r\ncontent-le",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n",
        // Even where nothing but the close is missing.
        b"HTTP/1.1 200 OK\r\n\r\nok",
    ] {
        check(reset(says).await, Outcome::Reset).await;
    }
    // Before it has read anything.
    check(
        server(|stream| async move {
            let _linger = stream.set_zero_linger();
        })
        .await,
        Outcome::Reset,
    )
    .await;
}

#[tokio::test]
async fn a_connection_that_is_open_on_one_side_alone_is_named() {
    // It takes the connection, and neither reads nor writes: the request does not even fit its window.
    let deaf = server(|stream| say(stream, &[], Then::Stall)).await;
    check(deaf, Outcome::Timeout).await;
    let post = format!("{{ http: {{ path: /, method: POST, body: {} }} }}", "x".repeat(200_000));
    came_to(&probe(&post, target(deaf, false)).await, Outcome::Timeout);
    // It closes its side and goes on reading.
    let mute = |says: &'static [u8]| {
        server(move |mut stream| async move {
            let _said = stream.write_all(says).await;
            let _closed = stream.shutdown().await;
            let _rest = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        })
    };
    check(mute(b"").await, Outcome::Reset).await;
    let half = asked(|mut stream| async move {
        let _said = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await;
        let _closed = stream.shutdown().await;
        let _rest = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    });
    check(half.await, Outcome::Reset).await;
}

#[tokio::test]
async fn bytes_that_are_no_http_are_a_protocol_error() {
    for garbage in [
        &b"\0\0\0\0\0\0\0\0\r\n\r\n"[..],
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 2xx OK\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"http/1.1 200 ok\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: \x01\x02\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: you\r\n\r\n",
        b"\x00\x00\x12\x04\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00d\x00\x04\x00\xa0\x00\x00\r\n\r\n",
        b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\r\n\r\n",
    ] {
        let tick = probe(GET, target(answering(garbage).await, false)).await;
        let came = tick.outcomes.get(&Outcome::Protocol).copied().unwrap_or(0);
        assert_eq!(came + tick.late, 10, "{}: {tick:?}", garbage.escape_ascii());
    }
    // Too little to tell: the target closed in the middle of something.
    check(answering(b"\r").await, Outcome::Reset).await;
}

#[tokio::test]
async fn answers_that_are_none_yet_are_cut() {
    for early in
        [&b"HTTP/1.1 100 Continue\r\n\r\n"[..], b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"]
    {
        let flood = asked(move |mut stream| async move {
            let early = early.repeat(64);
            while stream.write_all(&early).await.is_ok() {}
        });
        let mut plan = plan(GET, vec![target(flood.await, false)], vec![]);
        // Every one of them costs a little, and without optimisation more.
        (plan.rate, plan.tick) = (Rate::constant(5.0), Duration::from_secs(2));
        plan.timeout = Duration::from_millis(1500);
        came_to(&tick_until(order(plan), 7).await, Outcome::TooLarge);
    }
}
