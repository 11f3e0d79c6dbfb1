//! Real traffic by CloudWatch's metrics: each settled period once, all metrics of a run in one call.

mod answer;

use std::collections::BTreeMap;
use std::time::Duration;

use policies::judge::BASELINE_POINTS_MIN;
use policies::plan::{Observation, Observed};
use policies::policy::Metric;
use policies::reading::Seen;
use policies::{Moment, Reading};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::dimensions::{self, Whose};
use super::periods::{Fence, Periods, SETTLED_AFTER_SECONDS, aligned};
use super::trouble::{Trouble, reason};
use super::{Known, Reader};
use crate::aws::AwsError;
use crate::aws::measurements::{MetricQuery, QUERIES_MAX, Series, Span};
use crate::resolve::Measured;

/// Two calls are at least this far apart, and half the shortest period.
const LOOKS_APART_MIN: Duration = Duration::from_secs(15);
/// How far back a baseline reaches: the load of the last hours, not of another day.
const BASELINE_SPAN_SECONDS: i64 = 3 * 3600;
/// Periods a baseline reaches back at least, where they are long: more than the 20 points it needs.
const BASELINE_PERIODS: i64 = 30;

/// One objective over periods.
#[derive(Debug)]
struct Tracked {
    objective: String,
    what: What,
    period_seconds: i64,
    /// From when green has real traffic.
    periods: Option<Periods>,
    newest_millis: Option<i64>,
    /// What cannot be read was told.
    told: Option<String>,
}

/// What is read.
#[derive(Clone, Debug)]
enum What {
    /// Bad events, and all.
    Counts(Metric, Metric),
    /// A series, and whether it is known what to compare it with.
    Series(Metric, Baseline),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Baseline {
    Wanted,
    Known,
    /// There is none: the series has no data.
    None,
}

/// What is asked of one objective in one call.
struct Asked {
    /// Its place among those tracked.
    place: usize,
    queries: Vec<MetricQuery>,
    /// Seconds since 1970, the end exclusive.
    span: (i64, i64),
}

struct CloudWatch {
    reader: Reader,
    tracked: Vec<Tracked>,
    not_before: Instant,
    trouble: Trouble,
}

/// Reads what CloudWatch counts for as long as anybody listens.
pub(super) async fn read(
    reader: Reader,
    observed: &[Observed],
    known: &BTreeMap<String, Known>,
    mut traffic: watch::Receiver<Option<Moment>>,
) {
    let of = |observed: &Observed| {
        let known = known.get(&observed.objective).copied().unwrap_or_default();
        Tracked::of(observed, known)
    };
    let tracked: Vec<Tracked> = observed.iter().filter_map(of).collect();
    if tracked.is_empty() {
        return;
    }
    let (not_before, trouble) = (Instant::now(), Trouble::default());
    let mut cloudwatch = CloudWatch { reader, tracked, not_before, trouble };
    loop {
        let since = *traffic.borrow_and_update();
        cloudwatch.fence(since);
        let Some(at) = cloudwatch.due_at() else {
            // Until green has real traffic there is nothing to read.
            if traffic.changed().await.is_err() {
                return;
            }
            continue;
        };
        tokio::select! {
            changed = traffic.changed() => {
                if changed.is_err() {
                    return;
                }
                continue;
            }
            () = sleep_until(at) => {}
        }
        let readings = cloudwatch.look().await;
        if !cloudwatch.reader.tell(readings).await {
            return;
        }
    }
}

impl Tracked {
    fn of(observed: &Observed, known: Known) -> Option<Self> {
        let (what, period) = match &observed.what {
            Observation::Counts { bad, all, period } => {
                (What::Counts(bad.clone(), all.clone()), period)
            }
            Observation::Series { metric, period } => {
                let baseline = if known.baseline { Baseline::Known } else { Baseline::Wanted };
                (What::Series(metric.clone(), baseline), period)
            }
            Observation::Alarms { .. } | Observation::StoppedTasks => return None,
        };
        Some(Self {
            objective: observed.objective.clone(),
            what,
            period_seconds: i64::try_from(period.as_secs()).unwrap_or(i64::MAX),
            periods: None,
            newest_millis: known.newest_millis,
            told: None,
        })
    }

    fn baseline(&self) -> Option<Baseline> {
        if let What::Series(_, baseline) = self.what { Some(baseline) } else { None }
    }

