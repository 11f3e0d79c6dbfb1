//! Engine `relative`: is green worse than blue, probed in pairs in the same tick?
//!
//! Statistics.md §4. The sign of (green bads - blue bads) for each tick is exact under exchangeable ticks,
//! whatever bursts and common shocks there are. An absolute floor stands beside it, so that a difference
//! too small to matter never rolls back.

use super::Evidence;
use super::mixture::Mixture;
use super::numerics::{is_count, log_add, times_log};
use super::ratio::{Ratio, RatioLimits, Refused};

/// Bets against "no worse": how often the step from the acceptable odds ratio to the unacceptable one.
const ROLLBACK_STEPS: [f64; 5] = [1.0, 0.5, 2.0, 4.0, 8.0];
/// Their weights.
const ROLLBACK_WEIGHTS: [f64; 5] = [0.5, 0.1, 0.2, 0.1, 0.1];
/// Weights of the bets against "this much worse", on shrinking odds ratios.
const KEEP_WEIGHTS: [f64; 4] = [0.5, 0.2, 0.15, 0.15];

/// What an engine is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RelativeLimits {
    /// Odds ratio that is still no worse, usually 1.
    pub odds_acceptable: f64,
    /// Odds ratio that must not pass.
    pub odds_unacceptable: f64,
    /// The floor: green's own share of bad probes below which nothing is rolled back.
    pub floor: RatioLimits,
}

/// Outcomes of the pairs of one tick.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pairs {
    /// Both good.
    pub neither: f64,
    /// Only green's probe was bad.
    pub green_only: f64,
    /// Only blue's probe was bad.
    pub blue_only: f64,
    /// Both bad.
    pub both: f64,
}

/// Evidence about green relative to blue.
#[derive(Clone, Debug)]
pub struct Relative {
    /// Logarithm of the acceptable odds ratio, and from there to the unacceptable one.
    log_odds: f64,
    log_step: f64,
    rollback: Mixture,
    /// `(ln(q/π1), ln((1-q)/(1-π1)))` of each bet.
    keep_bets: [(f64, f64); 4],
    keep: Mixture,
    floor: Ratio,
    evidence: Evidence,
}

impl Relative {
    /// An engine with no evidence yet.
    ///
    /// # Errors
    /// [`Refused::Limits`] where `0 < or0 < or1` does not hold, or the floor's limits contradict each other.
    pub fn new(limits: RelativeLimits) -> Result<Self, Refused> {
        let RelativeLimits { odds_acceptable: or0, odds_unacceptable: or1, floor } = limits;
        if !(0.0 < or0 && or0 < or1 && or1.is_finite()) {
            return Err(Refused::Limits);
        }
        let log_odds = or0.ln();
        let rollback =
            Mixture::new(&ROLLBACK_WEIGHTS, floor.horizon_ticks, floor.first_weight, floor.starts);
        let better = (or1 / 2.0).min(1.0);
        let unacceptable = or1 / (1.0 + or1);
        // 1-q is 1/(1+odds), whose logarithm stays finite where q is 1 to the last bit.
        let keep_bets = [better, better / 2.0, better / 8.0, 0.0].map(|odds: f64| {
            let q = odds / (1.0 + odds);
            ((q / unacceptable).ln(), or1.ln_1p() - odds.ln_1p())
        });
        Ok(Self {
            log_odds,
            log_step: or1.ln() - log_odds,
            rollback,
            keep_bets,
            keep: Mixture::whole_window(&KEEP_WEIGHTS),
            floor: Ratio::new(floor)?,
            evidence: Evidence::NONE,
        })
    }

    /// Takes the pairs of a closed tick. A tick without pairs changes nothing.
    ///
    /// # Errors
    /// Refuses what is no count; the state is untouched.
    pub fn step(&mut self, pairs: Pairs) -> Result<Evidence, Refused> {
        let Pairs { neither, green_only, blue_only, both } = pairs;
        let counts = [neither, green_only, blue_only, both];
        if !counts.into_iter().all(is_count) {
            return Err(Refused::NotACount);
        }
        let all: f64 = counts.iter().sum();
        if all == 0.0 {
            return Ok(self.evidence);
        }
        let floor = self.floor.step(both + green_only, all)?;
        let difference = green_only - blue_only;
        let fair = log_cosh(self.log_odds * difference / 2.0);
        let worse = self.rollback.take(ROLLBACK_STEPS.iter().map(|times| {
            let further = times * self.log_step;
            further * difference / 2.0 + fair
                - log_cosh((self.log_odds + further) * difference / 2.0)
        }));
        let no_worse = self.keep.take(
            self.keep_bets
                .iter()
                .map(|&(green, blue)| times_log(green_only, green) + times_log(blue_only, blue)),
        );
        // Worse than blue and above the floor; no worse than blue or below it, each at half the weight.
        self.evidence = Evidence {
            rollback: worse.min(floor.rollback),
            keep: log_add(no_worse, floor.keep) - std::f64::consts::LN_2,
        };
        Ok(self.evidence)
    }

    /// Evidence after the last closed tick.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// Closed ticks that held pairs.
    pub fn ticks(&self) -> u64 {
        self.floor.ticks()
    }
}

/// `ln cosh x` without overflow.
fn log_cosh(x: f64) -> f64 {
    x.abs() + (-2.0 * x.abs()).exp().ln_1p() - std::f64::consts::LN_2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(floor: RatioLimits) {
        let limits = RelativeLimits { odds_acceptable: 1.0, odds_unacceptable: 2.0, floor };
        let engine = Relative::new(limits).unwrap();
        // The floor's struct lies inside the engine's own.
        let bytes = size_of::<Relative>() - size_of::<Ratio>()
            + engine.floor.bytes()
            + engine.rollback.heap()
            + engine.keep.heap();
        assert!(bytes <= 1024, "{bytes} bytes for {floor:?}");
    }

    #[test]
    fn an_engine_takes_at_most_a_kibibyte_its_floor_included() {
        check(RatioLimits::new(0.005, 0.01, 40.0, 300));
        check(RatioLimits::new(0.001, 0.002, 1.0, 300));
        // The most bets there are: an advantage of nothing at all.
        check(RatioLimits::new(0.5, 0.500_000_000_000_001, f64::MIN_POSITIVE, 300));
    }
}
