//! Who invoked the relay, and until when it may think.

use tokio::time::Instant;

pub(super) use questions::invoked::{Invoked, read};

/// How and until when the relay was invoked.
#[derive(Debug)]
pub(super) struct Caller {
    /// ARN of the relay: says in which region and account the question is.
    pub(super) function_arn: String,
    /// When Lambda ends the invocation.
    pub(super) ends: Instant,
}
