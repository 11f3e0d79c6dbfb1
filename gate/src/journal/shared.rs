//! The journal that several gates share, in a DynamoDB table. What the table holds is in `shared/items.rs`.
//!
//! A question is a log: each entry is written at the next number, and only where nobody has written before. So of two
//! gates that believe a question to be theirs one meets the other's entry, and is out; and of two decisions one is
//! written. Leases say when a question may be taken over, never who may write: a gate that was paused for an hour
//! finds out by its first write.

mod items;
mod sweeping;
#[cfg(test)]
mod tests;
mod watches;
mod words;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::{Delivery, Moment};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{Accepted, Entry, Journal, JournalError, Listed, State, Stored, Written};
use crate::aws::AwsError;
use crate::aws::table::{Change, Expected, Indexed, Key, Table, Value};
use crate::clock::Clock;

pub(crate) use sweeping::{Left, Swept};
pub(crate) use watches::Watcher;
pub(crate) use words::{Judge, Outcome, Word};

/// A gate says so often that it lives.
pub(crate) const RENEW_EVERY: Duration = Duration::from_secs(5);
/// It is looked so often what others have left.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Where this gate could not say for so long that it lives, the table is in trouble, or gate's way to it: one renewal may fail.
const UNHEARD_MAX: Duration = Duration::from_secs(12);
/// Giving questions back on a stop may take so long; ECS kills 30 s after SIGTERM.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(5);
/// A decision that is written waits so long to be listed before it is sent.
const LISTING_TIMEOUT: Duration = Duration::from_millis(500);

/// A journal that other gates write, too.
#[derive(Debug)]
pub(crate) struct Shared {
    table: Arc<dyn Table>,
    name: String,
    /// This gate, until it ends: no other start has the same.
    owner: String,
    clock: Arc<dyn Clock>,
    /// Questions this gate judges, with what was written of them.
    held: Mutex<HashMap<String, Arc<Log>>>,
    /// What other gates' leases were when they were last seen to change.
    watched: Mutex<HashMap<String, Watched>>,
    /// Questions that were left and could not be taken over.
    untaken: Mutex<HashMap<String, Untaken>>,
    /// When this gate last said that it lives, and was heard.
    renewed: Mutex<Instant>,
    /// One for each write, so that a write whose answer was lost is known by its item.
    writes: AtomicU64,
    renewals: AtomicU64,
    ended: AtomicBool,
}

/// The log of a question, one write at a time.
#[derive(Debug)]
struct Log {
    next: tokio::sync::Mutex<u64>,
    /// Not before it is certain that the question is this gate's.
    kept: AtomicBool,
    /// A decision that is written, and could not be listed.
    unlisted: Mutex<Option<policies::Decision>>,
}

#[derive(Clone, Copy, Debug)]
struct Watched {
    lease: Option<u64>,
    /// When it was last looked at.
    looked: Instant,
    /// For how long it was seen not to change.
    unchanged: Duration,
}

#[derive(Clone, Copy, Debug)]
struct Untaken {
    /// How long is waited before the next try, and until when.
    wait: Duration,
    again: Instant,
}

impl Log {
    fn unlisted(&self) -> MutexGuard<'_, Option<policies::Decision>> {
        self.unlisted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the table says of a question at once.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) accepted: Accepted,
    /// Its run is not over.
    pub(crate) open: bool,
    /// Its decision is written.
    pub(crate) decided: bool,
    /// Whoever asked was told.
    pub(crate) told: bool,
}

