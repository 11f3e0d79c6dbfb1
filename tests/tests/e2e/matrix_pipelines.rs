//! CodePipeline's questions in every case: manual approvals and Lambda actions.

use serde_json::{Value, json};
use tests::{Gate, eventually};

use super::matrix::{
    Befalls, FAULTY, QUICK, answer_before, calls, check_let_go, check_metric, check_throttled,
    judging, lenient, outcome, queue, throttle, told,
};
use super::pipelines::{over, start};
use super::{AWS, LIMIT, shell};

/// `quick` for an environment that the policy itself names, or for none.
fn policy(befalls: Option<Befalls>, quick: &str, green: &str) -> String {
    let quick = befalls.map_or_else(|| quick.to_owned(), |befalls| befalls.policy(quick));
    if befalls == Some(Befalls::NoTargets) {
        quick
    } else {
        format!("{quick}targets: {{ green: [\"{green}\"] }}\n")
    }
}

/// The approval that a pipeline waits for: its stage, its action and its token.
async fn approval(pipeline: &str) -> Value {
    let state = AWS.call("codepipeline", "GetPipelineState", json!({ "name": pipeline })).await;
    for stage in state["stageStates"].as_array().unwrap() {
        for action in stage["actionStates"].as_array().unwrap() {
            if action["latestExecution"]["token"].is_string() {
                return json!({
                    "pipelineName": pipeline,
                    "stageName": stage["stageName"],
                    "actionName": action["actionName"],
                    "token": action["latestExecution"]["token"],
                });
            }
        }
    }
    panic!("no approval waits: {state:#}")
}

