//! The relay: signed hand-over, and its own answer when nobody takes the question.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::Gate;

use super::{AWS, ENDED, LIMIT, POLICY, accepted, finished};

const KEY: &str = "a hook key of more than 16 bytes";

async fn keyed(name: &str) -> Gate {
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY);
    gate.env("HOOK_KEY", KEY).env("GATE_HOOKS_KEYS", "env:HOOK_KEY").start().await
}

#[tokio::test]
async fn a_hook_signed_by_the_relay_is_taken_and_an_unsigned_one_is_not() {
    let gate = keyed("signed").await;
    let key = format!("HOOK_KEY={KEY}");
    let more = ["--function-env", "GATE_HOOK_KEY=env:HOOK_KEY", "--function-env", &key];
    let site = AWS.site("signed", &gate.url(), &[], &more).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    let (outcome, _) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");

    let event = json!({ "DeploymentId": "d-UNSIGNED1", "LifecycleEventHookExecutionId": "token" });
    let answer =
        tests::http::post(&format!("{}/hooks/codedeploy", gate.url()), &event).await.unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert_eq!(
        gate.evaluations().await.iter().filter(|e| e["deployment_id"] == "d-UNSIGNED1").count(),
        0
    );
    assert!(!gate.logged().contains(KEY), "the key is in the log");
}

#[tokio::test]
async fn a_refused_hand_over_is_answered_failed_at_once() {
    let gate = keyed("mistrusted").await;
    let site = AWS.site("mistrusted", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    assert_eq!(accepted(&deployment)[0]["status"], "Failed");
    assert!(gate.evaluations().await.is_empty());
}

#[tokio::test]
async fn an_unreachable_gate_is_answered_for_after_the_patience() {
    let nobody = format!("http://{}:8080", tests::place::address());
    let more = ["--function-env", "GATE_RELAY_PATIENCE=3s"];
    let site = AWS.site("nobody", &nobody, &[], &more).await;
    let id = site.deploy(&[]).await;
    let start = Instant::now();
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    let answers = accepted(&deployment);
    assert_eq!((answers.len(), &answers[0]["status"]), (1, &json!("Failed")));
    assert!(start.elapsed() > Duration::from_secs(3), "it waited for gate first");
}

#[tokio::test]
async fn fail_open_is_a_choice_that_must_be_made() {
    let nobody = format!("http://{}:8080", tests::place::address());
    let more =
        ["--function-env", "GATE_RELAY_PATIENCE=1s", "--function-env", "GATE_UNREACHABLE=continue"];
    let site = AWS.site("open", &nobody, &[], &more).await;
    let id = site.deploy(&[]).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}

#[tokio::test]
async fn a_relay_with_a_wrong_setting_fails_every_hook_at_once_instead_of_dying() {
    let more = [
        "--function-env",
        "GATE_HOOK_KEY=env:NO_SUCH_KEY",
        "--function-env",
        "GATE_UNREACHABLE=continue",
    ];
    let site = AWS.site("misset", "nonsense", &[], &more).await;
    let id = site.deploy(&[]).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    assert_eq!(accepted(&deployment)[0]["status"], "Failed");
}
