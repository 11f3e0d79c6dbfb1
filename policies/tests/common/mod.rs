//! What tests of a run are made of: a question, a deployment, ticks and readings.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test takes of it what it needs, and all of it is test"
)]

use std::time::Duration;

use policies::deployment::Route;
use policies::reading::Seen;
use policies::{
    Answer, ArmTick, Blame, Deployment, Event, Moment, Outcome, Override, PolicyInForce, Question,
    Reading, Run, Sample, Stage, Target, TargetTick, Tick, Trouble,
};

/// A hook's question.
pub(crate) fn question() -> Question {
    let limit = Some(policies::run::HOOK_LIMIT);
    Question {
        id: "d-1-00000000".into(),
        limit,
        unmatched: Answer::Rollback,
        observe: false,
        watch_only: false,
    }
}

/// A task's address.
pub(crate) fn target(id: &str) -> Target {
    let (host, port) = id.split_once(':').unwrap();
    Target {
        id: id.into(),
        host: host.into(),
        port: port.parse().unwrap(),
        tls: false,
        route: Route::Task,
        health: None,
        name: None,
    }
}

/// One green and one blue task.
pub(crate) fn deployment() -> Deployment {
    Deployment {
        id: "d-1".into(),
        application: "web".into(),
        group: "web-group".into(),
        service: "prod:web".into(),
        stage: Stage::AfterAllowTestTraffic,
        is_rollback: false,
        rolls_back_on_failure: true,
        green: vec![target("10.0.0.2:80")],
        blue: vec![target("10.0.0.1:80")],
        ..Deployment::default()
    }
}

/// The deployment, found, with this policy.
pub(crate) fn resolved_to(deployment: Deployment, policy: &str) -> Event {
    let policy = PolicyInForce::Chosen { file: "web.policy.yaml".into(), text: policy.into() };
    Event::Resolved { deployment: Box::new(deployment), policy }
}

/// AWS is in the way.
pub(crate) fn trouble(lasting: bool) -> Trouble {
    Trouble { blame: Blame::Aws, lasting, what: "GetDeployment of d-1 failed: Some".into() }
}

/// `outcomes` of one arm's only target.
pub(crate) fn arm(id: &str, outcomes: &[(Outcome, u32)], held_ms: u64, latency_ms: u64) -> ArmTick {
    let mut tick = TargetTick::default();
    for &(outcome, count) in outcomes {
        for _ in 0..count {
            tick.record(&Sample {
                held: Duration::from_millis(held_ms),
                latency: Duration::from_millis(latency_ms),
                outcome,
                status: (outcome == Outcome::Status).then_some(500),
                ..Sample::default()
            });
        }
    }
    ArmTick { targets: [(id.to_owned(), tick)].into() }
}

/// A tick of both arms, fast.
pub(crate) fn tick(index: u64, green: &[(Outcome, u32)], blue: &[(Outcome, u32)]) -> Event {
    let green = arm("10.0.0.2:80", green, 1, 5);
    let blue = Some(arm("10.0.0.1:80", blue, 1, 5));
    Event::Ticked { tick: Box::new(Tick { index, green, blue, ..Tick::default() }) }
}

/// Something somebody else measured.
pub(crate) fn read(objective: &str, seen: Seen) -> Event {
    Event::Read {
        reading: Box::new(Reading { objective: objective.into(), began_millis: 50_000, seen }),
    }
}

/// What alice says of a question.
pub(crate) fn said(action: &str) -> Event {
    Event::Overridden { said: Override::new(action, "alice", "a reason", None).unwrap() }
}

/// A moment by its second.
pub(crate) fn at(seconds: u64) -> Moment {
    Moment::from_millis(seconds * 1000)
}

/// An objective that any healthy release keeps.
pub(crate) const ERRORS: &str = "  - errors: { at-most: 1% }\n";

/// A policy with these objectives.
pub(crate) fn policy(objectives: &str) -> String {
    format!("gate: v1\nprobe: {{ http: {{ path: / }} }}\nobjectives:\n{objectives}")
}

/// The decision and what would have changed it, or the phase.
pub(crate) fn told(run: &Run) -> String {
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
