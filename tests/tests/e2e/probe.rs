//! What can be probed and read beyond a plain GET: `gate probe`, scenarios, the service's own metrics.

use serde_json::Value;
use tests::place::Folder;

use super::shell::{self, service, text};

/// 100 a second for a second: enough to count, and soon over.
const BRIEFLY: [&str; 6] = ["--rate", "100", "--duration", "1s", "--output", "json"];

/// Runs `gate probe --output json` and checks its exit code.
async fn probed(url: &str, more: &[&str], code: i32) -> Value {
    let arguments = [&["probe", url], &BRIEFLY[..], more].concat();
    let output = shell::gate(&arguments).await;
    let seen = text(&output.stdout);
    assert_eq!(output.status.code(), Some(code), "{seen}{}", text(&output.stderr));
    serde_json::from_str(&seen).unwrap()
}

#[tokio::test]
async fn probe_counts_and_times_what_it_sent_and_says_it_to_programs() {
    let (_service, url) = service(&["--latency", "20ms"]).await;
    let seen = probed(&format!("{url}/shop"), &["--connections", "20"], 0).await;
    let number = |key: &str| seen[key].as_f64().unwrap_or_else(|| panic!("{key}: {seen:#}"));
    assert_eq!(number("sent") + number("not_sent"), 100.0, "{seen:#}");
    assert_eq!(seen["outcomes"]["ok"], seen["ok"]);
    assert!(number("ok") + number("late") >= number("sent"), "{seen:#}");
    assert!((number("achieved_rate") - number("sent")).abs() < 1e-6, "{seen:#}");
    for key in ["p50", "p90", "p95", "p99", "p99_9", "max"] {
        assert!(seen["latency_seconds"][key].as_f64().unwrap() >= 0.02, "{key}: {seen:#}");
    }
    for key in ["p50", "p99"] {
        assert!(seen["schedule_error_seconds"][key].as_f64().unwrap() >= 0.0, "{key}: {seen:#}");
    }
}

