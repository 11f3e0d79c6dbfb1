//! What a run has to say to the journal, in order: written at once where the disk is well, kept until it is where not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use policies::{Event, Moment};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::journal::{Entry, Journal, JournalError};
use crate::telemetry::Metrics;

/// A tick may wait this long for the disk; a disk that hangs must not keep an answer from being given.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(2);
/// Facts of all runs together that may wait for a disk on which nothing can be written: some ten megabytes, and
/// half an hour of ticks of twenty runs.
const FACTS_KEPT_MAX: usize = 20_000;
/// It is asked so often whether to wait any longer.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// What could not be written is tried again so often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// How an entry that never will be on disk is counted.
pub(crate) const ENTRY_LOST: &str = "journal-entry";

/// How much waits for the disk, of all runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Backlog(Arc<AtomicUsize>);

impl Backlog {
    /// Entries that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// What became of something that was to be written.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// It is on disk.
    OnDisk,
    /// It will be, in its order, once the disk lets it.
    Kept,
    /// It never will be: too much waits already.
    Dropped,
}

/// The journal as one run sees it.
#[derive(Debug)]
pub(crate) struct Outbox {
    items: mpsc::UnboundedSender<Item>,
    /// Something could not be written in time, and waits: nothing after it is waited for.
    behind: Arc<AtomicBool>,
    /// How much of this run waits.
    own: watch::Sender<usize>,
    backlog: Backlog,
    /// How much was said to be kept, and never will be on disk: the journal would not have it.
    refusals: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
    /// Cancelled where another gate has taken the question over: nothing more is written, and nothing is to be said.
    pub(crate) lost: CancellationToken,
}

#[derive(Debug)]
struct Item {
    what: What,
    /// Told once it is written, or that it is not yet.
    done: oneshot::Sender<Written>,
}

#[derive(Debug)]
enum What {
    Entry(Moment, Box<Entry>),
    Close,
}

impl Outbox {
    /// Begins to take entries of this question.
    pub(crate) fn new(
        id: String,
        journal: Arc<dyn Journal>,
        backlog: Backlog,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (items, waiting) = mpsc::unbounded_channel();
        let behind = Arc::<AtomicBool>::default();
        let own = watch::Sender::new(0);
        let lost = CancellationToken::new();
        let refusals = Arc::<AtomicUsize>::default();
        let posting = Posting {
            id,
            journal,
            lost: lost.clone(),
            behind: Arc::clone(&behind),
            own: own.clone(),
            backlog: backlog.clone(),
            refusals: Arc::clone(&refusals),
            metrics: Arc::clone(&metrics),
        };
        tokio::spawn(posting.post(waiting));
        Self { items, behind, own, backlog, refusals, metrics, lost }
    }

    /// Writes an entry down; waits for that, but not for long.
    pub(crate) async fn write(&self, at: Moment, entry: Entry) -> Written {
        // A decision is always kept: there is one for each run.
        let fact = matches!(entry, Entry::Fact { .. });
        if fact && self.backlog.waiting() >= FACTS_KEPT_MAX {
            if !self.lost.is_cancelled() {
                self.metrics.lost(ENTRY_LOST);
            }
            return Written::Dropped;
        }
        self.put(What::Entry(at, Box::new(entry))).await
    }

    /// Writes a decision down. Where it is not written at once, it is waited for as long as `waits` says of the time since.
    pub(crate) async fn decide(
        &self,
        at: Moment,
        entry: Entry,
        waits: impl Fn(Duration) -> bool,
    ) -> Written {
        let refusals = self.refusals();
        let written = self.write(at, entry).await;
        if written == Written::Kept && self.settled(waits).await && !self.lost.is_cancelled() {
            let refused = self.refusals() > refusals;
            return if refused { Written::Dropped } else { Written::OnDisk };
        }
        written
    }

    /// Waits until nothing waits for the disk any more, as long as `waits` says of the time since. False where something still does.
    pub(crate) async fn settled(&self, waits: impl Fn(Duration) -> bool) -> bool {
        let began = Instant::now();
        loop {
            if *self.own.borrow() == 0 {
                return true;
            }
            if !waits(began.elapsed()) {
                return false;
            }
            // What it says changes with time, and not by itself.
            drop(timeout(ASK_AGAIN, self.written()).await);
        }
    }

    /// How often something was said to be kept that the journal would not have in the end.
    pub(crate) fn refusals(&self) -> usize {
        self.refusals.load(Ordering::Acquire)
    }

    /// Has an entry written down, and does not wait for it.
    pub(crate) fn keep(&self, at: Moment, entry: Entry) {
        drop(self.send(What::Entry(at, Box::new(entry))));
    }

    /// Marks the run as over, after all of its entries.
    pub(crate) async fn close(&self) -> Written {
        self.put(What::Close).await
    }

    fn send(&self, what: What) -> oneshot::Receiver<Written> {
        let (done, written) = oneshot::channel();
        self.backlog.0.fetch_add(1, Ordering::Relaxed);
        self.own.send_modify(|waiting| *waiting += 1);
        // Whoever takes them lives for as long as this does.
        drop(self.items.send(Item { what, done }));
        written
    }

