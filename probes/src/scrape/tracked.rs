//! One objective at one target: the series it means, and what they counted since the last scrape.

use std::collections::{BTreeMap, BTreeSet};

use policies::reading::Seen;

use super::line::{Labels, Sample};
use super::merge::merge;
use super::totals::{Cumulative, Totals};
use super::wanted::{Need, Needed, Role};
use super::{LABEL_BYTES_MAX, Notes};

/// A counter's own name tells those of `bad` and of `of` apart; a histogram has but one.
type Key = (String, Labels);

/// The largest count that is believed: sums of it stay finite, and nothing counts that far.
const COUNT_MAX: f64 = 1e18;

/// What is kept of one objective from scrape to scrape.
///
/// A series that is gone is kept, in case it comes back where it was, until its place is needed: taken for new it
/// would count everything again.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    series: BTreeMap<Key, Totals>,
    /// A scrape succeeded, so what appears now was not there then.
    begun: bool,
    /// Some series found no place, so what appears now may have been there.
    crowded: bool,
}

/// What one scrape holds for one objective.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    series: BTreeMap<Key, Numbers>,
    /// Some series found no place.
    pub(super) crowded: bool,
    left_out: u64,
    duplicates: u64,
    unsound: u64,
}

/// The lines of one series.
#[derive(Debug, Default)]
struct Numbers {
    bad: bool,
    all: bool,
    cumulative: Cumulative,
    infinite: Option<f64>,
    count: Option<f64>,
}

impl Tracked {
    /// Series that take a place.
    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    /// Takes a sample in, where it is one of this objective's; `free` places are left for series never seen.
    pub(super) fn gather(
        &self,
        need: &Need,
        sample: &Sample,
        gathered: &mut Gathered,
        free: &mut usize,
    ) {
        let Some(role) = need.counted.role(sample) else { return };
        if sample.labels.bytes() > LABEL_BYTES_MAX {
            gathered.left_out += 1;
            return;
        }
        let key = match role {
            Role::Counter { .. } => (sample.name.clone(), sample.labels.clone()),
            Role::Bucket(_) | Role::Count => (String::new(), sample.labels.without("le")),
        };
        if !gathered.series.contains_key(&key) && !self.series.contains_key(&key) {
            let Some(less) = free.checked_sub(1) else {
                gathered.crowded = true;
                gathered.left_out += 1;
                return;
            };
            *free = less;
        }
        if !(0.0..=COUNT_MAX).contains(&sample.value) {
            gathered.unsound += 1;
        }
        let numbers = gathered.series.entry(key).or_default();
        let slot = match role {
            Role::Counter { bad, all } => {
                (numbers.bad, numbers.all) = (bad, all);
                &mut numbers.count
            }
            Role::Count => &mut numbers.count,
            Role::Bucket(f64::INFINITY) => &mut numbers.infinite,
            Role::Bucket(bound) => {
                gathered.unsound += u64::from(bound.is_nan());
                numbers.cumulative.push((bound, sample.value));
                return;
            }
        };
        gathered.duplicates += u64::from(slot.is_some());
        slot.get_or_insert(sample.value);
    }

    /// Goes on to a scrape that was read whole, and says what was counted since the last one: nothing after the first,
    /// or where no series of all events is there.
    ///
    /// `is_crowded` says that series of this target, of whatever objective, found no place.
    ///
    /// A scrape with a number that no counter has is as good as none for this objective: the next one is compared with
    /// the last that was sound, and nothing is lost.
    pub(super) fn advance(
        &mut self,
        need: &Need,
        mut gathered: Gathered,
        gauges: &BTreeSet<String>,
        is_crowded: bool,
        notes: &mut Notes,
    ) -> Option<Seen> {
        notes.left_out += gathered.left_out;
        let mut now = BTreeMap::new();
        let (mut bad_series, mut all_series) = (0, 0);
        for (key, numbers) in std::mem::take(&mut gathered.series) {
            let of = (numbers.bad, numbers.all);
            bad_series += u64::from(numbers.bad);
            all_series += u64::from(numbers.all || matches!(need.counted, Needed::Histogram(_)));
            match numbers.totals(&mut gathered.duplicates) {
                Some(totals) => drop(now.insert(key, (of, totals))),
                None => gathered.unsound += 1,
            }
        }
        (notes.bad_series, notes.all_series) = (bad_series, all_series);
        notes.duplicates += gathered.duplicates;
        notes.unsound += gathered.unsound;
        let is_gauge = need.counted.families().iter().any(|name| gauges.contains(*name));
        notes.gauges += u64::from(is_gauge);
        if is_gauge || gathered.unsound > 0 {
            return None;
        }

        self.crowded |= gathered.crowded;
        if is_crowded {
            let before = self.series.len();
            self.series.retain(|key, _| now.contains_key(key));
            self.crowded |= self.series.len() < before;
        }
        let from_zero = self.begun && !self.crowded;
        self.begun = true;
        let resets_before = notes.resets;
        let (mut counts, mut histograms) = ((0.0, None), Vec::new());
        for (key, ((bad, all), totals)) in &now {
            let earlier = self.series.insert(key.clone(), totals.clone());
            let delta = match earlier {
                Some(earlier) => totals.since(&earlier),
                None if from_zero => totals.since_nothing(),
                None => continue,
            };
            notes.resets += u64::from(delta.reset);
            notes.clamped += u64::from(delta.clamped);
            let Totals { cumulative, all: events } = delta.counted;
            match need.counted {
                Needed::Histogram(_) => histograms.push(Seen::Buckets { cumulative, all: events }),
                Needed::Counters { .. } => {
                    counts.0 += if *bad { events } else { 0.0 };
                    counts.1 = if *all { Some(counts.1.unwrap_or(0.0) + events) } else { counts.1 };
                }
            }
        }
        // A process that began again writes what it had counted before only once it counts it again: from zero.
        if notes.resets > resets_before {
            self.series.retain(|key, _| now.contains_key(key));
        }
        match (&need.counted, counts) {
            (Needed::Histogram(_), _) => merge(histograms),
            (Needed::Counters { .. }, (bad, Some(all))) => {
                notes.clamped += u64::from(bad > all);
                Some(Seen::Counts { bad: bad.min(all), all })
            }
            (Needed::Counters { .. }, (_, None)) => None,
        }
    }
}

impl Numbers {
    /// What the lines say together; `None` of a histogram that does not say how many events there were.
    fn totals(mut self, duplicates: &mut u64) -> Option<Totals> {
        self.cumulative.sort_by(|one, other| one.0.total_cmp(&other.0));
        let lines = self.cumulative.len();
        self.cumulative.dedup_by(|one, other| one.0.total_cmp(&other.0).is_eq());
        *duplicates += u64::try_from(lines - self.cumulative.len()).unwrap_or(u64::MAX);
        // The same moment wrote the buckets and `+Inf`; the count may be of another.
        Some(Totals { cumulative: self.cumulative, all: self.infinite.or(self.count)? })
    }
}
