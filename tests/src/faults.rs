//! A way to AWS on which things go wrong: between gate and the emulated API, by rules.
//!
//! Requests are forwarded as they are, so that their signatures stay good; what comes back is spoilt, or never asked for.

mod answer;
mod request;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use answer::Answer;
use request::Request;

/// Between two bytes of a slow answer.
const BYTE_EVERY: Duration = Duration::from_secs(1);
/// Items on a page of [`Misdeed::FewItems`]: a question of some seconds is on several.
const ITEMS: usize = 2;

/// What goes wrong with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// AWS refuses it with this code, in the form of its protocol.
    Refuses(&'static str),
    /// AWS throttles it, by the code of its protocol.
    Throttles,
    /// Something in the way answers with this status and a page of its own.
    Status(u16),
    /// Nobody ever answers.
    Silence,
    /// The connection is reset before AWS hears of it.
    ResetBefore,
    /// AWS does it; the connection is reset in the middle of the answer.
    ResetAfter,
    /// AWS does it; the answer is shorter than it says.
    Half,
    /// AWS does it; the answer comes at a byte a second.
    Slow,
    /// AWS does it; the answer is of no protocol.
    Garbage,
    /// The answer has nothing in it.
    Empty,
    /// Texts of these keys are what nobody has heard of.
    Unknown(&'static [&'static str]),
    /// These keys are not there.
    Without(&'static [&'static str]),
    /// The first page of a list has nothing on it but the way to the next.
    EmptyPage,
    /// Items of a table come a few at a time, as those of a megabyte would.
    FewItems,
    /// It is answered as if it had been done, and AWS never hears of it.
    Swallowed,
}

/// When something goes wrong: with which calls, and how often with each.
#[derive(Clone, Debug)]
pub struct Rule {
    operation: &'static str,
    misdeed: Misdeed,
    after: usize,
    times: usize,
    signed_by: Option<&'static str>,
}

impl Rule {
    /// Every call of this operation, or of every one (`*`).
    pub fn of(operation: &'static str, misdeed: Misdeed) -> Self {
        Self { operation, misdeed, after: 0, times: usize::MAX, signed_by: None }
    }

    /// So many calls of each operation, and no more.
    pub fn times(self, times: usize) -> Self {
        Self { times, ..self }
    }

    /// Not the first so many of each operation.
    pub fn after(self, after: usize) -> Self {
        Self { after, ..self }
    }

    /// Only what is signed with this access key.
    pub fn signed_by(self, key: &'static str) -> Self {
        Self { signed_by: Some(key), ..self }
    }

    fn is_about(&self, request: &Request) -> bool {
        let signed = self.signed_by.is_none_or(|key| key == request.access_key);
        signed && (self.operation == "*" || self.operation == request.operation)
    }
}

/// A call that came by.
#[derive(Clone, Debug)]
pub struct Seen {
    /// AWS's name of it.
    pub operation: String,
    /// Who signed it.
    pub access_key: String,
    /// When.
    pub at: Instant,
    /// What went wrong with it.
    pub misdeed: Option<Misdeed>,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<(Rule, BTreeMap<String, usize>)>,
    seen: Vec<Seen>,
    /// Pages that were held back, by the token that leads to them.
    pages: BTreeMap<String, Answer>,
}

#[derive(Debug)]
struct Shared {
    behind: String,
    state: Mutex<State>,
}

/// The way. It is gone with its handle.
#[derive(Debug)]
pub struct Faults {
    /// What gate takes for AWS.
    pub url: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

impl Faults {
    /// A way to this endpoint on which these things go wrong. Of rules about a call the first that is not used up
    /// counts.
    pub async fn start(endpoint: &str, rules: impl IntoIterator<Item = Rule>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let behind = endpoint.trim_start_matches("http://").to_owned();
        let shared = Arc::new(Shared { behind, state: Mutex::default() });
        let serving = tokio::spawn(accept(listener, Arc::clone(&shared)));
        let way = Self { url, shared, serving };
        rules.into_iter().for_each(|rule| way.add(rule));
        way
    }

    /// One rule more.
    pub fn add(&self, rule: Rule) {
        self.shared.lock().rules.push((rule, BTreeMap::new()));
    }

    /// Nothing goes wrong any more.
    pub fn heal(&self) {
        self.shared.lock().rules.clear();
    }

    /// Calls of an operation so far, the oldest first.
    pub fn seen(&self, operation: &str) -> Vec<Seen> {
        let state = self.shared.lock();
        state.seen.iter().filter(|seen| seen.operation == operation).cloned().collect()
    }
}

impl Drop for Faults {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What goes wrong with this call.
    fn misdeed(&self, request: &Request) -> Option<Misdeed> {
        let mut state = self.lock();
        let mut found = None;
        for (rule, counted) in &mut state.rules {
            if !rule.is_about(request) {
                continue;
            }
            let count = counted.entry(request.operation.clone()).or_default();
            if *count >= rule.after.saturating_add(rule.times) {
                continue;
            }
            *count += 1;
            if *count > rule.after {
                found = Some(rule.misdeed);
                break;
            }
        }
        state.seen.push(request.seen(found));
        found
    }

