//! Deployments of functions: what may be probed how, what Lambda's own limits mean, what it reports.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::time::Duration;

use common::{at, deployment, question, resolved_to, told};
use expect_test::{Expect, expect};
use policies::deployment::Route;
use policies::sample::Invoked;
use policies::{ArmTick, Deployment, Event, Outcome, Phase, Run, Sample, Target, TargetTick, Tick};

const ADDRESSES: &str = "
gate: v1
probe: { grpc: {} }
objectives: [ { errors: { at-most: 1% } } ]
";
const FUNCTIONS: &str = "
gate: v1
probe: { lambda: { payload: '{\"check\":\"health\"}' } }
objectives: [ { errors: { at-most: 1% } } ]
";

fn version(number: u32) -> Target {
    Target {
        id: format!("checkout:{number}"),
        host: format!("checkout:{number}"),
        port: 0,
        tls: true,
        route: Route::Function,
        health: None,
    }
}

fn of_function() -> Deployment {
    Deployment { green: vec![version(42)], blue: vec![version(41)], ..deployment() }
}

#[track_caller]
fn check_kind(deployment: Deployment, policy: &str, expected: Expect) {
    let mut run = Run::new(question());
    run.step(resolved_to(deployment, policy), at(1));
    expected.assert_eq(&told(&run));
}

#[test]
fn a_policy_for_functions_is_none_for_addresses_nor_the_other_way_round() {
    check_kind(
        of_function(),
        FUNCTIONS,
        expect![[r#"
        judging: no decision
    "#]],
    );
    check_kind(
        deployment(),
        FUNCTIONS,
        expect![[r#"
        rollback, broken-policy: the policy for this deployment is broken: web.policy.yaml: the policy invokes functions (`lambda`), and 10.0.0.2:80 is an address; write `http`, `grpc` or another protocol, or name the functions it is for in `applies-to`; answering rollback by the setting `unmatched`
        would have continued if unmatched were continue
    "#]],
    );
    check_kind(
        of_function(),
        ADDRESSES,
        expect![[r#"
        rollback, broken-policy: the policy for this deployment is broken: web.policy.yaml: the policy probes by `grpc`, and checkout:42 is a version of a Lambda function, which has no address; write `probe: { lambda: {} }`, or a policy with `applies-to: { function: … }`; answering rollback by the setting `unmatched`
        would have continued if unmatched were continue
    "#]],
    );
}

/// A tick of green alone in which every probe came to the same.
fn tick(index: u64, sample: &Sample) -> Event {
    let mut target = TargetTick::default();
    for _probe in 0..40 {
        target.record(sample);
    }
    let green = ArmTick { targets: [("checkout:42".to_owned(), target)].into() };
    Event::Ticked { tick: Box::new(Tick { index, green, ..Tick::default() }) }
}

/// A run in which every probe came to the same, until it is decided.
fn run_of(sample: &Sample) -> Run {
    let mut run = Run::new(question());
    let alone = Deployment { blue: Vec::new(), ..of_function() };
    run.step(resolved_to(alone, FUNCTIONS), at(0));
    for index in 0..400 {
        if run.phase() != Phase::Judging {
            break;
        }
        run.step(tick(index, sample), at(2 * (index + 1)));
    }
    run
}

#[test]
fn throttled_probes_say_nothing_of_the_release() {
    let throttled = Sample { outcome: Outcome::Throttled, ..Sample::default() };
    expect![[r#"
        rollback, no-data: no data: no probe of green finished for 10 s: 200 × throttled; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&told(&run_of(&throttled)));
}

#[test]
fn why_nothing_could_be_sent_is_in_the_reason_and_noted_once() {
    let unsent = Sample {
        outcome: Outcome::NotSent,
        unmet: Some("Invoke of checkout:42 failed: AccessDeniedException".to_owned()),
        ..Sample::default()
    };
    let run = run_of(&unsent);
    expect![[r#"
        rollback, gate-trouble: not proven: gate itself could not measure in 300 of 300 ticks (Invoke of checkout:42 failed: AccessDeniedException), which says nothing about the release; answering rollback by the policy's `undecided` rule
        would have continued if undecided were continue
    "#]].assert_eq(&told(&run));
    let notes = run.report().timeline;
    let noted = notes.iter().filter(|note| note.text.contains("cannot be sent")).count();
    assert_eq!(noted, 1, "{notes:?}");
}

#[test]
fn a_report_has_what_was_seen_and_what_the_platform_reports() {
    let millis = Duration::from_millis;
    let sample = Sample {
        latency: millis(70),
        outcome: Outcome::Expectation,
        unmet: Some("function error Unhandled: `Error`: `boom`".to_owned()),
        invoked: vec![Invoked {
            wall: millis(470),
            init: Some(millis(400)),
            reported: Some(millis(60)),
            billed: Some(millis(461)),
            max_memory_bytes: Some(45 * 1024 * 1024),
        }],
        ..Sample::default()
    };
    let report = run_of(&sample).report();
    let total = report.green.unwrap().total;
    let functions = total.invocations.unwrap();
    expect!["80 of 80 invocations cold, init p50 401.4 ms, longest 401.4 ms; Lambda reports p50 60.2 ms, p99 60.2 ms; billed 36.9 s, at most 45 MB of memory"].assert_eq(&functions.text());
    expect![[r#"{"function error Unhandled: `Error`: `boom`": 80}"#]]
        .assert_eq(&format!("{:?}", total.unmet));
    assert_eq!(u64::from(functions.count), total.due);
    let json = serde_json::to_value(functions).unwrap();
    expect![[r#"{"billed_seconds":36.88,"cold":80,"count":80,"init_seconds":{"max":0.401407,"p50":0.401407,"p90":0.401407,"p99":0.401407},"max_memory_bytes":47185920,"reported_seconds":{"max":0.060159,"p50":0.060159,"p90":0.060159,"p99":0.060159},"wall_seconds":{"max":0.471039,"p50":0.471039,"p90":0.471039,"p99":0.471039}}"#]].assert_eq(&json.to_string());
}
