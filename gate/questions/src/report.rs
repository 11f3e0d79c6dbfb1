//! What Lambda reports of an invocation, from the end of its log: the line `REPORT`, or `platform.report` in JSON.
//!
//! The function writes to the same log, so nothing in it is taken on trust: the last line that is of this very
//! invocation counts, and numbers beyond what Lambda can do are none.

use std::time::Duration;

use policies::sample::Invoked;
use serde::Deserialize;

/// More than any invocation takes, its start included: Lambda ends a function after 900 s.
const MILLIS_MAX: f64 = 3_600_000.0;
/// More than any function has.
const MEGABYTES_MAX: f64 = 1_048_576.0;
const MEGABYTE: f64 = 1_048_576.0;

/// What the log's end says of the invocation with this id; of any, where the id is not known.
pub fn read(tail: &str, request_id: Option<&str>) -> Option<Invoked> {
    let lines = tail.lines().rev().map(str::trim);
    let mut reports = lines.filter_map(|line| match line.strip_prefix("REPORT ") {
        Some(rest) => Some(text(rest)),
        None if line.starts_with('{') => json(line),
        None => None,
    });
    let asked = request_id.filter(|id| !id.is_empty());
    let found = reports.find(|report| asked.is_none_or(|id| report.id.as_deref() == Some(id)))?;
    Some(found.numbers.invoked())
}

/// A report before its numbers are looked at.
#[derive(Debug, Default)]
struct Report {
    id: Option<String>,
    numbers: Numbers,
}

/// As JSON has them; milliseconds and megabytes of 1024² bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
struct Numbers {
    #[serde(rename = "durationMs")]
    duration: Option<f64>,
    #[serde(rename = "billedDurationMs")]
    billed: Option<f64>,
    #[serde(rename = "initDurationMs")]
    init: Option<f64>,
    #[serde(rename = "restoreDurationMs")]
    restore: Option<f64>,
    #[serde(rename = "maxMemoryUsedMB")]
    memory: Option<f64>,
}

impl Numbers {
    fn invoked(self) -> Invoked {
        let (init, restore) = (time(self.init), time(self.restore));
        let memory = self.memory.filter(|megabytes| (0.0..=MEGABYTES_MAX).contains(megabytes));
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to a terabyte"
        )]
        let max_memory_bytes = memory.map(|megabytes| (megabytes * MEGABYTE) as u64);
        Invoked {
            wall: Duration::ZERO,
            init: init.zip(restore).map(|(init, restore)| init + restore).or(init).or(restore),
            reported: time(self.duration),
            billed: time(self.billed),
            max_memory_bytes,
        }
    }
}

/// A time that Lambda could have measured.
fn time(millis: Option<f64>) -> Option<Duration> {
    let millis = millis.filter(|millis| (0.0..=MILLIS_MAX).contains(millis))?;
    Duration::try_from_secs_f64(millis / 1000.0).ok()
}

/// `RequestId: … Duration: 12.34 ms Billed Duration: 13 ms …`: names end in a colon, a value follows, and a unit.
fn text(line: &str) -> Report {
    let mut report = Report::default();
    let mut words = line.split_whitespace().peekable();
    let mut name = String::new();
    while let Some(word) = words.next() {
        if !name.is_empty() {
            name.push(' ');
        }
        let Some(last) = word.strip_suffix(':') else {
            name.push_str(word);
            continue;
        };
        name.push_str(last);
        let value = words.next().unwrap_or_default();
        let unit = words.next_if(|unit| matches!(*unit, "ms" | "MB"));
        let number = || value.parse::<f64>().ok();
        let numbers = &mut report.numbers;
        match (name.as_str(), unit) {
            ("RequestId", None) => report.id = Some(value.to_owned()),
            ("Duration", Some("ms")) => numbers.duration = number(),
            ("Billed Duration", Some("ms")) => numbers.billed = number(),
            ("Init Duration", Some("ms")) => numbers.init = number(),
            ("Restore Duration", Some("ms")) => numbers.restore = number(),
            ("Max Memory Used", Some("MB")) => numbers.memory = number(),
            // Memory size, status, traces, and what Lambda will add.
            (_, _) => {}
        }
        name.clear();
    }
    report
}

