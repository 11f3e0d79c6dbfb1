//! What to probe, how often, and what to expect: specific enough that nothing is left to decide.

use std::sync::Arc;
use std::time::Duration;

use crate::deployment::Target;
use crate::policy::Counted;

mod call;
mod compare;
mod expect;
mod observed;
mod rate;
mod take;
mod template;

pub use call::{
    Body, Call, Grpc, HeaderValue, Headers, Http, HttpVersion, Lambda, Message, WebSocket,
};
pub use compare::{Comparison, JsonPath, JsonSchema, Pattern};
pub use expect::{Expect, SEEN_MAX_BYTES, StatusRange, clipped, quoted};
pub use observed::{Observation, Observed};
pub use rate::{Rate, Segment};
pub use take::{Source, Take};
pub use template::{BUILT_IN, Template, TemplateError};

/// The largest answer read of a probe; a health endpoint is far smaller.
pub const BODY_MAX_BYTES: usize = 1024 * 1024;
/// Scenarios of one policy.
pub const SCENARIOS_MAX: usize = 16;
/// Steps of all scenarios of one policy: each is a signal of its own, for every target.
pub const STEPS_MAX: usize = 32;
/// Headers that gate or the connection set, so that a policy must not.
pub const OWN_HEADERS: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "accept-encoding",
    "te",
];

/// A running order for the prober.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Shifts the schedule inside a period, so that many gates do not probe in step.
    pub seed: u64,
    /// Probes for each arm, open loop, spread over its targets.
    pub rate: Rate,
    /// A probe without an answer this long after its due time has failed.
    pub timeout: Duration,
    /// Length of a tick.
    pub tick: Duration,
    /// Index of the first tick, above 0 after a restart.
    pub first_tick: u64,
    /// What to send and expect.
    pub script: Arc<Script>,
    /// Candidate targets.
    pub green: Vec<Target>,
    /// Baseline targets, probed in pairs with green.
    pub blue: Vec<Target>,
    /// What green's own metrics are read for: names of objectives, and what each counts.
    pub counted: Vec<(String, Counted)>,
    /// What AWS is asked for, of the objectives that are judged now.
    pub observed: Vec<Observed>,
}

/// What probes send and expect, whichever target they go to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// At least one, chosen by their weights.
    pub scenarios: Vec<Scenario>,
    /// Which connections carry the probes.
    pub connections: Connections,
    /// How TLS is spoken.
    pub tls: ClientTls,
    /// How requests are signed.
    pub sign: Option<Sign>,
    /// Headers of green's requests alone.
    pub green_headers: Headers,
    /// Where targets show their own metrics.
    pub scrape: Scrape,
}

/// Where targets show their own metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scrape {
    /// Path and query.
    pub path: String,
    /// Instead of the target's own port; without TLS then.
    pub port: Option<u16>,
}

impl Default for Scrape {
    fn default() -> Self {
        Self { path: "/metrics".to_owned(), port: None }
    }
}

/// One probe: a request, or several in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// How it is called in signals; empty for the only probe of a policy without scenarios.
    pub name: String,
    /// How often it is chosen, relative to the others.
    pub weight: f64,
    /// Whether cookies are kept from step to step.
    pub cookies: bool,
    /// At least one.
    pub steps: Vec<Step>,
}

/// One request of a scenario.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// How it is called in signals: `login`. Empty for the only probe of a policy without scenarios.
    pub name: String,
    /// What is sent.
    pub call: Call,
    /// The answer that is good.
    pub expect: Expect,
    /// What is taken from the answer for later steps.
    pub take: Vec<Take>,
}

/// Which connections carry the probes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Connections {
    /// Share of the probes that may use a connection again, 0 to 1.
    pub reuse: f64,
    /// A connection idle for longer than this is not used again.
    pub idle_max: Duration,
}

/// Idle time after which no connection is used again where a policy names none: below the 5 s of Node.js,
/// the shortest idle time-out in wide use.
pub const IDLE_MAX_DEFAULT: Duration = Duration::from_secs(4);

impl Default for Connections {
    fn default() -> Self {
        Self { reuse: 0.0, idle_max: IDLE_MAX_DEFAULT }
    }
}

impl Connections {
    /// Whether some probes use new connections and some do not, so that both are reported apart.
    pub fn is_mixed(&self) -> bool {
        self.reuse > 0.0 && self.reuse < 1.0
    }
}

/// How TLS is spoken: references such as `file:/etc/ca.pem`, read when probing starts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientTls {
    /// Certificate authorities trusted instead of the machine's, in PEM.
    pub roots: Option<String>,
    /// Chain shown to targets that ask for one, and its key, in PEM.
    pub certificate: Option<(String, String)>,
    /// Name asked for and verified, instead of the host's.
    pub server_name: Option<String>,
}

/// How requests are signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// AWS Signature Version 4, with the credentials gate runs with.
    SigV4 {
        /// Signing name: `execute-api`, `vpc-lattice-svcs`, `lambda`.
        service: String,
        /// Region of the endpoint.
        region: String,
    },
    /// HMAC-SHA-256, in hex, over `METHOD\nPATH\nTIMESTAMP\nBODY`.
    Hmac {
        /// Header that carries the signature; `HEADER-timestamp` carries the time in Unix seconds.
        header: String,
        /// Reference to the key.
        key: String,
    },
}

