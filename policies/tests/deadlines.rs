//! The answer comes before whoever asks stops waiting, and none comes after, whatever time did meanwhile.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::time::Duration;

use common::{at, deployment, question, resolved_to, tick, trouble};
use policies::run::{RESOLVE_EVERY, margin};
use policies::{Action, Answer, Delivery, Deployment, Event, Outcome, Phase, Question, Run, Stage};

const POLICY: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 0.5% } } ]
decide: { deadline: 1h }
";

fn names(actions: &[Action]) -> Vec<&'static str> {
    actions.iter().map(Action::name).collect()
}

/// A run that judges, and has seen one healthy tick.
fn judging(question: Question, deployment: Deployment) -> Run {
    let mut run = Run::new(question);
    run.step(resolved_to(deployment, POLICY), at(0));
    run.step(tick(0, &[(Outcome::Ok, 40)], &[(Outcome::Ok, 40)]), at(2));
    assert_eq!(run.phase(), Phase::Judging);
    run
}

fn too_late(run: &Run) -> String {
    match run.report().delivery {
        Some(Delivery::TooLate { reason }) => reason,
        other => panic!("{other:?}: {:?}", run.report().timeline),
    }
}

#[test]
fn the_fallback_is_given_a_margin_before_the_limit_however_long_that_is() {
    for limit in [20_u64, 60, 300, 600, 3600, 86_400] {
        let limit = Duration::from_secs(limit);
        let mut run = judging(Question { limit: Some(limit), ..question() }, deployment());
        let deadline = (limit - margin(limit)).min(Duration::from_secs(3600)).as_secs();
        assert_eq!(names(&run.step(Event::Woke, at(deadline - 1))), ["wake-at"], "{limit:?}");
        let actions = run.step(Event::Woke, at(deadline));
        assert_eq!(names(&actions), ["stop-probing", "answer"], "{limit:?}");
        assert_eq!(run.decision().unwrap().answer, Answer::Rollback);
    }
}

#[test]
fn any_fact_after_the_deadline_gives_the_fallback_at_once() {
    // A target that hangs closes no tick, an AWS that hangs resolves nothing: whatever comes first will do.
    let facts = [
        Event::Woke,
        Event::Unchanged,
        Event::Unresolved { trouble: trouble(false) },
        Event::Resumed,
        resolved_to(deployment(), POLICY),
    ];
    for fact in facts {
        let mut run = judging(question(), deployment());
        assert_eq!(
            names(&run.step(fact.clone(), at(3490))),
            ["stop-probing", "answer"],
            "{fact:?}"
        );
    }
}

#[test]
fn who_wakes_after_the_limit_asks_first_and_says_that_it_was_too_late() {
    let facts =
        [Event::Woke, Event::Resumed, tick(1, &[(Outcome::Refused, 40)], &[(Outcome::Ok, 40)])];
    for fact in facts {
        let mut run = judging(question(), deployment());
        // The look that was under way is no news.
        let resolving = run.step(Event::Unchanged, at(3000));
        assert_eq!(names(&resolving), ["resolve"]);
        let before = run.step(fact.clone(), at(4000));
        let first =
            if fact == Event::Resumed { before } else { run.step(Event::Unchanged, at(4000)) };
        assert_eq!(names(&first), ["resolve"], "{fact:?}");
        let ended = run.step(Event::Ended { status: "Failed".into() }, at(4001));
        assert_eq!(names(&ended), ["stop-probing", "close"], "{fact:?}");
        assert_eq!((run.phase(), run.decision()), (Phase::Done, None));
        let reason = too_late(&run);
        assert!(reason.contains("401 s after whoever asked stopped waiting"), "{reason}");
    }
}

#[test]
fn who_waits_all_the_same_is_answered_as_its_clock_is_the_one_that_counts() {
    // A clock stepped by an hour while gate was down.
    let mut run = judging(question(), deployment());
    assert_eq!(names(&run.step(Event::Resumed, at(4000))), ["resolve"]);
    let answered = run.step(resolved_to(deployment(), POLICY), at(4001));
    assert_eq!(names(&answered), ["stop-probing", "answer"]);
    assert_eq!(run.decision().unwrap().answer, Answer::Rollback);
    let again = run.step(Event::Undelivered { trouble: trouble(false) }, at(4010));
    assert_eq!(names(&again), ["answer"], "one call that fails does not end it");
    // The same where the decision was on disk before.
    let mut run = judging(question(), deployment());
    run.step(Event::Woke, at(3480));
    run.step(Event::Resumed, at(7100));
    let again = run.step(Event::Undelivered { trouble: trouble(false) }, at(7110));
    assert_eq!(names(&again), ["answer"]);
}

#[test]
fn who_cannot_find_out_gives_up_and_never_answers_blindly() {
    let mut run = judging(question(), deployment());
    run.step(Event::Resumed, at(4000));
    let again = run.step(Event::Unresolved { trouble: trouble(false) }, at(4001));
    assert_eq!(names(&again), ["resolve"]);
    let given_up = run.step(Event::Unresolved { trouble: trouble(false) }, at(4600));
    assert_eq!(names(&given_up), ["stop-probing", "close"]);
    assert!(too_late(&run).contains("unknown to gate"), "{}", too_late(&run));
}

