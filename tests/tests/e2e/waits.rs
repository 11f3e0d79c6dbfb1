//! Questions of CodeDeploy that come without a hook: a deployment that is ready, and one that nobody asks about.

use serde_json::json;
use tests::{Gate, eventually};

use super::{AWS, ENDED, LIMIT, POLICY, reason};

/// A service whose deployments say on a queue what they come to.
async fn heard<'a>(name: &str, more: &[&str]) -> tests::Site<'a> {
    let queue = format!("{name}-events");
    AWS.site(name, "http://127.0.0.1:1", &[], &[&["--events-queue", &queue], more].concat()).await
}

async fn listening(gate: Gate, site: &tests::Site<'_>) -> Gate {
    let queue = site.made["queue_url"].as_str().unwrap();
    gate.settings(&format!("intake: {{ queue: \"{queue}\" }}\n")).start().await
}

const READY: [&str; 2] = ["--ready-wait-minutes", "60"];

#[tokio::test]
async fn a_deployment_that_is_ready_goes_on_or_is_stopped() {
    let site = heard("ready", &READY).await;
    let gate = listening(Gate::new(&AWS.endpoint, "ready").policy(POLICY), &site).await;
    let id = site.deploy_with_hooks(&[], "").await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));
    assert_eq!(outcome["deployment"]["stage"], "Ready", "{outcome:#}");

    let id = site.deploy_with_hooks(&["--errors", "60%"], "").await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
    assert!(deployment["rollback_id"].is_string(), "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!(outcome["delivery"]["delivery"], "stopped", "{outcome:#}");
}

#[tokio::test]
async fn a_release_that_a_person_let_go_on_is_not_stopped() {
    // Nothing is proven by its end, and the fallback is rollback.
    let policy = "gate: v1
probe: { http: { path: / }, rate: 2/s }
objectives: [ { errors: { at-most: 1% } } ]
decide: { at-least: 30s, deadline: 40s }
";
    let site = heard("let-go", &READY).await;
    let gate = listening(Gate::new(&AWS.endpoint, "let-go").policy(policy), &site).await;
    let id = site.deploy_with_hooks(&[], "").await;
    let judged = eventually(LIMIT, async || {
        gate.evaluation(&id).await.filter(|seen| seen["phase"] == "judging")
    });
    judged.await.unwrap_or_else(|| panic!("it is not judged: {}", gate.logged()));
    let on = json!({ "deploymentId": id, "deploymentWaitType": "READY_WAIT" });
    AWS.call("codedeploy", "ContinueDeployment", on).await;
    let outcome = gate.outcome(&id, LIMIT).await;
    assert!(outcome["decision"].is_null(), "nobody waits: {outcome:#}");
    assert_eq!(outcome["delivery"]["delivery"], "too-late", "{outcome:#}");
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    assert!(AWS.requests("StopDeployment", "let-go").await.is_empty());
}

#[tokio::test]
async fn without_events_a_ready_deployment_is_found_by_looking() {
    let site = AWS.site("found", "http://127.0.0.1:1", &[], &READY).await;
    let settings = "intake: { poll: [ { application: found, group: found-group } ] }\n";
    let gate = Gate::new(&AWS.endpoint, "found").policy(POLICY).settings(settings).start().await;
    let id = site.deploy_with_hooks(&[], "").await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    assert_eq!(gate.outcome(&id, LIMIT).await["decision"], "continue");
}

const CANARY: [&str; 2] = ["--deployment-config", "CodeDeployDefault.ECSCanary10Percent5Minutes"];

#[tokio::test]
async fn a_deployment_without_a_hook_is_watched_from_its_start_and_vetoed() {
    let watched = format!("{POLICY}watch: {{ until: end-of-deployment, window: 60s }}\n");
    let site = heard("hookless", &CANARY).await;
    let gate = listening(Gate::new(&AWS.endpoint, "hookless").policy(&watched), &site).await;
    let id = site.deploy_with_hooks(&["--errors", "60%"], "").await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    assert!(outcome["decision"].is_null(), "nobody asked: {outcome:#}");
    let veto = outcome["watch"]["veto"].as_str().unwrap_or_else(|| panic!("{outcome:#}"));
    assert!(veto.contains("`errors at most 2 %` is broken"), "{veto}");
    assert!(AWS.requests("PutLifecycleEventHookExecutionStatus", "hookless").await.is_empty());
}

#[tokio::test]
async fn an_observer_needs_read_permissions_alone() {
    let watched = format!("{POLICY}watch: {{ until: end-of-deployment, window: 60s }}\n");
    let site = heard("looking-on", &CANARY).await;
    let gate = Gate::new(&AWS.endpoint, "looking-on").policy(&watched).env("GATE_MODE", "observe");
    let gate = listening(gate, &site).await;
    let id = site.deploy_with_hooks(&["--errors", "60%"], "").await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    let ended = outcome["watch"]["ended"].as_str().unwrap_or_else(|| panic!("{outcome:#}"));
    assert!(ended.starts_with("only observing; would have vetoed"), "{ended}");
    for operation in
        ["StopDeployment", "ContinueDeployment", "PutLifecycleEventHookExecutionStatus"]
    {
        assert!(AWS.requests(operation, "looking-on").await.is_empty(), "{operation}");
    }
}

#[tokio::test]
async fn what_the_queue_holds_and_nobody_knows_is_left_to_the_dead_letters() {
    let site = heard("poisoned", &READY).await;
    let gate = listening(Gate::new(&AWS.endpoint, "poisoned").policy(POLICY), &site).await;
    let queue = site.made["queue_url"].as_str().unwrap();
    AWS.call("sqs", "SendMessage", json!({ "QueueUrl": queue, "MessageBody": "hello" })).await;
    let logged =
        eventually(LIMIT, async || gate.logged().contains("is nothing gate knows").then_some(()));
    logged.await.expect("it is said");
    assert!(AWS.requests("DeleteMessage", "poisoned").await.is_empty(), "it is not thrown away");
    // What comes after it is taken all the same.
    let id = site.deploy_with_hooks(&[], "").await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    assert!(reason(&gate.outcome(&id, LIMIT).await).contains("kept"), "it was judged");
}
