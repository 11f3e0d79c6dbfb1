//! A CodeDeploy lifecycle hook: resolved, recorded, answered.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::{
    Answer, Blame, Decision, Delivery, Deployment, Event, Moment, PolicyInForce, Trouble,
};
use tokio::time::timeout;
use tracing::{debug, error, warn};

use super::{Case, Doing, sendable};
use crate::aws::{Aws, AwsError, Failure};
use crate::journal::{Accepted, Entry, Journal};
use crate::library::Library;
use crate::resolve::{Resolved, resolve};
use crate::telemetry::Metrics;

/// A tick may wait this long for the disk; a disk that hangs must not keep an answer from being given.
const JOURNAL_TIMEOUT: Duration = Duration::from_secs(2);

/// One hook with what it takes to serve it.
#[derive(Debug)]
pub(crate) struct HookCase {
    pub(crate) accepted: Accepted,
    pub(crate) aws: Arc<dyn Aws>,
    pub(crate) journal: Journal,
    pub(crate) library: Arc<Library>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) memory: Mutex<Memory>,
}

/// What this case has done already.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Probing has begun, so the policy stands: edits are for the next question.
    probing: bool,
    /// The newest resolution on disk: the same again says nothing new.
    resolution: Option<Event>,
    /// The decision on disk: sent again, it is not written again.
    decision: Option<Decision>,
    /// AWS has begun to stop the deployment for us.
    stopping: bool,
}

impl Memory {
    /// What is known of a run that is taken up again: its decision is on disk.
    pub(crate) fn after(decision: Option<Decision>) -> Self {
        Self { decision, ..Self::default() }
    }
}

impl HookCase {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once probing has begun, the same resolution again is a short fact: every ten seconds, for hours.
    fn or_unchanged(&self, resolved: Event) -> Event {
        let memory = self.memory();
        let known = memory.probing && memory.resolution.as_ref() == Some(&resolved);
        if known { Event::Unchanged } else { resolved }
    }

    /// The policy for this deployment: as the folder is now, and later as it was then.
    async fn policy(&self, deployment: &Deployment) -> Result<PolicyInForce, Trouble> {
        {
            let memory = self.memory();
            if let (true, Some(Event::Resolved { policy, .. })) =
                (memory.probing, &memory.resolution)
            {
                return Ok(policy.clone());
            }
        }
        let policy = self.library.pick(deployment).await;
        usable(&policy)?;
        Ok(policy)
    }

    /// Stops the deployment with rollback. `Err` where AWS will not do it.
    async fn stop(&self) -> Result<Event, AwsError> {
        match self.aws.stop_with_rollback(&self.accepted.deployment_id).await {
            Ok(true) => Ok(Event::Delivered { delivery: Delivery::Stopped }),
            Ok(false) => {
                self.memory().stopping = true;
                let what = "the deployment is being stopped with rollback".to_owned();
                let trouble = Trouble { blame: Blame::Aws, lasting: false, what };
                Ok(Event::Undelivered { trouble })
            }
            Err(error) if error.failure == Failure::Completed && self.memory().stopping => {
                Ok(Event::Delivered { delivery: Delivery::Stopped })
            }
            Err(error) if error.failure == Failure::Passing => Ok(undelivered(&error)),
            Err(error) => Err(error),
        }
    }

    /// A group that does not roll back by itself leaves everything as it is after a failed hook, so its
    /// deployment is stopped.
    async fn stop_and_answer(&self, answer: Answer) -> Event {
        match self.stop().await {
            Ok(stopped) => {
                if matches!(stopped, Event::Delivered { .. }) {
                    // The hook is over with its deployment; answering it as well only tidies up.
                    let put = self.put(answer).await;
                    debug!(?put, "the hook of the stopped deployment");
                }
                stopped
            }
            Err(error) => {
                warn!(
                    error = error.story(),
                    "cannot stop the deployment; failing its hook instead"
                );
                self.put(answer).await
            }
        }
    }

