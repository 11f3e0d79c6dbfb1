//! One request made, and what came of it.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A probe sent this long after it was due, though the target held nothing up, was sent late by gate.
///
/// Above the 1-2 ms of the runtime's timer, and small beside any latency worth an objective.
pub const LATE_AFTER: Duration = Duration::from_millis(20);

/// Share of a probe's time that gate itself may have stood still before the probe says little of the target. A
/// share, so that a probe that hangs for seconds, and so meets many a short stall, counts all the same.
const DISTURBED_SHARE: f64 = 0.1;

/// What came of a probe: a closed list, so that metrics and reports have bounded labels.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Answered as expected.
    #[default]
    Ok,
    /// Answered with a status the policy does not expect.
    Status,
    /// Answered, but not as the policy expects: header, body, size, time of a phase, certificate.
    Expectation,
    /// The target refused the connection, or a function's platform could not start the version.
    Refused,
    /// The connection was reset or closed before the answer was complete.
    Reset,
    /// No connection within the time-out.
    ConnectTimeout,
    /// Connected, but no complete answer within the time-out.
    Timeout,
    /// The TLS handshake failed.
    Tls,
    /// The answer was not what the protocol allows.
    Protocol,
    /// The answer was larger than gate reads.
    TooLarge,
    /// The name did not resolve.
    Dns,
    /// No route to the target from here, or none to the platform that runs it.
    Unreachable,
    /// A connection used again was closed before the first byte of an answer, and the request is none that
    /// may be sent twice: the race of every idle time-out, nobody's fault.
    Stale,
    /// A function's platform had no room for another invocation: a limit of the account or of the function,
    /// which the probes use up too.
    Throttled,
    /// The address is one that is never probed: of metadata, link-local, or of no one machine.
    Forbidden,
    /// Gate could not send it: out of sockets, files or places, or it may not.
    NotSent,
}

/// Whose fault an outcome is. Only the target's faults count against a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Blame {
    /// The release being judged.
    Target,
    /// Something between gate and the target.
    Network,
    /// AWS: a throttled or failed call.
    Aws,
    /// Whoever wrote the policy or the set-up.
    User,
    /// Gate itself.
    Gate,
}

impl Outcome {
    /// Every outcome, in the order reports list them.
    pub const ALL: [Self; 16] = [
        Self::Ok,
        Self::Status,
        Self::Expectation,
        Self::Refused,
        Self::Reset,
        Self::ConnectTimeout,
        Self::Timeout,
        Self::Tls,
        Self::Protocol,
        Self::TooLarge,
        Self::Dns,
        Self::Unreachable,
        Self::Stale,
        Self::Throttled,
        Self::Forbidden,
        Self::NotSent,
    ];

    /// The name used in policies, metrics, records and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Status => "status",
            Self::Expectation => "expectation",
            Self::Refused => "refused",
            Self::Reset => "reset",
            Self::ConnectTimeout => "connect-timeout",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Protocol => "protocol",
            Self::TooLarge => "too-large",
            Self::Dns => "dns",
            Self::Unreachable => "unreachable",
            Self::Stale => "stale",
            Self::Throttled => "throttled",
            Self::Forbidden => "forbidden",
            Self::NotSent => "not-sent",
        }
    }

    /// Whose fault it is; `None` for an answer as expected.
    pub const fn blame(self) -> Option<Blame> {
        match self {
            Self::Ok => None,
            Self::Status
            | Self::Expectation
            | Self::Refused
            | Self::Reset
            | Self::ConnectTimeout
            | Self::Timeout
            | Self::Tls
            | Self::Protocol
            | Self::TooLarge => Some(Blame::Target),
            Self::Dns | Self::Unreachable | Self::Stale => Some(Blame::Network),
            Self::Throttled => Some(Blame::Aws),
            Self::Forbidden => Some(Blame::User),
            Self::NotSent => Some(Blame::Gate),
        }
    }

    /// Whether the target gave a complete answer, so that its latency is a measurement.
    pub const fn answered(self) -> bool {
        matches!(self, Self::Ok | Self::Status | Self::Expectation)
    }

    /// Whether no connection came about: set aside where blue fails alike in the same tick.
    pub const fn failed_to_connect(self) -> bool {
        matches!(self, Self::Refused | Self::Reset | Self::ConnectTimeout)
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Part of the way from the send to the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// From a name to addresses.
    Resolve,
    /// To a TCP connection.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Until the request is written.
    Send,
    /// From then to the first byte of the answer.
    Wait,
    /// From the first byte to the last.
    Receive,
}

impl Phase {
    /// Every phase, in the order they happen.
    pub const ALL: [Self; 6] =
        [Self::Resolve, Self::Connect, Self::Tls, Self::Send, Self::Wait, Self::Receive];

    /// The name used in policies, metrics, records and pages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Resolve => "resolve",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Send => "send",
            Self::Wait => "wait",
            Self::Receive => "receive",
        }
    }

    const fn place(self) -> usize {
        self as usize
    }
}

