//! The daemon put together: `build` binds and resumes, `Bound::wait` serves until told to stop.
//!
//! A sidecar that nobody may ask has no [`Gate`]: no journal, no AWS, no socket but that for operators.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use policies::run::HOOK_LIMIT;
use policies::{Phase, Question, Report, Run};
use probes::Prober;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, error, info, info_span, warn};

use crate::aws::Aws;
use crate::config::{Checked, Mode, Settings};
use crate::journal::{Accepted, Entry, Journal, JournalError, Listed, Stored, Token, unix_millis};
use crate::library::Library;
use crate::record::Record;
use crate::shell::{Conduct, Conducted, HookCase, Memory, conduct};
use crate::sidecar::Sidecar;
use crate::telemetry::Metrics;
use crate::web::Operators;
use crate::{intake, server, signature, web};

/// Runs at once. Beyond it hooks are told to come back: never accepted and dropped.
const RUNS_MAX: usize = 1000;
/// Questions on the list page.
pub(crate) const LISTED_MAX: u32 = 200;
/// On a stop, runs get this long to put down what they do; ECS kills 30 s after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// The daemon's parts, shared by everything that serves a request.
#[derive(Debug)]
pub(crate) struct Gate {
    settings: Settings,
    aws: Arc<dyn Aws>,
    journal: Journal,
    library: Arc<Library>,
    prober: Arc<Prober>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) keys: Vec<crate::config::Key>,
    runs: Mutex<HashMap<String, Conducted>>,
    accepting: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
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

