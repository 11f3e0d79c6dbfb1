//! A recorded run once more: the same facts, the same decision; or with another policy, what it would have
//! done.

use serde::Serialize;

use crate::decision::{Answer, Decision};
use crate::document::PolicyFile;
use crate::event::{Event, PolicyInForce};
use crate::moment::Moment;
use crate::policy::Policy;
use crate::report::Report;
use crate::run::{Question, Run};

/// What a record holds of a run, in order.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// Something that happened.
    Event(Event),
    /// The decision as it was written down.
    Decided(Decision),
}

/// A decision and when it fell.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fell {
    /// What was said.
    pub decision: Answer,
    /// What it rests on.
    pub basis: &'static str,
    /// The objective that decided, where one did.
    pub objective: Option<String>,
    /// Index of the last tick that was taken before; `None` where none was.
    pub tick: Option<u64>,
    /// Seconds from acceptance.
    pub seconds: f64,
    /// Why.
    pub reason: String,
    /// What would have changed it.
    pub counterfactual: Option<String>,
}

/// A run once more.
#[derive(Debug)]
pub struct Replay {
    /// The decision, if one fell before the facts ended.
    pub fell: Option<Fell>,
    /// The decision itself.
    pub decision: Option<Decision>,
    /// Everything that can be said of the run.
    pub report: Report,
}

/// The decision as it was recorded.
pub fn recorded(facts: &[(Moment, Fact)]) -> Option<(Fell, Decision)> {
    let mut tick = None;
    for (at, fact) in facts {
        match fact {
            Fact::Event(Event::Ticked { tick: taken }) => tick = Some(taken.index),
            Fact::Event(_) => {}
            Fact::Decided(decision) => {
                return Some((Fell::of(decision, tick, *at), decision.clone()));
            }
        }
    }
    None
}

/// Lets the facts happen again, judged by `instead` where that is given.
///
/// Only what is known at a moment counts: a decision that was written down is not told to the run.
pub fn replay(
    question: Question,
    facts: &[(Moment, Fact)],
    instead: Option<(String, Policy)>,
) -> Replay {
    let mut run = match instead {
        Some((file, policy)) => Run::judged_by(question, file, policy),
        None => Run::new(question),
    };
    let (mut tick, mut fell) = (None, None);
    for (at, fact) in facts {
        let Fact::Event(event) = fact else { continue };
        // How the recorded answer went says nothing of another one that was never sent.
        let delivery = matches!(event, Event::Delivered { .. } | Event::Undelivered { .. });
        if delivery && run.decision().is_none() {
            continue;
        }
        if let Event::Ticked { tick: taken } = event {
            tick = Some(taken.index);
        }
        drop(run.step(event.clone(), *at));
        if let (None, Some(decision)) = (&fell, run.decision()) {
            fell = Some(Fell::of(decision, tick, *at));
        }
    }
    Replay { fell, decision: run.decision().cloned(), report: run.report() }
}

/// The policy a record was judged by.
pub fn policy_of(facts: &[(Moment, Fact)]) -> Option<Policy> {
    facts.iter().find_map(|(_, fact)| match fact {
        Fact::Event(Event::Resolved { policy: PolicyInForce::Chosen { file, text }, .. }) => {
            PolicyFile::parse(file, text).policy
        }
        Fact::Event(_) | Fact::Decided(_) => None,
    })
}

/// Another policy over what was measured under the recorded one: ticks, rate and requests are as they were.
#[must_use]
pub fn over(recorded: &Policy, other: &Policy) -> Policy {
    let mut over = other.clone();
    let warm_up = over.probe.warm_up;
    over.probe = recorded.probe.clone();
    over.probe.warm_up = warm_up;
    over.targets = recorded.targets.clone();
    over.decide.tick = recorded.decide.tick;
    over
}

impl Fell {
    fn of(decision: &Decision, tick: Option<u64>, at: Moment) -> Self {
        Self {
            decision: decision.answer,
            basis: decision.basis.name(),
            objective: decision.objective.clone(),
            tick,
            seconds: at.since(Moment::ZERO).as_secs_f64(),
            reason: decision.reason.clone(),
            counterfactual: decision.counterfactual.clone(),
        }
    }
}
