//! Looking after a journal: whether it is sound, and letting go of what is old.

use std::collections::BTreeSet;

use policies::replay::replay;
use rusqlite::{Connection, TransactionBehavior, params};
use tracing::error;

use super::super::{Fault, JournalError, Looked, Pruned, Retention, Stored};
use super::{Sqlite, failed, is_damage, mark};
use crate::record;

/// Faults of the file that SQLite names at most: the first say enough.
const FILE_FAULTS_MAX: usize = 20;
/// Entries deleted at a time: some milliseconds, in which a tick waits.
const PRUNED_AT_ONCE: usize = 500;
/// Pages given back to the disk at a time.
const PAGES_AT_ONCE: u32 = 256;

impl Sqlite {
    /// Bytes in use; pages that are free for what is written next do not count.
    pub(in crate::journal) fn bytes(&self) -> u64 {
        used(&self.connection).unwrap_or(0)
    }

    /// Looks at the file, at every sum, and whether each question replays.
    pub(in crate::journal) fn look(&self) -> Result<Looked, JournalError> {
        let mut looked = Looked { version: self.version, ..Looked::default() };
        let check = format!("PRAGMA integrity_check({FILE_FAULTS_MAX})");
        let lines = || -> rusqlite::Result<Vec<String>> {
            self.connection.prepare(&check)?.query_map([], |row| row.get(0))?.collect()
        };
        match lines() {
            Ok(lines) => looked.faults.extend(
                lines.into_iter().filter(|line| line != "ok").map(|line| Fault::of_file(&line)),
            ),
            Err(error) => looked.faults.push(Fault::of_file(&error.to_string())),
        }
        for id in self.ids(false)? {
            looked.questions += 1;
            self.look_at(&id, &mut looked);
        }
        Ok(looked)
    }

    fn look_at(&self, id: &str, looked: &mut Looked) {
        let question = match self.question(id) {
            Ok(Some(question)) => question,
            // It was pruned in between.
            Ok(None) => return,
            Err(error) => {
                return looked.faults.push(Fault::of_question(id, &crate::cli::story(&error)));
            }
        };
        looked.open += usize::from(question.closed == 0);
        let mut expected = 1;
        let found = self.entries(id);
        looked.entries += found.rows.len();
        let before = looked.faults.len();
        for row in &found.rows {
            if self.has_places() && row.place > expected {
                let missing = format!("entries {expected} to {} are missing", row.place - 1);
                looked.faults.push(Fault::of_question(id, &missing));
            }
            if self.has_places() && row.place > 0 && row.place < expected && row.is_sound(id) {
                let twice = format!("entry {} (number {}) is there twice", row.place, row.number);
                looked.faults.push(Fault::of_question(id, &twice));
            }
            expected = expected.max(row.place.saturating_add(1));
            if row.entry(id).is_none() {
                let what = if row.is_sound(id) {
                    "is nothing this gate knows"
                } else {
                    "is not as it was written"
                };
                let (place, number) = (row.place, row.number);
                let what = format!("entry {place} (number {number}) {what}");
                looked.faults.push(Fault::of_question(id, &what));
            }
        }
        if let Some(entries) = question.entries.filter(|entries| *entries >= expected) {
            let missing = format!("entries {expected} to {entries} are missing");
            looked.faults.push(Fault::of_question(id, &missing));
        }
        if found.broken > 0 {
            let what =
                format!("at least {} entries are on a page that cannot be read", found.broken);
            looked.faults.push(Fault::of_question(id, &what));
        }
        match question.accepted() {
            Ok(accepted) => {
                let entries = found.rows.iter().filter_map(|row| row.entry(id)).collect();
                let sound = looked.faults.len() == before;
                let stored = Stored { accepted, entries, unreadable: usize::from(!sound) };
                looked.differing += usize::from(sound && replays_otherwise(stored));
            }
            Err(error) => looked.faults.push(Fault::of_question(id, &crate::cli::story(&error))),
        }
    }

