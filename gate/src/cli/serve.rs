//! `gate serve`: the daemon.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{OK, USAGE, complain, story};
use crate::app;
use crate::config::{self, AdminLayer, HooksLayer, JournalLayer, Layer, Settings};
use crate::shell::Vault;
use crate::telemetry::{self, Metrics};

/// Run the daemon: take hooks, judge, answer.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Settings file; see docs/operations.md for its keys.
    #[arg(long, value_name = "FILE", env = "GATE_CONFIG")]
    config: Option<PathBuf>,
    /// Profile of the settings file to lay over it.
    #[arg(long, value_name = "NAME", env = "GATE_PROFILE")]
    profile: Option<String>,
    /// Folder of `*.policy.yaml`.
    #[arg(long, value_name = "FOLDER")]
    policies: Option<PathBuf>,
    /// Where hooks arrive. Anything but loopback needs `hooks.keys`.
    #[arg(long, value_name = "ADDRESS")]
    hooks_listen: Option<String>,
    /// Where operators and Prometheus look.
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<String>,
    /// Journal file.
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
}

impl Serve {
    fn layer(&self) -> Layer {
        let hooks = self.hooks_listen.clone();
        let admin = self.admin_listen.clone();
        Layer {
            policies: self.policies.clone(),
            hooks: hooks.map(|listen| HooksLayer { listen: Some(listen), ..HooksLayer::default() }),
            admin: admin.map(|listen| AdminLayer { listen: Some(listen) }),
            journal: self
                .journal
                .clone()
                .map(|path| JournalLayer { path: Some(path), ..JournalLayer::default() }),
            ..Layer::default()
        }
    }

    pub(super) async fn run(self) -> u8 {
        let metrics = match Metrics::new() {
            Ok(metrics) => Arc::new(metrics),
            Err(error) => {
                complain(&format!("error: {}", story(&error)));
                return USAGE;
            }
        };
        let vault = |settings: &Settings| {
            let aws = settings.aws.reach(Arc::clone(&metrics));
            Vault::new(aws, Arc::clone(&metrics))
        };
        let (file, profile) = (self.config.as_deref(), self.profile.as_deref());
        let config = match Box::pin(config::load(file, profile, self.layer(), vault)).await {
            Ok(config) => config,
            Err(error) => {
                complain(&format!("error: {error}"));
                return USAGE;
            }
        };
        let telemetry = telemetry::init(false);
        let code = match serve(config, metrics).await {
            Ok(()) => OK,
            Err(reason) => {
                complain(&format!("error: {reason}"));
                USAGE
            }
        };
        // Sending the last spans blocks.
        drop(tokio::task::spawn_blocking(|| telemetry.flush()).await);
        code
    }
}

async fn serve(config: config::Checked, metrics: Arc<Metrics>) -> Result<(), String> {
    let stop = CancellationToken::new();
    outlive_file_limit().map_err(|error| format!("signals cannot be caught: {error}"))?;
    stop_on_signal(stop.clone()).map_err(|error| format!("signals cannot be caught: {error}"))?;
    let bound = app::build(config, metrics, stop).await.map_err(|error| story(&error))?;
    let hooks = bound.hooks_address.map(tracing::field::display);
    info!(hooks, operators = %bound.admin_address, "gate serves");
    bound.wait().await;
    info!("gate has stopped");
    Ok(())
}

/// A file that may not grow any more is a write that fails, as on a full disk, and no reason to be killed.
fn outlive_file_limit() -> std::io::Result<()> {
    // Once it is caught, it stays so for as long as the process lives.
    signal(SignalKind::from_raw(SIGXFSZ)).map(drop)
}

/// The signal of a file larger than its limit; the same number on all architectures that gate is built for.
//= https://man7.org/linux/man-pages/man7/signal.7.html
const SIGXFSZ: i32 = 25;

/// SIGTERM (ECS, systemd) and SIGINT stop gracefully.
pub(super) fn stop_on_signal(stop: CancellationToken) -> std::io::Result<()> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("stopping: hooks are refused, runs put down");
        stop.cancel();
    });
    Ok(())
}
