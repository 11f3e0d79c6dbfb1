//! Handing a question over, and answering it where nobody takes it.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::{Request, StatusCode};
use policies::Answer;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info, warn};

use super::event::{Caller, Invoked, read};
use crate::aws::{Aws, AwsError, Failure};
use crate::cli::story;
use crate::client::Client;
use crate::clock::unix_millis;
use crate::config::Key;
use crate::intake::hooks::{CODEDEPLOY_PATH, CODEPIPELINE_PATH, ECS_PATH, HookEvent};
use crate::shell::{Vault, is_kept_by_aws};
use crate::signature;

/// One try to hand a question over.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two tries.
const TRY_AGAIN: Duration = Duration::from_millis(500);
/// Time for the relay's own answer, throttling included. With the 30 s before, 60 s is a good time-out of the
/// function.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(25);
/// Kept of a short invocation for the relay's own answer.
const ANSWER_RESERVE: Duration = Duration::from_secs(10);

/// Settings that can be used.
#[derive(Debug)]
pub(super) struct Ready {
    pub(super) route: Route,
    pub(super) client: Client,
    /// By reference: one that AWS keeps is read for each question, so that it can be rotated.
    pub(super) key: Option<String>,
    pub(super) patience: Duration,
    pub(super) unreachable: Answer,
}

/// Where the daemon takes questions.
#[derive(Debug)]
pub(super) enum Route {
    /// Its own address.
    Http(String),
    /// A queue.
    Queue(String),
}

/// The relay at work.
#[derive(Debug)]
pub(super) struct Forwarder {
    settings: Result<Ready, String>,
    aws: Arc<dyn Aws>,
    /// Where the daemon's queue is.
    queues: Arc<dyn Aws>,
    vault: Vault,
}

/// The key behind a reference.
pub(super) async fn key(vault: &Vault, reference: &str) -> Result<Key, String> {
    let secret = vault.read(reference).await.map_err(|trouble| trouble.what)?;
    Key::new(secret.text().as_bytes().to_vec())
}

/// Why a question was not handed over.
enum NotTaken {
    /// The daemon will not have it; trying again changes nothing.
    Refused(String),
    /// Nobody answered in time.
    Unreachable(String),
}

/// A question in the form the daemon takes it in.
struct Handed<'a> {
    path: &'static str,
    body: Vec<u8>,
    /// How it is called in the log.
    subject: &'a str,
}

impl Forwarder {
    pub(super) fn new(
        settings: Result<Ready, String>,
        (aws, queues): (Arc<dyn Aws>, Arc<dyn Aws>),
        vault: Vault,
    ) -> Self {
        Self { settings, aws, queues, vault }
    }

    /// Hands over what the function was invoked with. What it returns is what whoever invoked it reads: only
    /// ECS does.
    pub(super) async fn forward(
        &self,
        event: Value,
        caller: &Caller,
    ) -> Result<Value, lambda_runtime::Error> {
        match read(event, &caller.function_arn) {
            Ok(Invoked::CodeDeploy(hook)) => self.codedeploy(hook, caller).await,
            Ok(Invoked::Ecs(event)) => Ok(self.ecs(&event, caller).await),
            Ok(Invoked::Job(job)) => {
                let body = written(&job)?;
                let handed = Handed { path: CODEPIPELINE_PATH, body, subject: &job.job_id };
                let Err((reason, answer)) = self.handed(&handed, caller).await else {
                    return Ok(Value::Null);
                };
                let proceed = answer == Answer::Continue;
                let answered = self
                    .until_answered(caller, async || {
                        self.aws.answer_job(&job.job_id, proceed, &reason).await
                    })
                    .await;
                answered.map(|()| Value::Null).map_err(|error| stranded(&job.job_id, &error))
            }
            Err(reason) => {
                error!(reason, "the relay was invoked by somebody it does not know");
                Err(reason.into())
            }
        }
    }

    async fn codedeploy(
        &self,
        hook: HookEvent,
        caller: &Caller,
    ) -> Result<Value, lambda_runtime::Error> {
        let handed =
            Handed { path: CODEDEPLOY_PATH, body: written(&hook)?, subject: &hook.deployment_id };
        let Err((_, answer)) = self.handed(&handed, caller).await else {
            return Ok(Value::Null);
        };
        let succeeded = answer == Answer::Continue;
        let answered = self
            .until_answered(caller, async || {
                self.aws.answer_hook(&hook.deployment_id, &hook.execution_id, succeeded).await
            })
            .await;
        answered.map(|()| Value::Null).map_err(|error| stranded(&hook.deployment_id, &error))
    }

    async fn ecs(&self, event: &Value, caller: &Caller) -> Value {
        let subject = event.get("resourceArn").and_then(Value::as_str).unwrap_or_default();
        let handed = match written(event) {
            Ok(body) => self.handed(&Handed { path: ECS_PATH, body, subject }, caller).await,
            Err(error) => Err((error.to_string(), Answer::Rollback)),
        };
        let (reason, answer) = match handed {
            Ok(told) => return told,
            Err(not_taken) => not_taken,
        };
        let status = if answer == Answer::Continue { "SUCCEEDED" } else { "FAILED" };
        json!({ "hookStatus": status, "hookDetails": { "gate": { "reason": reason } } })
    }

    /// The daemon's answer; or why there is none, and what the relay answers instead.
    async fn handed(
        &self,
        handed: &Handed<'_>,
        caller: &Caller,
    ) -> Result<Value, (String, Answer)> {
        let (reason, answer) = match &self.settings {
            Err(faults) => (faults.clone(), Answer::Rollback),
            Ok(ready) => match self.hand_over(ready, handed, caller).await {
                Ok(told) => return Ok(told),
                Err(NotTaken::Refused(reason)) => (reason, Answer::Rollback),
                Err(NotTaken::Unreachable(reason)) => (reason, ready.unreachable),
            },
        };
        error!(
            subject = handed.subject,
            reason,
            answer = answer.name(),
            "the daemon did not take the question; answering it here"
        );
        Err((reason, answer))
    }

