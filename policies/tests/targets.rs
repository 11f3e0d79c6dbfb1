//! What is probed where a deployment names no target itself.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use common::{at, deployment, question, resolved_to, tick};
use expect_test::{Expect, expect};
use policies::{Action, Answer, Deployment, Event, Outcome, Run, Stage};

const PLAIN: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 1% } } ]
";

const NAMING: &str = "
gate: v1
probe: { http: { path: / } }
targets: { green: [ \"http://green.example:8080\", \"https://[2001:db8::1]\" ], blue: \"http://blue.example\" }
objectives: [ { errors: { at-most: 1% } } ]
";

/// A pipeline's approval: it is about no service that could be looked up.
fn approval() -> Deployment {
    Deployment {
        id: "release".into(),
        pipeline: "release".into(),
        stage: Stage::Approval,
        rolls_back_on_failure: true,
        ..Deployment::default()
    }
}

/// What is probed after the deployment was resolved at these seconds, and what the timeline says of it.
fn check(policy: &str, resolutions: Vec<(u64, Deployment)>, expected: Expect) {
    let mut run = Run::new(question());
    let mut probed = None;
    for (seconds, deployment) in resolutions {
        for action in run.step(resolved_to(deployment, policy), at(seconds)) {
            if let Action::Probe(plan) = action {
                let arm = |targets: &[policies::Target]| {
                    let ids: Vec<&str> = targets.iter().map(|target| target.id.as_str()).collect();
                    ids.join(", ")
                };
                probed = Some(format!("green [{}], blue [{}]", arm(&plan.green), arm(&plan.blue)));
            }
        }
    }
    let notes = run.report().timeline.into_iter().map(|note| note.text);
    let notes: Vec<String> = notes.filter(|text| text.contains("target")).skip(1).collect();
    let probed = probed.unwrap_or_else(|| format!("{}: nothing", run.phase()));
    let reason = run.decision().map_or_else(String::new, |d| format!("; {}", d.reason));
    expected.assert_eq(&format!("{probed}; {}{reason}", notes.join("; ")));
}

#[test]
fn a_policy_names_what_is_probed_where_the_deployment_does_not() {
    let of_a_service = |green: Vec<policies::Target>| Deployment { green, ..deployment() };
    check(
        NAMING,
        vec![(1, approval())],
        expect![
            "green [http://green.example:8080, https://[2001:db8::1]], blue [http://blue.example]; the deployment names no target: probing the policy's 2 green and 1 blue"
        ],
    );
    let server = Deployment { stage: Stage::Ready, service: String::new(), ..of_a_service(vec![]) };
    check(
        NAMING,
        vec![(1, server)],
        expect![
            "green [http://green.example:8080, https://[2001:db8::1]], blue [http://blue.example]; the deployment names no target: probing the policy's 2 green and 1 blue"
        ],
    );
    // It has its own.
    check(
        NAMING,
        vec![(1, deployment())],
        expect![
            "green [10.0.0.2:80], blue [10.0.0.1:80]; the policy's `targets` are left alone: the deployment names its own"
        ],
    );
    // They may still register; then they never came.
    let waiting = vec![(1, of_a_service(vec![])), (20, of_a_service(vec![]))];
    check(NAMING, waiting.clone(), expect!["resolving: nothing; "]);
    let came = vec![(1, of_a_service(vec![])), (5, deployment())];
    check(
        NAMING,
        came,
        expect![
            "green [10.0.0.2:80], blue [10.0.0.1:80]; resolved: application web, group web-group, stage AfterAllowTestTraffic, 1 green and 1 blue targets; the policy's `targets` are left alone: the deployment names its own"
        ],
    );
    let never = [waiting, vec![(21, of_a_service(vec![]))]].concat();
    check(
        NAMING,
        never.clone(),
        expect![
            "green [http://green.example:8080, https://[2001:db8::1]], blue [http://blue.example]; the deployment names no target: probing the policy's 2 green and 1 blue"
        ],
    );
    // What is measured stays the same to the end.
    let late = [never, vec![(31, deployment())]].concat();
    check(
        NAMING,
        late,
        expect![
            "green [http://green.example:8080, https://[2001:db8::1]], blue [http://blue.example]; the deployment names no target: probing the policy's 2 green and 1 blue; targets of green changed; joined: 10.0.0.2:80"
        ],
    );
    check(
        PLAIN,
        vec![(1, approval()), (21, approval())],
        expect![
            "answering: nothing; ; no data: neither the deployment nor the policy names a target to probe (write `targets: { green: [ URL ] }`), after looking for 20 s; answering rollback by the policy's `no-data` rule"
        ],
    );
}

#[test]
fn what_the_policy_names_is_judged_and_resumed_as_any_other_target() {
    let healthy = |index| tick(index, &[(Outcome::Ok, 40)], &[(Outcome::Ok, 40)]);
    let mut run = Run::new(question());
    run.step(resolved_to(approval(), NAMING), at(0));
    (0..40).for_each(|i| drop(run.step(healthy(i), at(2 * i + 2))));
    let decision = run.decision().map(|decision| decision.answer);
    assert_eq!(decision, Some(Answer::Continue), "{:?}", run.report().timeline);

    let mut run = Run::new(question());
    run.step(resolved_to(approval(), NAMING), at(0));
    run.step(healthy(0), at(2));
    let actions = run.step(Event::Resumed, at(9));
    let Some(Action::Probe(plan)) = actions.get(1) else { panic!("{actions:?}") };
    assert_eq!((plan.green.len(), plan.blue.len(), plan.first_tick), (2, 1, 1));
}
