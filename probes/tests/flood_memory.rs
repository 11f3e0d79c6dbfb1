//! What targets that send much and never end cost in memory; a file of its own: the heap is everybody's.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::SocketAddr;
use std::time::Duration;

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

/// One test: what runs beside it would be measured with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_never_end_are_held_within_a_bound() {
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
