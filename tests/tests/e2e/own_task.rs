//! The ECS task gate runs in: who it is, which side of a deployment, and its protection while somebody waits.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Endpoint, Gate, Manner, eventually, http};

use super::{AWS, ENDED, LIMIT, POLICY, accepted, finished};

const METADATA: &str = "ECS_CONTAINER_METADATA_URI_V4";
const AGENT: &str = "ECS_AGENT_URI";

/// Where the one container of a running task asks about itself.
fn told<'a>(task: &'a Value, variable: &str) -> &'a str {
    let endpoints = task["endpoints"].as_object().expect("containers");
    let (_, of_one) = endpoints.iter().next().expect("a container");
    of_one[variable].as_str().expect("an address")
}

/// Running tasks of a service, the oldest first, once there are so many.
async fn tasks(service: &Value, count: usize) -> Vec<Value> {
    let service = service.as_str().expect("a name");
    let found = eventually(LIMIT, async || {
        let tasks = AWS.tasks(service).await;
        (tasks.len() == count).then_some(tasks)
    });
    found.await.unwrap_or_else(|| panic!("there are no {count} tasks of {service}"))
}

/// A sidecar in the task whose metadata are there. What it judges is not there; nobody minds.
async fn sidecar(access_key: &str, metadata: &str) -> Gate {
    let target = "[ { url: \"http://127.0.0.1:9\", policy: sidecar } ]";
    let gate = Gate::sidecar(access_key, target).policy_named("sidecar.policy.yaml", POLICY);
    gate.env("AWS_ENDPOINT_URL", &AWS.endpoint).env(METADATA, metadata).start().await
}

async fn snapshot(gate: &Gate) -> Value {
    http::get(&format!("{}/snapshot", gate.admin())).await.expect("it is served").json()
}

/// What gate shows of its task, once it knows.
async fn shown(gate: &Gate) -> Value {
    let known = eventually(LIMIT, async || {
        let task = snapshot(gate).await["task"].clone();
        (!task.is_null()).then_some(task)
    });
    known.await.unwrap_or_else(|| panic!("it does not know its task: {}", gate.logged()))
}

/// A sidecar in this task knows it, and says that it is of this colour, or of none.
async fn check_colour(access_key: &str, task: &Value, colour: Option<&str>) {
    let gate = sidecar(access_key, told(task, METADATA)).await;
    let shown = shown(&gate).await;
    assert_eq!(shown["colour"], json!(colour), "{shown:#}\n{}", gate.logged());
    assert_eq!((&shown["task_arn"], &shown["service_name"]), (&task["arn"], &task["service"]));
}

#[tokio::test]
async fn a_task_of_codedeploy_keeps_its_colour_for_as_long_as_it_is_deployed() {
    let waits = ["--count", "1", "--ready-wait-minutes", "60", "--termination-wait-minutes", "60"];
    let site = AWS.site("coloured", "http://127.0.0.1:1", &[], &waits).await;
    let service = &site.made["service"];
    let before = tasks(service, 1).await;
    check_colour("coloured", &before[0], None).await;
    let id = site.deploy_with_hooks(&[], "").await;
    AWS.until(&id, &["Ready"], LIMIT).await;
    let both = tasks(service, 2).await;
    let (blue, green) = both.split_at(1);
    assert_eq!(blue[0]["arn"], before[0]["arn"]);
    check_colour("coloured", &blue[0], Some("blue")).await;
    check_colour("coloured", &green[0], Some("green")).await;

    // The task sets change places in the middle of it, their tasks do not.
    let go_on = async |wait: &str| {
        let asked = json!({ "deploymentId": id, "deploymentWaitType": wait });
        AWS.call("codedeploy", "ContinueDeployment", asked).await;
    };
    go_on("READY_WAIT").await;
    let cluster = &site.made["cluster"];
    let asked = json!({ "cluster": cluster, "services": [service] });
    let shifted = eventually(LIMIT, async || {
        let seen = AWS.call("ecs", "DescribeServices", asked.clone()).await;
        let sets = seen["services"][0]["taskSets"].as_array().expect("task sets").clone();
        let first = sets.iter().find(|set| set["status"] == "PRIMARY")?;
        (first["id"] == green[0]["task_set"]).then_some(())
    });
    shifted.await.expect("traffic shifts");
    check_colour("coloured", &blue[0], Some("blue")).await;
    check_colour("coloured", &green[0], Some("green")).await;

    let ended = eventually(LIMIT, async || {
        go_on("TERMINATION_WAIT").await;
        let seen = AWS.deployment(&id).await;
        ENDED.contains(&seen["status"].as_str().unwrap_or_default()).then_some(seen)
    });
    assert_eq!(ended.await.expect("it ends")["status"], "Succeeded");
    tasks(service, 1).await;
    check_colour("coloured", &green[0], None).await;
}