    fn has_places(&self) -> bool {
        self.version >= super::tables::CHECKED_SINCE
    }

    /// Lets go of one run that is over and too old, or of a part of it. With nothing left to do, what was freed is given
    /// back to the disk.
    pub(in crate::journal) fn prune(
        &mut self,
        retention: Retention,
        now_unix_millis: u64,
    ) -> Result<Pruned, JournalError> {
        let pruned = self.prune_one(retention, now_unix_millis).map_err(failed("prune"))?;
        if pruned.more {
            return Ok(pruned);
        }
        let more = self.give_back().map_err(failed("give space back"))?;
        Ok(Pruned { more, ..pruned })
    }

    /// One that is damaged keeps no other from going, and is not tried again before the next start.
    fn prune_one(
        &mut self,
        retention: Retention,
        now_unix_millis: u64,
    ) -> rusqlite::Result<Pruned> {
        let next = next_to_prune(&self.connection, retention, now_unix_millis, &self.stuck)?;
        let Some(id) = next else { return Ok(Pruned::default()) };
        match self.let_go(&id) {
            Ok(whole) => Ok(Pruned { questions: u64::from(whole), more: true, stuck: 0 }),
            Err(error) if is_of_one(&error) => {
                let why = error.to_string();
                error!(
                    why,
                    evaluation = id,
                    "an old run cannot be let go of; see `gate journal verify`"
                );
                self.stuck.insert(id);
                Ok(Pruned { questions: 0, more: true, stuck: 1 })
            }
            Err(error) => Err(error),
        }
    }

    /// Whether all of it is gone.
    fn let_go(&mut self, id: &str) -> rusqlite::Result<bool> {
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // From here on nobody sees it, however often it takes to delete all of it.
        mark(&writing, id, 2, 0)?;
        let delete = "DELETE FROM entries WHERE number IN
                      (SELECT number FROM entries WHERE question = ?1 LIMIT ?2)";
        let most = i64::try_from(PRUNED_AT_ONCE).unwrap_or(i64::MAX);
        let deleted = writing.execute(delete, params![id, most])?;
        let whole = deleted < PRUNED_AT_ONCE;
        if whole {
            writing.execute("DELETE FROM questions WHERE id = ?1", [id])?;
        }
        writing.commit()?;
        Ok(whole)
    }

    /// Whether there is more to give back.
    fn give_back(&self) -> rusqlite::Result<bool> {
        let free = |connection: &Connection| -> rusqlite::Result<u32> {
            connection.pragma_query_value(None, "freelist_count", |row| row.get(0))
        };
        // Of files of older gates nothing can be given back; what is free is used again.
        let incremental: i64 =
            self.connection.pragma_query_value(None, "auto_vacuum", |row| row.get(0))?;
        if incremental != 2 || free(&self.connection)? <= PAGES_AT_ONCE {
            return Ok(false);
        }
        let pages = format!("PRAGMA incremental_vacuum({PAGES_AT_ONCE})");
        // It has a row for each page, and gives back one page a step.
        let mut giving = self.connection.prepare(&pages)?;
        let mut rows = giving.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        drop(giving);
        if free(&self.connection)? > PAGES_AT_ONCE {
            return Ok(true);
        }
        // Not where somebody reads: they would be waited for.
        self.connection.busy_timeout(std::time::Duration::ZERO)?;
        let cut = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()));
        self.connection.busy_timeout(super::BUSY_TIMEOUT)?;
        cut.map(|()| false)
    }

    /// What pruning would let go of, oldest first: ids, and about how many bytes.
    pub(in crate::journal) fn to_prune(
        &self,
        retention: Retention,
        now_unix_millis: u64,
    ) -> Result<Vec<(String, u64)>, JournalError> {
        let sql = "SELECT id, accepted_unix_millis, LENGTH(body) +
                     (SELECT COALESCE(SUM(LENGTH(body)), 0) FROM entries WHERE question = id)
                   FROM questions WHERE closed > 0 ORDER BY closed DESC, accepted_unix_millis, rowid";
        let rows = || -> rusqlite::Result<Vec<(String, i64, i64)>> {
            let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
            self.connection.prepare(sql)?.query_map([], read)?.collect()
        };
        let mut used = self.bytes();
        let (by_age, by_size) = before(retention, now_unix_millis);
        let mut going = Vec::new();
        for (id, accepted, bytes) in rows().map_err(failed("read questions"))? {
            let large = retention.max_bytes.is_some_and(|most| used > most) && accepted < by_size;
            if accepted < by_age || large {
                let bytes = u64::try_from(bytes).unwrap_or(0);
                used = used.saturating_sub(bytes);
                going.push((id, bytes));
            }
        }
        Ok(going)
    }

    /// Gives all free space back to the disk. Nobody else may have the journal open.
    pub(in crate::journal) fn compact(&self) -> Result<(), JournalError> {
        let all = "PRAGMA auto_vacuum = INCREMENTAL; VACUUM;";
        self.connection.execute_batch(all).map_err(failed("give space back"))?;
        let cut = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_row| Ok(()));
        cut.map_err(failed("give space back"))
    }
}

