//! A request of a collection as a step: its URL, headers, authorization and body.

use serde_json::Value;

use super::super::Remark;
use super::super::document::{Header, Step};
use super::super::text::{
    Part, encode, is_gates_own, is_secret, literal, no_secret_in, scheme, short, variable,
};
use super::template::{Filled, Piece, Scope, Unfilled, Uses, next};

/// Separates the fields of a form; long enough to stand in none.
const BOUNDARY: &str = "gate-form-5f1c7a0e9d";
/// A request turned into a step, and what was lost or is to be looked at.
#[derive(Debug, Default)]
pub(super) struct Turned {
    pub(super) step: Step,
    /// Scheme, host and port, or the variable that stands for them: the target's own are probed instead.
    pub(super) origin: String,
    pub(super) left_out: Vec<String>,
    pub(super) notes: Vec<String>,
    pub(super) uses: Uses,
    /// Headers whose value was not copied: header, environment variable, and what the file says.
    pub(super) secrets: Vec<(String, String, String)>,
}

/// Turns a request into a step.
///
/// # Errors
/// Why it cannot be one.
pub(super) fn turn(
    request: &Value,
    auth: Option<&Value>,
    scope: &Scope,
    keep_body: bool,
) -> Result<Turned, String> {
    let mut turned = Turned::default();
    let method = request.get("method").and_then(Value::as_str).unwrap_or("GET");
    turned.step.method = method.to_ascii_uppercase();
    if turned.step.method.is_empty()
        || !method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')
    {
        return Err(format!("`{}` is no method", short(method)));
    }
    let url = request.get("url").unwrap_or(request);
    let mut query = turned.url(url, scope)?;
    if let Some(auth) = auth {
        turned.auth(auth, scope, &mut query)?;
    }
    turned.headers(request.get("header"), scope)?;
    if !query.is_empty() {
        turned.step.path.push('?');
        turned.step.path.push_str(&query);
    }
    // Newman sends no body with these unless it is told to.
    let bodiless = ["GET", "HEAD", "COPY", "PURGE", "UNLOCK"];
    let pruned = !keep_body && bodiless.contains(&turned.step.method.as_str());
    let body = request.get("body").filter(|body| body.get("disabled") != Some(&Value::Bool(true)));
    if let Some(body) = body.filter(|_| !pruned) {
        turned.body(body, scope)?;
    }
    Ok(turned)
}

/// `key` and `value` of the enabled entries of a list.
fn pairs(list: Option<&Value>) -> impl Iterator<Item = (&str, String)> {
    let entries = list.and_then(Value::as_array).into_iter().flatten();
    let enabled = entries.filter(|entry| entry.get("disabled") != Some(&Value::Bool(true)));
    enabled.filter_map(|entry| {
        let key = entry.get("key")?.as_str()?;
        Some((key, entry.get("value").map(text).unwrap_or_default()))
    })
}

/// A value as it is filled into a text.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    }
}

/// A URL in one text, disabled parts of its query left away.
fn raw_url(url: &Value) -> String {
    if let Value::String(raw) = url {
        return raw.clone();
    }
    let joined = |key: &str, by: &str| match url.get(key) {
        Some(Value::Array(parts)) => {
            let part = |part: &Value| part.get("value").map_or_else(|| text(part), text);
            Some(parts.iter().map(part).collect::<Vec<_>>().join(by))
        }
        Some(Value::String(text)) => Some(text.trim_start_matches('/').to_owned()),
        _ => None,
    };
    let Some(host) = joined("host", ".") else {
        return url.get("raw").map(text).unwrap_or_default();
    };
    let protocol = url.get("protocol").and_then(Value::as_str);
    let mut raw = protocol.map(|protocol| format!("{protocol}://")).unwrap_or_default();
    raw.push_str(&host);
    if let Some(port) = url.get("port").and_then(Value::as_str).filter(|port| !port.is_empty()) {
        raw.push_str(&format!(":{port}"));
    }
    if let Some(path) = joined("path", "/").filter(|path| !path.is_empty()) {
        raw.push_str(&format!("/{path}"));
    }
    let query: Vec<String> = pairs(url.get("query"))
        .map(
            |(key, value)| if value.is_empty() { key.to_owned() } else { format!("{key}={value}") },
        )
        .collect();
    if !query.is_empty() {
        raw.push_str(&format!("?{}", query.join("&")));
    }
    raw
}

