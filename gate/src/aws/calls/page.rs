//! `docs/permissions.md`, written from the table of calls, and the tests that hold both to the code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use expect_test::expect_file;
use serde_json::Value;

use super::{CALLS, Call, Entry, Purpose, Scope};

const INTRODUCTION: &str = "# Permissions

Every call that gate makes of AWS, by what you use gate for. It makes no other: a call that is not here does not
compile. This page is written from the table `gate/src/aws/calls.rs` and held to it by a test
(`UPDATE_EXPECT=1 cargo test -p gate permissions`).

What stands in capitals is yours to replace: `REGION`, `ACCOUNT`, `APPLICATION/GROUP`, `CLUSTER`, `SERVICE`, and so on.
`*` stands where AWS lists no resource type for the action (Service Authorization Reference). Files to apply are in
[deploy/](../deploy/README.md).

`gate doctor` tries what can be tried without effect, and says what is missing
([troubleshooting.md](troubleshooting.md#before-the-first-deployment-gate-doctor)).

CodeDeploy lists no resource type for `PutLifecycleEventHookExecutionStatus`, `ContinueDeployment`, `StopDeployment` and the
calls about targets. Its refusals of the first name the deployment group, and samples of AWS scope it so; it is scoped
here. If a refusal shows though the statement is there, set that `Resource` to `*`.
";

/// What a purpose is about, in a sentence or two.
fn about(purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::CodeDeployEcs => {
            "The daemon, where CodeDeploy's hooks or READY waits ask about an ECS service. `ContinueDeployment` is for READY waits alone, `ListDeployments` for an `application` in `intake.poll`. Without the calls about tasks nothing is said of tasks that stopped."
        }
        Purpose::CodeDeployLambda => {
            "The daemon, where CodeDeploy's hooks ask about a function. `InvokeFunction` is the probe itself."
        }
        Purpose::EcsNative => {
            "The daemon, where ECS deploys by itself and a pause or a Lambda hook asks. `ListServiceDeployments` is for a `service` in `intake.poll`, and for deployments that are watched without a question."
        }
        Purpose::Pipeline => {
            "The daemon, where a manual approval or a Lambda action of a pipeline asks."
        }
        Purpose::CloudWatch => {
            "The daemon, for policies with `cloudwatch` or `alarms`, beside the calls of the deployment itself."
        }
        Purpose::Queue => {
            "The daemon, where `intake.queue` is set. A queue that is encrypted with a key of your own needs `kms:Decrypt` as well."
        }
        Purpose::Replicas => {
            "The daemon, where `journal.dynamodb` names a table. A table that is encrypted with a key of your own needs `kms:Decrypt` and `kms:GenerateDataKey` as well."
        }
        Purpose::Secrets => {
            "The daemon, for references such as `ssm:/checkout/token` and `secretsmanager:gate/hook-key`. Keys of your own in KMS need `kms:Decrypt` as well."
        }
        Purpose::Notify => {
            "The daemon, for policies with `notify`. A topic that is encrypted with a key of your own needs `kms:GenerateDataKey` and `kms:Decrypt` as well."
        }
        Purpose::OtherAccounts => {
            "The daemon, where deployments of other accounts ask. The role there needs the calls of the deployment, and trusts the role gate runs with."
        }
        Purpose::Relay => {
            "The Lambda function that hooks and actions invoke, beside the right to write its log. `PutLifecycleEventHookExecutionStatus` is for CodeDeploy's hooks, `PutJobFailureResult` and, with `GATE_UNREACHABLE=continue`, `PutJobSuccessResult` for CodePipeline's actions, `SendMessage` for `GATE_QUEUE`; to a queue that is encrypted with a key of your own, `kms:GenerateDataKey` and `kms:Decrypt` as well. With `GATE_HOOK_KEY=ssm:...` or `secretsmanager:...` it needs [Secrets](#secrets) as well. Hooks of ECS need none of these: the response is the answer."
        }
        Purpose::Wait => "Whoever runs `gate wait`, such as a pipeline's role.",
        Purpose::Doctor => {
            "Whoever runs `gate doctor`, beside the calls of what it looks at: best with the daemon's own role, for it tries those calls. It changes nothing."
        }
        Purpose::Sidecar => {
            "The task role of a sidecar that is to know whether it is green. A sidecar that only judges its container calls nothing."
        }
        Purpose::Protection => {
            "The task role of a daemon in ECS. The agent makes the call for gate. Without it a deployment of gate itself, or scaling in, may take the task away while a question waits; the next task takes the question up."
        }
    }
}

impl Call {
    /// Whether it changes nothing and hands nothing out.
    fn is_a_read(self) -> bool {
        let reads = ["Get", "List", "Describe", "BatchGet"];
        let hands_out = matches!(self, Self::GetParameter | Self::GetSecretValue);
        !hands_out && reads.iter().any(|read| self.name().starts_with(read))
    }
}

fn of(purpose: Purpose) -> Vec<&'static Entry> {
    CALLS.iter().filter(|entry| entry.purposes.contains(&purpose)).collect()
}

