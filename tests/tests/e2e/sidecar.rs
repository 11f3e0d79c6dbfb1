//! A sidecar: static targets judged for ever, and a gate that is starved itself.

use std::net::SocketAddr;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use policies::TargetTick;
use policies::histogram::Interval;
use serde_json::Value;
use tests::place::{self, Folder};
use tests::{Endpoint, Gate, Manner, eventually, http};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::{LIMIT, shell};

/// 40/s, and a verdict after 4 s at the earliest.
const POLICY: &str = "
gate: v1
probe: { http: { path: /shop }, rate: 40/s, timeout: 1s }
objectives:
  - errors:  { at-most: 2% }
  - latency: { quantile: p95, at-most: 900ms }
decide: { at-least: 4s, deadline: 60s }
";

/// An address nobody has, for a service that comes and goes.
fn address() -> SocketAddr {
    SocketAddr::new(place::address().into(), 3000)
}

/// Our sample service there, answering.
async fn service(address: SocketAddr, arguments: &[&str]) -> Child {
    let child = Command::new(place::binary("service"))
        .args(["--listen", &address.to_string()])
        .args(arguments)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let up = eventually(LIMIT, async || http::get(&format!("http://{address}/healthz")).await);
    up.await.expect("the service answers");
    child
}

/// A sidecar of this target, started.
async fn sidecar(name: &str, address: SocketAddr, guard: bool) -> Gate {
    let target = format!("[ {{ url: \"http://{address}\", policy: sidecar, guard: {guard} }} ]");
    Gate::sidecar(name, &target).policy_named("sidecar.policy.yaml", POLICY).start().await
}

async fn snapshot(gate: &Gate) -> Option<Value> {
    let answer = http::get(&format!("{}/snapshot", gate.admin())).await?;
    Some(answer.json()["targets"][0].clone())
}

/// The snapshot, once it is as wanted.
async fn once(gate: &Gate, wanted: impl Fn(&Value) -> bool) -> Value {
    let found = eventually(LIMIT, async || snapshot(gate).await.filter(|seen| wanted(seen))).await;
    match found {
        Some(found) => found,
        None => panic!("never so: {:#?}\n{}", snapshot(gate).await, gate.logged()),
    }
}

async fn verdict(gate: &Gate, verdict: &str) -> Value {
    once(gate, |seen| seen["verdict"] == verdict).await
}

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(place::binary("gate"));
    command.args(arguments).env_clear().stdin(Stdio::null()).output().await.unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks `gate health` as a container's health check does: by the settings.
async fn check_health(gate: &Gate, code: i32, said: &str) {
    let settings = gate.folder().join("gate.yaml");
    let output = run(&["health", "--config", settings.to_str().unwrap()]).await;
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{shown}{}", gate.logged());
    assert!(shown.contains(said), "{shown}");
}

/// Stops a process for 95 ms of every 100, as a quota of a twentieth of a CPU does, until it is dropped.
struct Starving {
    process: std::process::Child,
    pid: u32,
}

impl Starving {
    fn begin(pid: u32) -> Self {
        let cycle = format!(
            "while kill -STOP {pid} 2>/dev/null; do sleep 0.095; kill -CONT {pid}; sleep 0.005; done"
        );
        let process = std::process::Command::new("bash").args(["-c", &cycle]).spawn().unwrap();
        Self { process, pid }
    }
}

impl Drop for Starving {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
        signal("-CONT", self.pid);
    }
}

fn signal(signal: &str, pid: u32) {
    let mut kill = std::process::Command::new("kill");
    drop(kill.args([signal, &pid.to_string()]).stderr(Stdio::null()).status());
}

#[tokio::test]
async fn a_healthy_target_is_kept_and_its_metrics_and_histograms_can_be_read() {
    let address = address();
    let _service = service(address, &[]).await;
    let gate = sidecar("kept", address, true).await;
    let seen = verdict(&gate, "Kept").await;
    assert_eq!(
        (&seen["url"], &seen["policy"]),
        (&format!("http://{address}").into(), &"sidecar.policy.yaml".into())
    );
    assert!(seen["since"].as_str().unwrap().ends_with('Z'), "{seen:#}");
    assert_eq!(seen["objectives"][0]["verdict"], "Kept", "{seen:#}");
    let ok = seen["outcomes"]["ok"].as_u64().unwrap();
    let latency = Interval::from_wire(seen["latency"].as_str().unwrap()).unwrap();
    assert_eq!(latency.count(), ok, "{seen:#}");
    assert!(latency.above(Duration::from_millis(1)) > 0, "the service takes 2 ms");
    let mut merged = TargetTick::default();
    for _ in 0..2 {
        merged.merge(&serde_json::from_value::<TargetTick>(seen.clone()).unwrap());
    }
    assert_eq!(merged.judged(), 2 * ok);
    let text = http::get(&format!("{}/metrics", gate.admin())).await.unwrap().text;
    for line in [
        format!("gate_target_probes_total{{outcome=\"ok\",target=\"{address}\"}} "),
        format!("gate_target_latency_seconds_bucket{{target=\"{address}\",le=\"0.25\"}} "),
        format!("gate_target_lateness_seconds_count{{target=\"{address}\"}} "),
        format!("gate_target_throttled_seconds_total{{target=\"{address}\"}} "),
        format!("gate_target_verdict{{target=\"{address}\"}} 1"),
        format!(
            "gate_target_objective_verdict{{objective=\"errors at most 2 %\",target=\"{address}\"}} 1"
        ),
    ] {
        assert!(text.contains(&line), "`{line}` is missing:\n{text}");
    }
    check_health(&gate, 0, "healthy").await;
    // Nobody may ask it, so it takes no port of the task's and writes nothing.
    assert!(http::get(&gate.url()).await.is_none());
    assert!(!gate.folder().join("journal.db").exists());
}

