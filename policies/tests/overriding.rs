//! A person overrides a question: what is taken, what it changes, and when it is too late.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::fmt::Write;

use common::{at, deployment, question, resolved_to, said, tick};
use expect_test::{Expect, expect};
use policies::overrides::OVERRIDES_MAX;
use policies::{
    Action, Delivery, Deployment, Event, Outcome, Override, PolicyInForce, Question, Run, Stage,
};

const POLICY: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 1% } } ]
decide: { at-least: 8s, deadline: 2m }
watch: { until: end-of-deployment }
";

fn resolved() -> Event {
    resolved_to(deployment(), POLICY)
}

fn healthy(index: u64) -> Event {
    tick(index, &[(Outcome::Ok, 400)], &[(Outcome::Ok, 40)])
}

fn broken(index: u64) -> Event {
    tick(index, &[(Outcome::Refused, 40)], &[(Outcome::Ok, 40)])
}

fn hold(lasts: &str) -> Event {
    Event::Overridden {
        said: Override::new("hold", "alice", "a look at the logs", Some(lasts)).unwrap(),
    }
}

/// Feeds events at their seconds, as the shell would: what is refused is no fact. Shows the refusals, the
/// decision or the phase, and what people see of a hold.
fn check_question(question: Question, events: Vec<(u64, Event)>, expected: Expect) -> Run {
    let (mut run, mut shown) = (Run::new(question), String::new());
    for (seconds, event) in events {
        if let Event::Overridden { said } = &event
            && let Some(refusal) = run.refuses(said, at(seconds))
        {
            writeln!(shown, "{seconds} s, {} is refused: {refusal}", said.wish.name()).unwrap();
            continue;
        }
        let decided = run.decision().is_some();
        run.step(event, at(seconds));
        if let (false, Some(decision)) = (decided, run.decision()) {
            let (answer, basis) = (decision.answer, decision.basis);
            writeln!(shown, "{seconds} s: {answer}, {basis}: {}", decision.reason).unwrap();
        }
    }
    let report = run.report();
    if let Some(held) = &report.held {
        writeln!(shown, "held by {} until {} s", held.by, held.until_seconds).unwrap();
        let meanwhile = held.meanwhile.as_deref().unwrap_or("nothing");
        writeln!(shown, "without it: {meanwhile}").unwrap();
    }
    writeln!(shown, "{}", run.phase()).unwrap();
    expected.assert_eq(&shown);
    run
}

fn check(events: Vec<(u64, Event)>, expected: Expect) -> Run {
    check_question(question(), events, expected)
}

/// Resolved, then so many ticks of one kind.
fn ticks(kind: impl Fn(u64) -> Event, count: u64) -> Vec<(u64, Event)> {
    let ticks = (0..count).map(|index| (2 * index + 2, kind(index)));
    std::iter::once((0, resolved())).chain(ticks).collect()
}

fn and(mut events: Vec<(u64, Event)>, more: Vec<(u64, Event)>) -> Vec<(u64, Event)> {
    events.extend(more);
    events
}

