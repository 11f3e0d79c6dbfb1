//! What holds of the engines and of a tick's counts for every input, however extreme.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

use std::fmt::Debug;
use std::time::Duration;

use policies::evidence::numerics::count;
use policies::evidence::{
    Accept, Direction, Evidence, Pairs, Part, Rank, RankLimits, Ratio, RatioLimits, Relative,
    RelativeLimits, fold,
};
use policies::histogram::Interval;
use policies::{ArmTick, Outcome, Sample, TargetTick};
use proptest::prelude::*;
use proptest::sample::select;

/// The largest count: 2^53.
const MOST: f64 = 9_007_199_254_740_992.0;
/// The smallest number there is, and the largest below 1.
const TINY: f64 = 5e-324;
const ALMOST_ONE: f64 = 1.0 - f64::EPSILON / 2.0;

/// Any limits an engine takes: usual ones, and the ends of every range.
fn limits() -> impl Strategy<Value = RatioLimits> {
    let acceptable = prop_oneof![
        select(vec![0.0, TINY, f64::MIN_POSITIVE, 1e-12, 0.005, 0.5, 0.999]),
        0.0..0.99_f64
    ];
    let above = prop_oneof![Just(ALMOST_ONE), Just(0.0), 0.0..1.0_f64];
    let per_tick = select(vec![TINY, 0.03, 1.0, 40.0, 4000.0, MOST, f64::MAX]);
    let horizon = select(vec![0, 1, 30, 300, u64::MAX]);
    let bad_min = select(vec![0.0, 1.0, 2.0, f64::INFINITY]);
    let accept = select(vec![Accept::Probe, Accept::Tick]);
    let starts = (select(vec![0.0, 0.75, 1.0]), select(vec![1, 64, u64::MAX]));
    let all = (acceptable, above, per_tick, horizon, bad_min, accept, starts);
    all.prop_map(|(p0, above, per_tick, horizon_ticks, bad_min, accept, (first_weight, starts))| {
        let next = f64::next_up(p0);
        let unacceptable = (p0 + above * (1.0 - p0)).clamp(next, ALMOST_ONE.max(next));
        let usual = RatioLimits::new(p0, unacceptable, per_tick, horizon_ticks);
        RatioLimits { bad_min, accept, first_weight, starts, ..usual }
    })
}

/// Limits a policy could have.
fn usual_limits() -> impl Strategy<Value = RatioLimits> {
    let share = prop_oneof![Just(0.0), 0.0001..0.3_f64];
    (share, 1.1..20.0_f64, select(vec![1.0, 40.0, 4000.0]), any::<bool>()).prop_map(
        |(p0, times, per_tick, strict)| {
            let unacceptable = (p0.max(0.001) * times).min(0.95);
            let accept = if strict { Accept::Tick } else { Accept::Probe };
            RatioLimits { accept, ..RatioLimits::new(p0, unacceptable, per_tick, 60) }
        },
    )
}

/// Bad events and all events of a tick, the ends included.
fn tick() -> impl Strategy<Value = (f64, f64)> {
    let all = prop_oneof![select(vec![0.0, 1.0, 40.0, 1e6, MOST]), 0.0..100.0_f64];
    let share = prop_oneof![Just(0.0), Just(1.0), 0.0..1.0_f64];
    (all, share).prop_map(|(all, share)| ((all * share).floor().min(all), all))
}

fn ticks() -> impl Strategy<Value = Vec<(f64, f64)>> {
    prop::collection::vec(tick(), 1..80)
}

/// What an input refused by every engine may hold.
fn nonsense() -> impl Strategy<Value = f64> {
    select(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -1.0, -TINY, f64::MAX, MOST + 2.0])
}

fn pairs() -> impl Strategy<Value = Pairs> {
    let count =
        || prop_oneof![3 => (0..20_u8).prop_map(f64::from), 1 => select(vec![1e6, MOST / 4.0])];
    (count(), count(), count(), count()).prop_map(|(neither, green_only, blue_only, both)| Pairs {
        neither,
        green_only,
        blue_only,
        both,
    })
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (0..30_u64, 1..5_000_000_u64, select(Outcome::ALL.to_vec()), 400..404_u16);
    let sample = sample.prop_map(|(held, latency, outcome, status)| Sample {
        held: Duration::from_millis(held),
        latency: Duration::from_micros(latency),
        outcome,
        status: (outcome == Outcome::Status).then_some(status),
        ..Sample::default()
    });
    prop::collection::vec(sample, 0..60)
}

fn recorded(samples: &[Sample]) -> TargetTick {
    let mut tick = TargetTick::default();
    samples.iter().for_each(|sample| tick.record(sample));
    tick
}

