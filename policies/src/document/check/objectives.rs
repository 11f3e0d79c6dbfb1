//! The `objectives` of a policy, each checked to be decidable in the time there is.

use super::super::fault::FaultCode;
use super::super::tree::{Node, Place, Value};
use super::Faults;
use super::fields::Fields;
use crate::evidence::continue_probes;
use crate::policy::{self, Decide, Objective, Probe};
use crate::units;

/// Objectives of one policy.
const OBJECTIVES_MAX: usize = 64;

pub(super) fn objectives(
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
