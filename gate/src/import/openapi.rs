//! The safe operations (GET and HEAD) of an OpenAPI document, 3.0 or 3.1, with its own examples.
//!
//! Operations do not depend on each other: each becomes a scenario of one step while there are few
//! enough, else those of one tag share a scenario. Optional parameters are not sent.

mod document;
mod example;
#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::document::{Document, Header, Step};
use super::fit::grouped;
use super::text::{Part, encode, is_gates_own, is_secret, literal, no_secret_in, short};
use document::{Api, load};
use example::{example, spelled};

/// Operations of a document; the largest public ones have some thousands.
const OPERATIONS_MAX: usize = 20_000;
/// Methods that must not change anything (RFC 9110, section 9.2.1) and that a policy's request can have
/// without a body; OPTIONS and TRACE say nothing of a release.
const SAFE: [&str; 2] = ["get", "head"];
const OTHERS: [&str; 6] = ["put", "post", "delete", "options", "patch", "trace"];

pub(super) fn read(text: &str) -> Result<Document, Vec<String>> {
    let api = Api::new(load(text)?)?;
    let mut document = Document::default();
    let mut steps = Vec::new();
    let mut operations = 0_usize;
    for (path, item) in api.root.get("paths").and_then(Value::as_object).into_iter().flatten() {
        if !path.starts_with('/') {
            continue;
        }
        let item = match api.resolve(item) {
            Ok(item) => item,
            Err(reason) => {
                document.leave_out(path, reason);
                continue;
            }
        };
        for method in SAFE.iter().chain(&OTHERS) {
            let Some(operation) = item.get(*method).filter(|of| of.is_object()) else { continue };
            let described = api.resolve(operation);
            operations += 1;
            if operations > OPERATIONS_MAX {
                return Err(vec![format!("more than {OPERATIONS_MAX} operations")]);
            }
            let place = format!("{} {path}", method.to_ascii_uppercase());
            if OTHERS.contains(method) {
                document.leave_out(
                    &place,
                    "not a safe method: an example of it could change something",
                );
                continue;
            }
            let operation = match described {
                Ok(operation) => operation,
                Err(reason) => {
                    document.leave_out(&place, reason);
                    continue;
                }
            };
            let asked = Asked { api: &api, path, item, method, operation, place: &place };
            match asked.step(&mut document) {
                Ok(step) => {
                    let tag = operation.pointer("/tags/0").and_then(Value::as_str);
                    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
                    steps.push((tag.unwrap_or(first).to_owned(), step));
                }
                Err(reason) => document.leave_out(&place, reason),
            }
        }
    }
    let hooks = api.root.get("webhooks").and_then(Value::as_object).into_iter().flatten();
    for (name, _) in hooks {
        document.leave_out(&format!("webhook {}", short(name)), "the service sends it");
    }
    document.scenarios = grouped(steps);
    Ok(document)
}

/// One operation, and where it stands.
struct Asked<'a> {
    api: &'a Api,
    path: &'a str,
    item: &'a Value,
    method: &'a str,
    operation: &'a Value,
    place: &'a str,
}

