//! What each kind of objective makes of ticks and readings, through the whole life of a question.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::time::Duration;

use common::{arm, at, deployment, question, resolved_to, target, tick};
use expect_test::{Expect, expect};
use policies::reading::{AlarmState, Seen};
use policies::{
    Action, ArmTick, Delivery, Deployment, Event, Outcome, Phase, Reading, Run, Sample, Target,
    TargetTick, Tick,
};

fn policy(objectives: &str) -> String {
    format!("gate: v1\nprobe: {{ http: {{ path: / }} }}\nobjectives:\n{objectives}")
}

/// Ticks of 40 probes with this many bad ones of green and of blue, until something is decided.
fn run_with(policy: &str, bads: impl Fn(u64) -> (u32, u32)) -> Run {
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), policy), at(0));
    for index in 0..300 {
        let (green, blue) = bads(index);
        let of = |bad| [(Outcome::Ok, 40 - bad), (Outcome::Status, bad)];
        run.step(tick(index, &of(green), &of(blue)), at(2 * index + 2));
        if run.decision().is_some() {
            break;
        }
    }
    run
}

fn told(run: &Run) -> String {
    match run.decision() {
        Some(decision) => format!(
            "{}, {}: {}\n{}\n",
            decision.answer,
            decision.basis,
            decision.reason,
            decision.counterfactual.as_deref().unwrap_or("-")
        ),
        None => format!("{}: no decision\n", run.phase()),
    }
}

fn check(objectives: &str, bads: impl Fn(u64) -> (u32, u32), expected: Expect) {
    expected.assert_eq(&told(&run_with(&policy(objectives), bads)));
}

const ERRORS: &str = "  - errors: { at-most: 1% }\n";

