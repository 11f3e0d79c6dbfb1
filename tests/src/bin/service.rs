//! A service to deploy: healthy, failing, slow or dead, as told. The demo's and the tests' blue and green.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Parser;
use tokio::sync::Notify;

/// A service with faults by measure. `/healthz` is always healthy; everything else has the faults.
#[derive(Debug, Parser)]
struct Service {
    /// Where to listen; a task of the emulated ECS is told by TASK_IP and PORT.
    #[arg(long)]
    listen: Option<SocketAddr>,
    #[arg(long, env = "TASK_IP", default_value = "127.0.0.1")]
    ip: std::net::IpAddr,
    #[arg(long, env = "PORT", default_value_t = 8080)]
    port: u16,
    /// Share of requests answered with 500: `5%`.
    #[arg(long, default_value = "0%", value_parser = policies::units::share)]
    errors: f64,
    /// Share of requests that take `--slow-by` longer.
    #[arg(long, default_value = "0%", value_parser = policies::units::share)]
    slow: f64,
    #[arg(long, default_value = "500ms", value_parser = policies::units::duration)]
    slow_by: Duration,
    /// What every answer takes.
    #[arg(long, default_value = "2ms", value_parser = policies::units::duration)]
    latency: Duration,
    /// After this many requests (but for `/healthz`) it stops listening: connections are refused.
    #[arg(long)]
    unreachable_after: Option<u64>,
    /// Which requests the faults hit.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

struct Shared {
    service: Service,
    requests: AtomicU64,
    closing: Notify,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = Service::parse();
    let address = service.listen.unwrap_or(SocketAddr::new(service.ip, service.port));
    let shared = Arc::new(Shared { service, requests: AtomicU64::new(0), closing: Notify::new() });
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .fallback(answer)
        .with_state(Arc::clone(&shared));
    let listener = tokio::net::TcpListener::bind(address).await.expect("the address is free");
    tokio::select! {
        served = axum::serve(listener, router) => served.expect("the service serves"),
        () = shared.closing.notified() => {}
    }
    // The task goes on running, so that nothing restarts it.
    std::future::pending::<()>().await;
}

async fn answer(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    let Shared { service, requests, closing } = &*shared;
    let number = requests.fetch_add(1, Ordering::Relaxed);
    if service.unreachable_after.is_some_and(|most| number + 1 >= most) {
        closing.notify_one();
    }
    let mut wait = service.latency;
    if chance(service.seed, number, 1) < service.slow {
        wait += service.slow_by;
    }
    tokio::time::sleep(wait).await;
    if chance(service.seed, number, 2) < service.errors {
        (StatusCode::INTERNAL_SERVER_ERROR, "broken\n")
    } else {
        (StatusCode::OK, "fine\n")
    }
}

/// A number from 0 to 1 that looks random and is the same in every run (splitmix64).
fn chance(seed: u64, number: u64, stream: u64) -> f64 {
    let mut z = seed
        .wrapping_mul(0x9e37_79b9_7f4a_7c15)
        .wrapping_add(number.wrapping_mul(0xbf58_476d_1ce4_e5b9))
        .wrapping_add(stream.wrapping_mul(0x94d0_49bb_1331_11eb));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
}
