//! Faults of AWS, of users and of nobody: each a clear reason in the record, and the stated fallback.

use serde_json::{Value, json};
use tests::Gate;

use super::{AWS, LIMIT, POLICY, accepted, deploy, gate, reason};

/// A fault for one access key; `operation` may be `*`.
async fn fault(access_key: &str, operation: &str, error: &str, count: Option<u32>) {
    let fault = json!({
        "operation": operation,
        "access_key": access_key,
        "error": error,
        "count": count,
    });
    AWS.fault(fault).await;
}

#[tokio::test]
async fn throttling_on_every_call_delays_and_changes_nothing() {
    let gate = gate("throttled").await;
    fault("throttled", "*", "ThrottlingException", Some(20)).await;
    fault("throttled", "PutLifecycleEventHookExecutionStatus", "ThrottlingException", Some(3))
        .await;
    let (outcome, deployment) = deploy(&gate, "throttled", &[]).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    assert_eq!(accepted(&deployment).len(), 1);
    let timeline = outcome["timeline"].to_string();
    assert!(timeline.contains("ThrottlingException"), "{timeline}");
}

#[tokio::test]
async fn a_missing_permission_is_named_and_answered_by_the_fallback() {
    let gate = gate("denied").await;
    fault("denied", "GetDeployment", "AccessDeniedException", None).await;
    let (outcome, deployment) = deploy(&gate, "denied", &[]).await;
    assert_eq!(
        (&outcome["decision"], &outcome["basis"]),
        (&json!("rollback"), &json!("unresolved")),
        "{outcome:#}"
    );
    assert!(
        reason(&outcome).contains("allow `codedeploy:GetDeployment` to the role gate runs with"),
        "{}",
        reason(&outcome)
    );
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
}

#[tokio::test]
async fn an_answer_that_is_denied_is_tried_until_somebody_allows_it() {
    let gate = gate("deaf").await;
    fault("deaf", "PutLifecycleEventHookExecutionStatus", "AccessDeniedException", Some(4)).await;
    let (outcome, deployment) = deploy(&gate, "deaf", &["--errors", "60%"]).await;
    assert_eq!(outcome["delivery"]["delivery"], "confirmed", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    assert!(
        outcome["timeline"].to_string().contains("codedeploy:PutLifecycleEventHookExecutionStatus")
    );
}

#[tokio::test]
async fn a_green_that_cannot_be_resolved_is_answered_by_the_fallback() {
    let gate = gate("greenless").await;
    fault("greenless", "DescribeTargetGroups", "TargetGroupNotFound", None).await;
    let (outcome, deployment) = deploy(&gate, "greenless", &[]).await;
    assert_eq!(
        (&outcome["decision"], &outcome["basis"]),
        (&json!("rollback"), &json!("unresolved")),
        "{outcome:#}"
    );
    assert!(page(&gate, &outcome).await.contains("DescribeTargetGroups of greenless-"));
    assert!(
        reason(&outcome).contains("DescribeTargetGroups of greenless-"),
        "{}",
        reason(&outcome)
    );
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
}

#[tokio::test]
async fn an_unknown_deployment_ends_with_the_reason_on_record() {
    let gate = gate("unknown").await;
    let event = json!({ "DeploymentId": "d-NOSUCH999", "LifecycleEventHookExecutionId": "token" });
    let answer =
        tests::http::post(&format!("{}/hooks/codedeploy", gate.url()), &event).await.unwrap();
    assert_eq!(answer.status, 202, "{}", answer.text);
    assert_eq!(answer.location.as_deref(), answer.json()["url"].as_str());
    let outcome = gate.outcome("d-NOSUCH999", LIMIT).await;
    assert_eq!(outcome["basis"], "unresolved", "{outcome:#}");
    assert!(reason(&outcome).contains("DeploymentDoesNotExistException"), "{}", reason(&outcome));
    assert_eq!(outcome["delivery"]["delivery"], "too-late", "{outcome:#}");
    assert!(page(&gate, &outcome).await.contains("DeploymentDoesNotExistException"));
}

#[tokio::test]
async fn a_broken_policy_is_named_with_its_place_and_answered_by_the_fallback() {
    let broken = POLICY.replace("at-most: 2%", "at-most: 0.02");
    let gate = Gate::new(&AWS.endpoint, "broken").policy(&broken).start().await;
    let (outcome, deployment) = deploy(&gate, "broken", &[]).await;
    assert_eq!(
        (&outcome["decision"], &outcome["basis"]),
        (&json!("rollback"), &json!("broken-policy")),
        "{outcome:#}"
    );
    let named = "test.policy.yaml:5:25: `0.02` has no `%`";
    assert!(reason(&outcome).contains(named), "{}", reason(&outcome));
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    let page = page(&gate, &outcome).await;
    assert!(page.contains("test.policy.yaml:5:25"), "{page}");
}

#[tokio::test]
async fn a_deployment_without_a_policy_is_answered_as_the_setting_says() {
    let elsewhere = format!("{POLICY}applies-to: {{ application: other }}\n");
    let gate =
        Gate::new(&AWS.endpoint, "unmatched").policy(&elsewhere).env("GATE_UNMATCHED", "continue");
    let gate = gate.start().await;
    let (outcome, deployment) = deploy(&gate, "unmatched", &["--errors", "60%"]).await;
    assert_eq!(
        (&outcome["decision"], &outcome["basis"]),
        (&json!("continue"), &json!("unmatched")),
        "{outcome:#}"
    );
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}

#[tokio::test]
async fn nothing_proven_by_the_deadline_is_answered_as_the_policy_says() {
    // Bad enough not to continue, too good to roll back, and twelve seconds to find out.
    let policy = "
gate: v1
probe: { http: { path: /shop }, rate: 30/s }
objectives: [ { errors: { at-most: 10%, unacceptable: 20% } } ]
decide: { at-least: 6s, deadline: 12s, undecided: continue }
";
    let gate = Gate::new(&AWS.endpoint, "undecided").policy(policy).start().await;
    let (outcome, deployment) = deploy(&gate, "undecided", &["--errors", "14%"]).await;
    assert_eq!(
        (&outcome["decision"], &outcome["basis"]),
        (&json!("continue"), &json!("undecided")),
        "{outcome:#}"
    );
    assert!(reason(&outcome).contains("by the policy's `undecided` rule"), "{}", reason(&outcome));
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}

#[tokio::test]
async fn a_malformed_hook_is_refused_and_nothing_is_written() {
    let gate = gate("malformed").await;
    let url = format!("{}/hooks/codedeploy", gate.url());
    for body in [
        json!({}),
        json!({ "DeploymentId": "d-1;rm", "LifecycleEventHookExecutionId": "x" }),
        Value::Null,
    ] {
        let answer = tests::http::post(&url, &body).await.unwrap();
        assert_eq!(answer.status, 400, "{}", answer.text);
        assert!(
            answer.json()["error"].as_str().unwrap().contains("DeploymentId"),
            "{}",
            answer.text
        );
    }
    let huge = "x".repeat(100_000);
    let answer = tests::http::send("POST", &url, &[], &huge).await.unwrap();
    assert_eq!(answer.status, 413, "{}", answer.text);
    assert!(gate.evaluations().await.is_empty());
}

async fn page(gate: &Gate, outcome: &Value) -> String {
    let url = format!("{}/evaluations/{}", gate.url(), outcome["id"].as_str().unwrap());
    tests::http::send("GET", &url, &[("accept", "text/html")], "").await.unwrap().text
}
