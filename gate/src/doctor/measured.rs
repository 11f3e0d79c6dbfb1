//! Alarms that are red already, and metrics that are not there.

use policies::policy::{Counted, Measure, Metric};

use super::facts::{Facts, Found};
use super::finding::Area;
use super::policy::Judged;
use super::{Finding, Level, Visit, together};
use crate::aws::Call;
use crate::aws::codedeploy::DeploymentTarget;
use crate::aws::measurements::{MetricQuery, Span};
use crate::clock::unix_millis;
use crate::resolve::{Measured, suffix};
use crate::shell::Doing;
use crate::signals::{Whose, dimensions_of};

/// Names in one `DescribeAlarms`.
//= https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
const ALARMS_MAX: usize = 100;
/// Metrics that are looked for.
const METRICS_MAX: usize = 20;
/// How far back `GetMetricData` is asked for, to see whether it may be.
const LOOK_BACK_SECONDS: i64 = 300;

/// Alarms of the deployment and of the policies.
fn alarm_names(facts: &Facts, judged: &Judged) -> (Vec<String>, Vec<String>) {
    let of_deployment = match &facts.found {
        Found::Group(group) => group.alarms.clone(),
        Found::Service(service) => service.alarms.clone(),
        Found::Function(_) | Found::Pipeline(_) | Found::Unread | Found::Nothing => Vec::new(),
    };
    let mut of_policies: Vec<String> = Vec::new();
    for judge in &judged.judges {
        for objective in &judge.policy.objectives {
            if let Measure::Alarms { names, .. } = &objective.measure {
                of_policies.extend(names.iter().cloned());
            }
        }
    }
    of_policies.sort();
    of_policies.dedup();
    (of_deployment, of_policies)
}

pub(super) async fn alarms(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Finding> {
    let (of_deployment, of_policies) = alarm_names(facts, judged);
    let mut names: Vec<String> = of_deployment.iter().chain(&of_policies).cloned().collect();
    names.sort();
    names.dedup();
    names.truncate(ALARMS_MAX);
    if names.is_empty() {
        return Vec::new();
    }
    let seen = match visit.ask(&[Call::DescribeAlarms], visit.aws.alarms(&names)).await {
        Ok(seen) => seen,
        Err(error) => {
            let what = format!("the state of {}", names.join(", "));
            return vec![Finding::untested(Area::Alarms, what, error.to_string(), error.fix())];
        }
    };
    let mut found = Vec::new();
    for name in &names {
        let by_policy = of_policies.contains(name);
        match seen.iter().find(|alarm| alarm.name == *name) {
            None if by_policy => found.push(Finding::new(
                Area::Alarms,
                Level::Error,
                format!("there is no alarm {name}, which a policy names"),
                "the objective has no data: the policy's `no-data` rule answers",
                "mend its name in the policy, or make the alarm",
            )),
            None => found.push(Finding::new(
                Area::Alarms,
                Level::Warning,
                format!("there is no alarm {name}, which the deployment names"),
                "it stops no deployment",
                "take it out of the deployment's alarms, or make the alarm",
            )),
            Some(alarm) if alarm.state == "ALARM" => found.push(Finding::new(
                Area::Alarms,
                Level::Warning,
                format!("{name} is red already"),
                "what was red before a deployment says nothing of it: gate and ECS leave it out, CodeDeploy stops the deployment for it",
                format!("aws cloudwatch describe-alarms --alarm-names {name}"),
            )),
            Some(alarm) => {
                found.push(Finding::ok(Area::Alarms, format!("{name} is there: {}", alarm.state)));
            }
        }
    }
    found
}

/// A metric that an objective reads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    metric: Metric,
    /// Bad events: there may have been none yet.
    is_of_bad: bool,
}

fn wanted(judged: &Judged) -> Vec<Wanted> {
    let mut found: Vec<Wanted> = Vec::new();
    let mut push = |metric: &Metric, is_of_bad: bool| {
        let wanted = Wanted { metric: metric.clone(), is_of_bad };
        if found.len() < METRICS_MAX && !found.contains(&wanted) {
            found.push(wanted);
        }
    };
    for objective in judged.judges.iter().flat_map(|judge| &judge.policy.objectives) {
        if let Measure::Counts { counted: Counted::CloudWatch { bad, all }, .. } =
            &objective.measure
        {
            push(bad, true);
            push(all, false);
        }
        if let Measure::Series { metric, .. } = &objective.measure {
            push(metric, false);
        }
    }
    found
}

/// Whether a policy reads CloudWatch.
pub(super) fn reads_cloudwatch(judged: &Judged) -> bool {
    let mut objectives = judged.judges.iter().flat_map(|judge| &judge.policy.objectives);
    objectives.any(|objective| matches!(objective.measure, Measure::Alarms { .. }))
        || !wanted(judged).is_empty()
}

/// Name and value of each.
type Dimensions = Vec<(String, String)>;

