//! What one series has counted since its process began, and what it counted between two scrapes.

/// Bounds and the events at most that long, in ascending order.
pub(super) type Cumulative = Vec<(f64, f64)>;

/// What one series has counted: a counter is a histogram without bounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Totals {
    pub(super) cumulative: Cumulative,
    pub(super) all: f64,
}

/// What was counted between two scrapes.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Delta {
    pub(super) counted: Totals,
    /// The process counts from zero again.
    pub(super) reset: bool,
    /// Buckets that do not add up had to be made to.
    pub(super) clamped: bool,
}

impl Totals {
    /// What was counted since an earlier scrape.
    ///
    /// A number that went down means that the process began again. What it has counted since is all of it, and
    /// what it counted between the last scrape and its end is lost. One bucket that went down is enough: a process that
    /// began again may by now have counted more events than before, but not more of each length. Bounds that are in
    /// only one of the two say nothing of the time between.
    pub(super) fn since(&self, earlier: &Self) -> Delta {
        let mut kept = common(&self.cumulative, &earlier.cumulative);
        let reset = self.all < earlier.all || kept.iter().any(|(_, now, before)| now < before);
        if reset {
            return Delta { reset, ..self.since_nothing() };
        }
        let cumulative = kept.drain(..).map(|(bound, now, before)| (bound, now - before)).collect();
        Self { cumulative, all: self.all - earlier.all }.sound()
    }

    /// What was counted by a series that was not there before.
    pub(super) fn since_nothing(&self) -> Delta {
        self.clone().sound()
    }

    /// A service may count an event between writing two of its buckets: no bucket holds less than a smaller one.
    fn sound(mut self) -> Delta {
        let (mut most, mut clamped) = (0.0_f64, false);
        let counts = self.cumulative.iter_mut().map(|(_, count)| count);
        for count in counts.chain([&mut self.all]) {
            clamped |= *count < most;
            most = most.max(*count);
            *count = most;
        }
        Delta { counted: self, reset: false, clamped }
    }
}

/// Bounds that two histograms have in common, with the counts of both.
pub(super) fn common(one: &Cumulative, other: &Cumulative) -> Vec<(f64, f64, f64)> {
    let mut others = other.iter().peekable();
    let mut both = Vec::with_capacity(one.len());
    for (bound, count) in one {
        while others.next_if(|(other, _)| other.total_cmp(bound).is_lt()).is_some() {}
        if let Some((_, other)) = others.next_if(|(other, _)| other.total_cmp(bound).is_eq()) {
            both.push((*bound, *count, *other));
        }
    }
    both
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(cumulative: &[(f64, f64)], all: f64) -> Totals {
        Totals { cumulative: cumulative.to_vec(), all }
    }

    #[track_caller]
    fn check(before: Totals, now: Totals, counted: Totals, reset: bool, clamped: bool) {
        assert_eq!(now.since(&before), Delta { counted, reset, clamped });
    }

    #[test]
    fn a_counter_counts_up_or_from_zero() {
        check(totals(&[], 5.0), totals(&[], 8.0), totals(&[], 3.0), false, false);
        check(totals(&[], 5.0), totals(&[], 5.0), totals(&[], 0.0), false, false);
        check(totals(&[], 5.0), totals(&[], 2.0), totals(&[], 2.0), true, false);
        check(totals(&[], 5.0), totals(&[], 0.0), totals(&[], 0.0), true, false);
    }

    #[test]
    fn one_bucket_that_went_down_begins_the_whole_histogram_again() {
        let before = || totals(&[(0.1, 5.0), (0.5, 9.0)], 10.0);
        let now = totals(&[(0.1, 7.0), (0.5, 11.0)], 13.0);
        check(before(), now, totals(&[(0.1, 2.0), (0.5, 2.0)], 3.0), false, false);
        let now = totals(&[(0.1, 1.0), (0.5, 11.0)], 12.0);
        check(before(), now.clone(), now, true, false);
        let now = totals(&[(0.1, 5.0), (0.5, 9.0)], 9.0);
        check(before(), now.clone(), now, true, false);
    }

    #[test]
    fn buckets_that_were_not_written_at_the_same_moment_are_made_to_add_up() {
        let before = totals(&[(0.1, 5.0), (0.5, 6.0)], 6.0);
        let now = totals(&[(0.1, 8.0), (0.5, 8.0)], 8.0);
        check(before, now, totals(&[(0.1, 3.0), (0.5, 3.0)], 3.0), false, true);
    }

    #[test]
    fn bounds_of_only_one_scrape_say_nothing() {
        let before = totals(&[(0.1, 5.0), (0.5, 6.0)], 6.0);
        let now = totals(&[(0.25, 5.0), (0.5, 7.0), (1.0, 9.0)], 9.0);
        check(before, now, totals(&[(0.5, 1.0)], 3.0), false, false);
    }
}
