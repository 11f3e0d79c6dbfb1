//! Asks AWS what waits: a backstop where no event arrives, and all there is where nobody set events up.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, warn};

use crate::app::{Gate, Intake};
use crate::ask::{Ask, Asked, Watched};
use crate::aws::{AwsError, Place};
use crate::config::Polled;

/// Between two looks: soon enough for a person, seldom enough for AWS.
const LOOK_EVERY: Duration = Duration::from_secs(20);

/// Looks again and again, until gate stops.
pub(super) async fn look(gate: Arc<Gate>) {
    loop {
        for polled in &gate.settings.intake.poll {
            if gate.stop.is_cancelled() {
                return;
            }
            match waiting(&gate, polled).await {
                Ok(found) => {
                    for ask in found {
                        accept(&gate, Asked::now(ask, place(polled))).await;
                    }
                }
                Err(error) => {
                    gate.metrics.question("poll", "failed");
                    warn!(error = error.story(), "what waits cannot be looked up");
                }
            }
        }
        tokio::select! {
            () = gate.stop.cancelled() => return,
            () = sleep(LOOK_EVERY) => {}
        }
    }
}

fn place(polled: &Polled) -> Place {
    Place { region: polled.region.clone(), account: polled.account.clone() }
}

/// What waits, and what is to be watched.
async fn waiting(gate: &Gate, polled: &Polled) -> Result<Vec<Ask>, AwsError> {
    let aws = gate.clouds.at(&place(polled)).await;
    let mut found = Vec::new();
    if let (Some(cluster), Some(service)) = (&polled.cluster, &polled.service) {
        for arn in aws.deployments_under_way(cluster, service).await? {
            let deployment = aws.service_deployment(&arn).await?;
            for hook in deployment.hooks.iter().filter(|hook| hook.waits()) {
                let expires = hook.expires_unix_seconds.and_then(|at| u64::try_from(at).ok());
                found.push(Ask::EcsPause {
                    deployment_arn: arn.clone(),
                    hook_id: hook.id.clone(),
                    stage: None,
                    expires_unix_millis: expires.map(|at| at * 1000),
                });
            }
            if polled.watch && found.is_empty() {
                found.push(Ask::Watch { of: Watched::Service { deployment_arn: arn } });
            }
        }
    }
    if let (Some(application), Some(group)) = (&polled.application, &polled.group) {
        let ready = aws.ready_deployments(application, group).await?;
        let ask = |deployment_id| Ask::CodedeployReady { deployment_id };
        found.extend(ready.into_iter().map(ask));
    }
    Ok(found)
}

async fn accept(gate: &Arc<Gate>, asked: Asked) {
    let kind = asked.ask.kind();
    match gate.accept(asked).await {
        Intake::Accepted(_) => gate.metrics.question(kind, "accepted"),
        // It is seen at every look for as long as it waits.
        Intake::Joined(_) => {}
        Intake::Full => gate.metrics.question(kind, "full"),
        Intake::Unwritten(error) => {
            gate.metrics.question(kind, "unwritten");
            error!(
                error = &error as &dyn std::error::Error,
                "a question could not be written down"
            );
        }
    }
}