    async fn hand_over(
        &self,
        ready: &Ready,
        handed: &Handed<'_>,
        caller: &Caller,
    ) -> Result<Value, NotTaken> {
        let wanted = Instant::now() + ready.patience;
        let deadline =
            caller.ends.checked_sub(ANSWER_RESERVE).map_or(wanted, |end| wanted.min(end));
        let mut last = "no try was made".to_owned();
        let mut signed_at = 0;
        let mut key = None;
        if let Some(reference) = &ready.key {
            key = Some(self.key(reference, deadline).await?);
        }
        while Instant::now() < deadline {
            // The daemon takes a signature once, and an earlier try may have got there.
            signed_at = (signed_at + 1).max(unix_millis() / 1000);
            match timeout_at(deadline, self.try_once(ready, (key.as_ref(), signed_at), handed))
                .await
            {
                Ok(Ok(told)) => {
                    info!(subject = handed.subject, "handed over");
                    return Ok(told);
                }
                Ok(Err(NotTaken::Refused(reason))) => return Err(NotTaken::Refused(reason)),
                Ok(Err(NotTaken::Unreachable(reason))) => last = reason,
                Err(_elapsed) => break,
            }
            warn!(subject = handed.subject, reason = last, "not handed over yet");
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

    async fn try_once(
        &self,
        ready: &Ready,
        (key, signed_at): (Option<&Key>, u64),
        handed: &Handed<'_>,
    ) -> Result<Value, NotTaken> {
        let url = match &ready.route {
            Route::Http(url) => url,
            Route::Queue(queue) => return self.queue(queue, handed).await,
        };
        let request = request(url, (key, signed_at), handed).map_err(NotTaken::Refused)?;
        match ready.client.send(request, TRY_TIMEOUT).await {
            Ok((StatusCode::ACCEPTED | StatusCode::OK, text)) => {
                let told: Value = serde_json::from_slice(&text).unwrap_or_default();
                // A load balancer or another service may say 200 to anything.
                let expected = if handed.path == ECS_PATH { "hookStatus" } else { "evaluation" };
                if told.get(expected).is_none() {
                    let said = format!("what answers at {url} is not gate: no `{expected}` in it");
                    return Err(NotTaken::Unreachable(said));
                }
                Ok(told)
            }
            Ok((status, text)) => {
                let said = format!("{status}: {}", String::from_utf8_lossy(&text));
                // Refused for good: trying again changes nothing.
                let refused = status.is_client_error()
                    && status != StatusCode::TOO_MANY_REQUESTS
                    // Somebody signed the same in the same second: the next try has another time.
                    && status != StatusCode::CONFLICT
                    && status != StatusCode::REQUEST_TIMEOUT;
                Err(if refused { NotTaken::Refused(said) } else { NotTaken::Unreachable(said) })
            }
            Err(error) => Err(NotTaken::Unreachable(story(&error))),
        }
    }

    async fn queue(&self, queue: &str, handed: &Handed<'_>) -> Result<Value, NotTaken> {
        if handed.path != CODEDEPLOY_PATH {
            let text = "only hooks of CodeDeploy go by a queue; set GATE_URL";
            return Err(NotTaken::Refused(text.to_owned()));
        }
        let body = String::from_utf8_lossy(&handed.body);
        match self.queues.send(queue, &body).await {
            Ok(()) => Ok(Value::Null),
            Err(error) if error.failure == Failure::Passing => {
                Err(NotTaken::Unreachable(error.story()))
            }
            Err(error) => Err(NotTaken::Refused(error.story())),
        }
    }

    /// Answers until AWS has it, or there is no time left.
    async fn until_answered(
        &self,
        caller: &Caller,
        answer: impl AsyncFn() -> Result<(), AwsError>,
    ) -> Result<(), AwsError> {
        let deadline = (Instant::now() + ANSWER_TIMEOUT).min(caller.ends);
        loop {
            match answer().await {
                Ok(()) => return Ok(()),
                // The daemon, or an earlier try, got there first.
                Err(error) if error.failure == Failure::Completed => return Ok(()),
                Err(error) if error.failure != Failure::Passing || Instant::now() >= deadline => {
                    return Err(error);
                }
                Err(error) => warn!(reason = error.story(), "not answered yet"),
            }
            sleep(TRY_AGAIN).await;
        }
    }
}

fn written(event: &impl Serialize) -> Result<Vec<u8>, lambda_runtime::Error> {
    Ok(serde_json::to_vec(event)?)
}

fn stranded(subject: &str, error: &AwsError) -> lambda_runtime::Error {
    format!("{subject}: it was neither handed over nor answered: {}", error.story()).into()
}

/// The question as the daemon takes it, signed where there is a key.
fn request(
    url: &str,
    (key, signed_at): (Option<&Key>, u64),
    handed: &Handed<'_>,
) -> Result<Request<Full<Bytes>>, String> {
    let uri = format!("{url}{}", handed.path);
    let mut request = Request::post(uri).header("content-type", "application/json");
    if let Some(key) = key {
        request = request.header(signature::TIMESTAMP, signed_at.to_string()).header(
            signature::SIGNATURE,
            signature::sign(key, "POST", handed.path, signed_at, &handed.body),
        );
    }
    request.body(Full::new(Bytes::copy_from_slice(&handed.body))).map_err(|error| error.to_string())
}
