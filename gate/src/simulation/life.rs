//! A world from its first question to its last answer, through every process that gate was in it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use policies::{Answer, Basis, Decision, Delivery};
use tokio::time::{Instant, advance, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::cloud::SimAws;
use super::dice::{between, chance};
use super::targets::address;
use super::world::{
    Climate, Green, Kind, POLICY_DEADLINE, Shared, SimQuestion, Trial, Try, World, asked,
};
use crate::app::{Gate, Heard, Intake, Parts};
use crate::aws::{Clouds, OnDemand};
use crate::config::Settings;
use crate::intake::{Keys, Tokens};
use crate::journal::Journal;
use crate::shell::Vault;
use crate::telemetry::Metrics;

/// Whoever asks a Lambda hook asks so often.
const POLL_EVERY: Duration = Duration::from_secs(30);
/// How often it is looked whether everything is over.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// No world is longer: by then every platform has stopped waiting.
const WORLD_MAX: Duration = Duration::from_secs(3 * 3600);

/// What came of a world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) asked: u64,
    pub(super) answered: u64,
    /// Nobody stopped the deployment, and the platform stopped waiting.
    pub(super) lost: u64,
    pub(super) twice: u64,
    pub(super) late: u64,
    /// A green that is faulty, or that nothing is known of, was let through, or a healthy one proven broken.
    pub(super) wrong: u64,
    /// Stopped by somebody before there was an answer.
    pub(super) stopped: u64,
    pub(super) processes: u64,
    pub(super) calls: u64,
}

impl Counted {
    pub(super) fn add(&mut self, other: Self) {
        self.asked += other.asked;
        self.answered += other.answered;
        self.lost += other.lost;
        self.twice += other.twice;
        self.late += other.late;
        self.wrong += other.wrong;
        self.stopped += other.stopped;
        self.processes += other.processes;
        self.calls += other.calls;
    }

    pub(super) fn is_good(&self) -> bool {
        let Self { asked, answered, lost, twice, late, wrong, stopped, .. } = *self;
        asked == answered + stopped && [lost, twice, late, wrong] == [0; 4]
    }
}

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Everything is over.
    Done,
    Killed,
    Stopped,
}

/// Lives a world.
pub(super) fn live(seed: u64, climate: Climate, policies: &Path) -> (Shared, Counted) {
    let world = Shared::new(seed, climate);
    loop {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        let end = runtime.block_on(process(world.clone(), policies.to_owned()));
        let at = {
            let _within = runtime.enter();
            world.now()
        };
        // Nothing of it is left: not a task, not a timer.
        drop(runtime);
        let mut held = world.lock();
        let down = between(seed, "down", held.incarnations, (0.2, 25.0));
        held.end(at, down);
        let moved = chance(seed, "another machine", held.incarnations) < 0.2;
        if let Some(Trial::Restart(_, elsewhere, off_seconds)) = climate.trial {
            held.boot += u64::from(elsewhere);
            held.clock_off_millis = off_seconds * 1000;
        }
        if climate.storms && moved {
            // Machines agree on the time; what this one's clock did is gone with it.
            held.boot += 1;
            held.clock_off_millis = 0;
        }
        if end == End::Done || held.now() > WORLD_MAX {
            break;
        }
    }
    let counted = count(&world);
    (world, counted)
}

/// One process of gate, from its start to its end.
async fn process(world: Shared, policies: PathBuf) -> End {
    let (seed, number, storms) = {
        let mut held = world.lock();
        held.begin();
        (held.seed, held.incarnations, held.climate.storms)
    };
    let began = Instant::now();
    let trial = world.lock().climate.trial;
    let lives = match trial {
        Some(Trial::Restart(at, ..)) if number == 1 => at,
        _ if storms => between(seed, "lives", number, (5.0, 300.0)),
        _ => WORLD_MAX,
    };
    let killed = trial.is_some() || chance(seed, "killed", number) < 0.7;
    let stop = CancellationToken::new();
    let running = async {
        let gate = gate(&world, policies, stop.clone()).await;
        if trial == Some(Trial::Undecided) && number == 2 {
            let questions = world.lock().questions.clone();
            for (index, question) in questions.iter().enumerate() {
                let heard = gate.heard(&asked(index, question).ask.evaluation_id()).await;
                assert_eq!(heard.unwrap(), Heard::Waiting, "nobody is told what nobody wrote");
            }
        }
        // A full disk: the process ends, and is started again.
        if gate.resume().await.is_err() {
            return End::Killed;
        }
        ask(&world, &gate);
        if storms {
            tokio::spawn(trouble(world.clone(), number));
        }
        tokio::spawn(try_on(world.clone(), trial));
        loop {
            if over(&world, &gate) {
                return End::Done;
            }
            if began.elapsed() >= lives {
                stop.cancel();
                gate.drained(Duration::from_secs(15)).await;
                gate.end_journal().await;
                return End::Stopped;
            }
            sleep(LOOK_EVERY.min(lives)).await;
        }
    };
    if killed {
        tokio::select! {
            end = running => end,
            () = sleep_until(began + lives) => End::Killed,
            () = fallen(&world) => End::Killed,
        }
    } else {
        running.await
    }
}

