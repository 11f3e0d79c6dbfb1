//! What a process holds: memory, descriptors, threads, time of processors; by `/proc`.

use std::fs;

/// A process at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Holding {
    /// KiB in memory.
    pub rss: u64,
    /// Open descriptors.
    pub descriptors: u64,
    /// Threads.
    pub threads: u64,
    /// Seconds of processors that it has used.
    pub cpu: f64,
}

/// Ticks of the kernel's clock in a second, as everywhere on Linux.
const CLOCK_TICKS: f64 = 100.0;

impl Holding {
    /// What a process holds now; `None` where there is no such process.
    pub fn of(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // After the name, which may hold anything, in parentheses.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place)?.parse::<f64>().ok();
        Some(Self {
            rss: field("VmRSS:")?,
            threads: field("Threads:")?,
            descriptors: fs::read_dir(format!("/proc/{pid}/fd")).ok()?.count() as u64,
            cpu: (ticks(11)? + ticks(12)?) / CLOCK_TICKS,
        })
    }
}