#[tokio::test]
async fn a_broken_target_fails_the_health_check_only_where_it_is_guarded() {
    let address = address();
    let _service = service(address, &["--errors", "30%"]).await;
    let guarding = sidecar("guarding", address, true).await;
    let observing = sidecar("observing", address, false).await;
    for gate in [&guarding, &observing] {
        let seen = verdict(gate, "Broken").await;
        let reason = seen["reason"].as_str().unwrap();
        assert!(reason.starts_with("`errors at most 2 %` is broken: "), "{reason}");
        assert!(reason.contains(" × status 500"), "{reason}");
    }
    check_health(&guarding, 1, "`errors at most 2 %` is broken").await;
    check_health(&observing, 0, "healthy").await;
    let ready = http::get(&format!("{}/readyz", guarding.admin())).await.unwrap();
    assert_eq!(ready.status, 200, "{}", ready.text);
}

#[tokio::test]
async fn gate_that_only_observes_guards_nothing() {
    let address = address();
    let _service = service(address, &["--errors", "30%"]).await;
    let target = format!("[ {{ url: \"http://{address}\", policy: sidecar, guard: true }} ]");
    let gate = Gate::sidecar("observer", &target).settings("mode: observe\n");
    let gate = gate.policy_named("sidecar.policy.yaml", POLICY).start().await;
    verdict(&gate, "Broken").await;
    check_health(&gate, 0, "healthy").await;
    assert!(gate.logged().contains("`guard` has no effect"), "{}", gate.logged());
}

#[tokio::test]
async fn a_target_that_was_down_is_healed_when_it_is_up_again() {
    let address = address();
    let gate = sidecar("down", address, true).await;
    let seen = verdict(&gate, "Broken").await;
    assert!(seen["outcomes"]["refused"].as_u64().unwrap() > 0, "{seen:#}");
    check_health(&gate, 1, "refused").await;
    let up = service(address, &[]).await;
    verdict(&gate, "Kept").await;
    check_health(&gate, 0, "healthy").await;
    drop(up);
    verdict(&gate, "Broken").await;
}

#[tokio::test]
async fn a_sidecar_that_is_starved_never_calls_a_healthy_target_broken() {
    let address = address();
    let _service = service(address, &[]).await;
    let gate = sidecar("starved", address, true).await;
    let starving = Starving::begin(gate.pid());
    // Twenty seconds of it.
    once(&gate, |seen| seen["gate_trouble_ticks"].as_u64() >= Some(10)).await;
    drop(starving);
    let seen = verdict(&gate, "Kept").await;
    assert!(seen["objectives"].as_array().unwrap().iter().all(|o| o["verdict"] != "Broken"));
    assert!(!gate.logged().contains("is Broken"), "{}", gate.logged());
    // Not even where gate does not answer at all.
    signal("-STOP", gate.pid());
    check_health(&gate, 0, "that says nothing about the target").await;
    signal("-CONT", gate.pid());
}

#[tokio::test]
async fn verify_that_is_starved_never_proves_a_rollback_of_a_healthy_release() {
    let address = address();
    let _service = service(address, &[]).await;
    let folder = Folder::new("starved-verify");
    let path = folder.path().join("shop.policy.yaml");
    std::fs::write(&path, POLICY).unwrap();
    let url = format!("http://{address}");
    let verify = Command::new(place::binary("gate"))
        .args(["verify", "--policy", path.to_str().unwrap(), "--green", &url])
        .args(["--deadline", "20s"])
        .env_clear()
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let starving = Starving::begin(verify.id().unwrap());
    let output = tokio::time::timeout(LIMIT, verify.wait_with_output()).await;
    let output = output.expect("it ends by its deadline").unwrap();
    drop(starving);
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 3)), "{:?}: {shown}", output.status);
    assert!(!shown.contains("is broken"), "{shown}");
}