impl Shared {
    /// Looks whether the table is what it must be, and says that this gate lives.
    ///
    /// # Errors
    /// The table is not there, is not as gate needs it, or cannot be reached.
    pub(crate) async fn open(
        table: Arc<dyn Table>,
        name: &str,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, JournalError> {
        let shape = table.shape(name).await.map_err(failed("look at its table"))?;
        if let Some(why) = items::unfit(&shape) {
            return Err(JournalError::Unfit { table: name.to_owned(), why });
        }
        let shared = Self {
            table,
            name: name.to_owned(),
            owner: items::owner()?,
            clock,
            held: Mutex::default(),
            watched: Mutex::default(),
            untaken: Mutex::default(),
            renewed: Mutex::new(Instant::now()),
            writes: AtomicU64::new(1),
            renewals: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        };
        shared.renew().await?;
        info!(table = name, gate = shared.owner, "the journal is shared");
        Ok(shared)
    }

    /// Says that this gate lives.
    pub(crate) async fn renew(&self) -> Result<(), JournalError> {
        if self.ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        let number = self.renewals.fetch_add(1, Ordering::Relaxed);
        let lease = items::lease(&self.owner, number, self.now_seconds());
        // It is as new as the call, however late its answer.
        let now = Instant::now();
        self.table.change(&self.name, &lease).await.map_err(failed("renew its lease"))?;
        *self.renewed() = now;
        Ok(())
    }

    /// Whether this gate could not say for so long that it lives that another may have taken its questions over.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.renewed().elapsed() >= sweeping::LEASE
    }

    /// What the table says of a question; `None` where nobody accepted it.
    pub(crate) async fn known(&self, id: &str) -> Result<Option<Known>, JournalError> {
        let Some(header) = self.header(id).await? else { return Ok(None) };
        Ok(Some(Known {
            accepted: items::accepted(&header)?,
            open: header.text(items::OPEN).is_some(),
            decided: header.text(items::DECISION).is_some(),
            told: header.text(items::TOLD).is_some(),
        }))
    }

    /// Tells the gate that judges a question what became of its answer: whoever polls may come to any gate.
    pub(crate) async fn tell(&self, id: &str, delivery: &Delivery) -> Result<(), JournalError> {
        let change = Change {
            key: Key::new(id, items::HEADER),
            expected: vec![Expected::Present(items::OPEN), Expected::Absent(items::TOLD)],
            set: vec![(items::TOLD, Value::Text(items::written(delivery)?))],
            remove: Vec::new(),
        };
        // Told before is told.
        self.table
            .change(&self.name, &change)
            .await
            .map_err(failed("note that somebody was told"))?;
        Ok(())
    }

    async fn header(&self, id: &str) -> Result<Option<crate::aws::table::Item>, JournalError> {
        let found = self.table.item(&self.name, &Key::new(id, items::HEADER)).await;
        found.map_err(failed("read a question"))
    }

    async fn begin(&self, accepted: &Accepted) -> Result<bool, JournalError> {
        let id = accepted.question.id.as_str();
        let Some(pending) = self.pending(id) else { return Ok(false) };
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let item = items::header(accepted, (&self.owner, write))?;
        let put = self.table.put_new(&self.name, &item).await;
        let new = put.map_err(failed("accept a question"))? || {
            let header = self.header(id).await?;
            header.is_some_and(|header| items::is_of(&header, (&self.owner, write)))
        };
        if new {
            pending.keep();
        }
        Ok(new)
    }

    async fn write(&self, id: &str, at: Moment, entry: &Entry) -> Result<(), JournalError> {
        // Nobody who is told so has a run that goes on.
        let log = self.held().get(id).cloned().ok_or(JournalError::TakenOver)?;
        let packed = items::packed(entry)?;
        let expires = items::expires(self.now_seconds());
        let mut next = log.next.lock().await;
        loop {
            let write = self.writes.fetch_add(1, Ordering::Relaxed);
            let item =
                items::entry(Key::new(id, *next), (&self.owner, write), at, &packed, expires);
            let put = self.table.put_new(&self.name, &item).await;
            if put.map_err(failed("append an entry"))? {
                *next += 1;
                return Ok(());
            }
            let found = self.table.item(&self.name, &item.key).await;
            let found = found.map_err(failed("read an entry"))?;
            if found.as_ref().is_some_and(|found| items::is_of(found, (&self.owner, write))) {
                // An earlier try of the same call got through, and its answer did not.
                *next += 1;
                return Ok(());
            }
            if found.as_ref().is_none_or(|found| found.text(items::BY) != Some(&self.owner)) {
                self.let_go(id);
                return Err(JournalError::TakenOver);
            }
            if found.is_some_and(|found| items::says_the_same(&found, &item)) {
                // It is written, and whoever wrote it was not told so; evidence must not count twice.
                *next += 1;
                return Ok(());
            }
            // An entry that was given up on is written all the same; this one comes after it.
            *next += 1;
        }
    }

