//! Invokes versions of Lambda functions for probes: what came of it, whose fault that is, what Lambda reports.

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use hyper::body::Bytes;
use policies::Outcome;
use policies::plan::{clipped, quoted};
use probes::{Invocation, Invoker, Invoking, Lookup, Lost, Signer};
use questions::report;
use serde::Deserialize;
use tokio::time::Instant;

use crate::aws::functions::{ANSWER_TOO_LARGE, Invocation as Invoked};
use crate::aws::{Aws, AwsError, Failure};

/// What Lambda calls a function's own time-out in `errorType`.
const TIMED_OUT: &str = "Sandbox.Timedout";
/// Before it had a type, and still in the message of it.
const TIMED_OUT_TEXT: &str = "Task timed out after ";

/// The functions of one region and account.
#[derive(Debug)]
pub(crate) struct Functions(pub(crate) Arc<dyn Aws>);

impl Invoker for Functions {
    fn invoke<'a>(&'a self, function: &'a str, event: Bytes, deadline: Instant) -> Invoking<'a> {
        Box::pin(async move {
            let within = deadline.saturating_duration_since(Instant::now());
            match self.0.invoke(function, event.into(), within).await {
                Ok(invoked) => came(function, invoked),
                Err(error) => Invocation { result: Err(lost(&error)), report: None },
            }
        })
    }
}

/// What policies refer to, with what invokes functions beside it.
pub(crate) struct WithFunctions<'a> {
    lookup: &'a dyn Lookup,
    invoker: Option<Arc<dyn Invoker>>,
}

impl<'a> WithFunctions<'a> {
    pub(crate) fn new(lookup: &'a dyn Lookup, invoker: Option<Arc<dyn Invoker>>) -> Self {
        Self { lookup, invoker }
    }

    /// For an order that is only made to see whether it can be: nobody is invoked.
    pub(crate) fn to_check(lookup: &'a dyn Lookup) -> Self {
        Self::new(lookup, Some(Arc::new(Nobody)))
    }
}

impl fmt::Debug for WithFunctions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithFunctions").field("invoker", &self.invoker).finish_non_exhaustive()
    }
}

impl Lookup for WithFunctions<'_> {
    fn text(&self, reference: &str) -> Result<String, String> {
        self.lookup.text(reference)
    }

    fn file(&self, path: &str) -> Result<Vec<u8>, String> {
        self.lookup.file(path)
    }

    fn sigv4(&self, service: &str, region: &str) -> Result<Arc<dyn Signer>, String> {
        self.lookup.sigv4(service, region)
    }

    fn invoker(&self) -> Result<Arc<dyn Invoker>, String> {
        self.invoker.clone().map_or_else(|| self.lookup.invoker(), Ok)
    }
}

/// Invokes nothing.
#[derive(Debug)]
struct Nobody;

impl Invoker for Nobody {
    fn invoke<'a>(&'a self, _: &'a str, _: Bytes, _: Instant) -> Invoking<'a> {
        Box::pin(async { Invocation { result: Err(Outcome::NotSent.into()), report: None } })
    }
}

/// What an invocation that Lambda took came to.
fn came(function: &str, invoked: Invoked) -> Invocation {
    let request_id = invoked.request_id.as_deref();
    let tail = invoked.log_tail.as_deref();
    let report = tail.and_then(|tail| report::read(tail, request_id)).unwrap_or_default();
    let asked = function.rsplit_once(':').map_or("", |(_, version)| version);
    let other = invoked.executed_version.as_deref().filter(|ran| *ran != asked);
    let result = if let Some(ran) = other {
        let saw = format!("asked for version {asked}, and version {ran} ran");
        Err(Lost { outcome: Outcome::Protocol, saw: Some(clipped(&saw)) })
    } else if let Some(kind) = &invoked.function_error {
        Err(failed(kind, &invoked.payload, request_id))
    } else {
        Ok(invoked.payload)
    };
    Invocation { result, report: Some(report) }
}

/// How Lambda tells of a function that failed.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionError {
    error_type: Option<String>,
    error_message: Option<String>,
}

