//! Several objectives folded into one decision (statistics.md §6).
//!
//! Rollback evidence is the weighted mean of the objectives' evidence: valid under any dependence, and
//! it costs an objective at most `ln(Σw/w)` nats. Continue needs every objective.

use super::Evidence;
use super::numerics::log_sum;

/// One objective's contribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Part {
    /// Share of the false-rollback rate, relative to the others; must be positive.
    pub weight: f64,
    /// Its evidence so far.
    pub evidence: Evidence,
}

/// Folds the parts. Without any part that weighs something there is no evidence for anything.
pub fn fold(parts: &[Part]) -> Evidence {
    let total: f64 = parts.iter().map(|part| part.weight.max(0.0)).sum();
    if parts.is_empty() || total <= 0.0 {
        return Evidence { rollback: f64::NEG_INFINITY, keep: f64::NEG_INFINITY };
    }
    // A share of nothing is left out even of infinite evidence: their product would be NaN.
    let shares = parts.iter().map(|part| (part.weight / total, part.evidence.rollback));
    let rollback =
        log_sum(shares.filter(|&(share, _)| share > 0.0).map(|(share, log)| share.ln() + log));
    let keep = parts.iter().map(|part| part.evidence.keep).fold(f64::INFINITY, f64::min);
    Evidence { rollback, keep }
}
