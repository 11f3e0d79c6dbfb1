//! What one step sends: a request of some protocol, its headers, its secrets.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::{Node, Place, Value};
use super::Faults;
use super::expect;
use super::fields::{self, Fields};
use crate::plan::{
    BODY_MAX_BYTES, BUILT_IN, Body, Call, Expect, Grpc, HeaderValue, Headers, Http, HttpVersion,
    Lambda, Message, OWN_HEADERS, Template, WebSocket,
};
use crate::reference;

/// Characters of a path and its query.
const PATH_MAX: usize = 2048;
/// Characters of a header's value.
const HEADER_MAX: usize = 4096;
/// Redirects that may be followed.
const REDIRECTS_MAX: u8 = 10;
/// The call that asks for a server's health (grpc.health.v1).
const HEALTH_CHECK: &str = "/grpc.health.v1.Health/Check";

/// The protocols a step may speak.
pub(super) const PROTOCOLS: [&str; 6] = ["http", "grpc", "tcp", "tls", "websocket", "lambda"];

/// Reads the call of a probe or a step, of which there is exactly one, and what is expected of it.
pub(super) fn call(
    fields: &Fields<'_>,
    common: &Headers,
    faults: &mut Faults<'_>,
) -> Option<(Call, Expect)> {
    let node = |key: &str| fields.optional(key);
    if let Some(node) = node("http") {
        return http(node, common, faults);
    }
    if let Some(node) = node("grpc") {
        return grpc(node, common, faults);
    }
    if let Some(node) = node("websocket") {
        return websocket(node, common, faults);
    }
    if let Some(node) = node("lambda") {
        return lambda(node, faults);
    }
    if let Some(node) = node("tls") {
        let fields = Fields::of(node, &shape::TLS, faults)?;
        let host = fields.optional("host").and_then(|node| host(node, faults));
        let expect = fields.optional("expect");
        let expect = expect.map(|node| expect::handshake(node, &shape::TLS_EXPECT, faults));
        return Some((Call::Tls { host }, expect.unwrap_or_default()));
    }
    let fields = Fields::of(node("tcp")?, &shape::TCP, faults)?;
    let expect = fields.optional("expect");
    let expect = expect.map(|node| expect::handshake(node, &shape::TCP_EXPECT, faults));
    Some((Call::Tcp, expect.unwrap_or_default()))
}

fn http(node: &Node, common: &Headers, faults: &mut Faults<'_>) -> Option<(Call, Expect)> {
    let fields = Fields::of(node, &shape::HTTP, faults)?;
    let path = fields.optional("path").and_then(|node| path(node, faults));
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].map(|m| (m, m));
    let method = fields.choice("method", &methods, "GET", faults);
    let versions =
        [("1.1", HttpVersion::One), ("2", HttpVersion::Two), ("auto", HttpVersion::Auto)];
    let version = fields.choice("version", &versions, HttpVersion::One, faults);
    let host = fields.optional("host").and_then(|node| host(node, faults));
    let headers = with(common, fields.optional("headers"), faults);
    let body = body(&fields, ["body", "body-file"], faults);
    let redirects = fields.optional("redirects").map_or(0, |node| redirects(node, faults));
    let yes = [("true", true), ("false", false)];
    let compression = fields.choice("compression", &yes, false, faults);
    let expect = expect::http(fields.optional("expect"), faults);
    if method == "HEAD" && (expect.looks_at_body() || expect.size_bytes.0.is_some()) {
        let help = "write `method: GET`, or expect a status and headers alone";
        let place = fields.place_of("expect");
        faults.add(FaultCode::G0008, place, "the answer to `HEAD` has no body", help);
    }
    let method = method.to_owned();
    let path = path?;
    let http = Http { method, path, host, version, headers, body, redirects, compression };
    Some((Call::Http(http), expect))
}

/// What is sent: the text of the first key, or the file of the second.
fn body(fields: &Fields<'_>, [key, file_key]: [&str; 2], faults: &mut Faults<'_>) -> Option<Body> {
    let text = fields.optional(key);
    let file = fields.optional(file_key);
    if let (Some(_), Some(node)) = (text, file) {
        let help = format!("remove one of `{key}` and `{file_key}`");
        let message = if key == "body" { "a request has one body" } else { "an event is one text" };
        faults.add(FaultCode::G0008, &node.place, message, help);
    }
    if let Some(node) = text {
        return template(node, BODY_MAX_BYTES, faults).map(Body::Text);
    }
    let node = file?;
    let text = fields::text(node, faults)?;
    if text.is_empty() {
        let help = "write the path of a file";
        faults.add(FaultCode::G0004, &node.place, format!("`{file_key}` is empty"), help);
        return None;
    }
    Some(Body::File(text))
}

fn redirects(node: &Node, faults: &mut Faults<'_>) -> u8 {
    let text = fields::text(node, faults).unwrap_or_default();
    let parsed = text.parse().ok().filter(|redirects| *redirects <= REDIRECTS_MAX);
    if parsed.is_none() {
        let message = format!("`{text}` is not a number of redirects from 0 to {REDIRECTS_MAX}");
        faults.add(FaultCode::G0004, &node.place, message, "0 is the default: none is followed");
    }
    parsed.unwrap_or(0)
}

