//! The `objectives` of a policy, each checked to be decidable in the time there is.

use std::time::Duration;

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::{Node, Place, Value};
use super::Faults;
use super::fields::{self, Fields};
use super::signals;
use crate::decision::Answer;
use crate::evidence::continue_probes;
use crate::policy::{
    self, Decide, During, Limits, Measure, Objective, Probe, Signal, Versus, Watch, auto_limits,
    slow_share,
};
use crate::units;

/// Objectives of one policy.
const OBJECTIVES_MAX: usize = 64;
/// Versus blue: green's own share of failures below which no difference matters. The larger of those that
/// statistics.md §11 tried: simulated, 0.1 % rolls back 2 % of the healthy releases whose stalls fill half of
/// a budget of 1 %, and leaves most undecided (docs/statistics.md).
const FLOOR_DEFAULT: f64 = 0.005;
/// Of events that others count, and of single targets, whose rate is not known: p1 as a multiple of p0.
const UNACCEPTABLE_TIMES: f64 = 5.0;

/// What an objective is checked against.
#[derive(Clone, Copy)]
pub(super) struct Setting<'a> {
    pub(super) probe: Option<&'a Probe>,
    pub(super) decide: &'a Decide,
    pub(super) watch: Option<Watch>,
    /// Share of the probes that are of the step an objective is about.
    pub(super) share: f64,
}

impl Setting<'_> {
    /// Probes per second that an objective is about.
    fn rate_per_second(&self) -> f64 {
        let whole = |probe: &Probe| probe.rate.settled_per_second();
        self.share * self.probe.map_or(policy::RATE_DEFAULT, whole)
    }
}

pub(super) fn objectives(
    node: &Node,
    setting: Setting<'_>,
    faults: &mut Faults<'_>,
) -> Vec<Objective> {
    let Value::List(items) = &node.value else {
        faults.add(FaultCode::G0004, &node.place, "`objectives` is a list", "start each with `- `");
        return Vec::new();
    };
    if items.is_empty() || items.len() > OBJECTIVES_MAX {
        let message =
            format!("a policy has 1 to {OBJECTIVES_MAX} objectives, this one {}", items.len());
        let help = if items.is_empty() {
            "write `- errors: { at-most: 0.5% }`"
        } else {
            "keep those that matter most: they share the error rate"
        };
        faults.add(FaultCode::G0004, &node.place, message, help);
    }
    let mut objectives: Vec<Objective> = Vec::new();
    let mut lines: Vec<usize> = Vec::new();
    let mut unreadable = false;
    for item in items {
        let Some(objective) = objective(item, setting, faults) else {
            unreadable = true;
            continue;
        };
        let mut others = objectives.iter().zip(&lines);
        // The same sentence may be weighed otherwise before the answer and after it.
        let apart = |a: During, b: During| a != b && a != During::Both && b != During::Both;
        if let Some((_, line)) = others.find(|(other, _)| {
            other.name == objective.name && !apart(other.during, objective.during)
        }) {
            let message = format!("`{}` is there twice, first on line {line}", objective.name);
            let help = "remove one: each takes a share of the error rate";
            faults.add(FaultCode::G0006, &item.place, message, help);
        }
        objectives.push(objective);
        lines.push(item.place.line);
    }
    let proves =
        |o: &Objective| !o.observe && o.during != During::Watch && o.measure.can_continue();
    if !unreadable && !items.is_empty() && !objectives.iter().any(proves) {
        faults.add(
            FaultCode::G0008,
            &node.place,
            "no objective here can prove a release good before the answer: it could never continue",
            "add `- errors: { at-most: 0.5% }`; vetoes, conditions and what only observes stand beside it",
        );
    }
    objectives
}

/// Refuses what nobody says of a function: it would never have data.
fn not_of_functions(kind: &str, place: &Place, faults: &mut Faults<'_>) {
    let (message, help) = match kind {
        "metrics" => {
            ("a function shows no metrics of its own", "write `cloudwatch` for those of Lambda")
        }
        "healthy-targets" => (
            "no load balancer checks a function",
            "write `errors`, or `alarms` of Lambda's metrics",
        ),
        _ => return,
    };
    faults.add(FaultCode::G0008, place, message, help);
}

