//! CodeDeploy's agent on an instance, as far as a script of a lifecycle event can tell: how it is started, how long
//! it is waited for, and what is kept of its output.
//!
//! By the agent's own source, `lib/instance_agent/plugins/codedeploy/hook_executor.rb`.

use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// What the agent keeps of a script's output.
pub const LOG_MAX_BYTES: usize = 2048;
/// How often the agent looks whether the script has ended.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What came of a script.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The last of its output, line by line, as the agent sends it.
    pub log: String,
    /// How long after its exit the last pipe was closed: the agent fails the event where somebody keeps one open.
    pub left_open: Duration,
    /// Whether anything of its process group was left.
    pub survived: bool,
    /// How long it took.
    pub took: Duration,
}

/// The lines that are kept: whole ones, as many of the last as fit.
#[derive(Debug, Default)]
struct Log(Vec<String>);

impl Log {
    /// A line that does not fit by itself takes all others with it, as it does in the agent.
    fn append(&mut self, entry: String) {
        self.0.push(entry);
        let (mut first, mut left) = (self.0.len(), LOG_MAX_BYTES);
        while first > 0 && left > self.0[first - 1].len() {
            first -= 1;
            left -= self.0[first].len();
        }
        self.0.drain(..first);
    }
}

/// Runs a script as the agent does at ValidateService, and waits for it. One that takes longer than `timeout` is
/// asked to end (SIGTERM) with all of its process group.
pub fn run(script: &Path, environment: &[(String, String)], timeout: Duration) -> Ran {
    let began = Instant::now();
    let mut command = Command::new(script);
    command
        .env_clear()
        .envs(environment.iter().cloned())
        .current_dir("/")
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = loop {
        match command.spawn() {
            // Whatever another test starts at this moment has the file open that was just written.
            Err(error)
                if error.kind() == ErrorKind::ExecutableFileBusy && began.elapsed() < timeout => {}
            child => break child.expect("the script runs"),
        }
    };
    let log = Arc::new(Mutex::new(Log::default()));
    let readers = [
        follow(child.stdout.take().expect("a pipe"), "[stdout]", &log),
        follow(child.stderr.take().expect("a pipe"), "[stderr]", &log),
    ];
    let group = format!("-{}", child.id());
    let signal = |name: &str| {
        let mut kill = Command::new("kill");
        let kill = kill.args(["-s", name, "--", &group]).stderr(Stdio::null());
        kill.status().expect("kill runs").success()
    };
    let mut asked_to_end = false;
    let status = loop {
        if let Some(status) = child.try_wait().expect("it is ours") {
            break status;
        }
        if !asked_to_end && began.elapsed() >= timeout {
            asked_to_end = signal("TERM");
        }
        thread::sleep(LOOK_EVERY);
    };
    let ended = Instant::now();
    for reader in readers {
        reader.join().expect("it only reads");
    }
    let left_open = ended.elapsed();
    let survived = signal("0");
    let log = log.lock().unwrap_or_else(PoisonError::into_inner).0.concat();
    Ran { code: status.code(), log, left_open, survived, took: began.elapsed() }
}

/// Reads a pipe to its end, which comes once nobody has it open any more.
fn follow(
    pipe: impl Read + Send + 'static,
    prefix: &'static str,
    log: &Arc<Mutex<Log>>,
) -> thread::JoinHandle<()> {
    let log = Arc::clone(log);
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            log.append(format!("{prefix}{line}\n"));
        }
    })
}
