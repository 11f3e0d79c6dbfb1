//! Lambda by the official SDK.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_sdk_lambda::config::Config;
use aws_sdk_lambda::primitives::Blob;
use aws_sdk_lambda::types::{InvocationType, LogType};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::functions::{AliasFacts, FunctionFacts, Functions, Invocation};
use super::super::{Call, Reply};
use super::{RealAws, once, text};

impl Functions for RealAws {
    fn alias<'a>(&'a self, function: &'a str, alias: &'a str) -> Reply<'a, AliasFacts> {
        Box::pin(async move {
            let call = self.lambda.get_alias().function_name(function).name(alias);
            let reply = self.seen(Call::GetAlias, function, call.send().await)?;
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
            let reply = self.seen(Call::GetFunctionConfiguration, name, call.send().await)?;
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
            self.seen(Call::Invoke, qualified, call.send().await).map(|_reply| ())
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
                .operation_attempt_timeout(within)
                .operation_timeout(within)
                .build();
            // A probe that is retried is another probe.
            let config = Config::builder().retry_config(once()).timeout_config(timeouts);
            let call = self
                .lambda
                .invoke()
                .function_name(qualified)
                .invocation_type(InvocationType::RequestResponse)
                .log_type(LogType::Tail)
                .payload(Blob::new(payload))
                .customize()
                .config_override(config);
            let reply = self.seen(Call::Invoke, qualified, call.send().await)?;
            let log = reply.log_result.and_then(|log| STANDARD.decode(log).ok());
            Ok(Invocation {
                payload: reply.payload.map(Blob::into_inner).unwrap_or_default(),
                function_error: reply.function_error,
                executed_version: reply.executed_version,
                log_tail: log.map(|log| String::from_utf8_lossy(&log).into_owned()),
            })
        })
    }
}
