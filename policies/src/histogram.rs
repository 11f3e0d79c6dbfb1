//! Latencies in streaming HDR histograms: 1 µs to 1 h, 3 significant digits.
//!
//! An [`Interval`] is what one target saw in one tick: sparse, small, and in the journal. A
//! [`Histogram`] is what an arm saw so far: dense, constant size, for quantiles.

use std::time::Duration;

mod wire;

pub use wire::WireError;

/// The largest latency told apart: one hour, longer than any wait AWS allows for a hook.
pub const LATENCY_MAX_MICROS: u64 = 3_600_000_000;

/// Bits kept of a value: 2^11 = 2048 sub-buckets resolve 3 significant digits, as HdrHistogram does.
const FINE_BITS: u32 = 11;
/// The same for 2 significant digits: phases and gate's own lateness, which no objective is about.
const COARSE_BITS: u32 = 8;
/// Latencies that wait to be sorted into buckets: 4 KiB.
const PENDING_MAX: usize = 1024;

/// The lower edge of the HDR bucket, at so many significant bits, that holds this many microseconds.
const fn bucket(micros: u32, bits: u32) -> u32 {
    let shift = (u32::BITS - micros.leading_zeros()).saturating_sub(bits);
    (micros >> shift) << shift
}

/// The last microsecond of the bucket with this lower edge, at 3 significant digits.
fn upper_edge(edge: u32) -> u64 {
    let shift = (u32::BITS - edge.leading_zeros()).saturating_sub(FINE_BITS);
    u64::from(edge) + (1 << shift) - 1
}

/// Whole microseconds, from one to an hour.
fn micros(latency: Duration) -> u32 {
    let micros = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
    u32::try_from(micros.clamp(1, LATENCY_MAX_MICROS)).unwrap_or(u32::MAX)
}

/// Latencies of one target in one tick: HDR buckets that are not empty.
///
/// Written as HDR V2 in base64; the form of earlier versions, a map of buckets, is read too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Lower bucket edge in microseconds and samples, in ascending order.
    buckets: Vec<(u32, u32)>,
}

impl Interval {
    /// Nothing recorded yet.
    pub const fn new() -> Self {
        Self { buckets: Vec::new() }
    }

    /// Adds one latency. Anything longer than an hour counts as an hour.
    pub fn record(&mut self, latency: Duration) {
        self.record_many(latency, 1);
    }

    /// Adds the same latency several times.
    pub fn record_many(&mut self, latency: Duration, times: u32) {
        if times > 0 {
            self.add(bucket(micros(latency), FINE_BITS), times);
        }
    }

    fn add(&mut self, edge: u32, times: u32) {
        let place = self.buckets.binary_search_by_key(&edge, |&(edge, _)| edge);
        match place.map(|place| self.buckets.get_mut(place)) {
            Ok(Some((_, count))) => *count = count.saturating_add(times),
            Ok(None) => {}
            Err(place) => self.buckets.insert(place, (edge, times)),
        }
    }

    /// Adds bucket edges in ascending order.
    fn add_sorted(&mut self, edges: &[u32]) {
        let mut counted = Self::default();
        for same in edges.chunk_by(|a, b| a == b) {
            let times = u32::try_from(same.len()).unwrap_or(u32::MAX);
            counted.buckets.extend(same.first().map(|&edge| (edge, times)));
        }
        self.merge(&counted);
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Samples recorded.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|&(_, count)| u64::from(count)).sum()
    }

    /// Samples in buckets that lie wholly above `threshold`: at the edge a target has the benefit of
    /// the doubt, at most 0.1 % of the threshold.
    pub fn above(&self, threshold: Duration) -> u64 {
        self.above_micros(u64::try_from(threshold.as_micros()).unwrap_or(u64::MAX))
    }

    /// As [`Interval::above`], of a threshold in microseconds.
    pub(crate) fn above_micros(&self, micros: u64) -> u64 {
        let above = self.buckets.iter().rev().take_while(|&&(edge, _)| u64::from(edge) > micros);
        above.map(|&(_, count)| u64::from(count)).sum()
    }

    /// The upper edge, in microseconds, of the bucket below which lie all samples but the `beyond` largest
    /// and its own. `None` where there are not as many.
    pub(crate) fn edge_from_top(&self, beyond: f64) -> Option<u64> {
        let mut above = 0.0;
        for &(edge, count) in self.buckets.iter().rev() {
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
            .map(|&(edge, count)| (Duration::from_micros(edge.into()).as_secs_f64(), count))
    }

    /// Adds all of `other`.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.buckets.clone_from(&other.buckets);
            return;
        }
        if other.buckets.len() <= 2 {
            other.buckets.iter().for_each(|&(edge, count)| self.add(edge, count));
            return;
        }
        let mut merged = Vec::with_capacity(self.buckets.len() + other.buckets.len());
        let (mut mine, mut theirs) =
            (self.buckets.iter().peekable(), other.buckets.iter().peekable());
        loop {
            let next = match (mine.peek(), theirs.peek()) {
                (Some(a), Some(b)) if a.0 == b.0 => {
                    let both = (a.0, a.1.saturating_add(b.1));
                    mine.next();
                    theirs.next();
                    Some(both)
                }
                (Some(a), Some(b)) if a.0 < b.0 => mine.next().copied(),
                (Some(_), Some(_)) | (None, Some(_)) => theirs.next().copied(),
                (Some(_), None) => mine.next().copied(),
                (None, None) => None,
            };
            let Some(next) = next else { break };
            merged.push(next);
        }
        self.buckets = merged;
    }
}

