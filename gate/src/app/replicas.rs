//! A gate among others on one journal: it says that it lives, takes up what others leave, lets go of what others took.

use std::sync::Arc;
use std::time::Duration;

use policies::Delivery;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tracing::{error, warn};

use super::questions::{Gate, LISTEN_EVERY, RUNS_MAX};
use crate::ask::Ask;
use crate::journal::{JournalError, Left, RENEW_EVERY, SWEEP_EVERY, Shared, Swept};

/// One sweep takes over for so long at most: what became of this gate's own questions is looked at in between.
const TAKING_TIMEOUT: Duration = Duration::from_secs(10);

impl Gate {
    /// Looks after what this gate shares with others, for as long as it runs; nothing where it shares nothing.
    pub(crate) async fn share(self: Arc<Self>) {
        let Some(shared) = self.journal.shared() else { return };
        // Leases are renewed until the journal is ended: a run that is put down on a stop is still this gate's.
        let renewing = async {
            let mut due = interval(RENEW_EVERY);
            due.set_missed_tick_behavior(MissedTickBehavior::Delay);
            // At once it is done by whoever opens the journal.
            due.tick().await;
            loop {
                due.tick().await;
                // One that is slow must not cost the lease: the next is tried in its turn.
                let why = match timeout(RENEW_EVERY, shared.renew()).await {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => crate::cli::story(&error),
                    Err(_elapsed) => "DynamoDB does not answer in time".to_owned(),
                };
                warn!(why, "the lease is not renewed; others may take over");
            }
        };
        let sweeping = async {
            loop {
                if !self.stop.is_cancelled() {
                    self.sweep(shared).await;
                }
                sleep(SWEEP_EVERY).await;
            }
        };
        let listening = async {
            loop {
                sleep(LISTEN_EVERY).await;
                if !self.stop.is_cancelled() {
                    self.listen(shared).await;
                }
            }
        };
        tokio::join!(renewing, sweeping, listening);
    }

    pub(super) async fn sweep(self: &Arc<Self>, shared: &Shared) {
        self.let_go_of_idle(shared);
        let Swept { left, lost, told } = match shared.sweep().await {
            Ok(swept) => swept,
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                return warn!(error, "it is not known what other gates have left");
            }
        };
        for id in lost {
            self.lose(&id);
        }
        for (id, delivery) in told {
            self.told_here(&id, delivery).await;
        }
        let until = Instant::now() + TAKING_TIMEOUT;
        for left in left {
            if self.stop.is_cancelled() || self.room() == 0 || Instant::now() >= until {
                break;
            }
            self.take_over(shared, &left).await;
        }
        self.look_at_watches(shared).await;
    }

    /// Claims a question that was left, and begins to judge it before the next one is claimed: what goes wrong with one of them
    /// concerns no other.
    async fn take_over(self: &Arc<Self>, shared: &Shared, left: &Left) {
        // Whoever delivers it at this moment is told the same, now or by the next sweep.
        let Some(_turn) = self.turn_now(&left.id) else { return };
        match shared.take(left).await {
            Ok(Some(stored)) => self.take_up(stored).await,
            Ok(None) => {}
            Err(error) => error!(
                evaluation = left.id,
                error = &error as &dyn std::error::Error,
                "a question that was left cannot be taken over now; the next sweep tries again"
            ),
        }
    }

    /// A question that is this gate's and has no run here is held no longer, so that the sweep finds it.
    fn let_go_of_idle(&self, shared: &Shared) {
        for id in shared.kept() {
            // Nobody may begin its run between these two.
            let Some(_turn) = self.turn_now(&id) else { continue };
            if !self.has_run(&id) && shared.let_go(&id) {
                warn!(
                    evaluation = id,
                    "a question of this gate's has no run; it is taken up again"
                );
            }
        }
    }

    /// How many more runs there may be.
    fn room(&self) -> usize {
        RUNS_MAX.saturating_sub(self.running())
    }

    /// Whether another gate has a question that waits for its answer. Where that cannot be found out, it does.
    pub(crate) async fn waits_elsewhere(&self, id: &str) -> bool {
        let Some(shared) = self.journal.shared() else { return false };
        match shared.known(id).await {
            Ok(known) => known.is_some_and(|known| known.open && !known.decided),
            Err(_unreachable) => true,
        }
    }

    /// Whether gates share the journal, so that a question may be another's.
    pub(crate) fn shares(&self) -> bool {
        self.journal.shared().is_some()
    }

    /// What a question asks that is open elsewhere, and whose answer nobody was told.
    pub(super) async fn asked_elsewhere(&self, id: &str) -> Result<Option<Ask>, JournalError> {
        let Some(shared) = self.journal.shared() else { return Ok(None) };
        let open = shared.known(id).await?.filter(|known| known.open && !known.told);
        Ok(open.map(|known| known.accepted.asked.ask))
    }

    /// Has the gate that judges a question know what became of its answer.
    pub(super) async fn told_elsewhere(&self, id: &str, delivery: Delivery) {
        let Some(shared) = self.journal.shared() else { return };
        let told: Result<(), JournalError> = shared.tell(id, &delivery).await;
        if let Err(error) = told {
            let error: &dyn std::error::Error = &error;
            warn!(evaluation = id, error, "the gate that judges does not know of an answer");
        }
    }
}