    /// Notes the decision where lists are read from. The entry is what counts.
    async fn decided(&self, id: &str, decision: &policies::Decision) -> Result<(), JournalError> {
        let change = Change {
            key: Key::new(id, items::HEADER),
            expected: vec![Expected::Is(items::OWNER, Value::Text(self.owner.clone()))],
            set: vec![(items::DECISION, Value::Text(items::written(decision)?))],
            remove: Vec::new(),
        };
        let changed = self.table.change(&self.name, &change).await;
        changed.map_err(failed("note a decision")).map(|_changed| ())
    }

    /// Whoever asks waits for the answer, and not for the list: closing lists it as well.
    async fn list_decision(&self, id: &str, decision: &policies::Decision) {
        let listing = timeout(LISTING_TIMEOUT, self.decided(id, decision));
        let why = match listing.await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => crate::cli::story(&error),
            Err(_elapsed) => "DynamoDB does not answer in time".to_owned(),
        };
        warn!(evaluation = id, why, "a decision is written, and not listed yet");
        if let Some(log) = self.held().get(id) {
            *log.unlisted() = Some(decision.clone());
        }
    }

    /// Lists decisions that could not be listed when they were written: who looks whether a question is decided looks there.
    async fn list_again(&self) {
        let unlisted: Vec<(String, policies::Decision)> = {
            let held = self.held();
            let unlisted = held.iter().filter_map(|(id, log)| Some((id, log.unlisted().clone()?)));
            unlisted.map(|(id, decision)| (id.clone(), decision)).collect()
        };
        for (id, decision) in unlisted {
            match timeout(LISTING_TIMEOUT, self.decided(&id, &decision)).await {
                Ok(Ok(())) => {
                    if let Some(log) = self.held().get(&id) {
                        *log.unlisted() = None;
                    }
                }
                // The next sweep tries again, and closing does.
                Ok(Err(_)) | Err(_) => return,
            }
        }
    }

    async fn finish(&self, id: &str) -> Result<(), JournalError> {
        let log = self.held().get(id).cloned();
        let unlisted = log.and_then(|log| log.unlisted().clone());
        let mut change = items::closing(id, &self.owner, items::expires(self.now_seconds()));
        if let Some(decision) = unlisted {
            change.set.push((items::DECISION, Value::Text(items::written(&decision)?)));
        }
        // Let go of whatever comes of it: what is still open is taken up again by the next sweep, and is over at once.
        let held = self.let_go(id);
        let closed = self.table.change(&self.name, &change).await;
        if held && !closed.map_err(failed("close a question"))? {
            return Err(JournalError::TakenOver);
        }
        Ok(())
    }

    /// Gives every question back, so that others need not wait for the lease to end.
    async fn release(&self) {
        self.ended.store(true, Ordering::Relaxed);
        let held: Vec<String> = self.held().drain().map(|(id, _log)| id).collect();
        for id in held {
            let change = Change {
                key: Key::new(&id, items::HEADER),
                expected: vec![Expected::Is(items::OWNER, Value::Text(self.owner.clone()))],
                set: Vec::new(),
                remove: vec![items::OWNER],
            };
            if let Err(error) = self.table.change(&self.name, &change).await {
                warn!(evaluation = id, error = error.story(), "a question cannot be given back");
            }
        }
    }

    /// Holds a question on trial; it is let go of unless it is kept.
    fn pending(&self, id: &str) -> Option<Pending<'_>> {
        let mut held = self.held();
        if held.contains_key(id) {
            return None;
        }
        let log = Arc::new(Log {
            next: tokio::sync::Mutex::new(1),
            kept: AtomicBool::new(false),
            unlisted: Mutex::default(),
        });
        held.insert(id.to_owned(), Arc::clone(&log));
        Some(Pending { shared: self, id: id.to_owned(), log })
    }

    /// Holds a question no longer: the next sweep finds it. True where it was held.
    pub(crate) fn let_go(&self, id: &str) -> bool {
        self.held().remove(id).is_some()
    }

    fn held(&self) -> MutexGuard<'_, HashMap<String, Arc<Log>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watched(&self) -> MutexGuard<'_, HashMap<String, Watched>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn untaken(&self) -> MutexGuard<'_, HashMap<String, Untaken>> {
        self.untaken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn renewed(&self) -> MutexGuard<'_, Instant> {
        self.renewed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_seconds(&self) -> u64 {
        self.clock.unix_millis() / 1000
    }
}

