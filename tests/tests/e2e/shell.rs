//! The command line: exit codes, JSON, and what people read.

use std::process::{Output, Stdio};

use serde_json::Value;
use tests::place::{self, Folder};
use tokio::process::{Child, Command};

pub(crate) const POLICY: &str = "
gate: v1
probe: { http: { path: /shop }, rate: 100/s, timeout: 5s }
objectives:
  - errors:  { at-most: 2% }
  - latency: { quantile: p95, at-most: 2s }
decide: { at-least: 6s, deadline: 60s }
";

/// Our sample service on an address of its own, answering.
pub(crate) async fn service(arguments: &[&str]) -> (Child, String) {
    let address = format!("{}:8080", place::address());
    let child = Command::new(place::binary("service"))
        .args(["--listen", &address])
        .args(arguments)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let url = format!("http://{address}");
    let up =
        tests::eventually(super::LIMIT, async || tests::http::get(&format!("{url}/healthz")).await);
    up.await.expect("the service answers");
    (child, url)
}

pub(crate) async fn gate(arguments: &[&str]) -> Output {
    let mut command = Command::new(place::binary("gate"));
    command.args(arguments).env_clear().stdin(Stdio::null()).output().await.unwrap()
}

/// Runs gate with the emulated AWS behind it; its calls are this access key's.
pub(crate) async fn asking(access_key: &str, arguments: &[&str]) -> Output {
    let environment = tests::gate::aws(&super::AWS.endpoint, access_key);
    let mut command = Command::new(place::binary("gate"));
    let command = command.args(arguments).env_clear().envs(environment);
    let output = command.stdin(Stdio::null()).output().await.unwrap();
    let said = text(&output.stdout) + &text(&output.stderr);
    tests::check_said(&format!("what gate {arguments:?} says"), &said, &[]);
    output
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs `gate verify --output json` and checks its exit code, decision and basis.
pub(crate) async fn check(
    policy: &str,
    green: &str,
    more: &[&str],
    code: i32,
    decision: &str,
    basis: &str,
) -> Value {
    let folder = Folder::new("verify");
    let path = folder.path().join("shop.policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let mut arguments = vec!["verify", "--policy", path.to_str().unwrap(), "--green", green];
    arguments.extend(["--output", "json"]);
    arguments.extend(more);
    let output = gate(&arguments).await;
    let seen = text(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{seen}{}", text(&output.stderr));
    let seen: Value = serde_json::from_str(&seen).unwrap();
    assert_eq!((&seen["decision"], &seen["basis"]), (&decision.into(), &basis.into()), "{seen:#}");
    assert!(!seen["reason"].as_str().unwrap().is_empty());
    assert!(seen["duration_seconds"].as_f64().unwrap() > 0.0);
    seen
}

#[tokio::test]
async fn verify_exits_0_when_every_objective_is_kept() {
    let (_green, green) = service(&[]).await;
    let (_blue, blue) = service(&[]).await;
    let seen = check(POLICY, &green, &["--blue", &blue], 0, "continue", "proven").await;
    for objective in seen["objectives"].as_array().unwrap() {
        assert_eq!(objective["verdict"], "Kept");
        assert!(
            objective["name"].is_string() && objective["counts"]["total"].as_u64().unwrap() > 300
        );
        assert!(objective["evidence"]["log_continue"].as_f64().unwrap() > 4.6);
    }
    assert!(seen["blue"]["total"]["judged"].as_u64().unwrap() > 300);
}

#[tokio::test]
async fn verify_exits_1_when_a_rollback_is_proven() {
    let (_green, green) = service(&["--errors", "20%"]).await;
    let seen = check(POLICY, &green, &[], 1, "rollback", "proven").await;
    assert_eq!(seen["objectives"][0]["verdict"], "Broken", "{seen:#}");
}

#[tokio::test]
async fn verify_exits_3_when_nothing_is_proven_by_the_deadline() {
    let (_green, green) = service(&[]).await;
    let patient = POLICY.replace(
        "at-least: 6s, deadline: 60s",
        "at-least: 50s, deadline: 60s, undecided: continue",
    );
    check(&patient, &green, &["--deadline", "5s"], 3, "continue", "undecided").await;
}

#[tokio::test]
async fn verify_exits_0_when_it_only_observes_and_says_what_it_would_have_done() {
    let (_green, green) = service(&["--errors", "50%"]).await;
    let observing = format!("{POLICY}mode: observe\n");
    let seen = check(&observing, &green, &[], 0, "continue", "observed").await;
    assert!(seen["reason"].as_str().unwrap().contains("would have answered rollback"), "{seen:#}");
}

#[tokio::test]
async fn verify_exits_2_and_shows_every_fault_of_what_it_was_given() {
    let folder = Folder::new("usage");
    let path = folder.path().join("bad.policy.yaml");
    std::fs::write(&path, "gate: v2\nprobe: { http: { path: x } }\nobjectives: []\n").unwrap();
    let output =
        gate(&["verify", "--policy", path.to_str().unwrap(), "--green", "http://127.0.0.1:1"])
            .await;
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stderr);
    for code in ["G0005", "bad.policy.yaml:2:24", "a policy has 1 to 64 objectives"] {
        assert!(shown.contains(code), "{shown}");
    }
    std::fs::write(&path, POLICY).unwrap();
    let output = gate(&[
        "verify",
        "--policy",
        path.to_str().unwrap(),
        "--green",
        "ftp://x",
        "--blue",
        "http://a/b",
    ])
    .await;
    assert_eq!(output.status.code(), Some(2));
    let shown = text(&output.stderr);
    assert!(
        shown.contains("`ftp://x` is no address") && shown.contains("`http://a/b` has a path"),
        "{shown}"
    );
    assert_eq!(gate(&["verify"]).await.status.code(), Some(2));
    assert_eq!(gate(&["frobnicate"]).await.status.code(), Some(2));
}

#[tokio::test]
async fn the_last_lines_of_verify_are_the_decision_and_the_reason() {
    let (_green, green) = service(&["--errors", "50%"]).await;
    let folder = Folder::new("lines");
    let path = folder.path().join("shop.policy.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let output = gate(&["verify", "--policy", path.to_str().unwrap(), "--green", &green]).await;
    let shown = text(&output.stdout);
    let mut lines = shown.lines().rev();
    assert!(lines.next().unwrap().starts_with("reason: `errors at most 2 %` is broken"), "{shown}");
    assert_eq!(lines.next(), Some("decision: rollback"));
    assert!(output.stdout.len() + output.stderr.len() < 2048, "the CodeDeploy agent keeps 2 KB");
}

#[tokio::test]
async fn serve_refuses_settings_with_all_their_faults_at_once() {
    let folder = Folder::new("settings");
    let path = folder.path().join("gate.yaml");
    std::fs::write(
        &path,
        "policies: /nowhere\nhooks: { listen: 0.0.0.0:8080 }\nadmin: { listen: here }\n",
    )
    .unwrap();
    let output = gate(&["serve", "--config", path.to_str().unwrap()]).await;
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    for fault in [
        "is not loopback and `hooks.keys` is empty",
        "`policies: /nowhere` is no folder",
        "`admin.listen: here` is no address",
    ] {
        assert!(shown.contains(fault), "{shown}");
    }
    std::fs::write(&path, "hooks:\n  listn: 1\n").unwrap();
    let output = gate(&["serve", "--config", path.to_str().unwrap()]).await;
    assert!(text(&output.stderr).contains("gate.yaml:2:3"), "{}", text(&output.stderr));
}

#[tokio::test]
async fn health_tells_a_running_daemon_from_none() {
    let daemon = super::gate("health").await;
    let admin = daemon.admin().replace("http://", "");
    let output = gate(&["health", "--admin", &admin]).await;
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), "healthy\n".to_owned()));
    let nobody = format!("{}:9090", place::address());
    assert_eq!(gate(&["health", "--admin", &nobody]).await.status.code(), Some(1));
}

#[tokio::test]
async fn check_exits_0_for_good_policies_and_lists_faults_for_machines() {
    let samples = place::root().join("deploy/policies");
    assert_eq!(gate(&["check", samples.to_str().unwrap()]).await.status.code(), Some(0));
    let folder = Folder::new("check");
    let path = folder.path().join("bad.policy.yaml");
    std::fs::write(&path, "gate: v1\nspeed: 3\n").unwrap();
    let output = gate(&["check", path.to_str().unwrap(), "--output", "json"]).await;
    assert_eq!(output.status.code(), Some(2));
    let faults: Value = serde_json::from_slice(&output.stdout).unwrap();
    let unknown = faults.as_array().unwrap().iter().find(|fault| fault["code"] == "G0002").unwrap();
    assert_eq!((&unknown["line"], &unknown["column"]), (&2.into(), &1.into()));
    assert!(unknown["file"].as_str().unwrap().ends_with("bad.policy.yaml"));
    assert!(unknown["message"].is_string() && unknown["help"].is_string());
}
