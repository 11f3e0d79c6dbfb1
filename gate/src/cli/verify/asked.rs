//! What a shell asks about: what it was given, what CodeDeploy's agent says, or a deployment looked up by its id.

use std::sync::Arc;
use std::time::Duration;

use policies::{Deployment, Event, PolicyInForce, Stage};
use probes::Invoker;
use tokio::time::timeout;

use crate::ask::Subject;
use crate::aws::{Aws, AwsError, Clouds, Failure, OnDemand, Place};
use crate::cli::complain;
use crate::clock::unix_millis;
use crate::intake::hooks::{check_deployment_id, check_service_deployment};
use crate::invoke::Functions;
use crate::resolve::{self, Purpose, Resolved, Resolver};
use crate::signals::{Desks, Sources};

/// An instance whose role may not ask must not wait for long.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// A deployment that is looked up, as the daemon would.
#[derive(Debug)]
pub(super) struct Found {
    resolver: Resolver,
    clouds: Clouds,
    place: Place,
    aws: Arc<dyn Aws>,
    desks: Arc<Desks>,
    accepted_unix_millis: u64,
}

impl Found {
    /// A deployment by its id.
    ///
    /// # Errors
    /// It is no id of one, or there is none of this id.
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
        let clouds = aws.clouds().await;
        let aws = clouds.at(&place).await;
        // A mistyped id is no trouble that lasts 20 s. Any other is the run's to wait for, or to tell.
        match timeout(ASK_TIMEOUT, seen(aws.as_ref(), &subject)).await {
            Ok(Err(error)) if matches!(error.failure, Failure::Missing | Failure::Invalid) => {
                let region = aws.region().unwrap_or_else(|| "this region".to_owned());
                let story = error.plain_story();
                return Err(format!("there is no deployment {id} in {region}: {story}"));
            }
            Ok(Ok(()) | Err(_)) | Err(_) => {}
        }
        Ok(Self {
            resolver: Resolver::new(subject, Arc::default()),
            clouds,
            place,
            aws,
            desks: Arc::default(),
            accepted_unix_millis: unix_millis(),
        })
    }

    /// Where what AWS sees of its real traffic is read.
    pub(super) fn sources(&self) -> Sources {
        Sources {
            clouds: self.clouds.clone(),
            place: self.place.clone(),
            dimensions: self.resolver.dimensions.clone(),
            desks: Arc::clone(&self.desks),
            accepted_unix_millis: self.accepted_unix_millis,
        }
    }

    /// What invokes its function, where it is one's.
    pub(super) fn invoker(&self) -> Arc<dyn Invoker> {
        Arc::new(Functions(Arc::clone(&self.aws)))
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

/// Whether there is such a deployment.
async fn seen(aws: &dyn Aws, subject: &Subject) -> Result<(), AwsError> {
    match subject {
        Subject::CodeDeploy { id } => aws.deployment(id).await.map(drop),
        Subject::Service { arn, .. } => aws.service_deployment(arn).await.map(drop),
        Subject::Pipeline { .. } => Ok(()),
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
