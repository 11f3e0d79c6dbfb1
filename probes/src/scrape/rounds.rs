//! Once a second every target is asked, and what came is read into a book of what they counted.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use http_body_util::Full;
use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use policies::{Arm, Outcome, Reading, Target};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};

use super::told::Told;
use super::{Scrapes, Sidecars};
use crate::exchange::{Outgoing, Route, exchange};
use crate::order::AGENT;
use crate::pool::Pool;
use crate::probe::{Asked, Attempt, Values};

/// Between two questions to a target.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// One question; it must be over before the next.
const TIMEOUT: Duration = Duration::from_millis(900);
/// Questions at a time: each answer may hold 4 MiB. So 500 targets that answer in 30 ms are done within the second.
const AT_ONCE: usize = 16;

/// What answers are read into.
pub(super) trait Book: Send + 'static {
    /// Forgets targets that are there no more.
    fn retain(&mut self, is_there: impl Fn(&str) -> bool);
    /// Reads one whole answer of one target, or says why not. May take a tenth of a second.
    fn digest(&mut self, target: &str, answer: &Answer) -> Result<(), String>;
    /// What all targets together counted since this was last called.
    fn readings(&mut self, began_millis: i64) -> Vec<Reading>;
    /// Says what of the answers is not as it should be, though they can be read.
    fn tell(&self, told: &mut Told);
}

impl Book for Scrapes {
    fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        Self::retain(self, is_there);
    }

    fn digest(&mut self, target: &str, answer: &Answer) -> Result<(), String> {
        let digested = Self::digest(self, target, &answer.body, answer.kind.as_deref());
        digested.map_err(|error| error.to_string())
    }

    fn readings(&mut self, began_millis: i64) -> Vec<Reading> {
        Self::readings(self, began_millis)
    }

    fn tell(&self, told: &mut Told) {
        told.objectives(self.notes());
    }
}

impl Book for Sidecars {
    fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        Self::retain(self, is_there);
    }

    fn digest(&mut self, target: &str, answer: &Answer) -> Result<(), String> {
        Self::digest(self, target, &answer.body).map_err(|error| error.to_string())
    }

    fn readings(&mut self, began_millis: i64) -> Vec<Reading> {
        Self::readings(self, began_millis)
    }

    fn tell(&self, _told: &mut Told) {}
}

/// Rounds of questions, one a second.
pub(super) struct Rounds {
    pub(super) fetch: Fetch,
    pub(super) told: Told,
    /// The moment of the evaluation at which they begin.
    pub(super) now_millis: i64,
    pub(super) sender: mpsc::Sender<Vec<Reading>>,
}

impl Rounds {
    /// Asks until nobody takes readings any more.
    pub(super) async fn go_on(self, mut book: impl Book, targets: watch::Receiver<Vec<Target>>) {
        let Self { fetch, mut told, now_millis, sender } = self;
        let begun = Instant::now();
        let mut each = interval(EVERY);
        each.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Events of a reading began with the answer before the one that counted them.
        let mut since = None;
        loop {
            each.tick().await;
            let at = i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX);
            let now = now_millis.saturating_add(at);
            let there = (fetch.places)(targets.borrow().clone());
            let is_there = |id: &str| there.iter().any(|target| target.id == id);
            book.retain(is_there);
            told.retain(is_there);
            fetch.pool.keep(is_there);
            let mut asked = stream::iter(there)
                .map(|target| async {
                    let answer = fetch.get(&target).await;
                    (target.id, answer)
                })
                .buffer_unordered(AT_ONCE);
            let mut answered = false;
            // Where a round takes long, what is there is handed over without waiting for the rest.
            let mut hand_over = interval_at(Instant::now() + EVERY, EVERY);
            loop {
                let next = tokio::select! {
                    next = asked.next() => next,
                    _late = hand_over.tick() => {
                        let readings = book.readings(since.unwrap_or(now));
                        if !readings.is_empty() && sender.send(readings).await.is_err() {
                            return;
                        }
                        continue;
                    }
                };
                let Some((id, answer)) = next else { break };
                let digested = match answer {
                    Ok(answer) => {
                        // Parsing may take a tenth of a second: not on a thread that answers hooks.
                        let whose = id.clone();
                        let parsed = spawn_blocking(move || {
                            let digested = book.digest(&whose, &answer);
                            (book, digested)
                        });
                        let Ok((back, digested)) = parsed.await else { return };
                        book = back;
                        digested
                    }
                    Err(trouble) => Err(trouble),
                };
                answered |= digested.is_ok();
                told.target(&id, digested.err());
            }
            if answered {
                book.tell(&mut told);
            }
            let readings = book.readings(since.unwrap_or(now));
            since = Some(now);
            if !readings.is_empty() && sender.send(readings).await.is_err() {
                return;
            }
        }
    }
}

/// One whole answer.
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// Its `content-type`.
    pub(super) kind: Option<String>,
}

/// Where each target is asked instead of where it is probed.
type Places = Box<dyn Fn(Vec<Target>) -> Vec<Target> + Send + Sync>;

/// How a target is asked.
pub(super) struct Fetch {
    pub(super) route: Route,
    pub(super) path: String,
    pub(super) accept: &'static str,
    pub(super) most_bytes: usize,
    pub(super) pool: Pool,
    pub(super) places: Places,
}

impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Fetch {
    async fn get(&self, at: &Target) -> Result<Answer, String> {
        let values = Values::new();
        let attempt = Attempt {
            target: at,
            arm: Arm::Green,
            deadline: Instant::now() + TIMEOUT,
            values: &values,
            may_reuse: true,
            pool: &self.pool,
            jar: None,
        };
        let authority = self.route.authority(&attempt);
        let path = self.path.as_str();
        let make = |_two: bool| {
            Request::get(path)
                .header(HOST, authority.as_str())
                .header(USER_AGENT, AGENT)
                .header(ACCEPT, HeaderValue::from_static(self.accept))
                .body(Full::<Bytes>::default())
                .map_err(|_invalid| Outcome::NotSent)
        };
        let outgoing =
            Outgoing { make: &make, is_safe: true, keep: true, most_bytes: self.most_bytes };
        let mut asked = Asked::new();
        let found = exchange(&self.route, &attempt, &outgoing, &mut asked).await;
        let incame = found.map_err(|lost| format!("GET {path}: {}", lost.outcome))?;
        if incame.status != 200 {
            return Err(format!("GET {path} was answered with {}", incame.status));
        }
        let kind = incame.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        Ok(Answer { body: incame.body, kind: kind.map(str::to_owned) })
    }
}
