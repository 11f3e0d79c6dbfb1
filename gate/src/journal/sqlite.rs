//! The journal's database: the only place that speaks SQL.

mod care;
mod mend;
mod reading;
mod sums;
mod tables;

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{
    Connection, ErrorCode, MAIN_DB, OpenFlags, OptionalExtension, Savepoint, Transaction,
    TransactionBehavior, params,
};

use super::{Accepted, Entry, JournalError};
use policies::Moment;
pub(super) use tables::VERSION;
use tables::millis;

/// A signature is forgotten so long before the newest one's end: both are good for the same time either way of now.
const SIGNATURES_KEPT_SECONDS: i64 = 2 * 300;
/// How long a write waits for somebody who looks at the file with `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// What the write-ahead log is cut to once all of it is in the journal.
const LOG_KEPT_BYTES: i64 = 16 * 1024 * 1024;

/// The database.
#[derive(Debug)]
pub(super) struct Sqlite {
    connection: Connection,
    /// Which tables it has.
    version: i64,
    /// Held for as long as the journal is open to write, or read alone; gone with the process, however that ends.
    lock: Option<Lock>,
    /// Runs that cannot be let go of: they are damaged.
    stuck: BTreeSet<String>,
}

/// What keeps others from writing a file that is read where SQLite cannot see to it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Alone {
    /// It is read beside whoever writes it, or not at all.
    Never,
    /// This process has the journal's lock, and does not write.
    Held,
    /// The lock is taken for it, where nobody has it.
    Locked,
}

/// One thing to write down.
#[derive(Debug)]
pub(super) enum Write {
    Accept(Box<Accepted>),
    Mend(Box<Accepted>),
    Append(String, Moment, Box<Entry>),
    Close(String),
    FirstSeen(String, u64),
}

impl Write {
    const fn attempt(&self) -> &'static str {
        match self {
            Self::Accept(_) => "accept a question",
            Self::Mend(_) => "write a question down once more",
            Self::Append(..) => "append an entry",
            Self::Close(_) => "close a question",
            Self::FirstSeen(..) => "note a signature",
        }
    }
}

/// Why the database did not do what it was told.
pub(super) type Failure = rusqlite::Error;
/// What became of a group of writes.
pub(super) type Together = Result<Vec<Result<bool, JournalError>>, Failure>;

/// What keeps a second gate from the journal.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    /// Of the file beside the journal; else of the journal, where no file could be made beside it.
    beside: bool,
}

impl Lock {
    fn of(file: File, beside: bool, path: &Path) -> Result<Self, JournalError> {
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file, beside }),
            Err(TryLockError::WouldBlock) => Err(JournalError::InUse { path: path.to_owned() }),
            Err(TryLockError::Error(source)) => {
                Err(JournalError::Create { path: path.to_owned(), source })
            }
        }
    }

    /// Locks a journal that cannot be written to.
    pub(super) fn to_read(path: &Path) -> Result<Self, JournalError> {
        let failed = |source| JournalError::Create { path: path.to_owned(), source };
        match File::open(path.with_added_extension("lock")) {
            Ok(file) => Self::of(file, true, path),
            Err(_absent) => Self::of(File::open(path).map_err(failed)?, false, path),
        }
    }
}

/// Whether a value is at fault, and any other could be written.
fn is_refused(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch)
    )
}

fn failed(attempt: &'static str) -> impl FnOnce(rusqlite::Error) -> JournalError {
    move |source| {
        if is_refused(&source) {
            JournalError::Refused { attempt, source: Box::new(source) }
        } else {
            JournalError::Database { attempt, source: Box::new(source) }
        }
    }
}

/// Why nothing can be written to a disk that can be read, for people.
pub(super) const READ_ONLY: &str = "the disk is read-only";

/// Why nothing can be written, for people.
pub(super) fn told(error: &rusqlite::Error) -> String {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full".to_owned(),
        Some(ErrorCode::ReadOnly) => READ_ONLY.to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program writes to it".to_owned()
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => format!(
            "it is damaged ({error}): see `gate journal verify`, and `export` what can be read"
        ),
        _ => error.to_string(),
    }
}

/// Whether what was written before is damaged: that does not mend itself.
pub(super) fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// Whether each other write would meet the same.
pub(super) fn is_for_all(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
        )
    )
}

