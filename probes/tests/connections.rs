//! Connections: new for each probe or used again, closed under it, idle too long; targets kept apart.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::frames::{
    END_HEADERS, END_STREAM, HEADERS, RST_STREAM, SETTINGS, STATUS_200, frame, goaway, request,
};
use common::{Then, came_to, order, plan, say, server, target, tick_of};
use policies::plan::Rate;
use policies::{Outcome, TargetTick};
use probes::Prober;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// What a server has seen.
#[derive(Default)]
struct Seen {
    connections: AtomicU32,
    /// First line of a request → how often it came.
    requests: Mutex<BTreeMap<String, u32>>,
}

impl Seen {
    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }

    fn requests(&self) -> u32 {
        self.requests.lock().unwrap().values().sum()
    }

    /// Whether each request had a connection of its own; one or two may have gone no further when it ended.
    fn each_was_new(&self) -> bool {
        (self.requests()..=self.requests() + 2).contains(&self.connections())
    }

    fn most_often(&self) -> u32 {
        self.requests.lock().unwrap().values().copied().max().unwrap_or(0)
    }
}

/// The next request without a body; its first line. `None` where the prober closed.
async fn next_request(stream: &mut TcpStream) -> Option<String> {
    let (mut request, mut byte) = (Vec::new(), [0]);
    while !request.ends_with(b"\r\n\r\n") {
        stream.read_exact(&mut byte).await.ok()?;
        request.push(byte[0]);
    }
    String::from_utf8(request).unwrap().lines().next().map(str::to_owned)
}

