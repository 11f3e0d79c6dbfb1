//! What goes wrong with what gate measures by, alarms, metrics and invocations, is no evidence against a release.

use futures_util::future::join_all;
use tests::{Faults, Gate, Misdeed, Rule};

use super::faults::{calm, check_continues, first, spoilt_calls};
use super::matrix::told;
use super::signals::{alarm, with_real_traffic};
use super::{AWS, ENDED, LIMIT, functions};

#[tokio::test]
async fn alarms_are_read_although_the_first_tries_fail() {
    use Misdeed::*;
    let cases: [(&str, &[Misdeed]); 3] = [
        ("alarms-throttled", &[Throttles, Status(500)]),
        ("alarms-half", &[Half, Garbage]),
        ("alarms-silent", &[Silence, ResetAfter]),
    ];
    join_all(cases.map(async |(name, misdeeds)| {
        alarm(name, "OK").await;
        let alarms = format!("objectives: [ {{ alarms: {{ names: [ {name} ], for: 1s }} }},");
        let policy = calm().replace("objectives: [", &alarms);
        let (way, _) = check_continues(name, &policy, first("DescribeAlarms", misdeeds)).await;
        assert!(spoilt_calls(&way.seen("DescribeAlarms")) > 0, "{name}: nothing went wrong");
    }))
    .await;
}

#[tokio::test]
async fn metrics_are_read_although_the_first_tries_fail() {
    use Misdeed::*;
    let cases: [(&str, &[Misdeed]); 2] =
        [("metrics-throttled", &[Throttles, Half]), ("metrics-500", &[Status(500), Garbage])];
    join_all(cases.map(async |(name, misdeeds)| {
        let (way, outcome) = with_real_traffic(name, None, first("GetMetricData", misdeeds)).await;
        assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{name}: {outcome:#}");
        assert_eq!(spoilt_calls(&way.seen("GetMetricData")), 2, "{name}");
    }))
    .await;
}

#[tokio::test]
async fn invocations_that_lambda_fails_prove_nothing_against_a_version() {
    use Misdeed::*;
    // Of both versions together: half a second of each fault.
    let rules = [Throttles, Status(500), Half].map(|fault| Rule::of("Invoke", fault).times(10));
    let way = Faults::start(&AWS.endpoint, rules).await;
    let gate = Gate::new(&way.url, "faltering").policy(functions::POLICY).start().await;
    let function = AWS.function("faltering", &gate.url(), &[]).await;
    let id = function.deploy(&["NAME=new"], &functions::BEFORE).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{outcome:#}");
    let outcomes = &outcome["green"]["total"]["outcomes"];
    for came in ["throttled", "unreachable"] {
        assert!(outcomes[came].as_u64().is_some_and(|count| count > 0), "{came}: {outcome:#}");
    }
}
