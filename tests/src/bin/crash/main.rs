//! `make crash KILLS=200`: kills gate with SIGKILL at every interesting point while it is asked, and counts what became
//! of the questions.

mod asker;
mod hook;
mod keeper;
mod kills;
mod ledger;
mod race;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Parser;
use tests::cloud::{Cloud, Pace, Target};
use tests::seeded::Seeded;
use tests::{Gate, place};

use asker::Asker;
use hook::Snare;
use keeper::Keeper;
use ledger::Ledger;

/// What platforms stop waiting at here: longer than the policy's deadline.
pub const LIMIT: Duration = Duration::from_secs(90);
/// A second of the queue: a message that a killed gate held is seen again after two seconds instead of sixty.
const QUEUE_SECOND: Duration = Duration::from_millis(33);
/// From so many kills on, each kind must have hit.
const KILLS_FOR_ALL: u32 = 200;
/// A release is judged within about a second, by ticks of 100 ms.
pub const POLICY: &str = "
gate: v1
probe: { http: { path: / }, rate: 40/s }
objectives: [ { errors: { at-most: 10%, unacceptable: 40% } } ]
decide: { at-least: 1s, deadline: 60s, stall: 20ms }
";

/// Kills gate while it is asked.
#[derive(Debug, Parser)]
struct Crash {
    /// How often.
    #[arg(long, env = "KILLS", default_value_t = 200)]
    kills: u32,
    /// Where, in which order, and of what is asked.
    #[arg(long, env = "SEED", default_value_t = 1)]
    seed: u64,
    /// Questions under way at once.
    #[arg(long, default_value_t = 6)]
    askers: u32,
}

/// What everybody here talks to.
#[derive(Debug)]
pub struct Scene {
    /// The AWS of the daemon.
    pub cloud: Cloud,
    /// A task that answers well.
    pub healthy: Target,
    /// A task that fails half of its requests.
    pub failing: Target,
    /// The questions.
    pub ledger: Ledger,
    /// Hooks that are to be cut off.
    pub snare: Snare,
    /// Where hooks are posted.
    pub hooks: String,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    let crash = Crash::parse();
    eprintln!("kills {}, seed {}", crash.kills, crash.seed);
    let began = Instant::now();
    let cloud = Cloud::start(Pace { limit: LIMIT, queue_second: QUEUE_SECOND }).await;
    let settings = format!("intake: {{ queue: \"{}\" }}\n", cloud.queue_url());
    let gate = Gate::new(&cloud.endpoint, "crash").policy(POLICY).settings(&settings);
    let scene = Arc::new(Scene {
        cloud,
        healthy: Target::start(place::address().into(), false).await,
        failing: Target::start(place::address().into(), true).await,
        ledger: Ledger::default(),
        snare: Snare::default(),
        hooks: gate.at(8080),
    });
    let mut seeded = Seeded::new(crash.seed);
    let askers: Vec<_> = (0..crash.askers)
        .map(|_| tokio::spawn(Asker::new(Arc::clone(&scene), seeded.part()).ask()))
        .collect();
    let mut keeper = Keeper::new(gate, Arc::clone(&scene), seeded.part());
    let hits = keeper.kill(crash.kills).await;
    eprintln!("killed {} times in {:.0?}", hits.total(), began.elapsed());
    keeper.live().await;
    scene.ledger.enough();
    for asker in askers {
        asker.await.expect("an asker asks to its end");
    }
    let unfinished = keeper.unfinished().await;
    race::run(&scene, &mut seeded).await;
    eprintln!("{hits}");
    eprintln!("{keeper}");
    let counts = scene.ledger.count(&scene.cloud);
    eprintln!("{counts}");
    eprintln!("evaluations not over at the end {unfinished}; took {:.0?}", began.elapsed());
    let all = crash.kills < KILLS_FOR_ALL || hits.missed().is_empty();
    if !all {
        eprintln!("never hit: {}", hits.missed().join(", "));
    }
    println!("{}", counts.line());
    let good = counts.is_good() && keeper.is_good() && unfinished == 0;
    if good && all && hits.total() == crash.kills { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
