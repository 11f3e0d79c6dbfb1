//! What is read of AWS, and when: against an AWS from memory, in time that a test moves.

use std::fmt::Write;

use expect_test::{Expect, expect};
use policies::PolicyFile;
use policies::policy::During;
use policies::reading::Seen;
use tokio::time::timeout_at;

use super::*;
use crate::aws::ecs::{ContainerFacts, TaskFacts};
use crate::aws::fake::FakeAws;
use crate::aws::measurements::{AlarmFacts, MetricQuery, Series, Span};
use crate::aws::{Call, Failure};

/// The question was accepted at 10:00:30.5.
const ACCEPTED_MILLIS: u64 = 36_030_500;

const ERRORS: &str =
    "{ cloudwatch: { metric: HTTPCode_Target_5XX_Count, of: RequestCount, at-most: 1% } }";
const LATENCY: &str = "{ cloudwatch: { metric: TargetResponseTime, at-most: +20% } }";
const STOPPED: &str = "{ stopped-tasks: { at-most: 0 } }";

/// Green, behind a load balancer, and blue.
fn measured() -> Measured {
    Measured {
        target_group: Some("targetgroup/green/1".into()),
        load_balancer: Some("app/web/1".into()),
        blue_target_group: Some("targetgroup/blue/2".into()),
        blue_load_balancer: Some("app/web/1".into()),
        service: Some(("prod".into(), "web".into())),
        tasks: Some(crate::resolve::GreenTasks::StartedBy("ecs-svc/green".into())),
        began_unix_seconds: Some(36_000),
        function: None,
    }
}

/// A point of each minute of the day that `value` has one for.
fn minutes(value: impl Fn(i64) -> Option<f64>) -> Series {
    let points = (0..24 * 60).filter_map(|minute| Some((minute * 60, value(minute)?)));
    Series { points: points.collect(), unusable: None }
}

fn clock(unix_seconds: i64) -> String {
    let (hours, minutes) = (unix_seconds / 3600, unix_seconds / 60 % 60);
    format!("{hours:02}:{minutes:02}:{:02}", unix_seconds % 60)
}

fn shown(seen: &Seen) -> String {
    match seen {
        Seen::Counts { bad, all } => format!("{bad} of {all}"),
        Seen::Point { value: Some(value) } => format!("{value}"),
        Seen::Point { value: None } => "nothing".to_owned(),
        Seen::Baseline { points } => format!("{} points of before", points.len()),
        Seen::Alarms { alarms } => format!("{alarms:?}"),
        Seen::Stopped { count, tasks } => {
            let told =
                tasks.iter().map(|t| format!("{} {:?} {}", t.container, t.exit_code, t.reason));
            format!("{count} stopped: {}", told.collect::<Vec<_>>().join("; "))
        }
        Seen::Buckets { .. } => panic!("{seen:?} is not AWS's"),
    }
}

/// Reading under way.
struct Bench {
    signals: Signals,
    aws: Arc<FakeAws>,
    metrics: Arc<Metrics>,
    origin: Instant,
}

impl Bench {
    /// Of these objectives, with real traffic from acceptance on.
    fn of(objectives: &[&str], aws: FakeAws) -> Self {
        Self::knowing(objectives, aws, &[], Some(Moment::ZERO))
    }

    fn knowing(
        objectives: &[&str],
        aws: FakeAws,
        known: &[(&str, Known)],
        traffic_since: Option<Moment>,
    ) -> Self {
        let text = format!(
            "gate: v1\nprobe: {{ http: {{ path: / }} }}\nobjectives: [ {{ errors: {{ at-most: 1% }} }}, {} ]",
            objectives.join(", ")
        );
        let policy = PolicyFile::parse("web.policy.yaml", &text).policy.unwrap();
        let aws = Arc::new(aws);
        let dimensions = Dimensions::default();
        dimensions.set(measured());
        let sources = Sources {
            clouds: Clouds::only(Arc::<FakeAws>::clone(&aws)),
            place: Place::default(),
            dimensions,
            desks: Arc::default(),
            accepted_unix_millis: ACCEPTED_MILLIS,
        };
        let (origin, metrics) = (Instant::now(), Arc::new(Metrics::new().unwrap()));
        let observed = policy.observed(During::Question);
        let known = known.iter().map(|(name, known)| ((*name).to_owned(), *known)).collect();
        let wanted = Wanted { observed, known, traffic_since, origin };
        let signals = Signals::begin(sources, wanted, Arc::clone(&metrics)).unwrap();
        Self { signals, aws, metrics, origin }
    }

