//! Whom a policy names is told of each decision once.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use common::{at, deployment, question, resolved_to, tick, trouble};
use policies::{Action, Delivery, Event, Outcome, Phase, Run};

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:releases";

fn policy(notify: &str) -> String {
    format!(
        "
gate: v1
probe: {{ http: {{ path: / }} }}
objectives: [ {{ errors: {{ at-most: 1% }} }} ]
watch: {{ until: end-of-deployment }}
notify: {notify}
"
    )
}

fn confirmed() -> Event {
    Event::Delivered { delivery: Delivery::Confirmed }
}

/// The topics told by this step.
fn told(actions: &[Action]) -> Vec<String> {
    let topics = actions.iter().filter_map(|action| match action {
        Action::Notify { topics } => Some(topics.clone()),
        Action::Resolve { .. }
        | Action::Probe(_)
        | Action::StopProbing
        | Action::Answer { .. }
        | Action::Veto { .. }
        | Action::WakeAt(_)
        | Action::Close => None,
    });
    topics.flatten().collect()
}

/// A run whose question was just decided.
fn decided(policy: &str, outcome: Outcome) -> Run {
    let mut run = Run::new(question());
    run.step(resolved_to(deployment(), policy), at(0));
    for index in 0..40 {
        run.step(tick(index, &[(outcome, 40)], &[(Outcome::Ok, 40)]), at(2 * index + 2));
    }
    assert_eq!(run.phase(), Phase::Answering, "{:?}", run.report().timeline);
    run
}

#[test]
fn a_decision_is_told_once_it_is_delivered_and_not_before() {
    for outcome in [Outcome::Ok, Outcome::Refused] {
        let mut run = decided(&policy(&format!("{{ sns: \"{TOPIC}\" }}")), outcome);
        let failed = run.step(Event::Undelivered { trouble: trouble(false) }, at(90));
        assert_eq!(told(&failed), [""; 0]);
        assert_eq!(told(&run.step(Event::Resumed, at(91))), [""; 0]);
        assert_eq!(told(&run.step(confirmed(), at(92))), [TOPIC]);
        assert_eq!(told(&run.step(confirmed(), at(93))), [""; 0]);
        assert_eq!(told(&run.step(Event::Resumed, at(94))), [""; 0]);
    }
}

#[test]
fn one_that_came_too_late_is_told_too() {
    let mut run = decided(&policy(&format!("{{ sns: \"{TOPIC}\" }}")), Outcome::Refused);
    let late = Delivery::TooLate { reason: "the hook is over".into() };
    let actions = run.step(Event::Delivered { delivery: late }, at(92));
    let names: Vec<&str> = actions.iter().map(Action::name).collect();
    assert_eq!(names, ["notify", "close"]);
}

/// A run that waits for its veto to be delivered.
fn vetoing() -> Run {
    let mut run = decided(&policy(&format!("[ {{ sns: \"{TOPIC}\" }} ]")), Outcome::Ok);
    assert_eq!(told(&run.step(confirmed(), at(92))), [TOPIC]);
    let broken = |index| tick(index, &[(Outcome::Refused, 40)], &[(Outcome::Ok, 40)]);
    assert_eq!(told(&run.step(broken(40), at(94))), [""; 0]);
    assert_eq!(told(&run.step(broken(41), at(96))), [""; 0]);
    assert_eq!(run.phase(), Phase::Vetoing);
    assert_eq!(told(&run.step(Event::Resumed, at(97))), [""; 0]);
    // A look that was under way says nothing of the veto.
    assert_eq!(told(&run.step(Event::Ended { status: "Stopped".into() }, at(97))), [""; 0]);
    assert_eq!(run.phase(), Phase::Vetoing);
    run
}

#[test]
fn a_veto_is_told_once_it_is_delivered_or_there_is_nothing_left_to_stop() {
    let check = |delivery: Delivery, over: &str| {
        let mut run = vetoing();
        assert_eq!(told(&run.step(Event::Delivered { delivery }, at(98))), [TOPIC]);
        assert_eq!(run.phase(), Phase::Done);
        let watch = run.report().watch.expect("it was watched");
        assert_eq!(watch.ended.as_deref(), Some(over));
        assert_eq!(told(&run.step(confirmed(), at(99))), [""; 0]);
    };
    check(Delivery::Stopped, "veto deployment stopped with rollback");
    check(Delivery::AlreadyCompleted, "veto already completed");
}

#[test]
fn without_a_topic_nobody_is_told() {
    let mut run = decided(&policy("[]"), Outcome::Refused);
    assert_eq!(told(&run.step(confirmed(), at(92))), [""; 0]);
}
