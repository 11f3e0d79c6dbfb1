//! `gate wait`: follows a deployment to its end, and tells by its exit code how that was.
//!
//! A pipeline step that starts a deployment is green long before the deployment is over, and stays green where
//! it is rolled back.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep, timeout};

use super::{FAILED, NOT_PROVEN, OK, Output, USAGE, complain, say, story};
use crate::aws::budget::SHARE_PERCENT;
use crate::aws::codedeploy::CodeDeploy;
use crate::aws::ecs::Ecs;
use crate::aws::{AwsError, Call, Failure, Place, RealAws};
use crate::intake::hooks::{check_deployment_id, check_service_deployment};
use crate::telemetry::Metrics;

/// Between two looks, where nothing else is said.
const LOOK_EVERY: &str = "10s";
/// Looks closer together than this only use up what AWS lets all of an account ask.
const LOOK_EVERY_MIN: Duration = Duration::from_millis(100);
/// The last look, at the end of the time, still gets so long.
const LAST_LOOK: Duration = Duration::from_secs(1);
/// A rollback is known this soon after the deployment has failed.
const ROLLBACK_WITHIN: Duration = Duration::from_secs(5);
/// A service's deployment shows up this soon after it was asked for.
const BEGINS_WITHIN: Duration = Duration::from_secs(60);

/// Follow a deployment to its end: exit 0 if it succeeded, 1 if it failed, was stopped or rolled back, 3 if
/// that is not known in time.
#[derive(Debug, Args)]
pub(super) struct Wait {
    /// `d-…` of CodeDeploy, the ARN of an ECS service deployment, or `cluster:service` for the deployment of a
    /// service that is under way.
    #[arg(value_name = "DEPLOYMENT")]
    deployment: String,
    /// How long to wait.
    #[arg(long, value_name = "DURATION", default_value = "2h", value_parser = policies::units::duration)]
    timeout: Duration,
    /// How often to look; 100 ms at least.
    #[arg(long, value_name = "DURATION", default_value = LOOK_EVERY, value_parser = policies::units::duration)]
    interval: Duration,
    /// How the end is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

/// What is followed.
#[derive(Clone, Debug)]
enum Followed {
    CodeDeploy(String),
    Service(String),
    /// Cluster and service.
    Named(String, String),
}

/// How a deployment stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Standing {
    status: String,
    /// `None` while it is under way.
    succeeded: Option<bool>,
    /// It has failed, and which deployment rolls it back is not known yet.
    may_be_rolled_back: bool,
    /// What AWS says of it.
    reason: Option<String>,
}

impl Wait {
    pub(super) async fn run(self) -> u8 {
        let followed = match self.followed() {
            Ok(followed) => followed,
            Err(reason) => {
                complain(&format!("error: {reason}"));
                return USAGE;
            }
        };
        let metrics = match Metrics::new() {
            Ok(metrics) => Arc::new(metrics),
            Err(error) => {
                complain(&format!("error: {}", story(&error)));
                return USAGE;
            }
        };
        let aws = RealAws::connect(None, SHARE_PERCENT, metrics).await;
        let aws = match &followed {
            Followed::Service(arn) => {
                let place = Place::of_arn(arn);
                aws.elsewhere(place.region.as_deref(), None).await
            }
            Followed::CodeDeploy(_) | Followed::Named(..) => aws,
        };
        self.follow(&aws, followed).await
    }

    fn followed(&self) -> Result<Followed, String> {
        let text = self.deployment.as_str();
        if text.starts_with("arn:") {
            return check_service_deployment(text)
                .map(|()| Followed::Service(text.to_owned()))
                .map_err(|_told| {
                    format!("`{text}` is not the ARN of a service deployment; `aws ecs list-service-deployments` lists them")
                });
        }
        if let Some((cluster, service)) = text.split_once(':') {
            return Ok(Followed::Named(cluster.to_owned(), service.to_owned()));
        }
        check_deployment_id(text)
            .map(|()| Followed::CodeDeploy(text.to_owned()))
            .map_err(|_told| {
                format!("`{text}` is no deployment; write `d-ABCDEF123`, the ARN of a service deployment, or `cluster:service`")
            })
    }

    async fn follow(&self, aws: &RealAws, mut followed: Followed) -> u8 {
        let began = Instant::now();
        let mut shown = Standing::default();
        let mut trouble: Option<String> = None;
        loop {
            let left = self.timeout.saturating_sub(began.elapsed());
            match timeout(left.max(LAST_LOOK), look(aws, &mut followed, began)).await {
                Ok(Ok(Some(standing))) => {
                    trouble = None;
                    if standing != shown {
                        complain(&line(began, &standing));
                    }
                    if let Some(succeeded) = standing.succeeded {
                        let standing = self.with_rollback(aws, &mut followed, standing).await;
                        self.tell(&standing, Some(succeeded), began);
                        return if succeeded { OK } else { FAILED };
                    }
                    shown = standing;
                }
                Ok(Ok(None)) => {}
                Ok(Err(error)) if error.failure == Failure::Passing => {
                    let told = error.story();
                    if trouble.as_ref() != Some(&told) {
                        complain(&format!("not known now: {told}"));
                        trouble = Some(told);
                    }
                }
                Ok(Err(error)) => {
                    complain(&format!("error: {}", self.unknown(&error)));
                    return if error.failure == Failure::Denied { NOT_PROVEN } else { USAGE };
                }
                Err(_elapsed) => {
                    trouble.get_or_insert_with(|| "AWS had not answered by then".to_owned());
                }
            }
            if began.elapsed() >= self.timeout {
                let reason = trouble
                    .unwrap_or_else(|| "it is still under way; --timeout waits longer".to_owned());
                self.tell(&Standing { reason: Some(reason), ..shown }, None, began);
                return NOT_PROVEN;
            }
            let interval = self.interval.max(LOOK_EVERY_MIN);
            sleep(interval.min(self.timeout.saturating_sub(began.elapsed()))).await;
        }
    }

