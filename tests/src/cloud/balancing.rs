//! Elastic Load Balancing: a target group is named by the address of its only target, so that nothing has to be kept.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use super::wire::Reply;

const OF: &str = "arn:aws:elasticloadbalancing:us-east-1:000000000000";
/// The production listener of everything.
pub(super) const LISTENER: &str =
    "arn:aws:elasticloadbalancing:us-east-1:000000000000:listener/app/web/1/2";

/// What the target group with this target is called.
pub(super) fn group_name(target: SocketAddr) -> String {
    format!("group-{}", target.to_string().replace(['.', ':'], "-"))
}

/// The target of a group, by its name or its ARN.
fn target_of(group: &str) -> Option<(String, &str)> {
    let name = group.split('/').nth(1).unwrap_or(group).strip_prefix("group-")?;
    let (ip, port) = name.rsplit_once('-')?;
    Some((ip.replace('-', "."), port))
}

pub(super) fn call(operation: &str, form: &BTreeMap<String, String>) -> Option<Reply> {
    let first = |list: &str| form.get(&format!("{list}.member.1")).map(String::as_str);
    let balancer = format!("{OF}:loadbalancer/app/web/1");
    Some(Reply::Xml(match operation {
        "DescribeTargetGroups" => {
            let named = first("Names").or_else(|| first("TargetGroupArns")).unwrap_or_default();
            let name = named.split('/').nth(1).unwrap_or(named);
            if target_of(name).is_none() {
                return Some(Reply::Refused("TargetGroupNotFound"));
            }
            format!(
                "<TargetGroups><member><TargetGroupArn>{OF}:targetgroup/{name}/1</TargetGroupArn><TargetGroupName>{name}</TargetGroupName><Protocol>HTTP</Protocol><ProtocolVersion>HTTP1</ProtocolVersion><Port>80</Port><TargetType>ip</TargetType><LoadBalancerArns><member>{balancer}</member></LoadBalancerArns></member></TargetGroups>"
            )
        }
        "DescribeTargetHealth" => {
            let group = form.get("TargetGroupArn").map(String::as_str).unwrap_or_default();
            let Some((ip, port)) = target_of(group) else {
                return Some(Reply::Refused("TargetGroupNotFound"));
            };
            format!(
                "<TargetHealthDescriptions><member><Target><Id>{ip}</Id><Port>{port}</Port></Target><TargetHealth><State>healthy</State></TargetHealth></member></TargetHealthDescriptions>"
            )
        }
        "DescribeListeners" => format!(
            "<Listeners><member><ListenerArn>{LISTENER}</ListenerArn><LoadBalancerArn>{balancer}</LoadBalancerArn><Port>80</Port><Protocol>HTTP</Protocol></member></Listeners>"
        ),
        "DescribeLoadBalancers" => format!(
            "<LoadBalancers><member><LoadBalancerArn>{balancer}</LoadBalancerArn><DNSName>127.0.0.1</DNSName></member></LoadBalancers>"
        ),
        "DescribeRules" => "<Rules></Rules>".to_owned(),
        _ => return None,
    }))
}
