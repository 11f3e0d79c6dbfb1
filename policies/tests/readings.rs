//! What others measure, conditions, and the watch after the answer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use common::{ERRORS, at, deployment, policy, question, read, resolved_to, target, tick, told};
use expect_test::expect;
use policies::plan::Observation;
use policies::policy::During;
use policies::reading::{AlarmState, Seen, StoppedTask};
use policies::{Action, Delivery, Deployment, Event, Outcome, Phase, Reading, Run, Stage};

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
fn what_gate_did_not_read_while_it_was_away_is_no_silence() {
    let alarms = "  - alarms: { names: [red] }\n";
    let scraped = "  - metrics: { bad: 'errors_total', of: 'requests_total', at-most: 1% }\n";
    for (objectives, restarted, decided) in [
        (alarms, true, false),
        (alarms, false, true),
        (scraped, true, false),
        (scraped, false, true),
    ] {
        let mut run = Run::new(question());
        run.step(resolved_to(deployment(), &policy(&format!("{ERRORS}{objectives}"))), at(0));
        let good = [(Outcome::Ok, 40)];
        run.step(tick(0, &good, &good), at(2));
        if restarted {
            run.step(Event::Resumed, at(400));
        }
        run.step(tick(1, &good, &good), at(402));
        assert_eq!(run.decision().is_some(), decided, "{objectives} restarted: {restarted}");
    }
}

