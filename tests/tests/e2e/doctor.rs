//! `gate doctor` before the first deployment: a site that is right, one that is not, and nothing changed by looking.

use std::time::Duration;

use serde_json::{Value, json};
use tests::Gate;
use tests::place::Folder;

use super::shell::{self, asking, text};
use super::{AWS, ENDED, LIMIT, POLICY};

/// A relay that knows its daemon, and the key that both share.
const KEYED: [&str; 4] = [
    "--function-env",
    "GATE_HOOK_KEY=env:HOOK_KEY",
    "--function-env",
    "HOOK_KEY=0123456789abcdef0123456789abcdef",
];

/// Runs `gate doctor` as text and as JSON; its exit code, the text and the report. What holds of every report is
/// checked: each finding says what, what is no `ok` says why, what is bad says the way out, and no call that was
/// made could have changed anything.
async fn examined(key: &str, arguments: &[&str], code: i32) -> (String, Value) {
    let arguments = [&["doctor"], arguments].concat();
    let shown = asking(key, &arguments).await;
    let output = asking(key, &[&arguments[..], &["--output", "json"]].concat()).await;
    let (shown, complaints) = (text(&shown.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{complaints}{shown}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for finding in findings(&report) {
        let says = |key: &str| finding[key].as_str().is_some_and(|text| !text.is_empty());
        let level = finding["level"].as_str().unwrap();
        assert!(says("what") && (level == "ok" || says("why")), "{finding:#}");
        assert!(!["warning", "error"].contains(&level) || says("fix"), "{finding:#}");
        assert!(shown.contains(finding["what"].as_str().unwrap()), "{finding:#} is not in {shown}");
    }
    let last = shown.lines().last().unwrap();
    for (level, one) in
        [("ok", "ok"), ("untested", "untested"), ("warnings", "warning"), ("errors", "error")]
    {
        assert!(last.contains(&format!("{} {one}", report["summary"][level])), "{shown}");
    }
    check_harmless(key).await;
    (shown, report)
}

fn findings(report: &Value) -> &Vec<Value> {
    report["findings"].as_array().unwrap()
}

/// Reads, and writes in the forms that docs/troubleshooting.md names: of things that are not there.
async fn check_harmless(key: &str) {
    let asked = AWS.all_requests(key).await;
    assert!(!asked.is_empty());
    for request in asked {
        let operation = request["operation"].as_str().unwrap();
        if ["Get", "List", "Describe", "BatchGet"].iter().any(|read| operation.starts_with(read)) {
            continue;
        }
        let nobody = match operation {
            "PutLifecycleEventHookExecutionStatus"
            | "ChangeMessageVisibility"
            | "DeleteMessage" => "gate-doctor",
            "StopDeployment" | "ContinueDeployment" => "d-000000000",
            "ContinueServiceDeployment" | "StopServiceDeployment" => "/0000000000000000000000",
            "PutApprovalResult" | "PutJobSuccessResult" | "PutJobFailureResult" => {
                "00000000-0000-0000-0000-000000000000"
            }
            "Invoke" => "DryRun",
            _ => panic!("it is not to be called: {request:#}"),
        };
        assert!(request["params"].as_str().unwrap().contains(nobody), "{request:#}");
        // A dry run is no run; everything else AWS does not find.
        assert!(operation == "Invoke" || request["status"].as_u64() >= Some(400), "{request:#}");
    }
}

/// Fails unless exactly these are the findings of a level, by area and beginning.
fn check(report: &Value, shown: &str, level: &str, expected: &[(&str, &str)]) {
    let mut of: Vec<&Value> =
        findings(report).iter().filter(|finding| finding["level"] == level).collect();
    for (area, what) in expected {
        let place = of.iter().position(|finding| {
            finding["area"] == *area && finding["what"].as_str().unwrap().contains(what)
        });
        let place = place.unwrap_or_else(|| panic!("no {level} of {area}: {what}\n{shown}"));
        of.remove(place);
    }
    assert!(of.is_empty(), "{level}: {of:#?}");
}

/// A daemon with this policy and these settings, and the path of its settings.
async fn daemon(name: &str, policy: &str, settings: &str) -> (Gate, String) {
    let gate = Gate::new(&AWS.endpoint, name).policy_named("web.policy.yaml", policy);
    let gate = gate.settings(settings).start().await;
    let config = gate.folder().join("gate.yaml").display().to_string();
    (gate, config)
}

#[tokio::test]
async fn a_site_of_codedeploy_that_is_right_has_no_finding_against_it() {
    let (gate, config) = daemon("fit", POLICY, "").await;
    let site = AWS.site("fit", &gate.url(), &[], &KEYED).await;
    let id = site.deploy_with_hooks(&[], "").await;
    AWS.until(&id, &ENDED, LIMIT).await;
    let (before, admin) = (AWS.deployment(&id).await, gate.admin());
    let arguments = ["codedeploy", "fit", "fit-group", "--config", &config];
    let more = ["--relay", "CodeDeployHook_fit", "--gate", &admin];
    let (shown, report) = examined("fit-doctor", &[&arguments[..], &more].concat(), 0).await;
    check(&report, &shown, "error", &[]);
    check(&report, &shown, "warning", &[]);
    let own = "whether CodeDeployHook_fit may answer by itself";
    check(&report, &shown, "untested", &[("relay", own)]);
    for told in [
        "a failed hook rolls back",
        "web.policy.yaml judges at",
        "takes connections",
        "is ready",
        "PutLifecycleEventHookExecutionStatus, StopDeployment",
        "the clock is within 60 s",
    ] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
    assert_eq!(before, AWS.deployment(&id).await, "it was only looked at");
}

#[tokio::test]
async fn a_site_of_codedeploy_that_is_wrong_is_told_everything_at_once() {
    let crippled = ["--no-auto-rollback", "--function-timeout", "3"];
    let site = AWS.site("unfit", "http://127.0.0.1:1", &[], &crippled).await;
    let text = |key: &str| site.made[key].as_str().unwrap().to_owned();
    // The group forgets its test listener.
    let route = json!({ "listenerArns": [text("prod_listener")] });
    let groups = json!([{ "name": "unfit-blue" }, { "name": "unfit-green" }]);
    let pair = json!({ "targetGroups": groups, "prodTrafficRoute": route });
    let parameters = json!({
        "applicationName": "unfit", "currentDeploymentGroupName": "unfit-group",
        "loadBalancerInfo": { "targetGroupPairInfoList": [pair] },
    });
    AWS.call("codedeploy", "UpdateDeploymentGroup", parameters).await;
    for (service, operation) in [
        ("codedeploy", "StopDeployment"),
        ("elbv2", "DescribeTargetHealth"),
        ("ecs", "DescribeTasks"),
    ] {
        let error = if service == "elbv2" { "AccessDenied" } else { "AccessDeniedException" };
        let fault = json!({
            "service": service, "operation": operation, "access_key": "unfit-doctor", "error": error,
        });
        AWS.fault(fault).await;
    }
    AWS.fault(json!({ "service": "cloudwatch", "access_key": "unfit-doctor", "drop": true })).await;
    let policy = "
gate: v1
applies-to: { application: unfit, stages: [AfterAllowTestTraffic] }
probe: { http: { path: /shop }, headers: { x-token: { secret: \"env:NO_SUCH_VARIABLE\" } } }
objectives:
  - errors: { at-most: 2% }
  - alarms: { names: [nobody] }
decide: { at-least: 30s, deadline: 2h }
";
    let folder = Folder::new("unfit");
    std::fs::write(folder.path().join("web.policy.yaml"), policy).unwrap();
    let policies = folder.path().display().to_string();
    let arguments = ["codedeploy", "unfit", "unfit-group", "--policies", &policies];
    let more =
        ["--relay", "CodeDeployHook_unfit", "--gate", "http://127.0.0.1:1", "--timeout", "20s"];
    let (shown, report) = examined("unfit-doctor", &[&arguments[..], &more].concat(), 1).await;
    check(
        &report,
        &shown,
        "error",
        &[
            ("rollback", "a release that is refused is not rolled back"),
            ("listeners", "the group has no test listener"),
            ("relay", "the relay's time-out is 3 s"),
            ("policy", "web.policy.yaml cannot be probed by: the secret for header `x-token`"),
            ("daemon", "http://127.0.0.1:1 cannot be reached from here"),
            ("permissions", "codedeploy:StopDeployment is refused"),
            ("permissions", "elasticloadbalancing:DescribeTargetHealth is refused"),
            ("endpoints", "cloudwatch cannot be reached from here"),
        ],
    );
    check(
        &report,
        &shown,
        "warning",
        &[
            ("rollback", "a failed hook rolls nothing back"),
            ("relay", "the relay has no GATE_HOOK_KEY"),
            ("stages", "web.policy.yaml may take 120 min"),
            ("permissions", "ecs:DescribeTasks is refused"),
        ],
    );
    for fix in [
        "aws deploy update-deployment-group --application-name unfit --current-deployment-group-name unfit-group --auto-rollback-configuration enabled=true,events=DEPLOYMENT_FAILURE",
        "aws lambda update-function-configuration --function-name CodeDeployHook_unfit --timeout 90",
        "{\"Effect\": \"Allow\", \"Action\": \"codedeploy:StopDeployment\", \"Resource\": \"*\"}",
        "it was invented, so that the try has no effect",
    ] {
        assert!(shown.contains(fix), "{fix}: {shown}");
    }
    let last = shown.lines().last().unwrap();
    assert!(
        last.contains(
            "8 errors (rollback, listeners, relay, policy, daemon, permissions, endpoints)"
        ),
        "{last}"
    );
    // Who may see nothing is told what could not be looked at, and which permission lets it.
    AWS.fault(
        json!({ "service": "*", "access_key": "blind-doctor", "error": "AccessDeniedException" }),
    )
    .await;
    let arguments = ["codedeploy", "unfit", "unfit-group", "--policies", &policies];
    let (shown, report) = examined("blind-doctor", &arguments, 1).await;
    assert!(
        shown.contains("allow `codedeploy:GetDeploymentGroup`, see docs/permissions.md"),
        "{shown}"
    );
    let refused = ("permissions", "codedeploy:StopDeployment is refused");
    let listed = ("permissions", "codedeploy:ListDeploymentTargets is refused");
    check(&report, &shown, "error", &[refused, listed]);
    // What is not there is an error of its own.
    let (shown, report) = examined("lost-doctor", &["codedeploy", "unfit", "nobody"], 1).await;
    check(&report, &shown, "error", &[("subject", "there is no deployment group nobody")]);
    let (shown, _report) = examined("lost-doctor", &["codedeploy", "nobody", "nobody"], 1).await;
    assert!(shown.contains("aws deploy list-applications"), "{shown}");
}

#[tokio::test]
async fn a_service_of_ecs_is_looked_at_with_its_pauses() {
    let service = AWS
        .service(
            "fit-ecs",
            &[],
            &["--pause", "PRE_PRODUCTION_TRAFFIC_SHIFT", "--strategy", "CANARY"],
        )
        .await;
    let settings =
        format!("intake: {{ poll: [ {} ], queue: \"{}\" }}\n", service.polled(), service.queue);
    let (gate, config) = daemon("fit-ecs", POLICY, &settings).await;
    let deployed = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    let admin = gate.admin();
    let patient = ["ecs", "fit-ecs-cluster", "fit-ecs-service"];
    let more = ["--config", config.as_str(), "--gate", &admin];
    let (shown, report) = examined("fit-ecs-doctor", &[&patient[..], &more].concat(), 0).await;
    check(&report, &shown, "error", &[]);
    check(&report, &shown, "warning", &[]);
    let unknown = [
        ("stages", "how long the pause at PRE_PRODUCTION_TRAFFIC_SHIFT waits"),
        ("permissions", "not known: ReceiveMessage"),
    ];
    check(&report, &shown, "untested", &unknown);
    assert!(shown.contains("trying it would hide messages from the daemon"), "{shown}");
    assert_eq!(
        deployed,
        AWS.service_deployed(&service.first, LIMIT).await,
        "it was only looked at"
    );

    // Nobody asks, nobody hears, and no policy is for it.
    let rolling = AWS.service("unfit-ecs", &[], &["--strategy", "ROLLING"]).await;
    AWS.service_deployed(&rolling.first, LIMIT).await;
    let folder = Folder::new("unfit-ecs");
    let policies = folder.path().display().to_string();
    let patient = ["ecs", "unfit-ecs-cluster", "unfit-ecs-service", "--policies", &policies];
    let (shown, report) = examined("unfit-ecs-doctor", &patient, 0).await;
    let bad = [("stages", "nobody asks gate"), ("stages", "replacing its tasks (ROLLING)")];
    check(&report, &shown, "warning", &bad);
    let patient = ["ecs", "fit-ecs-cluster", "fit-ecs-service", "--policies", &policies];
    let (shown, report) = examined("unfit-ecs-doctor", &patient, 1).await;
    check(
        &report,
        &shown,
        "error",
        &[("policy", "no policy applies at PRE_PRODUCTION_TRAFFIC_SHIFT")],
    );
    let patient = ["codedeploy", "fit-ecs", "fit-ecs-group"];
    examined("unfit-ecs-doctor", &patient, 1).await;
}

#[tokio::test]
async fn a_function_is_looked_at_by_itself_and_by_its_group() {
    const INVOKING: &str = "
gate: v1
applies-to: { function: fit-sum }
probe: { lambda: {} }
objectives: [ { errors: { at-most: 5% } } ]
";
    let (gate, config) = daemon("fit-sum", INVOKING, "").await;
    let key = [
        "--hook-env",
        "GATE_HOOK_KEY=env:HOOK_KEY",
        "--hook-env",
        "HOOK_KEY=0123456789abcdef0123456789abcdef",
    ];
    let function = AWS.function("fit-sum", &gate.url(), &key).await;
    let admin = gate.admin();
    let more = ["--config", config.as_str(), "--relay", "CodeDeployHook_fit-sum", "--gate", &admin];
    let patient = ["function", "fit-sum", "live"];
    let (shown, report) = examined("fit-sum-doctor", &[&patient[..], &more].concat(), 0).await;
    check(&report, &shown, "error", &[]);
    check(&report, &shown, "warning", &[]);
    assert!(shown.contains("alias live of function fit-sum: version 1"), "{shown}");
    assert!(shown.contains("gate doctor codedeploy APPLICATION GROUP"), "{shown}");
    for call in ["Invoke", "GetAlias", "PutLifecycleEventHookExecutionStatus"] {
        assert!(
            shown.lines().any(|line| line.contains("not refused") && line.contains(call)),
            "{call}: {shown}"
        );
    }

    let id = function.deploy(&["NAME=new"], &[]).await;
    AWS.until(&id, &ENDED, LIMIT).await;
    let patient = ["codedeploy", "fit-sum", "fit-sum-group"];
    let (shown, report) = examined("fit-sum-doctor", &[&patient[..], &more].concat(), 0).await;
    check(&report, &shown, "error", &[]);
    check(&report, &shown, "warning", &[]);
    check(
        &report,
        &shown,
        "untested",
        &[("relay", "whether CodeDeployHook_fit-sum may answer by itself")],
    );
    let counts =
        tests::http::get(&format!("{}/_emulated/functions", AWS.endpoint)).await.unwrap().json();
    let ours = counts["functions"].as_array().unwrap().iter().find(|one| one["name"] == "fit-sum");
    let versions = ours.unwrap()["versions"].as_object().unwrap();
    assert!(
        versions.values().all(|version| version["invocations"] == 0),
        "nothing ran: {counts:#}"
    );

    // An alias that is not there, a function that is not, and a policy for addresses.
    let folder = Folder::new("unfit-sum");
    std::fs::write(folder.path().join("web.policy.yaml"), POLICY).unwrap();
    let policies = folder.path().display().to_string();
    let patient = ["function", "fit-sum", "nobody", "--policies", &policies, "--relay", "fit-sum"];
    let (shown, report) = examined("unfit-sum-doctor", &patient, 1).await;
    let bad = [
        ("subject", "there is no alias nobody of function fit-sum"),
        (
            "policy",
            "web.policy.yaml probes by `http`, and a version of a Lambda function has no address",
        ),
        ("relay", "the relay's time-out is 3 s"),
        ("relay", "the relay has neither GATE_URL nor GATE_QUEUE"),
    ];
    check(&report, &shown, "error", &bad);
    check(
        &report,
        &shown,
        "warning",
        &[("relay", "the relay is called fit-sum, not CodeDeployHook_*")],
    );
    let (shown, report) = examined("unfit-sum-doctor", &["function", "nobody", "live"], 1).await;
    check(&report, &shown, "error", &[("subject", "there is no alias live of function nobody")]);
}

#[tokio::test]
async fn a_pipeline_is_looked_at_with_its_approvals_and_actions() {
    let (_green, green) = shell::service(&[]).await;
    let relayed = AWS.function(
        "fit-pipe-relay",
        "http://127.0.0.1:1",
        &[
            "--hook-env",
            "GATE_HOOK_KEY=env:HOOK_KEY",
            "--hook-env",
            "HOOK_KEY=0123456789abcdef0123456789abcdef",
        ],
    );
    relayed.await;
    let make = ["setup-pipeline", "--name", "fit-pipe", "--policy-name", "web"];
    let made =
        AWS.scenario(&[&make[..], &["--lambda", "CodeDeployHook_fit-pipe-relay"]].concat()).await;
    let policy = format!("{POLICY}targets: {{ green: [\"{green}\"] }}\n");
    let settings = format!("intake: {{ queue: {} }}\n", made["queue_url"]);
    let (gate, config) = daemon("fit-pipe", &policy, &settings).await;
    let admin = gate.admin();
    let patient = ["pipeline", "fit-pipe", "--config", &config, "--gate", &admin];
    let (shown, report) = examined("fit-pipe-doctor", &patient, 0).await;
    check(&report, &shown, "error", &[]);
    check(&report, &shown, "warning", &[]);
    assert!(
        shown.contains("web.policy.yaml judges at Approval, Invoke")
            || shown.contains("web.policy.yaml judges at Invoke, Approval"),
        "{shown}"
    );
    assert!(shown.contains("fit-pipe-release is not gate's relay"), "{shown}");

    let (gate, config) = daemon("unfit-pipe", POLICY, "").await;
    drop(gate.admin());
    let patient = ["pipeline", "fit-pipe", "--config", &config];
    let (shown, report) = examined("unfit-pipe-doctor", &patient, 1).await;
    let bad = [
        ("intake", "nobody tells the daemon of manual approvals"),
        ("policy", "web.policy.yaml names no targets"),
    ];
    check(&report, &shown, "error", &bad);
    let folder = Folder::new("unfit-pipe");
    let policies = folder.path().display().to_string();
    let patient = ["pipeline", "fit-pipe", "--policies", &policies];
    let (shown, _report) = examined("unfit-pipe-doctor", &patient, 1).await;
    assert!(
        shown.contains("it has to hold web.policy.yaml, or the action names another"),
        "{shown}"
    );
}

#[tokio::test]
async fn a_visit_ends_in_time_and_names_what_was_not_known_by_then() {
    let _site = AWS.site("fit-slow", "http://127.0.0.1:1", &[], &[]).await;
    AWS.fault(json!({ "service": "*", "access_key": "slow-doctor", "delay_seconds": 60 })).await;
    let began = std::time::Instant::now();
    let patient = ["doctor", "codedeploy", "fit-slow", "fit-slow-group", "--timeout", "2s"];
    let output = asking("slow-doctor", &patient).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let shown = text(&output.stdout);
    assert!(shown.contains("had no answer in time"), "{shown}");
    assert_eq!(output.status.code(), Some(1), "{shown}");
}