    /// The page that a request asks for, where it was held back.
    fn page(&self, request: &Request) -> Option<Answer> {
        let token = request.token()?;
        let mut state = self.lock();
        let page = state.pages.get(&token).cloned()?;
        state.seen.push(request.seen(None));
        Some(page)
    }

    /// Holds an answer back, as the second page of a list; the first.
    fn empty_page(&self, answer: Answer) -> Answer {
        let mut state = self.lock();
        let token = format!("page-{}", state.pages.len());
        let first = answer.empty_page(&token);
        state.pages.insert(token, answer);
        first
    }

    /// Holds all pages but the first back.
    fn few_items(&self, answer: Answer) -> Answer {
        let mut state = self.lock();
        let before = state.pages.len();
        let token = |page: usize| format!("page-{}", before + page);
        let key = |page| json!({ "question": { "S": token(page) }, "entry": { "N": "0" } });
        let mut pages = answer.pages(ITEMS, key).into_iter();
        // Nothing is on one page.
        let first = pages.next().unwrap_or(answer);
        state.pages.extend(pages.enumerate().map(|(page, answer)| (token(page), answer)));
        first
    }

    /// Asks AWS, for as long as whoever asks holds on: a queue must not hand a message to nobody.
    async fn ask(&self, request: &Request, client: &TcpStream) -> Option<Answer> {
        tokio::select! {
            answer = self.forward(request) => answer,
            () = gone(client) => None,
        }
    }

    async fn forward(&self, request: &Request) -> Option<Answer> {
        let mut stream = TcpStream::connect(&self.behind).await.ok()?;
        stream.write_all(&request.forwarded()).await.ok()?;
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.ok()?;
        Answer::parse(&bytes)
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

/// One connection, until somebody ends it.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let mut unread = Vec::new();
    while let Some(request) = Request::read(&mut stream, &mut unread).await {
        if answered(&mut stream, &shared, &request).await.is_none() {
            return;
        }
    }
}

/// Answers a request, well or badly; `None` where the connection ends with it.
async fn answered(stream: &mut TcpStream, shared: &Shared, request: &Request) -> Option<()> {
    if let Some(page) = shared.page(request) {
        return stream.write_all(&page.bytes()).await.ok();
    }
    let answer = match shared.misdeed(request) {
        None => shared.ask(request, stream).await?,
        Some(Misdeed::Refuses(code)) => request.refusal(code),
        Some(Misdeed::Throttles) => request.refusal(request.throttling()),
        Some(Misdeed::Status(status)) => Answer::page(status),
        Some(Misdeed::Empty | Misdeed::Swallowed) => request.nothing(),
        Some(Misdeed::Silence) => {
            // For as long as the other end holds on.
            while stream.read(&mut [0; 1024]).await.is_ok_and(|read| read > 0) {}
            return None;
        }
        Some(Misdeed::ResetBefore) => return reset(stream),
        Some(Misdeed::ResetAfter) => {
            let bytes = shared.ask(request, stream).await?.bytes();
            stream.write_all(&bytes[..bytes.len() / 2]).await.ok()?;
            return reset(stream);
        }
        Some(Misdeed::Half) => {
            let bytes = shared.ask(request, stream).await?.longer_than_it_is().bytes();
            stream.write_all(&bytes).await.ok()?;
            return None;
        }
        Some(Misdeed::Slow) => {
            for byte in shared.ask(request, stream).await?.bytes() {
                stream.write_all(&[byte]).await.ok()?;
                tokio::time::sleep(BYTE_EVERY).await;
            }
            return None;
        }
        Some(Misdeed::Garbage) => shared.ask(request, stream).await?.garbage(),
        Some(Misdeed::Unknown(keys)) => shared.ask(request, stream).await?.unknown(keys),
        Some(Misdeed::Without(keys)) => shared.ask(request, stream).await?.without(keys),
        Some(Misdeed::EmptyPage) => shared.empty_page(shared.ask(request, stream).await?),
        Some(Misdeed::FewItems) => shared.few_items(shared.ask(request, stream).await?),
    };
    stream.write_all(&answer.bytes()).await.ok()
}

/// Waits until the other end hangs up.
async fn gone(stream: &TcpStream) {
    if stream.peek(&mut [0; 1]).await.is_ok_and(|seen| seen > 0) {
        std::future::pending().await
    }
}

/// Ends a connection by a reset: what is on its way is gone.
fn reset(stream: &TcpStream) -> Option<()> {
    stream.set_zero_linger().expect("a socket of our own");
    None
}
