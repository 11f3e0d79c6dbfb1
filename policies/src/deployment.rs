//! What a question is about, resolved from its id alone.

use std::fmt;

use serde::{Deserialize, Serialize};

/// One of the two sides of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// The candidate.
    Green,
    /// The baseline.
    Blue,
}

impl Arm {
    /// `green` or `blue`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Green => "green",
            Self::Blue => "blue",
        }
    }
}

impl fmt::Display for Arm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where in its life a deployment asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stage {
    /// CodeDeploy, before the green task set exists.
    BeforeInstall,
    /// CodeDeploy, green tasks run but no listener points at them.
    AfterInstall,
    /// CodeDeploy, the test listener points at green.
    AfterAllowTestTraffic,
    /// CodeDeploy, just before production traffic shifts.
    BeforeAllowTraffic,
    /// CodeDeploy, production traffic has shifted.
    AfterAllowTraffic,
    /// ECS, the service is being looked at.
    ReconcileService,
    /// ECS, before the green tasks start.
    PreScaleUp,
    /// ECS, the green tasks run.
    PostScaleUp,
    /// ECS, test traffic is shifting to green.
    TestTrafficShift,
    /// ECS, test traffic goes to green.
    PostTestTrafficShift,
    /// ECS, before each step of production traffic.
    PreProductionTrafficShift,
    /// ECS, production traffic is shifting.
    ProductionTrafficShift,
    /// ECS, production traffic goes to green.
    PostProductionTrafficShift,
    /// CodeDeploy on EC2, the application was started.
    ValidateService,
    /// CodeDeploy, everything is ready and traffic waits for a word.
    Ready,
    /// CodePipeline, a manual approval.
    Approval,
    /// CodePipeline, an action that invokes a function.
    Invoke,
    /// `gate verify`: whoever runs it decides when.
    Shell,
    /// Not looked up, because it does not matter: a rollback is let through at any stage.
    #[default]
    Unknown,
}

impl Stage {
    /// Every stage a policy can name, in the order a deployment passes them.
    pub const ALL: [Self; 18] = [
        Self::BeforeInstall,
        Self::AfterInstall,
        Self::AfterAllowTestTraffic,
        Self::BeforeAllowTraffic,
        Self::AfterAllowTraffic,
        Self::ReconcileService,
        Self::PreScaleUp,
        Self::PostScaleUp,
        Self::TestTrafficShift,
        Self::PostTestTrafficShift,
        Self::PreProductionTrafficShift,
        Self::ProductionTrafficShift,
        Self::PostProductionTrafficShift,
        Self::ValidateService,
        Self::Ready,
        Self::Approval,
        Self::Invoke,
        Self::Shell,
    ];

