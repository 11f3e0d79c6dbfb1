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

/// `ln Σ e^x`, `-inf` for no terms.
pub fn log_sum(terms: impl IntoIterator<Item = f64>) -> f64 {
    terms.into_iter().fold(f64::NEG_INFINITY, log_add)
}

/// `count · log`, where no event times impossible is nothing rather than NaN.
pub fn times_log(count: f64, log: f64) -> f64 {
    if count == 0.0 { 0.0 } else { count * log }
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
