//! Samples of one arm on their way into a tick: a few pushes each, everything else when the tick closes.
//!
//! One recorder belongs to one worker, so nothing is locked. It holds, for each target and signal, eight
//! lists of at most 1,024 latencies (4 KiB each) and the buckets they were sorted into: at most 24,000 of 8
//! bytes, in practice a few dozen.

use std::collections::BTreeMap;

use super::invocations::Recording as Invoking;
use super::{ArmTick, TargetTick, add};
use crate::histogram::Recorder as Latencies;
use crate::sample::{Outcome, Phase, Sample};

/// Signals of connections, where some are new and some are used again.
const CONNECTIONS: [&str; 2] = ["connections/new", "connections/reused"];

/// Records the samples of one arm.
#[derive(Debug)]
pub struct Recorder {
    /// Names of the parts of a sample.
    signals: Vec<String>,
    /// Whether new and reused connections are told apart.
    mixed: bool,
    targets: BTreeMap<String, Recording>,
}

/// One target, or one signal of it.
#[derive(Debug)]
struct Recording {
    tick: TargetTick,
    latency: Latencies,
    service: Latencies,
    lateness: Latencies,
    phases: [Latencies; 6],
    /// Where functions are invoked.
    invocations: Option<Box<Invoking>>,
    signals: BTreeMap<usize, Recording>,
}

impl Recorder {
    /// Empty; `signals` are the names of the parts that samples have, by their places.
    pub const fn new(signals: Vec<String>) -> Self {
        Self { signals, mixed: false, targets: BTreeMap::new() }
    }

    /// Tells new and reused connections apart.
    #[must_use]
    pub fn mixed(self, mixed: bool) -> Self {
        Self { mixed, ..self }
    }

    /// Adds one probe of a target.
    pub fn record(&mut self, target: &str, sample: &Sample) {
        let recording = match self.targets.get_mut(target) {
            Some(recording) => recording,
            None => self.targets.entry(target.to_owned()).or_insert_with(Recording::new),
        };
        recording.record(sample);
        for (place, part) in &sample.parts {
            recording.signals.entry(*place).or_insert_with(Recording::new).record(part);
        }
        if self.mixed && sample.outcome != Outcome::NotSent {
            let place = self.signals.len() + usize::from(sample.reused);
            recording.signals.entry(place).or_insert_with(Recording::new).record(sample);
        }
    }

    /// Everything recorded.
    pub fn close(self) -> ArmTick {
        let names: Vec<&str> = self.signals.iter().map(String::as_str).chain(CONNECTIONS).collect();
        let targets = self.targets.into_iter().map(|(id, recording)| (id, recording.close(&names)));
        ArmTick { targets: targets.collect() }
    }
}

impl Recording {
    fn new() -> Self {
        Self {
            tick: TargetTick::default(),
            latency: Latencies::fine(),
            service: Latencies::coarse(),
            lateness: Latencies::coarse(),
            phases: std::array::from_fn(|_| Latencies::coarse()),
            invocations: None,
            signals: BTreeMap::new(),
        }
    }

    fn record(&mut self, sample: &Sample) {
        let tick = &mut self.tick;
        add(&mut tick.due, 1);
        for invoked in &sample.invoked {
            let invoking = self.invocations.get_or_insert_with(|| Box::new(Invoking::new()));
            invoking.record(invoked, sample.late());
        }
        if sample.outcome != Outcome::NotSent {
            self.lateness.record(sample.held);
            if sample.late() {
                add(&mut tick.late, 1);
                return;
            }
        }
        add(tick.outcomes.entry(sample.outcome).or_default(), 1);
        add(&mut tick.stale, u32::from(sample.stale));
        if let (Outcome::Status, Some(status)) = (sample.outcome, sample.status) {
            add(tick.statuses.entry(status).or_default(), 1);
        }
        if let Some(sentence) = &sample.unmet {
            tick.saw(sentence, 1);
        }
        if let Some(days) = sample.certificate_days {
            tick.certificate_days =
                Some(tick.certificate_days.map_or(days, |least| least.min(days)));
        }
        if sample.outcome.answered() {
            self.latency.record(sample.latency);
            self.service.record(sample.service());
        }
        for (phase, recorder) in Phase::ALL.into_iter().zip(&mut self.phases) {
            if let Some(took) = sample.phases.get(phase) {
                recorder.record(took);
            }
        }
    }

