//! Whole deployments: CodeDeploy's hook asks through the relay, gate finds green, judges, answers.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tests::{EmulatedAws, Gate};

/// One emulated AWS for all tests of this file; each has an access key and a service of its own.
static AWS: LazyLock<EmulatedAws> = LazyLock::new(|| EmulatedAws::start(&[]));

/// Short, so that a healthy release does not take a minute: 60/s for at least 6 s.
const POLICY: &str = "
gate: v1
probe: { http: { path: /shop }, rate: 60/s }
objectives:
  - errors:  { at-most: 1% }
  - latency: { quantile: p95, at-most: 300ms }
decide: { at-least: 6s, deadline: 60s }
";
const LIMIT: Duration = Duration::from_secs(90);

/// Deploys `green` beside a healthy blue and returns gate's evaluation and CodeDeploy's deployment.
async fn deploy(name: &str, green: &[&str]) -> (Value, Value) {
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY).start().await;
    let site = AWS.site(name, &gate.url(), &[], &[]).await;
    let id = site.deploy(green).await;
    let outcome = gate.outcome(&id, LIMIT).await;
    (outcome, AWS.until(&id, &["Succeeded", "Failed", "Stopped"], LIMIT).await)
}

#[tokio::test]
async fn a_healthy_release_continues() {
    let (outcome, deployment) = deploy("healthy", &[]).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}
