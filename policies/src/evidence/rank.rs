//! Engine `rank`: are the few points of a series like those of its baseline?
//!
//! Statistics.md §5: conformal rank betting. It can only veto: that a series looks ordinary never proves
//! that a release is good.

use super::Evidence;
use super::mixture::{FROM_THE_START, LATER_STARTS, Mixture};
use super::numerics::count;
use super::ratio::Refused;

/// Points kept: two weeks of minutes.
pub(super) const POINTS_MAX: usize = 20_160;
const KAPPAS: [f64; 4] = [0.05, 0.2, 0.4, 0.7];
const WEIGHTS: [f64; 4] = [0.4, 0.3, 0.2, 0.1];

/// Which way a series must not move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Direction {
    /// High is bad.
    #[default]
    High,
    /// Low is bad.
    Low,
}

/// What an engine is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankLimits {
    /// Which way is bad.
    pub direction: Direction,
    /// Relative tolerance: 0.1 lets a point be a tenth worse.
    pub relative: f64,
    /// Absolute tolerance, in the series' unit.
    pub absolute: f64,
    /// Points expected until the deadline; 0 where unknown.
    pub horizon_points: u64,
    /// Points before the series stops standing in the way of Continue.
    pub points_min: u64,
    /// Share of the weight on "bad from the start".
    pub first_weight: f64,
    /// Later starts among which the rest is shared.
    pub starts: u64,
}

impl Default for RankLimits {
    /// High is bad, no tolerance, the weights of statistics.md §0.
    fn default() -> Self {
        Self {
            direction: Direction::High,
            relative: 0.0,
            absolute: 0.0,
            horizon_points: 300,
            points_min: 0,
            first_weight: FROM_THE_START,
            starts: LATER_STARTS,
        }
    }
}

/// Evidence about one series.
#[derive(Clone, Debug)]
pub struct Rank {
    limits: RankLimits,
    /// Baseline and points so far, turned so that high is bad, in ascending order.
    pool: Vec<f64>,
    /// `Σ_{a=1..n+1} a^(κ-1)` for each κ.
    sums: [f64; 4],
    mixture: Mixture,
    points: u64,
    rollback: f64,
}

impl Rank {
    /// An engine with no evidence yet. Fewer than 20 baseline points say little, 30 to 60 are good
    /// (statistics.md §5): that is for a policy to ask for, the arithmetic holds with any number.
    ///
    /// # Errors
    /// [`Refused::Limits`] for no points, points that are no numbers, or a
    /// tolerance that is negative or, for [`Direction::Low`], 100 % or more.
    pub fn new(baseline: &[f64], limits: RankLimits) -> Result<Self, Refused> {
        let RankLimits { direction, relative, absolute, .. } = limits;
        let relative_max = if direction == Direction::Low { 1.0 } else { f64::INFINITY };
        let sound = !baseline.is_empty()
            && baseline.len() <= POINTS_MAX
            && baseline.iter().all(|point| point.is_finite())
            && (0.0..relative_max).contains(&relative)
            && (0.0..f64::INFINITY).contains(&absolute)
            && (0.0..=1.0).contains(&limits.first_weight)
            && limits.starts > 0;
        if !sound {
            return Err(Refused::Limits);
        }
        let turned = |point: f64| if direction == Direction::Low { -point } else { point };
        let mut pool: Vec<f64> = baseline.iter().copied().map(turned).collect();
        pool.sort_by(f64::total_cmp);
        let places = u64::try_from(pool.len()).unwrap_or(u64::MAX) + 1;
        let sums = KAPPAS.map(|kappa| (1..=places).map(|a| count(a).powf(kappa - 1.0)).sum());
        let mixture =
            Mixture::new(&WEIGHTS, limits.horizon_points, limits.first_weight, limits.starts);
        Ok(Self { limits, pool, sums, mixture, points: 0, rollback: 0.0 })
    }

    /// Takes a point. A point that is no number is a gap: it changes nothing.
    ///
    /// # Errors
    /// [`Refused::TooMany`] beyond two weeks of minutes; the state is untouched.
    pub fn step(&mut self, point: f64) -> Result<Evidence, Refused> {
        if !point.is_finite() {
            return Ok(self.evidence());
        }
        if self.pool.len() >= POINTS_MAX {
            return Err(Refused::TooMany);
        }
        let RankLimits { direction, relative, absolute, .. } = self.limits;
        let tolerant = match direction {
            Direction::High => (point - absolute) / (1.0 + relative),
            Direction::Low => -(point + absolute) / (1.0 - relative),
        };
        let below = self.pool.partition_point(|&other| other < tolerant);
        let rank = u64::try_from(self.pool.len() - below).unwrap_or(u64::MAX) + 1;
        let places = u64::try_from(self.pool.len()).unwrap_or(u64::MAX) + 1;
        let (log_rank, log_places) = (count(rank).ln(), count(places).ln());
        let factors = KAPPAS.iter().zip(self.sums);
        let factors = factors.map(|(kappa, sum)| (kappa - 1.0) * log_rank + log_places - sum.ln());
        self.rollback = self.mixture.take(factors);
        self.pool.insert(below, tolerant);
        for (sum, kappa) in self.sums.iter_mut().zip(KAPPAS) {
            *sum += count(places + 1).powf(kappa - 1.0);
        }
        self.points += 1;
        Ok(self.evidence())
    }

    /// Evidence so far. For Continue it only stops standing in the way once enough points were seen.
    pub fn evidence(&self) -> Evidence {
        let enough = self.points >= self.limits.points_min;
        Evidence {
            rollback: self.rollback,
            keep: if enough { f64::INFINITY } else { f64::NEG_INFINITY },
        }
    }

    /// Points taken.
    pub fn points(&self) -> u64 {
        self.points
    }
}
