//! Whether the function that hands questions over can do so.

use policies::Stage;

use super::facts::{Facts, Found};
use super::finding::Area;
use super::{Finding, Level, Patient, Visit, together};
use crate::aws::functions::FunctionFacts;
use crate::aws::{Call, Failure};
use crate::shell::Doing;

/// The functions that CodeDeploy's managed roles may invoke.
//= https://docs.aws.amazon.com/aws-managed-policy/latest/reference/AWSCodeDeployRoleForECSLimited.html
const NAME_BEGINS: &str = "CodeDeployHook_";
/// The relay tries for 30 s and answers itself in 25 s more.
const TIMEOUT_MIN_SECONDS: u64 = 60;
/// Functions that are looked at.
const FUNCTIONS_MAX: usize = 10;

pub(super) async fn look(visit: &Visit, facts: &Facts) -> Vec<Finding> {
    let functions: Vec<String> = match &facts.found {
        Found::Service(service) => {
            service.functions.iter().map(|(function, _)| function.clone()).collect()
        }
        Found::Pipeline(pipeline) => {
            let actions = pipeline.actions.iter().filter(|action| action.provider == "Lambda");
            let settings = actions.flat_map(|action| &action.configuration);
            let names = settings.filter(|(key, _)| key == "FunctionName");
            names.map(|(_, name)| name.clone()).collect()
        }
        Found::Group(_) | Found::Function(_) | Found::Unread | Found::Nothing => Vec::new(),
    };
    if let Some(relay) = &visit.relay {
        return one(visit, relay, true).await;
    }
    let hooks = facts.asks.iter().any(|asks| asks.stage != Stage::Ready);
    if is_of_codedeploy(&visit.patient) && hooks {
        return vec![Finding::untested(
            Area::Relay,
            "the relay",
            "only the AppSpec of a revision names the function that a hook invokes",
            Some(format!("--relay {NAME_BEGINS}gate, or what yours is called")),
        )];
    }
    let looks = functions.iter().take(FUNCTIONS_MAX);
    let looks: Vec<Doing<'_, Vec<Finding>>> = looks
        .map(|function| -> Doing<'_, Vec<Finding>> { Box::pin(one(visit, function, false)) })
        .collect();
    together(looks).await.into_iter().flatten().collect()
}

/// Whether hooks of CodeDeploy ask.
fn is_of_codedeploy(patient: &Patient) -> bool {
    matches!(patient, Patient::Group { .. } | Patient::Function { .. })
}

/// Whether a function that nobody named hands questions over to gate.
pub(super) fn is_relay(facts: &FunctionFacts) -> bool {
    facts.environment.iter().any(|name| name == "GATE_URL" || name == "GATE_QUEUE")
}

/// One function. Where nobody named it as the relay, it may be somebody else's.
async fn one(visit: &Visit, function: &str, is_named: bool) -> Vec<Finding> {
    let reply = visit.aws.function(function);
    let facts = match visit.ask(&[Call::GetFunctionConfiguration], reply).await {
        Ok(facts) => facts,
        Err(error) if error.is(Failure::Missing) => {
            return vec![Finding::new(
                Area::Relay,
                Level::Error,
                format!("there is no function {function} in this account and region"),
                "whoever asks invokes it; nobody answers until that times out, for a CodeDeploy hook after an hour",
                "apply deploy/relay.cloudformation.yaml, or name the function that is there",
            )];
        }
        Err(error) => {
            let what = format!("how the relay {function} is set up is not known");
            return vec![Finding::untested(Area::Relay, what, error.to_string(), error.fix())];
        }
    };
    if !is_named && !is_relay(&facts) {
        let what =
            format!("{function} is not gate's relay: it has neither GATE_URL nor GATE_QUEUE");
        return vec![Finding::ok(Area::Relay, what)];
    }
    let mut found = set_up(visit, function, &facts);
    if found.is_empty() {
        let what = format!(
            "the relay {function} is there, with a time-out of {} s",
            facts.timeout_seconds
        );
        found.push(Finding::ok(Area::Relay, what));
    }
    found.push(its_role(function, &facts, &visit.patient));
    found
}

fn set_up(visit: &Visit, function: &str, facts: &FunctionFacts) -> Vec<Finding> {
    let has = |name: &str| facts.environment.iter().any(|variable| variable == name);
    let name = function.rsplit_once(":function:").map_or(function, |(_, name)| name);
    let mut found = Vec::new();
    if is_of_codedeploy(&visit.patient) && !name.starts_with(NAME_BEGINS) {
        found.push(Finding::new(
            Area::Relay,
            Level::Warning,
            format!("the relay is called {name}, not {NAME_BEGINS}*"),
            "CodeDeploy's managed roles may invoke functions of that name alone; others are not invoked, and the hook waits an hour",
            format!("call it {NAME_BEGINS}{name}; or allow `lambda:InvokeFunction` on it to CodeDeploy's service role"),
        ));
    }
    if facts.timeout_seconds < TIMEOUT_MIN_SECONDS {
        found.push(Finding::new(
            Area::Relay,
            Level::Error,
            format!("the relay's time-out is {} s", facts.timeout_seconds),
            "Lambda ends it before it has handed the question over or answered it, and nobody answers",
            format!("aws lambda update-function-configuration --function-name {name} --timeout 90"),
        ));
    }
    match (has("GATE_URL"), has("GATE_QUEUE")) {
        (false, false) => found.push(Finding::new(
            Area::Relay,
            Level::Error,
            "the relay has neither GATE_URL nor GATE_QUEUE",
            "it does not know the daemon, and fails every question",
            "GATE_URL=http://gate.internal:8080, or GATE_QUEUE, in its environment",
        )),
        (true, true) => found.push(Finding::new(
            Area::Relay,
            Level::Error,
            "the relay has both GATE_URL and GATE_QUEUE",
            "it does not know which to take, and fails every question",
            "keep one of them in its environment",
        )),
        (true, false) if !has("GATE_HOOK_KEY") => found.push(Finding::new(
            Area::Relay,
            Level::Warning,
            "the relay has no GATE_HOOK_KEY, so it does not sign what it hands over",
            "a daemon that listens anywhere but on loopback has a key, and refuses it with 401",
            "GATE_HOOK_KEY=env:HOOK_KEY in its environment, and the key in HOOK_KEY",
        )),
        (true | false, _) => {}
    }
    found
}

fn its_role(function: &str, facts: &FunctionFacts, patient: &Patient) -> Finding {
    let action = match patient {
        Patient::Group { .. } | Patient::Function { .. } => {
            Call::PutLifecycleEventHookExecutionStatus
        }
        Patient::Pipeline { .. } => Call::PutJobFailureResult,
        // ECS reads the answer from what the function returns.
        Patient::Service { .. } => {
            return Finding::ok(Area::Relay, format!("{function} answers ECS by what it returns"));
        }
    };
    let fix = facts.role.as_ref().map(|role| {
        format!(
            "aws iam simulate-principal-policy --policy-source-arn {role} --action-names {}",
            action.action()
        )
    });
    let why = "its role is not the one this runs with";
    Finding::untested(Area::Relay, format!("whether {function} may answer by itself"), why, fix)
}
