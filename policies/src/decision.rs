//! A decision: the answer, what it rests on, and the reason in words.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is said to AWS, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The release may go on.
    Continue,
    /// The release must be taken back.
    Rollback,
}

impl Answer {
    /// `continue` or `rollback`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Rollback => "rollback",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What an answer rests on: a closed list, a label in metrics and records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// The evidence reached the policy's error rate.
    Proven,
    /// A condition failed for as long as the policy gives it.
    Condition,
    /// The deadline came first; the policy's `undecided` rule.
    Undecided,
    /// Green gave no finished sample for 10 s; the policy's `no-data` rule.
    NoData,
    /// Gate itself could not measure; the policy's `undecided` rule.
    GateTrouble,
    /// The deployment could not be resolved; the fallback in force.
    Unresolved,
    /// No policy matches, or it cannot be told which; the daemon's `unmatched` setting.
    Unmatched,
    /// The policy that would match is broken; the daemon's `unmatched` setting.
    BrokenPolicy,
    /// The deployment is itself a rollback, which is never gated.
    RollbackDeployment,
    /// There is no green at this stage yet.
    NothingToMeasure,
    /// Judged, recorded, but told only to observe.
    Observed,
    /// A person said so.
    Overridden,
}

impl Basis {
    /// The name used in metrics, records and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Proven => "proven",
            Self::Condition => "condition",
            Self::Undecided => "undecided",
            Self::NoData => "no-data",
            Self::GateTrouble => "gate-trouble",
            Self::Unresolved => "unresolved",
            Self::Unmatched => "unmatched",
            Self::BrokenPolicy => "broken-policy",
            Self::RollbackDeployment => "rollback-deployment",
            Self::NothingToMeasure => "nothing-to-measure",
            Self::Observed => "observed",
            Self::Overridden => "overridden",
        }
    }
}

impl fmt::Display for Basis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The verdicts of all objectives folded into an answer and a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What to say.
    pub answer: Answer,
    /// What it rests on.
    pub basis: Basis,
    /// Why, for a tired person.
    pub reason: String,
    /// The objective that decided, where one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objective: Option<String>,
    /// What would have changed it, where that can be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterfactual: Option<String>,
}

impl Decision {
    /// Exit code of `gate verify` (design.md §7): 0 continue, 1 rollback proven, 3 not proven. Observing
    /// lets everything through; so does what is never gated, where there is nothing to prove.
    pub const fn exit_code(&self) -> u8 {
        match (self.basis, self.answer) {
            (
                Basis::Proven
                | Basis::RollbackDeployment
                | Basis::NothingToMeasure
                | Basis::Overridden,
                Answer::Continue,
            )
            | (Basis::Observed, _) => 0,
            (Basis::Proven | Basis::Condition | Basis::Overridden, Answer::Rollback) => 1,
            _ => 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_proven_or_never_gated_has_an_exit_code_of_its_own() {
        use Answer::{Continue, Rollback};
        for (basis, answer, code) in [
            (Basis::Proven, Continue, 0),
            (Basis::Observed, Continue, 0),
            (Basis::RollbackDeployment, Continue, 0),
            (Basis::NothingToMeasure, Continue, 0),
            (Basis::Proven, Rollback, 1),
            (Basis::Condition, Rollback, 1),
            (Basis::Overridden, Continue, 0),
            (Basis::Overridden, Rollback, 1),
            (Basis::Undecided, Continue, 3),
            (Basis::Undecided, Rollback, 3),
            (Basis::NoData, Continue, 3),
            (Basis::GateTrouble, Rollback, 3),
            (Basis::Unresolved, Rollback, 3),
            (Basis::BrokenPolicy, Rollback, 3),
        ] {
            let (reason, objective, counterfactual) = (String::new(), None, None);
            let decision = Decision { answer, basis, reason, objective, counterfactual };
            assert_eq!(decision.exit_code(), code, "{basis} {answer}");
        }
    }
}
