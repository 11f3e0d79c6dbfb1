//! A person overrides: a hold keeps everything else from deciding, Continue and rollback decide at once.

use std::time::Duration;

use super::Run;
use crate::decision::{Answer, Basis, Decision};
use crate::event::Action;
use crate::moment::Moment;
use crate::overrides::{OVERRIDES_MAX, Override, Refusal, Wish};
use crate::phase::Phase;
use crate::report::{HoldReport, OverrideReport};
use crate::units::spell;

/// What was said of a question so far.
#[derive(Debug, Default)]
pub(super) struct Overriding {
    said: Vec<(Moment, Override)>,
    /// The newest hold, also once it is over: the reason of the decision names it.
    hold: Option<Hold>,
}

/// Nothing is decided meanwhile.
#[derive(Debug)]
struct Hold {
    by: String,
    reason: String,
    until: Moment,
    over: bool,
    /// What would be decided without it.
    meanwhile: Option<Decision>,
}

impl Run {
    /// Why an override would not be taken at this moment; `None` if it would. What is refused is no fact.
    pub fn refuses(&self, said: &Override, at: Moment) -> Option<Refusal> {
        let refusal = self.stands_against(said, at);
        if refusal.is_none() && said.wish == Wish::Rollback && self.observing() {
            return Some(Refusal::Observing);
        }
        refusal
    }

    /// The same of a fact. Rollback where gate only observes is none any more, but older journals hold it, and lead to what
    /// they led to.
    fn stands_against(&self, said: &Override, at: Moment) -> Option<Refusal> {
        let at = self.now.max(at);
        let held = self.overriding.hold.as_ref().is_some_and(|hold| !hold.over && at < hold.until);
        match self.phase {
            Phase::Done => Some(Refusal::Over),
            Phase::Vetoing => Some(Refusal::Vetoing),
            Phase::Answering => {
                Some(self.decision.as_ref().map_or(Refusal::Over, |d| Refusal::Decided(d.answer)))
            }
            // What ends it must stay possible.
            _ if matches!(said.wish, Wish::Hold { .. })
                && self.overriding.said.len() >= OVERRIDES_MAX =>
            {
                Some(Refusal::TooMany)
            }
            Phase::Watching => match said.wish {
                Wish::Continue | Wish::Rollback => None,
                Wish::Hold { .. } | Wish::Release => Some(Refusal::Watching),
            },
            Phase::Resolving | Phase::WarmUp | Phase::Judging if self.question.watch_only => {
                (said.wish != Wish::Continue).then_some(Refusal::NobodyWaits)
            }
            Phase::Resolving | Phase::WarmUp | Phase::Judging if at >= self.deadline() => {
                Some(Refusal::OutOfTime)
            }
            Phase::Resolving | Phase::WarmUp | Phase::Judging => {
                (said.wish == Wish::Release && !held).then_some(Refusal::NotHeld)
            }
        }
    }

    /// Takes what a person says, where it is not too late for it.
    pub(super) fn overridden(&mut self, said: Override) -> Vec<Action> {
        if self.stands_against(&said, self.now).is_some() {
            return Vec::new();
        }
        let sentence = said.sentence();
        self.timeline.note(self.now, sentence.clone());
        self.overriding.said.push((self.now, said.clone()));
        if self.phase == Phase::Watching || self.question.watch_only {
            return match said.wish {
                Wish::Rollback => self.veto_by(Decision {
                    answer: Answer::Rollback,
                    basis: Basis::Overridden,
                    reason: sentence,
                    objective: None,
                    counterfactual: None,
                }),
                Wish::Continue | Wish::Hold { .. } | Wish::Release => self.end_watch(sentence),
            };
        }
        match said.wish {
            Wish::Continue => self.decide(Answer::Continue, Basis::Overridden, sentence),
            Wish::Rollback => self.decide(Answer::Rollback, Basis::Overridden, sentence),
            Wish::Hold { lasts } => self.begin_hold(said, lasts),
            Wish::Release => {
                if let Some(hold) = &mut self.overriding.hold {
                    (hold.over, hold.until) = (true, self.now);
                }
                let mut actions = vec![Action::WakeAt(self.deadline())];
                actions.extend(self.after_hold());
                actions
            }
        }
    }

    fn begin_hold(&mut self, said: Override, lasts: Duration) -> Vec<Action> {
        let meanwhile = self.overriding.hold.take().and_then(|hold| hold.meanwhile);
        let Override { by, reason, .. } = said;
        let until = self.now.after(lasts);
        self.overriding.hold = Some(Hold { by, reason, until, over: false, meanwhile });
        vec![Action::WakeAt(until.min(self.deadline()))]
    }

    /// Notes the end of a hold that lasted as long as it was meant to.
    pub(super) fn look_at_hold(&mut self) {
        let deadline = self.deadline();
        let Some(hold) = &mut self.overriding.hold else { return };
        if !hold.over && self.now >= hold.until.min(deadline) && self.phase < Phase::Answering {
            hold.over = true;
            let text = format!("the hold by {} is over", hold.by);
            self.timeline.note(self.now, text);
        }
    }

