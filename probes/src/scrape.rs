//! The service's own metrics: what each target's `GET /metrics` says, as events since it was last asked.
//!
//! Without sockets: somebody else asks, once a second, and hands over what came. Of each answer only the series that a
//! policy's objectives select are kept, as the numbers of the last good scrape.
//!
//! - The first scrape of a target says where its counters are, and no events.
//! - A counter that went down began again, and counts from zero; one bucket begins its whole histogram again.
//! - A series that was not in the last good scrape and is in this one has counted from zero in between. Prometheus's
//!   own `increase` misses those events. Here they matter: most services write a counter of errors only once there is an
//!   error, so that the first errors of a bad release would go unseen.
//! - An answer that cannot be read changes nothing: the next one is compared with the last that could, so that
//!   events between are found late, not lost.
//! - No series of all events, no reading. No series of bad events is no bad event, which a misspelt name is too:
//!   [`Notes::bad_series`] says how many there are.

mod exposition;
mod line;
mod merge;
mod rounds;
mod scraper;
mod sidecars;
mod told;
mod totals;
mod tracked;
mod wanted;

use std::collections::BTreeMap;
use std::sync::Arc;

use policies::Reading;
use policies::reading::Seen;

pub use exposition::{ACCEPT, BODY_BYTES_MAX, SAMPLES_MAX, ScrapeError};
pub use merge::merge;
pub use scraper::Scraper;
pub use sidecars::Sidecars;
use tracked::{Gathered, Tracked};
pub use wanted::Wanted;

/// Series of one target that all objectives together may follow; a histogram's buckets are one series. A service
/// with 50 routes, 5 methods and 4 statuses has 1,000.
pub const SERIES_MAX: usize = 1000;
/// Bytes of the labels of one series, so that 1,000 of them stay below 2 MiB.
pub const LABEL_BYTES_MAX: usize = 2048;

/// What an objective's series look like, and what was not as it should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Series of bad events in the newest scrape.
    pub bad_series: u64,
    /// Series of all events in it, or histograms.
    pub all_series: u64,
    /// Series that began again.
    pub resets: u64,
    /// Times that more events were bad than there were, or a bucket held less than a smaller one.
    pub clamped: u64,
    /// Samples left out because too many series are followed already, or their labels are too long.
    pub left_out: u64,
    /// Samples that were in one answer twice; the first one counts.
    pub duplicates: u64,
    /// Numbers that no counter has: scrapes with one do not count.
    pub unsound: u64,
    /// Scrapes that do not count because a metric is declared as one that goes down too.
    pub gauges: u64,
}

impl Notes {
    /// Together with those of another target.
    fn add(&mut self, other: Self) {
        self.bad_series += other.bad_series;
        self.all_series += other.all_series;
        self.resets += other.resets;
        self.clamped += other.clamped;
        self.left_out += other.left_out;
        self.duplicates += other.duplicates;
        self.unsound += other.unsound;
        self.gauges += other.gauges;
    }
}

/// What is kept of one target from scrape to scrape.
#[derive(Debug)]
pub struct Scrape {
    wanted: Arc<Wanted>,
    tracked: Vec<(Tracked, Notes)>,
}

impl Scrape {
    /// A target that was not asked yet.
    pub fn new(wanted: Arc<Wanted>) -> Self {
        let tracked = wanted.objectives.iter().map(|_| Default::default()).collect();
        Self { wanted, tracked }
    }

    /// Reads one whole answer: what was counted since the last one, by the objective it is for.
    ///
    /// Up to 4 MiB are read and some of it parsed, which can take a tenth of a second: not for a thread that probes.
    ///
    /// # Errors
    /// An answer that cannot be read, or is beyond a limit. It is as if it had not been there.
    pub fn digest(
        &mut self,
        body: &[u8],
        content_type: Option<&str>,
    ) -> Result<Vec<(String, Seen)>, ScrapeError> {
        let Self { wanted, tracked } = self;
        let taken: usize = tracked.iter().map(|(tracked, _)| tracked.len()).sum();
        let mut free = SERIES_MAX.saturating_sub(taken);
        let mut gathered: Vec<Gathered> = tracked.iter().map(|_| Gathered::default()).collect();
        let gauges = exposition::read(
            body,
            content_type,
            |name| wanted.has(name),
            |sample| {
                let objectives = wanted.objectives.iter().zip(tracked.iter());
                for ((need, (tracked, _)), gathered) in objectives.zip(&mut gathered) {
                    tracked.gather(need, sample, gathered, &mut free);
                }
            },
        )?;
        let objectives = wanted.objectives.iter().zip(tracked);
        let is_crowded = gathered.iter().any(|gathered| gathered.crowded);
        let seen = objectives.zip(gathered).filter_map(|((need, (tracked, notes)), gathered)| {
            let seen = tracked.advance(need, gathered, &gauges, is_crowded, notes)?;
            Some((need.objective.clone(), seen))
        });
        Ok(seen.collect())
    }

    /// How each objective's series look.
    pub fn notes(&self) -> impl Iterator<Item = (&str, Notes)> {
        let objectives = self.wanted.objectives.iter().zip(&self.tracked);
        objectives.map(|(need, (_, notes))| (need.objective.as_str(), *notes))
    }
}

/// All targets of an arm.
#[derive(Debug)]
pub struct Scrapes {
    wanted: Arc<Wanted>,
    targets: BTreeMap<String, Scrape>,
    /// What was seen since it was last read, by objective.
    seen: BTreeMap<String, Seen>,
}

impl Scrapes {
    /// An arm whose targets were not asked yet.
    pub fn new(wanted: Wanted) -> Self {
        let wanted = Arc::new(wanted);
        Self { wanted, targets: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// Reads one whole answer of one target.
    ///
    /// # Errors
    /// An answer that cannot be read, or is beyond a limit. It is as if it had not been there.
    pub fn digest(
        &mut self,
        target: &str,
        body: &[u8],
        content_type: Option<&str>,
    ) -> Result<(), ScrapeError> {
        if !self.targets.contains_key(target) {
            self.targets.insert(target.to_owned(), Scrape::new(Arc::clone(&self.wanted)));
        }
        let Some(scrape) = self.targets.get_mut(target) else { return Ok(()) };
        for (objective, seen) in scrape.digest(body, content_type)? {
            let sum = merge(self.seen.remove(&objective).into_iter().chain([seen]));
            self.seen.extend(sum.map(|sum| (objective, sum)));
        }
        Ok(())
    }

    /// Forgets targets that are there no more. Who comes back begins afresh.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.targets.retain(|target, _| is_there(target));
    }

    /// What all targets together counted since this was last called: one reading for each objective of which any target
    /// had one.
    pub fn readings(&mut self, began_millis: i64) -> Vec<Reading> {
        let seen = std::mem::take(&mut self.seen).into_iter();
        seen.map(|(objective, seen)| Reading { objective, began_millis, seen }).collect()
    }

    /// How each objective's series look, over all targets.
    pub fn notes(&self) -> BTreeMap<&str, Notes> {
        let mut sum: BTreeMap<&str, Notes> = BTreeMap::new();
        for (objective, notes) in self.targets.values().flat_map(Scrape::notes) {
            sum.entry(objective).or_default().add(notes);
        }
        sum
    }
}

#[cfg(test)]
mod tests;
