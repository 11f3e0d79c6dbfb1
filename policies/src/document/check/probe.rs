//! The `probe` of a policy: what to send, how often, what to expect.

use std::time::Duration;

use super::super::fault::FaultCode;
use super::super::tree::{Node, Value};
use super::Faults;
use super::fields::{self, Fields};
use crate::plan::{HeaderValue, Request, StatusRange};
use crate::policy::{self, Decide, Probe, Via};
use crate::units;

/// Probes of one arm that may be in flight: rate times time-out, and what one core can carry.
const IN_FLIGHT_MAX: f64 = 10_000.0;

pub(super) fn probe(node: &Node, decide: &Decide, faults: &mut Faults<'_>) -> Option<Probe> {
    let mut fields = Fields::of(node, "`probe`", faults)?;
    let rate = fields.parsed("rate", units::rate, faults);
    let timeout = fields.parsed("timeout", units::duration, faults);
    let warm_up = fields.parsed("warm-up", units::duration, faults);
    let vias = [
        ("auto", Via::Auto),
        ("tasks", Via::Tasks),
        ("listener", Via::Listener),
        ("both", Via::Both),
    ];
    let via = fields.choice("via", &vias, Via::Auto, faults);
    let help = "write `http: { path: /healthz }`; this version probes HTTP/1.1";
    let http = fields.required("http", help, faults);
    let headers = fields.optional("headers").map(|node| headers(node, faults)).unwrap_or_default();
    let request = http.and_then(|node| request(node, headers, faults));
    fields.finish(faults);

    let rate_per_second = rate.as_ref().map_or(policy::RATE_DEFAULT, |(_, rate)| *rate);
    let time = timeout.as_ref().map_or(policy::TIMEOUT_DEFAULT, |(_, timeout)| *timeout);
    let warm = warm_up.as_ref().map_or(Duration::ZERO, |(_, warm_up)| *warm_up);
    if let Some((place, _)) = timeout
        .as_ref()
        .filter(|_| time < Duration::from_millis(10) || time > Duration::from_secs(60))
    {
        faults.add(
            FaultCode::G0004,
            place,
            "`timeout` must be from 10ms to 60s",
            "2s is the default",
        );
    }
    if rate_per_second * time.as_secs_f64() > IN_FLIGHT_MAX {
        let written = rate.map(|(place, _)| place).or_else(|| timeout.map(|(place, _)| place));
        let place = written.unwrap_or_else(|| node.place.clone());
        let message = format!(
            "a stalled target would hold {:.0} probes at once; the most is {IN_FLIGHT_MAX}",
            rate_per_second * time.as_secs_f64()
        );
        faults.add(FaultCode::G0008, &place, message, "lower `rate` or `timeout`");
    }
    if let Some((place, _)) = warm_up.filter(|_| warm + decide.at_least >= decide.deadline) {
        let message = format!(
            "`warm-up` and `at-least` leave no time before the deadline ({})",
            units::spell(decide.deadline)
        );
        faults.add(
            FaultCode::G0008,
            &place,
            message,
            "shorten `warm-up` or raise `decide.deadline`",
        );
    }
    Some(Probe { request: request?, via, rate_per_second, timeout: time, warm_up: warm })
}

fn request(
    node: &Node,
    headers: Vec<(String, HeaderValue)>,
    faults: &mut Faults<'_>,
) -> Option<Request> {
    let mut fields = Fields::of(node, "`http`", faults)?;
    let path = fields.required("path", "write `path: /healthz`", faults);
    let path = path.and_then(|node| {
        let text = fields::text(node, faults)?;
        // RFC 3986, path and query: anything else has to be percent-encoded.
        let plain =
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&b));
        if text.starts_with('/') && plain && text.len() <= 2048 {
            return Some(text);
        }
        let message = format!(
            "`{text}` is not a path: it starts with `/` and has at most 2048 characters that a URL may have"
        );
        faults.add(
            FaultCode::G0004,
            &node.place,
            message,
            "write it percent-encoded, like `/healthz?deep=1`",
        );
        None
    });
    let method = fields.choice("method", &[("GET", "GET"), ("HEAD", "HEAD")], "GET", faults);
    let host = fields.optional("host").and_then(|node| {
        let text = fields::text(node, faults)?;
        let sound = !text.is_empty()
            && text.len() <= 253
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._:[]".contains(&b));
        if !sound {
            let message = format!("`{text}` is not a host name");
            faults.add(FaultCode::G0004, &node.place, message, "write it like `shop.example.com`");
        }
        sound.then_some(text)
    });
    let expect = match fields.optional("expect") {
        Some(node) => expectations(node, faults),
        None => vec![StatusRange { from: 200, to: 299 }],
    };
    fields.finish(faults);
    Some(Request { method: method.to_owned(), path: path?, host, headers, expect })
}

