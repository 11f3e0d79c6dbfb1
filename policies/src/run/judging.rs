//! From a tick or a reading to what all objectives together say.

use std::time::Duration;

use super::watching::Watching;
use super::{Run, reason};
use crate::decision::{Answer, Basis};
use crate::event::Action;
use crate::judge::{Judge, Standing};
use crate::phase::Phase;
use crate::policy::Policy;
use crate::reading::Reading;
use crate::sample::Outcome;
use crate::tick::Tick;

impl Run {
    pub(super) fn ticked(&mut self, tick: &Tick) -> Vec<Action> {
        if !self.is_next(tick) || self.judge.is_none() {
            return Vec::new();
        }
        if self.phase == Phase::WarmUp {
            if let Some(judge) = &mut self.judge {
                judge.warm_up(tick);
            }
            if self.next_tick >= self.warm_up_ticks {
                self.phase = Phase::Judging;
                self.timeline.note(self.now, "warm-up is over; judging");
            }
            return if self.now >= self.deadline() { self.out_of_time() } else { Vec::new() };
        }
        if let Some(judged) = self.take(tick) {
            // Time counts from the first judged sample. At a low rate most ticks hold none, but one whose
            // probes were all set aside was not observed.
            let idle = self.judged_ticks > 0 && tick.green.total().due == 0;
            self.judged_ticks += u64::from(judged > 0 || idle);
        }
        self.stand()
    }

    pub(super) fn read(&mut self, reading: &Reading) -> Vec<Action> {
        if let Some(judge) = &mut self.judge {
            judge.read(reading, self.now);
        }
        // A baseline and the state of alarms are of use before the judging; nothing decides then.
        if self.phase == Phase::Judging { self.stand() } else { Vec::new() }
    }

    /// Whether a tick was not seen before.
    pub(super) fn is_next(&mut self, tick: &Tick) -> bool {
        let is_next = tick.index >= self.next_tick;
        if is_next {
            self.next_tick = tick.index.saturating_add(1);
        }
        is_next
    }

    /// Lets the judge in force take a tick. Probes of green judged in it; `None` where gate itself could not
    /// measure.
    pub(super) fn take(&mut self, tick: &Tick) -> Option<u64> {
        let (_, policy) = self.policy.as_ref()?;
        let (length, now) = (policy.decide.tick, self.now);
        if tick.is_gates_trouble(length) {
            // This says something about gate, nothing about the release.
            self.trouble_ticks += 1;
            self.note_unsent(tick);
            return None;
        }
        let total = tick.green.total();
        let arms = self.deployment.as_ref().map(|deployment| self.arms(deployment, policy));
        let (greens, blues) = arms.map_or((0, 0), |(green, blue)| (green.len(), blue.len()));
        if total.judged() > 0 {
            self.silence.green = Duration::ZERO;
        } else if total.due > 0 || greens == 0 {
            // Without a probe due there is no silence, unless there is nobody left to be probed.
            self.silence.green += length;
        }
        let blue = tick.blue.as_ref().map(crate::tick::ArmTick::total).unwrap_or_default();
        self.silence.blue = match self.silence.blue {
            // There never was a blue.
            None if blues == 0 => None,
            _ if blue.judged() > 0 => Some(Duration::ZERO),
            // What gate itself lost says nothing of blue.
            silent if blue.gates_fault() * 2 > u64::from(blue.due) => silent,
            silent if blue.due > 0 || blues == 0 => Some(silent.unwrap_or_default() + length),
            silent => silent.or(Some(Duration::ZERO)),
        };
        in_force(&mut self.watching, &mut self.judge).map(|judge| judge.take(tick, now))
    }

    /// Keeps what was seen where probes could not be sent, and tells of it once.
    fn note_unsent(&mut self, tick: &Tick) {
        let arms = [Some(&tick.green), tick.blue.as_ref()].into_iter().flatten();
        let mut targets = arms.flat_map(|arm| arm.targets.values());
        let unsent = targets.find_map(|target| {
            target.outcomes.get(&Outcome::NotSent)?;
            target.unmet.keys().next().cloned()
        });
        let Some(unsent) = unsent else { return };
        if self.unsent.is_none() {
            self.timeline.note(self.now, format!("probes cannot be sent: {unsent}"));
        }
        self.unsent = Some(unsent);
    }

    /// Hands what the load balancer says of green to the judge in force.
    pub(super) fn look_at_health(&mut self) {
        let Some(deployment) = &self.deployment else { return };
        if let Some(judge) = in_force(&mut self.watching, &mut self.judge) {
            judge.health(&deployment.green, self.now);
        }
    }

