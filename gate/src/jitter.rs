//! Waits that are not all the same: what failed together should not come again together.
//!
//! Waits of the shell alone. The core knows nothing of it: facts carry the moments at which they came to be.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A wait is shorter or longer by up to so much, in thousandths.
const SPREAD_PERMILLE: u32 = 200;

/// A generator whose quality matters to nobody, other in each process.
#[derive(Debug)]
pub(crate) struct Jitter(AtomicU64);

impl Default for Jitter {
    fn default() -> Self {
        // The standard library's own seed for its maps: the only entropy it hands out.
        Self::seeded(RandomState::new().build_hasher().finish())
    }
}

impl Jitter {
    const fn seeded(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// About as long.
    pub(crate) fn spread(&self, wait: Duration) -> Duration {
        let range = u64::from(2 * SPREAD_PERMILLE + 1);
        let more = u32::try_from(self.next() % range).unwrap_or(SPREAD_PERMILLE);
        wait * (1000 - SPREAD_PERMILLE + more) / 1000
    }

    /// `SplitMix64`, by Steele, Lea and Flood.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut mixed = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn waits_are_spread_by_a_fifth_either_way_and_not_further() {
        let jitter = Jitter::seeded(1);
        let waits: Vec<Duration> =
            (0..10_000).map(|_| jitter.spread(Duration::from_secs(1))).collect();
        let (least, most) = (waits.iter().min(), waits.iter().max());
        assert_eq!(least, Some(&Duration::from_millis(800)));
        assert_eq!(most, Some(&Duration::from_millis(1200)));
        let mean = waits.iter().sum::<Duration>() / 10_000;
        assert!(mean.abs_diff(Duration::from_secs(1)) < Duration::from_millis(10), "{mean:?}");
        assert_eq!(jitter.spread(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn a_hundred_that_failed_together_come_again_at_other_times() {
        let jitter = Jitter::default();
        let waits: BTreeSet<_> = (0..100).map(|_| jitter.spread(Duration::from_secs(8))).collect();
        assert!(waits.len() > 60, "{} different waits", waits.len());
    }
}
