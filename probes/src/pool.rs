//! Connections kept to be used again, by target and protocol.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::wire::Stamps;

/// Connections kept in all; more are closed after their use.
const IDLE_MAX: usize = 4096;

/// A connection with its driver: one exchange at a time, so that its times are its own.
#[derive(Debug)]
pub(crate) struct Line {
    pub(crate) sender: Sender,
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) used_before: bool,
    _driver: Driver,
}

/// Sends requests over a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

/// Ends the driver with the connection.
#[derive(Debug)]
pub(crate) struct Driver(pub(crate) AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Line {
    pub(crate) fn new(sender: Sender, stamps: Arc<Stamps>, driver: Driver) -> Self {
        Self { sender, stamps, used_before: false, _driver: driver }
    }

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
            let (_, since, line) = lines.swap_remove(place);
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
    pub(crate) fn put(&self, target: &str, step: usize, mut line: Line) {
        line.used_before = true;
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

    /// Closes the connections of targets that are gone.
    pub(crate) fn keep(&self, is_there: impl Fn(&str) -> bool) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.targets.retain(|target, _| is_there(target));
        idle.number = idle.targets.values().map(Vec::len).sum();
    }
}
