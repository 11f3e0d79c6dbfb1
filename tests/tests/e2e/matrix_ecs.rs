//! Questions of ECS's own deployments in every case: pauses, and hooks that are Lambda functions.

use serde_json::{Value, json};
use tests::{Gate, eventually};

use super::matrix::{
    Befalls, FAULTY, QUICK, answer_before, calls, check_let_go, check_metric, check_throttled,
    judging, lenient, outcome, patient, questions, queue, stages, throttle, told,
};
use super::{AWS, LIMIT};

const ANSWER: &str = "ContinueServiceDeployment";
const PAUSED: [&str; 2] = ["--pause", "POST_TEST_TRAFFIC_SHIFT"];

/// The last part of an ARN.
fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

/// The newest hook of a service deployment, once there is one.
async fn hook(arn: &str) -> Value {
    let found = eventually(LIMIT, async || {
        let seen = AWS.service_deployment(arn).await;
        seen["hooks"].as_array()?.last().cloned()
    });
    found.await.expect("it has a hook")
}

async fn stop_by_hand(arn: &str) {
    let stop = json!({ "serviceDeploymentArn": arn, "stopType": "ROLLBACK" });
    AWS.call("ecs", "StopServiceDeployment", stop).await;
}

/// What EventBridge says of a pause.
fn event(arn: &str, hook: &Value) -> Value {
    json!({
        "source": "aws.ecs",
        "detail-type": "ECS Hook State Change",
        "account": "123456789012",
        "region": "us-east-1",
        "resources": [arn],
        "detail": {
            "eventType": "INFO", "eventName": "HOOK_AWAITING_ACTION", "hookType": "PAUSE",
            "hookId": hook["id"], "lifecycleStage": hook["stage"], "serviceDeploymentArn": arn,
        },
    })
}

#[tokio::test]
async fn a_pause_in_every_other_case() {
    let check = async |key: &str, befalls: Befalls, expected: [&str; 4]| {
        let count = if befalls == Befalls::NoTargets { "0" } else { "1" };
        let bake = if befalls == Befalls::Answered { "2" } else { "0" };
        let more = ["--count", count, "--bake-minutes", bake];
        let service = AWS.service(key, &[], &[&PAUSED[..], &more].concat()).await;
        let policy = lenient(&befalls.policy(QUICK));
        let gate = Gate::new(&AWS.endpoint, key).policy(&policy);
        let gate = gate.settings(&queue(&service.queue)).start().await;
        let arn = &service.first;
        match befalls {
            Befalls::NoTargets | Befalls::Throttling => {}
            Befalls::Twice => {
                judging(&gate, short(arn)).await;
                AWS.send(&service.queue, &event(arn, &hook(arn).await)).await;
            }
            Befalls::Answered => {
                let by_hand = async || {
                    let answer = json!({
                        "serviceDeploymentArn": arn, "hookId": hook(arn).await["id"],
                        "action": "CONTINUE",
                    });
                    AWS.call("ecs", ANSWER, answer).await;
                };
                answer_before(key, ANSWER, by_hand).await;
            }
            Befalls::Stopped => {
                judging(&gate, short(arn)).await;
                stop_by_hand(arn).await;
            }
        }
        let outcome = outcome(&gate, short(arn)).await;
        let [decision, basis, delivery, status] = expected;
        assert_eq!(told(&outcome), [decision, basis, delivery], "{key}: {outcome:#}");
        let deployed = AWS.service_deployed(arn, LIMIT).await;
        assert_eq!(deployed["status"], status, "{key}: {deployed:#}");
        match befalls {
            Befalls::Answered => check_let_go(key, ANSWER).await,
            Befalls::Stopped => assert_eq!(calls(ANSWER, key).await, (0, 0)),
            Befalls::NoTargets | Befalls::Throttling => {
                assert_eq!(calls(ANSWER, key).await, (1, 0));
            }
            Befalls::Twice => {
                check_metric(&gate, r#"kind="ecs-pause",outcome="joined"} 1"#).await;
                assert_eq!(calls(ANSWER, key).await, (1, 0));
            }
        }
    };
    tokio::join!(
        check(
            "pause-empty",
            Befalls::NoTargets,
            ["continue", "no-data", "confirmed", "SUCCESSFUL"]
        ),
        check("pause-twice", Befalls::Twice, ["continue", "proven", "confirmed", "SUCCESSFUL"]),
        check(
            "pause-answered",
            Befalls::Answered,
            ["continue", "proven", "already-completed", "SUCCESSFUL"]
        ),
        check("pause-stopped", Befalls::Stopped, ["none", "none", "too-late", "STOPPED"]),
    );
}

#[tokio::test]
async fn an_answer_that_comes_too_late_is_not_sent_for_ever() {
    // A minute of AWS's is six seconds here: time to start, and the answer is refused for longer.
    let timeout = ["--pause-timeout-minutes", "3", "--pause-timeout-action", "CONTINUE"];
    let service = AWS.service("pause-late", &[], &[&PAUSED[..], &timeout].concat()).await;
    AWS.fault(json!({
        "operation": ANSWER, "access_key": "pause-late", "error": "ThrottlingException",
    }))
    .await;
    let gate = Gate::new(&AWS.endpoint, "pause-late").policy(&patient(QUICK));
    let gate = gate.settings(&queue(&service.queue)).start().await;
    let deployed = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "by the pause's own time-out: {deployed:#}");
    let outcome = outcome(&gate, short(&service.first)).await;
    let [decision, basis, delivery] = told(&outcome);
    assert_eq!([decision, delivery], ["rollback", "too-late"], "{outcome:#}");
    // So few ticks may be most of them too late on a busy machine.
    assert!(["undecided", "gate-trouble"].contains(&basis), "{outcome:#}");
    let (_, refused) = calls(ANSWER, "pause-late").await;
    assert!((1..20).contains(&refused), "{refused} tries");
}