    fn now(&self) -> i64 {
        (36_030_500 + i64::try_from(self.origin.elapsed().as_millis()).unwrap()) / 1000
    }

    /// What is read until then, in seconds from acceptance: when, of which period, and what.
    async fn until(&mut self, seconds: u64, expected: Expect) {
        let end = self.origin + Duration::from_secs(seconds);
        let mut told = String::new();
        while let Ok(Some(readings)) = timeout_at(end, self.signals.readings()).await {
            for reading in readings {
                let began = (36_030_500 + reading.began_millis) / 1000;
                let (now, began) = (clock(self.now()), clock(began));
                let what = shown(&reading.seen);
                writeln!(told, "{now}: {}, from {began}: {what}", reading.objective).unwrap();
            }
        }
        expected.assert_eq(&told);
    }

    /// The calls for metrics: what of, and of which span.
    fn queried(&self) -> String {
        let queried = self.aws.queried.lock().unwrap();
        let line = |(queries, span): &(Vec<MetricQuery>, Span)| {
            let names: Vec<String> = queries
                .iter()
                .map(|query| {
                    let of = query.dimensions.first().map_or("", |(_, value)| value.as_str());
                    format!("{} {} of {of}", query.statistic, query.name)
                })
                .collect();
            let (from, to) = (clock(span.from_unix_seconds), clock(span.to_unix_seconds));
            format!("{from}-{to}: {}\n", names.join(", "))
        };
        queried.iter().map(line).collect()
    }

    /// A counter's lines.
    fn counted(&self, name: &str) -> String {
        let text = self.metrics.text().unwrap();
        let lines = text.lines().filter(|line| line.starts_with(name));
        lines.map(|line| format!("{line}\n")).collect()
    }
}

fn traffic() -> FakeAws {
    let mut aws = FakeAws::new();
    let bad = minutes(|minute| (minute % 2 == 0).then_some(3.0));
    aws.series = [
        ("HTTPCode_Target_5XX_Count".to_owned(), bad),
        ("RequestCount".to_owned(), minutes(|_| Some(500.0))),
        ("TargetResponseTime".to_owned(), minutes(|_| Some(0.1))),
    ]
    .into();
    aws
}

