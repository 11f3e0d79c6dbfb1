//! The few pieces of arithmetic on logarithms that the engines share.

/// `ln(e^a + e^b)` without overflow; `-inf` is the logarithm of nothing.
pub fn log_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a >= b { (a, b) } else { (b, a) };
    // The first covers two nothings, the second two infinities: both would be NaN below.
    if low == f64::NEG_INFINITY || high == f64::INFINITY {
        return high;
    }
    high + (low - high).exp().ln_1p()
}

/// `ln Σ e^x`, `-inf` for no terms: one exponential for each term and one logarithm for all.
pub fn log_sum(terms: impl IntoIterator<Item = f64>) -> f64 {
    // The sum so far is `scaled · e^highest`, so that the highest term is 1 and none overflows.
    let (mut highest, mut scaled) = (f64::NEG_INFINITY, 0.0);
    for term in terms {
        // Nothing adds nothing, and two infinities have no difference: both would be NaN below.
        if term == f64::NEG_INFINITY || highest == f64::INFINITY {
            continue;
        }
        if term <= highest {
            scaled += (term - highest).exp();
        } else {
            scaled = scaled * (highest - term).exp() + 1.0;
            highest = term;
        }
    }
    highest + scaled.ln()
}

/// `count · log`, where no event times impossible is nothing rather than NaN.
pub fn times_log(count: f64, log: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * log }
}

/// Beyond it a float tells a count no longer from the next one.
const COUNT_MAX: f64 = 9_007_199_254_740_992.0; // 2^53

/// Whether this is a count: a fraction may be one, NaN and what no float counts exactly may not.
pub fn is_count(value: f64) -> bool {
    (0.0..=COUNT_MAX).contains(&value)
}

/// Kullback-Leibler divergence of two coins, in nats.
pub fn divergence(p: f64, q: f64) -> f64 {
    times_log(p, (p / q).ln()) + times_log(1.0 - p, (-p).ln_1p() - (-q).ln_1p())
}

/// A count as a float. Exact up to 2^53, which no tick reaches.
#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
pub const fn count(value: u64) -> f64 {
    value as f64
}

/// The whole part of a count that was summed up as a float; what is no count is nothing.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, and that is what is wanted of a count for display"
)]
pub const fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOTHING: f64 = f64::NEG_INFINITY;
    const CERTAIN: f64 = f64::INFINITY;

    fn check(terms: &[f64], expected: f64) {
        let sum = log_sum(terms.iter().copied());
        let same = sum.total_cmp(&expected).is_eq() || (sum - expected).abs() < 1e-12;
        assert!(same, "{terms:?}: {sum}, not {expected}");
    }

    #[test]
    fn nothing_and_infinity_are_summed_without_a_nan() {
        check(&[], NOTHING);
        check(&[NOTHING], NOTHING);
        check(&[NOTHING, NOTHING], NOTHING);
        check(&[NOTHING, 2.0, NOTHING], 2.0);
        check(&[CERTAIN], CERTAIN);
        check(&[CERTAIN, CERTAIN, NOTHING, 1.0], CERTAIN);
        check(&[1.0, CERTAIN, 2.0, CERTAIN], CERTAIN);
        check(&[1e6, 1e6], 1e6 + std::f64::consts::LN_2);
        check(&[-1e300, 1e300], 1e300);
    }

    proptest! {
        #[test]
        fn one_sum_is_the_chain_of_additions(terms in prop::collection::vec(-800.0..800.0_f64, 0..20)) {
            let chain = terms.iter().copied().fold(NOTHING, log_add);
            check(&terms, chain);
        }
    }
}