impl Asked<'_> {
    fn step(&self, document: &mut Document) -> Result<Step, String> {
        let operation = self.operation;
        let named = operation.get("operationId").and_then(Value::as_str);
        let mut step = Step {
            name: named.map_or_else(|| self.place.to_owned(), str::to_owned),
            place: self.place.to_owned(),
            method: self.method.to_ascii_uppercase(),
            ..Step::default()
        };
        let mut path = self.path.to_owned();
        let mut query = Vec::new();
        for parameter in self.parameters()? {
            let name = parameter.get("name").and_then(Value::as_str).unwrap_or_default();
            let within = parameter.get("in").and_then(Value::as_str).unwrap_or_default();
            let required = parameter.get("required") == Some(&Value::Bool(true));
            if !required && within != "path" {
                continue;
            }
            let secret = within == "header" && is_secret(name);
            let found = example(self.api, &parameter);
            let missing = || format!("its {within} parameter `{}` has no example", short(name));
            match within {
                "path" => {
                    let value = found.ok_or_else(missing)?;
                    let value = spelled(&value, ",").ok_or_else(missing)?;
                    if value.is_empty() {
                        return Err(missing());
                    }
                    path = path.replace(&format!("{{{name}}}"), &encode(&value, Part::Value));
                }
                "query" => {
                    let value = found.ok_or_else(missing)?;
                    query.extend(pairs(name, &value, &parameter).ok_or_else(missing)?);
                }
                "header" if is_gates_own(name) => {}
                "header" if secret => Self::secret(name, "", &mut step),
                "header" => {
                    let value = found.and_then(|value| spelled(&value, ",")).ok_or_else(missing)?;
                    step.headers.push((name.to_ascii_lowercase(), Header::Text(literal(&value))));
                }
                _ => {
                    return Err(format!(
                        "its {within} parameter `{}` has no counterpart",
                        short(name)
                    ));
                }
            }
        }
        if let Some(open) = path.find('{') {
            let rest = path.get(open..).unwrap_or_default();
            let end = rest.find('}').map_or(rest.len(), |end| end + 1);
            let name = rest.get(..end).unwrap_or_default();
            return Err(format!("`{}` of its path is no parameter of it", short(name)));
        }
        self.security(&mut step)?;
        let query = query.join("&");
        no_secret_in(&query)?;
        let mark = if query.is_empty() { "" } else { "?" };
        let base = self.api.base(&[self.operation, self.item]);
        let path = format!("{base}{path}");
        step.path = format!("{}{mark}{}", encode(&path, Part::Path), query);
        self.expect(&mut step, document)?;
        Ok(step)
    }

    /// Those of the path and of the operation; one of the operation stands in place of the path's.
    fn parameters(&self) -> Result<Vec<Value>, String> {
        let mut all: Vec<Value> = Vec::new();
        for of in [self.item, self.operation] {
            for parameter in of.get("parameters").and_then(Value::as_array).into_iter().flatten() {
                let parameter = self.api.resolve(parameter)?;
                let same = |other: &Value| {
                    other.get("name") == parameter.get("name")
                        && other.get("in") == parameter.get("in")
                };
                all.retain(|other| !same(other));
                all.push(parameter.clone());
            }
        }
        Ok(all)
    }

    fn secret(name: &str, prefix: &'static str, step: &mut Step) {
        let name = name.to_ascii_lowercase();
        let value = Header::secret(&name, prefix);
        step.headers.retain(|(other, _)| *other != name);
        step.headers.push((name, value));
    }

    /// The first way in that a request can carry.
    fn security(&self, step: &mut Step) -> Result<(), String> {
        let asked = self.operation.get("security").or_else(|| self.api.root.get("security"));
        let ways = asked.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let open = |way: &Value| way.as_object().is_none_or(Map::is_empty);
        if ways.is_empty() || ways.iter().any(open) {
            return Ok(());
        }
        let mut why = String::new();
        for way in ways.iter().filter_map(Value::as_object) {
            let headers: Result<Vec<_>, String> =
                way.keys().map(|name| self.scheme(name)).collect();
            match headers {
                Ok(headers) => {
                    for (name, prefix) in headers {
                        Self::secret(&name, prefix, step);
                    }
                    return Ok(());
                }
                Err(reason) => why = reason,
            }
        }
        Err(why)
    }

    /// The header of a security scheme, and the word before the secret.
    fn scheme(&self, name: &str) -> Result<(String, &'static str), String> {
        let schemes = self.api.root.pointer("/components/securitySchemes");
        let scheme = schemes.and_then(|schemes| schemes.get(name));
        let scheme =
            scheme.ok_or_else(|| format!("its security `{}` is not described", short(name)))?;
        let scheme = self.api.resolve(scheme)?;
        let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
        match (text("type"), text("scheme").to_ascii_lowercase().as_str(), text("in")) {
            ("http", "basic", _) => Ok(("authorization".to_owned(), "Basic ")),
            ("http", "bearer", _) | ("oauth2" | "openIdConnect", ..) => {
                Ok(("authorization".to_owned(), "Bearer "))
            }
            ("apiKey", _, "header") => Ok((text("name").to_owned(), "")),
            (kind, _, within) => Err(format!(
                "its security `{}` ({} {}) has no counterpart",
                short(name),
                short(kind),
                short(within)
            )),
        }
    }

    /// The status of success, and the schema of its JSON.
    fn expect(&self, step: &mut Step, document: &mut Document) -> Result<(), String> {
        let none = Map::new();
        let responses = self.operation.get("responses").and_then(Value::as_object).unwrap_or(&none);
        let good = |class: char| {
            let of_class = responses.iter().filter(move |(status, _)| status.starts_with(class));
            of_class.min_by_key(|(status, _)| status.as_str())
        };
        let found = good('2').or_else(|| good('3'));
        let found = found.or_else(|| responses.iter().find(|(status, _)| *status == "default"));
        let Some((status, response)) = found else {
            return Err("no answer of it is a success".to_owned());
        };
        step.expect.status = match status.as_str() {
            "default" => vec!["2xx".to_owned()],
            status => vec![status.to_ascii_lowercase()],
        };
        let response = match self.api.resolve(response) {
            Ok(response) => response,
            Err(reason) => {
                document.leave_out(self.place, format!("its answer: {reason}"));
                return Ok(());
            }
        };
        let content = response.get("content").and_then(Value::as_object).unwrap_or(&none);
        let is_json = |kind: &&String| {
            let kind = kind.split(';').next().unwrap_or_default().trim();
            kind == "application/json" || kind.ends_with("+json")
        };
        let Some(kind) = content.keys().find(is_json) else { return Ok(()) };
        if content.len() > 1 && !step.headers.iter().any(|(name, _)| name == "accept") {
            step.headers.push(("accept".to_owned(), Header::Text(kind.clone())));
        }
        if self.method == "head" {
            return Ok(());
        }
        if let Some(schema) = content.get(kind).and_then(|of| of.get("schema")) {
            match self.api.schema(schema) {
                Ok(schema) if schema.as_object().is_some_and(Map::is_empty) => {}
                Ok(schema) => step.expect.json_schema = Some(schema),
                Err(reason) => {
                    document.leave_out(self.place, format!("the schema of its answer: {reason}"));
                }
            }
        }
        Ok(())
    }
}

