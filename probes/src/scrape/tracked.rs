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

/// A series of one scrape, and whether its events are bad ones, of all, or both.
struct Series {
    bad: bool,
    all: bool,
    totals: Totals,
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
        (numbers.bad, numbers.all) = match role {
            Role::Counter { bad, all } => (bad, all),
            Role::Bucket(_) | Role::Count => (false, true),
        };
        let slot = match role {
            Role::Counter { .. } | Role::Count => &mut numbers.count,
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
    /// or where no series of all events is there. `is_crowded` says that series of this target, of whatever objective,
    /// found no place.
    pub(super) fn advance(
        &mut self,
        need: &Need,
        gathered: Gathered,
        gauges: &BTreeSet<String>,
        is_crowded: bool,
        notes: &mut Notes,
    ) -> Option<Seen> {
        self.crowded |= gathered.crowded;
        let now = gathered.settle(need, gauges, notes)?;
        if is_crowded {
            let before = self.series.len();
            self.series.retain(|key, _| now.contains_key(key));
            self.crowded |= self.series.len() < before;
        }
        let from_zero = self.begun && !self.crowded;
        self.begun = true;
        let (mut counted, mut of_all, mut began_again) = (Vec::new(), false, false);
        for (key, series) in &now {
            let totals = &series.totals;
            let delta = match self.series.insert(key.clone(), totals.clone()) {
                Some(earlier) => totals.since(&earlier),
                None if from_zero => totals.since_nothing(),
                None => continue,
            };
            began_again |= delta.reset;
            notes.resets += u64::from(delta.reset);
            notes.clamped += u64::from(delta.clamped);
            of_all |= series.all;
            counted.push(need.counted.seen(series, delta.counted));
        }
        // What a process has not counted since it began again is gone, and will count from zero.
        if began_again {
            self.series.retain(|key, _| now.contains_key(key));
        }
        let mut seen = merge(counted).filter(|_| of_all);
        if let Some(Seen::Counts { bad, all }) = &mut seen {
            notes.clamped += u64::from(*bad > *all);
            *bad = bad.min(*all);
        }
        seen
    }
}

impl Needed {
    /// What one series counted, as a reading has it.
    fn seen(&self, series: &Series, counted: Totals) -> Seen {
        let Totals { cumulative, all: events } = counted;
        let events_if = |is_of: bool| if is_of { events } else { 0.0 };
        match self {
            Self::Histogram(_) => Seen::Buckets { cumulative, all: events },
            Self::Counters { .. } => {
                Seen::Counts { bad: events_if(series.bad), all: events_if(series.all) }
            }
        }
    }
}

impl Gathered {
    /// The series of this scrape; `None` where it is as good as none for this objective, because of a number that no
    /// counter has. The next one is compared with the last that was sound, and nothing is lost.
    fn settle(
        mut self,
        need: &Need,
        gauges: &BTreeSet<String>,
        notes: &mut Notes,
    ) -> Option<BTreeMap<Key, Series>> {
        let mut now = BTreeMap::new();
        (notes.bad_series, notes.all_series) = (0, 0);
        for (key, numbers) in self.series {
            let (bad, all) = (numbers.bad, numbers.all);
            notes.bad_series += u64::from(bad);
            notes.all_series += u64::from(all);
            match numbers.totals(&mut self.duplicates) {
                Some(totals) => drop(now.insert(key, Series { bad, all, totals })),
                None => self.unsound += 1,
            }
        }
        let is_gauge = need.counted.families().iter().any(|name| gauges.contains(*name));
        notes.left_out += self.left_out;
        notes.duplicates += self.duplicates;
        notes.unsound += self.unsound;
        notes.gauges += u64::from(is_gauge);
        (!is_gauge && self.unsound == 0).then_some(now)
    }
}

impl Numbers {
    /// What the lines say together; `None` of a histogram that does not say how many events there were.
    fn totals(mut self, duplicates: &mut u64) -> Option<Totals> {
        self.cumulative.sort_by(|one, other| one.0.total_cmp(&other.0));
        self.cumulative.dedup_by(|one, other| {
            let same = one.0.total_cmp(&other.0).is_eq();
            *duplicates += u64::from(same);
            same
        });
        // The same moment wrote the buckets and `+Inf`; the count may be of another.
        Some(Totals { cumulative: self.cumulative, all: self.infinite.or(self.count)? })
    }
}
