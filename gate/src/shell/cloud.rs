//! A question that AWS asks, of whatever kind: resolved, recorded, answered, vetoed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::{
    Answer, Blame, Decision, Delivery, Deployment, Event, Moment, PolicyInForce, Report, Stage,
    Trouble,
};
use probes::Invoker;
use tokio::sync::Notify;
use tracing::{debug, warn};

use super::{Case, Doing, Notifier, Outbox, Vault, Written, sendable};
use crate::ask::{Ask, Subject};
use crate::aws::codedeploy::{NOT_READY, READY};
use crate::aws::pipelines::Approval;
use crate::aws::{Aws, AwsError, Clouds, Failure};
use crate::crash;
use crate::invoke::Functions;
use crate::journal::{Accepted, Entry, Journal};
use crate::library::Library;
use crate::resolve::{Purpose, Resolved, Resolver};
use crate::signals::{Desks, Sources};

/// A decision that another gate could come to as well waits this long to be written before it is sent. What cannot be
/// written at all is answered all the same: AWS takes the first answer alone, and silence would cost more.
const DECISION_PATIENCE: Duration = Duration::from_secs(6);
/// A gate that could not renew its lease for so long that others may judge the question by now waits this long instead, as long
/// as there is time: one of them has answered by then, or nobody can.
const CUT_OFF_PATIENCE: Duration = Duration::from_secs(2 * 60);
/// Before an answer is sent, or once it was not taken, it is looked for so long how things stand: the next try must not wait
/// behind the reads of every other question.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);
/// Whoever polls for an answer is taken to have gone if it has not come back after so long.
const POLL_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// One question of AWS's with what it takes to serve it.
#[derive(Debug)]
pub(crate) struct CloudCase {
    pub(crate) accepted: Accepted,
    pub(crate) journal: Arc<dyn Journal>,
    pub(crate) clouds: Clouds,
    pub(crate) resolver: Resolver,
    pub(crate) outbox: Outbox,
    pub(crate) library: Arc<Library>,
    pub(crate) vault: Vault,
    pub(crate) notifier: Notifier,
    /// Shared by all questions.
    pub(crate) desks: Arc<Desks>,
    pub(crate) memory: Mutex<Memory>,
    /// Told when probing begins.
    pub(crate) began: Notify,
}

/// What this case has done already.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// Probing has begun, so the policy stands: edits are for the next question.
    probing: bool,
    /// The newest resolution that is written down: the same again says nothing new.
    resolution: Option<Event>,
    /// Refusals of the journal before it was written.
    refusals: usize,
    /// The decision that is written down, or waits for a disk that is given no more time: sent again, it is not
    /// written again.
    decision: Option<Decision>,
    /// The answer is on its way, or there: the deployment is between its questions from then on.
    answering: bool,
    /// AWS has begun to stop the deployment for us.
    stopping: bool,
    /// The deployment was seen to wait for somebody to let it go on.
    waited: bool,
}

impl Memory {
    /// What is known of a run that is taken up again: the decision that was read, and whether it has come to one.
    pub(crate) fn after(decision: Option<Decision>, answering: bool) -> Self {
        Self { answering, decision, ..Self::default() }
    }
}

impl CloudCase {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Once probing has begun, the same resolution again is a short fact: every ten seconds, for hours.
    fn or_unchanged(&self, resolved: Event) -> Event {
        let memory = self.memory();
        // One that was kept for the disk may not be there after all.
        let kept = memory.refusals == self.outbox.refusals();
        let known = memory.resolution.as_ref().is_some_and(|known| says_the_same(known, &resolved));
        if memory.probing && kept && known { Event::Unchanged } else { resolved }
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
        let policy = match self.resolver.subject().policy() {
            Some(name) => self.library.named(name).await,
            None => self.library.pick(deployment).await,
        };
        self.usable(&policy).await?;
        Ok(policy)
    }

    /// A policy whose secrets cannot be read is trouble now, not silence later.
    async fn usable(&self, policy: &PolicyInForce) -> Result<(), Trouble> {
        let PolicyInForce::Chosen { file, text } = policy else { return Ok(()) };
        let parsed = policies::PolicyFile::parse(file, text);
        let Some(policy) = parsed.policy else { return Ok(()) };
        sendable(&policy, &self.vault)
            .await
            .map_err(|trouble| Trouble { what: format!("{file}: {}", trouble.what), ..trouble })
    }

    /// AWS in the region and account the question comes from.
    async fn aws(&self) -> Arc<dyn Aws> {
        self.clouds.at(&self.accepted.asked.place).await
    }

    /// Whether what waits for the journal is waited for any longer, after so long, where there is so much time left.
    fn waits(&self, waited: Duration, left: Duration) -> bool {
        self.journal.shared().is_some_and(|shared| {
            waited < DECISION_PATIENCE || shared.is_cut_off() && waited < CUT_OFF_PATIENCE.min(left)
        })
    }

