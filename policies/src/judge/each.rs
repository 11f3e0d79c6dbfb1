//! The same share for every target on its own, so that one bad host of fifty is found and named.

use std::collections::BTreeMap;
use std::f64::consts::PI;

use super::Setting;
use super::tally::TARGETS_KEPT_MAX;
use super::versus::events;
use crate::evidence::numerics::{count, log_sum};
use crate::evidence::{Evidence, Ratio, Refused};
use crate::policy::Limits;

/// Share of the error rate for the targets of the beginning; the rest is for those that join later.
const FIRST_TARGETS: f64 = 0.75;

/// Evidence about each target of green.
#[derive(Debug)]
pub(super) struct Each {
    setting: Setting,
    limits: Limits,
    targets: BTreeMap<String, One>,
    /// Targets of the beginning.
    first: Option<u64>,
    joined: u32,
    /// Targets beyond what is kept apart; they are in the arm's own objectives.
    pub(super) dropped: u64,
}

/// One target.
#[derive(Debug)]
struct One {
    ratio: Ratio,
    share: f64,
    bad: u64,
    all: u64,
}

/// The target with the most evidence against it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Suspect {
    pub(super) id: String,
    pub(super) bad: u64,
    pub(super) all: u64,
    pub(super) log_rollback: f64,
    pub(super) share: f64,
}

impl Each {
    pub(super) const fn new(setting: Setting, limits: Limits) -> Self {
        Self { setting, limits, targets: BTreeMap::new(), first: None, joined: 0, dropped: 0 }
    }

    /// Takes a tick of each target: `(id, bad, all)`, of `there` targets that green had at the beginning. At a
    /// low rate not each has a probe in each tick.
    pub(super) fn take(&mut self, tick: &[(&str, u64, u64)], there: usize) -> Result<(), Refused> {
        let size = |of: usize| u64::try_from(of).unwrap_or(u64::MAX).max(1);
        let number = *self.first.get_or_insert_with(|| size(tick.len().max(there)));
        for &(id, bad, all) in tick {
            if !self.targets.contains_key(id) {
                if self.targets.len() == TARGETS_KEPT_MAX {
                    self.dropped += 1;
                    continue;
                }
                let is_first = size(self.targets.len() + 1) <= number;
                let share =
                    if is_first { FIRST_TARGETS / count(number) } else { self.later_share() };
                let ratio = Ratio::new(self.setting.shared_by(number).ratio(self.limits))?;
                self.targets.insert(id.to_owned(), One { ratio, share, bad: 0, all: 0 });
            }
            if let Some(one) = self.targets.get_mut(id) {
                let (bads, probes) = events((bad, all));
                one.ratio.step(bads, probes)?;
                one.bad += bad;
                one.all += all;
            }
        }
        Ok(())
    }

    /// Shares of those that join: `6/(π²k²)` of what is kept for them, which sums to all of it.
    fn later_share(&mut self) -> f64 {
        self.joined += 1;
        (1.0 - FIRST_TARGETS) * 6.0 / (PI * f64::from(self.joined)).powi(2)
    }

    /// The weighted mean over the targets; what is not given to a target stays as it is. It can only veto.
    pub(super) fn evidence(&self) -> Evidence {
        let given: f64 = self.targets.values().map(|one| one.share).sum();
        let targets =
            self.targets.values().map(|one| one.share.ln() + one.ratio.evidence().rollback);
        let rest = (1.0 - given).max(0.0).ln();
        Evidence { rollback: log_sum(targets.chain([rest])), keep: f64::INFINITY }
    }

    pub(super) fn suspect(&self) -> Option<Suspect> {
        let worst = self.targets.iter().max_by(|(_, a), (_, b)| {
            let log = |one: &One| one.share.ln() + one.ratio.evidence().rollback;
            log(a).total_cmp(&log(b))
        });
        worst.map(|(id, one)| Suspect {
            id: id.clone(),
            bad: one.bad,
            all: one.all,
            log_rollback: one.ratio.evidence().rollback,
            share: one.share,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::evidence::{Accept, ErrorRates};

    fn each() -> Each {
        let rates = ErrorRates { false_rollback: 0.01, false_continue: 0.01 };
        let setting = Setting {
            per_tick: 200.0,
            horizon_ticks: 300,
            tick: std::time::Duration::from_secs(2),
            accept: Accept::Probe,
            rates,
        };
        Each::new(setting, Limits { acceptable: 0.05, unacceptable: 0.1 })
    }

    #[test]
    fn one_bad_target_of_fifty_is_found_and_named() {
        let mut each = each();
        let ids: Vec<String> = (0..50).map(|i| format!("10.0.0.{i}:80")).collect();
        for _ in 0..5 {
            let tick: Vec<(&str, u64, u64)> = ids
                .iter()
                .map(|id| (id.as_str(), if id == "10.0.0.7:80" { 4 } else { 0 }, 4))
                .collect();
            each.take(&tick, 50).unwrap();
        }
        assert!(each.evidence().rollback > 100_f64.ln());
        assert_eq!(each.suspect().unwrap().id, "10.0.0.7:80");
    }

    #[test]
    fn targets_that_join_have_a_share_and_all_shares_are_at_most_one() {
        let mut each = each();
        each.take(&[("a", 0, 4), ("b", 0, 4)], 2).unwrap();
        for i in 0..500 {
            let id = format!("later-{i}");
            each.take(&[(id.as_str(), 0, 4)], 2).unwrap();
        }
        let given: f64 = each.targets.values().map(|one| one.share).sum();
        assert!(given < 1.0 && given > 0.99, "{given}");
        for _ in 0..9 {
            each.take(&[("later-0", 4, 4)], 2).unwrap();
        }
        assert!(each.evidence().rollback > 100_f64.ln());
    }
}
