//! `gate wait` follows deployments to their end, whatever AWS says on the way.

use serde_json::{Value, json};

use super::shell::{asking, text};
use super::{AWS, ENDED, LIMIT};

/// Nobody hands hooks over there.
const NOBODY: &str = "http://127.0.0.1:1";

/// Runs `gate wait`, and checks its exit code and the status that it printed last.
async fn check(key: &str, deployment: &str, more: &[&str], code: i32, status: &str) -> String {
    let arguments = ["wait", deployment, "--interval", "200ms"];
    let output = asking(key, &[&arguments[..], more].concat()).await;
    let told = format!("{}{}", text(&output.stderr), text(&output.stdout));
    assert_eq!(output.status.code(), Some(code), "{told}");
    let stdout = text(&output.stdout);
    let last = stdout.lines().last().unwrap_or_default();
    if status.is_empty() {
        assert_eq!(last, "", "{told}");
    } else {
        // The stage that a deployment is at may follow.
        assert!(last.starts_with(&format!("deployment: {status}")), "{told}");
    }
    told
}

#[tokio::test]
async fn the_end_of_a_codedeploy_deployment_is_the_exit_code() {
    let impatient = ["--function-env", "GATE_RELAY_PATIENCE=1s"];
    let ready = ["--ready-wait-minutes", "600"];
    let (fine, failing, waiting) = tokio::join!(
        AWS.site("wait-fine", NOBODY, &[], &[]),
        AWS.site("wait-failing", NOBODY, &[], &impatient),
        AWS.site("wait-ready", NOBODY, &[], &ready)
    );
    for (key, error) in
        [("wait-throttled", "ThrottlingException"), ("wait-denied", "AccessDeniedException")]
    {
        let count = (error == "ThrottlingException").then_some(8);
        AWS.fault(json!({
            "service": "codedeploy", "operation": "GetDeployment", "access_key": key,
            "error": error, "count": count,
        }))
        .await;
    }
    let (well, ill, ready) = tokio::join!(
        fine.deploy_with_hooks(&[], ""),
        failing.deploy(&[]),
        waiting.deploy_with_hooks(&[], "")
    );
    AWS.until(&ready, &["Ready"], LIMIT).await;
    let (succeeded, failed, late, unknown, denied, nonsense) = tokio::join!(
        check("wait-throttled", &well, &[], 0, "Succeeded"),
        check("wait-failed", &ill, &[], 1, "Failed"),
        check("wait-late", &ready, &["--timeout", "4s"], 3, "Ready"),
        check("wait-unknown", "d-UNKNOWN00", &[], 2, ""),
        check("wait-denied", &well, &[], 3, ""),
        check("wait-nonsense", "web", &[], 2, "")
    );
    assert!(succeeded.contains("not known now: GetDeployment of"), "{succeeded}");
    assert!(succeeded.contains("ThrottlingException"), "{succeeded}");
    let rolled_back = AWS.deployment(&ill).await["rollback_id"].as_str().map(str::to_owned);
    let rolled_back = format!("rolled back by {}", rolled_back.unwrap());
    assert!(failed.contains("HOOK_EXECUTION_FAILURE") && failed.contains(&rolled_back), "{failed}");
    assert!(late.contains("it is still under way; --timeout waits longer"), "{late}");
    assert!(unknown.contains("there is no deployment d-UNKNOWN00"), "{unknown}");
    assert!(denied.contains("allow `codedeploy:GetDeployment`"), "{denied}");
    assert!(nonsense.contains("`web` is no deployment; write `d-ABCDEF123`"), "{nonsense}");

    // Stopped by a person while it is followed.
    let stopping = async {
        AWS.until(&ready, &["Ready"], LIMIT).await;
        let stop = json!({ "deploymentId": ready, "autoRollbackEnabled": true });
        AWS.call("codedeploy", "StopDeployment", stop).await;
    };
    let (stopped, ()) = tokio::join!(check("wait-stopped", &ready, &[], 1, "Stopped"), stopping);
    assert!(stopped.contains("rolled back by d-"), "{stopped}");
    let output = asking("wait-json", &["wait", &ready, "--output", "json"]).await;
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &seen["status"], &seen["succeeded"], &seen["deployment"]),
        (Some(1), &json!("Stopped"), &json!(false), &json!(ready)),
        "{seen:#}"
    );
    assert!(ENDED.contains(&AWS.deployment(&well).await["status"].as_str().unwrap()));
    for key in ["wait-throttled", "wait-failed", "wait-late", "wait-stopped"] {
        let asked = AWS.all_requests(key).await;
        assert!(asked.iter().all(|request| request["operation"] == "GetDeployment"), "{asked:#?}");
    }
}

