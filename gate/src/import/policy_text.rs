//! The policy as text: what was left out as comments, then YAML that a policy's reader reads back.

use std::time::Duration;

use policies::units::spell;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::Remark;
use super::document::{Document, Expect, Header, Is, Scenario, Step, Take};

/// Lines about what was left out in the head of a policy; all are on standard error.
const HEAD_LINES_MAX: usize = 200;
/// Time for each step of the longest scenario, and the most a probe may take.
const STEP_SECONDS: u64 = 2;
const PROBE_SECONDS_MAX: u64 = 60;

/// Writes a policy.
///
/// # Errors
/// The writer of YAML refuses it, which no document should make it do.
pub(super) fn write(document: &Document) -> Result<String, String> {
    let options =
        serde_saphyr::ser_options! { prefer_block_scalars: false, compact_list_indent: false };
    let yaml = serde_saphyr::to_string_with_options(&policy(document), options)
        .map_err(|error| format!("the policy cannot be written: {error}"))?;
    Ok(format!("{}{yaml}", head(document)))
}

/// Bytes of a step, about.
pub(super) fn size(of: &Step) -> usize {
    serde_saphyr::to_string(&step(of)).map_or(usize::MAX / 2, |text| text.len() + text.len() / 4)
}

fn head(document: &Document) -> String {
    let mut head = format!("# Written by `gate import` from {}.\n", one_line(&document.from));
    let mut lines = Vec::new();
    let line = |what: &str, remark: &Remark| {
        format!("# {what}: {}: {}\n", one_line(&remark.place), one_line(&remark.reason))
    };
    lines.extend(document.notes.iter().map(|remark| line("note", remark)));
    lines.extend(document.left_out.iter().map(|remark| line("left out", remark)));
    let more = lines.len().saturating_sub(HEAD_LINES_MAX);
    head.extend(lines.into_iter().take(HEAD_LINES_MAX));
    if more > 0 {
        head.push_str(&format!("# and {more} more, which `gate import` shows on standard error\n"));
    }
    head
}

/// A line break would end a comment.
fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control() || c == '\u{2028}' || c == '\u{2029}', " ")
}

/// YAML whose keys stay in order.
enum Yaml {
    Text(String),
    /// JSON in one line of ASCII, which has many double quotes.
    Json(String),
    Whole(i64),
    Bool(bool),
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>),
}