#[tokio::test]
async fn an_approval_in_every_other_case() {
    const ANSWER: &str = "PutApprovalResult";
    let (_green, green) = shell::service(&[]).await;
    let check = async |key: &str, befalls: Befalls, expected: [&str; 3]| {
        let setup = ["setup-pipeline", "--name", key, "--policy-name", "checkout"];
        let made = AWS.scenario(&setup).await;
        let url = made["queue_url"].as_str().unwrap();
        if befalls == Befalls::Throttling {
            throttle(key).await;
        }
        let gate = Gate::new(&AWS.endpoint, key);
        let text = policy(Some(befalls), &lenient(QUICK), &green);
        let gate = gate.policy_named("checkout.policy.yaml", &text).settings(&queue(url));
        let gate = gate.start().await;
        let execution = start(key).await;
        match befalls {
            Befalls::NoTargets | Befalls::Throttling => {}
            Befalls::Twice => {
                let again = async || {
                    let mut approval = approval(key).await;
                    approval["customData"] = "checkout".into();
                    let again = json!({ "region": "us-east-1", "approval": approval });
                    AWS.send(url, &again).await;
                    check_metric(&gate, r#"kind="approval",outcome="joined"} 1"#).await;
                };
                answer_before(key, ANSWER, again).await;
            }
            Befalls::Answered => {
                let by_hand = async || {
                    let mut answer = approval(key).await;
                    answer["result"] = json!({ "status": "Approved", "summary": "by hand" });
                    AWS.call("codepipeline", ANSWER, answer).await;
                };
                answer_before(key, ANSWER, by_hand).await;
            }
            Befalls::Stopped => unreachable!("an execution that waits is not stopped here"),
        }
        let outcome = outcome(&gate, key).await;
        assert_eq!(told(&outcome), expected, "{key}: {outcome:#}");
        let status = over(key, &execution).await;
        assert_eq!(status["status"], "Succeeded", "{key}: {status:#}");
        match befalls {
            Befalls::NoTargets => assert_eq!(calls(ANSWER, key).await, (1, 0)),
            Befalls::Throttling => check_throttled(key, Some(ANSWER)).await,
            Befalls::Twice => {
                assert_eq!(calls(ANSWER, key).await.0, 1);
            }
            Befalls::Answered | Befalls::Stopped => check_let_go(key, ANSWER).await,
        }
    };
    tokio::join!(
        check("approval-empty", Befalls::NoTargets, ["continue", "no-data", "confirmed"]),
        check("approval-throttled", Befalls::Throttling, ["continue", "proven", "confirmed"]),
        check("approval-twice", Befalls::Twice, ["continue", "proven", "confirmed"]),
        check("approval-answered", Befalls::Answered, ["continue", "proven", "already-completed"]),
    );
}

/// The first job of an action, by which its question is known.
async fn first_job(key: &str) -> String {
    let found = eventually(LIMIT, async || {
        let told = AWS.requests("PutJobSuccessResult", key).await;
        let params: Value = serde_json::from_str(told.first()?["params"].as_str()?).ok()?;
        params["jobId"].as_str().map(str::to_owned)
    });
    found.await.expect("a job was told of")
}

#[tokio::test]
async fn a_lambda_action_in_every_other_case() {
    let (_green, green) = shell::service(&[]).await;
    let (_red, red) = shell::service(&FAULTY).await;
    let check = async |key: &str, befalls: Option<Befalls>, expected: [&str; 3]| {
        let green = if befalls.is_none() { &red } else { &green };
        let gate = Gate::new(&AWS.endpoint, key);
        let gate = gate.policy_named("checkout.policy.yaml", &policy(befalls, QUICK, green));
        let gate = gate.start().await;
        // The function with a hook is there for its relay.
        AWS.function(key, &gate.url(), &[]).await;
        let relay = format!("CodeDeployHook_{key}");
        let setup = ["setup-pipeline", "--name", key, "--policy-name", "checkout"];
        AWS.scenario(&[&setup[..], &["--lambda", &relay]].concat()).await;
        if befalls == Some(Befalls::Throttling) {
            throttle(key).await;
        }
        let execution = start(key).await;
        let deliver = async |job: &str| {
            let body = json!({ "job_id": job, "user_parameters": "checkout" });
            tests::http::post(&format!("{}/hooks/codepipeline", gate.url()), &body).await.unwrap()
        };
        if befalls == Some(Befalls::Twice) {
            judging(&gate, "").await;
            let again = deliver(&first_job(key).await).await;
            assert_eq!((again.status, &again.json()["decided"]), (202, &json!(false)));
        }
        let outcome = outcome(&gate, "").await;
        assert_eq!(told(&outcome), expected, "{key}: {outcome:#}");
        let (_, refused) = calls("PutJobSuccessResult", key).await;
        let (failures, _) = calls("PutJobFailureResult", key).await;
        match befalls {
            Some(Befalls::Throttling) => check_throttled_job(key).await,
            Some(Befalls::Twice) => {
                assert_eq!((refused, failures), (1, 0), "what is over is let go at once");
                let again = deliver(&first_job(key).await).await;
                assert_eq!((again.status, &again.json()["decided"]), (202, &json!(true)));
                let told = AWS.requests("PutJobSuccessResult", key).await;
                let ends = |call: &&Value| {
                    let again = call["params"].as_str().unwrap().contains("continuationToken");
                    call["error"].is_null() && !again
                };
                assert_eq!(told.iter().filter(ends).count(), 1, "{told:#?}");
                assert_eq!(gate.evaluations().await.len(), 1);
            }
            None | Some(_) => {
                assert_eq!((refused, failures), (0, 1));
                let status = over(key, &execution).await;
                assert_eq!(status["status"], "Failed", "{key}: {status:#}");
                assert_eq!(calls("PutJobFailureResult", key).await, (1, 0));
            }
        }
    };
    tokio::join!(
        check("job-faulty", None, ["rollback", "proven", "confirmed"]),
        check("job-empty", Some(Befalls::NoTargets), ["rollback", "no-data", "confirmed"]),
        check("job-throttled", Some(Befalls::Throttling), ["continue", "proven", "confirmed"]),
        check("job-twice", Some(Befalls::Twice), ["continue", "proven", "confirmed"]),
    );
}

/// A job is told of many times, each time by a call that may be throttled.
async fn check_throttled_job(key: &str) {
    let told = AWS.requests("PutJobSuccessResult", key).await;
    let throttled = told.iter().filter(|call| call["error"] == "ThrottlingException").count();
    assert_eq!(throttled, 2, "{told:#?}");
    assert!(told.last().unwrap()["error"].is_null(), "{told:#?}");
    // The policy names the targets, so nothing else is asked of AWS.
    let others = AWS.all_requests(key).await;
    assert!(others.iter().all(|call| call["operation"] == "PutJobSuccessResult"), "{others:#?}");
}

#[tokio::test]
async fn a_job_that_was_answered_by_hand_is_let_go_by_gate_and_relay() {
    let (_green, green) = shell::service(&[]).await;
    let key = "job-answered";
    let gate = Gate::new(&AWS.endpoint, key);
    let gate = gate.policy_named("checkout.policy.yaml", &policy(None, QUICK, &green));
    let gate = gate.start().await;
    AWS.function(key, &gate.url(), &[]).await;
    let setup = ["setup-pipeline", "--name", key, "--policy-name", "checkout"];
    AWS.scenario(&[&setup[..], &["--lambda", "CodeDeployHook_job-answered"]].concat()).await;
    // Until a person has answered, gate cannot.
    let fault = AWS.fault(json!({
        "operation": "PutJobSuccessResult", "access_key": key, "error": "ThrottlingException",
    }));
    let fault = fault.await;
    start(key).await;
    let job = first_job(key).await;
    AWS.call("codepipeline", "PutJobSuccessResult", json!({ "jobId": job })).await;
    AWS.heal(&fault).await;
    let told = eventually(LIMIT, async || {
        let calls = AWS.requests("PutJobSuccessResult", key).await;
        calls.into_iter().find(|call| call["error"] == "InvalidJobStateException")
    });
    told.await.expect("gate hears that the job is over");
    let heard = eventually(LIMIT, async || {
        gate.logged().contains("a job of CodePipeline is over already").then_some(())
    });
    heard.await.expect("it is said");
    assert!(AWS.requests("PutJobFailureResult", key).await.is_empty(), "nor does the relay");
}
