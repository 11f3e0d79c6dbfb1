//! One watch for each deployment: the newest question of it that somebody asked has it, whichever gate judges that.

use policies::{Event, Phase};
use tracing::warn;

use super::{Gate, Live};
use crate::journal::{JournalError, Shared, Watcher};

impl Live {
    /// How it is known among the questions of its deployment.
    fn watcher(&self) -> Watcher {
        let accepted = &self.case.accepted;
        Watcher {
            accepted_unix_millis: accepted.accepted_unix_millis,
            id: accepted.question.id.clone(),
        }
    }

    fn deployment(&self) -> &str {
        self.case.resolver.subject().id()
    }

    /// Whether somebody asked. Else it was announced only, and gives way to any question that was.
    fn was_asked(&self) -> bool {
        !self.case.accepted.question.watch_only
    }
}

impl Gate {
    /// A further question of a deployment takes over its watch, once it measures something itself and its policy
    /// would have it watch on.
    pub(super) async fn take_over_from_earlier(&self, live: &Live) {
        if !live.conducted.lock().may_watch() {
            return;
        }
        let own = live.watcher();
        let earlier: Vec<Live> = {
            let runs = self.lock();
            let of =
                |other: &&Live| other.deployment() == live.deployment() && other.watcher() < own;
            runs.values().filter(of).cloned().collect()
        };
        for earlier in earlier {
            earlier.conducted.tell(Event::TakenOver).await;
        }
        if let Some(shared) = self.journal.shared() {
            claim(shared, live).await;
        }
    }

    /// Ends watches here whose deployment asked another gate since.
    pub(in crate::app) async fn look_at_watches(&self, shared: &Shared) {
        let watching: Vec<Live> = {
            let runs = self.lock();
            let watches = |live: &&Live| match live.conducted.lock().phase() {
                Phase::Watching => true,
                Phase::Resolving | Phase::WarmUp | Phase::Judging | Phase::Answering => {
                    !live.was_asked()
                }
                // A veto under way is brought to its end.
                Phase::Vetoing | Phase::Done => false,
            };
            runs.values().filter(watches).cloned().collect()
        };
        for live in watching {
            let own = live.watcher();
            match shared.watcher(live.deployment()).await {
                Ok(Some(other)) if other.id != own.id && (other > own || !live.was_asked()) => {
                    live.conducted.tell(Event::TakenOver).await;
                }
                Ok(Some(other)) if other.id == own.id => {}
                // It could not be written when its probing began.
                Ok(_) if live.was_asked() => claim(shared, &live).await,
                Ok(_) => {}
                Err(error) => complain(&live, &error),
            }
        }
    }
}

/// Has other gates know whose the watch is.
async fn claim(shared: &Shared, live: &Live) {
    if let Err(error) = shared.watch(live.deployment(), &live.watcher()).await {
        complain(live, &error);
    }
}

fn complain(live: &Live, error: &JournalError) {
    let (evaluation, error) = (&live.case.accepted.question.id, error as &dyn std::error::Error);
    warn!(
        evaluation,
        error, "other gates may watch the same deployment; the next sweep looks again"
    );
}
