//! `gate verify` where AWS runs shells: a script of CodeDeploy's agent, a build, a rule of a pipeline.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use serde_json::{Value, json};
use tests::agent::{self, LOG_MAX_BYTES, Ran};
use tests::place::{self, Folder};

use super::shell::{self, asking, text};
use super::{AWS, ENDED, LIMIT, POLICY};

/// What a build asks of a deployment that waits.
const READY: [&str; 2] = ["--ready-wait-minutes", "600"];
/// No agent waits longer.
const HOUR: Duration = Duration::from_secs(3600);

/// `validate.sh` of docs/aws.md, run by the agent at ValidateService.
struct Script<'a> {
    /// Whose calls of AWS they are.
    key: &'a str,
    deployment: &'a str,
    policy: &'a str,
    arguments: &'a str,
    timeout: Duration,
}

impl Script<'_> {
    /// What the agent sees of it, and the record.
    async fn run(&self) -> (Ran, Value) {
        let folder = Folder::new(self.key);
        let path = |name: &str| folder.path().join(name);
        let (script, policy, record) =
            (path("validate.sh"), path("web.policy.yaml"), path("run.record.json"));
        std::fs::write(&policy, self.policy).unwrap();
        let line = format!(
            "#!/bin/sh\nexec {} verify --policy {} {} --record {}\n",
            place::binary("gate").display(),
            policy.display(),
            self.arguments,
            record.display()
        );
        std::fs::write(&script, line).unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let agents = [
            ("LIFECYCLE_EVENT", "ValidateService"),
            ("DEPLOYMENT_ID", self.deployment),
            ("APPLICATION_NAME", "shop"),
            ("DEPLOYMENT_GROUP_NAME", "fleet"),
            ("DEPLOYMENT_GROUP_ID", "7f3c7d0f-0000-4000-8000-000000000000"),
            ("PATH", "/usr/bin:/bin"),
        ];
        let agents = agents.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = [tests::gate::aws(&AWS.endpoint, self.key), agents.into()].concat();
        let timeout = self.timeout;
        let ran = tokio::task::spawn_blocking(move || agent::run(&script, &environment, timeout));
        let ran = ran.await.unwrap();
        let record = std::fs::read(&record).unwrap_or_default();
        (ran, serde_json::from_slice(&record).unwrap_or(Value::Null))
    }
}

/// The exit code, the verdict as the last lines that the agent keeps, and nothing left behind.
fn check(ran: &Ran, code: i32, decision: &str, reason: &str) {
    assert_eq!(ran.code, Some(code), "{ran:#?}");
    assert!(ran.log.len() <= LOG_MAX_BYTES, "{ran:#?}");
    let mut lines = ran.log.lines().rev().filter_map(|line| line.strip_prefix("[stdout]"));
    let last = lines.next().unwrap_or_else(|| panic!("no verdict: {ran:#?}"));
    assert!(last.starts_with("reason: ") && last.contains(reason), "{ran:#?}");
    assert_eq!(lines.next(), Some(decision), "{ran:#?}");
    check_gone(ran);
}

/// No pipe open and no process left once it has exited: the agent would fail the event.
fn check_gone(ran: &Ran) {
    assert!(ran.left_open < Duration::from_secs(2), "{ran:#?}");
    assert!(!ran.survived, "{ran:#?}");
}

#[tokio::test]
async fn a_script_of_the_agent_answers_by_exit_code_and_keeps_nothing_open() {
    let (_well, well) = shell::service(&[]).await;
    let (_ill, ill) = shell::service(&["--errors", "20%"]).await;
    let site = AWS.site("scripted", "http://127.0.0.1:1", &[], &READY).await;
    let id = site.deploy_with_hooks(&[], "").await;
    let (well, ill) = (format!("--green {well}"), format!("--green {ill}"));
    let late = format!("{well} --deadline 3s");
    let patient = shell::POLICY.replace("at-least: 6s", "at-least: 50s");
    let script = |key, arguments| Script {
        key,
        deployment: &id,
        policy: shell::POLICY,
        arguments,
        timeout: HOUR,
    };
    let healthy = script("script-healthy", &well);
    let faulty = script("script-faulty", &ill);
    let unproven = Script { policy: &patient, ..script("script-unproven", &late) };
    let hanging = Script {
        policy: &patient,
        timeout: Duration::from_secs(3),
        ..script("script-hanging", &well)
    };
    let wrong = Script { policy: "gate: v2\n", ..script("script-wrong", &well) };
    let denied = script("script-denied", &well);
    AWS.fault(json!({
        "service": "codedeploy", "operation": "GetDeployment", "access_key": "script-denied",
        "error": "AccessDeniedException",
    }))
    .await;
    let (healthy, faulty, unproven, hanging, wrong, denied) = tokio::join!(
        healthy.run(),
        faulty.run(),
        unproven.run(),
        hanging.run(),
        wrong.run(),
        denied.run()
    );

    let (ran, record) = healthy;
    check(&ran, 0, "decision: continue", "every objective is kept");
    let deployment = record.to_string();
    for told in [id.as_str(), "shop", "fleet", "ValidateService"] {
        assert!(deployment.contains(&format!("\"{told}\"")), "the record has no {told}");
    }
    check(&faulty.0, 1, "decision: rollback", "`errors at most 2 %` is broken");
    check(&unproven.0, 3, "decision: rollback", "not proven after 3");
    // The agent's time is over: it is told so, and ends at once.
    check(&hanging.0, 3, "decision: rollback", "interrupted before anything was proven");
    assert!(hanging.0.took < Duration::from_secs(20), "{hanging:#?}");
    assert_eq!(wrong.0.code, Some(2), "{wrong:#?}");
    assert!(wrong.0.log.contains("web.policy.yaml is not a good policy"), "{wrong:#?}");
    check_gone(&wrong.0);
    // Whether it is a rollback is not known then; it is judged as any other.
    check(&denied.0, 0, "decision: continue", "every objective is kept");
    assert!(denied.0.log.contains("allow `codedeploy:GetDeployment`"), "{denied:#?}");

    // A deployment that rolls another one back is let through: nobody even listens here.
    let stop = json!({ "deploymentId": id, "autoRollbackEnabled": true });
    AWS.call("codedeploy", "StopDeployment", stop).await;
    let stopped = tests::eventually(LIMIT, async || {
        AWS.deployment(&id).await["rollback_id"].as_str().map(str::to_owned)
    });
    let rollback = stopped.await.expect("it is rolled back");
    let nobody = format!("--green http://{}:8080", place::address());
    let back = Script { deployment: &rollback, ..script("script-back", &nobody) };
    let (ran, _record) = back.run().await;
    check(&ran, 0, "decision: continue", "itself a rollback");
}

