//! CloudWatch by the official SDK.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    AlarmType, Dimension, DimensionFilter, Metric, MetricDataQuery, MetricStat, ScanBy, StatusCode,
};

use super::super::measurements::{AlarmFacts, Measurements, MetricQuery, Series, Span};
use super::super::{Call, Reply};
use super::{PAGES_MAX, RealAws, text};

fn metric(query: &MetricQuery) -> Metric {
    let dimensions = query
        .dimensions
        .iter()
        .map(|(name, value)| Dimension::builder().name(name).value(value).build());
    Metric::builder()
        .namespace(&query.namespace)
        .metric_name(&query.name)
        .set_dimensions(Some(dimensions.collect()))
        .build()
}

impl Measurements for RealAws {
    fn metric_data<'a>(&'a self, queries: &'a [MetricQuery], span: Span) -> Reply<'a, Vec<Series>> {
        Box::pin(async move {
            let subject = queries.first().map_or("", |query| query.name.as_str());
            let asked = queries.iter().enumerate().map(|(number, query)| {
                let stat = MetricStat::builder()
                    .metric(metric(query))
                    .stat(&query.statistic)
                    .period(i32::try_from(query.period_seconds).unwrap_or(60));
                MetricDataQuery::builder()
                    .id(format!("q{number}"))
                    .metric_stat(stat.build())
                    .build()
            });
            let call = self
                .cloudwatch
                .get_metric_data()
                .set_metric_data_queries(Some(asked.collect()))
                .start_time(DateTime::from_secs(span.from_unix_seconds))
                .end_time(DateTime::from_secs(span.to_unix_seconds))
                .scan_by(ScanBy::TimestampAscending);
            let mut pages = call.into_paginator().send();
            let mut series = vec![Series::default(); queries.len()];
            let mut complete = false;
            for _ in 0..PAGES_MAX {
                let Some(page) = pages.next().await else {
                    complete = true;
                    break;
                };
                let page = self.seen(Call::GetMetricData, subject, page)?;
                for result in page.metric_data_results.unwrap_or_default() {
                    let number = result.id.as_deref().and_then(|id| id.strip_prefix('q'));
                    let number = number.and_then(|number| number.parse::<usize>().ok());
                    let Some(found) = number.and_then(|number| series.get_mut(number)) else {
                        continue;
                    };
                    found.unusable = match result.status_code {
                        Some(StatusCode::Complete) | None => None,
                        Some(other) => Some(other.as_str().to_owned()),
                    };
                    let times = result.timestamps.unwrap_or_default();
                    let values = result.values.unwrap_or_default();
                    found.points.extend(times.iter().map(DateTime::secs).zip(values));
                }
            }
            if !complete {
                for found in &mut series {
                    found.unusable.get_or_insert_with(|| "PartialData".to_owned());
                }
            }
            Ok(series)
        })
    }

    fn alarms<'a>(&'a self, names: &'a [String]) -> Reply<'a, Vec<AlarmFacts>> {
        Box::pin(async move {
            let subject = names.first().map_or("", String::as_str);
            let call = self
                .cloudwatch
                .describe_alarms()
                .set_alarm_names(Some(names.to_vec()))
                // Without types it answers for metric alarms alone.
                .alarm_types(AlarmType::MetricAlarm)
                .alarm_types(AlarmType::CompositeAlarm)
                .max_records(100);
            let reply = self.seen(Call::DescribeAlarms, subject, call.send().await)?;
            let metric = reply.metric_alarms.unwrap_or_default().into_iter().filter_map(|alarm| {
                let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
                Some(AlarmFacts {
                    name: alarm.alarm_name?,
                    state: text!(alarm.state_value).unwrap_or_default(),
                    since_unix_seconds: since.map(|at| at.secs()),
                    reason: alarm.state_reason,
                })
            });
            let composite = reply.composite_alarms.unwrap_or_default();
            let composite = composite.into_iter().filter_map(|alarm| {
                let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
                Some(AlarmFacts {
                    name: alarm.alarm_name?,
                    state: text!(alarm.state_value).unwrap_or_default(),
                    since_unix_seconds: since.map(|at| at.secs()),
                    reason: alarm.state_reason,
                })
            });
            Ok(metric.chain(composite).collect())
        })
    }

    fn metric_exists<'a>(&'a self, query: &'a MetricQuery) -> Reply<'a, bool> {
        Box::pin(async move {
            let filters = query
                .dimensions
                .iter()
                .map(|(name, value)| DimensionFilter::builder().name(name).value(value).build());
            let call = self
                .cloudwatch
                .list_metrics()
                .namespace(&query.namespace)
                .metric_name(&query.name)
                .set_dimensions(Some(filters.collect()));
            let reply = self.seen(Call::ListMetrics, &query.name, call.send().await)?;
            Ok(!reply.metrics.unwrap_or_default().is_empty())
        })
    }
}
