//! One request made, and what came of it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A probe sent this long after it was due, though the target held nothing up, was sent late by gate.
///
/// Above the 1-2 ms of the runtime's timer, and small beside any latency worth an objective.
pub const LATE_AFTER: Duration = Duration::from_millis(20);

/// What came of a probe: a closed list, so that metrics and reports have bounded labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered as expected.
    Ok,
    /// Answered with a status the policy does not expect.
    Status,
    /// Answered with a body that is not as the policy expects.
    Expectation,
    /// The target refused the connection.
    Refused,
    /// The connection was reset or closed before the answer was complete.
    Reset,
    /// No connection within the time-out.
    ConnectTimeout,
    /// Connected, but no complete answer within the time-out.
    Timeout,
    /// The TLS handshake failed.
    Tls,
    /// The answer was not HTTP.
    Protocol,
    /// The answer was larger than gate reads.
    TooLarge,
    /// The name did not resolve.
    Dns,
    /// No route to the target from here.
    Unreachable,
    /// Gate could not send it: out of sockets, files or places.
    NotSent,
}

/// Whose fault an outcome is. Only the target's faults count against a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The release being judged.
    Target,
    /// Something between gate and the target.
    Network,
    /// AWS: a throttled or failed call.
    Aws,
    /// Whoever wrote the policy or the set-up.
    User,
    /// Gate itself.
    Gate,
}

impl Outcome {
    /// Every outcome, in the order reports list them.
    pub const ALL: [Self; 13] = [
        Self::Ok,
        Self::Status,
        Self::Expectation,
        Self::Refused,
        Self::Reset,
        Self::ConnectTimeout,
        Self::Timeout,
        Self::Tls,
        Self::Protocol,
        Self::TooLarge,
        Self::Dns,
        Self::Unreachable,
        Self::NotSent,
    ];

    /// The name used in policies, metrics, records and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Status => "status",
            Self::Expectation => "expectation",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::ConnectTimeout => "connect-timeout",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::TooLarge => "too-large",
            Self::Dns => "dns",
            Self::Unreachable => "unreachable",
            Self::NotSent => "not-sent",
        }
    }

    /// Whose fault it is; `None` for an answer as expected.
    pub const fn blame(self) -> Option<Blame> {
        match self {
            Self::Ok => None,
            Self::Status
            | Self::Expectation
            | Self::Refused
            | Self::Reset
            | Self::ConnectTimeout
            | Self::Timeout
            | Self::Tls
            | Self::Protocol
            | Self::TooLarge => Some(Blame::Target),
            Self::Dns | Self::Unreachable => Some(Blame::Network),
            Self::NotSent => Some(Blame::Gate),
        }
    }

    /// Whether the target gave a complete answer, so that its latency is a measurement.
    pub const fn answered(self) -> bool {
        matches!(self, Self::Ok | Self::Status | Self::Expectation)
    }

    /// Whether no connection came about: set aside where blue fails alike in the same tick.
    pub const fn failed_to_connect(self) -> bool {
        matches!(self, Self::Refused | Self::Reset | Self::ConnectTimeout)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// One probe, with its three times kept apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// From the due time to the send: gate's own lateness.
    pub held: Duration,
    /// From the due time to the last byte of the answer, or to the failure.
    pub latency: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// The HTTP status, where there was one.
    pub status: Option<u16>,
}

impl Sample {
    /// Whether gate sent it too late for its latency to say anything about the target.
    pub fn late(&self) -> bool {
        self.held > LATE_AFTER
    }
}
