//! What the largest answers of a service cost in memory; a file of its own, because the heap is everybody's.

#![allow(
    clippy::unwrap_used,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

use peak_alloc::PeakAlloc;
use policies::PolicyFile;
use probes::scrape::{BODY_BYTES_MAX, SAMPLES_MAX, Scrapes, Wanted};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const POLICY: &str = "gate: v1
probe: { http: { path: / } }
objectives:
  - errors: { at-most: 1% }
  - metrics: { bad: 'hits{code=~\"5..\"}', of: hits, at-most: 1%, no-data: continue }
  - metrics: { histogram: took, quantile: p99, at-most: 250ms, no-data: continue }
";
const MIB: usize = 1024 * 1024;

/// An answer of as many samples as there may be, and as many bytes; `sample` writes one.
fn largest(sample: impl Fn(usize) -> String) -> String {
    let mut body = String::with_capacity(BODY_BYTES_MAX);
    for sample in (0..SAMPLES_MAX).map(sample) {
        if body.len() + sample.len() > BODY_BYTES_MAX {
            break;
        }
        body.push_str(&sample);
    }
    let filler = "# HELP of nothing\n";
    while body.len() + filler.len() <= BODY_BYTES_MAX {
        body.push_str(filler);
    }
    body
}

/// Reads answers one after the other; what is held at most meanwhile, and what is kept.
#[track_caller]
fn check(bodies: &[String], peak_max: usize, kept_max: usize) {
    let policy = PolicyFile::parse("p.policy.yaml", POLICY).policy.unwrap();
    let mut scrapes = Scrapes::new(Wanted::of(&policy.plan(0, 0, vec![], vec![]).counted).unwrap());
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    for body in bodies {
        scrapes.digest("a", body.as_bytes(), None).unwrap();
    }
    let (peak, kept) = (HEAP.peak_usage() - before, HEAP.current_usage() - before);
    assert!(peak < peak_max, "{peak} bytes at the peak");
    assert!(kept < kept_max, "{kept} bytes are kept");
}

/// One test: what runs beside it would be measured with it.
#[test]
fn the_largest_answers_are_read_in_a_few_mib() {
    let counters = |second: usize| {
        largest(|series| {
            format!("hits{{code=\"200\",path=\"/a/path/{second}\",id=\"{series:06}\"}} {series}\n")
        })
    };
    check(&[counters(1), counters(1), counters(2), counters(3)], 2 * MIB, MIB);
    // All of one histogram.
    let buckets =
        largest(|bound| format!("took_bucket{{le=\"{bound}\"}} {bound}\n")) + "took_count 50000";
    let buckets = buckets.replacen("took_bucket{le=\"49999\"} 49999\n", "", 1);
    check(&[buckets.clone(), buckets], 6 * MIB, 3 * MIB);
    // Labels as long as they may be.
    let long = |second: usize| {
        let path = "x".repeat(1900);
        largest(|series| format!("hits{{path=\"{path}\",id=\"{second}-{series}\"}} {series}\n"))
    };
    check(&[long(1), long(1), long(2), long(3)], 8 * MIB, 3 * MIB);
}