pub(super) async fn gate(world: &Shared, policies: PathBuf, stop: CancellationToken) -> Arc<Gate> {
    gate_on(Arc::new(world.clone()), world, policies, stop).await
}

/// A gate that keeps its journal elsewhere.
pub(super) async fn gate_on(
    journal: Arc<dyn Journal>,
    world: &Shared,
    policies: PathBuf,
    stop: CancellationToken,
) -> Arc<Gate> {
    let metrics = Arc::new(Metrics::new().unwrap());
    let clouds = Clouds::only(Arc::new(SimAws::new(world.clone())));
    let vault =
        Vault::new(OnDemand::made(clouds.clone(), Arc::clone(&metrics)), Arc::clone(&metrics));
    let settings = Settings { policies, ..Settings::default() };
    Arc::new(Gate::new(Parts {
        settings,
        clouds,
        journal,
        prober: Arc::new(world.clone()),
        clock: Arc::new(world.clone()),
        metrics,
        keys: Keys::read("hooks.keys", vault.clone(), Vec::new(), &mut Vec::new()).await,
        tokens: Tokens::default(),
        vault,
        stop,
    }))
}

async fn fallen(world: &Shared) {
    while !world.lock().falls {
        sleep(Duration::from_millis(10)).await;
    }
}

/// Whether nothing more can come of any question.
fn over(world: &Shared, gate: &Gate) -> bool {
    let held = world.lock();
    let now = held.now();
    let all = held
        .questions
        .iter()
        .all(|one| one.is_done(now) && (one.acknowledged.is_some() || one.is_over(now)));
    drop(held);
    all && gate.questions_waiting() == 0
}

/// What goes wrong in a trial while gate runs.
async fn try_on(world: Shared, trial: Option<Trial>) {
    match trial {
        Some(Trial::ClockSteps(at, seconds)) => {
            sleep(at).await;
            world.lock().clock_off_millis += seconds * 1000;
        }
        Some(Trial::StandsStill(at, time)) => {
            sleep(at).await;
            advance(time).await;
        }
        Some(Trial::SlowAws(_) | Trial::DiskStalls(_) | Trial::Restart(..) | Trial::Undecided)
        | None => {}
    }
}

/// Clocks that step, and a process that stands still.
async fn trouble(world: Shared, number: u64) {
    for round in 0_u64.. {
        let seed = world.lock().seed;
        let about = number * 1000 + round;
        sleep(between(seed, "trouble", about, (20.0, 300.0))).await;
        match chance(seed, "which trouble", about) {
            step if step < 0.3 => {
                let hours = if chance(seed, "step", about) < 0.5 { -1 } else { 1 };
                world.lock().clock_off_millis += hours * 3_600_000;
            }
            // Everything that was due meanwhile is due at once.
            _ => advance(between(seed, "stands still", about, (1.0, 25.0))).await,
        }
    }
}

/// Has everything asked that is not answered: first, again because nobody said that it was heard, and twice.
fn ask(world: &Shared, gate: &Arc<Gate>) {
    let questions = world.lock().questions.clone();
    for (index, question) in questions.into_iter().enumerate() {
        let (world, gate) = (world.clone(), Arc::clone(gate));
        tokio::spawn(async move {
            let due = question.asked_at.saturating_sub(world.now());
            sleep(due).await;
            if question.kind == Kind::EcsHook {
                return poll(&world, &gate, index).await;
            }
            if question.acknowledged.is_none() {
                deliver(&world, &gate, index).await;
            }
            let (seed, number) = (world.lock().seed, u64::try_from(index).unwrap());
            if chance(seed, "delivered twice", number) < 0.4 {
                sleep(between(seed, "again", number, (0.0, 400.0))).await;
                deliver(&world, &gate, index).await;
            }
        });
    }
}

/// Asks until gate has it, or nobody waits any more.
async fn deliver(world: &Shared, gate: &Arc<Gate>, index: usize) -> Option<String> {
    loop {
        let question = world.lock().questions[index].clone();
        if question.is_over(world.now()) {
            return None;
        }
        match gate.accept(asked(index, &question)).await {
            Intake::Accepted(id) | Intake::Joined(id) => {
                let mut held = world.lock();
                let now = held.now();
                held.questions[index].acknowledged.get_or_insert(now);
                return Some(id);
            }
            Intake::Full | Intake::Unwritten(_) => sleep(Duration::from_secs(2)).await,
        }
    }
}

