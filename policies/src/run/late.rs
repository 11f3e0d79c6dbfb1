//! What a run does that comes to itself after whoever asked has stopped waiting: it finds out, says so, and answers
//! only who waits all the same.

use std::time::Duration;

use super::{Run, margin};
use crate::decision::Basis;
use crate::deployment::Stage;
use crate::event::{Action, Delivery, Event};
use crate::moment::Moment;
use crate::phase::Phase;
use crate::units::spell;

/// AWS is asked for so long whether anybody waits, where it gives no answer.
pub(super) const LATE_PATIENCE: Duration = Duration::from_secs(10 * 60);

impl Run {
    /// When an answer is given at the latest, from acceptance; `None` where nobody stops waiting.
    pub fn answers_by(&self) -> Option<Moment> {
        let limit = self.limit()?;
        Some(Moment::ZERO.after(limit.saturating_sub(margin(limit))))
    }

    /// When whoever asks stops waiting, from acceptance.
    pub(super) fn waits_to(&self) -> Option<Moment> {
        Some(Moment::ZERO.after(self.limit()?))
    }

    /// How long ago whoever asks stopped waiting; `None` while it waits, or where nobody does.
    pub(super) fn late_by(&self) -> Option<Duration> {
        if self.question.watch_only {
            return None;
        }
        let end = self.waits_to()?;
        (self.now >= end).then(|| self.now.since(end))
    }

    /// Everything that can happen before a decision, once the limit is over: gate was suspended, or down, or its
    /// moments are wrong because a clock stepped while it was down. The platform knows which.
    pub(super) fn too_late(&mut self, event: Event) -> Vec<Action> {
        let asked = self.asks_who_waits.is_some();
        match event {
            Event::Ended { status } => self.ended(&status),
            // What was asked before the limit may have been answered before it, too.
            Event::Resolved { .. } | Event::Unchanged | Event::Unresolved { .. } if !asked => {
                self.ask_who_waits()
            }
            Event::Resolved { deployment, policy } if deployment.is_rollback => {
                self.resolved(*deployment, policy)
            }
            // Of a pipeline nothing is read, so that nothing says who waits.
            Event::Resolved { deployment, .. }
                if matches!(deployment.stage, Stage::Approval | Stage::Invoke) =>
            {
                self.ended("unknown to gate")
            }
            Event::Resolved { .. } | Event::Unchanged => {
                self.timeline.note(self.now, "it waits all the same: by AWS's clock there is time");
                if self.policy.is_some() {
                    return self.out_of_time();
                }
                let late = self.late_by().unwrap_or_default();
                let reason = self.fallback_to_unmatched(&format!(
                    "nothing was measured: gate came to it {} after its time by gate's own clock",
                    spell(late)
                ));
                self.decide(self.question.unmatched, Basis::Unresolved, reason)
            }
            Event::Unresolved { trouble } => {
                if trouble.lasting || self.is_out_of_patience() {
                    return self.ended("unknown to gate");
                }
                self.trouble = Some(trouble);
                self.failures = self.failures.saturating_add(1);
                vec![Action::Resolve { after: self.backoff() }]
            }
            Event::Resumed => self.ask_who_waits(),
            Event::Ticked { .. }
            | Event::Read { .. }
            | Event::Woke
            | Event::TakenOver
            | Event::Overridden { .. }
            | Event::Delivered { .. }
            | Event::Undelivered { .. } => {
                if asked || self.resolving {
                    return Vec::new();
                }
                self.ask_who_waits()
            }
        }
    }

    /// Whether there is nothing more to try for whoever may wait after the limit.
    pub(super) fn is_out_of_patience(&self) -> bool {
        self.late_by().is_some()
            && self.asks_who_waits.is_none_or(|since| self.now.since(since) >= LATE_PATIENCE)
    }

    fn ask_who_waits(&mut self) -> Vec<Action> {
        self.asks_who_waits.get_or_insert(self.now);
        let late = self.late_by().unwrap_or_default().as_secs();
        self.timeline.note(
            self.now,
            format!(
                "{late} s after whoever asked was to stop waiting; looking whether it still does"
            ),
        );
        vec![Action::Resolve { after: Duration::ZERO }]
    }

    /// The run is over without an answer.
    pub(super) fn unanswered(&mut self, reason: String) -> Vec<Action> {
        self.decision = None;
        self.delivery = Some(Delivery::TooLate { reason });
        self.decided_at = self.now;
        self.phase = Phase::Done;
        vec![Action::StopProbing, Action::Close]
    }
}
