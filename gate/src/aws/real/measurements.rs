//! CloudWatch by the official SDK.

use aws_sdk_cloudwatch::primitives::DateTime;
use aws_sdk_cloudwatch::types::{
    AlarmType, CompositeAlarm, Dimension, DimensionFilter, Metric, MetricAlarm, MetricDataQuery,
    MetricStat, ScanBy, StatusCode,
};

use super::super::measurements::{AlarmFacts, Measurements, MetricQuery, Series, Span};
use super::super::{Call, Reply};
use super::tries::turn;
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

fn metric_alarm(alarm: MetricAlarm) -> Option<AlarmFacts> {
    let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
    Some(AlarmFacts {
        name: alarm.alarm_name?,
        state: text!(alarm.state_value).unwrap_or_default(),
        since_unix_seconds: since.map(|at| at.secs()),
        reason: alarm.state_reason,
    })
}

fn composite_alarm(alarm: CompositeAlarm) -> Option<AlarmFacts> {
    let since = alarm.state_transitioned_timestamp.or(alarm.state_updated_timestamp);
    Some(AlarmFacts {
        name: alarm.alarm_name?,
        state: text!(alarm.state_value).unwrap_or_default(),
        since_unix_seconds: since.map(|at| at.secs()),
        reason: alarm.state_reason,
    })
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
            let mut series = vec![Series::default(); queries.len()];
            let (mut complete, mut token) = (false, None);
            for _ in 0..PAGES_MAX {
                let call = call.clone().set_next_token(token.clone());
                let page = self.ask(Call::GetMetricData, subject, || call.clone().send()).await?;
                complete = !turn(&mut token, page.next_token);
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
                if complete {
                    break;
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
            let (mut found, mut token) = (Vec::new(), None);
            for _ in 0..PAGES_MAX {
                let call = call.clone().set_next_token(token.clone());
                let page = self.ask(Call::DescribeAlarms, subject, || call.clone().send()).await?;
                found.extend(
                    page.metric_alarms.unwrap_or_default().into_iter().filter_map(metric_alarm),
                );
                let composite = page.composite_alarms.unwrap_or_default();
                found.extend(composite.into_iter().filter_map(composite_alarm));
                if !turn(&mut token, page.next_token) {
                    break;
                }
            }
            Ok(found)
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
            let reply = self.ask(Call::ListMetrics, &query.name, || call.clone().send()).await?;
            Ok(!reply.metrics.unwrap_or_default().is_empty())
        })
    }
}