    fn close(self, names: &[&str]) -> TargetTick {
        let phases = Phase::ALL.into_iter().zip(self.phases);
        let phases = phases.map(|(phase, recorder)| (phase, recorder.close()));
        let named = self.signals.into_iter().filter_map(|(place, recording)| {
            Some(((*names.get(place)?).to_owned(), recording.close(names)))
        });
        TargetTick {
            latency: self.latency.close(),
            service: self.service.close(),
            lateness: self.lateness.close(),
            phases: phases.filter(|(_, interval)| !interval.is_empty()).collect(),
            invocations: self.invocations.map(|invoking| Box::new(invoking.close())),
            signals: named.collect(),
            ..self.tick
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn sample(outcome: Outcome, latency_ms: u64) -> Sample {
        Sample { outcome, latency: Duration::from_millis(latency_ms), ..Sample::default() }
    }

    #[test]
    fn parts_of_a_probe_are_signals_of_their_own() {
        let mut recorder = Recorder::new(vec!["buy".into(), "buy/login".into(), "buy/pay".into()]);
        let failed = Sample {
            parts: vec![
                (0, sample(Outcome::Timeout, 90)),
                (1, sample(Outcome::Ok, 10)),
                (2, sample(Outcome::Timeout, 80)),
            ],
            ..sample(Outcome::Timeout, 90)
        };
        recorder.record("a", &failed);
        recorder.record("a", &sample(Outcome::Ok, 5));
        let arm = recorder.close();
        let a = &arm.targets["a"];
        assert_eq!((a.judged(), a.bad()), (2, 1));
        let judged = |name: &str| a.of(Some(name)).map(|tick| (tick.judged(), tick.bad()));
        assert_eq!(judged("buy"), Some((1, 1)));
        assert_eq!(judged("buy/login"), Some((1, 0)));
        assert_eq!(judged("buy/pay"), Some((1, 1)));
        assert_eq!(judged("buy/none"), None);
        assert_eq!(arm.of(Some("buy/login")).total().judged(), 1);
    }

    #[test]
    fn new_and_reused_connections_are_told_apart_where_both_are_used() {
        for mixed in [false, true] {
            let mut recorder = Recorder::new(Vec::new()).mixed(mixed);
            recorder.record("a", &sample(Outcome::Ok, 5));
            recorder.record("a", &Sample { reused: true, ..sample(Outcome::Ok, 1) });
            recorder.record("a", &sample(Outcome::NotSent, 1));
            let arm = recorder.close();
            let signals = &arm.targets["a"].signals;
            let due: Vec<(&str, u32)> =
                signals.iter().map(|(name, t)| (name.as_str(), t.due)).collect();
            let both: &[(&str, u32)] = &[("connections/new", 1), ("connections/reused", 1)];
            assert_eq!(due, if mixed { both } else { &[] });
        }
    }

    #[test]
    fn what_was_seen_is_kept_a_few_times_and_counted_always() {
        let mut recorder = Recorder::new(Vec::new());
        for n in 0..9 {
            let unmet = Some(format!("saw {n}"));
            recorder.record("a", &Sample { unmet, ..sample(Outcome::Expectation, 5) });
        }
        let a = &recorder.close().targets["a"];
        assert_eq!(
            (a.unmet.len(), a.outcomes[&Outcome::Expectation]),
            (super::super::UNMET_MAX, 9)
        );
    }
}
