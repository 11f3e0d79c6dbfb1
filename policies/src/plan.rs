//! What to probe, how often, and what to expect: specific enough that nothing is left to decide.

use std::time::Duration;

use serde_json::Value;

use crate::deployment::Target;

/// The largest answer read of a probe; a health endpoint is far smaller.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;

/// A range of HTTP statuses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    /// Lowest status.
    pub from: u16,
    /// Highest status.
    pub to: u16,
}

/// A header's value, or where to find it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderValue {
    /// Written in the policy.
    Literal(String),
    /// A reference such as `env:PROBE_TOKEN` or `file:/run/secrets/token`: resolved late, never recorded.
    Secret(String),
}

/// The request every probe makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// `GET` or `HEAD`.
    pub method: String,
    /// Path and query, starting with `/`.
    pub path: String,
    /// Overrides the Host header and the TLS server name.
    pub host: Option<String>,
    /// Further headers, names in lower case.
    pub headers: Vec<(String, HeaderValue)>,
    /// Statuses that are good.
    pub expect: Vec<StatusRange>,
    /// What must stand in a body of JSON.
    pub expect_json: Vec<ExpectJson>,
}

/// A place in a JSON body, and the value that must stand there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectJson {
    /// Its path as written: `$.checks[0].state`.
    pub path: String,
    /// The steps of the path.
    pub steps: Vec<JsonStep>,
    /// The value as text: `ok`, `3`, `true`.
    pub value: String,
}

/// One step into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonStep {
    /// Into an object.
    Key(String),
    /// Into an array, from 0.
    Index(usize),
}

impl ExpectJson {
    /// Whether the value stands there: text as it is, anything else as JSON writes it.
    fn holds(&self, json: &Value) -> bool {
        let found = self.steps.iter().try_fold(json, |json, step| match step {
            JsonStep::Key(key) => json.get(key),
            JsonStep::Index(index) => json.get(index),
        });
        match found {
            Some(Value::String(text)) => *text == self.value,
            Some(value) => format!("{value}") == self.value,
            None => false,
        }
    }

    /// `$.status`, `$.checks[0].state`; `None` if it is no such path.
    pub fn parse(path: &str, value: String) -> Option<Self> {
        let mut rest = path.trim().strip_prefix('$')?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if let Some(key) = rest.strip_prefix('.') {
                let end = key.find(['.', '[']).unwrap_or(key.len());
                let (name, after) = key.split_at_checked(end)?;
                if name.is_empty() {
                    return None;
                }
                steps.push(JsonStep::Key(name.to_owned()));
                rest = after;
            } else {
                let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
                steps.push(JsonStep::Index(index.parse().ok()?));
                rest = after;
            }
        }
        Some(Self { path: path.trim().to_owned(), steps, value })
    }
}

impl Request {
    /// Whether an answer with this status is good.
    pub fn expects(&self, status: u16) -> bool {
        self.expect.iter().any(|range| (range.from..=range.to).contains(&status))
    }

    /// Whether a body has what the policy expects of it.
    pub fn expects_body(&self, body: &[u8]) -> bool {
        if self.expect_json.is_empty() {
            return true;
        }
        let Ok(json) = serde_json::from_slice::<Value>(body) else { return false };
        self.expect_json.iter().all(|expected| expected.holds(&json))
    }
}

/// A running order for the prober.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Shifts the schedule inside a period, so that many gates do not probe in step.
    pub seed: u64,
    /// Probes per second for each arm, open loop, spread over its targets.
    pub rate_per_second: f64,
    /// A probe without an answer this long after its due time has failed.
    pub timeout: Duration,
    /// Length of a tick.
    pub tick: Duration,
    /// Index of the first tick, above 0 after a restart.
    pub first_tick: u64,
    /// What to send and expect.
    pub request: Request,
    /// Candidate targets.
    pub green: Vec<Target>,
    /// Baseline targets, probed in pairs with green.
    pub blue: Vec<Target>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, value: &str, body: &str, expected: Option<bool>) {
        let parsed = ExpectJson::parse(path, value.to_owned());
        let json = serde_json::from_str(body).unwrap_or(Value::Null);
        assert_eq!(parsed.map(|parsed| parsed.holds(&json)), expected, "{path} {value} {body}");
    }

    #[test]
    fn a_value_is_found_by_its_path_and_compared_as_text() {
        check("$.status", "ok", r#"{"status":"ok"}"#, Some(true));
        check("$.status", "ok", r#"{"status":"starting"}"#, Some(false));
        check("$.status", "ok", "{}", Some(false));
        check("$.status", "ok", "not json", Some(false));
        check("$.checks[1].up", "true", r#"{"checks":[{"up":false},{"up":true}]}"#, Some(true));
        check("$.n", "3", r#"{"n":3}"#, Some(true));
        check("$", "ok", r#""ok""#, Some(true));
        check("$[0]", "null", "[null]", Some(true));
        for path in ["status", "$status", "$.", "$..a", "$[x]", "$[0", "$.a[0]b"] {
            check(path, "ok", "{}", None);
        }
    }
}
