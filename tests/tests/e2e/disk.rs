//! Bad disks: nothing is accepted that cannot be written down, and what is open is judged and answered all the same.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tests::place::{self, Folder};
use tests::{Gate, eventually, http};

use super::shell::{gate as run, text};
use super::{AWS, LIMIT, POLICY, accepted, finished};

/// Waits until operators are told so by this path: its status and text.
async fn told(gate: &Gate, path: &str, status: u16) -> String {
    let url = format!("{}{path}", gate.admin());
    let told = eventually(LIMIT, async || http::get(&url).await.filter(|a| a.status == status));
    told.await.unwrap_or_else(|| panic!("no {status} of {path}: {}", gate.logged())).text
}

/// A question of a deployment that nobody knows, asked: the status of the answer, and its text.
async fn ask(gate: &Gate, id: &str) -> (u16, String) {
    let hook = json!({ "DeploymentId": id, "LifecycleEventHookExecutionId": "token" });
    let url = format!("{}/hooks/codedeploy", gate.url());
    let answer = http::post(&url, &hook).await.expect("it answers");
    (answer.status, answer.text)
}

async fn metric(gate: &Gate, name: &str) -> f64 {
    let text = told(gate, "/metrics", 200).await;
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    line.unwrap_or_else(|| panic!("no {name}: {text}")).parse().unwrap()
}

fn ticks(seen: &Value) -> Vec<u64> {
    let series = seen["series"].as_array().map_or(&[][..], Vec::as_slice);
    series.iter().map(|point| point["tick"].as_u64().unwrap()).collect()
}

/// Waits until the evaluation has this many ticks.
async fn judging(gate: &Gate, id: &str, least: usize) {
    let seen = eventually(LIMIT, async || {
        gate.evaluation(id).await.filter(|seen| ticks(seen).len() >= least)
    });
    seen.await.unwrap_or_else(|| panic!("nothing is judged: {}", gate.logged()));
}

/// Runs `gate journal` and checks its exit code: what it prints.
async fn journal(arguments: &[&str], code: i32) -> String {
    let output = run(&[&["journal"][..], arguments].concat()).await;
    let shown = text(&output.stdout) + &text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {shown}");
    shown
}

/// The disk fills up while a release is judged, and has room again after it was answered.
async fn check_full(
    name: &str,
    mut gate: Gate,
    file: &Path,
    fill: impl FnOnce(&Gate),
    free: impl FnOnce(&Gate),
) {
    let site = AWS.site(name, &gate.url(), &[], &[]).await;
    let queue = AWS.queue(&format!("{name}-events")).await;
    gate.stop().await;
    gate = gate.settings(&format!("intake: {{ queue: \"{queue}\" }}\n")).start().await;
    assert!(metric(&gate, "gate_journal_writable").await > 0.0);
    let id = site.deploy(&[]).await;
    judging(&gate, &id, 1).await;

    fill(&gate);
    let why = told(&gate, "/readyz", 503).await;
    assert!(why.starts_with("journal: ") && why.contains("no question is accepted"), "{why}");
    told(&gate, "/healthz", 200).await;
    let (status, refused) = ask(&gate, "d-REFUSED01").await;
    assert_eq!(status, 503);
    assert!(refused.contains("gate cannot write to its journal"), "{refused}");
    let hook = json!({ "DeploymentId": "d-QUEUED001", "LifecycleEventHookExecutionId": "token" });
    AWS.send(&queue, &hook).await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    assert!(metric(&gate, "gate_journal_writable").await < 1.0);
    assert!(metric(&gate, "gate_journal_entries_waiting").await > 0.0);
    let unwritten = r#"gate_questions_total{kind="codedeploy-hook",outcome="unwritten"}"#;
    let counted = eventually(LIMIT, async || (metric(&gate, unwritten).await >= 2.0).then_some(()));
    counted.await.expect("the message is not taken either");
    let (waiting, held) = AWS.depth(&queue).await;
    assert_eq!(waiting + held, 1, "the message stays on its queue");

    free(&gate);
    told(&gate, "/readyz", 200).await;
    let written = eventually(LIMIT, async || {
        (metric(&gate, "gate_journal_entries_waiting").await < 1.0).then_some(())
    });
    written.await.expect("what waited is written");
    assert_eq!(ask(&gate, "d-REFUSED01").await.0, 202, "it accepts again");
    gate.outcome("d-REFUSED01", LIMIT).await;

    // Killed now, it has lost nothing: neither evidence nor the decision.
    gate.kill();
    gate.restart().await;
    let after = gate.outcome(&id, LIMIT).await;
    assert_eq!(after["reason"], outcome["reason"]);
    assert_eq!(ticks(&after), ticks(&outcome));
    assert_eq!(accepted(&AWS.deployment(&id).await).len(), 1);
    let verified = journal(&["verify", "--journal", file.to_str().unwrap()], 0).await;
    assert!(verified.contains(" 0 faults"), "{verified}");
}

