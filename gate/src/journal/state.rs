//! How the journal is: seen by everybody, and never waited for.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::State;
use super::sqlite::Sqlite;

/// A disk that has kept a write for longer than this hangs: nothing more is accepted until it is done.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// What the journal's threads say of themselves.
#[derive(Debug, Default)]
pub(super) struct Shared {
    health: Mutex<Health>,
    bytes: AtomicU64,
    commits: AtomicU64,
    /// The file is open to write.
    open: AtomicBool,
    /// The connection that reads, where there is one: whoever opens the file to write drops it first.
    reading: Mutex<Option<Sqlite>>,
}

#[derive(Debug, Default)]
struct Health {
    trouble: Option<String>,
    busy_since: Option<Instant>,
}

impl Shared {
    fn health(&self) -> MutexGuard<'_, Health> {
        self.health.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write begins.
    pub(super) fn begin(&self) {
        self.health().busy_since = Some(Instant::now());
    }

    /// It is done: all is well, or nothing can be written for this reason. True where that is news.
    pub(super) fn end(&self, trouble: Option<String>) -> bool {
        let mut health = self.health();
        health.busy_since = None;
        let news = health.trouble.is_some() != trouble.is_some();
        if trouble.is_none() {
            self.commits.fetch_add(1, Ordering::Relaxed);
        }
        health.trouble = trouble;
        news
    }

    /// It is done, and says nothing of others.
    pub(super) fn rest(&self) {
        self.health().busy_since = None;
    }

    pub(super) fn is_well(&self) -> bool {
        self.health().trouble.is_none()
    }

    pub(super) fn set_bytes(&self, bytes: u64) {
        self.bytes.store(bytes, Ordering::Relaxed);
    }

    /// Says whether the file is open to write. Whoever does holds [`Self::reading`] from before it is opened or closed.
    pub(super) fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// The connection that reads, for as long as nobody else has it.
    pub(super) fn reading(&self) -> MutexGuard<'_, Option<Sqlite>> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    pub(super) fn state(&self) -> State {
        let health = self.health();
        let stalled = health.busy_since.map(|since| since.elapsed());
        let stalled = stalled.filter(|waited| *waited > STALLED_AFTER).map(|waited| {
            format!("a write has been waiting for the disk for {} s", waited.as_secs())
        });
        State {
            trouble: stalled.or_else(|| health.trouble.clone()),
            bytes: self.bytes.load(Ordering::Relaxed),
        }
    }
}
