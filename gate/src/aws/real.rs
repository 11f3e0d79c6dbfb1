//! AWS itself, by the official SDK: standard credential chain, `AWS_ENDPOINT_URL` and its
//! per-service forms, region from the environment.

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_codedeploy as codedeploy;
use aws_sdk_codedeploy::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_codedeploy::types::{
    AutoRollbackEvent, LifecycleEventStatus as EventStatus, StopStatus, TrafficRoute,
};
use aws_sdk_elasticloadbalancingv2 as elb;
use aws_sdk_elasticloadbalancingv2::types::{Action, DescribeTargetHealthInputIncludeEnum};

use super::{
    Aws, AwsError, DeploymentFacts, EcsTarget, Failure, Listener, Registered, Reply, TargetGroup,
    TaskSet,
};
use crate::telemetry::Metrics;

/// Crates of the SDK whose debug output prints requests whole, the tokens of hooks included.
pub(crate) const TALKATIVE: [&str; 7] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_codedeploy",
    "aws_sigv4",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
];
/// One try of a call. CodeDeploy and ELB answer in well under a second when they answer.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call with its retries.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Tries of a read. Answers are tried once for each decision of the run.
const READ_ATTEMPTS: u32 = 3;
/// Target ids for each call; an ECS deployment has one.
//= https://docs.aws.amazon.com/codedeploy/latest/APIReference/API_BatchGetDeploymentTargets.html
const TARGETS_MAX: usize = 25;

/// The official SDK.
#[derive(Debug)]
pub(crate) struct RealAws {
    codedeploy: codedeploy::Client,
    elb: elb::Client,
    metrics: Arc<Metrics>,
}

impl RealAws {
    /// Clients by the standard chain; `endpoint` overrides where they talk to.
    pub(crate) async fn connect(endpoint: Option<String>, metrics: Arc<Metrics>) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .operation_timeout(CALL_TIMEOUT)
            .build();
        let mut loader = aws_config::from_env()
            .retry_config(RetryConfig::standard().with_max_attempts(READ_ATTEMPTS))
            .timeout_config(timeouts);
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let config = loader.load().await;
        Self {
            codedeploy: codedeploy::Client::new(&config),
            elb: elb::Client::new(&config),
            metrics,
        }
    }

    /// Counts the call and puts a failure into our words.
    fn seen<T, E>(
        &self,
        operation: &'static str,
        subject: &str,
        result: Result<T, SdkError<E>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let result = result.map_err(|error| failed(operation, subject, &error));
        let outcome = result.as_ref().map_or_else(|error| error.code.as_str(), |_ok| "ok");
        self.metrics.aws_call(operation, outcome);
        result
    }
}

fn failed<E>(operation: &'static str, subject: &str, error: &SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (code, message) = match error.as_service_error() {
        Some(service) => (
            service.code().unwrap_or("UnknownError").to_owned(),
            service.message().unwrap_or_default().to_owned(),
        ),
        None => {
            let causes = causes(error);
            let unconfigured = matches!(error, SdkError::ConstructionFailure(_))
                || causes.contains("Missing Region");
            let code = if unconfigured {
                "NotConfigured"
            } else if causes.contains("credential") {
                "NoCredentials"
            } else {
                "Unreachable"
            };
            (code.to_owned(), causes)
        }
    };
    let failure = classify(&code);
    AwsError { operation, subject: subject.to_owned(), code, message, failure }
}

/// The chain of causes in one line: the SDK's own `Display` says only "dispatch failure".
fn causes(error: &dyn Error) -> String {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(cause) = next {
        texts.push(cause.to_string());
        next = cause.source();
    }
    texts.dedup();
    texts.join(": ")
}

fn classify(code: &str) -> Failure {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "NoCredentials"
        | "NotConfigured"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Failure::Denied,
        "DeploymentDoesNotExistException"
        | "DeploymentTargetDoesNotExistException"
        | "DeploymentGroupDoesNotExistException"
        | "TargetGroupNotFound"
        | "TargetGroupNotFoundException"
        | "ListenerNotFound"
        | "ListenerNotFoundException"
        | "LoadBalancerNotFound"
        | "LoadBalancerNotFoundException" => Failure::Missing,
        "LifecycleEventAlreadyCompletedException" | "DeploymentAlreadyCompletedException" => {
            Failure::Completed
        }
        "ValidationException" | "ValidationError" | "SerializationException" => Failure::Invalid,
        code if code.starts_with("Invalid")
            || code.ends_with("RequiredException")
            || code.starts_with("UnsupportedAction") =>
        {
            Failure::Invalid
        }
        _ => Failure::Passing,
    }
}

/// A field that AWS documents as always there, and that was not.
fn absent(operation: &'static str, subject: &str, field: &str) -> AwsError {
    AwsError {
        operation,
        subject: subject.to_owned(),
        code: "IncompleteAnswer".to_owned(),
        message: format!("`{field}` is missing"),
        failure: Failure::Passing,
    }
}

