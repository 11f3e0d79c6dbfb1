//! CloudWatch in our words.

use super::Reply;

/// Queries in one `GetMetricData`.
//= https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_GetMetricData.html
pub(crate) const QUERIES_MAX: usize = 500;

/// The calls gate makes of CloudWatch.
pub(crate) trait Measurements {
    /// Points of metrics, the oldest first. At most [`QUERIES_MAX`] queries.
    fn metric_data<'a>(&'a self, queries: &'a [MetricQuery], span: Span) -> Reply<'a, Vec<Series>>;
    /// The state of alarms, composite ones included. At most 100 names.
    fn alarms<'a>(&'a self, names: &'a [String]) -> Reply<'a, Vec<AlarmFacts>>;
    /// Whether CloudWatch knows a metric with these dimensions.
    fn metric_exists<'a>(&'a self, query: &'a MetricQuery) -> Reply<'a, bool>;
}

/// From when to when, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) from_unix_seconds: i64,
    pub(crate) to_unix_seconds: i64,
}

/// One metric to read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct MetricQuery {
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) dimensions: Vec<(String, String)>,
    /// `Sum`, `Average`, `p99`, ...
    pub(crate) statistic: String,
    pub(crate) period_seconds: u32,
}

/// What was read of one metric.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Series {
    /// When each period began, in seconds since 1970, and its value; absent periods are absent.
    pub(crate) points: Vec<(i64, f64)>,
    /// Why it bears no evidence: `PartialData`, `InternalError`, `Forbidden`.
    pub(crate) unusable: Option<String>,
}

/// The state of an alarm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AlarmFacts {
    pub(crate) name: String,
    /// `OK`, `ALARM` or `INSUFFICIENT_DATA`.
    pub(crate) state: String,
    /// Since when, in seconds since 1970.
    pub(crate) since_unix_seconds: Option<i64>,
    /// CloudWatch's own sentence about it.
    pub(crate) reason: Option<String>,
}
