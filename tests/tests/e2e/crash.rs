//! Nothing is lost: kill -9 and graceful stops cost at most a tick of evidence, never the answer.

use serde_json::{Value, json};
use tests::{Gate, eventually, http};

use super::{AWS, LIMIT, accepted, finished, gate};

async fn until(gate: &Gate, id: &str, what: impl Fn(&Value) -> bool) -> Value {
    let seen = eventually(LIMIT, async || gate.evaluation(id).await.filter(|seen| what(seen)));
    seen.await.unwrap_or_else(|| panic!("not reached: {}", gate.logged()))
}

fn ticks(seen: &Value) -> Vec<u64> {
    let series = seen["series"].as_array().unwrap();
    series.iter().map(|point| point["tick"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn kill_9_while_probing_costs_no_evidence_and_the_answer_is_given_once() {
    let mut gate = gate("killed").await;
    let site = AWS.site("killed", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let before = until(&gate, &id, |seen| ticks(seen).len() >= 2).await;
    gate.kill();
    gate.restart().await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    let (before, after) = (ticks(&before), ticks(&outcome));
    assert!(after.starts_with(&before), "evidence before the kill is kept: {before:?} {after:?}");
    assert!(after.windows(2).all(|pair| pair[0] < pair[1]), "no tick counts twice: {after:?}");
    let timeline = outcome["timeline"].to_string();
    assert!(timeline.contains("gate restarted; resuming with the evidence on disk"), "{timeline}");
}

#[tokio::test]
async fn kill_9_while_answering_gives_the_same_answer_once() {
    let mut gate = gate("answering").await;
    AWS.fault(json!({
        "operation": "PutLifecycleEventHookExecutionStatus",
        "access_key": "answering",
        "error": "ThrottlingException",
        "count": 6,
    }))
    .await;
    let site = AWS.site("answering", &gate.url(), &[], &[]).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    let before = until(&gate, &id, |seen| seen["phase"] == "answering").await;
    gate.kill();
    gate.restart().await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    assert_eq!(outcome["reason"], before["reason"]);
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
}

#[tokio::test]
async fn a_graceful_stop_leaves_the_question_to_the_next_start() {
    let mut gate = gate("stopped").await;
    let site = AWS.site("stopped", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    until(&gate, &id, |seen| !ticks(seen).is_empty()).await;
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    gate.restart().await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
}

#[tokio::test]
async fn a_stop_refuses_questions_and_lets_the_answer_under_way_arrive() {
    let mut gate = gate("draining").await;
    AWS.fault(json!({
        "operation": "PutLifecycleEventHookExecutionStatus", "access_key": "draining",
        "delay_seconds": 4,
    }))
    .await;
    let site = AWS.site("draining", &gate.url(), &[], &[]).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    until(&gate, &id, |seen| seen["phase"] == "answering").await;
    gate.terminate();
    let hook = json!({ "DeploymentId": "d-TOOLATE01", "LifecycleEventHookExecutionId": "token" });
    let refused = eventually(LIMIT, async || {
        let answer = http::post(&format!("{}/hooks/codedeploy", gate.url()), &hook).await;
        answer.is_none_or(|answer| answer.status == 503).then_some(())
    });
    refused.await.expect("it takes no question any more");
    // However long that took: it ends when the answer under way has arrived, and not before.
    assert_eq!(gate.ended().await, Some(0), "{}", gate.logged());
    let deployment = AWS.deployment(&id).await;
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    gate.restart().await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["delivery"]["delivery"], "confirmed", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "it is not answered twice: {deployment:#}");
    assert!(gate.evaluation("d-TOOLATE01").await.is_none());
}

#[tokio::test]
async fn an_aws_that_does_not_answer_keeps_no_gate_from_stopping_in_time() {
    let queue = AWS.queue("stuck-events").await;
    let settings = format!(
        "intake: {{ queue: \"{queue}\", poll: [ {{ application: stuck, group: stuck-group }} ] }}\n"
    );
    let gate = Gate::new(&AWS.endpoint, "stuck").policy(super::POLICY).settings(&settings);
    let mut gate = gate.start().await;
    let route = format!("GATE_QUEUE={queue}");
    let relay = ["--function-env", "EMULATED_ACCESS_KEY_ID=stuck-relay"];
    let site = AWS.relayed_site("stuck", &route, &[], &relay).await;
    let id = site.deploy(&[]).await;
    until(&gate, &id, |seen| !ticks(seen).is_empty()).await;
    let hanging = json!({ "access_key": "stuck", "delay_seconds": 120, "drop": true });
    let fault = AWS.fault(hanging).await;
    assert_eq!(gate.stop().await, Some(0), "not within 30 s: {}", gate.logged());
    AWS.heal(&fault).await;
    gate.restart().await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
}