    /// True if it is on disk. What cannot be written in time is still judged and answered: silence would
    /// cost more than a gap.
    async fn write(&self, at: Moment, entry: Entry) -> bool {
        let appending = self.journal.append(&self.accepted.question.id, at, entry);
        let error: &dyn std::error::Error = match timeout(JOURNAL_TIMEOUT, appending).await {
            Ok(Ok(())) => return true,
            Ok(Err(error)) => &{ error },
            Err(elapsed) => &{ elapsed },
        };
        self.metrics.lost("journal-entry");
        error!(error, "an entry is not on disk");
        false
    }

    async fn put(&self, answer: Answer) -> Event {
        let Accepted { deployment_id, execution_id, .. } = &self.accepted;
        let succeeded = answer == Answer::Continue;
        match self.aws.answer_hook(deployment_id, &execution_id.0, succeeded).await {
            Ok(()) => Event::Delivered { delivery: Delivery::Confirmed },
            Err(error) => undelivered(&error),
        }
    }
}

impl Case for HookCase {
    fn resolve(&self) -> Doing<'_, Event> {
        Box::pin(async move {
            // While it is watched, a deployment is between its hooks most of the time.
            let watched = self.memory().decision.is_some();
            match resolve(self.aws.as_ref(), &self.accepted.deployment_id, watched).await {
                Ok(Resolved::Deployment(deployment)) => match self.policy(&deployment).await {
                    Ok(policy) => self.or_unchanged(Event::Resolved { deployment, policy }),
                    Err(trouble) => Event::Unresolved { trouble },
                },
                Ok(Resolved::Ended(status)) => Event::Ended { status },
                Err(trouble) => Event::Unresolved { trouble },
            }
        })
    }

    fn probing(&self) {
        self.memory().probing = true;
    }

    fn deliver<'a>(&'a self, decision: &'a Decision, stop_deployment: bool) -> Doing<'a, Event> {
        Box::pin(async move {
            if stop_deployment {
                self.stop_and_answer(decision.answer).await
            } else {
                self.put(decision.answer).await
            }
        })
    }

    fn veto(&self) -> Doing<'_, Event> {
        Box::pin(async move { self.stop().await.unwrap_or_else(|error| undelivered(&error)) })
    }

    fn record<'a>(&'a self, at: Moment, fact: &'a Event) -> Doing<'a, ()> {
        Box::pin(async move {
            let written = self.write(at, Entry::Fact { fact: fact.clone() }).await;
            if matches!(fact, Event::Resolved { .. }) {
                // One that is not on disk must be told in full again.
                self.memory().resolution = written.then(|| fact.clone());
            }
        })
    }

    fn decided<'a>(&'a self, at: Moment, decision: &'a Decision) -> Doing<'a, ()> {
        Box::pin(async move {
            if self.memory().decision.as_ref() == Some(decision) {
                return;
            }
            if self.write(at, Entry::Decided { decision: decision.clone() }).await {
                self.memory().decision = Some(decision.clone());
            }
        })
    }

    fn closed(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            if let Err(error) = self.journal.close(&self.accepted.question.id).await {
                error!(
                    error = &error as &dyn std::error::Error,
                    "the run is over, but not marked so"
                );
            }
        })
    }
}

/// A policy whose secrets cannot be read is trouble now, not silence later.
fn usable(policy: &PolicyInForce) -> Result<(), Trouble> {
    let PolicyInForce::Chosen { file, text } = policy else { return Ok(()) };
    let parsed = policies::PolicyFile::parse(file, text);
    let Some(policy) = parsed.policy else { return Ok(()) };
    sendable(&policy).map_err(|error| Trouble {
        blame: Blame::User,
        lasting: true,
        what: format!("{file}: {error}"),
    })
}

fn undelivered(error: &AwsError) -> Event {
    match error.failure {
        Failure::Completed => Event::Delivered { delivery: Delivery::AlreadyCompleted },
        // Nobody will ever wait for this answer.
        Failure::Missing | Failure::Invalid => {
            Event::Delivered { delivery: Delivery::TooLate { reason: error.story() } }
        }
        Failure::Denied | Failure::Passing => Event::Undelivered { trouble: trouble(error) },
    }
}

/// A failed call in the run's words.
pub(crate) fn trouble(error: &AwsError) -> Trouble {
    let lasting = error.failure != Failure::Passing;
    Trouble { blame: error.blame(), lasting, what: error.story() }
}