/// The daemon could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot listen on {address} for {purpose}")]
    Listen { address: SocketAddr, purpose: &'static str, source: io::Error },
    #[error("the journal is unusable")]
    Journal(#[from] JournalError),
    #[error("probing is impossible")]
    Prober(#[from] probes::StartError),
    #[error("a target cannot be probed")]
    Target(#[from] probes::OrderError),
    #[error("the thread for {0} cannot be started")]
    Thread(&'static str, #[source] io::Error),
}

/// The daemon with its sockets bound, before it serves.
#[derive(Debug)]
pub(crate) struct Bound {
    /// `None` where nobody may ask.
    pub(crate) hooks_address: Option<SocketAddr>,
    pub(crate) admin_address: SocketAddr,
    asked: Option<(Arc<Gate>, TcpListener)>,
    /// Ends all probing when it goes.
    _prober: Arc<Prober>,
    stop: CancellationToken,
}

/// Binds the sockets, opens the journal, and takes up what an earlier gate left unfinished. AWS is reached
/// where somebody may ask.
pub(crate) async fn build(
    config: Checked,
    aws: impl AsyncFnOnce(&Settings) -> Arc<dyn Aws>,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<Bound, StartError> {
    let Checked { settings, hooks_listen, admin_listen, keys, targets } = config;
    let opened = match hooks_listen {
        Some(address) => {
            let journal = Journal::open(&settings.journal.path)?;
            Some((journal, listen(address, "hooks").await?))
        }
        None => None,
    };
    let admin = std::net::TcpListener::bind(admin_listen)
        .and_then(|listener| listener.set_nonblocking(true).map(|()| listener))
        .map_err(|source| StartError::Listen {
            address: admin_listen,
            purpose: "operators",
            source,
        })?;
    let address = |local: io::Result<SocketAddr>, asked| local.unwrap_or(asked);
    let hooks_address = opened.as_ref().zip(hooks_listen);
    let hooks_address = hooks_address.map(|((_, hooks), asked)| address(hooks.local_addr(), asked));
    let admin_address = address(admin.local_addr(), admin_listen);
    let prober = Arc::new(Prober::start()?);
    let observe = settings.mode == Mode::Observe;
    let asked = match opened {
        Some((journal, hooks)) => {
            let aws = aws(&settings).await;
            let library = Arc::new(Library::new(settings.policies.clone()));
            let gate = Arc::new(Gate {
                settings,
                aws,
                journal,
                library,
                prober: Arc::clone(&prober),
                metrics: Arc::clone(&metrics),
                keys,
                runs: Mutex::default(),
                accepting: tokio::sync::Mutex::default(),
                tasks: TaskTracker::new(),
                stop: stop.clone(),
            });
            gate.look_at_policies().await;
            gate.resume().await?;
            Some((gate, hooks))
        }
        None => None,
    };
    let sidecar = Sidecar::begin(targets, &prober, &metrics, observe, &stop)?;
    let gate = asked.as_ref().map(|(gate, _)| Arc::clone(gate));
    serve_admin(admin, Operators { metrics, sidecar, gate, stop: stop.clone() })?;
    Ok(Bound { hooks_address, admin_address, asked, _prober: prober, stop })
}

async fn listen(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, StartError> {
    let bound = TcpListener::bind(address).await;
    bound.map_err(|source| StartError::Listen { address, purpose, source })
}

/// Operators have a thread and a runtime of their own: a heavy scrape must not delay a hook or a probe.
fn serve_admin(listener: std::net::TcpListener, operators: Operators) -> Result<(), StartError> {
    let failed = |source| StartError::Thread("operators", source);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let serve = move || {
        runtime.block_on(async {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    let (metrics, stop) = (Arc::clone(&operators.metrics), operators.stop.clone());
                    server::serve(listener, web::admin(operators), metrics, stop).await;
                }
                Err(error) => error!(%error, "operators cannot be served"),
            }
        });
    };
    std::thread::Builder::new().name("operators".to_owned()).spawn(serve).map_err(failed)?;
    Ok(())
}

impl Bound {
    /// Serves until told to stop; then hooks are refused, runs put down, and what is unfinished is left
    /// to the next start.
    pub(crate) async fn wait(self) {
        let Some((gate, hooks)) = self.asked else {
            // What a sidecar has seen is nowhere to be put down.
            return self.stop.cancelled().await;
        };
        let router = intake::router(Arc::clone(&gate)).merge(web::pages(Arc::clone(&gate)));
        server::serve(hooks, router, Arc::clone(&gate.metrics), gate.stop.clone()).await;
        gate.tasks.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, gate.tasks.wait()).await.is_err() {
            warn!("some runs did not stop in time; the next start resumes them");
        }
        gate.journal.end().await;
    }
}

impl Gate {
    /// Takes a CodeDeploy hook: on disk before it is acknowledged, and joined if it was there before.
    ///
    /// A task of its own, so that a sender who goes away between the write and the start of the run leaves
    /// no question that is on disk and not judged.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        deployment_id: &str,
        execution_id: &str,
    ) -> Intake {
        let question = Question {
            id: evaluation_id(deployment_id, execution_id),
            limit: Some(HOOK_LIMIT),
            unmatched: self.settings.unmatched,
            observe: self.settings.mode == Mode::Observe,
        };
        let accepted = Accepted {
            question,
            deployment_id: deployment_id.to_owned(),
            execution_id: Token(execution_id.to_owned()),
            accepted_unix_millis: unix_millis(),
        };
        let gate = Arc::clone(self);
        let taking = tokio::spawn(async move { gate.take(accepted).await });
        taking.await.unwrap_or(Intake::Unwritten(JournalError::Stopped))
    }

    async fn take(self: &Arc<Self>, accepted: Accepted) -> Intake {
        let id = accepted.question.id.clone();
        // One at a time: two deliveries of one question must not both find it without a run.
        let _turn = self.accepting.lock().await;
        if self.lock().contains_key(&id) {
            return Intake::Joined(id);
        }
        if self.stop.is_cancelled() || self.lock().len() >= RUNS_MAX {
            return Intake::Full;
        }
        let origin = Instant::now();
        match self.journal.accept(accepted.clone()).await {
            Ok(true) => {
                self.take_over_watch_of(&accepted.deployment_id).await;
                let run = Run::new(accepted.question.clone());
                let first = run.start();
                self.begin(accepted, run, first, origin);
                Intake::Accepted(id)
            }
            // Known, and over: there is nothing to take up.
            Ok(false) => Intake::Joined(id),
            Err(error) => Intake::Unwritten(error),
        }
    }

    /// A further question of a deployment takes over its watch.
    async fn take_over_watch_of(&self, deployment_id: &str) {
        let earlier: Vec<Conducted> = {
            let runs = self.lock();
            let of = |id: &str| id.rsplit_once('-').is_some_and(|(of, _)| of == deployment_id);
            runs.iter().filter(|(id, _)| of(id)).map(|(_, conducted)| conducted.clone()).collect()
        };
        for conducted in earlier {
            conducted.tell(policies::Event::TakenOver).await;
        }
    }

    fn begin(
        self: &Arc<Self>,
        accepted: Accepted,
        run: Run,
        first: Vec<policies::Action>,
        origin: Instant,
    ) {
        let id = accepted.question.id.clone();
        let run_decision = run.decision().cloned();
        let conducted = Conducted::new(run, accepted.accepted_unix_millis);
        let span = info_span!(
            "evaluation",
            evaluation = id,
            deployment = accepted.deployment_id,
            otel.kind = "server"
        );
        self.lock().insert(id.clone(), conducted.clone());
        self.metrics.opened();
        let case = HookCase {
            accepted,
            aws: Arc::clone(&self.aws),
            journal: self.journal.clone(),
            library: Arc::clone(&self.library),
            metrics: Arc::clone(&self.metrics),
            memory: Mutex::new(Memory::after(run_decision)),
        };
        let conducting = Conduct {
            case: Arc::new(case),
            prober: Arc::clone(&self.prober),
            metrics: Arc::clone(&self.metrics),
            stop: self.stop.clone(),
            origin,
        };
        let gate = Arc::clone(self);
        let running = async move {
            info!("question accepted");
            conduct(conducted.clone(), conducting, first).await;
            log_end(&conducted.lock().report());
            gate.lock().remove(&id);
            gate.metrics.left();
        };
        self.tasks.spawn(running.instrument(span));
    }

    /// Takes up every question whose run is not over: the same facts lead to the same state, evidence
    /// included, and what was under way goes on.
    async fn resume(self: &Arc<Self>) -> Result<(), JournalError> {
        let unfinished = self.journal.unfinished().await?;
        let newest: HashMap<String, String> = unfinished
            .iter()
            .map(|stored| &stored.accepted)
            .map(|accepted| (accepted.deployment_id.clone(), accepted.question.id.clone()))
            .collect();
        for stored in unfinished {
            let taken_over =
                newest.get(&stored.accepted.deployment_id) != Some(&stored.accepted.question.id);
            let elapsed = elapsed(&stored);
            if stored.unreadable > 0 {
                self.metrics.lost("journal-entry");
                error!(
                    evaluation = stored.accepted.question.id,
                    entries = stored.unreadable,
                    "entries cannot be read; resuming without them"
                );
            }
            let (mut run, accepted) = replay(stored);
            if run.phase() == Phase::Done {
                self.journal.close(&accepted.question.id).await?;
                continue;
            }
            info!(evaluation = accepted.question.id, phase = run.phase().name(), "resuming");
            let origin = Instant::now().checked_sub(elapsed).unwrap_or_else(Instant::now);
            let at = policies::Moment::ZERO.after(elapsed);
            let resumed = policies::Event::Resumed;
            let entry = Entry::Fact { fact: resumed.clone() };
            self.journal.append(&accepted.question.id, at, entry).await?;
            let first = run.step(resumed, at);
            let id = accepted.question.id.clone();
            self.begin(accepted, run, first, origin);
            if taken_over {
                // Its end may not have got to the disk: a later question of the deployment has its watch.
                let conducted = self.lock().get(&id).cloned();
                if let Some(conducted) = conducted {
                    conducted.tell(policies::Event::TakenOver).await;
                }
            }
        }
        Ok(())
    }

    async fn look_at_policies(&self) {
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

    /// A run as it stands, live or from the journal.
    pub(crate) async fn report(&self, id: &str) -> Result<Option<(Report, u64)>, JournalError> {
        let live = self.lock().get(id).cloned();
        if let Some(conducted) = live {
            let report = conducted.lock().report();
            return Ok(Some((report, conducted.accepted_unix_millis)));
        }
        let stored = self.journal.load(id).await?;
        Ok(stored.map(|stored| {
            let accepted_at = stored.accepted.accepted_unix_millis;
            (replay(stored).0.report(), accepted_at)
        }))
    }

    /// Everything needed to explain and to replay a decision, from the journal.
    pub(crate) async fn record(&self, id: &str) -> Result<Option<Record>, JournalError> {
        Ok(self.journal.load(id).await?.map(Record::of))
    }

    /// The newest questions.
    pub(crate) async fn list(&self) -> Result<Vec<Listed>, JournalError> {
        self.journal.list(LISTED_MAX).await
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Conducted>> {
        self.runs.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same question has the same id, so that a second delivery joins the first. The execution id is a
/// token: only a digest of it is shown.
fn evaluation_id(deployment_id: &str, execution_id: &str) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, execution_id.as_bytes());
    let digest = signature::hex(digest.as_ref().get(..4).unwrap_or_default());
    format!("{deployment_id}-{digest}")
}

/// A run brought to where its entries leave it. A decision on disk stands, whatever this version of
/// gate would make of the same facts.
fn replay(stored: Stored) -> (Run, Accepted) {
    let Stored { accepted, entries, .. } = stored;
    let mut run = Run::new(accepted.question.clone());
    for (at, entry) in entries {
        match entry {
            Entry::Fact { fact } => drop(run.step(fact, at)),
            Entry::Decided { decision } if run.decision() != Some(&decision) => {
                warn!(evaluation = accepted.question.id, "the decision on disk differs and stands");
                drop(run.settle(decision, at));
            }
            Entry::Decided { .. } => {}
        }
    }
    (run, accepted)
}

/// Time since acceptance by the machine's clock, but never before the newest entry.
fn elapsed(stored: &Stored) -> Duration {
    let by_clock = unix_millis().saturating_sub(stored.accepted.accepted_unix_millis);
    let newest = stored.entries.last().map_or(0, |(at, _)| at.as_millis());
    Duration::from_millis(by_clock.max(newest))
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
