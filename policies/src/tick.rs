//! What all probes due in one tick came to: the unit in which evidence is taken.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::histogram::Interval;
use crate::policy::Signal;
use crate::sample::{Blame, Outcome, Sample};

/// One tick of probes, complete: every probe due in it has finished, timed out or was not sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    /// Ticks since probing began; goes on counting over a restart.
    pub index: u64,
    /// The candidate.
    pub green: ArmTick,
    /// The baseline, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blue: Option<ArmTick>,
}

/// One arm's targets in one tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ArmTick {
    /// Target id → what it did.
    pub targets: BTreeMap<String, TargetTick>,
}

/// One target in one tick.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTick {
    /// Probes due.
    pub due: u32,
    /// Sent so late, by gate's own fault, that they are not judged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: u32,
    /// Outcomes of the probes sent in time.
    pub outcomes: BTreeMap<Outcome, u32>,
    /// Unexpected statuses and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<u16, u32>,
    /// Latencies, from the due time, of the probes that were answered.
    pub latency: Interval,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn add(to: &mut u32, count: u32) {
    *to = to.saturating_add(count);
}

impl TargetTick {
    /// Adds one probe.
    pub fn record(&mut self, sample: &Sample) {
        self.due = self.due.saturating_add(1);
        if sample.late() && sample.outcome != Outcome::NotSent {
            self.late = self.late.saturating_add(1);
            return;
        }
        add(self.outcomes.entry(sample.outcome).or_default(), 1);
        if let (Outcome::Status, Some(status)) = (sample.outcome, sample.status) {
            add(self.statuses.entry(status).or_default(), 1);
        }
        if sample.outcome.answered() {
            self.latency.record(sample.latency);
        }
    }

    /// Adds what another recorder saw of the same target in the same tick.
    pub fn merge(&mut self, other: &Self) {
        self.due = self.due.saturating_add(other.due);
        self.late = self.late.saturating_add(other.late);
        for (&outcome, &count) in &other.outcomes {
            add(self.outcomes.entry(outcome).or_default(), count);
        }
        for (&status, &count) in &other.statuses {
            add(self.statuses.entry(status).or_default(), count);
        }
        self.latency.merge(&other.latency);
    }

    fn count(&self, which: impl Fn(Outcome) -> bool) -> u64 {
        self.outcomes.iter().filter(|&(&o, _)| which(o)).map(|(_, &n)| u64::from(n)).sum()
    }

    /// Probes that say something about the target: sent in time, and good or bad by its own doing.
    pub fn judged(&self) -> u64 {
        self.count(|outcome| matches!(outcome.blame(), None | Some(Blame::Target)))
    }

    /// Judged probes that were not answered as expected.
    pub fn bad(&self) -> u64 {
        self.count(|outcome| outcome.blame() == Some(Blame::Target))
    }

    /// Judged probes slower than `threshold`. One that got no answer was not answered in time.
    pub fn slower_than(&self, threshold: Duration) -> u64 {
        self.latency.above(threshold) + self.unanswered()
    }

    /// As [`TargetTick::slower_than`], of a threshold in microseconds.
    pub(crate) fn slower_than_micros(&self, micros: u64) -> u64 {
        self.latency.above_micros(micros) + self.unanswered()
    }

    /// Judged probes that got no answer.
    pub(crate) fn unanswered(&self) -> u64 {
        self.count(|outcome| outcome.blame() == Some(Blame::Target) && !outcome.answered())
    }

    /// Probes that got a complete answer, good or bad.
    pub(crate) fn answered(&self) -> u64 {
        self.count(Outcome::answered)
    }

    /// Judged probes that are bad for a signal.
    pub(crate) fn bad_for(&self, signal: Signal) -> u64 {
        match signal {
            Signal::Errors => self.bad(),
            Signal::SlowerThan(threshold) => self.slower_than(threshold),
        }
    }

    /// Probes for which no connection came about.
    pub fn unconnected(&self) -> u64 {
        self.count(Outcome::failed_to_connect)
    }

    /// Probes lost to gate's own trouble: late or not sent.
    pub fn gates_fault(&self) -> u64 {
        u64::from(self.late) + self.count(|outcome| outcome.blame() == Some(Blame::Gate))
    }
}

impl ArmTick {
    /// All targets of the arm together.
    pub fn total(&self) -> TargetTick {
        let mut total = TargetTick::default();
        for target in self.targets.values() {
            total.merge(target);
        }
        total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(outcome: Outcome, held_ms: u64, latency_ms: u64) -> Sample {
        Sample {
            held: Duration::from_millis(held_ms),
            latency: Duration::from_millis(latency_ms),
            outcome,
            status: None,
        }
    }

    /// (judged, bad, slower than 250 ms, gate's fault)
    fn check(samples: &[Sample], expected: (u64, u64, u64, u64)) {
        let mut tick = TargetTick::default();
        for sample in samples {
            tick.record(sample);
        }
        let slow = tick.slower_than(Duration::from_millis(250));
        assert_eq!((tick.judged(), tick.bad(), slow, tick.gates_fault()), expected, "{samples:?}");
    }

    #[test]
    fn only_the_targets_faults_count_against_it() {
        check(&[sample(Outcome::Ok, 0, 10)], (1, 0, 0, 0));
        check(&[sample(Outcome::Ok, 0, 900)], (1, 0, 1, 0));
        check(&[sample(Outcome::Status, 0, 10)], (1, 1, 0, 0));
        check(&[sample(Outcome::Timeout, 0, 2000)], (1, 1, 1, 0));
        check(&[sample(Outcome::Refused, 0, 1)], (1, 1, 1, 0));
        check(&[sample(Outcome::Dns, 0, 1)], (0, 0, 0, 0));
        check(&[sample(Outcome::NotSent, 0, 1)], (0, 0, 0, 1));
    }

    #[test]
    fn a_probe_that_gate_sent_late_is_counted_but_not_judged() {
        check(&[sample(Outcome::Ok, 20, 30)], (1, 0, 0, 0));
        check(&[sample(Outcome::Ok, 21, 900)], (0, 0, 0, 1));
        check(&[sample(Outcome::Status, 500, 510)], (0, 0, 0, 1));
    }
}
