//! Looking what other gates have left, and taking it over, one question at a time.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use policies::{Decision, Delivery};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::super::{Entry, JournalError, Stored};
use super::{SWEEP_EVERY, Shared, Untaken, Watched, failed, items};
use crate::aws::table::{Change, Expected, Indexed, Key, Value};

/// Whoever has not renewed its lease for so long, by the clock of whoever looks, is gone: its questions are taken over.
/// Four renewals may fail.
pub(super) const LEASE: Duration = Duration::from_secs(20);
/// The time between two looks counts towards that for so long at most. However long nobody could look, because the table did
/// not answer or this gate was paused, the other may have had no more than a moment in which to renew.
const LOOK_COUNTS_MAX: Duration = Duration::from_secs(6);
/// Taking a question over may take so long: tens of megabytes of entries are read.
const TAKE_TIMEOUT: Duration = Duration::from_secs(30);
/// A question that could not be taken over is tried again after so long, and then after twice as long each time.
const TAKE_AGAIN: Duration = SWEEP_EVERY;
/// It is tried again so often at least.
const TAKE_AGAIN_MAX: Duration = Duration::from_secs(15 * 60);
/// Open questions that are looked at in one sweep, the oldest first.
const SWEPT_MAX: u32 = 5_000;

/// What a sweep found.
#[derive(Debug, Default)]
pub(crate) struct Swept {
    /// Questions that nobody judges, the oldest first.
    pub(crate) left: Vec<Left>,
    /// Questions that are another gate's by now.
    pub(crate) lost: Vec<String>,
    /// Questions of this gate whose answer another gate has brought.
    pub(crate) told: Vec<(String, Delivery)>,
}

/// A question that may be taken over.
#[derive(Debug)]
pub(crate) struct Left {
    pub(crate) id: String,
    /// The gate that judged it; `None` where it gave it back.
    from: Option<String>,
}

impl Shared {
    /// Looks what others have left. Nothing is taken over by looking.
    pub(crate) async fn sweep(&self) -> Result<Swept, JournalError> {
        let asked =
            Indexed { index: items::OPEN, of: items::YES, newest_first: false, most: SWEPT_MAX };
        let rows = self.table.indexed(&self.name, &asked).await;
        let rows: Vec<items::Open> =
            rows.map_err(failed("look for open questions"))?.iter().map(items::Open::of).collect();
        let others: BTreeSet<String> = rows
            .iter()
            .filter_map(|row| row.owner.clone())
            .filter(|owner| *owner != self.owner)
            .collect();
        let mut gone = BTreeSet::new();
        for other in &others {
            match self.is_gone(other).await {
                Ok(true) => drop(gone.insert(other.as_str())),
                Ok(false) => {}
                Err(error) => warn!(
                    gate = other,
                    error = &error as &dyn std::error::Error,
                    "it is not known whether another gate lives"
                ),
            }
        }
        self.watched().retain(|owner, _| others.contains(owner));
        self.list_again().await;
        let mut swept = Swept::default();
        let mut unsure: BTreeSet<String> = self.kept().into_iter().collect();
        let held: BTreeSet<String> = self.held().keys().cloned().collect();
        for row in rows {
            let mine = row.owner.as_deref() == Some(&self.owner);
            if mine && held.contains(&row.id) {
                unsure.remove(&row.id);
                swept.told.extend(row.told.map(|told| (row.id, told)));
                continue;
            }
            let free = mine || row.owner.as_deref().is_none_or(|owner| gone.contains(owner));
            if free && !held.contains(&row.id) {
                swept.left.push(Left { id: row.id, from: row.owner });
            }
        }
        swept.left = self.in_turn(swept.left);
        // The index may be behind: the question itself says whose it is.
        for id in unsure {
            match self.header(&id).await {
                Ok(header) => {
                    let mine = header.is_some_and(|header| items::is_open_of(&header, &self.owner));
                    if !mine && self.let_go(&id) {
                        swept.lost.push(id);
                    }
                }
                // That says nothing of whose it is: the next sweep looks again.
                Err(error) => warn!(
                    evaluation = id,
                    error = &error as &dyn std::error::Error,
                    "it is not known whether a question is still this gate's"
                ),
            }
        }
        Ok(swept)
    }

