//! AWS in our words. The folder beside this file is the only place that names an AWS SDK.
//!
//! One port for each service; `real` talks to AWS, `fake` answers from memory and can be told to fail.

pub(crate) mod balancing;
pub(crate) mod budget;
pub(crate) mod calls;
mod clouds;
pub(crate) mod codedeploy;
pub(crate) mod ecs;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod functions;
pub(crate) mod identity;
pub(crate) mod measurements;
pub(crate) mod messages;
pub(crate) mod pipelines;
mod real;
mod sign;
pub(crate) mod table;

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use policies::Blame;

pub(crate) use calls::Call;
pub(crate) use clouds::{CloudKey, Clouds, OnDemand, Place};
pub(crate) use real::{RealAws, TALKATIVE};
pub(crate) use sign::signer;

/// A call under way.
pub(crate) type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, AwsError>> + Send + 'a>>;

/// The calls gate makes in one region and account, and nothing more: what is not here needs no permission.
pub(crate) trait Aws:
    codedeploy::CodeDeploy
    + balancing::Balancing
    + ecs::Ecs
    + functions::Functions
    + identity::Identity
    + measurements::Measurements
    + messages::Messages
    + messages::Secrets
    + pipelines::Pipelines
    + Send
    + Sync
    + fmt::Debug
{
}

/// Code of an error that is gate's own: it held the call back.
const OVER_BUDGET: &str = "OverBudget";

/// Kinds of failed calls that gate treats differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The permission is missing.
    Denied,
    /// What was asked about does not exist.
    Missing,
    /// The event, or the deployment, is already over.
    Completed,
    /// AWS refuses the request as it is.
    Invalid,
    /// Throttled, failed or unreachable: trying again may help.
    Passing,
}

/// A call that failed. `Display` names the attempt; `source` holds the cause.
#[derive(Debug, thiserror::Error)]
#[error("{call} of {subject} failed: {code}")]
pub(crate) struct AwsError {
    pub(crate) call: Call,
    /// What the call was about, as an operator would name it.
    pub(crate) subject: String,
    /// AWS's error code, or `Unreachable` where there was no answer.
    pub(crate) code: String,
    /// AWS's message, may be empty.
    pub(crate) message: String,
    pub(crate) failure: Failure,
}

impl AwsError {
    /// Whose fault it is. Never the release's.
    pub(crate) fn blame(&self) -> Blame {
        match self.failure {
            Failure::Denied | Failure::Missing | Failure::Invalid => Blame::User,
            Failure::Passing if self.is_over_budget() => Blame::Gate,
            Failure::Completed | Failure::Passing => Blame::Aws,
        }
    }

    /// A call that was not made, because gate's share of the account's quota was used up for too long.
    pub(crate) fn over_budget(call: Call, subject: &str, share_percent: u32) -> Self {
        let rate = call.quota().rate().map_or(0, |rate| rate.per_second);
        Self {
            call,
            subject: subject.to_owned(),
            code: OVER_BUDGET.to_owned(),
            message: format!(
                "gate makes {share_percent} % of {rate} calls a second, and too many waited"
            ),
            failure: Failure::Passing,
        }
    }

    fn is_over_budget(&self) -> bool {
        self.code == OVER_BUDGET
    }

    /// What happened, in one line.
    pub(crate) fn plain_story(&self) -> String {
        // The SDK's own texts may be of several lines.
        let words: Vec<&str> = self.message.split_whitespace().collect();
        let message =
            if words.is_empty() { String::new() } else { format!(" ({})", words.join(" ")) };
        format!("{self}{message}")
    }

    /// The whole story in one line, with what to do where that is known.
    pub(crate) fn story(&self) -> String {
        let advice = match self.failure {
            Failure::Denied if self.call == Call::AssumeRole => {
                "; allow `sts:AssumeRole` on it to the role gate runs with, and have its trust policy name that role"
                    .to_owned()
            }
            Failure::Denied => match self.code.as_str() {
                "NotConfigured" => "; set AWS_REGION".to_owned(),
                "NoCredentials" => {
                    "; give gate credentials: a role, AWS_PROFILE or AWS_ACCESS_KEY_ID".to_owned()
                }
                _ => format!(
                    "; allow `{}` to the role gate runs with, see docs/permissions.md",
                    self.call.action()
                ),
            },
            Failure::Missing | Failure::Completed | Failure::Invalid | Failure::Passing => {
                String::new()
            }
        };
        format!("{}{advice}", self.plain_story())
    }

    /// What AWS says is not there, without an error of its own for it.
    pub(crate) fn missing(call: Call, subject: &str) -> Self {
        Self {
            call,
            subject: subject.to_owned(),
            code: "Missing".to_owned(),
            message: String::new(),
            failure: Failure::Missing,
        }
    }
}
