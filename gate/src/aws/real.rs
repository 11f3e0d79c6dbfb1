//! AWS itself, by the official SDK: standard credential chain, `AWS_ENDPOINT_URL` and its
//! per-service forms, region from the question or the environment.
//!
//! One file for each port beside this one; what they share is here: clients, time-outs, how an error of the
//! SDK becomes one of ours.

mod balancing;
mod codedeploy;
mod ecs;
mod functions;
mod identity;
mod known;
mod measurements;
mod messages;
mod pipelines;
mod table;
mod tries;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::sts::AssumeRoleProvider;
use aws_config::timeout::TimeoutConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_codedeploy::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_sts::operation::assume_role::AssumeRoleError;
use tokio::time::Instant;

use super::budget::Budgets;
use super::{Aws, AwsError, Call, Failure};
use crate::jitter::Jitter;
use crate::telemetry::Metrics;

/// Crates of the SDK whose debug output prints requests whole, the tokens of hooks included.
pub(crate) const TALKATIVE: [&str; 18] = [
    "aws_config",
    "aws_runtime",
    "aws_sdk_cloudwatch",
    "aws_sdk_codedeploy",
    "aws_sdk_codepipeline",
    "aws_sdk_dynamodb",
    "aws_sdk_ecs",
    "aws_sdk_elasticloadbalancingv2",
    "aws_sdk_lambda",
    "aws_sdk_secretsmanager",
    "aws_sdk_sns",
    "aws_sdk_sqs",
    "aws_sdk_ssm",
    "aws_sdk_sts",
    "aws_sigv4",
    "aws_smithy_http_client",
    "aws_smithy_runtime",
    "aws_smithy_runtime_api",
];
/// One try of a call. AWS answers in well under a second when it answers.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
/// A call with its retries.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);
/// Pages of one listing. No list gate asks for is nearly as long.
const PAGES_MAX: usize = 10;
/// What a role of another account calls a session of gate's.
const SESSION_NAME: &str = "gate";

/// The official SDK, in one region and for one account.
#[derive(Debug)]
pub(crate) struct RealAws {
    codedeploy: aws_sdk_codedeploy::Client,
    dynamodb: aws_sdk_dynamodb::Client,
    elb: aws_sdk_elasticloadbalancingv2::Client,
    ecs: aws_sdk_ecs::Client,
    lambda: aws_sdk_lambda::Client,
    cloudwatch: aws_sdk_cloudwatch::Client,
    codepipeline: aws_sdk_codepipeline::Client,
    sqs: aws_sdk_sqs::Client,
    sns: aws_sdk_sns::Client,
    ssm: aws_sdk_ssm::Client,
    secrets: aws_sdk_secretsmanager::Client,
    sts: aws_sdk_sts::Client,
    clock: identity::Clock,
    config: SdkConfig,
    /// The role of another account that it takes on.
    role: Option<String>,
    metrics: Arc<Metrics>,
    /// Quotas are an account's in one region, and so is this.
    budgets: Budgets,
    budgets_since: Instant,
    jitter: Jitter,
    balancers: balancing::Balancers,
}

