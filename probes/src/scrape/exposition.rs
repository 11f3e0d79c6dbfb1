//! A whole answer to `GET /metrics`: what it may be, how much of it, and the samples in it that are wanted.

use std::collections::BTreeSet;

use super::line::{self, Sample};

/// An answer larger than this is refused. A service with 10,000 series sends about 1 MiB.
pub const BODY_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Samples in one answer, wanted or not. Each costs time every second, for every target.
pub const SAMPLES_MAX: usize = 50_000;
/// What to ask for: what Prometheus asks for first, so that metrics have the names that people know from there.
pub const ACCEPT: &str =
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

/// Why an answer is no scrape. Nothing of it counts, and the next one is compared with the last good one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    /// Larger than an answer may be.
    #[error("the metrics have {0} bytes, more than {BODY_BYTES_MAX}")]
    TooLarge(usize),
    /// More samples than an answer may have.
    #[error("the metrics are more than {SAMPLES_MAX} samples")]
    TooMany,
    /// Another kind of document.
    #[error("`{0}` is neither Prometheus text nor OpenMetrics")]
    ContentType(String),
    /// Not UTF-8, as both formats are.
    #[error("the metrics are not text")]
    NotText,
    /// OpenMetrics without its end: the rest is missing.
    #[error("the metrics do not end in `# EOF`")]
    Unfinished,
    /// Not one sample: what a page looks like that is not this.
    #[error("there is no metric in it")]
    Empty,
    /// A line that no parser could read.
    #[error("line {number}, of `{name}`, is no sample")]
    Line {
        /// From 1.
        number: usize,
        /// What it begins with, cut short.
        name: String,
    },
}

/// Bytes of a line that an error shows.
const SHOWN_BYTES_MAX: usize = 80;

/// Hands over every sample of a wanted name. Returns those wanted names whose declared type says that their
/// numbers go down too.
///
/// The first sample is read in full even where nobody wants it, so that a page which is no exposition is
/// refused rather than taken for a service that has counted nothing yet. A line that is wanted and cannot be
/// read refuses everything: were it only left out, its series would come back later as if it were new.
pub(super) fn read(
    body: &[u8],
    content_type: Option<&str>,
    is_wanted: impl Fn(&str) -> bool,
    mut each: impl FnMut(&Sample),
) -> Result<BTreeSet<String>, ScrapeError> {
    if body.len() > BODY_BYTES_MAX {
        return Err(ScrapeError::TooLarge(body.len()));
    }
    let must_end = must_end(content_type)?;
    let text = std::str::from_utf8(body).map_err(|_not_utf8| ScrapeError::NotText)?;
    if must_end && text.trim_end().lines().next_back() != Some("# EOF") {
        return Err(ScrapeError::Unfinished);
    }
    let mut gauges = BTreeSet::new();
    let mut samples = 0_usize;
    let mut room = String::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let line = line.trim_ascii();
        if let Some(comment) = line.strip_prefix('#') {
            gauges.extend(gauge(comment).filter(|name| is_wanted(name)).map(str::to_owned));
            continue;
        }
        if line.is_empty() {
            continue;
        }
        samples += 1;
        if samples > SAMPLES_MAX {
            return Err(ScrapeError::TooMany);
        }
        let name = line::name_of(line);
        let wanted = is_wanted(name);
        if wanted || samples == 1 {
            let sample = line::read(line, &mut room).ok_or_else(|| {
                let name = name.chars().take(SHOWN_BYTES_MAX).collect();
                ScrapeError::Line { number, name }
            })?;
            if wanted {
                each(&sample);
            }
        }
    }
    if samples == 0 { Err(ScrapeError::Empty) } else { Ok(gauges) }
}

/// Whether the format has an end of its own; an answer that does not say is Prometheus text.
fn must_end(content_type: Option<&str>) -> Result<bool, ScrapeError> {
    let written = content_type.unwrap_or("");
    let kind = written.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match kind.as_str() {
        "" | "text/plain" => Ok(false),
        "application/openmetrics-text" => Ok(true),
        _ => {
            let shown = written.chars().take(SHOWN_BYTES_MAX).collect();
            Err(ScrapeError::ContentType(shown))
        }
    }
}

/// The metric of a comment ` TYPE name gauge`, and of the other types that do not only go up.
fn gauge(comment: &str) -> Option<&str> {
    let mut words = comment.split_ascii_whitespace();
    let name = words.next().filter(|word| *word == "TYPE").and_then(|_type| words.next())?;
    let gauges = ["gauge", "gaugehistogram", "info", "stateset"];
    words.next().filter(|kind| gauges.contains(kind)).map(|_gauge| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Option<&str> = Some("application/openmetrics-text; version=1.0.0; charset=utf-8");

    /// Values of `hits`, and gauges among the wanted.
    #[track_caller]
    fn check(body: &str, content_type: Option<&str>, values: &[f64], gauges: &[&str]) {
        let mut seen = Vec::new();
        let is_wanted = |name: &str| ["hits", "depth"].contains(&name);
        let found =
            read(body.as_bytes(), content_type, is_wanted, |sample| seen.push(sample.value));
        assert_eq!(seen, values, "{body}");
        assert_eq!(found.unwrap().iter().collect::<Vec<_>>(), gauges, "{body}");
    }

    #[track_caller]
    fn refuse(body: &[u8], content_type: Option<&str>, because: &str) {
        let refused = read(body, content_type, |name| name == "hits", |_| {}).unwrap_err();
        assert_eq!(refused.to_string(), because);
    }

    #[test]
    fn only_what_is_wanted_is_read() {
        check("hits 1\nmisses x\nhits{a=\"b\"} 2\n", None, &[1.0, 2.0], &[]);
        check("# HELP hits of it\n# TYPE hits counter\n\nhits 1\r\n", None, &[1.0], &[]);
        check(
            "# TYPE depth gauge\n# TYPE other gauge\ndepth 1",
            Some("text/plain"),
            &[1.0],
            &["depth"],
        );
        check(
            "#TYPE depth  stateset\n# remark\n#\nother 1",
            Some(" Text/Plain ; version=0.0.4"),
            &[],
            &["depth"],
        );
        check("hits 1\n# EOF\n", OPEN, &[1.0], &[]);
        check("hits 1\n# EOF", OPEN, &[1.0], &[]);
    }

    #[test]
    fn what_is_no_exposition_is_refused_whole() {
        refuse(b"", None, "there is no metric in it");
        refuse(b"# EOF\n", OPEN, "there is no metric in it");
        refuse(b"hits 1\n", OPEN, "the metrics do not end in `# EOF`");
        refuse(
            b"hits 1\n# EOF ",
            Some("application/json"),
            "`application/json` is neither Prometheus text nor OpenMetrics",
        );
        refuse(b"\xff\xfe 1\n", None, "the metrics are not text");
        refuse(b"<html>\n<body>\n", None, "line 1, of `<html>`, is no sample");
        refuse(b"up 1\n\nhits{ 2\n", None, "line 3, of `hits`, is no sample");
    }

    #[test]
    fn an_answer_has_its_limits() {
        let large = vec![b'\n'; BODY_BYTES_MAX + 1];
        refuse(&large, None, "the metrics have 4194305 bytes, more than 4194304");
        let many = "up 1\n".repeat(SAMPLES_MAX);
        check(&many, None, &[], &[]);
        refuse(format!("{many}up 1").as_bytes(), None, "the metrics are more than 50000 samples");
    }
}
