//! Which periods of a metric may be read: whole ones of green's real traffic, once they are settled.

/// A period is read this long after its end. Load balancers send what they measured every 60 s; how long it
/// takes to show is written nowhere, and was seen to be one to three minutes from the event on.
//= https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
pub(super) const SETTLED_AFTER_SECONDS: i64 = 120;
/// Periods that are caught up on after trouble or a restart: three hours of minutes.
pub(super) const PERIODS_BEHIND_MAX: i64 = 180;

/// The periods of one objective, in seconds since 1970, each read once and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Periods {
    /// Seconds of one.
    pub(super) length: i64,
    /// When the first that was not read began.
    pub(super) next: i64,
}

/// What a period must not begin before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fence {
    /// When the question was accepted, in milliseconds since 1970.
    pub(super) accepted_unix_millis: i64,
    /// When green was first seen with real traffic, in milliseconds from acceptance.
    pub(super) traffic_millis: i64,
    /// When the newest period that was read began, in milliseconds from acceptance.
    pub(super) newest_millis: Option<i64>,
}

impl Periods {
    /// From the first whole period within the fence on.
    pub(super) fn within(length: i64, fence: Fence) -> Self {
        let length = length.max(1);
        let earliest = fence.accepted_unix_millis.saturating_add(fence.traffic_millis.max(0));
        let seconds = earliest.saturating_add(999).div_euclid(1000);
        let first = seconds.saturating_add(length - 1).div_euclid(length) * length;
        let read = fence.newest_millis.map(|newest| {
            fence
                .accepted_unix_millis
                .saturating_add(newest)
                .div_euclid(1000)
                .saturating_add(length)
        });
        Self { length, next: read.map_or(first, |read| read.max(first)) }
    }

    /// When the first unread period is settled.
    pub(super) const fn due_at(self) -> i64 {
        self.next.saturating_add(self.length).saturating_add(SETTLED_AFTER_SECONDS)
    }

    /// The end of the last settled period; equal to `next` where there is none to read.
    pub(super) fn settled_end(self, now_unix_seconds: i64) -> i64 {
        let end = (now_unix_seconds - SETTLED_AFTER_SECONDS).div_euclid(self.length) * self.length;
        end.max(self.next)
    }

    /// Lets go of what is too old to be caught up on. How many periods that were.
    pub(super) fn forget(&mut self, end: i64) -> u64 {
        let oldest = end - PERIODS_BEHIND_MAX * self.length;
        let lost = (oldest - self.next).div_euclid(self.length).max(0);
        self.next = self.next.max(oldest);
        u64::try_from(lost).unwrap_or(0)
    }

    /// The beginnings of the unread periods up to `end`.
    pub(super) fn until(self, end: i64) -> impl Iterator<Item = i64> {
        let count = usize::try_from((end - self.next).div_euclid(self.length)).unwrap_or(0);
        (0..count).scan(self.next, move |next, _| {
            let began = *next;
            *next += self.length;
            Some(began)
        })
    }
}

/// The beginning of a span from which periods of all these lengths begin where CloudWatch lets them: it counts
/// them from the start of a query.
pub(super) fn aligned(from: i64, lengths: impl Iterator<Item = i64>) -> i64 {
    let common = lengths.fold(1, |common: i64, length| {
        let length = length.max(1);
        (common / gcd(common, length)).saturating_mul(length)
    });
    from.div_euclid(common) * common
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Acceptance at 10:00:30.5 of a day whose midnight is a multiple of all lengths.
    const ACCEPTED_MILLIS: i64 = 36_030_500;

    fn clock(seconds: i64) -> String {
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    fn periods(length: i64, traffic_millis: i64, newest_millis: Option<i64>) -> Periods {
        let accepted_unix_millis = ACCEPTED_MILLIS;
        Periods::within(length, Fence { accepted_unix_millis, traffic_millis, newest_millis })
    }

    #[test]
    fn only_whole_periods_after_acceptance_and_after_real_traffic_are_read_and_none_twice() {
        for (length, traffic, newest, first) in [
            (60, 0, None, "10:01:00"),
            // Traffic from before the question says nothing of an earlier period.
            (60, -600_000, None, "10:01:00"),
            (60, 29_500, None, "10:01:00"),
            (60, 29_501, None, "10:02:00"),
            (60, 95_000, None, "10:03:00"),
            (300, 0, None, "10:05:00"),
            (120, 0, None, "10:02:00"),
            // Read up to the period that began at 10:04:00.
            (60, 0, Some(209_500), "10:05:00"),
            // The fence came later than what was read.
            (60, 600_000, Some(29_500), "10:11:00"),
        ] {
            let found = clock(periods(length, traffic, newest).next);
            assert_eq!(found, first, "{length} s, {traffic} ms, {newest:?}");
        }
    }

    #[test]
    fn a_period_is_read_once_it_is_settled_and_the_newest_is_left_out() {
        let mut periods = periods(60, 0, None);
        assert_eq!(clock(periods.due_at()), "10:04:00");
        for (now, read) in [
            (36_060, vec![]),
            (36_239, vec![]),
            (36_240, vec!["10:01:00"]),
            (36_299, vec!["10:01:00"]),
            (36_420, vec!["10:01:00", "10:02:00", "10:03:00", "10:04:00"]),
        ] {
            let found: Vec<String> = periods.until(periods.settled_end(now)).map(clock).collect();
            assert_eq!(found, read, "{}", clock(now));
        }
        periods.next = periods.settled_end(36_240);
        let found: Vec<String> = periods.until(periods.settled_end(36_300)).map(clock).collect();
        assert_eq!(found, ["10:02:00"], "each once");
    }

    #[test]
    fn what_is_too_old_is_let_go_of_and_counted() {
        let mut periods = periods(60, 0, None);
        let end = periods.next + 200 * 60;
        assert_eq!(periods.forget(end), 20);
        assert_eq!(periods.until(end).count(), 180);
        assert_eq!(periods.forget(end), 0);
    }

    #[test]
    fn a_span_begins_where_periods_of_every_length_in_it_begin() {
        for (from, lengths, at) in [
            (36_060, vec![60], "10:01:00"),
            (36_060, vec![60, 300], "10:00:00"),
            (36_720, vec![120, 300], "10:10:00"),
            (36_060, vec![], "10:01:00"),
        ] {
            assert_eq!(clock(aligned(from, lengths.into_iter())), at);
        }
    }
}
