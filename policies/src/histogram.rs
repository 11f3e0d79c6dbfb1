//! Latencies in streaming HDR histograms: 1 µs to 1 h, 3 significant digits.
//!
//! An [`Interval`] is what one target saw in one tick: sparse, small, and in the journal. A
//! [`Histogram`] is what an arm saw so far: dense, constant size, for quantiles.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// The largest latency told apart: one hour, longer than any wait AWS allows for a hook.
pub const LATENCY_MAX_MICROS: u64 = 3_600_000_000;

/// Bits kept of a value: 2^11 = 2048 sub-buckets resolve 3 significant digits, as HdrHistogram does.
const SIGNIFICANT_BITS: u32 = 11;

/// The lower edge of the HDR bucket, at 3 significant digits, that holds this many microseconds.
fn bucket(micros: u64) -> u64 {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(SIGNIFICANT_BITS);
    (micros >> shift) << shift
}

/// The last microsecond of the bucket with this lower edge.
fn upper_edge(edge: u64) -> u64 {
    let shift = (u64::BITS - edge.leading_zeros()).saturating_sub(SIGNIFICANT_BITS);
    edge.saturating_add((1 << shift) - 1)
}

/// Latencies of one target in one tick: HDR buckets that are not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower bucket edge in microseconds → samples.
    buckets: BTreeMap<u64, u32>,
    /// Samples above an hour, kept in the last bucket too.
    #[serde(default, skip_serializing_if = "is_zero")]
    overflow: u32,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl Interval {
    /// Adds one latency. Anything longer than an hour counts as an hour and as overflow.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Adds the same latency several times.
    pub fn record_many(&mut self, latency: Duration, times: u32) {
        if times == 0 {
            return;
        }
        let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        if micros > LATENCY_MAX_MICROS {
            self.overflow = self.overflow.saturating_add(times);
        }
        let slot = self.buckets.entry(bucket(micros.clamp(1, LATENCY_MAX_MICROS))).or_default();
        *slot = slot.saturating_add(times);
    }

    /// Samples recorded.
    pub fn count(&self) -> u64 {
        self.buckets.values().copied().map(u64::from).sum()
    }

    /// Samples in buckets that lie wholly above `threshold`: at the edge a target has the benefit of
    /// the doubt, at most 0.1 % of the threshold.
    pub fn above(&self, threshold: Duration) -> u64 {
        self.above_micros(u64::try_from(threshold.as_micros()).unwrap_or(u64::MAX))
    }

    /// As [`Interval::above`], of a threshold in microseconds.
    pub(crate) fn above_micros(&self, micros: u64) -> u64 {
        self.buckets.range(micros.saturating_add(1)..).map(|(_, &count)| u64::from(count)).sum()
    }

    /// The upper edge, in microseconds, of the bucket below which lie all samples but the `beyond` largest
    /// and its own. `None` where there are not as many.
    pub(crate) fn edge_from_top(&self, beyond: f64) -> Option<u64> {
        let mut above = 0.0;
        for (&edge, &count) in self.buckets.iter().rev() {
            above += f64::from(count);
            if above > beyond {
                return Some(upper_edge(edge));
            }
        }
        None
    }

    /// The latencies in seconds (lower bucket edges) and how often each was seen.
    pub fn seconds(&self) -> impl Iterator<Item = (f64, u32)> + '_ {
        self.buckets
            .iter()
            .map(|(&edge, &count)| (Duration::from_micros(edge).as_secs_f64(), count))
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        for (&edge, &count) in &other.buckets {
            let slot = self.buckets.entry(edge).or_default();
            *slot = slot.saturating_add(count);
        }
        self.overflow = self.overflow.saturating_add(other.overflow);
    }
}

/// Latencies of one arm, or one target, since the judging began.
#[derive(Clone, Debug)]
pub struct Histogram {
    digits: u8,
    /// From the first sample on: most runs that are simulated never look at theirs.
    dense: Option<hdrhistogram::Histogram<u32>>,
}

