//! ECS in our words.

use super::Reply;

/// The calls gate makes of ECS.
pub(crate) trait Ecs {
    /// ARNs of a service's deployments that are under way.
    fn deployments_under_way<'a>(
        &'a self,
        cluster: &'a str,
        service: &'a str,
    ) -> Reply<'a, Vec<String>>;
    /// One deployment of a service.
    fn service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ServiceDeployment>;
    /// Revisions of a service: what green and blue are.
    fn service_revisions<'a>(&'a self, arns: &'a [String]) -> Reply<'a, Vec<ServiceRevision>>;
    /// Answers a pause. One try: the run decides about the next.
    fn answer_pause<'a>(&'a self, arn: &'a str, hook_id: &'a str, proceed: bool) -> Reply<'a, ()>;
    /// Stops a deployment and rolls it back.
    fn stop_service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ()>;
    /// Tasks of a service, running or stopped; at most 100.
    fn tasks<'a>(
        &'a self,
        cluster: &'a str,
        service: &'a str,
        stopped: bool,
    ) -> Reply<'a, Vec<TaskFacts>>;
    /// One task by its ARN.
    fn task<'a>(&'a self, cluster: &'a str, arn: &'a str) -> Reply<'a, Option<TaskFacts>>;
    /// What is set up for a service.
    fn service<'a>(&'a self, cluster: &'a str, service: &'a str) -> Reply<'a, ServiceFacts>;
}

/// One deployment that ECS makes by itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct ServiceDeployment {
    pub(crate) arn: String,
    pub(crate) service_arn: String,
    pub(crate) cluster_arn: String,
    /// When it was made, in seconds since 1970.
    pub(crate) began_unix_seconds: Option<i64>,
    /// `IN_PROGRESS`, `SUCCESSFUL`, `ROLLBACK_IN_PROGRESS`, ...
    pub(crate) status: String,
    /// ECS's own sentence about it.
    pub(crate) status_reason: Option<String>,
    /// `POST_TEST_TRAFFIC_SHIFT`, ... as text: the SDK's enum lacks one.
    pub(crate) stage: Option<String>,
    /// ARN of green's revision.
    pub(crate) target_revision: Option<String>,
    /// ARNs of blue's revisions; none on a first deployment.
    pub(crate) source_revisions: Vec<String>,
    /// Percent of production traffic that green has.
    pub(crate) green_weight: Option<f64>,
    pub(crate) hooks: Vec<HookFacts>,
    /// `BLUE_GREEN`, `LINEAR`, `CANARY`, `ROLLING`.
    pub(crate) strategy: String,
    /// Percent and minutes of one step, where there are steps.
    pub(crate) step: Option<(f64, u64)>,
    pub(crate) bake_minutes: u64,
}

impl ServiceDeployment {
    /// Whether it is over, however it ended.
    pub(crate) fn is_over(&self) -> bool {
        matches!(
            self.status.as_str(),
            "SUCCESSFUL" | "STOPPED" | "ROLLBACK_SUCCESSFUL" | "ROLLBACK_FAILED"
        )
    }

    /// Whether it goes back to where it came from.
    pub(crate) fn is_rolling_back(&self) -> bool {
        matches!(self.status.as_str(), "ROLLBACK_REQUESTED" | "ROLLBACK_IN_PROGRESS")
    }

    /// Whether nobody waits for an answer about it any more.
    pub(crate) fn has_ended_or_goes_back(&self) -> bool {
        self.is_over() || self.is_rolling_back()
    }
}

/// A hook of a deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct HookFacts {
    pub(crate) id: String,
    /// `PAUSE` or `AWS_LAMBDA`.
    pub(crate) kind: String,
    /// `AWAITING_ACTION`, `IN_PROGRESS`, `SUCCEEDED`, `FAILED`, `TIMED_OUT`.
    pub(crate) status: String,
    /// When ECS stops waiting, in seconds since 1970.
    pub(crate) expires_unix_seconds: Option<i64>,
}

impl HookFacts {
    /// Whether it is a pause that waits for an answer.
    pub(crate) fn waits(&self) -> bool {
        self.kind == "PAUSE" && self.status == "AWAITING_ACTION"
    }

    /// Whether it is a Lambda hook that is asked for its answer, again and again.
    pub(crate) fn asks(&self) -> bool {
        self.kind == "AWS_LAMBDA" && self.status == "IN_PROGRESS"
    }
}

/// What a revision of a service runs behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceRevision {
    pub(crate) arn: String,
    pub(crate) target_groups: Vec<String>,
    pub(crate) production_rule: Option<String>,
    pub(crate) test_rule: Option<String>,
    pub(crate) task_definition: Option<String>,
}

/// A task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskFacts {
    pub(crate) arn: String,
    pub(crate) started_by: Option<String>,
    /// `service:NAME`.
    pub(crate) group: Option<String>,
    pub(crate) task_definition: Option<String>,
    /// `RUNNING`, `STOPPED`, ...
    pub(crate) status: String,
    /// `EssentialContainerExited`, ...
    pub(crate) stop_code: Option<String>,
    pub(crate) stopped_reason: Option<String>,
    /// When it stopped, in seconds since 1970.
    pub(crate) stopped_unix_seconds: Option<i64>,
    pub(crate) containers: Vec<ContainerFacts>,
}

/// A container of a task.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ContainerFacts {
    pub(crate) name: String,
    pub(crate) exit_code: Option<i32>,
    pub(crate) reason: Option<String>,
}

/// A pause as it is set up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pause {
    pub(crate) stages: Vec<String>,
    /// How long ECS waits, where it says so.
    pub(crate) timeout_minutes: Option<u64>,
    /// What it does then: `ROLLBACK` or `CONTINUE`, where it says so.
    pub(crate) timeout_action: Option<String>,
}

/// What is set up for a service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ServiceFacts {
    /// `ECS`, `CODE_DEPLOY`, `EXTERNAL`.
    pub(crate) controller: String,
    pub(crate) strategy: String,
    pub(crate) arn: String,
    pub(crate) pauses: Vec<Pause>,
    /// Function ARNs and stages of its Lambda hooks.
    pub(crate) functions: Vec<(String, Vec<String>)>,
    /// Rules, or listeners, of production and of test traffic.
    pub(crate) production_rules: Vec<String>,
    pub(crate) test_rules: Vec<String>,
    /// ARNs of its target groups, the alternate ones included.
    pub(crate) target_groups: Vec<String>,
    /// Names of its deployment alarms, where they are enabled.
    pub(crate) alarms: Vec<String>,
    /// Those that CodeDeploy has made of it.
    pub(crate) task_sets: Vec<TaskSetFacts>,
}

/// A task set of a service that CodeDeploy deploys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TaskSetFacts {
    /// `ecs-svc/...`, as its tasks have it in `startedBy`.
    pub(crate) id: String,
    pub(crate) created_unix_millis: Option<i64>,
}
