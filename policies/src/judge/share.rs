//! A share of green's probes, with blue's beside it so that a broken blue does not hold a fix back.

use super::Setting;
use crate::evidence::numerics::times_log;
use crate::evidence::{Evidence, Pairs, Ratio, Refused, Relative, RelativeLimits};
use crate::policy::Limits;

/// Odds ratio that is still no worse than blue, and the one that must not pass (statistics.md §4).
pub(super) const ODDS: (f64, f64) = (1.0, 2.0);
/// Likelihood against blue from which green is not rolled back for its own evidence alone: 3:1.
const SUSPICIOUS: f64 = 3.0;

/// Bad events among all events of a tick.
pub(super) type Events = (f64, f64);

/// Evidence about one share of green's probes.
///
/// Ticks in which blue is broken say nothing absolute about green: they are set aside from green's own
/// evidence and judged beside blue alone (fix-forward, design.md §6). Whether blue is broken is its newest
/// ticks' to say, so an outage that is over, or a blue that is gone, does not shield a green that breaks.
#[derive(Debug)]
pub(super) struct Share {
    setting: Setting,
    limits: Limits,
    own: Ratio,
    /// From the first tick that blue was probed in.
    relative: Option<Box<Relative>>,
    /// Logarithm of how much likelier blue's newest ticks are if it is broken (a CUSUM: never below 0).
    against_blue: f64,
    /// Ticks set aside.
    pub(super) aside: u64,
}

impl Share {
    pub(super) fn new(setting: Setting, limits: Limits) -> Result<Self, Refused> {
        let own = Ratio::new(setting.ratio(limits))?;
        Ok(Self { setting, limits, own, relative: None, against_blue: 0.0, aside: 0 })
    }

    /// Takes a tick of green and, where blue was probed, of blue. False where it was set aside.
    pub(super) fn take(&mut self, green: Events, blue: Option<Events>) -> Result<bool, Refused> {
        match blue.filter(|(_, all)| *all > 0.0) {
            // Nothing is known of blue now.
            None => self.against_blue = 0.0,
            Some(blue) => {
                self.suspect(blue);
                let relative = match &mut self.relative {
                    Some(relative) => relative,
                    None => self.relative.insert(Box::new(Relative::new(RelativeLimits {
                        odds_acceptable: ODDS.0,
                        odds_unacceptable: ODDS.1,
                        floor: self.setting.ratio(self.limits),
                    })?)),
                };
                relative.step(pairs(green, blue))?;
            }
        }
        let aside = self.blue_is_broken();
        if aside {
            self.aside += 1;
        } else {
            self.own.step(green.0, green.1)?;
        }
        Ok(!aside)
    }

    fn suspect(&mut self, (bad, all): Events) {
        let Limits { acceptable: p0, unacceptable: p1 } = self.limits;
        let likelier =
            times_log(bad, (p1 / p0).ln()) + times_log(all - bad, (-p1).ln_1p() - (-p0).ln_1p());
        // Bounded, so that a blue that is whole again is soon seen to be.
        let most = 2.0 * self.setting.log_rollback_at();
        self.against_blue = (self.against_blue + likelier).clamp(0.0, most);
    }

    /// Whether blue's newest ticks prove that it breaks the objective itself.
    pub(super) fn blue_is_broken(&self) -> bool {
        self.against_blue >= self.setting.log_rollback_at()
    }

    /// What counts: beside a broken blue the comparison, else green's own. Where both arms are equally
    /// broken it is chance whose evidence gets there first, so green is not rolled back for being first
    /// while the likelihood speaks against blue: the comparison must say so too.
    pub(super) fn evidence(&self) -> Evidence {
        let own = self.own.evidence();
        match &self.relative {
            Some(relative) if self.blue_is_broken() => relative.evidence(),
            Some(relative) if self.against_blue >= SUSPICIOUS.ln() => {
                let rollback = own.rollback.min(relative.evidence().rollback);
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
