//! Green beside blue, probed in the same seconds.

use super::Setting;
use super::share::{Events, pairs};
use crate::evidence::{Evidence, Refused, Relative, RelativeLimits};
use crate::histogram::Interval;
use crate::policy::{Limits, Versus as Compared, slow_share};
use crate::tick::TargetTick;

/// What blue's latency was in earlier ticks, warm-up included.
#[derive(Clone, Debug, Default)]
pub(super) struct History {
    answered: Interval,
    unanswered: u64,
}

impl History {
    pub(super) fn add(&mut self, blue: &TargetTick) {
        self.answered.merge(&blue.latency);
        self.unanswered += blue.unanswered();
    }

    /// Blue's quantile, in microseconds (upper edge of its bucket). `None` before `5/(1-q)` samples
    /// (statistics.md §4). Where more than a share `1-q` got no answer at all it is endless: then only a
    /// probe without an answer is slower.
    fn quantile_micros(&self, quantile: f64) -> Option<u64> {
        let count = crate::evidence::numerics::count;
        let all = count(self.answered.count() + self.unanswered);
        if all < 5.0 / slow_share(quantile) - 1e-9 {
            return None;
        }
        // A hair below, so that 0.99 · 500 is 495 and not 496.
        let beyond = all - (quantile * all - 1e-9).ceil() - count(self.unanswered);
        if beyond < 0.0 { Some(u64::MAX) } else { self.answered.edge_from_top(beyond) }
    }
}

/// Evidence about green relative to blue.
#[derive(Debug)]
pub(super) struct Versus {
    compared: Compared,
    engine: Relative,
    /// Blue's bad probes and all, for the page.
    pub(super) blue: (u64, u64),
    /// Bounds in force in the last tick, in microseconds: green's and blue's.
    pub(super) bounds_micros: Option<(u64, u64)>,
}

impl Versus {
    pub(super) fn new(
        setting: Setting,
        compared: Compared,
        odds: (f64, f64),
        floor: Limits,
    ) -> Result<Self, Refused> {
        let limits = RelativeLimits {
            odds_acceptable: odds.0,
            odds_unacceptable: odds.1,
            floor: setting.ratio(floor),
        };
        let engine = Relative::new(limits)?;
        Ok(Self { compared, engine, blue: (0, 0), bounds_micros: None })
    }

    /// Takes a tick of both arms, less the `shared` connections that failed on both. Green's bad probes
    /// and all, where there was evidence in it.
    pub(super) fn take(
        &mut self,
        green: &TargetTick,
        blue: &TargetTick,
        history: &History,
        shared: u64,
    ) -> Result<Option<(u64, u64)>, Refused> {
        let (green_bad, blue_bad) = match self.compared {
            Compared::Errors => (green.bad(), blue.bad()),
            Compared::Latency { quantile, margin } => {
                let Some(edge) = history.quantile_micros(quantile) else { return Ok(None) };
                let bound = scaled(edge, margin);
                self.bounds_micros = Some((bound, edge));
                (green.slower_than_micros(bound), blue.slower_than_micros(edge))
            }
        };
        let less = |count: u64| count.saturating_sub(shared);
        let (green, blue) =
            ((less(green_bad), less(green.judged())), (less(blue_bad), less(blue.judged())));
        if green.1 == 0 || blue.1 == 0 {
            return Ok(None);
        }
        self.engine.step(pairs(events(green), events(blue)))?;
        self.blue.0 += blue.0;
        self.blue.1 += blue.1;
        Ok(Some(green))
    }

    pub(super) fn evidence(&self) -> Evidence {
        self.engine.evidence()
    }
}

pub(super) fn events((bad, all): (u64, u64)) -> Events {
    (crate::evidence::numerics::count(bad), crate::evidence::numerics::count(all))
}

/// `(1 + margin) · micros`, rounded down to the microsecond: latencies are whole microseconds.
fn scaled(micros: u64, margin: f64) -> u64 {
    let bound = crate::evidence::numerics::count(micros) * (1.0 + margin);
    crate::evidence::numerics::whole(bound + 1e-6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::{Outcome, Sample};
    use std::time::Duration;

    fn history(millis: impl IntoIterator<Item = u64>, unanswered: usize) -> History {
        let mut tick = TargetTick::default();
        let mut record = |outcome, latency| {
            tick.record(&Sample {
                held: Duration::ZERO,
                latency: Duration::from_millis(latency),
                outcome,
                ..Sample::default()
            });
        };
        millis.into_iter().for_each(|latency| record(Outcome::Ok, latency));
        (0..unanswered).for_each(|_| record(Outcome::Timeout, 2000));
        let mut history = History::default();
        history.add(&tick);
        history
    }

    #[test]
    fn blues_quantile_is_the_bucket_at_its_rank_once_there_are_enough_samples() {
        let ms = |micros: Option<u64>| micros.map(|micros| micros / 1000);
        assert_eq!(ms(history(1..=499, 0).quantile_micros(0.99)), None, "needs 500");
        assert_eq!(ms(history(1..=500, 0).quantile_micros(0.99)), Some(495));
        assert_eq!(ms(history(1..=1000, 0).quantile_micros(0.5)), Some(500));
        // Unanswered ones are slower than any answer.
        assert_eq!(ms(history(1..=495, 5).quantile_micros(0.99)), Some(495));
        assert_eq!(history(1..=494, 6).quantile_micros(0.99), Some(u64::MAX));
    }

    #[test]
    fn a_margin_scales_the_bound() {
        assert_eq!(scaled(u64::MAX, 0.2), u64::MAX);
        assert_eq!((scaled(1000, 0.2), scaled(1000, 0.0), scaled(1001, 0.5)), (1200, 1000, 1501));
    }
}
