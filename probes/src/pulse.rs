//! Gate's own lateness: whether the probing thread stood still while a probe was under way.
//!
//! A process that is short of CPU reads an answer late and would blame the target for it. While probes are
//! under way a task wakes every 10 ms; where it wakes late, the thread stood still for that long, and each probe
//! that was under way then knows how much of its time that was.

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
    /// How long the thread stood still, in all.
    stalled_micros: AtomicU64,
    /// When the next beat is due, in microseconds since `began`; 0 where none is.
    next_micros: AtomicU64,
    wake: Notify,
}

/// One probe under way.
#[derive(Debug)]
pub(crate) struct Beat {
    pulse: Arc<Pulse>,
    stalled_micros: u64,
}

impl Pulse {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: Instant::now(),
            under_way: AtomicUsize::new(0),
            stalled_micros: AtomicU64::new(0),
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
            // Who began set it; this task may come to it late.
            let due = match self.next_micros.load(Ordering::Relaxed) {
                0 => self.expect_beat(),
                micros => self.began + Duration::from_micros(micros),
            };
            tokio::time::sleep_until(due.into()).await;
            let stood = self.overdue_micros(Instant::now());
            self.stalled_micros.fetch_add(stood, Ordering::Relaxed);
            self.expect_beat();
        }
    }

    /// Says that a probe is under way, until the answer is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Beat {
        if self.under_way.fetch_add(1, Ordering::Relaxed) == 0 {
            if self.next_micros.load(Ordering::Relaxed) == 0 {
                self.expect_beat();
            }
            self.wake.notify_one();
        }
        // What is overdue already is not of this probe's time.
        let stalled_micros = self.stalled(Instant::now());
        Beat { pulse: Arc::clone(self), stalled_micros }
    }

    /// Sets when the next beat is due.
    fn expect_beat(&self) -> Instant {
        let due = Instant::now() + BEAT;
        self.next_micros.store(self.micros(due), Ordering::Relaxed);
        due
    }

    /// How long the thread stood still up to `now`, in all.
    fn stalled(&self, now: Instant) -> u64 {
        self.stalled_micros.load(Ordering::Relaxed) + self.overdue_micros(now)
    }

    /// How long the next beat is overdue, where that is more than the lateness of a timer.
    fn overdue_micros(&self, now: Instant) -> u64 {
        let next = self.next_micros.load(Ordering::Relaxed);
        let overdue = if next == 0 { 0 } else { self.micros(now).saturating_sub(next) };
        if u128::from(overdue) > LATE_AFTER.as_micros() { overdue } else { 0 }
    }

    fn micros(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.began).as_micros();
        u64::try_from(since).unwrap_or(u64::MAX)
    }
}

impl Beat {
    /// How long the thread stood still since this probe began.
    pub(crate) fn stalled(&self, now: Instant) -> Duration {
        let stalled = self.pulse.stalled(now);
        Duration::from_micros(stalled.saturating_sub(self.stalled_micros))
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        self.pulse.under_way.fetch_sub(1, Ordering::Relaxed);
    }
}