    /// The end, with the deployment that rolls it back: CodeDeploy knows that one a moment later.
    async fn with_rollback(
        &self,
        aws: &RealAws,
        followed: &mut Followed,
        standing: Standing,
    ) -> Standing {
        if !standing.may_be_rolled_back {
            return standing;
        }
        sleep(self.interval.clamp(LOOK_EVERY_MIN, ROLLBACK_WITHIN)).await;
        match timeout(ROLLBACK_WITHIN, look(aws, followed, Instant::now())).await {
            Ok(Ok(Some(newer))) => newer,
            Ok(Ok(None) | Err(_)) | Err(_) => standing,
        }
    }

    /// Why nothing can be followed.
    fn unknown(&self, error: &AwsError) -> String {
        let what = &self.deployment;
        match (error.failure, error.call) {
            (Failure::Missing, Call::ListServiceDeployments) if error.code == "Missing" => format!(
                "no deployment of {what} is under way, nor has one begun within {} s; name one that is over by its ARN",
                BEGINS_WITHIN.as_secs()
            ),
            (Failure::Missing, _) => format!(
                "there is no deployment {what} in the region and account that are asked: {}",
                error.story()
            ),
            (Failure::Denied | Failure::Completed | Failure::Invalid | Failure::Passing, _) => {
                error.story()
            }
        }
    }

    /// The end, as the last lines.
    fn tell(&self, standing: &Standing, succeeded: Option<bool>, began: Instant) {
        let status = if standing.status.is_empty() { "unknown" } else { &standing.status };
        match self.output {
            Output::Json => {
                let value = json!({
                    "deployment": self.deployment,
                    "status": status,
                    "succeeded": succeeded,
                    "reason": standing.reason,
                    "duration_seconds": began.elapsed().as_secs_f64(),
                });
                say(&format!("{value:#}"));
            }
            Output::Text => {
                if let Some(reason) = &standing.reason {
                    say(&format!("reason: {reason}"));
                }
                say(&format!("deployment: {status}"));
            }
        }
    }
}

fn line(began: Instant, standing: &Standing) -> String {
    let reason = standing.reason.as_ref().map(|reason| format!(": {reason}"));
    format!("{} s {}{}", began.elapsed().as_secs(), standing.status, reason.unwrap_or_default())
}

/// Looks once. `None` where there is nothing to be seen yet.
async fn look(
    aws: &RealAws,
    followed: &mut Followed,
    began: Instant,
) -> Result<Option<Standing>, AwsError> {
    match followed {
        Followed::CodeDeploy(id) => {
            let facts = aws.deployment(id).await?;
            let succeeded = match facts.status.as_str() {
                "Succeeded" => Some(true),
                "Failed" | "Stopped" => Some(false),
                _ => None,
            };
            let may_be_rolled_back = succeeded == Some(false)
                && facts.rolled_back_by.is_none()
                && (facts.rolls_back_on_failure || facts.status == "Stopped");
            let rolled = facts.rolled_back_by.map(|by| format!("rolled back by {by}"));
            let reason = [facts.error, rolled].into_iter().flatten().collect::<Vec<_>>().join("; ");
            let reason = Some(reason).filter(|reason| !reason.is_empty());
            Ok(Some(Standing { status: facts.status, succeeded, may_be_rolled_back, reason }))
        }
        Followed::Service(arn) => {
            let found = aws.service_deployment(arn).await?;
            let succeeded = found.is_over().then_some(found.status == "SUCCESSFUL");
            let stage = found.stage.filter(|_| succeeded.is_none());
            let status = match stage {
                Some(stage) => format!("{} {stage}", found.status),
                None => found.status,
            };
            let reason = found.status_reason;
            Ok(Some(Standing { status, succeeded, may_be_rolled_back: false, reason }))
        }
        Followed::Named(cluster, service) => {
            let arns = aws.deployments_under_way(cluster, service).await?;
            if let Some(arn) = arns.into_iter().next() {
                complain(&format!("following {arn}"));
                *followed = Followed::Service(arn);
                return Ok(None);
            }
            if began.elapsed() >= BEGINS_WITHIN {
                let subject = format!("{cluster}:{service}");
                return Err(AwsError::missing(Call::ListServiceDeployments, &subject));
            }
            Ok(None)
        }
    }
}
