//! How many deployments are looked up at the same time: hundreds that begin together would each make its first call of
//! AWS before any makes its last, and none would be probed before the budget had paid for all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::aws::Place;

/// Deployments whose targets are looked up for the first time, in one region and account. Each makes up to ten calls of the
/// load balancers' quota at first, of which gate takes 5 a second: with [`AGAIN_MAX`] beside them a call waits 13 s for its token,
/// and none so long that it is given up.
const FIRST_MAX: usize = 48;
/// Deployments that are looked at again, a quarter of all: who is new does not wait for them, nor they for ever.
const AGAIN_MAX: usize = 16;

/// The turns of every region and account.
#[derive(Debug, Default)]
pub(crate) struct AllTurns(Mutex<BTreeMap<Place, Arc<Turns>>>);

impl AllTurns {
    /// Those of one: what cannot be reached keeps nobody waiting elsewhere.
    pub(crate) fn at(&self, place: &Place) -> Arc<Turns> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody waits where nobody else has them.
        all.retain(|_, turns| Arc::strong_count(turns) > 1);
        Arc::clone(all.entry(place.clone()).or_default())
    }
}

/// Turns, first come, first served.
#[derive(Debug)]
pub(crate) struct Turns {
    first: Arc<Semaphore>,
    again: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            first: Arc::new(Semaphore::new(FIRST_MAX)),
            again: Arc::new(Semaphore::new(AGAIN_MAX)),
        }
    }
}

impl Turns {
    /// Waits for a turn, which lasts until it is dropped. `None` is never seen: turns are not closed.
    pub(super) async fn take(&self, known: bool) -> Option<OwnedSemaphorePermit> {
        let turns = if known { &self.again } else { &self.first };
        Arc::clone(turns).acquire_owned().await.ok()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;

    #[tokio::test]
    async fn who_is_new_and_who_is_known_do_not_wait_for_each_other_but_for_their_own() {
        for (known, most) in [(false, FIRST_MAX), (true, AGAIN_MAX)] {
            let turns = Turns::default();
            let mut taken = Vec::new();
            for _ in 0..most {
                taken.push(turns.take(known).await.expect("there is a turn"));
            }
            let mut next = pin!(turns.take(known));
            tokio::select! {
                biased;
                _ = &mut next => panic!("{known}: all turns are taken"),
                other = turns.take(!known) => assert!(other.is_some(), "{known}: the others are not"),
            }
            taken.pop();
            assert!(next.await.is_some(), "{known}: the next one has its turn");
        }
    }
}
