//! Who starts gate, kills it, and looks whether it remembers.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tests::seeded::Seeded;
use tests::{Gate, eventually, http, place};

use crate::kills::{Hits, Kill, order};
use crate::{Scene, hook};

/// A place that is not come by for so long is tried again later.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long gate may take to start, on a busy machine.
const START_LIMIT: Duration = Duration::from_secs(30);
/// It is killed within this time of its start, or at any moment of this time after it.
const START: Duration = Duration::from_millis(400);
const LIFE: Duration = Duration::from_millis(1500);
/// SIGKILL.
const KILLED: i32 = 9;
/// How often it is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Tries for each kill that is wanted.
const TRIES: u32 = 3;
/// Evaluations that ended by other hands are found out by looking, every ten seconds.
const END_LIMIT: Duration = Duration::from_secs(60);

/// What was seen of an evaluation.
#[derive(Debug, Default)]
struct Seen {
    ticks: Vec<u64>,
    decision: Option<(String, String)>,
}

/// The keeper of one gate.
#[derive(Debug)]
pub struct Keeper {
    gate: Gate,
    scene: Arc<Scene>,
    seeded: Seeded,
    seen: BTreeMap<String, Seen>,
    compared: u32,
    with_ticks: u32,
    most_missing: usize,
    faults: u32,
    starts: Vec<Duration>,
}

impl Keeper {
    pub fn new(gate: Gate, scene: Arc<Scene>, seeded: Seeded) -> Self {
        Self {
            gate,
            scene,
            seeded,
            seen: BTreeMap::new(),
            compared: 0,
            with_ticks: 0,
            most_missing: 0,
            faults: 0,
            starts: Vec::new(),
        }
    }

    /// So many lives, each with its end.
    pub async fn kill(&mut self, kills: u32) -> Hits {
        let mut hits = Hits::default();
        let mut wanted = order(kills, &mut self.seeded);
        wanted.reverse();
        for _ in 0..kills * TRIES {
            let Some(kill) = wanted.pop() else { break };
            if self.life(kill).await {
                hits.hit(kill);
            } else {
                wanted.insert(0, kill);
            }
            self.scene.cloud.disarm();
            self.scene.snare.clear();
            self.gate.kill();
        }
        hits
    }

    /// One life; true if it ended as wanted.
    async fn life(&mut self, kill: Kill) -> bool {
        match kill {
            Kill::Point(point, most) => {
                let times = 1 + self.seeded.below(most);
                self.launch(&[("GATE_CRASH_AT", &format!("{point}:{times}"))]);
                self.ready().await;
                self.until(std::future::pending::<()>()).await;
                let died = !self.gate.runs();
                let by = self.gate.ended_by();
                // Whoever ends in any other way was not killed there.
                assert!(!died || by == Some(KILLED), "{kill:?}: {by:?} {}", self.gate.logged());
                died
            }
            Kill::Call(operation, stage) => {
                // Before the start: calls begin while gate resumes.
                let when = self.scene.cloud.trap(operation, stage);
                self.launch(&[]);
                self.live_until(when).await
            }
            Kill::Hook(cut) => {
                self.launch(&[]);
                self.ready().await;
                let when = self.scene.snare.set(cut);
                self.live_until(when).await
            }
            Kill::Starting => {
                let after = self.seeded.time(START);
                self.launch(&[]);
                tokio::time::sleep(after).await;
                self.alive();
                true
            }
            Kill::Moment => {
                let after = self.seeded.time(LIFE);
                self.launch(&[]);
                self.ready().await;
                let at = tokio::time::Instant::now() + after;
                self.until(tokio::time::sleep_until(at)).await;
                self.alive();
                true
            }
        }
    }

