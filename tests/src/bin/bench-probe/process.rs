//! A tool as a process on a core of its own: its output, CPU and memory.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::time::ClockId;
use nix::unistd::Pid;

/// Core of the tools.
const CLIENT: &str = "0";
/// Core of the servers and of this process: it wakes a few times a second, which no tool should feel.
const SERVER: usize = 1;
/// How often a running tool's memory is read. Its last 100 ms are not seen.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How much longer than asked a tool may take to start and to sum up.
const PATIENCE: Duration = Duration::from_secs(30);

/// Moves this process, and all it starts, to the servers' core; false where there is no second one.
pub fn pin() -> bool {
    let mut cores = CpuSet::new();
    cores.set(SERVER).is_ok()
        && Command::new("taskset")
            .args(["-c", CLIENT, "true"])
            .status()
            .is_ok_and(|it| it.success())
        && sched_setaffinity(Pid::from_raw(0), &cores).is_ok()
}

/// A command on the tools' core.
pub fn client(pinned: bool, program: &Path) -> Command {
    if pinned {
        let mut command = Command::new("taskset");
        command.args(["-c", CLIENT]).arg(program);
        command
    } else {
        Command::new(program)
    }
}

/// A tool that has ended well.
#[derive(Clone, Debug)]
pub struct Ended {
    pub output: String,
    /// Seconds.
    pub cpu: f64,
    /// The most that it had, KiB.
    pub memory: Option<u64>,
}

/// Runs a tool that should take this long.
pub fn run(
    pinned: bool,
    program: &Path,
    arguments: &[OsString],
    duration: Duration,
    folder: &Path,
) -> Result<Ended, String> {
    let [output, errors] = ["stdout", "stderr"].map(|name| folder.join(name));
    let file = |path: &Path| File::create(path).map_err(|error| format!("no file: {error}"));
    let before = children_cpu()?;
    let start = Instant::now();
    let mut process = client(pinned, program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(file(&output)?)
        .stderr(file(&errors)?)
        .spawn()
        .map_err(|error| format!("does not start: {error}"))?;
    let mut memory = None;
    let status = loop {
        match process.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() > duration + PATIENCE => {
                drop(process.kill());
                drop(process.wait());
                return Err("does not end".to_owned());
            }
            // The mark only grows, but what `taskset` had before was another program's.
            Ok(None) => memory = kib(process.id(), "VmHWM").or(memory),
            Err(error) => return Err(format!("cannot be waited for: {error}")),
        }
        std::thread::sleep(LOOK_EVERY);
    };
    let cpu = children_cpu()? - before;
    if !status.success() {
        let said = std::fs::read_to_string(&errors).unwrap_or_default();
        let said = said.lines().rfind(|line| !line.is_empty()).unwrap_or_default();
        return Err(format!("{status}: {said}"));
    }
    let output = std::fs::read_to_string(&output).map_err(|error| format!("no output: {error}"))?;
    Ok(Ended { output, cpu, memory })
}

/// CPU seconds of all children that have been waited for. One tool is waited for at a time, and its server
/// only after it.
fn children_cpu() -> Result<f64, String> {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("no usage: {error}"))?;
    let microseconds =
        usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(microseconds as f64 / 1e6)
}

/// CPU seconds of a running process, all its threads, in nanoseconds.
pub fn running_cpu(id: u32) -> Option<f64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(id.try_into().ok()?)).ok()?;
    Some(clock.now().ok()?.num_nanoseconds() as f64 / 1e9)
}

/// A line of a running process's status that is memory.
pub fn kib(id: u32, name: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_running_process_has_cpu_and_memory() {
        let id = std::process::id();
        let before = running_cpu(id).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(5) {}
        assert!(running_cpu(id).unwrap() > before);
        // Read first: it may grow in between.
        let now = kib(id, "VmRSS").unwrap();
        assert!(now > 0 && kib(id, "VmHWM").unwrap() >= now);
        assert_eq!(kib(id, "VmNothing"), None);
    }
}
