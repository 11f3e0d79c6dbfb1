//! `gate relay`: the Lambda function that CodeDeploy's hooks invoke.
//!
//! CodeDeploy can only invoke a function, so this hands the two ids to the daemon and is done. If the
//! daemon cannot be reached it answers the hook itself, so that nobody waits an hour.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use lambda_runtime::{LambdaEvent, service_fn};
use policies::Answer;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::{OK, USAGE, complain, story};
use crate::aws::{Aws, Failure, RealAws};
use crate::client::Client;
use crate::config::Key;
use crate::intake::{CODEDEPLOY_PATH, HookEvent};
use crate::journal::unix_millis;
use crate::shell::secret;
use crate::signature;
use crate::telemetry::{self, Metrics};

/// One try to hand a hook over.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// Time for the relay's own answer, throttling included. With the 30 s before, 90 s is a good time-out
/// of the function.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(45);

/// Run as the Lambda function that CodeDeploy's hooks invoke.
#[derive(Clone, Debug, Args)]
pub(super) struct Relay {
    /// Where the daemon takes hooks: `http://gate.internal:8080`.
    #[arg(long, value_name = "URL", env = "GATE_URL")]
    url: String,
    /// Key that signs what is forwarded, by reference: `env:NAME` or `file:PATH`.
    #[arg(long, value_name = "REFERENCE", env = "GATE_HOOK_KEY")]
    key: Option<String>,
    /// How long to try before answering the hook itself.
    #[arg(long, value_name = "DURATION", env = "GATE_RELAY_PATIENCE", default_value = "30s", value_parser = policies::units::duration)]
    patience: Duration,
    /// What to answer then: `rollback` fails the hook, `continue` lets the release through ungated.
    #[arg(long, value_name = "ANSWER", env = "GATE_UNREACHABLE", default_value = "rollback", value_parser = answer)]
    unreachable: Answer,
}

fn answer(text: &str) -> Result<Answer, String> {
    match text {
        "rollback" => Ok(Answer::Rollback),
        "continue" => Ok(Answer::Continue),
        _ => Err("one of rollback, continue".to_owned()),
    }
}

struct Forwarder {
    relay: Relay,
    key: Option<Key>,
    client: Client,
    aws: RealAws,
}

impl Relay {
    pub(super) async fn run(self) -> u8 {
        if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
            complain(
                "error: `gate relay` runs as a Lambda function (AWS_LAMBDA_RUNTIME_API is not set); see docs/aws-setup.md",
            );
            return USAGE;
        }
        let key = match self.key.as_deref().map(secret).transpose() {
            Ok(key) => key.map(|key| Key(key.into_bytes())),
            Err(reason) => {
                complain(&format!("error: the hook key: {reason}"));
                return USAGE;
            }
        };
        let _telemetry = telemetry::init(false);
        let metrics = match Metrics::new() {
            Ok(metrics) => Arc::new(metrics),
            Err(error) => {
                complain(&format!("error: {}", story(&error)));
                return USAGE;
            }
        };
        let aws = RealAws::connect(None, metrics).await;
        let forwarder = Arc::new(Forwarder { relay: self, key, client: Client::new(), aws });
        let served = lambda_runtime::run(service_fn(move |event: LambdaEvent<HookEvent>| {
            let forwarder = Arc::clone(&forwarder);
            async move { forwarder.forward(event.payload).await }
        }));
        match served.await {
            Ok(()) => OK,
            Err(error) => {
                complain(&format!("error: the Lambda runtime ended: {error}"));
                USAGE
            }
        }
    }
}

impl Forwarder {
    async fn forward(&self, event: HookEvent) -> Result<(), lambda_runtime::Error> {
        let deadline = Instant::now() + self.relay.patience;
        let reason = match self.hand_over(&event, deadline).await {
            Ok(()) => return Ok(()),
            Err(reason) => reason,
        };
        error!(
            deployment = event.deployment_id,
            reason,
            answer = self.relay.unreachable.name(),
            "the daemon did not take the hook; answering it here"
        );
        let stranded = |reason| {
            format!(
                "{}: the hook was neither handed over nor answered: {reason}",
                event.deployment_id
            )
        };
        self.answer(&event).await.map_err(|reason| stranded(reason).into())
    }

    async fn hand_over(&self, event: &HookEvent, deadline: Instant) -> Result<(), String> {
        let body = serde_json::to_vec(event).map_err(|error| error.to_string())?;
        let mut last = "no try was made".to_owned();
        while Instant::now() < deadline {
            let request = self.request(&body)?;
            match timeout_at(deadline, self.client.send(request, TRY_TIMEOUT)).await {
                Ok(Ok((StatusCode::ACCEPTED, _))) => {
                    info!(deployment = event.deployment_id, "handed over");
                    return Ok(());
                }
                Ok(Ok((status, text))) => {
                    last = format!("{status}: {}", String::from_utf8_lossy(&text));
                    // Refused for good: trying again changes nothing.
                    if status.is_client_error()
                        && status != StatusCode::TOO_MANY_REQUESTS
                        && status != StatusCode::REQUEST_TIMEOUT
                    {
                        return Err(last);
                    }
                }
                Ok(Err(error)) => last = story(&error),
                Err(_elapsed) => break,
            }
            warn!(deployment = event.deployment_id, reason = last, "not handed over yet");
            sleep(TRY_AGAIN).await;
        }
        Err(last)
    }

    fn request(&self, body: &[u8]) -> Result<Request<Full<Bytes>>, String> {
        let uri = format!("{}{CODEDEPLOY_PATH}", self.relay.url.trim_end_matches('/'));
        let mut request = Request::post(uri).header("content-type", "application/json");
        if let Some(key) = &self.key {
            let now = unix_millis() / 1000;
            request = request.header(signature::TIMESTAMP, now.to_string()).header(
                signature::SIGNATURE,
                signature::sign(key, "POST", CODEDEPLOY_PATH, now, body),
            );
        }
        request.body(Full::new(Bytes::copy_from_slice(body))).map_err(|error| error.to_string())
    }

    async fn answer(&self, event: &HookEvent) -> Result<(), String> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let succeeded = self.relay.unreachable == Answer::Continue;
        loop {
            match self.aws.answer_hook(&event.deployment_id, &event.execution_id, succeeded).await {
                Ok(()) => return Ok(()),
                // The daemon, or an earlier try, got there first.
                Err(error) if error.failure == Failure::Completed => return Ok(()),
                Err(error) if error.failure != Failure::Passing || Instant::now() >= deadline => {
                    return Err(error.story());
                }
                Err(error) => warn!(reason = error.story(), "not answered yet"),
            }
            sleep(TRY_AGAIN).await;
        }
    }
}
