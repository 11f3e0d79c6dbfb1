//! What to probe, how often, and what to expect: specific enough that nothing is left to decide.

use std::time::Duration;

use crate::deployment::Target;

/// The largest answer read of a probe; a health endpoint is far smaller.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// A range of HTTP statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// Lowest status.
    pub from: u16,
    /// Highest status.
    pub to: u16,
}

/// A header's value, or where to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Written in the policy.
    Literal(String),
    /// A reference such as `env:PROBE_TOKEN` or `file:/run/secrets/token`: resolved late, never recorded.
    Secret(String),
}

/// The request every probe makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query, starting with `/`.
    pub path: String,
    /// Overrides the Host header and the TLS server name.
    pub host: Option<String>,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, HeaderValue)>,
    /// Statuses that are good.
    pub expect: Vec<StatusRange>,
}

impl Request {
    /// Whether an answer with this status is good.
    pub fn expects(&self, status: u16) -> bool {
        self.expect.iter().any(|range| (range.from..=range.to).contains(&status))
    }
}

/// A running order for the prober.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Shifts the schedule inside a period, so that many gates do not probe in step.
    pub seed: u64,
    /// Probes per second for each arm, open loop, spread over its targets.
    pub rate_per_second: f64,
    /// A probe without an answer this long after its due time has failed.
    pub timeout: Duration,
    /// Length of a tick.
    pub tick: Duration,
    /// Index of the first tick, above 0 after a restart.
    pub first_tick: u64,
    /// What to send and expect.
    pub request: Request,
    /// Candidate targets.
    pub green: Vec<Target>,
    /// Baseline targets, probed in pairs with green.
    pub blue: Vec<Target>,
}
