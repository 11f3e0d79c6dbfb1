//! A mixture of bets with restarts: the only stateful object of the statistics.
//!
//! Statistics.md §2. `E_t = Σ_j π_j Σ_s ω_s Π_{i=s..t} L_ij + (1-Σω)`: each product is a test
//! martingale under the null, so the sum is an e-process. A quarter of the weight opens new accounts
//! later, so that a fault which starts in minute five is seen as fast as one there from the start.

use super::numerics::{count, log_add, log_sum};

/// Share of the weight that bets on "bad from the start" (statistics.md §0).
pub(super) const FROM_THE_START: f64 = 0.75;
/// Later starts among which the rest of the weight is shared (statistics.md §0).
pub(super) const LATER_STARTS: u64 = 64;

/// Evidence of a weighted set of bets; `O(atoms)` memory and work for each tick.
#[derive(Clone, Debug)]
pub struct Mixture {
    atoms: Box<[Atom]>,
    /// Ticks between two openings.
    gap: u64,
    first_weight: f64,
    starts: u64,
    ticks: u64,
}

/// One bet of the mixture, in logarithms.
#[derive(Clone, Copy, Debug)]
struct Atom {
    weight: f64,
    /// What its opened accounts hold; `-inf` before the first opening.
    account: f64,
}

impl Atom {
    /// What its accounts hold after a tick with this factor, a new one of size `opening` included.
    fn after(self, opening: f64, factor: f64) -> f64 {
        log_add(self.account, opening) + factor
    }
}

impl Mixture {
    /// A mixture over atoms with these weights (they sum to 1) for a horizon of `horizon_ticks`;
    /// 0 means the horizon is unknown and every tick opens an account until the weight is spent.
    pub fn new(weights: &[f64], horizon_ticks: u64, first_weight: f64, starts: u64) -> Self {
        let atom = |weight: &f64| Atom { weight: weight.ln(), account: f64::NEG_INFINITY };
        Self {
            atoms: weights.iter().map(atom).collect(),
            gap: horizon_ticks.div_ceil(starts.max(1)).max(1),
            first_weight,
            starts,
            ticks: 0,
        }
    }

    /// A mixture for evidence to continue: the whole window must justify it, so nothing restarts.
    pub fn whole_window(weights: &[f64]) -> Self {
        Self::new(weights, 0, 1.0, 1)
    }

    /// Takes the logarithm of each atom's factor for this tick and returns `ln E`.
    pub fn step(&mut self, log_factors: &[f64]) -> f64 {
        self.take(log_factors.iter().copied())
    }

    /// What [`Mixture::step`] would return, without storing it.
    pub fn peek(&self, log_factors: &[f64]) -> f64 {
        self.foresee(log_factors.iter().copied())
    }

    /// [`Mixture::step`] for factors that are worked out one by one, so that nothing is allocated.
    pub(super) fn take(&mut self, log_factors: impl Iterator<Item = f64>) -> f64 {
        let (opening, unspent) = (self.opening_weight().ln(), self.unspent_weight().ln());
        for (atom, factor) in self.atoms.iter_mut().zip(log_factors) {
            atom.account = atom.after(opening, factor);
        }
        self.ticks += 1;
        log_sum(self.atoms.iter().map(|atom| atom.weight + atom.account).chain([unspent]))
    }

    /// [`Mixture::peek`] for factors that are worked out one by one.
    pub(super) fn foresee(&self, log_factors: impl Iterator<Item = f64>) -> f64 {
        let (opening, unspent) = (self.opening_weight().ln(), self.unspent_weight().ln());
        let atoms = self.atoms.iter().zip(log_factors);
        let invested = atoms.map(|(atom, factor)| atom.weight + atom.after(opening, factor));
        log_sum(invested.chain([unspent]))
    }

    /// Ticks taken.
    pub(super) fn ticks(&self) -> u64 {
        self.ticks
    }

    /// Weight of the account opened in this tick, 0 for none.
    fn opening_weight(&self) -> f64 {
        if self.ticks == 0 {
            self.first_weight
        } else if self.first_weight < 1.0
            && self.ticks.is_multiple_of(self.gap)
            && self.ticks / self.gap <= self.starts
        {
            (1.0 - self.first_weight) / count(self.starts)
        } else {
            0.0
        }
    }

    /// Weight of the accounts not opened yet, kept as cash.
    fn unspent_weight(&self) -> f64 {
        let opened = (self.ticks / self.gap).min(self.starts);
        ((1.0 - self.first_weight) * (1.0 - count(opened) / count(self.starts))).max(0.0)
    }

    /// Bytes held outside the struct.
    #[cfg(test)]
    pub(super) fn heap(&self) -> usize {
        size_of_val(&*self.atoms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fair_bet_of_no_information_keeps_the_evidence_at_one() {
        let mut mixture = Mixture::new(&[0.5, 0.5], 300, FROM_THE_START, LATER_STARTS);
        for _ in 0..1000 {
            assert!(mixture.step(&[0.0, 0.0]).abs() < 1e-12);
        }
    }

    #[test]
    fn peeking_foresees_the_step_to_the_bit_and_changes_nothing() {
        let mut mixture = Mixture::new(&[0.3, 0.7], 300, FROM_THE_START, LATER_STARTS);
        for tick in 0..400 {
            let factors = [0.4 * f64::from(tick % 3) - 0.3, -0.2];
            let peeked = [mixture.peek(&factors), mixture.peek(&factors)];
            assert_eq!(peeked.map(f64::to_bits), [mixture.step(&factors).to_bits(); 2]);
        }
    }
}
