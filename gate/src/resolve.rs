//! From a deployment's id to what can be probed: CodeDeploy on ECS.
//!
//! Green is what CodeDeploy labels `Green`, never a target group's name: the names alternate.

use policies::deployment::Route;
use policies::{Blame, Deployment, Stage, Target, Trouble};

use crate::aws::{Aws, DeploymentFacts, EcsTarget, Failure, Listener, TargetGroup};
use crate::shell::trouble;

/// `creator` of a deployment that CodeDeploy made to roll another one back.
//= https://docs.aws.amazon.com/codedeploy/latest/APIReference/API_DeploymentInfo.html
const ROLLBACK_CREATOR: &str = "codeDeployRollback";
/// Targets probed for each arm; the rate is shared among them.
const TARGETS_MAX: usize = 500;

/// What came of resolving.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Resolved {
    /// What the question is about.
    Deployment(Box<Deployment>),
    /// The deployment is over, with this status.
    Ended(String),
}

/// Resolves a CodeDeploy deployment on ECS; at any stage where it is only `watched`.
///
/// # Errors
/// Why it could not be resolved this time, and whose fault that is.
pub(crate) async fn resolve(aws: &dyn Aws, id: &str, watched: bool) -> Result<Resolved, Trouble> {
    let facts = aws.deployment(id).await.map_err(|error| trouble(&error))?;
    if matches!(facts.status.as_str(), "Succeeded" | "Failed" | "Stopped") {
        return Ok(Resolved::Ended(facts.status));
    }
    if facts.creator == ROLLBACK_CREATOR {
        // Nothing else matters, so nothing else may go wrong.
        return Ok(Resolved::Deployment(Box::new(blank(id, &facts))));
    }
    if facts.platform != "ECS" {
        let what = format!(
            "deployment {id} is on platform {}; this version of gate judges CodeDeploy on ECS",
            facts.platform
        );
        return Err(Trouble { blame: Blame::User, lasting: true, what });
    }
    let target = aws.ecs_target(id).await.map_err(|error| trouble(&error))?;
    let Some(target) = target else {
        return Err(passing(format!("deployment {id} has no targets yet")));
    };
    let stage = stage(&target).or_else(|| watched.then_some(Stage::Unknown));
    let Some(stage) = stage else {
        let seen = target.events_in_progress.join(", ");
        let what = format!(
            "deployment {id} is at no lifecycle event that can be hooked (in progress: [{seen}])"
        );
        return Err(passing(what));
    };
    let mut deployment = blank(id, &facts);
    deployment.service.clone_from(&target.id);
    deployment.stage = stage;
    if !facts.rolls_back_on_failure {
        deployment.warnings.push(format!(
            "deployment group {} does not roll back when a hook fails; gate will stop the deployment with rollback instead (needs codedeploy:StopDeployment)",
            facts.group
        ));
    }
    if !stage.measurable() {
        return Ok(Resolved::Deployment(Box::new(deployment)));
    }
    arms(aws, &facts, &target, &mut deployment).await?;
    Ok(Resolved::Deployment(Box::new(deployment)))
}

/// What `GetDeployment` alone tells.
fn blank(id: &str, facts: &DeploymentFacts) -> Deployment {
    Deployment {
        id: id.to_owned(),
        application: facts.application.clone(),
        group: facts.group.clone(),
        service: String::new(),
        stage: Stage::Unknown,
        is_rollback: facts.creator == ROLLBACK_CREATOR,
        rolls_back_on_failure: facts.rolls_back_on_failure,
        green: Vec::new(),
        blue: Vec::new(),
        ..Deployment::default()
    }
}

fn passing(what: String) -> Trouble {
    Trouble { blame: Blame::Aws, lasting: false, what }
}

/// The hook event does not say its stage: it is the lifecycle event in progress.
fn stage(target: &EcsTarget) -> Option<Stage> {
    target.events_in_progress.iter().find_map(|name| Stage::named(name))
}