fn grpc(node: &Node, common: &Headers, faults: &mut Faults<'_>) -> Option<(Call, Expect)> {
    let fields = Fields::of(node, &shape::GRPC, faults)?;
    let host = fields.optional("host").and_then(|node| host(node, faults));
    let headers = with(common, fields.optional("headers"), faults);
    let expect = expect::grpc(fields.optional("expect"), faults);
    let service = fields.optional("service").and_then(|node| fields::text(node, faults));
    let encoded = fields.optional("message").and_then(|node| {
        let text = fields::text(node, faults)?;
        let bytes = STANDARD.decode(text.trim()).ok().filter(|b| b.len() <= BODY_MAX_BYTES);
        if bytes.is_none() {
            let help = "encode the message with protoc and write it in base64";
            faults.add(FaultCode::G0004, &node.place, "`message` is not base64", help);
        }
        bytes
    });
    let path = fields.optional("method").and_then(|node| {
        let text = fields::text(node, faults)?;
        let parts: Vec<&str> = text.split('/').collect();
        let name = |part: &str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._".contains(&b))
        };
        let sound =
            matches!(parts.as_slice(), ["", service, method] if name(service) && name(method));
        if !sound {
            let help = "write it like `/package.Service/Method`";
            faults.add(FaultCode::G0004, &node.place, format!("`{text}` is not a method"), help);
        }
        sound.then_some(text)
    });
    let is_health = path.as_deref().is_none_or(|path| path == HEALTH_CHECK);
    let message = if let Some(node) = fields.optional("message").filter(|_| is_health) {
        let help = "write `method: /package.Service/Method` beside it";
        let message =
            "the health check has a message of its own; write `service` for another service";
        faults.add(FaultCode::G0008, &node.place, message, help);
        return None;
    } else if is_health {
        Message::Health { service: service.unwrap_or_default() }
    } else {
        if let Some(node) = fields.optional("service") {
            let help = "remove it, or remove `method`";
            let message = "`service` belongs to the health check";
            faults.add(FaultCode::G0008, &node.place, message, help);
        }
        Message::Encoded(encoded.unwrap_or_default())
    };
    let path = path.unwrap_or_else(|| HEALTH_CHECK.to_owned());
    Some((Call::Grpc(Grpc { path, host, headers, message }), expect))
}

fn websocket(node: &Node, common: &Headers, faults: &mut Faults<'_>) -> Option<(Call, Expect)> {
    let fields = Fields::of(node, &shape::WEBSOCKET, faults)?;
    let path = fields.optional("path").and_then(|node| path(node, faults));
    let host = fields.optional("host").and_then(|node| host(node, faults));
    let headers = with(common, fields.optional("headers"), faults);
    let send = fields.optional("send").and_then(|node| template(node, BODY_MAX_BYTES, faults));
    let expect = fields.optional("expect").map(|node| expect::message(node, faults));
    let expect = expect.unwrap_or_default();
    if let Some(node) =
        fields.optional("expect").filter(|_| send.is_none() && expect.looks_at_body())
    {
        let help = "write `send: …`; without it the probe ends when the WebSocket is open";
        faults.add(FaultCode::G0008, &node.place, "no message is awaited here", help);
    }
    Some((Call::WebSocket(WebSocket { path: path?, host, headers, send }), expect))
}

fn lambda(node: &Node, faults: &mut Faults<'_>) -> Option<(Call, Expect)> {
    let fields = Fields::of(node, &shape::LAMBDA, faults)?;
    let keys = ["payload", "payload-file"];
    let payload = body(&fields, keys, faults);
    if let Some(Body::Text(template)) = &payload
        && let Some(text) = template.plain()
        && serde_json::from_str::<serde::de::IgnoredAny>(text).is_err()
    {
        let help = "write it in quotes: `payload: '{\"check\":\"health\"}'`";
        let message = "an event is JSON, and this is none: Lambda would refuse it";
        faults.add(FaultCode::G0004, fields.place_of("payload"), message, help);
    }
    let expect = fields.optional("expect").map(|node| expect::returned(node, faults));
    let payload = match payload {
        Some(payload) => payload,
        // What is unreadable has been said.
        None if keys.iter().any(|key| fields.optional(key).is_some()) => return None,
        None => Body::Text(Template::literal("{}")),
    };
    Some((Call::Lambda(Lambda { payload }), expect.unwrap_or_default()))
}

/// A path and query, with places for values.
pub(super) fn path(node: &Node, faults: &mut Faults<'_>) -> Option<Template> {
    let template = template(node, PATH_MAX, faults)?;
    let text = template.written();
    // RFC 3986, path and query, and our own places: anything else has to be percent-encoded.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&b);
    let mut literal = text.clone();
    for name in template.names() {
        literal = literal.replace(&format!("${{{name}}}"), "");
    }
    let (message, help) = if !text.starts_with('/') {
        (format!("`{text}` does not begin with `/`"), "write the path alone, like `/healthz`")
    } else if !literal.bytes().all(plain) {
        let help = "percent-encode it: a space is `%20`";
        (format!("`{text}` has a character that no URL may have"), help)
    } else {
        return Some(template);
    };
    faults.add(FaultCode::G0004, &node.place, message, help);
    None
}

