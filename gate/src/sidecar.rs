//! Static targets: each is judged for ever by a policy of its own, and operators look at what comes of it.
//!
//! Nothing of it is written down and nobody is answered: a restart begins anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use policies::run::{Continuous, RESOLVE_EVERY, Snapshot};
use policies::{Moment, Tick, Verdict};
use probes::{Order, OrderError, Prober, Session};
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::unix_millis;
use crate::config::StaticTarget;
use crate::shell::{Orders, References, Vault};
use crate::telemetry::Metrics;

/// All static targets of this gate. Without any it costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Sidecar {
    watched: Vec<Arc<Watched>>,
}

/// One of them.
#[derive(Debug)]
struct Watched {
    url: String,
    /// What metrics call it.
    label: String,
    guard: bool,
    began_unix_millis: u64,
    judging: Mutex<Continuous>,
    /// When it was last measured, and not gate's own trouble instead.
    measured: Mutex<Instant>,
}

/// A verdict of a gate that could not measure for so long, or for three ticks, fails nobody's health check.
const BLIND_AFTER: Duration = Duration::from_secs(30);

/// One target in `GET /snapshot`.
#[derive(Debug, Serialize)]
pub(crate) struct TargetSnapshot {
    url: String,
    guard: bool,
    /// When the measuring began of what this is made of.
    since: String,
    /// Since when the verdict stands.
    verdict_since: String,
    /// When the counting began of what `counted` has.
    counted_since: String,
    #[serde(flatten)]
    seen: Snapshot,
}

impl Sidecar {
    /// Begins to probe and judge, until `stop`. Where gate only observes, nobody guards.
    ///
    /// # Errors
    /// A target cannot be probed: a secret went away since the settings were read.
    pub(crate) async fn begin(
        targets: Vec<StaticTarget>,
        prober: &Prober,
        metrics: &Arc<Metrics>,
        vault: &Vault,
        observe: bool,
        stop: &CancellationToken,
    ) -> Result<Self, OrderError> {
        let mut watched = Vec::with_capacity(targets.len());
        for StaticTarget { target, judging, mut guard, warnings } in targets {
            let url = target.id.clone();
            for warning in warnings {
                warn!(url, warning, "a part of the policy is not judged");
            }
            if guard && (observe || judging.observes()) {
                warn!(url, "`guard` has no effect: gate, or the policy, only observes");
                guard = false;
            }
            let label = format!("{}:{}", target.host, target.port);
            let began_unix_millis = unix_millis();
            // So that many sidecars do not probe in step.
            let plan = judging.plan(began_unix_millis, target);
            let references = References::of(&plan.script, vault).await;
            let session = prober.begin(Order::new(plan.clone(), &references)?);
            let orders = Orders::under_way(vault.clone(), plan, references);
            let judging = Mutex::new(judging);
            let measured = Mutex::new(Instant::now());
            let one = Arc::new(Watched { url, label, guard, began_unix_millis, judging, measured });
            let judged = Arc::clone(&one);
            tokio::spawn(judged.judge(session, orders, Arc::clone(metrics), stop.clone()));
            watched.push(one);
        }
        Ok(Self { watched })
    }

    /// Why the container should be taken away: the targets that are guarded and Broken, a line each.
    pub(crate) fn broken(&self) -> Option<String> {
        let guarded = self.watched.iter().filter(|watched| watched.guard);
        let broken = guarded.filter_map(|watched| {
            let judging = watched.lock();
            let state = judging.state();
            let blind_after = BLIND_AFTER.max(judging.tick() * 3);
            let broken =
                state.verdict == Verdict::Broken && watched.measured().elapsed() < blind_after;
            broken.then(|| format!("{}: {}\n", watched.url, state.reason))
        });
        let broken: String = broken.collect();
        (!broken.is_empty()).then_some(broken)
    }

    /// What was measured of late, and what is held of each target.
    pub(crate) fn snapshot(&self) -> Vec<TargetSnapshot> {
        self.watched.iter().map(|watched| watched.snapshot()).collect()
    }
}

impl Watched {
    async fn judge(
        self: Arc<Self>,
        mut session: Session,
        mut orders: Orders,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) {
        let origin = Instant::now();
        let mut looked = origin;
        loop {
            let tick = tokio::select! {
                () = stop.cancelled() => return,
                order = orders.ready() => {
                    session.change(order);
                    continue;
                }
                tick = session.tick() => tick,
            };
            // Looked at with the ticks: without secrets nothing wakes for them.
            if orders.has_secrets() && looked.elapsed() >= RESOLVE_EVERY {
                looked = Instant::now();
                orders.look_again();
            }
            // Probing ends only with gate.
            let Some(tick) = tick else { return };
            let millis = u64::try_from(origin.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.take(&tick, Moment::from_millis(millis), &metrics);
        }
    }

    fn take(&self, tick: &Tick, at: Moment, metrics: &Metrics) {
        let mut judging = self.lock();
        let trouble = judging.is_gates_trouble(tick);
        if !trouble {
            *self.measured() = Instant::now();
        }
        if let Some(state) = judging.take(tick, at) {
            let (url, verdict, reason) = (&self.url, state.verdict, &state.reason);
            match verdict {
                Verdict::Broken => warn!(url, reason, "the target is Broken"),
                Verdict::Kept | Verdict::Unknown => {
                    info!(url, reason, "the target is {verdict}");
                }
            }
        }
        metrics.watched_target(&self.label, tick, trouble, &judging);
    }

    fn snapshot(&self) -> TargetSnapshot {
        let judging = self.lock();
        TargetSnapshot {
            url: self.url.clone(),
            guard: self.guard,
            since: self.spelled(judging.measured_since()),
            verdict_since: self.spelled(judging.state().since),
            counted_since: self.spelled(judging.counted_since()),
            seen: judging.snapshot(),
        }
    }

    /// A moment by the machine's clock.
    fn spelled(&self, at: Moment) -> String {
        let millis = self.began_unix_millis.saturating_add(at.as_millis());
        let at = i64::try_from(millis).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
        at.map_or_else(String::new, |at| at.to_string())
    }

    /// Held for as long as a tick or a snapshot takes: microseconds.
    fn lock(&self) -> MutexGuard<'_, Continuous> {
        self.judging.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn measured(&self) -> MutexGuard<'_, Instant> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