#[tokio::test]
async fn probe_exits_1_when_nothing_was_answered_as_expected() {
    let (_service, url) = service(&["--errors", "99.999%"]).await;
    let seen = probed(&format!("{url}/shop"), &[], 1).await;
    assert_eq!((&seen["ok"], &seen["statuses"]["500"]), (&0.into(), &seen["outcomes"]["status"]));
    let expected = probed(&format!("{url}/shop"), &["--expect", "5xx"], 0).await;
    assert_eq!(expected["outcomes"]["ok"], expected["ok"]);
    let nobody = format!("tcp://{}:1", tests::place::address());
    assert!(probed(&nobody, &[], 1).await["outcomes"]["refused"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn probe_as_fast_as_it_is_answered_uses_its_connections_again() {
    let (_service, url) = service(&["--latency", "1ms"]).await;
    let more = ["--rate", "max", "--connections", "4", "--reuse"];
    let arguments =
        [&["probe", &url, "--duration", "1300ms", "--output", "json"], &more[..]].concat();
    let output = shell::gate(&arguments).await;
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen["duration_seconds"], 1.3);
    assert!(seen["sent"].as_u64().unwrap() > 200, "{seen:#}");
    let connects = seen["phases_seconds"]["connect"]["p50"].as_f64();
    assert!(connects.is_some(), "the first of each connection is timed: {seen:#}");
}

#[tokio::test]
async fn probe_shows_people_a_table_by_phase_and_outcome() {
    let (_service, url) = service(&["--errors", "50%"]).await;
    let url = format!("{url}/shop");
    let output = shell::gate(&["probe", &url, "--rate", "100", "--duration", "1s"]).await;
    let shown = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{shown}");
    let rows: Vec<&str> = shown.lines().map(|line| line.split(' ').next().unwrap_or("")).collect();
    assert!(rows.contains(&"latency"), "{shown}");
    for row in ["p99.9", "sent late", "  connect ", "  wait ", "  receive ", "  ok\n", "× 500)"] {
        assert!(shown.contains(row), "`{row}` is missing:\n{shown}");
    }
    assert!(!shown.contains('\u{1b}'), "nothing is coloured or moved without a terminal");
}

#[tokio::test]
async fn probe_exits_2_and_says_what_to_write_instead() {
    for (arguments, said) in [
        (&["probe"][..], "<URL>"),
        (&["probe", "shop"], "write it like `http://host:port/path`"),
        (&["probe", "ftp://shop"], "write it like `http://host:port/path`"),
        (&["probe", "http://127.0.0.1:1", "--rate", "quick"], "20/s"),
        (&["probe", "http://127.0.0.1:1", "--timeout", "5m"], "from 10ms to 60s"),
        (&["probe", "http://127.0.0.1:1", "-H", "x"], "write `name: value`"),
        (&["probe", "http://me:secret@127.0.0.1:1"], "holds no user or password"),
        (&["probe", "ws://127.0.0.1:1", "--expect", "200"], "`--expect` is for `http://`"),
        (&["probe", "tcp://127.0.0.1:1/path"], "knows neither a path nor headers"),
        (&["probe", "http://127.0.0.1:1", "--expect", "fine"], "`fine` is"),
        (&["probe", "http://127.0.0.1:1", "--policy", "none.yaml"], "none.yaml"),
        (&["probe", "http://127.0.0.1:1", "--policy", "p", "--method", "PUT"], "--method"),
    ] {
        let output = shell::gate(arguments).await;
        let shown = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {shown}");
        assert!(shown.contains(said), "{arguments:?}: {shown}");
    }
}

/// Log in, then look at the basket; each step has an objective of its own.
const SCENARIO: &str = "
gate: v1
probe:
  scenarios:
    - name: buy
      steps:
        - name: login
          http: { method: POST, path: /login, expect: { json: { $.token: { present: true } } } }
          take: { token: { json: $.token } }
        - name: basket
          http: { path: /basket, headers: { authorization: 'Bearer ${token}' } }
  rate: 100/s
  timeout: 1s
objectives:
  - errors: { at-most: 2%, step: buy/login }
  - errors: { at-most: 2%, step: buy/basket }
decide: { at-least: 6s, deadline: 60s }
";

#[tokio::test]
async fn a_scenario_takes_what_one_answer_said_into_the_next_request() {
    let (_green, green) = service(&[]).await;
    let seen = shell::check(SCENARIO, &green, &[], 0, "continue", "proven").await;
    for objective in seen["objectives"].as_array().unwrap() {
        assert_eq!(objective["verdict"], "Kept", "{seen:#}");
    }
    let folder = Folder::new("scenario");
    let path = folder.path().join("shop.policy.yaml");
    std::fs::write(&path, SCENARIO).unwrap();
    let probed = probed(&green, &["--policy", path.to_str().unwrap()], 0).await;
    assert_eq!(probed["signals"]["buy/basket"]["ok"], probed["ok"], "{probed:#}");
}

#[tokio::test]
async fn the_step_that_fails_is_the_one_that_is_broken() {
    let (_green, green) = service(&["--errors", "20%"]).await;
    let seen = shell::check(SCENARIO, &green, &[], 1, "rollback", "proven").await;
    let [login, basket] = [0, 1].map(|at| &seen["objectives"][at]["verdict"]);
    assert!(login != "Broken" && basket == "Broken", "{seen:#}");
    assert!(seen["reason"].as_str().unwrap().contains("buy/basket"), "{seen:#}");
}

/// What probes see is healthy; only the service's own users suffer.
const METRICS: &str = "
gate: v1
probe: { http: { path: /healthz }, rate: 20/s, timeout: 1s }
objectives:
  - metrics: { bad: 'shop_requests_total{code=\"500\"}', of: shop_requests_total, at-most: 2% }
  - metrics: { histogram: shop_request_seconds, quantile: p95, at-most: 500ms }
decide: { at-least: 6s, deadline: 60s }
";

#[tokio::test]
async fn a_service_is_judged_by_the_metrics_it_shows() {
    let (_green, green) = service(&["--traffic", "200"]).await;
    let seen = shell::check(METRICS, &green, &[], 0, "continue", "proven").await;
    for objective in seen["objectives"].as_array().unwrap() {
        assert_eq!(objective["verdict"], "Kept", "{seen:#}");
        assert!(objective["counts"]["total"].as_u64().unwrap() > 500, "{seen:#}");
    }
}

#[tokio::test]
async fn errors_that_only_its_own_users_see_roll_it_back() {
    let (_green, green) = service(&["--traffic", "200", "--errors", "20%"]).await;
    let seen = shell::check(METRICS, &green, &[], 1, "rollback", "proven").await;
    assert_eq!(seen["objectives"][0]["verdict"], "Broken", "{seen:#}");
    let slow = ["--traffic", "200", "--slow", "30%", "--slow-by", "2s"];
    let (_green, green) = service(&slow).await;
    let seen = shell::check(METRICS, &green, &[], 1, "rollback", "proven").await;
    assert_eq!(seen["objectives"][1]["verdict"], "Broken", "{seen:#}");
}

#[tokio::test]
async fn a_service_that_shows_no_metrics_proves_nothing_by_them() {
    let (_green, green) = service(&["--errors", "99.999%"]).await;
    let elsewhere = METRICS.replace("rate: 20/s", "rate: 20/s, scrape: { path: /nothing }");
    let seen = shell::check(&elsewhere, &green, &["--deadline", "8s"], 3, "rollback", "undecided");
    assert!(seen.await["reason"].as_str().unwrap().contains("shop_requests_total"));
}
