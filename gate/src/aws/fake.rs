//! AWS from memory, for tests: answers what it is told, and fails where it is told to.

pub(crate) mod table;

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::balancing::{Balancing, Forward, Listener, Registered, TargetGroup};
use super::codedeploy::{
    CodeDeploy, DeploymentFacts, DeploymentTarget, EcsTarget, GroupFacts, LifecycleEvent, Shift,
    TaskSet,
};
use super::ecs::{Ecs, ServiceDeployment, ServiceFacts, ServiceRevision, TaskFacts};
use super::functions::{AliasFacts, FunctionFacts, Functions, Invocation};
use super::identity::{Caller, Identity};
use super::measurements::{AlarmFacts, Measurements, MetricQuery, Series, Span};
use super::messages::{Message, Messages, Secrets};
use super::pipelines::{Approval, PipelineFacts, Pipelines, WaitingApproval};
use super::{Aws, AwsError, Call, Failure, Reply};

/// One deployment of a service `prod:web`, in the middle of its `AfterAllowTestTraffic` hook.
#[derive(Debug, Default)]
pub(crate) struct FakeAws {
    pub(crate) facts: DeploymentFacts,
    pub(crate) target: Option<DeploymentTarget>,
    pub(crate) shift: Shift,
    pub(crate) ready: Vec<String>,
    pub(crate) deployment_groups: BTreeMap<String, GroupFacts>,
    pub(crate) groups: BTreeMap<String, TargetGroup>,
    pub(crate) health: BTreeMap<String, Vec<Registered>>,
    pub(crate) listeners: BTreeMap<String, Listener>,
    pub(crate) service_deployments: BTreeMap<String, ServiceDeployment>,
    pub(crate) revisions: Vec<ServiceRevision>,
    pub(crate) tasks: Vec<TaskFacts>,
    pub(crate) services: BTreeMap<String, ServiceFacts>,
    pub(crate) aliases: BTreeMap<String, AliasFacts>,
    pub(crate) functions: BTreeMap<String, FunctionFacts>,
    pub(crate) invocation: Option<Invocation>,
    /// What each query for a metric of this name reads.
    pub(crate) series: BTreeMap<String, Series>,
    pub(crate) alarms: Vec<AlarmFacts>,
    pub(crate) waiting: Vec<WaitingApproval>,
    pub(crate) pipelines: BTreeMap<String, PipelineFacts>,
    /// Parameters and secrets, by name; they can be rotated.
    pub(crate) secrets: Mutex<BTreeMap<String, String>>,
    /// Topic, subject and message of what was published, in order.
    pub(crate) published: Mutex<Vec<[String; 3]>>,
    /// Whose credentials; none where STS has no answer.
    pub(crate) caller: Option<Caller>,
    pub(crate) clock_ahead_seconds: Option<i64>,
    /// Calls that nobody answers.
    pub(crate) silent: Vec<Call>,
    /// Call → how it fails.
    pub(crate) failures: BTreeMap<Call, Failure>,
    /// How many of the next reads of metrics fail in passing.
    pub(crate) throttled: Mutex<u32>,
    /// What metrics were asked for, and of when.
    pub(crate) queried: Mutex<Vec<(Vec<MetricQuery>, Span)>>,
    /// For how many seconds messages were hidden, in order.
    pub(crate) hidden: Mutex<Vec<u32>>,
    /// Calls, in order.
    pub(crate) calls: Mutex<Vec<Call>>,
}

/// Lifecycle events up to the one in progress.
pub(crate) fn events(in_progress: &str) -> Vec<LifecycleEvent> {
    vec![LifecycleEvent { name: in_progress.into(), status: "InProgress".into() }]
}