#[tokio::test]
async fn a_disk_that_fills_up_delays_no_answer_and_loses_nothing() {
    let gate = Gate::new(&AWS.endpoint, "filled").policy(POLICY).start().await;
    let file = gate.folder().join("journal.db");
    check_full("filled", gate, &file, |gate| gate.confine(Some(1)), |gate| gate.confine(None))
        .await;
}

/// Says that a test did nothing, past the harness, which keeps what is printed by a test that passes.
fn left_out(why: &str) {
    let told = format!("LEFT OUT: {why}\n");
    drop(std::io::Write::write_all(&mut std::io::stderr(), told.as_bytes()));
}

/// A file system that is as large as a test wants, and gone with the handle.
struct Small(PathBuf);

impl Small {
    /// One in memory.
    fn mount(at: &Path, size: &str) -> Option<Self> {
        Self::mounted(&["-t", "tmpfs", "-o", &format!("size={size}"), "none"], at)
    }

    /// One on a volume, which the kernel makes read-only once something is wrong with that.
    fn volume(at: &Path) -> Option<Self> {
        let image = at.with_extension("image");
        std::fs::File::create(&image).unwrap().set_len(32 << 20).unwrap();
        // Where it cannot be made it cannot be mounted.
        drop(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image).status());
        let volume = Self::mounted(&["-o", "loop,errors=remount-ro", image.to_str().unwrap()], at)?;
        if std::fs::File::options().write(true).open(volume.switch()).is_ok() {
            return Some(volume);
        }
        left_out("no volume can be made to fail here");
        None
    }

    /// `None` where this machine lets nobody mount one, which nobody shall take for a success.
    fn mounted(arguments: &[&str], at: &Path) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mut command = Command::new("mount");
        command.args(arguments).arg(at).stderr(Stdio::null());
        if command.status().is_ok_and(|status| status.success()) {
            return Some(Self(at.canonicalize().unwrap()));
        }
        left_out(&format!("nothing can be mounted here: {arguments:?}"));
        None
    }

    /// Mounts it once more, `ro` or `rw`. Not while a file on it is open to be written.
    fn remount(&self, how: &str) {
        let how = format!("remount,{how}");
        let mounted = Command::new("mount").args(["-o", &how]).arg(&self.0).status();
        assert!(mounted.unwrap().success(), "it is not {how}");
    }

    /// Something is wrong with the volume: nobody writes any more, whatever is open.
    fn fail(&self) {
        std::fs::write(self.switch(), "a test").unwrap();
    }

    /// What makes a volume fail.
    fn switch(&self) -> PathBuf {
        let mounts = std::fs::read_to_string("/proc/mounts").unwrap();
        let device = mounts.lines().find_map(|line| {
            let (device, rest) = line.split_once(' ')?;
            let at = rest.split(' ').next()?;
            (Path::new(at) == self.0).then(|| device.rsplit('/').next())?
        });
        let device = device.expect("it is mounted");
        format!("/sys/fs/ext4/{device}/trigger_fs_error").into()
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }

    /// Fills it to the last byte.
    fn fill(&self) {
        let mut rest = 1 << 20;
        let mut filler = std::fs::File::create(self.filler()).unwrap();
        while rest > 0 {
            if std::io::Write::write_all(&mut filler, &vec![1; rest]).is_err() {
                rest /= 2;
            }
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.filler()).unwrap();
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[tokio::test]
async fn a_file_system_without_room_is_such_a_disk() {
    let folder = Folder::new("without-room");
    let Some(disk) = Small::mount(&folder.path().join("disk"), "3m") else { return };
    let file = disk.0.join("journal.db");
    let gate = Gate::new(&AWS.endpoint, "roomless").policy(POLICY);
    let gate = gate.env("GATE_JOURNAL_PATH", file.to_str().unwrap()).start().await;
    check_full("roomless", gate, &file, |_| disk.fill(), |_| disk.free()).await;
}

/// On a disk that is read-only no question is taken, and the one that is open is answered.
async fn check_read_only(gate: &Gate, id: &str, decision: &str) {
    let why = told(gate, "/readyz", 503).await;
    assert!(why.starts_with("journal: ") && why.to_lowercase().contains("read-only"), "{why}");
    told(gate, "/healthz", 200).await;
    let (status, refused) = ask(gate, "d-REFUSED03").await;
    assert_eq!(status, 503, "{refused}");
    let (outcome, deployment) = finished(gate, id).await;
    assert_eq!(outcome["decision"], decision, "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
}

#[tokio::test]
async fn a_disk_that_becomes_read_only_while_gate_judges_delays_no_answer() {
    let folder = Folder::new("read-only");
    let Some(disk) = Small::volume(&folder.path().join("disk")) else { return };
    let file = disk.0.join("journal.db");
    let gate = Gate::new(&AWS.endpoint, "unwritable").policy(POLICY);
    let gate = gate.env("GATE_JOURNAL_PATH", file.to_str().unwrap()).start().await;
    let site = AWS.site("unwritable", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    judging(&gate, &id, 1).await;
    disk.fail();
    check_read_only(&gate, &id, "continue").await;
}

#[tokio::test]
async fn on_a_disk_that_is_read_only_at_the_start_what_is_open_is_taken_up_and_answered() {
    let folder = Folder::new("remounted");
    let Some(disk) = Small::mount(&folder.path().join("disk"), "3m") else { return };
    let file = disk.0.join("journal.db");
    let gate = Gate::new(&AWS.endpoint, "remounted").policy(POLICY);
    let mut gate = gate.env("GATE_JOURNAL_PATH", file.to_str().unwrap()).start().await;
    let site = AWS.site("remounted", &gate.url(), &[], &[]).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    judging(&gate, &id, 1).await;
    gate.kill();
    disk.remount("ro");
    gate.launch(&[]);
    check_read_only(&gate, &id, "rollback").await;
    disk.remount("rw");
    told(&gate, "/readyz", 200).await;
}

#[tokio::test]
async fn on_a_disk_that_is_full_at_the_start_what_is_open_is_taken_up_and_answered() {
    let mut gate = Gate::new(&AWS.endpoint, "started").policy(POLICY).start().await;
    let site = AWS.site("started", &gate.url(), &[], &[]).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    judging(&gate, &id, 1).await;
    gate.kill();
    // After a reboot what it had mapped is gone, and cannot be made again.
    std::fs::remove_file(gate.folder().join("journal.db-shm")).unwrap();
    gate.restart_confined(1).await;
    let why = told(&gate, "/readyz", 503).await;
    assert!(why.starts_with("journal: ") && why.contains("cannot be written"), "{why}");
    assert_eq!(ask(&gate, "d-REFUSED02").await.0, 503);
    // A second gate is kept out all the same.
    let policies = gate.folder().join("policies");
    let file = gate.folder().join("journal.db");
    let (policies, file) = (policies.to_str().unwrap(), file.to_str().unwrap());
    let second = ["serve", "--policies", policies, "--journal", file, "--admin-listen"];
    let address = format!("{}:9090", place::address());
    let listening = [address.as_str(), "--hooks-listen", "127.0.0.1:0"];
    let second = run(&[&second[..], &listening[..]].concat()).await;
    assert_eq!(second.status.code(), Some(2), "{}", text(&second.stderr));
    assert!(text(&second.stderr).contains("is in use by another gate"), "{}", text(&second.stderr));

    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    gate.confine(None);
    told(&gate, "/readyz", 200).await;
    let written = eventually(LIMIT, async || {
        (metric(&gate, "gate_journal_entries_waiting").await < 1.0).then_some(())
    });
    written.await.expect("what waited is written");
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    let verified = journal(&["verify", "--journal", file, "--output", "json"], 0).await;
    let verified: Value = serde_json::from_str(&verified).unwrap();
    assert_eq!((&verified["open"], &verified["faults"]), (&json!(0), &json!([])), "{verified:#}");
    gate.restart().await;
    let after = gate.outcome(&id, LIMIT).await;
    assert_eq!((&after["reason"], ticks(&after)), (&outcome["reason"], ticks(&outcome)));
}

#[tokio::test]
async fn a_journal_is_verified_exported_and_pruned_from_a_shell() {
    let mut gate = Gate::new(&AWS.endpoint, "tended").policy(POLICY).start().await;
    let ids = ["d-TENDED001", "d-TENDED002", "d-TENDED003"];
    for id in ids {
        assert_eq!(ask(&gate, id).await.0, 202);
    }
    for id in ids {
        gate.outcome(id, LIMIT).await;
    }
    let file = gate.folder().join("journal.db");
    let config = gate.folder().join("gate.yaml");
    let records = gate.folder().join("records");
    let (file, config) = (file.to_str().unwrap(), config.to_str().unwrap());
    // Beside the daemon.
    // What is over is marked so a moment after it is told.
    let closed = eventually(LIMIT, async || {
        let verified = journal(&["verify", "--config", config], 0).await;
        verified.contains("version 5, 3 questions (0 open)").then_some(())
    });
    closed.await.expect("all three are over on disk");
    journal(&["export", "--config", config, "--to", records.to_str().unwrap()], 0).await;
    let lines = journal(&["export", "--journal", file, "--since", "24h"], 0).await;
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(!lines.contains("token"), "a record carries no token: {lines}");
    let replayed = run(&["replay", records.to_str().unwrap()]).await;
    assert_eq!(replayed.status.code(), Some(0), "{}", text(&replayed.stdout));
    let refused = journal(&["prune", "--journal", file, "--older-than", "30d"], 2).await;
    assert!(
        refused.contains("is in use by another gate") && refused.contains("--dry-run"),
        "{refused}"
    );
    let dry = journal(&["prune", "--journal", file, "--older-than", "30d", "--dry-run"], 0).await;
    assert_eq!(dry, "0 runs would go, about 0 bytes\n");
    gate.kill_and_age(std::time::Duration::from_secs(40 * 24 * 3600));
    let dry = journal(&["prune", "--journal", file, "--older-than", "30d", "--dry-run"], 0).await;
    assert!(dry.contains("3 runs would go"), "{dry}");
    journal(&["prune", "--config", config], 0).await;
    let verified = journal(&["verify", "--journal", file], 0).await;
    assert!(verified.contains("3 questions"), "ninety days are kept by default: {verified}");
    journal(&["prune", "--journal", file, "--older-than", "30d"], 0).await;
    let verified = journal(&["verify", "--journal", file], 0).await;
    assert!(verified.contains("0 questions"), "{verified}");

    // What cannot be read is named, and what cannot be opened says what to do.
    std::fs::write(file, "no journal at all ".repeat(500)).unwrap();
    for ending in ["-wal", "-shm"] {
        drop(std::fs::remove_file(format!("{file}{ending}")));
    }
    let refused = journal(&["verify", "--journal", file], 2).await;
    assert!(refused.contains("file is not a database"), "{refused}");
    let start = run(&["serve", "--config", config]).await;
    assert_eq!(start.status.code(), Some(2));
    assert!(text(&start.stderr).contains("moved aside"), "{}", text(&start.stderr));
}
