//! CodeDeploy in our words.

use super::Reply;

/// The calls gate makes of CodeDeploy.
pub(crate) trait CodeDeploy {
    /// What CodeDeploy says of a deployment.
    fn deployment<'a>(&'a self, id: &'a str) -> Reply<'a, DeploymentFacts>;
    /// What is deployed, and how far. `None` while the deployment has no targets yet.
    fn deployment_target<'a>(&'a self, id: &'a str) -> Reply<'a, Option<DeploymentTarget>>;
    /// How a deployment configuration shifts traffic.
    fn shift<'a>(&'a self, config: &'a str) -> Reply<'a, Shift>;
    /// Answers a lifecycle hook. One try: the run decides about the next.
    fn answer_hook<'a>(&'a self, id: &'a str, execution: &'a str, succeeded: bool)
    -> Reply<'a, ()>;
    /// Ends a READY wait: traffic may shift.
    fn end_ready_wait<'a>(&'a self, id: &'a str) -> Reply<'a, ()>;
    /// Stops a deployment and rolls it back. False while AWS is at it: ask again.
    fn stop_with_rollback<'a>(&'a self, id: &'a str) -> Reply<'a, bool>;
    /// Deployments of a group that wait in status `Ready`.
    fn ready_deployments<'a>(
        &'a self,
        application: &'a str,
        group: &'a str,
    ) -> Reply<'a, Vec<String>>;
    /// What is set up for a deployment group.
    fn deployment_group<'a>(
        &'a self,
        application: &'a str,
        group: &'a str,
    ) -> Reply<'a, GroupFacts>;
}

/// Status of a deployment in its READY wait.
pub(crate) const READY: &str = "Ready";
/// Code of the error for a wait that cannot be ended because the deployment does not wait.
//= https://docs.aws.amazon.com/codedeploy/latest/APIReference/API_ContinueDeployment.html
pub(crate) const NOT_READY: &str = "DeploymentIsNotInReadyStateException";

/// Facts of a CodeDeploy deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Name of its deployment configuration.
    pub(crate) config: Option<String>,
    /// Minutes it waits in status `Ready`, where it does.
    pub(crate) ready_wait_minutes: Option<u64>,
    /// Minutes that blue is kept after the shift.
    pub(crate) termination_wait_minutes: Option<u64>,
    /// CodeDeploy's code and sentence, where it failed or was stopped.
    pub(crate) error: Option<String>,
    /// When it was made, in seconds since 1970.
    pub(crate) began_unix_seconds: Option<i64>,
    /// The deployment that rolls it back.
    pub(crate) rolled_back_by: Option<String>,
}

impl DeploymentFacts {
    /// Whether it is over, however it ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(self.status.as_str(), "Succeeded" | "Failed" | "Stopped")
    }
}

/// What a deployment is about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum DeploymentTarget {
    /// A service.
    Ecs(EcsTarget),
    /// A function behind an alias.
    Function(FunctionTarget),
}

/// An ECS service under deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EcsTarget {
    /// `cluster:service`.
    pub(crate) id: String,
    /// Lifecycle events with their status, in order.
    pub(crate) events: Vec<LifecycleEvent>,
    pub(crate) task_sets: Vec<TaskSet>,
}

/// A Lambda function under deployment.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct FunctionTarget {
    /// Lifecycle events with their status, in order.
    pub(crate) events: Vec<LifecycleEvent>,
    /// Name or ARN.
    pub(crate) function: String,
    pub(crate) alias: String,
    /// Blue.
    pub(crate) current_version: Option<String>,
    /// Green.
    pub(crate) target_version: Option<String>,
}

/// One step of a deployment's life.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LifecycleEvent {
    /// `AfterAllowTestTraffic`, ...
    pub(crate) name: String,
    /// `Pending`, `InProgress`, `Succeeded`, ...
    pub(crate) status: String,
}

impl LifecycleEvent {
    /// Names of those in progress.
    pub(crate) fn in_progress(events: &[Self]) -> impl Iterator<Item = &str> {
        events.iter().filter(|event| event.status == "InProgress").map(|event| event.name.as_str())
    }

    /// Whether one has succeeded.
    pub(crate) fn succeeded(events: &[Self], name: &str) -> bool {
        events.iter().any(|event| event.name == name && event.status == "Succeeded")
    }
}

/// One of the two task sets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct TaskSet {
    /// Its id, `ecs-svc/…`: what its tasks name as `startedBy`.
    pub(crate) id: String,
    /// `Blue` or `Green`: the only thing that says which is which.
    pub(crate) label: String,
    /// Name of its target group.
    pub(crate) target_group: Option<String>,
    /// Percent of production traffic.
    pub(crate) weight: Option<f64>,
}

/// How traffic shifts.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shift {
    /// Minutes from the first step to the last; 0 for all at once.
    pub(crate) minutes: u64,
}

/// What is set up for a deployment group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct GroupFacts {
    pub(crate) platform: String,
    /// `cluster:service` of each service.
    pub(crate) services: Vec<String>,
    pub(crate) service_role: Option<String>,
    pub(crate) rolls_back_on_failure: bool,
    pub(crate) rolls_back_on_stop: bool,
    pub(crate) production_listener: Option<String>,
    pub(crate) test_listener: Option<String>,
    pub(crate) target_groups: Vec<String>,
    /// Names of its alarms, where they are enabled.
    pub(crate) alarms: Vec<String>,
    pub(crate) ready_wait_minutes: Option<u64>,
    pub(crate) config: Option<String>,
    /// Id of the newest deployment.
    pub(crate) last_deployment: Option<String>,
}
