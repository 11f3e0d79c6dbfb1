//! Objectives over what somebody else measures: CloudWatch, the service's own metrics, the load balancer.

use std::time::Duration;

use super::super::fault::FaultCode;
use super::super::shape;
use super::super::tree::{Node, Value};
use super::Faults;
use super::fields::{self, Fields};
use super::objectives::{multiple, or_else};
use crate::evidence::Direction;
use crate::policy::{Counted, Measure, Metric, slow_share};
use crate::selector::{Selector, SelectorError};
use crate::units;

/// Alarms of one objective: what one call of `DescribeAlarms` takes.
const ALARMS_MAX: usize = 100;
/// Dimensions of a metric, as CloudWatch allows.
//= https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_Metric.html
const DIMENSIONS_MAX: usize = 30;
/// CloudWatch keeps AWS's own metrics by the minute.
const MINUTE: Duration = Duration::from_secs(60);
/// A condition is broken once it failed for this long (design.md §6).
const LASTING_DEFAULT: Duration = Duration::from_secs(30);
/// Tasks that stopped stay stopped, so there is nothing to wait for.
const STOPPED_LASTING_DEFAULT: Duration = Duration::ZERO;
/// Readings of the service's own metrics are this far apart.
const SCRAPE_PERIOD: Duration = Duration::from_secs(1);

type Found<'a> = (Measure, Fields<'a>);

/// An objective that is called by what it measures.
pub(super) fn unnamed((measure, fields): Found<'_>) -> (Measure, Option<String>, Fields<'_>) {
    (measure, None, fields)
}

pub(super) fn cloudwatch<'a>(node: &'a Node, faults: &mut Faults<'_>) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::CLOUDWATCH, faults)?;
    let text = |key: &str, faults: &mut Faults<'_>| {
        fields.optional(key).and_then(|node| fields::text(node, faults))
    };
    let namespace = text("namespace", faults).unwrap_or_else(|| "AWS/ApplicationELB".to_owned());
    let statistic = text("statistic", faults);
    let dimensions = dimensions(&fields, faults);
    let period = match fields.parsed("period", units::duration, faults) {
        Some((place, period))
            if period.is_zero() || period.as_millis() % MINUTE.as_millis() != 0 =>
        {
            let message = "`period` is a whole number of minutes";
            faults.add(FaultCode::G0004, &place, message, "60s is the default");
            MINUTE
        }
        Some((_, period)) => period,
        None => MINUTE,
    };
    let metric = |name: String, default: &str| Metric {
        namespace: namespace.clone(),
        name,
        statistic: statistic.clone().unwrap_or_else(|| default.to_owned()),
        dimensions: dimensions.clone(),
    };
    let unacceptable = fields.parsed("unacceptable", units::share, faults);
    let (name, of) = (text("metric", faults), text("of", faults));
    let bounds = (fields.optional("at-most"), fields.optional("at-least"));
    let measure = match (of, bounds) {
        (Some(of), (Some(_), None)) => {
            if let Some(statistic) = statistic.as_ref().filter(|statistic| *statistic != "Sum") {
                let message =
                    format!("a share `of` something is of sums: `{statistic}` has no place in it");
                let place = fields.place_of("statistic");
                faults.add(FaultCode::G0008, place, message, "leave `statistic` out");
            }
            let difference = |text: &str| units::more(text).is_ok();
            let share = or_else(units::share, difference, "remove `of` to judge a series");
            let (_, acceptable) = fields.parsed("at-most", share, faults)?;
            let limits = multiple(unacceptable, acceptable, faults)?;
            let (bad, all) = (metric(name?, "Sum"), metric(of, "Sum"));
            Measure::Counts { counted: Counted::CloudWatch { bad, all }, limits, period }
        }
        (None, (Some(_), None)) => {
            let share = |text: &str| units::share(text).is_ok();
            let more = or_else(units::more, share, "add `of: RequestCount` to judge a share");
            let (_, relative) = fields.parsed("at-most", more, faults)?;
            let metric = metric(name?, "Average");
            Measure::Series { metric, direction: Direction::High, relative, period }
        }
        (None, (None, Some(_))) => {
            let (_, relative) = fields.parsed("at-least", units::less, faults)?;
            let metric = metric(name?, "Average");
            Measure::Series { metric, direction: Direction::Low, relative, period }
        }
        (Some(_), (_, Some(_))) => {
            let help = "write `at-most: 1%` with `of`";
            let message = "a share of bad events has no `at-least`";
            faults.add(FaultCode::G0008, fields.place_of("at-least"), message, help);
            return None;
        }
        (None, (Some(_), Some(_))) => {
            let help = "write an objective for each";
            let message = "a series is held from above or from below";
            faults.add(FaultCode::G0008, fields.place_of("at-least"), message, help);
            return None;
        }
        (_, (None, None)) => {
            let help = "write `at-most: 1%` with `of`, or `at-most: +20%` of a series";
            faults.add(FaultCode::G0003, &node.place, "`cloudwatch` has no bound", help);
            return None;
        }
    };
    Some((measure, fields))
}

fn dimensions(fields: &Fields<'_>, faults: &mut Faults<'_>) -> Vec<(String, String)> {
    let Some(node) = fields.optional("dimensions") else { return Vec::new() };
    let how = "write `dimensions: { LoadBalancer: app/web/1234 }`";
    let entries = fields::entries(node, "`dimensions`", how, faults);
    if entries.len() > DIMENSIONS_MAX {
        let message =
            format!("a metric has at most {DIMENSIONS_MAX} dimensions, this one {}", entries.len());
        faults.add(FaultCode::G0004, &node.place, message, "keep those that CloudWatch shows");
    }
    let pairs = entries
        .iter()
        .filter_map(|(key, node)| Some((key.name.clone(), fields::text(node, faults)?)));
    pairs.collect()
}