/// Whether the disk is at fault, and what is in the file may be sound.
pub(super) fn is_of_the_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(
            ErrorCode::DiskFull
                | ErrorCode::ReadOnly
                | ErrorCode::SystemIoFailure
                | ErrorCode::CannotOpen
                | ErrorCode::PermissionDenied
        )
    )
}

/// Whether the file, or what SQLite keeps beside it, was open for reading alone: only opening it anew mends that.
pub(super) fn is_read_only(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(ErrorCode::ReadOnly)
}

impl Sqlite {
    /// Opens or creates the journal to write. `held` is a lock from before. No other connection of this process may be
    /// open: what SQLite knows of a file is shared by all of them, and so are the locks that the kernel keeps.
    pub(super) fn open(path: &Path, held: &mut Option<Lock>) -> Result<Self, JournalError> {
        let there = std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        let created = |source| {
            let path = path.to_owned();
            if there {
                JournalError::Unwritable { path, source: Box::new(source) }
            } else {
                JournalError::Create { path, source }
            }
        };
        let opened = |source: rusqlite::Error| {
            let (path, disk) = (path.to_owned(), is_of_the_disk(&source));
            let source = Box::new(source);
            if there && disk {
                JournalError::Unwritable { path, source }
            } else {
                JournalError::Open { path, source }
            }
        };
        make_private(path).map_err(&created)?;
        if held.as_ref().is_none_or(|lock| !lock.beside) {
            let beside = open_private(&path.with_added_extension("lock")).map_err(&created)?;
            *held = Some(Lock::of(beside, true, path)?);
        }
        let open = || -> Result<(Connection, i64), rusqlite::Error> {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY_TIMEOUT)?;
            let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
            Ok((connection, version))
        };
        let (mut connection, found) = open().map_err(&opened)?;
        // SQLite opens what it may not write for reading, and says nothing.
        if connection.is_readonly(MAIN_DB).map_err(&opened)? {
            return Err(created(io::ErrorKind::ReadOnlyFilesystem.into()));
        }
        if found > VERSION {
            return Err(JournalError::Newer { path: path.to_owned(), found, known: VERSION });
        }
        let mut prepare = || -> Result<(), rusqlite::Error> {
            if found == 0 {
                connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
            }
            // FULL: a commit is on the disk before it is acknowledged, power cut included.
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "journal_size_limit", LOG_KEPT_BYTES)?;
            connection.pragma_update(None, "foreign_keys", true)?;
            tables::migrate(&mut connection, found)
        };
        prepare().map_err(opened)?;
        Ok(Self { connection, version: VERSION, lock: held.take(), stuck: BTreeSet::new() })
    }

    /// Closes it, and keeps its lock.
    pub(super) fn close(self) -> Option<Lock> {
        self.lock
    }

    /// Opens a journal to read beside whoever writes it; where nothing can be written, alone.
    pub(super) fn read(path: &Path, alone: Alone) -> Result<Self, JournalError> {
        let plain = looked_at(Connection::open_with_flags(path, READING));
        let error = match plain {
            Ok((connection, version)) => return known(path, connection, version, None),
            Err(error) => error,
        };
        let guard = match alone {
            Alone::Never => None,
            Alone::Held => Some(None),
            Alone::Locked => Lock::to_read(path).ok().map(Some),
        };
        match guard {
            // What a log needs in shared memory cannot be made on such a disk: it is kept in memory instead, and nobody
            // else may write meanwhile.
            Some(lock) if is_of_the_disk(&error) && path.exists() => match read_alone(path) {
                Ok((connection, version)) => known(path, connection, version, lock),
                Err(_also) => Err(unopened(path, error)),
            },
            Some(_) | None => Err(unopened(path, error)),
        }
    }

    /// Writes all of these in one go, on disk when it returns. What is refused costs itself alone. An error is that of
    /// the disk, and nothing is written then.
    pub(super) fn together(&mut self, writes: &[Write]) -> Together {
        let mut writing =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let mut outcomes = Vec::with_capacity(writes.len());
        for write in writes {
            outcomes.push(one_of(&mut writing, write)?);
        }
        writing.commit()?;
        Ok(outcomes)
    }

    /// What this connection is set to.
    #[cfg(test)]
    pub(super) fn setting(&self, pragma: &str) -> String {
        let text = |row: &rusqlite::Row<'_>| {
            row.get(0).or_else(|_no_text| row.get::<_, i64>(0).map(|number| number.to_string()))
        };
        self.connection.pragma_query_value(None, pragma, text).unwrap()
    }

    /// Lets the file grow to so many pages, as a disk with so much room would.
    #[cfg(test)]
    pub(super) fn limit_pages(&self, pages: Option<u32>) {
        let pages = pages.unwrap_or(u32::MAX - 1);
        self.connection
            .pragma_update_and_check(None, "max_page_count", pages, |_row| Ok(()))
            .unwrap();
    }

    /// Writes something that changes nothing, to learn whether writing is possible.
    pub(super) fn try_to_write(&mut self) -> Result<(), rusqlite::Error> {
        let writing = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        writing.pragma_update(None, "user_version", self.version)?;
        writing.commit()
    }
}

