//! From a deployment's id to what can be probed: CodeDeploy on ECS.
//!
//! Green is what CodeDeploy labels `Green`, never a target group's name: the names alternate.

use policies::deployment::Route;
use policies::{Blame, Deployment, Stage, Target, Trouble};

use crate::aws::{Aws, DeploymentFacts, EcsTarget, Listener, TargetGroup};
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
    Deployment(Deployment),
    /// The deployment is over, with this status.
    Ended(String),
}

/// Resolves a CodeDeploy deployment on ECS.
///
/// # Errors
/// Why it could not be resolved this time, and whose fault that is.
pub(crate) async fn resolve(aws: &dyn Aws, id: &str) -> Result<Resolved, Trouble> {
    let facts = aws.deployment(id).await.map_err(|error| trouble(&error))?;
    if matches!(facts.status.as_str(), "Succeeded" | "Failed" | "Stopped") {
        return Ok(Resolved::Ended(facts.status));
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
    let Some(stage) = stage(&target) else {
        let seen = target.events_in_progress.join(", ");
        let what = format!("deployment {id} is at no lifecycle event that can be hooked (in progress: [{seen}])");
        return Err(passing(what));
    };
    let mut deployment = Deployment {
        id: id.to_owned(),
        application: facts.application.clone(),
        group: facts.group.clone(),
        service: target.id.clone(),
        stage,
        is_rollback: facts.creator == ROLLBACK_CREATOR,
        rolls_back_on_failure: facts.rolls_back_on_failure,
        green: Vec::new(),
        blue: Vec::new(),
        warnings: Vec::new(),
    };
    if !facts.rolls_back_on_failure {
        deployment.warnings.push(format!(
            "deployment group {} does not roll back when a hook fails; gate will stop the deployment with rollback instead (needs codedeploy:StopDeployment)",
            facts.group
        ));
    }
    if deployment.is_rollback || !stage.measurable() {
        return Ok(Resolved::Deployment(deployment));
    }
    arms(aws, &facts, &target, &mut deployment).await?;
    Ok(Resolved::Deployment(deployment))
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
    if green.protocol_version != "HTTP1" {
        let what = format!(
            "target group {} speaks {}; this version of gate probes HTTP/1.1",
            green.arn, green.protocol_version
        );
        return Err(Trouble { blame: Blame::User, lasting: true, what });
    }
    let blue = group(aws, target, "Blue").await?;
    deployment.green = tasks(aws, &green, &mut deployment.warnings).await?;
    if let Some(blue) = &blue {
        deployment.blue = tasks(aws, blue, &mut deployment.warnings).await?;
    }
    let (test, production) = (facts.test_listener.as_ref(), facts.production_listener.as_ref());
    // Whichever listener forwards to an arm is a way to it; test first, for it is green's before the shift.
    for arn in [test, production].into_iter().flatten() {
        let listener = aws.listener(arn).await.map_err(|error| trouble(&error))?;
        let reaches = |group: &TargetGroup| listener.forwards_to == [group.arn.clone()];
        if reaches(&green) && deployment.green.iter().all(|t| t.route != Route::Listener) {
            deployment.green.push(through(&listener));
        }
        if blue.as_ref().is_some_and(reaches) && deployment.blue.iter().all(|t| t.route != Route::Listener) {
            deployment.blue.push(through(&listener));
        }
    }
    Ok(())
}

async fn group(aws: &dyn Aws, target: &EcsTarget, label: &str) -> Result<Option<TargetGroup>, Trouble> {
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
        let gone = target.state == "draining"
            || target.reason.as_deref() == Some("Target.NotRegistered");
        if gone {
            continue;
        }
        if targets.len() == TARGETS_MAX {
            warnings.push(format!("only the first {TARGETS_MAX} targets of {} are probed", group.arn));
            break;
        }
        let health = match (&target.reason, &target.description) {
            (Some(reason), Some(description)) => format!("{}: {reason}, {description}", target.state),
            (Some(reason), None) => format!("{}: {reason}", target.state),
            (None, _) => target.state.clone(),
        };
        targets.push(Target {
            id: format!("{}:{}", target.id, target.port),
            host: target.id,
            port: target.port,
            tls: group.protocol == "HTTPS" || group.protocol == "TLS",
            route: Route::Task,
            health: Some(health),
        });
    }
    Ok(targets)
}

fn through(listener: &Listener) -> Target {
    Target {
        id: format!("listener {}:{}", listener.dns_name, listener.port),
        host: listener.dns_name.clone(),
        port: listener.port,
        tls: listener.protocol == "HTTPS" || listener.protocol == "TLS",
        route: Route::Listener,
        health: None,
    }
}
