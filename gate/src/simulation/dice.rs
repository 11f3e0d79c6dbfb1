//! Chance that depends on a seed and on what it is about, not on the order in which anybody asks: what happens first
//! in one instant changes nothing of what happens later.

use std::time::Duration;

/// A number from 0 up to 1.
pub(super) fn chance(seed: u64, about: &str, number: u64) -> f64 {
    // FNV-1a over the words, and the finalizer of splitmix64 over both numbers.
    let words = about.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    let mut mixed = words ^ seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.rotate_left(32);
    for times in [0xbf58_476d_1ce4_e5b9_u64, 0x94d0_49bb_1331_11eb] {
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(times);
    }
    let top = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap();
    f64::from(top) / (f64::from(u32::MAX) + 1.0)
}

/// A time between two.
pub(super) fn between(seed: u64, about: &str, number: u64, (from, to): (f64, f64)) -> Duration {
    Duration::from_secs_f64(from + chance(seed, about, number) * (to - from))
}

/// One of several, by weights.
pub(super) fn one_of<T: Copy>(seed: u64, about: &str, number: u64, of: &[(f64, T)]) -> T {
    let sum: f64 = of.iter().map(|(weight, _)| weight).sum();
    let mut left = chance(seed, about, number) * sum;
    for (weight, one) in of {
        left -= weight;
        if left < 0.0 {
            return *one;
        }
    }
    of.last().unwrap().1
}
