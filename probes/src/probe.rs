//! What every protocol has in common: one attempt, and what came of it.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use policies::reply::Reply;
use policies::sample::{Invoked, Outcome, Phases};
use policies::{Arm, Target};
use tokio::time::Instant;

use crate::cookies::Jar;
use crate::pool::Pool;

/// Values that stand in for `${name}`.
pub type Values = BTreeMap<String, String>;

/// One way to ask a target something.
pub trait Probe: fmt::Debug + Send + Sync {
    /// Asks once. Always comes back by the deadline of the attempt, and never holds more than its limits.
    fn ask<'a>(&'a self, attempt: Attempt<'a>) -> Pin<Box<dyn Future<Output = Asked> + Send + 'a>>;
}

/// What a probe has to know of one attempt.
#[derive(Clone, Copy, Debug)]
pub struct Attempt<'a> {
    /// Who is asked.
    pub target: &'a Target,
    /// Which arm that is.
    pub arm: Arm,
    /// When it is given up.
    pub deadline: Instant,
    /// What stands in for `${name}`.
    pub values: &'a Values,
    /// Whether a connection may be used that was used before.
    pub may_reuse: bool,
    pub(crate) pool: &'a Pool,
    pub(crate) jar: Option<&'a Jar>,
}

/// What came of one attempt.
#[derive(Debug)]
pub struct Asked {
    /// When it was ready to be sent: what came before, such as signing, was gate's own time.
    pub began: Instant,
    /// Time gate itself took between its requests, such as signing the next after a redirect.
    pub own: Duration,
    /// How long each phase took, as far as it got.
    pub phases: Phases,
    /// Whether it went over a connection used before.
    pub reused: bool,
    /// Whether such a connection was closed under it, and it was sent again.
    pub stale: bool,
    /// Days to the end of the certificate's validity, where there was a handshake.
    pub certificate_days: Option<f64>,
    /// What was reported of the function that was invoked.
    pub invoked: Option<Invoked>,
    /// The answer, or why there was none.
    pub result: Result<Reply, Lost>,
}

/// Why there was no answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Lost {
    /// What it counts as.
    pub outcome: Outcome,
    /// What was seen, where the outcome does not say it all.
    pub saw: Option<String>,
}

impl From<Outcome> for Lost {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, saw: None }
    }
}

impl Asked {
    /// Nothing sent yet.
    pub fn new() -> Self {
        Self {
            began: Instant::now(),
            own: Duration::ZERO,
            phases: Phases::default(),
            reused: false,
            stale: false,
            certificate_days: None,
            invoked: None,
            result: Err(Outcome::NotSent.into()),
        }
    }
}

impl Default for Asked {
    fn default() -> Self {
        Self::new()
    }
}
