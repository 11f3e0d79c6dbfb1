//! What targets that send much and never end cost in memory; a file of its own: the heap is everybody's.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use common::frames::{CONTINUATION, HEADERS, PING, SETTINGS, STATUS_200, frame, literal};
use common::{order, plan, server, target, websocket_key};
use peak_alloc::PeakAlloc;
use policies::Outcome;
use policies::plan::Rate;
use probes::Prober;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const MIB: usize = 1024 * 1024;
/// Probes a second; all stay under way for the time-out.
const RATE: f64 = 300.0;
const TIMEOUT: Duration = Duration::from_secs(1);
/// Below what 300 probes would hold of 1 MiB each, the target's own side included.
const LIMIT_BYTES: usize = 128 * MIB;
static BLOCK: [u8; 65_536] = [b'x'; 65_536];

/// Far below what one connection is sent. 0.3 MiB is usual; where this machine is busy all fifty are under way at a time,
/// each with what may be read early and what its target's own side holds.
const HOSTILE_BYTES: usize = 24 * MIB;
/// Ticks in which none may be sent in time.
const TICKS_MAX: usize = 20;
/// What each connection is sent, unless the prober closes it.
const HEAD_BYTES: usize = 100 * MIB;

/// A target that says this, then as much as an answer may have but a little, and waits.
async fn heavy(begins: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static) -> SocketAddr {
    server(move |mut stream| {
        let begins = begins.clone();
        async move {
            let mut request = [0; 2048];
            let length = stream.read(&mut request).await.unwrap_or(0);
            let begins = begins(&String::from_utf8_lossy(&request[..length]));
            let _begun = stream.write_all(&begins).await;
            for _ in 0..MIB / BLOCK.len() - 1 {
                let _sent = stream.write_all(&BLOCK).await;
            }
            // Until the prober closes.
            let _closed = stream.read(&mut request).await;
            tokio::time::sleep(TIMEOUT).await;
        }
    })
    .await
}

/// The most that is held while such a target is probed beside a good one; what became of both.
async fn check(probe: &str, heavy: SocketAddr) {
    let good = common::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let mut plan = plan(probe, vec![target(heavy, false)], vec![target(good, false)]);
    (plan.rate, plan.timeout) = (Rate::constant(RATE), TIMEOUT);
    plan.tick = 2 * TIMEOUT;
    HEAP.reset_peak_usage();
    let prober = Prober::start().unwrap();
    let tick = prober.begin(order(plan)).tick().await.unwrap();
    let peak = HEAP.peak_usage();
    let (green, blue) = (tick.green.total(), tick.blue.unwrap().total());
    assert!(peak < LIMIT_BYTES, "{} MiB at the peak: {:?}", peak / MIB, green.outcomes);
    assert_eq!(green.outcomes.get(&Outcome::Ok), None, "{:?}", green.outcomes);
    assert_eq!((green.due, blue.due), (600, 600), "the schedule goes on");
}

/// Fifty probes a second of a target that says this and then that for ever, a hundred megabytes and more: what is held of
/// it, the target's own side included, and what it came to.
async fn hostile(probe: &str, begins: Vec<u8>, goes_on: Vec<u8>, expected: Outcome) {
    hostile_to(50, probe, begins, goes_on, expected).await;
}

