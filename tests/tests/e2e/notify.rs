//! People are told of decisions and vetoes by topics of SNS, and nothing waits for that.

use serde_json::{Value, json};
use tests::{Gate, eventually, http};

use super::{AWS, ENDED, LIMIT, POLICY, deploy, reason};

/// A topic and a queue that hears it; the topic's ARN and the queue's URL.
async fn heard(name: &str) -> (String, String) {
    let made = AWS.call("sns", "CreateTopic", json!({ "Name": name })).await;
    let topic = made["TopicArn"].as_str().expect("an ARN").to_owned();
    let queue = AWS.queue(&format!("{name}-heard")).await;
    let endpoint = format!("arn:aws:sqs:us-east-1:123456789012:{name}-heard");
    let subscription = json!({ "TopicArn": topic, "Protocol": "sqs", "Endpoint": endpoint });
    AWS.call("sns", "Subscribe", subscription).await;
    (topic, queue)
}

/// The first so many notifications: subject and message of each.
async fn notices(queue: &str, count: usize) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let all = eventually(LIMIT, async || {
        let asked =
            json!({ "QueueUrl": queue, "MaxNumberOfMessages": 10, "VisibilityTimeout": 600 });
        let got = AWS.call("sqs", "ReceiveMessage", asked).await;
        for message in got["Messages"].as_array().into_iter().flatten() {
            let body = message["Body"].as_str().expect("a body");
            let notice: Value = serde_json::from_str(body).expect("SNS wraps it in JSON");
            let text = |key: &str| notice[key].as_str().expect("a text").to_owned();
            found.push((text("Subject"), text("Message")));
        }
        (found.len() >= count).then_some(())
    });
    all.await;
    assert_eq!(found.len(), count, "{found:#?}");
    found
}

/// [`POLICY`], with these topics told.
fn telling(topics: &[&str]) -> String {
    let each: Vec<String> = topics.iter().map(|arn| format!("{{ sns: \"{arn}\" }}")).collect();
    format!("{POLICY}notify: [ {} ]\n", each.join(", "))
}

async fn counted(gate: &Gate, outcome: &str, count: usize) {
    let line = format!("gate_notifications_total{{outcome=\"{outcome}\"}} {count}\n");
    let so = eventually(LIMIT, async || {
        let url = format!("{}/metrics", gate.admin());
        http::get(&url).await?.text.contains(&line).then_some(())
    });
    so.await.unwrap_or_else(|| panic!("`{line}` never comes: {}", gate.logged()));
}

#[tokio::test]
async fn a_topic_is_told_of_the_decision_and_then_of_the_veto() {
    let (topic, queue) = heard("told").await;
    let policy =
        format!("{}watch: {{ until: end-of-deployment, window: 60s }}\n", telling(&[&topic]));
    let gate = Gate::new(&AWS.endpoint, "told").policy(&policy).start().await;
    let canary = ["--deployment-config", "CodeDeployDefault.ECSCanary10Percent5Minutes"];
    let site = AWS.site("told", &gate.url(), &[], &canary).await;
    // Good for the 8 s of the question, gone in the shift.
    let id = site.deploy(&["--unreachable-after", "400"]).await;
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!(AWS.until(&id, &ENDED, LIMIT).await["status"], "Stopped", "{outcome:#}");
    let mut told = notices(&queue, 2).await;
    // Standard topics keep no order.
    told.sort();
    let [(first, decided), (second, vetoed)] = &told[..] else { panic!("{told:#?}") };
    assert_eq!(first, "gate: CONTINUE of told told-group at AfterAllowTestTraffic");
    assert!(decided.starts_with("CONTINUE (proven): "), "{decided}");
    for part in
        [&id, reason(&outcome), "policy: test.policy.yaml", "answer: ", "errors at most 2 %"]
    {
        assert!(decided.contains(part), "`{part}` is not in {decided}");
    }
    assert!(second.starts_with("gate: VETO of told told-group at "), "{second}");
    let veto = outcome["watch"]["veto"].as_str().unwrap_or_else(|| panic!("{outcome:#}"));
    assert!(vetoed.starts_with(&format!("VETO: {veto}")), "{vetoed}");
    counted(&gate, "sent", 2).await;
    let token = AWS.deployment(&id).await["hooks"][0]["execution_id"].clone();
    if let Some(token) = token.as_str() {
        assert!(!told.iter().any(|(_, text)| text.contains(token)), "the hook's token is told");
    }
}

#[tokio::test]
async fn a_topic_that_cannot_be_told_delays_no_answer_and_keeps_none_from_the_others() {
    let (topic, queue) = heard("still-told").await;
    let missing = "arn:aws:sns:us-east-1:123456789012:nobody-made-it";
    let refused = async {
        let policy = telling(&[missing, &topic]);
        let gate = Gate::new(&AWS.endpoint, "untold").policy(&policy).start().await;
        let (outcome, deployment) = deploy(&gate, "untold", &["--errors", "60%"]).await;
        assert_eq!(deployment["status"], "Failed", "{deployment:#}");
        assert_eq!(outcome["delivery"]["delivery"], "confirmed", "{outcome:#}");
        let told = notices(&queue, 1).await;
        assert_eq!(told[0].0, "gate: ROLLBACK of untold untold-group at AfterAllowTestTraffic");
        counted(&gate, "failed", 1).await;
        counted(&gate, "sent", 1).await;
        let log = gate.logged();
        assert!(log.contains("a topic could not be told of the decision"), "{log}");
        assert!(log.contains(missing) && log.contains("NotFound"), "{log}");
    };
    let silent = async {
        AWS.fault(json!({
            "service": "sns", "operation": "Publish", "access_key": "unheard-of", "delay_seconds": 120,
            "error": "InternalError", "status": 500,
        }))
        .await;
        let policy = telling(&[&topic]);
        let mut gate = Gate::new(&AWS.endpoint, "unheard-of").policy(&policy).start().await;
        let (outcome, deployment) = deploy(&gate, "unheard-of", &[]).await;
        assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
        assert_eq!(outcome["delivery"]["delivery"], "confirmed", "{outcome:#}");
        // It stops in time, before ECS would kill it, with a topic under way that is silent for two minutes.
        assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
        assert!(gate.logged().contains("it took longer than 10 s"), "{}", gate.logged());
    };
    tokio::join!(refused, silent);
}