/// ECS asks its function again and again, until it is told.
async fn poll(world: &Shared, gate: &Arc<Gate>, index: usize) {
    while let Some(id) = deliver(world, gate, index).await {
        let heard = gate.heard(&id).await;
        // What it is told may be lost on the way, and must be the same when it comes again.
        let storms = world.lock().climate.storms;
        let is_cut = storms && world.chance(&format!("polled {index}")) < 0.1;
        let over = {
            let mut held = world.lock();
            let (now, process) = (held.now(), held.incarnations);
            let question = &mut held.questions[index];
            if let Ok(Heard::Decided(decision)) = &heard {
                // It asks again, as often as it likes.
                let answer = decision.answer;
                question.tries.push(Try { at: now, answer, process, heard: None });
                if !is_cut && question.waits(now) {
                    question.accepted.push((now, answer));
                }
            }
            let told = matches!(heard, Ok(Heard::Decided(_) | Heard::Ended));
            question.heard |= told && !is_cut;
            question.heard || question.is_over(now)
        };
        if over {
            return gate.told(&id, Delivery::Confirmed).await;
        }
        sleep(POLL_EVERY).await;
    }
}

/// What came of one question, and of the decisions on it that are on disk.
fn counted(question: &SimQuestion, decisions: &[Decision]) -> Counted {
    let mut counted = Counted { asked: 1, ..Counted::default() };
    counted.twice = u64::from(question.is_twice());
    counted.late = u64::from(question.is_tried_late());
    match question.accepted.first() {
        None if question.stopped_at.is_some_and(|at| at < question.ends_at) => {
            counted.stopped = 1;
            // By then its policy's deadline was over.
            counted.late |= u64::from(question.is_stopped_unanswered());
        }
        // Whoever gets no answer hears from the platform's time-out.
        None if question.acknowledged.is_some() => counted.late = 1,
        None => counted.lost = 1,
        Some((_, answer)) => {
            counted.answered = 1;
            let proven = decisions.iter().any(|decision| decision.basis == Basis::Proven);
            counted.wrong = u64::from(match (question.green, answer) {
                (Green::Healthy, Answer::Rollback) => proven,
                (Green::Healthy, Answer::Continue) => false,
                (Green::Faulty | Green::Hangs | Green::Starved | Green::Absent, answer) => {
                    *answer == Answer::Continue
                }
            });
        }
    }
    counted
}

/// Every question with what came of it.
fn each(world: &World) -> impl Iterator<Item = (String, &SimQuestion, Counted)> {
    world.questions.iter().enumerate().map(|(index, question)| {
        let id = asked(index, question).ask.evaluation_id();
        let counted = counted(question, &world.disk.decisions(&id));
        (id, question, counted)
    })
}

fn count(world: &Shared) -> Counted {
    let held = world.lock();
    let mut all = Counted { processes: held.incarnations, calls: held.calls, ..Counted::default() };
    each(&held).for_each(|(_, _, counted)| all.add(counted));
    all
}

/// The questions that broke the promise, and what their journal says.
pub(super) fn worst(world: &Shared) -> String {
    let held = world.lock();
    let broken = each(&held).filter(|(_, _, counted)| !counted.is_good());
    let told =
        broken.map(|(id, one, counted)| format!("{counted:?}\n{one:?}\n{}", held.disk.told(&id)));
    told.collect::<Vec<_>>().join("\n")
}

/// The policies of every world.
pub(super) fn policies(folder: &Path) {
    let policy = |applies: &str, targets: &str, deadline: &str| {
        format!(
            "gate: v1\n{applies}probe: {{ http: {{ path: / }} }}\n{targets}objectives: [ {{ errors: {{ at-most: 1% }} }} ]\ndecide: {{ at-least: 20s, deadline: {deadline} }}\n"
        )
    };
    let write = |name: &str, text: String| {
        std::fs::write(folder.join(format!("{name}.policy.yaml")), text).unwrap();
    };
    let quick = format!("{}s", POLICY_DEADLINE.as_secs());
    for (name, deadline) in [("quick", quick.as_str()), ("patient", "2h")] {
        let application = format!("applies-to: {{ application: {name} }}\n");
        write(&format!("{name}-application"), policy(&application, "", deadline));
        let service = format!("applies-to: {{ service: {name} }}\n");
        write(&format!("{name}-service"), policy(&service, "", deadline));
    }
    for green in [Green::Healthy, Green::Faulty, Green::Hangs, Green::Starved, Green::Absent] {
        let targets = if green == Green::Absent {
            String::new()
        } else {
            format!("targets: {{ green: [ \"http://{}:8080\" ] }}\n", address(green, 249))
        };
        let name = format!("approve-{green:?}").to_lowercase();
        write(&name, policy("applies-to: { pipeline: none }\n", &targets, "2h"));
    }
}
