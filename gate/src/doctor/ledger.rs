//! What came of each call that was tried: the permissions and the endpoints are read from it at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::aws::calls::Scope;
use crate::aws::{AwsError, Call, Failure, Reply};

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Outcome {
    /// No answer yet; at the end, none in time.
    Pending,
    /// It could not be sent, or nobody answered.
    Unreachable(String),
    /// AWS answered with something that says nothing of permissions: throttled, failed.
    Unclear(String),
    /// It was refused, for a thing that does not exist: a permission that is scoped looks the same.
    RefusedUnscoped(String),
    /// The credentials themselves are missing or wrong.
    Unsigned { code: String, story: String },
    /// It may be made.
    Allowed,
    /// It may not.
    Denied(String),
}

/// What a call was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// Something that is there.
    Real,
    /// Something that cannot be there.
    Invented,
}

/// What came of each call.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<BTreeMap<Call, Outcome>>);

impl Ledger {
    fn entries(&self) -> MutexGuard<'_, BTreeMap<Call, Outcome>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worst that matters wins: one refusal is a refusal, one success over silence is a success.
    fn note(&self, call: Call, outcome: Outcome) {
        let mut entries = self.entries();
        let known = entries.entry(call).or_insert(Outcome::Pending);
        if outcome > *known {
            *known = outcome;
        }
    }

    /// Makes the calls of one port's method, in order, and notes what came of each.
    pub(super) async fn tried<T>(
        &self,
        calls: &[Call],
        about: About,
        reply: Reply<'_, T>,
    ) -> Result<T, AwsError> {
        if let Some(first) = calls.first() {
            self.note(*first, Outcome::Pending);
        }
        let result = reply.await;
        match &result {
            Ok(_) => {
                for call in calls {
                    self.note(*call, Outcome::Allowed);
                }
            }
            Err(error) => {
                for call in calls.iter().take_while(|call| **call != error.call) {
                    self.note(*call, Outcome::Allowed);
                }
                self.note(error.call, outcome(error, about));
            }
        }
        result
    }

    /// What came of a call; `None` where it was not tried.
    pub(super) fn of(&self, call: Call) -> Option<Outcome> {
        self.entries().get(&call).cloned()
    }

    /// Everything that was tried.
    pub(super) fn all(&self) -> BTreeMap<Call, Outcome> {
        self.entries().clone()
    }
}

/// Codes of errors about the credentials, not about what they may.
const UNSIGNED: [&str; 11] = [
    "NotConfigured",
    "NoCredentials",
    "UnrecognizedClientException",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "SignatureDoesNotMatch",
    "MissingAuthenticationToken",
    "MissingAuthenticationTokenException",
    "ExpiredToken",
    "ExpiredTokenException",
    "RequestExpired",
];

/// Whether the credentials themselves are missing or wrong.
pub(super) fn is_unsigned(error: &AwsError) -> bool {
    UNSIGNED.contains(&error.code.as_str())
}

fn outcome(error: &AwsError, about: About) -> Outcome {
    let code = error.code.as_str();
    if is_unsigned(error) {
        return Outcome::Unsigned { code: code.to_owned(), story: error.plain_story() };
    }
    match error.failure {
        Failure::Denied if about == About::Invented && error.call.scope() != Scope::Any => {
            Outcome::RefusedUnscoped(error.plain_story())
        }
        Failure::Denied => Outcome::Denied(error.plain_story()),
        // AWS looked for it, so it may be asked.
        Failure::Missing | Failure::Completed | Failure::Invalid => Outcome::Allowed,
        Failure::Passing if code == "Unreachable" => Outcome::Unreachable(error.plain_story()),
        Failure::Passing => Outcome::Unclear(error.plain_story()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(call: Call, code: &str, failure: Failure) -> AwsError {
        AwsError {
            call,
            subject: "it".to_owned(),
            code: code.to_owned(),
            message: String::new(),
            failure,
        }
    }

    #[tokio::test]
    async fn a_method_of_several_calls_got_as_far_as_the_one_that_failed() {
        let ledger = Ledger::default();
        let calls = [Call::DescribeListeners, Call::DescribeLoadBalancers, Call::DescribeRules];
        let denied = failed(Call::DescribeLoadBalancers, "AccessDenied", Failure::Denied);
        let reply: Reply<'_, ()> = Box::pin(async move { Err(denied) });
        ledger.tried(&calls, About::Real, reply).await.unwrap_err();
        assert_eq!(ledger.of(Call::DescribeListeners), Some(Outcome::Allowed));
        assert!(matches!(ledger.of(Call::DescribeLoadBalancers), Some(Outcome::Denied(_))));
        assert_eq!(ledger.of(Call::DescribeRules), None);
        // Another time it went well: that it may be refused stands.
        ledger.tried(&calls, About::Real, Box::pin(async { Ok(()) })).await.unwrap();
        assert!(matches!(ledger.of(Call::DescribeLoadBalancers), Some(Outcome::Denied(_))));
    }

    #[test]
    fn a_refusal_is_told_apart_from_everything_else() {
        use About::{Invented, Real};
        for (call, code, failure, about, expected) in [
            (Call::StopDeployment, "AccessDeniedException", Failure::Denied, Invented, "Denied"),
            (
                Call::GetDeployment,
                "AccessDeniedException",
                Failure::Denied,
                Invented,
                "RefusedUnscoped",
            ),
            (Call::GetDeployment, "AccessDeniedException", Failure::Denied, Real, "Denied"),
            (
                Call::StopDeployment,
                "DeploymentDoesNotExistException",
                Failure::Missing,
                Invented,
                "Allowed",
            ),
            (
                Call::StopDeployment,
                "InvalidDeploymentIdException",
                Failure::Invalid,
                Invented,
                "Allowed",
            ),
            (Call::GetAlias, "NoCredentials", Failure::Denied, Real, "Unsigned"),
            (Call::GetAlias, "Unreachable", Failure::Passing, Real, "Unreachable"),
            (Call::GetAlias, "ThrottlingException", Failure::Passing, Real, "Unclear"),
        ] {
            let outcome = format!("{:?}", outcome(&failed(call, code, failure), about));
            assert!(outcome.starts_with(expected), "{code} of {call}: {outcome}");
        }
    }
}
