//! Asks green's targets for their own metrics once a second, beside the probes and on another thread.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use policies::deployment::Route as Way;
use policies::plan::{Call, HttpVersion, Scrape as Place};
use policies::{Arm, Outcome, Reading, Target};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::told::Told;
use super::{ACCEPT as ACCEPTED, BODY_BYTES_MAX, Scrapes, Wanted};
use crate::exchange::{Outgoing, Route, exchange};
use crate::order::{AGENT, Order};
use crate::pool::Pool;
use crate::probe::{Asked, Attempt, Values};

/// Between two scrapes of a target.
const EVERY: Duration = Duration::from_secs(1);
/// One scrape; it must be over before the next.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Scrapes at a time: each may hold 4 MiB. So 500 targets that answer in 30 ms are done within the second.
const AT_ONCE: usize = 16;
/// Seconds of readings that may wait to be taken.
const WAITING_MAX: usize = 64;

/// Scraping under way. Dropping it stops it.
#[derive(Debug)]
pub struct Scraper {
    targets: watch::Sender<Vec<Target>>,
    readings: mpsc::Receiver<Vec<Reading>>,
    task: AbortHandle,
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Scraper {
    /// Begins to scrape green's targets, if the order wants anything of them; on the runtime this is called on,
    /// never on the one that probes. `now_millis` is the present moment of the evaluation.
    pub fn begin(order: &Order, now_millis: i64) -> Option<Self> {
        let wanted = Wanted::of(&order.plan.counted)
            .inspect_err(|error| tracing::warn!(%error, "metrics cannot be read"))
            .ok()
            .filter(|wanted| !wanted.is_empty())?;
        let (targets, watched) = watch::channel(there(order));
        let (sender, readings) = mpsc::channel(WAITING_MAX);
        let plan = &order.plan;
        // As the first step that names one has it: a certificate is for that name.
        let calls = plan.script.scenarios.iter().flat_map(|scenario| &scenario.steps);
        let host = calls.map(|step| &step.call).find_map(Call::host);
        let route = Route {
            trust: Arc::clone(&order.trust),
            host: host.map(str::to_owned),
            server_name: plan.script.tls.server_name.clone(),
            version: HttpVersion::One,
            step: 0,
            idle_max: 10 * EVERY,
        };
        let fetch = Fetch { route, place: plan.script.scrape.clone(), pool: Pool::default() };
        let task = tokio::spawn(scrape(fetch, wanted, watched, sender, now_millis)).abort_handle();
        Some(Self { targets, readings, task })
    }

    /// Scrapes the targets of this order from the next second on.
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

async fn scrape(
    fetch: Fetch,
    wanted: Wanted,
    targets: watch::Receiver<Vec<Target>>,
    sender: mpsc::Sender<Vec<Reading>>,
    now_millis: i64,
) {
    let begun = Instant::now();
    let mut scrapes = Scrapes::new(wanted);
    let mut each = interval(EVERY);
    each.set_missed_tick_behavior(MissedTickBehavior::Delay);
    // Events of a reading began with the scrape before the one that counted them.
    let mut since = None;
    let mut told = Told::default();
    loop {
        each.tick().await;
        let at = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
        let now = now_millis.saturating_add(at);
        let there = targets.borrow().clone();
        let is_there = |id: &str| there.iter().any(|target| target.id == id);
        scrapes.retain(is_there);
        told.retain(is_there);
        fetch.pool.keep(is_there);
        let mut asked = stream::iter(there)
            .map(|target| async { (target.id.clone(), fetch.get(target).await) })
            .buffer_unordered(AT_ONCE);
        let mut answered = false;
        // Where a round takes long, what is there is handed over without waiting for the rest.
        let mut hand_over = interval_at(Instant::now() + EVERY, EVERY);
        loop {
            let next = tokio::select! {
                next = asked.next() => next,
                _late = hand_over.tick() => {
                    let readings = scrapes.readings(since.unwrap_or(now));
                    if !readings.is_empty() && sender.send(readings).await.is_err() {
                        return;
                    }
                    continue;
                }
            };
            let Some((id, answer)) = next else { break };
            let digested = match answer {
                Ok((body, kind)) => {
                    // Parsing may take a tenth of a second: not on a thread that answers hooks.
                    let whose = id.clone();
                    let parsed = spawn_blocking(move || {
                        let digested = scrapes.digest(&whose, &body, kind.as_deref());
                        (scrapes, digested.map_err(|error| error.to_string()))
                    });
                    let Ok((back, digested)) = parsed.await else { return };
                    scrapes = back;
                    digested
                }
                Err(trouble) => Err(trouble),
            };
            answered |= digested.is_ok();
            told.target(&id, digested.err());
        }
        if answered {
            told.objectives(scrapes.notes());
        }
        let readings = scrapes.readings(since.unwrap_or(now));
        since = Some(now);
        if !readings.is_empty() && sender.send(readings).await.is_err() {
            return;
        }
    }
}

/// One whole answer: what, and of what kind.
type Answer = (Vec<u8>, Option<String>);

struct Fetch {
    route: Route,
    place: Place,
    pool: Pool,
}

impl Fetch {
    async fn get(&self, target: Target) -> Result<Answer, String> {
        let mut at = target;
        if let Some(port) = self.place.port {
            (at.port, at.tls) = (port, false);
        }
        let values = Values::new();
        let attempt = Attempt {
            target: &at,
            arm: Arm::Green,
            deadline: Instant::now() + TIMEOUT,
            values: &values,
            may_reuse: true,
            pool: &self.pool,
            jar: None,
        };
        let authority = self.route.authority(&attempt);
        let make = |_two: bool| {
            Request::get(self.place.path.as_str())
                .header(HOST, authority.as_str())
                .header(USER_AGENT, AGENT)
                .header(ACCEPT, HeaderValue::from_static(ACCEPTED))
                .body(Full::<Bytes>::default())
                .map_err(|_invalid| Outcome::NotSent)
        };
        let outgoing =
            Outgoing { make: &make, is_safe: true, keep: true, most_bytes: BODY_BYTES_MAX };
        let mut asked = Asked::new();
        let found = exchange(&self.route, &attempt, &outgoing, &mut asked).await;
        let path = &self.place.path;
        let incame = found.map_err(|lost| format!("GET {path}: {}", lost.outcome))?;
        if incame.status != 200 {
            return Err(format!("GET {path} was answered with {}", incame.status));
        }
        let kind = incame.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        Ok((incame.body, kind.map(str::to_owned)))
    }
}
