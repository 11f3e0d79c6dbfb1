//! What a sidecar has counted, as its answer to `GET /snapshot` says it. [`crate::run::Snapshot`] is the other side.

use std::borrow::Cow;

use serde::Deserialize;

use crate::histogram::{Interval, WireError};
use crate::tick::Cumulative;

/// A longer answer is refused. One target with usual latencies takes 10 KiB.
pub const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Targets of one answer: as many as a sidecar may have.
pub const TARGETS_MAX: usize = 16;
/// Bytes of a moment as it is written, by far.
const SINCE_BYTES_MAX: usize = 64;

/// One target's counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// When they began: another text where they began again.
    pub since: String,
    /// Judged probes since then.
    pub counts: Cumulative,
}

/// Why an answer is no snapshot. Nothing of it counts.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Larger than an answer may be.
    #[error("the snapshot has {0} bytes, more than {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// Not JSON, or other JSON.
    #[error("this is no snapshot: {0}")]
    Json(#[source] serde_json::Error),
    /// More targets than a sidecar may have.
    #[error("the snapshot has {0} targets, and at most {TARGETS_MAX} are read")]
    TooMany(usize),
    /// A gate that judges nothing.
    #[error("the gate there judges no target: its settings have no `targets`")]
    NoTarget,
    /// A sidecar of an earlier version.
    #[error("target {0} of the snapshot has no `counted`: the gate there is too old")]
    NoCounts(usize),
    /// A histogram that is none.
    #[error("target {place} of the snapshot has no histogram that can be read")]
    Histogram {
        /// From 0.
        place: usize,
        /// What it is instead.
        #[source]
        cause: WireError,
    },
    /// Numbers that contradict each other.
    #[error("target {0} of the snapshot has counts that contradict each other")]
    Unsound(usize),
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    targets: Vec<WireTarget<'a>>,
}

#[derive(Deserialize)]
struct WireTarget<'a> {
    #[serde(borrow, default)]
    counted_since: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    counted: Option<WireCounts<'a>>,
}

/// As [`Cumulative`]; the histogram is decoded once all else is known to be within its limits.
#[derive(Deserialize)]
struct WireCounts<'a> {
    judged: u64,
    bad: u64,
    unanswered: u64,
    #[serde(borrow)]
    latency: Cow<'a, str>,
}

/// Reads a whole answer: the counts of each target, in the sidecar's own order. Keys it does not need are passed over.
///
/// # Errors
/// It is beyond a limit, or not such an answer; then nothing of it is read.
pub fn read(body: &[u8]) -> Result<Vec<Counted>, SnapshotError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(SnapshotError::TooLarge(body.len()));
    }
    let wire: Wire<'_> = serde_json::from_slice(body).map_err(SnapshotError::Json)?;
    if wire.targets.is_empty() {
        return Err(SnapshotError::NoTarget);
    }
    if wire.targets.len() > TARGETS_MAX {
        return Err(SnapshotError::TooMany(wire.targets.len()));
    }
    wire.targets.iter().enumerate().map(|(place, target)| target.read(place)).collect()
}

