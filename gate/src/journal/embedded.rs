//! The journal on this machine: one thread writes, another reads, everybody else sends them requests.
//!
//! What waits for the writer is written in one go, so that a hundred questions cost one write to the disk. Reading a long
//! run delays no write.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use std::{fs, io};

use policies::Moment;
use tokio::sync::{mpsc, oneshot};
use tracing::{error, info};

use super::sqlite::{
    Alone, Failure, Lock, READ_ONLY, Sqlite, Write, is_damage, is_for_all, is_of_the_disk,
    is_read_only, told,
};
use super::state::Shared;
use super::{
    Accepted, Entry, Journal, JournalError, Listed, Pruned, Retention, State, Stored, Written,
};

/// Requests that may wait for the disk.
const REQUESTS_WAITING_MAX: usize = 1024;
/// Requests that are written in one go: some hundred kilobytes.
const TOGETHER_MAX: usize = 256;
/// While nothing can be written, that is tried so often.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// The mailboxes of both threads.
#[derive(Clone, Debug)]
pub(crate) struct Embedded {
    requests: mpsc::Sender<Request>,
    looks: mpsc::Sender<Look>,
    shared: Arc<Shared>,
}

type Respond<T> = oneshot::Sender<Result<T, JournalError>>;

#[derive(Debug)]
enum Request {
    Write(Write, Respond<bool>),
    Prune(Retention, u64, Respond<Pruned>),
    End(Respond<()>),
}

#[derive(Debug)]
enum Look {
    Ids(Respond<Vec<String>>),
    Load(String, Respond<Option<Stored>>),
    List(u32, Respond<Vec<Listed>>),
    End(Respond<()>),
}

impl Embedded {
    /// Opens or creates the journal and starts its threads. One that cannot be written is read all the same: what is open in
    /// it is to be answered.
    ///
    /// # Errors
    /// The file cannot be opened, is no journal, was written by a newer gate, or is another daemon's.
    pub(crate) fn open(path: &Path) -> Result<Self, JournalError> {
        let shared = Arc::<Shared>::default();
        let mut held = None;
        let database = match Sqlite::open(path, &mut held) {
            Ok(database) => Some(database),
            Err(unwritable @ JournalError::Unwritable { .. }) => {
                if held.is_none() {
                    held = Some(Lock::to_read(path)?);
                }
                shared.end(Some(crate::cli::story(&unwritable)));
                error!(error = &unwritable as &dyn std::error::Error, "no question is accepted");
                None
            }
            Err(error) => return Err(error),
        };
        shared.set_open(database.is_some());
        *shared.reading() = Some(read(path, &shared)?);
        let writer = Writer {
            path: path.to_owned(),
            database,
            held,
            shared: Arc::clone(&shared),
            tried: None,
            damaged: None,
        };
        // The writer finds out whether it can write: a disk that hangs must not keep gate from answering what is open.
        if writer.database.is_some() {
            shared.begin();
        }
        let (requests, waiting) = mpsc::channel(REQUESTS_WAITING_MAX);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(JournalError::Thread)?;
        start("journal", move || writer.serve(&runtime, waiting))?;
        let (looks, looking) = mpsc::channel(REQUESTS_WAITING_MAX);
        let reader = Reader { path: path.to_owned(), shared: Arc::clone(&shared) };
        start("journal-reader", move || reader.serve(looking))?;
        Ok(Self { requests, looks, shared })
    }

    fn ask<T: Send + 'static>(
        &self,
        request: impl FnOnce(Respond<T>) -> Request,
    ) -> Written<'_, T> {
        ask(&self.requests, request)
    }

    fn look<T: Send + 'static>(&self, look: impl FnOnce(Respond<T>) -> Look) -> Written<'_, T> {
        ask(&self.looks, look)
    }

    /// Transactions that were written.
    #[cfg(test)]
    pub(super) fn commits(&self) -> u64 {
        self.shared.commits()
    }
}

/// Opens the file to read.
fn read(path: &Path, shared: &Shared) -> Result<Sqlite, JournalError> {
    Sqlite::read(path, if shared.is_open() { Alone::Never } else { Alone::Held })
}

fn start(name: &str, serve: impl FnOnce() + Send + 'static) -> Result<(), JournalError> {
    let thread = thread::Builder::new().name(name.to_owned());
    thread.spawn(serve).map(drop).map_err(JournalError::Thread)
}

fn ask<'a, T: Send + 'static, R: Send + 'static>(
    mailbox: &'a mpsc::Sender<R>,
    request: impl FnOnce(Respond<T>) -> R,
) -> Written<'a, T> {
    let (respond, response) = oneshot::channel();
    let request = request(respond);
    Box::pin(async move {
        mailbox.send(request).await.map_err(|_closed| JournalError::Stopped)?;
        response.await.map_err(|_dropped| JournalError::Stopped)?
    })
}

