//! The interval shown beside a ratio: where the true share lies, at any time, with this confidence.
//!
//! Statistics.md §8. For display only, and it assumes independent probes: no decision rests on it.

use super::numerics::{is_count, times_log};
use super::ratio::Refused;

/// Halvings of each side: beyond f64's 53 bits nothing changes.
const HALVINGS: u32 = 60;
/// Smallest weight of the prior.
const PRIOR_MIN: f64 = 0.001;

/// Lower and upper end of the share of `bad` in `all`, wrong at any time with probability at most `alpha`.
///
/// It is narrowest around `optimal_count` samples, for `optimal_alpha`.
///
/// # Errors
/// Refuses counts that are none, and rates that are not between 0 and 1.
pub fn share(
    bad: f64,
    all: f64,
    alpha: f64,
    optimal_count: f64,
    optimal_alpha: f64,
) -> Result<(f64, f64), Refused> {
    if ![bad, all, optimal_count].into_iter().all(is_count) {
        return Err(Refused::NotACount);
    }
    if bad > all {
        return Err(Refused::MoreBadThanAll);
    }
    let inside_unit = |rate: f64| rate > 0.0 && rate < 1.0;
    if !inside_unit(alpha) || !inside_unit(optimal_alpha) {
        return Err(Refused::Limits);
    }
    if all == 0.0 {
        return Ok((0.0, 1.0));
    }
    let x = 2.0 * (1.0 / optimal_alpha).ln();
    let prior = (optimal_count / (x + x.ln_1p()) - 1.0).max(PRIOR_MIN);
    let limit = (1.0 / alpha).ln();
    let inside = |p: f64| evidence_against(p, bad, all, prior) < limit;
    let seen = bad / all;
    let lower = if bad == 0.0 { 0.0 } else { edge(seen, 0.0, inside) };
    let upper = if bad >= all { 1.0 } else { edge(seen, 1.0, inside) };
    Ok((lower, upper))
}

/// The last point inside on the way from `seen` to `end`.
fn edge(seen: f64, end: f64, inside: impl Fn(f64) -> bool) -> f64 {
    let (mut within, mut beyond) = (seen, end);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(within, beyond);
        if inside(middle) {
            within = middle;
        } else {
            beyond = middle;
        }
    }
    within
}

/// Logarithm of the evidence of a beta mixture centred on `p` that the share is not `p`.
fn evidence_against(p: f64, bad: f64, all: f64, prior: f64) -> f64 {
    let (a, b) = (p * prior, (1.0 - p) * prior);
    log_beta(a + bad, b + all - bad)
        - log_beta(a, b)
        - times_log(bad, p.ln())
        - times_log(all - bad, (-p).ln_1p())
}

fn log_beta(a: f64, b: f64) -> f64 {
    libm::lgamma(a) + libm::lgamma(b) - libm::lgamma(a + b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_truth_is_left_out_at_any_time_no_more_often_than_promised() {
        // Fixed draws (splitmix64), looked at after every probe.
        let mut state = 7_u64;
        let mut chance = || {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            f64::from(u32::try_from((z ^ (z >> 31)) >> 32).unwrap()) / f64::from(u32::MAX)
        };
        let (truth, alpha, runs) = (0.05, 0.2, 400);
        let mut missed = 0;
        for _ in 0..runs {
            let mut bad = 0.0;
            let left_out = (1..=400).any(|n| {
                bad += f64::from(u8::from(chance() < truth));
                let (lower, upper) = share(bad, f64::from(n), alpha, 200.0, alpha).unwrap();
                !(lower..=upper).contains(&truth)
            });
            missed += u32::from(left_out);
        }
        assert!(missed > 0, "an interval that never misses is too wide to say anything");
        assert!(f64::from(missed) <= alpha * f64::from(runs), "{missed} of {runs}");
    }

    #[test]
    fn nothing_seen_is_anything_and_nonsense_is_refused() {
        assert_eq!(share(0.0, 0.0, 0.01, 100.0, 0.01), Ok((0.0, 1.0)));
        assert_eq!(share(2.0, 1.0, 0.01, 100.0, 0.01), Err(Refused::MoreBadThanAll));
        assert_eq!(share(f64::NAN, 1.0, 0.01, 100.0, 0.01), Err(Refused::NotACount));
        assert_eq!(share(0.0, 1.0, 1.5, 100.0, 0.01), Err(Refused::Limits));
    }

    proptest! {
        #[test]
        fn it_holds_what_was_seen_and_narrows_with_confidence(bad in 0u32..500, good in 1u32..5000) {
            let (bad, all) = (f64::from(bad), f64::from(bad + good));
            let (lower, upper) = share(bad, all, 0.01, 1000.0, 0.01).unwrap();
            prop_assert!(lower <= bad / all && bad / all <= upper && lower >= 0.0 && upper <= 1.0);
            let (less_sure_lower, less_sure_upper) = share(bad, all, 0.2, 1000.0, 0.01).unwrap();
            prop_assert!(lower <= less_sure_lower && less_sure_upper <= upper);
        }
    }
}