#[test]
fn each_decision_says_what_would_have_changed_it() {
    check(
        ERRORS,
        |i| (u32::from(i % 2 == 0) * 2, 0),
        expect![[r#"
            rollback, proven: `errors at most 1 %` is broken: 24 of 920 probes bad (2.6 %, at any time 1.1-4.9 % with 99 % confidence): 24 × status 500; evidence 109:1 that more than 1 % are (rollback at 100:1)
            would not have been rolled back by then if at-most were 1.1 % (`errors at most 1 %`)
        "#]],
    );
    check(
        ERRORS,
        |_| (0, 0),
        expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]],
    );
    check(
        ERRORS,
        |i| (u32::from(i % 10 == 0), 0),
        expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 3 of 1200 bad; evidence at least 701432:1 (continue at 100:1)
        would have been rolled back if at-most were 0.013 % (`errors at most 1 %`)
    "#]],
    );
    // Between what is allowed and what must not pass.
    let unsure =
        format!("{ERRORS}decide: {{ false-rollback: 0.0001%, false-continue: 0.0001% }}\n");
    check(
        &unsure,
        |i| (u32::from(i % 2 == 0), 0),
        expect![[r#"
        continue, proven: every objective is kept after 8.9 min: `errors at most 1 %`: 134 of 10720 bad; evidence at least over 1000000:1 (continue at over 1000000:1)
        would have been rolled back if at-most were 0.84 % (`errors at most 1 %`)
    "#]],
    );
}

#[test]
fn a_fix_may_ship_when_blue_is_broken() {
    // Blue at 10 %, the fix at 2.5 %.
    check(
        ERRORS,
        |_| (1, 4),
        expect![[r#"
            continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 30 of 1200 bad, 29 ticks beside a broken blue set aside; blue is broken too, and green is no worse; evidence at least over 1000000:1 (continue at 100:1)
            would have been held to its own errors if blue were not broken too (`errors at most 1 %`)
        "#]],
    );
    // As bad as blue: neither better nor worse is proven.
    check(
        ERRORS,
        |_| (4, 4),
        expect![[r#"
            continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 120 of 1200 bad, 29 ticks beside a broken blue set aside; blue is broken too, and green is no worse; evidence at least 83639:1 (continue at 100:1)
            would have been held to its own errors if blue were not broken too (`errors at most 1 %`)
        "#]],
    );
    // Green's evidence gets there first, by chance: blue is under suspicion already.
    check(
        ERRORS,
        |i| match i % 4 {
            0 => (6, 2),
            2 => (0, 4),
            _ => (0, 0),
        },
        expect![[r#"
            continue, proven: every objective is kept after 70 s: `errors at most 1 %`: 54 of 1400 bad, 29 ticks beside a broken blue set aside; blue is broken too, and green is no worse; evidence at least 105:1 (continue at 100:1)
            would have been held to its own errors if blue were not broken too (`errors at most 1 %`)
        "#]],
    );
    // An outage of both says nothing of either, and shields nobody once it is over.
    let shared = |i| if (5..15).contains(&i) { (40, 40) } else { (0, 0) };
    check(
        ERRORS,
        shared,
        expect![[r#"
            continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 400 of 1200 bad, 21 ticks beside a broken blue set aside; evidence at least 525:1 (continue at 100:1)
            would have continued as soon with at-most down to 0.76 % (`errors at most 1 %`)
        "#]],
    );
    let later = |i| match i {
        0..10 => (0, 40),
        10..25 => (0, 0),
        _ => (40, 0),
    };
    check(
        ERRORS,
        later,
        expect![[r#"
        rollback, proven: `errors at most 1 %` is broken: 200 of 1200 probes bad (17 %, at any time 13-21 % with 99 % confidence), 21 ticks beside a broken blue set aside: 200 × status 500; evidence over 1000000:1 that more than 1 % are (rollback at 100:1)
        would have continued if at-most were 42 % (`errors at most 1 %`)
    "#]],
    );
    // Worse than a broken blue.
    check(
        ERRORS,
        |i| if i < 4 { (4, 4) } else { (40, 4) },
        expect![[r#"
            rollback, proven: `errors at most 1 %` is broken: 336 of 480 probes bad (70 %, at any time 62-77 % with 99 % confidence), 11 ticks beside a broken blue set aside: 336 × status 500; evidence 192:1 that green is worse than blue, which is broken too (rollback at 100:1)
            -
        "#]],
    );
}

#[test]
fn a_blue_that_broke_and_is_gone_shields_nobody() {
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), &policy(ERRORS)), at(0));
    for index in 0..40 {
        let bad = [(Outcome::Status, 40)];
        let green = arm("10.0.0.2:80", if index < 5 { &[(Outcome::Ok, 40)] } else { &bad }, 1, 5);
        let blue = (index < 5).then(|| arm("10.0.0.1:80", &[(Outcome::Refused, 40)], 1, 5));
        if index == 5 {
            let alone = Deployment { blue: vec![], ..deployment() };
            run.step(resolved_to(alone, &policy(ERRORS)), at(2 * index + 1));
        }
        let tick = Box::new(Tick { index, green, blue });
        run.step(Event::Ticked { tick }, at(2 * index + 2));
    }
    expect![[r#"
        rollback, proven: `errors at most 1 %` is broken: 80 of 280 probes bad (29 %, at any time 19-39 % with 99 % confidence), 5 ticks beside a broken blue set aside: 80 × status 500; evidence 2053:1 that more than 1 % are (rollback at 100:1)
        would not have been rolled back by then if at-most were 6.9 % (`errors at most 1 %`)
    "#]].assert_eq(&told(&run));
}

#[test]
fn versus_blue_a_shared_outage_is_nobodys_fault() {
    let versus = "  - errors: { versus: blue }\n";
    check(
        versus,
        |i| if (5..15).contains(&i) { (40, 40) } else { (0, 0) },
        expect![[r#"
        rollback, undecided: not proven after 10 min (rollback needs 100:1, continue 100:1); least sure of `errors versus blue`: 400 of 12000 probes of green bad, 400 of 12000 of blue; evidence 1:1 that green is worse (rollback at 100:1), 1:2 that it is not; answering rollback by the policy's `undecided` rule
        would have continued if undecided were continue
    "#]],
    );
    check(
        versus,
        |_| (4, 0),
        expect![[r#"
            rollback, proven: `errors versus blue` is broken: 32 of 320 probes of green bad, 0 of 320 of blue: 32 × status 500; evidence 138:1 that green is worse (rollback at 100:1)
            would not have been rolled back by then if floor were above 10 % (`errors versus blue`)
        "#]],
    );
    // Worse than blue, and both below what matters.
    let floored = "  - errors: { versus: blue, floor: 5% }\n";
    check(
        floored,
        |i| (u32::from(i % 2 == 0), 0),
        expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors versus blue`: 15 of 1200 bad; evidence at least over 1000000:1 (continue at 100:1)
        -
    "#]],
    );
}

#[test]
fn without_blue_a_comparison_is_let_go_of_unless_its_rule_says_otherwise() {
    let first = |objectives: &str| {
        let mut run = Run::new(question());
        let alone = Deployment { blue: vec![], ..deployment() };
        run.step(resolved_to(alone, &policy(objectives)), at(0));
        for index in 0..300 {
            let green = arm("10.0.0.2:80", &[(Outcome::Ok, 40)], 1, 5);
            let tick = Box::new(Tick { index, green, blue: None });
            run.step(Event::Ticked { tick }, at(2 * index + 2));
        }
        told(&run)
    };
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `errors versus blue` has no data and is let go of; evidence at least over 1000000:1 (continue at 100:1)
        -
    "#]].assert_eq(&first(&format!("{ERRORS}  - errors: {{ versus: blue }}\n")));
    expect![[r#"
        rollback, no-data: no data: nothing of blue to compare with for 10 s, for `errors versus blue`; answering rollback by its own `no-data` rule
        would have continued if no-data were continue
    "#]]
        .assert_eq(&first(&format!("{ERRORS}  - errors: {{ versus: blue, no-data: rollback }}\n")));
    expect![[r#"
        rollback, no-data: no data: nothing of blue to compare with for 10 s, for `errors versus blue`; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&first("  - errors: { versus: blue }\n"));
}

#[test]
fn gate_being_late_is_no_lack_of_blue() {
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), &policy("  - errors: { versus: blue }\n")), at(0));
    for index in 0..20 {
        // Every probe of both arms was sent half a second late by gate itself.
        let late = |id| arm(id, &[(Outcome::Ok, 40)], 500, 505);
        let (green, blue) = (late("10.0.0.2:80"), Some(late("10.0.0.1:80")));
        let tick = Box::new(Tick { index, green, blue });
        run.step(Event::Ticked { tick }, at(2 * index + 2));
    }
    assert_eq!(told(&run), "judging: no decision\n");
}

#[test]
fn an_arm_that_gives_no_answers_can_be_compared_with_too() {
    // A fortieth of blue's probes time out, more than a p99 has room for; green is faultless.
    let latency = policy("  - latency: { quantile: p99, versus: blue, at-most: +20% }\n");
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), &latency), at(0));
    for index in 0..300 {
        let blue = [(Outcome::Ok, 39), (Outcome::Timeout, 1)];
        run.step(tick(index, &[(Outcome::Ok, 40)], &blue), at(2 * index + 2));
    }
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `p99 versus blue at most +20 %`: 0 of 680 bad; evidence at least over 1000000:1 (continue at 100:1)
        -
    "#]].assert_eq(&told(&run));
}

#[test]
fn time_in_which_everything_was_set_aside_is_not_time_observed() {
    let mut run = Run::new(question());
    let lax = policy("  - errors: { at-most: 5% }\n");
    run.step(resolved_to(deployment(), &lax), at(0));
    for index in 0..60 {
        let outcome = if index < 5 { Outcome::Ok } else { Outcome::Refused };
        run.step(tick(index, &[(outcome, 40)], &[(outcome, 40)]), at(2 * index + 2));
    }
    assert_eq!(told(&run), "judging: no decision\n");
}

#[test]
fn readings_that_cannot_be_are_no_data() {
    let metrics = "  - metrics: { histogram: http_seconds, quantile: p90, at-most: 250ms }\n";
    let impossible = |index: u64| {
        let cumulative = vec![(0.25, 1e9), (1.0, 40.0)];
        Some((i64::try_from(index).unwrap() * 2000, Seen::Buckets { cumulative, all: 40.0 }))
    };
    let name = "p90 of http_seconds at most 250 ms";
    expect![[r#"
        rollback, no-data: no data: nothing was read for `p90 of http_seconds at most 250 ms` for 10 s; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&told(&reading(&format!("{ERRORS}{metrics}"), name, impossible)));
}

/// Forty answers, all this slow.
fn slow(id: &str, millis: impl Fn(u32) -> u64) -> ArmTick {
    let mut tick = TargetTick::default();
    for i in 0..40 {
        tick.record(&Sample {
            held: Duration::ZERO,
            latency: Duration::from_millis(millis(i)),
            outcome: Outcome::Ok,
            status: None,
        });
    }
    ArmTick { targets: [(id.to_owned(), tick)].into() }
}

#[test]
fn latency_is_compared_with_what_blues_quantile_was_before() {
    let versus = policy("  - latency: { quantile: p95, versus: blue, at-most: +20% }\n");
    let decided = |green: fn(u32) -> u64| {
        let mut run = Run::new(question());
        run.step(resolved_to(deployment(), &versus), at(0));
        for index in 0..300 {
            // Blue takes 10 to 49 ms.
            let blue = Some(slow("10.0.0.1:80", |i| 10 + u64::from(i)));
            let tick = Box::new(Tick { index, green: slow("10.0.0.2:80", green), blue });
            run.step(Event::Ticked { tick }, at(2 * index + 2));
        }
        told(&run)
    };
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `p95 versus blue at most +20 %`: 0 of 1080 bad; evidence at least over 1000000:1 (continue at 100:1)
        -
    "#]].assert_eq(&decided(|i| 10 + u64::from(i)));
    expect![[r#"
        rollback, proven: `p95 versus blue at most +20 %` is broken: 104 of 320 probes of green slower than 56.4 ms (blue's p95 is 47 ms), 16 of 320 of blue; evidence 188:1 that green is worse (rollback at 100:1)
        would not have been rolled back by then if floor were above 32 % (`p95 versus blue at most +20 %`)
    "#]].assert_eq(&decided(|i| 30 + u64::from(i)));
}

/// Green's tasks, each with this many of 4 probes bad.
fn fleet(index: u64, tasks: u8, bads: impl Fn(u8) -> u32) -> Event {
    let mut green = ArmTick::default();
    for task in 0..tasks {
        let bad = bads(task);
        let id = format!("10.0.1.{task}:80");
        green
            .targets
            .extend(arm(&id, &[(Outcome::Ok, 4 - bad), (Outcome::Status, bad)], 1, 5).targets);
    }
    Event::Ticked { tick: Box::new(Tick { index, green, blue: None }) }
}

#[test]
fn one_bad_target_of_fifty_is_found_and_named() {
    let each =
        policy("  - errors: { at-most: 5% }\n  - each-target: { errors: { at-most: 10% } }\n");
    let green: Vec<Target> = (0..50).map(|task| target(&format!("10.0.1.{task}:80"))).collect();
    let mut run = Run::new(question());
    run.step(resolved_to(Deployment { green, blue: vec![], ..deployment() }, &each), at(0));
    for index in 0..30 {
        run.step(fleet(index, 50, |task| u32::from(task == 17) * 3), at(2 * index + 2));
    }
    expect![[r#"
        rollback, proven: `errors at most 10 % at each target` is broken: most suspect is 10.0.1.17:80: 18 of 24 probes bad: 18 × status 500; evidence 16747:1 that more than 10 % are; together 126:1 (rollback at 100:1)
        would not have been rolled back by then if 10.0.1.17:80 were not there, or at-most were above 75 % (`errors at most 10 % at each target`)
    "#]].assert_eq(&told(&run));
}

#[test]
fn an_objective_that_only_observes_is_judged_and_never_decides() {
    let objectives = "  - errors: { at-most: 50% }\n  - latency: { quantile: p99, at-most: 1ms, observe: true }\n";
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), &policy(objectives)), at(0));
    for index in 0..40 {
        let (green, blue) = (slow("10.0.0.2:80", |_| 5), Some(slow("10.0.0.1:80", |_| 0)));
        let tick = Box::new(Tick { index, green, blue });
        run.step(Event::Ticked { tick }, at(2 * index + 2));
    }
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 50 %`: 0 of 1200 bad; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.32 % (`errors at most 50 %`)
    "#]].assert_eq(&told(&run));
    let verdicts: Vec<String> = run
        .report()
        .objectives
        .iter()
        .map(|objective| format!("{} {}", objective.verdict, objective.name))
        .collect();
    assert_eq!(verdicts, ["Kept errors at most 50 %", "Broken p99 at most 1 ms"]);
}

#[test]
fn a_weight_is_a_share_of_the_error_rate() {
    let shares = |objectives: &str| {
        let run = run_with(&policy(objectives), |_| (0, 0));
        run.report().objectives.iter().map(|o| o.share).collect::<Vec<_>>()
    };
    let weighed =
        "  - errors: { at-most: 1%, weight: 3 }\n  - latency: { quantile: p99, at-most: 250ms }\n";
    assert_eq!(shares(weighed), [Some(0.75), Some(0.25)]);
    let observed =
        format!("{weighed}  - slo: {{ availability: 99%, burn-rate: 2, observe: true }}\n");
    assert_eq!(shares(&observed), [Some(0.75), Some(0.25), Some(0.2)]);
}

/// Healthy ticks, and a reading after each from the sixth on.
fn reading(objectives: &str, objective: &str, seen: impl Fn(u64) -> Option<(i64, Seen)>) -> Run {
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), &policy(objectives)), at(0));
    for index in 0..300 {
        let good = [(Outcome::Ok, 40)];
        run.step(tick(index, &good, &good), at(2 * index + 2));
        if let Some((began_millis, seen)) = seen(index) {
            let reading = Box::new(Reading { objective: objective.into(), began_millis, seen });
            run.step(Event::Read { reading }, at(2 * index + 2));
        }
        if run.decision().is_some() {
            break;
        }
    }
    run
}

const REQUESTS: &str =
    "  - cloudwatch: { metric: HTTPCode_Target_5XX_Count, of: RequestCount, at-most: 1% }\n";
const REQUESTS_NAME: &str = "HTTPCode_Target_5XX_Count of RequestCount at most 1 %";

/// A minute's counts at the end of each minute.
fn minutes(bad: f64, all: f64) -> impl Fn(u64) -> Option<(i64, Seen)> {
    move |index| {
        let began = i64::try_from(index).unwrap() * 2000 + 2000 - 60_000;
        ((index + 1) % 30 == 0).then_some((began, Seen::Counts { bad, all }))
    }
}

#[test]
fn counts_of_others_are_judged_a_period_at_a_time() {
    let objectives = format!("{ERRORS}{REQUESTS}");
    expect![[r#"
        rollback, proven: `HTTPCode_Target_5XX_Count of RequestCount at most 1 %` is broken: 1200 of 12000 events bad (10 %, at any time 9-11 % with 99 % confidence); evidence 456:1 that more than 1 % are; together 228:1 (rollback at 100:1)
        would have continued if at-most were 4 % (`HTTPCode_Target_5XX_Count of RequestCount at most 1 %`)
    "#]].assert_eq(&told(&reading(&objectives, REQUESTS_NAME, minutes(400.0, 4000.0))));
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `HTTPCode_Target_5XX_Count of RequestCount at most 1 %`: 2 of 4000 bad; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]].assert_eq(&told(&reading(&objectives, REQUESTS_NAME, minutes(2.0, 4000.0))));
}

#[test]
fn what_was_measured_before_green_was_reached_never_decides() {
    let objectives = format!("{ERRORS}{REQUESTS}");
    let before = |index| (index == 1).then_some((-60_000, Seen::Counts { bad: 9e3, all: 9e3 }));
    let run = reading(&objectives, REQUESTS_NAME, before);
    assert_eq!(run.report().fenced_readings, 1);
    expect![[r#"
        rollback, no-data: no data: nothing was read for `HTTPCode_Target_5XX_Count of RequestCount at most 1 %` for 5 min; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&told(&run));
}

#[test]
fn an_objective_without_data_follows_its_own_rule() {
    let never = |_| None;
    let own = REQUESTS.replace(" }", ", no-data: continue }");
    expect![[r#"
        rollback, no-data: no data: nothing was read for `HTTPCode_Target_5XX_Count of RequestCount at most 1 %` for 5 min; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&told(&reading(&format!("{ERRORS}{REQUESTS}"), REQUESTS_NAME, never)));
    expect![[r#"
        continue, proven: every objective is kept after 5 min: `errors at most 1 %`: 0 of 6000 bad, `HTTPCode_Target_5XX_Count of RequestCount at most 1 %` has no data and is let go of; evidence at least over 1000000:1 (continue at 100:1)
        -
    "#]].assert_eq(&told(&reading(&format!("{ERRORS}{own}"), REQUESTS_NAME, never)));
}

#[test]
fn a_series_beside_its_baseline_can_only_veto() {
    let series = "  - cloudwatch: { metric: TargetResponseTime, at-most: +20% }\n";
    let objectives = format!("{ERRORS}{series}");
    let name = "TargetResponseTime Average at most +20 %";
    let with = |point: f64| {
        move |index: u64| {
            let began = i64::try_from(index).unwrap() * 2000;
            match index {
                0 => None,
                1 => {
                    let points = (0..60).map(|i| 0.1 + f64::from(i % 7) * 0.001).collect();
                    Some((-3_600_000, Seen::Baseline { points }))
                }
                _ => {
                    index.is_multiple_of(30).then_some((began, Seen::Point { value: Some(point) }))
                }
            }
        }
    };
    expect![[r#"
        rollback, proven: `TargetResponseTime Average at most +20 %` is broken: 4 points; evidence 446:1 that they are worse than the baseline; together 223:1 (rollback at 100:1)
        -
    "#]].assert_eq(&told(&reading(&objectives, name, with(0.4))));
    expect![[r#"
        continue, proven: every objective is kept after 5 min: `errors at most 1 %`: 0 of 6040 bad, `TargetResponseTime Average at most +20 %` has no veto; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.046 % (`errors at most 1 %`)
    "#]].assert_eq(&told(&reading(&objectives, name, with(0.105))));
}

#[test]
fn the_services_own_histogram_is_a_share_above_a_bound() {
    let metrics = "  - metrics: { histogram: http_seconds, quantile: p90, at-most: 250ms }\n";
    let buckets = |within: f64| {
        move |index: u64| {
            let cumulative = vec![(0.1, within / 2.0), (0.25, within), (1.0, 100.0)];
            Some((i64::try_from(index).unwrap() * 2000, Seen::Buckets { cumulative, all: 100.0 }))
        }
    };
    let name = "p90 of http_seconds at most 250 ms";
    expect![[r#"
        rollback, proven: `p90 of http_seconds at most 250 ms` is broken: 200 of 400 events bad (50 %, at any time 41-59 % with 99 % confidence); evidence 270:1 that more than 10 % are; together 135:1 (rollback at 100:1)
        would not have been rolled back by then if at-most were 11 % (`p90 of http_seconds at most 250 ms`)
    "#]].assert_eq(&told(&reading(&format!("{ERRORS}{metrics}"), name, buckets(50.0))));
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `p90 of http_seconds at most 250 ms`: 29 of 2900 bad; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]].assert_eq(&told(&reading(&format!("{ERRORS}{metrics}"), name, buckets(99.0))));
}

#[test]
fn a_condition_is_broken_only_after_it_failed_for_its_time() {
    let alarms = format!("{ERRORS}  - alarms: {{ names: [latency, errors], for: 20s }}\n");
    let state = |of: fn(u64) -> AlarmState| {
        move |index: u64| {
            let states = [("latency".to_owned(), of(index)), ("errors".to_owned(), AlarmState::Ok)];
            Some((0, Seen::Alarms { alarms: states.into() }))
        }
    };
    let told = |of| told(&reading(&alarms, "alarms latency, errors", state(of)));
    expect![[r#"
        rollback, condition: `alarms latency, errors` is broken: latency: red; for 20 s now
        would have been watched on if for were above 20 s (`alarms latency, errors`)
    "#]]
    .assert_eq(&told(|_| AlarmState::Alarm));
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `alarms latency, errors` holds; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]].assert_eq(&told(|i| if i < 8 { AlarmState::Alarm } else { AlarmState::Ok }));
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `alarms latency, errors` holds; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]].assert_eq(&told(|_| AlarmState::AlarmBefore));
    expect![[r#"
        rollback, undecided: not proven after 10 min (rollback needs 100:1, continue 100:1); least sure of `errors at most 1 %`: 0 of 12000 probes bad (0 %, at any time 0-0.04 % with 99 % confidence); evidence 1:48 that more than 1 % are (rollback at 100:1), over 1000000:1 that fewer than 2 % are; `alarms latency, errors` does not hold: latency: without a state; answering rollback by the policy's `undecided` rule
        would have continued if `alarms latency, errors` had held, or only observed
    "#]].assert_eq(&told(|_| AlarmState::Unknown));
}

#[test]
fn unhealthy_targets_stand_in_the_way_and_then_roll_back() {
    let objectives = format!(
        "{ERRORS}  - healthy-targets: {{ at-least: 100%, for: 30s }}\ndecide: {{ at-least: 3m }}\n"
    );
    let with = |health: Option<&str>, ticks: u64| {
        let mut run = Run::new(question());
        let mut green = target("10.0.0.2:80");
        green.health = health.map(str::to_owned);
        let found = || {
            resolved_to(
                Deployment { green: vec![green.clone()], ..deployment() },
                &policy(&objectives),
            )
        };
        run.step(found(), at(0));
        for index in 0..ticks {
            let good = [(Outcome::Ok, 40)];
            run.step(tick(index, &good, &good), at(2 * index + 2));
            if index % 5 == 4 {
                run.step(Event::Unchanged, at(2 * index + 2));
            }
        }
        told(&run)
    };
    expect![[r#"
        continue, proven: every objective is kept after 3 min: `errors at most 1 %`: 0 of 3600 bad, `healthy targets at least 100 %` holds; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.077 % (`errors at most 1 %`)
    "#]].assert_eq(&with(Some("healthy"), 300));
    expect![[r#"
        rollback, condition: `healthy targets at least 100 %` is broken: 0 of 1 targets healthy (0 %); for 30 s now
        would have been watched on if for were above 30 s (`healthy targets at least 100 %`)
    "#]].assert_eq(&with(Some("unhealthy"), 300));
    expect![[r#"
        continue, proven: every objective is kept after 3 min: `errors at most 1 %`: 0 of 3600 bad, `healthy targets at least 100 %` holds; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.077 % (`errors at most 1 %`)
    "#]].assert_eq(&with(Some("unused: Target.NotInUse, the target group is not used"), 300));
    expect![[r#"
        rollback, no-data: no data: nothing was read for `healthy targets at least 100 %` for 50 s; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&with(None, 300));
}

const WATCHED: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 1% } } ]
watch: { window: 60s }
";

fn watching(bads: impl Fn(u64) -> u32, remaining: Option<u64>) -> (Run, Vec<Action>) {
    let mut run = Run::new(question());
    let found = Deployment { remaining_seconds: remaining, ..deployment() };
    run.step(resolved_to(found, WATCHED), at(0));
    let mut index = 0;
    let mut actions = Vec::new();
    while index < 300 && !matches!(run.phase(), Phase::Vetoing) {
        let bad = bads(index);
        let green = [(Outcome::Ok, 40 - bad), (Outcome::Status, bad)];
        actions.extend(run.step(tick(index, &green, &[(Outcome::Ok, 40)]), at(2 * index + 2)));
        if run.phase() == Phase::Answering {
            let delivery = Delivery::Confirmed;
            actions.extend(run.step(Event::Delivered { delivery }, at(2 * index + 2)));
        }
        index += 1;
    }
    (run, actions)
}

#[test]
fn a_release_that_breaks_after_the_answer_is_vetoed() {
    let (run, actions) = watching(|i| if i > 100 { 20 } else { 0 }, None);
    let Some(Action::Veto { decision, .. }) = actions.last() else { panic!("{actions:?}") };
    expect!["`errors at most 1 %` is broken: 80 of 600 probes bad (13 %, at any time 8.9-19 % with 99 % confidence): 80 × status 500; evidence 5514:1 that more than 1 % are (rollback at 1480:1)"].assert_eq(&decision.reason);
    let report = run.report();
    assert_eq!(report.decision, Some("continue"), "the answer stands; the veto is apart from it");
    assert_eq!(report.watch.unwrap().veto.as_ref(), Some(&decision.reason));
}

#[test]
fn a_condition_fails_on_over_the_windows_of_a_watch() {
    let mut run = Run::new(question());
    let conditions = "  - healthy-targets: { at-least: 100%, for: 90s }\n";
    let watched = format!("{}watch: {{ window: 20s }}\n", policy(&format!("{ERRORS}{conditions}")));
    let with = |health: &str| {
        let mut green = target("10.0.0.2:80");
        green.health = Some(health.to_owned());
        resolved_to(Deployment { green: vec![green], ..deployment() }, &watched)
    };
    run.step(with("healthy"), at(0));
    let good = [(Outcome::Ok, 40)];
    for index in 0..150 {
        run.step(tick(index, &good, &good), at(2 * index + 2));
        if index % 5 == 4 {
            run.step(
                if index < 60 { with("healthy") } else { with("unhealthy") },
                at(2 * index + 2),
            );
        }
        if run.phase() == Phase::Answering {
            run.step(Event::Delivered { delivery: Delivery::Confirmed }, at(2 * index + 2));
        }
    }
    assert_eq!(run.phase(), Phase::Vetoing, "{:?}", run.report().timeline);
}

#[test]
fn windows_of_a_watch_spend_less_and_less_and_a_known_end_needs_but_one() {
    let noted = |remaining| {
        let (run, _) = watching(|_| 0, remaining);
        let notes = run.report().timeline.into_iter().map(|note| note.text);
        notes.filter(|text| text.starts_with("watching")).collect::<Vec<_>>()
    };
    let windows = noted(None);
    assert!(windows.len() > 5, "{windows:?}");
    expect![[r#"
        watching, window 1: false rollback at most 0.61 % in 60 s
        watching, window 2: false rollback at most 0.15 % in 60 s
        watching, window 3: false rollback at most 0.068 % in 60 s"#]]
    .assert_eq(&windows[..3].join("\n"));
    expect!["watching, window 1: false rollback at most 1 % in 5 min"]
        .assert_eq(&noted(Some(300)).join("\n"));
}
