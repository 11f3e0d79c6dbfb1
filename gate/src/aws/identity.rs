//! Who gate is, and whether its clock is right.

use super::Reply;
use crate::clock::unix_millis;

/// What gate finds out about itself.
pub(crate) trait Identity {
    /// Whose credentials calls are signed with.
    fn caller(&self) -> Reply<'_, Caller>;
    /// The region that is talked to, where one is configured.
    fn region(&self) -> Option<String>;
    /// Seconds that AWS's clock is ahead of this machine's, by the `Date` of its newest answer; negative where it
    /// is behind. `None` before the first answer. The SDK corrects its signatures by itself and says nothing.
    fn clock_ahead_seconds(&self) -> Option<i64>;
    /// Milliseconds since 1970 by AWS's clock, to the second or so; by the machine's before the first answer.
    fn unix_millis(&self) -> u64 {
        let ahead = self.clock_ahead_seconds().unwrap_or(0).saturating_mul(1000);
        unix_millis().saturating_add_signed(ahead)
    }
}

/// Whose credentials calls are signed with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller {
    pub(crate) account: String,
    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`, or a user's.
    pub(crate) arn: String,
}

impl Caller {
    /// Name of the role, where it is one.
    pub(crate) fn role(&self) -> Option<&str> {
        let (_, path) = self.arn.split_once(":assumed-role/")?;
        path.split('/').next().filter(|name| !name.is_empty())
    }
}
