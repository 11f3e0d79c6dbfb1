//! Deployments that ECS makes by itself: pauses found by event and by looking, each step its own question.

use serde_json::json;
use tests::{Gate, eventually};

use super::matrix::{QUICK, patient};
use super::{AWS, LIMIT, POLICY, reason};

const ANSWER: &str = "ContinueServiceDeployment";
const PAUSED: [&str; 2] = ["--pause", "POST_TEST_TRAFFIC_SHIFT"];

/// A daemon that takes questions from a queue.
async fn queued(name: &str, queue: &str) -> Gate {
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY);
    gate.settings(&format!("intake: {{ queue: \"{queue}\" }}\n")).start().await
}

/// The last part of an ARN.
fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

#[tokio::test]
async fn each_pause_is_answered_with_blue_beside_green_and_without() {
    let service = AWS.service("paused", &[], &PAUSED).await;
    let gate = queued("paused", &service.queue).await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
    let outcome = gate.outcome(short(&service.first), LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));
    assert!(outcome["blue"].is_null(), "a first deployment has no blue: {outcome:#}");

    let arn = service.deploy(&[]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    let outcome = gate.outcome(short(&arn), LIMIT).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(outcome["deployment"]["stage"], "PostTestTrafficShift", "{outcome:#}");
    assert!(outcome["blue"]["total"]["judged"].as_u64().unwrap() > 0, "{outcome:#}");

    let arn = service.deploy(&["--errors", "60%"]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "ROLLBACK_SUCCESSFUL", "{deployed:#}");
    let outcome = gate.outcome(short(&arn), LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("rollback"), &json!("proven")));
    assert!(reason(&outcome).contains("errors at most 2 %"), "{outcome:#}");
    assert_eq!(gate.evaluations().await.len(), 3, "each pause is one question");
}

