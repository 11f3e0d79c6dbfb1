//! Trouble with a source of readings: said once, counted, and waited out for longer each time.

use std::time::Duration;

use tracing::{info, warn};

use crate::aws::{AwsError, Failure};

/// The first wait after a call that failed. No randomness: runs began at different times anyway.
pub(super) const RETRY_FIRST: Duration = Duration::from_secs(15);
/// The longest.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(120);

/// The trouble of one source, as far as it was told.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    failures: u32,
    told: Option<String>,
}

impl Trouble {
    /// A call failed. The wait before the next one.
    pub(super) fn failed(&mut self, what: &str, story: String) -> Duration {
        self.failures = self.failures.saturating_add(1);
        self.say(what, story);
        wait(self.failures)
    }

    /// Says why there is nothing to read, once.
    pub(super) fn say(&mut self, what: &str, story: String) {
        if self.told.as_ref() != Some(&story) {
            warn!(reason = story, what, "a signal cannot be read");
            self.told = Some(story);
        }
    }

    /// A call went well.
    pub(super) fn over(&mut self, what: &str) {
        self.failures = 0;
        if self.told.take().is_some() {
            info!(what, "a signal can be read again");
        }
    }
}

/// 15 s, 30 s, 60 s, and 120 s from then on.
pub(super) fn wait(failures: u32) -> Duration {
    RETRY_FIRST.saturating_mul(1 << failures.saturating_sub(1).min(4)).min(RETRY_MAX)
}

/// Why a call failed, as a label of a metric.
pub(super) const fn reason(error: &AwsError) -> &'static str {
    match error.failure {
        Failure::Denied => "denied",
        Failure::Passing => "unavailable",
        Failure::Missing | Failure::Completed | Failure::Invalid => "invalid",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_are_bounded() {
        let waits = [1, 2, 3, 4, 5, u32::MAX].map(|failures| wait(failures).as_secs());
        assert_eq!(waits, [15, 30, 60, 120, 120, 120]);
    }
}
