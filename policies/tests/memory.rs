//! What a large run holds: 20 objectives, 200 targets, an hour.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::fmt::Write as _;

use common::{arm, at, deployment, question, resolved_to, target};
use peak_alloc::PeakAlloc;
use policies::{ArmTick, Deployment, Event, Outcome, Run, Target, Tick};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// Targets of green; blue has as many.
const TARGETS: u16 = 100;
const LIMIT_BYTES: usize = 16 * 1024 * 1024;

fn fleet(octet: u8) -> Vec<String> {
    (0..TARGETS).map(|task| format!("10.{octet}.{}.{}:80", task / 250, task % 250)).collect()
}

/// One probe a second of each target, latencies spread over three decades.
fn ticked(ids: &[String], index: u64) -> ArmTick {
    let mut tick = ArmTick::default();
    for (place, id) in (0_u64..).zip(ids) {
        let bad = u32::from((index + place).is_multiple_of(997));
        let millis = 1 + (index * 7919 + place * 104_729) % 1900;
        let outcomes = [(Outcome::Ok, 2 - bad), (Outcome::Status, bad)];
        tick.targets.extend(arm(id, &outcomes, 1, millis).targets);
    }
    tick
}

#[test]
fn an_hour_of_twenty_objectives_and_two_hundred_targets_stays_under_16_mib() {
    let mut policy =
        "gate: v1\nprobe: { http: { path: / }, rate: 100/s, timeout: 3s }\nobjectives:\n"
            .to_owned();
    for n in 1..=6 {
        writeln!(policy, "  - errors: {{ at-most: {n}% }}").unwrap();
        writeln!(policy, "  - latency: {{ quantile: p9{n}, at-most: {n}00ms, unacceptable: 60% }}")
            .unwrap();
        writeln!(policy, "  - latency: {{ quantile: p9{n}, versus: blue, at-most: +{n}0% }}")
            .unwrap();
    }
    policy.push_str("  - each-target: { errors: { at-most: 10% } }\n");
    policy.push_str("  - each-target: { latency: { quantile: p50, at-most: 1s } }\n");
    policy.push_str("decide: { at-least: 59m, deadline: 61m, false-rollback: 0.000001% }\n");

    let (greens, blues) = (fleet(1), fleet(2));
    let targets = |ids: &[String]| -> Vec<Target> { ids.iter().map(|id| target(id)).collect() };
    let found = Deployment { green: targets(&greens), blue: targets(&blues), ..deployment() };
    let limitless = policies::Question { limit: None, ..question() };
    let before = HEAP.current_usage();
    let mut run = Run::new(limitless);
    run.step(resolved_to(found, &policy), at(0));
    assert_eq!(run.report().objectives.len(), 20, "{:?}", run.decision());
    let mut judged = 0;
    for index in 0..1800 {
        let tick = Tick {
            index,
            green: ticked(&greens, index),
            blue: Some(ticked(&blues, index)),
            ..Tick::default()
        };
        let tick = Box::new(tick);
        run.step(Event::Ticked { tick }, at(2 * index + 2));
        judged += u32::from(run.decision().is_none());
    }
    let held = HEAP.current_usage() - before;
    println!("{held} bytes held after {judged} ticks");
    assert!(judged > 1700, "decided after {judged} ticks: {:?}", run.decision());
    assert!(held < LIMIT_BYTES, "{held} bytes");
    // What a whole run ever needed at once, its ticks and a report included.
    let report = serde_json::to_string(&run.report()).unwrap();
    drop(report);
    let peak = HEAP.peak_usage();
    println!("{peak} bytes at most, the whole test process");
}
