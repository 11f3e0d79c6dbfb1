//! The real daemon as a process.

use std::fs::File;
use std::io::Write;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::place::{self, Folder};
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
        ("AWS_SECRET_ACCESS_KEY", "emulated"),
        ("AWS_REGION", "us-east-1"),
    ];
    environment.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// A daemon with a folder of its own.
#[derive(Debug)]
pub struct Gate {
    folder: Folder,
    address: Ipv4Addr,
    environment: Vec<(String, String)>,
    hooks: bool,
    settings: String,
    process: Option<Child>,
}

impl Gate {
    /// A daemon that talks to this endpoint with this access key; not started yet.
    pub fn new(endpoint: &str, access_key: &str) -> Self {
        let folder = Folder::new(access_key);
        std::fs::create_dir(folder.path().join("policies")).expect("a fresh folder");
        Self {
            folder,
            address: place::address(),
            environment: aws(endpoint, access_key),
            hooks: true,
            settings: String::new(),
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

    /// Sets an environment variable of the daemon.
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
        let path = |name| self.folder.path().join(name);
        let hooks = if self.hooks {
            format!("hooks: {{ listen: \"{}\" }}\n", self.at(8080))
        } else {
            String::new()
        };
        let settings = format!(
            "policies: {}\n{hooks}admin: {{ listen: \"{}\" }}\njournal: {{ path: {} }}\n{}",
            path("policies").display(),
            self.at(9090),
            path("journal.db").display(),
            self.settings,
        );
        std::fs::write(path("gate.yaml"), settings).expect("the folder is writable");
        let mut log = File::options().create(true).append(true).open(self.log()).expect("a log");
        writeln!(log, "--- start").expect("the log is writable");
        let process = Command::new(place::binary("gate"))
            .args(["serve", "--config"])
            .arg(path("gate.yaml"))
            .env_clear()
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("gate runs");
        self.process = Some(process);
        let ready = format!("{}/readyz", self.admin());
        let up = eventually(START_LIMIT, async || {
            http::get(&ready).await.filter(|answer| answer.status == 200)
        });
        assert!(up.await.is_some(), "gate does not start: {}", self.logged());
    }

    fn at(&self, port: u16) -> String {
        format!("{}:{port}", self.address)
    }

    /// Where hooks are posted and pages are.
    pub fn url(&self) -> String {
        format!("http://{}", self.at(8080))
    }

    /// Where operators look.
    pub fn admin(&self) -> String {
        format!("http://{}", self.at(9090))
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
import json, sqlite3, sys
path, accepted = sys.argv[1], int(sys.argv[2])
with sqlite3.connect(path) as journal:
    for id, body in journal.execute('SELECT id, body FROM questions').fetchall():
        body = json.dumps(json.loads(body) | {'accepted_unix_millis': accepted})
        changed = (accepted, body, id)
        journal.execute('UPDATE questions SET accepted_unix_millis = ?, body = ? WHERE id = ?', changed)
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
        let status = Command::new("kill").arg(self.pid().to_string()).status();
        assert!(status.expect("kill runs").success());
    }

    /// Whether it has not ended yet.
    pub fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| matches!(process.try_wait(), Ok(None)))
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
        let answer = http::get(&format!("{}/evaluations", self.url())).await;
        let Some(answer) = answer else { return Vec::new() };
        answer.json()["evaluations"].as_array().cloned().unwrap_or_default()
    }

    /// The newest evaluation of a deployment, whole, once there is one.
    pub async fn evaluation(&self, deployment: &str) -> Option<Value> {
        let listed = self.evaluations().await;
        let id = listed.iter().find(|listed| listed["deployment_id"] == deployment)?["id"].clone();
        let url = format!("{}/evaluations/{}", self.url(), id.as_str()?);
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
        self.kill();
    }
}