impl WireTarget<'_> {
    fn read(&self, place: usize) -> Result<Counted, SnapshotError> {
        let (Some(since), Some(counted)) = (&self.counted_since, &self.counted) else {
            return Err(SnapshotError::NoCounts(place));
        };
        let latency = match counted.latency.as_ref() {
            "" => Interval::default(),
            text => Interval::from_wire(text)
                .map_err(|cause| SnapshotError::Histogram { place, cause })?,
        };
        let WireCounts { judged, bad, unanswered, latency: _ } = *counted;
        let counts = Cumulative { judged, bad, unanswered, latency };
        if since.len() > SINCE_BYTES_MAX || !counts.is_sound() {
            return Err(SnapshotError::Unsound(place));
        }
        Ok(Counted { since: since.clone().into_owned(), counts })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde_json::json;

    use crate::policy::Signal;

    fn latency(millis: &[u64]) -> Interval {
        let mut latency = Interval::default();
        millis.iter().for_each(|&millis| latency.record(Duration::from_millis(millis)));
        latency
    }

    fn target(counted: &serde_json::Value) -> serde_json::Value {
        json!({ "url": "http://127.0.0.1:3000", "counted_since": "2026-01-01T00:00:00Z", "counted": counted })
    }

    #[track_caller]
    fn refuse(body: &[u8], because: &str) {
        let refused = read(body).unwrap_err().to_string();
        assert!(refused.contains(because), "{refused}");
    }

    #[track_caller]
    fn refuse_counts(counted: &serde_json::Value, because: &str) {
        refuse(json!({ "targets": [target(counted)] }).to_string().as_bytes(), because);
    }

    #[test]
    fn what_a_sidecar_wrote_is_read_whatever_else_is_in_it() {
        let counts =
            Cumulative { judged: 4, bad: 2, unanswered: 1, latency: latency(&[2, 3, 900]) };
        let counted = serde_json::to_value(&counts).unwrap();
        let body = json!({ "task": null, "new": [{}], "targets": [target(&counted)] }).to_string();
        let read = read(body.as_bytes()).unwrap();
        assert_eq!(read, [Counted { since: "2026-01-01T00:00:00Z".to_owned(), counts }]);
        let counts = &read[0].counts;
        assert_eq!(counts.bad_for(Signal::Errors), 2);
        assert_eq!(counts.bad_for(Signal::SlowerThan(Duration::from_millis(250))), 2);
        let empty = serde_json::to_value(Cumulative::default()).unwrap();
        super::read(json!({ "targets": [target(&empty)] }).to_string().as_bytes()).unwrap();
    }

    #[test]
    fn what_is_no_snapshot_is_refused_whole() {
        refuse(b"", "no snapshot");
        refuse(b"<html>", "no snapshot");
        refuse(b"{}", "no snapshot");
        refuse(br#"{"targets":{}}"#, "no snapshot");
        refuse("[".repeat(100_000).as_bytes(), "no snapshot");
        refuse(br#"{"targets":[]}"#, "judges no target");
        refuse(br#"{"targets":[{"url":"http://127.0.0.1:1","outcomes":{"ok":1}}]}"#, "too old");
        refuse(&vec![b' '; BODY_BYTES_MAX + 1], "1048577 bytes");
        let many = json!({ "targets": vec![json!({}); TARGETS_MAX + 1] }).to_string();
        refuse(many.as_bytes(), "17 targets");
    }

    #[test]
    fn counts_that_cannot_be_are_refused() {
        let one = latency(&[5]).to_wire();
        let counts = |judged: i64, bad: i64, unanswered: i64, latency: &str| json!({ "judged": judged, "bad": bad, "unanswered": unanswered, "latency": latency });
        refuse_counts(&counts(1, 2, 0, &one), "contradict");
        refuse_counts(&counts(1, 0, 1, ""), "contradict");
        refuse_counts(&counts(9, 0, 0, &one), "contradict");
        refuse_counts(&counts(0, 0, 0, &one), "contradict");
        refuse_counts(&counts(-1, 0, 0, ""), "no snapshot");
        refuse_counts(&counts(1, 0, 0, "?"), "no histogram");
        refuse_counts(&counts(1, 0, 0, "AAAA"), "no histogram");
        refuse_counts(&json!({ "judged": 1 }), "no snapshot");
        let mut since = target(&counts(1, 0, 0, &one));
        since["counted_since"] = "x".repeat(65).into();
        refuse(json!({ "targets": [since] }).to_string().as_bytes(), "contradict");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>(), at in 0_usize..400) {
            let _either = read(&bytes);
            let counted = Cumulative { judged: 1, latency: latency(&[7]), ..Cumulative::default() };
            let counted = serde_json::to_value(counted).unwrap();
            let mut body = json!({ "targets": [target(&counted)] }).to_string().into_bytes();
            for (place, byte) in bytes.iter().enumerate() {
                let place = (at + place) % body.len();
                body[place] = *byte;
            }
            for counted in read(&body).unwrap_or_default() {
                prop_assert!(counted.counts.is_sound());
            }
        }
    }
}
