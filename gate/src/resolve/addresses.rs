//! From target groups and listeners to addresses.

use policies::deployment::Route;
use policies::{Deployment, Target, Trouble};

use crate::aws::balancing::{Listener, TargetGroup};
use crate::aws::{Aws, Failure};
use crate::shell::trouble;

/// Targets probed for each arm; the rate is shared among them.
const TARGETS_MAX: usize = 500;

/// The two arms by their target groups, and the listeners that may lead to them.
#[derive(Debug)]
pub(super) struct Arms<'a> {
    pub(super) green: &'a TargetGroup,
    pub(super) blue: Option<&'a TargetGroup>,
    /// ARNs of listeners or of their rules; test first, for it is green's before the shift.
    pub(super) listeners: Vec<&'a str>,
}

/// Fills in the targets of both arms, by both routes.
///
/// # Errors
/// A call that failed.
pub(super) async fn fill(
    aws: &dyn Aws,
    arms: Arms<'_>,
    deployment: &mut Deployment,
) -> Result<(), Trouble> {
    deployment.only_speaks =
        Some(arms.green.protocol_version.clone()).filter(|version| version != "HTTP1");
    deployment.green = tasks(aws, arms.green, &mut deployment.warnings).await?;
    if let Some(blue) = arms.blue {
        deployment.blue = tasks(aws, blue, &mut deployment.warnings).await?;
    }
    for arn in arms.listeners {
        let listener = match aws.listener(arn).await {
            Ok(listener) => listener,
            // The tasks are a way to green by themselves.
            Err(error) if error.failure != Failure::Passing && !deployment.green.is_empty() => {
                deployment.warnings.push(format!("a listener is not probed: {}", error.story()));
                continue;
            }
            Err(error) => return Err(trouble(&error)),
        };
        let unlisted = |targets: &[Target]| targets.iter().all(|t| t.route != Route::Listener);
        // Before a group of tasks is a load balancer that answers 503 by itself: no word of a release that has none.
        let leads = |group: &TargetGroup, found: &[Target]| {
            let tasks = group.target_type != "ip" || found.iter().any(|t| t.route == Route::Task);
            tasks && listener.leads_to(&group.arn) && unlisted(found)
        };
        if leads(arms.green, &deployment.green) {
            deployment.green.push(through(&listener));
        }
        if arms.blue.is_some_and(|blue| leads(blue, &deployment.blue)) {
            deployment.blue.push(through(&listener));
        }
    }
    Ok(())
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
            name: None,
        });
    }
    Ok(targets)
}

/// Application and network load balancers call it differently.
fn speaks_tls(protocol: &str) -> bool {
    matches!(protocol, "HTTPS" | "TLS")
}

fn through(listener: &Listener) -> Target {
    let name = listener.hosts.first().map(|pattern| taken_by(pattern));
    let called = name.as_ref().map_or_else(String::new, |name| format!(" as {name}"));
    Target {
        id: format!("listener {}:{}{called}", listener.dns_name, listener.port),
        host: listener.dns_name.clone(),
        port: listener.port,
        tls: speaks_tls(&listener.protocol),
        route: Route::Listener,
        health: None,
        name,
    }
}

/// A host name that a pattern takes. Asked for another one, a listener answers by another rule: maybe with blue.
//= https://docs.aws.amazon.com/elasticloadbalancing/latest/application/rule-condition-types.html
fn taken_by(pattern: &str) -> String {
    pattern.replace('*', "gate").replace('?', "x")
}