    /// The decision, once it is on disk, or has waited for a bad disk for as long as an answer may: whoever polls is told what
    /// others are sent.
    pub(crate) fn decided_to_tell(&self) -> Option<Decision> {
        self.memory().decision.clone()
    }

    /// Stops the deployment with rollback. `Err` where AWS will not do it.
    async fn stop(&self) -> Result<Event, AwsError> {
        let aws = self.aws().await;
        let stopped = match self.resolver.subject() {
            Subject::CodeDeploy { id } => aws.stop_with_rollback(id).await,
            Subject::Service { arn, .. } => aws.stop_service_deployment(arn).await.map(|()| true),
            Subject::Pipeline { .. } => {
                // No policy watches one.
                let reason = "a pipeline that was answered cannot be stopped".to_owned();
                return Ok(Event::Delivered { delivery: Delivery::TooLate { reason } });
            }
        };
        match stopped {
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
            Err(error)
                if in_time(self.goes_back_already(aws.as_ref(), &error)).await == Some(true) =>
            {
                Ok(Event::Delivered { delivery: Delivery::AlreadyCompleted })
            }
            Err(error) if error.failure == Failure::Passing => Ok(undelivered(&error)),
            Err(error) => Err(error),
        }
    }

    /// Whether a deployment that AWS would not stop is over, or being stopped by other hands: ECS has no error of
    /// its own for that, and who may not stop one would try until the end of days.
    async fn goes_back_already(&self, aws: &dyn Aws, error: &AwsError) -> bool {
        match self.resolver.subject() {
            Subject::Service { arn, .. } => {
                let found = aws.service_deployment(arn).await;
                found.is_ok_and(|found| found.has_ended_or_goes_back())
            }
            Subject::CodeDeploy { id } if error.failure == Failure::Denied => {
                let found = aws.deployment(id).await;
                found.is_ok_and(|found| found.is_over())
            }
            Subject::CodeDeploy { .. } | Subject::Pipeline { .. } => false,
        }
    }

    /// A group that does not roll back by itself leaves everything as it is after a failed hook, so its
    /// deployment is stopped.
    async fn stop_and_answer(&self, decision: &Decision) -> Event {
        match self.stop().await {
            Ok(stopped) => {
                if matches!(stopped, Event::Delivered { .. }) {
                    // The hook is over with its deployment; answering it as well only tidies up.
                    let put = self.put(decision).await;
                    debug!(?put, "the hook of the stopped deployment");
                }
                stopped
            }
            Err(error) => {
                warn!(
                    error = error.story(),
                    "cannot stop the deployment; failing its hook instead"
                );
                self.put(decision).await
            }
        }
    }

    /// Brings the answer to whoever asked. One try.
    async fn put(&self, decision: &Decision) -> Event {
        let aws = self.aws().await;
        let proceed = decision.answer == Answer::Continue;
        let told = match &self.accepted.asked.ask {
            Ask::CodedeployHook { deployment_id, execution_id } => {
                aws.answer_hook(deployment_id, &execution_id.0, proceed).await
            }
            Ask::CodedeployReady { deployment_id } if proceed => {
                let told = aws.end_ready_wait(deployment_id).await;
                match told {
                    Err(error) if error.code == NOT_READY => {
                        return wait_refused(aws.as_ref(), deployment_id, &error).await;
                    }
                    told => told,
                }
            }
            Ask::CodedeployReady { deployment_id } => {
                return self.stop_waiting(aws.as_ref(), deployment_id).await;
            }
            Ask::EcsPause { deployment_arn, hook_id, .. } => {
                let told = aws.answer_pause(deployment_arn, hook_id, proceed).await;
                return self.pause_answered(aws.as_ref(), told).await;
            }
            Ask::Approval { pipeline, stage, action, token, .. } => {
                let approval = Approval {
                    pipeline: pipeline.clone(),
                    stage: stage.clone(),
                    action: action.clone(),
                    token: token.0.clone(),
                };
                aws.answer_approval(&approval, proceed, &decision.reason).await
            }
            Ask::EcsHook { .. } | Ask::PipelineJob { .. } => {
                return self.come_for(aws.as_ref()).await;
            }
            Ask::Watch { .. } => Ok(()),
        };
        match told {
            Ok(()) => Event::Delivered { delivery: Delivery::Confirmed },
            Err(error) => undelivered(&error),
        }
    }

