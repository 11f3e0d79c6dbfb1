//! `gate relay`: the Lambda function that CodeDeploy's hooks invoke.
//!
//! CodeDeploy can only invoke a function, so this hands the two ids to the daemon and is done. If the
//! daemon cannot be reached it answers the hook itself, so that nobody waits an hour.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use lambda_runtime::{LambdaEvent, service_fn};
use policies::Answer;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::{OK, USAGE, complain, story};
use crate::aws::{Aws, Clouds, Failure, OnDemand, RealAws};
use crate::client::Client;
use crate::config::Key;
use crate::intake::CODEDEPLOY_PATH;
use crate::intake::hooks::HookEvent;
use crate::journal::unix_millis;
use crate::shell::{Vault, is_kept_by_aws};
use crate::signature;
use crate::telemetry::{self, Metrics};

/// What Lambda sets for a custom runtime, and the runtime crate cannot do without.
//= https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
const LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];
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
    url: Option<String>,
    /// Key that signs what is forwarded, by reference: `env:NAME`, `file:PATH`, `ssm:NAME` or
    /// `secretsmanager:ID`.
    #[arg(long, value_name = "REFERENCE", env = "GATE_HOOK_KEY")]
    key: Option<String>,
    /// How long to try before answering the hook itself.
    #[arg(long, value_name = "DURATION", env = "GATE_RELAY_PATIENCE", default_value = "30s")]
    patience: String,
    /// What to answer when the daemon cannot be reached: `rollback` fails the hook, `continue` lets the
    /// release through ungated. A daemon that refuses the hook, and a relay with a wrong setting, always
    /// fail it.
    #[arg(long, value_name = "ANSWER", env = "GATE_UNREACHABLE", default_value = "rollback")]
    unreachable: String,
}

/// Settings that can be used.
struct Ready {
    url: String,
    /// By reference: one that AWS keeps is read for each hook, so that it can be rotated.
    key: Option<String>,
    patience: Duration,
    unreachable: Answer,
}

impl Relay {
    /// Checks all settings; every fault at once.
    async fn ready(&self, vault: &Vault) -> Result<Ready, String> {
        let mut faults = Vec::new();
        let url = self.url.as_deref().unwrap_or_default().trim_end_matches('/').to_owned();
        let uri =
            url.parse::<Uri>().ok().filter(|uri| uri.scheme().is_some() && uri.host().is_some());
        if uri.is_none() {
            faults.push(format!(
                "GATE_URL (`{url}`) is no address; write `http://gate.internal:8080`"
            ));
        }
        // What AWS keeps may be there by the time a hook comes.
        let here = self.key.as_deref().filter(|reference| !is_kept_by_aws(reference));
        if let Some(reference) = here
            && let Err(reason) = key(vault, reference).await
        {
            faults.push(format!("GATE_HOOK_KEY: {reason}"));
        }
        let patience = policies::units::duration(&self.patience);
        let patience =
            patience.map_err(|reason| faults.push(format!("GATE_RELAY_PATIENCE: {reason}"))).ok();
        let unreachable = match self.unreachable.as_str() {
            "rollback" => Some(Answer::Rollback),
            "continue" => Some(Answer::Continue),
            other => {
                faults
                    .push(format!("GATE_UNREACHABLE: `{other}` is neither rollback nor continue"));
                None
            }
        };
        match (patience, unreachable) {
            (Some(patience), Some(unreachable)) if faults.is_empty() => {
                Ok(Ready { url, key: self.key.clone(), patience, unreachable })
            }
            _ => Err(faults.join("; ")),
        }
    }

    pub(super) async fn run(self) -> u8 {
        let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        if !LAMBDA.iter().all(set) {
            complain(&format!(
                "error: `gate relay` runs as a Lambda function, which sets {}; see docs/aws-setup.md",
                LAMBDA.join(", ")
            ));
            return USAGE;
        }
        let _telemetry = telemetry::init(false);
        // A function that exits is a hook that nobody answers for an hour: with a wrong setting it runs all
        // the same, says what is wrong, and fails every hook at once.
        let metrics = match Metrics::new() {
            Ok(metrics) => Arc::new(metrics),
            Err(error) => {
                complain(&format!("error: {}", story(&error)));
                return USAGE;
            }
        };
        let clouds = Clouds::real(RealAws::connect(None, Arc::clone(&metrics)).await, &[]);
        let aws = clouds.home();
        let vault = Vault::new(OnDemand::made(clouds, Arc::clone(&metrics)), metrics);
        let settings = self.ready(&vault).await;
        if let Err(faults) = &settings {
            error!(faults, "the relay's settings are wrong; every hook is answered Failed");
        }
        let forwarder = Arc::new(Forwarder { settings, client: Client::new(), aws, vault });
        let served = lambda_runtime::run(service_fn(move |event: LambdaEvent<HookEvent>| {
            let forwarder = Arc::clone(&forwarder);
            async move { forwarder.forward(event.payload).await }
        }));
        match Box::pin(served).await {
            Ok(()) => OK,
            Err(error) => {
                complain(&format!("error: the Lambda runtime ended: {error}"));
                USAGE
            }
        }
    }
}

