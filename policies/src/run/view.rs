//! A run as others see it.

use super::Run;
use crate::deployment::Arm;
use crate::judge::Judge;
use crate::moment::Moment;
use crate::phase::Phase;
use crate::report::{ArmReport, ObjectiveReport, Report};
use crate::verdict::odds_needed;

impl Run {
    /// Each objective as it stands: what changes with a tick, and is cheap to look at.
    pub fn objectives(&self) -> Vec<ObjectiveReport> {
        let (Some(judge), Some((_, policy))) = (&self.judge, &self.policy) else {
            return Vec::new();
        };
        judge.objectives().iter().map(|judged| ObjectiveReport::of(judged, policy)).collect()
    }

    /// The run as it stands.
    pub fn report(&self) -> Report {
        let policy = self.policy.as_ref().map(|(_, policy)| policy);
        let decision = self.decision.as_ref();
        let end = if self.phase >= Phase::Answering { self.decided_at } else { self.now };
        let judge = self.judge.as_ref();
        let has_blue = self.deployment.as_ref().is_some_and(|d| !d.blue.is_empty());
        let arm = |arm| judge.map(|judge| ArmReport::of(judge.arm(arm)));
        Report {
            id: self.question.id.clone(),
            phase: self.phase,
            decision: decision.map(|decision| decision.answer.name()),
            basis: decision.map(|decision| decision.basis.name()),
            reason: decision.map(|decision| decision.reason.clone()),
            objective: decision.and_then(|decision| decision.objective.clone()),
            delivery: self.delivery.clone(),
            objectives: self.objectives(),
            duration_seconds: end.since(Moment::ZERO).as_secs_f64(),
            deadline_seconds: self.deadline().since(Moment::ZERO).as_secs_f64(),
            deployment: self.deployment.clone(),
            policy: self.policy.as_ref().map(|(file, _)| file.clone()),
            rollback_at: policy.map(|p| odds_needed(p.decide.rates.false_rollback)),
            continue_at: policy.map(|p| odds_needed(p.decide.rates.false_continue)),
            green: arm(Arm::Green),
            blue: arm(Arm::Blue).filter(|_| has_blue),
            warm_up_probes: judge.map_or(0, Judge::warm_up_probes),
            set_aside_probes: judge.map_or(0, Judge::set_aside),
            gate_trouble_ticks: self.trouble_ticks,
            timeline: self.timeline.notes().to_vec(),
            timeline_dropped: self.timeline.dropped(),
            series: judge.map(|judge| judge.series().to_vec()).unwrap_or_default(),
        }
    }
}
