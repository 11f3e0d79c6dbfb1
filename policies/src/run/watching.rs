//! Judging on after Continue, while traffic shifts: ends in silence or in a veto.

use std::f64::consts::PI;
use std::time::Duration;

use super::{RESOLVE_EVERY, Run, reason};
use crate::decision::{Answer, Decision};
use crate::deployment::{Deployment, Stage};
use crate::event::{Action, Delivery, Event, Trouble};
use crate::evidence::ErrorRates;
use crate::judge::{Judge, Scope, Silence, Standing};
use crate::phase::Phase;
use crate::policy::During;
use crate::reading::Reading;
use crate::tick::Tick;

/// A watch ends by then, whatever becomes of the deployment: CodeDeploy keeps blue for two days at most
/// before it ends a deployment, and a bake takes a day at most.
pub(super) const WATCH_MAX: Duration = Duration::from_secs(3 * 24 * 3600);

/// A watch under way, with evidence of its own.
#[derive(Debug)]
pub(super) struct Watching {
    pub(super) judge: Judge,
    /// Windows of evidence so far, from 1.
    pub(super) window: u32,
    ticks: u64,
    /// Ticks of this window; `None` where the end of the deployment is known, so that there is but one.
    window_ticks: Option<u64>,
    pub(super) veto: Option<Decision>,
    pub(super) would_have_vetoed: bool,
    pub(super) ended: Option<String>,
}

impl Run {
    /// Whether its policy would have it judge on after Continue.
    pub fn may_watch(&self) -> bool {
        self.policy.as_ref().is_some_and(|(_, policy)| policy.watch.is_some())
    }

    /// What to do first, where the policy wants a watch and the release goes on.
    pub(super) fn begin_watch(&mut self) -> Option<Vec<Action>> {
        let goes_on = self.decision.as_ref().is_some_and(|d| d.answer == Answer::Continue);
        // Completed already by an earlier try whose reply was lost, as like as not.
        let delivered = self.delivery.as_ref();
        let confirmed = delivered.is_some_and(|delivery| {
            matches!(delivery, Delivery::Confirmed | Delivery::AlreadyCompleted)
        });
        // A shell or a pipeline has its answer and goes on; there is no deployment that could be stopped.
        let shell = self.deployment.as_ref().is_none_or(|d| {
            matches!(
                d.stage,
                Stage::Shell | Stage::ValidateService | Stage::Approval | Stage::Invoke
            )
        });
        let answered = self.question.watch_only || (goes_on && confirmed);
        if !answered || shell || self.taken_over || self.over {
            return None;
        }
        let (watching, text) = self.window(1)?;
        self.watching = Some(watching);
        let plan = self.plan()?;
        self.timeline.note(self.now, text);
        self.silence = Silence::of(!plan.blue.is_empty());
        self.phase = Phase::Watching;
        let mut actions = vec![Action::Probe(Box::new(plan))];
        if !self.resolving {
            actions.push(Action::Resolve { after: RESOLVE_EVERY });
        }
        Some(actions)
    }

    /// A window of evidence, the `number`th.
    fn window(&self, number: u32) -> Option<(Watching, String)> {
        let (policy, before) = (&self.policy.as_ref()?.1, self.judge.as_ref()?);
        let watch = policy.watch?;
        policy.judged_during(During::Watch).next()?;
        let remaining = self.deployment.as_ref().and_then(Deployment::remaining);
        let false_rollback = match remaining {
            Some(_) if number == 1 => watch.false_rollback,
            Some(_) | None => window_rate(watch.false_rollback, number),
        };
        let horizon = remaining.unwrap_or(watch.window);
        let rates = ErrorRates { false_rollback, ..policy.decide.rates };
        let horizon_ticks = policy.ticks_in(horizon);
        let scope = Scope { during: During::Watch, rates, horizon_ticks, began: self.now };
        let before = self.watching.as_ref().map_or(before, |watching| &watching.judge);
        let targets = self.plan()?.green.len();
        let judge = Judge::new(policy, scope).ok()?.of_targets(targets).knowing(before);
        let text = format!(
            "watching, window {number}: false rollback at most {} in {}",
            crate::units::percent(false_rollback),
            crate::units::spell(horizon)
        );
        let window_ticks = remaining.is_none().then(|| policy.ticks_in(watch.window));
        let watching = Watching {
            judge,
            window: number,
            ticks: 0,
            window_ticks,
            veto: None,
            would_have_vetoed: false,
            ended: None,
        };
        Some((watching, text))
    }

