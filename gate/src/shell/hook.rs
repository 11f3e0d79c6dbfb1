//! A CodeDeploy lifecycle hook: resolved, recorded, answered.

use std::sync::{Arc, Mutex, PoisonError};

use policies::{Answer, Decision, Delivery, Event, Moment, PolicyInForce, Trouble};
use tracing::{error, warn};

use super::{Case, Doing, sendable};
use crate::aws::{Aws, AwsError, Failure};
use crate::journal::{Accepted, Entry, Journal};
use crate::library::Library;
use crate::resolve::{Resolved, resolve};
use crate::telemetry::Metrics;

/// One hook with what it takes to serve it.
#[derive(Debug)]
pub(crate) struct HookCase {
    pub(crate) accepted: Accepted,
    pub(crate) aws: Arc<dyn Aws>,
    pub(crate) journal: Journal,
    pub(crate) library: Arc<Library>,
    pub(crate) metrics: Arc<Metrics>,
    /// The newest resolution on disk: the same again says nothing new.
    pub(crate) resolution: Mutex<Option<Event>>,
}

impl HookCase {
    /// Whether the journal has this fact already.
    fn known(&self, fact: &Event) -> bool {
        if !matches!(fact, Event::Resolved { .. }) {
            return false;
        }
        let mut newest = self.resolution.lock().unwrap_or_else(PoisonError::into_inner);
        let known = newest.as_ref() == Some(fact);
        *newest = Some(fact.clone());
        known
    }

    async fn write(&self, at: Moment, entry: Entry) {
        // What cannot be written is still judged and answered: silence would cost more than a gap.
        if let Err(error) = self.journal.append(&self.accepted.question.id, at, entry).await {
            self.metrics.lost("journal-entry");
            error!(error = &error as &dyn std::error::Error, "an entry is not on disk");
        }
    }

    async fn put(&self, answer: Answer) -> Event {
        let Accepted { deployment_id, execution_id, .. } = &self.accepted;
        let succeeded = answer == Answer::Continue;
        match self.aws.answer_hook(deployment_id, execution_id, succeeded).await {
            Ok(()) => Event::Delivered { delivery: Delivery::Confirmed },
            Err(error) => undelivered(&error),
        }
    }
}

impl Case for HookCase {
    fn resolve(&self) -> Doing<'_, Event> {
        Box::pin(async move {
            match resolve(self.aws.as_ref(), &self.accepted.deployment_id).await {
                Ok(Resolved::Deployment(deployment)) => {
                    let policy = self.library.pick(&deployment).await;
                    match usable(&policy) {
                        Ok(()) => Event::Resolved { deployment: Box::new(deployment), policy },
                        Err(trouble) => Event::Unresolved { trouble },
                    }
                }
                Ok(Resolved::Ended(status)) => Event::Ended { status },
                Err(trouble) => Event::Unresolved { trouble },
            }
        })
    }

    fn deliver<'a>(&'a self, decision: &'a Decision, stop_deployment: bool) -> Doing<'a, Event> {
        Box::pin(async move {
            if !stop_deployment {
                return self.put(decision.answer).await;
            }
            // The group would leave everything as it is after a failed hook: stop with rollback first.
            match self.aws.stop_with_rollback(&self.accepted.deployment_id).await {
                Ok(()) => {
                    let put = self.put(decision.answer).await;
                    if !matches!(put, Event::Delivered { .. }) {
                        warn!("the deployment is stopped, but its hook could not be answered");
                    }
                    Event::Delivered { delivery: Delivery::Stopped }
                }
                Err(error) if error.failure == Failure::Passing => undelivered(&error),
                Err(error) => {
                    warn!(
                        error = error.story(),
                        "cannot stop the deployment; failing its hook instead"
                    );
                    self.put(decision.answer).await
                }
            }
        })
    }

    fn record<'a>(&'a self, at: Moment, fact: &'a Event) -> Doing<'a, ()> {
        Box::pin(async move {
            if !self.known(fact) {
                self.write(at, Entry::Fact { fact: fact.clone() }).await;
            }
        })
    }

    fn decided<'a>(&'a self, at: Moment, decision: &'a Decision) -> Doing<'a, ()> {
        Box::pin(self.write(at, Entry::Decided { decision: decision.clone() }))
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
        blame: policies::Blame::User,
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
