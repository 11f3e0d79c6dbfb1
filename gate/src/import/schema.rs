//! A JSON Schema put together from what single tests say about single places.

use serde_json::{Map, Value, json};

/// One step into JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Into {
    Key(String),
    Index(usize),
}

/// The path as a policy writes it (RFC 9535), if it can: a key with a line break would not be read again.
pub(super) fn path(steps: &[Into]) -> Option<String> {
    let mut path = "$".to_owned();
    for step in steps {
        match step {
            Into::Key(key) if key.contains(char::is_control) => return None,
            Into::Key(key) if is_plain(key) => {
                path.push('.');
                path.push_str(key);
            }
            Into::Key(key) => {
                let key = key.replace('\\', r"\\").replace('\'', r"\'");
                path.push_str(&format!("['{key}']"));
            }
            Into::Index(index) => path.push_str(&format!("[{index}]")),
        }
    }
    Some(path)
}

/// Whether a key can stand after a dot (RFC 9535, section 2.5.1.1).
fn is_plain(key: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
    key.starts_with(first) && key.chars().all(|c| first(c) || c.is_ascii_digit())
}

/// The schema of a body at whose `path` this fragment holds, and stands.
pub(super) fn at(path: &[Into], fragment: Value) -> Value {
    path.iter().rev().fold(fragment, |inner, step| match step {
        Into::Key(key) => json!({
            "type": "object",
            "required": [key],
            "properties": { key: inner },
        }),
        Into::Index(index) => {
            let mut items = vec![json!({}); *index];
            items.push(inner);
            json!({ "type": "array", "minItems": index + 1, "prefixItems": items })
        }
    })
}

/// Both at once.
pub(super) fn both(one: Option<Value>, other: Value) -> Value {
    match (one, other) {
        (Some(Value::Object(one)), Value::Object(other)) => Value::Object(merged(one, other)),
        (_, other) => other,
    }
}

fn merged(mut one: Map<String, Value>, other: Map<String, Value>) -> Map<String, Value> {
    let mut apart = Map::new();
    for (keyword, value) in other {
        let Some(before) = one.get_mut(&keyword) else {
            one.insert(keyword, value);
            continue;
        };
        match (keyword.as_str(), before, value) {
            (_, before, value) if *before == value => {}
            ("properties", Value::Object(before), Value::Object(more)) => {
                for (key, inner) in more {
                    let both = both(before.remove(&key), inner);
                    before.insert(key, both);
                }
            }
            ("required" | "allOf", Value::Array(before), Value::Array(more)) => {
                let new: Vec<_> = more.into_iter().filter(|v| !before.contains(v)).collect();
                before.extend(new);
            }
            ("prefixItems", Value::Array(before), Value::Array(more)) => {
                for (place, inner) in more.into_iter().enumerate() {
                    match before.get_mut(place) {
                        Some(known) => *known = both(Some(known.take()), inner),
                        None => before.push(inner),
                    }
                }
            }
            ("minItems" | "minLength", before, value) => {
                if value.as_u64() > before.as_u64() {
                    *before = value;
                }
            }
            (_, _, value) => {
                apart.insert(keyword, value);
            }
        }
    }
    if !apart.is_empty() {
        // Said twice and differently: both hold.
        let all = one.entry("allOf").or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(all) = all {
            all.push(Value::Object(apart));
        }
    }
    one
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn check(said: &[(&[Into], Value)], expected: Expect) {
        let schema = said
            .iter()
            .fold(None, |schema, (path, fragment)| Some(both(schema, at(path, fragment.clone()))));
        expected.assert_eq(&schema.unwrap_or_default().to_string());
    }

    #[test]
    fn what_is_said_of_several_places_is_one_schema() {
        let path = [Into::Key("user".into()), Into::Key("name".into())];
        check(
            &[
                (&path[..1], json!({})),
                (&path, json!({ "type": "string" })),
                (&path, json!({ "minLength": 1 })),
            ],
            expect![[
                r#"{"properties":{"user":{"properties":{"name":{"minLength":1,"type":"string"}},"required":["name"],"type":"object"}},"required":["user"],"type":"object"}"#
            ]],
        );
        check(
            &[(&[Into::Index(1), Into::Key("name".into())], json!({ "const": 1 }))],
            expect![[
                r#"{"minItems":2,"prefixItems":[{},{"properties":{"name":{"const":1}},"required":["name"],"type":"object"}],"type":"array"}"#
            ]],
        );
    }

    #[test]
    fn two_that_contradict_each_other_both_hold() {
        check(
            &[(&[], json!({ "const": 1 })), (&[], json!({ "const": 2 }))],
            expect![[r#"{"allOf":[{"const":2}],"const":1}"#]],
        );
    }

    #[test]
    fn every_key_has_a_path_that_a_policy_reads() {
        let check = |key: &str, expected: &str| {
            let path = path(&[Into::Key(key.to_owned()), Into::Index(3)]).unwrap();
            assert_eq!(path, expected);
            let json = json!({ key: [0, 1, 2, "there"] });
            let read = policies::plan::JsonPath::new(&path).unwrap();
            assert_eq!(read.text_in(&json).as_deref(), Some("there"), "{path}");
        };
        check("name_1", "$.name_1[3]");
        check("größe", "$.größe[3]");
        check("1a", "$['1a'][3]");
        check("a-b", "$['a-b'][3]");
        check("a.b[c]", "$['a.b[c]'][3]");
        check(r"it's \", r"$['it\'s \\'][3]");
        check("", "$[''][3]");
    }
}
