//! Where gate is asked, and whether whoever asks waits long enough for the policy.

use std::time::Duration;

use policies::Stage;
use policies::run::{HOOK_LIMIT, margin};
use policies::units::spell;

use super::facts::{Facts, Found};
use super::finding::Area;
use super::policy::{Judge, Judged, least};
use super::{Finding, Level, Patient, Visit};
use crate::aws::ecs::{Pause, ServiceFacts};

/// Minutes that a pause waits where nothing is said.
//= https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_DeploymentLifecycleHookTimeoutConfiguration.html
const PAUSE_DEFAULT_MINUTES: u64 = 1440;

pub(super) fn look(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Finding> {
    let mut found = match &facts.found {
        Found::Group(group) => {
            let mut found = Vec::new();
            if group.ready_wait_minutes.is_none() && judged.names(Stage::Ready) {
                found.push(no_ready_wait());
            }
            if group.platform == "Server" && group.ready_wait_minutes.is_none() {
                found.push(nobody_asks(
                    "hooks of EC2 run scripts, not functions",
                    "run `gate verify` in the script of ValidateService",
                ));
            }
            found
        }
        Found::Service(service) => paused(service),
        Found::Pipeline(_) if facts.asks.is_empty() => {
            vec![nobody_asks(
                "it has no manual approval, and no Lambda action that invokes the relay",
                "add a manual approval before the stage that deploys, or `gate verify` in a Commands rule",
            )]
        }
        Found::Function(_) | Found::Pipeline(_) | Found::Unread | Found::Nothing => Vec::new(),
    };
    for judge in &judged.judges {
        for stage in &judge.stages {
            if let Some(waits) = waits(visit, facts, *stage) {
                found.extend(in_time(judge, &waits));
            }
        }
    }
    // The four hooks of a group have one limit, and one finding says it.
    found.dedup();
    found
}

/// Who asks at a stage, and how long they wait.
struct Waits {
    who: String,
    long: Duration,
    /// What makes them wait longer.
    longer: &'static str,
}

/// How long whoever asks at this stage waits, where that is known.
fn waits(visit: &Visit, facts: &Facts, stage: Stage) -> Option<Waits> {
    let minutes = |minutes: u64| Duration::from_secs(minutes.saturating_mul(60));
    match (&visit.patient, &facts.found) {
        (Patient::Group { .. }, Found::Group(group)) if stage == Stage::Ready => Some(Waits {
            who: "the READY wait".to_owned(),
            long: minutes(group.ready_wait_minutes?),
            longer: "or a longer `waitTimeInMinutes` of the group",
        }),
        (Patient::Group { .. } | Patient::Function { .. }, _) => Some(Waits {
            who: "a hook of CodeDeploy".to_owned(),
            long: HOOK_LIMIT,
            longer: "for CodeDeploy waits no longer",
        }),
        (Patient::Service { .. }, Found::Service(service)) => {
            let here = |pause: &&Pause| pause.stages.iter().any(|name| name == stage.name());
            let pauses = service.pauses.iter().filter(here);
            Some(Waits {
                who: format!("the pause at {stage}"),
                long: minutes(pauses.filter_map(|pause| pause.timeout_minutes).min()?),
                longer: "or a longer `timeoutInMinutes` of the pause",
            })
        }
        _ => None,
    }
}

/// Whether the policy's times fit into it.
fn in_time(Judge { file, policy, .. }: &Judge, waits: &Waits) -> Option<Finding> {
    let Waits { who, long, longer } = waits;
    let usable = long.saturating_sub(margin(*long));
    let deadline = policy.decide.deadline;
    if least(policy) >= usable {
        return Some(Finding::new(
            Area::Stages,
            Level::Error,
            format!("{file} can prove nothing before {who} ends, after {}", spell(*long)),
            format!(
                "`warm-up` and `at-least` take {}, and gate answers after {} at the latest: always as undecided",
                spell(least(policy)),
                spell(usable)
            ),
            format!("a shorter `decide.at-least`, {longer}"),
        ));
    }
    (deadline > usable).then(|| {
        Finding::new(
            Area::Stages,
            Level::Warning,
            format!("{file} may take {}, and {who} ends after {}", spell(deadline), spell(*long)),
            format!("gate answers after {} at the latest, proven or not", spell(usable)),
            format!("`decide: {{ deadline: {}s }}` or less, {longer}", usable.as_secs()),
        )
    })
}

fn no_ready_wait() -> Finding {
    Finding::new(
        Area::Stages,
        Level::Warning,
        "a policy is for READY, and the group does not wait there",
        "nobody asks at READY, so that policy judges nothing",
        "`deploymentReadyOption: { actionOnTimeout: STOP_DEPLOYMENT, waitTimeInMinutes: 60 }` in the group's blue/green configuration",
    )
}

fn nobody_asks(why: &str, fix: &str) -> Finding {
    Finding::new(Area::Stages, Level::Warning, "nobody asks gate", why, fix)
}

fn paused(service: &ServiceFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if service.pauses.is_empty() && service.functions.is_empty() {
        found.push(nobody_asks(
            "the service has neither a pause nor a Lambda hook; at best its deployments are watched",
            "`lifecycleHooks: [ { targetType: PAUSE, lifecycleStages: [POST_TEST_TRAFFIC_SHIFT], timeoutConfiguration: { timeoutInMinutes: 60, action: ROLLBACK } } ]` in `deploymentConfiguration`",
        ));
    }
    if service.strategy == "ROLLING" {
        found.push(Finding::new(
            Area::Stages,
            Level::Warning,
            "the service is deployed by replacing its tasks (ROLLING)",
            "green and blue share one target group: they cannot be told apart by it, and nothing can be compared with blue",
            "`deploymentConfiguration: { strategy: BLUE_GREEN }`, LINEAR or CANARY",
        ));
    }
    for pause in &service.pauses {
        found.extend(pause_of(pause));
    }
    for (function, stages) in &service.functions {
        let blind = blind(stages);
        if !blind.is_empty() {
            found.push(nothing_there(&format!("the hook {function}"), &blind));
        }
    }
    found
}

/// Stages at which there is no green yet.
fn blind(stages: &[String]) -> Vec<String> {
    let is_blind = |name: &&String| Stage::named(name).is_some_and(|stage| !stage.measurable());
    stages.iter().filter(is_blind).cloned().collect()
}

fn nothing_there(who: &str, stages: &[String]) -> Finding {
    Finding::new(
        Area::Stages,
        Level::Warning,
        format!("{who} asks at {}, where there is nothing to measure", stages.join(", ")),
        "there is no green yet: gate answers Continue at once",
        "POST_SCALE_UP or a later stage in `lifecycleStages`",
    )
}

fn pause_of(pause: &Pause) -> Vec<Finding> {
    let stages = pause.stages.join(", ");
    let mut found = Vec::new();
    let blind = blind(&pause.stages);
    if !blind.is_empty() {
        found.push(nothing_there("a pause", &blind));
    }
    match (pause.timeout_minutes, pause.timeout_action.as_deref()) {
        (minutes, Some("CONTINUE")) => found.push(Finding::new(
            Area::Stages,
            Level::Warning,
            format!("the pause at {stages} lets the release through when it times out"),
            format!("where gate is away for {} min, releases go out ungated", minutes.unwrap_or(PAUSE_DEFAULT_MINUTES)),
            "`timeoutConfiguration: { action: ROLLBACK }` of the pause",
        )),
        (Some(minutes), _) => {
            let what = format!("the pause at {stages} waits {minutes} min, then rolls back");
            found.push(Finding::ok(Area::Stages, what));
        }
        (None, _) => found.push(Finding::untested(
            Area::Stages,
            format!("how long the pause at {stages} waits, and what happens then"),
            "DescribeServices does not say it of pauses",
            Some(format!("look at the service's definition; where it says nothing it is {PAUSE_DEFAULT_MINUTES} min and ROLLBACK")),
        )),
    }
    found
}
