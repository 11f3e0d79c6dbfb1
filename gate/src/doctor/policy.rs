//! Which policy would judge at each stage, whether it is a good one, and whether its secrets can be read.

use std::collections::BTreeMap;
use std::time::Duration;

use policies::{Answer, Policy, PolicyFile, PolicyInForce, Stage};
use tokio::time::timeout;

use super::facts::{Asks, Facts};
use super::finding::Area;
use super::{Finding, Level, Visit};
use crate::shell::sendable;

/// Warnings of one policy that are repeated here; `gate check` shows all.
const WARNINGS_MAX: usize = 5;

/// A policy that would judge.
#[derive(Debug)]
pub(super) struct Judge {
    pub(super) file: String,
    pub(super) policy: Policy,
    pub(super) stages: Vec<Stage>,
}

/// What would judge.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) judges: Vec<Judge>,
    pub(super) findings: Vec<Finding>,
}

impl Judged {
    /// Whether a policy that would judge at this stage is written for it.
    pub(super) fn names(&self, stage: Stage) -> bool {
        self.judges.iter().any(|judge| judge.policy.applies_to.stages.contains(&stage))
    }
}

/// Outcomes of choosing, each with the stages that have it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Choice {
    Chosen { file: String, text: String },
    Tied(Vec<String>),
    Broken(Vec<String>),
    Unmatched,
}

impl From<PolicyInForce> for Choice {
    fn from(policy: PolicyInForce) -> Self {
        match policy {
            PolicyInForce::Chosen { file, text } => Self::Chosen { file, text },
            PolicyInForce::Tied { files } => Self::Tied(files),
            PolicyInForce::Broken { faults } => Self::Broken(faults),
            PolicyInForce::Unmatched => Self::Unmatched,
        }
    }
}

pub(super) async fn look(visit: &Visit, facts: &Facts) -> Judged {
    if facts.asks.is_empty() {
        return Judged::default();
    }
    if !visit.policies_are_named && !visit.settings.policies.is_dir() {
        let fix = Some("--policies FOLDER, or --config FILE: the daemon's settings".to_owned());
        let why = "nobody said where policies are";
        let findings = vec![Finding::untested(Area::Policy, "which policy would judge", why, fix)];
        return Judged { findings, ..Judged::default() };
    }
    let mut choices: BTreeMap<Choice, Vec<&Asks>> = BTreeMap::new();
    for asks in &facts.asks {
        let policy = match &asks.policy {
            Some(name) => visit.library.named(name).await,
            None => {
                let mut deployment = facts.deployment.clone();
                deployment.stage = asks.stage;
                visit.library.pick(&deployment).await
            }
        };
        choices.entry(policy.into()).or_default().push(asks);
    }
    let mut judged = Judged::default();
    let any_chosen = choices.keys().any(|choice| matches!(choice, Choice::Chosen { .. }));
    for (choice, asks) in choices {
        let stages = names(&asks);
        match choice {
            Choice::Chosen { file, text } => {
                judged.chosen(visit, (file, text), &asks, &stages).await;
            }
            Choice::Tied(files) => judged.findings.push(Finding::new(
                Area::Policy,
                Level::Error,
                format!("these policies apply equally well at {stages}: {}", files.join(", ")),
                format!("neither is taken: every question is answered {}", unmatched(visit)),
                "name more in `applies-to` of one of them",
            )),
            Choice::Broken(faults) => judged.findings.push(Finding::new(
                Area::Policy,
                Level::Error,
                format!("the policy at {stages} is broken: {}", faults.join("; ")),
                format!("every question is answered {}", unmatched(visit)),
                format!("gate check {}", visit.settings.policies.display()),
            )),
            Choice::Unmatched => {
                judged.findings.push(no_policy(visit, facts, &asks, &stages, any_chosen));
            }
        }
    }
    judged
}

fn names(asks: &[&Asks]) -> String {
    let names: Vec<&str> = asks.iter().map(|asks| asks.stage.name()).collect();
    names.join(", ")
}

fn unmatched(visit: &Visit) -> String {
    let answer = match visit.settings.unmatched {
        Answer::Continue => "continue",
        Answer::Rollback => "rollback",
    };
    format!("{answer}, by the setting `unmatched`")
}

fn no_policy(
    visit: &Visit,
    facts: &Facts,
    asks: &[&Asks],
    stages: &str,
    any_chosen: bool,
) -> Finding {
    // A hook that nobody has set up needs no policy.
    if any_chosen && asks.iter().all(|asks| !asks.certain) {
        let what =
            format!("no policy at {stages}: a hook there would be answered {}", unmatched(visit));
        return Finding::ok(Area::Policy, what);
    }
    let level = match visit.settings.unmatched {
        Answer::Rollback => Level::Error,
        Answer::Continue => Level::Warning,
    };
    let of = &facts.deployment;
    let applies: Vec<String> = [
        ("application", &of.application),
        ("group", &of.group),
        ("service", &of.service),
        ("function", &of.function),
        ("pipeline", &of.pipeline),
    ]
    .iter()
    .filter(|(_, name)| !name.is_empty())
    .map(|(key, name)| format!("{key}: \"{name}\""))
    .collect();
    Finding::new(
        Area::Policy,
        level,
        format!("no policy applies at {stages}"),
        format!("every question is answered {}", unmatched(visit)),
        format!(
            "a policy in {} with `applies-to: {{ {} }}`",
            visit.settings.policies.display(),
            applies.join(", ")
        ),
    )
}

impl Judged {
    async fn chosen(
        &mut self,
        visit: &Visit,
        (file, text): (String, String),
        asks: &[&Asks],
        stages: &str,
    ) {
        let parsed = PolicyFile::parse(&file, &text);
        let warnings = parsed.faults.iter().filter(|fault| !fault.is_error());
        let warnings = warnings.take(WARNINGS_MAX).map(|fault| {
            Finding::new(
                Area::Policy,
                Level::Warning,
                fault.one_line(),
                "the policy is taken, and does not do all it says",
                format!("gate check {}", visit.settings.policies.join(&file).display()),
            )
        });
        self.findings.push(Finding::ok(Area::Policy, format!("{file} judges at {stages}")));
        self.findings.extend(warnings);
        let Some(policy) = parsed.policy else { return };
        self.findings.extend(secrets(visit, &file, &policy).await);
        let stages = asks.iter().map(|asks| asks.stage).collect();
        self.judges.push(Judge { file, policy, stages });
    }
}

/// Whether the probes of a policy can be sent: its secrets are there. What is in them is dropped at once.
async fn secrets(visit: &Visit, file: &str, policy: &Policy) -> Option<Finding> {
    let (what, why) = match timeout(visit.call_within, sendable(policy, &visit.vault)).await {
        Ok(Ok(())) => return None,
        Ok(Err(trouble)) => (
            format!("{file} cannot be probed by: {trouble}"),
            "every question is answered by the setting `unmatched`",
        ),
        Err(_elapsed) => {
            let what = format!("whether the secrets of {file} can be read");
            return Some(Finding::untested(Area::Policy, what, "no answer in time", None));
        }
    };
    let fix = "mend the reference, or put the secret where the daemon runs; or run this there";
    Some(Finding::new(Area::Policy, Level::Error, what, why, fix))
}

/// Time that a policy needs before it can let a release through.
pub(super) fn least(policy: &Policy) -> Duration {
    policy.probe.warm_up + policy.decide.at_least
}
