//! Which permissions are missing, of those that the daemon needs for this patient.

use policies::Stage;

use super::facts::{Facts, Found};
use super::finding::Area;
use super::ledger::Outcome;
use super::measured::reads_cloudwatch;
use super::policy::Judged;
use super::wiring::stop_is_needed;
use super::{Finding, Level, Patient, Visit, together};
use crate::aws::calls::{CALLS, Call, Entry, Purpose};
use crate::aws::{Place, identity::Caller};
use crate::config::Mode;
use crate::shell::Doing;

/// Roles of other accounts that are tried.
const ROLES_MAX: usize = 20;

/// What is asked about deployments on EC2: nothing of theirs but READY asks gate.
const USED_OF_INSTANCES: [Call; 4] =
    [Call::GetDeployment, Call::ContinueDeployment, Call::StopDeployment, Call::ListDeployments];

/// Whether roles of other accounts can be taken on. A session is made, and nothing done with it.
pub(super) async fn roles(visit: &Visit) -> Vec<Finding> {
    let one = |role: &String| -> Doing<'_, Finding> {
        let role = role.clone();
        Box::pin(async move {
            let place = Place { region: None, account: Place::of_arn(&role).account };
            let aws = visit.clouds.at(&place).await;
            match tokio::time::timeout(visit.call_within, aws.caller()).await {
                Ok(Ok(_caller)) => {
                    Finding::ok(Area::Credentials, format!("{role} can be taken on"))
                }
                Ok(Err(error)) => Finding::new(
                    Area::Credentials,
                    Level::Error,
                    format!("{role} cannot be taken on"),
                    format!(
                        "deployments of its account cannot be read or answered: {}",
                        error.plain_story()
                    ),
                    "allow `sts:AssumeRole` on it to the role gate runs with, and have its trust policy name that role",
                ),
                Err(_elapsed) => Finding::untested(
                    Area::Credentials,
                    format!("whether {role} can be taken on"),
                    "no answer in time",
                    None,
                ),
            }
        })
    };
    together(visit.settings.aws.assume_role.iter().take(ROLES_MAX).map(one).collect()).await
}

