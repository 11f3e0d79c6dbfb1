//! The `probe` of a policy: what to send, how often, over which connections.

use std::sync::Arc;
use std::time::Duration;

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::{Node, Value};
use super::Faults;
use super::call;
use super::fields::{self, Fields};
use super::scenario;
use crate::plan::{
    Call, ClientTls, Connections, IDLE_MAX_DEFAULT, Rate, Scrape, Script, Segment, Sidecar, Sign,
};
use crate::policy::{self, Decide, Probe, Via};
use crate::reference;
use crate::units;

/// Probes of one arm that may be in flight: rate times time-out, and what one core can carry.
const IN_FLIGHT_MAX: f64 = 10_000.0;
/// Up to this rate each probe has a connection of its own unless the policy says otherwise: a TCP handshake
/// costs both sides little then, and load balancers' health checks do the same.
const NEW_CONNECTIONS_MAX_PER_SECOND: f64 = 100.0;
/// What is said of the way to an address, which a function has not.
const KEYS_OF_ADDRESSES: [&str; 8] =
    ["headers", "green-headers", "via", "connections", "client-tls", "sign", "scrape", "sidecar"];
/// Steps and ramps of one rate.
const SEGMENTS_MAX: usize = 32;

pub(super) fn probe(node: &Node, decide: &Decide, faults: &mut Faults<'_>) -> Option<Probe> {
    let fields = Fields::of(node, &shape::PROBE, faults)?;
    let rate = fields.optional("rate");
    let written_rate = rate.map(|node| node.place.clone());
    let rate = rate.and_then(|node| self::rate(&fields, node, faults));
    let rate = rate.unwrap_or(Rate::constant(policy::RATE_DEFAULT));
    let timeout = fields.parsed("timeout", units::duration, faults);
    let warm_up = fields.parsed("warm-up", units::duration, faults);
    let vias = [
        ("auto", Via::Auto),
        ("tasks", Via::Tasks),
        ("listener", Via::Listener),
        ("both", Via::Both),
    ];
    let via = fields.choice("via", &vias, Via::Auto, faults);
    let script = script(&fields, node, &rate, faults);

    let peak = rate.peak_per_second();
    let time = timeout.as_ref().map_or(policy::TIMEOUT_DEFAULT, |(_, timeout)| *timeout);
    let warm = warm_up.as_ref().map_or(Duration::ZERO, |(_, warm_up)| *warm_up);
    if let Some((place, _)) = timeout
        .as_ref()
        .filter(|_| time < Duration::from_millis(10) || time > Duration::from_secs(60))
    {
        let message = "`timeout` must be from 10ms to 60s";
        faults.add(FaultCode::G0004, place, message, "2s is the default");
    }
    if peak * time.as_secs_f64() > IN_FLIGHT_MAX {
        let written = written_rate.or_else(|| timeout.map(|(place, _)| place));
        let place = written.unwrap_or_else(|| node.place.clone());
        let message = format!(
            "a stalled target would hold {:.0} probes at once; the most is {IN_FLIGHT_MAX}",
            peak * time.as_secs_f64()
        );
        faults.add(FaultCode::G0008, &place, message, "lower `rate` or `timeout`");
    }
    if let Some((place, _)) = warm_up.filter(|_| warm + decide.at_least >= decide.deadline) {
        let message = format!(
            "`warm-up` and `at-least` leave no time before the deadline ({})",
            units::spell(decide.deadline)
        );
        let help = "shorten `warm-up` or raise `decide.deadline`";
        faults.add(FaultCode::G0008, &place, message, help);
    }
    Some(Probe { script: Arc::new(script?), via, rate, timeout: time, warm_up: warm })
}

fn rate(fields: &Fields<'_>, node: &Node, faults: &mut Faults<'_>) -> Option<Rate> {
    let Value::List(items) = &node.value else {
        return fields.parsed("rate", units::rate, faults).map(|(_, rate)| Rate::constant(rate));
    };
    if items.is_empty() || items.len() > SEGMENTS_MAX {
        let message = format!("a rate has 1 to {SEGMENTS_MAX} steps, this one {}", items.len());
        faults.add(FaultCode::G0004, &node.place, message, "write `rate: 20/s` for a constant one");
        return None;
    }
    let mut segments: Vec<Segment> = Vec::new();
    let mut all = true;
    for item in items {
        let segment = segment(item, segments.last(), faults);
        all &= segment.is_some();
        segments.extend(segment);
    }
    Rate::shaped(segments).filter(|_| all)
}

