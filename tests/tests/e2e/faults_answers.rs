//! What goes wrong with answers other than a hook's, and with vetoes: each gets there, and counts once.

use futures_util::future::join_all;
use serde_json::Value;
use tests::{Faults, Gate, Misdeed};

use super::faults::first;
use super::matrix::{FAULTY, QUICK, calls, queue, told, watched};
use super::matrix_watch::{ended, heard};
use super::{AWS, ENDED, LIMIT, pipelines, shell};

/// What befalls an answer, and what it comes to: AWS did it and could not say so, or AWS heard of it at the third try alone.
const LOST: (&[Misdeed], &str) = (&[Misdeed::ResetAfter, Misdeed::Half], "already-completed");
const UNHEARD: (&[Misdeed], &str) = (&[Misdeed::Silence, Misdeed::Status(503)], "confirmed");

/// Checks that a release continues by one answer of this name.
async fn check_told(key: &str, outcome: &Value, answer: &str, delivery: &str) {
    assert_eq!(told(outcome), ["continue", "proven", delivery], "{key}: {outcome:#}");
    let (accepted, refused) = calls(answer, key).await;
    assert_eq!(accepted, 1, "{key}: {answer}");
    assert!(delivery != "confirmed" || refused == 0, "{key}: {refused} more of {answer}");
}

#[tokio::test]
async fn the_answer_of_a_pause_gets_there_once() {
    const ANSWER: &str = "ContinueServiceDeployment";
    let cases = [("pause-lost", LOST), ("pause-unheard", UNHEARD)];
    join_all(cases.map(async |(key, (misdeeds, delivery))| {
        let more = ["--pause", "POST_TEST_TRAFFIC_SHIFT", "--count", "1"];
        let service = AWS.service(key, &[], &more).await;
        let way = Faults::start(&AWS.endpoint, first(ANSWER, misdeeds)).await;
        let gate = Gate::new(&way.url, key).policy(QUICK).settings(&queue(&service.queue));
        let gate = gate.start().await;
        let deployed = AWS.service_deployed(&service.first, LIMIT).await;
        assert_eq!(deployed["status"], "SUCCESSFUL", "{key}: {deployed:#}");
        let id = service.first.rsplit('/').next().unwrap();
        check_told(key, &gate.outcome(id, LIMIT).await, ANSWER, delivery).await;
    }))
    .await;
}

#[tokio::test]
async fn the_answer_of_a_ready_wait_gets_there_once() {
    const ANSWER: &str = "ContinueDeployment";
    let cases = [("ready-lost", LOST), ("ready-unheard", UNHEARD)];
    join_all(cases.map(async |(key, (misdeeds, delivery))| {
        let events = format!("{key}-events");
        let more = ["--events-queue", &events, "--ready-wait-minutes", "60", "--count", "1"];
        let site = AWS.site(key, "http://127.0.0.1:1", &[], &more).await;
        let way = Faults::start(&AWS.endpoint, first(ANSWER, misdeeds)).await;
        let settings = queue(site.made["queue_url"].as_str().unwrap());
        let gate = Gate::new(&way.url, key).policy(QUICK).settings(&settings).start().await;
        let id = site.deploy_with_hooks(&[], "").await;
        let deployment = AWS.until(&id, &ENDED, LIMIT).await;
        assert_eq!(deployment["status"], "Succeeded", "{key}: {deployment:#}");
        check_told(key, &gate.outcome(&id, LIMIT).await, ANSWER, delivery).await;
    }))
    .await;
}

#[tokio::test]
async fn the_answer_of_an_approval_gets_there_once() {
    const ANSWER: &str = "PutApprovalResult";
    let (_green, green) = shell::service(&[]).await;
    let policy = format!("{QUICK}targets: {{ green: [\"{green}\"] }}\n");
    let cases = [("approval-lost", LOST), ("approval-unheard", UNHEARD)];
    join_all(cases.map(async |(key, (misdeeds, delivery))| {
        let setup = ["setup-pipeline", "--name", key, "--policy-name", "checkout"];
        let made = AWS.scenario(&setup).await;
        let way = Faults::start(&AWS.endpoint, first(ANSWER, misdeeds)).await;
        let gate = Gate::new(&way.url, key).policy_named("checkout.policy.yaml", &policy);
        let gate = gate.settings(&queue(made["queue_url"].as_str().unwrap())).start().await;
        let execution = pipelines::start(key).await;
        let status = pipelines::over(key, &execution).await;
        assert_eq!(status["status"], "Succeeded", "{key}: {status:#}");
        check_told(key, &gate.outcome(key, LIMIT).await, ANSWER, delivery).await;
    }))
    .await;
}

#[tokio::test]
async fn a_veto_stops_the_deployment_although_its_answers_are_lost() {
    const VETO: &str = "StopDeployment";
    let (misdeeds, _) = LOST;
    let way = Faults::start(&AWS.endpoint, first(VETO, misdeeds)).await;
    let (site, gate) = heard(&way.url, "veto-lost", "1").await;
    let id = site.deploy_with_hooks(&FAULTY, "").await;
    let watch = watched(&gate, &id).await;
    assert_eq!(ended(&watch), "veto deployment stopped with rollback", "{watch:#}");
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
    assert!(deployment["rollback_id"].is_string(), "{deployment:#}");
    assert!(way.seen(VETO).len() > misdeeds.len(), "{:#?}", way.seen(VETO));
}
