//! What was accepted and what happened, written down before anything is acknowledged.
//!
//! Facts are appended and never changed: a run is resumed, explained and replayed from them. Where they are kept is
//! behind [`Journal`].

mod embedded;
mod shared;
mod sqlite;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;

use policies::{Decision, Event, Moment, Question};
use serde::{Deserialize, Serialize};

use crate::ask::{Ask, Asked, Token};
use crate::aws::Place;
use crate::clock::SinceBoot;

pub(crate) use embedded::Embedded;
pub(crate) use shared::{RENEW_EVERY, SWEEP_EVERY, Shared, Swept};
use sqlite::Sqlite;

/// A question with all that is needed to take it up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AsWritten")]
pub(crate) struct Accepted {
    /// What the run needs to know of it.
    pub(crate) question: Question,
    /// Who asks, and where.
    pub(crate) asked: Asked,
    /// When it was accepted, in milliseconds since 1970.
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

/// One thing that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Entry {
    /// A fact, as the run was told it.
    Fact {
        /// The fact.
        fact: Event,
    },
    /// The decision, written before it is sent.
    Decided {
        /// The decision.
        decision: Decision,
    },
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
    #[error("the journal {0} cannot be opened", path.display())]
    Open { path: PathBuf, source: Cause },
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

/// Reads a journal on its own, beside the daemon that may be writing it: one question, or all of them.
///
/// # Errors
/// The file cannot be opened, is no journal, or was written by a newer gate.
pub(crate) fn read(path: &Path, id: Option<&str>) -> Result<Vec<Stored>, JournalError> {
    let database = Sqlite::read(path)?;
    match id {
        Some(id) => Ok(database.load(id)?.into_iter().collect()),
        None => database.all(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use policies::{Answer, ArmTick, Basis, Delivery, Outcome, Sample, TargetTick, Tick};

    /// A journal in a folder of its own, removed with it.
    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("gate-journal-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn path(&self) -> PathBuf {
            self.0.join("journal.db")
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            drop(std::fs::remove_dir_all(&self.0));
        }
    }

    fn accepted(id: &str) -> Accepted {
        let question = Question {
            id: id.into(),
            limit: None,
            unmatched: Answer::Rollback,
            observe: false,
            watch_only: false,
        };
        Accepted {
            question,
            asked: Asked::now(
                Ask::CodedeployHook {
                    deployment_id: "d-1".into(),
                    execution_id: Token("token".into()),
                },
                crate::aws::Place::default(),
            ),
            accepted_unix_millis: 1_700_000_000_000,
            accepted_since_boot: None,
        }
    }

    fn entries() -> Vec<(Moment, Entry)> {
        let mut target = TargetTick::default();
        for (outcome, status) in [(Outcome::Ok, 200), (Outcome::Status, 503), (Outcome::Timeout, 0)]
        {
            target.record(&Sample {
                held: Duration::ZERO,
                latency: Duration::from_millis(12),
                outcome,
                status: Some(status),
                ..Sample::default()
            });
        }
        let green = ArmTick { targets: [("10.0.0.1:80".to_owned(), target)].into() };
        let tick = Tick { index: 3, green: green.clone(), blue: Some(green), ..Tick::default() };
        let decision = Decision {
            answer: Answer::Rollback,
            basis: Basis::Proven,
            reason: "because".into(),
            objective: Some("errors".into()),
            counterfactual: None,
        };
        let facts = [
            Event::Woke,
            Event::Resumed,
            Event::Ended { status: "Stopped".into() },
            Event::Ticked { tick: Box::new(tick) },
            Event::Delivered { delivery: Delivery::TooLate { reason: "late".into() } },
        ];
        let mut entries: Vec<(Moment, Entry)> = facts
            .into_iter()
            .enumerate()
            .map(|(i, fact)| (Moment::from_millis(i as u64), Entry::Fact { fact }))
            .collect();
        entries.push((Moment::from_millis(9), Entry::Decided { decision }));
        entries
    }

    #[tokio::test]
    async fn what_was_written_is_there_after_a_restart_word_for_word() {
        let place = Place::new("restart");
        {
            let journal = Embedded::open(&place.path()).unwrap();
            assert!(journal.accept(accepted("one")).await.unwrap());
            assert!(!journal.accept(accepted("one")).await.unwrap(), "delivered again, it joins");
            for (at, entry) in entries() {
                journal.append("one", at, entry).await.unwrap();
            }
            journal.end().await.unwrap();
        }
        let journal = Embedded::open(&place.path()).unwrap();
        let stored = journal.unfinished().await.unwrap();
        assert_eq!(stored.len(), 1);
        assert_eq!(stored[0].accepted, accepted("one"));
        assert_eq!(stored[0].entries, entries());
        let listed = journal.list(10).await.unwrap();
        assert_eq!(
            listed[0].decision.as_ref().map(|decision| decision.reason.as_str()),
            Some("because")
        );
        journal.close("one").await.unwrap();
        assert!(journal.unfinished().await.unwrap().is_empty());
        assert!(journal.load("one").await.unwrap().is_some());
        assert!(journal.load("two").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_read_costs_itself_and_never_the_rest() {
        let place = Place::new("torn");
        let journal = Embedded::open(&place.path()).unwrap();
        for id in ["one", "two", "three"] {
            journal.accept(accepted(id)).await.unwrap();
            for (at, entry) in entries() {
                journal.append(id, at, entry).await.unwrap();
            }
        }
        let torn = "UPDATE questions SET body = '{' WHERE id = 'two';
                    DELETE FROM entries WHERE question = 'three' AND number > 14;
                    INSERT INTO entries (question, at_millis, body) VALUES ('three', 5, '{');";
        sqlite::execute(&place.path(), torn).unwrap();
        let stored = journal.unfinished().await.unwrap();
        let seen: Vec<(&str, usize, usize)> = stored
            .iter()
            .map(|stored| {
                (stored.accepted.question.id.as_str(), stored.entries.len(), stored.unreadable)
            })
            .collect();
        assert_eq!(seen, [("one", 6, 0), ("three", 2, 1)]);
        assert_eq!(journal.list(10).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn only_the_owner_can_read_it_and_nobody_can_change_an_entry() {
        use std::os::unix::fs::PermissionsExt;
        let place = Place::new("private");
        let journal = Embedded::open(&place.path()).unwrap();
        journal.accept(accepted("one")).await.unwrap();
        journal.append("one", Moment::ZERO, Entry::Fact { fact: Event::Woke }).await.unwrap();
        let mode = std::fs::metadata(place.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let refused = sqlite::execute(&place.path(), "UPDATE entries SET body = '{}'").unwrap_err();
        assert!(refused.to_string().contains("entries are never changed"), "{refused}");
    }

    #[tokio::test]
    async fn a_second_gate_on_the_same_journal_is_refused_until_the_first_is_gone() {
        let place = Place::new("second");
        let first = Embedded::open(&place.path()).unwrap();
        let refused = Embedded::open(&place.path()).unwrap_err();
        assert!(matches!(refused, JournalError::InUse { .. }), "{refused}");
        first.end().await.unwrap();
        Embedded::open(&place.path()).unwrap();
    }

    #[tokio::test]
    async fn a_journal_of_an_older_gate_is_taken_over_and_no_longer_the_older_ones() {
        let place = Place::new("older");
        Embedded::open(&place.path()).unwrap().end().await.unwrap();
        sqlite::execute(&place.path(), "DROP TABLE signatures; PRAGMA user_version = 1").unwrap();
        Embedded::open(&place.path()).unwrap().end().await.unwrap();
        assert_eq!(sqlite::version(&place.path()).unwrap(), sqlite::VERSION);
    }

    #[tokio::test]
    async fn a_journal_of_a_newer_gate_and_what_is_no_journal_are_refused() {
        let place = Place::new("newer");
        Embedded::open(&place.path()).unwrap().end().await.unwrap();
        sqlite::execute(&place.path(), "PRAGMA user_version = 99").unwrap();
        let refused = Embedded::open(&place.path()).unwrap_err();
        assert!(matches!(refused, JournalError::Newer { found: 99, .. }), "{refused}");
        let rubbish = place.0.join("rubbish.db");
        std::fs::write(
            &rubbish,
            "this is no database, but long enough to be taken for one".repeat(20),
        )
        .unwrap();
        assert!(matches!(Embedded::open(&rubbish), Err(JournalError::Open { .. })));
        assert!(matches!(
            Embedded::open(Path::new("/nowhere/j.db")),
            Err(JournalError::Create { .. })
        ));
    }
}
