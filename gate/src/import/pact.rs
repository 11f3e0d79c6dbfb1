//! The HTTP interactions of a Pact file (v1 to v4).
//!
//! Interactions do not depend on each other: each becomes a scenario of one step while there are few
//! enough, else those of one provider state share a scenario. The state itself is not made by gate.

mod body;
mod rules;
#[cfg(test)]
mod tests;

use serde_json::Value;

use super::document::{Document, Expect, Header, Is, Step};
use super::fit::grouped;
use super::text::{Part, encode, escape, is_gates_own, is_secret, literal, no_secret_in, short};
use rules::{At, Rule, best, kind, rules};

/// Interactions of a file; far above what a policy holds, so that each can be listed.
const INTERACTIONS_MAX: usize = 10_000;

pub(super) fn read(text: &str) -> Result<Document, Vec<String>> {
    let pact: Value =
        serde_json::from_str(text).map_err(|error| vec![format!("not JSON: {error}")])?;
    let mut document = Document::default();
    for message in pact.get("messages").and_then(Value::as_array).into_iter().flatten() {
        let place = format!("message `{}`", described(message));
        document.leave_out(&place, "a message, and no HTTP request");
    }
    let Some(interactions) = pact.get("interactions").and_then(Value::as_array) else {
        let mistake = if document.left_out.is_empty() {
            "no Pact: it has no list `interactions`"
        } else {
            "it holds messages alone, and no HTTP requests"
        };
        return Err(vec![mistake.to_owned()]);
    };
    if interactions.len() > INTERACTIONS_MAX {
        return Err(vec![format!("more than {INTERACTIONS_MAX} interactions")]);
    }
    let version = version(&pact);
    let mut steps = Vec::new();
    let mut places: Vec<String> = Vec::new();
    for (number, interaction) in interactions.iter().enumerate() {
        let mut place = format!("interaction `{}`", described(interaction));
        if places.contains(&place) {
            place.push_str(&format!(" (number {})", number + 1));
        }
        places.push(place.clone());
        let kind = interaction.get("type").and_then(Value::as_str).unwrap_or("Synchronous/HTTP");
        if kind != "Synchronous/HTTP" {
            document.leave_out(&place, format!("`{}`, and no HTTP request", short(kind)));
            continue;
        }
        let states = states(interaction);
        match step(interaction, &place, version, &mut document) {
            Ok(step) => {
                for state in &states {
                    let reason = format!(
                        "needs the provider state {state}: the target must have it already"
                    );
                    document.leave_out(&place, reason);
                }
                steps.push((
                    states.first().cloned().unwrap_or_else(|| "any state".to_owned()),
                    step,
                ));
            }
            Err(reason) => document.leave_out(&place, reason),
        }
    }
    document.scenarios = grouped(steps);
    Ok(document)
}

fn described(interaction: &Value) -> String {
    let text = interaction.get("description").and_then(Value::as_str);
    text.map_or_else(|| "without a description".to_owned(), short)
}

/// The major version of the specification; what is not said is 2, as readers of Pact take it.
fn version(pact: &Value) -> u64 {
    let places = [
        "/metadata/pactSpecification/version",
        "/metadata/pact-specification/version",
        "/metadata/pactSpecificationVersion",
        "/metaData/pactSpecification/version",
    ];
    let said = places.iter().find_map(|place| pact.pointer(place)?.as_str());
    said.and_then(|version| version.split('.').next()?.parse().ok()).unwrap_or(2)
}

fn states(interaction: &Value) -> Vec<String> {
    let old = interaction.get("providerState").or_else(|| interaction.get("provider_state"));
    if let Some(state) = old.and_then(Value::as_str) {
        return vec![format!("`{}`", short(state))];
    }
    let states = interaction.get("providerStates").and_then(Value::as_array);
    let state = |state: &Value| {
        let name = state.get("name").and_then(Value::as_str).map(short).unwrap_or_default();
        match state
            .get("params")
            .filter(|params| params.as_object().is_some_and(|of| !of.is_empty()))
        {
            Some(params) => format!("`{name}` with {}", short(&params.to_string())),
            None => format!("`{name}`"),
        }
    };
    states.into_iter().flatten().map(state).collect()
}

