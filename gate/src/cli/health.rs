//! `gate health`: is the daemon beside me alive, and what it guards? For container health checks, which have
//! no `curl`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};

use super::{FAILED, OK, USAGE, complain, say, story};
use crate::client::Client;
use crate::config::{self, AdminLayer, Layer, Settings};

/// Ask a running daemon whether it is alive, and whether what it guards is.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Where the daemon serves operators, if not where its settings say. An unspecified address stands for
    /// loopback.
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
    /// Settings file of the daemon.
    #[arg(long, value_name = "FILE", env = "GATE_CONFIG")]
    config: Option<PathBuf>,
    /// Profile of the settings file.
    #[arg(long, value_name = "NAME", env = "GATE_PROFILE")]
    profile: Option<String>,
    /// How long to wait for its answer.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = policies::units::duration)]
    timeout: Duration,
}

impl Health {
    pub(super) async fn run(self) -> u8 {
        let settings = self.settings();
        // Where a target is guarded, the task goes by this answer: only that target may fail it.
        let guards = settings.targets.iter().any(|target| target.guard);
        let address = settings.admin.listen;
        let address = address.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
        let uri = format!("http://{address}/healthz");
        let request = match Request::get(&uri).body(Full::<Bytes>::default()) {
            Ok(request) => request,
            Err(error) => {
                complain(&format!("error: `{address}` is no address: {error}"));
                return USAGE;
            }
        };
        let trouble = match Client::new().send(request, self.timeout).await {
            Ok((StatusCode::OK, _)) => {
                say("healthy");
                return OK;
            }
            Ok((StatusCode::SERVICE_UNAVAILABLE, reason)) => {
                complain(&format!("unhealthy: {}", String::from_utf8_lossy(&reason).trim_end()));
                return FAILED;
            }
            Ok((status, _)) => format!("{uri} answered {status}"),
            Err(error) => format!("{uri}: {}", story(&error)),
        };
        if guards {
            complain(&format!("no verdict: {trouble}; that says nothing about the target"));
            return OK;
        }
        complain(&format!("unhealthy: {trouble}"));
        FAILED
    }

    /// The daemon's own, as far as they can be read: whatever is wrong with them, it is asked all the same.
    fn settings(&self) -> Settings {
        let admin = self.admin.clone().map(|listen| AdminLayer { listen: Some(listen) });
        let flags = Layer { admin, ..Layer::default() };
        let read = config::layered(self.config.as_deref(), self.profile.as_deref(), flags.clone());
        let read = read.or_else(|_unreadable| config::layered(None, None, flags));
        read.map(|(settings, _)| settings).unwrap_or_default()
    }
}
