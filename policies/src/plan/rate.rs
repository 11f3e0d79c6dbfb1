//! How many probes are due at what time: constant, in steps, or along ramps.

use std::time::Duration;

/// Probes per second over time. Always above zero.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// What comes before the last rate, in order.
    segments: Vec<Segment>,
    /// Kept for ever after.
    last_per_second: f64,
}

/// A time in which the rate is constant or changes evenly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// Rate at its beginning.
    pub from_per_second: f64,
    /// Rate at its end.
    pub to_per_second: f64,
    /// How long it lasts.
    pub lasting: Duration,
}

impl Segment {
    /// Probes due in the first `seconds` of it.
    fn probes_in(&self, seconds: f64) -> f64 {
        let all = self.lasting.as_secs_f64();
        let slope = (self.to_per_second - self.from_per_second) / all;
        slope.mul_add(seconds * seconds / 2.0, self.from_per_second * seconds)
    }

    /// Seconds into it at which so many probes are due: the inverse of `probes_in`.
    fn seconds_of(&self, probes: f64) -> f64 {
        let slope = (self.to_per_second - self.from_per_second) / self.lasting.as_secs_f64();
        let from = self.from_per_second;
        // The form of the quadratic formula that stays exact where the slope vanishes.
        let root = (2.0 * slope).mul_add(probes, from * from).max(0.0).sqrt();
        2.0 * probes / (from + root)
    }
}

impl Rate {
    /// The same rate for ever.
    pub const fn constant(per_second: f64) -> Self {
        Self { segments: Vec::new(), last_per_second: per_second }
    }

    /// Segments in order; the rate at the end of the last is kept. `None` without any.
    pub fn shaped(segments: Vec<Segment>) -> Option<Self> {
        let last_per_second = segments.last()?.to_per_second;
        Some(Self { segments, last_per_second })
    }

    /// The rate that is kept in the end: what evidence is sized by.
    pub const fn settled_per_second(&self) -> f64 {
        self.last_per_second
    }

    /// The highest rate there is.
    pub fn peak_per_second(&self) -> f64 {
        let ends = self.segments.iter().flat_map(|s| [s.from_per_second, s.to_per_second]);
        ends.fold(self.last_per_second, f64::max)
    }

    /// When the rate stops changing.
    pub fn settles_after(&self) -> Duration {
        self.segments.iter().map(|segment| segment.lasting).sum()
    }

    /// Probes due before this time, as a real number.
    pub fn probes_before(&self, at: Duration) -> f64 {
        let (mut probes, mut left) = (0.0, at.as_secs_f64());
        for segment in &self.segments {
            let within = left.min(segment.lasting.as_secs_f64());
            probes += segment.probes_in(within);
            left -= within;
            if left <= 0.0 {
                return probes;
            }
        }
        left.mul_add(self.last_per_second, probes)
    }

    /// When so many probes are due: the inverse of [`Rate::probes_before`].
    pub fn due_after(&self, probes: f64) -> Duration {
        let (mut seconds, mut left) = (0.0, probes);
        for segment in &self.segments {
            let all = segment.probes_in(segment.lasting.as_secs_f64());
            if left < all {
                return Duration::from_secs_f64(seconds + segment.seconds_of(left));
            }
            left -= all;
            seconds += segment.lasting.as_secs_f64();
        }
        Duration::from_secs_f64(seconds + left / self.last_per_second)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(from_per_second: f64, to_per_second: f64, seconds: u64) -> Segment {
        Segment { from_per_second, to_per_second, lasting: Duration::from_secs(seconds) }
    }

    fn check(rate: &Rate, at_seconds: f64, probes: f64) {
        let at = Duration::from_secs_f64(at_seconds);
        assert!((rate.probes_before(at) - probes).abs() < 1e-9, "{}", rate.probes_before(at));
        assert!((rate.due_after(probes).as_secs_f64() - at_seconds).abs() < 1e-8);
    }

    #[test]
    fn probes_due_are_the_area_below_the_rate() {
        check(&Rate::constant(20.0), 3.0, 60.0);
        let steps = Rate::shaped(vec![segment(5.0, 5.0, 10), segment(20.0, 20.0, 10)]).unwrap();
        check(&steps, 10.0, 50.0);
        check(&steps, 12.0, 90.0);
        check(&steps, 30.0, 450.0);
        let ramp = Rate::shaped(vec![segment(0.1, 10.1, 10)]).unwrap();
        check(&ramp, 10.0, 51.0);
        check(&ramp, 5.0, 13.0);
        check(&ramp, 20.0, 152.0);
        let down = Rate::shaped(vec![segment(10.0, 1.0, 9), segment(1.0, 1.0, 1)]).unwrap();
        check(&down, 9.0, 49.5);
        check(&down, 12.0, 52.5);
        assert!((down.peak_per_second() - 10.0).abs() < 1e-12);
        assert_eq!(down.settles_after(), Duration::from_secs(10));
    }
}
