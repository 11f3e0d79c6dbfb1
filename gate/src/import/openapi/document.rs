//! An OpenAPI document: JSON or YAML, its references, and schemas with nothing outside them.

use serde_json::{Map, Value, json};

/// Nodes of a document in YAML; the largest public ones have about a million.
const NODES_MAX: usize = 4_000_000;
/// Levels of a document.
const DEPTH_MAX: usize = 120;
/// Anchors and aliases: written by hand, documents use a few; more repeat a lot from little.
const ALIASES_MAX: usize = 1_000;
/// References that lead to references.
const REFERENCES_MAX: usize = 16;
/// Levels of a schema with its references written out.
const SCHEMA_DEPTH_MAX: usize = 24;
/// Nodes of such a schema: what has more would not fit a policy.
const SCHEMA_NODES_MAX: usize = 2_000;

/// A document.
#[derive(Debug)]
pub(super) struct Api {
    pub(super) root: Value,
    /// Since 3.1 schemas are JSON Schema as it is.
    plain_schemas: bool,
}

/// Reads JSON or YAML.
pub(super) fn load(text: &str) -> Result<Value, Vec<String>> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| vec![format!("not JSON: {error}")]);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: NODES_MAX,
            max_events: NODES_MAX * 2,
            max_depth: DEPTH_MAX,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_documents: 1,
        },
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let place =
            error.location().map(|at| format!("line {}, column {}: ", at.line(), at.column()));
        let error = error.without_snippet().to_string();
        let first = error.lines().next().unwrap_or_default();
        vec![format!("{}not YAML: {first}", place.unwrap_or_default())]
    })
}

impl Api {
    pub(super) fn new(root: Value) -> Result<Self, Vec<String>> {
        let text = |key: &str| root.get(key).map(super::example::text);
        if let Some(version) = text("swagger") {
            return Err(vec![format!(
                "Swagger {version}: only OpenAPI 3.0 and 3.1 are read; converters to 3.0 exist"
            )]);
        }
        let mut mistakes = Vec::new();
        let version = text("openapi").unwrap_or_default();
        let plain_schemas = match version.split('.').collect::<Vec<_>>().as_slice() {
            ["3", "0", ..] => false,
            ["3", ..] => true,
            _ if version.is_empty() => {
                mistakes.push("no OpenAPI document: it has no `openapi`".to_owned());
                false
            }
            _ => {
                mistakes.push(format!("openapi: version {version}; 3.0 and 3.1 are read"));
                false
            }
        };
        if !root.get("paths").is_some_and(Value::is_object) {
            mistakes.push("paths: it has none".to_owned());
        }
        if mistakes.is_empty() { Ok(Self { root, plain_schemas }) } else { Err(mistakes) }
    }

    /// What a reference is of, or the value itself.
    pub(super) fn resolve<'a>(&'a self, value: &'a Value) -> Result<&'a Value, String> {
        let mut value = value;
        for _ in 0..REFERENCES_MAX {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else {
                return Ok(value);
            };
            value = self.referred(reference)?;
        }
        Err("references that lead to references without end".to_owned())
    }

