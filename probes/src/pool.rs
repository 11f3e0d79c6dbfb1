//! Connections kept to be used again, by target and protocol.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use policies::Arm;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::wire::Stamps;

/// Connections kept in all; more are closed after their use.
const IDLE_MAX: usize = 4096;

/// Connections whose farewell may still be under way: HTTP/2 says goodbye before it closes, and a target that
/// does not listen would be listened to for ever.
const LEAVING_MAX: usize = 64;
/// Bytes of answers that the probes of one arm may hold at once: a target that sends much and never ends.
const HELD_MAX_BYTES: usize = 32 * 1024 * 1024;
/// Bytes of each answer that are not counted, so that small ones are read whatever large ones do.
const HELD_FREE_BYTES: usize = 4 * 1024;

/// A connection with its driver: one exchange at a time, so that its times are its own.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) sender: Sender,
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) certificate_days: Option<f64>,
    pub(crate) driver: Driver,
}

/// Sends requests over a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// What runs beside the exchanges of one connection, and ends with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tasks(Arc<Mutex<Vec<AbortHandle>>>);

impl Tasks {
    fn end(&self) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.drain(..).for_each(|task| task.abort());
    }
}

impl<F> Executor<F> for Tasks
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut tasks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tasks.retain(|task| !task.is_finished());
        tasks.push(tokio::spawn(future).abort_handle());
    }
}

/// Ends with the connection.
#[derive(Debug)]
pub(crate) struct Driver {
    main: AbortHandle,
    tasks: Option<Tasks>,
}

impl Driver {
    pub(crate) fn new(main: AbortHandle, tasks: Option<Tasks>) -> Self {
        Self { main, tasks }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.main.abort();
        if let Some(tasks) = &self.tasks {
            tasks.end();
        }
    }
}

impl Line {
    fn is_open(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => !sender.is_closed(),
            Sender::Two(sender) => !sender.is_closed(),
        }
    }
}

/// Idle connections of one session.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    leaving: Mutex<VecDeque<Tasks>>,
    held: [AtomicUsize; 2],
}

/// What one probe holds of an answer; given back with it.
#[derive(Debug)]
pub(crate) struct Hold<'a> {
    all: &'a AtomicUsize,
    bytes: usize,
}

impl Hold<'_> {
    /// Holds so many bytes in all; `false` where that is too much beside the others.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> bool {
        let counted = bytes.saturating_sub(HELD_FREE_BYTES);
        let more = counted.saturating_sub(self.bytes);
        self.bytes += more;
        self.all.fetch_add(more, Ordering::Relaxed) + more <= HELD_MAX_BYTES
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Idle {
    /// Target's id → connections, the last used last, each for the step that it belongs to.
    targets: BTreeMap<String, Vec<(usize, Instant, Line)>>,
    number: usize,
}

impl Pool {
    /// The connection of a step that was used last, if any is open and young enough.
    pub(crate) fn take(&self, target: &str, step: usize, idle_max: Duration) -> Option<Line> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let Idle { targets, number } = &mut *idle;
        let lines = targets.get_mut(target)?;
        let before = lines.len();
        let mut found = None;
        while let Some(place) = lines.iter().rposition(|(of, ..)| *of == step) {
            let (_, since, line) = lines.remove(place);
            // The younger ones were looked at first: where this one is too old, so are the rest.
            if since.elapsed() > idle_max {
                lines.retain(|(of, ..)| *of != step);
                break;
            }
            if line.is_open() {
                found = Some(line);
                break;
            }
        }
        *number = number.saturating_sub(before - lines.len());
        found
    }

    /// Keeps a connection for the next probe.
    pub(crate) fn put(&self, target: &str, step: usize, line: Line) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.number >= IDLE_MAX {
            return;
        }
        idle.number += 1;
        match idle.targets.get_mut(target) {
            Some(lines) => lines.push((step, Instant::now(), line)),
            None => {
                idle.targets.insert(target.to_owned(), vec![(step, Instant::now(), line)]);
            }
        }
    }

    /// Lets go of a connection that did what it should: HTTP/2 may say goodbye, for as long as not too many do.
    pub(crate) fn leave(&self, mut line: Line) {
        let Some(tasks) = line.driver.tasks.take() else { return };
        let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
        if leaving.len() >= LEAVING_MAX
            && let Some(first) = leaving.pop_front()
        {
            first.end();
        }
        leaving.push_back(tasks);
    }

    /// Begins to hold an answer of this arm.
    pub(crate) fn hold(&self, arm: Arm) -> Hold<'_> {
        let [green, blue] = &self.held;
        Hold { all: if arm == Arm::Green { green } else { blue }, bytes: 0 }
    }

    /// Closes the connections of targets that are gone.
    pub(crate) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.targets.retain(|target, _| is_there(target));
        idle.number = idle.targets.values().map(Vec::len).sum();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let leaving = self.leaving.get_mut().unwrap_or_else(PoisonError::into_inner);
        leaving.iter().for_each(Tasks::end);
    }
}
