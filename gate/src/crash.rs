//! Points at which a test has the daemon die: by `GATE_CRASH_AT=POINT:N` it kills itself the N-th time it comes by.
//!
//! Only what is built for tests reads that; in a release all of this is nothing.

use policies::Event;

#[cfg(debug_assertions)]
pub(crate) use ordered::at;

#[cfg(not(debug_assertions))]
/// Nothing happens.
pub(crate) const fn at(_point: &str) {}

#[cfg(debug_assertions)]
mod ordered {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU32, Ordering};

    use nix::sys::signal::{Signal, raise};

    /// Where to die, and how often to come by before.
    static ORDERED: LazyLock<Option<(String, AtomicU32)>> = LazyLock::new(|| {
        let ordered = std::env::var("GATE_CRASH_AT").ok()?;
        let (point, times) = ordered.split_once(':')?;
        Some((point.to_owned(), AtomicU32::new(times.parse().ok()?)))
    });

    /// Dies here, if it was told to and has come by often enough.
    pub(crate) fn at(point: &str) {
        let Some((_, left)) = ORDERED.as_ref().filter(|(ordered, _)| ordered == point) else {
            return;
        };
        if left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // As by `kill -9`: nothing is cleaned up, and nothing is left to return to.
            raise(Signal::SIGKILL).unwrap_or_else(|_refused| std::process::abort());
        }
    }
}

/// The point before this fact is on disk.
pub(crate) fn unwritten(fact: &Event) -> &'static str {
    match kind(fact) {
        Kind::Tick => "tick-unwritten",
        Kind::Confirmed => "confirmed-unwritten",
        Kind::Other => "fact-unwritten",
    }
}

/// The point after it.
pub(crate) fn written(fact: &Event) -> &'static str {
    match kind(fact) {
        Kind::Tick => "tick-written",
        Kind::Confirmed => "confirmed-written",
        Kind::Other => "fact-written",
    }
}

enum Kind {
    Tick,
    Confirmed,
    Other,
}

fn kind(fact: &Event) -> Kind {
    if matches!(fact, Event::Ticked { .. }) {
        Kind::Tick
    } else if matches!(fact, Event::Delivered { .. }) {
        Kind::Confirmed
    } else {
        Kind::Other
    }
}