fn objective(item: &Node, setting: Setting<'_>, faults: &mut Faults<'_>) -> Option<Objective> {
    let fields = Fields::of(item, &shape::OBJECTIVE, faults)?;
    let kinds: Vec<&str> =
        fields.present().filter(|name| shape::OBJECTIVE.key(name).is_some()).collect();
    let (kind, node) = match kinds.as_slice() {
        [kind] => (*kind, fields.optional(kind)?),
        [] => {
            if fields.present().next().is_none() {
                let help = "write `errors: { at-most: 0.5% }` or `latency: { quantile: p99, at-most: 250ms }`";
                faults.add(FaultCode::G0003, &item.place, "an objective without a kind", help);
            }
            return None;
        }
        [first, second, ..] => {
            let message = format!("`{first}` and `{second}` are one list item");
            let help = "begin each with a `- ` of its own";
            faults.add(FaultCode::G0008, fields.place_of(second), message, help);
            return None;
        }
    };
    if setting.probe.is_some_and(|probe| probe.script.invokes()) {
        not_of_functions(kind, fields.place_of(kind), faults);
    }
    let step = step(node, setting, faults);
    let share = |step: &String| setting.probe.map_or(1.0, |probe| probe.script.share_of(step));
    let setting = Setting { share: step.as_ref().map_or(1.0, share), ..setting };
    let (measure, name, fields) = match kind {
        "errors" => signals::unnamed(errors(node, setting, faults)?),
        "latency" => signals::unnamed(latency(node, setting, faults)?),
        "slo" => slo(node, setting, faults)?,
        "each-target" => signals::unnamed(each_target(node, setting, faults)?),
        "cloudwatch" => signals::unnamed(signals::cloudwatch(node, faults)?),
        "metrics" => signals::unnamed(signals::metrics(node, faults)?),
        "healthy-targets" => signals::unnamed(signals::healthy_targets(node, faults)?),
        "stopped-tasks" => signals::unnamed(signals::stopped_tasks(node, faults)?),
        _ => signals::unnamed(signals::alarms(node, faults)?),
    };
    let name = name.unwrap_or_else(|| measure.name());
    let name = match &step {
        Some(step) => format!("{name} of {step}"),
        None => name,
    };
    let weight = match fields.weight(faults) {
        Some((place, weight)) if !(0.001..=1000.0).contains(&weight) => {
            faults.add(
                FaultCode::G0004,
                &place,
                "`weight` is from 0.001 to 1000",
                "1 is the default",
            );
            1.0
        }
        Some((_, weight)) => weight,
        None => 1.0,
    };
    let observe = fields.choice("observe", &[("false", false), ("true", true)], false, faults);
    let answers = [("continue", Some(Answer::Continue)), ("rollback", Some(Answer::Rollback))];
    let no_data = fields.choice("no-data", &answers, None, faults);
    let times = [("question", During::Question), ("watch", During::Watch), ("both", During::Both)];
    let during = fields.choice("during", &times, During::Both, faults);
    if during == During::Watch && setting.watch.is_none() {
        let message = format!("`{name}` is judged during the watch, and the policy has no `watch`");
        let help = "add `watch: { until: end-of-deployment }`, or write `during: both`";
        faults.add(FaultCode::G0008, fields.place_of("during"), message, help);
    }
    let objective = Objective { name, measure, step, weight, observe, no_data, during };
    if let Some(probe) = setting.probe.filter(|_| during != During::Watch && !observe) {
        decidable(&item.place, &objective, probe, setting, faults);
    }
    Some(objective)
}

