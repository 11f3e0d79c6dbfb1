//! The journal's database: the only place that speaks SQL.

use std::fs::{File, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use policies::Moment;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Row, params};

use super::{Accepted, Entry, JournalError, Listed, Stored};

/// Version of the tables and of what entries may say, in SQLite's own `user_version`. An older gate must not
/// take up a run whose facts it cannot read. 2: facts of a watch, of readings, and of nothing new. 3: questions of
/// every kind. 4: signatures.
pub(super) const VERSION: i64 = 4;
/// A signature is forgotten so long before the newest one's end: both are good for the same time either way of now.
const SIGNATURES_KEPT_SECONDS: i64 = 2 * 300;
/// How long a write waits for somebody who looks at the file with `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

const TABLES: &str = "
    CREATE TABLE questions (
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
        BEGIN SELECT RAISE(ABORT, 'entries are never changed'); END;
";
/// New in version 4: what signed requests bore, until their time is over.
const SIGNATURES: &str = "
    CREATE TABLE signatures (
        signature TEXT PRIMARY KEY,
        good_until_seconds INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX signatures_by_age ON signatures (good_until_seconds);
";

/// The database.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    /// Held for as long as the journal is open to write; gone with the process, however that ends.
    _lock: Option<File>,
}

fn failed(attempt: &'static str) -> impl FnOnce(rusqlite::Error) -> JournalError {
    move |source| JournalError::Database { attempt, source: Box::new(source) }
}

impl Sqlite {
    pub(super) fn open(path: &Path) -> Result<Self, JournalError> {
        let created = |source| JournalError::Create { path: path.to_owned(), source };
        create_private(path).map_err(created)?;
        let lock = create_private(&path.with_added_extension("lock")).map_err(created)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(JournalError::InUse { path: path.to_owned() });
            }
            Err(TryLockError::Error(source)) => return Err(created(source)),
        }
        let open = || -> Result<(Connection, i64), rusqlite::Error> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            // FULL: a commit is on the disk before it is acknowledged, power cut included.
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "foreign_keys", true)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        let opened = |source: rusqlite::Error| JournalError::Open {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let (connection, found) = open().map_err(opened)?;
        if found > VERSION {
            return Err(JournalError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        if found == 0 {
            let create =
                format!("BEGIN; {TABLES} {SIGNATURES} PRAGMA user_version = {VERSION}; COMMIT;");
            connection.execute_batch(&create).map_err(opened)?;
        } else if found < VERSION {
            // The older tables are as they were; what was written before can be read.
            let migrate = format!("BEGIN; {SIGNATURES} PRAGMA user_version = {VERSION}; COMMIT;");
            connection.execute_batch(&migrate).map_err(opened)?;
        }
        Ok(Self { connection, _lock: Some(lock) })
    }

    /// Opens a journal to read, beside the daemon that may be writing it.
    pub(super) fn read(path: &Path) -> Result<Self, JournalError> {
        let opened = |source: rusqlite::Error| JournalError::Open {
            path: path.to_owned(),
            source: Box::new(source),
        };
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let open = || -> Result<(Connection, i64), rusqlite::Error> {
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        let (connection, found) = open().map_err(opened)?;
        if found > VERSION {
            return Err(JournalError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        Ok(Self { connection, _lock: None })
    }

    /// Every question, oldest first.
    pub(super) fn all(&self) -> Result<Vec<Stored>, JournalError> {
        self.questions("SELECT body FROM questions ORDER BY accepted_unix_millis")
    }

    pub(super) fn accept(&mut self, accepted: &Accepted) -> Result<bool, JournalError> {
        let body = write(accepted)?;
        let sql = "INSERT INTO questions (id, accepted_unix_millis, body) VALUES (?1, ?2, ?3)
                   ON CONFLICT (id) DO NOTHING";
        let at = i64::try_from(accepted.accepted_unix_millis).unwrap_or(i64::MAX);
        let rows = self.connection.execute(sql, params![accepted.question.id, at, body]);
        Ok(rows.map_err(failed("accept a question"))? == 1)
    }

    pub(super) fn append(
        &mut self,
        id: &str,
        at: Moment,
        entry: &Entry,
    ) -> Result<(), JournalError> {
        let body = write(entry)?;
        let at = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
        let sql = "INSERT INTO entries (question, at_millis, body) VALUES (?1, ?2, ?3)";
        let rows = self.connection.execute(sql, params![id, at, body]);
        rows.map_err(failed("append an entry")).map(|_rows| ())
    }

    pub(super) fn close(&mut self, id: &str) -> Result<(), JournalError> {
        let rows = self.connection.execute("UPDATE questions SET closed = 1 WHERE id = ?1", [id]);
        rows.map_err(failed("close a question")).map(|_rows| ())
    }

    /// Those whose time is over are let go of at the same time.
    pub(super) fn first_seen(
        &mut self,
        signature: &str,
        good_until_seconds: u64,
    ) -> Result<bool, JournalError> {
        let until = i64::try_from(good_until_seconds).unwrap_or(i64::MAX);
        let mut note = || -> rusqlite::Result<bool> {
            let writing = self.connection.transaction()?;
            let old = "DELETE FROM signatures WHERE good_until_seconds < ?1 - ?2";
            writing.execute(old, params![until, SIGNATURES_KEPT_SECONDS])?;
            let new = "INSERT INTO signatures (signature, good_until_seconds) VALUES (?1, ?2)
                       ON CONFLICT (signature) DO NOTHING";
            let rows = writing.execute(new, params![signature, until])?;
            writing.commit()?;
            Ok(rows == 1)
        };
        note().map_err(failed("note a signature"))
    }

    pub(super) fn unfinished(&self) -> Result<Vec<Stored>, JournalError> {
        self.questions("SELECT body FROM questions WHERE closed = 0 ORDER BY accepted_unix_millis")
    }

    fn questions(&self, sql: &str) -> Result<Vec<Stored>, JournalError> {
        let bodies = || -> rusqlite::Result<Vec<String>> {
            self.connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
        };
        let bodies = bodies().map_err(failed("read questions"))?;
        Ok(readable(bodies.iter().map(|body| self.stored(body))))
    }

    pub(super) fn load(&self, id: &str) -> Result<Option<Stored>, JournalError> {
        let sql = "SELECT body FROM questions WHERE id = ?1";
        let body: Option<String> = self
            .connection
            .query_row(sql, [id], |row| row.get(0))
            .optional()
            .map_err(failed("read a question"))?;
        body.map(|body| self.stored(&body)).transpose()
    }

    pub(super) fn list(&self, most: u32) -> Result<Vec<Listed>, JournalError> {
        // The decision is the only entry of its kind; the newest one is the one that stands.
        let sql = "SELECT body, closed,
                     (SELECT e.body FROM entries e WHERE e.question = q.id
                        AND e.body LIKE '{\"decided\"%' ORDER BY e.number DESC LIMIT 1)
                   FROM questions q ORDER BY accepted_unix_millis DESC LIMIT ?1";
        let read = |row: &Row<'_>| -> rusqlite::Result<(String, bool, Option<String>)> {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        };
        let rows = || -> rusqlite::Result<Vec<(String, bool, Option<String>)>> {
            self.connection.prepare(sql)?.query_map([most], read)?.collect()
        };
        let rows = rows().map_err(failed("list questions"))?.into_iter();
        let listed = rows.map(|(body, closed, entry)| {
            let accepted: Accepted = parse(&body)?;
            let decision = match entry.map(|entry| parse(&entry)).transpose()? {
                Some(Entry::Decided { decision }) => Some(decision),
                Some(Entry::Fact { .. }) | None => None,
            };
            Ok(Listed {
                id: accepted.question.id,
                deployment_id: accepted.asked.ask.subject().id().to_owned(),
                accepted_unix_millis: accepted.accepted_unix_millis,
                decision,
                closed,
            })
        });
        Ok(readable(listed))
    }

    fn stored(&self, body: &str) -> Result<Stored, JournalError> {
        let accepted: Accepted = parse(body)?;
        let sql = "SELECT at_millis, body FROM entries WHERE question = ?1 ORDER BY number";
        let rows = || -> rusqlite::Result<Vec<(i64, String)>> {
            self.connection
                .prepare(sql)?
                .query_map([&accepted.question.id], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        };
        let rows = rows().map_err(failed("read the entries of a question"))?;
        let all = rows.len();
        let entries: Vec<(Moment, Entry)> = rows
            .into_iter()
            .filter_map(|(at, body)| {
                let at = Moment::from_millis(u64::try_from(at).unwrap_or(0));
                Some((at, parse(&body).ok()?))
            })
            .collect();
        let unreadable = all - entries.len();
        Ok(Stored { accepted, entries, unreadable })
    }
}

/// One row that cannot be read must not keep the others from being answered or shown.
fn readable<T>(rows: impl Iterator<Item = Result<T, JournalError>>) -> Vec<T> {
    let report = |error: &JournalError| {
        tracing::error!(error = error as &dyn std::error::Error, "a question cannot be read");
    };
    rows.filter_map(|row| row.inspect_err(report).ok()).collect()
}

/// Creates the file for the owner alone: it holds the tokens that answers must carry.
fn create_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.create(true).append(true).mode(0o600).open(path)
}

fn write<T: serde::Serialize>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value)
        .map_err(|source| JournalError::Entry { attempt: "written", source })
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|source| JournalError::Entry { attempt: "read", source })
}

/// Runs a statement behind the journal's back, as somebody with `sqlite3` could.
#[cfg(test)]
pub(super) fn execute(path: &Path, sql: &str) -> Result<(), rusqlite::Error> {
    Connection::open(path)?.execute_batch(sql)
}

/// The version a journal says it is of.
#[cfg(test)]
pub(super) fn version(path: &Path) -> Result<i64, rusqlite::Error> {
    Connection::open(path)?.pragma_query_value(None, "user_version", |row| row.get(0))
}
