//! Elastic Load Balancing by the official SDK.

use std::collections::BTreeMap;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, DescribeTargetHealthInputIncludeEnum, HostHeaderConditionConfig, Rule, RuleCondition,
};

use super::super::balancing::{Balancing, Forward, Listener, Registered, TargetGroup};
use super::super::{AwsError, Call, Reply};
use super::known::Known;
use super::tries::turn;
use super::{PAGES_MAX, RealAws, absent, text};

/// What is known of load balancers.
#[derive(Debug, Default)]
pub(super) struct Balancers {
    /// By name or ARN, once one is in use: its load balancer is part of it.
    groups: Known<TargetGroup>,
    listeners: Known<Entrance>,
    /// DNS names.
    names: Known<String>,
}

/// What stays the same of a listener, whatever it leads to.
#[derive(Clone, Debug)]
struct Entrance {
    balancer: String,
    port: u16,
    protocol: String,
}

impl RealAws {
    /// A listener, and its default actions where they had to be read: of an application load balancer its rules name them,
    /// too.
    async fn entrance(&self, arn: &str) -> Result<(Entrance, Vec<Action>), AwsError> {
        const CALL: Call = Call::DescribeListeners;
        if let (Some(known), false) = (self.balancers.listeners.of(arn), is_of_network(arn)) {
            return Ok((known, Vec::new()));
        }
        let call = self.elb.describe_listeners().listener_arns(arn);
        let reply = self.ask(CALL, arn, || call.clone().send()).await?;
        let listener = reply.listeners.unwrap_or_default().into_iter().next();
        let listener = listener.ok_or_else(|| absent(CALL, arn, "Listeners"))?;
        let balancer = listener.load_balancer_arn;
        let port = listener.port.and_then(|port| u16::try_from(port).ok());
        let entrance = Entrance {
            balancer: balancer.ok_or_else(|| absent(CALL, arn, "LoadBalancerArn"))?,
            port: port.ok_or_else(|| absent(CALL, arn, "Port"))?,
            protocol: text!(listener.protocol).unwrap_or_default(),
        };
        self.balancers.listeners.learn(arn, &entrance);
        Ok((entrance, listener.default_actions.unwrap_or_default()))
    }

    async fn dns_name(&self, balancer: &str) -> Result<String, AwsError> {
        const CALL: Call = Call::DescribeLoadBalancers;
        if let Some(known) = self.balancers.names.of(balancer) {
            return Ok(known);
        }
        let call = self.elb.describe_load_balancers().load_balancer_arns(balancer);
        let described = self.ask(CALL, balancer, || call.clone().send()).await?;
        let found = described.load_balancers.unwrap_or_default().into_iter().next();
        let name = found.and_then(|balancer| balancer.dns_name);
        let name = name.ok_or_else(|| absent(CALL, balancer, "DNSName"))?;
        self.balancers.names.learn(balancer, &name);
        Ok(name)
    }

    /// The rules of a listener, its default among them, or one of them.
    async fn rules(&self, arn: &str, is_rule: bool) -> Result<Vec<Rule>, AwsError> {
        // A network load balancer reads no requests: it has nothing to tell them apart by.
        if is_of_network(arn) {
            return Ok(Vec::new());
        }
        let call = self.elb.describe_rules();
        let call = if is_rule { call.rule_arns(arn) } else { call.listener_arn(arn) };
        let (mut rules, mut marker) = (Vec::new(), None);
        for _ in 0..PAGES_MAX {
            let call = call.clone().set_marker(marker.clone());
            let page = self.ask(Call::DescribeRules, arn, || call.clone().send()).await?;
            rules.extend(page.rules.unwrap_or_default());
            if !turn(&mut marker, page.next_marker) {
                break;
            }
        }
        Ok(rules)
    }
}

impl Balancing for RealAws {
    fn target_group<'a>(&'a self, name: &'a str) -> Reply<'a, TargetGroup> {
        const CALL: Call = Call::DescribeTargetGroups;
        Box::pin(async move {
            if let Some(known) = self.balancers.groups.of(name) {
                return Ok(known);
            }
            let call = self.elb.describe_target_groups();
            let is_arn = name.starts_with("arn:");
            let call = if is_arn { call.target_group_arns(name) } else { call.names(name) };
            let reply = self.ask(CALL, name, || call.clone().send()).await?;
            let group = reply.target_groups.unwrap_or_default().into_iter().next();
            let group = group.ok_or_else(|| absent(CALL, name, "TargetGroups"))?;
            let group = TargetGroup {
                target_type: text!(group.target_type).unwrap_or_default(),
                protocol: text!(group.protocol).unwrap_or_default(),
                protocol_version: group.protocol_version.unwrap_or_else(|| "HTTP1".to_owned()),
                load_balancer: group.load_balancer_arns.unwrap_or_default().into_iter().next(),
                arn: group.target_group_arn.ok_or_else(|| absent(CALL, name, "TargetGroupArn"))?,
            };
            if group.load_balancer.is_some() {
                self.balancers.groups.learn(name, &group);
            }
            Ok(group)
        })
    }

    fn target_health<'a>(&'a self, group_arn: &'a str) -> Reply<'a, Vec<Registered>> {
        Box::pin(async move {
            let call = self.elb.describe_target_health().target_group_arn(group_arn);
            let call = call.include(DescribeTargetHealthInputIncludeEnum::All);
            let send = || call.clone().send();
            let reply = self.ask(Call::DescribeTargetHealth, group_arn, send).await?;
            let described = reply.target_health_descriptions.unwrap_or_default();
            Ok(described
                .into_iter()
                .filter_map(|description| {
                    let target = description.target?;
                    let health = description.target_health?;
                    Some(Registered {
                        id: target.id?,
                        port: u16::try_from(target.port?).ok()?,
                        state: text!(health.state).unwrap_or_default(),
                        reason: text!(health.reason),
                        description: health.description,
                    })
                })
                .collect())
        })
    }

