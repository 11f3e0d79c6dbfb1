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
use policies::{Action, Delivery, Deployment, Event, Outcome, PolicyInForce, Question, Run, Stage};

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
    let wake = actions.iter().find_map(|action| match action {
        Action::WakeAt(moment) => Some(*moment),
        _ => None,
    });
    assert_eq!(wake, Some(at(expected_seconds)), "{limit:?} {waits_seconds:?}");
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