#[test]
fn a_rollback_is_let_through_however_late() {
    let mut run = judging(question(), deployment());
    run.step(Event::Resumed, at(4000));
    let ended =
        run.step(resolved_to(Deployment { is_rollback: true, ..deployment() }, POLICY), at(4001));
    assert_eq!(names(&ended), ["stop-probing", "close"], "judged before, it is over");
    let mut run = Run::new(question());
    run.step(Event::Resumed, at(4000));
    let back = Deployment { is_rollback: true, ..deployment() };
    let answered = run.step(resolved_to(back, POLICY), at(4001));
    assert_eq!(names(&answered), ["stop-probing", "answer"]);
    assert_eq!(run.decision().unwrap().answer, Answer::Continue);
}

#[test]
fn what_the_platform_says_after_a_restart_counts_from_then() {
    let waits = |seconds| Deployment { waits_seconds: Some(seconds), ..deployment() };
    let question = Question { limit: None, ..question() };
    let mut run = judging(question, waits(600));
    // The machine's clock went back while gate was down: its moments are 5 minutes behind.
    run.step(Event::Resumed, at(10));
    run.step(resolved_to(waits(290), POLICY), at(11));
    assert_eq!(run.phase(), Phase::Judging);
    let deadline = 11 + 290 - 58;
    assert_eq!(names(&run.step(Event::Woke, at(deadline))), ["stop-probing", "answer"]);
}

#[test]
fn a_decision_that_cannot_be_delivered_is_given_up_at_the_limit() {
    let mut run = judging(question(), deployment());
    run.step(Event::Woke, at(3480));
    let undelivered = || Event::Undelivered { trouble: trouble(false) };
    let again = run.step(undelivered(), at(3590));
    assert_eq!(names(&again), ["answer"]);
    assert_eq!(names(&run.step(undelivered(), at(3600))), ["close"]);
    assert!(matches!(run.report().delivery, Some(Delivery::TooLate { .. })));
}

#[test]
fn of_a_pipeline_nobody_can_say_who_waits_so_none_is_answered_late() {
    for stage in [Stage::Approval, Stage::Invoke] {
        let asked = || Deployment { stage, ..deployment() };
        let mut run = judging(question(), asked());
        run.step(Event::Resumed, at(4000));
        let ended = run.step(resolved_to(asked(), POLICY), at(4001));
        assert_eq!(names(&ended), ["stop-probing", "close"], "{stage}");
        assert_eq!(run.decision(), None, "{stage}");
    }
}

#[test]
fn a_fallback_without_a_measurement_says_that_there_was_none() {
    let check = |mut run: Run, last: Event, seconds: u64, expected: [&str; 2]| {
        run.step(last, at(seconds));
        let decision = run.decision().unwrap();
        assert_eq!([decision.basis.name(), decision.reason.as_str()], expected);
    };
    // By gate's own clock it comes too late, by AWS's it does not.
    let mut late = Run::new(question());
    late.step(Event::Resumed, at(4000));
    check(
        late,
        resolved_to(deployment(), POLICY),
        4001,
        [
            "unresolved",
            "nothing was measured: gate came to it 6.7 min after its time by gate's own clock; answering rollback by the setting `unmatched`",
        ],
    );
    // AWS throttled for as long as the policy gives.
    let mut throttled = Run::new(question());
    throttled.step(Event::Unresolved { trouble: trouble(false) }, at(1));
    throttled.step(resolved_to(deployment(), &POLICY.replace("1h", "2m")), at(180));
    check(
        throttled,
        Event::Woke,
        180,
        [
            "gate-trouble",
            "nothing was measured in 3 min: not one tick of probes ended by then; before, GetDeployment of d-1 failed: Some; answering rollback by the policy's `undecided` rule",
        ],
    );
}

#[test]
fn an_answer_that_nobody_takes_is_let_go_of_after_days_where_nothing_says_who_waits() {
    let mut run = judging(Question { limit: None, ..question() }, deployment());
    run.step(Event::Woke, at(3600));
    let days = 3 * 24 * 3600;
    let undelivered = || Event::Undelivered { trouble: trouble(true) };
    assert_eq!(names(&run.step(undelivered(), at(days))), ["answer"]);
    assert_eq!(names(&run.step(undelivered(), at(3600 + days))), ["close"]);
}

#[test]
fn a_wait_that_is_heard_of_while_it_is_judged_brings_the_deadline_forward() {
    let mut run = judging(Question { limit: None, ..question() }, deployment());
    let waits = Deployment { waits_seconds: Some(600), ..deployment() };
    let actions = run.step(resolved_to(waits, POLICY), at(20));
    assert_eq!(actions, [Action::WakeAt(at(500)), Action::Resolve { after: RESOLVE_EVERY }]);
}