impl Serialize for Yaml {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) => serializer.serialize_str(text),
            Self::Json(text) => serde_saphyr::SingleQuoted(text).serialize(serializer),
            Self::Whole(number) => serializer.serialize_i64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::List(items) => serializer.collect_seq(items),
            Self::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (key, value) in entries {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

fn text(text: impl Into<String>) -> Yaml {
    Yaml::Text(text.into())
}

/// A map of those entries that are there.
fn map(entries: impl IntoIterator<Item = Option<(&'static str, Yaml)>>) -> Yaml {
    Yaml::Map(entries.into_iter().flatten().map(|(key, value)| (key.to_owned(), value)).collect())
}

/// `2s`, as policies are written.
fn spelled(duration: Duration) -> String {
    spell(duration).replace(' ', "")
}

/// One is written as itself, more as a list.
fn one_or_list(items: &[String]) -> Yaml {
    match items {
        [one] => text(one),
        items => Yaml::List(items.iter().map(text).collect()),
    }
}

fn policy(document: &Document) -> Yaml {
    let longest = document.scenarios.iter().map(|scenario| scenario.steps.len()).max();
    let longest = u64::try_from(longest.unwrap_or(1)).unwrap_or(PROBE_SECONDS_MAX);
    let timeout = longest.saturating_mul(STEP_SECONDS).min(PROBE_SECONDS_MAX);
    let probe = map([
        Some(("scenarios", Yaml::List(document.scenarios.iter().map(scenario).collect()))),
        Some(("timeout", text(spelled(Duration::from_secs(timeout))))),
    ]);
    let errors = map([Some(("errors", map([Some(("at-most", text("0.5%")))])))]);
    map([
        Some(("gate", text("v1"))),
        Some(("probe", probe)),
        Some(("objectives", Yaml::List(vec![errors]))),
    ])
}

fn scenario(of: &Scenario) -> Yaml {
    map([
        Some(("name", text(&of.name))),
        of.cookies.then_some(("cookies", Yaml::Bool(true))),
        Some(("steps", Yaml::List(of.steps.iter().map(step).collect()))),
    ])
}

fn step(of: &Step) -> Yaml {
    let headers = of.headers.iter().map(|(name, value)| (name.clone(), header(value))).collect();
    let http = map([
        (of.method != "GET").then(|| ("method", text(&of.method))),
        Some(("path", text(&of.path))),
        (!of.headers.is_empty()).then_some(("headers", Yaml::Map(headers))),
        of.body.as_ref().map(|body| ("body", text(body))),
        (of.redirects > 0).then(|| ("redirects", Yaml::Whole(of.redirects.into()))),
        expect(&of.expect).map(|expect| ("expect", expect)),
    ]);
    let take = of.take.iter().map(|(name, from)| {
        let from = match from {
            Take::Json(path) => map([Some(("json", text(path)))]),
            Take::Header(name) => map([Some(("header", text(name)))]),
        };
        (name.clone(), from)
    });
    map([
        Some(("name", text(&of.name))),
        Some(("http", http)),
        (!of.take.is_empty()).then(|| ("take", Yaml::Map(take.collect()))),
    ])
}

fn header(of: &Header) -> Yaml {
    match of {
        Header::Text(value) => text(value),
        Header::Secret { variable, prefix } => map([
            Some(("secret", text(format!("env:{variable}")))),
            (!prefix.is_empty()).then(|| ("prefix", text(*prefix))),
        ]),
    }
}

fn expect(of: &Expect) -> Option<Yaml> {
    let pairs = |pairs: &[(String, Is)]| {
        Yaml::Map(pairs.iter().map(|(key, value)| (key.clone(), is(value))).collect())
    };
    let schema = of.json_schema.as_ref().map(ToString::to_string);
    let schema = schema.map(|schema| {
        let ascii = schema.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if ascii { Yaml::Json(schema) } else { Yaml::Text(schema) }
    });
    let within = |ms: u64| map([Some(("total", text(spelled(Duration::from_millis(ms)))))]);
    let entries = [
        (!of.status.is_empty()).then(|| ("status", statuses(&of.status))),
        (!of.headers.is_empty()).then(|| ("headers", pairs(&of.headers))),
        (!of.text.is_empty()).then(|| ("text", one_or_list(&of.text))),
        (!of.regex.is_empty()).then(|| ("regex", one_or_list(&of.regex))),
        (!of.json.is_empty()).then(|| ("json", pairs(&of.json))),
        schema.map(|schema| ("json-schema", schema)),
        of.within.map(|ms| ("within", within(ms))),
    ];
    entries.iter().any(Option::is_some).then(|| map(entries))
}

fn statuses(of: &[String]) -> Yaml {
    let status = |status: &String| status.parse().map_or_else(|_class| text(status), Yaml::Whole);
    match of {
        [one] => status(one),
        statuses => Yaml::List(statuses.iter().map(status).collect()),
    }
}

fn is(of: &Is) -> Yaml {
    match of {
        Is::Equal(value) => match value {
            Value::String(value) => text(value),
            Value::Bool(value) => Yaml::Bool(*value),
            // What is no whole number stays as JSON writes it.
            Value::Number(number) => {
                number.as_i64().map_or_else(|| text(number.to_string()), Yaml::Whole)
            }
            Value::Null | Value::Array(_) | Value::Object(_) => text(value.to_string()),
        },
        Is::Present => map([Some(("present", Yaml::Bool(true)))]),
        Is::Matches(regex) => map([Some(("matches", text(regex)))]),
    }
}
