//! Engine `ratio`: is a share of bad events at most `p0`, or at least `p1`?
//!
//! Statistics.md §3. Rollback bets on the mean of a whole tick, which stays valid however the probes
//! inside the tick are correlated. Continue bets on single probes by default, or on tick means where
//! a user asks for it (`Accept::Tick`).

use super::Evidence;
use super::mixture::{FROM_THE_START, LATER_STARTS, Mixture};
use super::numerics::{count, divergence, is_count, times_log};

/// Largest share of the account staked on one tick; below 1 so that a clean tick never ruins it.
const STAKE_MAX: f64 = 0.9;
/// Bets that go on the rollback side are tested against this margin below [`STAKE_MAX`].
const STAKE_EDGE: f64 = STAKE_MAX * 0.999;
/// Smallest stake a tick is designed for: it keeps the bets, which are this doubled and doubled, at 16.
/// Only an objective of 0.01 % and less, at a probe or so in a tick, asks for less; then the bet at a
/// quarter of it stands in.
const STAKE_MIN: f64 = 1e-4;
/// Stakes of [`Accept::Tick`] and their weights (statistics.md §3).
const TICK_STAKES: [f64; 3] = [0.5, 0.9, 0.99];
const TICK_WEIGHTS: [f64; 3] = [0.2, 0.4, 0.4];

/// How evidence to continue is gathered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Accept {
    /// Each probe is a bet. Exact for steady badness.
    #[default]
    Probe,
    /// Each tick's mean is a bet. Protects against bursty badness too, and takes ten times as long.
    Tick,
}

/// What an engine is asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioLimits {
    /// Allowed bad fraction, `0 ≤ p0 < p1`.
    pub acceptable: f64,
    /// Unacceptable bad fraction, `p1 < 1`.
    pub unacceptable: f64,
    /// Probes expected in a tick; sizes the bets.
    pub per_tick: f64,
    /// Ticks until the deadline; 0 where unknown.
    pub horizon_ticks: u64,
    /// Rollback is never claimed on fewer bad events than this.
    pub bad_min: f64,
    /// How evidence to continue is gathered.
    pub accept: Accept,
    /// Share of the weight on "bad from the start".
    pub first_weight: f64,
    /// Later starts among which the rest is shared.
    pub starts: u64,
}

impl RatioLimits {
    /// The defaults of statistics.md §0 for an objective with these fractions.
    pub fn new(acceptable: f64, unacceptable: f64, per_tick: f64, horizon_ticks: u64) -> Self {
        Self {
            acceptable,
            unacceptable,
            per_tick,
            horizon_ticks,
            bad_min: if acceptable == 0.0 { 1.0 } else { 2.0 },
            accept: Accept::Probe,
            first_weight: FROM_THE_START,
            starts: LATER_STARTS,
        }
    }
}

/// An input the engine refused; its state is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A count was negative, not a number, or above 2^53.
    #[error("a count is negative, not a number, or above 2^53")]
    NotACount,
    /// More bad events than events.
    #[error("more bad events than events")]
    MoreBadThanAll,
    /// Fewer events planned for the tick than already happened.
    #[error("fewer events planned than happened")]
    MoreThanPlanned,
    /// More points than the engine keeps.
    #[error("more points than the engine keeps")]
    TooMany,
    /// The limits contradict each other: `0 ≤ p0 < p1 < 1` does not hold, a size is not positive, ...
    #[error("the limits contradict each other, or one is out of range")]
    Limits,
}

/// Evidence about one ratio of bad events; 200 to 700 bytes.
#[derive(Clone, Debug)]
pub struct Ratio {
    acceptable: f64,
    unacceptable: f64,
    bad_min: f64,
    rollback: Mixture,
    stakes: Box<[f64]>,
    keep: Mixture,
    keep_bets: KeepBets,
    bad: f64,
    evidence: Evidence,
}

#[derive(Clone, Debug)]
enum KeepBets {
    /// `(ln(q/p1), ln((1-q)/(1-p1)))` of each bet: its factors for a bad probe and for a good one.
    Probe(Box<[(f64, f64)]>),
    /// [`TICK_STAKES`].
    Tick,
}