fn segment(node: &Node, before: Option<&Segment>, faults: &mut Faults<'_>) -> Option<Segment> {
    let fields = Fields::of(node, &shape::SEGMENT, faults)?;
    let lasting = fields.parsed("for", units::duration, faults);
    let constant = fields.parsed("rate", units::rate, faults);
    let ramp = fields.parsed("ramp-to", units::rate, faults);
    let (from_per_second, to_per_second) = match (constant, ramp, before) {
        (Some((_, rate)), None, _) => (rate, rate),
        (None, Some((_, to)), Some(before)) => (before.to_per_second, to),
        (None, Some((place, _)), None) => {
            let help = "begin with `{ rate: 1/s, for: 10s }`";
            faults.add(FaultCode::G0008, &place, "a ramp has no rate to begin at", help);
            return None;
        }
        (Some(_), Some((place, _)), _) => {
            let message = "a step has `rate` or `ramp-to`, not both";
            faults.add(FaultCode::G0008, &place, message, "make two steps of it");
            return None;
        }
        (None, None, _) => {
            if fields.optional("rate").or_else(|| fields.optional("ramp-to")).is_none() {
                let message = "a step of `rate` has neither `rate` nor `ramp-to`";
                faults.add(FaultCode::G0003, &node.place, message, "write `rate: 20/s`");
            }
            return None;
        }
    };
    let (place, lasting) = lasting?;
    if lasting.is_zero() {
        let help = "write `for: 30s`";
        faults.add(FaultCode::G0004, &place, "a step of no time is none", help);
        return None;
    }
    Some(Segment { from_per_second, to_per_second, lasting })
}

/// What probes send and expect.
fn script(
    fields: &Fields<'_>,
    node: &Node,
    rate: &Rate,
    faults: &mut Faults<'_>,
) -> Option<Script> {
    let common = fields.optional("headers").map(|node| call::headers(node, faults));
    let common = common.unwrap_or_default();
    let green_headers = fields.optional("green-headers").map(|node| call::headers(node, faults));
    let green_headers = green_headers.unwrap_or_default();
    call::no_values(&green_headers, fields.place_of("green-headers"), faults);
    let connections = connections(fields, rate, faults);
    let tls = fields.optional("client-tls").map(|node| client_tls(node, faults));
    let sign = fields.optional("sign").and_then(|node| sign(node, faults));
    let scrape = fields.optional("scrape").map(|node| scrape(node, faults)).unwrap_or_default();
    let sidecar = fields.optional("sidecar").map(|node| sidecar(node, faults)).unwrap_or_default();
    let scenarios = scenario::scenarios(fields, node, &common, faults)?;
    let tls = tls.unwrap_or_default();
    let script = Script { scenarios, connections, tls, sign, green_headers, scrape, sidecar };
    if script.invokes() {
        only_invokes(fields, &script, faults);
    }
    Some(script)
}

/// Refuses what has no effect where functions are invoked, so that nobody relies on it.
fn only_invokes(fields: &Fields<'_>, script: &Script, faults: &mut Faults<'_>) {
    let mut steps = script.scenarios.iter().flat_map(|scenario| &scenario.steps);
    if let Some(step) = steps.find(|step| !matches!(step.call, Call::Lambda(_))) {
        let message = format!(
            "steps by `lambda` and by `{}` have no target in common: one invokes a function, the other needs an address",
            step.call.protocol()
        );
        let help = "write a policy for each, told apart by `applies-to`";
        faults.add(FaultCode::G0008, fields.place_of("scenarios"), message, help);
    }
    for key in KEYS_OF_ADDRESSES {
        if fields.optional(key).is_some() {
            let message = format!("`{key}` has no effect on `lambda`");
            let help = "remove it: AWS's own interface invokes functions";
            faults.add(FaultCode::G0008, fields.place_of(key), message, help);
        }
    }
}

fn connections(fields: &Fields<'_>, rate: &Rate, faults: &mut Faults<'_>) -> Connections {
    let often = rate.peak_per_second() > NEW_CONNECTIONS_MAX_PER_SECOND;
    let mut connections =
        Connections { reuse: if often { 1.0 } else { 0.0 }, idle_max: IDLE_MAX_DEFAULT };
    let Some(node) = fields.optional("connections") else { return connections };
    if !matches!(node.value, Value::Map(_)) {
        let choices = [("new", 0.0), ("reuse", 1.0)];
        connections.reuse = fields.choice("connections", &choices, connections.reuse, faults);
        return connections;
    }
    let Some(fields) = Fields::of(node, &shape::CONNECTIONS, faults) else { return connections };
    if let Some((_, share)) = fields.parsed("reuse", units::part, faults) {
        connections.reuse = share;
    }
    if let Some((place, idle)) = fields.parsed("max-idle", units::duration, faults) {
        connections.idle_max = idle;
        if !(Duration::from_millis(100)..=Duration::from_secs(600)).contains(&idle) {
            let message = "`max-idle` must be from 100ms to 10m";
            faults.add(FaultCode::G0004, &place, message, "4s is the default");
        }
    }
    connections
}

