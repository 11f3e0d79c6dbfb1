//! `gate probe`: the engine by itself, so that a probe can be tried before it guards anything.

mod outcome;

use std::io::{IsTerminal, Write, stderr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use policies::address::target;
use policies::plan::{Connections, IDLE_MAX_DEFAULT, Plan, Rate, Script};
use policies::{PolicyFile, Target, TargetTick, Tick, units};
use probes::{Order, Pace, Prober};
use tokio_util::sync::CancellationToken;

use super::{
    FAILED, OK, Output, USAGE, complain, good_policy, only_addresses, rendered, say, say_json,
    story,
};
use crate::aws::OnDemand;
use crate::cli::serve::stop_on_signal;
use crate::shell::{References, Vault};
use crate::telemetry::Metrics;
use outcome::Probed;

/// Probes per second where neither `--rate` nor a policy says.
const RATE_DEFAULT: f64 = 20.0;
/// A line of progress, and a tick, at most this long.
const TICK_MAX: Duration = Duration::from_secs(1);
/// Probes at a time without an end in sight; the same as a policy's.
const IN_FLIGHT_MAX: f64 = 10_000.0;

/// Probe a URL and print what came of it: a probe can be tried before it guards anything.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Probe {
    /// What to probe: `http://host/path`, `https://`, `grpc://`, `grpcs://`, `ws://`, `wss://`, `tcp://` or
    /// `tls://`. With --policy the scheme, host and port alone.
    #[arg(value_name = "URL")]
    url: String,
    /// Probe as this policy does, scenarios and expectations included.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Probes per second, open loop; `max`: each connection as fast as it is answered. 20 is the default, or
    /// the policy's.
    #[arg(long, value_name = "N", value_parser = pace)]
    rate: Option<Speed>,
    /// How long.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = units::duration)]
    duration: Duration,
    /// At most so many probes at a time; a probe that has to wait for another's answer counts that wait.
    #[arg(long, value_name = "C", value_parser = clap::value_parser!(u16).range(1..=10_000))]
    connections: Option<u16>,
    /// Use connections again instead of a new one for each probe.
    #[arg(long)]
    reuse: bool,
    /// Give a probe up after this; 2s is the default, or the policy's.
    #[arg(long, value_name = "DURATION", value_parser = units::duration)]
    timeout: Option<Duration>,
    /// Speak HTTP/2: by ALPN over TLS, by prior knowledge without.
    #[arg(long, conflicts_with = "policy")]
    http2: bool,
    /// HTTP method.
    #[arg(long, value_name = "METHOD", default_value = "GET", conflicts_with = "policy")]
    method: String,
    /// A header, `name: value`. May be given several times.
    #[arg(long, short = 'H', value_name = "HEADER", conflicts_with = "policy")]
    header: Vec<String>,
    /// Body of the request.
    #[arg(long, value_name = "TEXT", conflicts_with = "policy")]
    body: Option<String>,
    /// Status that is good: `2xx`, `204`. May be given several times.
    #[arg(long, value_name = "STATUS", conflicts_with = "policy")]
    expect: Vec<String>,
    /// How the result is printed.
    #[arg(long, value_enum, default_value_t)]
    output: Output,
}

const EXAMPLES: &str = "Examples:
  gate probe http://127.0.0.1:3000/healthz --rate 100 --duration 30s
  gate probe https://shop.example.com --policy shop.policy.yaml
  gate probe grpc://127.0.0.1:50051 --rate 5
  gate probe http://127.0.0.1:3000/ --rate max --connections 32 --reuse --output json

Exit codes: 0 probed; 1 not one probe was answered as expected; 2 usage or configuration.";

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Speed {
    PerSecond(f64),
    Max,
}

fn pace(text: &str) -> Result<Speed, String> {
    if text == "max" {
        return Ok(Speed::Max);
    }
    let written = if text.contains('/') { text.to_owned() } else { format!("{text}/s") };
    units::rate(&written).map(Speed::PerSecond)
}

impl Probe {
    pub(super) async fn run(self) -> u8 {
        match self.probe().await {
            Ok(code) => code,
            Err(reason) => {
                complain(&format!("error: {reason}"));
                USAGE
            }
        }
    }