    /// Everything that can happen after the answer.
    pub(super) fn answered(&mut self, event: Event) -> Vec<Action> {
        match (self.phase, event) {
            // A look that was under way when the veto was decided: whether the deployment ended by the veto or
            // before it is known to whoever sends it.
            (Phase::Vetoing, Event::Ended { status }) => {
                self.timeline.note(self.now, format!("the deployment is {status}"));
                Vec::new()
            }
            (_, Event::Ended { status }) => self.end_watch(format!("the deployment is {status}")),
            // A veto under way is brought to its end, whoever else judges.
            (Phase::Watching, Event::TakenOver) => {
                self.end_watch("another question of the deployment took over".to_owned())
            }
            (Phase::Vetoing, Event::Delivered { delivery }) => {
                let mut actions = self.notify();
                actions.extend(self.end_watch(format!("veto {delivery}")));
                actions
            }
            (Phase::Vetoing, Event::Undelivered { trouble }) => self.veto_undelivered(trouble),
            (Phase::Vetoing, Event::Resumed) => {
                self.timeline.note(self.now, "gate restarted; sending the veto again");
                self.veto(Duration::ZERO)
            }
            (Phase::Vetoing, _) => Vec::new(),
            (_, Event::Overridden { said }) => self.overridden(said),
            (_, Event::Ticked { tick }) => self.watched(&tick),
            (_, Event::Read { reading }) => self.watch_read(&reading),
            (_, Event::Resolved { deployment, .. }) => self.resolved_again(*deployment),
            (_, Event::Unchanged) => self.unchanged(),
            (_, Event::Unresolved { trouble }) => self.unresolved(trouble),
            (_, Event::Resumed) => {
                self.timeline
                    .note(self.now, "gate restarted; watching on with the evidence on disk");
                let probe = self.plan().map(|plan| Action::Probe(Box::new(plan)));
                probe.into_iter().chain([Action::Resolve { after: Duration::ZERO }]).collect()
            }
            (
                _,
                Event::Woke
                | Event::TakenOver
                | Event::Delivered { .. }
                | Event::Undelivered { .. },
            ) => Vec::new(),
        }
    }

    fn watched(&mut self, tick: &Tick) -> Vec<Action> {
        if !self.is_next(tick) {
            return Vec::new();
        }
        if self.now.since(self.decided_at) >= WATCH_MAX {
            return self.end_watch("three days are over".to_owned());
        }
        if self.question.watch_only && self.next_tick <= self.warm_up_ticks {
            if let Some(watching) = &mut self.watching {
                watching.judge.warm_up(tick);
            }
            return Vec::new();
        }
        self.take(tick);
        let actions = self.watch_stands();
        if self.phase == Phase::Watching {
            self.next_window();
        }
        actions
    }

    fn watch_read(&mut self, reading: &Reading) -> Vec<Action> {
        if let Some(watching) = &mut self.watching {
            watching.judge.read(reading, self.now);
        }
        self.watch_stands()
    }

    /// Only proof ends a watch early: what is unproven, or without data, is watched on.
    fn watch_stands(&mut self) -> Vec<Action> {
        let Some(watching) = &self.watching else { return Vec::new() };
        let standing = watching.judge.standing(self.now, self.silence, true);
        let Standing::Rollback { objective, basis } = standing else { return Vec::new() };
        let Some(judged) = watching.judge.objective(objective) else { return Vec::new() };
        let reason = reason::broken(&watching.judge, judged);
        let counterfactual = watching.judge.instead_of_rollback(judged, true);
        let objective = Some(judged.objective.name.clone());
        let decision =
            Decision { answer: Answer::Rollback, basis, reason, objective, counterfactual };
        self.veto_by(decision)
    }

    /// Stops the deployment for this reason, or says that it would.
    pub(super) fn veto_by(&mut self, decision: Decision) -> Vec<Action> {
        if self.observing() {
            let text = format!("only observing; would have vetoed: {}", decision.reason);
            if let Some(watching) = &mut self.watching {
                watching.would_have_vetoed = true;
            }
            return self.end_watch(text);
        }
        self.timeline.note(self.now, format!("veto: {}", decision.reason));
        if let Some(watching) = &mut self.watching {
            watching.veto = Some(decision);
        }
        self.phase = Phase::Vetoing;
        self.failures = 0;
        let mut actions = vec![Action::StopProbing];
        actions.extend(self.veto(Duration::ZERO));
        actions
    }

    fn veto(&self, after: Duration) -> Vec<Action> {
        let veto = self.watching.as_ref().and_then(|watching| watching.veto.clone());
        veto.map(|decision| Action::Veto { decision: Box::new(decision), after })
            .into_iter()
            .collect()
    }

    fn veto_undelivered(&mut self, trouble: Trouble) -> Vec<Action> {
        if self.trouble.as_ref() != Some(&trouble) {
            self.timeline.note(self.now, format!("veto not delivered: {trouble}"));
        }
        self.trouble = Some(trouble);
        if self.now.since(self.decided_at) >= WATCH_MAX {
            return self.end_watch("three days are over".to_owned());
        }
        self.failures = self.failures.saturating_add(1);
        self.veto(self.backoff())
    }

    /// Opens the next window once this one is full.
    fn next_window(&mut self) {
        let Some(watching) = &mut self.watching else { return };
        watching.ticks += 1;
        if watching.window_ticks.is_none_or(|most| watching.ticks < most) {
            return;
        }
        let number = watching.window.saturating_add(1);
        if let Some((next, text)) = self.window(number) {
            self.timeline.note(self.now, text);
            self.watching = Some(next);
            self.look_at_health();
        }
    }

    pub(super) fn end_watch(&mut self, why: String) -> Vec<Action> {
        self.timeline.note(self.now, format!("the watch is over: {why}"));
        if let Some(watching) = &mut self.watching {
            watching.ended = Some(why);
        }
        self.phase = Phase::Done;
        vec![Action::StopProbing, Action::Close]
    }
}

/// What the `number`th window may spend: `6/(π²k²)` of the rate, which sums to all of it (design.md §6).
pub(super) fn window_rate(false_rollback: f64, number: u32) -> f64 {
    false_rollback * 6.0 / (PI * f64::from(number)).powi(2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_windows_together_spend_no_more_than_the_rate() {
        let spent: f64 = (1..=10_000).map(|window| window_rate(0.01, window)).sum();
        assert!(spent < 0.01 && spent > 0.00999, "{spent}");
    }
}
