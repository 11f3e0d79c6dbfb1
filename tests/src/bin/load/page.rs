//! The page that the figures are written to.

use std::fmt;
use std::fs;
use std::time::Duration;

use crate::beyond::{BEYOND, Beyond, MESSAGES, RUNS_MAX};
use crate::burst::{Burst, HOOKS, P99_MOST};
use crate::place::Most;
use crate::steady::{LATE, RUNS, Steady, TICKS_LEAST};

/// Memory of the whole process with as many runs as it takes, KiB.
const RSS_MOST: u64 = 256 * 1024;

/// All figures.
#[derive(Debug)]
pub struct Page {
    pub burst: Burst,
    pub steady: Steady,
    pub beyond: Beyond,
    pub build: String,
    /// Percent of AWS's quotas.
    pub quota_share: u32,
    pub took: Duration,
}

impl Page {
    fn promises(&self) -> Vec<(String, String, bool)> {
        let Self { burst, steady, beyond, .. } = self;
        let all = |what: &str, found: usize, wanted: usize| {
            (what.to_owned(), format!("{found} of {wanted}"), found == wanted)
        };
        let most = burst.held.rss.max(steady.held.rss).max(beyond.held.rss);
        vec![
            all("a burst of hooks, accepted", burst.accepted, HOOKS),
            (
                format!("acceptance p99, with the write on disk ≤ {} ms", P99_MOST.as_millis()),
                millis(burst.p99),
                burst.p99 <= P99_MOST,
            ),
            all("the burst, answered once", burst.answered, HOOKS),
            all("runs at once, answered once and rightly", steady.answered, RUNS),
            (
                format!("ticks judged of them all ≥ {TICKS_LEAST}"),
                steady.ticks_judged.to_string(),
                steady.ticks_judged >= TICKS_LEAST,
            ),
            (
                format!("ticks judged more than half a tick ({LATE} s) late"),
                steady.ticks_late.to_string(),
                steady.ticks_late == 0,
            ),
            (
                "entries that were not on disk in time".to_owned(),
                steady.entries_lost.to_string(),
                steady.entries_lost == 0.0,
            ),
            all("questions taken before gate is full", beyond.accepted, RUNS_MAX),
            all("hooks beyond that: 503 with Retry-After", beyond.refused_with_retry_after, BEYOND),
            all("messages beyond that: left on the queue", beyond.left_on_the_queue, MESSAGES),
            all("what was accepted, answered once", beyond.accepted_answered, RUNS_MAX),
            all(
                "what was left on the queue, answered once later",
                beyond.messages_answered,
                MESSAGES,
            ),
            (
                format!("most memory under any of this ≤ {} MiB", RSS_MOST / 1024),
                mib(most),
                most <= RSS_MOST,
            ),
        ]
    }

    /// Whether everything holds.
    pub fn is_good(&self) -> bool {
        self.promises().iter().all(|(_, _, good)| *good)
    }
}

fn millis(time: Duration) -> String {
    format!("{:.1} ms", time.as_secs_f64() * 1000.0)
}

fn mib(kib: u64) -> String {
    format!("{:.1} MiB", kib as f64 / 1024.0)
}

fn held(f: &mut fmt::Formatter<'_>, what: &str, held: &Most) -> fmt::Result {
    let (rss, cores) = (mib(held.rss), held.cores);
    writeln!(f, "| {what} | {rss} | {} | {cores:.2} |", held.descriptors)
}

impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { burst, steady, beyond, build, quota_share, took } = self;
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let load = load.split(' ').next().unwrap_or("unknown");
        writeln!(f, "# Gate under load\n")?;
        writeln!(
            f,
            "Written by `make load` ({} s) of the {build} build. Gate, the AWS it talks to, all its targets and who asks share\n{cores} cores; the load average at the end was {load}. Each part has a gate of its own, with a journal on disk,\nand may take {quota_share} % of AWS's quotas, which are no part of this.\n",
            took.as_secs()
        )?;
        writeln!(f, "| promised | measured | holds |\n| --- | --- | --- |")?;
        for (what, measured, good) in self.promises() {
            writeln!(f, "| {what} | {measured} | {} |", if good { "yes" } else { "**no**" })?;
        }
        writeln!(f, "\n## A burst\n")?;
        writeln!(
            f,
            "{HOOKS} signed hooks at the same moment, over connections of their own that are open already: from the first byte to\nthe end of the 202, when the question is on disk: p50 {}, p99 {}, at most {}.\n",
            millis(burst.p50),
            millis(burst.p99),
            millis(burst.most)
        )?;
        writeln!(f, "## {RUNS} runs at once\n")?;
        writeln!(
            f,
            "Each probes green and blue 20 times a second for a minute, over new connections: {:.0} probes were answered well, {:.0}\nwere sent too late by gate to be judged. A tick of 2 s is late by the time from its end by its schedule to its being\njudged, when it is on disk (`gate_tick_lateness_seconds`).\n",
            steady.probes, steady.probes_late
        )?;
        writeln!(f, "| at most this late | ticks |\n| --- | --- |")?;
        for (bound, count) in &steady.ticks {
            if bound.is_finite() {
                writeln!(f, "| {bound} s | {count} |")?;
            } else {
                writeln!(f, "| all | {count} |")?;
            }
        }
        writeln!(f, "\n## What gate held\n")?;
        writeln!(
            f,
            "| | memory at most | descriptors at most | processors used |\n| --- | --- | --- | --- |"
        )?;
        held(f, &format!("a burst of {HOOKS}"), &burst.held)?;
        held(f, &format!("{RUNS} runs, {} probes a second", RUNS * 40), &steady.held)?;
        held(f, &format!("{RUNS_MAX} runs, {RUNS_MAX} probes a second"), &beyond.held)
    }
}
