//! When probes are due: a pure function of rate, seed and tick.

use std::time::Duration;

use policies::plan::Rate;

/// From this rate on probes are due in batches: each wake-up costs about 40 µs of CPU, which at thousands a
/// second is most of what a probe costs (probing.md §2b).
pub const BATCH_FROM_PER_SECOND: f64 = 2000.0;
/// The grid that batches are due on.
pub const BATCH: Duration = Duration::from_millis(1);

/// Due times of one arm, spaced by its rate for ever, shifted by the seed inside the first period.
#[derive(Clone, Debug)]
pub struct Schedule {
    rate: Rate,
    shift: f64,
    tick: Duration,
    batched: bool,
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
    /// A schedule cut into ticks.
    pub fn new(rate: Rate, seed: u64, tick: Duration) -> Self {
        #[allow(clippy::cast_precision_loss, reason = "a shift needs no more than 52 bits")]
        let shift = (seed >> 12) as f64 / (1u64 << 52) as f64;
        let batched = rate.peak_per_second() >= BATCH_FROM_PER_SECOND;
        Self { rate, shift, tick, batched }
    }

    /// The probes due in tick `index`, in order. Every probe is in exactly one tick.
    pub fn tick(&self, index: u64) -> impl Iterator<Item = Due> + use<> {
        let schedule = self.clone();
        let from = self.start_of(index);
        let to = self.start_of(index.saturating_add(1));
        // Rounding may put the first candidate a hair before the tick: skip it there, find it here.
        let first = self.first_number_near(from);
        (first..)
            .map(move |number| Due { number, at: schedule.due(number) })
            .skip_while(move |due| due.at < from)
            .take_while(move |due| due.at < to)
    }

    /// When tick `index` begins, from the start of the schedule.
    pub fn start_of(&self, index: u64) -> Duration {
        let nanos = self.tick.as_nanos().saturating_mul(u128::from(index));
        Duration::from_nanos_u128(nanos)
    }

    /// When a probe is due, from the start of the schedule.
    pub fn due(&self, number: u64) -> Duration {
        #[allow(clippy::cast_precision_loss, reason = "probe numbers stay far below 2^52")]
        let probes = number as f64 + self.shift;
        let at = self.rate.due_after(probes);
        if !self.batched {
            return at;
        }
        // The due time itself is moved to the grid: what waits for its batch was not due before.
        Duration::from_nanos_u128(at.as_nanos() / BATCH.as_nanos() * BATCH.as_nanos())
    }

    fn first_number_near(&self, at: Duration) -> u64 {
        // A batch may hold probes of its whole millisecond: begin that much earlier.
        let at = if self.batched { at.saturating_sub(BATCH) } else { at };
        let probes = (self.rate.probes_before(at) - self.shift).floor() - 1.0;
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to be positive, and far below 2^52"
        )]
        let number = probes.max(0.0) as u64;
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use policies::plan::Segment;

    fn check(rate: &Rate, seed: u64, tick_ms: u64, ticks: u64) {
        let tick = Duration::from_millis(tick_ms);
        let schedule = Schedule::new(rate.clone(), seed, tick);
        let dues: Vec<Due> = (0..ticks).flat_map(|index| schedule.tick(index)).collect();
        let expected = rate.probes_before(schedule.start_of(ticks));
        #[allow(clippy::cast_precision_loss, reason = "a few thousand")]
        let got = dues.len() as f64;
        let batch = rate.peak_per_second() * BATCH.as_secs_f64();
        let slack = if rate.peak_per_second() >= BATCH_FROM_PER_SECOND { batch } else { 0.0 };
        assert!((got - expected).abs() <= 1.0 + slack, "{rate:?} for {ticks} ticks gave {got}");
        for (number, due) in dues.iter().enumerate() {
            assert_eq!(due.number, number as u64, "every probe once, in order");
        }
        for pair in dues.windows(2) {
            assert!(pair[0].at <= pair[1].at);
        }
    }

    #[test]
    fn every_probe_is_due_once_and_in_order() {
        for seed in [0, 1, u64::MAX / 3, u64::MAX] {
            check(&Rate::constant(20.0), seed, 2000, 50);
            check(&Rate::constant(1.0 / 60.0), seed, 2000, 300);
            check(&Rate::constant(0.3), seed, 2000, 50);
            check(&Rate::constant(333.0), seed, 500, 20);
            check(&Rate::constant(20_000.0), seed, 100, 3);
            let segment = |from_per_second, to_per_second, seconds| Segment {
                from_per_second,
                to_per_second,
                lasting: Duration::from_secs(seconds),
            };
            let steps = vec![segment(5.0, 5.0, 3), segment(5.0, 50.0, 7), segment(20.0, 20.0, 1)];
            check(&Rate::shaped(steps).unwrap(), seed, 2000, 20);
        }
    }

    #[test]
    fn at_a_constant_rate_probes_are_evenly_spaced() {
        for rate in [0.3, 20.0, 333.0, 1999.0] {
            let schedule = Schedule::new(Rate::constant(rate), 7, Duration::from_secs(2));
            let dues: Vec<Due> = (0..20).flat_map(|index| schedule.tick(index)).collect();
            for pair in dues.windows(2) {
                let gap = (pair[1].at - pair[0].at).as_secs_f64();
                assert!((gap * rate - 1.0).abs() < 1e-3, "gap {gap} at {rate}/s");
            }
        }
    }

    #[test]
    fn at_thousands_a_second_probes_are_due_on_whole_milliseconds() {
        let schedule = Schedule::new(Rate::constant(5000.0), 7, Duration::from_secs(2));
        let dues: Vec<Due> = schedule.tick(3).collect();
        assert!(dues.iter().all(|due| due.at.subsec_micros() % 1000 == 0));
        assert!((9_995..=10_005).contains(&dues.len()), "{}", dues.len());
    }

    #[test]
    fn the_seed_shifts_the_schedule_within_one_period() {
        let tick = Duration::from_secs(2);
        let first =
            |seed| Schedule::new(Rate::constant(10.0), seed, tick).tick(0).next().unwrap().at;
        assert_eq!(first(0), Duration::ZERO);
        assert!(first(u64::MAX / 2) > Duration::from_millis(49));
        assert!(first(u64::MAX) <= Duration::from_millis(100));
    }
}