    /// The name AWS gives it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::BeforeInstall => "BeforeInstall",
            Self::AfterInstall => "AfterInstall",
            Self::AfterAllowTestTraffic => "AfterAllowTestTraffic",
            Self::BeforeAllowTraffic => "BeforeAllowTraffic",
            Self::AfterAllowTraffic => "AfterAllowTraffic",
            Self::ReconcileService => "RECONCILE_SERVICE",
            Self::PreScaleUp => "PRE_SCALE_UP",
            Self::PostScaleUp => "POST_SCALE_UP",
            Self::TestTrafficShift => "TEST_TRAFFIC_SHIFT",
            Self::PostTestTrafficShift => "POST_TEST_TRAFFIC_SHIFT",
            Self::PreProductionTrafficShift => "PRE_PRODUCTION_TRAFFIC_SHIFT",
            Self::ProductionTrafficShift => "PRODUCTION_TRAFFIC_SHIFT",
            Self::PostProductionTrafficShift => "POST_PRODUCTION_TRAFFIC_SHIFT",
            Self::ValidateService => "ValidateService",
            Self::Ready => "READY",
            Self::Approval => "Approval",
            Self::Invoke => "Invoke",
            Self::Shell => "Shell",
            Self::Unknown => "unknown",
        }
    }

    /// The stage of this name, if gate knows it.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }

    /// Whether there is a green to measure yet.
    pub const fn measurable(self) -> bool {
        !matches!(self, Self::BeforeInstall | Self::ReconcileService | Self::PreScaleUp)
    }

    /// Whether real traffic has shifted to green by then. Pipelines shift nothing that gate could see: what
    /// they ask about has its traffic.
    pub const fn has_traffic(self) -> bool {
        matches!(
            self,
            Self::AfterAllowTraffic
                | Self::PostProductionTrafficShift
                | Self::Approval
                | Self::Invoke
        )
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a target is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Route {
    /// Straight to a task's address.
    Task,
    /// Through a listener of the load balancer: what a caller would see.
    Listener,
    /// An address somebody gave.
    Url,
    /// A version of a Lambda function, invoked by its number; `host` is what is invoked.
    Function,
}

/// One thing of an arm that can be probed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Target {
    /// How it is called in records and pages: `10.0.2.61:8080`, `listener web-alb:9000`.
    pub id: String,
    /// Host name or IP address to connect to.
    pub host: String,
    /// TCP port to connect to.
    pub port: u16,
    /// Whether it speaks TLS.
    pub tls: bool,
    /// How it is reached.
    pub route: Route,
    /// What the load balancer's own health check says of it, where it says anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<String>,
    /// What it is called in a request, where a policy names no host, in place of where it is: what the rule of its
    /// listener asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// States of a target's health.
//= https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_TargetHealth.html
pub(crate) const HEALTHY: &str = "healthy";
pub(crate) const INITIAL: &str = "initial";
/// No listener forwards to its target group: the load balancer does not look at it yet.
pub(crate) const NOT_IN_USE: &str = "unused";

impl Target {
    /// The state that the load balancer says a task is in, where it says anything: what stands before the reason
    /// in `unused: Target.NotInUse, …`.
    pub(crate) fn health_state(&self) -> Option<&str> {
        let health = self.health.as_deref().filter(|_| self.route == Route::Task);
        health.and_then(|health| health.split([':', ' ']).next())
    }
}

/// A deployment as gate sees it: who, where, and what can be probed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Deployment {
    /// AWS's id of it, or `verify` for a shell.
    pub id: String,
    /// CodeDeploy application.
    pub application: String,
    /// CodeDeploy deployment group.
    pub group: String,
    /// `cluster:service`.
    pub service: String,
    /// Lambda function; empty where it is about a service.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub function: String,
    /// CodePipeline pipeline that asks; empty where none does.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub pipeline: String,
    /// Where it is in its life.
    pub stage: Stage,
    /// Whether it is itself a rollback: those are never gated.
    pub is_rollback: bool,
    /// Whether the deployment group rolls back when a hook fails.
    pub rolls_back_on_failure: bool,
    /// Candidate targets.
    pub green: Vec<Target>,
    /// Baseline targets; empty on a first deployment.
    pub blue: Vec<Target>,
    /// Seconds until it ends by its own configuration, bake included, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_seconds: Option<u64>,
    /// Seconds until whoever asks stops waiting, where that is only known once it is resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_seconds: Option<u64>,
    /// Percent of real traffic that green has, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub green_weight: Option<f64>,
    /// `HTTP2` or `GRPC`, where green's target group speaks nothing else to its targets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub only_speaks: Option<String>,
    /// What the operator should know about the set-up, found while resolving.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Deployment {
    /// Time until it ends by its own configuration.
    pub fn remaining(&self) -> Option<std::time::Duration> {
        self.remaining_seconds.map(std::time::Duration::from_secs)
    }

    /// What people call it: its application, service, function or pipeline. Metrics carry it as `application`.
    pub fn label(&self) -> &str {
        let names = [&self.application, &self.service, &self.function, &self.pipeline];
        names.into_iter().find(|name| !name.is_empty()).map_or("", String::as_str)
    }

    /// Everything it is called, with what that is: `application web, group web-group, service prod:web`.
    pub fn names(&self) -> String {
        let names = [
            ("application", &self.application),
            ("group", &self.group),
            ("service", &self.service),
            ("function", &self.function),
            ("pipeline", &self.pipeline),
        ];
        let named = names.into_iter().filter(|(_, name)| !name.is_empty());
        named.map(|(what, name)| format!("{what} {name}")).collect::<Vec<_>>().join(", ")
    }

    /// Whether green has real traffic: by its weight, or by the stage.
    pub fn has_traffic(&self) -> bool {
        self.green_weight.is_some_and(|weight| weight > 0.0) || self.stage.has_traffic()
    }

    /// The targets of one arm.
    pub fn arm(&self, arm: Arm) -> &[Target] {
        match arm {
            Arm::Green => &self.green,
            Arm::Blue => &self.blue,
        }
    }
}