/// Moments before which a question is too old to be kept at all, and old enough to make room for others.
fn before(retention: Retention, now_unix_millis: u64) -> (i64, i64) {
    let ago = |time: std::time::Duration| {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        i64::try_from(now_unix_millis.saturating_sub(millis)).unwrap_or(i64::MAX)
    };
    let by_age = retention.keep.map_or(i64::MIN, |keep| ago(keep.max(Retention::KEEP_MIN)));
    (by_age, ago(Retention::KEEP_MIN))
}

fn next_to_prune(
    reading: &Connection,
    retention: Retention,
    now_unix_millis: u64,
    stuck: &BTreeSet<String>,
) -> rusqlite::Result<Option<String>> {
    let first = |sql: &str, value: i64| -> rusqlite::Result<Option<String>> {
        let mut statement = reading.prepare(sql)?;
        let mut ids = statement.query_map([value], |row| row.get::<_, String>(0))?;
        ids.find(|id| id.as_ref().map_or(true, |id| !stuck.contains(id))).transpose()
    };
    let begun = first("SELECT id FROM questions WHERE closed > ?1", 1)?;
    if begun.is_some() {
        return Ok(begun);
    }
    let oldest = "SELECT id FROM questions WHERE closed = 1 AND accepted_unix_millis < ?1
                  ORDER BY accepted_unix_millis";
    let (by_age, by_size) = before(retention, now_unix_millis);
    let old = first(oldest, by_age)?;
    match retention.max_bytes {
        None => Ok(old),
        Some(_) if old.is_some() => Ok(old),
        Some(most) if used(reading)? > most => first(oldest, by_size),
        Some(_) => Ok(None),
    }
}

/// Whether a row or a page is at fault, and not the disk.
fn is_of_one(error: &rusqlite::Error) -> bool {
    is_damage(error) || error.sqlite_error_code().is_none()
}

fn used(connection: &Connection) -> rusqlite::Result<u64> {
    let pragma = |name: &str| -> rusqlite::Result<i64> {
        connection.pragma_query_value(None, name, |row| row.get(0))
    };
    let pages = pragma("page_count")?.saturating_sub(pragma("freelist_count")?);
    let bytes = pages.saturating_mul(pragma("page_size")?);
    Ok(u64::try_from(bytes).unwrap_or(0))
}

/// Whether the facts lead this gate to another decision than the one that is written down.
fn replays_otherwise(stored: Stored) -> bool {
    let record = record::of(stored);
    let facts = record.facts();
    let again = replay(record.question, &facts, None);
    let recorded = policies::replay::recorded(&facts).map(|(fell, _)| fell.decision);
    recorded.is_some_and(|recorded| again.fell.map(|fell| fell.decision) != Some(recorded))
}