    /// Whoever polls comes for the answer, and what tells them tells the run. Ends where nobody will come.
    async fn come_for(&self, aws: &dyn Aws) -> Event {
        let undelivered = |blame, what: &str| {
            let trouble = Trouble { blame, lasting: false, what: what.to_owned() };
            Event::Undelivered { trouble }
        };
        if self.decided_to_tell().is_none() {
            // Gate stops, and the next start decides once more.
            return undelivered(Blame::Gate, "the decision is not on disk yet");
        }
        tokio::time::sleep(POLL_PATIENCE).await;
        if let Subject::Service { arn, .. } = self.resolver.subject() {
            let over = match aws.service_deployment(arn).await {
                Ok(found) => found.has_ended_or_goes_back(),
                Err(error) => error.failure == Failure::Missing,
            };
            if over {
                let reason = "the deployment ended before anybody came for the answer".to_owned();
                return Event::Delivered { delivery: Delivery::TooLate { reason } };
            }
        }
        undelivered(Blame::Aws, "whoever asked has not come back for the answer")
    }

    /// Takes back a release that waits. One that does not wait any more was let go on by somebody else: stopping it would
    /// undo what a person did.
    async fn stop_waiting(&self, aws: &dyn Aws, deployment_id: &str) -> Event {
        if !self.memory().stopping {
            match in_time(aws.deployment(deployment_id)).await {
                Some(Ok(found)) if found.status == READY => {}
                Some(Ok(_goes_on)) => {
                    return Event::Delivered { delivery: Delivery::AlreadyCompleted };
                }
                Some(Err(error)) => return undelivered(&error),
                None => {
                    let what = format!("GetDeployment of {deployment_id}: no answer in time");
                    let trouble = Trouble { blame: Blame::Aws, lasting: false, what };
                    return Event::Undelivered { trouble };
                }
            }
        }
        self.stop().await.unwrap_or_else(|error| undelivered(&error))
    }

    /// The status of a deployment that waited, and does not wait any more.
    async fn waited(&self, aws: &dyn Aws) -> Option<String> {
        let Ask::CodedeployReady { deployment_id } = &self.accepted.asked.ask else { return None };
        if !self.memory().waited {
            return None;
        }
        let found = aws.deployment(deployment_id).await.ok()?;
        (found.status != READY).then_some(found.status)
    }

    /// ECS has no error of its own for a pause that is over: the deployment is read again to find out.
    async fn pause_answered(&self, aws: &dyn Aws, told: Result<(), AwsError>) -> Event {
        let Ask::EcsPause { deployment_arn, hook_id, .. } = &self.accepted.asked.ask else {
            return Event::Delivered { delivery: Delivery::Confirmed };
        };
        let error = match told {
            Ok(()) => return Event::Delivered { delivery: Delivery::Confirmed },
            Err(error) => error,
        };
        if error.failure == Failure::Denied {
            return undelivered(&error);
        }
        let Some(read) = in_time(aws.service_deployment(deployment_arn)).await else {
            return Event::Undelivered { trouble: trouble(&error) };
        };
        match read {
            Ok(found) => {
                let hook = found.hooks.iter().find(|hook| hook.id == *hook_id);
                if !found.is_over() && hook.is_some_and(crate::aws::ecs::HookFacts::waits) {
                    // It waits, and ECS will not have the answer: once more, later.
                    return Event::Undelivered { trouble: trouble(&error) };
                }
                if hook.is_some_and(|hook| hook.status == "TIMED_OUT") {
                    let reason = format!("the pause had timed out: {}", error.story());
                    return Event::Delivered { delivery: Delivery::TooLate { reason } };
                }
                Event::Delivered { delivery: Delivery::AlreadyCompleted }
            }
            // Whether it waits is not known: once more, later.
            Err(unknown) => undelivered(&unknown),
        }
    }
}