fn first_listener(route: Option<&TrafficRoute>) -> Option<String> {
    route?.listener_arns().first().cloned()
}

impl Aws for RealAws {
    fn deployment<'a>(&'a self, id: &'a str) -> Reply<'a, DeploymentFacts> {
        Box::pin(async move {
            let reply = self.codedeploy.get_deployment().deployment_id(id).send().await;
            let reply = self.seen("GetDeployment", id, reply)?;
            let info = reply
                .deployment_info
                .ok_or_else(|| absent("GetDeployment", id, "deploymentInfo"))?;
            let rollback = info.auto_rollback_configuration.as_ref();
            let rolls_back_on_failure = rollback.is_some_and(|config| {
                config.enabled && config.events().contains(&AutoRollbackEvent::DeploymentFailure)
            });
            let pair = info
                .load_balancer_info
                .as_ref()
                .and_then(|balancers| balancers.target_group_pair_info_list().first());
            Ok(DeploymentFacts {
                application: info.application_name.unwrap_or_default(),
                group: info.deployment_group_name.unwrap_or_default(),
                platform: info.compute_platform.map(|p| p.as_str().to_owned()).unwrap_or_default(),
                status: info.status.map(|s| s.as_str().to_owned()).unwrap_or_default(),
                creator: info.creator.map(|c| c.as_str().to_owned()).unwrap_or_default(),
                rolls_back_on_failure,
                production_listener: pair.and_then(|p| first_listener(p.prod_traffic_route())),
                test_listener: pair.and_then(|p| first_listener(p.test_traffic_route())),
            })
        })
    }

    fn ecs_target<'a>(&'a self, id: &'a str) -> Reply<'a, Option<EcsTarget>> {
        Box::pin(async move {
            let listed = self.codedeploy.list_deployment_targets().deployment_id(id).send().await;
            let listed = match self.seen("ListDeploymentTargets", id, listed) {
                // Early on there are none: "the deployment has not started".
                Err(error) if error.code == "DeploymentNotStartedException" => return Ok(None),
                other => other?,
            };
            let ids: Vec<String> = listed.target_ids().iter().take(TARGETS_MAX).cloned().collect();
            if ids.is_empty() {
                return Ok(None);
            }
            let call = self.codedeploy.batch_get_deployment_targets().deployment_id(id);
            let targets = call.set_target_ids(Some(ids)).send().await;
            let targets = self.seen("BatchGetDeploymentTargets", id, targets)?;
            let mut found = targets.deployment_targets.unwrap_or_default().into_iter();
            let Some(target) = found.find_map(|target| target.ecs_target) else { return Ok(None) };
            let events = target.lifecycle_events().iter();
            let events_in_progress = events
                .filter(|event| event.status() == Some(&EventStatus::InProgress))
                .filter_map(|event| event.lifecycle_event_name.clone())
                .collect();
            let task_sets = target.task_sets_info().iter().map(|set| TaskSet {
                label: set.task_set_label().map(|l| l.as_str().to_owned()).unwrap_or_default(),
                target_group: set.target_group().and_then(|group| group.name.clone()),
            });
            Ok(Some(EcsTarget {
                id: target.target_id().unwrap_or_default().to_owned(),
                events_in_progress,
                task_sets: task_sets.collect(),
            }))
        })
    }

    fn target_group<'a>(&'a self, name: &'a str) -> Reply<'a, TargetGroup> {
        const OPERATION: &str = "DescribeTargetGroups";
        Box::pin(async move {
            let reply = self.elb.describe_target_groups().names(name).send().await;
            let reply = self.seen(OPERATION, name, reply)?;
            let group = reply.target_groups.unwrap_or_default().into_iter().next();
            let group = group.ok_or_else(|| absent(OPERATION, name, "TargetGroups"))?;
            Ok(TargetGroup {
                arn: group
                    .target_group_arn
                    .ok_or_else(|| absent(OPERATION, name, "TargetGroupArn"))?,
                target_type: group.target_type.map(|t| t.as_str().to_owned()).unwrap_or_default(),
                protocol: group.protocol.map(|p| p.as_str().to_owned()).unwrap_or_default(),
                protocol_version: group.protocol_version.unwrap_or_else(|| "HTTP1".to_owned()),
            })
        })
    }

    fn target_health<'a>(&'a self, group_arn: &'a str) -> Reply<'a, Vec<Registered>> {
        Box::pin(async move {
            let call = self.elb.describe_target_health().target_group_arn(group_arn);
            let reply = call.include(DescribeTargetHealthInputIncludeEnum::All).send().await;
            let reply = self.seen("DescribeTargetHealth", group_arn, reply)?;
            let described = reply.target_health_descriptions.unwrap_or_default();
            Ok(described
                .into_iter()
                .filter_map(|description| {
                    let target = description.target?;
                    let health = description.target_health?;
                    Some(Registered {
                        id: target.id?,
                        port: u16::try_from(target.port?).ok()?,
                        state: health.state.map(|s| s.as_str().to_owned()).unwrap_or_default(),
                        reason: health.reason.map(|r| r.as_str().to_owned()),
                        description: health.description,
                    })
                })
                .collect())
        })
    }