/// What CloudWatch may call green here: each of the target groups may be the next green's.
fn measured(facts: &Facts) -> Vec<Measured> {
    let service = facts.deployment.service.split_once(':');
    let service = service.map(|(cluster, name)| (cluster.to_owned(), name.to_owned()));
    let function = match facts.last.as_ref().and_then(|last| last.target.as_ref()) {
        Some(DeploymentTarget::Function(target)) => target
            .target_version
            .clone()
            .map(|version| (facts.deployment.function.clone(), target.alias.clone(), version)),
        Some(DeploymentTarget::Ecs(_)) | None => facts.function_behind_alias(),
    };
    let blank = Measured { service, function, ..Measured::default() };
    let mut found: Vec<Measured> = Vec::new();
    for group in &facts.groups {
        found.push(Measured {
            target_group: suffix(&group.facts.arn),
            load_balancer: group.facts.load_balancer.as_deref().and_then(suffix),
            ..blank.clone()
        });
    }
    if found.is_empty() {
        found.push(blank);
    }
    found
}

/// The dimensions a metric may have here, each once, or why it has none.
fn dimensions(metric: &Metric, facts: &Facts) -> Result<Vec<Dimensions>, String> {
    let mut found: Vec<Dimensions> = Vec::new();
    let mut reason = String::new();
    for measured in measured(facts) {
        match dimensions_of(metric, &measured, Whose::Green) {
            Ok(dimensions) if found.contains(&dimensions) => {}
            Ok(dimensions) => found.push(dimensions),
            Err(lacking) => reason = lacking,
        }
    }
    if found.is_empty() { Err(reason) } else { Ok(found) }
}

pub(super) async fn metrics(visit: &Visit, facts: &Facts, judged: &Judged) -> Vec<Finding> {
    let wanted = wanted(judged);
    let one = |wanted: &Wanted| -> Doing<'_, Finding> {
        let wanted = wanted.clone();
        Box::pin(async move { exists(visit, facts, &wanted).await })
    };
    let read = |wanted: &Wanted| -> Doing<'_, ()> {
        let wanted = wanted.clone();
        Box::pin(async move { read(visit, facts, &wanted.metric).await })
    };
    // One reading shows whether they may be read.
    let reading = together(wanted.first().map(read).into_iter().collect());
    let (found, _read) = tokio::join!(together(wanted.iter().map(one).collect()), reading);
    found
}

fn query(metric: &Metric, dimensions: Dimensions) -> MetricQuery {
    MetricQuery {
        namespace: metric.namespace.clone(),
        name: metric.name.clone(),
        dimensions,
        statistic: metric.statistic.clone(),
        period_seconds: 60,
    }
}

async fn read(visit: &Visit, facts: &Facts, metric: &Metric) {
    let dimensions = dimensions(metric, facts).ok().and_then(|all| all.into_iter().next());
    let now = i64::try_from(unix_millis() / 1000).unwrap_or(0);
    let span = Span { from_unix_seconds: now - LOOK_BACK_SECONDS, to_unix_seconds: now };
    let queries = [query(metric, dimensions.unwrap_or_default())];
    // Only whether it may be read matters, and that is noted.
    drop(visit.ask(&[Call::GetMetricData], visit.aws.metric_data(&queries, span)).await);
}

fn spelled(dimensions: &Dimensions) -> String {
    let pairs: Vec<String> =
        dimensions.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(", ")
}

async fn exists(visit: &Visit, facts: &Facts, wanted: &Wanted) -> Finding {
    let Metric { namespace, name, .. } = &wanted.metric;
    let candidates = match dimensions(&wanted.metric, facts) {
        Ok(candidates) => candidates,
        Err(reason) => {
            let what = format!("whether {namespace} {name} is there");
            return Finding::untested(Area::Metrics, what, reason, None);
        }
    };
    let shown: Vec<String> = candidates.iter().map(spelled).collect();
    for dimensions in candidates {
        let query = query(&wanted.metric, dimensions);
        match visit.ask(&[Call::ListMetrics], visit.aws.metric_exists(&query)).await {
            Ok(true) => {
                return Finding::ok(Area::Metrics, format!("{namespace} {name} is there"));
            }
            Ok(false) => {}
            Err(error) => {
                let what = format!("whether {namespace} {name} is there");
                return Finding::untested(Area::Metrics, what, error.to_string(), error.fix());
            }
        }
    }
    if wanted.is_of_bad {
        let what =
            format!("{namespace} {name} was not seen yet, as is right where nothing went bad");
        return Finding::ok(Area::Metrics, what);
    }
    Finding::new(
        Area::Metrics,
        Level::Warning,
        format!("CloudWatch knows no {namespace} {name} with {}", shown.join(" or ")),
        "it lists what had a value in the last two weeks; without values the objective has no data",
        format!("aws cloudwatch list-metrics --namespace {namespace} --metric-name {name}"),
    )
}
