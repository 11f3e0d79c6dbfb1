//! From an id to what can be probed, on every platform.
//!
//! Green is what AWS says is new, never a target group's or an alias's name: names alternate.

mod addresses;
mod codedeploy;
mod function;
mod service;
mod turns;

use std::sync::{Arc, OnceLock};

use policies::{Blame, Deployment, Trouble};
use tokio::sync::{OwnedSemaphorePermit, watch};

pub(crate) use self::codedeploy::is_rollback;
pub(crate) use self::turns::{AllTurns, Turns};
use crate::ask::Subject;
use crate::aws::Aws;

/// What came of resolving.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolved {
    /// What the question is about.
    Deployment(Box<Deployment>),
    /// The deployment is over, with the status AWS gives.
    Ended(String),
    /// What asked does not wait any more, though its deployment goes on, with the status AWS gives.
    Answered(String),
}

/// Finds out what one question is about, again and again; what never changes is asked for once.
#[derive(Debug)]
pub(crate) struct Resolver {
    subject: Subject,
    /// Seconds that the traffic shift takes by its configuration.
    shift_seconds: OnceLock<Option<u64>>,
    turns: Arc<Turns>,
    /// It was resolved before.
    found: OnceLock<()>,
    /// What real traffic is measured by, of green as it was last resolved.
    pub(crate) dimensions: Dimensions,
}

/// What CloudWatch calls green, where it measures it; nothing before it is resolved.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dimensions(Arc<watch::Sender<Option<Measured>>>);

/// Names of green's parts in CloudWatch's dimensions, and whose tasks are green's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Measured {
    /// `targetgroup/web-green/73e2…`.
    pub(crate) target_group: Option<String>,
    /// `app/web/50dc…`.
    pub(crate) load_balancer: Option<String>,
    /// The same of blue, where there is one.
    pub(crate) blue_target_group: Option<String>,
    pub(crate) blue_load_balancer: Option<String>,
    /// Cluster and service.
    pub(crate) service: Option<(String, String)>,
    /// Function, alias and green's version.
    pub(crate) function: Option<(String, String, String)>,
    /// Which of the service's tasks are green's.
    pub(crate) tasks: Option<GreenTasks>,
    /// When the deployment began, in seconds since 1970.
    pub(crate) began_unix_seconds: Option<i64>,
}

/// How green's tasks are told from the others of their service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum GreenTasks {
    /// What they name as `startedBy`: a task set of CodeDeploy's.
    StartedBy(String),
    /// ARN of the task definition that they run, where ECS deploys by itself.
    Running(String),
}

impl GreenTasks {
    /// Whether a task is one of them.
    pub(crate) fn holds(&self, task: &crate::aws::ecs::TaskFacts) -> bool {
        match self {
            Self::StartedBy(id) => task.started_by.as_ref() == Some(id),
            Self::Running(definition) => task.task_definition.as_ref() == Some(definition),
        }
    }
}

impl Dimensions {
    /// As last resolved.
    pub(crate) fn now(&self) -> Measured {
        self.0.borrow().clone().unwrap_or_default()
    }

    pub(crate) fn set(&self, measured: Measured) {
        self.0.send_replace(Some(measured));
    }

    /// Notes that green was resolved: what is not set by then is not there.
    fn settle(&self) {
        self.0.send_if_modified(|measured| {
            let news = measured.is_none();
            measured.get_or_insert_default();
            news
        });
    }

    /// Waits until green is resolved. A run that is taken up again after a restart probes before it is.
    pub(crate) async fn resolved(&self) {
        drop(self.0.subscribe().wait_for(Option::is_some).await);
    }
}

/// Why it is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody waits for an answer.
    Question,
    /// Nobody does: the deployment is watched between its questions.
    Watch,
}

impl Resolver {
    pub(crate) fn new(subject: Subject, turns: Arc<Turns>) -> Self {
        Self {
            subject,
            shift_seconds: OnceLock::new(),
            turns,
            found: OnceLock::new(),
            dimensions: Dimensions::default(),
        }
    }

    /// Waits until it may ask the load balancers. What needs none of them, a rollback, never waits.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        self.turns.take(self.found.get().is_some()).await
    }

    /// What it resolves.
    pub(crate) fn subject(&self) -> &Subject {
        &self.subject
    }

    /// Resolves the deployment as it is now.
    ///
    /// # Errors
    /// Why it could not be resolved this time, and whose fault that is.
    pub(crate) async fn resolve(
        &self,
        aws: &dyn Aws,
        purpose: Purpose,
    ) -> Result<Resolved, Trouble> {
        let resolved = match &self.subject {
            Subject::CodeDeploy { id } => codedeploy::resolve(self, aws, id, purpose).await?,
            Subject::Service { arn, hook_id, stage } => {
                let asked = service::Asked { arn, hook_id: hook_id.as_deref(), stage: *stage };
                service::resolve(self, aws, asked, purpose).await?
            }
            Subject::Pipeline { pipeline, stage, .. } => {
                Resolved::Deployment(Box::new(Deployment {
                    id: pipeline.clone(),
                    pipeline: pipeline.clone(),
                    stage: *stage,
                    rolls_back_on_failure: true,
                    ..Deployment::default()
                }))
            }
        };
        self.dimensions.settle();
        self.found.get_or_init(|| ());
        Ok(resolved)
    }
}

fn passing(what: String) -> Trouble {
    Trouble { blame: Blame::Aws, lasting: false, what }
}

fn lasting(blame: Blame, what: String) -> Trouble {
    Trouble { blame, lasting: true, what }
}

/// What follows a name in an ARN: `targetgroup/web/73e2…` of a target group, `app/web/50dc…` of a load balancer.
pub(crate) fn suffix(arn: &str) -> Option<String> {
    let resource = arn.split(':').nth(5)?;
    Some(resource.strip_prefix("loadbalancer/").unwrap_or(resource).to_owned())
}

#[cfg(test)]
mod tests;