impl Scenario {
    /// The name of a step's own signal: `buy/login`; `None` where the probe is one request.
    pub fn signal_of(&self, step: &Step) -> Option<String> {
        (!self.name.is_empty()).then(|| format!("{}/{}", self.name, step.name))
    }
}

impl Script {
    /// The names of all signals that steps and scenarios have of their own.
    pub fn signals(&self) -> Vec<String> {
        let named = self.scenarios.iter().filter(|scenario| !scenario.name.is_empty());
        named
            .flat_map(|scenario| {
                let steps = scenario.steps.iter().filter_map(|step| scenario.signal_of(step));
                std::iter::once(scenario.name.clone()).chain(steps)
            })
            .collect()
    }

    /// Whether any request of it is made by HTTP/1.1, whatever the target would choose.
    pub fn speaks_http1(&self) -> bool {
        let mut steps = self.scenarios.iter().flat_map(|scenario| &scenario.steps);
        steps.any(|step| match &step.call {
            Call::Http(http) => http.version == HttpVersion::One,
            Call::WebSocket(_) => true,
            Call::Grpc(_) | Call::Tcp | Call::Tls { .. } | Call::Lambda(_) => false,
        })
    }

    /// Whether it invokes functions: all of its steps do then, for no address can be invoked.
    pub fn invokes(&self) -> bool {
        let mut steps = self.scenarios.iter().flat_map(|scenario| &scenario.steps);
        steps.any(|step| matches!(step.call, Call::Lambda(_)))
    }

    /// The protocol of its first step.
    pub fn protocol(&self) -> &'static str {
        let mut steps = self.scenarios.iter().flat_map(|scenario| &scenario.steps);
        steps.next().map_or("nothing", |step| step.call.protocol())
    }

    /// Share of the probes that a signal is about: its scenario's among all.
    pub fn share_of(&self, signal: &str) -> f64 {
        let name = signal.split_once('/').map_or(signal, |(scenario, _)| scenario);
        let total: f64 = self.scenarios.iter().map(|scenario| scenario.weight).sum();
        let found = self.scenarios.iter().find(|scenario| scenario.name == name);
        found.map_or(1.0, |scenario| scenario.weight / total)
    }

    /// The scenario of a probe: by the golden ratio, which spreads any weights as evenly as can be.
    pub fn scenario(&self, seed: u64, number: u64) -> Option<(usize, &Scenario)> {
        /// 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming 3, 6.4).
        const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
        let total: f64 = self.scenarios.iter().map(|scenario| scenario.weight).sum();
        let spread = number.wrapping_mul(GOLDEN).wrapping_add(seed);
        let mut left = unit(spread) * total;
        let found = self.scenarios.iter().enumerate().find(|(_, scenario)| {
            left -= scenario.weight;
            left < 0.0
        });
        found.or_else(|| self.scenarios.iter().enumerate().next_back())
    }

    /// Whether this probe may use a connection again.
    pub fn may_reuse(&self, seed: u64, number: u64) -> bool {
        // Another sequence than the one that chooses scenarios, or a scenario might never meet a new one.
        const SILVER: u64 = 0x6a09_e667_f3bc_c909;
        unit(number.wrapping_mul(SILVER).wrapping_add(seed)) < self.connections.reuse
    }
}

/// From 0 to below 1.
fn unit(bits: u64) -> f64 {
    #[allow(clippy::cast_precision_loss, reason = "a choice needs no more than 52 bits")]
    let unit = (bits >> 12) as f64 / (1u64 << 52) as f64;
    unit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenarios_are_chosen_by_their_weights_and_spread_evenly() {
        let scenario = |name: &str, weight| Scenario {
            name: name.to_owned(),
            weight,
            cookies: false,
            steps: Vec::new(),
        };
        let script = Script {
            scenarios: vec![scenario("often", 3.0), scenario("seldom", 1.0)],
            ..Script::default()
        };
        for seed in [0, 7, u64::MAX] {
            let seldom: Vec<u64> = (0..4000)
                .filter(|&number| script.scenario(seed, number).unwrap().1.name == "seldom")
                .collect();
            assert!((990..=1010).contains(&seldom.len()), "{}", seldom.len());
            let gaps = seldom.windows(2).map(|pair| pair[1] - pair[0]);
            assert!(gaps.max().unwrap() <= 8, "spread, not bunched");
        }
    }

    #[test]
    fn a_share_of_the_probes_uses_connections_again() {
        for (reuse, expected) in [(0.0, 0..=0), (0.5, 1980..=2020), (1.0, 4000..=4000)] {
            let connections = Connections { reuse, ..Connections::default() };
            let script = Script { connections, ..Script::default() };
            let again = (0..4000).filter(|&number| script.may_reuse(3, number)).count();
            assert!(expected.contains(&again), "{reuse}: {again}");
        }
    }
}
