//! Kayenta's judge for one metric: a Mann-Whitney interval of the shift between green's points and
//! blue's, one point a minute, looked at every minute over a growing window.
//!
//! Its 98 % confidence and its tolerance of a quarter of the estimated shift are constants of Kayenta.
//! The root finder is Brent's as R has it, because the numbers users posted show its steps.

use crate::data::Counts;
use crate::peers::Peer;
use crate::random::Random;

/// The normal quantile of (1 - 0.98) / 2.
const QUANTILE: f64 = 2.326_347_874_040_841;
/// Share of the estimated shift below which the interval may start.
const TOLERANCE: f64 = 0.25;
const ROOT_TOLERANCE: f64 = 1e-4;
const ROOT_STEPS: u32 = 1000;

/// What Kayenta makes of a metric for which an increase is bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Nothing to complain of.
    Pass,
    /// Green is higher.
    High,
    /// The interval cannot be computed. Kayenta leaves such a metric out of the score, so it passes.
    Error,
}

/// Green's and blue's error rates of each minute so far.
#[derive(Debug, Default)]
pub struct Kayenta {
    green: Vec<f64>,
    blue: Vec<f64>,
}

impl Peer for Kayenta {
    fn look(&mut self, green: Counts, blue: Counts) -> bool {
        insert(&mut self.green, green.share());
        insert(&mut self.blue, blue.share());
        // One point on each side ties at its own shift, and rounding alone would decide.
        self.green.len() > 1 && classify(&self.green, &self.blue) == Class::High
    }
}

fn insert(sorted: &mut Vec<f64>, value: f64) {
    let place = sorted.partition_point(|&other| other < value);
    sorted.insert(place, value);
}

/// The interval of a shift and its middle (Hodges and Lehmann).
#[derive(Clone, Copy, Debug)]
struct Shift {
    low: f64,
    estimate: f64,
}

/// The class of green's sorted points beside blue's.
pub fn classify(green: &[f64], blue: &[f64]) -> Class {
    let constant = |points: &[f64]| points.first() == points.last();
    if green == blue {
        return Class::Pass;
    }
    let shift = if constant(green) && constant(blue) {
        shift(&noisy(green), &noisy(blue))
    } else {
        shift(green, blue)
    };
    let Some(shift) = shift else { return Class::Error };
    let mean = |points: &[f64]| points.iter().sum::<f64>() / points.len() as f64;
    let (green, blue) = (mean(green), mean(blue));
    // Kayenta skips the effect size where a mean is zero.
    let effect = green == 0.0 || blue == 0.0 || green / blue >= 1.0;
    if shift.low > TOLERANCE * shift.estimate.abs() && effect { Class::High } else { Class::Pass }
}

/// Two constants have no ranks to compare, so Kayenta adds a little noise. Ours is the same each time.
fn noisy(points: &[f64]) -> Vec<f64> {
    let mut random = Random::of(&[points.len() as u64]);
    let mut noisy: Vec<f64> =
        points.iter().map(|point| point + 1e-5 * point * random.normal()).collect();
    noisy.sort_by(f64::total_cmp);
    noisy
}

fn shift(green: &[f64], blue: &[f64]) -> Option<Shift> {
    let (&green_min, &green_max) = (green.first()?, green.last()?);
    let (&blue_min, &blue_max) = (blue.first()?, blue.last()?);
    let (least, most) = (green_min - blue_max, green_max - blue_min);
    let (at_least, at_most) = (statistic(green, blue, least)?, statistic(green, blue, most)?);
    let root = |quantile: f64| {
        let ends = (at_least - quantile, at_most - quantile);
        root((least, most), ends, |shift| Some(statistic(green, blue, shift)? - quantile))
    };
    let low = if at_least - QUANTILE <= 0.0 {
        least
    } else if at_most - QUANTILE >= 0.0 {
        most
    } else {
        root(QUANTILE)?
    };
    // Without a shift above zero there is nothing to compare the estimate with.
    let estimate = if low > 0.0 { root(0.0)? } else { 0.0 };
    Some(Shift { low, estimate })
}

/// The standardised rank sum of green shifted down by `shift`; `None` where every point is tied.
fn statistic(green: &[f64], blue: &[f64], shift: f64) -> Option<f64> {
    let (n, m) = (green.len(), blue.len());
    let (mut g, mut b) = (0, 0);
    let (mut ranks, mut ties) = (0.0, 0.0);
    while g < n || b < m {
        let value = match (green.get(g), blue.get(b)) {
            (Some(&green), Some(&blue)) => (green - shift).min(blue),
            (Some(&green), None) => green - shift,
            (None, Some(&blue)) => blue,
            (None, None) => break,
        };
        let before = (g + b) as f64;
        let first = g;
        while green.get(g).is_some_and(|&green| green - shift == value) {
            g += 1;
        }
        let ours = (g - first) as f64;
        while blue.get(b).is_some_and(|&blue| blue == value) {
            b += 1;
        }
        let tied = (g + b) as f64 - before;
        ranks += ours * (before + (tied + 1.0) / 2.0);
        ties += tied * tied * tied - tied;
    }
    let (n, m) = (n as f64, m as f64);
    let excess = ranks - n * (n + 1.0) / 2.0 - n * m / 2.0;
    let corrected = excess - if excess == 0.0 { 0.0 } else { 0.5_f64.copysign(excess) };
    let variance = n * m / 12.0 * ((n + m + 1.0) - ties / ((n + m) * (n + m - 1.0)));
    (variance > 0.0).then(|| corrected / variance.sqrt())
}

