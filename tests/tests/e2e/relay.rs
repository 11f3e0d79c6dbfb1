//! The relay: signed hand-over, and its own answer when nobody takes the question.

use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Gate, eventually};

use super::{AWS, ENDED, LIMIT, POLICY, accepted, finished};

const KEY: &str = "a hook key of more than 16 bytes";

async fn keyed(name: &str) -> Gate {
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY);
    gate.env("HOOK_KEY", KEY).env("GATE_HOOKS_KEYS", "env:HOOK_KEY").start().await
}

#[tokio::test]
async fn a_hook_signed_by_the_relay_is_taken_and_an_unsigned_one_is_not() {
    let gate = keyed("signed").await;
    let key = format!("HOOK_KEY={KEY}");
    let more = ["GATE_HOOK_KEY=env:HOOK_KEY", &key, "GATE_LOG=debug"];
    let more = more.map(|variable| ["--function-env", variable]).concat();
    let site = AWS.site("signed", &gate.url(), &[], &more).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    let (outcome, _) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");

    let event = json!({ "DeploymentId": "d-UNSIGNED1", "LifecycleEventHookExecutionId": "token" });
    let answer =
        tests::http::post(&format!("{}/hooks/codedeploy", gate.url()), &event).await.unwrap();
    assert_eq!(answer.status, 401, "{}", answer.text);
    assert_eq!(
        gate.evaluations().await.iter().filter(|e| e["deployment_id"] == "d-UNSIGNED1").count(),
        0
    );
    assert!(!gate.logged().contains(KEY), "the key is in the log");
    let said = AWS.function_logged("CodeDeployHook_signed").await;
    assert!(said.contains("REPORT"), "this is no log of the relay: {said}");
    tests::check_said("the relay's log", &said, &[KEY]);
}

#[tokio::test]
async fn a_refused_hand_over_is_answered_failed_at_once() {
    let gate = keyed("mistrusted").await;
    let site = AWS.site("mistrusted", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    assert_eq!(accepted(&deployment)[0]["status"], "Failed");
    assert!(gate.evaluations().await.is_empty());
}

#[tokio::test]
async fn an_unreachable_gate_is_answered_for_after_the_patience() {
    let nobody = format!("http://{}:8080", tests::place::address());
    let more = ["--function-env", "GATE_RELAY_PATIENCE=3s"];
    let site = AWS.site("nobody", &nobody, &[], &more).await;
    let id = site.deploy(&[]).await;
    let start = Instant::now();
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    let answers = accepted(&deployment);
    assert_eq!((answers.len(), &answers[0]["status"]), (1, &json!("Failed")));
    assert!(start.elapsed() > Duration::from_secs(3), "it waited for gate first");
}

#[tokio::test]
async fn fail_open_is_a_choice_that_must_be_made() {
    let nobody = format!("http://{}:8080", tests::place::address());
    let more =
        ["--function-env", "GATE_RELAY_PATIENCE=1s", "--function-env", "GATE_UNREACHABLE=continue"];
    let site = AWS.site("open", &nobody, &[], &more).await;
    let id = site.deploy(&[]).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}

#[tokio::test]
async fn a_relay_with_a_wrong_setting_fails_every_hook_at_once_instead_of_dying() {
    let more = [
        "--function-env",
        "GATE_HOOK_KEY=env:NO_SUCH_KEY",
        "--function-env",
        "GATE_UNREACHABLE=continue",
    ];
    let site = AWS.site("misset", "nonsense", &[], &more).await;
    let id = site.deploy(&[]).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    assert_eq!(accepted(&deployment)[0]["status"], "Failed");
}

/// A relay that hands over by this queue.
fn by_queue(url: &str) -> String {
    format!("GATE_QUEUE={url}")
}

/// A gate that takes questions from this queue; not started yet.
fn taking(name: &str, queue: &str) -> Gate {
    let settings = format!("intake: {{ queue: \"{queue}\" }}\n");
    Gate::new(&AWS.endpoint, name).policy(POLICY).settings(&settings)
}

/// Waits until so many messages can be received from the queue, and so many are held.
async fn depth(queue: &str, wanted: (u64, u64)) {
    let so = eventually(LIMIT, async || (AWS.depth(queue).await == wanted).then_some(()));
    if so.await.is_none() {
        panic!("{queue} never has {wanted:?}, but {:?}", AWS.depth(queue).await);
    }
}

#[tokio::test]
async fn a_hook_by_the_queue_waits_for_a_gate_that_is_away_and_goes_back_to_it_on_a_stop() {
    let queue = AWS.queue("queued-hooks").await;
    let site = AWS.relayed_site("queued-hooks", &by_queue(&queue), &[], &[]).await;
    let id = site.deploy(&[]).await;
    depth(&queue, (1, 0)).await;
    let mut gate = taking("queued-hooks", &queue).start().await;
    let judging = eventually(LIMIT, async || {
        gate.evaluation(&id).await.filter(|seen| seen["phase"] == "judging").map(drop)
    });
    judging.await.expect("it is judged");
    assert_eq!(AWS.depth(&queue).await, (0, 1), "held while it is judged");
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    assert_eq!(AWS.depth(&queue).await, (1, 0), "given back on a stop: {}", gate.logged());
    gate.restart().await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    depth(&queue, (0, 0)).await;
    // A second delivery joins the first, and goes.
    AWS.control(&format!("hooks/{id}/redeliver"), &json!({})).await;
    let sent = eventually(LIMIT, async || {
        let sent = AWS.requests("SendMessage", "queued-hooks").await;
        (sent.len() == 2).then_some(())
    });
    sent.await.expect("the relay hands it over again");
    depth(&queue, (0, 0)).await;
    assert_eq!(gate.evaluations().await.len(), 1);
}

#[tokio::test]
async fn what_cannot_go_by_the_queue_is_failed_at_once() {
    let missing = format!("{}/123456789012/nobody-made-it", AWS.endpoint);
    let nowhere = async {
        let site = AWS.relayed_site("no-queue", &by_queue(&missing), &[], &[]).await;
        let id = site.deploy(&[]).await;
        let deployment = AWS.until(&id, &ENDED, LIMIT).await;
        assert_eq!(deployment["status"], "Failed", "{deployment:#}");
        assert_eq!(accepted(&deployment)[0]["status"], "Failed");
    };
    let both = async {
        let more = ["--function-env", "GATE_URL=http://127.0.0.1:1"];
        let site = AWS.relayed_site("two-ways", &by_queue(&missing), &[], &more).await;
        let id = site.deploy(&[]).await;
        let deployment = AWS.until(&id, &ENDED, LIMIT).await;
        assert_eq!(accepted(&deployment)[0]["status"], "Failed", "{deployment:#}");
    };
    // ECS reads the response, and a queue has none.
    let unread = async {
        let queue = AWS.queue("unread").await;
        let hook = (&*by_queue(&queue), "POST_TEST_TRAFFIC_SHIFT");
        let service = AWS.relayed_service("unread", hook, &[]).await;
        let first = AWS.service_deployed(&service.first, LIMIT).await;
        assert_eq!(first["status"], "STOPPED", "{first:#}");
        assert_eq!(AWS.depth(&queue).await, (0, 0), "nothing was handed over");
    };
    let start = Instant::now();
    tokio::join!(nowhere, both, unread);
    // Well within the patience of 30 s.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
}
