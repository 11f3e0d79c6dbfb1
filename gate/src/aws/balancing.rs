//! Elastic Load Balancing in our words.

use super::Reply;

/// The calls gate makes of Elastic Load Balancing.
pub(crate) trait Balancing {
    /// A target group by its name or its ARN.
    fn target_group<'a>(&'a self, name: &'a str) -> Reply<'a, TargetGroup>;
    /// What is registered in a target group.
    fn target_health<'a>(&'a self, group_arn: &'a str) -> Reply<'a, Vec<Registered>>;
    /// A listener by its ARN or that of one of its rules, its load balancer, and where it forwards to.
    fn listener<'a>(&'a self, arn: &'a str) -> Reply<'a, Listener>;
}

/// A target group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct TargetGroup {
    pub(crate) arn: String,
    /// `ip`, `instance`, ...
    pub(crate) target_type: String,
    /// `HTTP`, `HTTPS`, `TCP`, ...
    pub(crate) protocol: String,
    /// `HTTP1`, `HTTP2` or `GRPC`.
    pub(crate) protocol_version: String,
    /// The load balancer that uses it, where one does.
    pub(crate) load_balancer: Option<String>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Listener {
    pub(crate) dns_name: String,
    pub(crate) port: u16,
    /// `HTTP`, `HTTPS`, `TCP`, ...
    pub(crate) protocol: String,
    /// Where it forwards to: of one rule where a rule was asked for, else of the whole listener.
    pub(crate) forwards_to: Vec<Forward>,
    /// Patterns of host names, of which the rule that forwards there asks for one; empty where it takes any.
    pub(crate) hosts: Vec<String>,
}

/// A target group that a listener forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forward {
    pub(crate) group_arn: String,
    /// Its share, in percent of what the rule forwards.
    pub(crate) weight_percent: u32,
}

impl Listener {
    /// Whether everything it forwards goes to this group.
    pub(crate) fn leads_to(&self, group_arn: &str) -> bool {
        let mut live = self.forwards_to.iter().filter(|forward| forward.weight_percent > 0);
        live.next().is_some_and(|forward| forward.group_arn == group_arn)
            && live.all(|forward| forward.group_arn == group_arn)
    }
}
