//! Every question there is: accepted once, conducted, told, shown, taken up again after a restart.

mod overrides;
mod resuming;
mod watches;
mod words;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policies::{Decision, Delivery, Event, Phase, Question, Report, Run};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info, info_span, warn};

use super::accepting::{Accepting, Turn};
use super::readers::Readers;
use crate::ask::{Ask, Asked};
use crate::aws::Clouds;
use crate::clock::Clock;
use crate::config::{Mode, Settings};
use crate::crash;
use crate::intake::{Keys, Tokens};
use crate::journal::{Accepted, Journal, JournalError, Listed, State, Stored};
use crate::library::Library;
use crate::resolve::{AllTurns, Resolver};
use crate::shell::{
    Backlog, CloudCase, Conduct, Conducted, Memory, Notifier, Outbox, Probing, Vault, conduct,
};
use crate::signals::Desks;
use crate::telemetry::Metrics;

pub(crate) use overrides::Overridden;
use resuming::{Replayed, replay};
pub(super) use words::LISTEN_EVERY;

/// Runs at once. Beyond it whoever asks is told to come back: never accepted and dropped.
pub(crate) const RUNS_MAX: usize = 1000;
/// Whoever asks is told to come back if its question is not on disk by then; if it is later, it is judged all the same.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(5);
/// On a stop, the journal gets this long: a disk that hangs must not keep gate from ending.
const JOURNAL_END_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two steps of letting go of old runs.
const PRUNE_PAUSE: Duration = Duration::from_millis(50);
/// Questions on the list page.
pub(crate) const LISTED_MAX: u32 = 200;

/// What a [`Gate`] is made of.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) settings: Settings,
    pub(crate) clouds: Clouds,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) prober: Arc<dyn Probing>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) keys: Keys,
    pub(crate) tokens: Tokens,
    pub(crate) vault: Vault,
    pub(crate) stop: CancellationToken,
}

/// The daemon's parts, shared by everything that takes or shows a question.
#[derive(Debug)]
pub(crate) struct Gate {
    pub(crate) settings: Settings,
    pub(crate) clouds: Clouds,
    pub(super) journal: Arc<dyn Journal>,
    library: Arc<Library>,
    prober: Arc<dyn Probing>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) keys: Keys,
    pub(crate) tokens: Tokens,
    vault: Vault,
    notifier: Notifier,
    runs: Mutex<HashMap<String, Live>>,
    accepting: Accepting,
    /// How many questions are still to be taken up after a start.
    resuming: watch::Sender<usize>,
    pub(crate) readers: Readers,
    backlog: Backlog,
    desks: Arc<Desks>,
    turns: AllTurns,
    tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

/// A run under way.
#[derive(Clone, Debug)]
struct Live {
    conducted: Conducted,
    case: Arc<CloudCase>,
    /// Cancelled where another gate has taken the question over.
    lost: CancellationToken,
}

/// What somebody who comes back for an answer is told.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    /// There is none yet.
    Waiting,
    /// It is on disk.
    Decided(Decision),
    /// There will be none: the deployment went back or ended before a decision.
    Ended,
}

/// What became of a delivered question.
#[derive(Debug)]
pub(crate) enum Intake {
    /// It is new, and on disk.
    Accepted(String),
    /// It was accepted before.
    Joined(String),
    /// Not now: too many runs, or gate is stopping.
    Full,
    /// It could not be written down, so it is not accepted.
    Unwritten(JournalError),
}