impl FakeAws {
    pub(crate) fn new() -> Self {
        let facts = DeploymentFacts {
            application: "web".into(),
            group: "web-group".into(),
            platform: "ECS".into(),
            status: "InProgress".into(),
            creator: "user".into(),
            rolls_back_on_failure: true,
            production_listener: Some("arn:prod".into()),
            test_listener: Some("arn:test".into()),
            ..DeploymentFacts::default()
        };
        // The colours have alternated: green runs in the group called blue.
        let set = |label: &str, group: &str| TaskSet {
            id: format!("ecs-svc/{label}"),
            label: label.into(),
            target_group: Some(group.into()),
            weight: None,
        };
        let target = EcsTarget {
            id: "prod:web".into(),
            events: events("AfterAllowTestTraffic"),
            task_sets: vec![set("Blue", "web-green"), set("Green", "web-blue")],
        };
        let group = |name: &str| {
            let group = TargetGroup {
                arn: format!("arn:{name}"),
                target_type: "ip".into(),
                protocol: "HTTP".into(),
                protocol_version: "HTTP1".into(),
                load_balancer: None,
            };
            (name.to_owned(), group)
        };
        let listener = |arn: &str, port, group: &str| {
            let listener = Listener {
                dns_name: "web.elb".into(),
                port,
                protocol: "HTTP".into(),
                forwards_to: forwards(&format!("arn:{group}")),
                hosts: Vec::new(),
            };
            (arn.to_owned(), listener)
        };
        Self {
            facts,
            target: Some(DeploymentTarget::Ecs(target)),
            groups: [group("web-green"), group("web-blue")].into(),
            health: [
                ("arn:web-green".to_owned(), vec![registered("10.0.0.1", "healthy", None)]),
                ("arn:web-blue".to_owned(), vec![registered("10.0.0.2", "healthy", None)]),
            ]
            .into(),
            listeners: [
                listener("arn:test", 9000, "web-blue"),
                listener("arn:prod", 80, "web-green"),
            ]
            .into(),
            ..Self::default()
        }
    }

    /// The service it deploys to, to be changed.
    pub(crate) fn ecs(&mut self) -> &mut EcsTarget {
        match &mut self.target {
            Some(DeploymentTarget::Ecs(target)) => target,
            other => panic!("{other:?} is no service"),
        }
    }

    /// Puts a secret in place of what was there; an empty one takes it away.
    pub(crate) fn put_secret(&self, name: &str, text: &str) {
        let mut secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        if text.is_empty() {
            secrets.remove(name);
        } else {
            secrets.insert(name.to_owned(), text.to_owned());
        }
    }

    fn secret_of(&self, name: &str) -> Option<String> {
        self.secrets.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// How often a call was made.
    pub(crate) fn count(&self, call: Call) -> usize {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        calls.iter().filter(|made| **made == call).count()
    }

    fn reply<'a, T: Send + 'a>(&self, call: Call, subject: &str, value: Option<T>) -> Reply<'a, T> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(call);
        let silent = self.silent.contains(&call);
        let failure = self.failures.get(&call).copied();
        let failure = failure.or_else(|| silent.then_some(Failure::Passing));
        match (failure, value) {
            (None, Some(value)) => Box::pin(async move { Ok(value) }),
            (failure, _) => self.fail(call, subject, failure.unwrap_or(Failure::Missing)),
        }
    }

    fn fail<'a, T: Send + 'a>(&self, call: Call, subject: &str, failure: Failure) -> Reply<'a, T> {
        let subject = subject.to_owned();
        let code = if self.silent.contains(&call) { "Unreachable" } else { "Told" };
        let (code, message) = (code.to_owned(), "to fail".to_owned());
        Box::pin(async move { Err(AwsError { call, subject, code, message, failure }) })
    }
}

/// All of it to one target group.
pub(crate) fn forwards(group_arn: &str) -> Vec<Forward> {
    vec![Forward { group_arn: group_arn.to_owned(), weight_percent: 100 }]
}

/// A target on port 8080.
pub(crate) fn registered(ip: &str, state: &str, reason: Option<&str>) -> Registered {
    Registered {
        id: ip.into(),
        port: 8080,
        state: state.into(),
        reason: reason.map(str::to_owned),
        description: None,
    }
}

impl Aws for FakeAws {}

impl CodeDeploy for FakeAws {
    fn deployment<'a>(&'a self, id: &'a str) -> Reply<'a, DeploymentFacts> {
        self.reply(Call::GetDeployment, id, Some(self.facts.clone()))
    }

    fn deployment_target<'a>(&'a self, id: &'a str) -> Reply<'a, Option<DeploymentTarget>> {
        self.reply(Call::BatchGetDeploymentTargets, id, Some(self.target.clone()))
    }

    fn shift<'a>(&'a self, config: &'a str) -> Reply<'a, Shift> {
        self.reply(Call::GetDeploymentConfig, config, Some(self.shift))
    }

