//! Everything a person or a program may want to know of a run, as it stands.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use crate::deployment::{Deployment, Target};
use crate::event::Delivery;
use crate::histogram::{Histogram, Interval};
use crate::judge::{Counts, Judge, Judged, SeriesPoint, Tally, interval_of, sentence};
use crate::moment::Moment;
use crate::phase::Phase;
use crate::policy::{Limits, Measure};
use crate::tick::Invocations;
use crate::units::spell;
use crate::verdict::{self, Verdict};

/// What Lambda calls a megabyte.
const MEGABYTE: u64 = 1024 * 1024;

/// A run as it stands. The JSON of `GET /evaluations/{id}` and of `gate verify --output json`.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Id of the evaluation.
    pub id: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// `continue` or `rollback`, once decided.
    pub decision: Option<&'static str>,
    /// What the decision rests on, once decided.
    pub basis: Option<&'static str>,
    /// Why, once decided.
    pub reason: Option<String>,
    /// The objective that decided, where one did.
    pub objective: Option<String>,
    /// What would have changed the decision, where that can be told.
    pub counterfactual: Option<String>,
    /// How the answer ended, once it did.
    pub delivery: Option<Delivery>,
    /// Each objective with its verdict and evidence.
    pub objectives: Vec<ObjectiveReport>,
    /// From acceptance to the decision, or to now.
    pub duration_seconds: f64,
    /// Seconds from acceptance to the deadline in force.
    pub deadline_seconds: f64,
    /// Who holds it, while somebody does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub held: Option<HoldReport>,
    /// What people said of it, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<OverrideReport>,
    /// Whether somebody may still override it.
    #[serde(skip)]
    pub overridable: bool,
    /// And whether that may be a rollback.
    #[serde(skip)]
    pub can_be_rolled_back: bool,
    /// What it is about, once resolved.
    pub deployment: Option<Deployment>,
    /// File of the policy in force.
    pub policy: Option<String>,
    /// Evidence needed for rollback, as odds.
    pub rollback_at: Option<String>,
    /// Evidence needed to continue, as odds.
    pub continue_at: Option<String>,
    /// What was measured of green.
    pub green: Option<ArmReport>,
    /// What was measured of blue.
    pub blue: Option<ArmReport>,
    /// Probes of the warm-up: counted, not judged.
    pub warm_up_probes: u64,
    /// Probes set aside because blue failed to connect in the same tick too.
    pub set_aside_probes: u64,
    /// Readings of a time before green was reached: they never decide.
    pub fenced_readings: u64,
    /// Readings that no objective could use.
    pub unusable_readings: u64,
    /// Ticks that gate itself could not measure.
    pub gate_trouble_ticks: u64,
    /// What happened, in order.
    pub timeline: Vec<Note>,
    /// Notes that no longer fit.
    pub timeline_dropped: u64,
    /// Evidence and errors after each judged tick.
    pub series: Vec<SeriesPoint>,
    /// Seconds from now until the evidence suffices, if it goes on growing as it did; only while judging.
    pub expected_seconds: Option<f64>,
    /// What the error rates rest on.
    pub assumptions: Option<String>,
    /// The judging after the answer, where there was any.
    pub watch: Option<WatchReport>,
}

/// Nothing is decided while somebody holds a question.
#[derive(Clone, Debug, Serialize)]
pub struct HoldReport {
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Seconds from acceptance to its end.
    pub until_seconds: f64,
    /// What would be decided without it.
    pub meanwhile: Option<String>,
}

/// What a person said of a question.
#[derive(Clone, Debug, Serialize)]
pub struct OverrideReport {
    /// Seconds from acceptance.
    pub at_seconds: f64,
    /// `hold`, `continue`, `rollback` or `release`.
    pub action: &'static str,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The judging after the answer.
#[derive(Clone, Debug, Serialize)]
pub struct WatchReport {
    /// Windows of evidence so far.
    pub windows: u32,
    /// α of the window in force.
    pub false_rollback: f64,
    /// Each objective with its verdict and evidence, of the window in force.
    pub objectives: Vec<ObjectiveReport>,
    /// Why the deployment was stopped, if it was.
    pub veto: Option<String>,
    /// It would have stopped the deployment, and only observed.
    pub would_have_vetoed: bool,
    /// How the watch ended, once it did.
    pub ended: Option<String>,
    /// Evidence and errors after each tick of the window in force.
    pub series: Vec<SeriesPoint>,
}

/// One objective.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectiveReport {
    /// How it is called everywhere.
    pub name: String,
    /// Kept, Broken or Unknown.
    pub verdict: Verdict,
    /// What was counted.
    pub counts: ObjectiveCounts,
    /// What it proves.
    pub evidence: ObjectiveEvidence,
    /// Its share of the false-rollback rate, 0 to 1; `None` of a condition.
    pub share: Option<f64>,
    /// Judged and shown, never decides.
    pub observe: bool,
    /// One sentence for a person.
    pub text: String,
}

