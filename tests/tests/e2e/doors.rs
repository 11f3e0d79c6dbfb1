//! Doors: a signature is good once, TLS with a private authority, bounds on what is sent, and what each port serves.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use serde_json::{Value, json};
use tests::{Gate, eventually, http, place};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::matrix::check_metric;
use super::{AWS, LIMIT, POLICY, finished};

const KEY: &str = "a hook key of the doors' tests";
const HOOKS: &str = "/hooks/codedeploy";

/// A gate whose hooks are signed; not started yet.
fn keyed(name: &str) -> Gate {
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY);
    gate.env("HOOK_KEY", KEY).env("GATE_HOOKS_KEYS", "env:HOOK_KEY")
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970").as_secs()
}

/// Posts what was signed so: status and text.
async fn post(gate: &Gate, path: &str, signed: &[(&str, String)], body: &Value) -> (u16, String) {
    let headers: Vec<(&str, &str)> =
        signed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let url = format!("{}{path}", gate.url());
    let answer = http::send("POST", &url, &headers, &body.to_string()).await.expect("an answer");
    (answer.status, answer.text)
}

#[tokio::test]
async fn a_signature_is_good_once_also_after_kill_9() {
    let mut gate = keyed("replayed").start().await;
    let hook = json!({ "DeploymentId": "d-REPLAYED1", "LifecycleEventHookExecutionId": "token" });
    let time = now();
    let signed = http::signed(KEY, HOOKS, time, &hook.to_string());
    let (status, text) = post(&gate, HOOKS, &signed, &hook).await;
    assert_eq!(status, 202, "{text}");
    let accepted: Value = serde_json::from_str(&text).expect("JSON");
    let override_path =
        format!("/evaluations/{}/override", accepted["evaluation"].as_str().expect("an id"));
    let hold = json!({ "action": "hold", "by": "bob", "reason": "a look" });
    let by_key = http::signed(KEY, &override_path, time, &hold.to_string());
    assert_eq!(post(&gate, &override_path, &by_key, &hold).await.0, 200);
    let mut shouted = signed.clone();
    shouted[2].1 = format!("v1={}", shouted[2].1.trim_start_matches("v1=").to_uppercase());
    for _ in 0..2 {
        for (path, signed, body) in
            [(HOOKS, &signed, &hook), (HOOKS, &shouted, &hook), (&*override_path, &by_key, &hold)]
        {
            let (status, text) = post(&gate, path, signed, body).await;
            assert_eq!((status, text.contains("replayed")), (409, true), "{path}: {text}");
        }
        gate.kill();
        gate.restart().await;
    }
    let afresh = http::signed(KEY, HOOKS, time + 1, &hook.to_string());
    let (status, text) = post(&gate, HOOKS, &afresh, &hook).await;
    assert_eq!((status, text.contains("\"joined\":true")), (202, true), "{text}");
    let stale = http::signed(KEY, HOOKS, time - 301, &hook.to_string());
    assert_eq!(post(&gate, HOOKS, &stale, &hook).await.0, 401);
    check_metric(&gate, r#"gate_questions_total{kind="codedeploy-hook",outcome="unsigned"} 1"#)
        .await;
}

#[tokio::test]
async fn hooks_by_tls_are_taken_of_whoever_trusts_its_authority() {
    let gate = keyed("sealed").tls();
    let url = gate.url();
    let host = url.trim_start_matches("https://").trim_end_matches(":8080").to_owned();
    let authority = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let own = params.self_signed(&authority).unwrap();
    let key = KeyPair::generate().unwrap();
    let issued = CertificateParams::new(vec![host]).unwrap().signed_by(&key, &own, &authority);
    let file = |name: &str, text: String| {
        let path = gate.folder().join(name);
        std::fs::write(&path, text).expect("the folder is writable");
        path.display().to_string()
    };
    file("tls.pem", issued.unwrap().pem());
    file("tls.key", key.serialize_pem());
    let trusted = file("authority.pem", own.pem());
    let gate = gate.start().await;
    let environment = [
        format!("GATE_CA_FILE={trusted}"),
        format!("HOOK_KEY={KEY}"),
        "GATE_HOOK_KEY=env:HOOK_KEY".to_owned(),
    ];
    let more: Vec<&str> =
        environment.iter().flat_map(|variable| ["--function-env", variable.as_str()]).collect();
    let site = AWS.site("sealed", &url, &[], &more).await;
    let deployment = site.deploy(&["--errors", "60%"]).await;
    let (outcome, _) = finished(&gate, &deployment).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    let overruled = async |more: &[&str]| {
        let id = outcome["id"].as_str().expect("an id");
        let mut command = tokio::process::Command::new(place::binary("gate"));
        command.args(["override", id, "--continue", "--by", "bob", "--reason", "a test"]);
        command.args(["--url", &url, "--key", "env:HOOK_KEY"]).args(more).env("HOOK_KEY", KEY);
        command.output().await.expect("gate runs").status.code()
    };
    assert_eq!(overruled(&["--ca-file", &trusted]).await, Some(1), "it is decided");
    assert_eq!(overruled(&[]).await, Some(3), "nobody else knows this authority");
    let plain = http::get(&url.replace("https", "http")).await;
    assert!(plain.is_none(), "{plain:?}");
    let counted = eventually(LIMIT, async || {
        let metrics = http::get(&format!("{}/metrics", gate.admin())).await?.text;
        metrics.contains(r#"gate_lost_total{what="handshake"} 2"#).then_some(())
    });
    counted.await.expect("handshakes that failed are counted");
}

/// Sends this to where hooks arrive, and reads until it is closed; `None` where it is not in time.
async fn say(gate: &Gate, what: &[u8], limit: Duration) -> Option<String> {
    let address = gate.url().replace("http://", "");
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    // It may be refused before all of it is there.
    let _sent = stream.write_all(what).await;
    let mut answer = Vec::new();
    let _closed = timeout(limit, stream.read_to_end(&mut answer)).await.ok()?;
    Some(String::from_utf8_lossy(&answer).into_owned())
}

#[tokio::test]
async fn what_is_sent_is_bounded_in_size_in_time_and_in_number_and_counted() {
    place::open_files(4096);
    let gate = keyed("bounded").start().await;
    let address = gate.url().replace("http://", "");
    let mut crowd = Vec::new();
    for _ in 0..1100 {
        crowd.push(TcpStream::connect(&address).await.expect("the kernel takes it"));
    }
    let last = crowd.last_mut().expect("there are 1100");
    let closed = timeout(Duration::from_secs(5), last.read(&mut [0; 1])).await;
    assert!(matches!(closed, Ok(Ok(0) | Err(_))), "the 1025th is closed at once: {closed:?}");
    let alive = http::get(&format!("{}/healthz", gate.admin())).await.expect("an answer");
    assert_eq!(alive.status, 200, "operators have a port of their own");
    drop(crowd);
    let free = eventually(LIMIT, async || http::get(&gate.url()).await.map(drop));
    free.await.expect("there is room again");
    let limit = Duration::from_secs(45);
    let large_head = format!("GET / HTTP/1.1\r\nhost: gate\r\nx: {}\r\n\r\n", "x".repeat(40_000));
    let large_body = format!(
        "POST {HOOKS} HTTP/1.1\r\nhost: gate\r\ncontent-length: 70000\r\nconnection: close\r\n\r\n{}",
        "x".repeat(70_000)
    );
    let slow_body = format!(
        "POST {HOOKS} HTTP/1.1\r\nhost: gate\r\ncontent-length: 9\r\nconnection: close\r\n\r\nx"
    );
    let (large_head, large_body, slow_head, slow_body) = tokio::join!(
        say(&gate, large_head.as_bytes(), limit),
        say(&gate, large_body.as_bytes(), limit),
        say(&gate, b"GET / HTTP/1.1\r\nhost: ga", limit),
        say(&gate, slow_body.as_bytes(), limit),
    );
    let begins = |answer: &Option<String>, status: &str| {
        answer.as_ref().is_some_and(|answer| answer.starts_with(status))
    };
    assert!(begins(&large_head, "HTTP/1.1 431 "), "{large_head:?}");
    assert!(begins(&large_body, "HTTP/1.1 413 "), "{large_body:?}");
    assert!(slow_head.is_some(), "it is closed");
    assert!(begins(&slow_body, "HTTP/1.1 408 "), "{slow_body:?}");
    for what in
        ["connection", "too-large-head", "too-large-request", "timed-out-head", "timed-out-request"]
    {
        check_metric(&gate, &format!("gate_lost_total{{what=\"{what}\"}}")).await;
    }
}

#[tokio::test]
async fn each_port_serves_what_it_is_for_and_nothing_else() {
    let gate = keyed("ported").start().await;
    let (hooks, operators) = (gate.url(), gate.admin());
    for (port, path, expected) in [
        (&hooks, "/metrics", 404),
        (&hooks, "/healthz", 404),
        (&hooks, "/readyz", 404),
        (&hooks, "/snapshot", 404),
        (&hooks, "/evaluations", 200),
        (&hooks, HOOKS, 405),
        (&operators, "/metrics", 200),
        (&operators, "/healthz", 200),
        (&operators, "/evaluations", 200),
        (&operators, HOOKS, 404),
        (&operators, "/hooks/ecs", 404),
        (&operators, "/hooks/codepipeline", 404),
    ] {
        let answer = http::get(&format!("{port}{path}")).await.expect("an answer");
        assert_eq!(answer.status, expected, "{port}{path}");
    }
}