    fn answer_hook<'a>(&'a self, id: &'a str, _: &'a str, _: bool) -> Reply<'a, ()> {
        self.reply(Call::PutLifecycleEventHookExecutionStatus, id, Some(()))
    }

    fn end_ready_wait<'a>(&'a self, id: &'a str) -> Reply<'a, ()> {
        self.reply(Call::ContinueDeployment, id, Some(()))
    }

    fn stop_with_rollback<'a>(&'a self, id: &'a str) -> Reply<'a, bool> {
        self.reply(Call::StopDeployment, id, Some(true))
    }

    fn ready_deployments<'a>(&'a self, application: &'a str, _: &'a str) -> Reply<'a, Vec<String>> {
        self.reply(Call::ListDeployments, application, Some(self.ready.clone()))
    }

    fn deployment_group<'a>(&'a self, _: &'a str, group: &'a str) -> Reply<'a, GroupFacts> {
        self.reply(Call::GetDeploymentGroup, group, self.deployment_groups.get(group).cloned())
    }
}

impl Balancing for FakeAws {
    fn target_group<'a>(&'a self, name: &'a str) -> Reply<'a, TargetGroup> {
        let by_name = self.groups.get(name);
        let found = by_name.or_else(|| self.groups.values().find(|group| group.arn == name));
        self.reply(Call::DescribeTargetGroups, name, found.cloned())
    }

    fn target_health<'a>(&'a self, group_arn: &'a str) -> Reply<'a, Vec<Registered>> {
        self.reply(Call::DescribeTargetHealth, group_arn, self.health.get(group_arn).cloned())
    }

    fn listener<'a>(&'a self, arn: &'a str) -> Reply<'a, Listener> {
        self.reply(Call::DescribeListeners, arn, self.listeners.get(arn).cloned())
    }
}

impl Ecs for FakeAws {
    fn deployments_under_way<'a>(&'a self, _: &'a str, service: &'a str) -> Reply<'a, Vec<String>> {
        let found = self.service_deployments.keys().cloned().collect();
        self.reply(Call::ListServiceDeployments, service, Some(found))
    }

    fn service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ServiceDeployment> {
        let found = self.service_deployments.get(arn).cloned();
        self.reply(Call::DescribeServiceDeployments, arn, found)
    }

    fn service_revisions<'a>(&'a self, arns: &'a [String]) -> Reply<'a, Vec<ServiceRevision>> {
        let found = self.revisions.iter().filter(|revision| arns.contains(&revision.arn));
        let subject = arns.first().map_or("", String::as_str);
        self.reply(Call::DescribeServiceRevisions, subject, Some(found.cloned().collect()))
    }

    fn answer_pause<'a>(&'a self, arn: &'a str, _: &'a str, _: bool) -> Reply<'a, ()> {
        self.reply(Call::ContinueServiceDeployment, arn, Some(()))
    }

    fn stop_service_deployment<'a>(&'a self, arn: &'a str) -> Reply<'a, ()> {
        self.reply(Call::StopServiceDeployment, arn, Some(()))
    }

    fn tasks<'a>(
        &'a self,
        _: &'a str,
        service: &'a str,
        stopped: bool,
    ) -> Reply<'a, Vec<TaskFacts>> {
        let tasks = self.tasks.iter().filter(|task| (task.status == "STOPPED") == stopped);
        self.reply(Call::ListTasks, service, Some(tasks.cloned().collect()))
    }

    fn task<'a>(&'a self, _: &'a str, arn: &'a str) -> Reply<'a, Option<TaskFacts>> {
        let found = self.tasks.iter().find(|task| task.arn == arn).cloned();
        self.reply(Call::DescribeTasks, arn, Some(found))
    }

    fn service<'a>(&'a self, _: &'a str, service: &'a str) -> Reply<'a, ServiceFacts> {
        self.reply(Call::DescribeServices, service, self.services.get(service).cloned())
    }
}

impl Functions for FakeAws {
    fn alias<'a>(&'a self, function: &'a str, alias: &'a str) -> Reply<'a, AliasFacts> {
        let found = self.aliases.get(&format!("{function}:{alias}")).cloned();
        self.reply(Call::GetAlias, function, found)
    }

    fn function<'a>(&'a self, name: &'a str) -> Reply<'a, FunctionFacts> {
        self.reply(Call::GetFunctionConfiguration, name, self.functions.get(name).cloned())
    }

    fn may_invoke<'a>(&'a self, qualified: &'a str) -> Reply<'a, ()> {
        self.reply(Call::Invoke, qualified, Some(()))
    }

    fn invoke<'a>(&'a self, qualified: &'a str, _: Vec<u8>, _: Duration) -> Reply<'a, Invocation> {
        self.reply(Call::Invoke, qualified, self.invocation.clone())
    }
}