impl Ratio {
    /// An engine with no evidence yet.
    ///
    /// # Errors
    /// [`Refused::Limits`] where the limits contradict each other.
    pub fn new(limits: RatioLimits) -> Result<Self, Refused> {
        let RatioLimits { acceptable: p0, unacceptable: p1, per_tick, .. } = limits;
        let sound = (0.0..1.0).contains(&p0)
            && p0 < p1
            && p1 < 1.0
            && per_tick > 0.0
            && per_tick.is_finite()
            && limits.bad_min >= 0.0
            && (0.0..=1.0).contains(&limits.first_weight)
            && limits.starts > 0;
        if !sound {
            return Err(Refused::Limits);
        }
        let (stakes, weights) = stakes(p0, p1, per_tick);
        let rollback =
            Mixture::new(&weights, limits.horizon_ticks, limits.first_weight, limits.starts);
        let (keep_bets, keep) = keep_bets(limits);
        Ok(Self {
            acceptable: p0,
            unacceptable: p1,
            bad_min: limits.bad_min,
            rollback,
            stakes: stakes.into(),
            keep,
            keep_bets,
            bad: 0.0,
            evidence: Evidence::NONE,
        })
    }

    /// Takes a closed tick with `bad` of `all` events. A tick without events changes nothing.
    ///
    /// # Errors
    /// Refuses what is no count; the state is untouched.
    pub fn step(&mut self, bad: f64, all: f64) -> Result<Evidence, Refused> {
        if nothing(bad, all, all)? {
            return Ok(self.evidence);
        }
        let factors = rollback_factors(&self.stakes, self.acceptable, bad / all);
        let rollback = self.rollback.take(factors);
        let keep = match &self.keep_bets {
            KeepBets::Probe(bets) => self.keep.take(probe_factors(bets, bad, all)),
            KeepBets::Tick => self.keep.take(tick_factors(self.unacceptable, bad / all)),
        };
        self.bad += bad;
        self.evidence = Evidence { rollback: self.guarded(rollback, self.bad), keep };
        Ok(self.evidence)
    }

    /// Evidence inside an open tick of `planned` events: a lower bound of what the close will show, so
    /// acting on it is valid. The state is untouched. Tick mode has no peek for continue.
    ///
    /// # Errors
    /// Refuses what is no count.
    pub fn peek(&self, bad: f64, all: f64, planned: f64) -> Result<Evidence, Refused> {
        if nothing(bad, all, planned)? {
            return Ok(self.evidence);
        }
        let factors = rollback_factors(&self.stakes, self.acceptable, bad / planned);
        let rollback = self.guarded(self.rollback.foresee(factors), self.bad + bad);
        let keep = match &self.keep_bets {
            KeepBets::Probe(bets) => self.keep.foresee(probe_factors(bets, bad, all)),
            KeepBets::Tick => self.evidence.keep,
        };
        Ok(Evidence { rollback, keep })
    }

    /// Evidence after the last closed tick.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// Closed ticks that held events.
    pub fn ticks(&self) -> u64 {
        self.keep.ticks()
    }

    /// Applies the two rules that stand above the mixture: an objective of zero, and a minimum of bad events.
    fn guarded(&self, log: f64, bad: f64) -> f64 {
        let log =
            if self.acceptable == 0.0 { if bad > 0.0 { f64::INFINITY } else { 0.0 } } else { log };
        if bad < self.bad_min { log.min(0.0) } else { log }
    }
}

/// Whether a tick held no events; refuses what is no tick.
fn nothing(bad: f64, all: f64, planned: f64) -> Result<bool, Refused> {
    if ![bad, all, planned].into_iter().all(is_count) {
        return Err(Refused::NotACount);
    }
    if bad > all {
        return Err(Refused::MoreBadThanAll);
    }
    if planned < all {
        return Err(Refused::MoreThanPlanned);
    }
    Ok(all == 0.0)
}

/// Logarithm of what each stake makes of a tick with this bad fraction.
fn rollback_factors(stakes: &[f64], p0: f64, fraction: f64) -> impl Iterator<Item = f64> {
    // Finite even for a p0 of next to nothing: an infinite factor on an account not yet opened is NaN.
    let gain = ((fraction - p0) / p0).min(f64::MAX);
    stakes.iter().map(move |stake| (stake * gain).ln_1p())
}

/// Logarithm of what each bet on single probes makes of a tick.
fn probe_factors(bets: &[(f64, f64)], bad: f64, all: f64) -> impl Iterator<Item = f64> {
    bets.iter().map(move |&(when_bad, when_good)| {
        times_log(bad, when_bad) + times_log(all - bad, when_good)
    })
}

/// Logarithm of what each of [`TICK_STAKES`] makes of a tick with this bad fraction.
fn tick_factors(p1: f64, fraction: f64) -> impl Iterator<Item = f64> {
    let gain = (p1 - fraction) / (1.0 - p1);
    TICK_STAKES.into_iter().map(move |stake| (stake * gain).ln_1p())
}

