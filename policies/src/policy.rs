//! A policy, checked: every value in range, every default filled in.

use std::sync::Arc;
use std::time::Duration;

use crate::decision::Answer;
use crate::deployment::Target;
use crate::evidence::{Accept, ErrorRates};
use crate::plan::{Observation, Observed, Plan, Rate, Script};

mod applies;
pub(crate) mod objective;

pub use applies::AppliesTo;
pub use objective::{
    ALARMS_PERIOD, Counted, During, Limits, Measure, Metric, Objective, Signal, TASKS_PERIOD,
    Versus, auto_limits, slow_share,
};

/// Mean stall a healthy instance may show; a tick is five times this (statistics.md §0).
pub const STALL_DEFAULT: Duration = Duration::from_millis(400);
/// Ticks for each mean stall: keeps false rollbacks at most α at half the budget (statistics.md §10).
pub const STALLS_IN_A_TICK: u32 = 5;
/// The same where a policy is `strict`: holds α at the limit of the budget too (statistics.md §10).
pub const STALLS_IN_A_STRICT_TICK: u32 = 10;
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
    /// What is probed where a deployment names no address itself.
    pub targets: Targets,
    /// What must hold, in the order written; at least one.
    pub objectives: Vec<Objective>,
    /// How sure to be, how long to take, what to say when unsure.
    pub decide: Decide,
    /// Judging on after Continue, while traffic shifts; `None` ends with the answer.
    pub watch: Option<Watch>,
    /// ARNs of the SNS topics that are told of a decision.
    pub notify: Vec<String>,
}

/// Addresses that a policy names. Without any of green it names none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Targets {
    /// Of the candidate.
    pub green: Vec<Target>,
    /// Of the baseline.
    pub blue: Vec<Target>,
}

/// Judging on after the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Watch {
    /// α of the whole watch, apart from the question's.
    pub false_rollback: f64,
    /// Length of one window of evidence where it is unknown when the deployment ends.
    pub window: Duration,
}

/// The probe of a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// What is sent and expected.
    pub script: Arc<Script>,
    /// Which way green and blue are reached.
    pub via: Via,
    /// Probes for each arm.
    pub rate: Rate,
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
    /// Bet on tick means for Continue too: safe against bursty badness, and ten times slower.
    pub strict: bool,
}

impl Policy {
    /// What this policy has probed: `green` and `blue` from tick `first_tick` on.
    pub fn plan(&self, seed: u64, first_tick: u64, green: Vec<Target>, blue: Vec<Target>) -> Plan {
        Plan {
            seed,
            rate: self.probe.rate.clone(),
            timeout: self.probe.timeout,
            tick: self.decide.tick,
            first_tick,
            script: Arc::clone(&self.probe.script),
            green,
            blue,
            counted: self.counted(),
            observed: Vec::new(),
        }
    }

    /// What the objectives count of a service's own metrics. The same sentence before the answer and after it
    /// is one name, and one reading serves both.
    fn counted(&self) -> Vec<(String, Counted)> {
        let mut found: Vec<(String, Counted)> = Vec::new();
        for objective in &self.objectives {
            let Measure::Counts { counted, .. } = &objective.measure else { continue };
            let is_own = !matches!(counted, Counted::CloudWatch { .. });
            if is_own && found.iter().all(|(name, _)| *name != objective.name) {
                found.push((objective.name.clone(), counted.clone()));
            }
        }
        found
    }

    /// What AWS is asked for by the objectives that are judged during this.
    pub fn observed(&self, during: During) -> Vec<Observed> {
        let of = |objective: &Objective| {
            let what = match &objective.measure {
                Measure::Counts { counted: Counted::CloudWatch { bad, all }, period, .. } => {
                    let (bad, all) = (bad.clone(), all.clone());
                    Observation::Counts { bad, all, period: *period }
                }
                Measure::Series { metric, period, .. } => {
                    Observation::Series { metric: metric.clone(), period: *period }
                }
                Measure::Alarms { names, .. } => Observation::Alarms { names: names.clone() },
                Measure::StoppedTasks { .. } => Observation::StoppedTasks,
                Measure::Counts { .. }
                | Measure::Share { .. }
                | Measure::Versus { .. }
                | Measure::EachTarget { .. }
                | Measure::HealthyTargets { .. } => return None,
            };
            Some(Observed { objective: objective.name.clone(), what })
        };
        self.judged_during(during).filter_map(of).collect()
    }

    /// Ticks until the deadline: the horizon of the evidence.
    pub fn horizon_ticks(&self) -> u64 {
        self.ticks_in(self.decide.deadline)
    }

    /// Whole ticks in a time, at least one.
    pub fn ticks_in(&self, time: Duration) -> u64 {
        let ticks = time.as_millis() / self.decide.tick.as_millis().max(1);
        u64::try_from(ticks).unwrap_or(u64::MAX).max(1)
    }

    /// Objectives that judge the question, or the watch.
    pub fn judged_during(&self, during: During) -> impl Iterator<Item = &Objective> {
        self.objectives
            .iter()
            .filter(move |objective| objective.during == During::Both || objective.during == during)
    }

    /// How evidence to continue is gathered.
    pub fn accept(&self) -> Accept {
        if self.decide.strict { Accept::Tick } else { Accept::Probe }
    }

    /// Probes expected of an arm in a tick.
    pub fn probes_per_tick(&self) -> f64 {
        self.probe.rate.settled_per_second() * self.decide.tick.as_secs_f64()
    }
}
