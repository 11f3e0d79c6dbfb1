//! How long whoever asks waits, and runs that nobody asks for.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::time::Duration;

use common::{at, deployment, question, resolved_to, tick, trouble};
use expect_test::{Expect, expect};
use policies::run::{limit_for, margin};
use policies::{
    Action, Delivery, Deployment, Event, Outcome, Phase, PolicyInForce, Question, Run, Stage,
    Target,
};

const WATCHED: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 1% } } ]
watch: { until: end-of-deployment }
";

const UNWATCHED: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 1% } } ]
";

#[test]
fn the_margin_is_two_minutes_and_a_fifth_of_what_is_short() {
    for (limit_seconds, margin_seconds) in [(3600, 120), (600, 120), (300, 60), (60, 12), (0, 0)] {
        let limit = Duration::from_secs(limit_seconds);
        assert_eq!(margin(limit), Duration::from_secs(margin_seconds), "{limit_seconds} s");
        let deadline = limit - margin(limit);
        assert_eq!(limit_for(deadline), limit, "{limit_seconds} s");
    }
}

/// The moment at which a run that was resolved so wants to be woken for its deadline.
fn check_deadline(limit: Option<u64>, waits_seconds: Option<u64>, expected_seconds: u64) {
    let question = Question { limit: limit.map(Duration::from_secs), ..question() };
    let mut run = Run::new(question);
    let found = Deployment { waits_seconds, ..deployment() };
    let actions = run.step(resolved_to(found, UNWATCHED), at(10));
    let wake = Action::WakeAt(at(expected_seconds));
    assert!(actions.contains(&wake), "{limit:?} {waits_seconds:?}: {actions:?}");
}

#[test]
fn whoever_waits_for_less_is_answered_before() {
    // The policy's own deadline of ten minutes.
    check_deadline(Some(3600), None, 600);
    check_deadline(None, None, 600);
    // A pause that expires 300 s after it was resolved at 10 s: 310 s less a fifth.
    check_deadline(None, Some(300), 248);
    check_deadline(Some(400), Some(3600), 320);
}

#[test]
fn how_long_it_waits_is_said_once_and_does_not_creep() {
    let mut run = Run::new(Question { limit: None, ..question() });
    let found = |waits_seconds| {
        resolved_to(Deployment { waits_seconds: Some(waits_seconds), ..deployment() }, UNWATCHED)
    };
    run.step(found(300), at(0));
    run.step(found(300), at(100));
    let actions = run.step(Event::Woke, at(120));
    assert_eq!(actions, [Action::WakeAt(at(240))]);
}

/// A run that nobody asks for, at the end of these events: its phase, its last actions and its timeline.
fn check(events: Vec<(u64, Event)>, expected: Expect) {
    let mut run = Run::new(Question { watch_only: true, limit: None, ..question() });
    let mut last = run.start();
    for (seconds, event) in events {
        last = run.step(event, at(seconds));
    }
    let report = run.report();
    let names: Vec<&str> = last.iter().map(Action::name).collect();
    let mut shown = format!("{}: {}\n", run.phase(), names.join(", "));
    for note in &report.timeline {
        shown.push_str(&format!("{}\n", note.text));
    }
    assert!(run.decision().is_none(), "nobody asked");
    expected.assert_eq(&shown);
}

fn found(change: impl FnOnce(&mut Deployment), policy: &str) -> Event {
    let mut deployment = deployment();
    deployment.stage = Stage::Unknown;
    change(&mut deployment);
    resolved_to(deployment, policy)
}

