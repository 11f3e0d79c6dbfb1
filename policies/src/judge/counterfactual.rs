//! What would have changed a decision: the smallest step of a policy's own knobs.

use super::judged::Engine;
use super::memory::{Look, Otherwise};
use super::{Judge, Judged, Setting};
use crate::deployment::Arm;
use crate::evidence::numerics::count;
use crate::policy::{Counted, Limits, Measure, Signal};
use crate::units::{percent, spell};
use crate::verdict::Verdict;

impl Judge {
    /// What would have kept this objective from rolling the release back.
    pub(crate) fn instead_of_rollback(&self, judged: &Judged, seen_enough: bool) -> Option<String> {
        let name = &judged.objective.name;
        match &judged.objective.measure {
            Measure::Share { signal: Signal::SlowerThan(_), limits } => {
                self.slower(limits.acceptable)
            }
            Measure::Share { .. } | Measure::Counts { .. } => {
                let knob = judged.knob()?;
                let unbroken = |other: Otherwise| other.rollback_max < knob.rollback_at;
                let kept = |other: Otherwise| unbroken(other) && other.keep >= knob.keep_at;
                let continues =
                    if seen_enough { knob.find(judged, Look::SmallestAbove, kept) } else { None };
                if let Some(share) = continues {
                    return Some(format!(
                        "would have continued if {} were {} (`{name}`)",
                        knob.called,
                        percent(share)
                    ));
                }
                let share = knob.find(judged, Look::SmallestAbove, unbroken)?;
                Some(format!(
                    "would not have been rolled back by then if {} were {} (`{name}`)",
                    knob.called,
                    percent(share)
                ))
            }
            Measure::Versus { .. } if judged.total > 0 => Some(format!(
                "would not have been rolled back by then if floor were above {} (`{name}`)",
                percent(count(judged.bad) / count(judged.total))
            )),
            Measure::EachTarget { .. } => {
                let suspect = judged.suspect().filter(|suspect| suspect.all > 0)?;
                Some(format!(
                    "would not have been rolled back by then if {} were not there, or at-most were above {} (`{name}`)",
                    suspect.id,
                    percent(count(suspect.bad) / count(suspect.all))
                ))
            }
            Measure::StoppedTasks { .. } => {
                let Engine::Condition(condition) = &judged.engine else { return None };
                Some(format!(
                    "would have been watched on if at-most were {} (`{name}`)",
                    condition.stopped
                ))
            }
            Measure::HealthyTargets { .. } | Measure::Alarms { .. } => {
                let Engine::Condition(condition) = &judged.engine else { return None };
                let failing = condition.failing_for()?;
                Some(format!(
                    "would have been watched on if for were above {} (`{name}`)",
                    spell(failing)
                ))
            }
            Measure::Versus { .. } | Measure::Series { .. } => None,
        }
    }

    /// What would have rolled a release back that continued, or how much stricter it could have been.
    pub(crate) fn instead_of_continue(&self) -> Option<String> {
        let suspended = self.objectives.iter().find(|o| !o.objective.observe && o.blue_is_broken());
        if let Some(judged) = suspended {
            let name = &judged.objective.name;
            return Some(format!(
                "would have been held to its own errors if blue were not broken too (`{name}`)"
            ));
        }
        let judged = self.least_sure()?;
        let name = &judged.objective.name;
        let knob = judged.knob()?;
        let broken = |other: Otherwise| other.rollback_max >= knob.rollback_at;
        if let Some(share) = knob.find(judged, Look::LargestBelow, broken) {
            return Some(format!(
                "would have been rolled back if {} were {} (`{name}`)",
                knob.called,
                percent(share)
            ));
        }
        let kept = |other: Otherwise| other.keep >= knob.keep_at;
        let strictest = knob.find(judged, Look::SmallestBelow, kept)?;
        Some(format!(
            "would have continued as soon with {} down to {} (`{name}`)",
            knob.called,
            percent(strictest)
        ))
    }

    /// What would have let an undecided release continue.
    pub(crate) fn instead_of_undecided(&self) -> Option<String> {
        let stands = |o: &&Judged| {
            !o.objective.observe
                && o.objective.measure.is_condition()
                && o.verdict() != Verdict::Kept
        };
        if let Some(condition) = self.objectives.iter().find(stands) {
            let name = &condition.objective.name;
            return Some(format!("would have continued if `{name}` had held, or only observed"));
        }
        let judged = self.least_sure()?;
        let name = &judged.objective.name;
        if let Measure::Share { signal: Signal::SlowerThan(_), limits } = &judged.objective.measure
        {
            return self.slower(limits.acceptable);
        }
        let knob = judged.knob()?;
        let kept =
            |other: Otherwise| other.rollback_max < knob.rollback_at && other.keep >= knob.keep_at;
        let share = knob.find(judged, Look::SmallestAbove, kept)?;
        Some(format!("would have continued if at-most were {} (`{name}`)", percent(share)))
    }

    /// The latency that just the allowed share of green's probes exceeded.
    fn slower(&self, allowed: f64) -> Option<String> {
        let total = &self.arm(Arm::Green).total;
        let answered = total.latency.count();
        let all = count(total.judged);
        let beyond = all * allowed - (all - count(answered));
        if beyond < 0.0 {
            return Some(format!(
                "no at-most would have changed it: more than the {} allowed got no answer at all",
                percent(allowed)
            ));
        }
        let within = 1.0 - beyond / count(answered.max(1));
        let edge = total.latency.quantile(within)?;
        Some(format!(
            "with at-most above {} no more than the allowed {} of the probes were slow",
            spell(edge),
            percent(allowed)
        ))
    }
}

/// A policy's knob for a share, and what its evidence is held to.
struct Knob {
    setting: Setting,
    limits: Limits,
    called: &'static str,
    rollback_at: f64,
    keep_at: f64,
}

impl Knob {
    fn find(&self, judged: &Judged, look: Look, wanted: impl Fn(Otherwise) -> bool) -> Option<f64> {
        judged.memory.find(self.setting, self.limits, look, wanted)
    }
}

impl Judged {
    /// The allowed share as a knob; none where it is not one number, or was not what decided.
    fn knob(&self) -> Option<Knob> {
        if self.blue_is_broken() {
            return None;
        }
        let slow = "the share allowed to be slow";
        let counted = || Some(self.setting().of_size(self.memory.first_size()?));
        let (limits, called, setting) = match &self.objective.measure {
            Measure::Share { limits, signal: Signal::Errors } => {
                (*limits, "at-most", self.setting())
            }
            Measure::Share { limits, signal: Signal::SlowerThan(_) } => {
                (*limits, slow, self.setting())
            }
            Measure::Counts {
                limits,
                counted: Counted::Buckets { .. } | Counted::Sidecars(Signal::SlowerThan(_)),
                ..
            } => (*limits, slow, counted()?),
            Measure::Counts { limits, .. } => (*limits, "at-most", counted()?),
            Measure::Versus { .. }
            | Measure::EachTarget { .. }
            | Measure::Series { .. }
            | Measure::HealthyTargets { .. }
            | Measure::Alarms { .. }
            | Measure::StoppedTasks { .. } => return None,
        };
        Some(Knob {
            setting,
            limits,
            called,
            rollback_at: setting.log_rollback_at() - self.share.ln(),
            keep_at: (1.0 / setting.rates.false_continue).ln(),
        })
    }
}
