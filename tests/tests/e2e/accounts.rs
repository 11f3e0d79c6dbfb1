//! Several accounts and regions: a question is asked about, and answered, with the role of where it comes from.

use std::time::Duration;

use serde_json::{Value, json};
use tests::{Gate, eventually, http, place};

use super::{AWS, ENDED, LIMIT, POLICY, reason};

/// What the emulator calls a session of this role.
fn session(account: &str, role: &str) -> String {
    format!("ASIA{account}_{}", role.replace('-', "_"))
}

fn assume(role: &str) -> String {
    format!("aws: {{ assume-role: [ \"{role}\" ] }}\n")
}

#[tokio::test]
async fn a_hook_is_answered_in_its_region_with_the_role_of_its_account() {
    // The emulator's own account, in which roles must exist and trust.
    let (role, name) = ("arn:aws:iam::123456789012:role/gate-afar", "afar");
    let trust = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Allow", "Principal": { "AWS": "*" }, "Action": "sts:AssumeRole" },
    ] });
    let made = json!({ "RoleName": "gate-afar", "AssumeRolePolicyDocument": trust.to_string() });
    AWS.call("iam", "CreateRole", made).await;
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY).settings(&assume(role)).start().await;
    let relay = format!("exec {} relay", place::binary("gate").display());
    let (url, key) =
        (format!("GATE_URL={}", gate.url()), format!("EMULATED_ACCESS_KEY_ID={name}-relay"));
    let command = json!([place::binary("service")]).to_string();
    let service = ["--name", name, "--command", &command];
    let region = ["--region", "eu-west-1"];
    let hook = ["--bootstrap", &relay, "--function-env", &url, "--function-env", &key];
    AWS.scenario(&[&region[..], &["setup"], &service, &hook].concat()).await;
    let hooks = ["--hooks", "AfterAllowTestTraffic"];
    let made = AWS.scenario(&[&region[..], &["deploy"], &service, &hooks].concat()).await;
    let id = made["deployment_id"].as_str().expect("an id");
    let deployment = AWS.until(id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    let outcome = gate.outcome(id, LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));

    let session = session("123456789012", "gate-afar");
    let answers = AWS.requests("PutLifecycleEventHookExecutionStatus", &session).await;
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert!(AWS.operations(&session).await.contains("GetDeployment"));
    let own = AWS.operations(name).await;
    assert_eq!(own.iter().collect::<Vec<_>>(), ["AssumeRole"], "as itself gate does nothing else");
}

/// The page of an evaluation, once it is as wanted.
async fn once(gate: &Gate, id: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let seen = eventually(LIMIT, async || gate.evaluation(id).await.filter(|seen| wanted(seen)));
    match seen.await {
        Some(seen) => seen,
        None => panic!("never so: {:#?}\n{}", gate.evaluation(id).await, gate.logged()),
    }
}

#[tokio::test]
async fn a_role_that_may_not_be_taken_on_is_named_and_the_fallback_is_delivered_once_it_may() {
    let role = "arn:aws:iam::210987654321:role/gate-strange";
    AWS.control("denied-roles", &json!({ "roles": [role] })).await;
    let site =
        AWS.site("strange", "http://127.0.0.1:1", &[], &["--ready-wait-minutes", "60"]).await;
    let queue = AWS.queue("strange-events").await;
    let settings = format!("{}intake: {{ queue: \"{queue}\" }}\n", assume(role));
    let gate = Gate::new(&AWS.endpoint, "strange").policy(POLICY).settings(&settings);
    let mut gate = gate.start().await;
    let id = site.deploy_with_hooks(&[], "").await;
    AWS.until(&id, &["Ready"], LIMIT).await;
    // As EventBridge of that account would say it.
    let event = json!({
        "version": "0", "source": "aws.codedeploy", "account": "210987654321", "region": "us-east-1",
        "detail-type": "CodeDeploy Deployment State-change Notification",
        "detail": { "deploymentId": id, "state": "READY", "application": "strange", "deploymentGroup": "strange-group" },
    });
    let message = json!({ "QueueUrl": queue, "MessageBody": event.to_string() });
    AWS.call("sqs", "SendMessage", message).await;
    let outcome = once(&gate, &id, |seen| seen["phase"] == "answering").await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    let told = reason(&outcome);
    for part in
        [role, "AssumeRole of arn:", "AccessDenied", "allow `sts:AssumeRole` on it", "trust policy"]
    {
        assert!(told.contains(part), "`{part}` is not said: {told}");
    }
    let page = format!("{}/evaluations", gate.admin());
    assert_eq!(http::get(&page).await.expect("it goes on serving").status, 200);
    assert!(AWS.operations(&session("210987654321", "gate-strange")).await.is_empty());

    AWS.control("denied-roles", &json!({ "roles": [] })).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!(outcome["delivery"]["delivery"], "stopped", "{outcome:#}");
    let stops = AWS.requests("StopDeployment", &session("210987654321", "gate-strange")).await;
    assert!(!stops.is_empty());
    let left = eventually(Duration::from_secs(20), async || {
        (AWS.depth(&queue).await == (0, 0)).then_some(())
    });
    left.await.expect("the queue is gate's own, and empty");
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
}
