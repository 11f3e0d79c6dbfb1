//! The tree of a document checked into a policy, collecting every fault on the way.

mod fields;

use std::time::Duration;

use super::fault::{Fault, FaultCode};
use super::tree::{Node, Place, Value};
use crate::decision::Answer;
use crate::deployment::Stage;
use crate::evidence::{ErrorRates, continue_probes};
use crate::plan::{HeaderValue, Request, StatusRange};
use crate::policy::{self, AppliesTo, Decide, Objective, Policy, Probe, Via};
use crate::units;
use fields::Fields;

/// Probes of one arm that may be in flight: rate times time-out, and what one core can carry.
const IN_FLIGHT_MAX: f64 = 10_000.0;
/// Objectives of one policy.
const OBJECTIVES_MAX: usize = 64;

/// What could be made of a document.
pub(super) struct Checked {
    pub(super) policy: Option<Policy>,
    pub(super) applies_to: Option<AppliesTo>,
    pub(super) faults: Vec<Fault>,
}

/// Collects faults of one file.
pub(super) struct Faults<'a> {
    file: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    pub(super) fn add(
        &mut self,
        code: FaultCode,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.found.push(Fault {
            code,
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            message: message.into(),
            help: help.into(),
            span: place.span.clone(),
        });
    }
}

/// Checks the whole document.
pub(super) fn check(file: &str, root: &Node) -> Checked {
    let mut faults = Faults { file, found: Vec::new() };
    let (policy, applies_to) = document(root, &mut faults);
    let mut faults = faults.found;
    faults.sort_by_key(|fault| (fault.line, fault.column, fault.code));
    Checked { policy, applies_to, faults }
}

fn document(root: &Node, faults: &mut Faults<'_>) -> (Option<Policy>, Option<AppliesTo>) {
    let Some(mut fields) = Fields::of(root, "a policy", faults) else { return (None, None) };
    let version = fields.required("gate", "write `gate: v1` first", faults);
    if let Some((node, text)) = version.and_then(|node| Some((node, fields::text(node, faults)?)))
        && text != "v1"
    {
        let message = format!("document version `{text}` is not one this gate speaks");
        faults.add(FaultCode::G0005, &node.place, message, "write `gate: v1`");
    }
    let applies_to = match fields.optional("applies-to") {
        Some(node) => applies_to(node, faults),
        None => Some(AppliesTo::default()),
    };
    let observe = fields.choice("mode", &[("decide", false), ("observe", true)], false, faults);
    let decide_node = fields.optional("decide");
    let decide = decide(decide_node, faults);
    let help = "write `probe: { http: { path: /healthz } }`";
    let probe_node = fields.required("probe", help, faults);
    let probe = probe_node.and_then(|node| probe(node, &decide, faults));
    let help = "write `objectives: [ { errors: { at-most: 0.5% } } ]`";
    let objectives_node = fields.required("objectives", help, faults);
    let objectives = objectives_node.map(|node| objectives(node, probe.as_ref(), &decide, faults));
    fields.later(&["watch", "notify"], faults);
    fields.finish(faults);
    let policy = match (applies_to.clone(), probe, objectives) {
        (Some(applies_to), Some(probe), Some(objectives)) => {
            Some(Policy { applies_to, observe, probe, objectives, decide })
        }
        _ => None,
    };
    (policy, applies_to)
}

fn applies_to(node: &Node, faults: &mut Faults<'_>) -> Option<AppliesTo> {
    let before = faults.found.len();
    let mut fields = Fields::of(node, "`applies-to`", faults)?;
    let mut glob = |key: &str, faults: &mut Faults<'_>| {
        fields.optional(key).and_then(|node| fields::text(node, faults))
    };
    let (application, group, service) =
        (glob("application", faults), glob("group", faults), glob("service", faults));
    let stages = fields.optional("stages").map(|node| {
        fields::list(node)
            .iter()
            .filter_map(|node| {
                let name = fields::text(node, faults)?;
                let stage = Stage::named(&name);
                if stage.is_none() {
                    let known: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
                    let message = format!("`{name}` is not a stage gate knows");
                    let help = format!("one of {}", known.join(", "));
                    faults.add(FaultCode::G0004, &node.place, message, help);
                }
                stage
            })
            .collect()
    });
    fields.later(&["function", "pipeline"], faults);
    fields.finish(faults);
    let stages = stages.unwrap_or_default();
    (faults.found.len() == before).then_some(AppliesTo { application, group, service, stages })
}

