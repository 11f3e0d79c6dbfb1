//! Where a question is in its life.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The life of a question. `Done` has no way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Accepted; what it is about is being found out.
    Resolving,
    /// Probed and counted, not judged.
    WarmUp,
    /// Probed and judged.
    Judging,
    /// Decided; the answer is being brought to AWS.
    Answering,
    /// Answered, or ended by other hands.
    Done,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 5] =
        [Self::Resolving, Self::WarmUp, Self::Judging, Self::Answering, Self::Done];

    /// The name used in metrics, records and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::WarmUp => "warm-up",
            Self::Judging => "judging",
            Self::Answering => "answering",
            Self::Done => "done",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
