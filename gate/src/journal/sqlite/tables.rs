//! The tables of the journal, and each step from an older form of them to the next.

use policies::Moment;
use rusqlite::{Connection, Transaction, TransactionBehavior, params};

use super::sums;

/// Version of the tables and of what entries may say, in SQLite's own `user_version`. An older gate must not
/// take up a run whose facts it cannot read.
pub(in crate::journal) const VERSION: i64 = 5;
/// The first version whose rows carry checksums.
pub(super) const CHECKED_SINCE: i64 = 5;

/// One step forward.
type Step = fn(&Transaction<'_>) -> rusqlite::Result<()>;

/// What leads to each version, from nothing on.
const STEPS: [(i64, Step); 5] = [
    (1, questions_and_entries),
    // Facts of a watch, of readings, and of nothing new.
    (2, nothing_but_new_facts),
    // Questions of every kind.
    (3, nothing_but_new_facts),
    (4, signatures),
    (5, checksums),
];

/// Brings the tables to this gate's version, one step after the other. Each is there whole or not at all, so that a
/// gate that is killed in between goes on with the next one.
pub(super) fn migrate(connection: &mut Connection, found: i64) -> rusqlite::Result<()> {
    if found == 0 {
        // What is pruned can be given back to the disk; this must be said before there is a table.
        connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    }
    for (version, step) in STEPS.into_iter().filter(|(version, _)| *version > found) {
        let writing = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        step(&writing)?;
        writing.pragma_update(None, "user_version", version)?;
        writing.commit()?;
    }
    Ok(())
}

fn questions_and_entries(writing: &Transaction<'_>) -> rusqlite::Result<()> {
    writing.execute_batch(
        "CREATE TABLE questions (
            id TEXT PRIMARY KEY,
            accepted_unix_millis INTEGER NOT NULL,
            closed INTEGER NOT NULL DEFAULT 0,
            body TEXT NOT NULL
        ) STRICT;
        CREATE TABLE entries (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            question TEXT NOT NULL REFERENCES questions (id),
            at_millis INTEGER NOT NULL,
            body TEXT NOT NULL
        ) STRICT;
        CREATE INDEX entries_of_a_question ON entries (question, number);
        CREATE INDEX open_questions ON questions (closed) WHERE closed = 0;
        CREATE TRIGGER entries_stand BEFORE UPDATE ON entries
            BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;",
    )
}

/// The tables are as they were; what was written before can be read.
fn nothing_but_new_facts(_writing: &Transaction<'_>) -> rusqlite::Result<()> {
    Ok(())
}

/// What signed requests bore, until their time is over.
fn signatures(writing: &Transaction<'_>) -> rusqlite::Result<()> {
    writing.execute_batch(
        "CREATE TABLE signatures (
            signature TEXT PRIMARY KEY,
            good_until_seconds INTEGER NOT NULL
        ) STRICT, WITHOUT ROWID;
        CREATE INDEX signatures_by_age ON signatures (good_until_seconds);",
    )
}

/// Each row says by which version it was written and what it adds up to, and each entry its place in its question. What was written
/// before is taken as it is found.
fn checksums(writing: &Transaction<'_>) -> rusqlite::Result<()> {
    writing.execute_batch(
        "DROP TRIGGER entries_stand;
        ALTER TABLE questions ADD COLUMN version INTEGER NOT NULL DEFAULT 4;
        ALTER TABLE questions ADD COLUMN entries INTEGER;
        ALTER TABLE questions ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE entries ADD COLUMN version INTEGER NOT NULL DEFAULT 4;
        ALTER TABLE entries ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
        ALTER TABLE entries ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0;
        CREATE INDEX questions_by_age ON questions (accepted_unix_millis);
        CREATE INDEX pruned_questions ON questions (closed) WHERE closed > 1;",
    )?;
    let mut ids = writing.prepare("SELECT rowid, id FROM questions")?;
    let ids: rusqlite::Result<Vec<(i64, String)>> =
        ids.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect();
    for (rowid, id) in ids? {
        number_entries(writing, &id)?;
        let read = "SELECT accepted_unix_millis, closed, version, body,
                      (SELECT COUNT(*) FROM entries WHERE question = id)
                    FROM questions WHERE rowid = ?1";
        let mut sums = sums::Question { id: &id, ..sums::Question::default() };
        let (body, count): (String, i64) = writing.query_row(read, [rowid], |row| {
            sums.accepted_unix_millis = row.get(0)?;
            sums.closed = row.get(1)?;
            sums.version = row.get(2)?;
            Ok((row.get(3)?, row.get(4)?))
        })?;
        sums.body = &body;
        sums.entries = (sums.closed > 0).then_some(count);
        let write = "UPDATE questions SET entries = ?2, checksum = ?3 WHERE rowid = ?1";
        writing.execute(write, params![rowid, sums.entries, sums.sum()])?;
    }
    writing.execute_batch(
        "CREATE TRIGGER entries_stand BEFORE UPDATE ON entries
            BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;",
    )
}

fn number_entries(writing: &Transaction<'_>, question: &str) -> rusqlite::Result<()> {
    let mut numbers =
        writing.prepare("SELECT number FROM entries WHERE question = ?1 ORDER BY number")?;
    let numbers: rusqlite::Result<Vec<i64>> =
        numbers.query_map([question], |row| row.get(0))?.collect();
    let read = "SELECT at_millis, version, body FROM entries WHERE number = ?1";
    let write = "UPDATE entries SET place = ?2, checksum = ?3 WHERE number = ?1";
    for (place, number) in (1_i64..).zip(numbers?) {
        let (at_millis, version, body): (i64, i64, String) =
            writing.query_row(read, [number], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let sums = sums::Entry { question, place, version, at_millis, body: &body };
        writing.execute(write, params![number, place, sums.sum()])?;
    }
    Ok(())
}

/// A moment as it is written.
pub(super) fn millis(at: Moment) -> i64 {
    i64::try_from(at.as_millis()).unwrap_or(i64::MAX)
}
