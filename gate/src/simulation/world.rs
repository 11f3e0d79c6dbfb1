//! The simulated world: what outlives a gate. Its time, the questions asked in it, the disk, and what AWS accepted.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use policies::{Answer, Stage};
use tokio::time::Instant;

use super::dice::{between, chance, one_of};
use crate::ask::{Ask, Asked, Token};
use crate::aws::Place;
use crate::clock::{Clock, SinceBoot};

/// When the world begins, in milliseconds since 1970.
const EPOCH_UNIX_MILLIS: u64 = 1_780_000_000_000;

/// When a question of the quick kind is answered at the latest, by its policy.
pub(super) const POLICY_DEADLINE: Duration = Duration::from_secs(300);
/// And how much later in a storm: AWS unreachable for half a minute, and gate down for as long, more than once.
const STORM: Duration = Duration::from_secs(180);

/// What green is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Green {
    Healthy,
    /// Half of all requests fail.
    Faulty,
    /// Every request hangs until its time-out.
    Hangs,
    /// Gate itself has no CPU to send its probes in time: nothing is proven until the deadline.
    Starved,
    /// There is no target.
    Absent,
}

/// What kind of question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Hook,
    Pause,
    Approval,
    /// Polled for.
    EcsHook,
}

/// A question with all that came of it.
#[derive(Clone, Debug)]
pub(super) struct SimQuestion {
    pub(super) kind: Kind,
    pub(super) green: Green,
    /// Judged for as long as the platform allows.
    pub(super) patient: bool,
    pub(super) asked_at: Duration,
    /// The platform stops waiting.
    pub(super) ends_at: Duration,
    /// Somebody stops the deployment.
    pub(super) stopped_at: Option<Duration>,
    /// When gate said first that it has it.
    pub(super) acknowledged: Option<Duration>,
    /// Answers AWS accepted: when, and what.
    pub(super) accepted: Vec<(Duration, Answer)>,
    /// Every try to answer it, in the order in which they were begun.
    pub(super) tries: Vec<Try>,
    /// Whoever polls has heard it.
    pub(super) heard: bool,
}

/// A try to answer a question, whatever came of it on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Try {
    /// When it was sent, what it said, and by which process of gate's.
    pub(super) at: Duration,
    pub(super) answer: Answer,
    pub(super) process: u64,
    /// When that process was told that the answer is taken, or that the question is over.
    pub(super) heard: Option<Duration>,
}

/// What a world is like, beside its seed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Climate {
    pub(super) questions: u64,
    /// All are asked within this time.
    pub(super) within: Duration,
    /// Faults of AWS, of the disk and of gate's own process, by chance.
    pub(super) storms: bool,
    /// All questions are of this kind, about this green, judged for as long as the platform allows.
    pub(super) only: Option<(Kind, Green)>,
    /// One thing that is wrong.
    pub(super) trial: Option<Trial>,
}

/// One thing that is wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Trial {
    /// Every call of AWS takes so long.
    SlowAws(Duration),
    /// The disk takes nothing any more from then on, and does not say so.
    DiskStalls(Duration),
    /// The machine's clock steps by so many seconds then, while gate runs.
    ClockSteps(Duration, i64),
    /// Gate is killed then; it begins again on this machine (false) or on another one (true), whose clock is wrong by
    /// so many seconds.
    Restart(Duration, bool, i64),
    /// Gate stands still from then on for so long.
    StandsStill(Duration, Duration),
    /// Gate is killed before its first decision is on disk.
    Undecided,
}

/// What outlives a gate.
pub(super) struct World {
    pub(super) seed: u64,
    pub(super) climate: Climate,
    pub(super) questions: Vec<SimQuestion>,
    pub(super) disk: super::disk::Disk,
    /// How often each thing was asked of chance.
    asked: BTreeMap<String, u64>,
    /// World time when this process began, and that moment by its clock.
    began: (Duration, Option<Instant>),
    /// The machine's clock is wrong by so much.
    pub(super) clock_off_millis: i64,
    pub(super) boot: u64,
    pub(super) incarnations: u64,
    /// The process is to be killed now.
    pub(super) falls: bool,
    /// What the gates did at AWS, and did wrong.
    pub(super) calls: u64,
    /// A queue that says the first question's hook again and again, and how often it has; `None` where it is empty.
    pub(super) flood: Option<u64>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).finish_non_exhaustive()
    }
}