    async fn probe(&self) -> Result<u8, String> {
        let mut order = self.order().await?;
        let tick = order.plan.tick;
        let ticks = self.ticks();
        order.pace = match (self.rate, self.connections) {
            (Some(Speed::Max), connections) => {
                Pace::Closed { connections: connections.unwrap_or(1).into() }
            }
            (_, Some(connections)) => Pace::Bounded { connections: connections.into() },
            (_, None) => Pace::Open,
        };
        let stop = CancellationToken::new();
        stop_on_signal(stop.clone())
            .map_err(|error| format!("signals cannot be caught: {error}"))?;
        let prober = Prober::start().map_err(|error| story(&error))?;
        let mut session = prober.begin(order);
        let (mut total, mut seen) = (TargetTick::default(), 0);
        let mut throttled_millis = 0;
        let live = stderr().is_terminal() && self.output == Output::Text;
        while seen < ticks {
            let tick = tokio::select! {
                () = stop.cancelled() => None,
                tick = session.tick() => tick,
            };
            let Some(tick) = tick else { break };
            seen += 1;
            throttled_millis += tick.throttled_millis;
            if live {
                show(&tick, tick.index + 1);
            }
            total.merge(&tick.green.total());
        }
        if live {
            drop(write!(stderr(), "\r\x1b[K"));
        }
        let time = tick.saturating_mul(seen);
        let probed = Probed::new(&self.url, &total, time, throttled_millis);
        match self.output {
            Output::Json => say_json(&probed),
            Output::Text => say(probed.text().trim_end()),
        }
        Ok(if probed.ok > 0 || probed.due == 0 { OK } else { FAILED })
    }

    fn ticks(&self) -> u32 {
        let ticks = self.duration.as_nanos().div_ceil(TICK_MAX.as_nanos());
        u32::try_from(ticks).unwrap_or(u32::MAX)
    }

    async fn order(&self) -> Result<Order, String> {
        if self.duration.is_zero() {
            return Err("`--duration` must be above 0; 10s is the default".to_owned());
        }
        let tick = self.duration / self.ticks();
        let (mut plan, target) = match &self.policy {
            Some(path) => {
                let (file, policy) = good_policy(path).await?;
                if !file.faults.is_empty() {
                    complain(&rendered(&file));
                }
                only_addresses(path, &policy)?;
                (policy.plan(seed(), 0, Vec::new(), Vec::new()), target(&self.url)?)
            }
            None => self.plain()?,
        };
        (plan.tick, plan.green) = (tick, vec![target]);
        if let Some(Speed::PerSecond(rate)) = self.rate {
            plan.rate = Rate::constant(rate);
        }
        plan.timeout = self.timeout.unwrap_or(plan.timeout);
        if plan.timeout < Duration::from_millis(10) || plan.timeout > Duration::from_secs(60) {
            return Err("`--timeout` must be from 10ms to 60s".to_owned());
        }
        let in_flight = plan.rate.peak_per_second() * plan.timeout.as_secs_f64();
        if in_flight > IN_FLIGHT_MAX && self.rate != Some(Speed::Max) {
            return Err(format!(
                "a stalled target would hold {in_flight:.0} probes at once; the most is {IN_FLIGHT_MAX}: lower `--rate` or `--timeout`"
            ));
        }
        if self.reuse {
            let connections = Connections { reuse: 1.0, idle_max: IDLE_MAX_DEFAULT };
            plan.script = Arc::new(Script { connections, ..Script::clone(&plan.script) });
        }
        let metrics = Arc::new(Metrics::new().map_err(|error| story(&error))?);
        let aws = OnDemand::new(None, Vec::new(), Arc::clone(&metrics));
        let references = References::of(&plan.script, &Vault::new(aws, metrics)).await;
        Order::new(plan, &references).map_err(|error| story(&error))
    }