impl Identity for FakeAws {
    fn caller(&self) -> Reply<'_, Caller> {
        self.reply(Call::GetCallerIdentity, "gate itself", self.caller.clone())
    }

    fn region(&self) -> Option<String> {
        Some("eu-west-1".to_owned())
    }

    fn clock_ahead_seconds(&self) -> Option<i64> {
        self.clock_ahead_seconds
    }
}

impl Measurements for FakeAws {
    fn metric_data<'a>(&'a self, queries: &'a [MetricQuery], span: Span) -> Reply<'a, Vec<Series>> {
        let asked = (queries.to_vec(), span);
        self.queried.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
        let within = span.from_unix_seconds..span.to_unix_seconds;
        let of = |query: &MetricQuery| {
            let mut series = self.series.get(&query.name).cloned().unwrap_or_default();
            series.points.retain(|(at, _)| within.contains(at));
            series
        };
        let mut throttled = self.throttled.lock().unwrap_or_else(PoisonError::into_inner);
        if *throttled > 0 {
            *throttled -= 1;
            return self.fail(Call::GetMetricData, "metrics", Failure::Passing);
        }
        self.reply(Call::GetMetricData, "metrics", Some(queries.iter().map(of).collect()))
    }

    fn alarms<'a>(&'a self, names: &'a [String]) -> Reply<'a, Vec<AlarmFacts>> {
        let found = self.alarms.iter().filter(|alarm| names.contains(&alarm.name));
        self.reply(Call::DescribeAlarms, "alarms", Some(found.cloned().collect()))
    }

    fn metric_exists<'a>(&'a self, query: &'a MetricQuery) -> Reply<'a, bool> {
        let known = self.series.contains_key(&query.name);
        self.reply(Call::ListMetrics, &query.name, Some(known))
    }
}

impl Pipelines for FakeAws {
    fn answer_approval<'a>(&'a self, approval: &'a Approval, _: bool, _: &'a str) -> Reply<'a, ()> {
        self.reply(Call::PutApprovalResult, &approval.action, Some(()))
    }

    fn waiting_approvals<'a>(&'a self, approval: &'a Approval) -> Reply<'a, Vec<WaitingApproval>> {
        self.reply(Call::ListActionExecutions, &approval.pipeline, Some(self.waiting.clone()))
    }

    fn answer_job<'a>(&'a self, job_id: &'a str, success: bool, _: &'a str) -> Reply<'a, ()> {
        let call = if success { Call::PutJobSuccessResult } else { Call::PutJobFailureResult };
        self.reply(call, job_id, Some(()))
    }

    fn continue_job<'a>(&'a self, job_id: &'a str, _: &'a str) -> Reply<'a, ()> {
        self.reply(Call::PutJobSuccessResult, job_id, Some(()))
    }

    fn pipeline<'a>(&'a self, name: &'a str) -> Reply<'a, PipelineFacts> {
        self.reply(Call::GetPipeline, name, self.pipelines.get(name).cloned())
    }
}

impl Messages for FakeAws {
    fn receive<'a>(&'a self, queue: &'a str, _: u32) -> Reply<'a, Vec<Message>> {
        self.reply(Call::ReceiveMessage, queue, Some(Vec::new()))
    }

    fn hide<'a>(&'a self, queue: &'a str, _: &'a str, seconds: u32) -> Reply<'a, ()> {
        self.hidden.lock().unwrap_or_else(PoisonError::into_inner).push(seconds);
        self.reply(Call::ChangeMessageVisibility, queue, Some(()))
    }

    fn delete<'a>(&'a self, queue: &'a str, _: &'a str) -> Reply<'a, ()> {
        self.reply(Call::DeleteMessage, queue, Some(()))
    }

    fn send<'a>(&'a self, queue: &'a str, _: &'a str) -> Reply<'a, ()> {
        self.reply(Call::SendMessage, queue, Some(()))
    }

    fn publish<'a>(&'a self, topic: &'a str, subject: &'a str, message: &'a str) -> Reply<'a, ()> {
        let published = [topic, subject, message].map(str::to_owned);
        self.published.lock().unwrap_or_else(PoisonError::into_inner).push(published);
        self.reply(Call::Publish, topic, Some(()))
    }
}

impl Secrets for FakeAws {
    fn parameter<'a>(&'a self, name: &'a str) -> Reply<'a, String> {
        self.reply(Call::GetParameter, name, self.secret_of(name))
    }

    fn secret<'a>(&'a self, id: &'a str) -> Reply<'a, String> {
        self.reply(Call::GetSecretValue, id, self.secret_of(id))
    }
}