    /// The queries for it, or why there are none.
    fn queries(&self, measured: &Measured, whose: Whose) -> Result<Vec<MetricQuery>, String> {
        let metrics = match &self.what {
            What::Counts(bad, all) => vec![bad, all],
            What::Series(metric, _) => vec![metric],
        };
        let query = |metric: &Metric| {
            Ok(MetricQuery {
                namespace: metric.namespace.clone(),
                name: metric.name.clone(),
                dimensions: dimensions::of(metric, measured, whose)?,
                statistic: metric.statistic.clone(),
                period_seconds: u32::try_from(self.period_seconds).unwrap_or(u32::MAX),
            })
        };
        metrics.into_iter().map(query).collect()
    }

    /// A series without a baseline has no data.
    fn has_none(&mut self, why: String) {
        if let What::Series(_, baseline) = &mut self.what {
            *baseline = Baseline::None;
        }
        self.tell(why);
    }

    /// Says once why it cannot be read.
    fn tell(&mut self, why: String) {
        if self.told.as_ref() != Some(&why) {
            warn!(objective = self.objective, reason = why, "CloudWatch is not read");
            self.told = Some(why);
        }
    }
}

impl CloudWatch {
    /// Opens the fence once green has real traffic.
    fn fence(&mut self, since: Option<Moment>) {
        let Some(since) = since else { return };
        let accepted_unix_millis = self.reader.clock.accepted_unix_millis;
        let traffic_millis = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        for tracked in self.tracked.iter_mut().filter(|tracked| tracked.periods.is_none()) {
            let newest_millis = tracked.newest_millis;
            let fence = Fence { accepted_unix_millis, traffic_millis, newest_millis };
            tracked.periods = Some(Periods::within(tracked.period_seconds, fence));
        }
    }

    /// When there is something to read next.
    fn due_at(&self) -> Option<Instant> {
        let due = self.tracked.iter().filter_map(|tracked| match tracked.baseline() {
            // At once: it is of the past.
            Some(Baseline::Wanted) => Some(i64::MIN),
            Some(Baseline::None) => None,
            Some(Baseline::Known) | None => tracked.periods.map(Periods::due_at),
        });
        due.min().map(|due| self.reader.clock.instant_of(due).max(self.not_before))
    }

    /// Reads what is due: what series were like before, then what is settled.
    async fn look(&mut self) -> Vec<Reading> {
        const WHAT: &str = "CloudWatch metrics";
        let measured = self.reader.measured();
        let mut wait = self.apart();
        let mut readings = Vec::new();
        for whose in [Whose::Before, Whose::Green] {
            let asked = match whose {
                Whose::Before => self.baselines(&measured),
                Whose::Green => self.settled(&measured),
            };
            if asked.is_empty() {
                continue;
            }
            match self.ask(&asked).await {
                Ok(found) => {
                    self.trouble.over(WHAT);
                    for (asked, found) in asked.iter().zip(found) {
                        readings.extend(self.take(asked, &found));
                    }
                }
                Err(error) => {
                    wait = wait.max(self.trouble.failed(WHAT, error.story()));
                    for _asked in &asked {
                        self.reader.lost("cloudwatch", reason(&error));
                    }
                    break;
                }
            }
        }
        self.not_before = Instant::now() + wait;
        readings
    }

    /// The least time between two calls.
    fn apart(&self) -> Duration {
        let shortest = self.tracked.iter().map(|tracked| tracked.period_seconds).min().unwrap_or(0);
        Duration::from_secs(u64::try_from(shortest / 2).unwrap_or(0)).max(LOOKS_APART_MIN)
    }

    /// What series were like before the deployment.
    fn baselines(&mut self, measured: &Measured) -> Vec<Asked> {
        let now = self.reader.clock.now_unix_seconds();
        let began = self.reader.began_unix_seconds(measured).min(now - SETTLED_AFTER_SECONDS);
        let mut asked = Vec::new();
        for (place, tracked) in self.tracked.iter_mut().enumerate() {
            if tracked.baseline() != Some(Baseline::Wanted) {
                continue;
            }
            match tracked.queries(measured, Whose::Before) {
                Ok(queries) => {
                    let length = tracked.period_seconds.max(1);
                    let end = began.div_euclid(length) * length;
                    let periods = (BASELINE_SPAN_SECONDS / length).max(BASELINE_PERIODS);
                    let span = (end.saturating_sub(periods.saturating_mul(length)), end);
                    asked.push(Asked { place, queries, span });
                }
                Err(why) => {
                    // There is no other blue to come.
                    tracked.has_none(why);
                    self.reader.lost("cloudwatch", "no-baseline");
                }
            }
        }
        asked
    }

