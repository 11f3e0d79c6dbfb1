//! Tells people of a decision, by topics of SNS: once, after it is where it belongs, and never in its way.
//!
//! At most once. The fact that the answer was delivered is on disk before anybody is told, and is not told
//! again after a restart: what was under way then is lost.

use std::sync::Arc;
use std::time::Duration;

use policies::{Deployment, Report};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, warn};

use crate::aws::{Clouds, Place};
use crate::telemetry::Metrics;

/// One topic is told within this time, or not at all.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(10);
/// Topics that are being told at a time.
const NOTIFYING_MAX: usize = 64;
/// "Must be less than 100 characters long", of ASCII without control characters.
//= https://docs.aws.amazon.com/sns/latest/api/API_Publish.html
const SUBJECT_MAX: usize = 99;
/// What is told is short: the page has the rest. SNS takes 256 KiB.
const MESSAGE_MAX_BYTES: usize = 8 * 1024;

/// Publishes to topics, beside everything else.
#[derive(Clone, Debug)]
pub(crate) struct Notifier {
    clouds: Clouds,
    metrics: Arc<Metrics>,
    /// Waited for when gate stops.
    tasks: TaskTracker,
    places: Arc<Semaphore>,
}

impl Notifier {
    pub(crate) fn new(clouds: Clouds, metrics: Arc<Metrics>, tasks: TaskTracker) -> Self {
        Self { clouds, metrics, tasks, places: Arc::new(Semaphore::new(NOTIFYING_MAX)) }
    }

    /// Begins to tell these topics how a run stands.
    pub(crate) fn tell(&self, topics: &[String], report: &Report) {
        let (subject, message) = (Arc::<str>::from(subject(report)), Arc::from(message(report)));
        for topic in topics {
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                self.metrics.notification("dropped");
                warn!(topic, "nobody is told: {NOTIFYING_MAX} topics are being told already");
                continue;
            };
            let text = (Arc::clone(&subject), Arc::clone(&message));
            let telling = self.clone().publish(topic.clone(), text);
            let telling = async move {
                telling.await;
                drop(place);
            };
            self.tasks.spawn(telling.in_current_span());
        }
    }

    async fn publish(self, topic: String, (subject, message): (Arc<str>, Arc<str>)) {
        let telling = async {
            let aws = self.clouds.at(&Place::of_arn(&topic)).await;
            aws.publish(&topic, &subject, &message).await
        };
        let reason = match timeout(NOTIFY_TIMEOUT, telling).await {
            Ok(Ok(())) => return self.metrics.notification("sent"),
            Ok(Err(error)) => error.story(),
            Err(_elapsed) => format!("it took longer than {} s", NOTIFY_TIMEOUT.as_secs()),
        };
        self.metrics.notification("failed");
        warn!(topic, reason, "a topic could not be told of the decision");
    }
}

/// `gate: ROLLBACK of checkout checkout-prod at AfterAllowTestTraffic`.
fn subject(report: &Report) -> String {
    let about = report.deployment.as_ref().map_or_else(|| report.id.clone(), about);
    let subject = format!("gate: {} of {about}", what(report));
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    subject.chars().map(plain).take(SUBJECT_MAX).collect()
}

/// What was done, loud enough for a subject.
fn what(report: &Report) -> String {
    if report.watch.as_ref().is_some_and(|watch| watch.veto.is_some()) {
        return "VETO".to_owned();
    }
    report.decision.unwrap_or("no decision").to_uppercase()
}

/// What CodeDeploy deploys is called by its application and group, as people know it.
fn about(deployment: &Deployment) -> String {
    let Deployment { application, group, service, function, pipeline, id, stage, .. } = deployment;
    let named = if application.is_empty() {
        [service, function, pipeline].map(String::as_str)
    } else {
        [application.as_str(), group.as_str(), ""]
    };
    let mut names: Vec<&str> = named.into_iter().filter(|name| !name.is_empty()).collect();
    if names.is_empty() {
        names.push(id);
    }
    format!("{} at {stage}", names.join(" "))
}

/// The reason first; then what it is about and each objective.
fn message(report: &Report) -> String {
    let mut text = String::new();
    let veto = report.watch.as_ref().and_then(|watch| watch.veto.as_deref());
    let reason = veto.or(report.reason.as_deref()).unwrap_or_default();
    let basis = report.basis.filter(|_| veto.is_none());
    let basis = basis.map_or_else(String::new, |basis| format!(" ({basis})"));
    line(&mut text, &format!("{}{basis}: {reason}", what(report)));
    line(&mut text, "");
    line(&mut text, &format!("evaluation: {}", report.id));
    if let Some(deployment) = &report.deployment {
        line(&mut text, &format!("deployment: {}, {}", deployment.id, about(deployment)));
    }
    if let Some(policy) = &report.policy {
        line(&mut text, &format!("policy: {policy}"));
    }
    if let Some(delivery) = report.delivery.as_ref().filter(|_| veto.is_none()) {
        line(&mut text, &format!("answer: {delivery}"));
    }
    if let Some(ended) = report.watch.as_ref().and_then(|watch| watch.ended.as_deref()) {
        line(&mut text, &format!("watch: {ended}"));
    }
    if let Some(otherwise) = report.counterfactual.as_ref().filter(|_| veto.is_none()) {
        line(&mut text, &format!("otherwise: it {otherwise}"));
    }
    for said in &report.overrides {
        line(&mut text, &format!("said by {}: {}: {}", said.by, said.action, said.reason));
    }
    let objectives = match (&report.watch, veto) {
        (Some(watch), Some(_)) => &watch.objectives,
        _ => &report.objectives,
    };
    for objective in objectives {
        let apart = if objective.observe { " (only observed)" } else { "" };
        let (name, verdict) = (&objective.name, objective.verdict);
        line(&mut text, &format!("{verdict:7} {name}{apart}: {}", objective.text));
    }
    bounded(text)
}

fn line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// At most [`MESSAGE_MAX_BYTES`], cut between two characters.
fn bounded(mut text: String) -> String {
    const CUT: &str = "…\n";
    if text.len() > MESSAGE_MAX_BYTES {
        let mut end = MESSAGE_MAX_BYTES - CUT.len();
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push_str(CUT);
    }
    text
}

#[cfg(test)]
mod tests;
