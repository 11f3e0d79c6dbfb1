//! Evidence that may be looked at after every tick without spoiling its error rates.
//!
//! Each engine keeps two e-processes, in logarithms: `E` against "the objective holds" and `F` against
//! "the objective is broken". By Ville's inequality `P(E ever ≥ 1/α) ≤ α`, so looking often costs nothing.
//! The method and every constant are from statistics.md; `tests/golden.rs` holds the agreed vectors.

mod fold;
pub mod interval;
mod mixture;
pub mod numerics;
mod rank;
mod ratio;
mod relative;
pub mod sprt;

pub use fold::{Part, fold};
pub use mixture::Mixture;
pub use rank::{Direction, Rank, RankLimits};
pub use ratio::{Accept, Ratio, RatioLimits, Refused, auto_unacceptable, continue_probes};
pub use relative::{Pairs, Relative, RelativeLimits};

/// Natural logarithms of the evidence for each answer after a tick.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// `ln E`: evidence that the objective is broken.
    pub rollback: f64,
    /// `ln F`: evidence that the objective is kept.
    #[serde(rename = "continue")]
    pub keep: f64,
}

impl Evidence {
    /// Before any tick: no evidence either way.
    pub const NONE: Self = Self { rollback: 0.0, keep: 0.0 };
}

/// Tolerated rates of the two wrong answers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRates {
    /// α: at most this share of healthy releases is rolled back.
    pub false_rollback: f64,
    /// β: at most this share of unacceptable releases continues.
    pub false_continue: f64,
}

/// What the evidence alone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaning {
    /// `E ≥ 1/α`.
    Rollback,
    /// `F ≥ 1/β`, and enough has been seen.
    Continue,
    /// Neither yet.
    Watch,
}

/// Largest magnitude of a logarithm that is shown: JSON has no infinity.
const LOG_SHOWN_MAX: f64 = 1e9;

impl Evidence {
    /// The same within what JSON and metrics can say: ±1e9 where it is beyond counting.
    #[must_use]
    pub fn shown(self) -> Self {
        let cap = |log: f64| log.clamp(-LOG_SHOWN_MAX, LOG_SHOWN_MAX);
        Self { rollback: cap(self.rollback), keep: cap(self.keep) }
    }

    /// The rule of statistics.md §1: rollback first, then continue once enough was seen, else watch on.
    pub fn leaning(self, rates: ErrorRates, seen_enough: bool) -> Leaning {
        if self.rollback >= (1.0 / rates.false_rollback).ln() {
            Leaning::Rollback
        } else if seen_enough && self.keep >= (1.0 / rates.false_continue).ln() {
            Leaning::Continue
        } else {
            Leaning::Watch
        }
    }
}