/// `{"time":"…","type":"platform.report","record":{"requestId":"…","metrics":{…},"status":"success"}}`.
fn json(line: &str) -> Option<Report> {
    #[derive(Deserialize)]
    struct Line {
        r#type: String,
        record: Record,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Record {
        request_id: Option<String>,
        #[serde(default)]
        metrics: Numbers,
    }
    let line: Line = serde_json::from_str(line).ok()?;
    (line.r#type == "platform.report")
        .then_some(Report { id: line.record.request_id, numbers: line.record.metrics })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "8f507cfc-xmpl-4697-b07a-ac58fc914c95";

    /// (init, reported, billed) in milliseconds and memory in megabytes; `None` where nothing was found.
    type Shown = (Option<u128>, Option<u128>, Option<u128>, Option<u64>);

    #[track_caller]
    fn check(tail: &str, expected: Option<Shown>) {
        let tail = tail.replace("ID", ID);
        let millis = |time: Option<Duration>| time.map(|time| time.as_millis());
        let found = read(&tail, Some(ID)).map(|invoked| {
            let memory = invoked.max_memory_bytes.map(|bytes| bytes / (1024 * 1024));
            (millis(invoked.init), millis(invoked.reported), millis(invoked.billed), memory)
        });
        assert_eq!(found, expected, "{tail}");
    }

    const WARM: &str = "REPORT RequestId: ID\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB\tMax Memory Used: 45 MB\t\n";
    const SHOWN: Shown = (None, Some(12), Some(13), Some(45));

    #[test]
    fn the_line_of_text_is_read_as_lambda_writes_it() {
        check(WARM, Some(SHOWN));
        check(
            &format!("START RequestId: ID Version: 42\nhello\nEND RequestId: ID\n{WARM}"),
            Some(SHOWN),
        );
        check(
            "REPORT RequestId: ID\tDuration: 60.5 ms\tBilled Duration: 211 ms\tMemory Size: 512 MB\tMax Memory Used: 89 MB\tInit Duration: 150.12 ms\t\n",
            Some((Some(150), Some(60), Some(211), Some(89))),
        );
        check(
            "REPORT RequestId: ID\tDuration: 60 ms\tBilled Duration: 61 ms\tMemory Size: 512 MB\tMax Memory Used: 89 MB\tRestore Duration: 412.5 ms\tBilled Restore Duration: 38 ms\t\nXRAY TraceId: 1-5e34a66a-474f4xmpl7c2534a87870b4370\tSegmentId: 073cxmpl3e442861\tSampled: true\t\n",
            Some((Some(412), Some(60), Some(61), Some(89))),
        );
        check(
            "REPORT RequestId: ID\tDuration: 3000.00 ms\tBilled Duration: 3000 ms\tMemory Size: 128 MB\tMax Memory Used: 30 MB\tStatus: timeout\n",
            Some((None, Some(3000), Some(3000), Some(30))),
        );
        // With blanks in place of tabs, in another order, on one line with a trace.
        check(
            "  REPORT RequestId: ID  Init Duration: 0.39 ms  Duration: 100.80 ms  Billed Duration: 101 ms  XRAY TraceId: 1-5e SegmentId: 07 Sampled: true",
            Some((Some(0), Some(100), Some(101), None)),
        );
    }

    #[test]
    fn the_line_of_json_is_read_as_lambda_writes_it() {
        let line = |metrics: &str, rest: &str| {
            format!(
                r#"{{"time":"2026-01-01T00:00:00Z","type":"platform.report","record":{{"requestId":"ID","metrics":{{{metrics}}}{rest}}}}}"#
            )
        };
        let warm =
            r#""durationMs":12.34,"billedDurationMs":13,"memorySizeMB":128,"maxMemoryUsedMB":45"#;
        check(&line(warm, r#","status":"success""#), Some(SHOWN));
        check(
            &line(&format!(r#"{warm},"initDurationMs":150.12"#), ""),
            Some((Some(150), Some(12), Some(13), Some(45))),
        );
        check(
            &line(&format!(r#"{warm},"restoreDurationMs":412.5"#), r#","status":"timeout""#),
            Some((Some(412), Some(12), Some(13), Some(45))),
        );
        let others = r#"{"type":"platform.start","record":{"requestId":"ID","version":"42"}}"#;
        check(&format!("{others}\n{}\n", line(warm, "")), Some(SHOWN));
        check(&format!("{}\n{others}\n", line(warm, "")), Some(SHOWN));
        check(&line("", ""), Some((None, None, None, None)));
        check(
            r#"{"type":"platform.report","record":{"requestId":"ID"}}"#,
            Some((None, None, None, None)),
        );
    }

    #[test]
    fn where_there_is_no_line_of_this_invocation_nothing_is_read() {
        for tail in [
            "",
            "hello\n",
            // Cut in the middle by the 4 KB.
            "tion: 12.34 ms\tBilled Duration: 13 ms\n",
            "the REPORT RequestId: ID\tDuration: 1 ms",
            "REPORT Duration: 1 ms",
            "REPORT RequestId: another\tDuration: 1 ms",
            r#"{"type":"platform.report","record":{"requestId":"another","metrics":{"durationMs":1}}}"#,
            r#"{"type":"platform.runtimeDone","record":{"requestId":"ID","metrics":{"durationMs":1}}}"#,
            r#"{"type":"platform.report"}"#,
            r#"{"type":"platform.report","record":{"requestId":"ID","metrics":{"durationMs":"1"}}}"#,
            "{",
            "{}",
        ] {
            check(tail, None);
        }
        assert_eq!(read(&"{".repeat(4096), Some(ID)), None);
        assert!(read("REPORT RequestId: another\tDuration: 1 ms", None).is_some());
        assert!(read("REPORT RequestId: another\tDuration: 1 ms", Some("")).is_some());
    }

    #[test]
    fn what_a_function_writes_itself_does_not_stand_in_for_what_lambda_writes_after_it() {
        let forged = "REPORT RequestId: ID\tDuration: 0.01 ms\tInit Duration: 9999 ms\n";
        check(&format!("{forged}{WARM}"), Some(SHOWN));
        check(&format!("{WARM}REPORT RequestId: another\tDuration: 1 ms\n"), Some(SHOWN));
    }

    #[test]
    fn numbers_that_cannot_be_are_none() {
        for value in ["NaN", "inf", "-1", "1e300", "3600001", "", "twelve", "1,5", "0x10"] {
            check(
                &format!("REPORT RequestId: ID\tDuration: {value} ms\tBilled Duration: 13 ms\n"),
                // Without a value its unit is taken for one.
                Some((None, None, Some(13), None)),
            );
        }
        check("REPORT RequestId: ID\tDuration: 12 s\n", Some((None, None, None, None)));
        check(
            "REPORT RequestId: ID\tMax Memory Used: 99999999 MB\n",
            Some((None, None, None, None)),
        );
        check("REPORT RequestId: ID\tDuration:", Some((None, None, None, None)));
        check(
            "REPORT RequestId: ID Duration: 1 ms Duration: 2 ms",
            Some((None, Some(2), None, None)),
        );
    }
}
