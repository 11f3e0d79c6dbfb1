//! CodeDeploy's questions in every case: hooks on ECS, hooks on Lambda, and the READY wait.

use serde_json::{Value, json};
use tests::{Gate, eventually};

use super::matrix::{
    Befalls, FAULTY, QUICK, answer_before, calls, check_let_go, check_metric, check_throttled,
    judging, lenient, outcome, questions, queue, stages, throttle, told, watched,
};
use super::{AWS, ENDED, LIMIT, accepted, finished};

const ANSWER: &str = "PutLifecycleEventHookExecutionStatus";
/// Keeps a deployment under way for half a minute after its hook.
const CANARY: [&str; 2] = ["--deployment-config", "CodeDeployDefault.ECSCanary10Percent5Minutes"];

/// Answers the newest hook of a deployment as a person would.
async fn answer_by_hand(id: &str) {
    let deployment = AWS.deployment(id).await;
    let token =
        &deployment["hooks"].as_array().and_then(|hooks| hooks.last()).unwrap()["execution_id"];
    let answer = json!({
        "deploymentId": id, "lifecycleEventHookExecutionId": token, "status": "Succeeded",
    });
    AWS.call("codedeploy", ANSWER, answer).await;
}

/// Stops a deployment as a person would who wants to look at what is there.
async fn stop_by_hand(id: &str) {
    let stop = json!({ "deploymentId": id, "autoRollbackEnabled": false });
    AWS.call("codedeploy", "StopDeployment", stop).await;
}

/// What befalls a hook while it is judged.
async fn befall_hook(befalls: Befalls, gate: &Gate, (id, key): (&str, &str)) {
    match befalls {
        Befalls::NoTargets | Befalls::Throttling => {}
        Befalls::Twice => {
            judging(gate, id).await;
            AWS.control(&format!("hooks/{id}/redeliver"), &Value::Null).await;
        }
        Befalls::Answered => answer_before(key, ANSWER, async || answer_by_hand(id).await).await,
        Befalls::Stopped => {
            judging(gate, id).await;
            stop_by_hand(id).await;
        }
    }
}

