//! A connection that notes when its bytes went and came.

use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use policies::plan::BODY_MAX_BYTES;
use policies::sample::{Outcome, Phase, Phases};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Bytes read for one exchange, by the bytes of the largest body: that, and as much again for how it is wrapped.
/// What chatters on beside its answer, in pings, empty frames or answers that are none yet, ends there.
const READ_MAX_BODIES: u64 = 2;
/// The same before the head of an answer is seen: the largest head, and what may come with it before that
/// (a window of HTTP/2), and for how it is wrapped.
const READ_EARLY_MAX_BYTES: u64 = (64 + 256 + 64) * 1024;

/// Bytes read in one go before the other probes have their turn: what a target sends must not hold them up.
const TURN_BYTES: usize = 16 * 1024;

/// When the bytes of one exchange went and came, in microseconds since it began; 0 for not yet.
#[derive(Debug)]
pub(crate) struct Stamps {
    base: Instant,
    began: AtomicU64,
    last_write: AtomicU64,
    first_read: AtomicU64,
    read_bytes: AtomicU64,
    /// The largest body that is read.
    most_bytes: AtomicU64,
    /// Whether bytes come that are no answer, such as the settings of HTTP/2: its head is noted by itself.
    by_head: AtomicBool,
    /// Whether the head of an answer was seen.
    headed: AtomicBool,
    /// What the connection ended with.
    ended: OnceLock<Outcome>,
}

impl Stamps {
    fn new() -> Arc<Self> {
        let stamps = Self {
            base: Instant::now(),
            began: AtomicU64::new(1),
            last_write: AtomicU64::new(0),
            first_read: AtomicU64::new(0),
            read_bytes: AtomicU64::new(0),
            most_bytes: AtomicU64::new(BODY_MAX_BYTES as u64),
            by_head: AtomicBool::new(false),
            headed: AtomicBool::new(false),
            ended: OnceLock::new(),
        };
        Arc::new(stamps)
    }

    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_micros()).unwrap_or(u64::MAX).max(1)
    }

    /// Notes a write, unless the answer has begun: what is written then is no part of the request.
    fn wrote(&self, written: &Poll<io::Result<usize>>) {
        let some = matches!(written, Poll::Ready(Ok(sent)) if *sent > 0);
        if some && self.first_read.load(Ordering::Relaxed) == 0 {
            self.last_write.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Notes a read of so many bytes; whether that is more than any answer needs.
    fn read(&self, bytes: usize) -> bool {
        let first = self.first_read.load(Ordering::Relaxed) == 0;
        // What a target sends unasked is no answer to what was not sent yet.
        if first
            && self.last_write.load(Ordering::Relaxed) > 0
            && !self.by_head.load(Ordering::Relaxed)
        {
            self.first_read.store(self.now(), Ordering::Relaxed);
        }
        let headed = self.headed.load(Ordering::Relaxed);
        let largest = self.most_bytes.load(Ordering::Relaxed);
        let most = if headed { READ_MAX_BODIES * largest } else { READ_EARLY_MAX_BYTES };
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed) > most
    }

    /// Says how large a body may be, where that is not what a probe reads.
    pub(crate) fn allow(&self, most_bytes: usize) {
        self.most_bytes.store(most_bytes as u64, Ordering::Relaxed);
    }

    /// Bytes read for this exchange.
    pub(crate) fn read_so_far(&self) -> usize {
        usize::try_from(self.read_bytes.load(Ordering::Relaxed)).unwrap_or(usize::MAX)
    }

    /// Says that an answer begins with its head, not with the first byte that comes.
    pub(crate) fn begin_by_head(&self) {
        self.by_head.store(true, Ordering::Relaxed);
    }

    /// Notes that the head of an answer was seen.
    pub(crate) fn head_came(&self) {
        self.headed.store(true, Ordering::Relaxed);
        if self.by_head.load(Ordering::Relaxed) {
            self.first_read.store(self.now(), Ordering::Relaxed);
        }
    }

    /// Notes what the connection ended with; the first counts.
    pub(crate) fn end(&self, outcome: Outcome) {
        let _first = self.ended.set(outcome);
    }

    /// What the connection ended with.
    pub(crate) fn ended(&self) -> Option<Outcome> {
        self.ended.get().copied()
    }

    /// Begins a further exchange over the same connection.
    pub(crate) fn restart(&self) {
        self.began.store(self.now(), Ordering::Relaxed);
        self.last_write.store(0, Ordering::Relaxed);
        self.first_read.store(0, Ordering::Relaxed);
        self.read_bytes.store(0, Ordering::Relaxed);
        self.headed.store(false, Ordering::Relaxed);
    }

    /// Whether a byte of the answer came.
    pub(crate) fn was_answered(&self) -> bool {
        self.first_read.load(Ordering::Relaxed) > 0
    }

    /// Notes how long sending, waiting and receiving took, as far as it got, up to now.
    pub(crate) fn note(&self, phases: &mut Phases) {
        let [began, written, read] = [&self.began, &self.last_write, &self.first_read]
            .map(|stamp| stamp.load(Ordering::Relaxed));
        let now = self.now();
        let took = |from: u64, to: u64| Duration::from_micros(to.saturating_sub(from));
        if written == 0 {
            return;
        }
        phases.set(Phase::Send, took(began, written));
        // An answer may begin before the whole request was sent.
        let waited_to = if read == 0 { now } else { read };
        phases.set(Phase::Wait, took(written, waited_to));
        if read > 0 {
            phases.set(Phase::Receive, took(read.max(written), now));
        }
    }
}

/// A connection of either kind, with its stamps.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: Stream,
    stamps: Arc<Stamps>,
    /// Bytes read since the others had their turn.
    turn_bytes: usize,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self::new(Stream::Plain(stream))
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self::new(Stream::Tls(Box::new(stream)))
    }

    fn new(stream: Stream) -> Self {
        Self { stream, stamps: Stamps::new(), turn_bytes: 0 }
    }

    pub(crate) fn stamps(&self) -> Arc<Stamps> {
        Arc::clone(&self.stamps)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.turn_bytes >= TURN_BYTES {
            self.turn_bytes = 0;
            // Not woken at once, but after the timers were looked at: a bare waker would keep them waiting.
            return pin!(tokio::task::yield_now()).poll(context).map(Ok);
        }
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let came = buffer.filled().len().saturating_sub(before);
        self.turn_bytes = if read.is_pending() { 0 } else { self.turn_bytes.saturating_add(came) };
        if came > 0 && self.stamps.read(came) {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        read
    }
}

// Not vectored: hyper then copies a request into one piece, and sending one piece is the cheaper call.
impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.stamps.wrote(&written);
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(context),
            Stream::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Stream::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
