//! What all probes due in one tick came to: the unit in which evidence is taken.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::histogram::Interval;
use crate::policy::Signal;
use crate::sample::{Blame, Outcome, Phase, Sample};

mod invocations;
mod recorder;

pub use invocations::Invocations;
pub use recorder::Recorder;

/// Share of a tick's probes that gate may lose to its own lateness before the tick bears no evidence: those
/// that were read in time are then no fair choice of all (probing.md, starved prober).
pub const OWN_LOSS_MAX: f64 = 0.1;
/// Share of a tick that gate's container may be kept from its CPU by its quota, likewise.
pub const THROTTLED_MAX: f64 = 0.1;
/// Different sentences kept of what was seen where an expectation failed, for each target and tick.
pub const UNMET_MAX: usize = 4;

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
    /// Time in it that the quota of gate's own container kept it from its CPU.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub throttled_millis: u32,
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
    /// Sent or read so late, by gate's own fault, that they are not judged.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub late: u32,
    /// Outcomes of the probes sent in time.
    pub outcomes: BTreeMap<Outcome, u32>,
    /// Unexpected statuses and how often.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub statuses: BTreeMap<u16, u32>,
    /// Latencies, from the due time, of the probes that were answered.
    pub latency: Interval,
    /// Of the same probes, from the send: less by gate's own lateness.
    #[serde(default, skip_serializing_if = "Interval::is_empty")]
    pub service: Interval,
    /// From the due time to the send, of every probe that was sent.
    #[serde(default, skip_serializing_if = "Interval::is_empty")]
    pub lateness: Interval,
    /// How long each phase took, of every probe that got as far.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub phases: BTreeMap<Phase, Interval>,
    /// Sent again because the connection they were to use again was closed under them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub stale: u32,
    /// What was seen where an expectation failed, and how often: at most [`UNMET_MAX`] sentences.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unmet: BTreeMap<String, u32>,
    /// Least days to the end of a certificate's validity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_days: Option<i32>,
    /// What was reported of the functions that were invoked, where any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invocations: Option<Box<Invocations>>,
    /// The same of each scenario and step, and of new and reused connections where both are in use.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub signals: BTreeMap<String, TargetTick>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

fn add(to: &mut u32, count: u32) {
    *to = to.saturating_add(count);
}

impl TargetTick {
    /// Adds one probe. For many, a [`Recorder`] is faster.
    pub fn record(&mut self, sample: &Sample) {
        let mut recorder = Recorder::new(Vec::new());
        recorder.record("", sample);
        for target in recorder.close().targets.values() {
            self.merge(target);
        }
    }

    /// Adds what another recorder saw of the same target in the same tick.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.due, other.due);
        add(&mut self.late, other.late);
        add(&mut self.stale, other.stale);
        for (&outcome, &count) in &other.outcomes {
            add(self.outcomes.entry(outcome).or_default(), count);
        }
        for (&status, &count) in &other.statuses {
            add(self.statuses.entry(status).or_default(), count);
        }
        self.latency.merge(&other.latency);
        self.service.merge(&other.service);
        self.lateness.merge(&other.lateness);
        for (&phase, interval) in &other.phases {
            self.phases.entry(phase).or_default().merge(interval);
        }
        for (sentence, &count) in &other.unmet {
            self.saw(sentence, count);
        }
        self.certificate_days = match (self.certificate_days, other.certificate_days) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        if let Some(invocations) = &other.invocations {
            self.invocations.get_or_insert_default().merge(invocations);
        }
        for (name, tick) in &other.signals {
            self.signals.entry(name.clone()).or_default().merge(tick);
        }
    }

    /// Notes what was seen where an expectation failed. The outcomes count it in any case.
    fn saw(&mut self, sentence: &str, times: u32) {
        if let Some(count) = self.unmet.get_mut(sentence) {
            add(count, times);
        } else if self.unmet.len() < UNMET_MAX {
            self.unmet.insert(sentence.to_owned(), times);
        }
    }

    /// The tick of a scenario or step, where one is named; else of all probes.
    pub fn of(&self, step: Option<&str>) -> Option<&Self> {
        match step {
            None => Some(self),
            Some(name) => self.signals.get(name),
        }
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

impl Tick {
    /// Whether gate itself, short of CPU or sockets, lost so much of a tick of this length that it bears no
    /// evidence.
    pub fn is_gates_trouble(&self, length: Duration) -> bool {
        let arms = [Some(&self.green), self.blue.as_ref()].into_iter().flatten();
        let (mut lost, mut due) = (0.0, 0.0);
        for target in arms.flat_map(|arm| arm.targets.values()) {
            lost += crate::evidence::numerics::count(target.gates_fault());
            due += f64::from(target.due);
        }
        let throttled = f64::from(self.throttled_millis) / 1000.0;
        lost > OWN_LOSS_MAX * due || throttled > THROTTLED_MAX * length.as_secs_f64()
    }
}

impl ArmTick {
    /// The arm as one scenario or step saw it, where one is named.
    pub fn of(&self, step: Option<&str>) -> std::borrow::Cow<'_, Self> {
        let Some(name) = step else { return std::borrow::Cow::Borrowed(self) };
        let part = |(id, tick): (&String, &TargetTick)| {
            Some((id.clone(), tick.signals.get(name)?.clone()))
        };
        std::borrow::Cow::Owned(Self { targets: self.targets.iter().filter_map(part).collect() })
    }

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
            ..Sample::default()
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