/// Runs `gate verify --deployment` and returns its exit code, its JSON and what it complained of.
async fn judged(key: &str, policy: &str, id: &str, more: &[&str]) -> (i32, Value, String) {
    let folder = Folder::new(key);
    let path = folder.path().join("web.policy.yaml");
    std::fs::write(&path, policy).unwrap();
    let arguments = ["verify", "--policy", path.to_str().unwrap(), "--deployment", id];
    let output = asking(key, &[&arguments[..], &["--output", "json"], more].concat()).await;
    let seen = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let code = output.status.code().unwrap_or_else(|| panic!("{output:?}"));
    (code, seen, text(&output.stderr))
}

/// A shell only looks: whoever asked decides what becomes of the deployment.
async fn check_only_reads(key: &str) {
    for request in AWS.all_requests(key).await {
        let operation = request["operation"].as_str().unwrap();
        let reads = ["Get", "List", "BatchGet", "Describe"];
        let is_probe = operation == "Invoke";
        assert!(is_probe || reads.iter().any(|read| operation.starts_with(read)), "{request:#}");
    }
}

#[tokio::test]
async fn a_deployment_is_judged_by_its_id_from_a_build() {
    let parameters = json!({
        "AlarmName": "build-alarm", "MetricName": "m", "Namespace": "n", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    AWS.call("cloudwatch", "PutMetricAlarm", parameters).await;
    let state = json!({ "AlarmName": "build-alarm", "StateValue": "OK", "StateReason": "a test" });
    AWS.call("cloudwatch", "SetAlarmState", state).await;
    let (well, ill) = tokio::join!(
        AWS.site("build-well", "http://127.0.0.1:1", &[], &READY),
        AWS.site("build-ill", "http://127.0.0.1:1", &[], &READY)
    );
    let broken = ["--errors", "60%"];
    let (good, bad) =
        tokio::join!(well.deploy_with_hooks(&[], ""), ill.deploy_with_hooks(&broken, ""));
    for id in [&good, &bad] {
        AWS.until(id, &["Ready"], LIMIT).await;
    }
    let fault = |key: &str| {
        json!({
            "service": "codedeploy", "operation": "GetDeployment", "access_key": key,
            "error": "AccessDeniedException",
        })
    };
    AWS.fault(fault("build-denied")).await;
    let alarmed = POLICY
        .replace("objectives:\n", "objectives:\n  - alarms: { names: [build-alarm], for: 1s }\n");
    let in_time = ["--deadline", "3s"];
    let (healthy, faulty, unproven, denied, unknown, nonsense) = tokio::join!(
        judged("build-well", &alarmed, &good, &[]),
        judged("build-ill", POLICY, &bad, &[]),
        judged("build-late", POLICY, &good, &in_time),
        judged("build-denied", POLICY, &good, &[]),
        judged("build-unknown", POLICY, "d-UNKNOWN00", &[]),
        judged("build-nonsense", POLICY, "web", &[])
    );

    let (code, seen, complaints) = healthy;
    assert_eq!((code, &seen["basis"]), (0, &json!("proven")), "{seen:#}");
    for arm in ["green", "blue"] {
        let targets = seen[arm]["targets"].as_object().unwrap_or_else(|| panic!("{seen:#}"));
        assert_eq!(targets.len(), 2, "{arm}: {seen:#}");
    }
    assert!(!complaints.contains("has no data here"), "{complaints}");
    assert!(!AWS.requests("DescribeAlarms", "build-well").await.is_empty(), "alarms are read");
    let (code, seen, _) = faulty;
    assert_eq!((code, &seen["decision"]), (1, &json!("rollback")), "{seen:#}");
    assert!(
        seen["reason"].as_str().unwrap().contains("`errors at most 2 %` is broken"),
        "{seen:#}"
    );
    let (code, seen, _) = unproven;
    assert_eq!((code, &seen["basis"]), (3, &json!("undecided")), "{seen:#}");
    let (code, seen, _) = denied;
    assert_eq!((code, &seen["basis"]), (3, &json!("unresolved")), "{seen:#}");
    let reason = seen["reason"].as_str().unwrap();
    assert!(reason.contains("allow `codedeploy:GetDeployment` to the role"), "{reason}");
    let (code, _, complaints) = unknown;
    assert_eq!(code, 2, "{complaints}");
    assert!(complaints.contains("there is no deployment d-UNKNOWN00 in us-east-1"), "{complaints}");
    let (code, _, complaints) = nonsense;
    assert_eq!(code, 2, "{complaints}");
    assert!(complaints.contains("`--deployment web` does not look like d-"), "{complaints}");

    // It waits as before, since nobody but its owner answers it.
    assert_eq!(AWS.deployment(&good).await["status"], "Ready");
    for key in ["build-well", "build-ill", "build-late"] {
        check_only_reads(key).await;
    }
    let stop = json!({ "deploymentId": good, "autoRollbackEnabled": false });
    AWS.call("codedeploy", "StopDeployment", stop).await;
    AWS.until(&good, &ENDED, LIMIT).await;
    let (code, seen, _) = judged("build-over", POLICY, &good, &[]).await;
    assert_eq!((code, &seen["basis"]), (3, &json!("ended")), "{seen:#}");
    assert!(seen["reason"].as_str().unwrap().contains("became Stopped"), "{seen:#}");
}

#[tokio::test]
async fn a_deployment_that_ecs_makes_is_judged_by_its_arn() {
    let service = AWS.service("build-ecs", &[], &["--pause", "POST_TEST_TRAFFIC_SHIFT"]).await;
    let look = async || {
        let id = service.first.rsplit('/').next().unwrap().to_owned();
        let url = format!("{}/_emulated/service-deployments/{id}", AWS.endpoint);
        tests::http::get(&url).await.unwrap().json()
    };
    let paused = tests::eventually(LIMIT, async || {
        look().await.to_string().contains("AWAITING_ACTION").then_some(())
    });
    paused.await.expect("it pauses");
    let (code, seen, _) = judged("build-ecs", POLICY, &service.first, &[]).await;
    assert_eq!((code, &seen["basis"]), (0, &json!("proven")), "{seen:#}");
    assert!(seen["blue"].is_null(), "a first deployment has no blue: {seen:#}");
    check_only_reads("build-ecs").await;
    let unknown = service.first.replace(service.first.rsplit('/').next().unwrap(), "nobody");
    let (code, _, complaints) = judged("build-ecs", POLICY, &unknown, &[]).await;
    assert_eq!(code, 2, "{complaints}");
    assert!(complaints.contains("there is no deployment arn:aws:ecs"), "{complaints}");
}

#[tokio::test]
async fn a_version_of_a_function_is_judged_while_its_share_grows() {
    const INVOKING: &str = "
gate: v1
probe:
  lambda: { payload: '{}', expect: { json: { $.name: { present: true } } } }
  rate: 20/s
  timeout: 5s
objectives: [ { errors: { at-most: 5% } } ]
decide: { at-least: 6s, deadline: 60s }
";
    let nobody = "http://127.0.0.1:1";
    let canary = ["--config", "CodeDeployDefault.LambdaCanary10Percent15Minutes"];
    let (well, ill) = tokio::join!(
        AWS.function("build-sum", nobody, &[]),
        AWS.function("build-bad-sum", nobody, &[])
    );
    let faulty = ["NAME=new", "FAIL_EVERY=3"];
    let (good, bad) =
        tokio::join!(well.deploy(&["NAME=new"], &canary), ill.deploy(&faulty, &canary));
    for id in [&good, &bad] {
        AWS.until(id, &["InProgress"], LIMIT).await;
    }
    let (healthy, faulty) = tokio::join!(
        judged("build-sum", INVOKING, &good, &[]),
        judged("build-bad-sum", INVOKING, &bad, &[])
    );
    let (code, seen, complaints) = healthy;
    assert_eq!((code, &seen["basis"]), (0, &json!("proven")), "{complaints}{seen:#}");
    assert!(seen["green"]["total"]["invocations"]["count"].as_u64().unwrap() > 50, "{seen:#}");
    let (code, seen, _) = faulty;
    assert_eq!((code, &seen["basis"]), (1, &json!("proven")), "{seen:#}");
    for key in ["build-sum", "build-bad-sum"] {
        check_only_reads(key).await;
    }
}
