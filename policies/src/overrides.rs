//! What a person says of a waiting question: hold it, let it go on, take it back.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::decision::Answer;
use crate::units::{duration, spell};

/// The longest name of who says it, in characters.
pub const BY_MAX: usize = 100;
/// The longest reason, in characters.
pub const REASON_MAX: usize = 1000;
/// A hold lasts so long where nothing else is said.
pub const HOLD_DEFAULT: Duration = Duration::from_secs(30 * 60);
/// The longest hold. The question's own end comes sooner in most cases.
pub const HOLD_MAX: Duration = Duration::from_secs(24 * 3600);
/// Said of one question at most, before it cannot be held any more: each is a fact on disk.
pub const OVERRIDES_MAX: usize = 100;

/// What is wanted of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Wish {
    /// Decide nothing for so long.
    Hold {
        /// From when it is said.
        lasts: Duration,
    },
    /// Let the release go on, whatever the evidence.
    Continue,
    /// Take the release back, whatever the evidence.
    Rollback,
    /// End a hold: the evidence decides again.
    Release,
}

impl Wish {
    /// The name used in requests, metrics and records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Hold { .. } => "hold",
            Self::Continue => "continue",
            Self::Rollback => "rollback",
            Self::Release => "release",
        }
    }
}

/// What somebody says of a question, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// What is wanted.
    #[serde(flatten)]
    pub wish: Wish,
    /// Who says it.
    pub by: String,
    /// Why.
    pub reason: String,
}

impl Override {
    /// Takes what a person wrote. `lasts` is for a hold alone, like `10m`.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn new(
        action: &str,
        by: &str,
        reason: &str,
        lasts: Option<&str>,
    ) -> Result<Self, Vec<String>> {
        let mut faults = Vec::new();
        let lasts = lasts.map(str::trim).filter(|lasts| !lasts.is_empty());
        let wish = match action {
            "hold" => match lasts.map_or(Ok(HOLD_DEFAULT), duration) {
                Ok(lasts) if lasts.is_zero() || lasts > HOLD_MAX => {
                    faults.push(format!("`for` is more than 0 and at most {}", spell(HOLD_MAX)));
                    None
                }
                Ok(lasts) => Some(Wish::Hold { lasts }),
                Err(fault) => {
                    faults.push(format!("`for`: {fault}"));
                    None
                }
            },
            "continue" => Some(Wish::Continue),
            "rollback" => Some(Wish::Rollback),
            "release" => Some(Wish::Release),
            _ => {
                faults.push(
                    "`action` is one of `hold`, `continue`, `rollback`, `release`".to_owned(),
                );
                None
            }
        };
        if lasts.is_some() && matches!(action, "continue" | "rollback" | "release") {
            faults.push("`for` is for `hold` alone".to_owned());
        }
        let by = text("by", by, BY_MAX, &mut faults);
        let reason = text("reason", reason, REASON_MAX, &mut faults);
        match (wish, by, reason) {
            (Some(wish), Some(by), Some(reason)) if faults.is_empty() => {
                Ok(Self { wish, by, reason })
            }
            _ => Err(faults),
        }
    }

    /// `alice holds it for 30 min: reason`.
    pub fn sentence(&self) -> String {
        let Self { wish, by, reason } = self;
        match wish {
            Wish::Hold { lasts } => format!("{by} holds it for {}: {reason}", spell(*lasts)),
            Wish::Continue => format!("{by} continues it: {reason}"),
            Wish::Rollback => format!("{by} rolls it back: {reason}"),
            Wish::Release => format!("{by} releases it: {reason}"),
        }
    }
}

/// One text of a request: there, not too long, and nothing in it that a terminal or a page would obey, or that nobody
/// sees.
fn text(name: &str, text: &str, most: usize, faults: &mut Vec<String>) -> Option<String> {
    let text = text.trim();
    let obeyed = |c: char| {
        c.is_control()
            || matches!(
                c,
                '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'
                    | '\u{2066}'..='\u{2069}' | '\u{feff}'
            )
    };
    let fault = if text.is_empty() {
        format!("`{name}` is missing")
    } else if text.chars().count() > most {
        format!("`{name}` has more than {most} characters")
    } else if text.contains(obeyed) {
        format!("`{name}` has control characters")
    } else {
        return Some(text.to_owned());
    };
    faults.push(fault);
    None
}

/// Why an override is not taken: it would change nothing any more, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The decision has fallen.
    Decided(Answer),
    /// Its deadline has come, so that the fallback is on its way.
    OutOfTime,
    /// The deployment is being stopped already.
    Vetoing,
    /// The question is over.
    Over,
    /// There is no hold to release.
    NotHeld,
    /// The question has its answer; its watch can be ended, not held.
    Watching,
    /// Nobody waits for an answer, and the watch has not begun.
    NobodyWaits,
    /// Gate only observes: what it lets go on it would have let go on anyway, and it stops nothing.
    Observing,
    /// It was overridden too often to be held again.
    TooMany,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Decided(answer) => write!(f, "it is decided already: {answer}"),
            Self::OutOfTime => f.write_str("its deadline has come: the fallback is on its way"),
            Self::Vetoing => f.write_str("its deployment is being stopped already"),
            Self::Over => f.write_str("it is over"),
            Self::NotHeld => f.write_str("nobody holds it, so there is nothing to release"),
            Self::Watching => f.write_str(
                "it has its answer and is watched: `rollback` stops the deployment, `continue` ends the watch",
            ),
            Self::NobodyWaits => {
                f.write_str("nobody waits for an answer, and the watch has not begun")
            }
            Self::Observing => f.write_str(
                "gate only observes: it can let it go on, but stop nothing; stop the deployment at AWS",
            ),
            Self::TooMany => write!(
                f,
                "it was overridden {OVERRIDES_MAX} times already, and can only be continued or rolled back"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(input: [&str; 3], lasts: Option<&str>, expected: &str) {
        let [action, by, reason] = input;
        let told = match Override::new(action, by, reason, lasts) {
            Ok(said) => said.sentence(),
            Err(faults) => faults.join("; "),
        };
        assert_eq!(told, expected);
    }

    #[test]
    fn everything_wrong_with_an_override_is_said_at_once() {
        check(["hold", " alice ", "a look"], None, "alice holds it for 30 min: a look");
        check(["hold", "alice", "a look"], Some("10m"), "alice holds it for 10 min: a look");
        check(["rollback", "bob", "errors"], Some(" "), "bob rolls it back: errors");
        check(
            ["stop", " ", ""],
            None,
            "`action` is one of `hold`, `continue`, `rollback`, `release`; `by` is missing; `reason` is missing",
        );
        check(["continue", "bob", "ok"], Some("1m"), "`for` is for `hold` alone");
        check(["hold", "bob", "ok"], Some("25h"), "`for` is more than 0 and at most 1440 min");
        check(
            ["release", &"b".repeat(101), "a\u{1b}[2J"],
            None,
            "`by` has more than 100 characters; `reason` has control characters",
        );
        for unseen in
            ["\u{200b}", "\u{200f}", "\u{2028}", "\u{2029}", "\u{2060}", "\u{feff}", "\u{61c}"]
        {
            let by = format!("ali{unseen}ce");
            check(["release", &by, "a reason"], None, "`by` has control characters");
        }
        check(["release", "a\u{202e}b", &"r".repeat(1000)], None, "`by` has control characters");
    }
}
