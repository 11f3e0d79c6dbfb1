//! Operating characteristics of a plain sequential probability ratio test: the yardstick beside our rule.
//!
//! Statistics.md §9: a forward walk over (probes, bads), exact but for what is left when it stops.

use super::numerics::count;
use super::ratio::Refused;

/// Probability still undecided when the walk stops.
const LEFT_OVER: f64 = 1e-13;
/// Probes after which the walk stops all the same: far beyond any deadline.
const PROBES_MAX: u64 = 2_000_000;
/// Undecided states at once; their number grows with the distance of the two limits.
const STATES_MAX: usize = 1_000_000;

/// A test of `p0` against `p1` between two limits on the logarithm of the likelihood ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sprt {
    /// Acceptable share.
    pub acceptable: f64,
    /// Unacceptable share.
    pub unacceptable: f64,
    /// Accept at or below this.
    pub log_low: f64,
    /// Roll back at or above this.
    pub log_high: f64,
}

/// What becomes of a release with a given share of bad probes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Characteristics {
    /// Probability of rollback.
    pub rollback: f64,
    /// Probability of acceptance.
    pub accept: f64,
    /// Expected number of probes.
    pub probes: f64,
}

impl Sprt {
    /// Walks the test with a share `p` of bad probes.
    ///
    /// # Errors
    /// [`Refused::Limits`] where `0 < p0 < p1 < 1`, `low < 0 < high` or `0 ≤ p ≤ 1` does not hold, or where the
    /// test would not end.
    pub fn at(&self, p: f64) -> Result<Characteristics, Refused> {
        let Self { acceptable: p0, unacceptable: p1, log_low, log_high } = *self;
        let sound = 0.0 < p0
            && p0 < p1
            && p1 < 1.0
            && log_low < 0.0
            && 0.0 < log_high
            && log_low.is_finite()
            && log_high.is_finite()
            && (0.0..=1.0).contains(&p);
        if !sound {
            return Err(Refused::Limits);
        }
        let good = (-p1).ln_1p() - (-p0).ln_1p();
        let step = (p1 / p0).ln() - good;
        let mut walk = Characteristics { rollback: 0.0, accept: 0.0, probes: 0.0 };
        // Probability of each number of bads from `first` on, among those still undecided.
        let (mut first, mut alive) = (0_u64, vec![1.0_f64]);
        for probes in 1..=PROBES_MAX {
            let undecided: f64 = alive.iter().sum();
            if undecided < LEFT_OVER {
                return Ok(walk);
            }
            walk.probes += undecided;
            let mut next = vec![0.0; alive.len() + 1];
            for (state, mass) in alive.iter().enumerate() {
                if let Some(same) = next.get_mut(state) {
                    *same += mass * (1.0 - p);
                }
                if let Some(more) = next.get_mut(state + 1) {
                    *more += mass * p;
                }
            }
            let drift = count(probes) * good;
            let (reject_from, accept_to) =
                (((log_high - drift) / step).ceil(), ((log_low - drift) / step).floor());
            let (mut kept, mut kept_first) = (Vec::new(), None);
            for (bads, mass) in (first..).zip(next) {
                if count(bads) >= reject_from {
                    walk.rollback += mass;
                } else if count(bads) <= accept_to {
                    walk.accept += mass;
                } else {
                    kept_first.get_or_insert(bads);
                    kept.push(mass);
                }
            }
            if kept.len() > STATES_MAX {
                return Err(Refused::Limits);
            }
            (first, alive) = (kept_first.unwrap_or(0), kept);
        }
        Err(Refused::Limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_at_its_design_points_keeps_walds_bounds() {
        let limit = 99.0_f64.ln();
        let test = Sprt { acceptable: 0.01, unacceptable: 0.03, log_low: -limit, log_high: limit };
        let (at_p0, at_p1) = (test.at(0.01).unwrap(), test.at(0.03).unwrap());
        assert!(at_p0.rollback <= 0.01 && at_p1.accept <= 0.0102, "{at_p0:?} {at_p1:?}");
        for at in [at_p0, at_p1] {
            assert!((at.rollback + at.accept - 1.0).abs() < 1e-10, "{at:?}");
        }
        // Wald's approximation of the expected number, which ignores the overshoot.
        let kl = 0.03 * 3.0_f64.ln() + 0.97 * (0.97_f64 / 0.99).ln();
        let wald = 0.98 * limit / kl;
        assert!((wald..1.2 * wald).contains(&at_p1.probes), "{} {wald}", at_p1.probes);
    }

    #[test]
    fn a_test_of_one_step_is_a_coin() {
        let test = Sprt { acceptable: 0.1, unacceptable: 0.9, log_low: -0.1, log_high: 0.1 };
        let at = test.at(0.25).unwrap();
        assert!((at.rollback - 0.25).abs() < 1e-12 && (at.probes - 1.0).abs() < 1e-12, "{at:?}");
    }
}
