//! Questions taken up where a restart, or another gate, left them: the same facts lead to the same state.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use policies::{Decision, Event, Phase, Run};
use tokio::time::{Instant, timeout};
use tracing::{error, info, warn};

use super::{Gate, Intake};
use crate::crash;
use crate::journal::{Accepted, Entry, JournalError, Stored};
use crate::shell::ENTRY_LOST;

/// AWS is asked for the time at a start for so long.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(5);
/// Marking a run as over may take so long.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

impl Gate {
    /// Takes up every question whose run is not over, all at once.
    #[cfg(test)]
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), JournalError> {
        let left = self.look_for_open().await?;
        self.resume_all(left).await;
        Ok(())
    }

    /// What the last start left open. From then on it is resuming.
    pub(crate) async fn look_for_open(&self) -> Result<Vec<String>, JournalError> {
        let left = self.journal.unfinished_ids().await?;
        self.resuming.send_replace(left.len());
        Ok(left)
    }

    /// Takes these up, one after the other: the same facts lead to the same state, evidence included, and what was under way
    /// goes on. Whoever delivers one of them meanwhile has it taken up at once.
    pub(crate) async fn resume_all(self: &Arc<Self>, left: Vec<String>) {
        let mut is_clock_asked = false;
        for id in left {
            if !self.stop.is_cancelled() {
                self.resume_one(&id, &mut is_clock_asked).await;
            }
            self.resuming.send_modify(|left| *left = left.saturating_sub(1));
            // What is replayed takes the processor; whoever asks meanwhile comes in between.
            tokio::task::yield_now().await;
        }
    }

    async fn resume_one(self: &Arc<Self>, id: &str, is_clock_asked: &mut bool) {
        let turn: Result<_, Infallible> = self.accepting.turn(id, "", false, |_| None).await;
        let Ok(_turn) = turn;
        if self.has_run(id) {
            return;
        }
        match self.journal.load(id).await {
            Ok(Some(stored)) => {
                if !*is_clock_asked && self.since_acceptance(&stored.accepted).is_none() {
                    *is_clock_asked = true;
                    self.ask_the_time().await;
                }
                self.take_up(stored).await;
            }
            Ok(None) => {}
            Err(error) => {
                self.metrics.lost("journal-question");
                let error = &error as &dyn std::error::Error;
                error!(
                    error,
                    evaluation = id,
                    "a question cannot be read; it is not answered until it is delivered again"
                );
            }
        }
    }

    /// How many questions are still to be taken up after a start.
    pub(crate) fn resuming(&self) -> usize {
        *self.resuming.borrow()
    }

    /// Waits until all are.
    pub(crate) async fn resumed(&self) {
        // Its sender is here.
        drop(self.resuming.subscribe().wait_for(|left| *left == 0).await);
    }

    /// What becomes of a delivery of a question that was written down before, and has no run here: it is over, or another gate
    /// judges it, or it could not be taken up when gate started. Of that one this delivery may be the last that is heard.
    pub(super) async fn known_before(self: &Arc<Self>, delivered: Accepted) -> Intake {
        let id = delivered.question.id.clone();
        // What no gate judges, the next sweep takes up.
        if self.shares() {
            return Intake::Joined(id);
        }
        match self.journal.unfinished_ids().await {
            Ok(open) if open.contains(&id) => {}
            Ok(_open) => return Intake::Joined(id),
            Err(error) => return Intake::Unwritten(error),
        }
        let found = match self.journal.load(&id).await {
            Err(JournalError::Damaged { .. } | JournalError::Entry { .. }) => {
                match self.journal.mend(delivered).await {
                    Ok(true) => {
                        warn!(
                            evaluation = id,
                            "damaged, and written once more as it was delivered"
                        );
                        self.journal.load(&id).await
                    }
                    Ok(false) => Err(JournalError::Damaged { id: id.clone() }),
                    Err(error) => Err(error),
                }
            }
            found => found,
        };
        match found {
            Ok(Some(stored)) => {
                self.take_up(stored).await;
                Intake::Joined(id)
            }
            Ok(None) => Intake::Unwritten(JournalError::Damaged { id }),
            Err(error) => Intake::Unwritten(error),
        }
    }

    /// Time since acceptance, but never before the newest entry: by the machine's uptime, or where it has been
    /// started again since, or it is another one, by AWS's clock.
    fn elapsed(&self, stored: &Stored) -> Duration {
        let then = stored.accepted.accepted_unix_millis;
        let now = || self.clouds.home().unix_millis();
        let by_clock = || Duration::from_millis(now().saturating_sub(then));
        let newest = stored.entries.last().map_or(0, |(at, _)| at.as_millis());
        let elapsed = self.since_acceptance(&stored.accepted).unwrap_or_else(by_clock);
        elapsed.max(Duration::from_millis(newest))
    }

    /// The same by the machine's uptime.
    fn since_acceptance(&self, accepted: &Accepted) -> Option<Duration> {
        self.clock.since_boot()?.since(accepted.accepted_since_boot.as_ref()?)
    }

    /// Of AWS, where questions were accepted on another boot or another machine: whatever it answers tells the time.
    async fn ask_the_time(&self) {
        let asked = timeout(CLOCK_TIMEOUT, self.clouds.home().caller()).await;
        if !matches!(asked, Ok(Ok(_))) {
            warn!(
                "AWS does not tell the time; how long questions wait is taken from this machine's clock"
            );
        }
    }

    /// Takes up one question where its facts leave it.
    pub(in crate::app) async fn take_up(self: &Arc<Self>, stored: Stored) {
        let elapsed = self.elapsed(&stored);
        if stored.unreadable > 0 {
            let unreadable = u64::try_from(stored.unreadable).unwrap_or(u64::MAX);
            self.metrics.lost_many(ENTRY_LOST, unreadable);
            error!(
                evaluation = stored.accepted.question.id,
                entries = stored.unreadable,
                "entries cannot be read; resuming without them"
            );
        }
        let Replayed { mut run, accepted, written } = replay(stored);
        let id = accepted.question.id.clone();
        if run.phase() == Phase::Done {
            let journal = Arc::clone(&self.journal);
            // Not waited for: others are to be answered. The next start finds what is not marked so again.
            self.tasks.spawn(async move {
                let why = match timeout(CLOSE_TIMEOUT, journal.close(&id)).await {
                    Ok(Ok(())) => return,
                    Ok(Err(error)) => crate::cli::story(&error),
                    Err(_elapsed) => "the journal does not answer in time".to_owned(),
                };
                warn!(why, evaluation = id, "a run is over, but not marked so");
            });
            return;
        }
        info!(evaluation = id, phase = run.phase().name(), "resuming");
        let origin = Instant::now().checked_sub(elapsed).unwrap_or_else(Instant::now);
        let at = policies::Moment::ZERO.after(elapsed);
        let first = run.step(Event::Resumed, at);
        let outbox = self.outbox(&id);
        crash::at("resumed-unwritten");
        // Not waited for: what happens next is written after it, and a disk that cannot be written keeps nobody from
        // being answered.
        outbox.keep(at, Entry::Fact { fact: Event::Resumed });
        crash::at("resumed-written");
        self.begin(accepted, (run, written), first, origin, outbox);
    }
}

