//! What a whole run costs: an hour at 100 probes a second, tick by tick, in under 100 ms.

#![allow(
    clippy::unwrap_used,
    missing_docs,
    reason = "a bench: clippy knows only `#[test]` functions as tests, and the macro documents nothing"
)]

#[path = "../tests/common/mod.rs"]
mod common;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use policies::{ArmTick, Event, Moment, Outcome, Question, Run, Sample, TargetTick, Tick};

const POLICY: &str = "
gate: v1
probe: { http: { path: / }, rate: 100/s }
objectives:
  - errors:  { at-most: 0.5% }
  - errors:  { versus: blue }
  - latency: { quantile: p99, at-most: 250ms }
  - latency: { quantile: p99, versus: blue, at-most: +20% }
decide: { deadline: 61m, at-least: 60m }
";

/// A tick of 200 probes of one target, latencies spread as a service's are.
fn arm(id: &str, index: u64) -> ArmTick {
    let mut tick = TargetTick::default();
    for probe in 0..200 {
        let draw = (index * 200 + probe) * 7919 % 1000;
        let bad = draw == 1;
        let micros = 2000 + draw * 37 + if draw > 990 { 300_000 } else { 0 };
        tick.record(&Sample {
            held: std::time::Duration::ZERO,
            latency: std::time::Duration::from_micros(micros),
            outcome: if bad { Outcome::Status } else { Outcome::Ok },
            status: bad.then_some(500),
            ..Sample::default()
        });
    }
    ArmTick { targets: [(id.to_owned(), tick)].into() }
}

fn hour(criterion: &mut Criterion) {
    let events: Vec<(Event, Moment)> = (0..1800)
        .map(|index| {
            let (green, blue) = (arm("10.0.0.2:80", index), Some(arm("10.0.0.1:80", index)));
            let tick = Box::new(Tick { index, green, blue, ..Tick::default() });
            (Event::Ticked { tick }, common::at(2 * index + 2))
        })
        .collect();
    let fresh = || {
        let mut run = Run::new(Question { limit: None, ..common::question() });
        run.step(common::resolved_to(common::deployment(), POLICY), common::at(0));
        (run, events.clone())
    };
    let mut group = criterion.benchmark_group("run");
    group.sample_size(10);
    group.bench_function("an hour at 100/s, four objectives, both arms", |bencher| {
        bencher.iter_batched(
            fresh,
            |(mut run, events)| {
                for (event, at) in events {
                    run.step(event, at);
                }
                assert!(run.decision().is_none_or(|decision| decision.reason.contains("kept")));
                run
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, hour);
criterion_main!(benches);