impl Journal for Embedded {
    fn accept(&self, accepted: Accepted) -> Written<'_, bool> {
        self.ask(|respond| Request::Write(Write::Accept(Box::new(accepted)), respond))
    }

    fn mend(&self, accepted: Accepted) -> Written<'_, bool> {
        self.ask(|respond| Request::Write(Write::Mend(Box::new(accepted)), respond))
    }

    fn append<'a>(&'a self, id: &'a str, at: Moment, entry: Entry) -> Written<'a, ()> {
        let write = Write::Append(id.to_owned(), at, Box::new(entry));
        let writing = self.ask(|respond| Request::Write(write, respond));
        Box::pin(async move { writing.await.map(|_new| ()) })
    }

    fn close<'a>(&'a self, id: &'a str) -> Written<'a, ()> {
        let closing = self.ask(|respond| Request::Write(Write::Close(id.to_owned()), respond));
        Box::pin(async move { closing.await.map(|_new| ()) })
    }

    fn unfinished(&self) -> Written<'_, Vec<Stored>> {
        Box::pin(async {
            let mut all = Vec::new();
            for id in self.unfinished_ids().await? {
                match self.load(&id).await {
                    Ok(stored) => all.extend(stored),
                    Err(error) => {
                        error!(
                            error = &error as &dyn std::error::Error,
                            "a question cannot be read"
                        );
                    }
                }
            }
            Ok(all)
        })
    }

    fn unfinished_ids(&self) -> Written<'_, Vec<String>> {
        self.look(Look::Ids)
    }

    fn load<'a>(&'a self, id: &'a str) -> Written<'a, Option<Stored>> {
        self.look(|respond| Look::Load(id.to_owned(), respond))
    }

    fn list(&self, most: u32) -> Written<'_, Vec<Listed>> {
        self.look(|respond| Look::List(most, respond))
    }

    fn prune(&self, retention: Retention, now_unix_millis: u64) -> Written<'_, Pruned> {
        self.ask(|respond| Request::Prune(retention, now_unix_millis, respond))
    }

    fn state(&self) -> State {
        self.shared.state()
    }

    fn first_seen<'a>(&'a self, signature: &'a str, good_until_seconds: u64) -> Written<'a, bool> {
        let write = Write::FirstSeen(signature.to_owned(), good_until_seconds);
        self.ask(|respond| Request::Write(write, respond))
    }

    fn end(&self) -> Written<'_, ()> {
        Box::pin(async {
            // Whoever closes the file last puts its log away, and only the writer can.
            let read = self.look(Look::End).await;
            self.ask(Request::End).await?;
            read
        })
    }
}

/// The one who writes.
struct Writer {
    path: PathBuf,
    /// `None` while the file cannot be opened to write.
    database: Option<Sqlite>,
    /// The lock, while the file is not open.
    held: Option<Lock>,
    shared: Arc<Shared>,
    /// When writing was tried last while it was impossible.
    tried: Option<Instant>,
    /// What was found damaged. That one write succeeds all the same does not mend it.
    damaged: Option<String>,
}

impl Writer {
    /// Does what is asked, until everybody is gone or the journal is ended.
    fn serve(mut self, runtime: &tokio::runtime::Runtime, mut waiting: mpsc::Receiver<Request>) {
        self.try_to_write();
        loop {
            let first = if self.shared.is_well() {
                waiting.blocking_recv()
            } else {
                let next = async { tokio::time::timeout(TRY_AGAIN, waiting.recv()).await };
                let next = runtime.block_on(next);
                self.try_again();
                match next {
                    Ok(first) => first,
                    Err(_elapsed) => continue,
                }
            };
            let Some(mut next) = first else { return };
            let (mut writes, mut responds) = (Vec::new(), Vec::new());
            let other = loop {
                match next {
                    Request::Write(write, respond) => {
                        writes.push(write);
                        responds.push(respond);
                    }
                    other @ (Request::Prune(..) | Request::End(_)) => break Some(other),
                }
                if writes.len() >= TOGETHER_MAX {
                    break None;
                }
                match waiting.try_recv() {
                    Ok(request) => next = request,
                    Err(_none_waits) => break None,
                }
            };
            self.write(&writes, responds);
            match other {
                Some(Request::Prune(retention, now, respond)) => {
                    drop(respond.send(self.prune(retention, now)));
                }
                Some(Request::End(respond)) => {
                    // Closed before it is said to be: the next start may open it at once.
                    drop(self);
                    drop(respond.send(Ok(())));
                    return;
                }
                Some(Request::Write(..)) | None => {}
            }
        }
    }

