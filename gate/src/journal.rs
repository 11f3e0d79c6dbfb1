//! What was accepted and what happened, written down before anything is acknowledged.
//!
//! Facts are appended and never changed: a run is resumed, explained and replayed from them. Where they are kept is
//! behind [`Journal`].

mod embedded;
mod shared;
mod sqlite;
mod state;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use policies::{Decision, Moment, Question};
use serde::{Deserialize, Serialize};

use crate::ask::{Ask, Asked, Token};
use crate::aws::Place;
use crate::clock::SinceBoot;

pub(crate) use embedded::Embedded;
pub(crate) use questions::record::Entry;
pub(crate) use shared::{
    Judge, Left, Outcome, RENEW_EVERY, SWEEP_EVERY, Shared, Swept, Watcher, Word,
};
use sqlite::{Alone, Sqlite};

/// A question with all that is needed to take it up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AsWritten")]
pub(crate) struct Accepted {
    /// What the run needs to know of it.
    pub(crate) question: Question,
    /// Who asks, and where.
    pub(crate) asked: Asked,
    /// When it was accepted, in milliseconds since 1970, by AWS's clock where that was known.
    pub(crate) accepted_unix_millis: u64,
    /// The same by the machine's uptime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accepted_since_boot: Option<SinceBoot>,
}

/// [`Accepted`] as this gate writes it, or as one wrote it that knew hooks of CodeDeploy alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum AsWritten {
    Now {
        question: Question,
        asked: Asked,
        accepted_unix_millis: u64,
        #[serde(default)]
        accepted_since_boot: Option<SinceBoot>,
    },
    Hook {
        question: Question,
        deployment_id: String,
        execution_id: Token,
        accepted_unix_millis: u64,
    },
}

impl From<AsWritten> for Accepted {
    fn from(written: AsWritten) -> Self {
        match written {
            AsWritten::Now { question, asked, accepted_unix_millis, accepted_since_boot } => {
                Self { question, asked, accepted_unix_millis, accepted_since_boot }
            }
            AsWritten::Hook { question, deployment_id, execution_id, accepted_unix_millis } => {
                let ask = Ask::CodedeployHook { deployment_id, execution_id };
                let asked = Asked::now(ask, Place::default());
                Self { question, asked, accepted_unix_millis, accepted_since_boot: None }
            }
        }
    }
}

/// A question with everything that happened to it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) accepted: Accepted,
    pub(crate) entries: Vec<(Moment, Entry)>,
    /// Entries that cannot be read: the others still count.
    pub(crate) unreadable: usize,
}

/// One line of the list of questions.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Listed {
    pub(crate) id: String,
    pub(crate) deployment_id: String,
    pub(crate) accepted_unix_millis: u64,
    /// The decision, where there is one.
    pub(crate) decision: Option<Decision>,
    /// Whether the run is over.
    pub(crate) closed: bool,
}