async fn arms(
    aws: &dyn Aws,
    facts: &DeploymentFacts,
    target: &EcsTarget,
    deployment: &mut Deployment,
) -> Result<(), Trouble> {
    let green = group(aws, target, "Green").await?;
    let Some(green) = green else {
        let what = format!("service {} has no task set labelled Green", target.id);
        return Err(Trouble { blame: Blame::Aws, lasting: true, what });
    };
    deployment.only_speaks =
        Some(green.protocol_version.clone()).filter(|version| version != "HTTP1");
    let blue = group(aws, target, "Blue").await?;
    deployment.green = tasks(aws, &green, &mut deployment.warnings).await?;
    if let Some(blue) = &blue {
        deployment.blue = tasks(aws, blue, &mut deployment.warnings).await?;
    }
    let (test, production) = (facts.test_listener.as_ref(), facts.production_listener.as_ref());
    // Whichever listener forwards to an arm is a way to it; test first, for it is green's before the shift.
    for arn in [test, production].into_iter().flatten() {
        let listener = match aws.listener(arn).await {
            Ok(listener) => listener,
            // The tasks are a way to green by themselves.
            Err(error) if error.failure != Failure::Passing && !deployment.green.is_empty() => {
                deployment.warnings.push(format!("a listener is not probed: {}", error.story()));
                continue;
            }
            Err(error) => return Err(trouble(&error)),
        };
        let reaches = |group: &TargetGroup| listener.forwards_to == [group.arn.clone()];
        if reaches(&green) && deployment.green.iter().all(|t| t.route != Route::Listener) {
            deployment.green.push(through(&listener));
        }
        if blue.as_ref().is_some_and(reaches)
            && deployment.blue.iter().all(|t| t.route != Route::Listener)
        {
            deployment.blue.push(through(&listener));
        }
    }
    Ok(())
}

async fn group(
    aws: &dyn Aws,
    target: &EcsTarget,
    label: &str,
) -> Result<Option<TargetGroup>, Trouble> {
    let set = target.task_sets.iter().find(|set| set.label == label);
    let Some(name) = set.and_then(|set| set.target_group.as_ref()) else { return Ok(None) };
    aws.target_group(name).await.map(Some).map_err(|error| trouble(&error))
}

/// Targets by address. `instance` targets have none here: their listener is the way to them.
async fn tasks(
    aws: &dyn Aws,
    group: &TargetGroup,
    warnings: &mut Vec<String>,
) -> Result<Vec<Target>, Trouble> {
    if group.target_type != "ip" {
        return Ok(Vec::new());
    }
    let registered = aws.target_health(&group.arn).await.map_err(|error| trouble(&error))?;
    let mut targets = Vec::new();
    for target in registered {
        // `unused` is normal for a group that no listener points at yet; draining targets are leaving.
        let gone =
            target.state == "draining" || target.reason.as_deref() == Some("Target.NotRegistered");
        if gone {
            continue;
        }
        if targets.len() == TARGETS_MAX {
            warnings
                .push(format!("only the first {TARGETS_MAX} targets of {} are probed", group.arn));
            break;
        }
        let health = match (&target.reason, &target.description) {
            (Some(reason), Some(description)) => {
                format!("{}: {reason}, {description}", target.state)
            }
            (Some(reason), None) => format!("{}: {reason}", target.state),
            (None, _) => target.state.clone(),
        };
        targets.push(Target {
            id: format!("{}:{}", target.id, target.port),
            host: target.id,
            port: target.port,
            tls: speaks_tls(&group.protocol),
            route: Route::Task,
            health: Some(health),
        });
    }
    Ok(targets)
}

/// Application and network load balancers call it differently.
fn speaks_tls(protocol: &str) -> bool {
    matches!(protocol, "HTTPS" | "TLS")
}

