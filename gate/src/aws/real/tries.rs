//! One call of AWS with its tries: each takes a token of its budget first, and waits before it is another.
//!
//! The SDK itself tries once: its retries would take no tokens.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use aws_sdk_codedeploy::config::http::HttpResponse;
use aws_sdk_codedeploy::error::{ProvideErrorMetadata, SdkError};
use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{ATTEMPT_TIMEOUT, CALL_TIMEOUT, RealAws};
use crate::aws::{AwsError, Call};

/// Tries of a read. Answers are tried once for each decision of the run.
const READ_ATTEMPTS: u32 = 3;
/// Before the second try of a read, and twice as long before the third.
const TRY_AGAIN: Duration = Duration::from_millis(300);
/// A call waits for its token for so long, and then was not made: a hundred runs that begin at once need as long to
/// read where their load balancers lead.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(60);

impl RealAws {
    /// Makes a read, and makes it again where that may help.
    pub(super) async fn ask<T, E, F>(
        &self,
        call: Call,
        subject: &str,
        send: impl Fn() -> F,
    ) -> Result<T, AwsError>
    where
        F: Future<Output = Result<T, SdkError<E>>>,
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.token(call, subject, TOKEN_TIMEOUT).await?;
        let began = Instant::now();
        let mut tries = 1;
        loop {
            let reply = send().await;
            let Some(wait) = reply.as_ref().err().and_then(|error| self.again(tries, error)) else {
                return self.seen(call, subject, reply);
            };
            // What cannot end in time is not begun.
            let left = (CALL_TIMEOUT - ATTEMPT_TIMEOUT).checked_sub(began.elapsed() + wait);
            let Some(left) = left else { return self.seen(call, subject, reply) };
            debug!(%call, subject, tries, "trying again");
            sleep(wait).await;
            if self.token(call, subject, left).await.is_err() {
                return self.seen(call, subject, reply);
            }
            tries += 1;
        }
    }

    /// Makes a call once: whoever makes it decides about the next.
    pub(super) async fn tell<T, E>(
        &self,
        call: Call,
        subject: &str,
        sending: impl Future<Output = Result<T, SdkError<E>>>,
    ) -> Result<T, AwsError>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        self.token(call, subject, TOKEN_TIMEOUT).await?;
        let reply = sending.await;
        self.seen(call, subject, reply)
    }

    /// Waits until the call may be made.
    async fn token(&self, call: Call, subject: &str, patience: Duration) -> Result<(), AwsError> {
        let now = self.budgets_since.elapsed();
        match self.budgets.take(call, now, patience) {
            Some(Duration::ZERO) => Ok(()),
            Some(wait) => {
                self.metrics.aws_call_delayed(call.name());
                sleep(wait).await;
                Ok(())
            }
            None => {
                let error = AwsError::over_budget(call, subject, self.budgets.share_percent());
                self.metrics.aws_call(call.name(), &error.code);
                Err(error)
            }
        }
    }

    /// How long to wait before another try, where one may help.
    fn again<E>(&self, tries: u32, error: &SdkError<E>) -> Option<Duration>
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let another = tries < READ_ATTEMPTS && passes(error);
        another.then(|| self.jitter.spread(TRY_AGAIN * (1 << (tries - 1))))
    }
}

/// Whether the same call may go well in a moment.
fn passes<E>(error: &SdkError<E, HttpResponse>) -> bool
where
    E: ProvideErrorMetadata + Debug,
{
    match error {
        // No answer in time, or one that cannot be read.
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) => true,
        SdkError::DispatchFailure(failure) => !failure.is_user(),
        SdkError::ServiceError(error) => {
            let status = error.raw().status().as_u16();
            let code = error.err().code().unwrap_or_default();
            // A success in XML that cannot be read comes as an error of the service.
            !(300..500).contains(&status)
                || status == 429
                || is_of_the_moment(code)
                || is_of_another_time(error.err().message().unwrap_or_default())
        }
        // A request that cannot be built will not be built the next time.
        SdkError::ConstructionFailure(_) | _ => false,
    }
}

/// Codes that every service of AWS has for "not now".
fn is_of_the_moment(code: &str) -> bool {
    code.contains("Throttl")
        // DynamoDB's word for it, with the status of a request that is wrong.
        || code.starts_with("ProvisionedThroughputExceeded")
        || code.starts_with("TooManyRequests")
        || code.starts_with("RequestTimeout")
        || matches!(code, "RequestLimitExceeded" | "SlowDown" | "PriorRequestNotComplete")
}

/// What AWS says of a signature that is good and not of its time: this machine's clock is wrong by more than five minutes, and the
/// SDK goes by AWS's from the next try on.
//= https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html
pub(super) fn is_of_another_time(message: &str) -> bool {
    message.starts_with("Signature expired") || message.starts_with("Signature not yet current")
}

/// Takes the token of the next page. False where there is none: no token, an empty one, or the same once more, which
/// would lead nowhere.
pub(super) fn turn(token: &mut Option<String>, next: Option<String>) -> bool {
    let next = next.filter(|next| !next.is_empty());
    let further = next.is_some() && next != *token;
    *token = next;
    further
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_service_says_when_it_has_no_time_is_tried_again() {
        for (code, again) in [
            ("ThrottlingException", true),
            ("Throttling", true),
            ("RequestThrottled", true),
            ("TooManyRequestsException", true),
            ("RequestLimitExceeded", true),
            ("ProvisionedThroughputExceededException", true),
            ("AccessDeniedException", false),
            ("DeploymentDoesNotExistException", false),
            ("", false),
        ] {
            assert_eq!(is_of_the_moment(code), again, "{code}");
        }
    }

    #[test]
    fn a_signature_of_another_time_is_told_from_one_of_another_key() {
        for (message, of_another_time) in [
            ("Signature expired: 20260101T000000Z is now earlier than 20260101T005500Z", true),
            ("Signature not yet current: 20260101T020000Z is still later than 2026", true),
            (
                "The request signature we calculated does not match the signature you provided.",
                false,
            ),
        ] {
            assert_eq!(is_of_another_time(message), of_another_time, "{message}");
        }
    }

    #[test]
    fn pages_are_turned_until_there_is_no_other() {
        let mut token = None;
        for (next, further) in [
            (Some("a"), true),
            (Some("b"), true),
            (Some("b"), false),
            (Some(""), false),
            (None, false),
        ] {
            assert_eq!(turn(&mut token, next.map(str::to_owned)), further, "{next:?}");
        }
    }
}
