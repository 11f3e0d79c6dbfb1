//! Watching one target once a second: the whole daemon beside blackbox_exporter, which something must ask.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tests::place::Folder;

use crate::http::Kept;
use crate::nginx::{START_LIMIT, free};
use crate::process::{client, kib, running_cpu};
use crate::tool::Found;
use crate::truth::{Mode, Truth};

/// How long a sidecar is watched, and what it may do before.
const WATCHED: [Duration; 2] = [Duration::from_secs(22), Duration::from_secs(3)];
/// The same for a test.
const QUICK: [Duration; 2] = [Duration::from_secs(2), Duration::from_millis(500)];
const EVERY: Duration = Duration::from_secs(1);

/// The usual policy of a sidecar.
const POLICY: &str = "gate: v1\n\
    probe: { http: { path: / }, rate: 1/s }\n\
    objectives:\n  - errors: { at-most: 1% }\n";
const BLACKBOX: &str = "modules:\n  http_2xx:\n    prober: http\n    timeout: 5s\n";

/// What a daemon cost while it was watched.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// CPU milliseconds a second.
    pub cpu: f64,
    /// Resident memory at the end, MiB.
    pub memory: f64,
    /// Requests a second that its target got.
    pub probes: f64,
}

/// One round.
#[derive(Clone, Debug)]
pub struct Sidecars {
    pub gate: Result<Cost, String>,
    /// The daemon with nothing to watch.
    pub idle: Result<Cost, String>,
    pub blackbox: Result<Cost, String>,
}

/// A daemon that ends with its handle.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Daemon {
    fn start(mut command: Command, folder: &Path, ready: &str) -> Result<Self, String> {
        let log = folder.join("daemon.log");
        let file = std::fs::File::create(&log).map_err(|error| error.to_string())?;
        let process = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let mut daemon = Self(process.map_err(|error| format!("does not start: {error}"))?);
        let (address, path) = ready.split_once('/').unwrap_or((ready, ""));
        let start = Instant::now();
        while start.elapsed() < START_LIMIT {
            let answer = Kept::new(address).and_then(|mut kept| kept.get(&format!("/{path}")));
            if answer.is_ok_and(|answer| answer.starts_with("HTTP/1.1 200")) {
                return Ok(daemon);
            }
            if let Ok(Some(status)) = daemon.0.try_wait() {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                let said: Vec<&str> = said.lines().map(str::trim).collect();
                return Err(format!("{status}: {}", said.join(" ")));
            }
            sleep(Duration::from_millis(50));
        }
        Err("is not ready".to_owned())
    }

    /// Watches it, doing this once a second.
    fn watch(
        &self,
        quick: bool,
        mut each_second: impl FnMut() -> Result<(), String>,
    ) -> Result<(f64, f64), String> {
        let [watched, before] = if quick { QUICK } else { WATCHED };
        let mut each = |duration: Duration| {
            let start = Instant::now();
            for due in (0..).map(|second| EVERY * second).take_while(|due| *due < duration) {
                sleep((start + due).saturating_duration_since(Instant::now()));
                each_second()?;
            }
            sleep((start + duration).saturating_duration_since(Instant::now()));
            Ok(start.elapsed().as_secs_f64())
        };
        each(before)?;
        let cpu = || running_cpu(self.0.id()).ok_or("ended while it was watched".to_owned());
        let first = cpu()?;
        let seconds: f64 = each(watched).map_err(|error: String| error)?;
        let cpu = (cpu()? - first) / seconds * 1e3;
        let memory = kib(self.0.id(), "VmRSS").ok_or("has no memory")?;
        Ok((cpu, memory as f64 / 1024.0))
    }
}

/// Watches each in turn.
pub fn measure(
    pinned: bool,
    quick: bool,
    gate: &Path,
    blackbox: &Result<Found, String>,
) -> Result<Sidecars, String> {
    let truth = Truth::start(Mode::Fast)?;
    let served = serve(pinned, quick, gate, Some(&truth.address));
    let gate_cost = with_probes(served, truth, quick)?;
    let idle = serve(pinned, quick, gate, None);
    let idle = idle.map(|(cpu, memory)| Cost { cpu, memory, probes: 0.0 });
    let truth = Truth::start(Mode::Fast)?;
    let exported = blackbox.clone().and_then(|found| export(pinned, quick, &found, &truth.address));
    Ok(Sidecars { gate: gate_cost, idle, blackbox: with_probes(exported, truth, quick)? })
}

/// The target says how often it was probed.
fn with_probes(
    watched: Result<(f64, f64), String>,
    truth: Truth,
    quick: bool,
) -> Result<Result<Cost, String>, String> {
    let [during, before] = if quick { QUICK } else { WATCHED };
    let probes = truth.end()?.count() as f64 / (during + before).as_secs_f64();
    Ok(watched.map(|(cpu, memory)| Cost { cpu, memory, probes }))
}

fn serve(
    pinned: bool,
    quick: bool,
    gate: &Path,
    target: Option<&str>,
) -> Result<(f64, f64), String> {
    if !gate.is_file() {
        return Err("not built".to_owned());
    }
    let error = |error: std::io::Error| format!("cannot be set up: {error}");
    let folder = Folder::new("bench-sidecar");
    let path = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(path("policies")).map_err(error)?;
    std::fs::write(path("policies").join("sidecar.policy.yaml"), POLICY).map_err(error)?;
    let admin = free().map_err(error)?;
    let targets = target.map_or_else(String::new, |target| {
        format!("targets: [ {{ url: \"http://{target}\", policy: sidecar }} ]\n")
    });
    let settings = format!(
        "policies: {}\n{targets}hooks: {{ listen: \"127.0.0.1:0\" }}\nadmin: {{ listen: \"{admin}\" }}\n\
        journal: {{ path: {} }}\n",
        path("policies").display(),
        path("journal.db").display(),
    );
    std::fs::write(path("gate.yaml"), settings).map_err(error)?;
    let mut command = client(pinned, gate);
    // Nothing of a real account: this never leaves loopback.
    command.args(["serve", "--config"]).arg(path("gate.yaml")).env("AWS_REGION", "us-east-1").envs(
        [
            ("AWS_ENDPOINT_URL", "http://127.0.0.1:9"),
            ("AWS_ACCESS_KEY_ID", "bench"),
            ("AWS_SECRET_ACCESS_KEY", "bench"),
        ],
    );
    let daemon = Daemon::start(command, folder.path(), &format!("{admin}/readyz"))?;
    daemon.watch(quick, || Ok(()))
}

fn export(pinned: bool, quick: bool, found: &Found, target: &str) -> Result<(f64, f64), String> {
    let error = |error: std::io::Error| format!("cannot be asked: {error}");
    let folder = Folder::new("bench-sidecar");
    let settings = folder.path().join("blackbox.yml");
    std::fs::write(&settings, BLACKBOX).map_err(error)?;
    let address = free().map_err(error)?.to_string();
    let mut command = client(pinned, &found.program);
    command.arg(format!("--config.file={}", settings.display()));
    command.arg(format!("--web.listen-address={address}"));
    let daemon = Daemon::start(command, folder.path(), &format!("{address}/-/healthy"))?;
    let mut kept = Kept::new(&address).map_err(error)?;
    daemon.watch(quick, || {
        let answer = kept.get(&format!("/probe?module=http_2xx&target=http://{target}/"));
        let good = answer.map_err(error)?.contains("\nprobe_success 1\n");
        if good { Ok(()) } else { Err("its probe failed".to_owned()) }
    })
}
