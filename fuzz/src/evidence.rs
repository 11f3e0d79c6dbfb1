//! Numbers into every engine.

use policies::evidence::{
    Accept, Direction, ErrorRates, Evidence, Pairs, Part, Rank, RankLimits, Ratio, RatioLimits,
    Relative, RelativeLimits, fold, interval,
};

/// Any numbers are taken or refused; no evidence is NaN; what is refused changes nothing.
pub fn evidence(bytes: &[u8]) {
    // The input ends somewhere, and with it the run.
    let _: Option<()> = engines(&mut Numbers(bytes));
}

fn engines(numbers: &mut Numbers<'_>) -> Option<()> {
    let limits = RatioLimits {
        acceptable: numbers.next()?,
        unacceptable: numbers.next()?,
        per_tick: numbers.next()?,
        horizon_ticks: numbers.whole()?,
        bad_min: numbers.next()?,
        accept: if numbers.byte()? % 2 == 0 { Accept::Probe } else { Accept::Tick },
        first_weight: numbers.next()?,
        starts: numbers.whole()?,
    };
    let mut ratio = Ratio::new(limits);
    let mut relative = Relative::new(RelativeLimits {
        odds_acceptable: numbers.next()?,
        odds_unacceptable: numbers.next()?,
        floor: limits,
    });
    let (low, points) = (numbers.byte()? % 2 == 1, numbers.byte()? % 16);
    let baseline: Vec<f64> = (0..points).map(|_| numbers.next()).collect::<Option<_>>()?;
    let mut rank = Rank::new(
        &baseline,
        RankLimits {
            direction: if low { Direction::Low } else { Direction::High },
            relative: numbers.next()?,
            absolute: numbers.next()?,
            horizon_points: numbers.whole()?,
            points_min: numbers.whole()?,
            first_weight: limits.first_weight,
            starts: limits.starts,
        },
    );
    let weights = [numbers.next()?, numbers.next()?, numbers.next()?];
    let rates = ErrorRates { false_rollback: numbers.next()?, false_continue: numbers.next()? };
    loop {
        let mut latest = [Evidence::NONE; 3];
        let [a, b, c, d] = [numbers.next()?, numbers.next()?, numbers.next()?, numbers.next()?];
        if let Ok(engine) = &mut ratio {
            let before = engine.clone();
            for peeked in [engine.peek(a, b, c), engine.peek(a, b, b)].into_iter().flatten() {
                sound(peeked);
            }
            let stepped = engine.step(a, b);
            assert!(stepped.is_ok() || same(engine, &before), "refusing {a} of {b} changed it");
            latest[0] = engine.evidence();
        }
        if let Ok(engine) = &mut relative {
            let before = engine.clone();
            let pairs = Pairs { neither: a, green_only: b, blue_only: c, both: d };
            let stepped = engine.step(pairs);
            assert!(stepped.is_ok() || same(engine, &before), "refusing {pairs:?} changed it");
            latest[1] = engine.evidence();
        }
        if let Ok(engine) = &mut rank {
            let before = engine.clone();
            let stepped = engine.step(a);
            assert!(stepped.is_ok() || same(engine, &before), "refusing {a} changed it");
            latest[2] = engine.evidence();
        }
        latest.into_iter().for_each(sound);
        let parts = [0, 1, 2].map(|i| Part { weight: weights[i], evidence: latest[i] });
        let folded = fold(&parts);
        sound(folded);
        folded.leaning(rates, true);
        let (alpha, optimal) = (rates.false_rollback, rates.false_continue);
        if let Ok((lower, upper)) = interval::share(a, b, alpha, c, optimal) {
            let ordered = 0.0 <= lower && lower <= upper && upper <= 1.0;
            assert!(ordered, "{a} of {b}: {lower} to {upper}");
        }
    }
}

fn sound(evidence: Evidence) {
    assert!(!evidence.rollback.is_nan() && !evidence.keep.is_nan(), "{evidence:?}");
}

/// Engines have no equality: they look the same to the last bit.
fn same(one: &impl std::fmt::Debug, other: &impl std::fmt::Debug) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

/// Bytes as numbers, such that short inputs reach what matters: whole numbers, shares, and the edges of floats.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn whole(&mut self) -> Option<u64> {
        match self.byte()? {
            255 => self.take().map(u64::from_le_bytes),
            small => Some(u64::from(small)),
        }
    }

    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*first)
    }
}

impl Iterator for Numbers<'_> {
    type Item = f64;

    fn next(&mut self) -> Option<f64> {
        const EDGES: [f64; 20] = [
            0.0,
            -0.0,
            1.0,
            -1.0,
            0.01,
            0.02,
            0.99,
            40.0,
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MIN_POSITIVE,
            5e-324, // The smallest there is.
            f64::MAX,
            f64::MIN,
            f64::EPSILON,
            1.0 - f64::EPSILON / 2.0, // The largest below 1.
            9_007_199_254_740_992.0,  // 2^53, the largest count.
            9_007_199_254_740_994.0,
            1e-6,
        ];
        let tag = self.byte()?;
        match tag % 4 {
            0 => EDGES.get(usize::from(tag / 4) % EDGES.len()).copied(),
            1 => self.take().map(|two| f64::from(u16::from_le_bytes(two))),
            2 => self.take().map(|two| f64::from(u16::from_le_bytes(two)) / 65536.0),
            _ => self.take().map(f64::from_le_bytes),
        }
    }
}
