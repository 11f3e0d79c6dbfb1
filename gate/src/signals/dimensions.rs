//! Whose metric is read: green's, or before the deployment blue's, where a policy names no dimensions.

use policies::policy::Metric;

use crate::resolve::Measured;

/// Name and value of each dimension.
pub(super) type Dimensions = Vec<(String, String)>;

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The candidate's.
    Green,
    /// What served before the deployment.
    Before,
}

/// Metrics of a whole load balancer, by how their names begin: no colour answered, so none can be told.
const OF_THE_LOAD_BALANCER: [&str; 3] = ["HTTPCode_ELB_", "HTTP_", "ELBAuth"];

/// The dimensions of a metric, or why there are none.
///
/// What CloudWatch calls them, by service:
//= https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html
//= https://docs.aws.amazon.com/elasticloadbalancing/latest/network/load-balancer-cloudwatch-metrics.html
//= https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-view.html
//= https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html
pub(crate) fn of(metric: &Metric, measured: &Measured, whose: Whose) -> Result<Dimensions, String> {
    if !metric.dimensions.is_empty() {
        return Ok(metric.dimensions.clone());
    }
    let named = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let lacks = |what: &str| {
        let namespace = &metric.namespace;
        Err(format!("`{}` of {namespace}: {what}; name its `dimensions`", metric.name))
    };
    match metric.namespace.as_str() {
        "AWS/ApplicationELB" | "AWS/NetworkELB" => {
            if OF_THE_LOAD_BALANCER.iter().any(|begin| metric.name.starts_with(begin)) {
                return lacks("it is of the whole load balancer, and of no colour");
            }
            let (group, balancer) = match whose {
                Whose::Green => (&measured.target_group, &measured.load_balancer),
                Whose::Before => (&measured.blue_target_group, &measured.blue_load_balancer),
            };
            let Some(group) = group else {
                return lacks(match whose {
                    Whose::Green => "green has no target group",
                    Whose::Before => "there is no blue to compare with",
                });
            };
            let Some(balancer) = balancer else {
                return lacks("no listener uses the target group yet");
            };
            let kind = if metric.namespace == "AWS/NetworkELB" { "net/" } else { "app/" };
            if !balancer.starts_with(kind) {
                return lacks("green is behind a load balancer of another kind");
            }
            Ok(named(&[("TargetGroup", group), ("LoadBalancer", balancer)]))
        }
        "AWS/Lambda" => {
            let Some((function, alias, version)) = &measured.function else {
                return lacks("green is no function");
            };
            let resource = format!("{function}:{alias}");
            let mut found: Dimensions =
                named(&[("FunctionName", function), ("Resource", &resource)]);
            // Before the deployment one version had all of the alias.
            if whose == Whose::Green {
                found.push(("ExecutedVersion".to_owned(), version.clone()));
            }
            Ok(found)
        }
        "AWS/ECS" => {
            let Some((cluster, service)) = &measured.service else {
                return lacks("green is no service of ECS");
            };
            Ok(named(&[("ClusterName", cluster), ("ServiceName", service)]))
        }
        // A metric of one's own may have none.
        _ => Ok(Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured() -> Measured {
        Measured {
            target_group: Some("targetgroup/web-green/73e2".into()),
            load_balancer: Some("app/web/50dc".into()),
            blue_target_group: Some("targetgroup/web-blue/11aa".into()),
            blue_load_balancer: Some("app/web/50dc".into()),
            service: Some(("prod".into(), "web".into())),
            function: Some(("checkout".into(), "live".into(), "42".into())),
            ..Measured::default()
        }
    }

    fn check(namespace: &str, name: &str, measured: &Measured, whose: Whose, expected: &str) {
        let metric = Metric {
            namespace: namespace.into(),
            name: name.into(),
            statistic: "Sum".into(),
            dimensions: Vec::new(),
        };
        let shown = match of(&metric, measured, whose) {
            Ok(found) => {
                let found: Vec<String> =
                    found.iter().map(|(name, value)| format!("{name}={value}")).collect();
                found.join(" ")
            }
            Err(reason) => reason,
        };
        assert_eq!(shown, expected, "{namespace} {name} {whose:?}");
    }

    #[test]
    fn greens_dimensions_are_filled_in_and_blues_before_the_deployment() {
        use Whose::{Before, Green};
        let all = measured();
        let (alb, nlb) = ("AWS/ApplicationELB", "AWS/NetworkELB");
        let green = "TargetGroup=targetgroup/web-green/73e2 LoadBalancer=app/web/50dc";
        check(alb, "RequestCount", &all, Green, green);
        let blue = "TargetGroup=targetgroup/web-blue/11aa LoadBalancer=app/web/50dc";
        check(alb, "RequestCount", &all, Before, blue);
        let function = "FunctionName=checkout Resource=checkout:live";
        let version = format!("{function} ExecutedVersion=42");
        check("AWS/Lambda", "Errors", &all, Green, &version);
        check("AWS/Lambda", "Duration", &all, Before, function);
        check("AWS/ECS", "CPUUtilization", &all, Green, "ClusterName=prod ServiceName=web");
        check("AWS/ECS", "CPUUtilization", &all, Before, "ClusterName=prod ServiceName=web");
        check("Shop", "failed", &all, Green, "");
        let network = Measured { load_balancer: Some("net/web/9f".into()), ..measured() };
        let green = "TargetGroup=targetgroup/web-green/73e2 LoadBalancer=net/web/9f";
        check(nlb, "TCP_Target_Reset_Count", &network, Green, green);
    }

    #[test]
    fn what_cannot_be_green_is_said_and_not_read() {
        use Whose::{Before, Green};
        let (all, none) = (measured(), Measured::default());
        let check = |namespace: &str, name: &str, measured: &Measured, whose, reason: &str| {
            let expected = format!("`{name}` of {namespace}: {reason}; name its `dimensions`");
            check(namespace, name, measured, whose, &expected);
        };
        let (alb, nlb) = ("AWS/ApplicationELB", "AWS/NetworkELB");
        let whole = "it is of the whole load balancer, and of no colour";
        check(alb, "HTTPCode_ELB_5XX_Count", &all, Green, whole);
        let kind = "green is behind a load balancer of another kind";
        check(nlb, "ProcessedBytes", &all, Green, kind);
        check(alb, "RequestCount", &none, Green, "green has no target group");
        check(alb, "RequestCount", &none, Before, "there is no blue to compare with");
        let unused = Measured { load_balancer: None, ..measured() };
        check(alb, "RequestCount", &unused, Green, "no listener uses the target group yet");
        check("AWS/Lambda", "Errors", &none, Green, "green is no function");
        check("AWS/ECS", "CPUUtilization", &none, Green, "green is no service of ECS");
    }

    #[test]
    fn dimensions_that_a_policy_names_are_taken_as_they_are() {
        let dimensions = vec![("LoadBalancer".to_owned(), "app/web/50dc".to_owned())];
        let metric = Metric {
            namespace: "AWS/ApplicationELB".into(),
            name: "HTTPCode_ELB_5XX_Count".into(),
            statistic: "Sum".into(),
            dimensions: dimensions.clone(),
        };
        assert_eq!(of(&metric, &Measured::default(), Whose::Green), Ok(dimensions));
    }
}
