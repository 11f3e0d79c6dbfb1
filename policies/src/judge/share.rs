//! A share of green's probes, with blue's beside it so that a broken blue does not hold a fix back.

use super::Setting;
use crate::evidence::{Evidence, Pairs, Ratio, Refused, Relative, RelativeLimits};
use crate::policy::Limits;

/// Odds ratio that is still no worse than blue, and the one that must not pass (statistics.md §4).
pub(super) const ODDS: (f64, f64) = (1.0, 2.0);

/// Bad events among all events of a tick.
pub(super) type Events = (f64, f64);

/// Evidence about one share of green's probes.
#[derive(Debug)]
pub(super) struct Share {
    setting: Setting,
    limits: Limits,
    own: Ratio,
    /// From the first tick that blue was probed in.
    beside: Option<Box<Beside>>,
}

/// What blue's probes say.
#[derive(Debug)]
struct Beside {
    blue: Ratio,
    relative: Relative,
    /// The most evidence there ever was against blue: an e-process proves what it proves whenever it does.
    against_blue: f64,
}

impl Share {
    pub(super) fn new(setting: Setting, limits: Limits) -> Result<Self, Refused> {
        let own = Ratio::new(setting.ratio(limits))?;
        Ok(Self { setting, limits, own, beside: None })
    }

    /// Takes a tick of green and, where blue was probed, of blue.
    pub(super) fn take(&mut self, green: Events, blue: Option<Events>) -> Result<(), Refused> {
        self.own.step(green.0, green.1)?;
        let Some(blue) = blue.filter(|(_, all)| *all > 0.0) else { return Ok(()) };
        if self.beside.is_none() {
            let limits = self.setting.ratio(self.limits);
            let odds = RelativeLimits {
                odds_acceptable: ODDS.0,
                odds_unacceptable: ODDS.1,
                floor: limits,
            };
            let (blue, relative) = (Ratio::new(limits)?, Relative::new(odds)?);
            self.beside =
                Some(Box::new(Beside { blue, relative, against_blue: f64::NEG_INFINITY }));
        }
        if let Some(beside) = &mut self.beside {
            let seen = beside.blue.step(blue.0, blue.1)?;
            beside.against_blue = beside.against_blue.max(seen.rollback);
            beside.relative.step(pairs(green, blue))?;
        }
        Ok(())
    }

    /// Whether blue itself was proven to break the objective, so that green is held to blue instead
    /// (design.md §6, fix-forward). It stays so for the question: what blue did in an outage is not undone
    /// by its end, and green's share of the same outage is in green's evidence too.
    pub(super) fn suspended(&self) -> bool {
        let beside = self.beside.as_ref();
        beside.is_some_and(|beside| beside.against_blue >= self.setting.log_rollback_at())
    }

    /// Whether the evidence speaks against blue at all. Where both arms are equally broken, it is chance
    /// whose evidence gets there first; green is not rolled back for having been first.
    fn suspicious(&self) -> bool {
        self.beside.as_ref().is_some_and(|beside| beside.blue.evidence().rollback > 0.0)
    }

    /// Evidence about green alone, whatever blue does.
    pub(super) fn own(&self) -> Evidence {
        self.own.evidence()
    }

    /// What counts. Relative evidence stands on the same floor as green's own, so holding green to blue can
    /// only take a rollback back, never add one: the false-rollback rate is as stated.
    pub(super) fn evidence(&self) -> Evidence {
        let own = self.own.evidence();
        match &self.beside {
            Some(beside) if self.suspended() => beside.relative.evidence(),
            Some(beside) if self.suspicious() => {
                let rollback = own.rollback.min(beside.relative.evidence().rollback);
                Evidence { rollback, keep: own.keep }
            }
            _ => own,
        }
    }
}

/// The pairs of a tick from the counts of its arms, one probe of each.
///
/// Which probe failed beside which is not known, so bad ones are taken to meet as often as chance has it.
/// The bets are convex in that number, so this never claims more than the mean over all pairings. An arm
/// with more judged probes than the other is scaled down.
pub(super) fn pairs(green: Events, blue: Events) -> Pairs {
    let all = green.1.min(blue.1);
    if all <= 0.0 {
        return Pairs::default();
    }
    let bad = |(bad, of): Events| (bad * all / of).min(all);
    let (green, blue) = (bad(green), bad(blue));
    Pairs {
        both: green * blue / all,
        green_only: green * (all - blue) / all,
        blue_only: blue * (all - green) / all,
        neither: (all - green) * (all - blue) / all,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pairs_keep_the_counts_of_their_arms(n in 1u32..1000, green in 0u32..1000, blue in 0u32..1000) {
            let (n, green, blue) = (f64::from(n), f64::from(green.min(n)), f64::from(blue.min(n)));
            let p = pairs((green, n), (blue, n));
            prop_assert!((p.both + p.green_only - green).abs() < 1e-9);
            prop_assert!((p.both + p.blue_only - blue).abs() < 1e-9);
            prop_assert!((p.both + p.green_only + p.blue_only + p.neither - n).abs() < 1e-9);
        }
    }

    #[test]
    fn an_arm_that_was_probed_more_is_scaled_to_the_other() {
        let p = pairs((4.0, 40.0), (10.0, 20.0));
        assert!(
            (p.both + p.green_only - 2.0).abs() < 1e-12
                && (p.both + p.blue_only - 10.0).abs() < 1e-12
        );
        assert_eq!(pairs((0.0, 0.0), (1.0, 2.0)), Pairs::default());
    }
}
