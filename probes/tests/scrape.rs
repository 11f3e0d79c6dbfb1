//! Metrics as services really write them, and any other bytes.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use common::service::{answer, serving};
use common::{order, target};

use policies::PolicyFile;
use policies::reading::Seen;
use probes::scrape::{ScrapeError, Scraper, Scrapes, Wanted};
use proptest::prelude::*;
use proptest::sample::select;

const POLICY: &str = "gate: v1
probe: { http: { path: / } }
objectives:
  - errors: { at-most: 1% }
  - metrics: { bad: 'http_requests_total{code=~\"5..\"}', of: http_requests_total, at-most: 1%, no-data: continue }
  - metrics: { histogram: http_request_duration_seconds, quantile: p99, at-most: 250ms, no-data: continue }
";
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=underscores";

fn scrapes() -> Scrapes {
    let policy = PolicyFile::parse("p.policy.yaml", POLICY).policy.unwrap();
    Scrapes::new(Wanted::of(&policy.plan(0, 0, vec![], vec![]).counted).unwrap())
}

/// What two scrapes of a service amount to: its counters, and its histogram.
#[track_caller]
fn check(
    service: &str,
    content_type: &str,
    counted: (f64, f64),
    cumulative: &[(f64, f64)],
    all: f64,
) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/expositions");
    let mut scrapes = scrapes();
    for (file, readings) in [("before", 0), ("after", 2)] {
        let body = fs::read(folder.join(format!("{service}.{file}.txt"))).unwrap();
        scrapes.digest("10.0.0.1:8080", &body, Some(content_type)).unwrap();
        let seen: Vec<Seen> = scrapes.readings(0).into_iter().map(|reading| reading.seen).collect();
        assert_eq!(seen.len(), readings, "{file}: {seen:?}");
        let (bad, events) = counted;
        let expected = [
            Seen::Counts { bad, all: events },
            Seen::Buckets { cumulative: cumulative.to_vec(), all },
        ];
        assert!(seen.iter().all(|seen| expected.contains(seen)), "{file}: {seen:?}");
    }
}

#[test]
fn what_services_write_is_read() {
    check(
        "client-golang",
        TEXT,
        (3.0, 16.0),
        &[(0.005, 0.0), (0.05, 10.0), (0.25, 12.0), (1.0, 14.0)],
        16.0,
    );
    check("openmetrics", OPENMETRICS, (2.0, 7.0), &[(0.1, 4.0), (0.25, 5.0)], 7.0);
    // It began again.
    check(
        "micrometer",
        "text/plain;version=0.0.4",
        (1.0, 41.0),
        &[(0.001, 0.0), (0.25, 39.0)],
        41.0,
    );
    check("by-hand", "text/plain", (1.0, 3.0), &[(0.1, 1.0), (0.25, 2.0)], 3.0);
}

/// Lines that are nearly good.
fn line() -> impl Strategy<Value = String> {
    let name = select(vec![
        "http_requests_total",
        "http_request_duration_seconds_bucket",
        "http_request_duration_seconds_count",
        "up",
        "# TYPE http_requests_total",
        "# EOF",
        "",
    ]);
    let labels = prop_oneof![
        select(vec![
            "",
            "{}",
            "{le=\"0.1\"}",
            "{le=\"+Inf\"}",
            "{le=\"NaN\"}",
            "{code=\"500\",}",
            "{code=\"",
            "{{",
            "{\\"
        ])
        .prop_map(str::to_owned),
        "\\{[a-z\"=,\\\\} ☃]{0,12}\\}?",
    ];
    let value = prop_oneof![
        select(vec![
            "1", "0", "-1", "NaN", "+Inf", "1e308", "9e99 7", "1 # {} 2", "gauge", "", "1\r"
        ])
        .prop_map(str::to_owned),
        any::<f64>().prop_map(|value| value.to_string()),
        "\\PC{0,8}",
    ];
    (name, labels, value).prop_map(|(name, labels, value)| format!("{name}{labels} {value}"))
}

/// Answers of a target one after the other: whatever they are, readings are such as the judge takes.
fn readings_are_sound(answers: &[Vec<u8>], content_type: Option<&str>) {
    let mut scrapes = scrapes();
    for answer in answers {
        // Most are refused. What counts is that the others are read as what they are.
        let _refused: Result<(), ScrapeError> = scrapes.digest("a", answer, content_type);
        for reading in scrapes.readings(0) {
            assert!(reading.seen.is_sound(), "{reading:?}");
        }
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(answers in prop::collection::vec(any::<Vec<u8>>(), 1..4)) {
        readings_are_sound(&answers, None);
    }

    #[test]
    fn nearly_good_answers_are_read_or_refused(
        answers in prop::collection::vec(prop::collection::vec(line(), 0..6), 1..5),
        content_type in select(vec![None, Some(TEXT), Some(OPENMETRICS), Some("text/html"), Some("")]),
    ) {
        let answers: Vec<Vec<u8>> = answers.iter().map(|lines| lines.join("\n").into_bytes()).collect();
        readings_are_sound(&answers, content_type);
    }

    #[test]
    fn events_are_neither_lost_nor_made(
        steps in prop::collection::vec((0_u32..50, 0_u32..5, any::<bool>()), 1..20),
    ) {
        // Each second good and bad requests, and every other answer or so is lost.
        let mut scrapes = scrapes();
        let (mut good, mut bad, mut counted) = (100_u32, 7_u32, (0.0, 0.0));
        let (from_good, from_bad) = (good, bad);
        let last = (0, 0, true);
        for (more_good, more_bad, arrives) in [(0, 0, true)].into_iter().chain(steps).chain([last]) {
            (good, bad) = (good + more_good, bad + more_bad);
            let mut body = format!("http_requests_total{{code=\"200\"}} {good}\nhttp_requests_total{{code=\"500\"}} {bad}\n");
            if !arrives {
                body.push_str("http_requests_total{");
            }
            prop_assert_eq!(scrapes.digest("a", body.as_bytes(), None).is_ok(), arrives);
            for reading in scrapes.readings(0) {
                if let Seen::Counts { bad, all } = reading.seen {
                    counted = (counted.0 + bad, counted.1 + all);
                }
            }
        }
        let bad = f64::from(bad - from_bad);
        prop_assert_eq!(counted, (bad, bad + f64::from(good - from_good)));
    }
}

#[tokio::test]
async fn a_page_of_metrics_may_be_larger_than_an_answer_to_a_probe() {
    let page = |count: u32| {
        let filler = "# HELP nothing And nothing more than that.\n".repeat(75_000);
        format!("{filler}http_requests_total{{code=\"200\"}} {count}\n")
    };
    let scrapes = Arc::new(AtomicU32::new(0));
    let address = serving(false, move |_request| {
        let body = page(10 * scrapes.fetch_add(1, Ordering::Relaxed));
        async move { answer(200, body) }
    });
    let policy = PolicyFile::parse("p.policy.yaml", POLICY).policy.unwrap();
    let plan = policy.plan(0, 0, vec![target(address.await, false)], vec![]);
    let mut scraper = Scraper::begin(&order(plan), 0).unwrap();
    let readings = scraper.readings().await.unwrap();
    assert!(
        matches!(readings[0].seen, Seen::Counts { bad: 0.0, all } if all >= 10.0),
        "{readings:?}"
    );
}