#[tokio::test]
async fn aws_that_does_not_answer_is_waited_for_no_longer_than_said() {
    AWS.fault(json!({ "service": "*", "access_key": "wait-dead", "drop": true })).await;
    AWS.fault(json!({ "service": "*", "access_key": "wait-slow", "delay_seconds": 60 })).await;
    let began = std::time::Instant::now();
    // Before it is told that AWS is dead, it was asked three times.
    let (dead, slow) = tokio::join!(
        check("wait-dead", "d-ABCDEF123", &["--timeout", "8s"], 3, "unknown"),
        check("wait-slow", "d-ABCDEF123", &["--timeout", "2s"], 3, "unknown")
    );
    assert!(
        began.elapsed().as_secs() < 40,
        "AWS would have answered after 60 s: {:?}",
        began.elapsed()
    );
    assert!(dead.contains("GetDeployment of d-ABCDEF123 failed: Unreachable"), "{dead}");
    assert!(slow.contains("AWS had not answered by then"), "{slow}");
}

#[tokio::test]
async fn the_end_of_a_service_deployment_is_the_exit_code() {
    let (open, paused) = tokio::join!(
        AWS.service("wait-open", &[], &[]),
        AWS.service("wait-paused", &[], &["--pause", "POST_TEST_TRAFFIC_SHIFT"])
    );
    check("wait-open", &open.first, &[], 0, "SUCCESSFUL").await;

    let answer = async |arn: &str, action: &str| {
        let id = arn.rsplit('/').next().unwrap();
        let url = format!("{}/_emulated/service-deployments/{id}", AWS.endpoint);
        let waiting = tests::eventually(LIMIT, async || {
            let seen = tests::http::get(&url).await?.json();
            let hooks = seen["hooks"].as_array()?;
            let waits = hooks.iter().find(|hook| hook["status"] == "AWAITING_ACTION")?;
            waits["id"].as_str().map(str::to_owned)
        });
        let hook = waiting.await.unwrap_or_else(|| panic!("{arn} does not pause"));
        let parameters = json!({ "serviceDeploymentArn": arn, "hookId": hook, "action": action });
        AWS.call("ecs", "ContinueServiceDeployment", parameters).await;
    };
    AWS.fault(json!({
        "service": "ecs", "operation": "DescribeServiceDeployments", "access_key": "wait-paused",
        "error": "ThrottlingException", "count": 8,
    }))
    .await;
    // The first deployment of a service, by its ARN and by the service's name.
    let named = "wait-paused-cluster:wait-paused-service";
    let answering = async {
        let looked = async || (!AWS.all_requests("wait-named").await.is_empty()).then_some(());
        tests::eventually(LIMIT, looked).await.expect("it looks for the deployment");
        answer(&paused.first, "CONTINUE").await;
    };
    let (first, by_name, ()) = tokio::join!(
        check("wait-paused", &paused.first, &[], 0, "SUCCESSFUL"),
        check("wait-named", named, &[], 0, "SUCCESSFUL"),
        answering
    );
    assert!(by_name.contains(&format!("following {}", paused.first)), "{by_name}");
    assert!(first.contains("not known now: DescribeServiceDeployments"), "{first}");
    let second = paused.deploy(&[]).await;
    let late = check("wait-early", &second, &["--timeout", "4s"], 3, "IN_PROGRESS").await;
    assert!(late.contains("it is still under way") && late.contains(" s IN_PROGRESS"), "{late}");
    let (_, ()) = tokio::join!(
        check("wait-back", &second, &[], 1, "ROLLBACK_SUCCESSFUL"),
        answer(&second, "ROLLBACK")
    );
    let unknown = second.replace(second.rsplit('/').next().unwrap(), "nobody");
    let unknown = check("wait-unknown", &unknown, &[], 2, "").await;
    assert!(unknown.contains("there is no deployment arn:aws:ecs"), "{unknown}");
    let service = second.replace(":service-deployment/", ":service/");
    let service = check("wait-unknown", &service, &[], 2, "").await;
    assert!(service.contains("is not the ARN of a service deployment"), "{service}");
    let cluster = check("wait-unknown", "nobody:nothing", &[], 2, "").await;
    assert!(cluster.contains("there is no deployment nobody:nothing"), "{cluster}");
}
