//! Looking what other gates have left, and taking it over, one question at a time.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use policies::Delivery;
use tokio::time::Instant;
use tracing::{info, warn};

use super::super::{JournalError, Stored};
use super::{Shared, Watched, failed, items};
use crate::aws::table::{Change, Expected, Indexed, Key, Value};

/// Whoever has not renewed its lease for so long, by the clock of whoever looks, is gone: its questions are taken over.
/// Four renewals may fail.
const LEASE: Duration = Duration::from_secs(20);
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
        let found = self.table.item(&self.name, &items::lease_key(owner)).await;
        let lease = found.map_err(failed("look at a lease"))?.and_then(|item| item.number("lease"));
        let now = Instant::now();
        let mut watched = self.watched();
        let seen = watched.entry(owner.to_owned()).or_insert(Watched { lease, since: now });
        if seen.lease != lease {
            *seen = Watched { lease, since: now };
        }
        Ok(now.duration_since(seen.since) >= LEASE)
    }

    /// Takes a question over, where it is still as it was seen. `None` where another gate was first. One that is claimed and
    /// cannot be read is not held: the next sweep finds that it is this gate's, and that nobody judges it.
    pub(crate) async fn take(&self, left: &Left) -> Result<Option<Stored>, JournalError> {
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
        if stored.is_some() {
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