#[test]
fn continue_and_rollback_decide_at_once_whatever_the_evidence() {
    check(
        and(ticks(healthy, 2), vec![(5, said("rollback"))]),
        expect![[r#"
        5 s: rollback, overridden: alice rolls it back: a reason
        answering
    "#]],
    );
    check(
        and(ticks(broken, 1), vec![(3, said("continue"))]),
        expect![[r#"
        3 s: continue, overridden: alice continues it: a reason
        answering
    "#]],
    );
    check(
        vec![(1, said("continue"))],
        expect![[r#"
        1 s: continue, overridden: alice continues it: a reason
        answering
    "#]],
    );
}

#[test]
fn a_hold_keeps_proof_back_until_it_ends_by_itself_or_by_somebody() {
    let held = || {
        let events = ticks(healthy, 20);
        let mut events: Vec<_> = events.into_iter().collect();
        events.insert(1, (1, hold("1m")));
        events
    };
    check(
        held(),
        expect![[r#"
        held by alice until 61 s
        without it: continue (proven): every objective is kept after 40 s: `errors at most 1 %`: 0 of 8000 bad; evidence at least over 1000000:1 (continue at 100:1)
        judging
    "#]],
    );
    check(
        and(held(), vec![(61, Event::Woke)]),
        expect![[r#"
        61 s: continue, proven: every objective is kept after 40 s: `errors at most 1 %`: 0 of 8000 bad; evidence at least over 1000000:1 (continue at 100:1); held by alice until 61 s: a look at the logs
        answering
    "#]],
    );
    check(
        and(held(), vec![(45, said("release"))]),
        expect![[r#"
        45 s: continue, proven: every objective is kept after 40 s: `errors at most 1 %`: 0 of 8000 bad; evidence at least over 1000000:1 (continue at 100:1); held by alice until 45 s: a look at the logs
        answering
    "#]],
    );
    check(
        and(held(), vec![(45, said("rollback"))]),
        expect![[r#"
        45 s: rollback, overridden: alice rolls it back: a reason
        answering
    "#]],
    );
    check(
        and(held(), vec![(45, hold("2s")), (47, Event::Woke)]),
        expect![[r#"
        47 s: continue, proven: every objective is kept after 40 s: `errors at most 1 %`: 0 of 8000 bad; evidence at least over 1000000:1 (continue at 100:1); held by alice until 47 s: a look at the logs
        answering
    "#]],
    );
}

#[test]
fn a_hold_never_outlives_the_question() {
    // The policy's own deadline waits for it, what CodeDeploy waits for less the margin does not.
    let events = vec![(0, resolved()), (1, hold("1h")), (120, Event::Woke), (3479, Event::Woke)];
    check(
        events.clone(),
        expect![[r#"
        held by alice until 3480 s
        without it: nothing
        judging
    "#]],
    );
    check(
        and(events, vec![(3480, Event::Woke), (3481, said("continue"))]),
        expect![[r#"
            3480 s: rollback, gate-trouble: nothing was measured in 58 min: not one tick of probes ended by then; answering rollback by the policy's `undecided` rule; held by alice until 58 min: a look at the logs
            3481 s, continue is refused: it is decided already: rollback
            answering
        "#]],
    );
    // What was proven meanwhile decides at the end, too.
    let events = and(ticks(healthy, 20), vec![(3480, Event::Woke)]);
    let mut events: Vec<_> = events;
    events.insert(1, (1, hold("1h")));
    check(
        events,
        expect![[r#"
        3480 s: continue, proven: every objective is kept after 40 s: `errors at most 1 %`: 0 of 8000 bad; evidence at least over 1000000:1 (continue at 100:1); held by alice until 58 min: a look at the logs
        answering
    "#]],
    );
    check(
        vec![(0, resolved()), (1, hold("1m")), (120, said("continue")), (120, Event::Woke)],
        expect![[r#"
            120 s, continue is refused: its deadline has come: the fallback is on its way
            120 s: rollback, gate-trouble: nothing was measured in 2 min: not one tick of probes ended by then; answering rollback by the policy's `undecided` rule; held by alice until 61 s: a look at the logs
            answering
        "#]],
    );
}

#[test]
fn what_stands_in_the_way_is_held_back_too_and_may_be_mended_meanwhile() {
    let unmatched =
        || Event::Resolved { deployment: Box::new(deployment()), policy: PolicyInForce::Unmatched };
    check(
        vec![(0, hold("1m")), (1, unmatched()), (60, Event::Woke)],
        expect![[r#"
        60 s: rollback, unmatched: no policy applies to this deployment; answering rollback by the setting `unmatched`; held by alice until 60 s: a look at the logs
        answering
    "#]],
    );
    check(
        vec![(0, hold("1m")), (1, unmatched()), (11, resolved()), (60, Event::Woke)],
        expect![[r#"
        judging
    "#]],
    );
    check(
        vec![(0, hold("1m")), (1, unmatched()), (20, said("release"))],
        expect![[r#"
        20 s: rollback, unmatched: no policy applies to this deployment; answering rollback by the setting `unmatched`; held by alice until 20 s: a look at the logs
        answering
    "#]],
    );
    let rollback = Deployment { is_rollback: true, ..deployment() };
    check(
        vec![(0, hold("1m")), (1, resolved_to(rollback, POLICY))],
        expect![[r#"
        1 s: continue, rollback-deployment: the deployment is itself a rollback, which is never gated; held by alice until 1 s: a look at the logs
        answering
    "#]],
    );
    let early = Deployment { stage: Stage::BeforeInstall, ..deployment() };
    check(
        vec![(0, hold("1m")), (1, resolved_to(early, POLICY)), (60, Event::Woke)],
        expect![[r#"
        60 s: continue, nothing-to-measure: nothing to measure yet at BeforeInstall: there is no green; held by alice until 60 s: a look at the logs
        answering
    "#]],
    );
}

#[test]
fn what_comes_too_late_or_to_nothing_is_refused() {
    let ended = Event::Ended { status: "Stopped".into() };
    check(
        vec![(0, resolved()), (1, said("release"))],
        expect![[r#"
        1 s, release is refused: nobody holds it, so there is nothing to release
        judging
    "#]],
    );
    check(
        vec![(0, resolved()), (1, ended), (2, said("continue"))],
        expect![[r#"
        2 s, continue is refused: it is over
        done
    "#]],
    );
    check(
        vec![(0, resolved()), (1, said("continue")), (2, said("rollback")), (3, hold("1m"))],
        expect![[r#"
            1 s: continue, overridden: alice continues it: a reason
            2 s, rollback is refused: it is decided already: continue
            3 s, hold is refused: it is decided already: continue
            answering
        "#]],
    );
    let mut events = vec![(0, resolved())];
    events.extend((0..=OVERRIDES_MAX).map(|_| (1, hold("1m"))));
    let ended = |by: &str| vec![(1, said("release")), (2, said(by))];
    check(
        and(events.clone(), ended("rollback")),
        expect![[r#"
        1 s, hold is refused: it was overridden 100 times already, and can only be continued or rolled back
        2 s: rollback, overridden: alice rolls it back: a reason
        answering
    "#]],
    );
    check(
        and(events, ended("continue")),
        expect![[r#"
        1 s, hold is refused: it was overridden 100 times already, and can only be continued or rolled back
        2 s: continue, overridden: alice continues it: a reason
        answering
    "#]],
    );
}

#[test]
fn a_watch_can_be_ended_or_turned_into_a_veto_but_not_held() {
    let watched = || {
        let confirmed = Event::Delivered { delivery: Delivery::Confirmed };
        and(ticks(healthy, 10), vec![(30, confirmed)])
    };
    check(
        and(watched(), vec![(40, hold("1m")), (41, said("release"))]),
        expect![[r#"
        8 s: continue, proven: every objective is kept after 8 s: `errors at most 1 %`: 0 of 1600 bad; evidence at least over 1000000:1 (continue at 100:1)
        40 s, hold is refused: it has its answer and is watched: `rollback` stops the deployment, `continue` ends the watch
        41 s, release is refused: it has its answer and is watched: `rollback` stops the deployment, `continue` ends the watch
        watching
    "#]],
    );
    let run = check(
        and(watched(), vec![(40, said("continue"))]),
        expect![[r#"
        8 s: continue, proven: every objective is kept after 8 s: `errors at most 1 %`: 0 of 1600 bad; evidence at least over 1000000:1 (continue at 100:1)
        done
    "#]],
    );
    assert_eq!(run.report().watch.unwrap().ended.as_deref(), Some("alice continues it: a reason"));
    let run = check(
        and(watched(), vec![(40, said("rollback")), (41, said("continue"))]),
        expect![[r#"
        8 s: continue, proven: every objective is kept after 8 s: `errors at most 1 %`: 0 of 1600 bad; evidence at least over 1000000:1 (continue at 100:1)
        41 s, continue is refused: its deployment is being stopped already
        vetoing
    "#]],
    );
    assert_eq!(run.report().watch.unwrap().veto.as_deref(), Some("alice rolls it back: a reason"));
    let watch_only = Question { watch_only: true, limit: None, ..question() };
    check_question(
        watch_only,
        vec![(0, hold("1m")), (1, said("rollback")), (2, said("continue"))],
        expect![[r#"
            0 s, hold is refused: nobody waits for an answer, and the watch has not begun
            1 s, rollback is refused: nobody waits for an answer, and the watch has not begun
            done
        "#]],
    );
}

#[test]
fn observing_records_what_is_said_and_still_continues() {
    let observing = || Question { observe: true, ..question() };
    check_question(
        observing(),
        vec![(0, resolved()), (1, said("rollback"))],
        expect![[r#"
            1 s, rollback is refused: gate only observes: it can let it go on, but stop nothing; stop the deployment at AWS
            judging
        "#]],
    );
    let run = check_question(
        observing(),
        and(vec![(0, resolved()), (1, hold("1m"))], vec![(120, Event::Woke)]),
        expect![[r#"
            120 s: continue, observed: only observing; would have answered rollback: nothing was measured in 2 min: not one tick of probes ended by then; answering rollback by the policy's `undecided` rule; held by alice until 61 s: a look at the logs
            answering
        "#]],
    );
    assert_eq!(run.report().overrides.len(), 1);
}

#[test]
fn a_hold_asks_to_be_woken_at_its_end_also_after_a_restart() {
    let mut run = Run::new(question());
    run.step(resolved(), at(0));
    assert_eq!(run.step(hold("1m"), at(10)), [Action::WakeAt(at(70))]);
    let resumed = run.step(Event::Resumed, at(20));
    assert!(resumed.contains(&Action::WakeAt(at(70))), "{resumed:?}");
    let said = serde_json::to_string(&hold("1m")).unwrap();
    expect![[r#"{"overridden":{"said":{"action":"hold","lasts":{"secs":60,"nanos":0},"by":"alice","reason":"a look at the logs"}}}"#]].assert_eq(&said);
    assert_eq!(serde_json::from_str::<Event>(&said).unwrap(), hold("1m"));
}

#[test]
fn where_gate_only_observes_a_rollback_is_refused_and_an_older_one_on_disk_leads_where_it_led() {
    let question = || Question { observe: true, ..question() };
    let watched = || {
        let confirmed = Event::Delivered { delivery: Delivery::Confirmed };
        and(ticks(healthy, 10), vec![(30, confirmed)])
    };
    let asked = [
        vec![(0, resolved()), (1, said("rollback")), (2, said("continue")), (3, said("rollback"))],
        and(watched(), vec![(40, said("rollback")), (41, said("continue"))]),
    ];
    let mut shown = String::new();
    for events in asked {
        let mut run = Run::new(question());
        for (seconds, event) in events {
            if let Event::Overridden { said } = &event
                && let Some(refusal) = run.refuses(said, at(seconds))
            {
                writeln!(shown, "{seconds} s: {refusal}").unwrap();
                continue;
            }
            run.step(event, at(seconds));
        }
        writeln!(shown, "{}", run.phase()).unwrap();
    }
    for events in
        [vec![(0, resolved()), (1, said("rollback"))], and(watched(), vec![(40, said("rollback"))])]
    {
        let mut run = Run::new(question());
        for (seconds, event) in events {
            run.step(event, at(seconds));
        }
        let answer = run.decision().map(|decision| decision.answer);
        writeln!(shown, "on disk: {}, {}", answer.unwrap(), run.phase()).unwrap();
    }
    expect![[r#"
        1 s: gate only observes: it can let it go on, but stop nothing; stop the deployment at AWS
        3 s: it is decided already: continue
        answering
        40 s: gate only observes: it can let it go on, but stop nothing; stop the deployment at AWS
        done
        on disk: continue, answering
        on disk: continue, done
    "#]]
    .assert_eq(&shown);
}
