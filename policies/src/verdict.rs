//! The verdict on one objective, never without its evidence.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What the evidence says of one objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// Proven to hold, at the policy's false-continue rate.
    Kept,
    /// Proven not to hold, at the policy's false-rollback rate.
    Broken,
    /// Neither is proven.
    Unknown,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kept => "Kept",
            Self::Broken => "Broken",
            Self::Unknown => "Unknown",
        })
    }
}

/// Evidence as odds: `412:1`, `1:20`, and where it is beyond counting `over 1000000:1`.
pub fn odds(log_evidence: f64) -> String {
    const COUNTED_MAX: f64 = 1e6;
    let value = log_evidence.exp();
    if value >= COUNTED_MAX {
        format!("over {COUNTED_MAX}:1")
    } else if value >= 1.0 {
        format!("{}:1", value.floor())
    } else if value > 1.0 / COUNTED_MAX {
        format!("1:{}", (1.0 / value).round())
    } else {
        format!("1 to over {COUNTED_MAX}")
    }
}

/// The odds that an error rate asks for: `100:1` for 1 %.
pub fn odds_needed(error_rate: f64) -> String {
    // A hair above, so that rounding in the logarithm does not show 99.
    odds((1.0 / error_rate).ln() + 1e-9)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_spelled_as_odds() {
        for (log, text) in [
            (412.9_f64.ln(), "412:1"),
            (0.0, "1:1"),
            (0.05_f64.ln(), "1:20"),
            (f64::INFINITY, "over 1000000:1"),
            (f64::NEG_INFINITY, "1 to over 1000000"),
        ] {
            assert_eq!(odds(log), text);
        }
    }
}