impl Histogram {
    /// Empty, at 3 significant digits (about 70 KiB): for an arm.
    pub fn of_arm() -> Self {
        Self { digits: 3, dense: None }
    }

    /// Empty, at 2 significant digits (about 10 KiB): for a single target, of which there may be hundreds.
    pub fn of_target() -> Self {
        Self { digits: 2, dense: None }
    }

    /// Adds one tick's latencies.
    pub fn add(&mut self, interval: &Interval) {
        if self.dense.is_none() && !interval.buckets.is_empty() {
            // The library refuses only limits that contradict each other; the tests rule that out.
            let bounds = (1, LATENCY_MAX_MICROS);
            self.dense =
                hdrhistogram::Histogram::new_with_bounds(bounds.0, bounds.1, self.digits).ok();
        }
        let Some(dense) = &mut self.dense else { return };
        for (&edge, &count) in &interval.buckets {
            dense.saturating_record_n(edge, count);
        }
    }

    /// Samples so far.
    pub fn count(&self) -> u64 {
        self.dense.as_ref().map_or(0, hdrhistogram::Histogram::len)
    }

    /// The latency that a share `quantile` of the samples did not exceed (its bucket's upper edge).
    pub fn quantile(&self, quantile: f64) -> Option<Duration> {
        let dense = self.dense.as_ref().filter(|dense| !dense.is_empty())?;
        Some(Duration::from_micros(dense.value_at_quantile(quantile)))
    }

    /// The longest latency seen (its bucket's upper edge).
    pub fn max(&self) -> Option<Duration> {
        let dense = self.dense.as_ref().filter(|dense| !dense.is_empty())?;
        Some(Duration::from_micros(dense.max()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_latency_at_the_threshold_is_not_above_it() {
        let threshold = Duration::from_millis(250);
        for (micros, above) in [(250_000, 0), (250_100, 0), (250_500, 1), (249_999, 0), (1, 0)] {
            let mut interval = Interval::default();
            interval.record(Duration::from_micros(micros));
            assert_eq!(interval.above(threshold), above, "{micros} µs");
        }
    }

    #[test]
    fn longer_than_an_hour_counts_as_an_hour_and_as_overflow() {
        let mut interval = Interval::default();
        interval.record(Duration::from_secs(7200));
        assert_eq!((interval.count(), interval.overflow), (1, 1));
        let mut histogram = Histogram::of_arm();
        histogram.add(&interval);
        assert!(histogram.max().unwrap() <= Duration::from_secs(3604));
    }

    proptest! {
        #[test]
        fn merging_shards_equals_the_whole(latencies in prop::collection::vec(1u64..10_000_000, 0..200)) {
            let mut whole = Interval::default();
            let mut shards = [Interval::default(), Interval::default()];
            for (i, &micros) in latencies.iter().enumerate() {
                whole.record(Duration::from_micros(micros));
                shards[i % 2].record(Duration::from_micros(micros));
            }
            let [mut merged, other] = shards;
            merged.merge(&other);
            prop_assert_eq!(&merged, &whole);
        }

        #[test]
        fn a_bucket_keeps_three_significant_digits(micros in 1u64..LATENCY_MAX_MICROS) {
            let edge = bucket(micros);
            prop_assert!(edge <= micros && (micros - edge) * 1000 <= micros);
        }

        #[test]
        fn the_dense_histogram_puts_every_bucket_where_the_sparse_one_had_it(micros in 1u64..LATENCY_MAX_MICROS) {
            let mut interval = Interval::default();
            interval.record(Duration::from_micros(micros));
            let mut histogram = Histogram::of_arm();
            histogram.add(&interval);
            let seen = u64::try_from(histogram.quantile(1.0).unwrap().as_micros()).unwrap();
            prop_assert!(seen >= bucket(micros) && bucket(seen) == bucket(micros));
        }
    }
}
