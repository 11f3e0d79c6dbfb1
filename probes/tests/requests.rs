//! Single requests: compressed answers, signatures, bodies from files, headers of green, secrets unsaid.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::io::Write;
use std::sync::{Arc, Mutex};

use aws_lc_rs::hmac;
use common::service::{Answer, answer, serving};
use common::{came_to, plan, target, tick_of};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::BodyExt;
use hyper::Request;
use hyper::body::Incoming;
use policies::Outcome;
use policies::plan::BODY_MAX_BYTES;
use probes::{Lookup, Order, OrderError, Prober};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body).unwrap();
    encoder.finish().unwrap()
}

/// What a compressed answer comes to.
async fn compressed(http: &str, body: Vec<u8>, expected: Outcome) {
    let address = serving(false, move |request: Request<Incoming>| {
        let asked = request.headers().get("accept-encoding");
        let asked = asked.is_some_and(|value| value == "gzip, deflate");
        let mut answer = answer(if asked { 200 } else { 406 }, body.clone());
        answer.headers_mut().insert("content-encoding", "gzip".parse().unwrap());
        async move { answer }
    });
    let probe = format!("{{ http: {{ path: /, {http} }} }}");
    came_to(&common::probe(&probe, target(address.await, false)).await, expected);
}

#[tokio::test]
async fn a_compressed_answer_is_asked_for_and_read_within_its_limit() {
    let text = "compression: true, expect: { text: hello }";
    let size = "compression: true, expect: { size: { at-most: 100B } }";
    compressed(text, gzip(b"say hello"), Outcome::Ok).await;
    compressed(text, gzip(b"say nothing"), Outcome::Expectation).await;
    compressed("expect: { text: hello }", gzip(b"say hello"), Outcome::Status).await;
    let bomb = gzip(&vec![b'x'; 64 * BODY_MAX_BYTES]);
    compressed(text, bomb.clone(), Outcome::TooLarge).await;
    // Sizes are of the body as it comes; nobody looks into this one.
    compressed("compression: true", bomb, Outcome::Ok).await;
    compressed(size, gzip(&[b'x'; 5000]), Outcome::Ok).await;
    compressed(text, b"hello, but not compressed".to_vec(), Outcome::Protocol).await;
    let mut cut = gzip(b"say hello");
    cut.truncate(cut.len() - 6);
    compressed(text, cut, Outcome::Protocol).await;
}

/// Secrets by their names, and one file.
#[derive(Clone, Copy)]
struct Shelf<'a> {
    secret: &'a str,
    file: &'a [u8],
}

impl Lookup for Shelf<'_> {
    fn text(&self, _reference: &str) -> Result<String, String> {
        Ok(self.secret.to_owned())
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        if path == "/body.bin" { Ok(self.file.to_vec()) } else { Err(format!("no {path}")) }
    }
}

/// Every sentence that is seen where the target echoes what it was sent.
async fn sentences(secret: &str, path: &str, json: bool) -> Vec<String> {
    let address = serving(false, move |request: Request<Incoming>| async move {
        let header = |name: &str| request.headers().get(name).unwrap().to_str().unwrap();
        let pad = request.uri().query().map_or(0, |pad| pad.parse().unwrap());
        let said = header("authorization").to_owned();
        let said = if json { said.replace('\\', "\\\\").replace('"', "\\\"") } else { said };
        let mut answer =
            answer(200, format!("{}{said} and more{}", "x".repeat(pad), "y".repeat(300)));
        answer.headers_mut().insert("x-echo", header("authorization").parse().unwrap());
        answer
    });
    let expect = if path == "/header" { "headers: { x-echo: never }" } else { "text: never" };
    let probe = format!(
        "{{ http: {{ path: '{path}', expect: {{ {expect} }} }}, headers: {{ authorization: {{ \
         secret: 'env:T', prefix: 'Bearer ' }} }} }}"
    );
    let plan = plan(&probe, vec![target(address.await, false)], vec![]);
    let order = Order::new(plan, &Shelf { secret, file: b"" }).unwrap();
    let tick = tick_of(order).await;
    came_to(&tick, Outcome::Expectation);
    tick.unmet.into_keys().collect()
}

