//! Whether what is set up around a deployment does what one thinks: rollback, controller, listeners, intake.

use policies::Stage;

use super::facts::{Facts, Found};
use super::finding::Area;
use super::ledger::Outcome;
use super::policy::Judged;
use super::{Finding, Level, Patient, Visit, together};
use crate::aws::balancing::Listener;
use crate::aws::{Call, Failure};
use crate::config::Mode;
use crate::shell::Doing;

/// The rules or listeners of a service: one each, as a rule.
const LISTENERS_MAX: usize = 8;

/// Whether a rollback that gate answers really happens.
pub(super) fn rollback(visit: &Visit, facts: &Facts) -> Vec<Finding> {
    match &facts.found {
        Found::Group(group) if group.rolls_back_on_failure => {
            vec![Finding::ok(Area::Rollback, "a failed hook rolls back: DEPLOYMENT_FAILURE is set")]
        }
        Found::Group(group) if group.platform != "Server" => {
            let Patient::Group { application, group: name } = &visit.patient else {
                return Vec::new();
            };
            let fix = format!(
                "aws deploy update-deployment-group --application-name {application} --current-deployment-group-name {name} --auto-rollback-configuration enabled=true,events=DEPLOYMENT_FAILURE"
            );
            vec![Finding::new(
                Area::Rollback,
                Level::Warning,
                "a failed hook rolls nothing back: the group has no auto rollback on DEPLOYMENT_FAILURE",
                "gate stops the deployment with rollback instead, which needs codedeploy:StopDeployment; the relay, where gate is away, only fails the hook",
                fix,
            )]
        }
        Found::Service(_) => {
            vec![Finding::ok(Area::Rollback, "ECS rolls back where a pause is answered so")]
        }
        Found::Function(_) => vec![Finding::untested(
            Area::Rollback,
            "whether a failed hook rolls back",
            "a function does not say which deployment group deploys it",
            Some("gate doctor codedeploy APPLICATION GROUP".to_owned()),
        )],
        Found::Group(_) | Found::Pipeline(_) | Found::Unread | Found::Nothing => Vec::new(),
    }
}

/// How questions that no relay brings reach the daemon.
pub(super) fn intake(visit: &Visit, facts: &Facts) -> Vec<Finding> {
    let intake = &visit.settings.intake;
    let polled = intake.poll.iter().any(|polled| match &visit.patient {
        Patient::Group { application, group } => {
            polled.application.as_ref() == Some(application) && polled.group.as_ref() == Some(group)
        }
        Patient::Service { cluster, service } => {
            polled.cluster.as_ref() == Some(cluster) && polled.service.as_ref() == Some(service)
        }
        Patient::Function { .. } | Patient::Pipeline { .. } => false,
    });
    let (question, poll) = match (&visit.patient, &facts.found) {
        (Patient::Group { application, group }, Found::Group(found)) => {
            if found.ready_wait_minutes.is_none() {
                return Vec::new();
            }
            ("READY waits", Some(format!("{{ application: {application}, group: {group} }}")))
        }
        (Patient::Service { cluster, service }, Found::Service(found)) => {
            if found.pauses.is_empty() {
                return Vec::new();
            }
            ("pauses", Some(format!("{{ cluster: {cluster}, service: {service} }}")))
        }
        (Patient::Pipeline { .. }, Found::Pipeline(_)) => {
            if facts.asks.iter().all(|asks| asks.stage != Stage::Approval) {
                return Vec::new();
            }
            ("manual approvals", None)
        }
        _ => return Vec::new(),
    };
    if let Some(queue) = &intake.queue {
        let what =
            format!("{question} reach the daemon by {queue}, where its rule or topic sends them");
        return vec![Finding::ok(Area::Intake, what)];
    }
    if polled {
        return vec![Finding::ok(
            Area::Intake,
            format!("{question} are looked for: `intake.poll`"),
        )];
    }
    let fix = match poll {
        Some(entry) => format!("`intake: {{ poll: [ {entry} ] }}`, or `intake.queue`"),
        None => "`intake: { queue: https://sqs.REGION.amazonaws.com/ACCOUNT/NAME }`".to_owned(),
    };
    if !visit.settings_are_named {
        let what = format!("whether the daemon hears of {question} is not known");
        let why = "no settings file was named, so these are the defaults";
        let fix = Some("--config FILE: the daemon's settings".to_owned());
        return vec![Finding::untested(Area::Intake, what, why, fix)];
    }
    vec![Finding::new(
        Area::Intake,
        Level::Error,
        format!("nobody tells the daemon of {question}"),
        "each of them waits until it times out",
        fix,
    )]
}