fn scrape(node: &Node, faults: &mut Faults<'_>) -> Scrape {
    let mut scrape = Scrape::default();
    let Some(fields) = Fields::of(node, &shape::SCRAPE, faults) else { return scrape };
    if let Some(node) = fields.optional("path")
        && let Some(path) = call::path(node, faults)
    {
        match path.plain() {
            Some(path) => path.clone_into(&mut scrape.path),
            None => {
                let message = "no probe takes values for the path of metrics";
                faults.add(FaultCode::G0008, &node.place, message, "write it without `${…}`");
            }
        }
    }
    scrape.port = port(&fields, faults);
    scrape
}

fn sidecar(node: &Node, faults: &mut Faults<'_>) -> Sidecar {
    let written = Fields::of(node, &shape::SIDECAR_PLACE, faults)
        .and_then(|fields| port(&fields, faults))
        .map(|port| Sidecar { port });
    written.unwrap_or_default()
}

/// What is written as `port`, if it is one.
fn port(fields: &Fields<'_>, faults: &mut Faults<'_>) -> Option<u16> {
    let node = fields.optional("port")?;
    let text = fields::text(node, faults).unwrap_or_default();
    let port = text.parse().ok().filter(|port| *port > 0);
    if port.is_none() {
        let message = format!("`{text}` is not a port");
        faults.add(FaultCode::G0004, &node.place, message, "write a number from 1 to 65535");
    }
    port
}

fn client_tls(node: &Node, faults: &mut Faults<'_>) -> ClientTls {
    let Some(fields) = Fields::of(node, &shape::CLIENT_TLS, faults) else {
        return ClientTls::default();
    };
    let reference = |key: &str, faults: &mut Faults<'_>| {
        let node = fields.optional(key)?;
        let text = fields::text(node, faults)?;
        let sound = reference::is_reference(&text);
        if !sound {
            let message = reference::why_none(&text);
            let help = "write it like `file:/etc/ca.pem`, `env:NAME`, `ssm:/name` or `secretsmanager:name`";
            faults.add_hidden(FaultCode::G0004, &node.place, message, help);
        }
        sound.then_some(text)
    };
    let roots = reference("roots", faults);
    let chain = reference("certificate", faults);
    let key = fields.optional("key").and_then(|node| call::secret(node, faults));
    let server_name = fields.optional("server-name").and_then(|node| call::host(node, faults));
    let there = |key: &str| fields.optional(key).is_some();
    if there("certificate") != there("key") {
        let help = "a client certificate needs both `certificate` and `key`";
        let message = "one half of a client certificate is missing";
        faults.add(FaultCode::G0003, &node.place, message, help);
    }
    let certificate = chain.zip(key.map(|(reference, _)| reference));
    ClientTls { roots, certificate, server_name }
}

fn sign(node: &Node, faults: &mut Faults<'_>) -> Option<Sign> {
    let fields = Fields::of(node, &shape::SIGN, faults)?;
    let how = "write `hmac: { key: { secret: \"env:NAME\" } }`";
    fields.exactly_one("a signature", &["sigv4", "hmac"], (node, how), faults)?;
    if let Some(node) = fields.optional("sigv4") {
        let fields = Fields::of(node, &shape::SIGV4, faults)?;
        let name = |key: &str, faults: &mut Faults<'_>| {
            let node = fields.optional(key)?;
            let text = fields::text(node, faults)?;
            let sound =
                !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
            if !sound {
                let message = format!("`{text}` is no `{key}`");
                faults.add(FaultCode::G0004, &node.place, message, "letters, digits and `-`");
            }
            sound.then_some(text)
        };
        let (service, region) = (name("service", faults), name("region", faults));
        return Some(Sign::SigV4 { service: service?, region: region? });
    }
    let node = fields.optional("hmac")?;
    let fields = Fields::of(node, &shape::HMAC, faults)?;
    let header = match fields.optional("header") {
        Some(node) => call::header_name(&fields::text(node, faults)?, &node.place, faults)?,
        None => "x-signature".to_owned(),
    };
    let (key, _) = call::secret(fields.optional("key")?, faults)?;
    Some(Sign::Hmac { header, key })
}
