//! A service to deploy: healthy, failing, slow or dead, as told. The demo's and the tests' blue and green.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A service with faults by measure. `/healthz`, `/login` and `/metrics` are always healthy; everything else has
/// the faults.
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
    /// Requests a second that its own users make, faults included: `/metrics` shows them.
    #[arg(long, default_value_t = 0)]
    traffic: u32,
    /// Which requests the faults hit.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

struct Shared {
    service: Service,
    requests: AtomicU64,
    broken: AtomicU64,
    /// Requests per bucket of [`BUCKETS_MILLIS`], and those above.
    took: [AtomicU64; 4],
    took_micros: AtomicU64,
    closing: Notify,
}

/// Upper ends of the buckets that `/metrics` shows.
const BUCKETS_MILLIS: [u64; 3] = [10, 100, 1000];
/// What `/login` gives, and `/basket` wants to see.
const TOKEN: &str = "t0ken";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let service = Service::parse();
    let address = service.listen.unwrap_or(SocketAddr::new(service.ip, service.port));
    let shared = Arc::new(Shared {
        service,
        requests: AtomicU64::new(0),
        broken: AtomicU64::new(0),
        took: [const { AtomicU64::new(0) }; 4],
        took_micros: AtomicU64::new(0),
        closing: Notify::new(),
    });
    if shared.service.traffic > 0 {
        tokio::spawn(users(Arc::clone(&shared)));
    }
    let router = Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .route("/login", post(login))
        .route("/basket", get(basket))
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

/// Requests of its own users, as often as told.
async fn users(shared: Arc<Shared>) {
    let every = Duration::from_secs(1) / shared.service.traffic;
    let mut due = tokio::time::interval(every);
    loop {
        due.tick().await;
        tokio::spawn(answer(State(Arc::clone(&shared))));
    }
}

/// As Prometheus reads them. The counter of errors is there only once there was one, as most services have it.
async fn metrics(State(shared): State<Arc<Shared>>) -> String {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let broken = read(&shared.broken);
    let mut below = 0;
    let mut text = String::from("# TYPE shop_request_seconds histogram\n");
    for (most, took) in BUCKETS_MILLIS.iter().zip(&shared.took) {
        below += read(took);
        let most = *most as f64 / 1000.0;
        text += &format!("shop_request_seconds_bucket{{le=\"{most}\"}} {below}\n");
    }
    let all = below + read(&shared.took[BUCKETS_MILLIS.len()]);
    text += &format!("shop_request_seconds_bucket{{le=\"+Inf\"}} {all}\n");
    text += &format!("shop_request_seconds_count {all}\n");
    text += &format!("shop_request_seconds_sum {}\n", read(&shared.took_micros) as f64 / 1e6);
    text += "# TYPE shop_requests_total counter\n";
    text += &format!("shop_requests_total{{code=\"200\"}} {}\n", all.saturating_sub(broken));
    if broken > 0 {
        text += &format!("shop_requests_total{{code=\"500\"}} {broken}\n");
    }
    text
}

async fn login() -> Json<Value> {
    Json(json!({ "token": TOKEN }))
}

/// Faults for those who logged in; the others are sent away.
async fn basket(state: State<Arc<Shared>>, headers: HeaderMap) -> (StatusCode, &'static str) {
    let authorization = headers.get("authorization").and_then(|value| value.to_str().ok());
    if authorization == Some(&format!("Bearer {TOKEN}")) {
        answer(state).await
    } else {
        (StatusCode::UNAUTHORIZED, "who are you?\n")
    }
}

async fn answer(State(shared): State<Arc<Shared>>) -> (StatusCode, &'static str) {
    let Shared { service, requests, broken, took, took_micros, closing } = &*shared;
    let number = requests.fetch_add(1, Ordering::Relaxed);
    if service.unreachable_after.is_some_and(|most| number + 1 >= most) {
        closing.notify_one();
    }
    let mut wait = service.latency;
    if chance(service.seed, number, 1) < service.slow {
        wait += service.slow_by;
    }
    tokio::time::sleep(wait).await;
    let millis = wait.as_millis() as u64;
    let bucket = BUCKETS_MILLIS.iter().position(|most| millis <= *most);
    took[bucket.unwrap_or(BUCKETS_MILLIS.len())].fetch_add(1, Ordering::Relaxed);
    took_micros.fetch_add(wait.as_micros() as u64, Ordering::Relaxed);
    if chance(service.seed, number, 2) < service.errors {
        broken.fetch_add(1, Ordering::Relaxed);
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