#[tokio::test]
async fn every_step_of_a_canary_is_a_question_of_its_own() {
    let more = ["--strategy", "CANARY", "--pause", "PRE_PRODUCTION_TRAFFIC_SHIFT"];
    let service = AWS.service("steps", &[], &more).await;
    let gate = queued("steps", &service.queue).await;
    AWS.service_deployed(&service.first, LIMIT).await;
    let before = gate.evaluations().await.len();
    let arn = service.deploy(&[]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    let evaluations = gate.evaluations().await;
    let steps = evaluations.iter().filter(|seen| seen["deployment_id"] == short(&arn));
    assert_eq!(steps.count(), 2, "{evaluations:#?}");
    assert_eq!(evaluations.len(), before + 2);
}

#[tokio::test]
async fn without_events_gate_looks_for_itself() {
    let service = AWS.service("looked", &[], &PAUSED).await;
    let settings = format!("intake: {{ poll: [ {} ] }}\n", service.polled());
    let gate = Gate::new(&AWS.endpoint, "looked").policy(POLICY).settings(&settings).start().await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
    assert_eq!(gate.evaluations().await.len(), 1);
}

#[tokio::test]
async fn a_pause_that_is_heard_of_and_looked_up_is_asked_once() {
    let service = AWS.service("twice", &[], &PAUSED).await;
    let settings =
        format!("intake: {{ queue: \"{}\", poll: [ {} ] }}\n", service.queue, service.polled());
    let gate = Gate::new(&AWS.endpoint, "twice").policy(POLICY).settings(&settings).start().await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
    assert_eq!(gate.evaluations().await.len(), 1);
    let answers = AWS.requests(ANSWER, "twice").await;
    assert_eq!(answers.len(), 1, "{answers:#?}");
    // Said, though it is the default.
    let params = answers[0]["params"].as_str().unwrap();
    assert!(params.contains(r#""action": "CONTINUE""#), "{params}");
}

#[tokio::test]
async fn throttled_calls_delay_the_answer_and_do_not_change_it() {
    let service = AWS.service("throttled-ecs", &[], &PAUSED).await;
    for operation in ["DescribeServiceDeployments", "DescribeServiceRevisions", ANSWER] {
        let fault = json!({
            "service": "ecs", "operation": operation, "access_key": "throttled-ecs",
            "error": "ThrottlingException", "message": "Rate exceeded", "count": 5,
        });
        AWS.fault(fault).await;
    }
    let gate = queued("throttled-ecs", &service.queue).await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
    let outcome = gate.outcome(short(&service.first), LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));
}

#[tokio::test]
async fn a_short_pause_is_given_the_fallback_before_it_expires() {
    // A minute of AWS's is six seconds here: time for gate to start, and too short to prove anything.
    let timeout = ["--pause-timeout-minutes", "3", "--pause-timeout-action", "CONTINUE"];
    let service = AWS.service("hasty", &[], &[&PAUSED[..], &timeout].concat()).await;
    let patient = POLICY.replace("at-least: 8s", "at-least: 60s");
    let settings = format!("intake: {{ queue: \"{}\" }}\n", service.queue);
    let gate = Gate::new(&AWS.endpoint, "hasty").policy(&patient).settings(&settings).start().await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "STOPPED", "{first:#}");
    let outcome = gate.outcome(short(&service.first), LIMIT).await;
    assert_eq!(
        (&outcome["decision"], &outcome["delivery"]["delivery"]),
        (&json!("rollback"), &json!("confirmed")),
        "{outcome:#}"
    );
    // So few ticks may be most of them too late on a busy machine.
    let basis = outcome["basis"].as_str().unwrap();
    assert!(["undecided", "gate-trouble"].contains(&basis), "{outcome:#}");
}

/// A gate that stands still from this phase on, and this many refused answers, until its pause has timed out sends
/// nothing when it goes on, and says so.
async fn check_suspended(name: &str, policy: &str, phase: &str, refused: usize, said: &str) {
    // A minute of AWS's is six seconds here: time for gate to start, and to get as far as that.
    let timeout = ["--pause-timeout-minutes", "5", "--pause-timeout-action", "CONTINUE"];
    let service = AWS.service(name, &[], &[&PAUSED[..], &timeout].concat()).await;
    let throttled = json!({
        "operation": ANSWER, "access_key": name, "error": "ThrottlingException",
    });
    let fault = AWS.fault(throttled).await;
    let settings = format!("intake: {{ queue: \"{}\" }}\n", service.queue);
    let gate = Gate::new(&AWS.endpoint, name).policy(policy).settings(&settings).start().await;
    let id = short(&service.first);
    let there = eventually(LIMIT, async || {
        let is_there = gate.evaluation(id).await?["phase"] == phase;
        (is_there && AWS.requests(ANSWER, name).await.len() >= refused).then_some(())
    });
    there.await.unwrap_or_else(|| panic!("{name}: it is never {phase}: {}", gate.logged()));
    gate.pause();
    let over = eventually(LIMIT, async || {
        let seen = AWS.service_deployment(&service.first).await;
        (seen["hooks"][0]["status"] == "TIMED_OUT").then_some(())
    });
    over.await.unwrap_or_else(|| panic!("{name}: the pause does not time out"));
    // From now on nothing but gate itself keeps an answer back.
    AWS.heal(&fault).await;
    let before = AWS.requests(ANSWER, name).await;
    assert!(before.iter().all(|call| call["error"] == "ThrottlingException"), "{before:#?}");
    gate.go_on();
    let outcome = gate.outcome(id, LIMIT).await;
    assert_eq!(outcome["delivery"]["delivery"], "too-late", "{name}: {outcome:#}");
    let reason = outcome["delivery"]["reason"].as_str().expect("why");
    assert!(reason.contains(said), "{name}: {reason}");
    let answers = AWS.requests(ANSWER, name).await;
    assert_eq!(answers.len(), before.len(), "{name}: it answers blindly: {answers:#?}");
}

#[tokio::test]
async fn a_gate_that_was_suspended_over_the_end_of_a_pause_answers_nobody() {
    let patient = patient(QUICK);
    let unanswered = "too late, so nothing is answered";
    tokio::join!(
        check_suspended("asleep-judging", &patient, "judging", 0, unanswered),
        // By the third refusal a second or so is left until the next try.
        check_suspended("asleep-answering", QUICK, "answering", 3, ""),
    );
}

#[tokio::test]
async fn a_deployment_that_ends_by_other_hands_ends_the_run() {
    let service = AWS.service("overtaken", &[], &PAUSED).await;
    let patient = POLICY.replace("at-least: 8s", "at-least: 60s");
    let gate = Gate::new(&AWS.endpoint, "overtaken").policy(&patient);
    let settings = format!("intake: {{ queue: \"{}\" }}\n", service.queue);
    let gate = gate.settings(&settings).start().await;
    let judging = eventually(LIMIT, async || {
        let seen = gate.evaluation(short(&service.first)).await?;
        (seen["phase"] == "judging").then_some(())
    });
    judging.await.expect("it is judged");
    // The next one overtakes it.
    service.deploy(&[]).await;
    let outcome = gate.outcome(short(&service.first), LIMIT).await;
    assert!(outcome["decision"].is_null(), "{outcome:#}");
    assert!(AWS.requests(ANSWER, "overtaken").await.is_empty());
}

#[tokio::test]
async fn no_blue_to_compare_with_is_no_data_and_goes_by_its_own_rule() {
    let service = AWS.service("alone", &[], &PAUSED).await;
    let policy = "
gate: v1
probe: { http: { path: /shop }, rate: 40/s }
objectives: [ { errors: { versus: blue, no-data: continue } } ]
decide: { at-least: 8s, deadline: 90s }
";
    let gate = Gate::new(&AWS.endpoint, "alone").policy(policy);
    let settings = format!("intake: {{ queue: \"{}\" }}\n", service.queue);
    let gate = gate.settings(&settings).start().await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
    let outcome = gate.outcome(short(&service.first), LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("no-data")));
}

