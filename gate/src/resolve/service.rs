//! ECS by itself: from a service deployment to its stage and its arms, by their revisions.

use policies::{Blame, Deployment, Stage, Trouble};

use super::addresses::{Arms, fill};
use super::{GreenTasks, Measured, Purpose, Resolved, Resolver, lasting, passing, suffix};
use crate::aws::Aws;
use crate::aws::ecs::{ServiceDeployment, ServiceRevision};
use crate::shell::trouble;

/// What is asked about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) arn: &'a str,
    /// The pause that waits, where it is one.
    pub(super) hook_id: Option<&'a str>,
    /// The stage that whoever asks named.
    pub(super) stage: Option<Stage>,
}

pub(super) async fn resolve(
    resolver: &Resolver,
    aws: &dyn Aws,
    asked: Asked<'_>,
    purpose: Purpose,
) -> Result<Resolved, Trouble> {
    let facts = aws.service_deployment(asked.arn).await.map_err(|error| trouble(&error))?;
    if facts.is_over() || (facts.is_rolling_back() && purpose == Purpose::Watch) {
        return Ok(Resolved::Ended(facts.status));
    }
    let stage = asked.stage.or_else(|| facts.stage.as_deref().and_then(Stage::named));
    let mut deployment = Deployment {
        id: short_id(asked.arn),
        service: cluster_and_service(&facts.service_arn),
        stage: stage.unwrap_or_default(),
        is_rollback: facts.is_rolling_back(),
        rolls_back_on_failure: true,
        green_weight: facts.green_weight,
        remaining_seconds: remaining(&facts),
        ..Deployment::default()
    };
    if deployment.is_rollback {
        return Ok(Resolved::Deployment(Box::new(deployment)));
    }
    let mut expires = None;
    if let (Some(id), Purpose::Question) = (asked.hook_id, purpose) {
        let hook = facts.hooks.iter().find(|hook| hook.id == id);
        match hook {
            Some(hook) if hook.waits() => expires = hook.expires_unix_seconds,
            Some(hook) => return Ok(Resolved::Answered(format!("pause {}", hook.status))),
            // Events may be ahead of what can be read.
            None => {
                let what = format!("{} shows no hook {id}", deployment.id);
                return Err(passing(what));
            }
        }
    }
    if let (None, Some(_), Purpose::Question) = (asked.hook_id, asked.stage, purpose) {
        // ECS says of a Lambda hook when it stops asking, too.
        let asks = facts.hooks.iter().filter(|hook| hook.asks());
        expires = asks.filter_map(|hook| hook.expires_unix_seconds).min();
    }
    if deployment.stage.measurable() {
        arms(resolver, aws, &facts, purpose, &mut deployment).await?;
    }
    // Last: it may have taken minutes until it was its turn.
    deployment.waits_seconds = expires.map(|at| until(aws, at));
    Ok(Resolved::Deployment(Box::new(deployment)))
}

async fn arms(
    resolver: &Resolver,
    aws: &dyn Aws,
    facts: &ServiceDeployment,
    purpose: Purpose,
    deployment: &mut Deployment,
) -> Result<(), Trouble> {
    let Some(green_arn) = &facts.target_revision else {
        return Err(passing(format!("{} has no target revision yet", deployment.id)));
    };
    let mut arns = vec![green_arn.clone()];
    arns.extend(facts.source_revisions.iter().filter(|arn| *arn != green_arn).cloned());
    let revisions = aws.service_revisions(&arns).await.map_err(|error| trouble(&error))?;
    let green = revisions.iter().find(|revision| revision.arn == *green_arn);
    let group_of = |revision: &ServiceRevision| revision.target_groups.first().cloned();
    let Some((green, green_group)) =
        green.and_then(|revision| Some((revision, group_of(revision)?)))
    else {
        if purpose == Purpose::Watch {
            return Ok(());
        }
        // Early on a revision is not resolved; without a load balancer it never is.
        let what = format!(
            "revision {green_arn} has no target group: gate probes services behind a load balancer"
        );
        return Err(lasting(Blame::User, what));
    };
    // A rolling deployment keeps both in one target group, so that they cannot be told apart by it.
    let blue_group = revisions
        .iter()
        .filter(|revision| revision.arn != *green_arn)
        .find_map(group_of)
        .filter(|group| *group != green_group);
    if blue_group.is_none() && revisions.len() > 1 {
        deployment.warnings.push(
            "old and new tasks share one target group, as in a rolling deployment: they are judged together"
                .to_owned(),
        );
    }
    let _turn = resolver.turn().await;
    let green_facts = aws.target_group(&green_group).await.map_err(|error| trouble(&error))?;
    let blue_facts = match &blue_group {
        Some(group) => Some(aws.target_group(group).await.map_err(|error| trouble(&error))?),
        None => None,
    };
    resolver.dimensions.set(Measured {
        target_group: suffix(&green_group),
        load_balancer: green_facts.load_balancer.as_deref().and_then(suffix),
        service: deployment.service.split_once(':').map(|(c, s)| (c.to_owned(), s.to_owned())),
        // A task names its service's deployment, `ecs-svc/NUMBER`, and the number is the revision's: read off
        // what ECS shows, written nowhere. Where it is otherwise no task is found, which is no data.
        tasks: green.task_definition.clone().map(GreenTasks::Running),
        blue_target_group: blue_group.as_deref().and_then(suffix),
        blue_load_balancer: blue_facts
            .as_ref()
            .and_then(|blue| blue.load_balancer.as_deref())
            .and_then(suffix),
        began_unix_seconds: facts.began_unix_seconds,
        function: None,
    });
    let listeners = [green.test_rule.as_deref(), green.production_rule.as_deref()];
    let listeners = listeners.into_iter().flatten().collect();
    let arms = Arms { green: &green_facts, blue: blue_facts.as_ref(), listeners };
    fill(aws, arms, deployment).await
}

/// Seconds until the deployment ends by its configuration, pauses left out.
fn remaining(facts: &ServiceDeployment) -> Option<u64> {
    let bake = facts.bake_minutes * 60;
    let weight = facts.green_weight.unwrap_or(0.0);
    let steps = match (facts.strategy.as_str(), facts.step) {
        ("CANARY", Some((percent, minutes))) => u64::from(weight < percent) * minutes,
        ("LINEAR", Some((percent, minutes))) if percent > 0.0 => {
            // At most 34 steps: the smallest is 3 %.
            let left = ((100.0 - weight) / percent).ceil().clamp(0.0, 100.0);
            (0..100).take_while(|step| f64::from(*step) < left).count() as u64 * minutes
        }
        _ => 0,
    };
    Some(steps * 60 + bake).filter(|seconds| *seconds > 0)
}

/// The last part of an ARN.
pub(crate) fn short_id(arn: &str) -> String {
    arn.rsplit('/').next().unwrap_or(arn).to_owned()
}

/// `cluster:service` of `arn:…:service/cluster/service`.
fn cluster_and_service(arn: &str) -> String {
    let path = arn.split_once(":service/").map_or(arn, |(_, path)| path);
    path.replace('/', ":")
}

/// Seconds from now, by the clock that will end the wait.
fn until(aws: &dyn Aws, unix_seconds: i64) -> u64 {
    u64::try_from(unix_seconds).unwrap_or(0).saturating_sub(aws.unix_millis() / 1000)
}
