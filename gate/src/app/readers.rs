//! Whoever reads the journal from outside takes turns: each may hold a whole run in memory, and has it worked out again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::timeout;

/// Readers at a time.
const READERS_MAX: usize = 4;
/// The others wait for their turn so long.
const READER_TIMEOUT: Duration = Duration::from_secs(2);

/// Turns to read.
#[derive(Debug)]
pub(crate) struct Readers {
    places: Arc<Semaphore>,
}

/// A turn to read; it is over when this goes.
#[derive(Debug)]
pub(crate) struct Turn(OwnedSemaphorePermit);

impl Default for Readers {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(READERS_MAX)) }
    }
}

impl Readers {
    /// A turn, where there is one in time.
    pub(crate) async fn turn(&self) -> Option<Turn> {
        let waiting = timeout(READER_TIMEOUT, Arc::clone(&self.places).acquire_owned()).await;
        waiting.ok()?.ok().map(Turn)
    }
}

impl Turn {
    /// Reads, and makes of it what was asked for on a thread of its own. It goes on when whoever asked is gone, so that
    /// the turn lasts as long as the work.
    ///
    /// # Errors
    /// The process ends, or a fault of gate's.
    pub(crate) async fn spend<T, U>(
        self,
        reading: impl Future<Output = T> + Send + 'static,
        making: impl FnOnce(T) -> U + Send + 'static,
    ) -> Result<U, JoinError>
    where
        T: Send + 'static,
        U: Send + 'static,
    {
        let spending = tokio::spawn(async move {
            let Self(_place) = &self;
            let read = reading.await;
            spawn_blocking(move || making(read)).await
        });
        spending.await?
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn four_read_at_a_time_and_who_goes_away_gives_its_place_back_once_the_work_is_done() {
        let readers = Readers::default();
        let mut working = Vec::new();
        for _ in 0..READERS_MAX {
            let turn = readers.turn().await.unwrap();
            let (done, read) = oneshot::channel::<()>();
            let asking = tokio::spawn(turn.spend(read, drop));
            tokio::task::yield_now().await;
            asking.abort();
            working.push(done);
        }
        let began = Instant::now();
        assert!(readers.turn().await.is_none());
        assert_eq!(began.elapsed(), READER_TIMEOUT);
        drop(working.pop());
        assert!(readers.turn().await.is_some());
    }
}