    /// Periods that are settled and were not read.
    fn settled(&mut self, measured: &Measured) -> Vec<Asked> {
        let now = self.reader.clock.now_unix_seconds();
        let mut asked = Vec::new();
        for (place, tracked) in self.tracked.iter_mut().enumerate() {
            if tracked.baseline() == Some(Baseline::None) {
                continue;
            }
            let Some(periods) = &mut tracked.periods else { continue };
            let end = periods.settled_end(now);
            if end == periods.next {
                continue;
            }
            for _period in 0..periods.forget(end) {
                self.reader.lost("cloudwatch", "too-old");
            }
            let span = (periods.next, end);
            match tracked.queries(measured, Whose::Green) {
                Ok(queries) => asked.push(Asked { place, queries, span }),
                Err(why) => {
                    tracked.tell(why);
                    self.reader.lost("cloudwatch", "no-dimensions");
                }
            }
        }
        asked
    }

    /// One call for all of it. What was read of each.
    async fn ask(&self, asked: &[Asked]) -> Result<Vec<Vec<Series>>, AwsError> {
        let queries: Vec<MetricQuery> =
            asked.iter().flat_map(|asked| asked.queries.iter().cloned()).collect();
        let from = asked.iter().map(|asked| asked.span.0).min().unwrap_or(0);
        let to = asked.iter().map(|asked| asked.span.1).max().unwrap_or(0);
        let lengths = queries.iter().map(|query| i64::from(query.period_seconds));
        let span = Span { from_unix_seconds: aligned(from, lengths), to_unix_seconds: to };
        let aws = self.reader.aws().await;
        let mut found = Vec::with_capacity(queries.len());
        // 64 objectives of two metrics each are one call.
        for queries in queries.chunks(QUERIES_MAX) {
            self.reader.metrics.cloudwatch_requested(queries.len());
            found.extend(aws.metric_data(queries, span).await?);
        }
        let mut found = found.into_iter();
        Ok(asked.iter().map(|asked| found.by_ref().take(asked.queries.len()).collect()).collect())
    }

    /// Readings of one objective from what was found for it.
    fn take(&mut self, asked: &Asked, found: &[Series]) -> Vec<Reading> {
        let Some(tracked) = self.tracked.get_mut(asked.place) else { return Vec::new() };
        let unusable = found.iter().find_map(|series| series.unusable.as_deref());
        if let Some(why) = unusable {
            // The same periods are asked for again: what bears no evidence was not read.
            self.reader.lost("cloudwatch", answer::label(why));
            tracked.tell(format!("CloudWatch says {why}"));
            return Vec::new();
        }
        tracked.told = None;
        let clock = self.reader.clock;
        let reading = |objective: &str, began: i64, seen: Seen| Reading {
            objective: objective.to_owned(),
            began_millis: clock.millis_to(began),
            seen,
        };
        if let (What::Series(_, baseline @ Baseline::Wanted), [series]) = (&mut tracked.what, found)
        {
            let points = answer::baseline(series, asked.span);
            if points.len() >= BASELINE_POINTS_MIN {
                *baseline = Baseline::Known;
                let seen = Seen::Baseline { points };
                return vec![reading(&tracked.objective, asked.span.0, seen)];
            }
            let (found, least) = (points.len(), BASELINE_POINTS_MIN);
            tracked.has_none(format!("{found} points from before the deployment; a series needs {least} to be compared with"));
            self.reader.lost("cloudwatch", "no-baseline");
            return Vec::new();
        }
        let Some(periods) = &mut tracked.periods else { return Vec::new() };
        let mut readings = Vec::new();
        for began in periods.until(asked.span.1) {
            let seen = match (&tracked.what, found) {
                (What::Counts(bad, _), [bads, all]) => answer::counts(&bad.name, bads, all, began),
                (What::Series(..), [series]) => {
                    Some(Seen::Point { value: answer::at(series, began) })
                }
                _ => None,
            };
            match seen {
                Some(seen) => readings.push(reading(&tracked.objective, began, seen)),
                None => self.reader.lost("cloudwatch", "absent"),
            }
        }
        periods.next = asked.span.1;
        readings
    }
}