/// The scenario or step that an objective is about, where its kind may have one.
fn step(node: &Node, setting: Setting<'_>, faults: &mut Faults<'_>) -> Option<String> {
    let Value::Map(entries) = &node.value else { return None };
    let (_, node) = entries.iter().find(|(key, _)| key.name == "step")?;
    // Where it is no text, its place among the fields says so.
    let Value::Scalar(text) = &node.value else { return None };
    let Some(probe) = setting.probe else { return Some(text.clone()) };
    let signals = probe.script.signals();
    if !signals.contains(text) {
        let message = format!("`{text}` is no scenario or step of this probe");
        let help = if signals.is_empty() {
            "steps belong to `probe.scenarios`; remove `step`".to_owned()
        } else {
            fields::words(text, signals.iter().map(String::as_str))
        };
        faults.add(FaultCode::G0008, &node.place, message, help);
    }
    Some(text.clone())
}

type Found<'a> = (Measure, Fields<'a>);

/// As `read`, of a value whose form depends on another key.
pub(super) fn or_else<T>(
    read: impl Fn(&str) -> Result<T, String>,
    other: impl Fn(&str) -> bool,
    hint: &str,
) -> impl Fn(&str) -> Result<T, String> {
    move |text| {
        read(text).map_err(|reason| match other(text) {
            true => format!("{reason}, or {hint}"),
            false => reason,
        })
    }
}

fn is_more(text: &str) -> bool {
    units::more(text).is_ok()
}

fn errors<'a>(node: &'a Node, setting: Setting<'_>, faults: &mut Faults<'_>) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::ERRORS, faults)?;
    let unacceptable = fields.parsed("unacceptable", units::share, faults);
    if fields.choice("versus", &[("blue", true)], false, faults) {
        let absolute = |text: &str| units::share(text).is_ok();
        let more = or_else(units::more, absolute, "remove `versus`");
        let more = fields.parsed("at-most", more, faults);
        let floor = fields.parsed("floor", units::share, faults);
        let failed = (fields.optional("at-most").is_some() && more.is_none())
            || (fields.optional("floor").is_some() && floor.is_none());
        let acceptable = floor.map_or(FLOOR_DEFAULT, |(_, floor)| floor);
        let floor = limits(unacceptable, acceptable, setting, faults)?;
        let odds = 1.0 + more.map_or(0.0, |(_, more)| more);
        let measure = Measure::Versus { versus: Versus::Errors, odds: (odds, odds * 2.0), floor };
        return (!failed).then_some((measure, fields));
    }
    if fields.optional("floor").is_some() {
        let help = "write `versus: blue` beside it, or remove it";
        let message = "a `floor` is for `versus: blue`";
        faults.add(FaultCode::G0008, fields.place_of("floor"), message, help);
    }
    if fields.optional("at-most").is_none() {
        let message = "`errors` has no `at-most`";
        faults.add(FaultCode::G0003, &node.place, message, "write `at-most: 0.5%`");
    }
    let share = or_else(units::share, is_more, "add `versus: blue`");
    let (_, acceptable) = fields.parsed("at-most", share, faults)?;
    let limits = limits(unacceptable, acceptable, setting, faults)?;
    Some((Measure::Share { signal: Signal::Errors, limits }, fields))
}

fn latency<'a>(node: &'a Node, setting: Setting<'_>, faults: &mut Faults<'_>) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::LATENCY, faults)?;
    let quantile = fields.parsed("quantile", units::quantile, faults);
    let unacceptable = fields.parsed("unacceptable", units::share, faults);
    if fields.choice("versus", &[("blue", true)], false, faults) {
        let absolute = |text: &str| units::duration(text).is_ok();
        let more = or_else(units::more, absolute, "remove `versus`");
        let (_, margin) = fields.parsed("at-most", more, faults)?;
        let (_, quantile) = quantile?;
        let acceptable = slow_share(quantile);
        // Twice the share, as the agreed method has it (statistics.md §4), where it fits.
        let twice = (2.0 * acceptable).min(f64::midpoint(1.0, acceptable));
        let floor = match unacceptable {
            None => Limits { acceptable, unacceptable: twice },
            written => limits(written, acceptable, setting, faults)?,
        };
        let versus = Versus::Latency { quantile, margin };
        return Some((Measure::Versus { versus, odds: (1.0, 2.0), floor }, fields));
    }
    let duration = or_else(units::duration, is_more, "add `versus: blue`");
    let threshold = fields.parsed("at-most", duration, faults);
    let (threshold, (_, quantile)) = (slow_bound(threshold, setting, faults)?, quantile?);
    let limits = limits(unacceptable, slow_share(quantile), setting, faults)?;
    Some((Measure::Share { signal: Signal::SlowerThan(threshold), limits }, fields))
}

