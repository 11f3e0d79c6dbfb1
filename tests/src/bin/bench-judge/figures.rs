//! What many endings come to: shares with their limits, medians, percentiles.

/// So many of so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    /// Of interest.
    pub part: u32,
    /// All.
    pub of: u32,
}

impl Share {
    /// Counts what `wanted` picks.
    pub fn count<T>(all: &[T], wanted: impl Fn(&T) -> bool) -> Self {
        Self { part: all.iter().filter(|one| wanted(one)).count() as u32, of: all.len() as u32 }
    }

    /// In percent.
    pub fn percent(self) -> f64 {
        100.0 * f64::from(self.part) / f64::from(self.of)
    }

    /// The exact upper limit of the share, wrong once in a hundred (Clopper and Pearson), in percent.
    pub fn upper_limit(self) -> f64 {
        if self.part == self.of {
            return 100.0;
        }
        let (mut low, mut high) = (f64::from(self.part) / f64::from(self.of), 1.0);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if at_most(self.part, self.of, middle) > 0.01 {
                low = middle;
            } else {
                high = middle;
            }
        }
        100.0 * high
    }
}

impl std::fmt::Display for Share {
    /// Two decimals, so that nothing but a true 0 or 100 looks like one.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.part {
            0 => f.write_str("0"),
            all if all == self.of => f.write_str("100"),
            _ => write!(f, "{:.2}", self.percent()),
        }
    }
}

/// The chance of at most `part` of `of` where each has chance `share`.
fn at_most(part: u32, of: u32, share: f64) -> f64 {
    let odds = (share / (1.0 - share)).ln();
    let mut log = f64::from(of) * (-share).ln_1p();
    let mut sum = log.exp();
    for so_far in 0..part {
        log += (f64::from(of - so_far) / f64::from(so_far + 1)).ln() + odds;
        sum += log.exp();
    }
    sum
}

/// The time by which this share of all runs had ended; `None` where fewer ever did. A run that never
/// ends counts as longer than any other, so no figure leaves out the faults that were missed.
pub fn time_by(times: &[Option<u32>], share: f64) -> Option<u32> {
    let mut sorted: Vec<u32> = times.iter().map(|time| time.unwrap_or(u32::MAX)).collect();
    sorted.sort_unstable();
    let place = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().filter(|&time| time < u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upper_limits_are_those_of_the_tables() {
        // 1 - 0.01^(1/n) where none was seen.
        for (part, of, limit) in
            [(0, 20_000, 0.023_023), (0, 100, 4.500_7), (10, 10, 100.0), (1, 2, 99.498_7)]
        {
            let found = Share { part, of }.upper_limit();
            assert!((found - limit).abs() < 1e-3, "{part} of {of}: {found}");
        }
        assert!(Share { part: 167, of: 20_000 }.upper_limit() < 1.0);
        assert!(Share { part: 168, of: 20_000 }.upper_limit() > 1.0);
    }

    #[test]
    fn runs_that_never_end_are_the_longest() {
        let times = [Some(4), None, Some(2), Some(6)];
        assert_eq!(time_by(&times, 0.5), Some(4));
        assert_eq!(time_by(&times, 0.75), Some(6));
        assert_eq!(time_by(&times, 0.95), None);
    }

    #[test]
    fn only_a_true_zero_or_hundred_looks_like_one() {
        let show = |part, of| Share { part, of }.to_string();
        assert_eq!(
            [show(0, 9), show(9, 9), show(1, 2000), show(1999, 2000)],
            ["0", "100", "0.05", "99.95"]
        );
    }
}
