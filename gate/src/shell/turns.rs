//! How many deployments are looked up at the same time: hundreds that begin together would each make its first call of
//! AWS before any makes its last, and none would be probed before the budget had paid for all of them.

use tokio::sync::{Semaphore, SemaphorePermit};

/// Deployments that are looked up for the first time. Each makes about four calls of the load balancers' quota, of which gate
/// takes 5 a second: a call waits 10 s for its token then, and never so long that it is given up.
const FIRST_MAX: usize = 48;
/// Deployments that are looked at again, a quarter of all: who is new does not wait for them, nor they for ever.
const AGAIN_MAX: usize = 16;

/// Turns, first come, first served.
#[derive(Debug)]
pub(crate) struct Turns {
    first: Semaphore,
    again: Semaphore,
}

impl Default for Turns {
    fn default() -> Self {
        Self { first: Semaphore::new(FIRST_MAX), again: Semaphore::new(AGAIN_MAX) }
    }
}

impl Turns {
    /// Waits for a turn, which lasts until it is dropped. `None` is never seen: turns are not closed.
    pub(crate) async fn take(&self, known: bool) -> Option<SemaphorePermit<'_>> {
        let turns = if known { &self.again } else { &self.first };
        turns.acquire().await.ok()
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
