//! How questions arrive: by HTTP from the relay, from a queue, and by asking AWS what waits.

mod door;
mod http;
mod keys;
mod poll;
pub(crate) mod queue;
mod tokens;

use std::sync::Arc;

use tokio_util::task::TaskTracker;

use crate::app::Gate;

pub(crate) use door::{Shut, admit, is_signed};
pub(crate) use http::router;
pub(crate) use keys::Keys;
pub(crate) use questions::{envelope, hooks};
pub(crate) use tokens::{Shown, Tokens};

/// What fetches questions, until gate stops.
#[derive(Debug)]
pub(crate) struct Fetching(TaskTracker);

impl Fetching {
    /// Waits until what was fetched is answered or given back.
    pub(crate) async fn end(self) {
        self.0.close();
        self.0.wait().await;
    }
}

/// Begins to fetch from the queue and the services that the settings name.
pub(crate) fn fetch(gate: &Arc<Gate>) -> Fetching {
    let tasks = TaskTracker::new();
    if let Some(url) = gate.settings.intake.queue.clone() {
        let (gate, more) = (Arc::clone(gate), tasks.clone());
        tasks.spawn(async move {
            // What waits there can wait; what was accepted before comes first.
            tokio::select! {
                () = gate.resumed() => {}
                () = gate.stop.cancelled() => return,
            }
            queue::take(gate, url, more).await;
        });
    }
    tasks.spawn(gate.keys.clone().watch(gate.stop.clone()));
    gate.tokens.watch(&tasks, &gate.stop);
    if !gate.settings.intake.poll.is_empty() {
        tasks.spawn(poll::look(Arc::clone(gate)));
    }
    Fetching(tasks)
}
