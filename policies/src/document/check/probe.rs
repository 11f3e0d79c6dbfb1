//! The `probe` of a policy: what to send, how often, what to expect.

use std::time::Duration;

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::{Node, Value};
use super::Faults;
use super::fields::{self, Fields};
use crate::plan::{ExpectJson, HeaderValue, Request, StatusRange};
use crate::policy::{self, Decide, Probe, Via};
use crate::units;

/// Characters of a path and its query.
const PATH_MAX: usize = 2048;
/// Probes of one arm that may be in flight: rate times time-out, and what one core can carry.
const IN_FLIGHT_MAX: f64 = 10_000.0;

pub(super) fn probe(node: &Node, decide: &Decide, faults: &mut Faults<'_>) -> Option<Probe> {
    let fields = Fields::of(node, &shape::PROBE, faults)?;
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
    let http = fields.optional("http");
    let headers = fields.optional("headers").map(|node| headers(node, faults)).unwrap_or_default();
    let request = http.and_then(|node| request(node, headers, faults));

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
    let fields = Fields::of(node, &shape::HTTP, faults)?;
    let path = fields.optional("path");
    let path = path.and_then(|node| {
        let text = fields::text(node, faults)?;
        // RFC 3986, path and query: anything else has to be percent-encoded.
        let plain =
            text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@%/?".contains(&b));
        let (message, help) = if !text.starts_with('/') {
            (format!("`{text}` does not begin with `/`"), "write the path alone, like `/healthz`")
        } else if !plain {
            let help = "percent-encode it: a space is `%20`";
            (format!("`{text}` has a character that no URL may have"), help)
        } else if text.len() > PATH_MAX {
            (format!("a path of {} characters", text.len()), "write at most 2048")
        } else {
            return Some(text);
        };
        faults.add(FaultCode::G0004, &node.place, message, help);
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
    let (expect, expect_json) = match fields.optional("expect") {
        Some(node) => expectations(node, faults),
        None => (Vec::new(), Vec::new()),
    };
    let expect = if expect.is_empty() { vec![StatusRange { from: 200, to: 299 }] } else { expect };
    if let Some(node) =
        fields.optional("expect").filter(|_| method == "HEAD" && !expect_json.is_empty())
    {
        let help = "write `method: GET`, or expect a status alone";
        faults.add(FaultCode::G0008, &node.place, "the answer to `HEAD` has no body", help);
    }
    Some(Request { method: method.to_owned(), path: path?, host, headers, expect, expect_json })
}

fn expectations(node: &Node, faults: &mut Faults<'_>) -> (Vec<StatusRange>, Vec<ExpectJson>) {
    let (mut ranges, mut json) = (Vec::new(), Vec::new());
    let Some(fields) = Fields::of(node, &shape::EXPECT, faults) else { return (ranges, json) };
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
    if let Some(node) = fields.optional("json") {
        for (key, node) in fields::entries(node, "`json`", "write `json: { $.status: ok }`", faults)
        {
            let Some(value) = fields::text(node, faults) else { continue };
            match ExpectJson::parse(&key.name, value) {
                Some(expected) => json.push(expected),
                None => faults.add(
                    FaultCode::G0004,
                    &key.place,
                    format!("`{}` is not a path into JSON", key.name),
                    "write it like `$.status` or `$.checks[0].state`",
                ),
            }
        }
    }
    (ranges, json)
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

/// Characters of a header's value.
const HEADER_MAX: usize = 4096;
/// Headers that gate or the connection set, so that a policy must not.
const OWN_HEADERS: [&str; 6] =
    ["host", "connection", "content-length", "transfer-encoding", "upgrade", "user-agent"];

fn headers(node: &Node, faults: &mut Faults<'_>) -> Vec<(String, HeaderValue)> {
    let mut headers = Vec::new();
    let how = "write `headers: { x-name: value }`";
    for (key, node) in fields::entries(node, "`headers`", how, faults) {
        let name = key.name.to_ascii_lowercase();
        let token = !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        let (message, help) = if !token {
            let help = "write letters, digits, `-`, `_` and `.` alone";
            (format!("`{}` is not the name of a header", key.name), help)
        } else if name == "host" {
            (format!("`{}` is set by gate", key.name), "write it as `host` of `probe.http`")
        } else if OWN_HEADERS.contains(&name.as_str()) {
            (format!("`{}` is set by gate", key.name), "remove it")
        } else {
            if let Some(value) = header_value(node, faults) {
                headers.push((name, value));
            }
            continue;
        };
        faults.add(FaultCode::G0004, &key.place, message, help);
    }
    headers
}

fn header_value(node: &Node, faults: &mut Faults<'_>) -> Option<HeaderValue> {
    if !matches!(node.value, Value::Map(_)) {
        let text = fields::text(node, faults)?;
        if text.len() <= HEADER_MAX && text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Some(HeaderValue::Literal(text));
        }
        let message = "a header's value is printable ASCII, at most 4096 characters";
        faults.add(FaultCode::G0004, &node.place, message, "encode it, as the service expects it");
        return None;
    }
    let fields = Fields::of(node, &shape::SECRET, faults)?;
    let node = fields.optional("secret")?;
    let text = fields::text(node, faults)?;
    let (kind, rest) = text.split_once(':').unwrap_or((text.as_str(), ""));
    match kind {
        "env" | "file" if !rest.is_empty() => Some(HeaderValue::Secret(text)),
        "ssm" | "secretsmanager" if !rest.is_empty() => {
            let message = format!(
                "secrets from `{kind}:` are not read by this version of gate, which refuses to probe without them"
            );
            faults.warn(&node.place, message, "let the task definition's `secrets` put it into the environment and write `env:NAME`");
            Some(HeaderValue::Secret(text))
        }
        _ => {
            let help =
                "write `{ secret: \"env:NAME\" }` or `{ secret: \"file:/run/secrets/name\" }`";
            let message = format!("`{text}` is not a reference to a secret");
            faults.add(FaultCode::G0004, &node.place, message, help);
            None
        }
    }
}