/// A world that a gate, its AWS and its targets share.
#[derive(Clone, Debug)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn new(seed: u64, climate: Climate) -> Self {
        let questions = (0..climate.questions).map(|number| question(seed, number, climate));
        Self(Arc::new(Mutex::new(World {
            seed,
            climate,
            questions: questions.collect(),
            disk: super::disk::Disk::default(),
            asked: BTreeMap::new(),
            began: (Duration::ZERO, None),
            clock_off_millis: 0,
            boot: 0,
            incarnations: 0,
            falls: false,
            calls: 0,
            flood: None,
        })))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    pub(super) fn now(&self) -> Duration {
        self.lock().now()
    }

    /// A number from 0 up to 1, another one each time.
    pub(super) fn chance(&self, about: &str) -> f64 {
        let mut world = self.lock();
        let number = world.asked.entry(about.to_owned()).or_default();
        *number += 1;
        let number = *number;
        chance(world.seed, about, number)
    }

    /// Whether AWS cannot be reached now: half a minute at a time, with as much between.
    pub(super) fn is_partitioned(&self) -> bool {
        let world = self.lock();
        let (minute, second) = (world.now().as_secs() / 60, world.now().as_secs() % 60);
        world.climate.storms && second < 25 && chance(world.seed, "partition", minute) < 0.15
    }

    /// Whether the disk takes nothing now.
    pub(super) fn is_disk_full(&self) -> bool {
        let world = self.lock();
        let (minute, second) = (world.now().as_secs() / 60, world.now().as_secs() % 60);
        world.climate.storms
            && (30..50).contains(&second)
            && chance(world.seed, "disk full", minute) < 0.1
    }
}

impl World {
    pub(super) fn now(&self) -> Duration {
        self.began.0 + self.began.1.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// A process begins: from here on its runtime's time is the world's.
    pub(super) fn begin(&mut self) {
        self.began.1 = Some(Instant::now());
        self.incarnations += 1;
        self.falls = false;
    }

    /// A process is gone, and nothing happens for a while.
    pub(super) fn end(&mut self, at: Duration, down: Duration) {
        self.began = (at + down, None);
    }

    pub(super) fn unix_millis(&self) -> u64 {
        EPOCH_UNIX_MILLIS + u64::try_from(self.now().as_millis()).unwrap()
    }
}

impl SimQuestion {
    /// Whether the platform still waits.
    pub(super) fn waits(&self, now: Duration) -> bool {
        self.accepted.is_empty() && !self.is_over(now)
    }

    /// Whether it is over without an answer.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        now >= self.ends_at || self.stopped_at.is_some_and(|at| now >= at)
    }

    /// Whether it was told two different things, or was answered again by a process that had heard what came of the first.
    pub(super) fn is_twice(&self) -> bool {
        let differ = self.tries.windows(2).any(|pair| pair[0].answer != pair[1].answer);
        let again = self.tries.iter().enumerate().any(|(index, first)| {
            let later = || self.tries[index + 1..].iter();
            let by_it = |heard| later().any(|one| one.process == first.process && one.at >= heard);
            first.heard.is_some_and(by_it)
        });
        differ || again || self.accepted.len() > 1
    }

    /// Whether gate first tried to answer it when the platform had stopped waiting.
    pub(super) fn is_tried_late(&self) -> bool {
        self.tries.first().is_some_and(|first| first.at >= self.ends_at)
    }

    /// Whether somebody stopped its deployment long after its policy's deadline, and it was not answered before.
    pub(super) fn is_stopped_unanswered(&self) -> bool {
        // Approvals have the patient policy.
        let quick = !self.patient && self.kind != Kind::Approval;
        let due = self.acknowledged.filter(|_| quick).map(|at| at + POLICY_DEADLINE + STORM);
        due.zip(self.stopped_at).is_some_and(|(due, at)| at > due && self.accepted.is_empty())
    }

