//! What was reported of the functions that probes invoked: starts kept apart from what is judged.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::add;
use crate::histogram::{Interval, Recorder as Latencies};
use crate::sample::Invoked;

/// Invocations in one tick, or more.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invocations {
    /// All that came back, those that failed included.
    pub count: u32,
    /// Those that began in a fresh environment.
    #[serde(default, skip_serializing_if = "super::is_zero")]
    pub cold: u32,
    /// How long their starts took, or their returns from a snapshot.
    #[serde(default, skip_serializing_if = "Interval::is_empty")]
    pub init: Interval,
    /// From the send to the answer, starts included.
    #[serde(default, skip_serializing_if = "Interval::is_empty")]
    pub wall: Interval,
    /// The functions' own time as the platform reports it, without starts.
    #[serde(default, skip_serializing_if = "Interval::is_empty")]
    pub reported: Interval,
    /// Time that is paid for, of those that report it.
    #[serde(default)]
    pub billed_millis: u64,
    /// Most memory that one of them used; 0 where none reports it.
    #[serde(default)]
    pub max_memory_bytes: u64,
}

impl Invocations {
    /// Adds those of another recorder, target or tick.
    pub fn merge(&mut self, other: &Self) {
        add(&mut self.count, other.count);
        add(&mut self.cold, other.cold);
        self.init.merge(&other.init);
        self.wall.merge(&other.wall);
        self.reported.merge(&other.reported);
        self.billed_millis = self.billed_millis.saturating_add(other.billed_millis);
        self.max_memory_bytes = self.max_memory_bytes.max(other.max_memory_bytes);
    }

    /// Time that is paid for.
    pub const fn billed(&self) -> Duration {
        Duration::from_millis(self.billed_millis)
    }
}

/// Invocations on their way into a tick: times at 2 significant digits, for no objective is about them.
#[derive(Debug)]
pub(super) struct Recording {
    sums: Invocations,
    init: Latencies,
    wall: Latencies,
    reported: Latencies,
}

impl Recording {
    pub(super) const fn new() -> Self {
        Self {
            sums: Invocations {
                count: 0,
                cold: 0,
                init: Interval::new(),
                wall: Interval::new(),
                reported: Interval::new(),
                billed_millis: 0,
                max_memory_bytes: 0,
            },
            init: Latencies::coarse(),
            wall: Latencies::coarse(),
            reported: Latencies::coarse(),
        }
    }

    /// Adds one. Where gate itself was late its wall time says little; what the platform reports is true in
    /// any case, and has to be paid for.
    pub(super) fn record(&mut self, invoked: &Invoked, late: bool) {
        let sums = &mut self.sums;
        add(&mut sums.count, 1);
        if !late {
            self.wall.record(invoked.wall);
        }
        if let Some(init) = invoked.init {
            add(&mut sums.cold, 1);
            self.init.record(init);
        }
        if let Some(reported) = invoked.reported {
            self.reported.record(reported);
        }
        let billed = invoked.billed.map_or(0, |billed| billed.as_millis());
        let billed = u64::try_from(billed).unwrap_or(u64::MAX);
        sums.billed_millis = sums.billed_millis.saturating_add(billed);
        let memory = invoked.max_memory_bytes.unwrap_or(0);
        sums.max_memory_bytes = sums.max_memory_bytes.max(memory);
    }

    pub(super) fn close(self) -> Invocations {
        Invocations {
            init: self.init.close(),
            wall: self.wall.close(),
            reported: self.reported.close(),
            ..self.sums
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Outcome, Sample};
    use crate::tick::TargetTick;

    fn invoked(wall: u64, init: Option<u64>, memory: u64) -> Sample {
        let millis = Duration::from_millis;
        let invoked = Invoked {
            wall: millis(wall),
            init: init.map(millis),
            reported: Some(millis(wall / 2)),
            billed: Some(millis(wall)),
            max_memory_bytes: Some(memory),
        };
        Sample { latency: millis(wall), invoked: vec![invoked], ..Sample::default() }
    }

    #[test]
    fn invocations_are_summed_over_probes_and_ticks() {
        let mut tick = TargetTick::default();
        for sample in [invoked(100, None, 64), invoked(900, Some(300), 96), invoked(100, None, 80)]
        {
            tick.record(&sample);
        }
        let sums = tick.invocations.unwrap();
        assert_eq!((sums.count, sums.cold, sums.billed_millis), (3, 1, 1100));
        assert_eq!((sums.init.count(), sums.wall.count(), sums.reported.count()), (1, 3, 3));
        assert_eq!(sums.max_memory_bytes, 96);
    }

    #[test]
    fn a_tick_without_functions_is_written_as_it_ever_was() {
        let mut tick = TargetTick::default();
        tick.record(&Sample { outcome: Outcome::Ok, ..Sample::default() });
        let written = serde_json::to_string(&tick).unwrap();
        assert!(!written.contains("invocations"), "{written}");
        assert_eq!(serde_json::from_str::<TargetTick>(&written).unwrap(), tick);
        tick.record(&invoked(900, Some(300), 96));
        let written = serde_json::to_string(&tick).unwrap();
        assert_eq!(serde_json::from_str::<TargetTick>(&written).unwrap(), tick);
    }
}
