//! What each kind of objective makes of ticks and readings, through the whole life of a question.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::time::Duration;

use common::{ERRORS, arm, at, deployment, policy, question, resolved_to, target, tick, told};
use expect_test::{Expect, expect};
use policies::{ArmTick, Deployment, Event, Outcome, Run, Sample, Target, TargetTick, Tick};

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

fn check(objectives: &str, bads: impl Fn(u64) -> (u32, u32), expected: Expect) {
    expected.assert_eq(&told(&run_with(&policy(objectives), bads)));
}

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
        let tick = Box::new(Tick { index, green, blue, ..Tick::default() });
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
            let tick = Box::new(Tick { index, green, ..Tick::default() });
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
        let tick = Box::new(Tick { index, green, blue, ..Tick::default() });
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

/// Forty answers, all this slow.
fn slow(id: &str, millis: impl Fn(u32) -> u64) -> ArmTick {
    let mut tick = TargetTick::default();
    for i in 0..40 {
        tick.record(&Sample {
            held: Duration::ZERO,
            latency: Duration::from_millis(millis(i)),
            outcome: Outcome::Ok,
            ..Sample::default()
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
            let tick = Box::new(Tick {
                index,
                green: slow("10.0.0.2:80", green),
                blue,
                ..Tick::default()
            });
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
    Event::Ticked { tick: Box::new(Tick { index, green, ..Tick::default() }) }
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
        let tick = Box::new(Tick { index, green, blue, ..Tick::default() });
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
