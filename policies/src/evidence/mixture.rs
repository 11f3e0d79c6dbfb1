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
    log_weights: Vec<f64>,
    /// Logarithm of each atom's account; `-inf` before its first opening.
    accounts: Vec<f64>,
    /// Ticks between two openings.
    gap: u64,
    first_weight: f64,
    starts: u64,
    ticks: u64,
}

impl Mixture {
    /// A mixture over atoms with these weights (they sum to 1) for a horizon of `horizon_ticks`;
    /// 0 means the horizon is unknown and every tick opens an account until the weight is spent.
    pub fn new(weights: &[f64], horizon_ticks: u64, first_weight: f64, starts: u64) -> Self {
        Self {
            log_weights: weights.iter().map(|weight| weight.ln()).collect(),
            accounts: vec![f64::NEG_INFINITY; weights.len()],
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
        let (accounts, evidence) = self.after(log_factors);
        self.accounts = accounts;
        self.ticks += 1;
        evidence
    }

    /// What [`Mixture::step`] would return, without storing it.
    pub fn peek(&self, log_factors: &[f64]) -> f64 {
        self.after(log_factors).1
    }

    fn after(&self, log_factors: &[f64]) -> (Vec<f64>, f64) {
        let opening = self.opening_weight();
        let accounts: Vec<f64> = self
            .accounts
            .iter()
            .zip(log_factors)
            .map(|(&account, &factor)| {
                let open = if opening > 0.0 { log_add(account, opening.ln()) } else { account };
                open + factor
            })
            .collect();
        let invested = log_sum(self.log_weights.iter().zip(&accounts).map(|(w, a)| w + a));
        let unspent = self.unspent_weight();
        let evidence = if unspent > 0.0 { log_add(invested, unspent.ln()) } else { invested };
        (accounts, evidence)
    }

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
    fn peeking_changes_nothing() {
        let mut mixture = Mixture::whole_window(&[0.3, 0.7]);
        let peeked = mixture.peek(&[0.4, -0.2]);
        assert!((peeked - mixture.step(&[0.4, -0.2])).abs() < 1e-15);
    }
}