    /// Everything that could still come of it has.
    pub(super) fn is_done(&self, now: Duration) -> bool {
        let answered = !self.accepted.is_empty() && (self.kind != Kind::EcsHook || self.heard);
        answered || self.is_over(now)
    }
}

/// A gate's own clock: it may be wrong, and step.
impl Clock for Shared {
    fn unix_millis(&self) -> u64 {
        let world = self.lock();
        world.unix_millis().saturating_add_signed(world.clock_off_millis)
    }

    fn since_boot(&self) -> Option<SinceBoot> {
        let world = self.lock();
        let millis = u64::try_from(world.now().as_millis()).unwrap();
        Some(SinceBoot { boot: world.boot.to_string(), millis })
    }
}

fn question(seed: u64, number: u64, climate: Climate) -> SimQuestion {
    let green = [
        (0.4, Green::Healthy),
        (0.25, Green::Faulty),
        (0.1, Green::Hangs),
        (0.17, Green::Starved),
        (0.08, Green::Absent),
    ];
    let kinds =
        [(0.4, Kind::Hook), (0.25, Kind::Pause), (0.2, Kind::Approval), (0.15, Kind::EcsHook)];
    let kind = one_of(seed, "kind", number, &kinds);
    let asked_at = between(seed, "asked", number, (0.0, climate.within.as_secs_f64()));
    let limit = match kind {
        Kind::Hook => policies::run::HOOK_LIMIT,
        Kind::Pause | Kind::Approval | Kind::EcsHook => {
            Duration::from_secs(between(seed, "limit", number, (600.0, 3000.0)).as_secs())
        }
    };
    let (kind, limit, green, patient) = match climate.only {
        Some((kind, green)) => (kind, policies::run::HOOK_LIMIT, green, true),
        None => (
            kind,
            limit,
            one_of(seed, "green", number, &green),
            chance(seed, "patient", number) < 0.3,
        ),
    };
    let stopped = climate.storms && kind != Kind::Approval && chance(seed, "stopped", number) < 0.1;
    SimQuestion {
        kind,
        green,
        patient,
        asked_at,
        ends_at: asked_at + limit,
        stopped_at: stopped.then(|| asked_at + between(seed, "stop", number, (5.0, 900.0))),
        acknowledged: None,
        accepted: Vec::new(),
        tries: Vec::new(),
        heard: false,
    }
}

/// The ARN of a deployment that ECS makes.
pub(super) fn deployment_arn(number: usize, question: &SimQuestion) -> String {
    let service = if question.patient { "patient" } else { "quick" };
    format!("arn:aws:ecs:eu-west-1:1:service-deployment/sim/{service}/S{number}")
}

/// What is asked, as it arrives.
pub(super) fn asked(number: usize, question: &SimQuestion) -> Asked {
    let expires = EPOCH_UNIX_MILLIS + u64::try_from(question.ends_at.as_millis()).unwrap();
    let ask = match question.kind {
        Kind::Hook => Ask::CodedeployHook {
            deployment_id: format!("d-{number}"),
            execution_id: Token(format!("token-{number}")),
        },
        Kind::Pause => Ask::EcsPause {
            deployment_arn: deployment_arn(number, question),
            hook_id: format!("pause-{number}"),
            stage: None,
            expires_unix_millis: Some(expires),
        },
        Kind::Approval => Ask::Approval {
            pipeline: "release".to_owned(),
            stage: "approve".to_owned(),
            action: number.to_string(),
            token: Token(format!("token-{number}")),
            policy: Some(format!("approve-{:?}", question.green).to_lowercase()),
            expires_unix_millis: Some(expires),
        },
        Kind::EcsHook => Ask::EcsHook {
            deployment_arn: deployment_arn(number, question),
            execution_id: format!("execution-{number}"),
            stage: Stage::PostTestTrafficShift,
        },
    };
    Asked::now(ask, Place::default())
}
