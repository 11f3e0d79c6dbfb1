//! What is simulated: a healthy release, and faults of several sizes aimed at each objective.

use std::time::Duration;

use crate::policy::{During, Limits, Measure, Objective, Policy, Signal, Versus, slow_share};
use crate::units::percent;

/// Faults are this many times the unacceptable share, and everything.
const SIZES: [f64; 3] = [1.0, 3.0, 10.0];
/// A healthy release uses a quarter of its budget (statistics.md §0).
const HEALTHY: f64 = 0.25;

/// One thing to simulate.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// How it is called.
    pub name: String,
    /// The objective a fault is aimed at.
    pub objective: Option<String>,
    /// Shares of bad probes and the limits they are held to, for the physical limit.
    pub limits: Vec<(f64, Limits)>,
    /// What is wrong.
    pub fault: Fault,
    /// Share of bad probes where something is wrong; of a healthy release its largest.
    pub bad_share: f64,
    pub(super) healthy_errors: f64,
    pub(super) healthy_slow: f64,
    pub(super) fast: Duration,
    pub(super) slow: Duration,
}

/// What is wrong with green.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every target fails or is slow alike.
    All(Signal),
    /// One target does.
    OneTarget(Signal),
}

/// The policy with the objectives that probes alone decide; the others depend on real traffic.
pub fn judged_alone(policy: &Policy) -> Policy {
    let mut alone = policy.clone();
    alone.objectives.retain(|objective| {
        !objective.observe && objective.during != During::Watch && by_probes(objective)
    });
    alone
}

fn by_probes(objective: &Objective) -> bool {
    matches!(
        objective.measure,
        Measure::Share { .. } | Measure::Versus { .. } | Measure::EachTarget { .. }
    )
}

/// A healthy release first, then faults of growing size for each objective.
pub fn scenarios(policy: &Policy) -> Vec<Scenario> {
    let policy = judged_alone(policy);
    let quarter = |wanted: fn(Signal) -> bool| {
        let budgets = policy.objectives.iter().filter_map(|objective| {
            let (signal, limits) = aim(objective)?;
            wanted(signal).then_some(limits.acceptable * HEALTHY)
        });
        budgets.fold(f64::INFINITY, f64::min)
    };
    let none_is_zero = |share: f64| if share.is_finite() { share } else { 0.0 };
    let errors = none_is_zero(quarter(|signal| signal == Signal::Errors));
    let slow = none_is_zero(quarter(|signal| signal != Signal::Errors));
    let bounds = policy.objectives.iter().filter_map(|objective| match &objective.measure {
        Measure::Share { signal: Signal::SlowerThan(bound), .. }
        | Measure::EachTarget { signal: Signal::SlowerThan(bound), .. } => Some(*bound),
        Measure::Share { signal: Signal::Errors, .. }
        | Measure::EachTarget { signal: Signal::Errors, .. }
        | Measure::Versus { .. }
        | Measure::Counts { .. }
        | Measure::Series { .. }
        | Measure::HealthyTargets { .. }
        | Measure::Alarms { .. }
        | Measure::StoppedTasks { .. } => None,
    });
    let fastest = bounds.clone().min().unwrap_or(policy.probe.timeout / 10);
    let slowest = bounds.max().unwrap_or(policy.probe.timeout / 10);
    let healthy = Scenario {
        name: "healthy".to_owned(),
        objective: None,
        limits: provers(&policy, errors, slow),
        fault: Fault::None,
        bad_share: errors.max(slow),
        healthy_errors: errors,
        healthy_slow: slow,
        fast: fastest / 10,
        slow: (slowest * 2).max(fastest),
    };
    let mut all = vec![healthy.clone()];
    for objective in &policy.objectives {
        let Some((signal, limits)) = aim(objective) else { continue };
        let each = matches!(objective.measure, Measure::EachTarget { .. });
        let fault = if each { Fault::OneTarget(signal) } else { Fault::All(signal) };
        let sizes = SIZES.map(|times| limits.unacceptable * times);
        let mut sizes: Vec<f64> = sizes.into_iter().filter(|share| *share < 0.9).collect();
        sizes.push(1.0);
        for share in sizes {
            let kind = match signal {
                Signal::Errors => "errors",
                Signal::SlowerThan(_) => "slow",
            };
            let of = if each { " at one target" } else { "" };
            all.push(Scenario {
                name: format!("{} {kind}{of}", percent(share)),
                objective: Some(objective.name.clone()),
                limits: if each { Vec::new() } else { vec![(share, limits)] },
                fault,
                bad_share: share,
                ..healthy.clone()
            });
        }
    }
    all
}

/// What a fault has to look like to break an objective, and its two shares.
fn aim(objective: &Objective) -> Option<(Signal, Limits)> {
    match &objective.measure {
        Measure::Share { signal, limits } | Measure::EachTarget { signal, limits } => {
            Some((*signal, *limits))
        }
        Measure::Versus { versus: Versus::Errors, floor, .. } => Some((Signal::Errors, *floor)),
        Measure::Versus { versus: Versus::Latency { quantile, .. }, floor, .. } => {
            let limits = Limits { acceptable: slow_share(*quantile), ..*floor };
            Some((Signal::SlowerThan(Duration::ZERO), limits))
        }
        Measure::Counts { .. }
        | Measure::Series { .. }
        | Measure::HealthyTargets { .. }
        | Measure::Alarms { .. }
        | Measure::StoppedTasks { .. } => None,
    }
}

/// What a healthy release must prove: each objective with the share of bad probes it sees.
fn provers(policy: &Policy, errors: f64, slow: f64) -> Vec<(f64, Limits)> {
    let provers = policy.objectives.iter().filter(|objective| objective.measure.can_continue());
    let held = provers.filter_map(|objective| {
        let (signal, limits) = aim(objective)?;
        Some((if signal == Signal::Errors { errors } else { slow }, limits))
    });
    held.collect()
}
