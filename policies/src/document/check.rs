//! The tree of a document checked into a policy, collecting every fault on the way.

mod call;
mod expect;
mod fields;
mod notify;
mod objectives;
mod probe;
mod scenario;
mod signals;
mod targets;

use std::time::Duration;

use super::fault::{Fault, FaultCode, FaultLevel};
use super::shape;
use super::tree::{Node, Place};
use crate::decision::Answer;
use crate::deployment::Stage;
use crate::evidence::ErrorRates;
use crate::policy::{self, AppliesTo, Decide, During, Policy, Watch};
use crate::units;
use fields::Fields;

/// What could be made of a document.
pub(super) struct Checked {
    pub(super) policy: Option<Policy>,
    pub(super) applies_to: Option<AppliesTo>,
    pub(super) applies_to_place: Place,
    pub(super) faults: Vec<Fault>,
}

/// Collects faults of one file.
pub(super) struct Faults<'a> {
    file: &'a str,
    found: Vec<Fault>,
}

impl Faults<'_> {
    /// Faults so far for which the document is refused.
    fn errors(&self) -> usize {
        self.found.iter().filter(|fault| fault.is_error()).count()
    }

    pub(super) fn add(
        &mut self,
        code: FaultCode,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(FaultLevel::Error, code, place, message.into(), help.into());
    }

    /// The same of what may be a secret, so that nobody is shown what stands there.
    pub(super) fn add_hidden(
        &mut self,
        code: FaultCode,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.add(code, place, message, help);
        if let Some(fault) = self.found.last_mut() {
            fault.hidden = true;
        }
    }

    /// Says of something accepted what this version does not do with it.
    pub(super) fn warn(
        &mut self,
        place: &Place,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.push(FaultLevel::Warning, FaultCode::G0009, place, message.into(), help.into());
    }

    fn push(
        &mut self,
        level: FaultLevel,
        code: FaultCode,
        place: &Place,
        message: String,
        help: String,
    ) {
        self.found.push(Fault {
            code,
            level,
            file: self.file.to_owned(),
            line: place.line,
            column: place.column,
            message,
            help,
            span: place.span.clone(),
            hidden: false,
        });
    }
}

/// Checks the whole document.
pub(super) fn check(file: &str, root: &Node) -> Checked {
    let mut faults = Faults { file, found: Vec::new() };
    let (policy, applies_to, applies_to_place) = document(root, &mut faults);
    let mut faults = faults.found;
    faults.sort_by_key(|fault| (fault.line, fault.column, fault.code));
    Checked { policy, applies_to, applies_to_place, faults }
}

fn document(root: &Node, faults: &mut Faults<'_>) -> (Option<Policy>, Option<AppliesTo>, Place) {
    let Some(fields) = Fields::of(root, &shape::POLICY, faults) else {
        return (None, None, root.place.clone());
    };
    let version = fields.optional("gate");
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
    let decide = decide(fields.optional("decide"), faults);
    let watch = fields.optional("watch").and_then(|node| watch(node, &decide, faults));
    let probe = fields.optional("probe").and_then(|node| probe::probe(node, &decide, faults));
    let targets = fields.optional("targets");
    let targets = targets.map(|node| targets::targets(node, probe.as_ref(), faults));
    let objectives = fields.optional("objectives").map(|node| {
        let setting =
            objectives::Setting { probe: probe.as_ref(), decide: &decide, watch, share: 1.0 };
        objectives::objectives(node, setting, faults)
    });
    if let (Some(_), Some(objectives)) = (watch, &objectives)
        && !objectives.is_empty()
        && objectives.iter().all(|objective| objective.during == During::Question)
    {
        let help = "write `during: both` or `during: watch` for one, or remove `watch`";
        let message = "no objective is judged during the watch";
        faults.add(FaultCode::G0008, fields.place_of("watch"), message, help);
    }
    let notify = fields.optional("notify").map(|node| notify::topics(node, faults));
    let place = fields.place_of("applies-to").clone();
    let policy = match (applies_to.clone(), probe, objectives) {
        (Some(applies_to), Some(probe), Some(objectives)) => {
            let (targets, notify) = (targets.unwrap_or_default(), notify.unwrap_or_default());
            Some(Policy { applies_to, observe, probe, targets, objectives, decide, watch, notify })
        }
        _ => None,
    };
    (policy, applies_to, place)
}

/// The longest name or glob; AWS's own names are shorter.
const NAME_MAX: usize = 256;

