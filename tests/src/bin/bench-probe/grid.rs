//! How far arrivals are from the grid of a constant rate.

use crate::figures::quantile;

/// The earliest arrivals that nothing delayed: their lateness is the zero of the others.
const EARLIEST: f64 = 0.001;
/// A gap below this share of the period is a bunch.
const BUNCHED: f64 = 0.1;

/// Distances in seconds.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    pub late_p50: f64,
    pub late_p99: f64,
    /// Distance from the median lateness: constant delays are no jitter.
    pub jitter_p50: f64,
    pub jitter_p99: f64,
    /// Share of gaps.
    pub bunched: f64,
}

impl Schedule {
    /// Of ascending arrivals in nanoseconds, without those of the first `warm_up` seconds, in which
    /// connections are made.
    pub fn of(arrivals: &[u64], rate: u32, warm_up: f64) -> Option<Self> {
        let first = *arrivals.first()?;
        let period = 1.0 / f64::from(rate);
        let seconds = |arrival: u64| (arrival - first) as f64 / 1e9;
        let left_out = arrivals.partition_point(|&arrival| seconds(arrival) < warm_up);
        let kept = arrivals.get(left_out..)?;
        let due = (left_out..).map(|place| place as f64 * period);
        let mut late: Vec<f64> =
            kept.iter().zip(due).map(|(&arrival, due)| seconds(arrival) - due).collect();
        late.sort_by(f64::total_cmp);
        let base = quantile(&late, EARLIEST)?;
        let median = quantile(&late, 0.5)?;
        let mut jitter: Vec<f64> = late.iter().map(|late| (late - median).abs()).collect();
        jitter.sort_by(f64::total_cmp);
        let gaps = kept.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9);
        let bunched = gaps.filter(|gap| *gap < BUNCHED * period).count();
        Some(Self {
            late_p50: median - base,
            late_p99: quantile(&late, 0.99)? - base,
            jitter_p50: quantile(&jitter, 0.5)?,
            jitter_p99: quantile(&jitter, 0.99)?,
            bunched: bunched as f64 / (kept.len() - 1).max(1) as f64,
        })
    }
}

/// Requests a second between the first and the last arrival.
pub fn achieved(arrivals: &[u64]) -> Option<f64> {
    let seconds = (arrivals.last()? - arrivals.first()?) as f64 / 1e9;
    (seconds > 0.0).then(|| (arrivals.len() - 1) as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;

    fn schedule(arrivals: impl Iterator<Item = u64>) -> Schedule {
        let arrivals: Vec<u64> = arrivals.map(|arrival| 1_700_000_000_000 * MS + arrival).collect();
        Schedule::of(&arrivals, 1000, 0.5).unwrap()
    }

    fn near(found: f64, expected: f64) -> bool {
        (found - expected).abs() < 1e-9
    }

    #[test]
    fn a_grid_is_on_time() {
        let found = schedule((0..10_000).map(|place| place * MS));
        assert!(near(found.late_p99, 0.0) && near(found.jitter_p99, 0.0), "{found:?}");
        assert!(near(found.bunched, 0.0), "{found:?}");
    }

    #[test]
    fn a_delay_of_all_is_neither_late_nor_jitter() {
        // The first arrival alone is early: it is in the first half second.
        let found =
            schedule((0..10_000).map(|place| place * MS + if place == 0 { 0 } else { MS / 2 }));
        assert!(near(found.late_p99, 0.0) && near(found.jitter_p99, 0.0), "{found:?}");
    }

    #[test]
    fn every_fourth_late_is_lateness_and_jitter() {
        let late = |place: u64| if place % 4 == 3 { MS / 4 } else { 0 };
        let found = schedule((0..10_000).map(|place| place * MS + late(place)));
        assert!(near(found.late_p50, 0.0) && near(found.late_p99, 0.000_25), "{found:?}");
        assert!(near(found.jitter_p50, 0.0) && near(found.jitter_p99, 0.000_25), "{found:?}");
    }

    #[test]
    fn pairs_are_bunched() {
        let found = schedule((0..10_000).map(|place| place / 2 * 2 * MS + place % 2 * 1000));
        assert!((found.bunched - 0.5).abs() < 0.001, "{found:?}");
        // The second of a pair is early by a period.
        assert!((found.late_p99 - 0.000_999).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_slow_sender_gets_later_and_later() {
        let arrivals: Vec<u64> = (0..9000).map(|place| place * MS * 10 / 9).collect();
        let found = Schedule::of(&arrivals, 1000, 0.5).unwrap();
        assert!(found.late_p99 > 0.9, "{found:?}");
        assert!((achieved(&arrivals).unwrap() - 900.0).abs() < 0.1);
    }

    #[test]
    fn nothing_is_said_of_too_few_arrivals() {
        assert!(Schedule::of(&[], 1000, 0.5).is_none());
        assert!(Schedule::of(&[5, 6], 1000, 0.5).is_none());
        assert_eq!(achieved(&[5]), None);
    }
}
