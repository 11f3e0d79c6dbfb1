//! What a Pact demands of a body: values at places, and a JSON Schema for the rest.

use serde_json::{Map, Value, json};

use super::super::document::Is;
use super::super::schema::{self, Into};
use super::super::text::{escape, short};
use super::rules::{At, Rule, best, each, kind};

/// Rules that say more than the kind of value, which is all that is kept of them.
const LOOSER: [&str; 7] =
    ["date", "time", "timestamp", "datetime", "eachKey", "arrayContains", "contentType"];
/// Levels of a body that are followed.
const DEPTH_MAX: usize = 32;

/// The demands on one body.
#[derive(Debug, Default)]
pub(super) struct Body {
    pub(super) json: Vec<(String, Is)>,
    pub(super) schema: Option<Value>,
    pub(super) left_out: Vec<String>,
}

/// What an answer must have to match this example under these rules. More than the example has is good.
pub(super) fn body(example: &Value, rules: &[Rule]) -> Body {
    let mut body = Body::default();
    body.schema = body.place(example, rules, &mut Vec::new(), Some(&mut Vec::new()));
    for rule in rules {
        let first = rule.matchers.first().map(kind).unwrap_or_default();
        if LOOSER.contains(&first) {
            let what = format!(
                "its rule `{first}` for `{}`: only the kind of value is looked at",
                short(&rule.written)
            );
            body.left_out.push(what);
        }
    }
    body
}

impl Body {
    /// The schema of this place; `None` where all that is demanded is in `json`. `path` is how a policy
    /// calls the place, where it can: not within lists of which each element is meant.
    fn place(
        &mut self,
        example: &Value,
        rules: &[Rule],
        at: &mut Vec<At>,
        path: Option<&mut Vec<Into>>,
    ) -> Option<Value> {
        if at.len() > DEPTH_MAX {
            self.left_out.push(format!("what is nested more than {DEPTH_MAX} deep in its body"));
            return None;
        }
        let rule = best(rules, at);
        let matchers = rule.map(|rule| rule.matchers.as_slice()).unwrap_or_default();
        let here = path.as_deref().and_then(|path| schema::path(path));
        match example {
            Value::Object(fields) => self.object(fields, rules, at, path, rule),
            Value::Array(items) => self.array(items, rules, at, path, rule),
            scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => {
                let mut all = None;
                for matcher in matchers {
                    if kind(matcher) == "regex"
                        && let (Some(here), Some(regex)) = (&here, regex(matcher))
                    {
                        self.json.push((here.clone(), Is::Matches(regex.to_owned())));
                    } else if let Some(one) = self.scalar(scalar, matcher, rule) {
                        all = Some(schema::both(all, one));
                    }
                }
                match (matchers.is_empty(), here) {
                    (true, Some(here)) => {
                        self.json.push((here, Is::Equal(scalar.clone())));
                        None
                    }
                    (true, None) => Some(json!({ "const": scalar })),
                    (false, _) => all,
                }
            }
        }
    }

    fn scalar(&mut self, example: &Value, matcher: &Value, rule: Option<&Rule>) -> Option<Value> {
        Some(match kind(matcher) {
            "type" => json!({ "type": type_of(example) }),
            "regex" => json!({ "pattern": regex(matcher)? }),
            "integer" => json!({ "type": "integer" }),
            "number" | "decimal" => json!({ "type": "number" }),
            "boolean" => json!({ "type": "boolean" }),
            "null" => json!({ "type": "null" }),
            "equality" => json!({ "const": example }),
            "notEmpty" => json!({ "type": type_of(example), "minLength": 1 }),
            "include" => {
                json!({ "type": "string", "pattern": escape(matcher.get("value")?.as_str()?) })
            }
            "semver" => json!({ "type": "string", "pattern": r"^\d+\.\d+\.\d+" }),
            looser if LOOSER.contains(&looser) => json!({ "type": type_of(example) }),
            other => {
                let place = rule.map(|rule| rule.written.as_str()).unwrap_or_default();
                let what = format!("its rule `{}` for `{}`", short(other), short(place));
                self.left_out.push(format!("{what}: no counterpart"));
                return None;
            }
        })
    }