/// An IAM policy, one statement for each resource, in the order people write them.
fn policy(entries: &[&Entry]) -> String {
    let mut by_scope: BTreeMap<Scope, Vec<&str>> = BTreeMap::new();
    for entry in entries {
        by_scope.entry(entry.scope).or_default().push(entry.action);
    }
    let statement = |(scope, actions): (Scope, Vec<&str>)| {
        let actions: Vec<String> = actions.iter().map(|action| format!("\"{action}\"")).collect();
        let resource = match scope.resources() {
            [one] => format!("\"{one}\""),
            several => format!("[\n        \"{}\"\n      ]", several.join("\",\n        \"")),
        };
        let condition = if scope == Scope::Cluster {
            ",\n      \"Condition\": { \"ArnEquals\": { \"ecs:cluster\": \"arn:aws:ecs:REGION:ACCOUNT:cluster/CLUSTER\" } }"
        } else {
            ""
        };
        format!(
            "    {{\n      \"Effect\": \"Allow\",\n      \"Action\": [\n        {}\n      ],\n      \"Resource\": {resource}{condition}\n    }}",
            actions.join(",\n        "),
        )
    };
    let statements: Vec<String> = by_scope.into_iter().map(statement).collect();
    let statements = statements.join(",\n");
    format!("{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n{statements}\n  ]\n}}")
}

fn section(title: &str, about: &str, entries: &[&Entry]) -> String {
    let mut text = format!("\n## {title}\n\n{about}\n\n");
    text.push_str("| action | resource | what for |\n|---|---|---|\n");
    for Entry { action, scope, what_for, .. } in entries {
        let cluster = if *scope == Scope::Cluster { ", condition `ecs:cluster`" } else { "" };
        let resource = scope.resources().join("`, `");
        writeln!(text, "| `{action}` | `{resource}`{cluster} | {what_for} |").unwrap();
    }
    let policy = policy(entries);
    let parsed: Result<Value, _> = serde_json::from_str(&policy);
    parsed.unwrap();
    writeln!(text, "\n```json\n{policy}\n```").unwrap();
    text
}

fn page() -> String {
    let mut text = INTRODUCTION.to_owned();
    text.push_str(
        "\n## Who needs what\n\n| who | sections below |\n|---|---|\n\
         | relay | [The relay](#the-relay) |\n\
         | daemon | that of each kind of deployment it guards, and CloudWatch, queue, secrets, notifications and other accounts where the settings and policies use them |\n\
         | observer | [An observer](#an-observer); one that answers hooks and pauses, if only with Continue (`mode: observe`), needs the daemon's, but neither `StopDeployment` nor `StopServiceDeployment` |\n\
         | sidecar | none, or [A sidecar](#a-sidecar) |\n\
         | `gate verify --deployment` | the reads of that kind of deployment, `lambda:InvokeFunction` for functions, and [CloudWatch metrics and alarms](#cloudwatch-metrics-and-alarms) where the policy uses them |\n\
         | `gate verify` under CodeDeploy's agent | `codedeploy:GetDeployment`, optional: without it a deployment that is itself a rollback is judged like any other |\n\
         | `gate verify` otherwise | none, or [Secrets](#secrets) |\n\
         | `gate wait` | [`gate wait`](#gate-wait) |\n",
    );
    for purpose in Purpose::ALL {
        text.push_str(&section(purpose.title(), about(purpose), &of(purpose)));
    }
    let guards = [Purpose::CodeDeployEcs, Purpose::CodeDeployLambda, Purpose::EcsNative];
    let reads: Vec<&Entry> = CALLS
        .iter()
        .filter(|entry| entry.call.is_a_read())
        .filter(|entry| entry.purposes.iter().any(|purpose| guards.contains(purpose)))
        .collect();
    text.push_str(&section(
        "An observer",
        "A daemon that nobody asks, with no verb that changes anything: it watches deployments that `intake.poll` with `watch: true`, or START events on `intake.queue`, tell it of (then [Questions from a queue](#questions-from-a-queue) as well), and records what it would have done. Leave out what you do not watch; for policies with `cloudwatch` or `alarms`, add [CloudWatch metrics and alarms](#cloudwatch-metrics-and-alarms), which only reads.",
        &reads,
    ));
    text
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn the_page_of_permissions_is_what_the_table_gives() {
    expect_file![root().join("../docs/permissions.md")].assert_eq(&page());
}

#[test]
fn an_action_is_of_the_operation_it_is_named_for() {
    for entry in CALLS {
        let (_, operation) = entry.action.split_once(':').unwrap();
        // Lambda alone calls the two differently.
        assert!(entry.call == Call::Invoke || operation == entry.call.name(), "{}", entry.action);
    }
}

#[test]
fn every_entry_of_the_table_is_a_call_that_an_adapter_makes() {
    let mut code = String::new();
    let adapters = root().join("src/aws/real");
    for folder in [adapters.join("functions"), adapters] {
        for file in fs::read_dir(folder).unwrap() {
            let path = file.unwrap().path();
            if path.is_file() {
                code.push_str(&fs::read_to_string(path).unwrap());
            }
        }
    }
    let words = |text: &str| -> Vec<String> {
        let rest = text.split("Call::").skip(1);
        let name = |rest: &str| rest.chars().take_while(char::is_ascii_alphanumeric).collect();
        rest.map(name).collect()
    };
    let made = words(&code);
    for entry in CALLS {
        // `aws-config` takes on roles by itself, the agent of ECS protects tasks.
        let is_made = matches!(entry.call, Call::AssumeRole | Call::UpdateTaskProtection)
            || made.iter().any(|call| call == entry.call.name());
        assert!(is_made, "no adapter makes {}", entry.call);
    }
    for call in made {
        assert!(CALLS.iter().any(|entry| entry.call.name() == call), "{call} is not in the table");
    }
}
