//! CodePipeline: manual approvals heard of by SNS, Lambda actions by the relay.

use serde_json::{Value, json};
use tests::{Gate, eventually};

use super::{AWS, LIMIT, shell};

/// Judges an environment that the policy itself names.
fn policy(green: &str) -> String {
    format!("{}targets: {{ green: [\"{green}\"] }}\n", super::POLICY)
}

/// A pipeline with an approval, and a gate that hears of it.
async fn piped(name: &str, green: &str, more: &[&str]) -> Gate {
    let arguments = ["setup-pipeline", "--name", name, "--policy-name", "checkout"];
    let made = AWS.scenario(&[&arguments[..], more].concat()).await;
    let queue = made["queue_url"].as_str().unwrap_or_else(|| panic!("{made:#}"));
    let gate = Gate::new(&AWS.endpoint, name);
    let gate = gate.policy_named("checkout.policy.yaml", &policy(green));
    gate.settings(&format!("intake: {{ queue: \"{queue}\" }}\n")).start().await
}

async fn start(name: &str) -> String {
    let started = AWS.scenario(&["start-pipeline", "--name", name]).await;
    let id = started["execution_id"].as_str().or(started["pipeline_execution_id"].as_str());
    id.unwrap_or_else(|| panic!("{started:#}")).to_owned()
}

/// Waits until an execution is over.
async fn over(name: &str, execution: &str) -> Value {
    let look = ["pipeline-status", "--name", name, "--execution", execution];
    let over = eventually(LIMIT, async || {
        let seen = AWS.scenario(&look).await;
        (seen["status"] != "InProgress").then_some(seen)
    });
    over.await.expect("the pipeline ends")
}

#[tokio::test]
async fn an_approval_is_given_with_the_reason_in_its_summary() {
    let (_green, green) = shell::service(&[]).await;
    let gate = piped("approved", &green, &[]).await;
    let execution = start("approved").await;
    let status = over("approved", &execution).await;
    assert_eq!(status["status"], "Succeeded", "{status:#}");
    assert!(status.to_string().contains("every objective is kept"), "{status:#}");
    let outcome = gate.outcome("approved", LIMIT).await;
    assert_eq!(outcome["deployment"]["stage"], "Approval", "{outcome:#}");
}

#[tokio::test]
async fn an_environment_that_fails_is_not_approved() {
    let (_green, green) = shell::service(&["--errors", "60%"]).await;
    let gate = piped("refused", &green, &[]).await;
    let execution = start("refused").await;
    let status = over("refused", &execution).await;
    assert_eq!(status["status"], "Failed", "{status:#}");
    let outcome = gate.outcome("refused", LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("rollback"), &json!("proven")));
}

#[tokio::test]
async fn executions_side_by_side_are_each_approved() {
    let (_green, green) = shell::service(&[]).await;
    let gate = piped("parallel", &green, &["--mode", "PARALLEL"]).await;
    let (one, other) = (start("parallel").await, start("parallel").await);
    for execution in [one, other] {
        let status = over("parallel", &execution).await;
        assert_eq!(status["status"], "Succeeded", "{status:#}");
    }
    assert_eq!(gate.evaluations().await.len(), 2);
}

#[tokio::test]
async fn a_lambda_action_is_told_to_come_again_until_it_is_decided() {
    let (_green, green) = shell::service(&[]).await;
    let gate = Gate::new(&AWS.endpoint, "acting");
    let gate = gate.policy_named("checkout.policy.yaml", &policy(&green)).start().await;
    // The function with a hook is there for its relay.
    AWS.function("acting", &gate.url(), &[]).await;
    let arguments = ["setup-pipeline", "--name", "acting", "--policy-name", "checkout"];
    AWS.scenario(&[&arguments[..], &["--lambda", "CodeDeployHook_acting"]].concat()).await;
    let execution = start("acting").await;
    let outcome = gate.outcome("", LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));
    assert_eq!(outcome["deployment"]["stage"], "Invoke", "{outcome:#}");
    let results = AWS.requests("PutJobSuccessResult", "acting").await;
    assert!(results.len() > 1, "it came again: {results:#?}");
    drop(execution);
}
