//! The counts of each tick, kept so that a decision can say what would have changed it.

use super::Setting;
use crate::evidence::Ratio;
use crate::evidence::numerics::count;
use crate::policy::Limits;

/// Ticks remembered: two hours at the default tick, 28 KiB an objective.
const TICKS_MAX: usize = 3600;

/// Bad events and all of each tick.
#[derive(Clone, Debug, Default)]
pub(super) struct Memory {
    ticks: Vec<(u32, u32)>,
    forgot: bool,
}

/// What an objective with other limits would have done over the same ticks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Otherwise {
    /// Largest evidence for rollback after any tick.
    pub(super) rollback_max: f64,
    /// Evidence to continue at the end.
    pub(super) keep: f64,
}

impl Memory {
    pub(super) fn add(&mut self, (bad, all): (u64, u64)) {
        let small = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        if self.ticks.len() == TICKS_MAX {
            self.forgot = true;
        } else {
            self.ticks.push((small(bad), small(all)));
        }
    }

    /// Events of the first tick, which size the bets on counts of others.
    pub(super) fn first_size(&self) -> Option<f64> {
        self.ticks.first().map(|(_, all)| count(u64::from(*all)))
    }

    fn otherwise(&self, setting: Setting, limits: Limits) -> Option<Otherwise> {
        let mut engine = Ratio::new(setting.ratio(limits)).ok()?;
        let mut rollback_max = f64::NEG_INFINITY;
        for &(bad, all) in &self.ticks {
            let evidence = engine.step(count(u64::from(bad)), count(u64::from(all))).ok()?;
            rollback_max = rollback_max.max(evidence.rollback);
        }
        Some(Otherwise { rollback_max, keep: engine.evidence().keep })
    }

    /// The allowed share of two digits that would have changed things. An objective's unacceptable share
    /// keeps its ratio to it. `None` where no share does, or a tick was forgotten.
    pub(super) fn find(
        &self,
        setting: Setting,
        limits: Limits,
        look: Look,
        wanted: impl Fn(Otherwise) -> bool,
    ) -> Option<f64> {
        if self.forgot || self.ticks.is_empty() || limits.acceptable <= 0.0 {
            return None;
        }
        let ratio = limits.unacceptable / limits.acceptable;
        let holds = |acceptable: f64| {
            // Near 1 the ratio no longer fits.
            let unacceptable = (acceptable * ratio).min(f64::midpoint(1.0, acceptable));
            self.otherwise(setting, Limits { acceptable, unacceptable }).is_some_and(&wanted)
        };
        let ladder = ladder();
        let here = ladder.partition_point(|&share| share <= limits.acceptable);
        let (below, above) = ladder.split_at_checked(here)?;
        // The more is allowed, the less is broken and the more is kept: halving finds where it turns.
        match look {
            Look::SmallestAbove => above.get(above.partition_point(|&s| !holds(s))).copied(),
            Look::SmallestBelow => below.get(below.partition_point(|&s| !holds(s))).copied(),
            Look::LargestBelow => {
                let turns = below.partition_point(|&s| holds(s));
                below.get(turns.checked_sub(1)?).copied()
            }
        }
    }
}

/// Where to look for another allowed share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// The smallest larger one over which something holds.
    SmallestAbove,
    /// The smallest smaller one over which it holds.
    SmallestBelow,
    /// The largest smaller one over which it holds.
    LargestBelow,
}

/// Shares of two digits, from 0.001 % to 99 %, in ascending order.
fn ladder() -> Vec<f64> {
    (-5..=-1)
        .flat_map(|power| {
            (10..100).map(move |digits| f64::from(digits) / 10.0 * 10_f64.powi(power))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Accept, ErrorRates};

    #[test]
    fn the_share_that_would_have_been_kept_is_found() {
        let rates = ErrorRates { false_rollback: 0.01, false_continue: 0.01 };
        let setting = Setting {
            per_tick: 40.0,
            horizon_ticks: 300,
            tick: std::time::Duration::from_secs(2),
            accept: Accept::Probe,
            rates,
        };
        let limits = Limits { acceptable: 0.005, unacceptable: 0.01 };
        let mut memory = Memory::default();
        for i in 0..60 {
            memory.add((u64::from(i % 2 == 0), 40));
        }
        let at = 100_f64.ln();
        let kept =
            memory.find(setting, limits, Look::SmallestAbove, |other| other.rollback_max < at);
        let kept = kept.unwrap();
        // 1.25 % were bad.
        assert!(kept > 0.005 && kept <= 0.0125, "{kept}");
        let loose = Limits { acceptable: 0.05, unacceptable: 0.1 };
        let broken =
            memory.find(setting, loose, Look::LargestBelow, |other| other.rollback_max >= at);
        assert!(broken.unwrap() < kept && broken.unwrap() > 0.001, "{broken:?}");
    }
}
