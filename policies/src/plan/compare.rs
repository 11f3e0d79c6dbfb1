//! Comparisons of a policy with what was seen: values, patterns, JSON paths and JSON schemas.

use std::fmt;
use std::sync::Arc;

use regex::{Regex, RegexBuilder};
use serde_json::Value;

/// Memory a compiled pattern may take, which bounds its matching time per byte too.
const PATTERN_MAX_BYTES: usize = 256 * 1024;
/// The longest JSON schema.
const SCHEMA_MAX_BYTES: usize = 64 * 1024;

/// One thing that must hold of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Comparison {
    /// It is this: text as it is, anything else as JSON writes it.
    Equals(String),
    /// It is anything but this.
    Not(String),
    /// This stands in it.
    Contains(String),
    /// It matches.
    Matches(Pattern),
    /// It is a number at least this.
    AtLeast(f64),
    /// It is a number at most this.
    AtMost(f64),
    /// It is there, or is not.
    Present(bool),
}

impl Comparison {
    /// Whether it holds of a value, or of none.
    pub fn holds(&self, found: Option<&str>) -> bool {
        let number = || found.and_then(|text| text.trim().parse::<f64>().ok());
        match self {
            Self::Equals(value) => found == Some(value),
            Self::Not(value) => found.is_some_and(|found| found != value),
            Self::Contains(part) => found.is_some_and(|found| found.contains(part)),
            Self::Matches(pattern) => found.is_some_and(|found| pattern.matches(found)),
            Self::AtLeast(bound) => number().is_some_and(|number| number >= *bound),
            Self::AtMost(bound) => number().is_some_and(|number| number <= *bound),
            Self::Present(wanted) => found.is_some() == *wanted,
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Equals(value) => write!(f, "is `{value}`"),
            Self::Not(value) => write!(f, "is not `{value}`"),
            Self::Contains(part) => write!(f, "contains `{part}`"),
            Self::Matches(pattern) => write!(f, "matches /{}/", pattern.text()),
            Self::AtLeast(bound) => write!(f, "is at least {bound}"),
            Self::AtMost(bound) => write!(f, "is at most {bound}"),
            Self::Present(true) => f.write_str("is there"),
            Self::Present(false) => f.write_str("is not there"),
        }
    }
}

/// A regular expression; matching takes time linear in the text.
#[derive(Clone)]
pub struct Pattern(Arc<Regex>);

impl Pattern {
    /// Compiles it.
    ///
    /// # Errors
    /// Why it is no pattern, or that it is too large.
    pub fn new(text: &str) -> Result<Self, String> {
        let built = RegexBuilder::new(text).size_limit(PATTERN_MAX_BYTES).build();
        built.map(|regex| Self(Arc::new(regex))).map_err(|error| {
            if matches!(error, regex::Error::CompiledTooBig(_)) {
                return "it is too large once compiled".to_owned();
            }
            // The last line says what is wrong; those before it draw where.
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            last.trim().trim_start_matches("error: ").to_owned()
        })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        self.0.as_str()
    }

    /// Whether it matches anywhere in a text.
    pub fn matches(&self, text: &str) -> bool {
        self.0.is_match(text)
    }

    /// The first group of the first match, or all of it where there are no groups.
    pub fn capture<'t>(&self, text: &'t str) -> Option<&'t str> {
        let captures = self.0.captures(text)?;
        captures.get(1).or_else(|| captures.get(0)).map(|found| found.as_str())
    }
}

/// A place in JSON (RFC 9535): `$.status`, `$.checks[0].state`, `$..id`.
#[derive(Clone)]
pub struct JsonPath {
    text: String,
    path: Arc<serde_json_path::JsonPath>,
}

impl JsonPath {
    /// Reads a path.
    ///
    /// # Errors
    /// It is none.
    pub fn new(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let path = match serde_json_path::JsonPath::parse(text) {
            Ok(path) => path,
            // Keys such as `$.db-primary` are none of RFC 9535, but people write them.
            Err(error) => bracketed(text)
                .and_then(|quoted| serde_json_path::JsonPath::parse(&quoted).ok())
                .ok_or_else(|| error.message().to_owned())?,
        };
        Ok(Self { text: text.to_owned(), path: Arc::new(path) })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The first value there: text as it is, anything else as JSON writes it.
    pub fn text_in(&self, json: &Value) -> Option<String> {
        self.path.query(json).first().map(|found| match found {
            Value::String(text) => text.clone(),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => found.to_string(),
        })
    }
}

/// `$.db-primary[0]` as `$['db-primary'][0]`; `None` for anything but keys and numbers in a row.
fn bracketed(text: &str) -> Option<String> {
    let mut written = String::from("$");
    for key in text.strip_prefix("$.")?.split('.') {
        let (key, index) = key.split_at(key.find('[').unwrap_or(key.len()));
        let is_index = |c: char| c.is_ascii_digit() || c == '[' || c == ']';
        if key.is_empty()
            || key.contains(['\'', '\\', '*', '?', ']'])
            || !index.chars().all(is_index)
        {
            return None;
        }
        written.push_str(&format!("['{key}']{index}"));
    }
    Some(written)
}

/// A JSON Schema, of the draft that it names, else 2020-12. References lead nowhere but into itself.
#[derive(Clone)]
pub struct JsonSchema {
    text: String,
    validator: Arc<jsonschema::Validator>,
}

impl JsonSchema {
    /// Reads a schema written in JSON.
    ///
    /// # Errors
    /// It is no JSON, or no schema.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.len() > SCHEMA_MAX_BYTES {
            return Err(format!("it has {} bytes, and at most {SCHEMA_MAX_BYTES}", text.len()));
        }
        let schema: Value =
            serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let validator = jsonschema::validator_for(&schema).map_err(|error| {
            let leads_out =
                matches!(error.kind(), jsonschema::error::ValidationErrorKind::Referencing(_));
            if leads_out {
                return "it refers to what is not in it, and nothing is fetched".to_owned();
            }
            format!("it is not a JSON Schema: {error}")
        })?;
        Ok(Self { text: text.to_owned(), validator: Arc::new(validator) })
    }

    /// The first thing about a document that it forbids, and where.
    pub fn violation(&self, json: &Value) -> Option<String> {
        let error = self.validator.iter_errors(json).next()?;
        let place = error.instance_path().to_string();
        Some(if place.is_empty() { error.to_string() } else { format!("{error} at {place}") })
    }
}