/// A server that gives its answers in turn on each connection, the last one for ever; `None` closes.
async fn answers(turns: &[Option<&'static [u8]>]) -> (SocketAddr, Arc<Seen>) {
    let turns = turns.to_vec();
    let seen = Arc::new(Seen::default());
    let noted = Arc::clone(&seen);
    let address = server(move |mut stream| {
        let (seen, turns) = (Arc::clone(&noted), turns.clone());
        async move {
            seen.connections.fetch_add(1, Ordering::SeqCst);
            let last = *turns.last().unwrap();
            for turn in turns.into_iter().chain(std::iter::repeat(last)) {
                let Some(line) = next_request(&mut stream).await else { return };
                *seen.requests.lock().unwrap().entry(line).or_default() += 1;
                let Some(answer) = turn else { return };
                let _sent = stream.write_all(answer).await;
            }
        }
    });
    (address.await, seen)
}

/// What probes of a method over these connections come to.
async fn probed(method: &str, connections: &str, address: SocketAddr) -> TargetTick {
    let probe = format!(
        "{{ http: {{ path: '/${{unique}}', method: {method} }}, connections: {connections} }}"
    );
    tick_of(order(plan(&probe, vec![target(address, false)], vec![]))).await
}

#[tokio::test]
async fn a_connection_is_new_for_each_probe_or_used_again() {
    let (address, seen) = answers(&[Some(OK)]).await;
    came_to(&probed("GET", "new", address).await, Outcome::Ok);
    assert!(seen.each_was_new());
    let (address, seen) = answers(&[Some(OK)]).await;
    let tick = probed("GET", "reuse", address).await;
    came_to(&tick, Outcome::Ok);
    assert!(tick.signals.is_empty(), "nothing is told apart where all is the same");
    // A probe that finds the only connection in use opens another.
    assert!(seen.connections() <= 3, "{} of {}", seen.connections(), seen.requests());
}

#[tokio::test]
async fn where_both_are_in_use_each_is_reported_apart() {
    let (address, seen) = answers(&[Some(OK)]).await;
    let tick = probed("GET", "{ reuse: 50% }", address).await;
    came_to(&tick, Outcome::Ok);
    let due = |name: &str| tick.signals.get(name).map_or(0, |part| part.due);
    assert_eq!(due("connections/new") + due("connections/reused"), 10);
    assert!((2..=6).contains(&due("connections/reused")), "{tick:?}");
    assert!(seen.connections() < seen.requests());
    // A redirect over the connection that was opened for the request before it is not used again.
    let there = b"HTTP/1.1 302 Found\r\nlocation: /there\r\ncontent-length: 0\r\n\r\n";
    let address = server(move |mut stream| async move {
        while next_request(&mut stream).await.is_some_and(|line| line.starts_with("GET / ")) {
            let _sent = stream.write_all(there).await;
        }
        let last = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        let _sent = stream.write_all(last).await;
    })
    .await;
    let probe = "{ http: { path: /, redirects: 1 }, connections: { reuse: 99% } }";
    let tick = tick_of(order(plan(probe, vec![target(address, false)], vec![]))).await;
    came_to(&tick, Outcome::Ok);
    assert_eq!(tick.signals.keys().collect::<Vec<_>>(), ["connections/new"], "{tick:?}");
}

#[tokio::test]
async fn a_connection_closed_when_it_is_used_again_is_stale_and_nobodys_fault() {
    // The second request is read, and the connection closed.
    let (address, seen) = answers(&[Some(OK), None]).await;
    let tick = probed("GET", "reuse", address).await;
    came_to(&tick, Outcome::Ok);
    assert!(tick.stale > 0 && tick.bad() == 0, "{tick:?}");
    assert_eq!(seen.most_often(), 2, "sent again, once");
    // Nobody knows what became of a POST: it is not sent again, and not judged.
    let (address, seen) = answers(&[Some(OK), None]).await;
    let tick = probed("POST", "reuse", address).await;
    let came = |outcome| tick.outcomes.get(&outcome).copied().unwrap_or(0);
    assert_eq!(came(Outcome::Ok) + came(Outcome::Stale) + tick.late, 10, "{tick:?}");
    assert!(came(Outcome::Stale) > 0 && tick.bad() == 0, "{tick:?}");
    assert_eq!(seen.most_often(), 1, "never sent twice");
    // Some say that they waited long enough before they close.
    let waited = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    let (address, _) = answers(&[Some(OK), Some(waited)]).await;
    let tick = probed("GET", "reuse", address).await;
    came_to(&tick, Outcome::Ok);
    assert!(tick.stale > 0, "{tick:?}");
    // A target that closes without an answer on a new connection has no such excuse.
    let (address, _) = answers(&[None]).await;
    came_to(&probed("GET", "reuse", address).await, Outcome::Reset);
    came_to(&probed("POST", "reuse", address).await, Outcome::Reset);
    let (address, _) = answers(&[Some(waited)]).await;
    came_to(&probed("GET", "reuse", address).await, Outcome::Status);
}

#[tokio::test]
async fn half_an_answer_is_the_targets_fault_on_any_connection() {
    let half = b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf";
    // It says nine bytes, sends four, and closes at the next request, which never comes.
    let address = server(move |mut stream| async move {
        if next_request(&mut stream).await.is_some() {
            let _sent = stream.write_all(OK).await;
        }
        if next_request(&mut stream).await.is_some() {
            let _sent = stream.write_all(half).await;
        }
    });
    let tick = probed("GET", "reuse", address.await).await;
    assert!(tick.outcomes.get(&Outcome::Reset).is_some_and(|count| *count > 2), "{tick:?}");
    assert_eq!(tick.stale, 0, "{tick:?}");
}

/// An HTTP/2 server that answers the first request and does this at each further one.
async fn second_time(says: impl Fn(u32) -> Vec<u8> + Clone + Send + 'static) -> SocketAddr {
    server(move |mut stream| {
        let says = says.clone();
        async move {
            let _settings = stream.write_all(&frame(SETTINGS, 0, 0, &[])).await;
            let Some(first) = request(&mut stream, true).await else { return };
            let head = frame(HEADERS, END_HEADERS | END_STREAM, first, STATUS_200);
            let _sent = stream.write_all(&head).await;
            let Some(second) = request(&mut stream, false).await else { return };
            say(stream, &[says(second)], Then::Close).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_farewell_of_http2_is_no_reset() {
    let probed = async |method: &str, address| {
        let probe =
            format!("{{ http: {{ path: /, method: {method}, version: 2 }}, connections: reuse }}");
        tick_of(order(plan(&probe, vec![target(address, false)], vec![]))).await
    };
    // What it says was not looked at, or nothing at all.
    let left = |_second: u32| goaway(1, 0);
    let refused = |second: u32| frame(RST_STREAM, 0, second, &[0, 0, 0, 7]);
    for tick in [
        probed("GET", second_time(left).await).await,
        probed("GET", second_time(refused).await).await,
        probed("GET", second_time(|_second| Vec::new()).await).await,
        // Even what may not be sent twice: it was refused before it was begun.
        probed("POST", second_time(left).await).await,
        probed("POST", second_time(refused).await).await,
    ] {
        came_to(&tick, Outcome::Ok);
        assert!(tick.stale > 0, "{tick:?}");
    }
    let tick = probed("POST", second_time(|_second| Vec::new()).await).await;
    assert!(tick.outcomes.contains_key(&Outcome::Stale) && tick.bad() == 0, "{tick:?}");
    // A request that was looked at and reset is an error, on any connection.
    let failed = second_time(|second| frame(RST_STREAM, 0, second, &[0, 0, 0, 2])).await;
    let tick = probed("GET", failed).await;
    assert!(tick.bad() > 2 && tick.stale == 0, "{tick:?}");
}

#[tokio::test]
async fn a_connection_that_idled_too_long_or_is_to_be_closed_is_not_used_again() {
    // Slow enough that every connection idles for longer than 100 ms.
    let (address, seen) = answers(&[Some(OK)]).await;
    let probe = "{ http: { path: / }, connections: { reuse: 100%, max-idle: 100ms } }";
    let mut plan = plan(probe, vec![target(address, false)], vec![]);
    (plan.rate, plan.tick) = (Rate::constant(4.0), Duration::from_secs(2));
    let tick = tick_of(order(plan)).await;
    assert_eq!((tick.bad(), tick.stale), (0, 0), "{tick:?}");
    assert!(seen.each_was_new());
    let close = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    for answer in [
        &close[..],
        b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
        // An answer that nobody asked for is not taken for the next one.
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
    ] {
        let (address, seen) = answers(&[Some(answer)]).await;
        let tick = probed("GET", "reuse", address).await;
        came_to(&tick, Outcome::Ok);
        assert_eq!(tick.stale, 0);
        assert!(seen.each_was_new());
    }
}

#[tokio::test]
async fn connections_used_again_keep_targets_and_steps_apart() {
    let stalls = server(|mut stream| async move {
        // The first request is answered, the next one on the same connection never.
        let _read = next_request(&mut stream).await;
        let _sent = stream.write_all(OK).await;
        tokio::time::sleep(Duration::from_secs(60)).await;
    });
    let (good, seen) = answers(&[Some(OK)]).await;
    let step = |name: &str| format!("{{ name: {name}, http: {{ path: /{name} }} }}");
    let steps = format!("[ {}, {} ]", step("one"), step("two"));
    let probe = format!("{{ scenarios: [ {{ name: s, steps: {steps} }} ], connections: reuse }}");
    let (green, blue) = (target(stalls.await, false), target(good, false));
    let prober = Prober::start().unwrap();
    let mut session = prober.begin(order(plan(&probe, vec![green], vec![blue])));
    for _ in 0..3 {
        let tick = session.tick().await.unwrap();
        let (green, blue) = (tick.green.total(), tick.blue.unwrap().total());
        assert_eq!((green.due, blue.due), (10, 10), "a stalled target is not spared");
        assert_eq!(blue.outcomes.get(&Outcome::Ok).copied().unwrap_or(0) + blue.late, 10);
        // A new connection is answered once, and stalls when it is used again.
        let stalled = green.outcomes.get(&Outcome::Timeout).copied().unwrap_or(0);
        let answered = green.outcomes.get(&Outcome::Ok).copied().unwrap_or(0);
        assert!(stalled > 0 && stalled + answered + green.late == 10, "{green:?}");
    }
    assert!(seen.connections() <= 6, "{} of {}", seen.connections(), seen.requests());
}