    fn listener<'a>(&'a self, arn: &'a str) -> Reply<'a, Listener> {
        Box::pin(async move {
            let whole = listener_of(arn);
            let (entrance, default) = self.entrance(&whole).await?;
            let dns_name = self.dns_name(&entrance.balancer).await?;
            let is_rule = whole != arn;
            let rules = self.rules(arn, is_rule).await?;
            let default = if is_rule { Vec::new() } else { default };
            let (forwards_to, hosts) = led(&rules, &default);
            let Entrance { port, protocol, .. } = entrance;
            Ok(Listener { dns_name, port, protocol, forwards_to, hosts })
        })
    }
}

/// Whether a listener is a network load balancer's.
fn is_of_network(arn: &str) -> bool {
    arn.contains(":listener/net/")
}

/// The listener that a rule belongs to: `listener-rule/app/web/1/2/9` is of `listener/app/web/1/2`.
fn listener_of(arn: &str) -> String {
    match arn.split_once(":listener-rule/") {
        Some((before, rule)) => {
            let listener = rule.rsplit_once('/').map_or(rule, |(listener, _)| listener);
            format!("{before}:listener/{listener}")
        }
        None => arn.to_owned(),
    }
}

/// Where rules and a default action forward to, and the host names by which one gets there: any, where the default
/// action leads there.
fn led(rules: &[Rule], default: &[Action]) -> (Vec<Forward>, Vec<String>) {
    let forwarding = || rules.iter().filter(|rule| !forwards(rule.actions()).is_empty());
    let actions: Vec<Action> =
        rules.iter().flat_map(Rule::actions).chain(default).cloned().collect();
    let any = !forwards(default).is_empty() || forwarding().any(|rule| hosts(rule).is_empty());
    let hosts = if any { Vec::new() } else { forwarding().flat_map(hosts).collect() };
    (forwards(&actions), hosts)
}

/// Patterns of host names that a rule asks for.
fn hosts(rule: &Rule) -> Vec<String> {
    let configs = rule.conditions().iter().filter_map(RuleCondition::host_header_config);
    configs.flat_map(HostHeaderConditionConfig::values).cloned().collect()
}

/// Target groups with their share, each once: a default action is a rule as well, and names its group twice.
fn forwards(actions: &[Action]) -> Vec<Forward> {
    let mut shares: BTreeMap<String, u32> = BTreeMap::new();
    for action in actions {
        let groups =
            action.forward_config().map(|config| config.target_groups()).unwrap_or_default();
        let weights =
            groups.iter().map(|group| u32::try_from(group.weight.unwrap_or(1)).unwrap_or(0));
        let all: u32 = weights.clone().sum();
        for (group, weight) in groups.iter().zip(weights) {
            let percent = (weight * 100).checked_div(all).unwrap_or(0);
            // A little is not nothing.
            let percent = percent.max(u32::from(weight > 0));
            if let Some(arn) = group.target_group_arn.clone() {
                let share = shares.entry(arn).or_default();
                *share = percent.max(*share);
            }
        }
        if let (Some(arn), true) = (&action.target_group_arn, groups.is_empty()) {
            shares.insert(arn.clone(), 100);
        }
    }
    shares
        .into_iter()
        .map(|(group_arn, weight_percent)| Forward { group_arn, weight_percent })
        .collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::ActionTypeEnum;

    use super::*;

    fn forward(group: &str) -> Action {
        Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(group).build()
    }

    fn rule(action: Action, hosts: &[&str]) -> Rule {
        let config = HostHeaderConditionConfig::builder();
        let config = hosts.iter().fold(config, |config, host| config.values(*host)).build();
        let condition = RuleCondition::builder().field("host-header").host_header_config(config);
        let rule = Rule::builder().actions(action);
        if hosts.is_empty() { rule.build() } else { rule.conditions(condition.build()).build() }
    }

    #[test]
    fn a_rule_is_got_to_by_the_hosts_it_asks_for_and_a_default_by_any() {
        let nothing = Action::builder().r#type(ActionTypeEnum::FixedResponse).build();
        let named = || rule(forward("green"), &["shop.example.com", "*.shop.example.com"]);
        let both: &[&str] = &["shop.example.com", "*.shop.example.com"];
        for (rules, default, hosts) in [
            (vec![named()], None, both),
            (vec![named(), rule(nothing.clone(), &[])], Some(nothing.clone()), both),
            (vec![named(), rule(forward("green"), &[])], Some(forward("green")), &[]),
            (vec![rule(nothing, &["old.example.com"]), named()], None, both),
            (vec![rule(forward("green"), &[])], None, &[]),
            (Vec::new(), Some(forward("green")), &[]),
        ] {
            let default: Vec<Action> = default.into_iter().collect();
            let (to, found) = led(&rules, &default);
            assert_eq!((to.len(), found), (1, hosts.iter().map(|h| (*h).to_owned()).collect()));
            assert_eq!(to[0].group_arn, "green");
        }
    }

    #[test]
    fn a_rule_belongs_to_a_listener() {
        let rule = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/1/2/9";
        let listener = "arn:aws:elasticloadbalancing:eu-west-1:1:listener/app/web/1/2";
        assert_eq!(listener_of(rule), listener);
        assert_eq!(listener_of(listener), listener);
    }
}