impl Gate {
    /// A daemon that nobody has asked anything yet.
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { settings, clouds, journal, prober, clock, metrics, keys, tokens, vault, stop } =
            parts;
        let tasks = TaskTracker::new();
        Self {
            notifier: Notifier::new(clouds.clone(), Arc::clone(&metrics), tasks.clone()),
            library: Arc::new(Library::new(settings.policies.clone())),
            settings,
            clouds,
            journal,
            prober,
            clock,
            metrics,
            keys,
            tokens,
            vault,
            runs: Mutex::default(),
            accepting: Accepting::default(),
            resuming: watch::Sender::new(0),
            readers: Readers::default(),
            backlog: Backlog::default(),
            desks: Arc::default(),
            turns: AllTurns::default(),
            tasks,
            stop,
        }
    }

    /// Takes a question: on disk before it is acknowledged, and joined if it was there before.
    ///
    /// A task of its own, so that a sender who goes away between the write and the start of the run leaves
    /// no question that is on disk and not judged.
    pub(crate) async fn accept(self: &Arc<Self>, asked: Asked) -> Intake {
        // By AWS's clock: what whoever asks says of time is by that, and this machine's may be wrong.
        let now = self.clouds.at(&asked.place).await.unix_millis();
        let question = Question {
            id: asked.ask.evaluation_id(),
            limit: asked.limit(now),
            unmatched: self.settings.unmatched,
            observe: self.settings.mode == Mode::Observe,
            watch_only: !asked.ask.waits(),
        };
        let accepted = Accepted {
            question,
            asked,
            accepted_unix_millis: now,
            accepted_since_boot: self.clock.since_boot(),
        };
        let gate = Arc::clone(self);
        let taking = tokio::spawn(async move { gate.take(accepted).await });
        match timeout(ACCEPT_TIMEOUT, taking).await {
            Ok(taken) => taken.unwrap_or(Intake::Unwritten(JournalError::Stopped)),
            // The task goes on: what is on disk in the end has a run, and a second delivery joins it.
            Err(_elapsed) => Intake::Unwritten(JournalError::Late),
        }
    }

    /// Deliveries of one question one at a time: two of them must not both find it without a run. Questions that differ do not
    /// wait for each other, so that hundreds are written down in one go.
    async fn take(self: &Arc<Self>, accepted: Accepted) -> Intake {
        let id = accepted.question.id.clone();
        let subject = accepted.asked.ask.subject().id().to_owned();
        let announced = !accepted.asked.ask.waits();
        let turn = self.accepting.turn(&id, &subject, announced, |accepting| {
            if self.lock().contains_key(&id) {
                return Some(Intake::Joined(id.clone()));
            }
            // A run that begins is counted twice for a moment, which errs on the safe side.
            let runs = self.lock().len() + accepting + self.resuming();
            // Which deployments are judged already is not known before all are taken up.
            let early = announced && self.resuming() > 0;
            (self.stop.is_cancelled() || early || runs >= RUNS_MAX).then_some(Intake::Full)
        });
        let _turn = match turn.await {
            Ok(turn) => turn,
            Err(outcome) => return outcome,
        };
        // It may have begun, and ended its turn, while this one waited for its own.
        if self.lock().contains_key(&id) {
            return Intake::Joined(id);
        }
        if let Some(judging) = self.judge_instead_of(&accepted) {
            return Intake::Joined(judging);
        }
        if let Some(trouble) = self.journal.state().trouble {
            return Intake::Unwritten(JournalError::Trouble(trouble));
        }
        let origin = Instant::now();
        crash::at("accepted-unwritten");
        match self.journal.accept(accepted.clone()).await {
            Ok(true) => {
                crash::at("accepted-written");
                let run = Run::new(accepted.question.clone());
                let first = run.start();
                let outbox = self.outbox(&id);
                self.begin(accepted, (run, None), first, origin, outbox);
                Intake::Accepted(id)
            }
            Ok(false) => self.known_before(accepted).await,
            Err(error) => Intake::Unwritten(error),
        }
    }

    /// The question that watches a deployment which somebody announces: announcements may come after hooks.
    fn judge_instead_of(&self, accepted: &Accepted) -> Option<String> {
        if accepted.asked.ask.waits() {
            return None;
        }
        let subject = accepted.asked.ask.subject();
        let runs = self.lock();
        let judges = |live: &&Live| {
            live.case.resolver.subject().id() == subject.id() && live.conducted.lock().may_watch()
        };
        runs.values().find(judges).map(|live| live.case.accepted.question.id.clone())
    }

    fn begin(
        self: &Arc<Self>,
        accepted: Accepted,
        (run, written): (Run, Option<Decision>),
        first: Vec<policies::Action>,
        origin: Instant,
        outbox: Outbox,
    ) {
        let id = accepted.question.id.clone();
        let memory = Memory::after(written, run.decision().is_some());
        let conducted = Conducted::new(run, accepted.accepted_unix_millis);
        let subject = accepted.asked.ask.subject();
        let span = info_span!(
            "evaluation",
            evaluation = id,
            deployment = subject.id(),
            kind = accepted.asked.ask.kind(),
            otel.kind = "server"
        );
        let lost = outbox.lost.clone();
        let turns = self.turns.at(&accepted.asked.place);
        let case = Arc::new(CloudCase {
            accepted,
            clouds: self.clouds.clone(),
            resolver: Resolver::new(subject, turns),
            outbox,
            journal: Arc::clone(&self.journal),
            library: Arc::clone(&self.library),
            vault: self.vault.clone(),
            notifier: self.notifier.clone(),
            desks: Arc::clone(&self.desks),
            memory: Mutex::new(memory),
            began: Notify::new(),
        });
        let live =
            Live { conducted: conducted.clone(), case: Arc::clone(&case), lost: lost.clone() };
        self.lock().insert(id.clone(), live.clone());
        self.metrics.opened();
        let conducting = Conduct {
            case,
            prober: Arc::clone(&self.prober),
            vault: self.vault.clone(),
            metrics: Arc::clone(&self.metrics),
            stop: self.stop.clone(),
            lost,
            origin,
        };
        let gate = Arc::clone(self);
        let running = async move {
            info!("question accepted");
            let mut conducting = pin!(conduct(conducted.clone(), conducting, first));
            let taking_over = async {
                live.case.began.notified().await;
                if live.case.accepted.asked.ask.waits() {
                    gate.take_over_from_earlier(&live).await;
                }
            };
            tokio::select! {
                () = &mut conducting => {}
                () = taking_over => conducting.await,
            }
            if live.lost.is_cancelled() {
                info!("another gate judges this question by now");
            } else {
                log_end(&conducted.lock().report());
                // Until all of it is on disk, only the run itself knows how it ended.
                tokio::select! {
                    () = live.case.outbox.written() => {}
                    () = live.lost.cancelled() => {}
                    () = gate.stop.cancelled() => {}
                }
            }
            gate.left(&id, &live);
            gate.metrics.left();
        };
        self.tasks.spawn(running.instrument(span));
    }

    fn outbox(&self, id: &str) -> Outbox {
        let (journal, metrics) = (Arc::clone(&self.journal), Arc::clone(&self.metrics));
        Outbox::new(id.to_owned(), journal, self.backlog.clone(), metrics)
    }

    /// The answer to a question that somebody has come back for, once it is on disk.
    pub(crate) async fn heard(&self, id: &str) -> Result<Heard, JournalError> {
        let live = self.lock().get(id).cloned();
        if let Some(live) = live {
            return Ok(live.case.decided_to_tell().map_or(Heard::Waiting, Heard::Decided));
        }
        let Some(stored) = self.journal.load(id).await? else { return Ok(Heard::Waiting) };
        let readable = stored.unreadable == 0;
        let Replayed { run, written, .. } = replay(stored);
        let over = readable && run.phase() == Phase::Done;
        // Of a run that goes on, whoever judges it may still come to another decision than the facts by themselves.
        let decision = written.or_else(|| over.then(|| run.decision().cloned())?);
        Ok(match decision {
            Some(decision) => Heard::Decided(decision),
            None if over => Heard::Ended,
            // Put down by a stop, to be taken up again.
            None => Heard::Waiting,
        })
    }

    /// Notes what became of the answer that somebody came back for, here or at the gate that judges.
    pub(crate) async fn told(&self, id: &str, delivery: Delivery) {
        if self.lock().contains_key(id) {
            self.told_here(id, delivery).await;
        } else {
            self.told_elsewhere(id, delivery).await;
        }
    }

    pub(super) async fn told_here(&self, id: &str, delivery: Delivery) {
        let live = self.lock().get(id).cloned();
        if let Some(live) = live.filter(|live| live.conducted.lock().phase() == Phase::Answering) {
            live.conducted.tell(Event::Delivered { delivery }).await;
        }
    }

    /// Puts down a run whose question is another gate's by now.
    pub(super) fn lose(&self, id: &str) {
        if let Some(live) = self.lock().get(id) {
            live.lost.cancel();
        }
    }

    /// Forgets a run, and not one that took its place.
    fn left(&self, id: &str, live: &Live) {
        let mut runs = self.lock();
        if runs.get(id).is_some_and(|now| Arc::ptr_eq(&now.case, &live.case)) {
            runs.remove(id);
        }
    }

    /// The turn of a question that nobody writes down at this moment.
    pub(super) fn turn_now(&self, id: &str) -> Option<Turn<'_>> {
        self.accepting.turn_now(id)
    }

    /// Whether a question has a run here.
    pub(super) fn has_run(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    /// Runs under way.
    pub(super) fn running(&self) -> usize {
        self.lock().len()
    }

    /// Questions that wait for an answer.
    pub(crate) fn questions_waiting(&self) -> usize {
        let runs = self.lock();
        let waits = |live: &&Live| {
            live.case.accepted.asked.ask.waits()
                && live.conducted.lock().phase() <= Phase::Answering
        };
        runs.values().filter(waits).count()
    }

    /// Whether a question under way is about the same hook of the same deployment, and still to be told.
    ///
    /// # Errors
    /// It may be another gate's, and the journal that is shared cannot be read.
    pub(crate) async fn asks_the_same(&self, id: &str, ask: &Ask) -> Result<bool, JournalError> {
        let live = self.lock().get(id).map(|live| live.case.accepted.asked.ask.clone());
        let asked = match live {
            Some(asked) if self.is_open(id) => Some(asked),
            Some(_told) => None,
            None => self.asked_elsewhere(id).await?,
        };
        let same = |asked: Ask| asked.kind() == ask.kind() && asked.subject() == ask.subject();
        Ok(asked.is_some_and(same))
    }

    /// Whether the question still waits for its answer.
    pub(crate) fn is_open(&self, id: &str) -> bool {
        let live = self.lock().get(id).cloned();
        live.is_some_and(|live| live.conducted.lock().phase() <= Phase::Answering)
    }

    /// Waits for every run to be put down. False where some are not within this time.
    pub(crate) async fn drained(&self, within: Duration) -> bool {
        self.tasks.close();
        timeout(within, self.tasks.wait()).await.is_ok()
    }

    /// Closes the journal.
    pub(crate) async fn end_journal(&self) {
        if timeout(JOURNAL_END_TIMEOUT, self.journal.end()).await.is_err() {
            warn!("the journal does not close: the disk hangs");
        }
    }

    /// How the journal is, and how many entries wait for it.
    pub(crate) fn journal(&self) -> (State, usize) {
        (self.journal.state(), self.backlog.waiting())
    }

    /// Lets go of old runs, a little at a time.
    pub(crate) async fn prune(&self) {
        let retention = self.settings.journal.retention();
        loop {
            match self.journal.prune(retention, self.clock.unix_millis()).await {
                Ok(pruned) => {
                    self.metrics.pruned(pruned.questions);
                    self.metrics.lost_many("journal-pruning", pruned.stuck);
                    if !pruned.more {
                        return;
                    }
                }
                Err(error) => {
                    return warn!(error = &error as &dyn std::error::Error, "old runs stay");
                }
            }
            // Whoever writes comes first.
            tokio::time::sleep(PRUNE_PAUSE).await;
        }
    }

    pub(crate) async fn look_at_policies(&self) {
        let set = match self.library.read().await {
            Ok(set) => set.tied(),
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "no policies");
                return;
            }
        };
        let errors = set.faults().filter(|fault| fault.is_error()).count();
        self.metrics.policy_faults(errors);
        info!(policies = set.files().len(), faults = errors, "policies read");
        for fault in set.faults() {
            let told = fault.one_line();
            if fault.is_error() {
                error!(fault = told, "a policy is broken; what it applies to is not judged");
            } else {
                warn!(fault = told, "a policy asks for what this version does not do");
            }
        }
    }

    /// A run under way as it stands, and when its question was accepted.
    pub(crate) fn report(&self, id: &str) -> Option<(Report, u64)> {
        let live = self.lock().get(id).cloned()?;
        let report = live.conducted.lock().report();
        Some((report, live.conducted.accepted_unix_millis))
    }

    /// A question with everything that happened to it.
    pub(crate) async fn stored(&self, id: &str) -> Result<Option<Stored>, JournalError> {
        self.journal.load(id).await
    }

    /// The newest questions.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, JournalError> {
        self.journal.list(LISTED_MAX).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Live>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A run from the journal as it stands, and when its question was accepted.
pub(crate) fn replayed(stored: Stored) -> (Report, u64) {
    let accepted_at = stored.accepted.accepted_unix_millis;
    (replay(stored).run.report(), accepted_at)
}

fn log_end(report: &Report) {
    info!(
        decision = report.decision.unwrap_or("none"),
        basis = report.basis.unwrap_or("none"),
        reason = report.reason.as_deref().unwrap_or_default(),
        duration_seconds = report.duration_seconds,
        phase = report.phase.name(),
        "run ended"
    );
}