fn through(listener: &Listener) -> Target {
    Target {
        id: format!("listener {}:{}", listener.dns_name, listener.port),
        host: listener.dns_name.clone(),
        port: listener.port,
        tls: speaks_tls(&listener.protocol),
        route: Route::Listener,
        health: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::{FakeAws, registered};
    use expect_test::{Expect, expect};

    /// Resolves against an AWS changed by `change`, and shows what came of it.
    async fn check(change: impl FnOnce(&mut FakeAws), expected: Expect) {
        let mut aws = FakeAws::new();
        change(&mut aws);
        let shown = match resolve(&aws, "d-1", false).await {
            Ok(Resolved::Deployment(deployment)) => {
                let ids = |targets: &[Target]| {
                    let ids: Vec<&str> = targets.iter().map(|target| target.id.as_str()).collect();
                    ids.join(", ")
                };
                let mut shown = format!(
                    "{} of {}: green [{}], blue [{}]",
                    deployment.stage,
                    deployment.service,
                    ids(&deployment.green),
                    ids(&deployment.blue)
                );
                for warning in &deployment.warnings {
                    shown.push_str("; warning: ");
                    shown.push_str(warning);
                }
                shown
            }
            Ok(Resolved::Ended(status)) => format!("ended: {status}"),
            Err(trouble) => format!(
                "{:?}, {}: {trouble}",
                trouble.blame,
                if trouble.lasting { "lasting" } else { "passing" }
            ),
        };
        expected.assert_eq(&shown);
    }

    #[tokio::test]
    async fn green_is_what_codedeploy_labels_green_whatever_its_target_group_is_called() {
        check(
            |_| {},
            expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]"],
        )
        .await;
    }

    #[tokio::test]
    async fn targets_that_leave_are_left_out_and_unused_ones_are_not() {
        check(
            |aws| {
                let green = vec![
                    registered("10.0.0.2", "unused", Some("Target.NotInUse")),
                    registered("10.0.0.3", "draining", Some("Target.DeregistrationInProgress")),
                    registered("10.0.0.4", "unhealthy", Some("Target.Timeout")),
                ];
                aws.health.insert("arn:web-blue".into(), green);
                aws.facts.test_listener = None;
            },
            expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, 10.0.0.4:8080], blue [10.0.0.1:8080, listener web.elb:80]"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_first_deployment_has_no_blue() {
        check(
            |aws| {
                if let Some(target) = &mut aws.target {
                    target.task_sets.retain(|set| set.label == "Green");
                }
            },
            expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue []"],
        )
        .await;
    }

    #[tokio::test]
    async fn instance_targets_are_reached_by_their_listener() {
        check(
            |aws| {
                for group in aws.groups.values_mut() {
                    group.target_type = "instance".into();
                }
            },
            expect!["AfterAllowTestTraffic of prod:web: green [listener web.elb:9000], blue [listener web.elb:80]"],
        )
        .await;
    }

    #[tokio::test]
    async fn after_the_shift_the_production_listener_belongs_to_green() {
        check(
            |aws| {
                if let Some(target) = &mut aws.target {
                    target.events_in_progress = vec!["AfterAllowTraffic".into()];
                }
                for listener in aws.listeners.values_mut() {
                    listener.forwards_to = vec!["arn:web-blue".into()];
                }
            },
            expect!["AfterAllowTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080]"],
        )
        .await;
    }

    #[tokio::test]
    async fn what_cannot_be_resolved_says_whose_fault_it_is() {
        check(|aws| aws.target = None, expect!["Aws, passing: deployment d-1 has no targets yet"])
            .await;
        check(
            |aws| {
                if let Some(target) = &mut aws.target {
                    target.task_sets.retain(|set| set.label == "Blue");
                }
            },
            expect!["Aws, lasting: service prod:web has no task set labelled Green"],
        )
        .await;
        check(
            |aws| aws.facts.platform = "Lambda".into(),
            expect!["User, lasting: deployment d-1 is on platform Lambda; this version of gate judges CodeDeploy on ECS"],
        )
        .await;
        check(
            |aws| aws.failures = [("GetDeployment", Failure::Denied)].into(),
            expect!["User, lasting: GetDeployment of d-1 failed: Told (to fail); allow `codedeploy:GetDeployment` to the role gate runs with, see deploy/README.md"],
        )
        .await;
        check(
            |aws| aws.failures = [("DescribeTargetHealth", Failure::Passing)].into(),
            expect!["Aws, passing: DescribeTargetHealth of arn:web-blue failed: Told (to fail)"],
        )
        .await;
        check(
            |aws| aws.failures = [("DescribeListeners", Failure::Passing)].into(),
            expect!["Aws, passing: DescribeListeners of arn:test failed: Told (to fail)"],
        )
        .await;
        check(
            |aws| {
                if let Some(target) = &mut aws.target {
                    target.events_in_progress = vec!["AllowTestTraffic".into()];
                }
            },
            expect!["Aws, passing: deployment d-1 is at no lifecycle event that can be hooked (in progress: [AllowTestTraffic])"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_listener_that_may_not_be_read_is_a_warning_where_tasks_are_known() {
        check(|aws| aws.failures = [("DescribeListeners", Failure::Denied)].into(), expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080], blue [10.0.0.1:8080]; warning: a listener is not probed: DescribeListeners of arn:test failed: Told (to fail); allow `elasticloadbalancing:DescribeListeners` to the role gate runs with, see deploy/README.md; warning: a listener is not probed: DescribeListeners of arn:prod failed: Told (to fail); allow `elasticloadbalancing:DescribeListeners` to the role gate runs with, see deploy/README.md"])
            .await;
    }

    #[tokio::test]
    async fn a_deployment_that_is_over_and_a_rollback_need_no_targets() {
        check(|aws| aws.facts.status = "Stopped".into(), expect!["ended: Stopped"]).await;
        check(
            |aws| {
                aws.facts.creator = ROLLBACK_CREATOR.into();
                aws.failures = [("BatchGetDeploymentTargets", Failure::Denied)].into();
            },
            expect!["unknown of : green [], blue []"],
        )
        .await;
    }

    #[tokio::test]
    async fn a_group_that_does_not_roll_back_is_warned_about_early() {
        check(
            |aws| aws.facts.rolls_back_on_failure = false,
            expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]; warning: deployment group web-group does not roll back when a hook fails; gate will stop the deployment with rollback instead (needs codedeploy:StopDeployment)"],
        )
        .await;
    }
}