/// A run brought to where its entries leave it.
pub(super) struct Replayed {
    pub(super) run: Run,
    pub(super) accepted: Accepted,
    /// The decision that was read. What the facts alone lead to nobody may be told before it is written: another
    /// version of gate could make something else of them.
    pub(super) written: Option<Decision>,
}

/// A decision on disk stands, whatever this version of gate would make of the same facts.
pub(super) fn replay(stored: Stored) -> Replayed {
    let Stored { accepted, entries, .. } = stored;
    let mut run = Run::new(accepted.question.clone());
    let mut written = None;
    for (at, entry) in entries {
        match entry {
            Entry::Fact { fact } => drop(run.step(fact, at)),
            Entry::Decided { decision } => {
                if run.decision() != Some(&decision) {
                    let evaluation = &accepted.question.id;
                    warn!(evaluation, "the decision on disk differs and stands");
                    drop(run.settle(decision.clone(), at));
                }
                written = Some(decision);
            }
        }
    }
    Replayed { run, accepted, written }
}

#[cfg(test)]
mod tests {
    use policies::{Answer, Basis, Blame, Decision, Moment, Question, Trouble};

    use super::*;
    use crate::ask::{Ask, Asked, Token};
    use crate::aws::Place;

    fn accepted() -> Accepted {
        let question = Question {
            id: "one".into(),
            limit: None,
            unmatched: Answer::Rollback,
            observe: false,
            watch_only: false,
        };
        let (deployment_id, execution_id) = ("d-1".into(), Token("token".into()));
        let ask = Ask::CodedeployHook { deployment_id, execution_id };
        let asked = Asked::now(ask, Place::default());
        Accepted { question, asked, accepted_unix_millis: 1, accepted_since_boot: None }
    }

    #[test]
    fn a_decision_on_disk_is_told_whatever_its_facts_come_to_now() {
        let trouble = Trouble { blame: Blame::User, lasting: true, what: "it is denied".into() };
        // Seen first, and ten minutes later: it is given up.
        let facts = Entry::Fact { fact: Event::Unresolved { trouble } };
        let facts = [(0, facts.clone()), (600, facts)];
        let decision = Decision {
            answer: Answer::Continue,
            basis: Basis::Proven,
            reason: "as an older version of gate saw it".into(),
            objective: None,
            counterfactual: None,
        };
        let told = |entries: &[(u64, Entry)]| {
            let timed =
                |(at, entry): &(u64, Entry)| (Moment::from_millis(at * 1000), entry.clone());
            let entries = entries.iter().map(timed).collect();
            let Replayed { run, .. } =
                replay(Stored { accepted: accepted(), entries, unreadable: 0 });
            (run.phase(), run.decision().cloned())
        };
        let (phase, own) = told(&facts);
        assert_eq!((phase, own.map(|own| own.answer)), (Phase::Answering, Some(Answer::Rollback)));
        let written = (600, Entry::Decided { decision: decision.clone() });
        // Whether today's facts would have led to another one, or to none yet.
        let written = [written];
        for entries in [[&facts[..], &written].concat(), written.to_vec()] {
            assert_eq!(told(&entries), (Phase::Answering, Some(decision.clone())));
        }
    }
}
