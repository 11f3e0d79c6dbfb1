//! A connection that notes when its bytes went and came.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use policies::sample::{Phase, Phases};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// When the bytes of one exchange went and came, in microseconds since it began; 0 for not yet.
#[derive(Debug)]
pub(crate) struct Stamps {
    base: Instant,
    began: AtomicU64,
    last_write: AtomicU64,
    first_read: AtomicU64,
}

impl Stamps {
    fn new() -> Arc<Self> {
        let stamps = Self {
            base: Instant::now(),
            began: AtomicU64::new(1),
            last_write: AtomicU64::new(0),
            first_read: AtomicU64::new(0),
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

    /// Begins a further exchange over the same connection.
    pub(crate) fn restart(&self) {
        self.began.store(self.now(), Ordering::Relaxed);
        self.last_write.store(0, Ordering::Relaxed);
        self.first_read.store(0, Ordering::Relaxed);
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
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Wire {
    pub(crate) fn plain(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream), stamps: Stamps::new() }
    }

    pub(crate) fn tls(stream: TlsStream<TcpStream>) -> Self {
        Self { stream: Stream::Tls(Box::new(stream)), stamps: Stamps::new() }
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
        let before = buffer.filled().len();
        let read = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Stream::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let came = buffer.filled().len() > before;
        // What a target sends unasked is no answer to what was not sent yet.
        let sent = self.stamps.last_write.load(Ordering::Relaxed) > 0;
        if came && sent && self.stamps.first_read.load(Ordering::Relaxed) == 0 {
            self.stamps.first_read.store(self.stamps.now(), Ordering::Relaxed);
        }
        read
    }
}

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

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = match &mut self.stream {
            Stream::Plain(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
            Stream::Tls(stream) => Pin::new(stream).poll_write_vectored(context, bytes),
        };
        self.stamps.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
        }
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
