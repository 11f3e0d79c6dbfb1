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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// `gate verify`: whoever runs it decides when.
    Shell,
    /// Not looked up, because it does not matter: a rollback is let through at any stage.
    Unknown,
}

impl Stage {
    /// Every stage a policy can name, in the order a deployment passes them.
    pub const ALL: [Self; 6] = [
        Self::BeforeInstall,
        Self::AfterInstall,
        Self::AfterAllowTestTraffic,
        Self::BeforeAllowTraffic,
        Self::AfterAllowTraffic,
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
        !matches!(self, Self::BeforeInstall)
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
}

/// A deployment as gate sees it: who, where, and what can be probed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    /// AWS's id of it, or `verify` for a shell.
    pub id: String,
    /// CodeDeploy application.
    pub application: String,
    /// CodeDeploy deployment group.
    pub group: String,
    /// `cluster:service`.
    pub service: String,
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
    /// What the operator should know about the set-up, found while resolving.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl Deployment {
    /// The targets of one arm.
    pub fn arm(&self, arm: Arm) -> &[Target] {
        match arm {
            Arm::Green => &self.green,
            Arm::Blue => &self.blue,
        }
    }
}