/// `less` is at most `more`, but for the last digits of a sum.
fn ordered(less: f64, more: f64) -> bool {
    less <= more || less - more <= 1e-9 * less.abs().max(1.0)
}

fn is_number(evidence: Evidence) -> bool {
    !evidence.rollback.is_nan() && !evidence.keep.is_nan()
}

/// Engines have no equality: they look the same to the last bit.
fn same(one: &impl Debug, other: &impl Debug) -> bool {
    format!("{one:?}") == format!("{other:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn more_bads_in_any_tick_never_speak_for_a_release(
        limits in usual_limits(),
        ticks in prop::collection::vec((0..40_u8, 0..40_u8, 40..80_u8), 1..80),
    ) {
        let (mut fewer, mut more) = (Ratio::new(limits).unwrap(), Ratio::new(limits).unwrap());
        for (one, other, all) in ticks {
            let (least, most) = (f64::from(one.min(other)), f64::from(one.max(other)));
            let fewer = fewer.step(least, f64::from(all)).unwrap();
            let more = more.step(most, f64::from(all)).unwrap();
            prop_assert!(ordered(fewer.rollback, more.rollback), "{fewer:?} {more:?}");
            prop_assert!(ordered(more.keep, fewer.keep), "{fewer:?} {more:?}");
        }
    }

    // At odds of 1 alone: with a margin, a tick far beyond it says less for one than a tick just beyond.
    #[test]
    fn more_bads_of_green_never_speak_for_it_beside_blue(
        floor in usual_limits(),
        ticks in prop::collection::vec((0..20_u8, 0..20_u8, 0..20_u8, 0..20_u8), 1..60),
    ) {
        let limits = RelativeLimits { odds_acceptable: 1.0, odds_unacceptable: 2.0, floor };
        let (mut fewer, mut more) = (Relative::new(limits).unwrap(), Relative::new(limits).unwrap());
        for (neither, turned, blue_only, both) in ticks {
            let [neither, turned, blue_only, both] =
                [neither, turned, blue_only, both].map(f64::from);
            let good = Pairs { neither: neither + turned, green_only: 0.0, blue_only, both };
            let fewer = fewer.step(good).unwrap();
            let more = more.step(Pairs { neither, green_only: turned, ..good }).unwrap();
            prop_assert!(ordered(fewer.rollback, more.rollback), "{fewer:?} {more:?}");
            prop_assert!(ordered(more.keep, fewer.keep), "{fewer:?} {more:?}");
        }
    }

    #[test]
    fn a_peek_promises_no_more_for_rollback_than_the_close_keeps(
        limits in prop_oneof![limits(), usual_limits()],
        ticks in prop::collection::vec((1..40_u8, 0..40_u8, 0..40_u8, 0..40_u8), 1..40),
    ) {
        let mut engine = Ratio::new(limits).unwrap();
        for (seen, bad, later, unanswered) in ticks {
            // Of the probes planned some are seen, some come later and may be bad, some never count.
            let bad = bad.min(seen);
            let later_bad = later / 2;
            let planned = f64::from(seen) + f64::from(later) + f64::from(unanswered);
            let peeked = engine.peek(f64::from(bad), f64::from(seen), planned).unwrap();
            let (bad, all) = (f64::from(bad) + f64::from(later_bad), f64::from(seen) + f64::from(later));
            let closed = engine.step(bad, all).unwrap();
            prop_assert!(ordered(peeked.rollback, closed.rollback), "{peeked:?} {closed:?}");
        }
    }

    #[test]
    fn no_ratio_is_ever_nan(limits in limits(), ticks in ticks()) {
        let mut engine = Ratio::new(limits).unwrap();
        for (bad, all) in ticks {
            let (peeked, closed) = (engine.peek(bad, all, MOST).unwrap(), engine.step(bad, all).unwrap());
            prop_assert!(is_number(peeked) && is_number(closed), "{peeked:?} {closed:?}");
        }
    }

    #[test]
    fn nothing_relative_is_ever_nan(
        floor in limits(),
        odds in select(vec![(1.0, 2.0), (TINY, f64::MAX), (1.0, MOST), (TINY, 1e-300), (1.0, 1.0 + f64::EPSILON)]),
        ticks in prop::collection::vec(pairs(), 1..60),
    ) {
        let (odds_acceptable, odds_unacceptable) = odds;
        let mut engine =
            Relative::new(RelativeLimits { odds_acceptable, odds_unacceptable, floor }).unwrap();
        for pairs in ticks {
            let evidence = engine.step(pairs).unwrap();
            prop_assert!(is_number(evidence), "{evidence:?}");
        }
    }

    #[test]
    fn no_rank_is_ever_nan(
        baseline in prop::collection::vec(prop_oneof![any::<f64>(), 0.0..9.0_f64], 1..40),
        low in any::<bool>(),
        relative in select(vec![0.0, 0.1, ALMOST_ONE]),
        absolute in select(vec![0.0, 1.0, f64::MAX]),
        first_weight in select(vec![0.0, 0.75, 1.0]),
        points in prop::collection::vec(prop_oneof![any::<f64>(), 0.0..9.0_f64], 1..40),
    ) {
        let direction = if low { Direction::Low } else { Direction::High };
        let limits = RankLimits { direction, relative, absolute, first_weight, ..RankLimits::default() };
        let engine = Rank::new(&baseline, limits);
        prop_assert_eq!(engine.is_ok(), baseline.iter().all(|point| point.is_finite()));
        let Ok(mut engine) = engine else { return Ok(()) };
        for point in points {
            let evidence = engine.step(point).unwrap();
            prop_assert!(is_number(evidence), "{evidence:?}");
        }
    }

    #[test]
    fn no_fold_is_ever_nan(
        parts in prop::collection::vec((
            prop_oneof![select(vec![0.0, -1.0, TINY, 1.0, f64::MAX, f64::NAN, f64::INFINITY]), 0.0..9.0_f64],
            prop_oneof![select(vec![f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300]), -99.0..99.0_f64],
            prop_oneof![select(vec![f64::INFINITY, f64::NEG_INFINITY]), -99.0..99.0_f64],
        ), 0..9),
    ) {
        let part = |(weight, rollback, keep)| Part { weight, evidence: Evidence { rollback, keep } };
        let parts: Vec<Part> = parts.into_iter().map(part).collect();
        prop_assert!(is_number(fold(&parts)), "{:?}", fold(&parts));
    }

    #[test]
    fn what_is_refused_changes_nothing(limits in limits(), ticks in ticks(), x in nonsense()) {
        let mut ratio = Ratio::new(limits).unwrap();
        let odds = RelativeLimits { odds_acceptable: 1.0, odds_unacceptable: 2.0, floor: limits };
        let mut relative = Relative::new(odds).unwrap();
        for (bad, all) in ticks {
            let good = Pairs { neither: all / 2.0, green_only: bad / 2.0, ..Pairs::default() };
            ratio.step(bad, all).unwrap();
            relative.step(good).unwrap();
            let before = (ratio.clone(), relative.clone());
            for refused in [
                ratio.step(x, all),
                ratio.step(bad, x),
                ratio.step(2.0, 1.0),
                ratio.peek(bad, x, all),
                ratio.peek(bad, all, x),
                ratio.peek(0.0, 2.0, 1.0),
                relative.step(Pairs { neither: x, ..good }),
                relative.step(Pairs { green_only: x, ..good }),
                relative.step(Pairs { blue_only: x, ..good }),
                relative.step(Pairs { both: x, ..good }),
                relative.step(Pairs { neither: MOST, green_only: MOST, ..good }),
            ] {
                prop_assert!(refused.is_err(), "took {x}: {refused:?}");
            }
            prop_assert!(same(&ratio, &before.0) && same(&relative, &before.1), "{x}");
        }
    }

    #[test]
    fn the_order_of_a_ticks_probes_changes_no_bit_of_the_evidence(
        (samples, shuffled) in samples().prop_flat_map(|s| (Just(s.clone()), Just(s).prop_shuffle())),
        limits in usual_limits(),
    ) {
        let (one, other) = (recorded(&samples), recorded(&shuffled));
        prop_assert_eq!(&one, &other);
        let evidence = [&one, &other].map(|tick| {
            let mut engine = Ratio::new(limits).unwrap();
            let Evidence { rollback, keep } =
                engine.step(count(tick.bad()), count(tick.judged())).unwrap();
            (rollback.to_bits(), keep.to_bits())
        });
        prop_assert_eq!(evidence[0], evidence[1]);
    }

    #[test]
    fn shards_merged_in_any_order_are_the_whole(
        (shards, shuffled) in prop::collection::vec(samples(), 1..5)
            .prop_flat_map(|shards| (Just(shards.clone()), Just(shards).prop_shuffle())),
    ) {
        let whole = recorded(&shards.concat());
        let mut merged = TargetTick::default();
        shuffled.iter().for_each(|shard| merged.merge(&recorded(shard)));
        prop_assert_eq!(&merged, &whole);

        let mut latency = Interval::default();
        shuffled.iter().for_each(|shard| latency.merge(&recorded(shard).latency));
        prop_assert_eq!(&latency, &whole.latency);

        let targets = shuffled.iter().enumerate();
        let targets = targets.map(|(i, shard)| (format!("10.0.0.{i}:80"), recorded(shard)));
        let arm = ArmTick { targets: targets.collect() };
        prop_assert_eq!(arm.total(), whole);
    }
}