/// Lets a paused deployment go on, as a person would.
async fn go_on(arn: &str) {
    let id = arn.rsplit('/').next().expect("an ARN has parts");
    let url = format!("{}/_emulated/service-deployments/{id}", AWS.endpoint);
    let hook = paused(&url).await;
    let asked = json!({ "serviceDeploymentArn": arn, "hookId": hook, "action": "CONTINUE" });
    AWS.call("ecs", "ContinueServiceDeployment", asked).await;
}

/// The hook at which the deployment waits.
async fn paused(url: &str) -> Value {
    let waits = eventually(LIMIT, async || {
        let seen = http::get(url).await?.json();
        let hooks = seen["hooks"].as_array()?;
        let hook = hooks.iter().find(|hook| hook["status"] == "AWAITING_ACTION")?;
        Some(hook["id"].clone())
    });
    waits.await.expect("it pauses")
}

#[tokio::test]
async fn a_task_of_ecs_is_green_if_it_runs_what_is_deployed_and_of_no_colour_where_that_is_denied()
{
    let more = ["--count", "1", "--pause", "POST_TEST_TRAFFIC_SHIFT"];
    let service = AWS.service("shaded", &[], &more).await;
    go_on(&service.first).await;
    assert_eq!(AWS.service_deployed(&service.first, LIMIT).await["status"], "SUCCESSFUL");
    let before = tasks(&service.made["service"], 1).await;
    check_colour("shaded", &before[0], None).await;
    let arn = service.deploy(&[]).await;
    let id = arn.rsplit('/').next().expect("an ARN has parts");
    paused(&format!("{}/_emulated/service-deployments/{id}", AWS.endpoint)).await;
    let both = tasks(&service.made["service"], 2).await;
    check_colour("shaded", &both[0], Some("blue")).await;
    check_colour("shaded", &both[1], Some("green")).await;

    // Agents before 1.63.1 do not name the service.
    let url = format!("{}/task", told(&both[1], METADATA));
    let mut metadata = http::get(&url).await.expect("it is served").json();
    metadata.as_object_mut().expect("an object").remove("ServiceName");
    let old = Endpoint::start(Manner::Says(200, metadata.to_string())).await;
    let gate = sidecar("shaded", &format!("{}/v4/id", old.url)).await;
    let of_old = shown(&gate).await;
    assert_eq!((&of_old["colour"], &of_old["service_name"]), (&json!("green"), &Value::Null));
    assert_eq!(old.asked()[0].what, "GET /v4/id/task");

    AWS.fault(json!({
        "service": "ecs", "operation": "DescribeTasks", "access_key": "shaded",
        "error": "AccessDeniedException", "message": "not authorized", "status": 400,
    }))
    .await;
    check_colour("shaded", &both[1], None).await;
}

/// A gate starts all the same, says why it does not know its task, and judges what it is there for.
async fn check_unknown(metadata: &str, said: &str) -> Gate {
    let start = Instant::now();
    let gate = sidecar("nobody-knows", metadata).await;
    assert!(start.elapsed() < Duration::from_secs(20), "{metadata} delays the start");
    let told = eventually(LIMIT, async || {
        let log = gate.logged();
        (log.contains("the ECS agent does not say which task this is") && log.contains(said))
            .then_some(())
    });
    told.await.unwrap_or_else(|| panic!("`{said}` is not said: {}", gate.logged()));
    let seen = snapshot(&gate).await;
    assert!(seen["task"].is_null(), "{seen:#}");
    assert_eq!(seen["targets"][0]["url"], "http://127.0.0.1:9");
    gate
}

