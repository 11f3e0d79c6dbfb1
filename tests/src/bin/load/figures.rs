//! Quantiles of what was measured here, and histograms of what gate measured of itself.

use std::time::Duration;

/// A quantile of times, by nearest rank.
pub fn quantile(sorted: &[Duration], share: f64) -> Duration {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.clamp(1, sorted.len().max(1)) - 1).copied().unwrap_or_default()
}

/// The sum of a counter over its labels that hold this text.
pub fn counter(metrics: &str, name: &str, label: &str) -> f64 {
    let of = metrics.lines().filter(|line| line.starts_with(name) && line.contains(label));
    // The sum of nothing is -0.
    of.filter_map(|line| line.rsplit(" ").next()?.parse::<f64>().ok())
        .fold(0.0, |sum, one| sum + one)
}

/// How many of a histogram's values are at most each bound, in order.
pub fn buckets(metrics: &str, name: &str) -> Vec<(f64, u64)> {
    let prefix = format!("{name}_bucket{{le=\"");
    let of = metrics.lines().filter_map(|line| line.strip_prefix(prefix.as_str()));
    of.filter_map(|rest| {
        let (bound, count) = rest.split_once("\"} ")?;
        Some((bound.parse().unwrap_or(f64::INFINITY), count.parse().ok()?))
    })
    .collect()
}

/// How many of all are above a bound of the histogram.
pub fn above(buckets: &[(f64, u64)], bound: f64) -> u64 {
    let all = buckets.last().map_or(0, |(_, count)| *count);
    let most = buckets.iter().find(|(le, _)| *le >= bound).map_or(0, |(_, count)| *count);
    all - most
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let times: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        for (share, millis) in [(0.5, 100), (0.99, 198), (1.0, 200)] {
            assert_eq!(quantile(&times, share), Duration::from_millis(millis), "{share}");
        }
        assert_eq!(quantile(&[], 0.5), Duration::ZERO);
    }

    #[test]
    fn a_histogram_says_how_many_are_above_a_bound() {
        let metrics =
            "x_bucket{le=\"0.5\"} 3\nx_bucket{le=\"1\"} 5\nx_bucket{le=\"+Inf\"} 7\nx_sum 9\n";
        let found = buckets(metrics, "x");
        assert_eq!(found, [(0.5, 3), (1.0, 5), (f64::INFINITY, 7)]);
        assert_eq!((above(&found, 0.5), above(&found, 1.0)), (4, 2));
    }
}