/// A bound that a probe can be slower than.
fn slow_bound(
    threshold: Option<(Place, Duration)>,
    setting: Setting<'_>,
    faults: &mut Faults<'_>,
) -> Option<Duration> {
    let (place, threshold) = threshold?;
    if threshold.is_zero() {
        faults.add(FaultCode::G0004, &place, "no answer takes no time", "write `at-most: 250ms`");
        return None;
    }
    if let Some(probe) = setting.probe.filter(|probe| threshold >= probe.timeout) {
        let message = format!(
            "a probe is given up after {}: whether it took {} cannot be told",
            units::spell(probe.timeout),
            units::spell(threshold)
        );
        let help = "raise `probe.timeout` above it, or lower it";
        faults.add(FaultCode::G0008, &place, message, help);
    }
    Some(threshold)
}

fn slo<'a>(
    node: &'a Node,
    setting: Setting<'_>,
    faults: &mut Faults<'_>,
) -> Option<(Measure, Option<String>, Fields<'a>)> {
    let fields = Fields::of(node, &shape::SLO, faults)?;
    let availability = fields.parsed("availability", units::share, faults);
    let burn_rate = fields.parsed("burn-rate", units::number, faults);
    let unacceptable = fields.parsed("unacceptable", units::share, faults);
    let ((_, availability), (place, burn_rate)) = (availability?, burn_rate?);
    let acceptable = slow_share(availability) * burn_rate;
    if acceptable >= 1.0 {
        let message = format!(
            "{burn_rate} times the budget of {} is everything: nothing could break it",
            units::percent(slow_share(availability))
        );
        faults.add(FaultCode::G0008, &place, message, "lower `burn-rate`");
        return None;
    }
    let limits = limits(unacceptable, acceptable, setting, faults)?;
    let name =
        format!("availability {} at burn rate {burn_rate}", units::exact_percent(availability));
    Some((Measure::Share { signal: Signal::Errors, limits }, Some(name), fields))
}

fn each_target<'a>(
    node: &'a Node,
    setting: Setting<'_>,
    faults: &mut Faults<'_>,
) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::EACH_TARGET, faults)?;
    let (signal, acceptable, unacceptable) =
        match (fields.optional("errors"), fields.optional("latency")) {
            (Some(node), None) => {
                let inner = Fields::of(node, &shape::EACH_ERRORS, faults)?;
                let unacceptable = inner.parsed("unacceptable", units::share, faults);
                let (_, acceptable) = inner.parsed("at-most", units::share, faults)?;
                (Signal::Errors, acceptable, unacceptable)
            }
            (None, Some(node)) => {
                let inner = Fields::of(node, &shape::EACH_LATENCY, faults)?;
                let unacceptable = inner.parsed("unacceptable", units::share, faults);
                let quantile = inner.parsed("quantile", units::quantile, faults);
                let threshold = inner.parsed("at-most", units::duration, faults);
                let threshold = slow_bound(threshold, setting, faults)?;
                (Signal::SlowerThan(threshold), slow_share(quantile?.1), unacceptable)
            }
            (None, None) => {
                let help = "write `each-target: { errors: { at-most: 5% } }`";
                let message = "`each-target` has neither `errors` nor `latency`";
                faults.add(FaultCode::G0003, &node.place, message, help);
                return None;
            }
            (Some(_), Some(_)) => {
                let help = "write an `each-target` for each";
                let message = "`each-target` has both `errors` and `latency`";
                faults.add(FaultCode::G0008, &node.place, message, help);
                return None;
            }
        };
    let limits = multiple(unacceptable, acceptable, faults)?;
    Some((Measure::EachTarget { signal, limits }, fields))
}

