//! What was accepted and what happened, on disk before anything is acknowledged.
//!
//! Facts are appended and never changed: a run is resumed, explained and replayed from them. One thread
//! owns the database; everybody else sends it requests.

mod sqlite;

use std::path::Path;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use policies::{Decision, Event, Moment, Question};
use serde::{Deserialize, Serialize};

use crate::ask::{Ask, Asked, Token};
use crate::aws::Place;
use tokio::sync::{mpsc, oneshot};

pub(crate) use sqlite::JournalError;
use sqlite::Sqlite;

/// Requests that may wait for the disk.
const REQUESTS_WAITING_MAX: usize = 1024;

/// A question with all that is needed to take it up again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub(crate) struct Accepted {
    /// What the run needs to know of it.
    pub(crate) question: Question,
    /// Who asks, and where.
    pub(crate) asked: Asked,
    /// When it was accepted, in milliseconds since 1970.
    pub(crate) accepted_unix_millis: u64,
}

/// [`Accepted`] as this gate writes it, or as one wrote it that knew hooks of CodeDeploy alone.
#[derive(Deserialize)]
#[serde(untagged)]
enum Written {
    Now {
        question: Question,
        asked: Asked,
        accepted_unix_millis: u64,
    },
    Hook {
        question: Question,
        deployment_id: String,
        execution_id: Token,
        accepted_unix_millis: u64,
    },
}

