//! What each tool says of a run, taken from its own output.

use serde_json::Value;

use crate::figures::quantile;

/// Quantiles that the page shows.
pub const QUANTILES: [f64; 4] = [0.5, 0.95, 0.99, 0.999];

/// Seconds; `None` where the tool does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reported {
    /// Answers that were good.
    pub good: Option<u64>,
    /// Requests a second, over the time that the tool took.
    pub rate: Option<f64>,
    /// Of [`QUANTILES`].
    pub latency: [Option<f64>; 4],
    /// p50 and p99 of the tool's own lateness: gate alone says it.
    pub schedule_error: [Option<f64>; 2],
}

fn json(output: &str) -> Result<Value, String> {
    serde_json::from_str(output).map_err(|error| format!("its output is no JSON: {error}"))
}

/// Of `gate probe --output json`, and of the reference, which writes the same.
pub fn gate(output: &str) -> Result<Reported, String> {
    let output = json(output)?;
    let seconds = |name: &str| output["latency_seconds"][name].as_f64();
    let error = |name: &str| output["schedule_error_seconds"][name].as_f64();
    Ok(Reported {
        good: output["ok"].as_u64(),
        rate: output["achieved_rate"].as_f64(),
        latency: ["p50", "p95", "p99", "p99_9"].map(seconds),
        schedule_error: ["p50", "p99"].map(error),
    })
}

/// Of `oha --output-format json`.
pub fn oha(output: &str) -> Result<Reported, String> {
    let output = json(output)?;
    let seconds = |name: &str| output["latencyPercentiles"][name].as_f64();
    Ok(Reported {
        good: output["statusCodeDistribution"]["200"].as_u64(),
        rate: output["summary"]["requestsPerSec"].as_f64(),
        latency: ["p50", "p95", "p99", "p99.9"].map(seconds),
        ..Reported::default()
    })
}

/// Of `autocannon --json`: whole milliseconds, and p97.5 instead of p95.
pub fn autocannon(output: &str) -> Result<Reported, String> {
    let output = json(output)?;
    let seconds = |name: &str| Some(output["latency"][name].as_f64()? / 1e3);
    Ok(Reported {
        good: output["2xx"].as_u64(),
        rate: output["requests"]["average"].as_f64(),
        latency: ["p50", "", "p99", "p99_9"].map(seconds),
        ..Reported::default()
    })
}

/// The words of the first line that starts with this.
fn words<'a>(output: &'a str, start: &str) -> impl Iterator<Item = &'a str> {
    let line = output.lines().map(str::trim_start).find_map(|line| line.strip_prefix(start));
    line.unwrap_or_default().split_whitespace()
}

/// Of `wrk --latency`.
pub fn wrk(output: &str) -> Result<Reported, String> {
    let line = output.lines().find(|line| line.contains(" requests in "));
    let good = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    let seconds = |start| words(output, start).next().and_then(duration);
    let latency = [seconds("50%"), None, seconds("99%"), None];
    let good = good.ok_or("wrk does not say how many requests it made")?;
    Ok(Reported { good: Some(good), rate: per_second(output), latency, ..Reported::default() })
}

/// `Requests/sec:`, as wrk and hey say it.
fn per_second(output: &str) -> Option<f64> {
    words(output, "Requests/sec:").next()?.parse().ok()
}

/// `102.00us`, `1.21ms` or `1.05s` in seconds.
fn duration(text: &str) -> Option<f64> {
    let unit = text.find(|letter: char| letter.is_ascii_alphabetic())?;
    let (number, unit) = text.split_at(unit);
    let scale = match unit {
        "us" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * scale)
}

