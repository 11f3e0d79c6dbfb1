//! Questions from an SQS queue: kept invisible while they are judged, let go once they are answered, given back
//! when gate stops.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::{error, info, warn};

use super::envelope::{self, Envelope};
use crate::app::{Gate, Intake, RUNS_MAX};
use crate::ask::{Ask, Asked, Token, Watched};
use crate::aws::messages::Message;
use crate::aws::pipelines::Approval;
use crate::aws::{Aws, Place};
use crate::jitter::Jitter;

/// A message that nobody keeps is seen again after so long: a killed gate costs no more than this.
const HIDDEN_SECONDS: u32 = 60;
/// It is hidden afresh this often while it is judged.
const KEEP_EVERY: Duration = Duration::from_secs(20);
/// A message is hidden for twelve hours at most, whatever is asked for; it is delivered again then, and joins.
//= https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-visibility-timeout.html
const KEPT_MAX: Duration = Duration::from_secs(11 * 3600);
/// Messages of one receive at most, as SQS has it.
//= https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_ReceiveMessage.html
const RECEIVED_MAX: u32 = 10;
/// Messages kept at a time: more than runs, for a second delivery is kept too. While so many are, the others stay on the
/// queue.
const KEPT_AT_ONCE_MAX: usize = 2 * RUNS_MAX;
/// How often it is looked whether a question was answered.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// And whether one was that another gate judges.
const LOOK_ELSEWHERE_EVERY: Duration = Duration::from_secs(5);
/// What cannot be taken now comes again after so long, and after twice as long each time.
const AGAIN_SECONDS: u32 = 30;
/// But not after longer.
const AGAIN_SECONDS_MAX: u32 = 900;
/// An approval that no execution of its pipeline waits for is let go of when it was received so often: ECS and
/// CodePipeline show what they announce seconds later at the most.
const LOOKED_UP_MAX: u32 = 6;
/// Between two tries to reach the queue, at most.
const BACKOFF_MAX: Duration = Duration::from_secs(30);

/// Takes messages until gate stops.
pub(crate) async fn take(gate: Arc<Gate>, url: String, tasks: TaskTracker) {
    // A queue's address names its region: gate may run elsewhere.
    let place = Place { region: region_of(&url), account: None };
    let aws = gate.clouds.at(&place).await;
    let (mut failures, jitter) = (0_u32, Jitter::default());
    let places = Arc::new(Semaphore::new(KEPT_AT_ONCE_MAX));
    info!(queue = url, "taking questions from the queue");
    loop {
        // There is a place for each before it is received: it is hidden from others from then on.
        let free = tokio::select! {
            () = gate.stop.cancelled() => return,
            free = Arc::clone(&places).acquire_many_owned(RECEIVED_MAX) => free,
        };
        // It is never closed.
        let Ok(mut free) = free else { return };
        let messages = tokio::select! {
            () = gate.stop.cancelled() => return,
            messages = aws.receive(&url, HIDDEN_SECONDS) => messages,
        };
        match messages {
            Ok(messages) => {
                failures = 0;
                for message in messages {
                    let kept = Kept {
                        gate: Arc::clone(&gate),
                        aws: Arc::clone(&aws),
                        url: url.clone(),
                        message,
                    };
                    let place = free.split(1);
                    tasks.spawn(async move {
                        kept.serve().await;
                        drop(place);
                    });
                }
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                let wait = Duration::from_secs(1 << failures.min(5)).min(BACKOFF_MAX);
                let wait = jitter.spread(wait);
                warn!(error = error.story(), "the queue cannot be read; trying again");
                tokio::select! {
                    () = gate.stop.cancelled() => return,
                    () = sleep(wait) => {}
                }
            }
        }
    }
}

/// `https://sqs.eu-west-1.amazonaws.com/…`.
pub(crate) fn region_of(url: &str) -> Option<String> {
    let host = url.split("://").nth(1)?.split('/').next()?;
    host.strip_prefix("sqs.")?.split('.').next().map(str::to_owned)
}

/// A message that gate holds.
struct Kept {
    gate: Arc<Gate>,
    aws: Arc<dyn Aws>,
    url: String,
    message: Message,
}

impl Kept {
    async fn serve(self) {
        match envelope::read(&self.message.body) {
            Ok(Envelope::Nothing) => self.let_go().await,
            Ok(Envelope::Asked(asked)) => {
                // Who asked began to wait when the message was sent, not when it was taken.
                let asked = Asked { asked_unix_millis: self.message.sent_unix_millis, ..*asked };
                self.asked(asked).await;
            }
            Ok(Envelope::ServiceDeploys { service_arn }) => self.deploys(&service_arn).await,
            Err(reason) => {
                self.gate.metrics.question("queue", "malformed");
                // It is neither deleted nor hidden for long: the queue's redrive policy moves it away.
                error!(
                    message = self.message.id,
                    received = self.message.received,
                    reason,
                    "a message on the queue is nothing gate knows; it is left to the dead-letter queue"
                );
                self.give_back(AGAIN_SECONDS).await;
            }
        }
    }

