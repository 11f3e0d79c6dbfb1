//! Lambda by the official SDK.

#[cfg(test)]
mod tests;

use std::error::Error;
use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_lambda::config::{Config, ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_lambda::error::{BoxError, SdkError};
use aws_sdk_lambda::operation::RequestId;
use aws_sdk_lambda::operation::invoke::InvokeError;
use aws_sdk_lambda::primitives::{Blob, SdkBody};
use aws_sdk_lambda::types::{InvocationType, LogType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{LengthLimitError, Limited};
use policies::plan::BODY_MAX_BYTES;

use super::super::functions::{ANSWER_TOO_LARGE, AliasFacts, FunctionFacts, Functions, Invocation};
use super::super::{Call, Reply};
use super::{RealAws, text};

/// Whoever invokes gives up by itself, and calls that a time-out: the SDK must not be first and call it a
/// function out of reach.
const GRACE: Duration = Duration::from_secs(1);

impl Functions for RealAws {
    fn alias<'a>(&'a self, function: &'a str, alias: &'a str) -> Reply<'a, AliasFacts> {
        Box::pin(async move {
            let call = self.lambda.get_alias().function_name(function).name(alias);
            let reply = self.ask(Call::GetAlias, function, || call.clone().send()).await?;
            let weights = reply.routing_config.and_then(|config| config.additional_version_weights);
            Ok(AliasFacts {
                version: reply.function_version.unwrap_or_default(),
                weights: weights.unwrap_or_default().into_iter().collect(),
            })
        })
    }

    fn function<'a>(&'a self, name: &'a str) -> Reply<'a, FunctionFacts> {
        Box::pin(async move {
            let call = self.lambda.get_function_configuration().function_name(name);
            let reply =
                self.ask(Call::GetFunctionConfiguration, name, || call.clone().send()).await?;
            let variables = reply.environment.and_then(|environment| environment.variables);
            Ok(FunctionFacts {
                arn: reply.function_arn.unwrap_or_default(),
                role: reply.role,
                timeout_seconds: u64::try_from(reply.timeout.unwrap_or(3)).unwrap_or(3),
                log_format: text!(reply.logging_config.and_then(|config| config.log_format)),
                // Names alone: values may be secrets.
                environment: variables.unwrap_or_default().into_keys().collect(),
            })
        })
    }

    fn may_invoke<'a>(&'a self, qualified: &'a str) -> Reply<'a, ()> {
        Box::pin(async move {
            let call = self
                .lambda
                .invoke()
                .function_name(qualified)
                .invocation_type(InvocationType::DryRun);
            self.ask(Call::Invoke, qualified, || call.clone().send()).await.map(|_reply| ())
        })
    }

    fn invoke<'a>(
        &'a self,
        qualified: &'a str,
        payload: Vec<u8>,
        within: Duration,
    ) -> Reply<'a, Invocation> {
        Box::pin(async move {
            let timeouts = TimeoutConfig::builder()
                .connect_timeout(connect_timeout(within))
                .operation_attempt_timeout(within + GRACE)
                .operation_timeout(within + GRACE)
                .build();
            // Neither held back nor tried again: a probe that is retried is another probe.
            let config = Config::builder().timeout_config(timeouts).interceptor(Bounded);
            let call = self
                .lambda
                .invoke()
                .function_name(qualified)
                .invocation_type(InvocationType::RequestResponse)
                .log_type(LogType::Tail)
                .payload(Blob::new(payload))
                .customize()
                .config_override(config);
            let sent = call.send().await;
            let (why, large) = match &sent {
                Ok(_reply) => (None, false),
                Err(error) => (throttled(error), is_too_large(error)),
            };
            let reply = self.seen(Call::Invoke, qualified, sent).map_err(|mut error| {
                if let Some(why) = why {
                    error.message = format!("{why}: {}", error.message);
                }
                if large {
                    ANSWER_TOO_LARGE.clone_into(&mut error.code);
                }
                error
            })?;
            let request_id = reply.request_id().map(str::to_owned);
            let log = reply.log_result.and_then(|log| STANDARD.decode(log).ok());
            Ok(Invocation {
                payload: reply.payload.map(Blob::into_inner).unwrap_or_default(),
                function_error: reply.function_error,
                executed_version: reply.executed_version,
                log_tail: log.map(|log| String::from_utf8_lossy(&log).into_owned()),
                request_id,
            })
        })
    }
}

/// Time for a connection, so that a way that does not exist is told from a function that hangs: about half of
/// all there is. A power of two, because the SDK keeps connections apart by it.
fn connect_timeout(within: Duration) -> Duration {
    let most = u64::try_from((within * 3 / 4).as_millis()).unwrap_or(u64::MAX).max(1);
    Duration::from_millis(1 << most.ilog2())
}

/// Ends an answer that is larger than a probe may have: Lambda's own limit is 6 MB, of every one under way.
#[derive(Debug)]
struct Bounded;

impl Intercept for Bounded {
    fn name(&self) -> &'static str {
        "Bounded"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let response = context.response_mut();
        let bounded = Limited::new(response.take_body(), BODY_MAX_BYTES);
        *response.body_mut() = SdkBody::from_body_1_x(bounded);
        Ok(())
    }
}

/// Why Lambda had no room: its message never says.
fn throttled<R>(error: &SdkError<InvokeError, R>) -> Option<String> {
    if let InvokeError::TooManyRequestsException(throttled) = error.as_service_error()? {
        return throttled.reason().map(|reason| reason.as_str().to_owned());
    }
    None
}

fn is_too_large(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<LengthLimitError>() {
            return true;
        }
        next = error.source();
    }
    false
}
