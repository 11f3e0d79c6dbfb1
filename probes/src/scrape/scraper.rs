//! Asks green's targets for their own metrics, and the sidecars beside them, once a second: beside the probes and on
//! another thread.

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::deployment::Route as Way;
use policies::plan::{Call, HttpVersion};
use policies::{Reading, Target, snapshot};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::rounds::{EVERY, Fetch, Rounds};
use super::told::Told;
use super::{ACCEPT, BODY_BYTES_MAX, Scrapes, Sidecars, Wanted};
use crate::exchange::Route;
use crate::order::Order;
use crate::pool::Pool;

/// Seconds of readings that may wait to be taken.
const WAITING_MAX: usize = 64;

/// Scraping under way. Dropping it stops it.
#[derive(Debug)]
pub struct Scraper {
    targets: watch::Sender<Vec<Target>>,
    readings: mpsc::Receiver<Vec<Reading>>,
    /// One for metrics, one for sidecars, where either is wanted; dropping them aborts them.
    _rounds: JoinSet<()>,
}

impl Scraper {
    /// Begins to ask green's targets, if the order wants anything of them; on the runtime this is called on,
    /// never on the one that probes. `now_millis` is the present moment of the evaluation.
    pub fn begin(order: &Order, now_millis: i64) -> Option<Self> {
        let counted = &order.plan.counted;
        let wanted = Wanted::of(counted)
            .inspect_err(|error| tracing::warn!(%error, "metrics cannot be read"))
            .unwrap_or_default();
        let sidecars = Sidecars::new(counted);
        if wanted.is_empty() && sidecars.is_empty() {
            return None;
        }
        let (targets, watched) = watch::channel(there(order));
        let (sender, readings) = mpsc::channel(WAITING_MAX);
        let mut rounds = JoinSet::new();
        if !wanted.is_empty() {
            let told = Told::of("the target's metrics", "are");
            rounds.spawn(
                Rounds { fetch: metrics(order), told, now_millis, sender: sender.clone() }
                    .go_on(Scrapes::new(wanted), watched.clone()),
            );
        }
        if !sidecars.is_empty() {
            let told = Told::of("the sidecar's snapshot", "is");
            rounds.spawn(
                Rounds { fetch: snapshots(order), told, now_millis, sender }
                    .go_on(sidecars, watched),
            );
        }
        Some(Self { targets, readings, _rounds: rounds })
    }

    /// Asks the targets of this order from the next second on.
    pub fn change(&self, order: &Order) {
        self.targets.send_replace(there(order));
    }

    /// What all targets counted in the next second; `None` once scraping has ended. Cancel safe.
    pub async fn readings(&mut self) -> Option<Vec<Reading>> {
        self.readings.recv().await
    }
}

/// Targets that are one process each: behind a listener it is another one each time, and what it counted says
/// nothing of the one before. A function has no address at all.
fn there(order: &Order) -> Vec<Target> {
    let is_process = |route| !matches!(route, Way::Listener | Way::Function);
    order.plan.green.iter().filter(|target| is_process(target.route)).cloned().collect()
}

/// How metrics are asked for.
fn metrics(order: &Order) -> Fetch {
    let plan = &order.plan;
    // As the first step that names one has it: a certificate is for that name.
    let calls = plan.script.scenarios.iter().flat_map(|scenario| &scenario.steps);
    let host = calls.map(|step| &step.call).find_map(Call::host);
    let place = plan.script.scrape.clone();
    let at = move |target: Target| match place.port {
        Some(port) => Target { port, tls: false, ..target },
        None => target,
    };
    Fetch {
        route: route(order, host),
        path: plan.script.scrape.path.clone(),
        accept: ACCEPT,
        most_bytes: BODY_BYTES_MAX,
        pool: Pool::default(),
        places: Box::new(move |targets| targets.into_iter().map(&at).collect()),
    }
}

/// How sidecars are asked: by their own name, for they are no part of the service, and each once, however many
/// ports of its task are probed.
fn snapshots(order: &Order) -> Fetch {
    let port = order.plan.script.sidecar.port;
    let places = move |targets: Vec<Target>| {
        let hosts = targets.into_iter().map(|target| {
            let id = format!("{}:{port}", target.host);
            (id.clone(), Target { id, port, tls: false, ..target })
        });
        hosts.collect::<BTreeMap<_, _>>().into_values().collect()
    };
    Fetch {
        route: route(order, None),
        path: "/snapshot".to_owned(),
        accept: "application/json",
        most_bytes: snapshot::BODY_BYTES_MAX,
        pool: Pool::default(),
        places: Box::new(places),
    }
}

fn route(order: &Order, host: Option<&str>) -> Route {
    Route {
        trust: Arc::clone(&order.trust),
        host: host.map(str::to_owned),
        server_name: order.plan.script.tls.server_name.clone(),
        version: HttpVersion::One,
        step: 0,
        idle_max: 10 * EVERY,
    }
}
