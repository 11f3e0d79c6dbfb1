//! What AWS itself has to say of a release: real traffic in CloudWatch, alarms, tasks that stop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::{Gate, eventually};

use super::{AWS, ENDED, LIMIT, POLICY, finished, reason};

/// A period of a minute and the two it takes to settle, from the next full minute on.
const SETTLED: Duration = Duration::from_secs(330);

/// [`POLICY`] with one objective more, and the time to see it broken.
fn with(objective: &str) -> String {
    let policy = POLICY.replace("objectives:\n", &format!("objectives:\n  - {objective}\n"));
    policy.replace("at-least: 8s, deadline: 90s", "at-least: 8s, deadline: 10m")
}

async fn points(name: &str, dimensions: &Value, value: u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let minute = now - now % 60;
    let points: Vec<Value> =
        (0..8).map(|ahead| json!({ "at": minute + 60 * ahead, "value": value })).collect();
    let body = json!({
        "namespace": "AWS/ApplicationELB", "name": name, "dimensions": dimensions, "points": points,
    });
    AWS.control("metrics/points", &body).await;
}

#[tokio::test]
async fn errors_of_real_traffic_roll_a_release_back_that_answers_every_probe() {
    let objective =
        "cloudwatch: { metric: HTTPCode_Target_5XX_Count, of: RequestCount, at-most: 1% }";
    let gate = Gate::new(&AWS.endpoint, "traffic").policy(&with(objective)).start().await;
    let site = AWS.site("traffic", &gate.url(), &[], &[]).await;
    let id = site.deploy_with_hooks(&[], "AfterAllowTraffic").await;
    let resolved = eventually(LIMIT, async || {
        let seen = gate.evaluation(&id).await?;
        seen["deployment"]["green"].as_array().filter(|green| !green.is_empty()).map(drop)
    });
    resolved.await.expect("it is resolved");
    let deployment = AWS.deployment(&id).await;
    let green = deployment["green"]["target_group"]
        .as_str()
        .or(deployment["task_sets"]["green"]["target_group"].as_str());
    let group = green.unwrap_or_else(|| panic!("{deployment:#}"));
    let of = |resource: &str| resource.rsplit(':').next().unwrap().to_owned();
    // `listener/app/web/1/2` is a listener of `app/web/1`.
    let listener = of(site.made["prod_listener"].as_str().unwrap());
    let balancer = listener.trim_start_matches("listener/").rsplit_once('/').unwrap().0.to_owned();
    let dimensions = json!({ "TargetGroup": of(group), "LoadBalancer": balancer });
    points("RequestCount", &dimensions, 1000).await;
    points("HTTPCode_Target_5XX_Count", &dimensions, 200).await;
    let outcome = gate.outcome(&id, SETTLED).await;
    let decided = (&outcome["decision"], &outcome["basis"]);
    assert_eq!(decided, (&json!("rollback"), &json!("proven")), "{outcome:#}\n{}", gate.logged());
    assert!(reason(&outcome).contains("HTTPCode_Target_5XX_Count"), "{outcome:#}");
    let metrics = tests::http::get(&format!("{}/metrics", gate.admin())).await.unwrap().text;
    assert!(metrics.contains("gate_cloudwatch_metrics_requested_total"), "{metrics}");
}

async fn alarm(name: &str, state: &str) {
    let parameters = json!({
        "AlarmName": name, "MetricName": "m", "Namespace": "n", "Statistic": "Sum", "Period": 60,
        "EvaluationPeriods": 1, "Threshold": 1.0, "ComparisonOperator": "GreaterThanThreshold",
    });
    AWS.call("cloudwatch", "PutMetricAlarm", parameters).await;
    set(name, state).await;
}

async fn set(name: &str, state: &str) {
    let parameters = json!({ "AlarmName": name, "StateValue": state, "StateReason": "a test" });
    AWS.call("cloudwatch", "SetAlarmState", parameters).await;
}

#[tokio::test]
async fn an_alarm_that_turns_red_rolls_back_and_one_that_was_red_before_does_not() {
    let objective = "alarms: { names: [was-red, turns-red], for: 1s }";
    let patient = with(objective).replace("at-least: 8s", "at-least: 2m");
    let gate = Gate::new(&AWS.endpoint, "alarming").policy(&patient).start().await;
    alarm("was-red", "ALARM").await;
    alarm("turns-red", "OK").await;
    let site = AWS.site("alarming", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let judging = eventually(LIMIT, async || {
        let seen = gate.evaluation(&id).await?;
        (seen["phase"] == "judging").then_some(())
    });
    judging.await.expect("it is judged");
    set("turns-red", "ALARM").await;
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!(
        (&outcome["decision"], &outcome["basis"]),
        (&json!("rollback"), &json!("condition")),
        "{outcome:#}"
    );
    assert!(reason(&outcome).contains("turns-red"), "{outcome:#}");
    let described = AWS.requests("DescribeAlarms", "alarming").await;
    assert!(described.len() <= 6, "at most one in 30 s: {described:#?}");
}

#[tokio::test]
async fn a_task_that_stops_by_itself_is_named_with_its_exit_code() {
    let objective = "stopped-tasks: { at-most: 0 }";
    // The task is missed by half of the probes: it is not they that are to judge here.
    let lenient = "{ at-most: 70%, unacceptable: 95% }";
    let patient = with(objective).replace("at-least: 8s", "at-least: 2m");
    let patient = patient.replace("{ at-most: 2% }", lenient);
    let (before, _latency) = patient.split_once("  - latency").unwrap();
    let patient = format!("{before}decide: {{ at-least: 2m, deadline: 10m }}\n");
    let gate = Gate::new(&AWS.endpoint, "stopping").policy(&patient).start().await;
    let site = AWS.site("stopping", &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let address = eventually(LIMIT, async || {
        let seen = gate.evaluation(&id).await?;
        let green = seen["deployment"]["green"].as_array()?;
        green.iter().find(|target| target["route"] == "task")?["host"].as_str().map(str::to_owned)
    });
    let address = address.await.expect("green has tasks");
    AWS.control(&format!("tasks/{address}/kill"), &json!({})).await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(outcome["decision"], "rollback", "{outcome:#}");
    assert!(ENDED.contains(&deployment["status"].as_str().unwrap()));
    let judged = outcome["objectives"]
        .as_array()
        .unwrap()
        .iter()
        .find(|o| o["name"].as_str().unwrap().contains("stopped"));
    let judged = judged.unwrap_or_else(|| panic!("{outcome:#}"));
    assert_eq!(judged["verdict"], "Broken", "{}", gate.logged());
    assert!(reason(&outcome).contains("exit"), "{outcome:#}");
}