/// What the daemon does for this patient.
fn purposes(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Purpose> {
    let mut found = Vec::new();
    match &facts.found {
        Found::Group(group) if group.platform == "Lambda" => found.push(Purpose::CodeDeployLambda),
        Found::Group(_) => found.push(Purpose::CodeDeployEcs),
        Found::Service(_) => found.push(Purpose::EcsNative),
        Found::Pipeline(_) => found.push(Purpose::Pipeline),
        Found::Unread => match &visit.patient {
            Patient::Group { .. } => found.push(Purpose::CodeDeployEcs),
            Patient::Service { .. } => found.push(Purpose::EcsNative),
            Patient::Pipeline { .. } => {}
        },
        Found::Nothing => {}
    }
    if reads_cloudwatch(judged) {
        found.push(Purpose::CloudWatch);
    }
    if visit.settings.intake.queue.is_some() {
        found.push(Purpose::Queue);
    }
    if judged.judges.iter().any(|judge| !judge.policy.notify.is_empty()) {
        found.push(Purpose::Notify);
    }
    found
}

/// How bad it is where a call is refused; `None` where it is not made for this patient.
fn badness(visit: &Visit, facts: &Facts, call: Call) -> Option<Level> {
    let polled = visit.settings.intake.poll.iter().any(|polled| match &visit.patient {
        Patient::Group { group, .. } => polled.group.as_ref() == Some(group),
        Patient::Service { service, .. } => polled.service.as_ref() == Some(service),
        Patient::Pipeline { .. } => false,
    });
    let asks = |stage: Stage| facts.asks.iter().any(|asks| asks.stage == stage);
    let of_instances = matches!(&facts.found, Found::Group(group) if group.platform == "Server");
    let is_any_of = |calls: &[Call]| calls.contains(&call);
    let is_made = if of_instances && !is_any_of(&USED_OF_INSTANCES) {
        false
    } else if is_any_of(&[Call::ContinueDeployment]) {
        asks(Stage::Ready)
    } else if is_any_of(&[Call::ListDeployments]) {
        polled
    } else if is_any_of(&[Call::ListServiceDeployments]) {
        polled || visit.settings.intake.queue.is_some()
    } else if is_any_of(&[Call::StopDeployment, Call::StopServiceDeployment]) {
        // Who only watches never stops anything.
        visit.settings.mode == Mode::Decide
    } else if is_any_of(&[Call::PutApprovalResult, Call::ListActionExecutions]) {
        asks(Stage::Approval)
    } else if is_any_of(&[Call::PutJobSuccessResult, Call::PutJobFailureResult]) {
        asks(Stage::Invoke)
    } else {
        true
    };
    let only_tells_more = matches!(
        call,
        Call::GetDeploymentConfig
            | Call::ListTasks
            | Call::DescribeTasks
            | Call::DescribeTaskSets
            | Call::GetAlias
            | Call::Publish
    );
    is_made.then_some(if only_tells_more { Level::Warning } else { Level::Error })
}

/// Whether the daemon cannot answer for this patient without a service of AWS.
pub(super) fn needs(visit: &Visit, facts: &Facts, judged: &Judged, service: &str) -> bool {
    let purposes = purposes(visit, facts, judged);
    let mut entries = CALLS
        .iter()
        .filter(|entry| entry.purposes.iter().any(|purpose| purposes.contains(purpose)))
        .filter(|entry| entry.action.split(':').next() == Some(service));
    entries.any(|entry| badness(visit, facts, entry.call) == Some(Level::Error))
        || (service == "sts" && !visit.settings.aws.assume_role.is_empty())
}

pub(super) fn look(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Finding> {
    let mut found: Vec<Finding> = credentials(visit).into_iter().collect();
    for purpose in purposes(visit, facts, judged) {
        found.extend(of_purpose(visit, facts, purpose));
    }
    found.extend(stop_is_needed(facts, visit.notes.0.of(Call::StopDeployment).as_ref()));
    found
}

fn of_purpose(visit: &Visit, facts: &Facts, purpose: Purpose) -> Vec<Finding> {
    let (mut allowed, mut unknown) = (Vec::new(), Vec::new());
    let mut found = Vec::new();
    // Where it is not known what CodeDeploy deploys to, what it is asked in any case.
    let is_platform_known = !matches!(facts.found, Found::Unread);
    let is_of = |entry: &&Entry| {
        let in_any_case = entry.purposes.contains(&Purpose::CodeDeployLambda);
        let any = purpose != Purpose::CodeDeployEcs || is_platform_known || in_any_case;
        entry.purposes.contains(&purpose) && any
    };
    for entry in CALLS.iter().filter(is_of) {
        let Some(level) = badness(visit, facts, entry.call) else { continue };
        let name = entry.call.name();
        match visit.notes.0.of(entry.call) {
            Some(Outcome::Allowed) => allowed.push(name),
            Some(Outcome::Denied(story)) => found.push(refused(visit, facts, entry, level, story)),
            Some(Outcome::RefusedUnscoped(_)) => {
                let why = "it was refused for a thing that is not there, as it is where the permission is scoped";
                unknown.push((entry, why.to_owned()));
            }
            Some(Outcome::Pending | Outcome::Unreachable(_)) => {
                unknown.push((entry, "there was no answer".to_owned()));
            }
            Some(Outcome::Unclear(story)) => unknown.push((entry, story)),
            Some(Outcome::Unsigned { .. }) => unknown.push((entry, "it was not signed".to_owned())),
            None if entry.call == Call::ReceiveMessage => {
                unknown.push((entry, "trying it would hide messages from the daemon".to_owned()));
            }
            None if entry.call == Call::Publish => {
                unknown.push((entry, "trying it would tell people something".to_owned()));
            }
            None => unknown.push((entry, "there is nothing to try it on".to_owned())),
        }
    }
    let is_any_platform = purpose == Purpose::CodeDeployEcs && !is_platform_known;
    let title = if is_any_platform { "CodeDeploy" } else { purpose.title() };
    if !allowed.is_empty() {
        let what = format!("{title}: not refused: {}", allowed.join(", "));
        found.insert(0, Finding::ok(Area::Permissions, what));
    }
    if !unknown.is_empty() {
        let actions: Vec<&str> = unknown.iter().map(|(entry, _)| entry.action).collect();
        let names: Vec<&str> = unknown.iter().map(|(entry, _)| entry.call.name()).collect();
        let mut reasons: Vec<&str> = unknown.iter().map(|(_, why)| why.as_str()).collect();
        reasons.dedup();
        let why = if let [only] = reasons.as_slice() {
            (*only).to_owned()
        } else {
            let each = unknown.iter().map(|(entry, why)| format!("{}: {why}", entry.call));
            each.collect::<Vec<_>>().join("; ")
        };
        let what = format!("{title}: not known: {}", names.join(", "));
        let fix = facts.caller.as_ref().map(|caller| simulate(caller, &actions));
        found.push(Finding::untested(Area::Permissions, what, why, fix));
    }
    found
}

/// The command that asks IAM itself about these calls.
fn simulate(caller: &Caller, actions: &[&str]) -> String {
    let principal = match caller.role() {
        Some(role) => format!("arn:aws:iam::{}:role/{role}", caller.account),
        None => caller.arn.clone(),
    };
    format!(
        "aws iam simulate-principal-policy --policy-source-arn {principal} --action-names {}",
        actions.join(" ")
    )
}

fn refused(visit: &Visit, facts: &Facts, entry: &Entry, level: Level, story: String) -> Finding {
    let statement = format!(
        "add to the role's policy: {{\"Effect\": \"Allow\", \"Action\": \"{}\", \"Resource\": \"{}\"}}",
        entry.action,
        resource(visit, facts, entry)
    );
    Finding::new(
        Area::Permissions,
        level,
        format!("{} is refused: {}", entry.action, entry.what_for),
        story,
        statement,
    )
}

/// The resource of a permission, with the names that are known here.
fn resource(visit: &Visit, facts: &Facts, entry: &Entry) -> String {
    let mut text = entry.scope.resource().to_owned();
    let mut set = |placeholder: &str, name: &str| {
        if !name.is_empty() {
            text = text.replace(placeholder, name);
        }
    };
    match &visit.patient {
        Patient::Group { application, group } => {
            set("APPLICATION/GROUP", &format!("{application}/{group}"));
        }
        Patient::Service { .. } => {}
        Patient::Pipeline { name } => set("PIPELINE", name),
    }
    if let Some((cluster, service)) = facts.deployment.service.split_once(':') {
        set("CLUSTER", cluster);
        set("SERVICE", service);
    }
    set("FUNCTION", &facts.deployment.function);
    if let Some(queue) = &visit.settings.intake.queue {
        set("QUEUE", queue.rsplit('/').next().unwrap_or_default());
    }
    set("REGION", facts.place.region.as_deref().unwrap_or_default());
    set("ACCOUNT", facts.place.account.as_deref().unwrap_or_default());
    text
}

/// Credentials that are missing or wrong are one fault, not one for each call.
fn credentials(visit: &Visit) -> Option<Finding> {
    let all = visit.notes.0.all();
    let unsigned = all.into_values().find_map(|outcome| match outcome {
        Outcome::Unsigned { code, story } => Some((code, story)),
        Outcome::Pending
        | Outcome::Unreachable(_)
        | Outcome::Unclear(_)
        | Outcome::RefusedUnscoped(_)
        | Outcome::Allowed
        | Outcome::Denied(_) => None,
    });
    let (code, story) = unsigned?;
    let fix = match code.as_str() {
        "NotConfigured" => "AWS_REGION=eu-west-1, or where your deployments are",
        "NoCredentials" => {
            "give the task a task role (the execution role is not it); in a shell, AWS_PROFILE or AWS_ACCESS_KEY_ID"
        }
        _ => "aws sts get-caller-identity, with the same credentials",
    };
    let what = "calls of AWS cannot be signed";
    Some(Finding::new(Area::Credentials, Level::Error, what, story, fix))
}
