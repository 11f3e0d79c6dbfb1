//! What came of probing, as numbers for programs and as a table for people.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use policies::histogram::Interval;
use policies::{Histogram, Outcome, TargetTick, units};
use serde::Serialize;

/// What came of probing one target.
#[derive(Debug, Serialize)]
pub(super) struct Probed {
    url: String,
    /// Time probed, in seconds.
    duration_seconds: f64,
    /// Probes due.
    pub(super) due: u32,
    /// Probes that were sent.
    pub(super) sent: u32,
    /// Answered as expected.
    pub(super) ok: u32,
    /// Sent or read late, by gate's own fault: counted, and in no latency.
    late: u32,
    /// Never sent, by gate's own fault.
    not_sent: u32,
    /// Sent again because the connection to be used again was closed.
    stale: u32,
    /// Probes sent, a second.
    achieved_rate: f64,
    /// From the due time to the last byte, of those that were answered.
    pub(super) latency_seconds: Quantiles,
    /// Of the same, from the send.
    service_seconds: Quantiles,
    /// From the due time to the send, of all.
    schedule_error_seconds: Quantiles,
    /// Each phase, of all that got as far.
    phases_seconds: BTreeMap<&'static str, Quantiles>,
    outcomes: BTreeMap<&'static str, u32>,
    /// Unexpected statuses.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    statuses: BTreeMap<u16, u32>,
    /// What was seen where an expectation failed; the first few.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    unmet: BTreeMap<String, u32>,
    /// Days to the end of the certificate's validity.
    #[serde(skip_serializing_if = "Option::is_none")]
    certificate_days: Option<i32>,
    /// Scenarios, steps, and new and reused connections.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    signals: BTreeMap<String, Signal>,
    /// Time that the quota of gate's own container kept it from its CPU.
    throttled_seconds: f64,
}

/// A scenario, a step or a kind of connection.
#[derive(Debug, Serialize)]
struct Signal {
    sent: u32,
    ok: u32,
    latency_seconds: Quantiles,
    outcomes: BTreeMap<&'static str, u32>,
}

/// Quantiles in seconds; `null` where there was nothing.
#[derive(Debug, Default, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: Option<f64>,
    p90: Option<f64>,
    p95: Option<f64>,
    pub(super) p99: Option<f64>,
    p99_9: Option<f64>,
    pub(super) max: Option<f64>,
}

impl Quantiles {
    fn of(interval: &Interval) -> Self {
        let mut histogram = Histogram::of_arm();
        histogram.add(interval);
        let at = |quantile| histogram.quantile(quantile).map(|time| time.as_secs_f64());
        Self {
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p99_9: at(0.999),
            max: histogram.max().map(|time| time.as_secs_f64()),
        }
    }

    fn row(&self) -> String {
        let mut row = String::new();
        for seconds in [self.p50, self.p90, self.p95, self.p99, self.p99_9, self.max] {
            let cell = seconds.map_or_else(|| "-".to_owned(), time);
            // Writing to a string does not fail.
            let _infallible = write!(row, "{cell:>11}");
        }
        row
    }
}

/// Three digits are what a histogram knows.
fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.1 => format!("{:.0} ms", s * 1e3),
        s if s >= 0.01 => format!("{:.1} ms", s * 1e3),
        s if s >= 0.001 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.0} µs", s * 1e6),
    }
}

fn outcomes(tick: &TargetTick) -> BTreeMap<&'static str, u32> {
    tick.outcomes.iter().map(|(outcome, &count)| (outcome.name(), count)).collect()
}

fn count(tick: &TargetTick, outcome: Outcome) -> u32 {
    tick.outcomes.get(&outcome).copied().unwrap_or(0)
}

