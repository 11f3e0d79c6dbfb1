//! What operators see: a trace for each question, metrics, pages.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tests::{Gate, eventually};
use tokio::net::TcpListener;

use super::matrix::check_metric;
use super::{AWS, POLICY, deploy, gate};

/// A collector that keeps what it is sent.
async fn collector() -> (String, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let kept = Arc::clone(&kept);
            let serve = service_fn(move |request: Request<Incoming>| {
                let kept = Arc::clone(&kept);
                async move {
                    assert_eq!(
                        request.uri().path(),
                        "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
                    );
                    let body = request.into_body().collect().await.unwrap().to_bytes();
                    kept.lock().unwrap().extend_from_slice(&body);
                    // An empty message, and a status that fits in the headers.
                    let response = Response::builder()
                        .header("content-type", "application/grpc")
                        .header("grpc-status", "0")
                        .body(Full::new(Bytes::from_static(&[0, 0, 0, 0, 0])));
                    Ok::<_, Infallible>(response.unwrap())
                }
            });
            tokio::spawn(async move {
                drop(
                    http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(stream), serve)
                        .await,
                );
            });
        }
    });
    (endpoint, seen)
}

/// Whether a span of this name is among the exported bytes: field 5 of `Span` is its name.
fn has_span(bytes: &[u8], name: &str) -> bool {
    let length = u8::try_from(name.len()).unwrap();
    let field = [&[5 << 3 | 2, length], name.as_bytes()].concat();
    bytes.windows(field.len()).any(|window| window == field)
}

#[tokio::test]
async fn a_question_leaves_a_trace_of_resolve_probe_judge_and_answer() {
    let (endpoint, seen) = collector().await;
    let gate = Gate::new(&AWS.endpoint, "traced")
        .policy(POLICY)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint);
    let mut gate = gate.start().await;
    deploy(&gate, "traced", &["--errors", "60%"]).await;
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    let arrived = eventually(Duration::from_secs(20), async || {
        let bytes = seen.lock().unwrap().clone();
        let spans = ["evaluation", "resolve", "probe", "judge", "answer"];
        spans.iter().all(|span| has_span(&bytes, span)).then_some(())
    });
    assert!(arrived.await.is_some(), "spans are missing: {}", gate.logged());
}

#[tokio::test]
async fn a_page_says_what_was_decided_why_and_what_was_measured() {
    let gate = gate("page").await;
    let (outcome, _) = deploy(&gate, "page", &["--errors", "60%"]).await;
    let id = outcome["id"].as_str().unwrap();
    for base in [gate.url(), gate.admin()] {
        let url = format!("{base}/evaluations/{id}");
        let page = tests::http::send("GET", &url, &[("accept", "text/html")], "").await.unwrap();
        assert_eq!(page.status, 200);
        for part in [
            "Rollback",
            "errors at most 2 %",
            "Broken",
            "status 500",
            "AfterAllowTestTraffic",
            "p99",
        ] {
            assert!(page.text.contains(part), "`{part}` is not on the page: {}", page.text);
        }
        assert!(!page.text.contains("<script"));
    }
    let execution = AWS.deployment(outcome["deployment"]["id"].as_str().unwrap()).await;
    let execution = execution["hooks"][0]["execution_id"].as_str().unwrap().to_owned();
    let json = tests::http::get(&format!("{}/evaluations/{id}", gate.url())).await.unwrap().text;
    assert!(!json.contains(&execution) && !gate.logged().contains(&execution), "the token got out");
    let list = tests::http::send("GET", &gate.url(), &[("accept", "text/html")], "").await.unwrap();
    assert_eq!((list.status, list.location.as_deref()), (307, Some("/evaluations")));
    let missing = tests::http::get(&format!("{}/evaluations/none", gate.url())).await.unwrap();
    assert_eq!(missing.status, 404, "{}", missing.text);
}

#[tokio::test]
async fn metrics_count_questions_probes_decisions_and_aws_calls() {
    let gate = gate("counted").await;
    deploy(&gate, "counted", &["--errors", "60%"]).await;
    for line in [
        "gate_questions_total{kind=\"codedeploy-hook\",outcome=\"accepted\"}",
        "gate_decisions_total{answer=\"rollback\",application=\"counted\",delivery=\"confirmed\",reason=\"proven\"} 1",
        "gate_probes_total{arm=\"green\",outcome=\"status\"}",
        "gate_probes_total{arm=\"blue\",outcome=\"ok\"}",
        "gate_probe_latency_seconds_bucket{arm=\"green\",le=\"0.25\"}",
        "gate_objective_evidence_log{application=\"counted\",direction=\"rollback\",objective=\"errors at most 2 %\"}",
        "gate_aws_calls_total{operation=\"PutLifecycleEventHookExecutionStatus\",outcome=\"ok\"} 1",
    ] {
        check_metric(&gate, line).await;
    }
}
