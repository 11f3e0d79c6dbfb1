//! The daemon put together: `build` binds, `Bound::wait` resumes and serves until told to stop.
//!
//! A sidecar that nobody may ask has no [`Gate`]: no journal, no AWS, no socket but that for operators.

mod accepting;
mod questions;
mod readers;
mod replicas;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use probes::Prober;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::aws::Clouds;
use crate::clock::MachineClock;
use crate::config::{Checked, JournalSettings, Mode};
use crate::journal::{Embedded, Journal, JournalError, Shared};
use crate::sidecar::Sidecar;
use crate::telemetry::Metrics;
use crate::tls::Tls;
use crate::web::Operators;
use crate::{intake, own_task, server, web};

pub(crate) use questions::{Gate, Heard, Intake, Overridden, Parts, RUNS_MAX, replayed};
pub(crate) use readers::Turn;

/// On a stop, runs get this long to put down what they do; ECS kills 30 s after SIGTERM.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);

/// A start has more urgent things to do than letting go of old runs.
const PRUNE_FIRST: Duration = Duration::from_secs(10);
/// So often old runs are let go of.
const PRUNE_EVERY: Duration = Duration::from_secs(3600);

/// The daemon could not start.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("cannot listen on {address} for {purpose}")]
    Listen { address: SocketAddr, purpose: &'static str, source: io::Error },
    #[error("the journal is unusable")]
    Journal(#[from] JournalError),
    #[error("AWS cannot be reached for the table `{0}`")]
    NoTable(String),
    #[error("probing is impossible")]
    Prober(#[from] probes::StartError),
    #[error("a target cannot be probed")]
    Target(#[from] probes::OrderError),
    #[error("the thread for {0} cannot be started")]
    Thread(&'static str, #[source] io::Error),
}

/// Where somebody may ask.
#[derive(Debug)]
struct Asked {
    gate: Arc<Gate>,
    hooks: TcpListener,
    tls: Option<Tls>,
    /// Questions that an earlier gate left unfinished.
    left: Vec<String>,
}

/// The daemon with its sockets bound, before it serves.
#[derive(Debug)]
pub(crate) struct Bound {
    /// `None` where nobody may ask.
    pub(crate) hooks_address: Option<SocketAddr>,
    pub(crate) admin_address: SocketAddr,
    asked: Option<Asked>,
    /// Ends all probing when it goes.
    _prober: Arc<Prober>,
    stop: CancellationToken,
}

/// Binds the sockets, opens the journal, and looks what an earlier gate left unfinished. AWS is reached
/// where somebody may ask.
pub(crate) async fn build(
    config: Checked,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
) -> Result<Bound, StartError> {
    let Checked { settings, hooks_listen, admin_listen, keys, tokens, tls, targets, vault } =
        config;
    let opened = match hooks_listen {
        Some(address) => {
            let own = match &settings.journal.dynamodb {
                None => Some(Embedded::open(&settings.journal.path())?),
                Some(_shared) => None,
            };
            Some((own, listen(address, "hooks").await?))
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
    let in_ecs = own_task::in_ecs();
    let needs_aws = opened.is_some() || in_ecs;
    let clouds = if needs_aws { Some(vault.aws().clouds().await) } else { None };
    let (known, task) = watch::channel(None);
    if let Some(clouds) = clouds.as_ref().filter(|_| in_ecs) {
        tokio::spawn(own_task::know(clouds.clone(), known, stop.clone()));
    }
    let asked = match opened.zip(clouds) {
        Some(((own, hooks), clouds)) => {
            let journal = match own {
                Some(own) => Arc::new(own),
                None => shared(&settings.journal, &clouds).await?,
            };
            let parts = Parts {
                settings,
                clouds,
                journal,
                prober: Arc::<Prober>::clone(&prober),
                clock: Arc::new(MachineClock),
                metrics: Arc::clone(&metrics),
                keys,
                tokens,
                vault: vault.clone(),
                stop: stop.clone(),
            };
            let gate = Arc::new(Gate::new(parts));
            gate.look_at_policies().await;
            let left = gate.look_for_open().await?;
            Some(Asked { gate, hooks, tls, left })
        }
        None => None,
    };
    let sidecar = Sidecar::begin(targets, &prober, &metrics, &vault, observe, &stop).await?;
    let gate = asked.as_ref().map(|asked| Arc::clone(&asked.gate));
    serve_admin(admin, Operators { metrics, sidecar, gate, task, stop: stop.clone() })?;
    Ok(Bound { hooks_address, admin_address, asked, _prober: prober, stop })
}

/// The journal that other gates write, too.
async fn shared(
    journal: &JournalSettings,
    clouds: &Clouds,
) -> Result<Arc<dyn Journal>, StartError> {
    let name = journal.dynamodb.as_ref().map_or("", |dynamodb| dynamodb.table.as_str());
    let tables = clouds.tables().ok_or_else(|| StartError::NoTable(name.to_owned()))?;
    Ok(Arc::new(Shared::open(tables, name, Arc::new(MachineClock)).await?))
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
                    server::serve(listener, None, web::admin(operators), metrics, stop).await;
                }
                Err(error) => error!(%error, "operators cannot be served"),
            }
        });
    };
    std::thread::Builder::new().name("operators".to_owned()).spawn(serve).map_err(failed)?;
    Ok(())
}

/// Lets go of old runs, soon after the start and every hour from then on.
async fn prune(gate: Arc<Gate>) {
    let mut hours = tokio::time::interval_at(Instant::now() + PRUNE_FIRST, PRUNE_EVERY);
    loop {
        tokio::select! {
            () = gate.stop.cancelled() => return,
            _ = hours.tick() => {}
        }
        tokio::select! {
            () = gate.stop.cancelled() => return,
            () = gate.prune() => {}
        }
    }
}

impl Bound {
    /// Serves until told to stop; then hooks are refused, runs put down, and what is unfinished is left
    /// to the next start.
    pub(crate) async fn wait(self) {
        let Some(Asked { gate, hooks, tls, left }) = self.asked else {
            // What a sidecar has seen is nowhere to be put down.
            return self.stop.cancelled().await;
        };
        let router = intake::router(Arc::clone(&gate)).merge(web::pages(Arc::clone(&gate)));
        // Beside hooks and health: hundreds of long runs are not replayed in a moment, and whoever looks whether gate lives would
        // end it again and again before it is done.
        let resuming = {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move { gate.resume_all(left).await })
        };
        let fetching = intake::fetch(&gate);
        tokio::spawn(prune(Arc::clone(&gate)));
        let sharing = tokio::spawn(Arc::clone(&gate).share());
        let protecting = tokio::spawn(own_task::protect(Arc::clone(&gate)));
        if let Some(tls) = tls.clone() {
            tokio::spawn(tls.watch(Arc::clone(&gate.metrics), self.stop.clone()));
        }
        server::serve(hooks, tls, router, Arc::clone(&gate.metrics), self.stop).await;
        // What was fetched and not yet answered goes back to its queue. An AWS that does not answer must not
        // keep gate longer than ECS waits.
        let (returned, drained, _at_its_question) = tokio::join!(
            timeout(DRAIN_TIMEOUT, fetching.end()),
            gate.drained(DRAIN_TIMEOUT),
            timeout(DRAIN_TIMEOUT, resuming),
        );
        if returned.is_err() {
            warn!("not all messages went back to the queue in time; it shows them again by itself");
        }
        if !drained {
            warn!("some runs did not stop in time; the next start resumes them");
        }
        // The agent answers at once or not at all.
        drop(protecting.await);
        gate.end_journal().await;
        sharing.abort();
    }
}
