//! The limits of a policy: what goes beyond them is left out, and said.

use std::collections::BTreeSet;

use policies::plan::{JsonSchema, Pattern, SCENARIOS_MAX, STEPS_MAX};
use serde_json::Value;

use super::document::{Document, Header, Is, Scenario, Step};
use super::policy_text;
use super::text::{name, short};

/// Bytes of all steps as they are written: a policy is at most 256 KiB, and its head takes some.
const STEPS_MAX_BYTES: usize = 192 * 1024;
/// Methods of a step.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
/// Characters of a path and its query.
const PATH_MAX: usize = 2048;
/// Characters of a header's value.
const HEADER_MAX: usize = 4096;
/// Expectations of one step from JSON paths.
const JSON_MAX: usize = 64;
/// Bytes of a body that is sent.
const BODY_MAX_BYTES: usize = 16 * 1024;
/// Bytes of a JSON Schema.
const SCHEMA_MAX_BYTES: usize = 16 * 1024;

/// Groups what does not depend on each other: each thing a scenario of its own while there are few
/// enough, else those of one group share one, and the last groups share the last.
pub(super) fn grouped(steps: Vec<(String, Step)>) -> Vec<Scenario> {
    let mut scenarios: Vec<Scenario> = Vec::new();
    let mut names = BTreeSet::new();
    if steps.len() <= SCENARIOS_MAX {
        for (_group, step) in steps {
            let name = name(&step.name, "scenario", &mut names);
            scenarios.push(Scenario { name, cookies: false, steps: named(vec![step]) });
        }
        return scenarios;
    }
    let mut groups: Vec<(String, Vec<Step>)> = Vec::new();
    for (group, step) in steps {
        match groups.iter_mut().find(|(name, _)| *name == group) {
            Some((_, steps)) => steps.push(step),
            None => groups.push((group, vec![step])),
        }
    }
    let apart = if groups.len() > SCENARIOS_MAX { SCENARIOS_MAX - 1 } else { groups.len() };
    let mut others = Vec::new();
    for (place, (group, steps)) in groups.into_iter().enumerate() {
        if place < apart {
            let name = name(&group, "scenario", &mut names);
            scenarios.push(Scenario { name, cookies: false, steps: named(steps) });
        } else {
            others.extend(steps);
        }
    }
    if !others.is_empty() {
        let name = name("others", "others", &mut names);
        scenarios.push(Scenario { name, cookies: false, steps: named(others) });
    }
    scenarios
}

/// Steps under names that a policy may have, unlike each other.
fn named(steps: Vec<Step>) -> Vec<Step> {
    let mut names = BTreeSet::new();
    let named =
        steps.into_iter().map(|step| Step { name: name(&step.name, "step", &mut names), ..step });
    named.collect()
}

/// Takes out what no policy may hold.
pub(super) fn fit(document: &mut Document) {
    let scenarios = std::mem::take(&mut document.scenarios);
    let (mut steps_kept, mut bytes) = (0_usize, 0_usize);
    for mut scenario in scenarios {
        let full = document.scenarios.len() >= SCENARIOS_MAX;
        let mut kept = Vec::new();
        let mut cut = false;
        for mut step in std::mem::take(&mut scenario.steps) {
            let place = step.place.clone();
            trim(&mut step, document);
            let refused = if full {
                Some(format!("a policy has at most {SCENARIOS_MAX} scenarios"))
            } else if steps_kept >= STEPS_MAX {
                Some(format!("a policy has at most {STEPS_MAX} steps"))
            } else if cut && step.uses_values() {
                Some("it uses what a step before it takes, and one of those is left out".to_owned())
            } else {
                refusal(&step)
            };
            let size = policy_text::size(&step);
            let refused = refused.or_else(|| {
                let over = bytes + size > STEPS_MAX_BYTES;
                over.then(|| format!("the policy would be larger than {STEPS_MAX_BYTES} bytes"))
            });
            match refused {
                Some(reason) => {
                    cut = true;
                    document.leave_out(&place, reason);
                }
                None => {
                    (steps_kept, bytes) = (steps_kept + 1, bytes + size);
                    kept.push(step);
                }
            }
        }
        if kept.iter().any(|step| !step.copied) {
            scenario.steps = kept;
            document.scenarios.push(scenario);
        }
    }
}