#[tokio::test]
async fn a_sidecar_ends_at_once_when_it_is_told_to() {
    let target = Endpoint::start(Manner::Hangs).await;
    let address = target.url.trim_start_matches("http://").parse().unwrap();
    let mut gate = sidecar("ended", address, true).await;
    once(&gate, |seen| seen["ticks"].as_u64() >= Some(1)).await;
    // Somebody keeps a connection to it, and says nothing.
    let operators = gate.admin();
    let _idle = TcpStream::connect(operators.trim_start_matches("http://")).await.unwrap();
    let start = Instant::now();
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
}

#[tokio::test]
async fn hooks_are_served_beside_targets_where_the_settings_say_so() {
    let address = address();
    let _service = service(address, &[]).await;
    let targets = format!("targets: [ {{ url: \"http://{address}\", policy: sidecar }} ]\n");
    let gate = Gate::new("http://127.0.0.1:1", "both").settings(&targets);
    let gate = gate.policy_named("sidecar.policy.yaml", POLICY).start().await;
    let listed = http::get(&format!("{}/evaluations", gate.url())).await.unwrap();
    assert_eq!(listed.status, 200, "{}", listed.text);
    verdict(&gate, "Kept").await;
}

/// A service that probes find healthy, in a task whose sidecar judges a service like that.
async fn verify_by_a_sidecar(name: &str, beside: &[&str], code: i32, decision: &str) {
    let address = address();
    let _beside = service(address, beside).await;
    let sidecar = sidecar(name, address, false).await;
    let admin: SocketAddr = sidecar.admin().trim_start_matches("http://").parse().unwrap();
    let green = SocketAddr::new(admin.ip(), 3000);
    let _green = service(green, &[]).await;
    let policy = format!(
        "
gate: v1
probe: {{ http: {{ path: /shop }}, sidecar: {{ port: {} }} }}
objectives:
  - sidecar: {{ at-most: 2% }}
  - sidecar: {{ quantile: p95, at-most: 300ms }}
decide: {{ at-least: 6s, deadline: 60s }}
",
        admin.port()
    );
    let seen =
        shell::check(&policy, &format!("http://{green}"), &[], code, decision, "proven").await;
    let verdict = if code == 0 { "Kept" } else { "Broken" };
    assert_eq!(seen["objectives"][0]["verdict"], verdict, "{seen:#}");
    for objective in seen["objectives"].as_array().unwrap() {
        assert!(objective["counts"]["total"].as_u64().unwrap() >= 20, "{seen:#}");
    }
    assert_eq!(seen["objectives"][0]["name"], "errors of sidecars at most 2 %");
    let counted = snapshot(&sidecar).await.unwrap();
    assert_eq!(counted["counted_since"], counted["since"], "{counted:#}");
    assert!(counted["counted"]["judged"].as_u64() > Some(100), "{counted:#}");
}

#[tokio::test]
async fn a_release_is_judged_by_what_its_sidecars_measure() {
    verify_by_a_sidecar("read", &[], 0, "continue").await;
    verify_by_a_sidecar("read-broken", &["--errors", "30%"], 1, "rollback").await;
}

#[tokio::test]
async fn serve_refuses_targets_with_all_their_faults_at_once() {
    let folder = Folder::new("bad-targets");
    let policies = folder.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let blue = "{ latency: { quantile: p99, versus: blue, at-most: +20% } }";
    for (name, text) in [
        ("broken", "gate: v1\nspeed: 3\n".to_owned()),
        ("secret", POLICY.replace("path: /shop", "path: /, headers: { x: { secret: env:NONE } }")),
        ("blue", format!("gate: v1\nprobe: {{ http: {{ path: / }} }}\nobjectives: [ {blue} ]\n")),
    ] {
        std::fs::write(policies.join(format!("{name}.policy.yaml")), text).unwrap();
    }
    let target = |url: &str, policy: &str| format!("  - {{ url: {url}, policy: {policy} }}\n");
    let settings = [
        format!("policies: {}\nadmin: {{ listen: here }}\ntargets:\n", policies.display()),
        target("127.0.0.1:1", "broken"),
        target("http://127.0.0.1:2", "absent"),
        target("http://127.0.0.1:3", "secret"),
        target("http://127.0.0.1:4", "blue"),
    ];
    let path = folder.path().join("gate.yaml");
    std::fs::write(&path, settings.concat()).unwrap();
    let output = run(&["serve", "--config", path.to_str().unwrap()]).await;
    let shown = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{shown}");
    for fault in [
        "`admin.listen: here` is no address",
        "`targets[0]`: `127.0.0.1:1` is no address to probe",
        "`targets[0]`: broken.policy.yaml:2:1: unknown key `speed`",
        "absent.policy.yaml does not exist",
        "`targets[2]`: secret.policy.yaml: ",
        "environment variable `NONE` is not set",
        "`targets[3]`: blue.policy.yaml: no objective of it that decides can be proven kept",
    ] {
        assert!(shown.contains(fault), "`{fault}` is missing: {shown}");
    }
}
