//! AWS in our words. The folder beside this file is the only place that names an AWS SDK.
//!
//! `real` talks to AWS, `fake` answers from memory and can be told to fail; both sit behind [`Aws`].

#[cfg(test)]
pub(crate) mod fake;
mod real;
mod sign;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use policies::Blame;

pub(crate) use real::{RealAws, TALKATIVE};
pub(crate) use sign::signer;

/// A call under way.
pub(crate) type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send + 'a>>;

/// The calls gate makes, and nothing more: what is not here needs no permission.
pub(crate) trait Aws: Send + Sync + fmt::Debug {
    /// What CodeDeploy says of a deployment.
    fn deployment<'a>(&'a self, id: &'a str) -> Reply<'a, DeploymentFacts>;
    /// The ECS service a deployment is about, with its task sets. `None` while it has no targets yet.
    fn ecs_target<'a>(&'a self, id: &'a str) -> Reply<'a, Option<EcsTarget>>;
    /// A target group by its name.
    fn target_group<'a>(&'a self, name: &'a str) -> Reply<'a, TargetGroup>;
    /// What is registered in a target group.
    fn target_health<'a>(&'a self, group_arn: &'a str) -> Reply<'a, Vec<Registered>>;
    /// A listener, its load balancer, and where it forwards to.
    fn listener<'a>(&'a self, arn: &'a str) -> Reply<'a, Listener>;
    /// Answers a lifecycle hook. One try: the run decides about the next.
    fn answer_hook<'a>(&'a self, id: &'a str, execution: &'a str, succeeded: bool)
    -> Reply<'a, ()>;
    /// Stops a deployment and rolls it back. False while AWS is at it: ask again.
    fn stop_with_rollback<'a>(&'a self, id: &'a str) -> Reply<'a, bool>;
}

/// Facts of a CodeDeploy deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeploymentFacts {
    pub(crate) application: String,
    pub(crate) group: String,
    /// `ECS`, `Lambda` or `Server`.
    pub(crate) platform: String,
    /// `InProgress`, `Succeeded`, ...
    pub(crate) status: String,
    /// `codeDeployRollback` for a rollback.
    pub(crate) creator: String,
    pub(crate) rolls_back_on_failure: bool,
    pub(crate) production_listener: Option<String>,
    pub(crate) test_listener: Option<String>,
}

/// An ECS service under deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EcsTarget {
    /// `cluster:service`.
    pub(crate) id: String,
    /// Lifecycle events in progress.
    pub(crate) events_in_progress: Vec<String>,
    pub(crate) task_sets: Vec<TaskSet>,
}

/// One of the two task sets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TaskSet {
    /// `Blue` or `Green`: the only thing that says which is which.
    pub(crate) label: String,
    /// Name of its target group.
    pub(crate) target_group: Option<String>,
}

/// A target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TargetGroup {
    pub(crate) arn: String,
    /// `ip`, `instance`, ...
    pub(crate) target_type: String,
    /// `HTTP`, `HTTPS`, `TCP`, ...
    pub(crate) protocol: String,
    /// `HTTP1`, `HTTP2` or `GRPC`.
    pub(crate) protocol_version: String,
}

/// A registered target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Registered {
    pub(crate) id: String,
    pub(crate) port: u16,
    /// `healthy`, `initial`, `unhealthy`, `unused`, `draining`, `unavailable`.
    pub(crate) state: String,
    /// `Target.ResponseCodeMismatch`, ... where not healthy.
    pub(crate) reason: Option<String>,
    /// AWS's own sentence about it.
    pub(crate) description: Option<String>,
}

/// A listener with the host name of its load balancer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) dns_name: String,
    pub(crate) port: u16,
    /// `HTTP`, `HTTPS`, `TCP`, ...
    pub(crate) protocol: String,
    /// ARNs of the target groups it forwards to.
    pub(crate) forwards_to: Vec<String>,
}

/// Kinds of failed calls that gate treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The permission is missing.
    Denied,
    /// What was asked about does not exist.
    Missing,
    /// The event, or the deployment, is already over.
    Completed,
    /// AWS refuses the request as it is.
    Invalid,
    /// Throttled, failed or unreachable: trying again may help.
    Passing,
}

/// A call that failed. `Display` names the attempt; `source` holds the cause.
#[derive(Debug, thiserror::Error)]
#[error("{operation} of {subject} failed: {code}")]
pub(crate) struct AwsError {
    pub(crate) operation: &'static str,
    /// What the call was about, as an operator would name it.
    pub(crate) subject: String,
    /// AWS's error code, or `Unreachable` where there was no answer.
    pub(crate) code: String,
    /// AWS's message, may be empty.
    pub(crate) message: String,
    pub(crate) failure: Failure,
}

impl AwsError {
    /// Whose fault it is. Never the release's.
    pub(crate) const fn blame(&self) -> Blame {
        match self.failure {
            Failure::Denied | Failure::Missing | Failure::Invalid => Blame::User,
            Failure::Completed | Failure::Passing => Blame::Aws,
        }
    }

    /// The whole story in one line, with what to do where that is known.
    pub(crate) fn story(&self) -> String {
        let message =
            if self.message.is_empty() { String::new() } else { format!(" ({})", self.message) };
        let advice = match self.failure {
            Failure::Denied => {
                format!(
                    "; allow `{}` to the role gate runs with, see deploy/README.md",
                    self.permission()
                )
            }
            Failure::Missing | Failure::Completed | Failure::Invalid | Failure::Passing => {
                String::new()
            }
        };
        format!("{self}{message}{advice}")
    }

    fn permission(&self) -> String {
        let service = if self.operation.contains("Target") && !self.operation.contains("Deployment")
            || self.operation.contains("Listener")
            || self.operation.contains("LoadBalancers")
            || self.operation.contains("Rules")
        {
            "elasticloadbalancing"
        } else {
            "codedeploy"
        };
        format!("{service}:{}", self.operation)
    }
}