/// Splits at the first of these characters that stands in no `{{variable}}`.
fn split_at<'t>(text: &'t str, any: &[char]) -> (&'t str, &'t str) {
    let mut from = 0;
    loop {
        let rest = text.get(from..).unwrap_or_default();
        let found = rest.find(any).map(|at| from + at).unwrap_or(text.len());
        match next(rest) {
            Some((before, _, after)) if from + before.len() < found => {
                from = text.len() - after.len();
            }
            _ => return text.split_at(found),
        }
    }
}

fn in_clear(variable: &str) -> String {
    format!("the variable `{}` is secret, and would stand in the policy in clear", short(variable))
}

impl Turned {
    /// Sets origin and path; the query is given back, for an API key may have to go there.
    fn url(&mut self, url: &Value, scope: &Scope) -> Result<String, String> {
        let mut raw = raw_url(url).trim().to_owned();
        // A variable in front may hold the origin and the beginning of the path.
        for _ in 0..4 {
            let Some(("", name, after)) = next(&raw) else { break };
            let Some(super::template::Known::Value(value)) = scope.known.get(name) else { break };
            if value.secret {
                return Err(in_clear(name));
            }
            raw = format!("{}{after}", value.value);
        }
        let (scheme, rest) = raw.split_once("://").unwrap_or(("", &raw));
        let (origin, rest) = split_at(rest, &['/', '?', '#']);
        if origin.is_empty() {
            return Err("it has no URL".to_owned());
        }
        if let Some(("", name, "")) = next(origin).filter(|_| rest.is_empty()) {
            return Err(Unfilled::Unknown(name.to_owned()).reason());
        }
        if origin.contains('@') {
            return Err("its URL holds a user or a password, which would stand in clear".to_owned());
        }
        if !["", "http", "https"].contains(&scheme) {
            return Err(format!("`{}` is not HTTP", short(scheme)));
        }
        self.origin = origin.to_owned();
        let (rest, _fragment) = split_at(rest, &['#']);
        let (path, query) = split_at(rest, &['?']);
        let mut written = String::new();
        for segment in path.trim_start_matches('/').split('/') {
            let value = segment.strip_prefix(':').map(|name| {
                let known = pairs(url.get("variable")).find(|(key, _)| *key == name);
                let value = known.map(|(_, value)| value).filter(|value| !value.is_empty());
                value.ok_or_else(|| format!("its path variable `:{}` has no value", short(name)))
            });
            let (segment, part) = match value {
                Some(value) => (value?, Part::Value),
                None => (segment.to_owned(), Part::Path),
            };
            let filled = self.fill(&segment, scope)?;
            written.push('/');
            written.push_str(&filled.url(part));
        }
        self.step.path = written;
        let filled = self.fill(query.strip_prefix('?').unwrap_or(query), scope)?;
        let query = filled.url(Part::Query);
        no_secret_in(&query)?;
        Ok(query)
    }

    /// Fills a text that must not hold a secret.
    fn fill(&mut self, raw: &str, scope: &Scope) -> Result<Filled, String> {
        let filled = scope.fill(raw, &mut self.uses).map_err(|unfilled| unfilled.reason())?;
        match filled.secret() {
            Some(name) => Err(in_clear(name)),
            None => Ok(filled),
        }
    }