    /// Whoever asked may be gone; the write stands all the same.
    fn write(&mut self, writes: &[Write], responds: Vec<Respond<bool>>) {
        if writes.is_empty() {
            return;
        }
        let Some(database) = &mut self.database else {
            let trouble = self.shared.state().trouble.unwrap_or_default();
            for respond in responds {
                drop(respond.send(Err(JournalError::Trouble(trouble.clone()))));
            }
            return;
        };
        self.shared.begin();
        let mut failure = None;
        let outcomes = match database.together(writes) {
            Ok(outcomes) => outcomes,
            Err(error) if writes.len() == 1 || is_for_all(&error) => {
                let trouble = told(&error);
                failure = Some(error);
                writes.iter().map(|_| Err(JournalError::Trouble(trouble.clone()))).collect()
            }
            // One of them meets a bad page, and the others need not.
            Err(_of_one) => {
                let mut alone = |write: &Write| match database.together(std::slice::from_ref(write))
                {
                    Ok(mut outcomes) => outcomes.pop().unwrap_or(Err(JournalError::Stopped)),
                    Err(error) => {
                        let trouble = told(&error);
                        failure = Some(error);
                        Err(JournalError::Trouble(trouble))
                    }
                };
                writes.iter().map(&mut alone).collect()
            }
        };
        self.shared.set_bytes(database.bytes());
        self.found(failure.as_ref());
        for (respond, outcome) in responds.into_iter().zip(outcomes) {
            drop(respond.send(outcome));
        }
    }

    fn prune(
        &mut self,
        retention: Retention,
        now_unix_millis: u64,
    ) -> Result<Pruned, JournalError> {
        let Some(database) = &mut self.database else {
            return Err(JournalError::Trouble(self.shared.state().trouble.unwrap_or_default()));
        };
        self.shared.begin();
        let pruned = database.prune(retention, now_unix_millis);
        self.shared.rest();
        self.shared.set_bytes(database.bytes());
        pruned
    }

    /// While nothing can be written and nobody has anything to write, somebody must find out when that is over.
    fn try_again(&mut self) {
        if self.tried.is_some_and(|tried| tried.elapsed() < TRY_AGAIN) {
            return;
        }
        self.tried = Some(Instant::now());
        if self.database.is_some() {
            return self.try_to_write();
        }
        let mut reading = self.shared.reading();
        *reading = None;
        match Sqlite::open(&self.path, &mut self.held) {
            Ok(database) => {
                self.database = Some(database);
                self.shared.set_open(true);
                drop(reading);
                self.try_to_write();
            }
            Err(error) => {
                drop(reading);
                self.news(Some(crate::cli::story(&error)));
            }
        }
    }

    fn try_to_write(&mut self) {
        let Some(database) = &mut self.database else { return };
        self.shared.begin();
        let tried = database.try_to_write();
        self.shared.set_bytes(database.bytes());
        self.found(tried.as_ref().err());
        // Where the file is gone, another would be begun, without the questions that are open.
        if tried.is_err_and(|error| is_read_only(&error)) && self.path.exists() {
            let mut reading = self.shared.reading();
            *reading = None;
            self.shared.set_open(false);
            self.held = self.database.take().and_then(Sqlite::close);
        }
    }

    fn found(&mut self, failure: Option<&Failure>) {
        if let Some(error) = failure.filter(|error| is_damage(error)) {
            self.damaged = Some(told(error));
        }
        let why = failure.map(|error| {
            let turned = is_of_the_disk(error) && is_on_read_only(&self.path);
            if turned { READ_ONLY.to_owned() } else { told(error) }
        });
        self.news(why.or_else(|| self.damaged.clone()));
    }

    fn news(&self, trouble: Option<String>) {
        let why = trouble.clone();
        if self.shared.end(trouble) {
            match why {
                Some(why) => error!(why, "the journal cannot be written; no question is accepted"),
                None => info!("the journal can be written again"),
            }
        }
    }
}

/// Whether a file is on a disk that has become read-only while files on it were open: they fail as on a bad disk then. Changing
/// nothing of the file tells; opening it would give up what SQLite has locked of it.
fn is_on_read_only(path: &Path) -> bool {
    let unchanged = fs::metadata(path).and_then(|now| fs::set_permissions(path, now.permissions()));
    unchanged.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
}

/// The one who reads.
struct Reader {
    path: PathBuf,
    shared: Arc<Shared>,
}

impl Reader {
    fn serve(self, mut looking: mpsc::Receiver<Look>) {
        while let Some(look) = looking.blocking_recv() {
            match look {
                Look::Ids(respond) => drop(respond.send(self.look(|database| database.ids(true)))),
                Look::Load(id, respond) => {
                    drop(respond.send(self.look(|database| database.load(&id))));
                }
                Look::List(most, respond) => {
                    drop(respond.send(self.look(|database| database.list(most))));
                }
                Look::End(respond) => {
                    *self.shared.reading() = None;
                    drop(respond.send(Ok(())));
                    return;
                }
            }
        }
        *self.shared.reading() = None;
    }

    /// Opens the file where it is not open: whoever writes has dropped the connection.
    fn look<T>(
        &self,
        look: impl FnOnce(&Sqlite) -> Result<T, JournalError>,
    ) -> Result<T, JournalError> {
        let mut reading = self.shared.reading();
        let database = match reading.take() {
            Some(database) => database,
            None => read(&self.path, &self.shared)?,
        };
        look(reading.insert(database))
    }
}