/// The journal cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    #[error(
        "the journal {0} cannot be opened; `gate journal verify` says what of it can be read, and once it is moved aside (with its -wal and -shm) gate begins a new one, without the questions that are open in it",
        path.display()
    )]
    Open { path: PathBuf, source: Cause },
    #[error("the journal {0} cannot be written", path.display())]
    Unwritable { path: PathBuf, source: Cause },
    #[error("the journal cannot be written: {0}")]
    Trouble(String),
    #[error("the journal will not {attempt}")]
    Refused { attempt: &'static str, source: Cause },
    #[error("the question `{id}` is not as it was written")]
    Damaged { id: String },
    #[error("the question is not on disk in time")]
    Late,
    #[error("the journal does not {attempt} within {} s", within.as_secs())]
    Slow { attempt: &'static str, within: Duration },
    #[error("the journal {0} cannot be created", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("the journal {0} was written by a newer gate (version {found}, this one knows {known})", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("the journal {0} is in use by another gate; one daemon answers", path.display())]
    InUse { path: PathBuf },
    #[error("the journal cannot {attempt}")]
    Database { attempt: &'static str, source: Cause },
    #[error("an entry of the journal cannot be {attempt}")]
    Entry { attempt: &'static str, source: serde_json::Error },
    #[error("the journal's thread cannot be started")]
    Thread(#[source] io::Error),
    #[error("the journal has stopped")]
    Stopped,
    #[error("another gate judges this question by now")]
    TakenOver,
    #[error("an entry of {bytes} bytes is too large for the journal")]
    TooLarge { bytes: usize },
    #[error(
        "the table `{table}` is no journal: {why}; make it with deploy/replicas.cloudformation.yaml"
    )]
    Unfit { table: String, why: String },
    #[error("a question was written by a newer gate (version {found}, this one knows {known})")]
    NewerQuestion { found: u64, known: u64 },
}

/// What a database says of its own failure.
pub(crate) type Cause = Box<dyn Error + Send + Sync>;

/// A call of the journal under way.
pub(crate) type Written<'a, T> = Pin<Box<dyn Future<Output = Result<T, JournalError>> + Send + 'a>>;

/// Where questions and what happened to them are kept. What a call has done is on disk when it returns.
pub(crate) trait Journal: Send + Sync + fmt::Debug {
    /// Writes a question down. True if it is new, false if it was accepted before.
    fn accept(&self, accepted: Accepted) -> Written<'_, bool>;
    /// Writes down what happened.
    fn append<'a>(&'a self, id: &'a str, at: Moment, entry: Entry) -> Written<'a, ()>;
    /// Marks a run as over.
    fn close<'a>(&'a self, id: &'a str) -> Written<'a, ()>;
    /// Questions whose run is not over.
    fn unfinished(&self) -> Written<'_, Vec<Stored>>;
    /// One question with everything that happened to it.
    fn load<'a>(&'a self, id: &'a str) -> Written<'a, Option<Stored>>;
    /// The newest questions.
    fn list(&self, most: u32) -> Written<'_, Vec<Listed>>;
    /// Ids of the questions whose run is not over: each is loaded by itself, so that all of them need not fit into
    /// memory at once.
    fn unfinished_ids(&self) -> Written<'_, Vec<String>> {
        Box::pin(async {
            let unfinished = self.unfinished().await?;
            Ok(unfinished.into_iter().map(|stored| stored.accepted.question.id).collect())
        })
    }
    /// Writes a question down once more that is open and not as it was written, as it is delivered again: what happened to it stays.
    /// False where there is no such question.
    fn mend(&self, _accepted: Accepted) -> Written<'_, bool> {
        Box::pin(async { Ok(false) })
    }
    /// Lets go of a little of what is over and old. Called again for as long as there is more.
    fn prune(&self, _retention: Retention, _now_unix_millis: u64) -> Written<'_, Pruned> {
        Box::pin(async { Ok(Pruned::default()) })
    }
    /// How it is. Never waits.
    fn state(&self) -> State {
        State::default()
    }
    /// Notes a signature that is good until then, in seconds since 1970. True if it is new, false if a request bore
    /// it before.
    fn first_seen<'a>(&'a self, signature: &'a str, good_until_seconds: u64) -> Written<'a, bool>;
    /// Closes the journal, for everybody who holds it.
    fn end(&self) -> Written<'_, ()>;
    /// What a journal can do that other gates write, too.
    fn shared(&self) -> Option<&Shared> {
        None
    }
}

/// How a journal is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Why nothing can be written at the moment.
    pub(crate) trouble: Option<String>,
    /// Bytes in use, where it is a file.
    pub(crate) bytes: u64,
}

/// How long runs that are over are kept, and how large the journal may grow. Open ones are never let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retention {
    /// Those older than this go; `None` keeps them for ever.
    pub(crate) keep: Option<Duration>,
    /// The oldest go while more bytes are in use; `None` lets it grow.
    pub(crate) max_bytes: Option<u64>,
}

impl Retention {
    /// What is younger stays, however large the journal is: whoever delivers a question again should find it answered.
    pub(crate) const KEEP_MIN: Duration = Duration::from_secs(24 * 3600);
}

