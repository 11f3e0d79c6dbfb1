//! Scenarios: steps in a row, and the values that one takes for the next.

use std::collections::BTreeSet;

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::{Node, Place, Value};
use super::Faults;
use super::call::{self, PROTOCOLS};
use super::expect;
use super::fields::{self, Fields};
use crate::plan::{
    BUILT_IN, Body, Call, HeaderValue, Headers, SCENARIOS_MAX, STEPS_MAX, Scenario, Source, Step,
    Take, Template,
};
use crate::units;

/// Characters of a scenario's, step's or value's name.
const NAME_MAX: usize = 40;
/// What to write where no protocol is named.
const HTTP: &str = "write `http: { path: /healthz }`";

/// The scenarios of a probe; one without a name where the probe is a single request.
pub(super) fn scenarios(
    fields: &Fields<'_>,
    node: &Node,
    common: &Headers,
    faults: &mut Faults<'_>,
) -> Option<Vec<Scenario>> {
    let kinds = PROTOCOLS.into_iter().chain(["scenarios"]).collect::<Vec<_>>();
    fields.exactly_one("a probe", &kinds, (node, HTTP), faults)?;
    let Some(list) = fields.optional("scenarios") else {
        let (call, expect) = call::call(fields, common, faults)?;
        let step = Step { name: String::new(), call, expect, take: Vec::new() };
        values_are_known(&step, &BTreeSet::new(), node_of(fields, node), faults);
        let steps = vec![step];
        return Some(vec![Scenario { name: String::new(), weight: 1.0, cookies: false, steps }]);
    };
    let Value::List(items) = &list.value else {
        let message = "`scenarios` is a list";
        faults.add(FaultCode::G0004, &list.place, message, "start each with `- `");
        return None;
    };
    if items.is_empty() || items.len() > SCENARIOS_MAX {
        let message =
            format!("a probe has 1 to {SCENARIOS_MAX} scenarios, this one {}", items.len());
        faults.add(FaultCode::G0004, &list.place, message, "keep those that matter most");
    }
    let before = faults.errors();
    let mut scenarios: Vec<Scenario> = Vec::new();
    for item in items {
        let Some(scenario) = scenario(item, common, faults) else { continue };
        if scenarios.iter().any(|other| other.name == scenario.name) {
            let message = format!("scenario `{}` is there twice", scenario.name);
            faults.add(FaultCode::G0006, &item.place, message, "give each a name of its own");
        }
        scenarios.push(scenario);
    }
    let steps: usize = scenarios.iter().map(|scenario| scenario.steps.len()).sum();
    if steps > STEPS_MAX {
        let message = format!("{steps} steps in all scenarios; the most is {STEPS_MAX}");
        let help = "each is a signal of its own for every target; keep those that matter most";
        faults.add(FaultCode::G0004, &list.place, message, help);
    }
    (faults.errors() == before && !scenarios.is_empty()).then_some(scenarios)
}

/// Where the only call of a probe stands.
fn node_of<'a>(fields: &Fields<'a>, node: &'a Node) -> &'a Place {
    let call = PROTOCOLS.into_iter().find(|name| fields.optional(name).is_some());
    call.map_or(&node.place, |name| fields.place_of(name))
}

fn scenario(node: &Node, common: &Headers, faults: &mut Faults<'_>) -> Option<Scenario> {
    let fields = Fields::of(node, &shape::SCENARIO, faults)?;
    let name = fields.optional("name").and_then(|node| name(node, faults));
    let weight = fields.parsed("weight", units::number, faults).map_or(1.0, |(_, weight)| weight);
    let yes = [("true", true), ("false", false)];
    let cookies = fields.choice("cookies", &yes, false, faults);
    let list = fields.optional("steps")?;
    let Value::List(items) = &list.value else {
        faults.add(FaultCode::G0004, &list.place, "`steps` is a list", "start each with `- `");
        return None;
    };
    if items.is_empty() {
        let help = "write `- { name: home, http: { path: / } }`";
        faults.add(FaultCode::G0004, &list.place, "a scenario without steps", help);
    }
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut steps: Vec<Step> = Vec::new();
    let mut is_whole = true;
    for item in items {
        let Some(step) = step(item, common, faults) else {
            is_whole = false;
            continue;
        };
        if steps.iter().any(|other| other.name == step.name) {
            let message = format!("step `{}` is there twice", step.name);
            faults.add(FaultCode::G0006, &item.place, message, "give each a name of its own");
        }
        // What an unreadable step takes is not known; those that use it are not to blame.
        if is_whole {
            values_are_known(&step, &known, &item.place, faults);
        }
        known.extend(step.take.iter().map(|take| take.name.clone()));
        steps.push(step);
    }
    is_whole.then_some(Scenario { name: name?, weight, cookies, steps })
}