struct Forwarder {
    settings: Result<Ready, String>,
    client: Client,
    aws: Arc<dyn Aws>,
    vault: Vault,
}

/// The key behind a reference.
async fn key(vault: &Vault, reference: &str) -> Result<Key, String> {
    let secret = vault.read(reference).await.map_err(|trouble| trouble.what)?;
    Key::new(secret.text().as_bytes().to_vec())
}

/// Why a hook was not handed over.
enum NotTaken {
    /// The daemon will not have it; trying again changes nothing.
    Refused(String),
    /// Nobody answered in time.
    Unreachable(String),
}

impl Forwarder {
    async fn forward(&self, event: HookEvent) -> Result<(), lambda_runtime::Error> {
        let (reason, answer) = match &self.settings {
            Err(faults) => (faults.clone(), Answer::Rollback),
            Ok(ready) => match self.hand_over(ready, &event).await {
                Ok(()) => return Ok(()),
                Err(NotTaken::Refused(reason)) => (reason, Answer::Rollback),
                Err(NotTaken::Unreachable(reason)) => (reason, ready.unreachable),
            },
        };
        error!(
            deployment = event.deployment_id,
            reason,
            answer = answer.name(),
            "the daemon did not take the hook; answering it here"
        );
        let stranded = |reason| {
            format!(
                "{}: the hook was neither handed over nor answered: {reason}",
                event.deployment_id
            )
        };
        self.answer(&event, answer).await.map_err(|reason| stranded(reason).into())
    }

    async fn hand_over(&self, ready: &Ready, event: &HookEvent) -> Result<(), NotTaken> {
        let deadline = Instant::now() + ready.patience;
        let body = serde_json::to_vec(event).map_err(|e| NotTaken::Refused(e.to_string()))?;
        let mut last = "no try was made".to_owned();
        let mut key = None;
        if let Some(reference) = &ready.key {
            key = Some(self.key(reference, deadline).await?);
        }
        while Instant::now() < deadline {
            let request = request(ready, key.as_ref(), &body).map_err(NotTaken::Refused)?;
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
                        return Err(NotTaken::Refused(last));
                    }
                }
                Ok(Err(error)) => last = story(&error),
                Err(_elapsed) => break,
            }
            warn!(deployment = event.deployment_id, reason = last, "not handed over yet");
            sleep(TRY_AGAIN).await;
        }
        Err(NotTaken::Unreachable(last))
    }

    /// The key as it is now. One that cannot be read is no reason to let a release through.
    async fn key(&self, reference: &str, deadline: Instant) -> Result<Key, NotTaken> {
        loop {
            let read = timeout_at(deadline, key(&self.vault, reference)).await;
            let reason = match read {
                Ok(Ok(key)) => return Ok(key),
                Ok(Err(reason)) => reason,
                Err(_elapsed) => "it was not read in time".to_owned(),
            };
            if !is_kept_by_aws(reference) || Instant::now() + TRY_AGAIN >= deadline {
                return Err(NotTaken::Refused(format!("GATE_HOOK_KEY: {reason}")));
            }
            warn!(reason, "the key that signs hooks cannot be read yet");
            sleep(TRY_AGAIN).await;
        }
    }

    async fn answer(&self, event: &HookEvent, answer: Answer) -> Result<(), String> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let succeeded = answer == Answer::Continue;
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

/// The hook as the daemon takes it, signed where there is a key.
fn request(ready: &Ready, key: Option<&Key>, body: &[u8]) -> Result<Request<Full<Bytes>>, String> {
    let uri = format!("{}{CODEDEPLOY_PATH}", ready.url);
    let mut request = Request::post(uri).header("content-type", "application/json");
    if let Some(key) = key {
        let now = unix_millis() / 1000;
        request = request
            .header(signature::TIMESTAMP, now.to_string())
            .header(signature::SIGNATURE, signature::sign(key, "POST", CODEDEPLOY_PATH, now, body));
    }
    request.body(Full::new(Bytes::copy_from_slice(body))).map_err(|error| error.to_string())
}