    /// Waits until nothing waits for the disk any more.
    pub(crate) async fn written(&self) {
        // Its sender is here.
        drop(self.own.subscribe().wait_for(|waiting| *waiting == 0).await);
    }

    async fn put(&self, what: What) -> Written {
        let written = self.send(what);
        if self.behind.load(Ordering::Acquire) {
            return Written::Kept;
        }
        match timeout(JOURNAL_TIMEOUT, written).await {
            Ok(Ok(written)) => written,
            // Gate stops.
            Ok(Err(_gone)) => Written::Dropped,
            Err(_elapsed) => {
                self.behind.store(true, Ordering::Release);
                error!(waited = ?JOURNAL_TIMEOUT, "an entry is not on disk yet; it is kept");
                Written::Kept
            }
        }
    }
}

/// What takes the entries to the journal, one after the other.
struct Posting {
    id: String,
    journal: Arc<dyn Journal>,
    lost: CancellationToken,
    behind: Arc<AtomicBool>,
    own: watch::Sender<usize>,
    backlog: Backlog,
    refusals: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// What became of an entry in the end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Posted {
    OnDisk,
    /// The journal will not have it.
    Refused,
    /// The journal has stopped, or the question is another gate's: who takes it up does so with what is on disk.
    Ended,
    /// The same, and somebody was told that it is in force, or sent the answer it is.
    TakenBack,
}

impl Posting {
    /// Ends when its run has and all is written, or with the journal.
    async fn post(self, mut waiting: mpsc::UnboundedReceiver<Item>) {
        let mut ended = false;
        while let Some(Item { what, done }) = waiting.recv().await {
            let is_entry = matches!(what, What::Entry(..));
            let posted = if ended {
                self.not_ours(&what, done.is_closed())
            } else {
                self.write(what, done).await
            };
            // What another gate judges by now it writes down itself, and a run that is over is found so by the next start.
            if posted != Posted::OnDisk && is_entry && !self.lost.is_cancelled() {
                self.metrics.lost(ENTRY_LOST);
                if posted == Posted::Ended && !ended {
                    let entries = *self.own.borrow();
                    error!(
                        evaluation = self.id,
                        entries, "the journal has stopped; what waits for it is lost"
                    );
                }
            }
            if posted == Posted::TakenBack {
                self.metrics.lost(ENTRY_LOST);
                error!(
                    evaluation = self.id,
                    "another gate had taken the question over: what was decided or said here meanwhile is not in the journal"
                );
            }
            ended = matches!(posted, Posted::Ended | Posted::TakenBack);
            self.backlog.0.fetch_sub(1, Ordering::Relaxed);
            self.own.send_modify(|waiting| *waiting -= 1);
            if waiting.is_empty() && self.behind.swap(false, Ordering::AcqRel) && !ended {
                info!(evaluation = self.id, "what waited for the disk is written");
            }
        }
    }

    /// What becomes of an entry that is not written because the journal has stopped or the question is another gate's; somebody may
    /// have been told already that it is kept.
    fn not_ours(&self, what: &What, told: bool) -> Posted {
        let counts = match what {
            What::Entry(_, entry) => matches!(
                entry.as_ref(),
                Entry::Decided { .. } | Entry::Fact { fact: Event::Overridden { .. } }
            ),
            What::Close => false,
        };
        if counts && told && self.lost.is_cancelled() { Posted::TakenBack } else { Posted::Ended }
    }

    async fn write(&self, what: What, done: oneshot::Sender<Written>) -> Posted {
        let mut done = Some(done);
        loop {
            let written = match &what {
                What::Entry(at, entry) => {
                    self.journal.append(&self.id, *at, entry.as_ref().clone()).await
                }
                What::Close => self.journal.close(&self.id).await,
            };
            let error = match written {
                Ok(()) => {
                    if let Some(done) = done {
                        drop(done.send(Written::OnDisk));
                    }
                    return Posted::OnDisk;
                }
                Err(JournalError::Stopped) => return Posted::Ended,
                Err(JournalError::TakenOver) => {
                    self.lost.cancel();
                    return self.not_ours(&what, done.is_none_or(|done| done.is_closed()));
                }
                Err(error) => error,
            };
            let refused = matches!(
                error,
                JournalError::Refused { .. }
                    | JournalError::Entry { .. }
                    | JournalError::TooLarge { .. }
            );
            if refused {
                let error = &error as &dyn std::error::Error;
                error!(error, evaluation = self.id, "an entry is not written");
                // Whoever was told that it is kept, or has given up waiting, must learn of it otherwise.
                if done.is_none_or(|done| done.is_closed()) {
                    self.refusals.fetch_add(1, Ordering::AcqRel);
                }
                return Posted::Refused;
            }
            if let Some(done) = done.take() {
                let error = &error as &dyn std::error::Error;
                error!(error, evaluation = self.id, "an entry is not on disk yet; it is kept");
                self.behind.store(true, Ordering::Release);
                drop(done.send(Written::Kept));
            }
            sleep(TRY_AGAIN).await;
        }
    }
}

#[cfg(test)]
mod tests;
