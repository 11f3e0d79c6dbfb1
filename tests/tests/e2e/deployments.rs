//! Whole deployments: CodeDeploy's hook asks through the relay, gate finds green, judges, answers.

use serde_json::Value;
use tests::eventually;

use super::matrix::check_metric;
use super::{AWS, LIMIT, accepted, deploy, finished, gate, reason};

#[tokio::test]
async fn a_healthy_release_continues() {
    let gate = gate("healthy").await;
    let (outcome, deployment) = deploy(&gate, "healthy", &[]).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(outcome["basis"], "proven");
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    assert_eq!(deployment["traffic"]["production"]["green"], 100.0);
    assert_eq!(accepted(&deployment).len(), 1);
    // Two tasks of each arm were found from the id alone, and probed in pairs.
    for arm in ["green", "blue"] {
        let targets = outcome[arm]["targets"].as_object().unwrap();
        assert_eq!(targets.len(), 2, "{arm}: {targets:#?}");
        assert!(targets.values().all(|target| target["judged"].as_u64().unwrap() > 100));
    }
}

#[tokio::test]
async fn a_release_with_errors_is_rolled_back_and_its_rollback_is_let_through_at_once() {
    let gate = gate("errors").await;
    let site = AWS.site("errors", &gate.url(), &[], &[]).await;
    let id = site.deploy(&["--errors", "12%"]).await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    assert_eq!(outcome["objective"], "errors at most 2 %");
    assert!(reason(&outcome).contains("× status 500"), "{}", reason(&outcome));
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    assert_eq!(deployment["traffic"]["production"]["green"], 0.0);
    let rollback = eventually(LIMIT, async || {
        let seen = AWS.deployment(deployment["deployment_id"].as_str()?).await;
        seen["rollback_id"].as_str().map(str::to_owned)
    });
    let rollback = rollback.await.expect("CodeDeploy rolls back");
    let (outcome, deployment) = finished(&gate, &rollback).await;
    assert_eq!(outcome["basis"], "rollback-deployment", "{outcome:#}");
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    assert_eq!(
        outcome["series"].as_array().map_or(0, Vec::len),
        0,
        "nothing is probed: {outcome:#}"
    );
}

#[tokio::test]
async fn five_percent_errors_are_rolled_back_under_the_sample_policy() {
    let sample =
        std::fs::read_to_string(tests::place::root().join("deploy/policies/web.policy.yaml"));
    let gate = tests::Gate::new(&AWS.endpoint, "web").policy(&sample.unwrap()).start().await;
    let (outcome, deployment) = deploy(&gate, "web", &["--errors", "5%"]).await;
    assert_eq!(
        (&outcome["decision"], &outcome["basis"]),
        (&"rollback".into(), &"proven".into()),
        "{outcome:#}"
    );
    assert_eq!(outcome["objective"], "errors at most 0.5 %");
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
}

#[tokio::test]
async fn a_release_slow_at_its_p99_is_rolled_back() {
    let p99 =
        super::POLICY.replace("quantile: p95, at-most: 1500ms", "quantile: p99, at-most: 400ms");
    let gate = tests::Gate::new(&AWS.endpoint, "slow").policy(&p99).start().await;
    let (outcome, deployment) =
        deploy(&gate, "slow", &["--slow", "15%", "--slow-by", "700ms"]).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    assert_eq!(outcome["objective"], "p99 at most 400 ms");
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    let p99 = |arm: &str| outcome[arm]["total"]["latency_seconds"]["p99"].as_f64().unwrap();
    assert!(p99("green") > 0.7 && p99("blue") < 0.7, "{outcome:#}");
}

#[tokio::test]
async fn an_unreachable_release_is_rolled_back() {
    let gate = gate("unreachable").await;
    let (outcome, deployment) = deploy(&gate, "unreachable", &["--unreachable-after", "5"]).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    assert!(reason(&outcome).contains("× refused"), "{}", reason(&outcome));
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
}

#[tokio::test]
async fn the_test_listener_is_a_way_to_green() {
    let listener = super::POLICY.replace("rate: 40/s", "rate: 40/s, via: listener");
    let gate = tests::Gate::new(&AWS.endpoint, "listener").policy(&listener).start().await;
    let (outcome, deployment) = deploy(&gate, "listener", &[]).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    let targets = outcome["green"]["targets"].as_object().unwrap();
    assert!(targets.keys().all(|id| id.starts_with("listener ")), "{targets:#?}");
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}

#[tokio::test]
async fn the_same_hook_delivered_twice_joins_and_is_answered_once() {
    let gate = gate("duplicate").await;
    let site = AWS.site("duplicate", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let judging = eventually(LIMIT, async || {
        gate.evaluation(&id).await.filter(|seen| seen["phase"] == "judging")
    });
    judging.await.expect("gate judges");
    let url = format!("{}/_emulated/hooks/{id}/redeliver", AWS.endpoint);
    let answer = tests::http::post(&url, &Value::Null).await.unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text);
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    assert_eq!(deployment["hooks"][0]["deliveries"], 2);
    let listed = gate.evaluations().await;
    assert_eq!(listed.iter().filter(|listed| listed["deployment_id"] == id.as_str()).count(), 1);
    check_metric(&gate, r#"gate_questions_total{kind="codedeploy-hook",outcome="joined"} 1"#).await;
}

#[tokio::test]
async fn a_group_that_would_not_roll_back_has_its_deployment_stopped_with_rollback() {
    let gate = gate("stubborn").await;
    let site = AWS.site("stubborn", &gate.url(), &[], &["--no-auto-rollback"]).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    assert_eq!(outcome["delivery"]["delivery"], "stopped", "{outcome:#}");
    assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
    assert!(deployment["rollback_id"].is_string(), "{deployment:#}");
    let warned = outcome["deployment"]["warnings"][0].as_str().unwrap();
    assert!(warned.contains("does not roll back when a hook fails"), "{warned}");
}

#[tokio::test]
async fn a_stage_with_nothing_to_measure_continues_at_once() {
    let gate = gate("early").await;
    let site = AWS.site("early", &gate.url(), &[], &[]).await;
    let id = site.deploy_with_hooks(&[], "BeforeInstall").await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["basis"], "nothing-to-measure", "{outcome:#}");
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}