    fn object(
        &mut self,
        fields: &Map<String, Value>,
        rules: &[Rule],
        at: &mut Vec<At>,
        mut path: Option<&mut Vec<Into>>,
        rule: Option<&Rule>,
    ) -> Option<Value> {
        let kinds: Vec<&str> =
            rule.iter().flat_map(|rule| rule.matchers.iter().map(kind)).collect();
        let exactly = rule.is_some_and(|rule| rule.is_at(at));
        if exactly && kinds.iter().any(|kind| ["values", "eachValue", "eachKey"].contains(kind)) {
            // Keys are examples themselves: each value is like the first.
            let Some((key, first)) = fields.iter().next() else {
                return Some(json!({ "type": "object" }));
            };
            at.push(At::Key(key.clone()));
            let each = self.place(first, rules, at, None);
            at.pop();
            let mut schema = json!({ "type": "object" });
            if let (Some(each), Value::Object(schema)) = (each, &mut schema) {
                schema.insert("additionalProperties".to_owned(), each);
            }
            return Some(schema);
        }
        let mut found = (!kinds.is_empty() || path.is_none() || fields.is_empty())
            .then(|| json!({ "type": "object" }));
        for (key, value) in fields {
            at.push(At::Key(key.clone()));
            if let Some(path) = path.as_deref_mut() {
                path.push(Into::Key(key.clone()));
            }
            let inner = self.place(value, rules, at, path.as_deref_mut());
            at.pop();
            if let Some(path) = path.as_deref_mut() {
                path.pop();
            }
            if let Some(inner) = inner {
                found = Some(schema::both(found, schema::at(&[Into::Key(key.clone())], inner)));
            }
        }
        found
    }

    fn array(
        &mut self,
        items: &[Value],
        rules: &[Rule],
        at: &mut Vec<At>,
        mut path: Option<&mut Vec<Into>>,
        rule: Option<&Rule>,
    ) -> Option<Value> {
        let matchers = rule.map(|rule| rule.matchers.as_slice()).unwrap_or_default();
        // Limits are of this list alone; only the type holds for what is within.
        let exactly = rule.is_some_and(|rule| rule.is_at(at));
        let of = |key: &str| {
            let limits = matchers.iter().filter(|_| exactly);
            limits.into_iter().find_map(|matcher| matcher.get(key)?.as_u64())
        };
        let kinds: Vec<&str> = matchers.iter().map(kind).collect();
        if kinds.contains(&"arrayContains") {
            return Some(json!({ "type": "array" }));
        }
        if !matchers.is_empty() || each(rules, at) {
            // Each element is like the first of the example.
            let mut schema = Map::from_iter([("type".to_owned(), json!("array"))]);
            let least = if kinds.contains(&"notEmpty") { Some(1) } else { None };
            for (keyword, limit) in [("minItems", of("min").or(least)), ("maxItems", of("max"))] {
                schema.extend(limit.map(|limit| (keyword.to_owned(), Value::from(limit))));
            }
            if let Some(first) = items.first() {
                at.push(At::Each);
                let each = self.place(first, rules, at, None);
                at.pop();
                schema.extend(each.map(|each| ("items".to_owned(), each)));
            }
            return Some(Value::Object(schema));
        }
        let size = items.len();
        let mut found = json!({ "type": "array", "minItems": size, "maxItems": size });
        for (index, item) in items.iter().enumerate() {
            at.push(At::Index(index));
            if let Some(path) = path.as_deref_mut() {
                path.push(Into::Index(index));
            }
            let inner = self.place(item, rules, at, path.as_deref_mut());
            at.pop();
            if let Some(path) = path.as_deref_mut() {
                path.pop();
            }
            if let Some(inner) = inner {
                found = schema::both(Some(found), schema::at(&[Into::Index(index)], inner));
            }
        }
        Some(found)
    }
}

fn regex(matcher: &Value) -> Option<&str> {
    matcher.get("regex").and_then(Value::as_str)
}

fn type_of(example: &Value) -> &'static str {
    match example {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
