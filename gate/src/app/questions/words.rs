//! An override that was told to a gate which does not judge the question: left for the one that does, and its answer
//! waited for.

use std::sync::Arc;
use std::time::Duration;

use policies::Override;
use tokio::time::{Instant, sleep, timeout};
use tracing::{error, warn};

use super::{Gate, Overridden, replayed};
use crate::journal::{JournalError, Judge, Outcome, Shared, Word};

/// What was left for a gate is looked for so often.
pub(in crate::app) const LISTEN_EVERY: Duration = Duration::from_secs(1);
/// It is looked so often who judges, and what became of a word.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A question that no other gate judges is given so long to be taken up.
const OWNER_PATIENCE: Duration = Duration::from_secs(6);
/// A gate that judges is given so long to take a word, before it is withdrawn.
const WORD_PATIENCE: Duration = Duration::from_secs(12);
/// A gate that has taken a word is given so long after that to say what became of it.
const TAKEN_PATIENCE: Duration = Duration::from_secs(5);
/// All of it together, within the time of a request.
const ELSEWHERE_TIMEOUT: Duration = Duration::from_secs(27);
/// What became of a word is written so often at most.
const ANSWER_TRIES_MAX: u32 = 4;

impl Gate {
    /// Has the gate that judges a question take an override.
    pub(super) async fn overridden_elsewhere(
        &self,
        shared: &Shared,
        id: &str,
        said: &Override,
    ) -> Overridden {
        // A word may be under way by then.
        let told = timeout(ELSEWHERE_TIMEOUT, self.tell_judge(shared, id, said)).await;
        told.unwrap_or(Overridden::Unsure)
    }

    async fn tell_judge(&self, shared: &Shared, id: &str, said: &Override) -> Overridden {
        let until = Instant::now() + OWNER_PATIENCE;
        loop {
            match shared.judge(id).await {
                Err(error) => return Overridden::Unread(error),
                Ok(Judge::Other(owner)) => {
                    if let Some(told) = self.send_word(shared, &owner, id, said).await {
                        return told;
                    }
                }
                // Its log is read whole for that, which a gate that is about to take it up does at this moment.
                Ok(Judge::HereOrSoon) if !self.has_run(id) => {}
                // A run that begins here, or one that is over by now.
                Ok(Judge::Nobody | Judge::HereOrSoon) => {
                    let told = self.overridden_here(id, said).await;
                    if !matches!(told, Overridden::Stopping) {
                        return told;
                    }
                }
            }
            if Instant::now() >= until {
                return Overridden::Unanswered;
            }
            sleep(LOOK_EVERY).await;
        }
    }

    /// Leaves a word for another gate and waits for what becomes of it. `None` where that one does not judge the question any
    /// more.
    async fn send_word(
        &self,
        shared: &Shared,
        owner: &str,
        id: &str,
        said: &Override,
    ) -> Option<Overridden> {
        let now = self.clouds.home().unix_millis();
        let left = match shared.leave_word(owner, id, said, now).await {
            Ok(left) => left,
            Err(error) => return Some(unsure(id, &error)),
        };
        let heard = async {
            loop {
                // A read that fails says nothing: the next one may.
                if let Ok(Some(outcome)) = shared.heard(&left).await {
                    return outcome;
                }
                sleep(LOOK_EVERY).await;
            }
        };
        let mut heard = std::pin::pin!(heard);
        let outcome = match timeout(WORD_PATIENCE, &mut heard).await {
            Ok(outcome) => outcome,
            Err(_elapsed) => match shared.withdraw(&left).await {
                Ok(true) => return Some(Overridden::Unanswered),
                Ok(false) => match timeout(TAKEN_PATIENCE, heard).await {
                    Ok(outcome) => outcome,
                    Err(_elapsed) => return Some(Overridden::Unsure),
                },
                Err(error) => return Some(unsure(id, &error)),
            },
        };
        Some(match outcome {
            // As the journal has it: what was taken is in it.
            Outcome::Taken => match self.stored(id).await {
                Ok(Some(stored)) => Overridden::Taken(Box::new(replayed(stored).0)),
                Ok(None) => Overridden::Unsure,
                Err(error) => unsure(id, &error),
            },
            // It is lost where that gate ends before it is written.
            Outcome::Kept => Overridden::Unsure,
            Outcome::Refused(why) => Overridden::Refused(why),
            Outcome::Unwritten => Overridden::Unwritten,
            Outcome::Gone => return None,
        })
    }

    /// Takes what other gates were told of questions that are judged here.
    pub(in crate::app) async fn listen(self: &Arc<Self>, shared: &Shared) {
        let words = match shared.words(self.clouds.home().unix_millis()).await {
            Ok(words) => words,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                return warn!(error, "it is not known what other gates were told");
            }
        };
        for word in words {
            match shared.take_word(&word).await {
                Ok(true) => {
                    let gate = Arc::clone(self);
                    self.tasks.spawn(async move { gate.take_word(word).await });
                }
                Ok(false) => {}
                Err(error) => warn!(
                    evaluation = word.id,
                    error = &error as &dyn std::error::Error,
                    "an override that another gate was told is not taken"
                ),
            }
        }
    }

    async fn take_word(&self, word: Word) {
        let outcome = match self.overridden_here(&word.id, &word.said).await {
            Overridden::Taken(_report) => Outcome::Taken,
            Overridden::Kept(_report) => Outcome::Kept,
            Overridden::Refused(why) => Outcome::Refused(why),
            Overridden::Unwritten => Outcome::Unwritten,
            Overridden::Unsure => return,
            Overridden::Unknown
            | Overridden::Stopping
            | Overridden::Unanswered
            | Overridden::Unread(_) => Outcome::Gone,
        };
        let Some(shared) = self.journal.shared() else { return };
        for try_number in 1..=ANSWER_TRIES_MAX {
            match shared.answer_word(&word, &outcome).await {
                Ok(()) => return,
                Err(error) if try_number == ANSWER_TRIES_MAX => error!(
                    evaluation = word.id,
                    error = &error as &dyn std::error::Error,
                    "another gate does not know what became of its override"
                ),
                Err(_passing) => sleep(LISTEN_EVERY).await,
            }
        }
    }
}

fn unsure(id: &str, error: &JournalError) -> Overridden {
    let error: &dyn std::error::Error = error;
    warn!(evaluation = id, error, "it is not known whether another gate took an override");
    Overridden::Unsure
}
