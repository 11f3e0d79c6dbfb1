//! What time it is: for records, signatures, and to carry a deadline over a restart; never for a deadline itself.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A clock that may step at any time, as machines' clocks do.
pub(crate) trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970.
    fn unix_millis(&self) -> u64;
}

/// The machine's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineClock;

impl Clock for MachineClock {
    fn unix_millis(&self) -> u64 {
        unix_millis()
    }
}

/// Milliseconds since 1970 by the machine's clock.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
