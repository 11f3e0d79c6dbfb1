//! What AWS itself has to say of a release: alarms, tasks that stop.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tests::{Faults, Gate, Rule, eventually};

use super::matrix::check_metric;
use super::{AWS, ENDED, LIMIT, POLICY, finished, reason};

/// [`POLICY`] with one objective more, and the time to see it broken.
fn with(objective: &str) -> String {
    let policy = POLICY.replace("objectives:\n", &format!("objectives:\n  - {objective}\n"));
    policy.replace("at-least: 8s, deadline: 90s", "at-least: 8s, deadline: 10m")
}

/// Makes an alarm in this state.
pub(crate) async fn alarm(name: &str, state: &str) {
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

/// How long gate is down in the tests of real traffic: without waiting, several minutes of green's traffic lie
/// between its acceptance and now. Longer than the five minutes after which nothing read is no data.
const DOWN: Duration = Duration::from_secs(9 * 60);

/// Writes points of a metric of each minute that `value` has one for, from long before the question on.
async fn points(
    name: &str,
    dimensions: &Value,
    minutes: &[u64],
    value: impl Fn(u64) -> Option<u32>,
) {
    let points: Vec<Value> = minutes
        .iter()
        .filter_map(|minute| Some(json!({ "at": minute, "value": value(*minute)? })))
        .collect();
    let body = json!({
        "namespace": "AWS/ApplicationELB", "name": name, "dimensions": dimensions, "points": points,
    });
    AWS.control("metrics/points", &body).await;
}

/// The outcome of a release that answers every probe, and of whose 1000 real requests a minute so many are 5XX; all of them
/// are in minutes that must not be read. By the way to AWS on which these things go wrong.
pub(crate) async fn with_real_traffic(
    name: &str,
    failed: Option<u32>,
    rules: Vec<Rule>,
) -> (Faults, Value) {
    let objective =
        "cloudwatch: { metric: HTTPCode_Target_5XX_Count, of: RequestCount, at-most: 1% }";
    let policy = with(objective).replace("deadline: 10m", "deadline: 20m");
    let way = Faults::start(&AWS.endpoint, rules).await;
    let mut gate = Gate::new(&way.url, name).policy(&policy).start().await;
    let site = AWS.site(name, &gate.url(), &[], &[]).await;
    let id = site.deploy_with_hooks(&[], "AfterAllowTraffic").await;
    let reached = eventually(LIMIT, async || {
        let seen = gate.evaluation(&id).await?;
        seen["series"].as_array().filter(|ticks| !ticks.is_empty()).map(drop)
    });
    reached.await.unwrap_or_else(|| panic!("green is not judged: {}", gate.logged()));
    // Other ways may be served by this thread.
    let aged = tokio::task::spawn_blocking(move || (gate.kill_and_age(DOWN), gate));
    let (accepted, mut gate) = aged.await.unwrap();

    let text = |key: &str| site.made[key].as_str().unwrap();
    let group = text("green_target_group").rsplit(':').next().unwrap();
    // `listener/app/web/1/2` is a listener of `app/web/1`.
    let listener = text("prod_listener").rsplit(':').next().unwrap();
    let balancer = listener.trim_start_matches("listener/").rsplit_once('/').unwrap().0;
    let dimensions = json!({ "TargetGroup": group, "LoadBalancer": balancer });
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let first = accepted - accepted % 60;
    let minutes: Vec<u64> = (first - 300..=now).step_by(60).collect();
    // The minute of acceptance began before green had traffic; one that ended within the last two is not settled. What is
    // about to be settled may be read or not.
    let counts = |minute: u64| minute > first && minute + 60 <= now - 60;
    points("RequestCount", &dimensions, &minutes, |_| Some(1000)).await;
    let bad = |minute| if counts(minute) { failed } else { Some(1000) };
    points("HTTPCode_Target_5XX_Count", &dimensions, &minutes, bad).await;

    gate.restart().await;
    let outcome = gate.outcome(&id, LIMIT).await;
    let asked = way.seen("GetMetricData");
    let read = asked.iter().filter(|seen| seen.misdeed.is_none()).count();
    assert_eq!(read, 1, "all minutes in one call: {asked:#?}");
    for unread in ["CloudWatch is not read", "a signal cannot be read"] {
        assert!(!gate.logged().contains(unread), "{}", gate.logged());
    }
    check_metric(&gate, "gate_cloudwatch_metrics_requested_total 2").await;
    (way, outcome)
}

/// Bad events and all that were judged of the first objective.
fn counted(outcome: &Value) -> (u64, u64) {
    let counts = &outcome["objectives"][0]["counts"];
    (counts["bad"].as_u64().unwrap(), counts["total"].as_u64().unwrap())
}

#[tokio::test]
async fn real_requests_that_fail_roll_a_release_back_that_answers_every_probe() {
    let (_way, outcome) = with_real_traffic("traffic-bad", Some(200), Vec::new()).await;
    let decided = (&outcome["decision"], &outcome["basis"]);
    assert_eq!(decided, (&json!("rollback"), &json!("proven")), "{outcome:#}");
    assert!(reason(&outcome).contains("HTTPCode_Target_5XX_Count"), "{outcome:#}");
    let (bad, all) = counted(&outcome);
    assert!(all >= 3000 && bad * 5 == all, "no minute but green's own: {bad} of {all}");
}

#[tokio::test]
async fn real_requests_that_succeed_let_a_release_through() {
    // Load balancers publish no zeros.
    let (_way, outcome) = with_real_traffic("traffic-good", None, Vec::new()).await;
    let decided = (&outcome["decision"], &outcome["basis"]);
    assert_eq!(decided, (&json!("continue"), &json!("proven")), "{outcome:#}");
    let (bad, all) = counted(&outcome);
    assert!(all >= 3000 && bad == 0, "no minute but green's own: {bad} of {all}");
}
