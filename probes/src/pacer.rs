//! Wakes the probing thread on the microsecond.
//!
//! tokio's timer rounds up to whole milliseconds, which is as long as many answers take. A thread of its
//! own that sleeps until the next due time and then wakes a task is as precise as a timer of the kernel
//! and needs no unsafe code (probing.md §4). One thread serves all sessions.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread::{self, Thread};
use std::time::Instant;

/// The thread and those who wait for it.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    shared: Arc<Shared>,
    thread: Thread,
    _stop: Arc<Stop>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Alarms that are set; their numbers tell those of the same instant apart.
    waiting: BTreeMap<(Instant, u64), Waker>,
    /// When alarms expect to be set for next: the thread goes to sleep towards that by itself, which saves
    /// waking it only to be told.
    expected: BTreeMap<u64, Instant>,
    alarms: u64,
    /// When the thread wakes by itself.
    sleeps_until: Option<Instant>,
    stopped: bool,
}

/// Ends the thread when the last pacer is gone.
#[derive(Debug)]
struct Stop {
    shared: Arc<Shared>,
    thread: Thread,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that holds the lock panics; if it did, what it left is still whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        self.shared.lock().stopped = true;
        self.thread.unpark();
    }
}

impl Pacer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system refuses a thread.
    pub(crate) fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let served = Arc::clone(&shared);
        let handle =
            thread::Builder::new().name("pacer".to_owned()).spawn(move || serve(&served))?;
        let thread = handle.thread().clone();
        let stop = Arc::new(Stop { shared: Arc::clone(&shared), thread: thread.clone() });
        Ok(Self { shared, thread, _stop: stop })
    }

    /// An alarm, not set yet.
    pub(crate) fn alarm(&self) -> Alarm {
        let mut state = self.shared.lock();
        state.alarms += 1;
        Alarm { pacer: self.clone(), number: state.alarms, set: None }
    }
}

fn serve(shared: &Shared) {
    let mut due: Vec<Waker> = Vec::new();
    loop {
        let next = {
            let mut state = shared.lock();
            if state.stopped {
                return;
            }
            let now = Instant::now();
            while let Some(entry) = state.waiting.first_entry() {
                if entry.key().0 > now {
                    break;
                }
                due.push(entry.remove());
            }
            let set = state.waiting.first_key_value().map(|((at, _), _)| *at);
            let expected = state.expected.values().filter(|at| **at > now).min().copied();
            state.sleeps_until = set.into_iter().chain(expected).min();
            state.sleeps_until
        };
        // Not under the lock: who wakes asks for it at once.
        due.drain(..).for_each(Waker::wake);
        match next {
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}

/// Wakes a task at an instant, again and again.
#[derive(Debug)]
pub(crate) struct Alarm {
    pacer: Pacer,
    number: u64,
    /// Until when, and whom it wakes.
    set: Option<(Instant, Waker)>,
}

impl Alarm {
    /// Ready once it is `at`; the next time is expected to be `then`.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        at: Instant,
        then: Option<Instant>,
    ) -> Poll<()> {
        let is_set = self
            .set
            .as_ref()
            .is_some_and(|(set, waker)| *set == at && waker.will_wake(context.waker()));
        let is_over = Instant::now() >= at;
        if is_set && !is_over {
            return Poll::Pending;
        }
        let mut state = self.pacer.shared.lock();
        if let Some((set, _)) = self.set.take() {
            state.waiting.remove(&(set, self.number));
        }
        if is_over {
            return Poll::Ready(());
        }
        let waker = context.waker().clone();
        state.waiting.insert((at, self.number), waker.clone());
        match then {
            Some(then) => state.expected.insert(self.number, then),
            None => state.expected.remove(&self.number),
        };
        let wakes_too_late = state.sleeps_until.is_none_or(|wakes| wakes > at);
        if wakes_too_late {
            state.sleeps_until = Some(at);
        }
        drop(state);
        if wakes_too_late {
            self.pacer.thread.unpark();
        }
        self.set = Some((at, waker));
        Poll::Pending
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let mut state = self.pacer.shared.lock();
        state.expected.remove(&self.number);
        if let Some((set, _)) = &self.set {
            state.waiting.remove(&(*set, self.number));
        }
    }
}
