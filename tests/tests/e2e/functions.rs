//! CodeDeploy on Lambda: versions invoked by their number, before the shift and while it goes on.

use serde_json::json;
use tests::{Gate, eventually};

use super::{AWS, ENDED, LIMIT, reason};

pub(crate) const BEFORE: [&str; 2] = ["--hooks", "BeforeAllowTraffic"];

/// 10 invocations a second of each version, for at least 8 s: each is a process that works.
pub(crate) const POLICY: &str = "
gate: v1
probe:
  lambda: { payload: '{\"check\":\"health\"}', expect: { json: { $.name: { present: true } } } }
  rate: 10/s
  timeout: 5s
objectives:
  - errors:  { at-most: 5% }
  - latency: { quantile: p90, at-most: 2s }
decide: { at-least: 8s, deadline: 60s }
";

async fn gate(name: &str) -> Gate {
    Gate::new(&AWS.endpoint, name).policy(POLICY).start().await
}

#[tokio::test]
async fn a_healthy_version_takes_the_traffic_and_its_cold_starts_are_kept_apart() {
    let gate = gate("sound").await;
    let function = AWS.function("sound", &gate.url(), &[]).await;
    let hooks = ["--hooks", "BeforeAllowTraffic,AfterAllowTraffic"];
    let id = function.deploy(&["NAME=new"], &hooks).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    gate.outcome(&id, LIMIT).await;
    let evaluations = gate.evaluations().await;
    assert_eq!(evaluations.len(), 2, "each hook is a question");
    // The newest first: this is the hook before the traffic.
    let url = format!("{}/evaluations/{}", gate.url(), evaluations[1]["id"].as_str().unwrap());
    let outcome = tests::http::get(&url).await.unwrap().json();
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));
    let invocations = &outcome["green"]["total"]["invocations"];
    let count = |key: &str| invocations[key].as_u64().unwrap_or_else(|| panic!("{outcome:#}"));
    assert!(count("count") > 50, "{outcome:#}");
    // Where the processor is short, a version's only cold start may be among the probes that gate sent too late to judge.
    let cold = |arm: &str| outcome[arm]["total"]["invocations"]["cold"].as_u64().unwrap_or(0);
    assert!(cold("green") + cold("blue") >= 1, "{outcome:#}");
    assert!(count("max_memory_bytes") > 1_000_000, "{outcome:#}");
    let targets = outcome["green"]["targets"].as_object().unwrap();
    assert_eq!(targets.keys().collect::<Vec<_>>(), ["sound:2"], "by its number");
}

#[tokio::test]
async fn a_version_that_fails_is_rolled_back_before_it_has_traffic() {
    let gate = gate("unsound").await;
    let function = AWS.function("unsound", &gate.url(), &[]).await;
    let id = function.deploy(&["NAME=new", "FAIL_EVERY=3"], &BEFORE).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("rollback"), &json!("proven")));
    assert!(reason(&outcome).contains("errors at most 5 %"), "{outcome:#}");
    assert!(outcome["blue"]["total"]["judged"].as_u64().unwrap() > 0, "{outcome:#}");
}

#[tokio::test]
async fn throttled_probes_prove_nothing_against_a_version() {
    let gate = gate("choked").await;
    let function = AWS.function("choked", &gate.url(), &[]).await;
    let fault = json!({
        "service": "lambda", "operation": "Invoke", "access_key": "choked",
        "error": "TooManyRequestsException", "message": "Rate Exceeded.", "status": 429,
    });
    AWS.fault(fault).await;
    let id = function.deploy(&["NAME=new"], &BEFORE).await;
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("rollback"), &json!("no-data")));
    assert!(
        outcome["green"]["total"]["outcomes"]["throttled"].as_u64().unwrap() > 0,
        "{outcome:#}"
    );
}

#[tokio::test]
async fn a_version_that_breaks_while_its_share_grows_is_vetoed() {
    let watched = format!("{POLICY}watch: {{ until: end-of-deployment, window: 60s }}\n");
    let gate = Gate::new(&AWS.endpoint, "eroding").policy(&watched).start().await;
    let function = AWS.function("eroding", &gate.url(), &[]).await;
    let canary = ["--config", "CodeDeployDefault.LambdaCanary10Percent30Minutes"];
    let broken = gate.folder().join("broken");
    let breaks = format!("FAIL_ONCE={}", broken.display());
    let id = function.deploy(&["NAME=new", &breaks], &[&BEFORE[..], &canary].concat()).await;
    let watched = eventually(LIMIT, async || {
        gate.evaluation(&id).await.filter(|seen| seen["phase"] == "watching").map(drop)
    });
    watched.await.expect("it is watched");
    std::fs::write(&broken, "").unwrap();
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
    assert!(deployment["rollback_id"].is_string(), "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    let veto = outcome["watch"]["veto"].as_str().unwrap_or_else(|| panic!("{outcome:#}"));
    assert!(veto.contains("`errors at most 5 %` is broken"), "{veto}");
}

#[tokio::test]
async fn a_policy_for_addresses_is_no_policy_for_a_function() {
    let gate = super::gate("mismatched").await;
    let function = AWS.function("mismatched", &gate.url(), &[]).await;
    let id = function.deploy(&["NAME=new"], &BEFORE).await;
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!(outcome["basis"], "broken-policy", "{outcome:#}");
    assert!(reason(&outcome).contains("lambda"), "{outcome:#}");
}