#[tokio::test]
async fn of_two_gates_that_answer_one_pause_one_is_heard_and_the_other_knows() {
    let service = AWS
        .service("race", &[], &[&PAUSED[..], &["--bake-minutes", "2", "--count", "1"]].concat())
        .await;
    // Whoever looks every 20 s before it pauses would hear of it when the other one has answered.
    hook(&service.first).await;
    let settings = format!("intake: {{ poll: [ {} ] }}\n", service.polled());
    let gate = async |key: &str| {
        // Both must have begun before one of them answers.
        let policy = Befalls::Twice.policy(QUICK);
        Gate::new(&AWS.endpoint, key).policy(&policy).settings(&settings).start().await
    };
    let (one, other) = tokio::join!(gate("race-one"), gate("race-other"));
    let deployed = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    let id = short(&service.first);
    let (first, second) = tokio::join!(outcome(&one, id), outcome(&other, id));
    let mut deliveries = [told(&first)[2], told(&second)[2]];
    deliveries.sort_unstable();
    assert_eq!(deliveries, ["already-completed", "confirmed"], "{first:#} {second:#}");
    let (one, other) = tokio::join!(calls(ANSWER, "race-one"), calls(ANSWER, "race-other"));
    assert_eq!((one.0 + other.0, one.1 + other.1), (1, 1));
}