    fn headers(&mut self, list: Option<&Value>, scope: &Scope) -> Result<(), String> {
        let lines = match list {
            Some(Value::String(lines)) => lines
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
                .collect(),
            list => pairs(list).map(|(name, value)| (name.to_owned(), value)).collect::<Vec<_>>(),
        };
        for (name, value) in lines {
            let name = self.fill(name.trim(), scope)?.text();
            if name.is_empty() {
                continue;
            }
            if self.step.headers.iter().any(|(other, _)| *other == name.to_ascii_lowercase()) {
                // Authorization said twice: Newman sends the request's own setting.
                continue;
            }
            if is_gates_own(&name) {
                self.left_out.push(format!("its header `{}`: gate sets it", short(&name)));
            } else {
                self.header(&name, &value, is_secret(&name), scope)?;
            }
        }
        Ok(())
    }

    /// Adds a header in place of one of the same name. What lets somebody in becomes a reference.
    fn header(&mut self, name: &str, raw: &str, secret: bool, scope: &Scope) -> Result<(), String> {
        let name = name.to_ascii_lowercase();
        let value = match scope.fill(raw, &mut self.uses) {
            Ok(filled) => match filled.secret() {
                Some(of) => self.reference(&name, raw, variable(&[of])),
                // What a step before has taken is no secret of this file.
                None if secret && filled.plain().is_some_and(|plain| !plain.trim().is_empty()) => {
                    self.reference(&name, raw, variable(&[&name]))
                }
                None => Header::Text(filled.text()),
            },
            Err(Unfilled::Unknown(of)) if secret => self.reference(&name, raw, variable(&[&of])),
            Err(unfilled) => return Err(unfilled.reason()),
        };
        self.step.headers.push((name, value));
        Ok(())
    }

    fn reference(&mut self, header: &str, raw: &str, variable: String) -> Header {
        let prefix = scheme(raw);
        self.secrets.push((header.to_owned(), variable.clone(), raw.to_owned()));
        Header::Secret { variable, prefix }
    }

    fn auth(&mut self, auth: &Value, scope: &Scope, query: &mut String) -> Result<(), String> {
        let kind = auth.get("type").and_then(Value::as_str).unwrap_or("noauth");
        // A list since v2.1, an object before.
        let value = |key: &str| match auth.get(kind) {
            Some(list @ Value::Array(_)) => {
                pairs(Some(list)).find(|(name, _)| *name == key).map(|(_, value)| value)
            }
            Some(Value::Object(of)) => of.get(key).map(text),
            _ => None,
        };
        match kind {
            "noauth" => Ok(()),
            "bearer" => {
                let token = value("token").unwrap_or_default();
                self.header("authorization", &format!("Bearer {token}"), true, scope)
            }
            "oauth2" => {
                let token = value("accessToken").unwrap_or_default();
                self.header("authorization", &format!("Bearer {token}"), true, scope)
            }
            "basic" => {
                let raw = format!(
                    "{}:{}",
                    value("username").unwrap_or_default(),
                    value("password").unwrap_or_default()
                );
                let taken = scope.fill(&raw, &mut self.uses);
                if taken.is_ok_and(|of| of.0.iter().any(|piece| matches!(piece, Piece::Value(_)))) {
                    let reason = "its user or password is taken from an answer, and Basic authorization has to encode it";
                    return Err(reason.to_owned());
                }
                let variable = variable(&["basic", "authorization"]);
                let header = self.reference("authorization", &format!("Basic {raw}"), variable);
                self.step.headers.push(("authorization".to_owned(), header));
                Ok(())
            }
            "apikey" => {
                let key = value("key").unwrap_or_default();
                let of = value("value").unwrap_or_default();
                if value("in").as_deref() != Some("query") {
                    let key = self.fill(&key, scope)?.text();
                    return self.header(&key, &of, true, scope);
                }
                let filled = self.fill(&of, scope)?;
                if filled.plain().is_some() {
                    let reason =
                        "its API key is in the query, where it would stand in the policy in clear";
                    return Err(reason.to_owned());
                }
                let and = if query.is_empty() { "" } else { "&" };
                let name = encode(&key, Part::Value);
                query.push_str(&format!("{and}{name}={}", filled.url(Part::Value)));
                Ok(())
            }
            other => Err(format!("its authorization `{}` has no counterpart", short(other))),
        }
    }