impl Probed {
    pub(super) fn new(url: &str, tick: &TargetTick, time: Duration, throttled_millis: u32) -> Self {
        let not_sent = count(tick, Outcome::NotSent);
        let sent = tick.due.saturating_sub(not_sent);
        let phases = tick.phases.iter().map(|(phase, i)| (phase.name(), Quantiles::of(i)));
        let signals = tick.signals.iter().map(|(name, tick)| (name.clone(), Signal::of(tick)));
        Self {
            url: url.to_owned(),
            duration_seconds: time.as_secs_f64(),
            due: tick.due,
            sent,
            ok: count(tick, Outcome::Ok),
            late: tick.late,
            not_sent,
            stale: tick.stale,
            achieved_rate: f64::from(sent) / time.as_secs_f64().max(f64::MIN_POSITIVE),
            latency_seconds: Quantiles::of(&tick.latency),
            service_seconds: Quantiles::of(&tick.service),
            schedule_error_seconds: Quantiles::of(&tick.lateness),
            phases_seconds: phases.collect(),
            outcomes: outcomes(tick),
            statuses: tick.statuses.clone(),
            unmet: tick.unmet.clone(),
            certificate_days: tick.certificate_days,
            signals: signals.collect(),
            throttled_seconds: Duration::from_millis(throttled_millis.into()).as_secs_f64(),
        }
    }

    /// A table for people.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        let time = units::spell(Duration::from_secs_f64(self.duration_seconds));
        line(format!(
            "{}: {} probes in {time}, {:.1}/s, {} answered as expected",
            self.url, self.sent, self.achieved_rate, self.ok
        ));
        let heads: String = ["p50", "p90", "p95", "p99", "p99.9", "max"]
            .iter()
            .map(|head| format!("{head:>11}"))
            .collect();
        line(format!("\n{:<12}{heads}", ""));
        line(format!("{:<12}{}", "latency", self.latency_seconds.row()));
        line(format!("{:<12}{}", "from send", self.service_seconds.row()));
        line(format!("{:<12}{}", "sent late", self.schedule_error_seconds.row()));
        for (name, quantiles) in
            PHASES.iter().filter_map(|name| self.phases_seconds.get_key_value(name))
        {
            line(format!("  {name:<10}{}", quantiles.row()));
        }
        line(String::new());
        for (outcome, count) in &self.outcomes {
            line(format!("{count:>8}  {outcome}{}", self.detail(outcome)));
        }
        for (sentence, count) in &self.unmet {
            line(format!("{:>8}  {count} × {sentence}", ""));
        }
        if self.late > 0 {
            line(format!("{:>8}  sent or read late by gate itself, in no latency", self.late));
        }
        if self.stale > 0 {
            line(format!(
                "{:>8}  sent again: the connection to be used again was closed",
                self.stale
            ));
        }
        if let Some(days) = self.certificate_days {
            line(format!("\ncertificate: valid for {days} more days"));
        }
        if self.throttled_seconds > 0.0 {
            line(format!(
                "\ngate's own container was throttled for {:.1} s: trust no latency",
                self.throttled_seconds
            ));
        }
        if !self.signals.is_empty() {
            line(format!("\n{:<32}{:>8}{:>8}{:>11}{:>11}", "", "sent", "ok", "p50", "p99"));
        }
        for (name, signal) in &self.signals {
            let cell = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), self::time);
            let (p50, p99) = (cell(signal.latency_seconds.p50), cell(signal.latency_seconds.p99));
            line(format!("{name:<32}{:>8}{:>8}{p50:>11}{p99:>11}", signal.sent, signal.ok));
        }
        text
    }

    fn detail(&self, outcome: &str) -> String {
        if outcome != Outcome::Status.name() || self.statuses.is_empty() {
            return String::new();
        }
        let each: Vec<String> =
            self.statuses.iter().map(|(status, count)| format!("{count} × {status}")).collect();
        format!(" ({})", each.join(", "))
    }
}

/// In the order they happen.
const PHASES: [&str; 6] = ["resolve", "connect", "tls", "send", "wait", "receive"];

impl Signal {
    fn of(tick: &TargetTick) -> Self {
        Self {
            sent: tick.due.saturating_sub(count(tick, Outcome::NotSent)),
            ok: count(tick, Outcome::Ok),
            latency_seconds: Quantiles::of(&tick.latency),
            outcomes: outcomes(tick),
        }
    }
}