fn step(node: &Node, common: &Headers, faults: &mut Faults<'_>) -> Option<Step> {
    let fields = Fields::of(node, &shape::STEP, faults)?;
    fields.exactly_one("a step", &PROTOCOLS, (node, HTTP), faults)?;
    let name = fields.optional("name").and_then(|node| name(node, faults));
    let take = fields.optional("take").map(|node| take(node, faults)).unwrap_or_default();
    let (call, expect) = call::call(&fields, common, faults)?;
    if !take.is_empty() && matches!(call, Call::Tcp | Call::Tls { .. } | Call::Grpc(_)) {
        let message = format!("the answer of `{}` has no values to take", call.protocol());
        let help = "take them from `http`, `websocket` or `lambda`";
        faults.add(FaultCode::G0008, fields.place_of("take"), message, help);
    }
    if matches!(call, Call::Lambda(_))
        && take.iter().any(|take| matches!(take.source, Source::Header(_)))
    {
        let help = "take values by `json` or `regex`";
        let message = "what a function returns has no headers";
        faults.add(FaultCode::G0008, fields.place_of("take"), message, help);
    }
    Some(Step { name: name?, call, expect, take })
}

fn name(node: &Node, faults: &mut Faults<'_>) -> Option<String> {
    let text = fields::text(node, faults)?;
    let sound = is_name(&text);
    if !sound {
        let message = format!("`{text}` is no name here");
        let help = "write lower-case letters, digits, `-` and `_`, at most 40";
        faults.add(FaultCode::G0004, &node.place, message, help);
    }
    sound.then_some(text)
}

fn is_name(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
    !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(plain)
}

fn take(node: &Node, faults: &mut Faults<'_>) -> Vec<Take> {
    let mut taken = Vec::new();
    let how = "write `take: { token: { json: $.token } }`";
    for (key, node) in fields::entries(node, "`take`", how, faults) {
        if !is_name(&key.name) || BUILT_IN.contains(&key.name.as_str()) {
            let message = format!("`{}` is no name for a value", key.name);
            let help =
                "lower-case letters, digits, `-` and `_`; `unique` and `number` are built in";
            faults.add(FaultCode::G0004, &key.place, message, help);
            continue;
        }
        let source = source(node, faults);
        taken.extend(source.map(|source| Take { name: key.name.clone(), source }));
    }
    taken
}

fn source(node: &Node, faults: &mut Faults<'_>) -> Option<Source> {
    let fields = Fields::of(node, &shape::TAKE, faults)?;
    fields.exactly_one(
        "a value",
        &["json", "header", "regex"],
        (node, "write `json: $.token`"),
        faults,
    )?;
    if let Some(node) = fields.optional("json") {
        let text = fields::text(node, faults)?;
        return expect::json_path(&text, &node.place, faults).map(Source::Json);
    }
    if let Some(node) = fields.optional("regex") {
        return expect::pattern(node, faults).map(Source::Regex);
    }
    let text = fields::text(fields.optional("header")?, faults)?;
    Some(Source::Header(text.to_ascii_lowercase()))
}

/// Refuses a step that uses a value which no earlier step takes.
fn values_are_known(step: &Step, known: &BTreeSet<String>, place: &Place, faults: &mut Faults<'_>) {
    let mut unknown = BTreeSet::new();
    for template in templates(&step.call) {
        unknown.extend(
            template.names().filter(|name| !known.contains(*name) && !BUILT_IN.contains(name)),
        );
    }
    for name in unknown {
        let message = format!("`${{{name}}}` is not taken by an earlier step");
        let help =
            "take it there (`take: { name: { json: $.name } }`), or write `$$` for a dollar sign";
        faults.add(FaultCode::G0008, place, message, help);
    }
}

fn templates(call: &Call) -> Vec<&Template> {
    fn literals(headers: &Headers) -> impl Iterator<Item = &Template> {
        headers.iter().filter_map(|(_, value)| match value {
            HeaderValue::Literal(template) => Some(template),
            HeaderValue::Secret { .. } => None,
        })
    }
    match call {
        Call::Http(http) => {
            let body = match &http.body {
                Some(Body::Text(template)) => Some(template),
                Some(Body::File(_)) | None => None,
            };
            [&http.path].into_iter().chain(body).chain(literals(&http.headers)).collect()
        }
        Call::WebSocket(socket) => [&socket.path]
            .into_iter()
            .chain(&socket.send)
            .chain(literals(&socket.headers))
            .collect(),
        Call::Grpc(grpc) => literals(&grpc.headers).collect(),
        Call::Lambda(lambda) => match &lambda.payload {
            Body::Text(template) => vec![template],
            Body::File(_) => Vec::new(),
        },
        Call::Tcp | Call::Tls { .. } => Vec::new(),
    }
}