impl From<Written> for Accepted {
    fn from(written: Written) -> Self {
        match written {
            Written::Now { question, asked, accepted_unix_millis } => {
                Self { question, asked, accepted_unix_millis }
            }
            Written::Hook { question, deployment_id, execution_id, accepted_unix_millis } => {
                let ask = Ask::CodedeployHook { deployment_id, execution_id };
                let asked = Asked::now(ask, Place::default());
                Self { question, asked, accepted_unix_millis }
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

/// The one writer's mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    requests: mpsc::Sender<Request>,
}

type Respond<T> = oneshot::Sender<Result<T, JournalError>>;

enum Request {
    Accept(Box<Accepted>, Respond<bool>),
    Append(String, Moment, Box<Entry>, Respond<()>),
    Close(String, Respond<()>),
    Unfinished(Respond<Vec<Stored>>),
    Load(String, Respond<Option<Stored>>),
    List(u32, Respond<Vec<Listed>>),
    End(Respond<()>),
}

impl Journal {
    /// Opens or creates the journal and starts its thread.
    ///
    /// # Errors
    /// The file cannot be opened, is no journal, or was written by a newer gate.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let database = Sqlite::open(path)?;
        let (requests, waiting) = mpsc::channel(REQUESTS_WAITING_MAX);
        let serve = move || serve(database, waiting);
        thread::Builder::new()
            .name("journal".to_owned())
            .spawn(serve)
            .map_err(JournalError::Thread)?;
        Ok(Self { requests })
    }

    /// Writes a question down. True if it is new, false if it was accepted before.
    pub(crate) async fn accept(&self, accepted: Accepted) -> Result<bool, JournalError> {
        self.ask(|respond| Request::Accept(Box::new(accepted), respond)).await
    }

    /// Writes down what happened.
    pub(crate) async fn append(
        &self,
        id: &str,
        at: Moment,
        entry: Entry,
    ) -> Result<(), JournalError> {
        self.ask(|respond| Request::Append(id.to_owned(), at, Box::new(entry), respond)).await
    }

    /// Marks a run as over.
    pub(crate) async fn close(&self, id: &str) -> Result<(), JournalError> {
        self.ask(|respond| Request::Close(id.to_owned(), respond)).await
    }

    /// Questions whose run is not over.
    pub(crate) async fn unfinished(&self) -> Result<Vec<Stored>, JournalError> {
        self.ask(Request::Unfinished).await
    }

    /// One question with everything that happened to it.
    pub(crate) async fn load(&self, id: &str) -> Result<Option<Stored>, JournalError> {
        self.ask(|respond| Request::Load(id.to_owned(), respond)).await
    }

    /// The newest questions.
    pub(crate) async fn list(&self, most: u32) -> Result<Vec<Listed>, JournalError> {
        self.ask(|respond| Request::List(most, respond)).await
    }

    /// Closes the journal, for everybody who holds it.
    pub(crate) async fn end(&self) {
        // Ended already, then.
        drop(self.ask(Request::End).await);
    }

    async fn ask<T>(&self, request: impl FnOnce(Respond<T>) -> Request) -> Result<T, JournalError> {
        let (respond, response) = oneshot::channel();
        self.requests.send(request(respond)).await.map_err(|_closed| JournalError::Stopped)?;
        response.await.map_err(|_dropped| JournalError::Stopped)?
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

/// Does what is asked, one request at a time, until everybody is gone or the journal is ended.
fn serve(mut database: Sqlite, mut waiting: mpsc::Receiver<Request>) {
    while let Some(request) = waiting.blocking_recv() {
        // Whoever asked may be gone; the write stands all the same.
        match request {
            Request::Accept(accepted, respond) => drop(respond.send(database.accept(&accepted))),
            Request::Append(id, at, entry, respond) => {
                drop(respond.send(database.append(&id, at, &entry)));
            }
            Request::Close(id, respond) => drop(respond.send(database.close(&id))),
            Request::Unfinished(respond) => drop(respond.send(database.unfinished())),
            Request::Load(id, respond) => drop(respond.send(database.load(&id))),
            Request::List(most, respond) => drop(respond.send(database.list(most))),
            Request::End(respond) => {
                // Closed before it is said to be: the next start may open it at once.
                drop(database);
                drop(respond.send(Ok(())));
                return;
            }
        }
    }
}

/// Milliseconds since 1970 by the machine's clock: for records, and to carry a deadline over a restart.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policies::{Answer, ArmTick, Basis, Delivery, Outcome, Sample, TargetTick, Tick};

    /// A journal in a folder of its own, removed with it.
    struct Place(std::path::PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            let folder =
                std::env::temp_dir().join(format!("gate-journal-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn path(&self) -> std::path::PathBuf {
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
            let journal = Journal::open(&place.path()).unwrap();
            assert!(journal.accept(accepted("one")).await.unwrap());
            assert!(!journal.accept(accepted("one")).await.unwrap(), "delivered again, it joins");
            for (at, entry) in entries() {
                journal.append("one", at, entry).await.unwrap();
            }
            journal.end().await;
        }
        let journal = Journal::open(&place.path()).unwrap();
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
        let journal = Journal::open(&place.path()).unwrap();
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
        let journal = Journal::open(&place.path()).unwrap();
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
        let first = Journal::open(&place.path()).unwrap();
        let refused = Journal::open(&place.path()).unwrap_err();
        assert!(matches!(refused, JournalError::InUse { .. }), "{refused}");
        first.end().await;
        Journal::open(&place.path()).unwrap();
    }

    #[tokio::test]
    async fn a_journal_of_an_older_gate_is_taken_over_and_no_longer_the_older_ones() {
        let place = Place::new("older");
        Journal::open(&place.path()).unwrap().end().await;
        sqlite::execute(&place.path(), "PRAGMA user_version = 1").unwrap();
        Journal::open(&place.path()).unwrap().end().await;
        assert_eq!(sqlite::version(&place.path()).unwrap(), 3);
    }

    #[tokio::test]
    async fn a_journal_of_a_newer_gate_and_what_is_no_journal_are_refused() {
        let place = Place::new("newer");
        Journal::open(&place.path()).unwrap().end().await;
        sqlite::execute(&place.path(), "PRAGMA user_version = 99").unwrap();
        let refused = Journal::open(&place.path()).unwrap_err();
        assert!(matches!(refused, JournalError::Newer { found: 99, .. }), "{refused}");
        let rubbish = place.0.join("rubbish.db");
        std::fs::write(
            &rubbish,
            "this is no database, but long enough to be taken for one".repeat(20),
        )
        .unwrap();
        assert!(matches!(Journal::open(&rubbish), Err(JournalError::Open { .. })));
        assert!(matches!(
            Journal::open(Path::new("/nowhere/j.db")),
            Err(JournalError::Create { .. })
        ));
    }
}