/// The content of a body; before version 4 it stands there as it is.
fn content(of: &Value, version: u64) -> Result<Option<&Value>, &'static str> {
    let Some(body) = of.get("body").filter(|body| !body.is_null()) else { return Ok(None) };
    let wrapped = version >= 4 && body.get("content").is_some();
    if !wrapped {
        let empty = version >= 4 && body.as_object().is_some_and(serde_json::Map::is_empty);
        return Ok((!empty).then_some(body));
    }
    match body.get("encoded") {
        None | Some(Value::Bool(false) | Value::Null) => Ok(body.get("content")),
        Some(Value::String(how)) if how.eq_ignore_ascii_case("json") => Ok(body.get("content")),
        Some(_) => Err("binary"),
    }
}

/// Name and value of each header; several values are joined as HTTP joins them.
fn headers(of: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let headers = of.get("headers").and_then(Value::as_object).into_iter().flatten();
    headers
        .map(|(name, value)| {
            let value = match value.as_array() {
                Some(values) => values.iter().map(text).collect::<Vec<_>>().join(", "),
                None => text(value),
            };
            (name.to_ascii_lowercase(), value)
        })
        .collect()
}

fn query(of: &Value) -> String {
    match of.get("query") {
        Some(Value::String(query)) => encode(query, Part::Query),
        Some(Value::Object(fields)) => {
            let mut written = Vec::new();
            for (name, values) in fields {
                let one = std::slice::from_ref(values);
                let values = values.as_array().map_or(one, Vec::as_slice);
                for value in values {
                    let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    let (name, value) = (encode(name, Part::Value), encode(&value, Part::Value));
                    written.push(format!("{name}={value}"));
                }
            }
            written.join("&")
        }
        _ => String::new(),
    }
}

fn step(
    interaction: &Value,
    place: &str,
    version: u64,
    document: &mut Document,
) -> Result<Step, String> {
    let request = interaction.get("request").ok_or("it has no `request`")?;
    let response = interaction.get("response").ok_or("it has no `response`")?;
    let path = request.get("path").and_then(Value::as_str).unwrap_or("/");
    let path = encode(path, Part::Path);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let query = query(request);
    no_secret_in(&query)?;
    let mark = if query.is_empty() { "" } else { "?" };
    let mut step = Step {
        name: described(interaction),
        place: place.to_owned(),
        method: request.get("method").and_then(Value::as_str).unwrap_or("GET").to_ascii_uppercase(),
        path: format!("{slash}{path}{mark}{query}"),
        ..Step::default()
    };
    for (name, value) in headers(request) {
        if is_gates_own(&name) {
            document.leave_out(place, format!("its header `{}`: gate sets it", short(&name)));
        } else if is_secret(&name) {
            let value = Header::secret(&name, &value);
            step.headers.push((name, value));
        } else {
            step.headers.push((name, Header::Text(literal(&value))));
        }
    }
    let typed = step.headers.iter().any(|(name, _)| name == "content-type");
    step.body = match content(request, version) {
        Ok(None) => None,
        Ok(Some(Value::String(_))) if is_binary(request) => {
            return Err("its body is binary".to_owned());
        }
        Ok(Some(Value::String(text))) if !is_json(request) => Some(literal(text)),
        Ok(Some(json)) => {
            if !typed {
                let json = Header::Text("application/json".to_owned());
                step.headers.push(("content-type".to_owned(), json));
            }
            Some(literal(&json.to_string()))
        }
        Err(why) => return Err(format!("its body is {why}")),
    };
    if request.get("generators").and_then(Value::as_object).is_some_and(|of| !of.is_empty()) {
        document.leave_out(place, "generators of its request: the example is sent");
    }
    step.expect = expect(response, place, version, document);
    Ok(step)
}

/// Whether headers or the body say that it is JSON, or nothing says what it is.
fn is_json(of: &Value) -> bool {
    let said = headers(of).into_iter().find(|(name, _)| name == "content-type");
    let said = said.map(|(_, value)| value);
    let said = said.or_else(|| of.pointer("/body/contentType")?.as_str().map(str::to_owned));
    said.is_some_and(|kind| kind.to_ascii_lowercase().contains("json"))
}

