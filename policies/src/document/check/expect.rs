//! What is expected of an answer, by protocol.

use std::time::Duration;

use super::super::fault::FaultCode;
use super::super::shape::{self, Shape};
use super::super::tree::{Node, Value};
use super::Faults;
use super::call::header_name;
use super::fields::{self, Fields};
use crate::plan::{Comparison, Expect, JsonPath, JsonSchema, Pattern, StatusRange};
use crate::sample::Phase;
use crate::units;

/// Of an HTTP answer; 2xx where nothing is written.
pub(super) fn http(node: Option<&Node>, faults: &mut Faults<'_>) -> Expect {
    let success = vec![StatusRange { from: 200, to: 299 }];
    let Some(fields) = node.and_then(|node| Fields::of(node, &shape::EXPECT, faults)) else {
        return Expect { status: success, ..Expect::default() };
    };
    let mut status = Vec::new();
    for node in fields.optional("status").map(fields::list).unwrap_or_default() {
        let Some(text) = fields::text(node, faults) else { continue };
        match statuses(&text) {
            Some(range) => status.push(range),
            None => faults.add(
                FaultCode::G0004,
                &node.place,
                format!("`{text}` is not a status"),
                "write a class like `2xx`, a status like `204`, or a list of them",
            ),
        }
    }
    if status.is_empty() {
        status = success;
    }
    let headers = fields.optional("headers").map(|node| headers(node, faults)).unwrap_or_default();
    Expect { status, headers, ..body(&fields, faults) }
}

/// Of a gRPC answer; code `OK` where nothing is written.
pub(super) fn grpc(node: Option<&Node>, faults: &mut Faults<'_>) -> Expect {
    let ok = vec![StatusRange { from: 0, to: 0 }];
    let Some(fields) = node.and_then(|node| Fields::of(node, &shape::GRPC_EXPECT, faults)) else {
        return Expect { status: ok, ..Expect::default() };
    };
    let mut status = Vec::new();
    for node in fields.optional("code").map(fields::list).unwrap_or_default() {
        let Some(text) = fields::text(node, faults) else { continue };
        let place = shape::GRPC_CODES.iter().position(|code| *code == text);
        match place.and_then(|place| u16::try_from(place).ok()) {
            Some(code) => status.push(StatusRange { from: code, to: code }),
            None => {
                let help = fields::words(&text, shape::GRPC_CODES.iter().copied());
                let message = format!("`{text}` is not a gRPC code");
                faults.add(FaultCode::G0004, &node.place, message, help);
            }
        }
    }
    let status = if status.is_empty() { ok } else { status };
    Expect { status, ..common(&fields, faults) }
}

/// Of a WebSocket message.
pub(super) fn message(node: &Node, faults: &mut Faults<'_>) -> Expect {
    let fields = Fields::of(node, &shape::MESSAGE_EXPECT, faults);
    fields.map(|fields| body(&fields, faults)).unwrap_or_default()
}

/// Of what a function returned.
pub(super) fn returned(node: &Node, faults: &mut Faults<'_>) -> Expect {
    let fields = Fields::of(node, &shape::LAMBDA_EXPECT, faults);
    fields.map(|fields| body(&fields, faults)).unwrap_or_default()
}

/// Of a connection or a handshake.
pub(super) fn handshake(node: &Node, shape: &'static Shape, faults: &mut Faults<'_>) -> Expect {
    let fields = Fields::of(node, shape, faults);
    fields.map(|fields| common(&fields, faults)).unwrap_or_default()
}

/// Of a body, whatever brought it.
fn body(fields: &Fields<'_>, faults: &mut Faults<'_>) -> Expect {
    let texts = fields.optional("text").map(fields::list).unwrap_or_default();
    let text = texts.iter().filter_map(|node| fields::text(node, faults)).collect();
    let patterns = fields.optional("regex").map(fields::list).unwrap_or_default();
    let regex = patterns.iter().filter_map(|node| pattern(node, faults)).collect();
    let mut json = Vec::new();
    if let Some(node) = fields.optional("json") {
        for (key, node) in fields::entries(node, "`json`", "write `json: { $.status: ok }`", faults)
        {
            let Some(path) = json_path(&key.name, &key.place, faults) else { continue };
            json.extend(comparisons(node, faults).into_iter().map(|wanted| (path.clone(), wanted)));
        }
    }
    let schema = fields.optional("json-schema").and_then(|node| {
        let text = fields::text(node, faults)?;
        let schema = JsonSchema::new(&text).map_err(|reason| {
            let help = "write it in JSON, in quotes or after `|`: `'{\"type\":\"object\"}'`";
            faults.add(FaultCode::G0004, &node.place, format!("`json-schema`: {reason}"), help);
        });
        schema.ok()
    });
    Expect { text, regex, json, schema, ..common(fields, faults) }
}

/// Size, time of phases, certificate: each where the shape has it.
fn common(fields: &Fields<'_>, faults: &mut Faults<'_>) -> Expect {
    let mut expect = Expect::default();
    if let Some(node) = fields.given("size") {
        expect.size_bytes = size(node, faults);
    }
    if let Some(node) = fields.given("within") {
        let phases = fields.shape_of("within").unwrap_or(&shape::PHASES);
        expect.within = within(node, phases, faults);
    }
    if fields.given("certificate-days").is_some() {
        let days = fields.parsed("certificate-days", units::number, faults);
        expect.certificate_days = days.map(|(_, days)| days);
    }
    expect
}

