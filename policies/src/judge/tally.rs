//! What was measured of an arm: sums over judged ticks, for the arm and for each target.

use std::collections::BTreeMap;

use crate::histogram::Histogram;
use crate::sample::Outcome;
use crate::tick::{ArmTick, Invocations, TargetTick, UNMET_MAX};

/// Targets of an arm whose numbers are kept apart; the rest are in the arm's sums only, and counted.
pub const TARGETS_KEPT_MAX: usize = 1000;

/// What was measured of one arm.
#[derive(Debug)]
pub struct Tally {
    /// All targets together.
    pub total: Counts,
    /// Each target.
    pub targets: BTreeMap<String, Counts>,
    /// Targets beyond [`TARGETS_KEPT_MAX`].
    pub targets_dropped: u64,
}

/// Sums over judged ticks.
#[derive(Debug)]
pub struct Counts {
    /// Probes due.
    pub due: u64,
    /// Probes that say something about the target.
    pub judged: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// Probes gate itself sent too late to judge.
    pub late: u64,
    /// Outcomes of the probes sent in time.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Unexpected statuses.
    pub statuses: BTreeMap<u16, u64>,
    /// Latencies of the answered probes.
    pub latency: Histogram,
    /// What was seen where an answer was not as it should be, and how often: the first few sentences.
    pub unmet: BTreeMap<String, u64>,
    /// What was reported of the functions that were invoked, where any was.
    pub invocations: Option<Box<Invocations>>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            total: Counts::new(Histogram::of_arm()),
            targets: BTreeMap::new(),
            targets_dropped: 0,
        }
    }

    pub(super) fn add(&mut self, arm: &ArmTick) {
        for (id, tick) in &arm.targets {
            self.total.add(tick);
            if let Some(counts) = self.targets.get_mut(id) {
                counts.add(tick);
            } else if self.targets.len() < TARGETS_KEPT_MAX {
                let mut counts = Counts::new(Histogram::of_target());
                counts.add(tick);
                self.targets.insert(id.clone(), counts);
            } else {
                self.targets_dropped += 1;
            }
        }
    }
}

impl Counts {
    fn new(latency: Histogram) -> Self {
        Self {
            due: 0,
            judged: 0,
            bad: 0,
            late: 0,
            outcomes: BTreeMap::new(),
            statuses: BTreeMap::new(),
            latency,
            unmet: BTreeMap::new(),
            invocations: None,
        }
    }

    fn add(&mut self, tick: &TargetTick) {
        self.due += u64::from(tick.due);
        self.judged += tick.judged();
        self.bad += tick.bad();
        self.late += u64::from(tick.late);
        for (&outcome, &count) in &tick.outcomes {
            *self.outcomes.entry(outcome).or_default() += u64::from(count);
        }
        for (&status, &count) in &tick.statuses {
            *self.statuses.entry(status).or_default() += u64::from(count);
        }
        self.latency.add(&tick.latency);
        for (sentence, &count) in &tick.unmet {
            if let Some(seen) = self.unmet.get_mut(sentence) {
                *seen += u64::from(count);
            } else if self.unmet.len() < UNMET_MAX {
                self.unmet.insert(sentence.clone(), count.into());
            }
        }
        if let Some(invocations) = &tick.invocations {
            self.invocations.get_or_insert_default().merge(invocations);
        }
    }

    /// What went wrong, most often first: `11 × status 503, 2 × timeout`. Empty where nothing did.
    pub fn faults(&self) -> String {
        let statuses = self.statuses.iter().map(|(&status, &n)| (status, n));
        faults(statuses, self.outcomes.iter().map(|(&outcome, &n)| (outcome, n)))
    }
}

/// What went wrong, most often first.
pub(crate) fn faults(
    statuses: impl Iterator<Item = (u16, u64)>,
    outcomes: impl Iterator<Item = (Outcome, u64)>,
) -> String {
    let statuses = statuses.map(|(status, n)| (n, format!("status {status}")));
    let others = outcomes
        .filter(|&(o, _)| !matches!(o, Outcome::Ok | Outcome::Status))
        .map(|(outcome, n)| (n, outcome.name().to_owned()));
    let mut faults: Vec<(u64, String)> = statuses.chain(others).collect();
    faults.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    let shown: Vec<String> =
        faults.iter().take(4).map(|(n, what)| format!("{n} × {what}")).collect();
    shown.join(", ")
}
