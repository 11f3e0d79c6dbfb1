//! What AWS has of real traffic, beside the probes: metrics, alarms, and tasks that stopped by themselves.
//!
//! It is read and reported. What may be asked for is the run's to say, and whether it counts is the judge's.

mod alarms;
mod cloudwatch;
mod dimensions;
mod periods;
mod tasks;
mod trouble;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use policies::plan::Observed;
use policies::{Moment, Reading, Run};
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tracing::Instrument;

use crate::aws::{Aws, Clouds, Place};
use crate::resolve::{Dimensions, Measured};
use crate::telemetry::Metrics;

pub(crate) use alarms::Desks;
pub(crate) use dimensions::{Whose, of as dimensions_of};

/// Batches of readings that may wait to be taken. Whoever reads waits beyond that, and reads no less.
const READINGS_WAITING_MAX: usize = 16;

/// Where the signals of one question come from.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    pub(crate) clouds: Clouds,
    pub(crate) place: Place,
    pub(crate) dimensions: Dimensions,
    /// Shared by all runs: alarms are asked about together.
    pub(crate) desks: Arc<Desks>,
    /// When the question was accepted, in milliseconds since 1970.
    pub(crate) accepted_unix_millis: u64,
}

/// What one run wants read, and what it knows already.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) observed: Vec<Observed>,
    /// Of objectives over periods.
    pub(crate) known: BTreeMap<String, Known>,
    /// When green was first seen with real traffic.
    pub(crate) traffic_since: Option<Moment>,
    /// The instant the question was accepted.
    pub(crate) origin: Instant,
}

/// What a run knows of an objective over periods, from before a restart or from before the watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// When the newest period read began, in milliseconds from acceptance.
    pub(crate) newest_millis: Option<i64>,
    /// Whether it knows what a series is compared with.
    pub(crate) baseline: bool,
}

/// Reading under way. Dropping it stops it.
#[derive(Debug)]
pub(crate) struct Signals {
    traffic: watch::Sender<Option<Moment>>,
    readings: mpsc::Receiver<Vec<Reading>>,
    task: AbortHandle,
}

/// What the readers of one run share.
#[derive(Clone, Debug)]
struct Reader {
    sources: Sources,
    clock: Clock,
    metrics: Arc<Metrics>,
    sender: mpsc::Sender<Vec<Reading>>,
}

/// Time as CloudWatch has it, from the moment of acceptance on: what the machine's clock does later is
/// nothing to it.
#[derive(Clone, Copy, Debug)]
struct Clock {
    origin: Instant,
    accepted_unix_millis: i64,
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wanted {
    /// What a run wants that has just been told to measure `observed`.
    pub(crate) fn of(run: &Run, observed: &[Observed], origin: Instant) -> Self {
        let known = |observed: &Observed| {
            let name = &observed.objective;
            let newest_millis = run.newest_reading(name);
            (name.clone(), Known { newest_millis, baseline: run.has_baseline(name) })
        };
        let known = observed.iter().map(known).collect();
        Self { observed: observed.to_vec(), known, traffic_since: run.traffic_since(), origin }
    }
}

impl Signals {
    /// Begins to read, if anything is wanted.
    pub(crate) fn begin(sources: Sources, wanted: Wanted, metrics: Arc<Metrics>) -> Option<Self> {
        if wanted.observed.is_empty() {
            return None;
        }
        let Wanted { observed, known, traffic_since, origin } = wanted;
        let (traffic, watched) = watch::channel(traffic_since);
        let (sender, readings) = mpsc::channel(READINGS_WAITING_MAX);
        let accepted_unix_millis = i64::try_from(sources.accepted_unix_millis).unwrap_or(i64::MAX);
        let clock = Clock { origin, accepted_unix_millis };
        let reader = Reader { sources, clock, metrics, sender };
        let reading = async move {
            // One that waits for AWS must not keep the others waiting.
            tokio::join!(
                cloudwatch::read(reader.clone(), &observed, &known, watched),
                alarms::read(reader.clone(), &observed),
                tasks::read(reader, &observed),
            );
        };
        let task = tokio::spawn(reading.in_current_span()).abort_handle();
        Some(Self { traffic, readings, task })
    }

    /// Says since when green has real traffic.
    pub(crate) fn traffic(&self, since: Option<Moment>) {
        self.traffic.send_if_modified(|known| {
            let news = *known != since;
            *known = since;
            news
        });
    }

    /// What was read next; `None` once nothing more can be. Cancel safe.
    pub(crate) async fn readings(&mut self) -> Option<Vec<Reading>> {
        self.readings.recv().await
    }
}

impl Reader {
    async fn aws(&self) -> Arc<dyn Aws> {
        self.sources.clouds.at(&self.sources.place).await
    }

    /// What CloudWatch calls green, as last resolved.
    fn measured(&self) -> Measured {
        self.sources.dimensions.now()
    }

    /// When the deployment began, in seconds since 1970; the question's acceptance where nobody says.
    fn began_unix_seconds(&self, measured: &Measured) -> i64 {
        measured.began_unix_seconds.unwrap_or(self.clock.accepted_unix_millis / 1000)
    }

    /// Hands readings to the run. False once it has gone.
    async fn tell(&self, readings: Vec<Reading>) -> bool {
        readings.is_empty() || self.sender.send(readings).await.is_ok()
    }

    fn lost(&self, source: &str, reason: &str) {
        self.metrics.reading_lost(source, reason);
    }
}

impl Clock {
    /// Milliseconds since acceptance.
    fn now_millis(self) -> i64 {
        i64::try_from(self.origin.elapsed().as_millis()).unwrap_or(i64::MAX)
    }

    fn now_unix_seconds(self) -> i64 {
        self.accepted_unix_millis.saturating_add(self.now_millis()) / 1000
    }

    /// Milliseconds from acceptance to a second since 1970.
    fn millis_to(self, unix_seconds: i64) -> i64 {
        unix_seconds.saturating_mul(1000).saturating_sub(self.accepted_unix_millis)
    }

    /// The instant of a second since 1970, or now where that is over.
    fn instant_of(self, unix_seconds: i64) -> Instant {
        let left = self.millis_to(unix_seconds).saturating_sub(self.now_millis());
        Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