/// Latencies on their way into an [`Interval`]: a push each, sorted into buckets by the thousand.
#[derive(Debug)]
pub struct Recorder {
    bits: u32,
    pending: Vec<u32>,
    interval: Interval,
}

impl Recorder {
    /// At 3 significant digits: what objectives are about.
    pub const fn fine() -> Self {
        Self { bits: FINE_BITS, pending: Vec::new(), interval: Interval::new() }
    }

    /// At 2 significant digits: what is shown beside them.
    pub const fn coarse() -> Self {
        Self { bits: COARSE_BITS, pending: Vec::new(), interval: Interval::new() }
    }

    /// Adds one latency. Anything longer than an hour counts as an hour.
    pub fn record(&mut self, latency: Duration) {
        self.pending.push(bucket(micros(latency), self.bits));
        if self.pending.len() >= PENDING_MAX {
            self.sort();
        }
    }

    fn sort(&mut self) {
        // Faster than comparing: a record is to cost 10 ns, this included.
        radsort::sort(&mut self.pending);
        self.interval.add_sorted(&self.pending);
        self.pending.clear();
    }

    /// What was recorded.
    pub fn close(mut self) -> Interval {
        self.sort();
        self.interval
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
        for &(edge, count) in &interval.buckets {
            dense.saturating_record_n(edge.into(), count);
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
    fn longer_than_an_hour_counts_as_an_hour() {
        let mut interval = Interval::default();
        interval.record(Duration::from_secs(7200));
        assert_eq!(interval.count(), 1);
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
        fn a_recorder_has_what_an_interval_would(latencies in prop::collection::vec(1u64..10_000_000, 0..3000)) {
            let (mut recorder, mut interval) = (Recorder::fine(), Interval::default());
            for &micros in &latencies {
                recorder.record(Duration::from_micros(micros));
                interval.record(Duration::from_micros(micros));
            }
            prop_assert_eq!(recorder.close(), interval);
        }

        #[test]
        fn a_bucket_keeps_its_significant_digits(micros in 1u32..3_600_000_000) {
            let fine = bucket(micros, FINE_BITS);
            prop_assert!(fine <= micros && u64::from(micros - fine) * 1000 <= u64::from(micros));
            let coarse = bucket(micros, COARSE_BITS);
            prop_assert!(coarse <= micros && u64::from(micros - coarse) * 100 <= u64::from(micros));
            // A coarse bucket begins where a fine one does, so that both have one wire form.
            prop_assert_eq!(bucket(coarse, FINE_BITS), coarse);
        }

        #[test]
        fn the_dense_histogram_puts_every_bucket_where_the_sparse_one_had_it(micros in 1u64..LATENCY_MAX_MICROS) {
            let mut interval = Interval::default();
            interval.record(Duration::from_micros(micros));
            let mut histogram = Histogram::of_arm();
            histogram.add(&interval);
            let seen = u32::try_from(histogram.quantile(1.0).unwrap().as_micros()).unwrap();
            let micros = u32::try_from(micros).unwrap();
            prop_assert!(seen >= bucket(micros, FINE_BITS) && bucket(seen, FINE_BITS) == bucket(micros, FINE_BITS));
        }
    }
}