#[tokio::test]
async fn an_agent_that_does_not_say_who_this_is_stops_nothing_and_is_asked_again() {
    let says = async |status, text: &str| Endpoint::start(Manner::Says(status, text.into())).await;
    let (failing, talking) = (says(500, "oops").await, says(200, "<html>busy</html>").await);
    let (empty, hanging) = (says(200, "{}").await, Endpoint::start(Manner::Hangs).await);
    check_unknown(&talking.url, "its answer: ").await;
    check_unknown(&empty.url, "its answer: ").await;
    check_unknown(&hanging.url, "no answer within 2s").await;
    check_unknown("http://127.0.0.1:9/v4/id", "no answer").await;
    // Where the agent is on AWS, and nobody is here.
    check_unknown("http://169.254.170.2/v4/id", "169.254.170.2").await;
    check_unknown("not an address", METADATA).await;
    let gate = check_unknown(&failing.url, "500").await;
    let metadata =
        json!({ "Cluster": "c", "TaskARN": "arn:aws:ecs:us-east-1:123456789012:task/c/1" });
    failing.now(Manner::Says(200, metadata.to_string()));
    assert_eq!(shown(&gate).await["task_arn"], metadata["TaskARN"]);
}

/// Whether ECS keeps this task.
async fn protected(task: &Value) -> Value {
    let url = format!("{}/task-protection/v1/state", told(task, AGENT));
    let seen = http::get(&url).await.expect("the agent answers").json();
    seen["protection"]["ProtectionEnabled"].clone()
}

async fn until_protected(gate: &Gate, task: &Value, wanted: bool) {
    let so = eventually(LIMIT, async || (protected(task).await == wanted).then_some(()));
    so.await.unwrap_or_else(|| panic!("protection is never {wanted}: {}", gate.logged()));
}

#[tokio::test]
async fn a_daemon_in_ecs_is_protected_while_somebody_waits_also_after_it_was_killed() {
    // A task that gate can be in: nothing is deployed there.
    let home = AWS.site("home", "http://127.0.0.1:1", &[], &["--count", "1"]).await;
    let task = &tasks(&home.made["service"], 1).await[0];
    let gate = Gate::new(&AWS.endpoint, "guarded").policy(POLICY);
    let gate = gate.env(METADATA, told(task, METADATA)).env(AGENT, told(task, AGENT));
    let mut gate = gate.start().await;
    assert_eq!(shown(&gate).await["task_arn"], task["arn"], "a daemon knows its task as well");
    let site = AWS.site("guarded", &gate.url(), &[], &[]).await;
    assert_eq!(protected(task).await, false, "nobody waits yet");
    let id = site.deploy(&[]).await;
    until_protected(&gate, task, true).await;
    gate.kill();
    assert_eq!(protected(task).await, true, "by the hour it was given");
    gate.restart().await;
    let (outcome, _) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    until_protected(&gate, task, false).await;

    // Told to stop, it gives the protection up before it goes, though the question waits on.
    let id = site.deploy(&[]).await;
    until_protected(&gate, task, true).await;
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    assert_eq!(protected(task).await, false);
    gate.restart().await;
    assert_eq!(finished(&gate, &id).await.0["decision"], "continue");
}

/// A release is judged as ever by a gate whose agent behaves so; what is wrong is said once.
async fn check_unprotected(name: &str, manner: Manner, said: &str) {
    let agent = Endpoint::start(manner).await;
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY).env(AGENT, &agent.url);
    let mut gate = gate.start().await;
    let site = AWS.site(name, &gate.url(), &[], &["--count", "1"]).await;
    let id = site.deploy(&["--errors", "60%"]).await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("rollback"), &json!("proven")));
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    let log = gate.logged();
    let warnings: Vec<_> =
        log.lines().filter(|line| line.contains("the task is not protected")).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    assert!(
        warnings[0].contains(said) && warnings[0].contains("ecs:UpdateTaskProtection"),
        "{log}"
    );
    let asked = agent.asked();
    assert_eq!(asked[0].what, "PUT /task-protection/v1/state");
    let body: Value = serde_json::from_str(&asked[0].body).expect("JSON");
    assert_eq!(body, json!({ "ProtectionEnabled": true, "ExpiresInMinutes": 60 }));
}

#[tokio::test]
async fn an_agent_that_protects_nobody_disturbs_no_answer() {
    let denied =
        json!({ "error": { "Arn": "arn", "Code": "AccessDeniedException", "Message": "no" } });
    let blocked =
        json!({ "failure": { "Arn": "arn", "Reason": "DEPLOYMENT_BLOCKED", "Detail": null } });
    tokio::join!(
        check_unprotected("denied-agent", Manner::Says(400, denied.to_string()), "AccessDenied"),
        check_unprotected("blocked-agent", Manner::Says(200, blocked.to_string()), "BLOCKED"),
        check_unprotected("hanging-agent", Manner::Hangs, "no answer within 2s"),
    );
}
