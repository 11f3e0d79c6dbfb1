//! The JSON Schema of a policy, for editors: printed from the table that the checker reads.

use serde_json::{Map, Value, json};

use super::shape::{Form, KeyShape, Needs, POLICY, Shape};

/// The JSON Schema (draft 2020-12) of a policy document.
pub fn schema() -> Value {
    let mut schema = shape(&POLICY);
    if let Some(object) = schema.as_object_mut() {
        let head = [
            ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
            ("title", json!("gate policy")),
        ];
        for (key, value) in head {
            object.insert(key.to_owned(), value);
        }
    }
    schema
}

fn shape(of: &'static Shape) -> Value {
    let mut properties = Map::new();
    for key in of.keys {
        let mut form = form(&key.form);
        let about = match key.default {
            "" => key.about.to_owned(),
            default => format!("{}. Default: {default}.", key.about),
        };
        if let Some(object) = form.as_object_mut() {
            object.insert("description".to_owned(), json!(about));
        }
        properties.insert(key.name.to_owned(), form);
    }
    let required: Vec<&str> =
        of.keys.iter().filter(|key| key.required.is_some()).map(|key| key.name).collect();
    let mut schema = json!({
        "type": "object",
        "description": of.about,
        "properties": properties,
        "additionalProperties": false,
    });
    if let Some(object) = schema.as_object_mut() {
        if !required.is_empty() {
            object.insert("required".to_owned(), json!(required));
        }
        let sets = |sets: &[&[&str]]| {
            json!(sets.iter().map(|set| json!({ "required": set })).collect::<Vec<_>>())
        };
        match of.needs {
            Needs::Nothing => {}
            Needs::OneKey => {
                object.insert("minProperties".to_owned(), json!(1));
                object.insert("maxProperties".to_owned(), json!(1));
            }
            Needs::One(of) => {
                object.insert("oneOf".to_owned(), sets(of));
            }
            Needs::Any(of) => {
                object.insert("anyOf".to_owned(), sets(of));
            }
        }
        let depending: Vec<Value> = of.keys.iter().filter_map(depending).collect();
        if !depending.is_empty() {
            object.insert("allOf".to_owned(), json!(depending));
        }
    }
    schema
}

/// What the form of a key is where another is there, and where it is not.
fn depending(key: &'static KeyShape) -> Option<Value> {
    let Form::Beside(other, with, without) = &key.form else { return None };
    let of = |value: &'static Form| json!({ "properties": { key.name: form(value) } });
    Some(json!({ "if": { "required": [other] }, "then": of(with), "else": of(without) }))
}

/// A number below 100 in digits.
const BELOW_100: &str = r"(0*[0-9]{1,2}(\.[0-9]*)?|\.[0-9]+)";
/// Digits, with a point among them or not.
const DIGITS: &str = r"([0-9]+(\.[0-9]*)?|\.[0-9]+)";
const HOURS: &str = "h|hrs?|hours?";
const MINUTES: &str = "m|mins?|minutes?";
const SECONDS: &str = "s|secs?|seconds?";
const MILLIS: &str = "ms|msecs?|millis?|milliseconds?";
const MICROS: &str = "[uµμ]s|[uµμ]secs?|micros?|microseconds?";

fn form(of: &'static Form) -> Value {
    let text = |pattern: &str, example: &str| json!({ "type": "string", "pattern": format!(r"^\s*{pattern}\s*$"), "examples": [example] });
    match of {
        Form::Duration => {
            let units = format!("({HOURS}|{MINUTES}|{SECONDS}|{MILLIS}|{MICROS})");
            json!({
                "type": ["string", "integer"],
                "pattern": format!(r"^\s*(0|({DIGITS}\s*{units}\s*,?\s*)+)\s*$"),
                // A bare 0 needs no unit.
                "maximum": 0,
                "minimum": 0,
                "examples": ["500ms", "2s", "1m 30s", "10m"],
            })
        }
        Form::Share => text(&format!(r"{BELOW_100}\s*%"), "0.5%"),
        Form::Part => text(&format!(r"({BELOW_100}|100(\.0*)?)\s*%"), "100%"),
        Form::More => text(&format!(r"\+\s*{DIGITS}\s*%"), "+20%"),
        Form::Less => text(&format!(r"-\s*{BELOW_100}\s*%"), "-20%"),
        Form::Rate => text(&format!(r"{DIGITS}\s*/\s*(s|sec|second|m|min|minute|h|hour)"), "20/s"),
        Form::Size => text(&format!(r"{DIGITS}\s*([kKMm]i?)?B"), "64KiB"),
        Form::Quantile => text(&format!("p{BELOW_100}"), "p99"),
        Form::Number => json!({
            "type": ["number", "string"],
            "exclusiveMinimum": 0,
            "maximum": 1_000_000,
            "pattern": format!(r"^\s*{DIGITS}x?\s*$"),
        }),
        Form::Whole => json!({
            "type": ["integer", "string"],
            "minimum": 0,
            "maximum": 1_000_000,
            "pattern": r"^\s*[0-9]{1,7}\s*$",
        }),
        Form::Bool => json!({ "type": "boolean" }),
        // YAML reads `204` and `true` as what they look like; a policy means their text.
        Form::Text => json!({ "type": ["string", "number", "boolean"] }),
        Form::Words(words) => json!({ "enum": words }),
        Form::Map(map) => shape(map),
        Form::MapOf(values) => json!({ "type": "object", "additionalProperties": form(values) }),
        Form::List(items) => json!({ "type": "array", "minItems": 1, "items": form(items) }),
        Form::Some(item) => {
            json!({ "anyOf": [form(item), { "type": "array", "items": form(item) }] })
        }
        Form::Either(forms) => {
            let forms: Vec<Value> = forms.iter().map(form).collect();
            json!({ "anyOf": forms })
        }
        // Which of them is said beside the properties.
        Form::Beside(..) => json!({}),
    }
}
