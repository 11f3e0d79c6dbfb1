//! From the decision to its delivery: said once, sent until it is confirmed or nobody waits.

use std::time::Duration;

use super::Run;
use super::judging::other_rule;
use super::watching::WATCH_MAX;
use crate::decision::{Answer, Basis, Decision};
use crate::event::{Action, Delivery, Trouble};
use crate::moment::Moment;
use crate::phase::Phase;

impl Run {
    /// Decides by a rule that no objective had a part in.
    pub(super) fn decide(&mut self, answer: Answer, basis: Basis, reason: String) -> Vec<Action> {
        if self.question.watch_only {
            // Nobody waits for an answer, so no rule gives one.
            return self.end_watch(reason);
        }
        let otherwise = match basis {
            Basis::Unresolved | Basis::Unmatched | Basis::BrokenPolicy => {
                Some(other_rule("unmatched", answer))
            }
            Basis::NoData => Some(other_rule("no-data", answer)),
            Basis::Undecided | Basis::GateTrouble => Some(other_rule("undecided", answer)),
            Basis::Proven
            | Basis::Condition
            | Basis::RollbackDeployment
            | Basis::NothingToMeasure
            | Basis::Observed
            | Basis::Overridden => None,
        };
        self.decide_by(answer, basis, reason, None, otherwise)
    }

    pub(super) fn decide_by(
        &mut self,
        answer: Answer,
        basis: Basis,
        reason: String,
        objective: Option<String>,
        counterfactual: Option<String>,
    ) -> Vec<Action> {
        let decision = Decision { answer, basis, reason, objective, counterfactual };
        let decision = match self.held_back(decision) {
            Ok(actions) => return actions,
            Err(decision) => decision,
        };
        let Decision { answer, basis, reason, objective, counterfactual } = decision;
        let reason = self.and_was_held(basis, reason);
        let decision = if self.observing() && answer == Answer::Rollback {
            let reason = format!("only observing; would have answered rollback: {reason}");
            let counterfactual = Some("would have been rolled back if it decided".to_owned());
            let (answer, basis) = (Answer::Continue, Basis::Observed);
            Decision { answer, basis, reason, objective, counterfactual }
        } else {
            Decision { answer, basis, reason, objective, counterfactual }
        };
        self.settle(decision, self.now)
    }

    pub(super) fn observing(&self) -> bool {
        self.question.observe || self.policy.as_ref().is_some_and(|(_, p)| p.observe)
    }

    /// Takes up a decision that was written down before a restart: what was promised is what is said.
    pub fn settle(&mut self, decision: Decision, at: Moment) -> Vec<Action> {
        self.now = self.now.max(at);
        self.timeline.note(self.now, format!("decided: {}", decision.answer));
        self.decision = Some(decision);
        self.decided_at = self.now;
        self.phase = Phase::Answering;
        self.failures = 0;
        let mut actions = vec![Action::StopProbing];
        actions.extend(self.answer(Duration::ZERO));
        actions
    }

    pub(super) fn answer(&self, after: Duration) -> Vec<Action> {
        let Some(decision) = &self.decision else { return Vec::new() };
        let rolls_back = self.deployment.as_ref().is_none_or(|d| d.rolls_back_on_failure);
        // Who may wait though by gate's moments nobody does is answered: AWS knows.
        let in_time = self.asks_who_waits.is_none();
        let until = self.waits_to().filter(|_| in_time);
        vec![Action::Answer {
            decision: Box::new(decision.clone()),
            stop_deployment: decision.answer == Answer::Rollback && !rolls_back,
            after,
            until,
        }]
    }

    pub(super) fn delivered(&mut self, delivery: Delivery) -> Vec<Action> {
        self.timeline.note(self.now, format!("answer {delivery}"));
        self.delivery = Some(delivery);
        let mut actions = self.notify();
        match self.begin_watch() {
            Some(first) => actions.extend(first),
            None => {
                self.phase = Phase::Done;
                actions.push(Action::Close);
            }
        }
        actions
    }

    /// Tells whom the policy names of what was just delivered.
    pub(super) fn notify(&self) -> Vec<Action> {
        let topics = self.policy.as_ref().map(|(_, policy)| policy.notify.clone());
        let topics = topics.filter(|topics| !topics.is_empty());
        topics.map(|topics| Action::Notify { topics }).into_iter().collect()
    }

    pub(super) fn undelivered(&mut self, trouble: Trouble) -> Vec<Action> {
        if self.trouble.as_ref() != Some(&trouble) {
            self.timeline.note(self.now, format!("answer not delivered: {trouble}"));
        }
        let reason = trouble.what.clone();
        self.trouble = Some(trouble);
        // Where nothing says how long whoever asked waits, nobody waits for days.
        if self.is_out_of_patience() || self.now.since(self.decided_at) >= WATCH_MAX {
            return self.delivered(Delivery::TooLate { reason });
        }
        self.failures = self.failures.saturating_add(1);
        self.answer(self.backoff())
    }

    pub(super) fn ended(&mut self, status: &str) -> Vec<Action> {
        if self.question.watch_only {
            return self.end_watch(format!("the deployment is {status}"));
        }
        let reason = match self.late_by() {
            Some(late) => format!(
                "too late, so nothing is answered: gate could not act until {} s after whoever asked stopped waiting; the deployment is {status}",
                late.as_secs()
            ),
            None => format!(
                "the deployment became {status} before a decision: nobody waits for an answer"
            ),
        };
        self.timeline.note(self.now, format!("the deployment ended by other hands: {status}"));
        self.unanswered(reason)
    }
}
