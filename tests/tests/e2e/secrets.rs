//! Secrets that AWS keeps: of hooks and of probes, never shown.

use serde_json::json;
use tests::Gate;

use super::{AWS, POLICY, finished};

const KEY: &str = "a hook key kept by Secrets Manager";
const TOKEN: &str = "a probe token kept by SSM";

#[tokio::test]
async fn keys_and_tokens_are_read_where_aws_keeps_them_and_shown_nowhere() {
    let secret = json!({ "Name": "e2e/hook-key", "SecretString": KEY });
    AWS.call("secretsmanager", "CreateSecret", secret).await;
    let parameter = json!({ "Name": "/e2e/token", "Value": TOKEN, "Type": "SecureString" });
    AWS.call("ssm", "PutParameter", parameter).await;
    let header =
        "rate: 40/s, headers: { authorization: { secret: 'ssm:/e2e/token', prefix: 'Bearer ' } } }";
    let policy = POLICY.replace("rate: 40/s }", header);
    let gate = Gate::new(&AWS.endpoint, "kept").policy(&policy);
    let gate = gate.env("GATE_HOOKS_KEYS", "secretsmanager:e2e/hook-key").start().await;
    let more = ["GATE_HOOK_KEY=secretsmanager:e2e/hook-key", "GATE_LOG=debug"];
    let more = more.map(|variable| ["--function-env", variable]).concat();
    let site = AWS.site("kept", &gate.url(), &[], &more).await;
    let id = site.deploy(&[]).await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(deployment["status"], "Succeeded", "{outcome:#}");
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    let record = format!("{}/evaluations/{}/record", gate.url(), outcome["id"].as_str().unwrap());
    let record = tests::http::get(&record).await.unwrap().text;
    let journal = std::fs::read(gate.folder().join("journal.db")).unwrap();
    let journal = String::from_utf8_lossy(&journal).into_owned();
    let relayed = AWS.function_logged("CodeDeployHook_kept").await;
    for shown in [outcome.to_string(), record, gate.logged(), journal, relayed] {
        assert!(!shown.contains(KEY) && !shown.contains(TOKEN), "a secret is shown");
    }
}

#[tokio::test]
async fn a_secret_that_is_not_there_stands_in_the_way_and_is_named() {
    let header = "rate: 40/s, headers: { authorization: { secret: 'ssm:/e2e/absent' } } }";
    let policy = POLICY.replace("rate: 40/s }", header);
    let gate = Gate::new(&AWS.endpoint, "absent").policy(&policy).start().await;
    let site = AWS.site("absent", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let (outcome, _) = finished(&gate, &id).await;
    assert_eq!(outcome["basis"], "unresolved", "{outcome:#}");
    assert!(super::reason(&outcome).contains("/e2e/absent"), "{outcome:#}");
}
