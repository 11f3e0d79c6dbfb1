//! Random numbers that are the same everywhere: xoshiro256++, seeded from words by splitmix64.
//!
//! Written out here so that no update of a crate changes a published figure.

/// A stream of random numbers.
#[derive(Debug)]
pub struct Random {
    state: [u64; 4],
}

/// One step of splitmix64: every word in gives a well mixed word out.
fn mixed(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

/// A number from a name (FNV-1a).
pub fn of_name(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Random {
    /// The stream these words name; another word anywhere is another stream.
    pub fn of(words: &[u64]) -> Self {
        let mut word = words.iter().fold(0, |sum, &word| mixed(sum ^ word));
        let state = std::array::from_fn(|_| {
            word = mixed(word);
            word
        });
        Self { state }
    }

    fn next(&mut self) -> u64 {
        let [a, b, c, d] = &mut self.state;
        let drawn = a.wrapping_add(*d).rotate_left(23).wrapping_add(*a);
        let shifted = *b << 17;
        *c ^= *a;
        *d ^= *b;
        *b ^= *c;
        *a ^= *d;
        *c ^= shifted;
        *d = d.rotate_left(45);
        drawn
    }

    /// Uniform in (0, 1]: never 0, so that its logarithm is a number.
    pub fn uniform(&mut self) -> f64 {
        ((self.next() >> 11) + 1) as f64 / (1u64 << 53) as f64
    }

    /// A whole number below `limit`.
    pub fn below(&mut self, limit: u32) -> u32 {
        // 32 bits are taken of 64, so the bias is below 1 in 2^32.
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u32
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.uniform().ln()
    }

    /// Failures before the first success of chance `share`: one draw for a whole gap of good probes.
    pub fn gap(&mut self, share: f64) -> u64 {
        if share <= 0.0 {
            return u64::MAX;
        }
        // `as` saturates; ln(1-1) = -inf makes it 0.
        (self.uniform().ln() / (-share).ln_1p()) as u64
    }

    /// Standard normal (Box and Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_a_function_of_its_words() {
        let first = |words: &[u64]| Random::of(words).next();
        assert_eq!(first(&[1, 2, 3]), first(&[1, 2, 3]));
        assert_ne!(first(&[1, 2, 3]), first(&[1, 3, 2]));
        assert_ne!(first(&[1, 2, 3]), first(&[1, 2, 4]));
    }

    #[test]
    fn means_are_what_they_should_be() {
        let mut random = Random::of(&[7]);
        let mut mean = |draw: &mut dyn FnMut(&mut Random) -> f64| {
            (0..200_000).map(|_| draw(&mut random)).sum::<f64>() / 200_000.0
        };
        assert!((mean(&mut |r| r.uniform()) - 0.5).abs() < 0.005);
        assert!((mean(&mut |r| r.exponential(3.0)) - 3.0).abs() < 0.05);
        // (1-p)/p good probes before a bad one.
        assert!((mean(&mut |r| r.gap(0.2) as f64) - 4.0).abs() < 0.06);
        assert!(mean(&mut |r| r.gap(1.0) as f64) == 0.0);
        assert!((mean(&mut |r| f64::from(r.below(5))) - 2.0).abs() < 0.02);
        assert!(mean(&mut |r| r.normal()).abs() < 0.02);
        assert!((mean(&mut |r| r.normal().powi(2)) - 1.0).abs() < 0.02);
    }
}