/// Brent's root finder, step for step as R's `uniroot`; `None` where the ends have one sign.
fn root(
    (start, end): (f64, f64),
    (at_start, at_end): (f64, f64),
    value: impl Fn(f64) -> Option<f64>,
) -> Option<f64> {
    if at_start * at_end > 0.0 {
        return None;
    }
    if at_start == 0.0 {
        return Some(start);
    }
    if at_end == 0.0 {
        return Some(end);
    }
    let (mut a, mut fa) = (start, at_start);
    let (mut b, mut fb) = (end, at_end);
    let (mut c, mut fc) = (a, fa);
    for _ in 0..=ROOT_STEPS {
        let before = b - a;
        if fc.abs() < fb.abs() {
            (a, b, c) = (b, c, b);
            (fa, fb, fc) = (fb, fc, fb);
        }
        let tolerance = 2.0 * f64::EPSILON * b.abs() + ROOT_TOLERANCE / 2.0;
        let mut step = (c - b) / 2.0;
        if step.abs() <= tolerance || fb == 0.0 {
            return Some(b);
        }
        if before.abs() >= tolerance && fa.abs() > fb.abs() {
            let width = c - b;
            let (mut p, mut q) = if a == c {
                let ratio = fb / fa;
                (width * ratio, 1.0 - ratio)
            } else {
                let (q, to_c, to_a) = (fa / fc, fb / fc, fb / fa);
                let p = to_a * (width * q * (q - to_c) - (b - a) * (to_c - 1.0));
                (p, (q - 1.0) * (to_c - 1.0) * (to_a - 1.0))
            };
            if p > 0.0 {
                q = -q;
            } else {
                p = -p;
            }
            let inside = 0.75 * width * q - (tolerance * q).abs() / 2.0;
            if p < inside && p < (before * q / 2.0).abs() {
                step = p / q;
            }
        }
        if step.abs() < tolerance {
            step = tolerance.copysign(step);
        }
        (a, fa) = (b, fb);
        b += step;
        fb = value(b)?;
        if (fb > 0.0) == (fc > 0.0) && fb != 0.0 {
            (c, fc) = (a, fa);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sorted points: so many of each value.
    fn points(of: &[(usize, f64)]) -> Vec<f64> {
        of.iter().flat_map(|&(count, value)| std::iter::repeat_n(value, count)).collect()
    }

    fn check(green: &[(usize, f64)], blue: &[(usize, f64)], class: Class) {
        assert_eq!(classify(&points(green), &points(blue)), class, "{green:?} {blue:?}");
    }

    #[test]
    fn the_classes_and_numbers_users_posted_come_out() {
        // spinnaker issue 6278: seven of ten points at a hundred times the baseline pass.
        let shift = shift(&points(&[(3, 1.0), (7, 100.0)]), &points(&[(10, 1.0)])).unwrap();
        assert_eq!(format!("{:.4}", shift.estimate), "98.9999");
        assert_eq!(format!("{:.3e}", shift.low), "6.825e-5");
        check(&[(3, 1.0), (7, 100.0)], &[(10, 1.0)], Class::Pass);
        check(&[(2, 1.0), (8, 100.0)], &[(10, 1.0)], Class::High);
        // spinnaker issue 5622: blue has no errors at all, green has them in five of ten minutes.
        check(&[(5, 0.0), (1, 1.0), (2, 2.0), (2, 5.0)], &[(10, 0.0)], Class::Pass);
    }

    #[test]
    fn equal_points_pass_and_two_minutes_apart_are_enough() {
        check(&[(4, 0.0)], &[(4, 0.0)], Class::Pass);
        check(&[(4, 0.25)], &[(4, 0.25)], Class::Pass);
        check(&[(1, 1.0)], &[(1, 0.0)], Class::Error);
        // Few points cannot bear 98 % confidence; the interval then ends at the least difference.
        check(&[(2, 1.0)], &[(2, 0.0)], Class::High);
        check(&[(1, 0.011), (1, 0.012)], &[(1, 0.008), (1, 0.009)], Class::High);
        check(&[(1, 0.009), (1, 0.012)], &[(1, 0.008), (1, 0.010)], Class::Pass);
        check(&[(10, 0.0)], &[(10, 1.0)], Class::Pass);
    }
}