#[tokio::test]
async fn each_stage_that_may_pause_is_a_question_at_its_own_stage() {
    let all = [
        ("PRE_SCALE_UP", "PreScaleUp", "nothing-to-measure"),
        ("POST_SCALE_UP", "PostScaleUp", "proven"),
        ("POST_TEST_TRAFFIC_SHIFT", "PostTestTrafficShift", "proven"),
        ("PRE_PRODUCTION_TRAFFIC_SHIFT", "PreProductionTrafficShift", "proven"),
        ("POST_PRODUCTION_TRAFFIC_SHIFT", "PostProductionTrafficShift", "proven"),
    ];
    let pauses = all.map(|(pause, _, _)| pause).join(",");
    let service = AWS.service("stages", &[], &["--pause", &pauses, "--count", "1"]).await;
    let gate = Gate::new(&AWS.endpoint, "stages").policy(QUICK);
    let gate = gate.settings(&queue(&service.queue)).start().await;
    let deployed = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    outcome(&gate, short(&service.first)).await;
    let questions = questions(&gate, short(&service.first)).await;
    assert_eq!(stages(&questions), all.map(|(_, stage, basis)| (stage, basis)));
    assert_eq!(calls(ANSWER, "stages").await, (5, 0));
}

#[tokio::test]
async fn every_step_of_a_linear_shift_is_asked_by_a_fresh_hook_and_judged_afresh() {
    let more = [
        ["--strategy", "LINEAR"],
        ["--step-percent", "25"],
        ["--step-bake-minutes", "0"],
        ["--count", "1"],
        ["--pause", "PRE_PRODUCTION_TRAFFIC_SHIFT"],
    ];
    let service = AWS.service("linear", &[], more.as_flattened()).await;
    let gate = Gate::new(&AWS.endpoint, "linear").policy(QUICK);
    let gate = gate.settings(&queue(&service.queue)).start().await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");

    let arn = service.deploy(&[]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    outcome(&gate, short(&arn)).await;
    let asked = questions(&gate, short(&arn)).await;
    let weights = asked.iter().map(|seen| seen["deployment"]["green_weight"].as_f64());
    assert_eq!(weights.collect::<Vec<_>>(), [0.0, 25.0, 50.0, 75.0].map(Some), "{asked:#?}");
    assert_eq!(stages(&asked), [("PreProductionTrafficShift", "proven"); 4]);
    let hooks = deployed["hooks"].as_array().unwrap().iter().map(|hook| hook["id"].as_str());
    assert_eq!(hooks.collect::<std::collections::BTreeSet<_>>().len(), 4, "{deployed:#}");
    // The first deployment has one step: there is nobody to give the rest to.
    assert_eq!(calls(ANSWER, "linear").await, (5, 0));

    // 40 probes a second, 2 s at least for a question: good for the first, gone by the fourth.
    let arn = service.deploy(&["--unreachable-after", "260"]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "ROLLBACK_SUCCESSFUL", "{deployed:#}");
    outcome(&gate, short(&arn)).await;
    let asked = questions(&gate, short(&arn)).await;
    let decisions: Vec<_> = asked.iter().map(|seen| told(seen)[0]).collect();
    assert!((2..=4).contains(&decisions.len()), "{decisions:?}");
    assert!(decisions.starts_with(&["continue"]), "{decisions:?}");
    assert_eq!(decisions.iter().filter(|decision| **decision == "rollback").count(), 1);
}

/// The payload of the newest hook's newest invocation, flat as older guides have it.
fn flat(payload: &Value) -> Value {
    let mut flat = payload.as_object().unwrap().clone();
    let details = flat.remove("executionDetails").expect("the nested shape");
    flat.extend(details.as_object().unwrap().clone());
    Value::Object(flat)
}

#[tokio::test]
async fn a_lambda_hook_in_every_other_case() {
    let check = async |key: &str, befalls: Befalls, expected: [&str; 4]| {
        let gate = Gate::new(&AWS.endpoint, key).policy(&befalls.policy(QUICK)).start().await;
        if befalls == Befalls::Throttling {
            throttle(key).await;
        }
        let count = if befalls == Befalls::NoTargets { "0" } else { "1" };
        let stages = (gate.url(), "POST_TEST_TRAFFIC_SHIFT");
        let service = AWS.hooked_service(key, (&stages.0, stages.1), &["--count", count]).await;
        let arn = &service.first;
        let url = format!("{}/hooks/ecs", gate.url());
        let ask = async |payload: &Value| tests::http::post(&url, payload).await.unwrap().json();
        match befalls {
            Befalls::NoTargets | Befalls::Throttling => {}
            Befalls::Twice => {
                let judged = judging(&gate, short(arn)).await;
                let payload = hook(arn).await["invocations"][0]["payload"].clone();
                for payload in [flat(&payload), payload] {
                    let again = ask(&payload).await;
                    assert_eq!(again["hookStatus"], "IN_PROGRESS", "{again:#}");
                    assert_eq!(again["callBackDelay"], 30);
                    assert_eq!(again["hookDetails"]["gate"]["evaluation"], judged["id"]);
                }
            }
            Befalls::Answered => unreachable!("only the function's answer counts"),
            Befalls::Stopped => {
                judging(&gate, short(arn)).await;
                stop_by_hand(arn).await;
            }
        }
        let outcome = outcome(&gate, short(arn)).await;
        let [decision, basis, delivery, status] = expected;
        assert_eq!(told(&outcome), [decision, basis, delivery], "{key}: {outcome:#}");
        let deployed = AWS.service_deployed(arn, LIMIT).await;
        assert_eq!(deployed["status"], status, "{key}: {deployed:#}");
        assert_eq!(questions(&gate, short(arn)).await.len(), 1);
        match befalls {
            Befalls::Throttling => check_throttled(key, None).await,
            Befalls::Twice => {
                // Over, it is answered the same however often it is asked.
                let payload = &deployed["hooks"][0]["invocations"][0]["payload"];
                assert_eq!(ask(&flat(payload)).await["hookStatus"], "SUCCEEDED");
                assert_eq!(questions(&gate, short(arn)).await.len(), 1);
            }
            _ => {}
        }
    };
    tokio::join!(
        check(
            "function-empty",
            Befalls::NoTargets,
            ["rollback", "no-data", "confirmed", "STOPPED"]
        ),
        check(
            "function-throttled",
            Befalls::Throttling,
            ["continue", "proven", "confirmed", "SUCCESSFUL"]
        ),
        check("function-twice", Befalls::Twice, ["continue", "proven", "confirmed", "SUCCESSFUL"]),
        check("function-stopped", Befalls::Stopped, ["none", "none", "too-late", "STOPPED"]),
    );
}

#[tokio::test]
async fn functions_that_are_asked_while_a_deployment_goes_back_let_it_at_once() {
    let gate = Gate::new(&AWS.endpoint, "function-back").policy(QUICK).start().await;
    let stages = (gate.url(), "TEST_TRAFFIC_SHIFT,PRODUCTION_TRAFFIC_SHIFT");
    let service =
        AWS.hooked_service("function-back", (&stages.0, stages.1), &["--count", "1"]).await;
    AWS.service_deployed(&service.first, LIMIT).await;
    let before = gate.evaluations().await.len();
    let arn = service.deploy(&FAULTY).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "ROLLBACK_SUCCESSFUL", "{deployed:#}");
    let hooks = deployed["hooks"].as_array().unwrap();
    let asked: Vec<_> = hooks.iter().map(|hook| hook["stage"].as_str().unwrap()).collect();
    // Stopped at the first; then those of the way back.
    let back = ["PRODUCTION_TRAFFIC_SHIFT", "TEST_TRAFFIC_SHIFT"];
    assert_eq!(asked, [&["TEST_TRAFFIC_SHIFT"], &back[..]].concat());
    for hook in &hooks[1..] {
        let invocations = hook["invocations"].as_array().unwrap();
        assert_eq!(invocations.len(), 1, "{hook:#}");
        assert_eq!(invocations[0]["answer"]["hookStatus"], "SUCCEEDED", "{hook:#}");
    }
    assert_eq!(gate.evaluations().await.len(), before + 1, "they are no questions");
    check_metric(&gate, r#"kind="ecs-hook",outcome="rollback"} 2"#).await;
}