/// A query parameter as it is sent.
fn pairs(name: &str, value: &Value, parameter: &Value) -> Option<Vec<String>> {
    let pair = |name: &str, value: &str| {
        format!("{}={}", encode(name, Part::Value), encode(value, Part::Value))
    };
    let explode = parameter.get("explode").and_then(Value::as_bool);
    let style = parameter.get("style").and_then(Value::as_str).unwrap_or("form");
    if parameter.get("content").is_some() {
        return Some(vec![pair(name, &value.to_string())]);
    }
    match (value, style) {
        (Value::Array(items), "form") if explode != Some(false) => {
            items.iter().map(|item| Some(pair(name, &spelled(item, ",")?))).collect()
        }
        (Value::Array(_), "form") => Some(vec![pair(name, &spelled(value, ",")?)]),
        (Value::Array(_), "spaceDelimited") => Some(vec![pair(name, &spelled(value, " ")?)]),
        (Value::Array(_), "pipeDelimited") => Some(vec![pair(name, &spelled(value, "|")?)]),
        (Value::Object(fields), "deepObject") => fields
            .iter()
            .map(|(key, value)| Some(pair(&format!("{name}[{key}]"), &spelled(value, ",")?)))
            .collect(),
        (Value::Object(fields), "form") if explode != Some(false) => {
            fields.iter().map(|(key, value)| Some(pair(key, &spelled(value, ",")?))).collect()
        }
        (Value::Object(_), _) => None,
        (value, _) => Some(vec![pair(name, &spelled(value, ",")?)]),
    }
}