/// The shares of an objective over green's probes.
fn limits(
    written: Option<(Place, f64)>,
    acceptable: f64,
    setting: Setting<'_>,
    faults: &mut Faults<'_>,
) -> Option<Limits> {
    let rate = setting.rate_per_second();
    let decide = setting.decide;
    match written {
        Some(written) => above(written, acceptable, faults),
        None => Some(auto_limits(acceptable, decide.rates.false_continue, rate, decide.deadline)),
    }
}

/// The shares of an objective over events at a rate that is not known.
pub(super) fn multiple(
    written: Option<(Place, f64)>,
    acceptable: f64,
    faults: &mut Faults<'_>,
) -> Option<Limits> {
    match written {
        Some(written) => above(written, acceptable, faults),
        None if acceptable == 0.0 => Some(Limits { acceptable, unacceptable: 0.01 }),
        None => {
            let unacceptable =
                (acceptable * UNACCEPTABLE_TIMES).min(f64::midpoint(1.0, acceptable));
            Some(Limits { acceptable, unacceptable })
        }
    }
}

fn above(
    (place, unacceptable): (Place, f64),
    acceptable: f64,
    faults: &mut Faults<'_>,
) -> Option<Limits> {
    if unacceptable > acceptable {
        return Some(Limits { acceptable, unacceptable });
    }
    let message =
        format!("`unacceptable` must be above the {} allowed", units::percent(acceptable));
    let help = "leave it out: gate then chooses 2 to 10 times the allowed share";
    faults.add(FaultCode::G0008, &place, message, help);
    None
}

/// Refuses an objective that even a faultless release could not prove before the deadline.
fn decidable(
    place: &Place,
    objective: &Objective,
    probe: &Probe,
    setting: Setting<'_>,
    faults: &mut Faults<'_>,
) {
    let decide = setting.decide;
    let beta = decide.rates.false_continue;
    let (limits, history) = match &objective.measure {
        Measure::Share { limits, .. } => (*limits, 0.0),
        Measure::Versus { versus: Versus::Errors, floor, .. } => (*floor, 0.0),
        // Blue's quantile needs samples first (statistics.md §4).
        Measure::Versus { versus: Versus::Latency { quantile, .. }, floor, .. } => {
            (*floor, 5.0 / slow_share(*quantile))
        }
        Measure::EachTarget { .. }
        | Measure::Counts { .. }
        | Measure::Series { .. }
        | Measure::HealthyTargets { .. }
        | Measure::Alarms { .. }
        | Measure::StoppedTasks { .. } => return,
    };
    let per_tick = setting.rate_per_second() * decide.tick.as_secs_f64();
    let probes = if decide.strict {
        strict_ticks(limits, beta) * per_tick
    } else {
        continue_probes(limits.acceptable, limits.unacceptable, beta)
    } + history;
    let rate = setting.rate_per_second();
    let needed_seconds = probes / rate + probe.warm_up.as_secs_f64();
    if needed_seconds > decide.deadline.as_secs_f64() {
        let strictly = if decide.strict { ", or drop `strict`" } else { "" };
        let message = format!(
            "`{}` cannot be decided before the deadline: a healthy release needs about {probes:.0} probes, which take {} at {}/s, and has {}",
            objective.name,
            units::spell(Duration::try_from_secs_f64(needed_seconds).unwrap_or(Duration::MAX)),
            rate,
            units::spell(decide.deadline),
        );
        let help = format!("raise `probe.rate` or `decide.deadline`, or allow more{strictly}");
        faults.add(FaultCode::G0007, place, message, help);
    }
}

/// Ticks that a healthy release at a quarter of its budget needs where Continue bets on tick means: the
/// largest of its stakes, less the weight it begins with (statistics.md §3).
fn strict_ticks(limits: Limits, false_continue: f64) -> f64 {
    const STAKE: f64 = 0.99;
    const WEIGHT: f64 = 0.4;
    let (p0, p1) = (limits.acceptable, limits.unacceptable);
    let gain = (STAKE * (p1 - p0 / 4.0) / (1.0 - p1)).ln_1p();
    ((1.0 / false_continue).ln() - WEIGHT.ln()) / gain
}
