//! Gate's own lateness: whether the probing thread stood still while a probe was under way.
//!
//! A process that is short of CPU reads an answer late and would blame the target for it. While probes are
//! under way a task wakes every 10 ms; where it wakes late, the thread stood still, and every probe that was
//! under way then is disturbed: its times say little of the target.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use policies::sample::LATE_AFTER;
use tokio::sync::Notify;

/// Between two beats while probes are under way: well below what counts as late.
const BEAT: Duration = Duration::from_millis(10);

/// Beats while probes are under way.
#[derive(Debug)]
pub(crate) struct Pulse {
    began: Instant,
    under_way: AtomicUsize,
    /// Times the thread stood still.
    stalls: AtomicU64,
    /// When the next beat is due, in microseconds since `began`; 0 where none is.
    next_micros: AtomicU64,
    wake: Notify,
}

/// One probe under way.
#[derive(Debug)]
pub(crate) struct Beat {
    pulse: Arc<Pulse>,
    stalls: u64,
}

impl Pulse {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            under_way: AtomicUsize::new(0),
            stalls: AtomicU64::new(0),
            next_micros: AtomicU64::new(0),
            wake: Notify::new(),
        })
    }

    /// Beats for ever. To be run on the probing thread: everything here happens on it, so that the orderings
    /// of the atomics do not matter.
    pub(crate) async fn run(self: Arc<Self>) {
        loop {
            if self.under_way.load(Ordering::Relaxed) == 0 {
                self.next_micros.store(0, Ordering::Relaxed);
                self.wake.notified().await;
            }
            let due = Instant::now() + BEAT;
            self.next_micros.store(self.micros(due), Ordering::Relaxed);
            tokio::time::sleep_until(due.into()).await;
            if due.elapsed() > LATE_AFTER {
                self.stalls.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Says that a probe is under way, until the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Beat {
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            self.wake.notify_one();
        }
        Beat { pulse: Arc::clone(self), stalls: self.stalls.load(Ordering::Relaxed) }
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

impl Beat {
    /// Whether the thread stood still since this probe began.
    pub(crate) fn is_disturbed(&self, now: Instant) -> bool {
        let pulse = &self.pulse;
        let next = pulse.next_micros.load(Ordering::Relaxed);
        let late = u64::try_from(LATE_AFTER.as_micros()).unwrap_or(u64::MAX);
        pulse.stalls.load(Ordering::Relaxed) != self.stalls
            || (next > 0 && pulse.micros(now) > next + late)
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pulse.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