#[tokio::test(start_paused = true)]
async fn each_settled_period_is_read_once_and_in_order_all_metrics_in_one_call() {
    let mut bench = Bench::of(&[ERRORS, LATENCY], traffic());
    bench
        .until(
            400,
            expect![[r#"
        10:00:30: TargetResponseTime Average at most +20 %, from 06:58:00: 180 points of before
        10:04:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:01:00: 0 of 500
        10:04:00: TargetResponseTime Average at most +20 %, from 10:01:00: 0.1
        10:05:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:02:00: 3 of 500
        10:05:00: TargetResponseTime Average at most +20 %, from 10:02:00: 0.1
        10:06:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:03:00: 0 of 500
        10:06:00: TargetResponseTime Average at most +20 %, from 10:03:00: 0.1
        10:07:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:04:00: 3 of 500
        10:07:00: TargetResponseTime Average at most +20 %, from 10:04:00: 0.1
    "#]],
        )
        .await;
    expect![[r#"
        06:58:00-09:58:00: Average TargetResponseTime of targetgroup/blue/2
        10:01:00-10:02:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1, Average TargetResponseTime of targetgroup/green/1
        10:02:00-10:03:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1, Average TargetResponseTime of targetgroup/green/1
        10:03:00-10:04:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1, Average TargetResponseTime of targetgroup/green/1
        10:04:00-10:05:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1, Average TargetResponseTime of targetgroup/green/1
    "#]].assert_eq(&bench.queried());
    expect![[r#"
        gate_cloudwatch_metrics_requested_total 13
    "#]]
    .assert_eq(&bench.counted("gate_cloudwatch_metrics_requested_total"));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_asked_before_green_has_real_traffic() {
    let mut bench = Bench::knowing(&[ERRORS], traffic(), &[], None);
    bench.until(3600, expect![""]).await;
    assert_eq!(bench.queried(), "");
    bench.signals.traffic(Some(Moment::from_millis(3_600_000)));
    bench
        .until(
            3600 + 280,
            expect![[r#"
        11:04:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 11:01:00: 0 of 500
        11:05:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 11:02:00: 3 of 500
    "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_after_what_was_read() {
    let newest_millis = Some(89_500);
    let name = "HTTPCode_Target_5XX_Count of RequestCount at most 1 %";
    let known = [
        (name, Known { newest_millis, baseline: false }),
        ("TargetResponseTime Average at most +20 %", Known { newest_millis, baseline: true }),
    ];
    let since = Some(Moment::ZERO);
    let mut bench = Bench::knowing(&[ERRORS, LATENCY], traffic(), &known, since);
    bench
        .until(
            340,
            expect![[r#"
        10:06:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:03:00: 0 of 500
        10:06:00: TargetResponseTime Average at most +20 %, from 10:03:00: 0.1
    "#]],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn periods_of_several_lengths_are_asked_for_where_each_begins() {
    let long = LATENCY.replace("+20%", "+20%, period: 5m");
    let known = Known { newest_millis: None, baseline: true };
    let known = [("TargetResponseTime Average at most +20 %", known)];
    let since = Some(Moment::ZERO);
    let mut bench = Bench::knowing(&[ERRORS, &long], traffic(), &known, since);
    bench
        .until(
            690,
            expect![[r#"
        10:04:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:01:00: 0 of 500
        10:05:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:02:00: 3 of 500
        10:06:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:03:00: 0 of 500
        10:07:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:04:00: 3 of 500
        10:08:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:05:00: 0 of 500
        10:09:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:06:00: 3 of 500
        10:10:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:07:00: 0 of 500
        10:11:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:08:00: 3 of 500
        10:12:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:09:00: 0 of 500
        10:12:00: TargetResponseTime Average at most +20 %, from 10:05:00: 0.1
    "#]],
        )
        .await;
    expect![[r#"
        10:01:00-10:02:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:02:00-10:03:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:03:00-10:04:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:04:00-10:05:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:05:00-10:06:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:06:00-10:07:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:07:00-10:08:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:08:00-10:09:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1
        10:05:00-10:10:00: Sum HTTPCode_Target_5XX_Count of targetgroup/green/1, Sum RequestCount of targetgroup/green/1, Average TargetResponseTime of targetgroup/green/1
    "#]].assert_eq(&bench.queried());
}

#[tokio::test(start_paused = true)]
async fn what_bears_no_evidence_is_counted_and_asked_for_again() {
    for (status, reason) in [
        ("PartialData", "partial-data"),
        ("InternalError", "internal-error"),
        ("Forbidden", "forbidden"),
    ] {
        let mut aws = traffic();
        aws.series.get_mut("HTTPCode_Target_5XX_Count").unwrap().unusable = Some(status.into());
        let mut bench = Bench::of(&[ERRORS], aws);
        // At 10:04:00 and each half minute from then on.
        bench.until(300, expect![""]).await;
        let lost =
            format!("gate_readings_lost_total{{reason=\"{reason}\",source=\"cloudwatch\"}} 4\n");
        assert_eq!(bench.counted("gate_readings_lost_total"), lost);
        assert_eq!(bench.queried().matches("10:01:00-").count(), 4, "{}", bench.queried());
    }
}

#[tokio::test(start_paused = true)]
async fn missing_traffic_is_no_reading_and_a_missing_point_is_told_as_none() {
    let mut aws = traffic();
    let gap = |minute: i64| (minute != 602).then_some(500.0);
    aws.series.insert("RequestCount".into(), minutes(gap));
    aws.series.insert("TargetResponseTime".into(), minutes(|minute| gap(minute).map(|_| 0.1)));
    let mut bench = Bench::of(&[ERRORS, LATENCY], aws);
    bench
        .until(
            340,
            expect![[r#"
        10:00:30: TargetResponseTime Average at most +20 %, from 06:58:00: 180 points of before
        10:04:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:01:00: 0 of 500
        10:04:00: TargetResponseTime Average at most +20 %, from 10:01:00: 0.1
        10:05:00: TargetResponseTime Average at most +20 %, from 10:02:00: nothing
        10:06:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:03:00: 0 of 500
        10:06:00: TargetResponseTime Average at most +20 %, from 10:03:00: 0.1
    "#]],
        )
        .await;
    expect![[r#"
        gate_readings_lost_total{reason="absent",source="cloudwatch"} 1
    "#]]
    .assert_eq(&bench.counted("gate_readings_lost_total"));
}

#[tokio::test(start_paused = true)]
async fn throttled_calls_are_waited_out_and_nothing_is_missed() {
    let aws = traffic();
    *aws.throttled.lock().unwrap() = 4;
    let mut bench = Bench::of(&[ERRORS], aws);
    // At 10:04:00; then 30 s, 30 s, 60 s and 120 s later.
    bench
        .until(
            460,
            expect![[r#"
        10:08:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:01:00: 0 of 500
        10:08:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:02:00: 3 of 500
        10:08:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:03:00: 0 of 500
        10:08:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:04:00: 3 of 500
        10:08:00: HTTPCode_Target_5XX_Count of RequestCount at most 1 %, from 10:05:00: 0 of 500
    "#]],
        )
        .await;
    expect![[r#"
        gate_readings_lost_total{reason="unavailable",source="cloudwatch"} 4
    "#]]
    .assert_eq(&bench.counted("gate_readings_lost_total"));
}

#[tokio::test(start_paused = true)]
async fn a_series_without_a_baseline_is_never_asked_for() {
    let mut aws = traffic();
    // Blue served for 19 minutes before the deployment.
    aws.series.insert("TargetResponseTime".into(), minutes(|m| (m >= 581).then_some(0.1)));
    let mut bench = Bench::of(&[LATENCY], aws);
    bench.until(3600, expect![""]).await;
    assert_eq!(bench.queried().lines().count(), 1, "{}", bench.queried());
    expect![[r#"
        gate_readings_lost_total{reason="no-baseline",source="cloudwatch"} 1
    "#]]
    .assert_eq(&bench.counted("gate_readings_lost_total"));
}

#[tokio::test(start_paused = true)]
async fn a_metric_that_no_colour_has_is_counted_as_lost() {
    let whole = ERRORS.replace("HTTPCode_Target_5XX_Count", "HTTPCode_ELB_5XX_Count");
    let mut bench = Bench::of(&[&whole], traffic());
    bench.until(260, expect![""]).await;
    assert_eq!(bench.queried(), "");
    expect![[r#"
        gate_readings_lost_total{reason="no-dimensions",source="cloudwatch"} 2
    "#]]
    .assert_eq(&bench.counted("gate_readings_lost_total"));
}

#[tokio::test(start_paused = true)]
async fn alarms_are_read_every_thirty_seconds_for_each_objective() {
    let alarm = |name: &str, state: &str, since| AlarmFacts {
        name: name.into(),
        state: state.into(),
        since_unix_seconds: Some(since),
        reason: None,
    };
    let mut aws = FakeAws::new();
    aws.alarms =
        vec![alarm("slow", "ALARM", 35_999), alarm("5xx", "ALARM", 36_010), alarm("fine", "OK", 0)];
    let one = "{ alarms: { names: [slow, 5xx] } }";
    let mut bench = Bench::of(&[one, "{ alarms: { names: [fine, gone] } }"], aws);
    bench
        .until(
            31,
            expect![[r#"
        10:00:30: alarms slow, 5xx, from 10:00:30: {"5xx": Alarm, "slow": AlarmBefore}
        10:00:30: alarms fine, gone, from 10:00:30: {"fine": Ok, "gone": Unknown}
        10:01:00: alarms slow, 5xx, from 10:01:00: {"5xx": Alarm, "slow": AlarmBefore}
        10:01:00: alarms fine, gone, from 10:01:00: {"fine": Ok, "gone": Unknown}
    "#]],
        )
        .await;
    assert_eq!(bench.aws.calls.lock().unwrap().len(), 2);
}

fn task(number: i64, stop_code: Option<&str>, at: Option<i64>, exit: Option<i32>) -> TaskFacts {
    TaskFacts {
        arn: format!("arn:task/{number}"),
        started_by: Some("ecs-svc/green".into()),
        status: if stop_code.is_some() { "STOPPED" } else { "RUNNING" }.into(),
        stop_code: stop_code.map(str::to_owned),
        stopped_reason: Some("Essential container in task exited".into()),
        stopped_unix_seconds: at,
        containers: vec![
            ContainerFacts { name: "sidecar".into(), exit_code: Some(0), reason: None },
            ContainerFacts { name: "web".into(), exit_code: exit, reason: None },
        ],
        ..TaskFacts::default()
    }
}

#[tokio::test(start_paused = true)]
async fn tasks_that_stopped_by_themselves_since_acceptance_are_told_and_no_others() {
    let mut aws = FakeAws::new();
    let exited = Some("EssentialContainerExited");
    let mut pull = task(2, Some("TaskFailedToStart"), Some(36_040), None);
    pull.containers = vec![ContainerFacts {
        name: "web".into(),
        exit_code: None,
        reason: Some("CannotPullContainerError: not found".into()),
    }];
    aws.tasks = vec![
        task(1, exited, Some(36_050), Some(1)),
        pull,
        task(3, exited, Some(36_029), Some(1)),
        task(4, exited, None, Some(1)),
        task(5, Some("UserInitiated"), Some(36_050), Some(143)),
        task(6, Some("ServiceSchedulerInitiated"), Some(36_050), Some(137)),
        task(7, Some("SpotInterruption"), Some(36_050), Some(137)),
        task(8, Some("TerminationNotice"), Some(36_050), Some(137)),
        task(9, Some("InfrastructureHealth"), Some(36_050), Some(137)),
    ];
    let mut bench = Bench::of(&[STOPPED], aws);
    bench.until(16, expect![[r#"
        10:00:30: stopped tasks at most 0, from 10:00:30: 2 stopped: web None CannotPullContainerError: not found; web Some(1) Essential container in task exited
        10:00:45: stopped tasks at most 0, from 10:00:45: 2 stopped: web None CannotPullContainerError: not found; web Some(1) Essential container in task exited
    "#]]).await;
}

#[tokio::test(start_paused = true)]
async fn no_stopped_task_is_good_news_only_where_green_has_tasks() {
    let mut bench = Bench::of(&[STOPPED], FakeAws::new());
    bench.until(40, expect![""]).await;
    expect![[r#"
        gate_readings_lost_total{reason="no-tasks",source="tasks"} 3
    "#]]
    .assert_eq(&bench.counted("gate_readings_lost_total"));
    let mut aws = FakeAws::new();
    aws.tasks = vec![task(1, None, None, None)];
    let mut bench = Bench::of(&[STOPPED], aws);
    bench
        .until(
            16,
            expect![[r#"
        10:00:30: stopped tasks at most 0, from 10:00:30: 0 stopped: 
        10:00:45: stopped tasks at most 0, from 10:00:45: 0 stopped: 
    "#]],
        )
        .await;
    let mut aws = FakeAws::new();
    aws.failures = [(Call::ListTasks, Failure::Denied)].into();
    let mut bench = Bench::of(&[STOPPED], aws);
    bench.until(100, expect![""]).await;
    expect![[r#"
        gate_readings_lost_total{reason="denied",source="tasks"} 3
    "#]]
    .assert_eq(&bench.counted("gate_readings_lost_total"));
}
