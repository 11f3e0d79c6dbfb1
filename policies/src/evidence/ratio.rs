//! Engine `ratio`: is a share of bad events at most `p0`, or at least `p1`?
//!
//! Statistics.md §3. Rollback bets on the mean of a whole tick, which stays valid however the probes
//! inside the tick are correlated. Continue bets on single probes by default, or on tick means where
//! a user asks for it (`Accept::Tick`).

use super::Evidence;
use super::mixture::{FROM_THE_START, LATER_STARTS, Mixture};
use super::numerics::{count, divergence, times_log};

/// Largest share of the account staked on one tick; below 1 so that a clean tick never ruins it.
const STAKE_MAX: f64 = 0.9;
/// Bets that go on the rollback side are tested against this margin below [`STAKE_MAX`].
const STAKE_EDGE: f64 = STAKE_MAX * 0.999;

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
    /// A count was negative, infinite or not a number.
    #[error("a count is negative or not a finite number")]
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

/// Evidence about one ratio of bad events; about 600 bytes.
#[derive(Clone, Debug)]
pub struct Ratio {
    limits: RatioLimits,
    rollback: Mixture,
    stakes: Vec<f64>,
    keep: Mixture,
    /// Probe mode: `(ln(q/p1), ln((1-q)/(1-p1)))`. Tick mode: stakes.
    keep_atoms: KeepAtoms,
    bad: f64,
    evidence: Evidence,
    ticks: u64,
}

#[derive(Clone, Debug)]
enum KeepAtoms {
    Probe(Vec<(f64, f64)>),
    Tick(Vec<f64>),
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
        let (keep_atoms, keep_weights) = keep_atoms(limits);
        Ok(Self {
            limits,
            rollback,
            stakes,
            keep: Mixture::whole_window(&keep_weights),
            keep_atoms,
            bad: 0.0,
            evidence: Evidence::NONE,
            ticks: 0,
        })
    }

    /// Takes a closed tick with `bad` of `all` events. A tick without events changes nothing.
    ///
    /// # Errors
    /// Refuses what is no count; the state is untouched.
    pub fn step(&mut self, bad: f64, all: f64) -> Result<Evidence, Refused> {
        let Some(logs) = self.log_factors(bad, all, all)? else { return Ok(self.evidence) };
        let rollback = self.rollback.step(&logs.rollback);
        let keep = self.keep.step(&logs.keep);
        self.bad += bad;
        self.ticks += 1;
        self.evidence = Evidence { rollback: self.guarded(rollback, self.bad), keep };
        Ok(self.evidence)
    }

    /// Evidence inside an open tick of `planned` events: a lower bound of what the close will show, so
    /// acting on it is valid. The state is untouched. Tick mode has no peek for continue.
    ///
    /// # Errors
    /// Refuses what is no count.
    pub fn peek(&self, bad: f64, all: f64, planned: f64) -> Result<Evidence, Refused> {
        let Some(logs) = self.log_factors(bad, all, planned)? else { return Ok(self.evidence) };
        let rollback = self.guarded(self.rollback.peek(&logs.rollback), self.bad + bad);
        let keep = match self.keep_atoms {
            KeepAtoms::Probe(_) => self.keep.peek(&logs.keep),
            KeepAtoms::Tick(_) => self.evidence.keep,
        };
        Ok(Evidence { rollback, keep })
    }

    /// Evidence after the last closed tick.
    pub fn evidence(&self) -> Evidence {
        self.evidence
    }

    /// Closed ticks that held events.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    fn log_factors(&self, bad: f64, all: f64, planned: f64) -> Result<Option<LogFactors>, Refused> {
        // NaN is in no range.
        if ![bad, all, planned].iter().all(|count| (0.0..f64::INFINITY).contains(count)) {
            return Err(Refused::NotACount);
        }
        if bad > all {
            return Err(Refused::MoreBadThanAll);
        }
        if planned < all {
            return Err(Refused::MoreThanPlanned);
        }
        if all == 0.0 {
            return Ok(None);
        }
        let p0 = self.limits.acceptable;
        let excess = bad / planned - p0;
        let rollback = self.stakes.iter().map(|stake| (stake * excess / p0).ln_1p()).collect();
        let keep = match &self.keep_atoms {
            KeepAtoms::Probe(atoms) => atoms
                .iter()
                .map(|&(when_bad, when_good)| {
                    times_log(bad, when_bad) + times_log(all - bad, when_good)
                })
                .collect(),
            KeepAtoms::Tick(stakes) => {
                let p1 = self.limits.unacceptable;
                stakes.iter().map(|c| (c * (p1 - bad / all) / (1.0 - p1)).ln_1p()).collect()
            }
        };
        Ok(Some(LogFactors { rollback, keep }))
    }

    /// Applies the two rules that stand above the mixture: an objective of zero, and a minimum of bad events.
    fn guarded(&self, log: f64, bad: f64) -> f64 {
        let log = if self.limits.acceptable == 0.0 {
            if bad > 0.0 { f64::INFINITY } else { 0.0 }
        } else {
            log
        };
        if bad < self.limits.bad_min { log.min(0.0) } else { log }
    }
}

struct LogFactors {
    rollback: Vec<f64>,
    keep: Vec<f64>,
}

/// Stakes and their weights for the rollback side.
fn stakes(p0: f64, p1: f64, per_tick: f64) -> (Vec<f64>, Vec<f64>) {
    if p0 == 0.0 {
        return (Vec::new(), Vec::new());
    }
    let advantage = per_tick * (p1 - p0) / (1.0 - p0);
    let design = STAKE_MAX.min(advantage / (1.0 + advantage));
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

fn keep_atoms(limits: RatioLimits) -> (KeepAtoms, Vec<f64>) {
    let RatioLimits { acceptable: p0, unacceptable: p1, accept, .. } = limits;
    match accept {
        Accept::Probe => {
            let (fractions, weights) = if p0 == 0.0 {
                (vec![0.0], vec![1.0])
            } else {
                (vec![p0, p0 / 4.0, p0 / 16.0, 0.0], vec![0.5, 0.2, 0.15, 0.15])
            };
            let atoms = fractions
                .iter()
                .map(|&q: &f64| ((q / p1).ln(), (-q).ln_1p() - (-p1).ln_1p()))
                .collect();
            (KeepAtoms::Probe(atoms), weights)
        }
        Accept::Tick => (KeepAtoms::Tick(vec![0.5, 0.9, 0.99]), vec![0.2, 0.4, 0.4]),
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