    /// Whether a gate has not renewed its lease for too long. The first look only begins to watch it.
    async fn is_gone(&self, owner: &str) -> Result<bool, JournalError> {
        // What is read is at least as new as this.
        let looked = Instant::now();
        let found = self.table.item(&self.name, &items::lease_key(owner)).await;
        let lease = found.map_err(failed("look at a lease"))?.and_then(|item| item.number("lease"));
        let mut watched = self.watched();
        let new = Watched { lease, looked, unchanged: Duration::ZERO };
        let seen = watched.entry(owner.to_owned()).or_insert(new);
        if seen.lease == lease {
            let since = looked.saturating_duration_since(seen.looked);
            seen.unchanged += since.min(LOOK_COUNTS_MAX);
            seen.looked = looked;
        } else {
            *seen = new;
        }
        Ok(seen.unchanged >= LEASE)
    }

    /// Those whose turn it is: what could not be taken over lately comes last, and not each time, so that it is in nobody's way.
    fn in_turn(&self, left: Vec<Left>) -> Vec<Left> {
        let now = Instant::now();
        let mut untaken = self.untaken();
        untaken.retain(|id, _| left.iter().any(|left| left.id == *id));
        let (again, mut first): (Vec<Left>, Vec<Left>) =
            left.into_iter().partition(|left| untaken.contains_key(&left.id));
        let due = |left: &Left| untaken.get(&left.id).is_none_or(|failed| failed.again <= now);
        first.extend(again.into_iter().filter(due));
        first
    }

    /// Takes a question over, where it is still as it was seen. `None` where another gate was first. One that is claimed and
    /// cannot be read is not held: a later sweep finds that it is this gate's, and that nobody judges it.
    pub(crate) async fn take(&self, left: &Left) -> Result<Option<Stored>, JournalError> {
        let slow = JournalError::Slow { attempt: "take a question over", within: TAKE_TIMEOUT };
        let taken = timeout(TAKE_TIMEOUT, self.claim(left)).await.unwrap_or(Err(slow));
        let mut untaken = self.untaken();
        if taken.is_ok() {
            untaken.remove(&left.id);
        } else {
            let wait = untaken.get(&left.id).map_or(TAKE_AGAIN, |failed| failed.wait * 2);
            let wait = wait.min(TAKE_AGAIN_MAX);
            untaken.insert(left.id.clone(), Untaken { wait, again: Instant::now() + wait });
        }
        taken
    }

    async fn claim(&self, left: &Left) -> Result<Option<Stored>, JournalError> {
        let id = &left.id;
        let Some(pending) = self.pending(id) else { return Ok(None) };
        let Some(header) = self.header(id).await? else { return Ok(None) };
        // What this gate cannot read is left to one that can.
        items::accepted(&header)?;
        let owned = match left.from.as_deref() {
            Some(from) => Expected::Is(items::OWNER, from.into()),
            None => Expected::Absent(items::OWNER),
        };
        let change = Change {
            key: Key::new(id, items::HEADER),
            expected: vec![Expected::Present(items::OPEN), owned],
            set: vec![(items::OWNER, Value::Text(self.owner.clone()))],
            remove: Vec::new(),
        };
        let changed = self.table.change(&self.name, &change).await;
        if !changed.map_err(failed("take a question over"))? {
            // An earlier try of the same call may have got through.
            let header = self.header(id).await?;
            if !header.is_some_and(|header| items::is_open_of(&header, &self.owner)) {
                return Ok(None);
            }
        }
        let all = self.table.question(&self.name, id).await;
        let all = all.map_err(failed("read the entries of a question"))?;
        *pending.log.next.lock().await = all.last().map_or(1, |last| last.key.entry + 1);
        let stored = items::stored(all)?;
        if let Some(stored) = &stored {
            // Whoever wrote it may not have come to listing it.
            *pending.log.unlisted() =
                if header.text(items::DECISION).is_some() { None } else { written(stored) };
            pending.keep();
            info!(evaluation = id, from = left.from, "taken over");
        }
        Ok(stored)
    }

    /// Questions that are this gate's for certain.
    pub(crate) fn kept(&self) -> Vec<String> {
        let held = self.held();
        let kept = held.iter().filter(|(_, log)| log.kept.load(Ordering::Relaxed));
        kept.map(|(id, _log)| id.clone()).collect()
    }
}

/// The decision that is written of a question.
fn written(stored: &Stored) -> Option<Decision> {
    stored.entries.iter().find_map(|(_at, entry)| match entry {
        Entry::Decided { decision } => Some(decision.clone()),
        Entry::Fact { .. } => None,
    })
}
