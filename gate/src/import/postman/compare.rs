//! One comparison of a value in an answer, as what a policy expects.

use serde_json::{Value, json};

use super::super::document::Is;
use super::super::schema::{self, Into};
use super::super::text::escape;
use super::value::About;

/// What a test demands.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Demand {
    Status(Vec<String>),
    Within(u64),
    Header(String, Is),
    Text(String),
    Regex(String),
    Json(String, Is),
    Schema(Value),
}

/// Names of the comparison of two values.
pub(super) const EQUAL: [&str; 5] = ["equal", "equals", "eql", "eqls", "eq"];

pub(super) fn header_is_there(name: &str) -> Demand {
    Demand::Header(name.to_ascii_lowercase(), Is::Present)
}

pub(super) fn denial(denied: bool, schema: Value) -> Value {
    if denied { json!({ "not": schema }) } else { schema }
}

/// One comparison of a chain.
pub(super) fn compared(
    subject: &About,
    comparison: &str,
    arguments: &[About],
    denied: bool,
) -> Option<Demand> {
    let value = match arguments {
        [About::Literal(value)] => Some(value),
        _ => None,
    };
    let equal = EQUAL.contains(&comparison);
    let includes = ["include", "includes", "contain", "contains"].contains(&comparison);
    match subject {
        About::Status => status(comparison, equal, denied, arguments),
        About::Time => {
            let strict = ["below", "lessThan", "lt"].contains(&comparison);
            let most = ["most", "lte", "lessThanOrEqual"].contains(&comparison);
            let limit = value?.as_f64().filter(|_| (strict || most) && !denied)?;
            milliseconds(limit).map(Demand::Within)
        }
        About::Body if denied => None,
        About::Body => match (comparison, value, arguments) {
            (_, Some(Value::String(text)), _) if includes => Some(Demand::Text(text.clone())),
            (_, Some(Value::String(text)), _) if equal => {
                Some(Demand::Regex(format!(r"\A{}\z", escape(text))))
            }
            ("match", _, [About::Regex(regex)]) => Some(Demand::Regex(regex.clone())),
            _ => None,
        },
        About::Header(name) => {
            let is = |is| Some(Demand::Header(name.to_ascii_lowercase(), is));
            match (comparison, value, arguments) {
                ("exist" | "ok", _, []) if !denied => Some(header_is_there(name)),
                ("undefined" | "null" | "empty", _, []) if denied => Some(header_is_there(name)),
                (_, Some(value @ Value::String(_)), _) if equal && !denied => {
                    is(Is::Equal(value.clone()))
                }
                (_, Some(Value::String(part)), _) if includes && !denied => {
                    is(Is::Matches(escape(part)))
                }
                ("match", _, [About::Regex(regex)]) if !denied => is(Is::Matches(regex.clone())),
                _ => None,
            }
        }
        About::Json(path) => json(path, comparison, equal, includes, denied, arguments),
        About::Length(path) => {
            length(path, comparison, equal, value?.as_i64()?).filter(|_| !denied)
        }
        About::Literal(_) | About::Regex(_) | About::Variable(_) | About::Nothing => None,
    }
}

/// Whole milliseconds; a test allows at most an hour.
fn milliseconds(limit: f64) -> Option<u64> {
    format!("{:.0}", limit.floor()).parse().ok().filter(|ms| (1..=3_600_000).contains(ms))
}

fn status(name: &str, equal: bool, denied: bool, arguments: &[About]) -> Option<Demand> {
    let whole = |about: &About| about.literal().and_then(Value::as_i64);
    let numbers: Option<Vec<i64>> = match arguments {
        [About::Literal(Value::Array(list))] => list.iter().map(Value::as_i64).collect(),
        arguments => arguments.iter().map(whole).collect(),
    };
    let wanted = match (name, numbers?.as_slice(), denied) {
        ("oneOf" | "equal", [], _) => return None,
        (_, [status], false) if equal => vec![status.to_string()],
        ("oneOf", statuses, false) => statuses.iter().map(ToString::to_string).collect(),
        ("within", [200, 299], false) => vec!["2xx".to_owned()],
        ("within", [200, 399], false) | ("below" | "lessThan", [400], false) => {
            vec!["2xx".to_owned(), "3xx".to_owned()]
        }
        ("below" | "lessThan", [300], false) => vec!["2xx".to_owned()],
        ("below" | "lessThan", [500], false) => {
            vec!["2xx".to_owned(), "3xx".to_owned(), "4xx".to_owned()]
        }
        _ => return None,
    };
    Some(Demand::Status(wanted))
}

