//! AWS from memory, for tests: answers what it is told, and fails where it is told to.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::{
    Aws, AwsError, DeploymentFacts, EcsTarget, Failure, Listener, Registered, Reply, TargetGroup,
    TaskSet,
};

/// One deployment of a service `prod:web`, in the middle of its `AfterAllowTestTraffic` hook.
#[derive(Debug)]
pub(crate) struct FakeAws {
    pub(crate) facts: DeploymentFacts,
    pub(crate) target: Option<EcsTarget>,
    pub(crate) groups: BTreeMap<String, TargetGroup>,
    pub(crate) health: BTreeMap<String, Vec<Registered>>,
    pub(crate) listeners: BTreeMap<String, Listener>,
    /// Operation → how it fails.
    pub(crate) failures: BTreeMap<&'static str, Failure>,
    /// Operations called, in order.
    pub(crate) calls: Mutex<Vec<&'static str>>,
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
        };
        // The colours have alternated: green runs in the group called blue.
        let set = |label: &str, group: &str| TaskSet {
            label: label.into(),
            target_group: Some(group.into()),
        };
        let target = EcsTarget {
            id: "prod:web".into(),
            events_in_progress: vec!["AfterAllowTestTraffic".into()],
            task_sets: vec![set("Blue", "web-green"), set("Green", "web-blue")],
        };
        let group = |name: &str| {
            let group = TargetGroup {
                arn: format!("arn:{name}"),
                target_type: "ip".into(),
                protocol: "HTTP".into(),
                protocol_version: "HTTP1".into(),
            };
            (name.to_owned(), group)
        };
        let listener = |arn: &str, port, group: &str| {
            let listener = Listener {
                dns_name: "web.elb".into(),
                port,
                protocol: "HTTP".into(),
                forwards_to: vec![format!("arn:{group}")],
            };
            (arn.to_owned(), listener)
        };
        Self {
            facts,
            target: Some(target),
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
            failures: BTreeMap::new(),
            calls: Mutex::default(),
        }
    }

    fn reply<'a, T: Send + 'a>(
        &self,
        operation: &'static str,
        subject: &str,
        value: Option<T>,
    ) -> Reply<'a, T> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).push(operation);
        let failure = self.failures.get(operation).copied();
        let failure = failure.or_else(|| value.is_none().then_some(Failure::Missing));
        let subject = subject.to_owned();
        Box::pin(async move {
            match (failure, value) {
                (None, Some(value)) => Ok(value),
                (failure, _) => Err(AwsError {
                    operation,
                    subject,
                    code: "Told".to_owned(),
                    message: "to fail".to_owned(),
                    failure: failure.unwrap_or(Failure::Missing),
                }),
            }
        })
    }
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

impl Aws for FakeAws {
    fn deployment<'a>(&'a self, id: &'a str) -> Reply<'a, DeploymentFacts> {
        self.reply("GetDeployment", id, Some(self.facts.clone()))
    }

    fn ecs_target<'a>(&'a self, id: &'a str) -> Reply<'a, Option<EcsTarget>> {
        self.reply("BatchGetDeploymentTargets", id, Some(self.target.clone()))
    }

    fn target_group<'a>(&'a self, name: &'a str) -> Reply<'a, TargetGroup> {
        self.reply("DescribeTargetGroups", name, self.groups.get(name).cloned())
    }

    fn target_health<'a>(&'a self, group_arn: &'a str) -> Reply<'a, Vec<Registered>> {
        self.reply("DescribeTargetHealth", group_arn, self.health.get(group_arn).cloned())
    }

    fn listener<'a>(&'a self, arn: &'a str) -> Reply<'a, Listener> {
        self.reply("DescribeListeners", arn, self.listeners.get(arn).cloned())
    }

    fn answer_hook<'a>(&'a self, id: &'a str, _: &'a str, _: bool) -> Reply<'a, ()> {
        self.reply("PutLifecycleEventHookExecutionStatus", id, Some(()))
    }

    fn stop_with_rollback<'a>(&'a self, id: &'a str) -> Reply<'a, bool> {
        self.reply("StopDeployment", id, Some(true))
    }
}
