//! Judged probes counted since a beginning, so that whoever looks now and then knows exactly what came between.

use serde::{Deserialize, Serialize};

use super::TargetTick;
use crate::histogram::Interval;
use crate::policy::Signal;

/// Judged probes since a beginning: numbers that only go up until they begin again. Constant size, but for the
/// buckets of the histogram: at most 190 KiB of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cumulative {
    /// Probes that say something about the target.
    pub judged: u64,
    /// Those of them that were not answered as expected.
    pub bad: u64,
    /// Those of the bad ones that got no answer.
    pub unanswered: u64,
    /// Latencies of the others.
    pub latency: Interval,
}

impl Cumulative {
    /// Adds a tick.
    pub fn add(&mut self, tick: &TargetTick) {
        self.judged = self.judged.saturating_add(tick.judged());
        self.bad = self.bad.saturating_add(tick.bad());
        self.unanswered = self.unanswered.saturating_add(tick.unanswered());
        self.latency.merge(&tick.latency);
    }

    /// Probes that are bad for a signal. One that got no answer was not answered in time.
    pub fn bad_for(&self, signal: Signal) -> u64 {
        match signal {
            Signal::Errors => self.bad,
            Signal::SlowerThan(threshold) => {
                self.latency.above(threshold).saturating_add(self.unanswered)
            }
        }
    }

    /// Whether its numbers can be what they are said to be: each probe is counted once.
    pub fn is_sound(&self) -> bool {
        let answered = self.judged.checked_sub(self.unanswered);
        self.unanswered <= self.bad
            && self.bad <= self.judged
            && answered == Some(self.latency.count())
    }
}
