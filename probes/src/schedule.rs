//! When probes are due: a pure function of rate, seed and tick.

use std::time::Duration;

/// Due times of one arm, evenly spaced for ever, shifted by the seed inside the first period.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    rate_per_second: f64,
    shift: f64,
    tick: Duration,
}

/// One due probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Counts probes from the start of the schedule: chooses the target.
    pub number: u64,
    /// From the start of the schedule to the due time.
    pub at: Duration,
}

impl Schedule {
    /// A schedule of `rate_per_second` probes, cut into ticks.
    pub fn new(rate_per_second: f64, seed: u64, tick: Duration) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a shift needs no more than 52 bits")]
        let shift = (seed >> 12) as f64 / (1u64 << 52) as f64;
        Self { rate_per_second, shift, tick }
    }

    /// The probes due in tick `index`, in order. Every probe is in exactly one tick.
    pub fn tick(&self, index: u32) -> impl Iterator<Item = Due> + use<> {
        let schedule = *self;
        let (from, to) = (self.tick * index, self.tick * (index + 1));
        // Rounding may put the first candidate a hair before the tick: skip it there, find it here.
        let first = self.first_number_near(from);
        (first..)
            .map(move |number| Due { number, at: schedule.due(number) })
            .skip_while(move |due| due.at < from)
            .take_while(move |due| due.at < to)
    }

    fn due(&self, number: u64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "probe numbers stay far below 2^52")]
        let periods = number as f64 + self.shift;
        Duration::from_secs_f64(periods / self.rate_per_second)
    }

    fn first_number_near(&self, at: Duration) -> u64 {
        let periods = (at.as_secs_f64() * self.rate_per_second - self.shift).floor() - 1.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to be positive, and far below 2^52"
        )]
        let number = periods.max(0.0) as u64;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(rate: f64, seed: u64, tick_ms: u64, ticks: u32) {
        let tick = Duration::from_millis(tick_ms);
        let schedule = Schedule::new(rate, seed, tick);
        let dues: Vec<Due> = (0..ticks).flat_map(|index| schedule.tick(index)).collect();
        let expected = rate * (tick * ticks).as_secs_f64();
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let got = dues.len() as f64;
        assert!((got - expected).abs() <= 1.0, "{rate}/s for {ticks} ticks gave {got}");
        for (number, due) in dues.iter().enumerate() {
            assert_eq!(due.number, number as u64, "every probe once, in order");
        }
        for pair in dues.windows(2) {
            let gap = (pair[1].at - pair[0].at).as_secs_f64();
            assert!((gap * rate - 1.0).abs() < 1e-3, "gap {gap} at {rate}/s");
        }
    }

    #[test]
    fn every_probe_is_due_once_and_evenly_spaced() {
        for seed in [0, 1, u64::MAX / 3, u64::MAX] {
            check(20.0, seed, 2000, 50);
            check(1.0 / 60.0, seed, 2000, 300);
            check(0.3, seed, 2000, 50);
            check(333.0, seed, 500, 20);
            check(20_000.0, seed, 100, 3);
        }
    }

    #[test]
    fn the_seed_shifts_the_schedule_within_one_period() {
        let first =
            |seed| Schedule::new(10.0, seed, Duration::from_secs(2)).tick(0).next().unwrap().at;
        assert_eq!(first(0), Duration::ZERO);
        assert!(first(u64::MAX / 2) > Duration::from_millis(49));
        assert!(first(u64::MAX) <= Duration::from_millis(100));
    }
}
