//! What evidence costs: at most 1 µs for an objective and tick; and what a latency costs: at most 10 ns a record.
//!
//! Each engine is fed a decision's worth of ticks, five minutes at two seconds and more, then starts anew:
//! an engine left running for millions of ticks would be measured far outside anything it ever sees.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench: clippy knows only `#[test]` functions as tests, and the macro documents nothing"
)]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use policies::Histogram;
use policies::evidence::{
    Evidence, Pairs, Part, Rank, RankLimits, Ratio, RatioLimits, Relative, RelativeLimits, fold,
};
use policies::histogram::{Interval, Recorder};

/// Ticks until the deadline: ten minutes of two seconds.
const HORIZON: u64 = 300;

/// A bad probe or two in every fourth tick, so that neither side of the evidence stands still.
fn bads(tick: u64) -> f64 {
    if tick.is_multiple_of(4) { if tick.is_multiple_of(8) { 2.0 } else { 1.0 } } else { 0.0 }
}

fn ratio(criterion: &mut Criterion) {
    for per_tick in [1.0, 40.0, 4000.0] {
        let fresh = Ratio::new(RatioLimits::new(0.005, 0.01, per_tick, HORIZON)).unwrap();
        let mut engine = fresh.clone();
        let mut tick = 0;
        criterion.bench_function(&format!("ratio, {per_tick} probes"), |bencher| {
            bencher.iter(|| {
                tick += 1;
                if tick == HORIZON {
                    tick = 0;
                    engine = fresh.clone();
                }
                engine.step(black_box(bads(tick) * per_tick / 40.0), black_box(per_tick))
            });
        });
        criterion.bench_function(&format!("ratio, peek, {per_tick} probes"), |bencher| {
            bencher.iter(|| {
                fresh.peek(black_box(0.5), black_box(per_tick / 2.0), black_box(per_tick))
            });
        });
    }
}

fn relative(criterion: &mut Criterion) {
    let floor = RatioLimits::new(0.005, 0.01, 40.0, HORIZON);
    let limits = RelativeLimits { odds_acceptable: 1.0, odds_unacceptable: 2.0, floor };
    let fresh = Relative::new(limits).unwrap();
    let mut engine = fresh.clone();
    let mut tick = 0;
    criterion.bench_function("relative, 40 pairs", |bencher| {
        bencher.iter(|| {
            tick += 1;
            if tick == HORIZON {
                tick = 0;
                engine = fresh.clone();
            }
            let green_only = bads(tick);
            let blue_only = bads(tick + 2);
            let neither = 40.0 - green_only - blue_only;
            engine.step(black_box(Pairs { neither, green_only, blue_only, both: 0.0 }))
        });
    });
}

fn rank(criterion: &mut Criterion) {
    let baseline: Vec<f64> = (0..60).map(|i| f64::from(i * 37 % 60)).collect();
    let fresh = Rank::new(&baseline, RankLimits::default()).unwrap();
    let mut engine = fresh.clone();
    let mut point = 0;
    criterion.bench_function("rank, 60 points of baseline", |bencher| {
        bencher.iter(|| {
            point += 1;
            if point == 60 {
                point = 0;
                engine = fresh.clone();
            }
            engine.step(black_box(f64::from(point * 7 % 60)))
        });
    });
}

fn folding(criterion: &mut Criterion) {
    let parts: Vec<Part> = (0..20)
        .map(|i| f64::from(i * 7 % 20))
        .map(|x| Part { weight: 1.0, evidence: Evidence { rollback: x - 10.0, keep: 10.0 - x } })
        .collect();
    criterion.bench_function("fold of 20", |bencher| bencher.iter(|| fold(black_box(&parts))));
}

/// Per element: what a record costs, sorting into buckets included. 2,000 is a tick at 1,000/s.
fn recording(criterion: &mut Criterion) {
    let latencies: Vec<Duration> =
        (0..2000u32).map(|i| Duration::from_micros(u64::from(2000 + i * 7919 % 50_000))).collect();
    let mut group = criterion.benchmark_group("records");
    group.throughput(Throughput::Elements(2000));
    for (name, recorder) in
        [("fine", Recorder::fine as fn() -> Recorder), ("coarse", Recorder::coarse)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut recorder = recorder();
                for latency in &latencies {
                    recorder.record(black_box(*latency));
                }
                recorder.close()
            });
        });
    }
}

fn latencies(criterion: &mut Criterion) {
    let latency = |i: u32| Duration::from_micros(u64::from(2000 + i * 7919 % 50_000));
    criterion.bench_function("40 latencies into an interval", |bencher| {
        bencher.iter(|| {
            let mut interval = Interval::default();
            for i in 0..40 {
                interval.record(black_box(latency(i)));
            }
            interval
        });
    });
    let mut interval = Interval::default();
    (0..40).for_each(|i| interval.record(latency(i)));
    let mut histogram = Histogram::of_arm();
    criterion.bench_function("an interval of 40 into a histogram", |bencher| {
        bencher.iter(|| histogram.add(black_box(&interval)));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = ratio, relative, rank, folding, recording, latencies
}
criterion_main!(benches);