/// Stakes and their weights for the rollback side.
fn stakes(p0: f64, p1: f64, per_tick: f64) -> (Vec<f64>, Vec<f64>) {
    if p0 == 0.0 {
        return (Vec::new(), Vec::new());
    }
    let advantage = per_tick * (p1 - p0) / (1.0 - p0);
    let design = (advantage / (1.0 + advantage)).clamp(STAKE_MIN, STAKE_MAX);
    let mut larger = Vec::new();
    let mut stake = design;
    while 2.0 * stake < STAKE_EDGE {
        stake *= 2.0;
        larger.push(stake);
    }
    if stake < STAKE_EDGE {
        larger.push(STAKE_MAX);
    }
    let mut stakes = vec![design, design / 4.0];
    let mut weights = if larger.is_empty() { vec![0.8, 0.2] } else { vec![0.5, 0.1] };
    let each = 0.4 / count(u64::try_from(larger.len()).unwrap_or(u64::MAX));
    weights.extend(larger.iter().map(|_| each));
    stakes.extend(larger);
    (stakes, weights)
}

/// The continue side: its bets, and the mixture that weighs them.
fn keep_bets(limits: RatioLimits) -> (KeepBets, Mixture) {
    let RatioLimits { acceptable: p0, unacceptable: p1, accept, .. } = limits;
    let bet = |q: f64| ((q / p1).ln(), (-q).ln_1p() - (-p1).ln_1p());
    match accept {
        Accept::Probe if p0 == 0.0 => {
            (KeepBets::Probe([bet(0.0)].into()), Mixture::whole_window(&[1.0]))
        }
        Accept::Probe => (
            KeepBets::Probe([p0, p0 / 4.0, p0 / 16.0, 0.0].map(bet).into()),
            Mixture::whole_window(&[0.5, 0.2, 0.15, 0.15]),
        ),
        Accept::Tick => (KeepBets::Tick, Mixture::whole_window(&TICK_WEIGHTS)),
    }
}

/// Probes a healthy release at a quarter of its budget needs before it may continue, about
/// `(ln(1/β)+0.69)/KL(p0/4‖p1)` (statistics.md §0).
pub fn continue_probes(acceptable: f64, unacceptable: f64, false_continue: f64) -> f64 {
    ((1.0 / false_continue).ln() + 0.69) / divergence(acceptable / 4.0, unacceptable)
}

/// The unacceptable fraction where a policy does not name one: the smallest of 2, 3, 5 and 10 times
/// the allowed one that a healthy release can refute in half the deadline, else 10 times (statistics.md §0).
///
/// An objective of zero has nothing to multiply: the fraction that `probes` clean probes refute.
pub fn auto_unacceptable(
    acceptable: f64,
    false_continue: f64,
    probes_in_half_deadline: f64,
) -> f64 {
    const BELOW_ONE: f64 = 0.95;
    if acceptable == 0.0 {
        let needed = ((1.0 / false_continue).ln() + 0.69) / probes_in_half_deadline.max(1.0);
        // 1 % by default, more where the deadline is too short to refute so little.
        return (-(-needed).exp_m1()).clamp(0.01, BELOW_ONE);
    }
    let ratios = [2.0, 3.0, 5.0, 10.0];
    let unacceptable = |ratio: f64| (acceptable * ratio).min((1.0 + acceptable) / 2.0);
    let fits = |p1: f64| continue_probes(acceptable, p1, false_continue) <= probes_in_half_deadline;
    ratios.into_iter().map(unacceptable).find(|&p1| fits(p1)).unwrap_or_else(|| unacceptable(10.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Ratio {
        /// Bytes an engine takes, those outside the struct included.
        pub(in crate::evidence) fn bytes(&self) -> usize {
            let keep_bets = match &self.keep_bets {
                KeepBets::Probe(bets) => size_of_val(&**bets),
                KeepBets::Tick => 0,
            };
            size_of::<Self>()
                + size_of_val(&*self.stakes)
                + self.rollback.heap()
                + self.keep.heap()
                + keep_bets
        }
    }

    fn check(p0: f64, p1: f64, per_tick: f64) {
        let bytes = Ratio::new(RatioLimits::new(p0, p1, per_tick, 300)).unwrap().bytes();
        assert!(bytes <= 1024, "{bytes} bytes for {p0} to {p1}, {per_tick} a tick");
    }

    #[test]
    fn an_engine_takes_at_most_a_kibibyte_whatever_it_is_asked() {
        check(0.005, 0.01, 40.0);
        check(0.005, 0.01, 4000.0);
        check(0.001, 0.002, 1.0);
        check(0.0, 0.01, 40.0);
        // The most bets there are: an advantage of nothing at all.
        check(0.5, 0.500_000_000_000_001, f64::MIN_POSITIVE);
        check(f64::MIN_POSITIVE, 0.999_999, f64::MAX);
    }
}
