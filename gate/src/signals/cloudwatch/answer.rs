//! What CloudWatch's answer says of one period. What is absent is no zero, with one exception.

use policies::reading::Seen;

use crate::aws::measurements::Series;

/// The end of the name of a metric that counts: `HTTPCode_Target_5XX_Count`, `TargetConnectionErrorCount`.
const COUNT: &str = "Count";

/// The value of the period that began then.
pub(super) fn at(series: &Series, began: i64) -> Option<f64> {
    series.points.iter().find(|(at, _)| *at == began).map(|(_, value)| *value)
}

/// The events of one period.
///
/// Load balancers publish no zeros: where no answer was a 5XX there is no point of it. So where all events of a
/// period are there, and CloudWatch says that its answer is complete, an absent *count* of bad ones is zero. Any other
/// absent metric may as well be misspelt, and all events that are absent may as well be late.
pub(super) fn counts(bad_name: &str, bad: &Series, all: &Series, began: i64) -> Option<Seen> {
    let all = at(all, began)?;
    let bad = match at(bad, began) {
        Some(bad) => bad,
        None if bad_name.ends_with(COUNT) => 0.0,
        None => return None,
    };
    Some(Seen::Counts { bad, all })
}

/// The points of a span, the oldest first.
pub(super) fn baseline(series: &Series, (from, to): (i64, i64)) -> Vec<f64> {
    let within = series.points.iter().filter(|(at, _)| (from..to).contains(at));
    within.map(|(_, value)| *value).filter(|value| value.is_finite()).collect()
}

/// Why an answer bears no evidence, as a label of a metric.
//= https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDataResult.html
pub(super) fn label(status: &str) -> &'static str {
    match status {
        "PartialData" => "partial-data",
        "InternalError" => "internal-error",
        "Forbidden" => "forbidden",
        _ => "unusable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(points: &[(i64, f64)]) -> Series {
        Series { points: points.to_vec(), unusable: None }
    }

    #[test]
    fn an_absent_count_is_zero_only_beside_all_events_of_the_same_period() {
        let all = series(&[(60, 500.0), (120, 0.0)]);
        for (name, bad, began, expected) in [
            ("HTTPCode_Target_5XX_Count", series(&[(60, 3.0)]), 60, Some((3.0, 500.0))),
            ("HTTPCode_Target_5XX_Count", series(&[]), 60, Some((0.0, 500.0))),
            ("TargetConnectionErrorCount", series(&[(120, 1.0)]), 60, Some((0.0, 500.0))),
            // No request at all is no good request.
            ("HTTPCode_Target_5XX_Count", series(&[]), 120, Some((0.0, 0.0))),
            // All events are absent: too late, or no traffic.
            ("HTTPCode_Target_5XX_Count", series(&[(180, 3.0)]), 180, None),
            ("HTTPCode_Target_5XX_Count", series(&[]), 180, None),
            // Lambda publishes its zeros; a metric of one's own may be misspelt.
            ("Errors", series(&[]), 60, None),
            ("Errors", series(&[(60, 0.0)]), 60, Some((0.0, 500.0))),
            ("checkout_failed", series(&[]), 60, None),
        ] {
            let found = counts(name, &bad, &all, began);
            let expected = expected.map(|(bad, all)| Seen::Counts { bad, all });
            assert_eq!(found, expected, "{name} {bad:?} at {began}");
        }
    }

    #[test]
    fn a_baseline_is_what_lies_within_its_span() {
        let series = series(&[(0, 1.0), (60, 2.0), (120, f64::NAN), (180, 3.0), (240, 4.0)]);
        assert_eq!(baseline(&series, (60, 240)), [2.0, 3.0]);
    }
}