/// A function that failed: always bad, and its own fault.
fn failed(kind: &str, payload: &[u8], request_id: Option<&str>) -> Lost {
    let Ok(error) = serde_json::from_slice::<FunctionError>(payload) else {
        let saw = format!("function error {kind}: {}", quoted(&String::from_utf8_lossy(payload)));
        return Lost { outcome: Outcome::Expectation, saw: Some(clipped(&saw)) };
    };
    let (of_type, message) = (error.error_type, error.error_message.unwrap_or_default());
    let timed_out = message.find(TIMED_OUT_TEXT).and_then(|at| message.get(at..));
    let is_timeout = match &of_type {
        Some(of_type) => of_type == TIMED_OUT,
        None => timed_out.is_some(),
    };
    if is_timeout {
        let saw = format!("function error: {}", timed_out.unwrap_or(&message));
        return Lost { outcome: Outcome::Timeout, saw: Some(clipped(&plain(&saw))) };
    }
    // The same failure is to be the same sentence each time.
    let message = match request_id.filter(|id| !id.is_empty()) {
        Some(id) => message.replace(id, "…"),
        None => message,
    };
    let of_type = of_type.map_or_else(String::new, |of_type| format!("{}: ", quoted(&of_type)));
    let saw = format!("function error {kind}: {of_type}{}", quoted(&message));
    Lost { outcome: Outcome::Expectation, saw: Some(clipped(&saw)) }
}

/// An invocation that Lambda did not take, or could not make.
fn lost(error: &AwsError) -> Lost {
    let outcome = outcome(error);
    let advice = match (error.failure, error.code.as_str()) {
        (Failure::Denied, _) => format!(
            "; allow `{}` on it to the role gate runs with, see docs/permissions.md",
            error.call.action()
        ),
        (_, "ResourceNotFoundException") => {
            "; the version is gone, or gate looks in another region or account".to_owned()
        }
        (_, _) => String::new(),
    };
    let message =
        if error.message.is_empty() { String::new() } else { format!(" ({})", error.message) };
    Lost { outcome, saw: Some(clipped(&plain(&format!("{error}{advice}{message}")))) }
}

/// Codes of an invocation for which the probe, or gate's set-up, is to blame: it was not sent as it has to be.
const NOT_SENT: [&str; 9] = [
    "ResourceNotFoundException",
    "InvalidRequestContentException",
    "InvalidParameterValueException",
    "RequestTooLargeException",
    "SerializedRequestEntityTooLargeException",
    "UnsupportedMediaTypeException",
    "NoPublishedVersionException",
    "ModeNotSupportedException",
    "DurableExecutionAlreadyStartedException",
];
/// Codes for want of room: of the function, the account, or EC2 behind it. Customers use up the same.
const THROTTLED: [&str; 8] = [
    "TooManyRequestsException",
    "EC2ThrottledException",
    "ServiceQuotaExceededException",
    "ThrottlingException",
    "Throttling",
    "RequestLimitExceeded",
    "ENILimitReachedException",
    "SubnetIPAddressLimitReachedException",
];
/// Codes of a version that cannot be started.
const NOT_STARTED: [&str; 7] = [
    "ResourceConflictException",
    "ResourceNotReadyException",
    "InvalidRuntimeException",
    "InvalidSecurityGroupIDException",
    "InvalidSubnetIDException",
    "InvalidZipFileException",
    "RecursiveInvocationException",
];
/// The same, of what the version needs for it: `ENINotReadyException`, `KMSDisabledException`, …
const NEEDED_TO_START: [&str; 7] =
    ["SnapStart", "ENI", "EFS", "KMS", "EC2", "S3Files", "CodeArtifactUser"];

/// What a refusal by Lambda counts as.
fn outcome(error: &AwsError) -> Outcome {
    let code = error.code.as_str();
    if code == ANSWER_TOO_LARGE {
        Outcome::TooLarge
    } else if THROTTLED.contains(&code) {
        Outcome::Throttled
    } else if NOT_STARTED.contains(&code)
        || NEEDED_TO_START.iter().any(|what| code.starts_with(what))
    {
        Outcome::Refused
    } else if NOT_SENT.contains(&code) || error.failure != Failure::Passing {
        Outcome::NotSent
    } else {
        // Lambda itself failed, or nobody can get there from here.
        Outcome::Unreachable
    }
}

/// Without what would break a line.
fn plain(text: &str) -> String {
    text.replace(char::is_control, " ")
}