impl RealAws {
    /// Clients by the standard chain; `endpoint` overrides where they talk to. `share_percent` is how much of the
    /// account's quotas it takes.
    pub(crate) async fn connect(
        endpoint: Option<String>,
        share_percent: u32,
        metrics: Arc<Metrics>,
    ) -> Self {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(ATTEMPT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        // Tries are made in `tries.rs`, each with a token of its own.
        let mut loader =
            aws_config::from_env().retry_config(RetryConfig::disabled()).timeout_config(timeouts);
        if let Some(endpoint) = endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        let clock = identity::Clock::default();
        Self::with(loader.load().await, None, (share_percent, clock), metrics)
    }

    fn with(
        config: SdkConfig,
        role: Option<String>,
        (share_percent, clock): (u32, identity::Clock),
        metrics: Arc<Metrics>,
    ) -> Self {
        /// A client of one service, whose answers are looked at for the time.
        macro_rules! client {
            ($service:ident) => {
                $service::Client::from_conf(
                    $service::config::Builder::from(&config).interceptor(clock.clone()).build(),
                )
            };
        }
        Self {
            codedeploy: client!(aws_sdk_codedeploy),
            dynamodb: client!(aws_sdk_dynamodb),
            elb: client!(aws_sdk_elasticloadbalancingv2),
            ecs: client!(aws_sdk_ecs),
            lambda: client!(aws_sdk_lambda),
            cloudwatch: client!(aws_sdk_cloudwatch),
            codepipeline: client!(aws_sdk_codepipeline),
            sqs: client!(aws_sdk_sqs),
            sns: client!(aws_sdk_sns),
            ssm: client!(aws_sdk_ssm),
            secrets: client!(aws_sdk_secretsmanager),
            sts: client!(aws_sdk_sts),
            clock,
            config,
            role,
            metrics,
            budgets: Budgets::new(share_percent),
            budgets_since: Instant::now(),
            jitter: Jitter::default(),
            balancers: balancing::Balancers::default(),
        }
    }

    /// The region it talks to, where one is configured.
    pub(crate) fn region(&self) -> Option<&str> {
        self.config.region().map(Region::as_ref)
    }

    /// The same in another region, or with a role of another account.
    pub(crate) async fn elsewhere(&self, region: Option<&str>, role: Option<&str>) -> Self {
        let mut config = self.config.clone().into_builder();
        if let Some(region) = region {
            config = config.region(Region::new(region.to_owned()));
        }
        if let Some(role) = role {
            let mut provider = AssumeRoleProvider::builder(role)
                .configure(&self.config)
                .session_name(SESSION_NAME);
            if let Some(region) = region {
                provider = provider.region(Region::new(region.to_owned()));
            }
            let provider = provider.build().await;
            config = config.credentials_provider(
                aws_credential_types::provider::SharedCredentialsProvider::new(provider),
            );
        }
        // The time is the same everywhere: what one region said of it holds for the next, before it has said anything.
        let common = (self.budgets.share_percent(), self.clock.clone());
        Self::with(config.build(), role.map(str::to_owned), common, Arc::clone(&self.metrics))
    }

    /// Counts the call and puts a failure into our words.
    fn seen<T, E>(
        &self,
        call: Call,
        subject: &str,
        result: Result<T, SdkError<E>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let result = result.map_err(|error| match (&self.role, not_taken_on(&error)) {
            // The call was never made: what is to be mended is another permission than its own.
            (Some(role), Some(why)) => failed(Call::AssumeRole, role, why),
            _ => failed(call, subject, &error),
        });
        let outcome = result.as_ref().map_or_else(|error| error.code.as_str(), |_ok| "ok");
        self.metrics.aws_call(call.name(), outcome);
        result
    }
}

impl Aws for RealAws {}

/// The text of one of the SDK's enums, unknown values included.
macro_rules! text {
    ($value:expr) => {
        $value.map(|value| value.as_str().to_owned())
    };
}
pub(crate) use text;

fn failed<E>(call: Call, subject: &str, error: &SdkError<E>) -> AwsError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let (code, message) = match error.as_service_error() {
        Some(service) => {
            // A load balancer in the way, or AWS in trouble, answers without a code.
            let status = error.raw_response().map_or(0, |answer| answer.status().as_u16());
            let code = service.code().map_or_else(|| nameless(status), str::to_owned);
            (code, service.message().unwrap_or_default().to_owned())
        }
        None => {
            let causes = causes(error);
            let unconfigured = matches!(error, SdkError::ConstructionFailure(_))
                || causes.contains("Missing Region");
            let code = if unconfigured {
                "NotConfigured".to_owned()
            } else if let SdkError::ResponseError(answer) = error {
                nameless(answer.raw().status().as_u16())
            } else {
                unreached(&causes).to_owned()
            };
            (code, causes)
        }
    };
    // That passes, and no permission is missing.
    let passes = tries::is_of_another_time(&message);
    let failure = if passes { Failure::Passing } else { classify(&code) };
    AwsError { call, subject: subject.to_owned(), code, message, failure }
}