    /// Gate cannot take it now. That is no fault of the message's: it comes again later and later, so that the
    /// queue's limit of receives is not used up within minutes.
    async fn later(&self) {
        let times = self.message.received.saturating_sub(1).min(8);
        self.give_back((AGAIN_SECONDS << times).min(AGAIN_SECONDS_MAX)).await;
    }

    async fn asked(self, asked: Asked) {
        let many = match self.complete(asked).await {
            Some(many) => many,
            None => return self.later().await,
        };
        let mut open = Vec::new();
        for asked in many {
            let (kind, waits) = (asked.ask.kind(), asked.ask.waits());
            let id = match self.gate.accept(asked).await {
                Intake::Accepted(id) => {
                    self.gate.metrics.question(kind, "accepted");
                    id
                }
                Intake::Joined(id) => {
                    self.gate.metrics.question(kind, "joined");
                    id
                }
                Intake::Full => {
                    self.gate.metrics.question(kind, "full");
                    return self.later().await;
                }
                Intake::Unwritten(error) => {
                    self.gate.metrics.question(kind, "unwritten");
                    error!(
                        error = &error as &dyn std::error::Error,
                        "a question could not be written down; it stays on the queue"
                    );
                    drop(error);
                    return self.later().await;
                }
            };
            open.extend(waits.then_some(id));
        }
        self.keep(open).await;
    }

    /// A pipeline that runs several executions at once tells no token: each that waits is a question. `None`
    /// where it cannot be looked up now.
    async fn complete(&self, asked: Asked) -> Option<Vec<Asked>> {
        let Ask::Approval { pipeline, stage, action, token, policy, expires_unix_millis } =
            &asked.ask
        else {
            return Some(vec![asked]);
        };
        if !token.0.is_empty() {
            return Some(vec![asked]);
        }
        let approval = Approval {
            pipeline: pipeline.clone(),
            stage: stage.clone(),
            action: action.clone(),
            token: String::new(),
        };
        let aws = self.gate.clouds.at(&asked.place).await;
        match aws.waiting_approvals(&approval).await {
            Ok(waiting) if waiting.is_empty() => {
                let over = self.message.received >= LOOKED_UP_MAX;
                // An announcement may be ahead of what can be looked up.
                warn!(pipeline, stage, action, over, "no execution waits for this approval");
                over.then(Vec::new)
            }
            Ok(waiting) => {
                let each = waiting.into_iter().map(|waiting| Asked {
                    ask: Ask::Approval {
                        pipeline: pipeline.clone(),
                        stage: stage.clone(),
                        action: action.clone(),
                        token: Token(waiting.token),
                        policy: policy.clone(),
                        expires_unix_millis: *expires_unix_millis,
                    },
                    place: asked.place.clone(),
                    asked_unix_millis: asked.asked_unix_millis,
                });
                Some(each.collect())
            }
            Err(error) => {
                warn!(error = error.story(), "the approvals that wait cannot be looked up");
                None
            }
        }
    }

    /// A service is being deployed: what is under way is watched.
    async fn deploys(self, service_arn: &str) {
        let place = Place::of_arn(service_arn);
        let path = service_arn.split_once(":service/").map_or("", |(_, path)| path);
        let Some((cluster, service)) = path.split_once('/') else { return self.let_go().await };
        let aws = self.gate.clouds.at(&place).await;
        match aws.deployments_under_way(cluster, service).await {
            // The event may be ahead of the list.
            Ok(arns) if arns.is_empty() && self.message.received < LOOKED_UP_MAX => {
                self.later().await;
            }
            Ok(arns) => {
                for deployment_arn in arns {
                    let ask = Ask::Watch { of: Watched::Service { deployment_arn } };
                    let asked = Asked::now(ask, place.clone());
                    if !matches!(
                        self.gate.accept(asked).await,
                        Intake::Accepted(_) | Intake::Joined(_)
                    ) {
                        return self.later().await;
                    }
                }
                self.let_go().await;
            }
            Err(error) => {
                warn!(error = error.story(), "a deployment that begins cannot be looked up");
                self.later().await;
            }
        }
    }

