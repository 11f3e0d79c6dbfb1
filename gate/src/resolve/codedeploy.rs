//! CodeDeploy: from a deployment's id to its platform, its stage and its arms.

use policies::{Blame, Deployment, Stage, Trouble};

use super::addresses::{Arms, fill};
use super::{
    GreenTasks, Measured, Purpose, Resolved, Resolver, function, lasting, passing, suffix,
};
use crate::aws::Aws;
use crate::aws::balancing::TargetGroup;
use crate::aws::codedeploy::{DeploymentFacts, DeploymentTarget, EcsTarget, LifecycleEvent, READY};
use crate::shell::trouble;

/// `creator` of a deployment that CodeDeploy made to roll another one back.
//= https://docs.aws.amazon.com/codedeploy/latest/APIReference/API_DeploymentInfo.html
pub(crate) const ROLLBACK_CREATOR: &str = "codeDeployRollback";
/// Who creates deployments of a stack that goes back.
const STACK_ROLLBACK_CREATOR: &str = "CloudFormationRollback";

/// Whether a deployment by this creator rolls another one back.
pub(crate) fn is_rollback(creator: &str) -> bool {
    [ROLLBACK_CREATOR, STACK_ROLLBACK_CREATOR].contains(&creator)
}

pub(super) async fn resolve(
    resolver: &Resolver,
    aws: &dyn Aws,
    id: &str,
    purpose: Purpose,
) -> Result<Resolved, Trouble> {
    let facts = aws.deployment(id).await.map_err(|error| trouble(&error))?;
    if facts.is_over() {
        return Ok(Resolved::Ended(facts.status));
    }
    let mut deployment = blank(id, &facts);
    if deployment.is_rollback {
        // Nothing else matters, so nothing else may go wrong.
        return Ok(Resolved::Deployment(Box::new(deployment)));
    }
    if facts.platform == "Server" {
        // Instances are reached by what the policy names; no hook of theirs can ask gate but READY.
        deployment.stage = if facts.status == READY { Stage::Ready } else { Stage::Unknown };
        return Ok(Resolved::Deployment(Box::new(deployment)));
    }
    let target = aws.deployment_target(id).await.map_err(|error| trouble(&error))?;
    let Some(target) = target else {
        return Err(passing(format!("deployment {id} has no targets yet")));
    };
    let events = match &target {
        DeploymentTarget::Ecs(target) => &target.events,
        DeploymentTarget::Function(target) => &target.events,
    };
    deployment.stage = stage(id, &facts, events, purpose)?;
    deployment.remaining_seconds = remaining(resolver, aws, &facts, events).await;
    if !facts.rolls_back_on_failure {
        deployment.warnings.push(format!(
            "deployment group {} does not roll back when a hook fails; gate will stop the deployment with rollback instead (needs codedeploy:StopDeployment)",
            facts.group
        ));
    }
    match target {
        DeploymentTarget::Ecs(target) => {
            deployment.service.clone_from(&target.id);
            if deployment.stage.measurable() {
                arms(resolver, aws, &facts, &target, &mut deployment).await?;
            }
        }
        DeploymentTarget::Function(target) => {
            let began = facts.began_unix_seconds;
            function::arms(resolver, aws, (&target, began), &mut deployment).await?;
        }
    }
    Ok(Resolved::Deployment(Box::new(deployment)))
}

/// What `GetDeployment` alone tells.
fn blank(id: &str, facts: &DeploymentFacts) -> Deployment {
    Deployment {
        id: id.to_owned(),
        application: facts.application.clone(),
        group: facts.group.clone(),
        stage: Stage::Unknown,
        is_rollback: is_rollback(&facts.creator),
        // A READY wait is answered by stopping the deployment: nothing is left to roll back by itself.
        rolls_back_on_failure: facts.rolls_back_on_failure || facts.status == READY,
        waits_seconds: facts
            .ready_wait_minutes
            .filter(|_| facts.status == READY)
            .map(|minutes| minutes * 60),
        ..Deployment::default()
    }
}

/// The hook event does not say its stage: it is the lifecycle event in progress.
fn stage(
    id: &str,
    facts: &DeploymentFacts,
    events: &[LifecycleEvent],
    purpose: Purpose,
) -> Result<Stage, Trouble> {
    if facts.status == READY {
        return Ok(Stage::Ready);
    }
    if let Some(stage) = LifecycleEvent::in_progress(events).find_map(Stage::named) {
        return Ok(stage);
    }
    if purpose == Purpose::Watch {
        return Ok(Stage::Unknown);
    }
    let seen: Vec<&str> = LifecycleEvent::in_progress(events).collect();
    Err(passing(format!(
        "deployment {id} is at no lifecycle event that can be hooked (in progress: [{}])",
        seen.join(", ")
    )))
}

/// Seconds until the deployment ends by its configuration: the shift, where it has not begun, and the wait
/// before blue goes. Unknown while the shift is under way: CodeDeploy does not say which step it is at.
async fn remaining(
    resolver: &Resolver,
    aws: &dyn Aws,
    facts: &DeploymentFacts,
    events: &[LifecycleEvent],
) -> Option<u64> {
    let after = facts.termination_wait_minutes.unwrap_or(0) * 60;
    if LifecycleEvent::succeeded(events, "AllowTraffic") {
        return Some(after).filter(|seconds| *seconds > 0);
    }
    if LifecycleEvent::in_progress(events).any(|event| event == "AllowTraffic") {
        return None;
    }
    let shift = match resolver.shift_seconds.get() {
        Some(known) => *known,
        None => {
            let config = facts.config.as_deref()?;
            // Only how long to watch depends on it: where it may not be read, windows follow each other.
            let read = aws.shift(config).await.ok().map(|shift| shift.minutes * 60);
            *resolver.shift_seconds.get_or_init(|| read)
        }
    };
    shift.map(|shift| shift + after).filter(|seconds| *seconds > 0)
}

async fn arms(
    resolver: &Resolver,
    aws: &dyn Aws,
    facts: &DeploymentFacts,
    target: &EcsTarget,
    deployment: &mut Deployment,
) -> Result<(), Trouble> {
    let _turn = resolver.turn().await;
    let Some(green) = group(aws, target, "Green").await? else {
        if deployment.stage == Stage::Unknown {
            return Ok(());
        }
        let what = format!("service {} has no task set labelled Green", target.id);
        return Err(lasting(Blame::Aws, what));
    };
    let blue = group(aws, target, "Blue").await?;
    let set = target.task_sets.iter().find(|set| set.label == "Green");
    deployment.green_weight = set.and_then(|set| set.weight);
    resolver.dimensions.set(Measured {
        target_group: suffix(&green.arn),
        load_balancer: green.load_balancer.as_deref().and_then(suffix),
        service: target.id.split_once(':').map(|(of, name)| (of.to_owned(), name.to_owned())),
        tasks: set.map(|set| GreenTasks::StartedBy(set.id.clone())),
        blue_target_group: blue.as_ref().and_then(|blue| suffix(&blue.arn)),
        blue_load_balancer: blue.as_ref().and_then(|b| b.load_balancer.as_deref()).and_then(suffix),
        began_unix_seconds: facts.began_unix_seconds,
        function: None,
    });
    let listeners = [facts.test_listener.as_deref(), facts.production_listener.as_deref()];
    let listeners = listeners.into_iter().flatten().collect();
    fill(aws, Arms { green: &green, blue: blue.as_ref(), listeners }, deployment).await
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
