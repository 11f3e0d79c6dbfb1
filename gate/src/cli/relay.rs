//! `gate relay`: the Lambda function that hooks of CodeDeploy and ECS and actions of CodePipeline invoke.
//!
//! They can only invoke a function, so this hands over to the daemon what they ask and is done. If the daemon
//! cannot be reached it answers by itself, so that nobody waits an hour.

mod event;
mod forward;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper::Uri;
use lambda_runtime::{LambdaEvent, service_fn};
use policies::Answer;
use serde_json::Value;
use tokio::time::Instant;
use tracing::error;

use self::event::Caller;
use self::forward::{Forwarder, Ready, Route, key};
use super::{OK, USAGE, complain, story};
use crate::aws::budget::SHARE_PERCENT;
use crate::aws::{Clouds, OnDemand, Place, RealAws};
use crate::client::Client;
use crate::intake::queue::region_of;
use crate::shell::{Vault, is_kept_by_aws};
use crate::telemetry::{self, Metrics};

/// What Lambda sets for a custom runtime, and the runtime crate cannot do without.
//= https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
const LAMBDA: [&str; 4] = [
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
];
/// Run as the Lambda function that hooks of CodeDeploy and ECS and actions of CodePipeline invoke.
#[derive(Clone, Debug, Args)]
pub(super) struct Relay {
    /// Where the daemon takes hooks: `http://gate.internal:8080`.
    #[arg(long, value_name = "URL", env = "GATE_URL")]
    url: Option<String>,
    /// Queue from which the daemon takes questions, instead of a URL; for hooks of CodeDeploy alone.
    #[arg(long, value_name = "URL", env = "GATE_QUEUE")]
    queue: Option<String>,
    /// Key that signs what is forwarded, by reference: `env:NAME`, `file:PATH`, `ssm:NAME` or
    /// `secretsmanager:ID`.
    #[arg(long, value_name = "REFERENCE", env = "GATE_HOOK_KEY", hide_env_values = true)]
    key: Option<String>,
    /// PEM file of the authorities that alone are trusted where the daemon's URL is `https`: your own. It comes with
    /// the function.
    #[arg(long, value_name = "FILE", env = "GATE_CA_FILE")]
    ca_file: Option<PathBuf>,
    /// How long to try before answering the hook itself.
    #[arg(long, value_name = "DURATION", env = "GATE_RELAY_PATIENCE", default_value = "30s")]
    patience: String,
    /// What to answer when the daemon cannot be reached: `rollback` fails the hook, `continue` lets the
    /// release through ungated. A daemon that refuses the hook, and a relay with a wrong setting, always
    /// fail it.
    #[arg(long, value_name = "ANSWER", env = "GATE_UNREACHABLE", default_value = "rollback")]
    unreachable: String,
}

impl Relay {
    /// Checks all settings; every fault at once.
    async fn ready(&self, vault: &Vault) -> Result<Ready, String> {
        let mut faults = Vec::new();
        let route = self.route().map_err(|fault| faults.push(fault)).ok();
        // What AWS keeps may be there by the time a hook comes.
        let here = self.key.as_deref().filter(|reference| !is_kept_by_aws(reference));
        if let Some(reference) = here
            && let Err(reason) = key(vault, reference).await
        {
            faults.push(format!("GATE_HOOK_KEY: {reason}"));
        }
        let client = self.ca_file.as_deref().map_or_else(|| Ok(Client::new()), Client::trusting);
        let client = client.map_err(|fault| faults.push(format!("GATE_CA_FILE: {fault}"))).ok();
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
        match (route, client, patience, unreachable) {
            (Some(route), Some(client), Some(patience), Some(unreachable)) if faults.is_empty() => {
                Ok(Ready { route, client, key: self.key.clone(), patience, unreachable })
            }
            _ => Err(faults.join("; ")),
        }
    }

    fn route(&self) -> Result<Route, String> {
        let is_address = |url: &str| {
            let parsed = url.parse::<Uri>().ok();
            parsed.is_some_and(|uri| uri.scheme().is_some() && uri.host().is_some())
        };
        match (&self.url, &self.queue) {
            (Some(_), Some(_)) => {
                Err("GATE_URL and GATE_QUEUE are both set; keep one of them".to_owned())
            }
            (None, Some(queue)) if is_address(queue) => Ok(Route::Queue(queue.clone())),
            (None, Some(queue)) => Err(format!(
                "GATE_QUEUE (`{queue}`) is no URL of a queue; write `https://sqs.REGION.amazonaws.com/ACCOUNT/NAME`"
            )),
            (url, None) => {
                let url = url.as_deref().unwrap_or_default().trim_end_matches('/');
                if is_address(url) {
                    return Ok(Route::Http(url.to_owned()));
                }
                Err(format!("GATE_URL (`{url}`) is no address; write `http://gate.internal:8080`"))
            }
        }
    }

    pub(super) async fn run(self) -> u8 {
        let set = |name: &&str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        if !LAMBDA.iter().all(set) {
            complain(&format!(
                "error: `gate relay` runs as a Lambda function, which sets {}; see docs/aws.md",
                LAMBDA.join(", ")
            ));
            return USAGE;
        }
        let _telemetry = telemetry::init(false);
        let metrics = match Metrics::new() {
            Ok(metrics) => Arc::new(metrics),
            Err(error) => {
                complain(&format!("error: {}", story(&error)));
                return USAGE;
            }
        };
        let real = RealAws::connect(None, SHARE_PERCENT, Arc::clone(&metrics)).await;
        let clouds = Clouds::real(real, &[]);
        let aws = clouds.home();
        // The queue may be in another region.
        let region = self.queue.as_deref().and_then(region_of);
        let queues = clouds.at(&Place { region, account: None }).await;
        let vault = Vault::new(OnDemand::made(clouds, Arc::clone(&metrics)), metrics);
        // A function that exits is a hook that nobody answers for an hour: with a wrong setting it runs all
        // the same, says what is wrong, and fails every hook at once.
        let settings = self.ready(&vault).await;
        if let Err(faults) = &settings {
            error!(faults, "the relay's settings are wrong; every hook is answered Failed");
        }
        let forwarder = Arc::new(Forwarder::new(settings, (aws, queues), vault));
        let served = lambda_runtime::run(service_fn(move |event: LambdaEvent<Value>| {
            let forwarder = Arc::clone(&forwarder);
            async move {
                let caller = Caller {
                    function_arn: event.context.invoked_function_arn.clone(),
                    ends: ends(event.context.deadline()),
                };
                forwarder.forward(event.payload, &caller).await
            }
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

/// When Lambda ends this invocation, by the clock that timers go by.
fn ends(deadline: std::time::SystemTime) -> Instant {
    let left = deadline.duration_since(std::time::SystemTime::now()).unwrap_or(Duration::ZERO);
    Instant::now() + left
}
