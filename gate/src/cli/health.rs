//! `gate health`: is the daemon beside me alive? For container health checks, which have no `curl`.

use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};

use super::{FAILED, OK, USAGE, complain, say, story};
use crate::client::Client;

/// Ask a running daemon whether it is alive.
#[derive(Debug, Args)]
pub(super) struct Health {
    /// Where the daemon serves operators. An unspecified address stands for loopback.
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "GATE_ADMIN_LISTEN",
        default_value = "127.0.0.1:9090"
    )]
    admin: String,
    /// How long to wait for its answer.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = policies::units::duration)]
    timeout: Duration,
}

impl Health {
    pub(super) async fn run(self) -> u8 {
        let address = self.admin.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]");
        let uri = format!("http://{address}/healthz");
        let request = match Request::get(&uri).body(Full::<Bytes>::default()) {
            Ok(request) => request,
            Err(error) => {
                complain(&format!("error: `{address}` is no address: {error}"));
                return USAGE;
            }
        };
        match Client::new().send(request, self.timeout).await {
            Ok((StatusCode::OK, _)) => {
                say("healthy");
                OK
            }
            Ok((status, _)) => {
                complain(&format!("unhealthy: {uri} answered {status}"));
                FAILED
            }
            Err(error) => {
                complain(&format!("unhealthy: {uri}: {}", story(&error)));
                FAILED
            }
        }
    }
}
