//! Wakes the probing thread on the microsecond.
//!
//! tokio's timer rounds up to whole milliseconds, which is as long as many answers take. A thread of its
//! own that sleeps until the next due time and then wakes a task is as precise as a timer of the kernel
//! and needs no unsafe code (probing.md §4). One thread serves all sessions.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::pin::Pin;
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
    /// Who waits until when; the number tells those of the same instant apart.
    waiting: BTreeMap<(Instant, u64), Waker>,
    next: u64,
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

    /// Waits until `at`. Cancel safe.
    pub(crate) fn until(&self, at: Instant) -> Until<'_> {
        Until { pacer: self, at, number: None }
    }
}

fn serve(shared: &Shared) {
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
                entry.remove().wake();
            }
            state.sleeps_until = state.waiting.first_key_value().map(|((at, _), _)| *at);
            state.sleeps_until
        };
        match next {
            Some(at) => thread::park_timeout(at.saturating_duration_since(Instant::now())),
            None => thread::park(),
        }
    }
}

/// Waits until an instant.
#[derive(Debug)]
pub(crate) struct Until<'a> {
    pacer: &'a Pacer,
    at: Instant,
    number: Option<u64>,
}

impl Future for Until<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if Instant::now() >= self.at {
            return Poll::Ready(());
        }
        let mut state = self.pacer.shared.lock();
        let number = match self.number {
            Some(number) => number,
            None => {
                state.next += 1;
                state.next
            }
        };
        let at = self.at;
        state.waiting.insert((at, number), context.waker().clone());
        // One who waits anew for the same time, as after each answer, finds the thread asleep until then.
        let wakes_too_late = state.sleeps_until.is_none_or(|wakes| wakes > at);
        if wakes_too_late {
            state.sleeps_until = Some(at);
        }
        drop(state);
        if wakes_too_late {
            self.pacer.thread.unpark();
        }
        self.number = Some(number);
        Poll::Pending
    }
}

impl Drop for Until<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            self.pacer.shared.lock().waiting.remove(&(self.at, number));
        }
    }
}