    fn listener<'a>(&'a self, arn: &'a str) -> Reply<'a, Listener> {
        const OPERATION: &str = "DescribeListeners";
        Box::pin(async move {
            let reply = self.elb.describe_listeners().listener_arns(arn).send().await;
            let reply = self.seen(OPERATION, arn, reply)?;
            let listener = reply.listeners.unwrap_or_default().into_iter().next();
            let listener = listener.ok_or_else(|| absent(OPERATION, arn, "Listeners"))?;
            let balancer = listener.load_balancer_arn.clone();
            let balancer = balancer.ok_or_else(|| absent(OPERATION, arn, "LoadBalancerArn"))?;
            let described =
                self.elb.describe_load_balancers().load_balancer_arns(&balancer).send().await;
            let described = self.seen("DescribeLoadBalancers", &balancer, described)?;
            let dns_name = described.load_balancers.unwrap_or_default().into_iter().next();
            let dns_name = dns_name.and_then(|balancer| balancer.dns_name);
            let rules = self.elb.describe_rules().listener_arn(arn).send().await;
            let rules = self.seen("DescribeRules", arn, rules)?;
            let mut actions: Vec<Action> = listener.default_actions.unwrap_or_default();
            actions.extend(
                rules
                    .rules
                    .unwrap_or_default()
                    .into_iter()
                    .flat_map(|r| r.actions.unwrap_or_default()),
            );
            let port = listener.port.and_then(|port| u16::try_from(port).ok());
            Ok(Listener {
                dns_name: dns_name
                    .ok_or_else(|| absent("DescribeLoadBalancers", &balancer, "DNSName"))?,
                port: port.ok_or_else(|| absent(OPERATION, arn, "Port"))?,
                protocol: listener.protocol.map(|p| p.as_str().to_owned()).unwrap_or_default(),
                // The default action is a rule as well, and names its group twice.
                forwards_to: actions
                    .iter()
                    .flat_map(forwards)
                    .collect::<BTreeSet<_>>()
                    .into_iter()
                    .collect(),
            })
        })
    }

    fn answer_hook<'a>(
        &'a self,
        id: &'a str,
        execution: &'a str,
        succeeded: bool,
    ) -> Reply<'a, ()> {
        // Only these two are accepted, though the model lists six.
        let status = if succeeded { EventStatus::Succeeded } else { EventStatus::Failed };
        Box::pin(async move {
            let call = self
                .codedeploy
                .put_lifecycle_event_hook_execution_status()
                .deployment_id(id)
                .lifecycle_event_hook_execution_id(execution)
                .status(status)
                .customize()
                .config_override(
                    codedeploy::config::Config::builder().retry_config(RetryConfig::disabled()),
                );
            let reply = call.send().await;
            let reply = self.seen("PutLifecycleEventHookExecutionStatus", id, reply);
            // Whatever AWS says of the token, it goes no further.
            let redact = |error: AwsError| AwsError {
                message: error.message.replace(execution, "[token]"),
                ..error
            };
            reply.map(|_reply| ()).map_err(redact)
        })
    }

    fn stop_with_rollback<'a>(&'a self, id: &'a str) -> Reply<'a, bool> {
        Box::pin(async move {
            let call =
                self.codedeploy.stop_deployment().deployment_id(id).auto_rollback_enabled(true);
            let reply = self.seen("StopDeployment", id, call.send().await)?;
            Ok(reply.status() == Some(&StopStatus::Succeeded))
        })
    }
}

fn forwards(action: &Action) -> Vec<String> {
    let weighted = action.forward_config().map(|config| config.target_groups()).unwrap_or_default();
    let weighted = weighted.iter().filter(|group| group.weight() != Some(0));
    let mut arns: Vec<String> =
        weighted.filter_map(|group| group.target_group_arn.clone()).collect();
    arns.extend(action.target_group_arn.clone());
    arns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_fall_into_the_kinds_gate_treats_differently() {
        for (code, failure) in [
            ("AccessDeniedException", Failure::Denied),
            ("DeploymentDoesNotExistException", Failure::Missing),
            ("LifecycleEventAlreadyCompletedException", Failure::Completed),
            ("InvalidLifecycleEventHookExecutionIdException", Failure::Invalid),
            ("ThrottlingException", Failure::Passing),
            ("InternalServerError", Failure::Passing),
            ("Unreachable", Failure::Passing),
        ] {
            assert_eq!(classify(code), failure, "{code}");
        }
    }
}
