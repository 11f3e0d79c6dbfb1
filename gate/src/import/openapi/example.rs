//! The value a document itself gives for a parameter.

use serde_json::Value;

use super::document::Api;

/// The example of a parameter: its own, then what its schema says.
pub(super) fn example(api: &Api, parameter: &Value) -> Option<Value> {
    let own = given(api, parameter);
    let content = parameter.get("content").and_then(Value::as_object);
    let content = content.and_then(|content| content.values().next());
    let schema = parameter.get("schema").or_else(|| content?.get("schema"));
    own.or_else(|| given(api, content?)).or_else(|| of_schema(api, schema?, 0))
}

/// `example`, or the first of `examples`.
fn given(api: &Api, of: &Value) -> Option<Value> {
    if let Some(example) = of.get("example").filter(|example| !example.is_null()) {
        return Some(example.clone());
    }
    let examples = of.get("examples").and_then(Value::as_object)?;
    let values = examples.values().filter_map(|example| {
        api.resolve(example).ok()?.get("value").filter(|value| !value.is_null()).cloned()
    });
    values.into_iter().next()
}

/// What a schema says a value may be.
fn of_schema(api: &Api, schema: &Value, deep: usize) -> Option<Value> {
    // References within references, and lists of lists: no parameter needs more.
    if deep > 4 {
        return None;
    }
    let schema = api.resolve(schema).ok()?;
    let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|of| of.first());
    let said = schema.get("example").or_else(|| first("examples"));
    let said = said.or_else(|| schema.get("const")).or_else(|| schema.get("default"));
    let said = said.or_else(|| first("enum")).filter(|value| !value.is_null());
    if let Some(value) = said {
        return Some(value.clone());
    }
    if let Some(items) = schema.get("items") {
        return of_schema(api, items, deep + 1).map(|item| Value::Array(vec![item]));
    }
    let choices = ["anyOf", "oneOf", "allOf"].iter().filter_map(|key| schema.get(*key)?.as_array());
    choices.flatten().find_map(|choice| of_schema(api, choice, deep + 1))
}

/// A value as text; a list joined by this.
pub(super) fn spelled(value: &Value, by: &str) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Array(items) => {
            let items: Option<Vec<String>> = items.iter().map(|item| spelled(item, by)).collect();
            items.map(|items| items.join(by))
        }
        Value::Null | Value::Object(_) => None,
    }
}

/// A version as it was written: YAML takes `3.0` for a number.
pub(super) fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