/// Code of an answer that names none.
fn nameless(status: u16) -> String {
    match status {
        200..=299 => "UnreadableAnswer".to_owned(),
        status => format!("Http{status}"),
    }
}

/// Why the role whose credentials a call was to be signed with could not be taken on, where that is what failed.
fn not_taken_on<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a SdkError<AssumeRoleError>> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref() {
            return Some(found);
        }
        next = cause.source();
    }
    None
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

/// Why there was no answer. Credentials that nobody provides will not come by themselves; those that STS or an
/// agent could not hand out just now will.
fn unreached(causes: &str) -> &'static str {
    if !causes.contains("credential") {
        return "Unreachable";
    }
    // The words of `aws-credential-types`.
    let nobody = ["was not enabled", "not properly configured", "no providers in chain"];
    if nobody.iter().any(|words| causes.contains(words)) {
        return "NoCredentials";
    }
    "CredentialsUnavailable"
}

fn classify(code: &str) -> Failure {
    match code {
        "AccessDenied"
        | "AccessDeniedException"
        | "AuthorizationError"
        | "AuthorizationErrorException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "NoCredentials"
        | "NotConfigured"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException" => Failure::Denied,
        "QueueDoesNotExist" | "AWS.SimpleQueueService.NonExistentQueue" => Failure::Missing,
        // Somebody else was there first: a hook, a deployment, an approval; a wait or a job that is over.
        "DeploymentIsNotInReadyStateException" | "InvalidJobStateException" => Failure::Completed,
        code if code.ends_with("AlreadyCompletedException") => Failure::Completed,
        // ECS's word for a request that cannot be: what it is about is read again where that matters.
        "ClientException" | "UnsupportedFeatureException" => Failure::Invalid,
        "ValidationException"
        | "ValidationError"
        | "SerializationException"
        | "ReceiptHandleIsInvalid" => Failure::Invalid,
        code if ["DoesNotExistException", "NotFoundException", "NotFound"]
            .iter()
            .any(|end| code.ends_with(end)) =>
        {
            Failure::Missing
        }
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
fn absent(call: Call, subject: &str, field: &str) -> AwsError {
    AwsError {
        call,
        subject: subject.to_owned(),
        code: "IncompleteAnswer".to_owned(),
        message: format!("`{field}` is missing"),
        failure: Failure::Passing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_codes_fall_into_the_kinds_gate_treats_differently() {
        for (code, failure) in [
            ("AccessDeniedException", Failure::Denied),
            ("DeploymentDoesNotExistException", Failure::Missing),
            ("TargetGroupNotFound", Failure::Missing),
            ("ServiceDeploymentNotFoundException", Failure::Missing),
            ("ResourceNotFoundException", Failure::Missing),
            ("ParameterNotFound", Failure::Missing),
            ("LifecycleEventAlreadyCompletedException", Failure::Completed),
            ("ApprovalAlreadyCompletedException", Failure::Completed),
            ("DeploymentIsNotInReadyStateException", Failure::Completed),
            ("ClientException", Failure::Invalid),
            ("UnsupportedFeatureException", Failure::Invalid),
            ("InvalidJobStateException", Failure::Completed),
            ("InvalidApprovalTokenException", Failure::Invalid),
            ("InvalidLifecycleEventHookExecutionIdException", Failure::Invalid),
            ("ThrottlingException", Failure::Passing),
            ("InternalServerError", Failure::Passing),
            ("Unreachable", Failure::Passing),
        ] {
            assert_eq!(classify(code), failure, "{code}");
        }
    }

    #[test]
    fn credentials_that_may_yet_come_are_waited_for() {
        for (causes, failure) in [
            (
                "dispatch failure: an error occurred while loading credentials: throttled",
                Failure::Passing,
            ),
            ("dispatch failure: credentials provider timed out", Failure::Passing),
            ("dispatch failure: the credential provider was not enabled", Failure::Denied),
            ("dispatch failure: connection refused", Failure::Passing),
        ] {
            assert_eq!(classify(unreached(causes)), failure, "{causes}");
        }
    }
}
