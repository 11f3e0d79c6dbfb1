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
    /// Answered Continue; judged on while traffic shifts.
    Watching,
    /// The watch found the release broken; the veto is being brought to AWS.
    Vetoing,
    /// Answered, or ended by other hands.
    Done,
}

impl Phase {
    /// Every phase, in order.
    pub const ALL: [Self; 7] = [
        Self::Resolving,
        Self::WarmUp,
        Self::Judging,
        Self::Answering,
        Self::Watching,
        Self::Vetoing,
        Self::Done,
    ];

    /// Whether gate may stop here and go on after a restart: nothing is on its way to AWS.
    pub const fn can_wait(self) -> bool {
        matches!(self, Self::Resolving | Self::WarmUp | Self::Judging | Self::Watching)
    }

    /// The name used in metrics, records and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::WarmUp => "warm-up",
            Self::Judging => "judging",
            Self::Answering => "answering",
            Self::Watching => "watching",
            Self::Vetoing => "vetoing",
            Self::Done => "done",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
