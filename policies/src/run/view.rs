//! A run as others see it.

use super::Run;
use crate::deployment::Arm;
use crate::judge::{Judge, Judged};
use crate::moment::Moment;
use crate::phase::Phase;
use crate::policy::Policy;
use crate::report::{ArmReport, ObjectiveReport, Report, WatchReport};
use crate::units::spell;
use crate::verdict::odds_needed;

impl Run {
    /// Each objective as it stands, in the watch where there is one: for what is looked at after each tick.
    pub fn judged(&self) -> &[Judged] {
        let judge = match &self.watching {
            Some(watching) => Some(&watching.judge),
            None => self.judge.as_ref(),
        };
        judge.map(Judge::objectives).unwrap_or_default()
    }

    /// Seconds until the evidence suffices, if it goes on growing as it did.
    fn expected_seconds(&self, judge: &Judge, policy: &Policy) -> Option<f64> {
        let seen = self.seen(policy).as_secs_f64();
        if self.phase != Phase::Judging || seen <= 0.0 {
            return None;
        }
        let (evidence, rates) = (judge.evidence(), policy.decide.rates);
        let left = |log: f64, rate: f64| {
            let needed = (1.0 / rate).ln();
            (log > 0.0 && log.is_finite()).then(|| ((needed - log) / log * seen).max(0.0))
        };
        if evidence.rollback > evidence.keep {
            return left(evidence.rollback, rates.false_rollback);
        }
        let at_least = (policy.decide.at_least.as_secs_f64() - seen).max(0.0);
        left(evidence.keep, rates.false_continue).map(|left| left.max(at_least))
    }

    fn watch_report(&self) -> Option<WatchReport> {
        let watching = self.watching.as_ref()?;
        Some(WatchReport {
            windows: watching.window,
            false_rollback: watching.judge.rates().false_rollback,
            objectives: ObjectiveReport::all(&watching.judge),
            veto: watching.veto.as_ref().map(|veto| veto.reason.clone()),
            would_have_vetoed: watching.would_have_vetoed,
            ended: watching.ended.clone(),
            series: watching.judge.series().to_vec(),
        })
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
            counterfactual: decision.and_then(|decision| decision.counterfactual.clone()),
            objectives: judge.map(ObjectiveReport::all).unwrap_or_default(),
            duration_seconds: end.since(Moment::ZERO).as_secs_f64(),
            deadline_seconds: self.deadline().since(Moment::ZERO).as_secs_f64(),
            held: self.hold_report(),
            overrides: self.override_reports(),
            overridable: self.is_overridable(),
            can_be_rolled_back: self.can_be_rolled_back(),
            deployment: self.deployment.clone(),
            policy: self.policy.as_ref().map(|(file, _)| file.clone()),
            rollback_at: policy.map(|p| odds_needed(p.decide.rates.false_rollback)),
            continue_at: policy.map(|p| odds_needed(p.decide.rates.false_continue)),
            green: arm(Arm::Green),
            blue: arm(Arm::Blue).filter(|_| has_blue),
            warm_up_probes: judge.map_or(0, Judge::warm_up_probes),
            set_aside_probes: judge.map_or(0, Judge::set_aside),
            fenced_readings: judge.map_or(0, Judge::fenced_readings),
            unusable_readings: judge.map_or(0, Judge::unusable_readings),
            gate_trouble_ticks: self.trouble_ticks,
            timeline: self.timeline.notes().to_vec(),
            timeline_dropped: self.timeline.dropped(),
            series: judge.map(|judge| judge.series().to_vec()).unwrap_or_default(),
            expected_seconds: judge
                .zip(policy)
                .and_then(|(judge, policy)| self.expected_seconds(judge, policy)),
            assumptions: policy.map(assumptions),
            watch: self.watch_report(),
        }
    }
}

/// What the stated error rates rest on (statistics.md §0, §10).
fn assumptions(policy: &Policy) -> String {
    let tick = policy.decide.tick;
    if policy.decide.strict {
        return format!(
            "ticks of {}; stalls of {} on average at most, also at the limit of the budget; bad probes may come in bursts",
            spell(tick),
            spell(tick / crate::policy::STALLS_IN_A_STRICT_TICK)
        );
    }
    format!(
        "ticks of {}; stalls of {} on average at most, at up to half the budget; Continue holds for steady badness",
        spell(tick),
        spell(tick / crate::policy::STALLS_IN_A_TICK)
    )
}
