//! A small AWS in this process, for programs that ask hundreds of questions a minute: CodeDeploy with its hooks, target
//! groups, one queue. It is exact about answers, and can be stopped in the middle of any call.
//!
//! What the emulated AWS in Python is for, the life of deployments, is not in it.

mod balancing;
mod codedeploy;
mod queue;
mod target;
mod wire;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub use codedeploy::{Answer, Deployment};
pub use target::Target;

use codedeploy::Deployments;
use queue::Queue;

/// A call that is held is let go of after so long: whoever made it is dead by then.
const HELD_MAX: Duration = Duration::from_secs(30);

/// How often a deployment is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What is deployed.
#[derive(Clone, Debug)]
pub struct Release {
    /// The application, by which a policy may be chosen.
    pub application: String,
    /// Where green's only task is.
    pub green: SocketAddr,
    /// Where blue's is.
    pub blue: Option<SocketAddr>,
}

/// How far a call has come when it is caught.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is read, and nothing is done: its reply never comes.
    Asked,
    /// It is done: its reply never comes.
    Done,
    /// Its reply is on its way.
    Replied,
}

/// The next call of an operation is to be caught.
#[derive(Debug)]
struct Trap {
    operation: &'static str,
    stage: Stage,
    sprung: oneshot::Sender<()>,
}

#[derive(Debug)]
struct Shared {
    deployments: Mutex<Deployments>,
    queue: Queue,
    trap: Mutex<Option<Trap>>,
}

/// The cloud; gone with its handle.
#[derive(Debug)]
pub struct Cloud {
    /// What `AWS_ENDPOINT_URL` is set to.
    pub endpoint: String,
    shared: Arc<Shared>,
    serving: JoinHandle<()>,
}

/// How fast a [`Cloud`] is.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a hook waits for its answer.
    pub limit: Duration,
    /// What the queue takes for a second.
    pub queue_second: Duration,
}

impl Cloud {
    /// Starts it on a free port.
    pub async fn start(pace: Pace) -> Self {
        let shared = Arc::new(Shared {
            deployments: Mutex::new(Deployments::new(pace.limit)),
            queue: Queue::new(pace.queue_second),
            trap: Mutex::default(),
        });
        let (address, serving) = wire::serve(Arc::clone(&shared)).await;
        Self { endpoint: format!("http://{address}"), shared, serving }
    }

    /// The address of its only queue.
    pub fn queue_url(&self) -> String {
        format!("{}/000000000000/questions", self.endpoint)
    }

    /// A deployment begins, and has come to its hook: the deployment's id and the hook's.
    pub fn deploy(&self, release: Release) -> (String, String) {
        lock(&self.shared.deployments).begin(release)
    }

    /// What a hook tells its function.
    pub fn hook(&self, deployment: &str) -> Value {
        let execution = self.deployment(deployment).execution;
        json!({ "DeploymentId": deployment, "LifecycleEventHookExecutionId": execution })
    }

    /// A deployment as it stands.
    pub fn deployment(&self, id: &str) -> Deployment {
        lock(&self.shared.deployments).of(id).expect("it was begun").clone()
    }

    /// Waits until a deployment's hook is answered, ended, or has timed out.
    pub async fn over(&self, id: &str) {
        while self.deployment(id).waits() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Somebody else ends a deployment, and with it its hook.
    pub fn end(&self, id: &str, status: &'static str) {
        lock(&self.shared.deployments).end(id, status);
    }

    /// Puts a message on the queue.
    pub fn send(&self, body: &Value) {
        self.shared.queue.send(body.to_string());
    }

    /// Messages on the queue, hidden ones included.
    pub fn queued(&self) -> usize {
        self.shared.queue.len()
    }

    /// Answers are from another life of gate from now on.
    pub fn new_life(&self) {
        lock(&self.shared.deployments).life += 1;
    }

    /// Catches the next call of this operation; says when.
    pub fn trap(&self, operation: &'static str, stage: Stage) -> oneshot::Receiver<()> {
        let (sprung, when) = oneshot::channel();
        *lock(&self.shared.trap) = Some(Trap { operation, stage, sprung });
        when
    }

    /// Catches nothing.
    pub fn disarm(&self) {
        *lock(&self.shared.trap) = None;
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Shared {
    /// Whether this call is the one to be caught here. Whoever waits for it is told.
    fn springs(&self, operation: &str, stage: Stage) -> bool {
        let mut trap = lock(&self.trap);
        if trap.as_ref().is_none_or(|trap| trap.operation != operation || trap.stage != stage) {
            return false;
        }
        trap.take().is_some_and(|trap| trap.sprung.send(()).is_ok())
    }

    /// Does not come back before whoever called is dead.
    async fn hold(&self) {
        tokio::time::sleep(HELD_MAX).await;
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