    /// Sets the type of the body unless the request says it.
    fn content_type(&mut self, value: &str) {
        if !self.step.headers.iter().any(|(name, _)| name == "content-type") {
            let value = Header::Text(value.to_owned());
            self.step.headers.push(("content-type".to_owned(), value));
        }
    }

    fn body(&mut self, body: &Value, scope: &Scope) -> Result<(), String> {
        let mode = body.get("mode").and_then(Value::as_str).unwrap_or("raw");
        let written = match mode {
            "raw" => {
                let raw = body.get("raw").map(text).unwrap_or_default();
                let filled = self.fill(&raw, scope)?.text();
                let language = body.pointer("/options/raw/language").and_then(Value::as_str);
                let kind = match language {
                    _ if filled.is_empty() => None,
                    Some("json") => Some("application/json"),
                    Some("xml") => Some("application/xml"),
                    Some("html") => Some("text/html"),
                    Some("javascript") => Some("application/javascript"),
                    _ => Some("text/plain"),
                };
                if let Some(kind) = kind {
                    self.content_type(kind);
                }
                filled
            }
            "urlencoded" => {
                let mut fields = Vec::new();
                for (key, value) in pairs(body.get("urlencoded")) {
                    let (key, value) = (self.fill(key, scope)?, self.fill(&value, scope)?);
                    fields.push(format!("{}={}", key.url(Part::Value), value.url(Part::Value)));
                }
                if !fields.is_empty() {
                    self.content_type("application/x-www-form-urlencoded");
                }
                fields.join("&")
            }
            "formdata" => self.form(body.get("formdata"), scope)?,
            "graphql" => {
                let of = |key: &str| body.pointer(&format!("/graphql/{key}")).map(text);
                let query = of("query").unwrap_or_default();
                let variables = of("variables").unwrap_or_default();
                let variables =
                    if variables.trim().is_empty() { "{}".to_owned() } else { variables };
                let json = format!(r#"{{"query":{},"variables":{variables}}}"#, Value::from(query));
                self.content_type("application/json");
                self.fill(&json, scope)?.text()
            }
            "file" => return Err("its body is a file".to_owned()),
            other => return Err(format!("its body is `{}`", short(other))),
        };
        let lower = written.to_ascii_lowercase();
        if ["password", "client_secret", "\"secret\""].iter().any(|word| lower.contains(word)) {
            self.notes.push("its body holds what looks like a password, in clear".to_owned());
        }
        self.step.body = Some(written).filter(|body| !body.is_empty());
        Ok(())
    }

    fn form(&mut self, fields: Option<&Value>, scope: &Scope) -> Result<String, String> {
        let list = fields.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let sent = |field: &&Value| field.get("disabled") != Some(&Value::Bool(true));
        if list
            .iter()
            .filter(sent)
            .any(|field| field.get("type").and_then(Value::as_str) == Some("file"))
        {
            return Err("its form uploads a file".to_owned());
        }
        let mut body = String::new();
        for (key, value) in pairs(fields) {
            let (key, value) = (self.fill(key, scope)?.text(), self.fill(&value, scope)?.text());
            let key = key.replace('"', "%22");
            body.push_str(&format!(
                "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{key}\"\r\n\r\n{value}\r\n"
            ));
        }
        if !body.is_empty() {
            body.push_str(&format!("--{BOUNDARY}--\r\n"));
            // What the request says of its type has another boundary.
            self.step.headers.retain(|(name, _)| name != "content-type");
            self.content_type(&literal(&format!("multipart/form-data; boundary={BOUNDARY}")));
        }
        Ok(body)
    }
}

/// What was said of a request, each with its place.
pub(super) fn remarks(place: &str, reasons: Vec<String>) -> impl Iterator<Item = Remark> {
    reasons.into_iter().map(move |reason| Remark { place: place.to_owned(), reason })
}