/// What was let go of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pruned {
    /// Runs that are gone.
    pub(crate) questions: u64,
    /// Runs that are damaged, and cannot be let go of.
    pub(crate) stuck: u64,
    /// There is more to do.
    pub(crate) more: bool,
}

/// Something that is wrong with a journal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    /// The question, where it is one's.
    pub(crate) question: Option<String>,
    /// What is wrong.
    pub(crate) what: String,
}

impl Fault {
    fn of_file(what: &str) -> Self {
        Self { question: None, what: what.to_owned() }
    }

    fn of_question(id: &str, what: &str) -> Self {
        Self { question: Some(id.to_owned()), what: what.to_owned() }
    }
}

/// What somebody sees who looks through a whole journal.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Looked {
    /// Version of its tables.
    pub(crate) version: i64,
    pub(crate) questions: usize,
    /// Of those, whose run is not over.
    pub(crate) open: usize,
    pub(crate) entries: usize,
    /// Sound questions that this gate decides otherwise than the one that wrote them: another version may.
    pub(crate) differing: usize,
    pub(crate) faults: Vec<Fault>,
}

/// A journal that is read on its own, beside the daemon that may be writing it.
#[derive(Debug)]
pub(crate) struct Archive(Sqlite);

impl Archive {
    /// # Errors
    /// The file cannot be opened, is no journal, or was written by a newer gate.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        Sqlite::read(path, Alone::Locked).map(Self)
    }

    /// Ids of all questions, or of those accepted since then, oldest first.
    pub(crate) fn ids(&self, since_unix_millis: Option<u64>) -> Result<Vec<String>, JournalError> {
        since_unix_millis.map_or_else(|| self.0.ids(false), |since| self.0.ids_since(since))
    }

    /// One question with everything that happened to it.
    pub(crate) fn load(&self, id: &str) -> Result<Option<Stored>, JournalError> {
        self.0.load(id)
    }

    /// Looks through all of it.
    pub(crate) fn look(&self) -> Result<Looked, JournalError> {
        self.0.look()
    }

    /// What pruning would let go of: ids, and about how many bytes.
    pub(crate) fn to_prune(
        &self,
        retention: Retention,
        now_unix_millis: u64,
    ) -> Result<Vec<(String, u64)>, JournalError> {
        self.0.to_prune(retention, now_unix_millis)
    }
}

/// Lets go of what is over and old in a journal that no daemon has open, and makes the file smaller. How many runs, and the
/// bytes in use before and after.
///
/// # Errors
/// A daemon has it open, or it cannot be opened or written.
pub(crate) fn prune(
    path: &Path,
    retention: Retention,
    now_unix_millis: u64,
) -> Result<(u64, u64, u64), JournalError> {
    // A journal that is not there would be created.
    Archive::open(path)?;
    let mut database = Sqlite::open(path, &mut None)?;
    let before = database.bytes();
    let mut questions = 0;
    loop {
        let pruned = database.prune(retention, now_unix_millis)?;
        questions += pruned.questions;
        if !pruned.more {
            break;
        }
    }
    database.compact()?;
    Ok((questions, before, database.bytes()))
}

/// Reads a journal on its own, beside the daemon that may be writing it: one question, or all that can be read.
///
/// # Errors
/// The file cannot be opened, is no journal, or was written by a newer gate.
pub(crate) fn read(path: &Path, id: Option<&str>) -> Result<Vec<Stored>, JournalError> {
    let archive = Archive::open(path)?;
    if let Some(id) = id {
        return Ok(archive.load(id)?.into_iter().collect());
    }
    let report = |error: &JournalError| {
        tracing::error!(error = error as &dyn Error, "a question cannot be read");
    };
    let all = archive.ids(None)?.into_iter();
    Ok(all.filter_map(|id| archive.load(&id).inspect_err(report).ok().flatten()).collect())
}

/// Runs a statement behind the journal's back, as somebody with `sqlite3` could.
#[cfg(test)]
pub(crate) fn change_behind(path: &Path, sql: &str) {
    sqlite::execute(path, sql).unwrap();
}

#[cfg(test)]
mod tests;