fn expectations(node: &Node, faults: &mut Faults<'_>) -> Vec<StatusRange> {
    let mut ranges = Vec::new();
    if let Some(mut fields) = Fields::of(node, "`expect`", faults) {
        for node in fields.optional("status").map(fields::list).unwrap_or_default() {
            let Some(text) = fields::text(node, faults) else { continue };
            match status(&text) {
                Some(range) => ranges.push(range),
                None => faults.add(
                    FaultCode::G0004,
                    &node.place,
                    format!("`{text}` is not a status"),
                    "write a class like `2xx`, a status like `204`, or a list of them",
                ),
            }
        }
        fields.later(&["json", "body", "headers", "regex", "size"], faults);
        fields.finish(faults);
    }
    if ranges.is_empty() { vec![StatusRange { from: 200, to: 299 }] } else { ranges }
}

fn status(text: &str) -> Option<StatusRange> {
    if let Some(class) = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok()) {
        return (1..=5)
            .contains(&class)
            .then_some(StatusRange { from: class * 100, to: class * 100 + 99 });
    }
    let status = text.parse().ok().filter(|status| (100..=599).contains(status))?;
    Some(StatusRange { from: status, to: status })
}

/// Headers that gate or the connection set, so that a policy must not.
const OWN_HEADERS: [&str; 6] =
    ["host", "connection", "content-length", "transfer-encoding", "upgrade", "user-agent"];

fn headers(node: &Node, faults: &mut Faults<'_>) -> Vec<(String, HeaderValue)> {
    let Value::Map(entries) = &node.value else {
        faults.add(
            FaultCode::G0004,
            &node.place,
            "`headers` is a map",
            "write `headers: { x-name: value }`",
        );
        return Vec::new();
    };
    let mut headers = Vec::new();
    for (key, node) in entries {
        let name = key.name.to_ascii_lowercase();
        let token = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        if !token || OWN_HEADERS.contains(&name.as_str()) {
            let message = format!("`{}` is not a header a policy may set", key.name);
            let help = "use `http.host` for the host; gate sets the connection's own headers and its user-agent";
            faults.add(FaultCode::G0004, &key.place, message, help);
            continue;
        }
        if let Some(value) = header_value(node, faults) {
            headers.push((name, value));
        }
    }
    headers
}

fn header_value(node: &Node, faults: &mut Faults<'_>) -> Option<HeaderValue> {
    if let Value::Scalar(text) = &node.value {
        if text.len() <= 4096 && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Some(HeaderValue::Literal(text.clone()));
        }
        faults.add(
            FaultCode::G0004,
            &node.place,
            "not a header value",
            "printable ASCII, at most 4096 characters",
        );
        return None;
    }
    let mut fields = Fields::of(node, "a header that is no text", faults)?;
    let help = "write `{ secret: \"env:NAME\" }` or `{ secret: \"file:/run/secrets/name\" }`";
    let secret = fields.required("secret", help, faults);
    fields.finish(faults);
    let node = secret?;
    let text = fields::text(node, faults)?;
    let (kind, rest) = text.split_once(':').unwrap_or((text.as_str(), ""));
    match kind {
        "env" | "file" if !rest.is_empty() => Some(HeaderValue::Secret(text)),
        "ssm" | "secretsmanager" => {
            let message = format!("secrets from `{kind}:` are not part of this version");
            faults.add(FaultCode::G0009, &node.place, message, "let the task definition's `secrets` put it into the environment and write `env:NAME`");
            None
        }
        _ => {
            faults.add(FaultCode::G0004, &node.place, "not a reference to a secret", help);
            None
        }
    }
}