#[test]
fn probes_of_sidecars_are_judged_a_second_at_a_time() {
    let each = |bad, all| {
        move |index: u64| {
            let began = i64::try_from(index).unwrap() * 2000;
            (index > 0).then_some((began, Seen::Counts { bad, all }))
        }
    };
    let errors = format!("{ERRORS}  - sidecar: {{ at-most: 1% }}\n");
    let name = "errors of sidecars at most 1 %";
    expect![[r#"
        rollback, proven: `errors of sidecars at most 1 %` is broken: 12 of 120 probes bad (10 %, at any time 2.5-26 % with 99 % confidence); evidence 333:1 that more than 1 % are; together 166:1 (rollback at 100:1)
        would not have been rolled back by then if at-most were 1.3 % (`errors of sidecars at most 1 %`)
    "#]].assert_eq(&told(&reading(&errors, name, each(4.0, 40.0))));
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `errors of sidecars at most 1 %`: 0 of 1120 bad; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]].assert_eq(&told(&reading(&errors, name, each(0.0, 40.0))));
    let slow = format!("{ERRORS}  - sidecar: {{ quantile: p95, at-most: 250ms }}\n");
    let name = "p95 of sidecars at most 250 ms";
    expect![[r#"
        rollback, proven: `p95 of sidecars at most 250 ms` is broken: 48 of 160 probes slower than 250 ms (30 %, at any time 17-45 % with 99 % confidence); evidence 611:1 that more than 5 % are; together 306:1 (rollback at 100:1)
        would not have been rolled back by then if the share allowed to be slow were 6.5 % (`p95 of sidecars at most 250 ms`)
    "#]].assert_eq(&told(&reading(&slow, name, each(12.0, 40.0))));
    expect![[r#"
        rollback, no-data: no data: nothing was read for `p95 of sidecars at most 250 ms` for 10 s; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&told(&reading(&slow, name, |_| None)));
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
fn a_gate_that_was_down_has_not_missed_data() {
    let good = [(Outcome::Ok, 40)];
    let mut run = Run::new(question());
    let objectives = format!("{ERRORS}  - sidecar: {{ at-most: 1% }}\n");
    run.step(resolved_to(deployment(), &policy(&objectives)), at(0));
    run.step(tick(0, &good, &good), at(2));
    run.step(Event::Resumed, at(60));
    for index in 30..34 {
        run.step(tick(index, &good, &good), at(2 * index + 2));
        assert_eq!(run.decision(), None);
    }
    run.step(tick(34, &good, &good), at(70));
    expect![[r#"
        rollback, no-data: no data: nothing was read for `errors of sidecars at most 1 %` for 10 s; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]]
    .assert_eq(&told(&run));
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
        would not have been rolled back by then if the share allowed to be slow were 11 % (`p90 of http_seconds at most 250 ms`)
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
    let looked = |health: Option<&str>, ticks: u64, looks: u64| {
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
            if index % 5 == 4 && index / 5 < looks {
                run.step(Event::Unchanged, at(2 * index + 2));
            }
        }
        told(&run)
    };
    let with = |health: Option<&str>, ticks: u64| looked(health, ticks, u64::MAX);
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
        rollback, no-data: no data: nothing was read for `healthy targets at least 100 %` for 2.5 min; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&with(None, 300));
    // Seen once, and AWS said nothing more: that it failed for 30 s is not known.
    expect![[r#"
        rollback, no-data: no data: nothing was read for `healthy targets at least 100 %` for 2.5 min; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&looked(Some("unhealthy"), 300, 1));
}

#[test]
fn tasks_that_stop_by_themselves_roll_back_at_once_and_are_named() {
    let stopped = |exit_code, reason: &str| StoppedTask {
        container: "web".into(),
        exit_code,
        reason: reason.into(),
    };
    let of = |at_most: &str, tasks: Vec<StoppedTask>| {
        let objectives = format!("{ERRORS}  - stopped-tasks: {{ {at_most} }}\n");
        let seen = |index: u64| {
            let tasks = if index >= 5 { tasks.clone() } else { Vec::new() };
            let count = u32::try_from(tasks.len()).unwrap();
            Some((0, Seen::Stopped { count, tasks }))
        };
        let name = at_most.split(',').next().unwrap().replace("at-most:", "stopped tasks at most");
        told(&reading(&objectives, &name, seen))
    };
    let crash = || stopped(Some(1), "Essential container in task exited");
    let killed = || stopped(Some(137), "OutOfMemoryError: Container killed due to memory usage");
    let unpulled =
        || stopped(None, "CannotPullContainerError:\nref pull has been retried 5 time(s)");
    expect![[r#"
        rollback, condition: `stopped tasks at most 0` is broken: 3 tasks of green stopped by themselves: web exited with 1 (Essential container in task exited); web exited with 137 (OutOfMemoryError: Container killed due to memory usage); web stopped without an exit code (CannotPullContainerError: ref pull has been r…
        would have been watched on if at-most were 3 (`stopped tasks at most 0`)
    "#]].assert_eq(&of("at-most: 0", vec![crash(), killed(), unpulled()]));
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `stopped tasks at most 0` holds; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]].assert_eq(&of("at-most: 0", vec![]));
    expect![[r#"
        continue, proven: every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad, `stopped tasks at most 1` holds; evidence at least over 1000000:1 (continue at 100:1)
        would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
    "#]].assert_eq(&of("at-most: 1", vec![crash()]));
    expect![[r#"
        rollback, condition: `stopped tasks at most 0` is broken: 1 task of green stopped by itself: web exited with 137 (OutOfMemoryError: Container killed due to memory usage); for 20 s now
        would have been watched on if at-most were 1 (`stopped tasks at most 0`)
    "#]].assert_eq(&of("at-most: 0, for: 20s", vec![killed()]));
    let long = stopped(Some(1), &"why ".repeat(100));
    expect![[r#"
        rollback, condition: `stopped tasks at most 0` is broken: 2 tasks of green stopped by themselves: web exited with 1 (Essential container in task exited); web exited with 1 (why why why why why why why why why why why why why why why why why why why why why why why why why why why why why why why why why why wh…
        would have been watched on if at-most were 2 (`stopped tasks at most 0`)
    "#]].assert_eq(&of("at-most: 0", vec![crash(), long]));
}

#[test]
fn tasks_that_cannot_be_listed_are_no_data() {
    let objectives = format!("{ERRORS}  - stopped-tasks: {{ at-most: 0 }}\n");
    expect![[r#"
        rollback, no-data: no data: nothing was read for `stopped tasks at most 0` for 76 s; answering rollback by the policy's `no-data` rule
        would have continued if no-data were continue
    "#]].assert_eq(&told(&reading(&objectives, "stopped tasks at most 0", |_| None)));
}

#[test]
fn a_task_that_never_started_counts_though_green_was_never_reached() {
    let objectives = format!("{ERRORS}  - stopped-tasks: {{ at-most: 0 }}\n");
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), &policy(&objectives)), at(0));
    let seen = Seen::Stopped { count: 1, tasks: Vec::new() };
    run.step(read("stopped tasks at most 0", seen), at(15));
    expect![[r#"
        rollback, condition: `stopped tasks at most 0` is broken: 1 task of green stopped by itself
        would have been watched on if at-most were 1 (`stopped tasks at most 0`)
    "#]]
    .assert_eq(&told(&run));
}

#[test]
fn real_traffic_is_known_from_its_weight_or_its_stage() {
    let since = |changes: Vec<(u64, Option<f64>, Stage)>| {
        let mut run = Run::new(question());
        for (seconds, green_weight, stage) in changes {
            let found = Deployment { green_weight, stage, ..deployment() };
            run.step(resolved_to(found, &policy(ERRORS)), at(seconds));
        }
        run.traffic_since().map(|at| at.as_millis() / 1000)
    };
    let before = Stage::AfterAllowTestTraffic;
    assert_eq!(since(vec![(1, None, before), (11, Some(0.0), before)]), None);
    assert_eq!(since(vec![(1, Some(0.0), before), (11, Some(10.0), Stage::Unknown)]), Some(11));
    assert_eq!(since(vec![(11, Some(10.0), before), (21, Some(50.0), before)]), Some(11));
    assert_eq!(since(vec![(1, None, Stage::AfterAllowTraffic)]), Some(1));
    assert_eq!(since(vec![(1, Some(0.0), Stage::PostProductionTrafficShift)]), Some(1));
}

#[test]
fn a_run_knows_how_far_it_was_read_whatever_became_of_it() {
    let series = "  - cloudwatch: { metric: TargetResponseTime, at-most: +20% }\n";
    let name = "TargetResponseTime Average at most +20 %";
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), &policy(&format!("{ERRORS}{series}"))), at(0));
    let mut read = |began_millis, seen| {
        let reading = Box::new(Reading { objective: name.into(), began_millis, seen });
        run.step(Event::Read { reading }, at(100));
        (run.newest_reading(name), run.has_baseline(name))
    };
    assert_eq!(read(-1, Seen::Baseline { points: vec![1.0; 19] }), (None, false), "too few");
    assert_eq!(read(-1, Seen::Baseline { points: vec![1.0; 20] }), (None, true));
    assert_eq!(read(120_000, Seen::Point { value: None }), (Some(120_000), true));
    assert_eq!(read(60_000, Seen::Point { value: Some(1.0) }), (Some(120_000), true));
}

#[test]
fn aws_is_asked_for_what_is_judged_now() {
    let policy = policy(
        "  - errors: { at-most: 1% }
  - cloudwatch: { metric: Errors, of: Invocations, namespace: AWS/Lambda, at-most: 1%, during: question }
  - cloudwatch: { metric: Duration, namespace: AWS/Lambda, statistic: p99, at-most: +20%, period: 2m, during: watch }
  - metrics: { bad: failed, of: all, at-most: 1% }
  - alarms: { names: [one, other] }
  - healthy-targets: { at-least: 100% }
  - stopped-tasks: { at-most: 0, during: watch }
watch: {}
",
    );
    let file = policies::PolicyFile::parse("web.policy.yaml", &policy);
    let policy = file.policy.unwrap();
    let shown = |during| {
        let lines = policy.observed(during).into_iter().map(|observed| match observed.what {
            Observation::Counts { bad, all, period } => {
                format!("{}: {} of {} in {period:?}", observed.objective, bad.name, all.name)
            }
            Observation::Series { metric, period } => {
                format!("{}: {} in {period:?}", observed.objective, metric.name)
            }
            Observation::Alarms { names } => format!("{}: {}", observed.objective, names.join(",")),
            Observation::StoppedTasks => format!("{}: tasks", observed.objective),
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        Errors of Invocations at most 1 %: Errors of Invocations in 60s
        alarms one, other: one,other"#]]
    .assert_eq(&shown(During::Question));
    expect![[r#"
        Duration p99 at most +20 %: Duration in 120s
        alarms one, other: one,other
        stopped tasks at most 0: tasks"#]]
    .assert_eq(&shown(During::Watch));
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
