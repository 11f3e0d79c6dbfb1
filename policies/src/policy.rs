//! A policy, checked: every value in range, every default filled in.

use std::time::Duration;

use crate::decision::Answer;
use crate::deployment::{Deployment, Stage, Target};
use crate::evidence::{ErrorRates, auto_unacceptable};
use crate::plan::{Plan, Request};
use crate::units;

/// Mean stall a healthy instance may show; a tick is five times this (statistics.md §0).
pub const STALL_DEFAULT: Duration = Duration::from_millis(400);
/// Ticks for each mean stall: keeps false rollbacks at most α at half the budget (statistics.md §10).
pub const STALLS_IN_A_TICK: u32 = 5;
/// Observation before a release may continue (statistics.md §0).
pub const AT_LEAST_DEFAULT: Duration = Duration::from_secs(60);
/// Time for a decision, from the moment the question was accepted.
pub const DEADLINE_DEFAULT: Duration = Duration::from_secs(600);
/// α and β where a policy names none.
pub const ERROR_RATE_DEFAULT: f64 = 0.01;
/// Probes per second for each arm where a policy names none.
pub const RATE_DEFAULT: f64 = 20.0;
/// Probe time-out where a policy names none.
pub const TIMEOUT_DEFAULT: Duration = Duration::from_secs(2);

/// What must hold before a release takes traffic, and how to find out.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Which deployments it is for.
    pub applies_to: AppliesTo,
    /// Judge and record, but always let the deployment continue.
    pub observe: bool,
    /// What to probe and how.
    pub probe: Probe,
    /// What must hold, in the order written; at least one.
    pub objectives: Vec<Objective>,
    /// How sure to be, how long to take, what to say when unsure.
    pub decide: Decide,
}

/// Globs over what a deployment is called; nothing named applies to everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AppliesTo {
    /// CodeDeploy application.
    pub application: Option<String>,
    /// CodeDeploy deployment group.
    pub group: Option<String>,
    /// `cluster:service`, or the service's name.
    pub service: Option<String>,
    /// Stages; empty for all.
    pub stages: Vec<Stage>,
}

/// The probe of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The request to make.
    pub request: Request,
    /// Which way green and blue are reached.
    pub via: Via,
    /// Probes per second for each arm.
    pub rate_per_second: f64,
    /// Time for one probe.
    pub timeout: Duration,
    /// Time in which probes are counted but not judged.
    pub warm_up: Duration,
}

/// Which of the two ways to green are probed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Via {
    /// Task addresses where the target group has them, else the listener.
    #[default]
    Auto,
    /// Task addresses only.
    Tasks,
    /// The test listener for green, the production listener for blue.
    Listener,
    /// Both; the rate is shared among them.
    Both,
}

/// One sentence about a signal that must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// How it is called everywhere: `errors at most 0.5 %`.
    pub name: String,
    /// What makes a probe bad.
    pub signal: Signal,
    /// Allowed share of bad probes, p0.
    pub acceptable: f64,
    /// Share that must not pass, p1.
    pub unacceptable: f64,
}

/// What makes a probe bad for an objective.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It was not answered as expected.
    Errors,
    /// It took longer than this, or got no answer.
    SlowerThan(Duration),
}

/// How sure to be and how long to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decide {
    /// α and β.
    pub rates: ErrorRates,
    /// Least time judged before Continue.
    pub at_least: Duration,
    /// Most time from acceptance to the answer.
    pub deadline: Duration,
    /// What to say when green gives no data.
    pub no_data: Answer,
    /// What to say when nothing is proven by the deadline.
    pub undecided: Answer,
    /// Length of a tick.
    pub tick: Duration,
}

impl Signal {
    /// What is said of a bad probe: `bad`, `slower than 250 ms`.
    pub fn of_bad(self) -> String {
        match self {
            Self::Errors => "bad".to_owned(),
            Self::SlowerThan(threshold) => format!("slower than {}", units::spell(threshold)),
        }
    }
}

impl Policy {
    /// What this policy has probed: `green` and `blue` from tick `first_tick` on.
    pub fn plan(&self, seed: u64, first_tick: u64, green: Vec<Target>, blue: Vec<Target>) -> Plan {
        Plan {
            seed,
            rate_per_second: self.probe.rate_per_second,
            timeout: self.probe.timeout,
            tick: self.decide.tick,
            first_tick,
            request: self.probe.request.clone(),
            green,
            blue,
        }
    }

