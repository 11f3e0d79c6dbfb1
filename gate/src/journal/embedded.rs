//! The journal on this machine: one thread owns the database, everybody else sends it requests.

use std::path::Path;
use std::thread;

use policies::Moment;
use tokio::sync::{mpsc, oneshot};

use super::sqlite::Sqlite;
use super::{Accepted, Entry, Journal, JournalError, Listed, Stored, Written};

/// Requests that may wait for the disk.
const REQUESTS_WAITING_MAX: usize = 1024;

/// The one writer's mailbox.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
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
    FirstSeen(String, u64, Respond<bool>),
    End(Respond<()>),
}

impl Embedded {
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

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Respond<T>) -> Request,
    ) -> Written<'_, T> {
        let (respond, response) = oneshot::channel();
        let request = request(respond);
        Box::pin(async move {
            self.requests.send(request).await.map_err(|_closed| JournalError::Stopped)?;
            response.await.map_err(|_dropped| JournalError::Stopped)?
        })
    }
}

impl Journal for Embedded {
    fn accept(&self, accepted: Accepted) -> Written<'_, bool> {
        self.ask(|respond| Request::Accept(Box::new(accepted), respond))
    }

    fn append<'a>(&'a self, id: &'a str, at: Moment, entry: Entry) -> Written<'a, ()> {
        self.ask(|respond| Request::Append(id.to_owned(), at, Box::new(entry), respond))
    }

    fn close<'a>(&'a self, id: &'a str) -> Written<'a, ()> {
        self.ask(|respond| Request::Close(id.to_owned(), respond))
    }

    fn unfinished(&self) -> Written<'_, Vec<Stored>> {
        self.ask(Request::Unfinished)
    }

    fn load<'a>(&'a self, id: &'a str) -> Written<'a, Option<Stored>> {
        self.ask(|respond| Request::Load(id.to_owned(), respond))
    }

    fn list(&self, most: u32) -> Written<'_, Vec<Listed>> {
        self.ask(|respond| Request::List(most, respond))
    }

    fn first_seen<'a>(&'a self, signature: &'a str, good_until_seconds: u64) -> Written<'a, bool> {
        self.ask(|respond| Request::FirstSeen(signature.to_owned(), good_until_seconds, respond))
    }

    fn end(&self) -> Written<'_, ()> {
        self.ask(Request::End)
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
            Request::FirstSeen(signature, until, respond) => {
                drop(respond.send(database.first_seen(&signature, until)));
            }
            Request::End(respond) => {
                // Closed before it is said to be: the next start may open it at once.
                drop(database);
                drop(respond.send(Ok(())));
                return;
            }
        }
    }
}
