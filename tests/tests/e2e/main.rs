//! End-to-end tests: the real binary, the emulated AWS, real services; one file for each promise.

mod accounts;
mod balancing;
mod crash;
mod deployments;
mod disk;
mod doctor;
mod doors;
mod ecs;
mod faults;
mod faults_answers;
mod faults_evidence;
mod faults_table;
mod functions;
mod matrix;
mod matrix_codedeploy;
mod matrix_ecs;
mod matrix_pipelines;
mod matrix_watch;
mod notify;
mod observability;
mod overrides;
mod own_task;
mod pipelines;
mod probe;
mod records;
mod relay;
mod replicas;
mod secrets;
mod shell;
mod sidecar;
mod signals;
mod trouble;
mod verify;
mod wait;
mod waits;
mod watch;

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use tests::{EmulatedAws, Gate};

/// One emulated AWS for all tests; each has an access key and a service of its own.
static AWS: LazyLock<EmulatedAws> = LazyLock::new(|| EmulatedAws::start(&[]));

/// Shorter than a team's, so that a healthy release does not take a minute: 40/s for at least 8 s. Slow is what no service is
/// for want of a processor.
const POLICY: &str = "
gate: v1
probe: { http: { path: /shop }, rate: 40/s }
objectives:
  - errors:  { at-most: 2% }
  - latency: { quantile: p95, at-most: 1500ms }
decide: { at-least: 8s, deadline: 90s }
";

/// Longer than any deadline here, on a busy machine.
const LIMIT: Duration = Duration::from_secs(150);

/// Statuses a deployment ends in.
const ENDED: [&str; 3] = ["Succeeded", "Failed", "Stopped"];

/// A daemon with [`POLICY`] and an access key of this name.
async fn gate(name: &str) -> Gate {
    Gate::new(&AWS.endpoint, name).policy(POLICY).start().await
}

/// Deploys `green` beside a healthy blue; gate's evaluation and CodeDeploy's deployment, both over.
async fn deploy(gate: &Gate, name: &str, green: &[&str]) -> (Value, Value) {
    let site = AWS.site(name, &gate.url(), &[], &[]).await;
    let id = site.deploy(green).await;
    finished(gate, &id).await
}

async fn finished(gate: &Gate, id: &str) -> (Value, Value) {
    let outcome = gate.outcome(id, LIMIT).await;
    (outcome, AWS.until(id, &ENDED, LIMIT).await)
}

/// Answers AWS accepted for the deployment's only hook.
fn accepted(deployment: &Value) -> Vec<&Value> {
    let hooks = deployment["hooks"].as_array().expect("hooks");
    assert_eq!(hooks.len(), 1, "{deployment:#}");
    let answers = hooks[0]["answers"].as_array().expect("answers");
    answers.iter().filter(|answer| answer["accepted"] == true).collect()
}

/// The reason of an evaluation.
fn reason(outcome: &Value) -> &str {
    outcome["reason"].as_str().unwrap_or_else(|| panic!("no reason: {outcome:#}"))
}