    fn referred(&self, reference: &str) -> Result<&Value, String> {
        let shown = super::super::text::short(reference);
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(format!("`{shown}` is in another file"));
        };
        let found = self.root.pointer(pointer).or_else(|| {
            // A pointer in a URL is percent-encoded.
            self.root.pointer(&decoded(pointer)?)
        });
        found.ok_or_else(|| format!("`{shown}` leads nowhere"))
    }

    /// The path of the first server said closest to the operation, without a slash at its end.
    pub(super) fn base(&self, closest: &[&Value]) -> String {
        let servers = closest.iter().copied().chain([&self.root]);
        let server = servers.into_iter().find_map(|of| of.pointer("/servers/0"));
        let Some(server) = server else { return String::new() };
        let mut url = server.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
        let variables = server.get("variables").and_then(Value::as_object);
        for (name, variable) in variables.into_iter().flatten() {
            let value = variable.get("default").and_then(Value::as_str).unwrap_or_default();
            url = url.replace(&format!("{{{name}}}"), value);
        }
        let path = match url.split_once("://") {
            Some((_, rest)) => rest.split_once('/').map(|(_, path)| path).unwrap_or_default(),
            None if url.starts_with("//") => url
                .trim_start_matches('/')
                .split_once('/')
                .map(|(_, path)| path)
                .unwrap_or_default(),
            None => url.trim_start_matches('/'),
        };
        let path = path.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        if path.is_empty() { String::new() } else { format!("/{path}") }
    }

    /// A schema with its references written out, as JSON Schema.
    pub(super) fn schema(&self, schema: &Value) -> Result<Value, String> {
        let mut nodes = 0;
        self.written_out(schema, &mut Vec::new(), 0, &mut nodes)
    }

    /// What is only ever sent to the service stands in no answer, required or not.
    fn only_answers(&self, fields: &Map<String, Value>, written: &mut Map<String, Value>) {
        let properties = fields.get("properties").and_then(Value::as_object);
        let sent = |name: &Value| {
            let property = properties.and_then(|of| of.get(name.as_str()?));
            let property = property.and_then(|property| self.resolve(property).ok());
            property.is_some_and(|of| of.get("writeOnly") == Some(&Value::Bool(true)))
        };
        if let Some(Value::Array(required)) = written.get_mut("required") {
            required.retain(|name| !sent(name));
        }
    }

    fn written_out<'a>(
        &'a self,
        schema: &'a Value,
        within: &mut Vec<&'a str>,
        deep: usize,
        nodes: &mut usize,
    ) -> Result<Value, String> {
        *nodes += 1;
        if deep > SCHEMA_DEPTH_MAX {
            return Err(format!("nested more than {SCHEMA_DEPTH_MAX} deep"));
        }
        if *nodes > SCHEMA_NODES_MAX {
            return Err(format!("more than {SCHEMA_NODES_MAX} values with its references"));
        }
        let Value::Object(fields) = schema else { return Ok(schema.clone()) };
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            if within.contains(&reference) || within.len() > REFERENCES_MAX {
                return Err(format!("`{}` refers to itself", super::super::text::short(reference)));
            }
            within.push(reference);
            let found = self.written_out(self.referred(reference)?, within, deep, nodes);
            within.pop();
            return found;
        }
        let mut written = Map::new();
        for (keyword, value) in fields {
            let value = match (keyword.as_str(), value) {
                _ if is_annotation(keyword) => continue,
                (
                    "properties" | "patternProperties" | "$defs" | "definitions"
                    | "dependentSchemas",
                    Value::Object(of),
                ) => {
                    let mut inner = Map::new();
                    for (key, value) in of {
                        inner
                            .insert(key.clone(), self.written_out(value, within, deep + 1, nodes)?);
                    }
                    Value::Object(inner)
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(of)) => {
                    let inner = of.iter().map(|one| self.written_out(one, within, deep + 1, nodes));
                    Value::Array(inner.collect::<Result<Vec<_>, _>>()?)
                }
                (
                    "items"
                    | "additionalProperties"
                    | "not"
                    | "contains"
                    | "if"
                    | "then"
                    | "else"
                    | "propertyNames"
                    | "unevaluatedProperties"
                    | "unevaluatedItems",
                    value,
                ) => self.written_out(value, within, deep + 1, nodes)?,
                (_, value) => value.clone(),
            };
            written.insert(keyword.clone(), value);
        }
        self.only_answers(fields, &mut written);
        Ok(if self.plain_schemas { Value::Object(written) } else { before_3_1(written) })
    }
}

/// Keywords that say nothing of whether an answer is good. `format` is none to JSON Schema, and those of
/// OpenAPI are not its own.
fn is_annotation(keyword: &str) -> bool {
    let known = [
        "title",
        "description",
        "example",
        "examples",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
        "xml",
        "externalDocs",
        "discriminator",
        "format",
        "$comment",
        "contentMediaType",
        "contentEncoding",
    ];
    known.contains(&keyword) || keyword.starts_with("x-")
}

/// What 3.0 says in its own way: `nullable`, and limits that are excluded by a flag.
fn before_3_1(mut schema: Map<String, Value>) -> Value {
    for (flag, limit) in [("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")] {
        if let Some(Value::Bool(excluded)) = schema.get(flag).cloned() {
            schema.remove(flag);
            if let (true, Some(value)) = (excluded, schema.remove(limit)) {
                schema.insert(flag.to_owned(), value);
            }
        }
    }
    if schema.remove("nullable") != Some(Value::Bool(true)) {
        return Value::Object(schema);
    }
    if schema.contains_key("enum") || !schema.contains_key("type") {
        if schema.is_empty() {
            return json!({});
        }
        return json!({ "anyOf": [{ "type": "null" }, schema] });
    }
    if let Some(kind) = schema.get("type").cloned() {
        schema.insert("type".to_owned(), json!([kind, "null"]));
    }
    Value::Object(schema)
}

/// A pointer without percent-encoding.
fn decoded(pointer: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(pointer.len());
    let mut rest = pointer.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        if *first == b'%' {
            let hex = std::str::from_utf8(more.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(hex, 16).ok()?);
            rest = more.get(2..)?;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}