#[tokio::test]
async fn a_service_whose_traffic_shifts_is_watched_and_vetoed() {
    let more = [
        &PAUSED[..],
        &["--strategy", "LINEAR", "--step-percent", "25", "--step-bake-minutes", "3"],
    ]
    .concat();
    let service = AWS.service("drifting", &[], &more).await;
    let watched = format!("{POLICY}watch: {{ until: end-of-deployment, window: 60s }}\n");
    let gate = Gate::new(&AWS.endpoint, "drifting").policy(&watched);
    let settings = format!("intake: {{ queue: \"{}\" }}\n", service.queue);
    let gate = gate.settings(&settings).start().await;
    AWS.service_deployed(&service.first, LIMIT).await;
    // Each task answers 20 probes a second: good for the 8 s of the question, gone in the shift.
    let arn = service.deploy(&["--unreachable-after", "400"]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "ROLLBACK_SUCCESSFUL", "{deployed:#}");
    let outcome = gate.outcome(short(&arn), LIMIT).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    let veto = outcome["watch"]["veto"].as_str().unwrap_or_else(|| panic!("{outcome:#}"));
    assert!(veto.contains("`errors at most 2 %` is broken"), "{veto}");
}

#[tokio::test]
async fn only_observing_lets_everything_go_on() {
    let service = AWS.service("observed", &[], &PAUSED).await;
    let gate = Gate::new(&AWS.endpoint, "observed").policy(POLICY).env("GATE_MODE", "observe");
    let settings = format!("intake: {{ queue: \"{}\" }}\n", service.queue);
    let gate = gate.settings(&settings).start().await;
    AWS.service_deployed(&service.first, LIMIT).await;
    let arn = service.deploy(&["--errors", "60%"]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    let outcome = gate.outcome(short(&arn), LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("observed")));
    assert!(reason(&outcome).contains("would have answered rollback"), "{outcome:#}");
    for operation in ["StopServiceDeployment", "StopDeployment"] {
        assert!(AWS.requests(operation, "observed").await.is_empty(), "{operation}");
    }
}

#[tokio::test]
async fn a_lambda_hook_is_told_to_come_again_until_it_is_decided() {
    let gate = super::gate("hooked").await;
    let stages = (gate.url(), "POST_TEST_TRAFFIC_SHIFT,PRODUCTION_TRAFFIC_SHIFT");
    let service = AWS.hooked_service("hooked", (&stages.0, stages.1), &[]).await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
    let hooks = first["hooks"].as_array().unwrap();
    let invocations = hooks[0]["invocations"].as_array().unwrap();
    assert!(invocations.len() > 1, "it came again: {first:#}");
    let outcome = gate.outcome(short(&service.first), LIMIT).await;
    assert_eq!(outcome["delivery"]["delivery"], "confirmed", "{outcome:#}");

    // Taken back, its hooks are asked again while it goes back, and let it.
    let arn = service.deploy(&["--errors", "60%"]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "ROLLBACK_SUCCESSFUL", "{deployed:#}");
    let outcome = gate.outcome(short(&arn), LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("rollback"), &json!("proven")));
}

#[tokio::test]
async fn a_lambda_hook_that_nobody_takes_fails() {
    let nobody = format!("http://{}:8080", tests::place::address());
    let more = ["--function-env", "GATE_RELAY_PATIENCE=1s"];
    let stages = (nobody.as_str(), "POST_TEST_TRAFFIC_SHIFT");
    let service = AWS.hooked_service("unheard", stages, &more).await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "STOPPED", "{first:#}");
}