/// How long each phase of one request took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    micros: [Option<u32>; 6],
}

impl Phases {
    /// Notes a phase, to the microsecond. One that happens again, as after a redirect, adds up.
    pub fn set(&mut self, phase: Phase, took: Duration) {
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        if let Some(slot) = self.micros.get_mut(phase.place()) {
            *slot = Some(slot.unwrap_or(0).saturating_add(micros));
        }
    }

    /// How long a phase took, if there was one.
    pub fn get(&self, phase: Phase) -> Option<Duration> {
        let micros = self.micros.get(phase.place()).copied().flatten()?;
        Some(Duration::from_micros(micros.into()))
    }

    /// Adds those of a further request of the same probe.
    pub fn add(&mut self, other: &Self) {
        for phase in Phase::ALL {
            if let Some(took) = other.get(phase) {
                self.set(phase, took);
            }
        }
    }
}

/// What the platform reports of one invocation of a function, as far as it does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Invoked {
    /// From the send to the answer, a start included.
    pub wall: Duration,
    /// The start of a fresh environment, or its return from a snapshot, where there was one.
    pub init: Option<Duration>,
    /// The function's own time, without a start.
    pub reported: Option<Duration>,
    /// Time that is paid for.
    pub billed: Option<Duration>,
    /// Most memory used.
    pub max_memory_bytes: Option<u64>,
}

impl Invoked {
    /// The part of the wall time that was a start.
    ///
    /// None where there is no room for it beside the function's own time: an environment that was started
    /// before it was needed reports its start all the same, and nobody waited for it.
    pub fn startup(&self) -> Duration {
        match (self.init, self.reported) {
            (Some(init), Some(reported)) if init.saturating_add(reported) <= self.wall => init,
            (Some(_) | None, Some(_) | None) => Duration::ZERO,
        }
    }
}

/// One probe, with its three times kept apart: due to sent, sent to done, due to done.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// From the due time to the send: gate's own lateness.
    pub held: Duration,
    /// From the due time to the last byte of the answer, or to the failure; without the start of a function.
    pub latency: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// The HTTP status or gRPC code, where there was one.
    pub status: Option<u16>,
    /// How long each phase took.
    pub phases: Phases,
    /// Whether gate itself stood still while it was under way, so that its times say little of the target.
    pub disturbed: bool,
    /// Whether it came over a connection used before.
    pub reused: bool,
    /// Whether a connection used before was closed under it, and it was sent again on a new one.
    pub stale: bool,
    /// The first expectation that failed, with what was seen.
    pub unmet: Option<String>,
    /// Days to the end of the certificate's validity, where there was a TLS handshake.
    pub certificate_days: Option<i32>,
    /// What was reported of the functions it invoked.
    pub invoked: Vec<Invoked>,
    /// Its scenario and the steps made of it, by their place among the signals of the script.
    pub parts: Vec<(usize, Sample)>,
}

impl Sample {
    /// Whether gate sent or read it too late for its latency to say anything about the target.
    pub fn late(&self) -> bool {
        self.held > LATE_AFTER || self.disturbed
    }

    /// Whether it says little of the target where gate itself stood still for so long while it was under way.
    pub fn is_disturbed_by(&self, stalled: Duration) -> bool {
        stalled > LATE_AFTER && stalled > self.latency.mul_f64(DISTURBED_SHARE)
    }

    /// From the send to the last byte of the answer, or to the failure.
    pub fn service(&self) -> Duration {
        self.latency.saturating_sub(self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_startup(
        wall_millis: u64,
        init: Option<u64>,
        reported: Option<u64>,
        startup_millis: u64,
    ) {
        let millis = Duration::from_millis;
        let invoked = Invoked {
            wall: millis(wall_millis),
            init: init.map(millis),
            reported: reported.map(millis),
            ..Invoked::default()
        };
        assert_eq!(invoked.startup(), millis(startup_millis), "{invoked:?}");
    }

    #[test]
    fn a_start_is_taken_off_only_where_somebody_waited_for_it() {
        check_startup(500, Some(400), Some(60), 400);
        check_startup(460, Some(400), Some(60), 400);
        check_startup(500, None, Some(60), 0);
        // Started before it was needed: nobody waited.
        check_startup(80, Some(400), Some(60), 0);
        // Without the function's own time nothing shows that there was room for it.
        check_startup(500, Some(400), None, 0);
        check_startup(500, Some(u64::MAX), Some(u64::MAX), 0);
    }

    #[track_caller]
    fn check(took_millis: u64, stalled_millis: u64, disturbed: bool) {
        let latency = Duration::from_millis(took_millis);
        let sample = Sample { latency, ..Sample::default() };
        assert_eq!(sample.is_disturbed_by(Duration::from_millis(stalled_millis)), disturbed);
    }

    #[test]
    fn a_probe_is_disturbed_by_what_could_explain_its_time() {
        check(30, 25, true);
        check(30, 20, false);
        // A container that is throttled now and then must not excuse a target that hangs.
        check(2000, 75, false);
        check(2000, 1900, true);
    }
}
