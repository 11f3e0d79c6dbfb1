//! What time it is: for records, signatures, and to carry a deadline over a restart; never for a deadline itself.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// A clock that may step at any time, as machines' clocks do.
pub(crate) trait Clock: Send + Sync + fmt::Debug {
    /// Milliseconds since 1970.
    fn unix_millis(&self) -> u64;
    /// Time since the machine started, which no step of its clock changes; `None` where it is not told.
    fn since_boot(&self) -> Option<SinceBoot>;
}

/// A moment by the machine's uptime: of two on the same boot the time between is known, whatever clocks do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SinceBoot {
    /// Which boot of which machine.
    pub(crate) boot: String,
    /// Milliseconds since then, time asleep included.
    pub(crate) millis: u64,
}

impl SinceBoot {
    /// Time from an earlier moment to this one, where both are of the same boot.
    pub(crate) fn since(&self, earlier: &Self) -> Option<Duration> {
        (self.boot == earlier.boot)
            .then(|| Duration::from_millis(self.millis.saturating_sub(earlier.millis)))
    }
}

/// The machine's own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MachineClock;

impl Clock for MachineClock {
    fn unix_millis(&self) -> u64 {
        unix_millis()
    }

    //= https://docs.kernel.org/filesystems/proc.html (`uptime`, `sys/kernel/random/boot_id`)
    fn since_boot(&self) -> Option<SinceBoot> {
        let read = |path| std::fs::read_to_string(path).ok();
        let boot = read("/proc/sys/kernel/random/boot_id")?.trim().to_owned();
        let uptime = read("/proc/uptime")?;
        let (seconds, hundredths) = uptime.split_whitespace().next()?.split_once('.')?;
        let (seconds, hundredths) = (seconds.parse::<u64>().ok()?, hundredths.parse::<u64>().ok()?);
        Some(SinceBoot { boot, millis: seconds * 1000 + hundredths * 10 })
    }
}

/// Milliseconds since 1970 by the machine's clock.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uptime_is_told_and_counts_only_within_one_boot() {
        let first = MachineClock.since_boot().unwrap();
        let second = MachineClock.since_boot().unwrap();
        assert!(second.since(&first).unwrap() < Duration::from_secs(60));
        assert_eq!(second.since(&SinceBoot { boot: "another".into(), millis: 0 }), None);
    }
}
