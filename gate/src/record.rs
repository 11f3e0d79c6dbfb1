//! Records from where they are: files, folders of them, a journal, the id of an evaluation.

use std::io;
use std::path::{Path, PathBuf};

use questions::record::NoRecord;

use crate::journal::{self, JournalError, Stored};
pub(crate) use questions::record::Record;

/// What a record's file name ends with.
pub(crate) const ENDING: &str = ".record.json";
/// The first bytes of a journal.
const SQLITE_MAGIC: &[u8] = b"SQLite format 3\0";
/// The largest record file: two hours of 200 targets stay below it.
const RECORD_MAX_BYTES: u64 = 512 * 1024 * 1024;
/// Records read at once.
const RECORDS_MAX: usize = 10_000;

/// A record cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("{} cannot be read", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is larger than {RECORD_MAX_BYTES} bytes", path.display())]
    TooLarge { path: PathBuf },
    #[error("{} is no record", path.display())]
    Form { path: PathBuf, source: serde_json::Error },
    #[error("{} is a record of a form this gate does not know: {found}", path.display())]
    Newer { path: PathBuf, found: String },
    #[error("{} holds no {ENDING} files", path.display())]
    Empty { path: PathBuf },
    #[error("more than {RECORDS_MAX} records at once")]
    TooMany,
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("there is no record `{id}`: neither a file, nor an evaluation in the journal {}", journal.display())]
    Unknown { id: String, journal: PathBuf },
    #[error(
        "there is no file `{id}`; to look for an evaluation, name the journal with --journal or GATE_JOURNAL_PATH"
    )]
    NoJournal { id: String },
}

/// A record of what the journal holds.
pub(crate) fn of(stored: Stored) -> Record {
    Record::new(
        stored.accepted.question,
        stored.accepted.asked.ask.subject().id().to_owned(),
        stored.accepted.accepted_unix_millis,
        stored.entries,
    )
}

/// Reads what is named: a record's file, a folder of them, a journal, or the id of an evaluation in
/// `journal`.
pub(crate) fn read(named: &str, journal: Option<&Path>) -> Result<Vec<Record>, RecordError> {
    let path = Path::new(named);
    if path.is_dir() {
        return folder(path);
    }
    if path.is_file() {
        let mut magic = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| {
            let wanted = SQLITE_MAGIC.len() as u64;
            io::Read::read_to_end(&mut io::Read::take(file, wanted), &mut magic)
        });
        read.map_err(|source| RecordError::Read { path: path.to_owned(), source })?;
        if magic == SQLITE_MAGIC {
            let stored = journal::read(path, None)?;
            return limited(stored.into_iter().map(of).collect());
        }
        return Ok(vec![file(path)?]);
    }
    let Some(journal) = journal else {
        return Err(RecordError::NoJournal { id: named.to_owned() });
    };
    let stored = journal::read(journal, Some(named))?;
    if stored.is_empty() {
        return Err(RecordError::Unknown { id: named.to_owned(), journal: journal.to_owned() });
    }
    Ok(stored.into_iter().map(of).collect())
}

fn folder(path: &Path) -> Result<Vec<Record>, RecordError> {
    let entries = std::fs::read_dir(path)
        .map_err(|source| RecordError::Read { path: path.to_owned(), source })?;
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(ENDING))
        .collect();
    paths.sort();
    if paths.is_empty() {
        return Err(RecordError::Empty { path: path.to_owned() });
    }
    if paths.len() > RECORDS_MAX {
        return Err(RecordError::TooMany);
    }
    paths.iter().map(|path| file(path)).collect()
}

fn file(path: &Path) -> Result<Record, RecordError> {
    let failed = |source| RecordError::Read { path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > RECORD_MAX_BYTES {
        return Err(RecordError::TooLarge { path: path.to_owned() });
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    questions::record::read(&bytes).map_err(|error| match error {
        NoRecord::Form(source) => RecordError::Form { path: path.to_owned(), source },
        NoRecord::Newer(found) => RecordError::Newer { path: path.to_owned(), found },
    })
}

fn limited(records: Vec<Record>) -> Result<Vec<Record>, RecordError> {
    if records.len() > RECORDS_MAX { Err(RecordError::TooMany) } else { Ok(records) }
}
