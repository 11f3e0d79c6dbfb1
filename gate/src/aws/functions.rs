//! Lambda in our words.

use std::time::Duration;

use super::Reply;

/// The calls gate makes of Lambda.
pub(crate) trait Functions {
    /// The versions behind an alias.
    fn alias<'a>(&'a self, function: &'a str, alias: &'a str) -> Reply<'a, AliasFacts>;
    /// How a function, a version or an alias of it is set up.
    fn function<'a>(&'a self, name: &'a str) -> Reply<'a, FunctionFacts>;
    /// Asks Lambda whether it would let this be invoked, without running it.
    fn may_invoke<'a>(&'a self, qualified: &'a str) -> Reply<'a, ()>;
    /// Invokes a version (`name:42`) once, without a retry. Whoever asks gives up after so long; the call ends
    /// soon after that by itself. Of a larger answer than a
    /// probe may have, no more is read than shows that.
    ///
    /// A throttled invocation says why in its message.
    fn invoke<'a>(
        &'a self,
        qualified: &'a str,
        payload: Vec<u8>,
        within: Duration,
    ) -> Reply<'a, Invocation>;
}

/// The versions behind an alias.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct AliasFacts {
    /// The version that has what no other has: blue, until the shift is complete.
    pub(crate) version: String,
    /// Further versions and their share of the traffic, 0 to 1.
    pub(crate) weights: Vec<(String, f64)>,
}

/// How a function is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FunctionFacts {
    pub(crate) arn: String,
    pub(crate) role: Option<String>,
    pub(crate) timeout_seconds: u64,
    /// `Text` or `JSON`.
    pub(crate) log_format: Option<String>,
    pub(crate) environment: Vec<String>,
}

/// What came of an invocation. Throttling is an error of the call, not an invocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// What the function returned, or its error.
    pub(crate) payload: Vec<u8>,
    /// `Unhandled`, ... where the function failed.
    pub(crate) function_error: Option<String>,
    /// The version that ran.
    pub(crate) executed_version: Option<String>,
    /// The last 4 KB of its log.
    pub(crate) log_tail: Option<String>,
    /// What its log calls it.
    pub(crate) request_id: Option<String>,
}

/// The code of an invocation whose answer is larger than gate reads.
pub(crate) const ANSWER_TOO_LARGE: &str = "AnswerTooLarge";