/// Expectations that are too many, too large or impossible.
fn trim(step: &mut Step, document: &mut Document) {
    let place = step.place.clone();
    step.expect.status.retain(|status| {
        let whole = status
            .parse::<u16>()
            .map_or_else(|_class| status.ends_with("xx"), |of| (100..=599).contains(&of));
        if !whole {
            document
                .leave_out(&place, format!("the status `{}`: there is none such", short(status)));
        }
        whole
    });
    headers(step, document);
    if step.method == "HEAD" && step.expect.reads_body() {
        document.leave_out(&place, "its expectations of the body: the answer to HEAD has none");
        let expect = &mut step.expect;
        expect.text.clear();
        expect.regex.clear();
        expect.json.clear();
        expect.json_schema = None;
    }
    if let Some(schema) = &step.expect.json_schema {
        let size = schema.to_string().len();
        if size > SCHEMA_MAX_BYTES {
            let reason = format!("its JSON Schema of {size} bytes; at most {SCHEMA_MAX_BYTES}");
            document.leave_out(&place, reason);
            step.expect.json_schema = None;
        }
    }
    regular(step, document);
    for (path, _) in step.expect.json.drain(step.expect.json.len().min(JSON_MAX)..) {
        let reason = format!("its expectation of `{path}`: a step has at most {JSON_MAX}");
        document.leave_out(&place, reason);
    }
}

/// Headers that a policy can name, each once: of two with one name the later is sent.
fn headers(step: &mut Step, document: &mut Document) {
    let Step { place, expect, .. } = step;
    let mut names = BTreeSet::new();
    let mut keep = |name: &str, value: Option<&str>, of: &str| {
        let token = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        let printable = |text: &str| text.bytes().all(|b| (0x20..0x7f).contains(&b));
        let reason = if name.is_empty() || !name.bytes().all(token) {
            "no name that a policy can write"
        } else if value.is_some_and(|value| value.len() > HEADER_MAX || !printable(value)) {
            "not printable ASCII of at most 4096 characters"
        } else if !names.insert(format!("{of}{name}")) {
            "it is there twice"
        } else {
            return true;
        };
        document.leave_out(place, format!("its header `{}`{of}: {reason}", short(name)));
        false
    };
    step.headers.reverse();
    step.headers.retain(|(name, value)| match value {
        Header::Text(text) => keep(name, Some(text), ""),
        Header::Secret { .. } => keep(name, None, ""),
    });
    step.headers.reverse();
    expect.headers.retain(|(name, _)| {
        let own = ["host", "user-agent", "accept-encoding"].contains(&name.as_str());
        keep(if own { "" } else { name }, None, " of the answer")
    });
}

/// Regular expressions of other languages know more than gate's, which take linear time whatever they see.
fn regular(step: &mut Step, document: &mut Document) {
    let Step { place, expect, .. } = step;
    let mut keep = |regex: &str, what: &str| {
        let sound = Pattern::new(regex).is_ok();
        if !sound {
            let reason =
                format!("`{}` of {what}: not gate's kind of regular expression", short(regex));
            document.leave_out(place, reason);
        }
        sound
    };
    expect.regex.retain(|regex| keep(regex, "the body"));
    let mut pairs = |pairs: &mut Vec<(String, Is)>, of: &str| {
        pairs.retain(|(name, is)| match is {
            Is::Matches(regex) => keep(regex, &format!("{of}`{name}`")),
            Is::Equal(_) | Is::Present => true,
        });
    };
    pairs(&mut expect.headers, "the header ");
    pairs(&mut expect.json, "");
    if let Some(schema) = &mut expect.json_schema {
        patterns(schema, &mut keep);
        if let Err(reason) = JsonSchema::new(&schema.to_string()) {
            document.leave_out(place, format!("its JSON Schema: {}", short(&reason)));
            expect.json_schema = None;
        }
    }
}

/// Takes out the patterns of a schema that cannot be kept.
fn patterns(schema: &mut Value, keep: &mut impl FnMut(&str, &str) -> bool) {
    match schema {
        Value::Object(fields) => {
            let pattern = fields.get("pattern").and_then(Value::as_str);
            if pattern.is_some_and(|regex| !keep(regex, "its JSON Schema")) {
                fields.remove("pattern");
            }
            fields.values_mut().for_each(|inner| patterns(inner, keep));
        }
        Value::Array(items) => items.iter_mut().for_each(|inner| patterns(inner, keep)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Why a policy cannot hold this step.
fn refusal(step: &Step) -> Option<String> {
    let body = step.body.as_ref().map_or(0, String::len);
    if !METHODS.contains(&step.method.as_str()) {
        Some(format!("no step has the method `{}`", short(&step.method)))
    } else if step.path.len() > PATH_MAX {
        Some(format!("a path of {} characters; at most {PATH_MAX}", step.path.len()))
    } else if body > BODY_MAX_BYTES {
        Some(format!("a body of {body} bytes; at most {BODY_MAX_BYTES}"))
    } else {
        None
    }
}

impl Step {
    /// Whether it needs something that another step takes.
    fn uses_values(&self) -> bool {
        let uses = |text: &str| {
            let text = text.replace("$$", "").replace("${unique}", "").replace("${number}", "");
            text.contains("${")
        };
        let header =
            |(_, value): &(String, Header)| matches!(value, Header::Text(text) if uses(text));
        uses(&self.path)
            || self.body.as_deref().is_some_and(uses)
            || self.headers.iter().any(header)
    }
}
