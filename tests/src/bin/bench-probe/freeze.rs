//! The server that stops: when it does, and what a perfect open loop sees of it, in closed form.

use std::time::Duration;

/// How often the server stops answering.
pub const EVERY: Duration = Duration::from_secs(2);
/// For how long. Connections are still accepted, and requests received, by the kernel.
pub const STOPS: Duration = Duration::from_millis(200);

/// How long it still stands still, this long after its start. It stops at the end of each period, so that
/// a client that starts with it finds it answering.
pub fn rest(since_start: Duration) -> Option<Duration> {
    let into = Duration::from_nanos((since_start.as_nanos() % EVERY.as_nanos()) as u64);
    (into >= EVERY - STOPS).then(|| EVERY - into)
}

/// Requests due at a constant rate wait for the rest of the stop they fall into: P(latency > x) = (S − x) / T,
/// in seconds, where an answer otherwise takes no time.
pub fn closed_form(quantile: f64) -> f64 {
    (STOPS.as_secs_f64() - EVERY.as_secs_f64() * (1.0 - quantile)).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closed_form_is_that_of_a_tenth_of_the_time_stopped() {
        for (quantile, seconds) in
            [(0.5, 0.0), (0.9, 0.0), (0.95, 0.1), (0.99, 0.18), (0.999, 0.198)]
        {
            let found = closed_form(quantile);
            assert!((found - seconds).abs() < 1e-12, "p{quantile}: {found}");
        }
    }

    #[test]
    fn the_closed_form_is_what_requests_on_a_grid_wait() {
        let mut waits: Vec<f64> = (0..20_000)
            .map(|due| rest(Duration::from_millis(due)).map_or(0.0, |rest| rest.as_secs_f64()))
            .collect();
        waits.sort_by(f64::total_cmp);
        for quantile in [0.5, 0.95, 0.99, 0.999] {
            let wait = crate::figures::quantile(&waits, quantile).unwrap();
            assert!((wait - closed_form(quantile)).abs() < 0.002, "p{quantile}: {wait}");
        }
    }

    #[test]
    fn it_stops_at_the_end_of_each_period() {
        for (at, rest_of_it) in
            [(0, None), (1799, None), (1800, Some(200)), (3950, Some(50)), (4000, None)]
        {
            let found = rest(Duration::from_millis(at));
            assert_eq!(found, rest_of_it.map(Duration::from_millis), "{at} ms");
        }
    }
}
