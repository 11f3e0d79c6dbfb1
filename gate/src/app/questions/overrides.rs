//! A person overrides a question: told to its run, on disk before it counts, acknowledged when it does.

use policies::{Override, Phase, Refusal, Report};
use tracing::info;

use super::{Gate, replay};
use crate::journal::JournalError;
use crate::shell::Overruled;

/// What became of an override.
#[derive(Debug)]
pub(crate) enum Overridden {
    /// It is on disk and in force: the question as it stands now.
    Taken(Box<Report>),
    /// It is in force, and will be on disk once the disk lets it: the question as it stands now.
    Kept(Box<Report>),
    /// It changes nothing any more, or not yet.
    Refused(String),
    /// No such question.
    Unknown,
    /// It could not be written down, so it does not count.
    Unwritten,
    /// Gate is stopping, and the next start takes the question up again; or it has begun and is about to.
    Stopping,
    /// Another gate judges the question and does not answer, so it does not count.
    Unanswered,
    /// Another gate was told, and has not said whether it counts.
    Unsure,
    /// The journal cannot be read.
    Unread(JournalError),
}

impl Gate {
    /// Has a question held, released, continued or rolled back by a person, whichever gate judges it.
    pub(crate) async fn overridden(&self, id: &str, said: Override) -> Overridden {
        match (self.overridden_here(id, &said).await, self.journal.shared()) {
            (Overridden::Stopping, Some(shared)) if !self.stop.is_cancelled() => {
                self.overridden_elsewhere(shared, id, &said).await
            }
            // Where it cannot be written, another gate may take the question over without it.
            (Overridden::Kept(_report), Some(_shared)) => Overridden::Unsure,
            (told, _) => told,
        }
    }

    /// The same, where it has a run here.
    pub(super) async fn overridden_here(&self, id: &str, said: &Override) -> Overridden {
        let live = self.lock().get(id).cloned();
        let Some(live) = live else { return self.too_late(id, said).await };
        let (by, action) = (said.by.clone(), said.wish.name());
        match live.conducted.overrule(said.clone()).await {
            taken @ (Overruled::Taken | Overruled::Kept) => {
                info!(evaluation = id, by, action, "overridden");
                let report = Box::new(live.conducted.lock().report());
                if taken == Overruled::Taken {
                    Overridden::Taken(report)
                } else {
                    Overridden::Kept(report)
                }
            }
            Overruled::Refused(refusal) => Overridden::Refused(refusal.to_string()),
            Overruled::Unwritten => Overridden::Unwritten,
            // It ended this moment.
            Overruled::Gone => self.too_late(id, said).await,
        }
    }

    /// Why a question without a run cannot be overridden.
    async fn too_late(&self, id: &str, said: &Override) -> Overridden {
        match self.journal.load(id).await {
            Err(error) => Overridden::Unread(error),
            Ok(None) => Overridden::Unknown,
            Ok(Some(stored)) => {
                let run = replay(stored).run;
                match run.decision() {
                    Some(decision) if run.report().watch.is_none() => {
                        Overridden::Refused(Refusal::Decided(decision.answer).to_string())
                    }
                    _ if run.phase() == Phase::Done => {
                        Overridden::Refused(Refusal::Over.to_string())
                    }
                    _ => match run.refuses(said, policies::Moment::ZERO) {
                        Some(refusal) => Overridden::Refused(refusal.to_string()),
                        None => Overridden::Stopping,
                    },
                }
            }
        }
    }

    /// Whether a signature that is good until then is new, on disk from now on.
    ///
    /// # Errors
    /// It could not be written down: the request must not act.
    pub(crate) async fn is_first(
        &self,
        signature: &str,
        good_until_seconds: u64,
    ) -> Result<bool, JournalError> {
        self.journal.first_seen(signature, good_until_seconds).await
    }
}