#[test]
fn a_deployment_is_watched_from_its_first_green_target() {
    check(
        vec![
            (0, found(|found| found.green.clear(), WATCHED)),
            (10, found(|found| found.stage = Stage::BeforeInstall, WATCHED)),
            (20, found(|_| {}, WATCHED)),
        ],
        expect![[r#"
            watching: probe, resolve
            resolved: application web, group web-group, service prod:web, stage unknown, 0 green and 1 blue targets
            resolved: application web, group web-group, service prod:web, stage BeforeInstall, 1 green and 1 blue targets
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            judged by web.policy.yaml
            watching, window 1: false rollback at most 0.61 % in 10 min
        "#]],
    );
}

fn health(found: &mut Deployment, states: &[&str]) {
    let first = found.green.first().unwrap().clone();
    found.green = states
        .iter()
        .enumerate()
        .map(|(place, state)| Target {
            id: format!("10.0.2.{place}:80"),
            health: Some((*state).to_owned()),
            ..first.clone()
        })
        .collect();
}

#[test]
fn what_boots_is_not_watched_before_the_load_balancer_calls_it_healthy() {
    let broken = |index| tick(index, &[(Outcome::Refused, 40)], &[(Outcome::Ok, 40)]);
    let warm = WATCHED.replace("{ http: { path: / } }", "{ http: { path: / }, warm-up: 6s }");
    let states = |states: &'static [&'static str]| found(|d| health(d, states), &warm);
    check(
        vec![
            (0, states(&["unused: Target.NotInUse, not in use"])),
            (10, states(&["initial: Elb.RegistrationInProgress"])),
            (20, states(&["healthy"])),
            // The three ticks of the warm-up.
            (22, broken(0)),
            (24, broken(1)),
            (26, broken(2)),
            (28, tick(3, &[(Outcome::Ok, 40)], &[(Outcome::Ok, 40)])),
        ],
        expect![[r#"
            watching: 
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            judged by web.policy.yaml
            watching, window 1: false rollback at most 0.61 % in 10 min
        "#]],
    );
}

#[test]
fn a_target_that_joins_is_probed_once_it_was_called_healthy() {
    let mut run = Run::new(question());
    let mut step = |seconds, states: &'static [&'static str]| {
        let actions = run.step(found(|d| health(d, states), UNWATCHED), at(seconds));
        let plan = |action: &Action| {
            let Action::Probe(plan) = action else { return None };
            Some(plan.green.len())
        };
        let probed = actions.iter().find_map(plan);
        probed.map_or_else(|| "as before".to_owned(), |green| green.to_string())
    };
    // Nobody is served yet: all are probed, however they are.
    assert_eq!(step(0, &["initial", "initial"]), "2");
    assert_eq!(step(10, &["healthy", "healthy"]), "as before");
    assert_eq!(
        step(20, &["healthy", "healthy", "initial: Elb.RegistrationInProgress"]),
        "as before"
    );
    assert_eq!(step(30, &["healthy", "healthy", "healthy"]), "3");
    // What was healthy and is not any more is what the release is about.
    assert_eq!(step(40, &["healthy", "unhealthy: Target.Timeout", "healthy"]), "as before");
}

#[test]
fn a_release_that_goes_back_while_it_is_judged_is_not_answered() {
    let mut run = Run::new(question());
    run.step(found(|_| {}, UNWATCHED), at(0));
    let back = found(|found| (found.is_rollback, found.green) = (true, Vec::new()), UNWATCHED);
    let actions: Vec<&str> = run.step(back, at(10)).iter().map(Action::name).collect();
    assert_eq!((run.phase(), actions), (Phase::Done, vec!["stop-probing", "close"]));
    assert!(run.decision().is_none());
    let told = run.report().delivery.unwrap().to_string();
    assert!(told.contains("nobody waits"), "{told}");
}

#[test]
fn what_ended_while_its_answer_was_on_its_way_is_not_watched() {
    let back = found(|found| found.stage = Stage::AfterAllowTestTraffic, WATCHED);
    for (ended, phase) in [(false, Phase::Watching), (true, Phase::Done)] {
        let mut run = Run::new(question());
        run.step(back.clone(), at(0));
        let mut index = 0;
        while run.decision().is_none() {
            let good = [(Outcome::Ok, 400)];
            run.step(tick(index, &good, &good), at(2 * index + 2));
            index += 1;
        }
        if ended {
            run.step(Event::Ended { status: "Stopped".into() }, at(2 * index + 2));
        }
        run.step(Event::Delivered { delivery: Delivery::AlreadyCompleted }, at(2 * index + 4));
        assert_eq!(run.phase(), phase, "ended: {ended}");
    }
}

#[test]
fn what_breaks_while_it_is_watched_is_vetoed() {
    let broken = |index| tick(index, &[(Outcome::Refused, 40)], &[(Outcome::Ok, 40)]);
    let mut events = vec![(0, found(|_| {}, WATCHED))];
    events.extend((0..3).map(|index| (2 * index + 2, broken(index))));
    check(
        events.clone(),
        expect![[r#"
            vetoing: 
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            judged by web.policy.yaml
            watching, window 1: false rollback at most 0.61 % in 10 min
            veto: `errors at most 1 %` is broken: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence): 80 × refused; evidence 2053:1 that more than 1 % are (rollback at 164:1)
        "#]],
    );
    events.push((9, Event::Delivered { delivery: Delivery::Stopped }));
    check(
        events,
        expect![[r#"
            done: stop-probing, close
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            judged by web.policy.yaml
            watching, window 1: false rollback at most 0.61 % in 10 min
            veto: `errors at most 1 %` is broken: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence): 80 × refused; evidence 2053:1 that more than 1 % are (rollback at 164:1)
            the watch is over: veto deployment stopped with rollback
        "#]],
    );
}

#[test]
fn nothing_is_answered_where_nobody_asks() {
    check(
        vec![(0, found(|_| {}, UNWATCHED))],
        expect![[r#"
            done: stop-probing, close
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            judged by web.policy.yaml
            the watch is over: the policy has no `watch`
        "#]],
    );
    check(
        vec![(0, found(|found| found.is_rollback = true, WATCHED))],
        expect![[r#"
            done: stop-probing, close
            resolved: application web, group web-group, service prod:web, stage unknown, 1 green and 1 blue targets
            the watch is over: the deployment is itself a rollback, which is never gated
        "#]],
    );
    let unmatched =
        Event::Resolved { deployment: Box::new(deployment()), policy: PolicyInForce::Unmatched };
    check(
        vec![(0, unmatched)],
        expect![[r#"
            done: stop-probing, close
            resolved: application web, group web-group, service prod:web, stage AfterAllowTestTraffic, 1 green and 1 blue targets
            the watch is over: no policy applies to this deployment
        "#]],
    );
    let lasting = || Event::Unresolved { trouble: trouble(true) };
    check(
        vec![(0, lasting()), (30, lasting())],
        expect![[r#"
        done: stop-probing, close
        not resolved: GetDeployment of d-1 failed: Some
        the watch is over: the deployment could not be resolved: GetDeployment of d-1 failed: Some
    "#]],
    );
    check(
        vec![(0, Event::Ended { status: "Failed".into() })],
        expect![[r#"
        done: stop-probing, close
        the watch is over: the deployment is Failed
    "#]],
    );
    check(
        vec![(0, Event::TakenOver)],
        expect![[r#"
        done: stop-probing, close
        the watch is over: a question of the deployment took over
    "#]],
    );
    check(
        vec![(700, Event::Woke)],
        expect![[r#"
        resolving: wake-at
    "#]],
    );
}
