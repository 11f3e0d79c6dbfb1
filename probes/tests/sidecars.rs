//! Sidecars over real sockets: what several of them say, asked once a second.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use common::order;
use common::service::{answer, speak};
use hyper::Request;
use hyper::body::Incoming;
use policies::deployment::Route;
use policies::histogram::Interval;
use policies::reading::Seen;
use policies::{PolicyFile, Target};
use probes::scrape::Scraper;
use tokio::net::TcpListener;

/// A sidecar on this host of the loopback network. Each time it is asked it has ten probes more, of which one is bad
/// and two are slow; the `failing`th time it answers 503. Returns its port, and how often it was asked.
async fn sidecar(host: u8, port: u16, failing: u32) -> (u16, Arc<AtomicU32>) {
    let at = SocketAddr::new(Ipv4Addr::new(127, 0, 0, host).into(), port);
    let listener = TcpListener::bind(at).await.unwrap();
    let at = listener.local_addr().unwrap();
    let asked = Arc::new(AtomicU32::new(0));
    let counting = Arc::clone(&asked);
    let serve = move |request: Request<Incoming>| {
        let times = counting.fetch_add(1, Ordering::Relaxed) + 1;
        let own_name = request.headers()["host"] == at.to_string().as_str();
        let sound = times != failing && own_name && request.uri() == "/snapshot";
        let mut latency = Interval::default();
        latency.record_many(Duration::from_millis(5), 8 * times);
        latency.record_many(Duration::from_millis(700), 2 * times);
        let (judged, latency) = (10 * times, latency.to_wire());
        let counted = format!(
            r#""counted":{{"judged":{judged},"bad":{times},"unanswered":0,"latency":"{latency}"}}"#
        );
        let body = format!(r#"{{"targets":[{{"counted_since":"2026-01-01",{counted}}}]}}"#);
        async move { answer(if sound { 200 } else { 503 }, body) }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(speak(stream, false, serve.clone()));
        }
    });
    (at.port(), asked)
}

fn target(host: u8, port: u16, route: Route) -> Target {
    let host = Ipv4Addr::new(127, 0, 0, host).to_string();
    Target { id: format!("{host}:{port}"), host, port, tls: false, route, health: None }
}

#[tokio::test]
async fn the_sidecars_of_all_tasks_are_asked_each_once_and_added_up() {
    let (port, one) = sidecar(2, 0, 0).await;
    let (_, two) = sidecar(3, port, 2).await;
    let (_, behind_a_listener) = sidecar(4, port, 0).await;
    let policy = format!(
        "gate: v1
probe: {{ http: {{ path: /, host: shop.example }}, sidecar: {{ port: {port} }} }}
objectives:
  - errors: {{ at-most: 1% }}
  - sidecar: {{ at-most: 0.5%, no-data: continue }}
  - sidecar: {{ quantile: p99, at-most: 250ms, no-data: continue }}
"
    );
    let policy = PolicyFile::parse("p.policy.yaml", &policy).policy.unwrap();
    // Two ports of one task, a task of its own, and a way on which nobody knows whose sidecar answers.
    let green = vec![
        target(2, 8080, Route::Url),
        target(2, 8443, Route::Url),
        target(3, 8080, Route::Url),
        target(4, 8080, Route::Listener),
    ];
    let mut scraper = Scraper::begin(&order(policy.plan(0, 0, green, vec![])), 0).unwrap();
    let (mut errors, mut slow) = ((0.0, 0.0), (0.0, 0.0));
    while errors.1 < 50.0 {
        for reading in scraper.readings().await.unwrap() {
            let Seen::Counts { bad, all } = reading.seen else { continue };
            let sum = if reading.objective.starts_with("errors") { &mut errors } else { &mut slow };
            *sum = (sum.0 + bad, sum.1 + all);
        }
    }
    assert_eq!((errors.0 * 10.0, slow.0 * 5.0), (errors.1, slow.1), "{errors:?} {slow:?}");
    let asked = one.load(Ordering::Relaxed) + two.load(Ordering::Relaxed);
    // The first answer of each says only where it is; none is counted twice.
    assert!(errors.1 <= 10.0 * f64::from(asked - 2), "{errors:?} of {asked}");
    assert_eq!(behind_a_listener.load(Ordering::Relaxed), 0);
}

#[test]
fn nobody_is_asked_for_what_no_objective_wants() {
    let text =
        "gate: v1\nprobe: { http: { path: / } }\nobjectives: [ { errors: { at-most: 1% } } ]";
    let policy = PolicyFile::parse("p.policy.yaml", text).policy.unwrap();
    let plan = policy.plan(0, 0, vec![target(2, 8080, Route::Url)], vec![]);
    assert!(Scraper::begin(&order(plan), 0).is_none());
}