    /// Keeps the message from others until its questions are answered.
    async fn keep(self, open: Vec<String>) {
        let began = Instant::now();
        let mut hidden = Instant::now();
        let mut looked = None;
        loop {
            if self.gate.stop.is_cancelled() {
                // Another gate, or the next start, takes it up at once. Runs are put down at the same time, so
                // that one that is not open any more need not be answered.
                return self.give_back(0).await;
            }
            if !self.waits(&open, &mut looked).await {
                return self.let_go().await;
            }
            if began.elapsed() >= KEPT_MAX {
                return;
            }
            if hidden.elapsed() >= KEEP_EVERY {
                hidden = Instant::now();
                self.give_back(HIDDEN_SECONDS).await;
            }
            tokio::select! {
                () = self.gate.stop.cancelled() => {}
                () = sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Whether one of these waits for its answer, here or at another gate.
    async fn waits(&self, open: &[String], looked: &mut Option<Instant>) -> bool {
        if open.iter().any(|id| self.gate.is_open(id)) {
            return true;
        }
        if !self.gate.shares() {
            return false;
        }
        if looked.is_some_and(|looked| looked.elapsed() < LOOK_ELSEWHERE_EVERY) {
            return true;
        }
        *looked = Some(Instant::now());
        for id in open {
            if self.gate.waits_elsewhere(id).await {
                return true;
            }
        }
        false
    }

    async fn let_go(&self) {
        if let Err(error) = self.aws.delete(&self.url, &self.message.receipt).await {
            // It comes again and joins what it asked before.
            warn!(error = error.story(), "an answered message stays on the queue");
        }
    }

    /// Others see it after so long.
    async fn give_back(&self, seconds: u32) {
        if let Err(error) = self.aws.hide(&self.url, &self.message.receipt, seconds).await {
            warn!(error = error.story(), "a message cannot be hidden; it may be delivered twice");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::Call;
    use crate::aws::fake::FakeAws;
    use crate::simulation::Calm;

    fn kept(calm: &Calm, aws: &Arc<FakeAws>, received: u32) -> Kept {
        let message = Message {
            id: "message".into(),
            receipt: "receipt".into(),
            body: String::new(),
            received,
            sent_unix_millis: None,
        };
        let (gate, aws): (_, Arc<dyn Aws>) = (Arc::clone(&calm.gate), Arc::<FakeAws>::clone(aws));
        Kept { gate, aws, url: "queue".into(), message }
    }

    fn hidden(aws: &FakeAws) -> Vec<u32> {
        aws.hidden.lock().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_hidden_afresh_while_it_is_judged_and_given_back_on_a_stop() {
        let (calm, aws) = (Calm::new("kept", 1, false).await, Arc::new(FakeAws::new()));
        let asked = kept(&calm, &aws, 1).asked(calm.asked(0));
        let serving = tokio::spawn(asked);
        // At 20, 40, 60, 80 and 100 s: each time before it would be seen again.
        sleep(KEEP_EVERY * 5 + KEEP_EVERY / 2).await;
        assert_eq!(hidden(&aws), [HIDDEN_SECONDS; 5]);
        assert!(KEEP_EVERY * 2 < Duration::from_secs(HIDDEN_SECONDS.into()), "one may fail");
        calm.gate.stop.cancel();
        serving.await.unwrap();
        assert_eq!(hidden(&aws).last(), Some(&0), "another gate may take it at once");
        assert_eq!((hidden(&aws).len(), aws.count(Call::DeleteMessage)), (6, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_is_let_go_of_when_its_question_is_answered_and_not_before() {
        let (calm, aws) = (Calm::new("answered", 1, true).await, Arc::new(FakeAws::new()));
        let serving = tokio::spawn(kept(&calm, &aws, 1).asked(calm.asked(0)));
        sleep(Duration::from_secs(15)).await;
        assert_eq!(aws.count(Call::DeleteMessage), 0, "its policy has it judged for 20 s");
        serving.await.unwrap();
        assert_eq!(aws.count(Call::DeleteMessage), 1);
        assert!(!hidden(&aws).contains(&0), "it is not shown again meanwhile");
    }

    #[tokio::test(start_paused = true)]
    async fn a_message_that_a_full_gate_cannot_take_stays_on_the_queue() {
        const RUNS: usize = 1000;
        let (calm, aws) = (Calm::new("full", 1001, false).await, Arc::new(FakeAws::new()));
        for number in 0..RUNS {
            let taken = calm.gate.accept(calm.asked(number)).await;
            assert!(matches!(taken, Intake::Accepted(_)), "{taken:?}");
        }
        for (received, seconds) in [(1, AGAIN_SECONDS), (3, AGAIN_SECONDS * 4), (20, 900)] {
            kept(&calm, &aws, received).asked(calm.asked(RUNS)).await;
            assert_eq!(hidden(&aws).last(), Some(&seconds), "received {received} times");
        }
        assert_eq!((hidden(&aws).len(), aws.count(Call::DeleteMessage)), (3, 0));
        // It joins what is judged already, however full gate is.
        let joined = calm.gate.accept(calm.asked(0)).await;
        assert!(matches!(joined, Intake::Joined(_)), "{joined:?}");
    }

    #[test]
    fn the_region_of_a_queue_is_in_its_address() {
        let of = |url| region_of(url);
        assert_eq!(of("https://sqs.eu-west-1.amazonaws.com/1/gate").as_deref(), Some("eu-west-1"));
        assert_eq!(of("http://127.0.0.1:4566/1/gate"), None);
    }
}
