//! `gate doctor`: everything that would keep a deployment from being judged, answered or rolled back, found before
//! one has to be. It reads, and tries writes only in forms that cannot have an effect.

mod facts;
mod finding;
mod ledger;
mod measured;
mod network;
mod permissions;
mod policy;
mod reach;
mod relay;
mod stages;
mod together;
mod tries;
mod wiring;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::aws::{Aws, AwsError, Call, Clouds, Failure, Reply};
use crate::config::Settings;
use crate::library::Library;
use crate::shell::{Doing, Vault};
use facts::Facts;
#[cfg(test)]
pub(crate) use finding::Summary;
use finding::{Area, Level};
pub(crate) use finding::{Finding, Report};
use ledger::{About, Ledger, is_unsigned};
use together::together;

/// What is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Patient {
    /// A CodeDeploy deployment group.
    Group { application: String, group: String },
    /// An ECS service that deploys by itself.
    Service { cluster: String, service: String },
    /// A pipeline.
    Pipeline { name: String },
}

impl fmt::Display for Patient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group { application, group } => {
                write!(f, "deployment group {group} of application {application}")
            }
            Self::Service { cluster, service } => {
                write!(f, "service {service} of cluster {cluster}")
            }
            Self::Pipeline { name } => write!(f, "pipeline {name}"),
        }
    }
}

/// What is looked at, from where, and with what.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) patient: Patient,
    pub(crate) clouds: Clouds,
    /// AWS where the patient is.
    pub(crate) aws: Arc<dyn Aws>,
    pub(crate) settings: Settings,
    /// Whether somebody said where the daemon's settings are: else they are the defaults, and say nothing of it.
    pub(crate) settings_are_named: bool,
    /// Whether somebody said where policies are.
    pub(crate) policies_are_named: bool,
    /// What `gate serve` would not start with here.
    pub(crate) settings_faults: Vec<String>,
    pub(crate) library: Library,
    /// What secrets are read by.
    pub(crate) vault: Vault,
    /// Whether AWS is looked for elsewhere than at its own endpoints.
    pub(crate) has_endpoint: bool,
    /// Name or ARN of the relay.
    pub(crate) relay: Option<String>,
    /// URL of the daemon.
    pub(crate) gate: Option<String>,
    pub(crate) until: Instant,
    /// For one call of AWS.
    pub(crate) call_within: Duration,
    /// For one connection.
    pub(crate) connect_within: Duration,
    pub(crate) notes: Notes,
}

/// What came of the calls.
#[derive(Debug, Default)]
pub(crate) struct Notes(Ledger);

/// Why something is not known.
#[derive(Debug)]
enum Unknown {
    Late(Call),
    Failed(AwsError),
}

impl Unknown {
    fn is(&self, failure: Failure) -> bool {
        matches!(self, Self::Failed(error) if error.failure == failure)
    }

    /// The permission to give, where that is what is missing.
    fn fix(&self) -> Option<String> {
        match self {
            Self::Failed(error) if error.failure == Failure::Denied && !is_unsigned(error) => {
                Some(format!("allow `{}`, see docs/permissions.md", error.call.action()))
            }
            Self::Failed(_) | Self::Late(_) => None,
        }
    }
}

impl fmt::Display for Unknown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(call) => write!(f, "{call} had no answer in time"),
            Self::Failed(error) => f.write_str(&error.plain_story()),
        }
    }
}

impl Visit {
    /// Asks AWS about something that is there, for as long as one call may take.
    async fn ask<T>(&self, calls: &[Call], reply: Reply<'_, T>) -> Result<T, Unknown> {
        self.ask_about(About::Real, calls, reply).await
    }

    async fn ask_about<T>(
        &self,
        about: About,
        calls: &[Call],
        reply: Reply<'_, T>,
    ) -> Result<T, Unknown> {
        let last = calls.last().copied();
        match timeout(self.call_within, self.notes.0.tried(calls, about, reply)).await {
            Ok(result) => result.map_err(Unknown::Failed),
            Err(_elapsed) => Err(Unknown::Late(last.unwrap_or(Call::GetCallerIdentity))),
        }
    }

    /// A check that has until the end of the visit.
    fn bounded<'a>(
        &self,
        area: Area,
        check: impl Future<Output = Vec<Finding>> + Send + 'a,
    ) -> Doing<'a, Vec<Finding>> {
        let until = self.until;
        Box::pin(async move {
            timeout_at(until, check).await.unwrap_or_else(|_elapsed| {
                let what = "not known in time";
                let more = Some("a longer --timeout".to_owned());
                vec![Finding::untested(area, what, "what it waited for took too long", more)]
            })
        })
    }
}

/// Looks at everything. Takes as long as the visit may.
pub(crate) async fn examine(visit: &Visit) -> Report {
    let mut facts = Facts::gather(visit).await;
    let mut findings = std::mem::take(&mut facts.findings);
    let judged = policy::look(visit, &facts).await;
    findings.extend(judged.findings.iter().cloned());
    findings.extend(wiring::rollback(visit, &facts));
    findings.extend(stages::look(visit, &facts, &judged));
    findings.extend(wiring::intake(visit, &facts));
    findings.extend(wiring::settings(visit));
    let found = together(vec![
        visit.bounded(Area::Listeners, wiring::listeners(visit, &facts, &judged)),
        visit.bounded(Area::Relay, relay::look(visit, &facts)),
        visit.bounded(Area::Alarms, measured::alarms(visit, &facts, &judged)),
        visit.bounded(Area::Metrics, measured::metrics(visit, &facts, &judged)),
        visit.bounded(Area::Targets, network::targets(visit, &facts)),
        visit.bounded(Area::Daemon, network::daemon(visit)),
        visit.bounded(Area::Credentials, permissions::roles(visit)),
        visit.bounded(Area::Permissions, tries::make(visit, &facts, &judged)),
    ]);
    findings.extend(found.await.into_iter().flatten());
    // What was tried is known only now.
    findings.extend(permissions::look(visit, &facts, &judged));
    findings.extend(reach::endpoints(visit, &facts, &judged));
    findings.extend(reach::clock(visit));
    Report::new(visit.patient.to_string(), findings)
}

#[cfg(test)]
mod tests;