    /// Time judged so far.
    pub(super) fn seen(&self, policy: &Policy) -> Duration {
        let ticks = u32::try_from(self.judged_ticks).unwrap_or(u32::MAX);
        policy.decide.tick.saturating_mul(ticks)
    }

    /// Decides by what stands, or by the rule for the deadline once that has come.
    pub(super) fn stand(&mut self) -> Vec<Action> {
        self.nothing_meanwhile();
        match self.decide_as_it_stands() {
            Some(actions) => actions,
            None if self.now >= self.deadline() => self.out_of_time(),
            None => Vec::new(),
        }
    }

    /// `None` while all that can be done is to watch on.
    fn decide_as_it_stands(&mut self) -> Option<Vec<Action>> {
        let (judge, (_, policy)) = (self.judge.as_ref()?, self.policy.as_ref()?);
        let seen = self.seen(policy);
        let enough = seen >= policy.decide.at_least;
        Some(match judge.standing(self.now, self.silence, enough) {
            Standing::Rollback { objective, basis } => {
                let judged = judge.objective(objective)?;
                let reason = reason::broken(judge, judged);
                let otherwise = judge.instead_of_rollback(judged, enough);
                let name = judged.objective.name.clone();
                self.decide_by(Answer::Rollback, basis, reason, Some(name), otherwise)
            }
            Standing::Continue => {
                let reason = reason::kept(judge, policy, seen, (self.now, self.silence));
                let name = judge.least_sure().map(|judged| judged.objective.name.clone());
                let otherwise = judge.instead_of_continue();
                self.decide_by(Answer::Continue, Basis::Proven, reason, name, otherwise)
            }
            Standing::NoData { objective, what, time, answer } => {
                let judged = judge.objective(objective)?;
                let reason = reason::no_data(judge, judged, (what, time), answer);
                let name = judged.objective.name.clone();
                let otherwise = other_rule("no-data", answer);
                self.decide_by(answer, Basis::NoData, reason, Some(name), Some(otherwise))
            }
            Standing::Watch => return None,
        })
    }

    pub(super) fn out_of_time(&mut self) -> Vec<Action> {
        // What was proven under a hold was only kept back.
        let judged = self.phase == Phase::Judging && self.held_until().is_some();
        let kept_back =
            if judged { self.decide_as_it_stands() } else { self.decide_as_meanwhile() };
        if let Some(actions) = kept_back {
            return actions;
        }
        let (judge, policy) = match (&self.judge, &self.policy) {
            (Some(judge), Some((_, policy))) => (judge, policy),
            (None, Some(_)) => return self.give_up_on_targets(),
            (_, None) => return self.give_up_resolving(),
        };
        let answer = policy.decide.undecided;
        if self.next_tick == 0 {
            let reason = reason::unmeasured(self.trouble.as_ref(), self.now, answer);
            return self.decide(answer, Basis::GateTrouble, reason);
        }
        let basis = if self.trouble_ticks > self.judged_ticks {
            Basis::GateTrouble
        } else {
            Basis::Undecided
        };
        let ticks = (self.judged_ticks, self.trouble_ticks);
        let reason = if basis == Basis::GateTrouble {
            reason::gate_trouble(ticks, self.unsent.as_deref(), answer)
        } else {
            reason::undecided(judge, policy, self.now, answer)
        };
        let name = judge.least_sure().map(|judged| judged.objective.name.clone());
        let (name, otherwise) = if basis == Basis::Undecided {
            (name, judge.instead_of_undecided())
        } else {
            (None, None)
        };
        let otherwise = otherwise.unwrap_or_else(|| other_rule("undecided", answer));
        self.decide_by(answer, basis, reason, name, Some(otherwise))
    }
}

/// The judge of the watch, where there is one, else of the question.
fn in_force<'a>(
    watching: &'a mut Option<Watching>,
    judge: &'a mut Option<Judge>,
) -> Option<&'a mut Judge> {
    match watching {
        Some(watching) => Some(&mut watching.judge),
        None => judge.as_mut(),
    }
}

/// `would have continued if no-data were continue`.
pub(super) fn other_rule(key: &str, answer: Answer) -> String {
    match answer {
        Answer::Rollback => format!("would have continued if {key} were continue"),
        Answer::Continue => format!("would have been rolled back if {key} were rollback"),
    }
}