fn decide(node: Option<&Node>, faults: &mut Faults<'_>) -> Decide {
    let answers = [("continue", Answer::Continue), ("rollback", Answer::Rollback)];
    let mut decide = Decide {
        rates: ErrorRates {
            false_rollback: policy::ERROR_RATE_DEFAULT,
            false_continue: policy::ERROR_RATE_DEFAULT,
        },
        at_least: policy::AT_LEAST_DEFAULT,
        deadline: policy::DEADLINE_DEFAULT,
        no_data: Answer::Rollback,
        undecided: Answer::Rollback,
        tick: policy::STALL_DEFAULT * policy::STALLS_IN_A_TICK,
    };
    let Some(node) = node else { return decide };
    let Some(mut fields) = Fields::of(node, "`decide`", faults) else { return decide };
    let rates = &mut decide.rates;
    for (key, rate) in [
        ("false-rollback", &mut rates.false_rollback),
        ("false-continue", &mut rates.false_continue),
    ] {
        if let Some((place, value)) = fields.parsed(key, units::share, faults) {
            *rate = value;
            if !(1e-9..=0.5).contains(&value) {
                let message = format!("`{key}` must be above 0% and at most 50%");
                faults.add(FaultCode::G0004, &place, message, "1% is the default; 0.1% is strict");
            }
        }
    }
    let at_least = fields.parsed("at-least", units::duration, faults);
    let deadline = fields.parsed("deadline", units::duration, faults);
    let stall = fields.parsed("stall", units::duration, faults);
    decide.no_data = fields.choice("no-data", &answers, Answer::Rollback, faults);
    decide.undecided = fields.choice("undecided", &answers, Answer::Rollback, faults);
    fields.finish(faults);
    if let Some((place, value)) = &stall {
        decide.tick = *value * policy::STALLS_IN_A_TICK;
        if !(Duration::from_millis(20)..=Duration::from_secs(12)).contains(value) {
            let help = "400ms is the default; a tick is five times the stall";
            faults.add(FaultCode::G0004, place, "`stall` must be from 20ms to 12s", help);
            decide.tick = policy::STALL_DEFAULT * policy::STALLS_IN_A_TICK;
        }
    }
    if let Some((_, value)) = &at_least {
        decide.at_least = *value;
    }
    if let Some((place, value)) = &deadline {
        decide.deadline = *value;
        if *value < decide.tick * 2 {
            let message = format!(
                "a deadline below two ticks ({}) decides nothing",
                units::spell(decide.tick * 2)
            );
            faults.add(FaultCode::G0008, place, message, "10m is the default");
        }
    }
    if decide.at_least >= decide.deadline {
        let place = at_least.or(deadline).map_or_else(|| node.place.clone(), |(place, _)| place);
        let message = format!(
            "`at-least` ({}) is not before the deadline ({}): no release could ever continue",
            units::spell(decide.at_least),
            units::spell(decide.deadline)
        );
        faults.add(FaultCode::G0008, &place, message, "raise `deadline` or lower `at-least`");
    }
    decide
}

