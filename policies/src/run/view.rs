//! A run as others see it.

use super::Run;
use crate::deployment::Arm;
use crate::judge::Judge;
use crate::moment::Moment;
use crate::phase::Phase;
use crate::report::{ArmReport, ObjectiveReport, Report, decided};
use crate::verdict;

impl Run {
    /// Each objective as it stands: what changes with a tick, and is cheap to look at.
    pub fn objectives(&self) -> Vec<ObjectiveReport> {
        let policy = self.policy.as_ref().map(|(_, policy)| policy);
        Report::objectives(self.judge.as_ref(), policy)
    }

    /// The run as it stands.
    pub fn report(&self) -> Report {
        let policy = self.policy.as_ref().map(|(_, policy)| policy);
        let (decision, basis) = decided(self.decision.as_ref());
        let end = if self.phase >= Phase::Answering { self.decided_at } else { self.now };
        let judge = self.judge.as_ref();
        let has_blue = self.deployment.as_ref().is_some_and(|d| !d.blue.is_empty());
        let arm = |arm| judge.map(|judge| ArmReport::of(judge.arm(arm)));
        let at = |rate: f64| verdict::odds((1.0 / rate).ln() + 1e-9);
        Report {
            id: self.question.id.clone(),
            phase: self.phase,
            decision,
            basis,
            reason: self.decision.as_ref().map(|decision| decision.reason.clone()),
            objective: self.decision.as_ref().and_then(|decision| decision.objective.clone()),
            delivery: self.delivery.clone(),
            objectives: self.objectives(),
            duration_seconds: end.since(Moment::ZERO).as_secs_f64(),
            deadline_seconds: self.deadline().since(Moment::ZERO).as_secs_f64(),
            deployment: self.deployment.clone(),
            policy: self.policy.as_ref().map(|(file, _)| file.clone()),
            rollback_at: policy.map(|p| at(p.decide.rates.false_rollback)),
            continue_at: policy.map(|p| at(p.decide.rates.false_continue)),
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