/// Whether its headers say what before version 4 is written down as Base64.
fn is_binary(of: &Value) -> bool {
    let binary = [
        "multipart/",
        "image/",
        "audio/",
        "video/",
        "octet-stream",
        "/pdf",
        "/zip",
        "/gzip",
        "protobuf",
    ];
    let said = headers(of).into_iter().find(|(name, _)| name == "content-type");
    said.is_some_and(|(_, kind)| binary.iter().any(|part| kind.to_ascii_lowercase().contains(part)))
}

fn expect(response: &Value, place: &str, version: u64, document: &mut Document) -> Expect {
    let mut expect = Expect::default();
    let status_rule = rules(response, "status");
    let class = status_rule.iter().flat_map(|rule| &rule.matchers).find_map(|matcher| {
        let status = matcher.get("status")?;
        if let Some(list) = status.as_array() {
            return Some(list.iter().map(Value::to_string).collect::<Vec<_>>());
        }
        let class = status.as_str()?;
        let classes = match class {
            "info" => "1xx",
            "success" => "2xx",
            "redirect" => "3xx",
            "clientError" => "4xx",
            "serverError" => "5xx",
            "nonError" => return Some(vec!["1xx".to_owned(), "2xx".to_owned(), "3xx".to_owned()]),
            "error" => return Some(vec!["4xx".to_owned(), "5xx".to_owned()]),
            _ => return None,
        };
        Some(vec![classes.to_owned()])
    });
    let status = response.get("status").and_then(Value::as_u64).unwrap_or(200);
    expect.status = class.unwrap_or_else(|| vec![status.to_string()]);
    let header_rules = rules(response, "header");
    for (name, value) in headers(response) {
        match header(&name, &value, &header_rules) {
            Some(is) => expect.headers.push((name, is)),
            None => document.leave_out(
                place,
                format!("its header `{}` of the answer: its rule has no counterpart", short(&name)),
            ),
        }
    }
    match content(response, version) {
        Ok(None) => {}
        Err(why) => document.leave_out(place, format!("the body of its answer: it is {why}")),
        Ok(Some(Value::String(_))) if is_binary(response) => {
            document.leave_out(place, "the body of its answer: it is binary");
        }
        Ok(Some(Value::String(text))) if !is_json(response) => {
            let rules = rules(response, "body");
            match rules.first().and_then(|rule| rule.matchers.first()) {
                None => expect.regex.push(format!(r"\A{}\z", escape(text))),
                Some(matcher) => {
                    match (kind(matcher), matcher.get("regex"), matcher.get("value")) {
                        ("regex", Some(Value::String(regex)), _) => {
                            expect.regex.push(regex.clone());
                        }
                        ("include", _, Some(Value::String(part))) => expect.text.push(part.clone()),
                        ("type" | "notEmpty", ..) => expect.regex.push(r"\S".to_owned()),
                        (other, ..) => document.leave_out(
                            place,
                            format!(
                                "the body of its answer: its rule `{}` has no counterpart",
                                short(other)
                            ),
                        ),
                    }
                }
            }
        }
        Ok(Some(example)) => {
            let found = body::body(example, &rules(response, "body"));
            expect.json = found.json;
            expect.json_schema = found.schema;
            for reason in found.left_out {
                document.leave_out(place, reason);
            }
        }
    }
    expect
}

/// What a header of the answer must be.
fn header(name: &str, value: &str, rules: &[Rule]) -> Option<Is> {
    let Some(rule) = best(rules, &[At::Key(name.to_owned())]) else {
        // Parameters of a type are often in another order or another case: the type itself is meant.
        return Some(match (name, value.split_once(';')) {
            ("content-type", _) => {
                let (kind, parameters) = value.split_once(';').unwrap_or((value, ""));
                let parameters = parameters.split(';').map(str::trim).filter(|one| !one.is_empty());
                let parameters: String =
                    parameters.map(|one| format!(r"\s*;\s*{}", escape(one))).collect();
                Is::Matches(format!("(?i)^{}{parameters}", escape(kind.trim())))
            }
            _ => Is::Equal(Value::from(value)),
        });
    };
    let matcher = rule.matchers.first()?;
    match kind(matcher) {
        "regex" => Some(Is::Matches(matcher.get("regex")?.as_str()?.to_owned())),
        "type" => Some(Is::Present),
        "equality" => Some(Is::Equal(Value::from(value))),
        "include" => Some(Is::Matches(escape(matcher.get("value")?.as_str()?))),
        _ => None,
    }
}
