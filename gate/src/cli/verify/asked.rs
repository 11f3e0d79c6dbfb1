//! What a shell asks about: what it was given, what CodeDeploy's agent says, or a deployment looked up by its id.

use std::sync::Arc;
use std::time::Duration;

use policies::{Deployment, Event, PolicyInForce, Stage};
use tokio::time::timeout;

use crate::ask::Subject;
use crate::aws::{Aws, OnDemand, Place};
use crate::cli::complain;
use crate::intake::hooks::{check_deployment_id, check_service_deployment};
use crate::resolve::{self, Purpose, Resolved, Resolver};

/// An instance whose role may not ask must not wait for long.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A deployment that is looked up, as the daemon would.
#[derive(Debug)]
pub(super) struct Found {
    resolver: Resolver,
    aws: Arc<dyn Aws>,
}

impl Found {
    /// A deployment by its id.
    ///
    /// # Errors
    /// It is no id of one.
    pub(super) async fn new(id: &str, aws: &OnDemand) -> Result<Self, String> {
        let (subject, place) = if id.starts_with("arn:") {
            check_service_deployment(id).map_err(|_told| {
                format!("`--deployment {id}` is not the ARN of a service deployment")
            })?;
            let arn = id.to_owned();
            (Subject::Service { arn, hook_id: None, stage: None }, Place::of_arn(id))
        } else {
            check_deployment_id(id)
                .map_err(|_told| format!("`--deployment {id}` does not look like d-ABCDEF123"))?;
            (Subject::CodeDeploy { id: id.to_owned() }, Place::default())
        };
        let aws = aws.clouds().await.at(&place).await;
        Ok(Self { resolver: Resolver::new(subject), aws })
    }

    pub(super) async fn resolve(&self, policy: PolicyInForce) -> Event {
        match self.resolver.resolve(self.aws.as_ref(), Purpose::Watch).await {
            Ok(Resolved::Deployment(deployment)) => {
                // Whoever runs this decides when; what CodeDeploy does meanwhile is not asked about.
                let deployment = Box::new(Deployment { stage: Stage::Shell, ..*deployment });
                Event::Resolved { deployment, policy }
            }
            Ok(Resolved::Ended(status) | Resolved::Answered(status)) => Event::Ended { status },
            Err(trouble) => Event::Unresolved { trouble },
        }
    }
}

/// The deployment that CodeDeploy's agent runs this for, or a shell's own.
//= https://docs.aws.amazon.com/codedeploy/latest/userguide/reference-appspec-file-structure-hooks.html#reference-appspec-file-structure-environment-variable-availability
pub(super) async fn asked_by(aws: &OnDemand) -> Deployment {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let agent = variable("LIFECYCLE_EVENT").zip(variable("DEPLOYMENT_ID"));
    let Some((event, id)) = agent else {
        return Deployment {
            id: "verify".to_owned(),
            application: "verify".to_owned(),
            stage: Stage::Shell,
            rolls_back_on_failure: true,
            ..Deployment::default()
        };
    };
    Deployment {
        application: variable("APPLICATION_NAME").unwrap_or_default(),
        group: variable("DEPLOYMENT_GROUP_NAME").unwrap_or_default(),
        stage: Stage::named(&event).unwrap_or(Stage::Shell),
        is_rollback: is_rollback(aws, &id).await,
        // The script's exit code is all there is.
        rolls_back_on_failure: true,
        id,
        ..Deployment::default()
    }
}

/// Whether a deployment rolls another one back, where that may be looked up. Else it is judged like any other.
async fn is_rollback(aws: &OnDemand, id: &str) -> bool {
    if check_deployment_id(id).is_err() {
        return false;
    }
    let asked = timeout(ASK_TIMEOUT, async { aws.clouds().await.home().deployment(id).await });
    match asked.await {
        Ok(Ok(facts)) => resolve::is_rollback(&facts.creator),
        Ok(Err(error)) => {
            complain(&format!(
                "note: whether {id} is itself a rollback is not known: {}",
                error.story()
            ));
            false
        }
        Err(_elapsed) => {
            complain(&format!("note: whether {id} is itself a rollback is not known: no answer"));
            false
        }
    }
}