/// What must be so of a hook that is over, whatever befell it.
async fn check_hook(befalls: Befalls, gate: &Gate, (id, key): (&str, &str)) {
    match befalls {
        Befalls::NoTargets => assert_eq!(calls(ANSWER, key).await, (1, 0)),
        Befalls::Throttling => check_throttled(key, Some(ANSWER)).await,
        Befalls::Twice => {
            let deployment = AWS.until(id, &ENDED, LIMIT).await;
            assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
            assert_eq!(deployment["hooks"][0]["deliveries"], 2);
            assert_eq!(calls(ANSWER, key).await, (1, 0));
            assert_eq!(questions(gate, id).await.len(), 1);
            check_metric(gate, r#"kind="codedeploy-hook",outcome="joined"} 1"#).await;
        }
        Befalls::Answered => check_let_go(key, ANSWER).await,
        Befalls::Stopped => {
            let deployment = AWS.until(id, &ENDED, LIMIT).await;
            assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
            let of = |call: &Value| call["params"].as_str().unwrap().contains(id);
            assert!(!AWS.requests(ANSWER, key).await.iter().any(of), "nobody waits");
        }
    }
}

#[tokio::test]
async fn a_hook_on_ecs_in_every_other_case() {
    let check = async |key: &str, befalls: Befalls, expected: [&str; 3]| {
        let gate = Gate::new(&AWS.endpoint, key).policy(&befalls.policy(QUICK)).start().await;
        let count = if befalls == Befalls::NoTargets { "0" } else { "1" };
        let more = [&CANARY[..], &["--count", count]].concat();
        let site = AWS.site(key, &gate.url(), &[], &more).await;
        let id = site.deploy(&[]).await;
        befall_hook(befalls, &gate, (&id, key)).await;
        let outcome = outcome(&gate, &id).await;
        assert_eq!(told(&outcome), expected, "{key}: {outcome:#}");
        check_hook(befalls, &gate, (&id, key)).await;
    };
    tokio::join!(
        check("hook-empty", Befalls::NoTargets, ["rollback", "no-data", "confirmed"]),
        check("hook-answered", Befalls::Answered, ["continue", "proven", "already-completed"]),
        check("hook-stopped", Befalls::Stopped, ["none", "none", "too-late"]),
    );
}

#[tokio::test]
async fn each_of_the_five_hooks_on_ecs_is_a_question_at_its_own_stage() {
    let gate = Gate::new(&AWS.endpoint, "five").policy(QUICK).start().await;
    let site = AWS.site("five", &gate.url(), &[], &["--count", "1"]).await;
    let hooks = [
        "BeforeInstall",
        "AfterInstall",
        "AfterAllowTestTraffic",
        "BeforeAllowTraffic",
        "AfterAllowTraffic",
    ];
    let id = site.deploy_with_hooks(&[], &hooks.join(",")).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    outcome(&gate, &id).await;
    let questions = questions(&gate, &id).await;
    // Before test traffic green is on no listener, `unused`, and measured all the same.
    let expected: Vec<_> = hooks.map(|hook| (hook, "proven")).into();
    let expected = [&[("BeforeInstall", "nothing-to-measure")], &expected[1..]].concat();
    assert_eq!(stages(&questions), expected);
    assert_eq!(calls(ANSWER, "five").await, (5, 0));
}

/// [`QUICK`] for versions of a function.
const INVOKED: &str = "
gate: v1
probe: { lambda: { payload: '{}' }, rate: 10/s, timeout: 5s }
objectives: [ { errors: { at-most: 10%, unacceptable: 30% } } ]
decide: { at-least: 2s, deadline: 2m }
";
const BEFORE: [&str; 2] = ["--hooks", "BeforeAllowTraffic"];

#[tokio::test]
async fn a_hook_on_lambda_in_every_other_case() {
    let check = async |key: &str, befalls: Befalls, expected: [&str; 3]| {
        let gate = Gate::new(&AWS.endpoint, key).policy(&befalls.policy(INVOKED)).start().await;
        let function = AWS.function(key, &gate.url(), &[]).await;
        if befalls == Befalls::Throttling {
            throttle(key).await;
        }
        let shift = match befalls {
            Befalls::Answered => "CodeDeployDefault.LambdaCanary10Percent5Minutes",
            _ => "CodeDeployDefault.LambdaAllAtOnce",
        };
        let more = [&BEFORE[..], &["--config", shift]].concat();
        let id = function.deploy(&["NAME=new"], &more).await;
        befall_hook(befalls, &gate, (&id, key)).await;
        let outcome = outcome(&gate, &id).await;
        assert_eq!(told(&outcome), expected, "{key}: {outcome:#}");
        check_hook(befalls, &gate, (&id, key)).await;
    };
    tokio::join!(
        check("lambda-throttled", Befalls::Throttling, ["continue", "proven", "confirmed"]),
        check("lambda-twice", Befalls::Twice, ["continue", "proven", "confirmed"]),
        check("lambda-answered", Befalls::Answered, ["continue", "proven", "already-completed"]),
        check("lambda-stopped", Befalls::Stopped, ["none", "none", "too-late"]),
    );
}

#[tokio::test]
async fn the_rollback_of_a_function_is_let_through_at_once() {
    let gate = Gate::new(&AWS.endpoint, "lambda-back").policy(INVOKED).start().await;
    let function = AWS.function("lambda-back", &gate.url(), &[]).await;
    let id = function.deploy(&["NAME=new", "FAIL_EVERY=2"], &BEFORE).await;
    let (outcome, _) = finished(&gate, &id).await;
    assert_eq!(told(&outcome), ["rollback", "proven", "confirmed"], "{outcome:#}");
    let rollback = rollback_of(&id).await;
    let (outcome, deployment) = finished(&gate, &rollback).await;
    assert_eq!(told(&outcome), ["continue", "rollback-deployment", "confirmed"], "{outcome:#}");
    assert_eq!(
        outcome["series"].as_array().map_or(0, Vec::len),
        0,
        "nothing is probed: {outcome:#}"
    );
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
}

/// The deployment by which CodeDeploy rolls another one back.
pub(crate) async fn rollback_of(id: &str) -> String {
    let made = eventually(LIMIT, async || {
        AWS.deployment(id).await["rollback_id"].as_str().map(str::to_owned)
    });
    made.await.expect("CodeDeploy rolls back")
}

/// What EventBridge says of a deployment of CodeDeploy.
pub(crate) fn event(id: &str, state: &str) -> Value {
    json!({
        "source": "aws.codedeploy",
        "detail-type": "CodeDeploy Deployment State-change Notification",
        "account": "123456789012",
        "region": "us-east-1",
        "detail": { "deploymentId": id, "state": state },
    })
}

#[tokio::test]
async fn a_ready_wait_in_every_other_case() {
    const ANSWER: &str = "ContinueDeployment";
    let check = async |key: &str, befalls: Befalls, expected: [&str; 4]| {
        let events = format!("{key}-events");
        let mut more = vec!["--events-queue", &events, "--ready-wait-minutes", "60"];
        more.extend(["--count", if befalls == Befalls::NoTargets { "0" } else { "1" }]);
        // So that it is still under way when gate answers.
        more.extend(CANARY.iter().filter(|_| befalls == Befalls::Answered));
        let site = AWS.site(key, "http://127.0.0.1:1", &[], &more).await;
        if befalls == Befalls::Throttling {
            throttle(key).await;
        }
        let url = site.made["queue_url"].as_str().unwrap();
        let polled = format!("poll: [ {{ application: {key}, group: {key}-group }} ]");
        let settings = if befalls == Befalls::Twice {
            queue(url).replace(" }", &format!(", {polled} }}"))
        } else {
            queue(url)
        };
        let policy = lenient(&befalls.policy(QUICK));
        let gate = Gate::new(&AWS.endpoint, key).policy(&policy).settings(&settings).start().await;
        let id = site.deploy_with_hooks(&[], "").await;
        match befalls {
            Befalls::NoTargets | Befalls::Throttling => {}
            Befalls::Twice => {
                judging(&gate, &id).await;
                AWS.send(url, &event(&id, "READY")).await;
            }
            Befalls::Answered => {
                let by_hand = async || {
                    AWS.call("codedeploy", ANSWER, json!({ "deploymentId": id })).await;
                };
                answer_before(key, ANSWER, by_hand).await;
            }
            Befalls::Stopped => {
                judging(&gate, &id).await;
                stop_by_hand(&id).await;
            }
        }
        let outcome = outcome(&gate, &id).await;
        let [decision, basis, delivery, status] = expected;
        assert_eq!(told(&outcome), [decision, basis, delivery], "{key}: {outcome:#}");
        AWS.until(&id, &[status], LIMIT).await;
        match befalls {
            Befalls::Throttling => check_throttled(key, Some(ANSWER)).await,
            Befalls::NoTargets => assert_eq!(calls(ANSWER, key).await, (1, 0)),
            Befalls::Twice => {
                check_metric(&gate, r#"kind="codedeploy-ready",outcome="joined"} 1"#).await;
                assert_eq!(calls(ANSWER, key).await, (1, 0));
            }
            Befalls::Answered => check_let_go(key, ANSWER).await,
            Befalls::Stopped => assert_eq!(calls(ANSWER, key).await, (0, 0)),
        }
    };
    tokio::join!(
        check("ready-empty", Befalls::NoTargets, ["continue", "no-data", "confirmed", "Succeeded"]),
        check(
            "ready-throttled",
            Befalls::Throttling,
            ["continue", "proven", "confirmed", "Succeeded"]
        ),
        check("ready-twice", Befalls::Twice, ["continue", "proven", "confirmed", "Succeeded"]),
        check(
            "ready-answered",
            Befalls::Answered,
            ["continue", "proven", "already-completed", "InProgress"]
        ),
        check("ready-stopped", Befalls::Stopped, ["none", "none", "too-late", "Stopped"]),
    );
}

#[tokio::test]
async fn the_rollback_of_a_rejected_ready_wait_is_left_alone() {
    let more =
        ["--events-queue", "ready-back-events", "--ready-wait-minutes", "60", "--count", "1"];
    let site = AWS.site("ready-back", "http://127.0.0.1:1", &[], &more).await;
    let settings = queue(site.made["queue_url"].as_str().unwrap());
    let policy = format!("{QUICK}watch: {{ until: end-of-deployment }}\n");
    let gate =
        Gate::new(&AWS.endpoint, "ready-back").policy(&policy).settings(&settings).start().await;
    let id = site.deploy_with_hooks(&FAULTY, "").await;
    let outcome = outcome(&gate, &id).await;
    assert_eq!(told(&outcome), ["rollback", "proven", "stopped"], "{outcome:#}");
    let rollback = rollback_of(&id).await;
    let deployment = AWS.until(&rollback, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    let watch = watched(&gate, &rollback).await;
    assert_eq!(told(&watch), ["none"; 3], "{watch:#}");
    assert!(watch["watch"].is_null(), "never probed: {watch:#}");
}
