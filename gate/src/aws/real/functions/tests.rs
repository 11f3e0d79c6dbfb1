//! The SDK's side of an invocation, against a server that answers as Lambda does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole file is a test's")]

use std::net::SocketAddr;
use std::sync::Arc;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;

use super::*;
use crate::aws::Failure;
use crate::telemetry::Metrics;

const WITHIN: Duration = Duration::from_secs(5);

/// Answers every request as told.
async fn lambda(status: u16, headers: &'static [(&'static str, &str)], body: String) -> RealAws {
    let answer = move |request: Request| async move {
        let version = request.uri().path() == "/2015-03-31/functions/checkout%3A42/invocations";
        let tail = request.headers().get("x-amz-log-type").is_some_and(|kind| kind == "Tail");
        let mut response = Response::builder().status(if version && tail { status } else { 500 });
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(Body::from(body)).unwrap()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    aws(address)
}

fn aws(address: SocketAddr) -> RealAws {
    let credentials = Credentials::new("id", "secret", None, None, "test");
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .endpoint_url(format!("http://{address}"))
        .build();
    RealAws::with(
        config,
        None,
        (100, super::super::identity::Clock::default()),
        Arc::new(Metrics::new().unwrap()),
    )
}

#[tokio::test]
async fn an_invocation_is_read_whole() {
    let headers = &[
        ("x-amz-executed-version", "42"),
        ("x-amz-function-error", "Unhandled"),
        ("x-amzn-requestid", "8f507cfc"),
        // `REPORT RequestId: 8f507cfc`
        ("x-amz-log-result", "UkVQT1JUIFJlcXVlc3RJZDogOGY1MDdjZmM="),
    ];
    let aws = lambda(200, headers, "{}".to_owned()).await;
    let invoked = aws.invoke("checkout:42", b"{}".to_vec(), WITHIN).await.unwrap();
    let expected = Invocation {
        payload: b"{}".to_vec(),
        function_error: Some("Unhandled".to_owned()),
        executed_version: Some("42".to_owned()),
        log_tail: Some("REPORT RequestId: 8f507cfc".to_owned()),
        request_id: Some("8f507cfc".to_owned()),
    };
    assert_eq!(invoked, expected);
}

async fn check(aws: &RealAws, code: &str, message: &str) {
    let error = aws.invoke("checkout:42", b"{}".to_vec(), WITHIN).await.unwrap_err();
    assert_eq!((error.code.as_str(), error.failure), (code, Failure::Passing), "{error:?}");
    assert!(error.message.contains(message), "{error:?}");
}

#[tokio::test]
async fn a_refusal_has_its_code_and_a_throttled_one_its_reason() {
    let throttled = &[("x-amzn-errortype", "TooManyRequestsException")];
    let body = r#"{"Reason":"ConcurrentInvocationLimitExceeded","message":"Rate Exceeded."}"#;
    let aws = lambda(429, throttled, body.to_owned()).await;
    let told = "ConcurrentInvocationLimitExceeded: Rate Exceeded.";
    check(&aws, "TooManyRequestsException", told).await;
    let pending = &[("x-amzn-errortype", "SnapStartNotReadyException")];
    let body = r#"{"Type":"User","Message":"Lambda is initializing your function."}"#;
    let aws = lambda(409, pending, body.to_owned()).await;
    check(&aws, "SnapStartNotReadyException", "initializing").await;
}

#[tokio::test]
async fn an_answer_beyond_the_limit_is_not_read_to_its_end() {
    let aws = lambda(200, &[], "x".repeat(BODY_MAX_BYTES + 1)).await;
    check(&aws, ANSWER_TOO_LARGE, "").await;
    let aws = lambda(200, &[], "x".repeat(BODY_MAX_BYTES)).await;
    let invoked = aws.invoke("checkout:42", Vec::new(), WITHIN).await.unwrap();
    assert_eq!(invoked.payload.len(), BODY_MAX_BYTES);
}

#[tokio::test]
async fn nobody_there_is_no_time_out() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    check(&aws(address), "Unreachable", "").await;
}

#[test]
fn there_is_time_for_a_connection_and_for_an_answer_after_it() {
    for (within_millis, connect_millis) in
        [(2000, 1024), (1999, 1024), (1000, 512), (10, 4), (60_000, 32_768), (1, 1), (0, 1)]
    {
        let found = connect_timeout(Duration::from_millis(within_millis));
        assert_eq!(found, Duration::from_millis(connect_millis), "{within_millis}");
    }
}
