//! The tree of a document checked into a policy, collecting every fault on the way.

mod fields;
mod objectives;
mod probe;

use std::time::Duration;

use super::fault::{Fault, FaultCode};
use super::tree::{Node, Place};
use crate::decision::Answer;
use crate::deployment::Stage;
use crate::evidence::ErrorRates;
use crate::policy::{self, AppliesTo, Decide, Policy};
use crate::units;
use fields::Fields;

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
    let probe = probe_node.and_then(|node| probe::probe(node, &decide, faults));
    let help = "write `objectives: [ { errors: { at-most: 0.5% } } ]`";
    let objectives_node = fields.required("objectives", help, faults);
    let objectives =
        objectives_node.map(|node| objectives::objectives(node, probe.as_ref(), &decide, faults));
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