fn applies_to(node: &Node, faults: &mut Faults<'_>) -> Option<AppliesTo> {
    let before = faults.errors();
    let fields = Fields::of(node, &shape::APPLIES_TO, faults)?;
    let glob = |key: &str, faults: &mut Faults<'_>| {
        let node = fields.optional(key)?;
        let text = fields::text(node, faults)?;
        if text.is_empty() || text.len() > NAME_MAX {
            let message = format!("`{key}` has 1 to {NAME_MAX} characters");
            faults.add(FaultCode::G0004, &node.place, message, "leave it out to match any");
        }
        Some(text)
    };
    let mut applies_to = AppliesTo {
        application: glob("application", faults),
        group: glob("group", faults),
        service: glob("service", faults),
        function: glob("function", faults),
        pipeline: glob("pipeline", faults),
        stages: Vec::new(),
    };
    if applies_to.service.is_some() && applies_to.function.is_some() {
        let help = "write a policy for each";
        let message = "a deployment is of a service or of a function, never of both";
        faults.add(FaultCode::G0008, fields.place_of("function"), message, help);
    }
    for node in fields.optional("stages").map(fields::list).unwrap_or_default() {
        let Some(name) = fields::text(node, faults) else { continue };
        match Stage::named(&name) {
            Some(stage) => applies_to.stages.push(stage),
            None => {
                let message = format!("`{name}` is not a stage gate knows");
                let help = fields::words(&name, Stage::ALL.iter().map(|stage| stage.name()));
                faults.add(FaultCode::G0004, &node.place, message, help);
            }
        }
    }
    (faults.errors() == before).then_some(applies_to)
}

fn watch(node: &Node, decide: &Decide, faults: &mut Faults<'_>) -> Option<Watch> {
    let fields = Fields::of(node, &shape::WATCH, faults)?;
    fields.choice("until", &[("end-of-deployment", ())], (), faults);
    let rate = fields.parsed("false-rollback", units::share, faults);
    let window = fields.parsed("window", units::duration, faults);
    if let Some((place, rate)) = &rate {
        error_rate("false-rollback", *rate, place, faults);
    }
    if let Some((place, _)) = window.as_ref().filter(|(_, window)| *window < decide.tick * 2) {
        let message =
            format!("a window below two ticks ({}) shows nothing", units::spell(decide.tick * 2));
        faults.add(FaultCode::G0008, place, message, "10m is the default");
    }
    Some(Watch {
        false_rollback: rate.map_or(decide.rates.false_rollback, |(_, rate)| rate),
        window: window.map_or(decide.deadline, |(_, window)| window),
    })
}

fn error_rate(key: &str, value: f64, place: &Place, faults: &mut Faults<'_>) {
    if !(1e-9..=0.5).contains(&value) {
        let message = format!("`{key}` must be above 0% and at most 50%");
        faults.add(FaultCode::G0004, place, message, "1% is the default; 0.1% is strict");
    }
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
        strict: false,
    };
    let Some(node) = node else { return decide };
    let Some(fields) = Fields::of(node, &shape::DECIDE, faults) else { return decide };
    let rates = &mut decide.rates;
    for (key, rate) in [
        ("false-rollback", &mut rates.false_rollback),
        ("false-continue", &mut rates.false_continue),
    ] {
        if let Some((place, value)) = fields.parsed(key, units::share, faults) {
            *rate = value;
            error_rate(key, value, &place, faults);
        }
    }
    let at_least = fields.parsed("at-least", units::duration, faults);
    let deadline = fields.parsed("deadline", units::duration, faults);
    let stall = fields.parsed("stall", units::duration, faults);
    decide.no_data = fields.choice("no-data", &answers, Answer::Rollback, faults);
    decide.undecided = fields.choice("undecided", &answers, Answer::Rollback, faults);
    decide.strict = fields.choice("strict", &[("false", false), ("true", true)], false, faults);
    let stalls =
        if decide.strict { policy::STALLS_IN_A_STRICT_TICK } else { policy::STALLS_IN_A_TICK };
    let sound = Duration::from_millis(20)..=Duration::from_secs(12);
    if let Some((place, _)) = stall.as_ref().filter(|(_, value)| !sound.contains(value)) {
        let help = "400ms is the default; a tick is five times the stall";
        faults.add(FaultCode::G0004, place, "`stall` must be from 20ms to 12s", help);
    }
    let stall = stall.map(|(_, stall)| stall).filter(|stall| sound.contains(stall));
    decide.tick = stall.unwrap_or(policy::STALL_DEFAULT) * stalls;
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