/// How a journal is opened to read.
const READING: OpenFlags = OpenFlags::SQLITE_OPEN_READ_ONLY.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

fn unopened(path: &Path, source: rusqlite::Error) -> JournalError {
    JournalError::Open { path: path.to_owned(), source: Box::new(source) }
}

/// A journal that was opened to read, if this gate can read it.
fn known(
    path: &Path,
    connection: Connection,
    version: i64,
    lock: Option<Lock>,
) -> Result<Sqlite, JournalError> {
    if version > VERSION {
        return Err(JournalError::Newer { path: path.to_owned(), found: version, known: VERSION });
    }
    Ok(Sqlite { connection, version, lock, stuck: BTreeSet::new() })
}

/// Opens a file that nobody writes, past all locks and without shared memory.
fn read_alone(path: &Path) -> Result<(Connection, i64), rusqlite::Error> {
    let logged = || {
        let connection = Connection::open_with_flags_and_vfs(path, READING, "unix-none")?;
        // Without locks it would take itself for the last one, and put away the log of whoever writes by then.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
        Ok(connection)
    };
    looked_at(logged()).or_else(|_no_log| {
        let address = format!("file:{}?immutable=1", escaped(path));
        let flags = READING | OpenFlags::SQLITE_OPEN_URI;
        looked_at(Connection::open_with_flags(address, flags))
    })
}

/// Opening succeeds on many things; reading shows what they are.
fn looked_at(opened: rusqlite::Result<Connection>) -> Result<(Connection, i64), rusqlite::Error> {
    let connection = opened?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let version = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    connection.query_row("SELECT COUNT(*) FROM sqlite_schema", [], |_row| Ok(()))?;
    Ok((connection, version))
}

/// A path in a URI of SQLite's.
fn escaped(path: &Path) -> String {
    let text = path.to_string_lossy();
    text.replace('%', "%25").replace('?', "%3f").replace('#', "%23")
}