fn size(node: &Node, faults: &mut Faults<'_>) -> (Option<u64>, Option<u64>) {
    let Some(fields) = Fields::of(node, &shape::BOUNDS, faults) else { return (None, None) };
    let least = fields.parsed("at-least", units::size, faults);
    let most = fields.parsed("at-most", units::size, faults);
    if let (Some((_, least)), Some((place, most))) = (&least, &most)
        && least > most
    {
        let help = "write the smaller one as `at-least`";
        faults.add(FaultCode::G0008, place, "no answer can have this size", help);
    }
    (least.map(|(_, bytes)| bytes), most.map(|(_, bytes)| bytes))
}

fn within(
    node: &Node,
    shape: &'static Shape,
    faults: &mut Faults<'_>,
) -> Vec<(Option<Phase>, Duration)> {
    let Some(fields) = Fields::of(node, shape, faults) else { return Vec::new() };
    let phases = Phase::ALL.map(Some).into_iter().chain([None]);
    phases
        .filter_map(|phase| {
            let name = phase.map_or("total", Phase::name);
            fields.given(name)?;
            let (_, most) = fields.parsed(name, units::duration, faults)?;
            Some((phase, most))
        })
        .collect()
}

fn headers(node: &Node, faults: &mut Faults<'_>) -> Vec<(String, Comparison)> {
    let how = "write `headers: { content-type: application/json }`";
    let mut headers = Vec::new();
    for (key, node) in fields::entries(node, "`headers`", how, faults) {
        // Those that gate sets on its requests may be asked of an answer.
        let name = key.name.to_ascii_lowercase();
        let own = ["connection", "content-length", "transfer-encoding", "upgrade"];
        let name = if own.contains(&name.as_str()) {
            Some(name)
        } else {
            header_name(&key.name, &key.place, faults)
        };
        let Some(name) = name else { continue };
        headers.extend(comparisons(node, faults).into_iter().map(|wanted| (name.clone(), wanted)));
    }
    headers
}

/// A value that must be there, or a map of comparisons, each of which must hold.
fn comparisons(node: &Node, faults: &mut Faults<'_>) -> Vec<Comparison> {
    if !matches!(node.value, Value::Map(_)) {
        return fields::text(node, faults).map(Comparison::Equals).into_iter().collect();
    }
    let Some(fields) = Fields::of(node, &shape::COMPARISON, faults) else { return Vec::new() };
    let mut wanted = Vec::new();
    for name in fields.present().collect::<Vec<_>>() {
        let Some(node) = fields.given(name) else { continue };
        if name == "matches" {
            wanted.extend(pattern(node, faults).map(Comparison::Matches));
            continue;
        }
        let Some(text) = fields::text(node, faults) else { continue };
        let number = || text.trim().parse::<f64>().ok().filter(|number| number.is_finite());
        let comparison = match name {
            "equals" => Some(Comparison::Equals(text.clone())),
            "not" => Some(Comparison::Not(text.clone())),
            "contains" => Some(Comparison::Contains(text.clone())),
            "at-least" => number().map(Comparison::AtLeast),
            "at-most" => number().map(Comparison::AtMost),
            _ => text.parse().ok().map(Comparison::Present),
        };
        if comparison.is_none() {
            let help = if name == "present" { "write `true` or `false`" } else { "write a number" };
            faults.add(FaultCode::G0004, &node.place, format!("`{text}` is no `{name}`"), help);
        }
        wanted.extend(comparison);
    }
    if fields.present().next().is_none() {
        let help = "write `{ at-least: 1 }`, or the value alone";
        faults.add(FaultCode::G0003, &node.place, "a comparison with nothing", help);
    }
    wanted
}

/// A regular expression.
pub(super) fn pattern(node: &Node, faults: &mut Faults<'_>) -> Option<Pattern> {
    let text = fields::text(node, faults)?;
    let pattern = Pattern::new(&text).map_err(|reason| {
        let help = "the syntax is that of RE2: no look-around, no back-references";
        faults.add(
            FaultCode::G0004,
            &node.place,
            format!("`{text}` is no pattern: {reason}"),
            help,
        );
    });
    pattern.ok()
}

/// A JSON path.
pub(super) fn json_path(
    text: &str,
    place: &super::super::tree::Place,
    faults: &mut Faults<'_>,
) -> Option<JsonPath> {
    let path = JsonPath::new(text).map_err(|_reason| {
        let help = "write it like `$.status` or `$.checks[0].state`";
        faults.add(FaultCode::G0004, place, format!("`{text}` is not a path into JSON"), help);
    });
    path.ok()
}

fn statuses(text: &str) -> Option<StatusRange> {
    if let Some(class) = text.strip_suffix("xx").and_then(|class| class.parse::<u16>().ok()) {
        return (1..=5)
            .contains(&class)
            .then_some(StatusRange { from: class * 100, to: class * 100 + 99 });
    }
    let status = text.parse().ok().filter(|status| (100..=599).contains(status))?;
    Some(StatusRange { from: status, to: status })
}