/// Judged samples of one objective.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ObjectiveCounts {
    /// Bad samples.
    pub bad: u64,
    /// All judged samples.
    pub total: u64,
}

/// Evidence of one objective.
#[derive(Clone, Debug, Serialize)]
pub struct ObjectiveEvidence {
    /// `ln E`, capped at ±1e9.
    pub log_rollback: f64,
    /// `ln F`, capped at ±1e9.
    pub log_continue: f64,
    /// E as odds: `412:1`.
    pub rollback: String,
    /// F as odds.
    #[serde(rename = "continue")]
    pub keep: String,
    /// Allowed share of bad samples, where the objective is one.
    pub acceptable: Option<f64>,
    /// Share that must not pass.
    pub unacceptable: Option<f64>,
    /// Where the share of bad samples lies at any time with 99 % confidence, if probes are independent.
    pub interval: Option<(f64, f64)>,
    /// Whether blue breaks the objective too, so that green is held to blue.
    pub blue_is_broken: bool,
}

/// One arm.
#[derive(Clone, Debug, Serialize)]
pub struct ArmReport {
    /// All targets together.
    pub total: CountsReport,
    /// Each target.
    pub targets: BTreeMap<String, CountsReport>,
}

/// Sums over judged ticks.
#[derive(Clone, Debug, Serialize)]
pub struct CountsReport {
    /// Probes due.
    pub due: u64,
    /// Probes that say something about the target.
    pub judged: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// Probes gate itself sent too late to judge.
    pub late: u64,
    /// Outcome → probes.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// Unexpected status → probes.
    pub statuses: BTreeMap<u16, u64>,
    /// From the due time to the last byte, of the answered probes; without the starts of functions.
    pub latency_seconds: Option<LatencyReport>,
    /// What was seen where an answer was not as it should be → probes; the first few.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unmet: BTreeMap<String, u64>,
    /// What was reported of the functions that were invoked, where any was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub invocations: Option<InvocationsReport>,
}

/// Invocations of a function, of judged ticks.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct InvocationsReport {
    /// All that came back.
    pub count: u32,
    /// Those that began in a fresh environment.
    pub cold: u32,
    /// How long their starts took.
    pub init_seconds: Option<LatencyReport>,
    /// From the send to the answer, starts included.
    pub wall_seconds: Option<LatencyReport>,
    /// The function's own time as the platform reports it, without starts.
    pub reported_seconds: Option<LatencyReport>,
    /// Time that is paid for.
    pub billed_seconds: f64,
    /// Most memory that one of them used; `None` where none reports it.
    pub max_memory_bytes: Option<u64>,
}

/// Quantiles of a latency, in seconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct LatencyReport {
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Longest.
    pub max: f64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// When.
    pub at_millis: Moment,
    /// What.
    pub text: String,
}

impl ObjectiveReport {
    pub(crate) fn of(judged: &Judged) -> Self {
        let evidence = judged.evidence();
        let objective = &judged.objective;
        let shown = evidence.shown();
        let limits = limits(&objective.measure);
        let interval = if limits.is_some() { interval_of(judged) } else { None };
        Self {
            name: objective.name.clone(),
            verdict: judged.verdict(),
            counts: ObjectiveCounts { bad: judged.bad, total: judged.total },
            evidence: ObjectiveEvidence {
                log_rollback: shown.rollback,
                log_continue: shown.keep,
                rollback: verdict::odds(evidence.rollback),
                keep: verdict::odds(evidence.keep),
                acceptable: limits.map(|limits| limits.acceptable),
                unacceptable: limits.map(|limits| limits.unacceptable),
                interval,
                blue_is_broken: judged.blue_is_broken(),
            },
            share: (!objective.measure.is_condition()).then_some(judged.share),
            observe: objective.observe,
            text: sentence(judged),
        }
    }

