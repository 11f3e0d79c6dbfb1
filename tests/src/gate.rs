//! The real daemon as a process.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::place::{self, Folder};
use crate::secrets::{SECRET_KEY, search};
use crate::{eventually, http};

/// How long a start may take on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(20);
/// ECS kills so long after SIGTERM, where a task definition names no other time.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// What has a process ask the AWS at this endpoint, by this access key.
pub fn aws(endpoint: &str, access_key: &str) -> Vec<(String, String)> {
    let environment = [
        ("AWS_ENDPOINT_URL", endpoint),
        ("AWS_ACCESS_KEY_ID", access_key),
        ("AWS_SECRET_ACCESS_KEY", SECRET_KEY),
        ("AWS_REGION", "us-east-1"),
    ];
    environment.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// A daemon with a folder of its own.
#[derive(Debug)]
pub struct Gate {
    /// Another build than that of the workspace, which need not be there then.
    program: Option<PathBuf>,
    folder: Folder,
    address: Ipv4Addr,
    environment: Vec<(String, String)>,
    hooks: bool,
    tls: bool,
    settings: String,
    /// The table it shares with others; without one its journal is its own.
    table: Option<String>,
    process: Option<Child>,
}

impl Gate {
    /// A daemon that talks to this endpoint with this access key; not started yet.
    pub fn new(endpoint: &str, access_key: &str) -> Self {
        let folder = Folder::new(access_key);
        std::fs::create_dir(folder.path().join("policies")).expect("a fresh folder");
        let mut environment = aws(endpoint, access_key);
        // What people are told to switch on is searched for secrets, too.
        environment.push(("GATE_LOG".to_owned(), "debug".to_owned()));
        Self {
            program: None,
            folder,
            address: place::address(),
            environment,
            hooks: true,
            tls: false,
            settings: String::new(),
            table: None,
            process: None,
        }
    }

    /// A sidecar that judges these targets (YAML of the setting `targets`), asked by nobody.
    pub fn sidecar(name: &str, targets: &str) -> Self {
        let mut gate = Self::new("http://127.0.0.1:1", name);
        gate.hooks = false;
        gate.settings(&format!("targets: {targets}\n"))
    }

    /// Adds settings.
    pub fn settings(mut self, yaml: &str) -> Self {
        self.settings.push_str(yaml);
        self
    }

    /// Has it keep its journal in this table.
    pub fn shared(mut self, table: &str) -> Self {
        self.table = Some(table.to_owned());
        self
    }

    /// Another build of it.
    pub fn program(mut self, path: PathBuf) -> Self {
        self.program = Some(path);
        self
    }

    /// Has its hooks arrive by TLS, with `tls.pem` and `tls.key` of its folder.
    pub fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Sets an environment variable of the daemon. What its name calls a key, a token, a secret or a password is
    /// looked for in everything that the daemon writes.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Takes an environment variable of the daemon away.
    pub fn without_env(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// Writes a policy into its folder.
    pub fn policy(self, text: &str) -> Self {
        self.policy_named("test.policy.yaml", text)
    }

    /// Writes a policy of this file name into its folder.
    pub fn policy_named(self, name: &str, text: &str) -> Self {
        let path = self.folder.path().join("policies").join(name);
        std::fs::write(path, text).expect("the folder is writable");
        self
    }

    /// Starts it and waits until it is ready.
    pub async fn start(mut self) -> Self {
        self.restart().await;
        self
    }

    /// Starts it again, with the same folder and address.
    pub async fn restart(&mut self) {
        self.launch(&[]);
        let up = eventually(START_LIMIT, async || self.is_ready().await.then_some(()));
        assert!(up.await.is_some(), "gate does not start: {}", self.logged());
    }

    /// Starts it again where no file may grow beyond so many bytes, as on a full disk, and waits until it lives.
    pub async fn restart_confined(&mut self, bytes: u64) {
        self.launch_within(&[], Some(bytes));
        let alive = format!("{}/healthz", self.admin());
        let up = eventually(START_LIMIT, async || http::get(&alive).await);
        assert!(up.await.is_some(), "gate does not start: {}", self.logged());
    }

    /// Whether it takes questions.
    pub async fn is_ready(&self) -> bool {
        http::get(&format!("{}/readyz", self.admin())).await.is_some_and(|it| it.status == 200)
    }

    /// Starts it, with more in its environment, and does not wait.
    pub fn launch(&mut self, more: &[(&str, &str)]) {
        self.launch_within(more, None);
    }

    fn launch_within(&mut self, more: &[(&str, &str)], file_bytes: Option<u64>) {
        let path = |name| self.folder.path().join(name);
        let hooks = if self.hooks {
            let file = |name| path(name).display().to_string();
            let tls = format!(
                ", tls: {{ certificate: \"{}\", key: \"{}\" }}",
                file("tls.pem"),
                file("tls.key")
            );
            let tls = if self.tls { tls } else { String::new() };
            format!("hooks: {{ listen: \"{}\"{tls} }}\n", self.at(8080))
        } else {
            String::new()
        };
        let journal = match &self.table {
            Some(table) => format!("{{ dynamodb: {{ table: {table} }} }}"),
            None => format!("{{ path: {} }}", path("journal.db").display()),
        };
        let settings = format!(
            "policies: {}\n{hooks}admin: {{ listen: \"{}\" }}\njournal: {journal}\n{}",
            path("policies").display(),
            self.at(9090),
            self.settings,
        );
        std::fs::write(path("gate.yaml"), settings).expect("the folder is writable");
        let mut log = File::options().create(true).append(true).open(self.log()).expect("a log");
        writeln!(log, "--- start").expect("the log is writable");
        let mut command = match file_bytes {
            None => {
                let program = self.program.clone();
                Command::new(program.unwrap_or_else(|| place::binary("gate")))
            }
            Some(bytes) => place::confined(bytes, "gate"),
        };
        let process = command
            .args(["serve", "--config"])
            .arg(path("gate.yaml"))
            .env_clear()
            .envs(self.environment.iter().cloned())
            .envs(more.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("gate runs");
        self.process = Some(process);
    }

    /// Lets no file of the running daemon grow beyond so many bytes: what a full disk is to whoever writes. `None` gives all
    /// the room back.
    pub fn confine(&self, file_bytes: Option<u64>) {
        const LIMIT: &str = "
import resource, sys
pid, most = int(sys.argv[1]), int(sys.argv[2])
hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard if most < 0 else most, hard))
";
        let most = file_bytes.map_or_else(|| "-1".to_owned(), |bytes| bytes.to_string());
        let mut command = place::python();
        let done = command.args(["-c", LIMIT, &self.pid().to_string(), &most]).status();
        assert!(done.expect("python runs").success(), "the limit is not set");
    }

    /// Host and port of one of its listeners.
    pub fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.address)
    }

    /// Where hooks are posted and pages are.
    pub fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}", self.at(8080))
    }

    /// Where operators look.
    pub fn admin(&self) -> String {
        format!("http://{}", self.at(9090))
    }

    /// Where this process reads pages: it speaks no TLS.
    fn pages(&self) -> String {
        if self.tls { self.admin() } else { self.url() }
    }

    /// Its log so far.
    pub fn logged(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("gate.log")
    }

    /// Its folder.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// Kills it: no warning, no clean-up.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            drop(process.kill());
            drop(process.wait());
        }
    }

    /// Kills it, and moves what it has on disk into the past: as if it had accepted its questions so long ago and then been
    /// down. When they were accepted, in seconds since 1970.
    pub fn kill_and_age(&mut self, age: Duration) -> u64 {
        const AGE: &str = "
import json, sqlite3, sys, zlib
path, accepted = sys.argv[1], int(sys.argv[2])
with sqlite3.connect(path) as journal:
    read = 'SELECT id, closed, version, entries, body FROM questions'
    for id, closed, version, entries, body in journal.execute(read).fetchall():
        body = json.dumps(json.loads(body) | {'accepted_unix_millis': accepted, 'accepted_since_boot': None})
        entries = -1 if entries is None else entries
        row = f'{id}\\n{accepted}\\n{closed}\\n{version}\\n{entries}\\n{body}'
        changed = (accepted, body, zlib.crc32(row.encode()), id)
        journal.execute(
            'UPDATE questions SET accepted_unix_millis = ?, body = ?, checksum = ? WHERE id = ?', changed
        )
";
        self.kill();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970");
        let accepted = now - age;
        let mut command = place::python();
        command.args(["-c", AGE]).arg(self.folder.path().join("journal.db"));
        let aged = command.arg(accepted.as_millis().to_string()).status();
        assert!(aged.expect("python runs").success(), "the journal is not aged");
        accepted.as_secs()
    }

    /// Asks it to stop (SIGTERM) and returns its exit code.
    pub async fn stop(&mut self) -> Option<i32> {
        self.terminate();
        self.ended().await
    }

    /// Asks it to stop (SIGTERM), and does not wait.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Has it stand still (SIGSTOP) until it is told to go on.
    pub fn pause(&self) {
        self.signal("STOP");
    }

    /// Has it go on (SIGCONT).
    pub fn go_on(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let signal = format!("-{name}");
        let status = Command::new("kill").args([signal, self.pid().to_string()]).status();
        assert!(status.expect("kill runs").success());
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// The signal that ended it, where one did.
    pub fn ended_by(&mut self) -> Option<i32> {
        self.process.as_mut()?.try_wait().ok()??.signal()
    }

    /// Waits for its end: its exit code; `None` where it had to be killed, as ECS would.
    pub async fn ended(&mut self) -> Option<i32> {
        let mut process = self.process.take().expect("it runs");
        let ended = eventually(STOP_LIMIT, async || process.try_wait().ok().flatten()).await;
        if ended.is_none() {
            drop(process.kill());
            drop(process.wait());
        }
        ended.and_then(|status| status.code())
    }

    /// Its process id; 0 when it does not run.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().map_or(0, Child::id)
    }

    /// Evaluations it knows of, newest first.
    pub async fn evaluations(&self) -> Vec<Value> {
        let answer = http::get(&format!("{}/evaluations", self.pages())).await;
        let Some(answer) = answer else { return Vec::new() };
        answer.json()["evaluations"].as_array().cloned().unwrap_or_default()
    }

    /// The newest evaluation of a deployment, whole, once there is one.
    pub async fn evaluation(&self, deployment: &str) -> Option<Value> {
        let listed = self.evaluations().await;
        let id = listed.iter().find(|listed| listed["deployment_id"] == deployment)?["id"].clone();
        let url = format!("{}/evaluations/{}", self.pages(), id.as_str()?);
        Some(http::get(&url).await?.json())
    }

    /// Waits until the evaluation of a deployment is over.
    pub async fn outcome(&self, deployment: &str, limit: Duration) -> Value {
        let over = eventually(limit, async || {
            self.evaluation(deployment).await.filter(|seen| seen["phase"] == "done")
        });
        match over.await {
            Some(outcome) => outcome,
            None => panic!(
                "no outcome of {deployment} after {limit:?}: {:#?}\n{}",
                self.evaluation(deployment).await,
                self.logged()
            ),
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        // A failed test has said enough.
        if !std::thread::panicking() {
            let operators = self.runs().then(|| self.at(9090));
            search(self.folder.path(), &self.environment, operators.as_deref());
        }
        self.kill();
    }
}