/// Why a write was not made.
enum Fault {
    /// Its value has no form on disk.
    Form(JournalError),
    Database(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// One of several writes. The outer error is the disk's.
fn one_of(
    writing: &mut Transaction<'_>,
    write: &Write,
) -> Result<Result<bool, JournalError>, rusqlite::Error> {
    // Dropped without a commit it is rolled back.
    let point = writing.savepoint()?;
    match apply(&point, write) {
        Ok(new) => point.commit().map(|()| Ok(new)),
        Err(Fault::Form(error)) => Ok(Err(error)),
        Err(Fault::Database(error)) if is_refused(&error) => {
            Ok(Err(failed(write.attempt())(error)))
        }
        Err(Fault::Database(error)) => Err(error),
    }
}

fn apply(writing: &Savepoint<'_>, write: &Write) -> Result<bool, Fault> {
    match write {
        Write::Accept(accepted) => accept(writing, accepted),
        Write::Mend(accepted) => mend::mend(writing, accepted),
        Write::Append(id, at, entry) => append(writing, id, *at, entry).map(|()| true),
        Write::Close(id) => Ok(close(writing, id).map(|()| true)?),
        Write::FirstSeen(signature, until) => Ok(first_seen(writing, signature, *until)?),
    }
}

fn accept(writing: &Connection, accepted: &Accepted) -> Result<bool, Fault> {
    let body = write(accepted).map_err(Fault::Form)?;
    let sums = sums::Question {
        id: &accepted.question.id,
        accepted_unix_millis: i64::try_from(accepted.accepted_unix_millis).unwrap_or(i64::MAX),
        closed: 0,
        version: VERSION,
        entries: None,
        body: &body,
    };
    let sql = "INSERT INTO questions (id, accepted_unix_millis, version, body, checksum)
               VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (id) DO NOTHING";
    let row = params![sums.id, sums.accepted_unix_millis, sums.version, body, sums.sum()];
    Ok(writing.execute(sql, row)? == 1)
}

fn append(writing: &Connection, question: &str, at: Moment, entry: &Entry) -> Result<(), Fault> {
    let body = write(entry).map_err(Fault::Form)?;
    let newest = "SELECT place FROM entries WHERE question = ?1 ORDER BY number DESC LIMIT 1";
    let newest: Option<i64> = writing.query_row(newest, [question], |row| row.get(0)).optional()?;
    let place = newest.map_or(1, |place| place.saturating_add(1));
    let sums =
        sums::Entry { question, place, version: VERSION, at_millis: millis(at), body: &body };
    let sql = "INSERT INTO entries (question, place, version, at_millis, body, checksum)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let row = params![question, place, sums.version, sums.at_millis, body, sums.sum()];
    writing.execute(sql, row)?;
    Ok(())
}

/// Marks a run as over, with the number of its entries.
fn close(writing: &Connection, id: &str) -> rusqlite::Result<()> {
    let newest = "SELECT place FROM entries WHERE question = ?1 ORDER BY number DESC LIMIT 1";
    let entries: Option<i64> = writing.query_row(newest, [id], |row| row.get(0)).optional()?;
    mark(writing, id, 1, entries.unwrap_or(0))
}

/// Sets how far the life of a question has come. One that is damaged stays so: with a sum that is right it would pass
/// for sound.
fn mark(writing: &Connection, id: &str, closed: i64, entries: i64) -> rusqlite::Result<()> {
    let read = "SELECT id, accepted_unix_millis, closed, version, entries, body, checksum
                FROM questions WHERE id = ?1";
    let found = writing.query_row(read, [id], reading::QuestionRow::read).optional()?;
    let Some(row) = found else { return Ok(()) };
    let sums = sums::Question {
        id,
        accepted_unix_millis: row.accepted_unix_millis,
        closed,
        version: row.version,
        entries: Some(entries),
        body: &row.body,
    };
    let sum = if row.is_sound() { Some(sums.sum()) } else { row.checksum };
    let write = "UPDATE questions SET closed = ?2, entries = ?3, checksum = ?4 WHERE id = ?1";
    writing.execute(write, params![id, closed, entries, sum])?;
    Ok(())
}

/// Those whose time is over are let go of at the same time.
fn first_seen(writing: &Connection, signature: &str, until_seconds: u64) -> rusqlite::Result<bool> {
    let until = i64::try_from(until_seconds).unwrap_or(i64::MAX);
    let old = "DELETE FROM signatures WHERE good_until_seconds < ?1 - ?2";
    writing.execute(old, params![until, SIGNATURES_KEPT_SECONDS])?;
    let new = "INSERT INTO signatures (signature, good_until_seconds) VALUES (?1, ?2)
               ON CONFLICT (signature) DO NOTHING";
    Ok(writing.execute(new, params![signature, until])? == 1)
}

/// Makes the file for the owner alone: it holds the tokens that answers must carry. One that is there is not opened: on
/// closing it the kernel would let go of every lock SQLite has on it.
fn make_private(path: &Path) -> io::Result<()> {
    match private().create_new(true).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map(drop),
    }
}

/// Opens or makes a file for the owner alone.
fn open_private(path: &Path) -> io::Result<File> {
    private().create(true).open(path)
}

fn private() -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.append(true).mode(0o600);
    options
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

/// Pages that are free, and could be given back.
#[cfg(test)]
pub(super) fn free_pages(path: &Path) -> Result<i64, rusqlite::Error> {
    Connection::open(path)?.pragma_query_value(None, "freelist_count", |row| row.get(0))
}

/// Keeps others from writing, as a disk that hangs would.
#[cfg(test)]
pub(super) fn hold(path: &Path) -> Connection {
    let connection = Connection::open(path).unwrap();
    connection.execute_batch("BEGIN IMMEDIATE").unwrap();
    connection
}