    async fn live_until(&mut self, mut when: tokio::sync::oneshot::Receiver<()>) -> bool {
        let starting = async {
            while !self.gate.is_ready().await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::select! {
            // It need not be ready first.
            biased;
            caught = &mut when => return caught.is_ok(),
            () = starting => {}
        }
        self.compare().await;
        let caught = self.until(&mut when).await;
        self.alive();
        caught.is_some_and(|caught| caught.is_ok())
    }

    fn launch(&mut self, more: &[(&str, &str)]) {
        self.scene.cloud.new_life();
        self.gate.launch(more);
    }

    /// Lives on.
    pub async fn live(&mut self) {
        self.launch(&[]);
        self.ready().await;
        self.alive();
    }

    fn alive(&mut self) {
        assert!(self.gate.runs(), "gate ended by itself: {}", self.gate.logged());
    }

    /// Waits until gate is up, or dead by order, and compares what it knows with what was seen of it before.
    async fn ready(&mut self) {
        let began = Instant::now();
        while !self.gate.is_ready().await {
            if !self.gate.runs() {
                return;
            }
            assert!(began.elapsed() < START_LIMIT, "gate does not start: {}", self.gate.logged());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.starts.push(began.elapsed());
        self.compare().await;
    }

    /// Looks on until this happens, gate is dead, or nothing happens for too long.
    async fn until<T>(&mut self, end: impl Future<Output = T>) -> Option<T> {
        let began = Instant::now();
        let mut end = std::pin::pin!(end);
        while self.gate.runs() && began.elapsed() < PATIENCE {
            let looking = async {
                self.remember().await;
                tokio::time::sleep(LOOK_EVERY).await;
            };
            tokio::select! {
                biased;
                ended = &mut end => return Some(ended),
                () = looking => {}
            }
        }
        None
    }

    /// Keeps in mind what gate shows of its runs.
    async fn remember(&mut self) {
        for listed in self.gate.evaluations().await {
            if listed["closed"] == true {
                continue;
            }
            let Some(id) = listed["id"].as_str() else { continue };
            let Some(shown) = self.shown(id).await.filter(|shown| shown["id"] == *id) else {
                return;
            };
            let seen = self.seen.entry(id.to_owned()).or_default();
            seen.ticks = ticks(&shown);
            seen.decision = decision(&shown);
        }
    }

    async fn shown(&self, id: &str) -> Option<Value> {
        let url = format!("{}/evaluations/{id}", self.gate.url());
        let answer = http::get(&url).await?;
        // Of an evaluation that gate does not know it says so, without an id.
        Some(serde_json::from_str(&answer.text).unwrap_or(Value::Null))
    }

    /// What was seen before must be there after, but for one tick.
    async fn compare(&mut self) {
        for (id, seen) in std::mem::take(&mut self.seen) {
            let Some(shown) = self.shown(&id).await else {
                // Killed in the meantime: the next life is asked.
                self.seen.insert(id, seen);
                continue;
            };
            if shown["id"] != *id {
                self.fault(&id, "it is not known any more", &shown);
                continue;
            }
            let after = ticks(&shown);
            let missing = seen.ticks.iter().filter(|tick| !after.contains(tick)).count();
            self.compared += 1;
            self.with_ticks += u32::from(!seen.ticks.is_empty());
            self.most_missing = self.most_missing.max(missing);
            if missing > 1 {
                self.fault(&id, "evidence is lost", &shown);
            }
            if !after.is_sorted_by(|one, next| one < next) {
                self.fault(&id, "a tick counts twice", &shown);
            }
            if seen.decision.is_some() && seen.decision != decision(&shown) {
                self.fault(&id, "another decision than before", &shown);
            }
            if shown["phase"] != "done" {
                self.seen.insert(id, seen);
            }
        }
    }

    fn fault(&mut self, id: &str, what: &str, shown: &Value) {
        self.faults += 1;
        eprintln!("{id}: {what}: {shown}");
    }

    /// Evaluations that do not come to an end. Every question is asked once more: gate knows it, and by which id.
    pub async fn unfinished(&mut self) -> usize {
        let mut open = 0;
        for question in self.scene.ledger.questions() {
            let body = self.scene.cloud.hook(&question.deployment);
            let told = hook::post(&self.scene.hooks, &body, &self.scene.snare).await;
            let told = told.expect("gate answers");
            if !told.joined {
                self.scene.ledger.forgotten();
            }
            let over = eventually(END_LIMIT, async || {
                self.shown(&told.evaluation).await.filter(|shown| shown["phase"] == "done")
            });
            if over.await.is_none() {
                open += 1;
                eprintln!("not over: {question:?} {:?}", self.shown(&told.evaluation).await);
            }
        }
        let emptied = async || (self.scene.cloud.queued() == 0).then_some(());
        if eventually(END_LIMIT, emptied).await.is_none() {
            eprintln!("{} messages are left on the queue", self.scene.cloud.queued());
            open += 1;
        }
        let verified = async || self.verified().await.filter(|found| found["open"] == 0);
        match eventually(END_LIMIT, verified).await {
            Some(found) if found["faults"] == serde_json::json!([]) => {}
            found => {
                self.faults += 1;
                eprintln!("the journal: {found:?} {:?}", self.verified().await);
            }
        }
        if self.gate.logged().contains("panicked") {
            self.faults += 1;
            eprintln!("gate panicked: {}", self.gate.logged());
        }
        open
    }

    /// What `gate journal verify` says of its journal, beside it.
    async fn verified(&self) -> Option<Value> {
        let mut command = tokio::process::Command::new(place::binary("gate"));
        command.args(["journal", "verify", "--output", "json", "--journal"]);
        let output = command.arg(self.gate.folder().join("journal.db")).output().await;
        serde_json::from_slice(&output.ok()?.stdout).ok()
    }

    pub fn is_good(&self) -> bool {
        self.faults == 0 && self.with_ticks > 0
    }
}

impl fmt::Display for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let starts = u32::try_from(self.starts.len()).unwrap_or(1).max(1);
        let mean = self.starts.iter().sum::<Duration>() / starts;
        write!(
            f,
            "evaluations compared over a restart {}, {} of them with ticks; most ticks missing after one {}; faults {}; ready after {mean:.0?} on average",
            self.compared, self.with_ticks, self.most_missing, self.faults
        )
    }
}

fn ticks(shown: &Value) -> Vec<u64> {
    let series = shown["series"].as_array();
    series.into_iter().flatten().filter_map(|point| point["tick"].as_u64()).collect()
}

fn decision(shown: &Value) -> Option<(String, String)> {
    let text = |key: &str| shown[key].as_str().map(str::to_owned);
    Some((text("decision")?, text("reason")?))
}
