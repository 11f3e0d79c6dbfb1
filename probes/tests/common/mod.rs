//! What tests of the prober share: targets, plans from policies, servers that do as they are told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    reason = "the whole file is a test's; not every test uses all of it"
)]

pub(crate) mod certificates;
pub(crate) mod frames;
pub(crate) mod service;

use std::net::SocketAddr;
use std::time::Duration;

use policies::deployment::Route;
use policies::plan::Plan;
use policies::{Outcome, PolicyFile, Target, TargetTick};
use probes::{Order, Prober};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const TICK: Duration = Duration::from_millis(200);
pub(crate) const TIMEOUT: Duration = Duration::from_millis(300);

/// Ticks that may pass until one is undisturbed: other tests run beside this one.
const BUSY_TICKS_MAX: usize = 8;

pub(crate) fn target(address: SocketAddr, tls: bool) -> Target {
    Target {
        id: address.to_string(),
        host: address.ip().to_string(),
        port: address.port(),
        tls,
        route: Route::Url,
        health: None,
        name: None,
    }
}

/// A plan of ten probes a tick for each arm, by the `probe` of a policy.
#[track_caller]
pub(crate) fn plan(probe: &str, green: Vec<Target>, blue: Vec<Target>) -> Plan {
    let objectives = "objectives: [ { errors: { at-most: 1% } } ]";
    let text = format!("gate: v1\nprobe: {probe}\n{objectives}\n");
    let file = PolicyFile::parse("test.policy.yaml", &text);
    let policy = file.policy.unwrap_or_else(|| panic!("{text}\n{:?}", file.faults));
    let mut plan = policy.plan(0, 7, green, blue);
    plan.rate = policies::plan::Rate::constant(50.0);
    (plan.tick, plan.timeout) = (TICK, TIMEOUT);
    plan
}

/// A plain GET.
pub(crate) const GET: &str = "{ http: { path: /shop?deep=1 } }";

pub(crate) fn order(plan: Plan) -> Order {
    Order::new(plan, &|_: &str| Err("no secrets here".to_owned())).unwrap()
}

/// One tick of probes of `target`.
pub(crate) async fn probe(probe: &str, target: Target) -> TargetTick {
    tick_of(order(plan(probe, vec![target], vec![]))).await
}

/// One tick of probes of the only target. A tick in which this machine was too busy is not looked at.
pub(crate) async fn tick_of(order: Order) -> TargetTick {
    tick_until(order, 0).await
}

/// The same, where so many late ones do no harm.
pub(crate) async fn tick_until(order: Order, late_max: u32) -> TargetTick {
    let prober = Prober::start().unwrap();
    let mut session = prober.begin(order);
    let mut tick = TargetTick::default();
    for _attempt in 0..BUSY_TICKS_MAX {
        tick = session.tick().await.unwrap().green.total();
        if tick.late <= late_max {
            break;
        }
    }
    tick
}

/// The only sentence of what was seen.
#[track_caller]
pub(crate) fn sentence(tick: &TargetTick) -> String {
    assert_eq!(tick.unmet.len(), 1, "{tick:?}");
    tick.unmet.keys().next().unwrap().clone()
}

/// The key of a request that opens a WebSocket.
pub(crate) fn websocket_key(request: &str) -> String {
    let keys = request.lines().filter_map(|line| line.split_once(": "));
    let mut keys = keys.filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    keys.next().map(|(_, key)| key.to_owned()).unwrap_or_default()
}

/// A server that treats each connection as told.
pub(crate) async fn server<F>(treat: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(treat(stream));
        }
    });
    address
}

/// What a target does once it has said what it says.
#[derive(Clone, Copy)]
pub(crate) enum Then {
    Close,
    Stall,
    /// The last of its frames, for ever.
    Repeat,
    /// Nothing more; what it said came byte by byte, slowly.
    Drip,
}

/// Says this as a target, then does that.
pub(crate) async fn say(mut stream: TcpStream, says: &[Vec<u8>], then: Then) {
    if matches!(then, Then::Drip) {
        for byte in says.concat() {
            tokio::time::sleep(Duration::from_millis(30)).await;
            let _sent = stream.write_all(&[byte]).await;
        }
    } else {
        let _sent = stream.write_all(&says.concat()).await;
    }
    match then {
        Then::Close => {
            // Unread bytes would make a reset of the close, and the answer may go with it.
            let _closed = stream.shutdown().await;
            let _rest = stream.read_to_end(&mut Vec::new()).await;
        }
        Then::Stall | Then::Drip => tokio::time::sleep(Duration::from_secs(60)).await,
        Then::Repeat => {
            let many = says.last().unwrap().repeat(64);
            while stream.write_all(&many).await.is_ok() {}
        }
    }
}

/// Reads the request, answers with these bytes, and closes.
pub(crate) async fn answering(bytes: &'static [u8]) -> SocketAddr {
    server(move |mut stream| async move {
        let mut request = [0; 2048];
        let _read = stream.read(&mut request).await;
        let _written = stream.write_all(bytes).await;
    })
    .await
}

/// Every probe of the tick came to this.
#[track_caller]
pub(crate) fn came_to(tick: &TargetTick, expected: Outcome) {
    assert_eq!(tick.due, 10, "{tick:?}");
    assert_eq!(tick.outcomes.get(&expected).copied().unwrap_or(0) + tick.late, 10, "{tick:?}");
    assert!(tick.late < 8, "this machine is too busy to tell: {tick:?}");
}

/// Every plain GET of a tick comes to this.
pub(crate) async fn check(address: SocketAddr, expected: Outcome) {
    came_to(&probe(GET, target(address, false)).await, expected);
}
