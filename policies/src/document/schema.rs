//! The JSON Schema of a policy, for editors: printed from the table that the checker reads.

use serde_json::{Map, Value, json};

use super::shape::{Form, POLICY, Shape};

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
        if of.one_of {
            object.insert("minProperties".to_owned(), json!(1));
            object.insert("maxProperties".to_owned(), json!(1));
        }
    }
    schema
}

fn form(of: &'static Form) -> Value {
    let text = |pattern: &str, example: &str| json!({ "type": "string", "pattern": pattern, "examples": [example] });
    match of {
        // A bare 0 needs no unit.
        Form::Duration => json!({
            "type": ["string", "integer"],
            "pattern": "^\\s*(0|[0-9].*[a-zµ])\\s*$",
            "maximum": 0,
            "minimum": 0,
            "examples": ["500ms", "2s", "1m 30s", "10m"],
        }),
        Form::Share | Form::Part => text("^\\s*[0-9.]+\\s*%\\s*$", "0.5%"),
        Form::More => text("^\\s*\\+[0-9.]+\\s*%\\s*$", "+20%"),
        Form::Less => text("^\\s*-[0-9.]+\\s*%\\s*$", "-20%"),
        Form::Rate => text("^\\s*[0-9.]+\\s*/\\s*(s|sec|second|m|min|minute|h|hour)\\s*$", "20/s"),
        Form::Quantile => text("^\\s*p[0-9.]+\\s*$", "p99"),
        Form::Number => json!({
            "type": ["number", "string"],
            "exclusiveMinimum": 0,
            "pattern": "^\\s*[0-9.]+x?\\s*$",
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
    }
}