    /// A plan from the flags: written as a policy, so that both mean the same and are checked the same.
    fn plain(&self) -> Result<(Plan, Target), String> {
        let (scheme, rest) = self.url.split_once("://").ok_or_else(|| shape(&self.url))?;
        let (protocol, tls) = match scheme {
            "http" => ("http", false),
            "https" => ("http", true),
            "grpc" => ("grpc", false),
            "grpcs" => ("grpc", true),
            "ws" => ("websocket", false),
            "wss" => ("websocket", true),
            "tcp" => ("tcp", false),
            "tls" => ("tls", true),
            _ => return Err(shape(&self.url)),
        };
        let (authority, path) = match rest.find('/').and_then(|at| rest.split_at_checked(at)) {
            Some((authority, path)) => (authority, path),
            None => (rest, ""),
        };
        let plain = format!("{}://{authority}", if tls { "https" } else { "http" });
        // A password is not shown again.
        let has_user = authority.contains('@');
        let found =
            target(&plain).map_err(|fault| if has_user { fault } else { shape(&self.url) })?;
        let target = Target { id: self.url.clone(), ..found };
        let bare = if path.is_empty() { "/" } else { path };
        if protocol != "http" {
            self.only_http(scheme)?;
        }
        let headers = self.headers()?;
        let call = match protocol {
            "http" => self.http(bare, headers),
            "websocket" => serde_json::json!({ "path": literal(bare), "headers": headers }),
            "grpc" if path.len() > 1 => serde_json::json!({ "method": path, "headers": headers }),
            "grpc" => serde_json::json!({ "headers": headers }),
            _ if path.len() > 1 || !headers.is_empty() => {
                return Err(format!("`{scheme}://` knows neither a path nor headers"));
            }
            _ => serde_json::json!({}),
        };
        // JSON is YAML: nothing has to be quoted twice.
        let document = serde_json::json!({
            "gate": "v1",
            "probe": { protocol: call, "connections": "new", "rate": format!("{RATE_DEFAULT}/s") },
            "objectives": [{ "errors": { "at-most": "1%" } }],
        });
        let file = PolicyFile::parse("command line", &document.to_string());
        let faults: Vec<String> =
            file.errors().map(|fault| format!("{}: {}", fault.message, fault.help)).collect();
        match file.policy {
            Some(policy) => Ok((policy.plan(seed(), 0, Vec::new(), Vec::new()), target)),
            None => Err(faults.join("\nerror: ")),
        }
    }

    /// What would be left unsaid must not have been asked for.
    fn only_http(&self, scheme: &str) -> Result<(), String> {
        let flags = [
            ("--http2", self.http2),
            ("--method", self.method != "GET"),
            ("--body", self.body.is_some()),
            ("--expect", !self.expect.is_empty()),
        ];
        match flags.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(format!(
                "`{flag}` is for `http://` and `https://`, not for `{scheme}://`; a --policy can say more"
            )),
            None => Ok(()),
        }
    }

    fn headers(&self) -> Result<serde_json::Map<String, serde_json::Value>, String> {
        let mut headers = serde_json::Map::new();
        for header in &self.header {
            let (name, value) = header
                .split_once(':')
                .ok_or_else(|| format!("`{header}` is no header; write `name: value`"))?;
            headers.insert(name.trim().to_owned(), literal(value.trim()).into());
        }
        Ok(headers)
    }

    fn http(
        &self,
        path: &str,
        headers: serde_json::Map<String, serde_json::Value>,
    ) -> serde_json::Value {
        let mut http = serde_json::json!({
            "path": literal(path),
            "method": self.method,
            "headers": headers,
            "version": if self.http2 { "2" } else { "1.1" },
        });
        if let Some(object) = http.as_object_mut() {
            if let Some(body) = &self.body {
                object.insert("body".to_owned(), literal(body).into());
            }
            if !self.expect.is_empty() {
                let expect = serde_json::json!({ "status": self.expect });
                object.insert("expect".to_owned(), expect);
            }
        }
        http
    }
}

fn shape(url: &str) -> String {
    format!("`{url}` is nothing to probe; write it like `http://host:port/path`")
}

/// Text in which a `$` is a dollar sign.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// Another shift of the schedule each time, so that several probers do not go in step.
fn seed() -> u64 {
    crate::clock::unix_millis().wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

/// One line on a terminal, replaced by the next.
fn show(tick: &Tick, number: u64) {
    let total = tick.green.total();
    let probed = Probed::new("", &total, TICK_MAX, 0);
    let latency = &probed.latency_seconds;
    let time = |seconds: Option<f64>| {
        seconds.map_or_else(
            || "-".to_owned(),
            |seconds| units::exact(Duration::from_secs_f64(seconds)),
        )
    };
    drop(write!(
        stderr(),
        "\r\x1b[K{number:>4} s  {:>6} sent  {:>6} ok  p50 {}  p99 {}  max {}",
        probed.sent,
        probed.ok,
        time(latency.p50),
        time(latency.p99),
        time(latency.max)
    ));
}