fn probe(node: &Node, decide: &Decide, faults: &mut Faults<'_>) -> Option<Probe> {
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
        let plain = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.starts_with('/') && plain && text.len() <= 2048 {
            return Some(text);
        }
        let message = format!(
            "`{text}` is not a path: it starts with `/`, has no spaces, at most 2048 characters"
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

fn objectives(
    node: &Node,
    probe: Option<&Probe>,
    decide: &Decide,
    faults: &mut Faults<'_>,
) -> Vec<Objective> {
    let Value::List(items) = &node.value else {
        faults.add(FaultCode::G0004, &node.place, "`objectives` is a list", "start each with `- `");
        return Vec::new();
    };
    if items.is_empty() || items.len() > OBJECTIVES_MAX {
        let message =
            format!("a policy has 1 to {OBJECTIVES_MAX} objectives, this one {}", items.len());
        faults.add(FaultCode::G0004, &node.place, message, "write `- errors: { at-most: 0.5% }`");
    }
    let mut objectives: Vec<Objective> = Vec::new();
    for item in items {
        let Some(objective) = objective(item, probe, decide, faults) else { continue };
        if objectives.iter().any(|other| other.name == objective.name) {
            let message = format!("`{}` is there twice", objective.name);
            faults.add(
                FaultCode::G0006,
                &item.place,
                message,
                "remove one: each costs a share of the error rate",
            );
        }
        objectives.push(objective);
    }
    objectives
}

const KINDS_LATER: [&str; 6] =
    ["slo", "cloudwatch", "metrics", "healthy-targets", "alarms", "each-target"];

fn objective(
    item: &Node,
    probe: Option<&Probe>,
    decide: &Decide,
    faults: &mut Faults<'_>,
) -> Option<Objective> {
    let mut fields = Fields::of(item, "an objective", faults)?;
    let errors = fields.optional("errors");
    let latency = fields.optional("latency");
    let later = fields.later(&KINDS_LATER, faults);
    let other = fields.finish(faults);
    let objective = match (errors, latency) {
        (Some(node), None) => errors_objective(node, probe, decide, faults),
        (None, Some(node)) => latency_objective(node, probe, decide, faults),
        (Some(_), Some(_)) => {
            let help = "write each with its own `- `";
            faults.add(FaultCode::G0008, &item.place, "two objectives in one list item", help);
            None
        }
        (None, None) => {
            if !later && !other {
                let help = "write `errors: { at-most: 0.5% }` or `latency: { quantile: p99, at-most: 250ms }`";
                faults.add(FaultCode::G0003, &item.place, "an objective without a kind", help);
            }
            None
        }
    };
    let (objective, probe) = (objective?, probe?);
    decidable(&item.place, &objective, probe, decide, faults);
    Some(objective)
}

fn errors_objective(
    node: &Node,
    probe: Option<&Probe>,
    decide: &Decide,
    faults: &mut Faults<'_>,
) -> Option<Objective> {
    let mut fields = Fields::of(node, "`errors`", faults)?;
    let at_most = fields.required_parsed("at-most", "write `at-most: 0.5%`", units::share, faults);
    let unacceptable = fields.parsed("unacceptable", units::share, faults);
    fields.later(&["versus", "weight", "observe", "no-data", "during"], faults);
    fields.finish(faults);
    let (_, acceptable) = at_most?;
    let p1 = unacceptable_share(unacceptable, acceptable, probe, decide, faults)?;
    Some(Objective::errors(acceptable, p1))
}

fn latency_objective(
    node: &Node,
    probe: Option<&Probe>,
    decide: &Decide,
    faults: &mut Faults<'_>,
) -> Option<Objective> {
    let mut fields = Fields::of(node, "`latency`", faults)?;
    let quantile =
        fields.required_parsed("quantile", "write `quantile: p99`", units::quantile, faults);
    let versus = fields.later(&["versus", "weight", "observe", "no-data", "during"], faults);
    let threshold = if versus {
        fields.optional("at-most");
        None
    } else {
        fields.required_parsed("at-most", "write `at-most: 250ms`", units::duration, faults)
    };
    let unacceptable = fields.parsed("unacceptable", units::share, faults);
    fields.finish(faults);
    let ((_, quantile), (place, threshold)) = (quantile?, threshold?);
    if threshold.is_zero() {
        faults.add(FaultCode::G0004, &place, "no answer takes no time", "write `at-most: 250ms`");
        return None;
    }
    if let Some(probe) = probe.filter(|probe| threshold >= probe.timeout) {
        let message = format!(
            "a probe is given up after {}: nothing could be told of {}",
            units::spell(probe.timeout),
            units::spell(threshold)
        );
        faults.add(FaultCode::G0008, &place, message, "raise `probe.timeout` above it");
    }
    let acceptable = Objective::slow_share(quantile);
    let p1 = unacceptable_share(unacceptable, acceptable, probe, decide, faults)?;
    Some(Objective::latency(quantile, threshold, p1))
}

fn unacceptable_share(
    written: Option<(Place, f64)>,
    acceptable: f64,
    probe: Option<&Probe>,
    decide: &Decide,
    faults: &mut Faults<'_>,
) -> Option<f64> {
    let rate = probe.map_or(policy::RATE_DEFAULT, |probe| probe.rate_per_second);
    let Some((place, share)) = written else {
        return Some(Objective::auto_unacceptable(acceptable, rate, decide));
    };
    if share <= acceptable {
        let message =
            format!("`unacceptable` must be above the {} allowed", units::percent(acceptable));
        faults.add(
            FaultCode::G0008,
            &place,
            message,
            "leave it out: gate then chooses 2 to 10 times the allowed share",
        );
        return None;
    }
    Some(share)
}

/// Refuses an objective that even a faultless release could not prove before the deadline.
fn decidable(
    place: &Place,
    objective: &Objective,
    probe: &Probe,
    decide: &Decide,
    faults: &mut Faults<'_>,
) {
    let probes =
        continue_probes(objective.acceptable, objective.unacceptable, decide.rates.false_continue);
    let needed_seconds = probes / probe.rate_per_second + probe.warm_up.as_secs_f64();
    if needed_seconds > decide.deadline.as_secs_f64() {
        let message = format!(
            "`{}` cannot be decided before the deadline: a healthy release needs about {probes:.0} probes, {needed_seconds:.0} s at {}/s, and has {}",
            objective.name,
            probe.rate_per_second,
            units::spell(decide.deadline),
        );
        faults.add(
            FaultCode::G0007,
            place,
            message,
            "raise `probe.rate` or `decide.deadline`, or allow more",
        );
    }
}