/// What was compiled is the same where its text is.
macro_rules! same_as_its_text {
    ($($name:ident: $text:expr;)*) => {$(
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                let text: fn(&Self) -> &str = $text;
                text(self) == text(other)
            }
        }
        impl Eq for $name {}
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let text: fn(&Self) -> &str = $text;
                f.debug_tuple(stringify!($name)).field(&text(self)).finish()
            }
        }
    )*};
}

same_as_its_text! {
    Pattern: |pattern| pattern.0.as_str();
    JsonPath: |path| &path.text;
    JsonSchema: |schema| &schema.text;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(path: &str, value: &str, body: &str, expected: Option<bool>) {
        let json = serde_json::from_str(body).unwrap_or(Value::Null);
        let found = JsonPath::new(path).ok().map(|path| path.text_in(&json));
        let holds = found.map(|found| Comparison::Equals(value.to_owned()).holds(found.as_deref()));
        assert_eq!(holds, expected, "{path} {value} {body}");
    }

    #[test]
    fn a_value_is_found_by_its_path_and_compared_as_text() {
        check("$.status", "ok", r#"{"status":"ok"}"#, Some(true));
        check("$.status", "ok", r#"{"status":"starting"}"#, Some(false));
        check("$.status", "ok", "{}", Some(false));
        check("$.status", "ok", "not json", Some(false));
        check("$.checks[1].up", "true", r#"{"checks":[{"up":false},{"up":true}]}"#, Some(true));
        check("$..id", "7", r#"{"a":{"id":7}}"#, Some(true));
        check("$.n", "3", r#"{"n":3}"#, Some(true));
        check("$.db-primary[0].1st", "ok", r#"{"db-primary":[{"1st":"ok"}]}"#, Some(true));
        check("$", "ok", r#""ok""#, Some(true));
        check("$[0]", "null", "[null]", Some(true));
        for path in ["status", "$status", "$.", "$[x]", "$[0", "$.a[0]b"] {
            check(path, "ok", "{}", None);
        }
    }

    fn holds(comparison: Comparison, yes: &[&str], no: &[&str]) {
        for text in yes {
            assert!(comparison.holds(Some(text)), "{text} {comparison}");
        }
        for text in no {
            assert!(!comparison.holds(Some(text)), "not {text} {comparison}");
        }
        assert_eq!(comparison.holds(None), comparison == Comparison::Present(false));
    }

    #[test]
    fn each_comparison_has_two_sides_and_nothing_is_no_value() {
        holds(Comparison::Equals("a".into()), &["a"], &["b", "", "A"]);
        holds(Comparison::Not("a".into()), &["b", ""], &["a"]);
        holds(Comparison::Contains("b".into()), &["abc"], &["ac"]);
        holds(Comparison::AtLeast(2.0), &["2", " 3.5 "], &["1.99", "x", "NaN"]);
        holds(Comparison::AtMost(2.0), &["2", "-1"], &["2.01", ""]);
        holds(Comparison::Matches(Pattern::new("^[0-9]+$").unwrap()), &["12"], &["1a"]);
        holds(Comparison::Present(true), &[""], &[]);
        holds(Comparison::Present(false), &[], &[""]);
    }

    #[test]
    fn a_pattern_that_would_take_too_much_is_refused() {
        assert!(Pattern::new("(").unwrap_err().contains("unclosed group"));
        assert!(Pattern::new("(a{1000}){1000}").unwrap_err().contains("too large"));
    }

    #[test]
    fn a_schema_says_what_it_forbids_and_where() {
        let schema =
            JsonSchema::new(r#"{"properties":{"n":{"type":"integer"}},"required":["n"]}"#).unwrap();
        let violation = |text: &str| schema.violation(&serde_json::from_str(text).unwrap());
        assert_eq!(violation(r#"{"n":1}"#), None);
        assert!(violation(r#"{"n":"x"}"#).unwrap().contains("/n"));
        assert!(violation("{}").unwrap().contains("required"));
        assert!(JsonSchema::new("{").unwrap_err().contains("not JSON"));
        assert!(JsonSchema::new(r#"{"type":"none"}"#).unwrap_err().contains("not a JSON Schema"));
        // Nothing is fetched to read a schema.
        JsonSchema::new(r#"{"$ref":"http://127.0.0.1:1/x.json"}"#).unwrap_err();
        JsonSchema::new(r#"{"$ref":"file:///etc/passwd"}"#).unwrap_err();
    }
}