#[tokio::test]
async fn a_secret_that_a_target_echoes_is_never_said() {
    const SECRET: &str = "s3cr3t-t0ken-of-32-characters-xyz";
    for path in ["/", "/header"] {
        for saw in sentences(SECRET, path, false).await {
            assert!(saw.contains("Bearer ***"), "{saw}");
            assert!(!saw.contains("s3cr"), "{saw}");
        }
    }
    // Wherever the sentence is cut, no more than three characters of it stand there.
    for pad in (180..225).step_by(5) {
        for saw in sentences(SECRET, &format!("/?{pad}"), false).await {
            assert!(!saw.contains("s3cr"), "{pad}: {saw}");
        }
    }
    for saw in sentences("a\"quoted\\token", "/", true).await {
        assert!(saw.contains("***") && !saw.contains("quoted"), "{saw}");
    }
}

#[tokio::test]
async fn a_body_is_read_from_its_file_once() {
    let file: Vec<u8> = (0..=255).cycle().take(100_000).collect();
    let expected = file.clone();
    let address = serving(false, move |request: Request<Incoming>| {
        let expected = expected.clone();
        async move {
            let body = request.into_body().collect().await.unwrap().to_bytes();
            answer(if body[..] == expected { 200 } else { 400 }, "")
        }
    });
    let probe = |path: &str| format!("{{ http: {{ path: /, method: PUT, body-file: {path} }} }}");
    let here = vec![target(address.await, false)];
    let order = |path: &str, file: &[u8]| {
        Order::new(plan(&probe(path), here.clone(), vec![]), &Shelf { secret: "", file })
    };
    came_to(&tick_of(order("/body.bin", &file).unwrap()).await, Outcome::Ok);
    let refused = |path, file: &[u8]| match order(path, file) {
        Err(error @ OrderError::Body { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(refused("/none.bin", &[]).contains("no /none.bin"));
    assert!(refused("/body.bin", &vec![0; BODY_MAX_BYTES + 1]).contains("larger than"));
}

/// Whether a request carries the signature of its method, path, time and body.
async fn is_signed(request: Request<Incoming>) -> Answer {
    let (head, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let header = |name: &str| head.headers.get(name).map(|value| value.to_str().unwrap());
    let (Some(signature), Some(time)) = (header("x-sign"), header("x-sign-timestamp")) else {
        return answer(401, "");
    };
    let key = hmac::Key::new(hmac::HMAC_SHA256, b"a-key");
    let text = [format!("{}\n{}\n{time}\n", head.method, head.uri).as_bytes(), &body[..]].concat();
    let signed = hmac::sign(&key, &text);
    let hex: String = signed.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let is_recent = now.as_secs().abs_diff(time.parse().unwrap()) < 60;
    answer(if hex == signature && is_recent { 200 } else { 403 }, "")
}

#[tokio::test]
async fn every_request_carries_its_own_signature() {
    let address = serving(false, is_signed).await;
    let sign = "sign: { hmac: { header: x-sign, key: { secret: 'env:K' } } }";
    for (http, expected) in [
        ("path: '/a?b=1'", Outcome::Ok),
        ("path: '/${unique}', method: POST, body: 'number ${number}'", Outcome::Ok),
    ] {
        for (key, expected) in [("a-key", expected), ("other", Outcome::Status)] {
            let probe = format!("{{ http: {{ {http} }}, {sign} }}");
            let plan = plan(&probe, vec![target(address, false)], vec![]);
            let order = Order::new(plan, &Shelf { secret: key, file: b"" }).unwrap();
            assert!(!format!("{order:?}").contains("a-key"));
            came_to(&tick_of(order).await, expected);
        }
    }
}

#[tokio::test]
async fn headers_of_green_are_greens_alone() {
    let seen: Arc<Mutex<Vec<Option<String>>>> = Arc::default();
    let service = |has: bool| {
        let noted = Arc::clone(&seen);
        serving(false, move |request: Request<Incoming>| {
            let test =
                request.headers().get("x-test").map(|value| value.to_str().unwrap().to_owned());
            let common = request.headers().get("x-both").is_some();
            let sound = common && test.is_some() == has;
            noted.lock().unwrap().push(test);
            async move { answer(if sound { 200 } else { 400 }, "") }
        })
    };
    let (green, blue) = (service(true).await, service(false).await);
    let probe =
        "{ http: { path: / }, headers: { x-both: 1 }, green-headers: { x-test: 'n ${number}' } }";
    let plan = plan(probe, vec![target(green, false)], vec![target(blue, false)]);
    let prober = Prober::start().unwrap();
    let tick = prober.begin(common::order(plan)).tick().await.unwrap();
    came_to(&tick.green.total(), Outcome::Ok);
    came_to(&tick.blue.unwrap().total(), Outcome::Ok);
    let seen = seen.lock().unwrap();
    assert!(seen.iter().flatten().all(|text| text.starts_with("n ")), "{seen:?}");
}