/// A question that may become this gate's.
struct Pending<'a> {
    shared: &'a Shared,
    id: String,
    log: Arc<Log>,
}

impl Pending<'_> {
    fn keep(self) {
        self.log.kept.store(true, Ordering::Relaxed);
    }
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if !self.log.kept.load(Ordering::Relaxed) {
            self.shared.let_go(&self.id);
        }
    }
}

fn failed(attempt: &'static str) -> impl FnOnce(AwsError) -> JournalError {
    move |source| JournalError::Database { attempt, source: Box::new(source) }
}

impl Journal for Shared {
    fn accept(&self, accepted: Accepted) -> Written<'_, bool> {
        Box::pin(async move { self.begin(&accepted).await })
    }

    fn append<'a>(&'a self, id: &'a str, at: Moment, entry: Entry) -> Written<'a, ()> {
        Box::pin(async move {
            self.write(id, at, &entry).await?;
            if let Entry::Decided { decision } = &entry {
                self.list_decision(id, decision).await;
            }
            Ok(())
        })
    }

    fn close<'a>(&'a self, id: &'a str) -> Written<'a, ()> {
        Box::pin(self.finish(id))
    }

    /// None: each start is another gate, and takes over what it finds.
    fn unfinished(&self) -> Written<'_, Vec<Stored>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn load<'a>(&'a self, id: &'a str) -> Written<'a, Option<Stored>> {
        Box::pin(async move {
            let all = self.table.question(&self.name, id).await;
            items::stored(all.map_err(failed("read a question"))?)
        })
    }

    fn list(&self, most: u32) -> Written<'_, Vec<Listed>> {
        Box::pin(async move {
            let asked = Indexed { index: items::LISTED, of: items::YES, newest_first: true, most };
            let rows = self.table.indexed(&self.name, &asked).await;
            Ok(rows.map_err(failed("list questions"))?.iter().map(items::listed).collect())
        })
    }

    fn first_seen<'a>(&'a self, signature: &'a str, good_until_seconds: u64) -> Written<'a, bool> {
        Box::pin(async move {
            let by = (self.owner.as_str(), self.writes.fetch_add(1, Ordering::Relaxed));
            let item = items::signature(signature, by, good_until_seconds);
            let put = self.table.put_new(&self.name, &item).await;
            if put.map_err(failed("note a signature"))? {
                return Ok(true);
            }
            let found = self.table.item(&self.name, &item.key).await;
            Ok(found
                .map_err(failed("read a signature"))?
                .is_some_and(|found| items::is_of(&found, by)))
        })
    }

    fn end(&self) -> Written<'_, ()> {
        Box::pin(async move {
            if timeout(RELEASE_TIMEOUT, self.release()).await.is_err() {
                warn!(
                    "not all questions were given back in time; others wait for the lease to end"
                );
            }
            Ok(())
        })
    }

    fn state(&self) -> State {
        let unheard = self.renewed().elapsed();
        let trouble = (unheard >= UNHEARD_MAX).then(|| {
            format!("the table `{}` has not been written to for {} s", self.name, unheard.as_secs())
        });
        State { trouble, bytes: 0 }
    }

    fn shared(&self) -> Option<&Shared> {
        Some(self)
    }
}
