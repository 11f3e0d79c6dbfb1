//! The server that knows the truth: when each request arrived and how long the answer took, and nothing else
//! on its core. Its records go to standard output when standard input ends.

mod connection;
mod records;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use rand_distr::{Distribution, LogNormal};
use rand_pcg::Pcg64;

use crate::freeze;
use crate::stamps::{self, Reader};
use connection::Connection;
pub use records::{Records, Truth};

/// The median of `dist`, in seconds.
const DIST_P50: f64 = 0.002;
/// Its p99, in seconds.
const DIST_P99: f64 = 0.020;
/// Standard deviations from the median to p99 of a normal distribution.
const NORMAL_P99: f64 = 2.326_347_874;
/// `dist` draws the same delays in every run.
const SEED: u64 = 1;
/// Events taken from the kernel at once.
const EVENTS: usize = 256;

const LISTENER: u64 = u64::MAX;
const INPUT: u64 = u64::MAX - 1;
const TIMER: u64 = u64::MAX - 2;

/// How it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// At once.
    Fast,
    /// After a lognormal delay: p50 2 ms, p99 20 ms.
    Dist,
    /// At once, but for 200 ms every 2 s not at all.
    Freeze,
}

impl Mode {
    /// Its argument.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fast => "fast",
            Self::Dist => "dist",
            Self::Freeze => "freeze",
        }
    }
}

/// An answer that waits: when it is due, for which connection, and when its request arrived.
type Waiting = Reverse<(u64, usize, u64)>;

struct Server {
    mode: Mode,
    start: Instant,
    epoll: Epoll,
    timer: TimerFd,
    reader: Reader,
    // A place is used once: a late answer never reaches another connection.
    connections: Vec<Option<Connection>>,
    waiting: BinaryHeap<Waiting>,
    delays: LogNormal<f64>,
    random: Pcg64,
    records: Records,
}

/// Serves until standard input ends.
pub fn serve(mode: Mode) -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    stamps::enable(&listener)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_NONBLOCK)?;
    let readable = |token| EpollEvent::new(EpollFlags::EPOLLIN, token);
    epoll.add(&listener, readable(LISTENER))?;
    epoll.add(io::stdin(), readable(INPUT))?;
    epoll.add(&timer, readable(TIMER))?;
    let sigma = (DIST_P99 / DIST_P50).ln() / NORMAL_P99;
    let delays = LogNormal::new(DIST_P50.ln(), sigma)
        .map_err(|error| io::Error::other(error.to_string()))?;
    println!("{}", listener.local_addr()?);
    io::stdout().flush()?;
    let mut server = Server {
        mode,
        start: Instant::now(),
        epoll,
        timer,
        reader: Reader::default(),
        connections: Vec::new(),
        waiting: BinaryHeap::new(),
        delays,
        random: Pcg64::new(u128::from(SEED), 0),
        records: Records::default(),
    };
    server.run(&listener)?;
    server.records.write(&mut io::stdout().lock())
}

impl Server {
    fn run(&mut self, listener: &TcpListener) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => continue,
                waited => waited?,
            };
            for event in &events[..count] {
                if self.mode == Mode::Freeze
                    && let Some(rest) = freeze::rest(self.start.elapsed())
                {
                    std::thread::sleep(rest);
                }
                match event.data() {
                    LISTENER => self.accept(listener)?,
                    // The driver says nothing: it only ends.
                    INPUT if io::stdin().read(&mut [0; 64])? == 0 => return Ok(()),
                    INPUT => {}
                    TIMER => self.answer_due()?,
                    place => self.receive(place as usize)?,
                }
            }
        }
    }

    fn accept(&mut self, listener: &TcpListener) -> io::Result<()> {
        loop {
            match listener.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(true)?;
                    stream.set_nodelay(true)?;
                    let place = self.connections.len();
                    self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, place as u64))?;
                    self.connections.push(Some(Connection::new(stream)));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The client gave up between its connect and this.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn receive(&mut self, place: usize) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(place).and_then(Option::as_mut) else {
            return Ok(());
        };
        let Ok(requests) = connection.receive(&mut self.reader) else {
            self.connections[place] = None;
            return Ok(());
        };
        for _ in 0..requests.count {
            self.records.arrived(requests.by_kernel);
            if self.mode == Mode::Dist {
                let delay = Duration::from_secs_f64(self.delays.sample(&mut self.random));
                let due = requests.at + delay.as_nanos() as u64;
                let next = self.waiting.peek().map(|Reverse((due, ..))| *due);
                self.waiting.push(Reverse((due, place, requests.at)));
                if next.is_none_or(|next| due < next) {
                    self.set_timer(due)?;
                }
            } else {
                self.answer(place, requests.at);
            }
        }
        Ok(())
    }

    fn answer(&mut self, place: usize, arrived: u64) {
        let Some(open) = self.connections.get_mut(place) else { return };
        let sent = open.as_mut().map(Connection::answer);
        if matches!(sent, Some(Ok(true))) {
            self.records.answered(arrived, stamps::now());
        } else {
            // Nobody waits for it any more, or it was the last that this connection wanted.
            if matches!(sent, Some(Ok(false))) {
                self.records.answered(arrived, stamps::now());
            }
            *open = None;
        }
    }

    fn answer_due(&mut self) -> io::Result<()> {
        let now = stamps::now();
        while let Some(&Reverse((due, place, arrived))) = self.waiting.peek() {
            if due > now {
                return self.set_timer(due);
            }
            self.waiting.pop();
            self.answer(place, arrived);
        }
        Ok(self.timer.unset()?)
    }

    fn set_timer(&self, due: u64) -> io::Result<()> {
        // Nothing would be "never".
        let rest = Duration::from_nanos(due.saturating_sub(stamps::now()).max(1));
        let once = Expiration::OneShot(TimeSpec::from_duration(rest));
        Ok(self.timer.set(once, TimerSetTimeFlags::empty())?)
    }
}