pub(super) fn metrics<'a>(node: &'a Node, faults: &mut Faults<'_>) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::METRICS, faults)?;
    type Read = fn(&str) -> Result<Selector, SelectorError>;
    let selector = |key: &str, read: Read, faults: &mut Faults<'_>| {
        let node = fields.optional(key)?;
        let text = fields::text(node, faults)?;
        if let Err(error) = read(&text) {
            faults.add(FaultCode::G0004, &node.place, error.to_string(), selector_help(&error));
            return None;
        }
        Some(text)
    };
    let bad = selector("bad", Selector::parse, faults);
    let all = selector("of", Selector::parse, faults);
    let histogram = selector("histogram", Selector::parse_histogram, faults);
    let quantile = fields.parsed("quantile", units::quantile, faults);
    let unacceptable = fields.parsed("unacceptable", units::share, faults);
    let present = |key: &str| fields.optional(key).is_some();
    let of_counters = present("bad") || present("of");
    let of_histogram = present("histogram") || present("quantile");
    let refuse = |code: FaultCode, message: &str, faults: &mut Faults<'_>| {
        let help = "write `{ bad: …, of: …, at-most: 0.5% }` or `{ histogram: …, quantile: p99, at-most: 250ms }`";
        faults.add(code, &node.place, message, help);
        None
    };
    let (counted, limits) = match (of_counters, of_histogram) {
        (true, false) if present("bad") && present("of") => {
            let (_, acceptable) = fields.parsed("at-most", units::share, faults)?;
            let limits = multiple(unacceptable, acceptable, faults)?;
            (Counted::Counters { bad: bad?, all: all? }, limits)
        }
        (false, true) if present("histogram") && present("quantile") => {
            let (_, above) = fields.parsed("at-most", units::duration, faults)?;
            let limits = multiple(unacceptable, slow_share(quantile?.1), faults)?;
            (Counted::Buckets { histogram: histogram?, above }, limits)
        }
        (true, true) => {
            let message = "`metrics` is of counters or of a histogram, not of both";
            return refuse(FaultCode::G0008, message, faults);
        }
        (true, false) => {
            let message = "`metrics` of counters needs both `bad` and `of`";
            return refuse(FaultCode::G0003, message, faults);
        }
        (false, true) => {
            let message = "`metrics` of a histogram needs both `histogram` and `quantile`";
            return refuse(FaultCode::G0003, message, faults);
        }
        (false, false) => {
            let message = "`metrics` has neither counters nor a histogram";
            return refuse(FaultCode::G0003, message, faults);
        }
    };
    Some((Measure::Counts { counted, limits, period: SCRAPE_PERIOD }, fields))
}

/// How to write what was meant.
fn selector_help(error: &SelectorError) -> String {
    match error {
        SelectorError::Escape { escaped, .. } => format!("write `\\\\{escaped}`"),
        SelectorError::Part { whole, .. } => format!("write `{whole}`"),
        SelectorError::Bound => "leave `le` out".to_owned(),
        SelectorError::Expression { .. } => "write `name{label=~\"4..|5..\"}`".to_owned(),
        SelectorError::TooLong(_)
        | SelectorError::NotAMetric(_)
        | SelectorError::Label(_)
        | SelectorError::Compare(_)
        | SelectorError::Unquoted(_)
        | SelectorError::Unclosed(_) => "write `name` or `name{label=\"value\"}`".to_owned(),
    }
}

pub(super) fn healthy_targets<'a>(node: &'a Node, faults: &mut Faults<'_>) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::HEALTHY_TARGETS, faults)?;
    let lasting = lasting(&fields, LASTING_DEFAULT, faults);
    let (_, at_least) = fields.parsed("at-least", units::part, faults)?;
    Some((Measure::HealthyTargets { at_least, lasting }, fields))
}

pub(super) fn alarms<'a>(node: &'a Node, faults: &mut Faults<'_>) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::ALARMS, faults)?;
    let lasting = lasting(&fields, LASTING_DEFAULT, faults);
    let node = fields.optional("names")?;
    let list = fields::list(node);
    let names: Vec<String> = list.iter().filter_map(|node| fields::text(node, faults)).collect();
    if matches!(&node.value, Value::Null) || names.is_empty() || names.len() > ALARMS_MAX {
        let message = format!("`names` has 1 to {ALARMS_MAX} alarms");
        faults.add(FaultCode::G0004, &node.place, message, "write `names: [checkout-5xx]`");
        return None;
    }
    Some((Measure::Alarms { names, lasting }, fields))
}

pub(super) fn stopped_tasks<'a>(node: &'a Node, faults: &mut Faults<'_>) -> Option<Found<'a>> {
    let fields = Fields::of(node, &shape::STOPPED_TASKS, faults)?;
    let lasting = lasting(&fields, STOPPED_LASTING_DEFAULT, faults);
    let (_, at_most) = fields.parsed("at-most", units::whole, faults)?;
    Some((Measure::StoppedTasks { at_most, lasting }, fields))
}

fn lasting(fields: &Fields<'_>, default: Duration, faults: &mut Faults<'_>) -> Duration {
    let written = fields.parsed("for", units::duration, faults);
    written.map_or(default, |(_, lasting)| lasting)
}