/// What keeps `gate serve` from starting with these settings here.
pub(super) fn settings(visit: &Visit) -> Vec<Finding> {
    let fault = |fault: &String| {
        Finding::new(
            Area::Settings,
            Level::Warning,
            fault,
            "`gate serve` would not start with these settings where this was run",
            "change the setting; or run this where the daemon runs",
        )
    };
    let mut found: Vec<Finding> = visit.settings_faults.iter().map(fault).collect();
    if visit.settings.mode == Mode::Observe {
        found.push(Finding::new(
            Area::Settings,
            Level::Warning,
            "mode: observe",
            "everything is judged and recorded, and every deployment is let through",
            "`mode: decide`, once you believe it",
        ));
    }
    found
}

/// Whether listeners lead to green's and blue's target groups, and who deploys the service.
pub(super) async fn listeners(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Finding> {
    match &facts.found {
        Found::Group(group) if group.platform == "ECS" => {
            let production: Vec<String> = group.production_listener.iter().cloned().collect();
            let test: Vec<String> = group.test_listener.iter().cloned().collect();
            let mut found = controller(visit, group.services.first()).await;
            if group.test_listener.is_none() {
                found.push(no_test_listener(judged));
            }
            found.extend(lead(visit, facts, &production, &test).await);
            found
        }
        Found::Service(service) => {
            let mut found = Vec::new();
            if service.controller != "ECS" {
                found.push(Finding::new(
                    Area::Listeners,
                    Level::Error,
                    format!("the service is deployed by {}, not by ECS", service.controller),
                    "its deployments have no pauses; CodeDeploy's hooks ask instead",
                    "gate doctor codedeploy APPLICATION GROUP; or a service with the deployment controller ECS",
                ));
            }
            if service.target_groups.is_empty() {
                found.push(Finding::new(
                    Area::Listeners,
                    Level::Error,
                    "the service has no target group",
                    "gate finds green and blue by their target groups",
                    "put the service behind a load balancer: `loadBalancers` in its definition",
                ));
            }
            let post_test = facts.asks.iter().any(|asks| asks.stage == Stage::PostTestTrafficShift);
            if service.test_rules.is_empty() && post_test {
                found.push(Finding::new(
                    Area::Listeners,
                    Level::Warning,
                    "gate is asked at POST_TEST_TRAFFIC_SHIFT, and there is no test listener rule",
                    "green gets no test traffic: gate reaches it by the addresses of its tasks alone, and not at all with `via: listener`",
                    "set `testListenerRule` in `loadBalancers[].advancedConfiguration`",
                ));
            }
            found.extend(lead(visit, facts, &service.production_rules, &service.test_rules).await);
            found
        }
        Found::Group(_)
        | Found::Function(_)
        | Found::Pipeline(_)
        | Found::Unread
        | Found::Nothing => Vec::new(),
    }
}

/// CodeDeploy deploys only services that say so.
async fn controller(visit: &Visit, service: Option<&String>) -> Vec<Finding> {
    let Some((cluster, service)) = service.and_then(|service| service.split_once(':')) else {
        return vec![Finding::new(
            Area::Listeners,
            Level::Error,
            "the group names no ECS service",
            "there is nothing that it could deploy to",
            "aws deploy update-deployment-group ... --ecs-services serviceName=SERVICE,clusterName=CLUSTER",
        )];
    };
    match visit.ask(&[Call::DescribeServices], visit.aws.service(cluster, service)).await {
        Ok(found) if found.controller == "CODE_DEPLOY" => {
            vec![Finding::ok(
                Area::Listeners,
                format!("{cluster}:{service} is deployed by CodeDeploy"),
            )]
        }
        Ok(found) => vec![Finding::new(
            Area::Listeners,
            Level::Error,
            format!("{cluster}:{service} has the deployment controller {}", found.controller),
            "CodeDeploy cannot deploy it, so its hooks never ask",
            format!(
                "gate doctor ecs {cluster} {service}; or a service with the deployment controller CODE_DEPLOY"
            ),
        )],
        Err(error) if error.is(Failure::Missing) => vec![Finding::new(
            Area::Listeners,
            Level::Error,
            format!("there is no service {cluster}:{service}"),
            "the group deploys to it",
            format!("aws ecs list-services --cluster {cluster}"),
        )],
        Err(error) => {
            let what = format!("who deploys {cluster}:{service} is not known");
            vec![Finding::untested(Area::Listeners, what, error.to_string(), error.fix())]
        }
    }
}

fn no_test_listener(judged: &Judged) -> Finding {
    // Whoever wrote the stage down counts on it.
    let wanted = judged.names(Stage::AfterAllowTestTraffic);
    let level = if wanted { Level::Error } else { Level::Warning };
    Finding::new(
        Area::Listeners,
        level,
        "the group has no test listener",
        "nothing happens at AfterAllowTestTraffic: a hook there asks nobody, and the release goes out ungated",
        "add a listener to the load balancer, and its ARN as `testTrafficRoute` to the group's `targetGroupPairInfoList`; or hook AfterInstall",
    )
}

async fn lead(
    visit: &Visit,
    facts: &Facts,
    production: &[String],
    test: &[String],
) -> Vec<Finding> {
    let of = |which: &'static str, arns: &[String]| {
        let arns: Vec<String> = arns.iter().take(LISTENERS_MAX).cloned().collect();
        arns.into_iter().map(move |arn| (which, arn))
    };
    let all: Vec<_> = of("production", production).chain(of("test", test)).collect();
    let one = |(which, arn): &(&'static str, String)| -> Doing<'_, Finding> {
        let (which, arn) = (*which, arn.clone());
        Box::pin(async move {
            let calls = [Call::DescribeListeners, Call::DescribeLoadBalancers, Call::DescribeRules];
            match visit.ask(&calls, visit.aws.listener(&arn)).await {
                Ok(listener) => leads(which, &arn, &listener, facts),
                Err(error) if error.is(Failure::Missing) => Finding::new(
                    Area::Listeners,
                    Level::Error,
                    format!("the {which} listener does not exist: {arn}"),
                    "traffic cannot be shifted, and gate cannot probe through it",
                    "name a listener that exists",
                ),
                Err(error) => {
                    let what = format!("where the {which} listener leads is not known");
                    Finding::untested(Area::Listeners, what, error.to_string(), error.fix())
                }
            }
        })
    };
    together(all.iter().map(one).collect()).await
}

fn leads(which: &str, arn: &str, listener: &Listener, facts: &Facts) -> Finding {
    let address = format!("{}:{}", listener.dns_name, listener.port);
    let forwards = |arn: &str, least_percent: u32| {
        let mut forwards = listener.forwards_to.iter();
        forwards.any(|to| to.group_arn == arn && to.weight_percent >= least_percent)
    };
    let led = |least_percent: u32| -> Vec<&str> {
        let groups = facts.groups.iter();
        let led = groups.filter(|group| forwards(&group.facts.arn, least_percent));
        led.map(|group| group.name.as_str()).collect()
    };
    // Between deployments one of the two has no traffic, and is named with a weight of 0.
    let (to, live) = (led(0), led(1));
    if to.is_empty() && !facts.groups.is_empty() {
        return Finding::new(
            Area::Listeners,
            Level::Error,
            format!("the {which} listener {address} forwards to none of the target groups"),
            "traffic that it takes reaches neither green nor blue",
            format!("aws elbv2 describe-rules --listener-arn {arn}"),
        );
    }
    let to = if live.is_empty() { to } else { live };
    let to = if to.is_empty() { "groups that are not known".to_owned() } else { to.join(", ") };
    Finding::ok(Area::Listeners, format!("the {which} listener {address} forwards to {to}"))
}

/// A rollback that CodeDeploy does not make is StopDeployment's: refused, nothing rolls back.
pub(super) fn stop_is_needed(facts: &Facts, stop: Option<&Outcome>) -> Option<Finding> {
    let Found::Group(group) = &facts.found else { return None };
    let refused = matches!(stop, Some(Outcome::Denied(_)));
    (refused && !group.rolls_back_on_failure).then(|| {
        Finding::new(
            Area::Rollback,
            Level::Error,
            "a release that is refused is not rolled back",
            "the group does not roll back when a hook fails, and gate may not stop deployments",
            "allow `codedeploy:StopDeployment`, or set auto rollback on DEPLOYMENT_FAILURE",
        )
    })
}