    /// Every objective of a judge.
    pub(crate) fn all(judge: &Judge) -> Vec<Self> {
        judge.objectives().iter().map(Self::of).collect()
    }
}

/// The two shares that bound an objective over green's own events.
fn limits(measure: &Measure) -> Option<Limits> {
    match measure {
        Measure::Share { limits, .. }
        | Measure::EachTarget { limits, .. }
        | Measure::Counts { limits, .. } => Some(*limits),
        Measure::Versus { floor, .. } => Some(*floor),
        Measure::Series { .. }
        | Measure::HealthyTargets { .. }
        | Measure::Alarms { .. }
        | Measure::StoppedTasks { .. } => None,
    }
}

impl ArmReport {
    pub(crate) fn of(tally: &Tally) -> Self {
        Self {
            total: CountsReport::of(&tally.total),
            targets: tally
                .targets
                .iter()
                .map(|(id, counts)| (id.clone(), CountsReport::of(counts)))
                .collect(),
        }
    }
}

impl CountsReport {
    fn of(counts: &Counts) -> Self {
        Self {
            due: counts.due,
            judged: counts.judged,
            bad: counts.bad,
            late: counts.late,
            outcomes: counts.outcomes.iter().map(|(o, &n)| (o.name(), n)).collect(),
            statuses: counts.statuses.clone(),
            latency_seconds: LatencyReport::of(&counts.latency),
            unmet: counts.unmet.clone(),
            invocations: counts.invocations.as_deref().map(InvocationsReport::of),
        }
    }
}

impl LatencyReport {
    fn of(histogram: &Histogram) -> Option<Self> {
        let quantile = |q: f64| histogram.quantile(q).map(|d: Duration| d.as_secs_f64());
        match (quantile(0.5), quantile(0.9), quantile(0.99), quantile(1.0)) {
            (Some(p50), Some(p90), Some(p99), Some(max)) => Some(Self { p50, p90, p99, max }),
            _ => None,
        }
    }
}

impl InvocationsReport {
    fn of(invocations: &Invocations) -> Self {
        let times = |seen: &Interval| {
            let mut histogram = Histogram::of_target();
            histogram.add(seen);
            LatencyReport::of(&histogram)
        };
        Self {
            count: invocations.count,
            cold: invocations.cold,
            init_seconds: times(&invocations.init),
            wall_seconds: times(&invocations.wall),
            reported_seconds: times(&invocations.reported),
            billed_seconds: invocations.billed().as_secs_f64(),
            max_memory_bytes: Some(invocations.max_memory_bytes).filter(|bytes| *bytes > 0),
        }
    }

    /// In half a sentence: `12 of 240 invocations cold, init p50 150 ms, longest 400 ms; …`.
    pub fn text(&self) -> String {
        let spelled = |seconds: f64| spell(Duration::from_secs_f64(seconds));
        let init = self.init_seconds.map_or_else(String::new, |init| {
            format!(", init p50 {}, longest {}", spelled(init.p50), spelled(init.max))
        });
        let reported = self.reported_seconds.map_or_else(String::new, |reported| {
            format!("; Lambda reports p50 {}, p99 {}", spelled(reported.p50), spelled(reported.p99))
        });
        let memory = self.max_memory_bytes.map_or_else(String::new, |bytes| {
            format!(", at most {} MB of memory", bytes.div_ceil(MEGABYTE))
        });
        format!(
            "{} of {} invocations cold{init}{reported}; billed {}{memory}",
            self.cold,
            self.count,
            spelled(self.billed_seconds)
        )
    }
}

/// What joined and what left, in words, if anything did.
pub(crate) fn changes(arm: &str, before: &[Target], after: &[Target]) -> Option<String> {
    let missing = |from: &[Target], other: &[Target]| -> Vec<String> {
        from.iter()
            .filter(|target| !other.iter().any(|o| o.id == target.id))
            .map(|target| target.id.clone())
            .collect()
    };
    let (joined, left) = (missing(after, before), missing(before, after));
    let mut parts = Vec::new();
    if !joined.is_empty() {
        parts.push(format!("joined: {}", joined.join(", ")));
    }
    if !left.is_empty() {
        parts.push(format!("left: {}", left.join(", ")));
    }
    (!parts.is_empty()).then(|| format!("targets of {arm} changed; {}", parts.join("; ")))
}
