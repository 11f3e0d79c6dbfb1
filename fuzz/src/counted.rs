//! What others counted: a service's metrics, a sidecar's snapshot, the end of a function's log.

use std::sync::LazyLock;
use std::time::Duration;

use policies::reading::Seen;
use policies::snapshot::{self, Counted, TARGETS_MAX};
use policies::{PolicyFile, Reading};
use probes::scrape::{SERIES_MAX, Scrapes, Wanted};
use questions::report;

const POLICY: &str = "gate: v1
probe: { http: { path: / } }
objectives:
  - errors: { at-most: 1% }
  - metrics: { bad: 'hits{code=~\"5..\"}', of: hits, at-most: 1%, no-data: continue }
  - metrics: { histogram: took_seconds, quantile: p99, at-most: 250ms, no-data: continue }
";
static WANTED: LazyLock<Wanted> = LazyLock::new(|| {
    let policy = PolicyFile::parse("p.policy.yaml", POLICY).policy.expect("it is good");
    Wanted::of(&policy.plan(0, 0, vec![], vec![]).counted).expect("its selectors are good")
});

/// Any answers of a service, one after another, give counts that can be: whole, no fewer than none, and no more bad
/// than all. The first byte says what it calls them; a byte 0 ends one answer and begins the next.
pub fn metrics(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else { return };
    let kind = match kind % 4 {
        0 => None,
        1 => Some("text/plain; version=0.0.4"),
        2 => Some("application/openmetrics-text; version=1.0.0"),
        _ => Some("text/html"),
    };
    let mut scrapes = Scrapes::new(WANTED.clone());
    let _first = scrapes.digest("10.0.0.1:8080", b"", None);
    for body in bytes.split(|byte| *byte == 0).take(8) {
        let before = format!("{:?}", scrapes.notes());
        if let Err(refused) = scrapes.digest("10.0.0.1:8080", body, kind) {
            let shown = refused.to_string();
            assert!(!shown.is_empty() && shown.len() < 512, "{} bytes of error", shown.len());
            assert_eq!(
                format!("{:?}", scrapes.notes()),
                before,
                "an answer refused changed something"
            );
        }
        for Reading { seen, .. } in scrapes.readings(0) {
            assert!(is_count(&seen), "{seen:?}");
        }
        for (_, notes) in scrapes.notes() {
            assert!(notes.all_series <= SERIES_MAX as u64, "{notes:?}");
        }
    }
}

fn is_count(seen: &Seen) -> bool {
    let count = |number: f64| number.is_finite() && number >= 0.0;
    match seen {
        Seen::Counts { bad, all } => count(*bad) && count(*all) && bad <= all,
        Seen::Buckets { cumulative, all } => {
            let ordered = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
            cumulative.iter().all(|(_, events)| count(*events) && events <= all)
                && cumulative.windows(2).all(ordered)
                && count(*all)
        }
        _ => false,
    }
}

/// Any bytes are counts that do not contradict each other, or are refused; counts written again are the same.
pub fn snapshot(bytes: &[u8]) {
    match snapshot::read(bytes) {
        Ok(read) => {
            assert!((1..=TARGETS_MAX).contains(&read.len()));
            let mut targets = Vec::new();
            for Counted { since, counts } in &read {
                assert!(counts.is_sound() && since.len() <= 64, "{counts:?}");
                targets.push(serde_json::json!({ "counted_since": since, "counted": counts }));
            }
            let written = serde_json::json!({ "targets": targets }).to_string();
            assert_eq!(snapshot::read(written.as_bytes()).expect("it was sound"), read);
        }
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
}

/// Any log says what Lambda can have measured, or nothing.
pub fn report(bytes: &[u8]) {
    let tail = String::from_utf8_lossy(bytes);
    for id in [None, Some(""), Some("8f507cfc-xmpl-4697-b07a-ac58fc914c95")] {
        let Some(invoked) = report::read(&tail, id) else { continue };
        let hour = Duration::from_secs(3600);
        let within = |time: Option<Duration>, most: Duration| time.is_none_or(|time| time <= most);
        assert!(within(invoked.init, 2 * hour) && within(invoked.reported, hour), "{invoked:?}");
        assert!(within(invoked.billed, hour) && invoked.wall.is_zero(), "{invoked:?}");
        assert!(invoked.max_memory_bytes.is_none_or(|bytes| bytes <= 1 << 40), "{invoked:?}");
        assert!(invoked.startup().is_zero(), "nobody waited: {invoked:?}");
    }
}