/// Of hey's summary, which has four digits and no p99.9.
pub fn hey(output: &str) -> Result<Reported, String> {
    let seconds = |start| words(output, start).nth(1).and_then(|word| word.parse().ok());
    let good = words(output, "[200]").next().and_then(|word| word.parse().ok());
    let good = good.ok_or("hey does not say how many answers were good")?;
    let latency = [seconds("50%"), seconds("95%"), seconds("99%"), None];
    Ok(Reported { good: Some(good), rate: per_second(output), latency, ..Reported::default() })
}

/// Of h2load's summary, which has no quantiles, and of its log of requests, which has all of them.
pub fn h2load(output: &str, log: &str) -> Result<Reported, String> {
    // `requests: 10 total, 10 started, 10 done, 9 succeeded, …`
    let good = words(output, "requests:").nth(6).and_then(|word| word.parse().ok());
    let good = good.ok_or("h2load does not say how many answers were good")?;
    let microseconds = log.lines().filter_map(|line| line.split('\t').nth(2)?.parse::<f64>().ok());
    let mut seconds: Vec<f64> = microseconds.map(|microseconds| microseconds / 1e6).collect();
    seconds.sort_by(f64::total_cmp);
    let latency = QUANTILES.map(|asked| quantile(&seconds, asked));
    // `finished in 2.00s, 1008.00 req/s, …`
    let rate = words(output, "finished in").nth(1).and_then(|word| word.parse().ok());
    Ok(Reported { good: Some(good), rate, latency, ..Reported::default() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(found: Result<Reported, String>, (good, rate): (u64, f64), latency: [Option<f64>; 4]) {
        let found = found.unwrap();
        assert_eq!((found.good, found.rate), (Some(good), Some(rate)));
        for (found, expected) in found.latency.into_iter().zip(latency) {
            let near = match (found, expected) {
                (Some(found), Some(expected)) => (found - expected).abs() < 1e-9,
                (found, expected) => found == expected,
            };
            assert!(near, "{found:?} instead of {expected:?}");
        }
    }

    #[test]
    fn each_tool_is_read_as_it_writes() {
        let some = |latency: [f64; 4]| latency.map(Some);
        let output = include_str!("samples/gate.json");
        check(gate(output), (9998, 1000.02), some([0.000_16, 0.000_24, 0.000_35, 0.000_9]));
        assert_eq!(gate(output).unwrap().schedule_error, [Some(0.000_05), Some(0.000_15)]);
        let expected = some([0.000_115_513, 0.000_181_192, 0.000_231_557, 0.000_772_158]);
        check(oha(include_str!("samples/oha.json")), (1999, 998.814_512_601_187_3), expected);
        let expected = [Some(0.001), None, Some(0.013), Some(0.017)];
        check(autocannon(include_str!("samples/autocannon.json")), (2291, 1145.5), expected);
        let expected = [Some(0.000_102), None, Some(0.000_4), None];
        check(wrk(include_str!("samples/wrk.txt")), (316_066, 150_454.6), expected);
        let expected = [Some(0.000_5), Some(0.001_2), Some(0.002_6), None];
        check(hey(include_str!("samples/hey.txt")), (2016, 997.4659), expected);
        let log = include_str!("samples/h2load.log");
        let expected = some([0.000_551, 0.000_553, 0.000_553, 0.000_553]);
        check(h2load(include_str!("samples/h2load.txt"), log), (2016, 1008.0), expected);
    }

    #[test]
    fn durations_have_units() {
        for (text, seconds) in [
            ("102.00us", Some(0.000_102)),
            ("1.5ms", Some(0.001_5)),
            ("2s", Some(2.0)),
            ("3", None),
        ] {
            let found = duration(text);
            let near = found.zip(seconds).map(|(found, seconds)| (found - seconds).abs() < 1e-12);
            assert_eq!(near, seconds.map(|_| true), "{text}: {found:?}");
        }
    }

    #[test]
    fn an_output_of_something_else_is_an_error() {
        for read in [gate, oha, autocannon, wrk, hey] {
            assert!(read("usage: …").is_err());
        }
        assert!(h2load("", "").is_err());
    }
}