/// A comparison of a value in JSON.
fn json(
    path: &[Into],
    name: &str,
    equal: bool,
    includes: bool,
    denied: bool,
    arguments: &[About],
) -> Option<Demand> {
    let at = |fragment| Some(Demand::Schema(denial(denied, schema::at(path, fragment))));
    // `not.be.null` is about a value that is there.
    let there = |fragment| Some(Demand::Schema(schema::at(path, fragment)));
    let not = |fragment: Value| if denied { json!({ "not": fragment }) } else { fragment };
    match (name, arguments) {
        (_, [About::Literal(value)]) if equal && !denied => equals(path, value),
        (_, [About::Literal(value)]) if equal => at(json!({ "const": value })),
        ("oneOf", [About::Literal(Value::Array(values))]) => at(json!({ "enum": values })),
        ("a" | "an", [About::Literal(Value::String(kind))]) => match kind.as_str() {
            "string" | "number" | "boolean" | "array" | "object" | "null" => {
                there(not(json!({ "type": kind })))
            }
            "undefined" => Some(Demand::Schema(denial(!denied, schema::at(path, json!({}))))),
            _ => None,
        },
        ("undefined" | "exist", []) => {
            let absent = denied == (name == "exist");
            let fragment =
                if name == "exist" { json!({ "not": { "type": "null" } }) } else { json!({}) };
            Some(Demand::Schema(denial(absent, schema::at(path, fragment))))
        }
        ("true", []) => there(not(json!({ "const": true }))),
        ("false", []) => there(not(json!({ "const": false }))),
        ("null", []) => there(not(json!({ "type": "null" }))),
        ("ok", []) => there(not(json!({ "not": { "enum": [null, false, 0, ""] } }))),
        ("empty", []) if denied => {
            there(json!({ "minLength": 1, "minItems": 1, "minProperties": 1 }))
        }
        ("empty", []) => there(json!({ "maxLength": 0, "maxItems": 0, "maxProperties": 0 })),
        ("match", [About::Regex(regex)]) if !denied => match schema::path(path) {
            Some(path) => Some(Demand::Json(path, Is::Matches(regex.clone()))),
            None => there(json!({ "type": "string", "pattern": regex })),
        },
        ("length" | "lengthOf", [About::Literal(size)]) if !denied => {
            length(path, "equal", true, size.as_i64()?)
        }
        ("above" | "greaterThan" | "gt", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "exclusiveMinimum": n })))
        }
        ("least" | "gte" | "greaterThanOrEqual", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "minimum": n })))
        }
        ("below" | "lessThan" | "lt", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "exclusiveMaximum": n })))
        }
        ("most" | "lte" | "lessThanOrEqual", [About::Literal(Value::Number(n))]) => {
            there(not(json!({ "type": "number", "maximum": n })))
        }
        ("within", [About::Literal(Value::Number(low)), About::Literal(Value::Number(high))]) => {
            there(not(json!({ "type": "number", "minimum": low, "maximum": high })))
        }
        // Of a text it is a part, of a list an element, of an object some of its entries.
        (_, [About::Literal(value @ Value::String(part))]) if includes => {
            there(not(json!({ "anyOf": [
            { "type": "string", "pattern": escape(part) },
            { "type": "array", "contains": { "const": value } },
        ] })))
        }
        (_, [About::Literal(value @ (Value::Number(_) | Value::Bool(_)))]) if includes => {
            there(not(json!({ "type": "array", "contains": { "const": value } })))
        }
        ("keys", keys) if !denied => {
            let keys: Option<Vec<&str>> = keys.iter().map(|key| key.literal()?.as_str()).collect();
            there(json!({ "type": "object", "required": keys.filter(|keys| !keys.is_empty())? }))
        }
        _ => None,
    }
}

fn equals(path: &[Into], value: &Value) -> Option<Demand> {
    let scalar = !(value.is_array() || value.is_object());
    Some(match schema::path(path).filter(|_| scalar) {
        Some(path) => Demand::Json(path, Is::Equal(value.clone())),
        None => Demand::Schema(schema::at(path, json!({ "const": value }))),
    })
}

/// Texts have a length as lists do; what is meant of the other is ignored by a schema.
fn length(path: &[Into], name: &str, equal: bool, size: i64) -> Option<Demand> {
    let (low, high) = match name {
        _ if equal => (Some(size), Some(size)),
        "above" | "greaterThan" | "gt" => (Some(size + 1), None),
        "least" | "gte" | "greaterThanOrEqual" => (Some(size), None),
        "below" | "lessThan" | "lt" => (None, Some(size - 1)),
        "most" | "lte" | "lessThanOrEqual" => (None, Some(size)),
        _ => return None,
    };
    let mut fragment = serde_json::Map::new();
    for (limit, names) in [(low, ["minItems", "minLength"]), (high, ["maxItems", "maxLength"])] {
        if let Some(limit) = limit.filter(|limit| *limit >= 0) {
            fragment.extend(names.map(|name| (name.to_owned(), Value::from(limit))));
        }
    }
    fragment.insert("type".to_owned(), json!(["string", "array"]));
    Some(Demand::Schema(schema::at(path, Value::Object(fragment))))
}