    /// Whether somebody holds the question now.
    fn is_held(&self) -> bool {
        self.overriding.hold.as_ref().is_some_and(|hold| !hold.over)
    }

    /// Until when the question is open at the least, because somebody holds it, or held it.
    pub(super) fn held_until(&self) -> Option<Moment> {
        self.overriding.hold.as_ref().map(|hold| hold.until)
    }

    /// When to look at a hold again.
    pub(super) fn wake_for_hold(&self) -> Option<Action> {
        let until = self.held_until().filter(|_| self.is_held())?;
        Some(Action::WakeAt(until.min(self.deadline())))
    }

    /// Keeps a decision back while somebody holds the question; gives it back where nobody does.
    pub(super) fn held_back(&mut self, decision: Decision) -> Result<Vec<Action>, Decision> {
        let exempt = matches!(decision.basis, Basis::Overridden | Basis::RollbackDeployment);
        if exempt || !self.is_held() {
            return Err(decision);
        }
        let Some(hold) = &mut self.overriding.hold else { return Err(decision) };
        let known = hold.meanwhile.as_ref();
        let is_new = known
            .is_none_or(|known| (known.answer, known.basis) != (decision.answer, decision.basis));
        let note = format!(
            "without the hold by {}: {} ({}): {}",
            hold.by, decision.answer, decision.basis, decision.reason
        );
        hold.meanwhile = Some(decision);
        if is_new {
            self.timeline.note(self.now, note);
        }
        // What stands in the way may be mended meanwhile.
        let looks = self.phase == Phase::Resolving;
        Ok(if looks { vec![Action::Resolve { after: super::RESOLVE_EVERY }] } else { Vec::new() })
    }

    /// Forgets what would be decided without a hold: it is looked at afresh.
    pub(super) fn nothing_meanwhile(&mut self) {
        if let Some(hold) = &mut self.overriding.hold {
            hold.meanwhile = None;
        }
    }

    /// What decides once a hold is over: what stands, at once.
    pub(super) fn after_hold(&mut self) -> Vec<Action> {
        let over = self.overriding.hold.as_ref().is_some_and(|hold| hold.over);
        if !over {
            return Vec::new();
        }
        if self.now >= self.deadline() {
            return self.out_of_time();
        }
        match self.phase {
            Phase::Judging => self.stand(),
            Phase::Resolving => self.decide_as_meanwhile().unwrap_or_default(),
            Phase::WarmUp | Phase::Answering | Phase::Watching | Phase::Vetoing | Phase::Done => {
                Vec::new()
            }
        }
    }

    /// What stood in the way of a measurement under a hold, where that is so.
    pub(super) fn decide_as_meanwhile(&mut self) -> Option<Vec<Action>> {
        let hold = self.overriding.hold.as_mut().filter(|hold| hold.over)?;
        let Decision { answer, basis, reason, objective, counterfactual } =
            hold.meanwhile.take().filter(|_| self.phase == Phase::Resolving)?;
        Some(self.decide_by(answer, basis, reason, objective, counterfactual))
    }

    /// The reason of a decision that fell after a hold names who held it.
    pub(super) fn and_was_held(&self, basis: Basis, reason: String) -> String {
        match &self.overriding.hold {
            Some(hold) if basis != Basis::Overridden => format!(
                "{reason}; held by {} until {}: {}",
                hold.by,
                spell(hold.until.min(self.now).since(Moment::ZERO)),
                hold.reason
            ),
            _ => reason,
        }
    }

    pub(super) fn hold_report(&self) -> Option<HoldReport> {
        let hold = self.overriding.hold.as_ref().filter(|hold| !hold.over)?;
        let waits = self.phase < Phase::Answering;
        waits.then(|| HoldReport {
            by: hold.by.clone(),
            reason: hold.reason.clone(),
            until_seconds: hold.until.min(self.deadline()).since(Moment::ZERO).as_secs_f64(),
            meanwhile: hold.meanwhile.as_ref().map(|decision| {
                format!("{} ({}): {}", decision.answer, decision.basis, decision.reason)
            }),
        })
    }

    pub(super) fn override_reports(&self) -> Vec<OverrideReport> {
        let report = |(at, said): &(Moment, Override)| OverrideReport {
            at_seconds: at.since(Moment::ZERO).as_secs_f64(),
            action: said.wish.name(),
            by: said.by.clone(),
            reason: said.reason.clone(),
        };
        self.overriding.said.iter().map(report).collect()
    }

    /// Whether somebody may still override it: a page offers it then.
    pub fn is_overridable(&self) -> bool {
        self.phase < Phase::Answering || self.phase == Phase::Watching
    }

    /// Whether what gate says stops anything, so that a page offers rollback.
    pub(super) fn can_be_rolled_back(&self) -> bool {
        self.is_overridable() && !self.observing()
    }
}