    /// Ticks until the deadline: the horizon of the evidence.
    pub fn horizon_ticks(&self) -> u64 {
        let ticks = self.decide.deadline.as_millis() / self.decide.tick.as_millis().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
    }

    /// Probes expected of an arm in a tick.
    pub fn probes_per_tick(&self) -> f64 {
        self.probe.rate_per_second * self.decide.tick.as_secs_f64()
    }
}

impl Objective {
    /// At most `acceptable` of the probes may fail.
    pub fn errors(acceptable: f64, unacceptable: f64) -> Self {
        let name = format!("errors at most {}", units::percent(acceptable));
        Self { name, signal: Signal::Errors, acceptable, unacceptable }
    }

    /// The quantile may be at most `threshold`: a share `1 - quantile` may be slower.
    pub fn latency(quantile: f64, threshold: Duration, unacceptable: f64) -> Self {
        let text = format!("{:.4}", quantile * 100.0);
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let name = format!("p{text} at most {}", units::spell(threshold));
        let acceptable = Self::slow_share(quantile);
        Self { name, signal: Signal::SlowerThan(threshold), acceptable, unacceptable }
    }

    /// Share of probes that may be slower than a quantile's threshold, free of the rounding in `1 - 0.99`.
    pub fn slow_share(quantile: f64) -> f64 {
        ((1.0 - quantile) * 1e12).round() / 1e12
    }

    /// What a policy means that names no unacceptable share.
    pub fn auto_unacceptable(acceptable: f64, rate_per_second: f64, decide: &Decide) -> f64 {
        let probes = rate_per_second * decide.deadline.as_secs_f64() / 2.0;
        auto_unacceptable(acceptable, decide.rates.false_continue, probes)
    }
}

impl AppliesTo {
    /// How well this fits the deployment: `None` if not at all, else higher for more, and more exactly,
    /// named things.
    pub fn fit(&self, deployment: &Deployment) -> Option<u32> {
        let service_name = deployment.service.rsplit(':').next().unwrap_or_default();
        let service = self.service.as_ref().map(|pattern| {
            let whole = score(pattern, &deployment.service);
            whole.or_else(|| score(pattern, service_name))
        });
        let named = [
            self.application.as_ref().map(|pattern| score(pattern, &deployment.application)),
            self.group.as_ref().map(|pattern| score(pattern, &deployment.group)),
            service,
            (!self.stages.is_empty()).then(|| self.stages.contains(&deployment.stage).then_some(2)),
        ];
        named.into_iter().flatten().try_fold(0, |sum, fit| Some(sum + fit?))
    }
}

/// 2 for the very name, 1 for a glob that matches.
fn score(pattern: &str, name: &str) -> Option<u32> {
    if pattern == name {
        Some(2)
    } else if glob(pattern.as_bytes(), name.as_bytes()) {
        Some(1)
    } else {
        None
    }
}

/// `*` matches any run of characters, `?` any one. Linear memory, no recursion on the name.
fn glob(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(&byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(&wanted) if wanted == b'?' || wanted == byte => {
                p += 1;
                n += 1;
            }
            Some(_) | None => {
                let Some((star_p, star_n)) = star else { return false };
                star = Some((star_p, star_n + 1));
                p = star_p + 1;
                n = star_n + 1;
            }
        }
    }
    pattern.get(p..).is_some_and(|rest| rest.iter().all(|&byte| byte == b'*'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_runs_and_single_characters() {
        for (pattern, name, matches) in [
            ("checkout", "checkout", true),
            ("check*", "checkout", true),
            ("*out", "checkout", true),
            ("c*k*t", "checkout", true),
            ("c?eckout", "checkout", true),
            ("*", "", true),
            ("check", "checkout", false),
            ("?", "", false),
            ("a*b*c", "aXXbYY", false),
            ("***x", "aaaaaaaaaaaaaaaaaaaa", false),
        ] {
            assert_eq!(glob(pattern.as_bytes(), name.as_bytes()), matches, "{pattern} {name}");
        }
    }
}