impl Case for CloudCase {
    fn resolve(&self) -> Doing<'_, Event> {
        Box::pin(async move {
            // While it is watched, a deployment is between its hooks most of the time.
            let watched = !self.accepted.asked.ask.waits() || self.memory().answering;
            let purpose = if watched { Purpose::Watch } else { Purpose::Question };
            let aws = self.aws().await;
            let resolved = self.resolver.resolve(aws.as_ref(), purpose).await;
            let waits = matches!(&resolved, Ok(Resolved::Deployment(d)) if d.stage == Stage::Ready);
            self.memory().waited |= waits;
            if let (Purpose::Question, false, Some(status)) =
                (purpose, waits, self.waited(aws.as_ref()).await)
            {
                return Event::Ended { status };
            }
            match resolved {
                Ok(Resolved::Deployment(mut deployment)) => {
                    // A wait that is known by its length alone began when it was announced, also for a gate that
                    // was restarted since.
                    if let (Ask::CodedeployReady { .. }, Some(waits)) =
                        (&self.accepted.asked.ask, deployment.waits_seconds.as_mut())
                    {
                        let now = aws.unix_millis();
                        let since = self.accepted.asked.asked_unix_millis;
                        let since = since.unwrap_or(self.accepted.accepted_unix_millis);
                        *waits = waits.saturating_sub(now.saturating_sub(since) / 1000);
                    }
                    match self.policy(&deployment).await {
                        Ok(policy) => self.or_unchanged(Event::Resolved { deployment, policy }),
                        Err(trouble) => Event::Unresolved { trouble },
                    }
                }
                Ok(Resolved::Ended(status)) => Event::Ended { status },
                // Asked for before the answer, and seen after it.
                Ok(Resolved::Answered(_)) if self.memory().answering => Event::Unchanged,
                Ok(Resolved::Answered(status)) => Event::Ended { status },
                Err(trouble) => Event::Unresolved { trouble },
            }
        })
    }

    fn sources(&self) -> Option<Sources> {
        Some(Sources {
            clouds: self.clouds.clone(),
            place: self.accepted.asked.place.clone(),
            dimensions: self.resolver.dimensions.clone(),
            desks: Arc::clone(&self.desks),
            accepted_unix_millis: self.accepted.accepted_unix_millis,
        })
    }

    fn probing(&self) {
        self.memory().probing = true;
        self.began.notify_one();
    }

    fn invoker(&self) -> Doing<'_, Option<Arc<dyn Invoker>>> {
        Box::pin(async move {
            let invoker: Arc<dyn Invoker> = Arc::new(Functions(self.aws().await));
            Some(invoker)
        })
    }

    fn deliver<'a>(&'a self, decision: &'a Decision, stop_deployment: bool) -> Doing<'a, Event> {
        Box::pin(async move {
            self.memory().answering = true;
            crash::at("answer-unsent");
            if stop_deployment {
                self.stop_and_answer(decision).await
            } else {
                self.put(decision).await
            }
        })
    }

    fn veto(&self) -> Doing<'_, Event> {
        Box::pin(async move { self.stop().await.unwrap_or_else(|error| undelivered(&error)) })
    }

    fn notify(&self, topics: &[String], report: &Report) {
        self.notifier.tell(topics, report);
    }

    fn record<'a>(&'a self, at: Moment, fact: &'a Event) -> Doing<'a, Written> {
        Box::pin(async move {
            crash::at(crash::unwritten(fact));
            let refusals = self.outbox.refusals();
            // What cannot be written in time is still judged and answered: silence would cost more than a gap.
            let written = self.outbox.write(at, Entry::Fact { fact: fact.clone() }).await;
            crash::at(crash::written(fact));
            let kept = written != Written::Dropped;
            if matches!(fact, Event::Resolved { .. }) {
                // One that never will be on disk must be told in full again.
                let mut memory = self.memory();
                memory.resolution = kept.then(|| fact.clone());
                memory.refusals = refusals;
            }
            written
        })
    }

    fn decided<'a>(
        &'a self,
        at: Moment,
        decision: &'a Decision,
        latest: Option<Moment>,
    ) -> Doing<'a, ()> {
        Box::pin(async move {
            if self.memory().decision.as_ref() == Some(decision) {
                return;
            }
            crash::at("decision-unwritten");
            let entry = Entry::Decided { decision: decision.clone() };
            let left = latest.map_or(Duration::MAX, |latest| latest.since(at));
            let written = self.outbox.decide(at, entry, |waited| self.waits(waited, left)).await;
            if written != Written::Dropped {
                crash::at("decision-written");
                self.memory().decision = Some(decision.clone());
            }
        })
    }

    fn settled(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            let _settled = self.outbox.settled(|waited| self.waits(waited, Duration::MAX)).await;
        })
    }

    fn closed(&self) -> Doing<'_, ()> {
        Box::pin(async move {
            crash::at("closed-unwritten");
            // Where it is not written, the next start finds that the run is over, and marks it so.
            self.outbox.close().await;
            crash::at("closed-written");
        })
    }
}

async fn in_time<T>(looking: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(LOOK_PATIENCE, looking).await.ok()
}

/// Whether two resolutions differ by nothing but how long whoever asks waits: that is less each time, and was said.
fn says_the_same(one: &Event, other: &Event) -> bool {
    let without_wait = |event: &Event| {
        let mut event = event.clone();
        if let Event::Resolved { deployment, .. } = &mut event {
            deployment.waits_seconds = None;
        }
        event
    };
    without_wait(one) == without_wait(other)
}

/// CodeDeploy will not end a wait: somebody else has, unless the deployment waits all the same.
async fn wait_refused(aws: &dyn Aws, deployment_id: &str, error: &AwsError) -> Event {
    match aws.deployment(deployment_id).await {
        Ok(found) if found.status == READY => Event::Undelivered { trouble: trouble(error) },
        Ok(_goes_on) => Event::Delivered { delivery: Delivery::AlreadyCompleted },
        Err(unknown) => undelivered(&unknown),
    }
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