/// The same with so many probes a second.
async fn hostile_to(rate: u32, probe: &str, begins: Vec<u8>, goes_on: Vec<u8>, expected: Outcome) {
    let goes_on = goes_on.repeat(BLOCK.len().div_ceil(goes_on.len()));
    let sent: &'static AtomicUsize = Box::leak(Box::default());
    let address = server(move |mut stream| {
        let (begins, goes_on) = (begins.clone(), goes_on.clone());
        async move {
            let _request = stream.read(&mut [0; 2048]).await;
            let _begun = stream.write_all(&begins).await;
            for _ in 0..HEAD_BYTES / goes_on.len() {
                if stream.write_all(&goes_on).await.is_err() {
                    return;
                }
                sent.fetch_add(goes_on.len(), Ordering::Relaxed);
            }
        }
    })
    .await;
    let mut plan = plan(probe, vec![target(address, false)], vec![]);
    (plan.timeout, plan.tick) = (TIMEOUT, TIMEOUT);
    plan.rate = Rate::constant(rate.into());
    HEAP.reset_peak_usage();
    let before = HEAP.current_usage();
    let prober = Prober::start().unwrap();
    let mut session = prober.begin(order(plan));
    let mut tick = session.tick().await.unwrap().green.total();
    // Where this machine was too busy to send any in time.
    for _ in 0..TICKS_MAX {
        if tick.late < tick.due {
            break;
        }
        tick = session.tick().await.unwrap().green.total();
    }
    let held = HEAP.peak_usage().saturating_sub(before);
    assert!(held < HOSTILE_BYTES, "{} KiB at the peak: {:?}", held / 1024, tick.outcomes);
    assert_eq!(tick.due, rate, "the schedule goes on");
    // Small pieces cost a little each, and without optimisation more than there is time for.
    let slow = if expected == Outcome::TooLarge { Outcome::Timeout } else { expected };
    let came = |outcome| tick.outcomes.get(&outcome).copied().unwrap_or(0);
    let named = came(expected) + if slow == expected { 0 } else { came(slow) };
    assert!(named > 0 && named + tick.late == rate, "{expected}: {:?}", tick.outcomes);
    // Shown by the test harness where it fails, or with `--nocapture`.
    println!(
        "{expected}: {} KiB held, {} KiB sent",
        held / 1024,
        sent.load(Ordering::Relaxed) / 1024
    );
}

/// One test: what runs beside it would be measured with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_end_are_held_within_a_bound() {
    let one = "{ http: { path: / } }";
    let ok = || b"HTTP/1.1 200 OK\r\n".to_vec();
    let length = || [ok(), b"content-length: 2\r\nx-long: ".to_vec()].concat();
    hostile(one, length(), b"x".to_vec(), Outcome::Protocol).await;
    hostile(one, ok(), b"x-more: and more\r\n".to_vec(), Outcome::Protocol).await;
    hostile(one, ok(), b"\r\nxxxxxxxx".to_vec(), Outcome::TooLarge).await;
    let chunked = [ok(), b"transfer-encoding: chunked\r\n\r\n".to_vec()].concat();
    hostile(one, chunked, [b"1000\r\n", &BLOCK[..4096], b"\r\n"].concat(), Outcome::TooLarge).await;
    hostile(one, Vec::new(), b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), Outcome::TooLarge).await;
    hostile(one, Vec::new(), b"\0\x01garbage".to_vec(), Outcome::Protocol).await;
    let two = "{ http: { path: /, version: 2 } }";
    let settings = frame(SETTINGS, 0, 0, &[]);
    let begun = [settings.clone(), frame(HEADERS, 0, 1, STATUS_200)].concat();
    let more = frame(CONTINUATION, 0, 1, &literal("x-more", &"and more ".repeat(12)));
    hostile(two, begun, more, Outcome::Protocol).await;
    // Without optimisation fifty of these a second are more than a processor can read.
    hostile_to(5, two, Vec::new(), settings.clone(), Outcome::TooLarge).await;
    hostile_to(5, two, settings, frame(PING, 0, 0, &[7; 8]), Outcome::TooLarge).await;
    let http = |_request: &str| b"HTTP/1.1 200 OK\r\ncontent-length: 1048576\r\n\r\n".to_vec();
    let kept = "{ http: { path: /, expect: { text: ok } } }";
    check(kept, heavy(http).await).await;
    let again = "{ http: { path: /, expect: { text: ok } }, connections: reuse }";
    check(again, heavy(http).await).await;
    let open = |request: &str| {
        let accept = derive_accept_key(websocket_key(request).as_bytes());
        let mut bytes = format!(
            "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-accept: {accept}\r\n\r\n"
        )
        .into_bytes();
        // One text of 1 MiB.
        bytes.extend([0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 0]);
        bytes
    };
    check("{ websocket: { path: /, send: hello } }", heavy(open).await).await;
}