/// Text with places for values, of at most so many bytes.
fn template(node: &Node, most: usize, faults: &mut Faults<'_>) -> Option<Template> {
    let text = fields::text(node, faults)?;
    if text.len() > most {
        let message = format!("a text of {} characters", text.len());
        faults.add(FaultCode::G0004, &node.place, message, format!("write at most {most}"));
        return None;
    }
    let parsed = Template::parse(&text);
    parsed
        .map_err(|error| {
            let help = "`$$` is a dollar sign";
            faults.add(FaultCode::G0004, &node.place, error.to_string(), help);
        })
        .ok()
}

/// A host name, with a port or without.
pub(super) fn host(node: &Node, faults: &mut Faults<'_>) -> Option<String> {
    let text = fields::text(node, faults)?;
    let sound = !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
    if !sound {
        let message = format!("`{text}` is not a host name");
        faults.add(FaultCode::G0004, &node.place, message, "write it like `shop.example.com`");
    }
    sound.then_some(text)
}

/// Headers of a step: those of the probe, and its own, which win.
fn with(common: &Headers, own: Option<&Node>, faults: &mut Faults<'_>) -> Headers {
    let own = own.map(|node| headers(node, faults)).unwrap_or_default();
    let kept = common.iter().filter(|(name, _)| own.iter().all(|(other, _)| other != name));
    kept.cloned().chain(own.iter().cloned()).collect()
}

pub(super) fn headers(node: &Node, faults: &mut Faults<'_>) -> Headers {
    let mut headers = Vec::new();
    let how = "write `headers: { x-name: value }`";
    for (key, node) in fields::entries(node, "`headers`", how, faults) {
        let Some(name) = header_name(&key.name, &key.place, faults) else { continue };
        if let Some(value) = header_value(node, faults) {
            headers.push((name, value));
        }
    }
    headers
}

/// The name of a header that a policy may set, in lower case.
pub(super) fn header_name(written: &str, place: &Place, faults: &mut Faults<'_>) -> Option<String> {
    let name = written.to_ascii_lowercase();
    let token =
        !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    let (message, help) = if !token {
        let help = "write letters, digits, `-`, `_` and `.` alone";
        (format!("`{written}` is not the name of a header"), help)
    } else if name == "host" {
        (format!("`{written}` is set by gate"), "write it as `host` of the request")
    } else if name == "accept-encoding" {
        (format!("`{written}` is set by gate"), "write `compression: true`")
    } else if OWN_HEADERS.contains(&name.as_str()) {
        (format!("`{written}` is set by gate"), "remove it")
    } else {
        return Some(name);
    };
    faults.add(FaultCode::G0004, place, message, help);
    None
}

fn header_value(node: &Node, faults: &mut Faults<'_>) -> Option<HeaderValue> {
    if matches!(node.value, Value::Map(_)) {
        let (reference, prefix) = secret(node, faults)?;
        return Some(HeaderValue::Secret { reference, prefix });
    }
    let template = template(node, HEADER_MAX, faults)?;
    if template.written().bytes().all(|b| (0x20..0x7f).contains(&b)) {
        return Some(HeaderValue::Literal(template));
    }
    let message = "a header's value is printable ASCII, at most 4096 characters";
    faults.add(FaultCode::G0004, &node.place, message, "encode it, as the service expects it");
    None
}

/// How a reference to a secret is written.
const REFERENCE_HELP: &str =
    "write `{ secret: \"env:NAME\" }`, or `file:/path`, `ssm:/name`, `secretsmanager:name`";

/// A reference to a secret, and what stands before it.
pub(super) fn secret(node: &Node, faults: &mut Faults<'_>) -> Option<(String, String)> {
    let fields = Fields::of(node, &shape::SECRET, faults)?;
    let prefix = fields.optional("prefix").and_then(|node| fields::text(node, faults));
    let node = fields.optional("secret")?;
    let text = fields::text(node, faults)?;
    if !reference::is_reference(&text) {
        let message = reference::why_none(&text);
        faults.add_hidden(FaultCode::G0004, &node.place, message, REFERENCE_HELP);
        return None;
    }
    Some((text, prefix.unwrap_or_default()))
}

/// Refuses values taken from answers in headers that belong to no step.
pub(super) fn no_values(headers: &Headers, place: &Place, faults: &mut Faults<'_>) {
    for (name, value) in headers {
        let HeaderValue::Literal(template) = value else { continue };
        for value in template.names().filter(|name| !BUILT_IN.contains(name)) {
            let message = format!("header `{name}` has `${{{value}}}`, which nothing takes");
            let help = "values are for the headers of a step; `$$` is a dollar sign";
            faults.add(FaultCode::G0008, place, message, help);
        }
    }
}
