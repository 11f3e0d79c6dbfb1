//! Everything that is simulated for the page, in one pass.

use crate::figures::{Share, time_by};
use crate::latency::{self, KINDS, Slower};
use crate::ours::Ending;
use crate::peers::Calibrated;
use crate::policy::{self, Policy};
use crate::profiles::{self, Faults, Hour, Objective, Profile};
use crate::simulate::{Effort, Endings, PeerEnding, calibrate, simulate};

/// The rate of false rollbacks that gate promises, and to which alarms are calibrated.
pub const FALSE_ROLLBACK: f64 = 0.01;
/// What keeps the runs that calibrate alarms apart from those they are measured by.
const CALIBRATION_SEED: u64 = 0xca11_b8a7_e000_0000;

/// All that came out.
#[derive(Debug)]
pub struct Survey {
    /// Alarms' thresholds for each objective and rate.
    pub calibrated: Vec<(Objective, u32, Calibrated)>,
    /// Healthy releases watched for an hour.
    pub hours: Vec<(Hour, Endings)>,
    /// Broken releases.
    pub faults: Vec<FaultSet>,
    /// Releases to be seen beside blue, by their titles.
    pub beside_blue: Vec<(String, Endings)>,
    /// Latencies beside blue's: the rate, the kind, how gate ended.
    pub latency: Vec<(u32, Slower, Vec<Ending>)>,
}

/// How one set of broken releases ended.
#[derive(Debug)]
pub struct FaultSet {
    /// What was simulated.
    pub faults: Faults,
    /// The healthy release.
    pub healthy: Endings,
    /// The broken ones, by their share of bad probes.
    pub broken: Vec<(f64, Endings)>,
}

impl Survey {
    /// Simulates everything; `quick` a sample of it. Says what it is at through `progress`.
    pub fn run(effort: Effort, quick: bool, mut progress: impl FnMut(&str)) -> Self {
        let mut calibrated: Vec<(Objective, u32, Calibrated)> = Vec::new();
        let mut calibration = |profile: &Profile| {
            let (objective, rate) = (profile.objective, profile.rate);
            let known = calibrated.iter().find(|known| (known.0, known.1) == (objective, rate));
            if let Some((.., known)) = known {
                return *known;
            }
            let seed = effort.seed ^ CALIBRATION_SEED;
            let fresh = calibrate(objective, rate, FALSE_ROLLBACK, seed, effort.hour_runs);
            calibrated.push((objective, rate, fresh));
            fresh
        };
        let mut simulated = |profile: &Profile, policies: &[Policy], runs| {
            progress(&profile.name);
            let calibrated = calibration(profile);
            simulate(profile, policies, calibrated, effort.seed, (runs, effort.runs))
        };
        let (every, every_hour) = if quick { (3, 5) } else { (1, 1) };
        let hours = profiles::hours().into_iter().step_by(every_hour).map(|hour| {
            let policies = policy::apart(&hour.profile);
            // What is outside the assumption is only shown, so a quarter of the runs tell enough.
            let fewer = effort.hour_runs.div_ceil(4).max(effort.runs);
            let runs = if hour.inside { effort.hour_runs } else { fewer };
            let endings = simulated(&hour.profile, &policies, runs);
            (hour, endings)
        });
        let hours = hours.collect();
        let faults = profiles::faults().into_iter().map(|faults| {
            let mut ten_minutes =
                |profile: &Profile| simulated(profile, &policy::apart(profile), effort.runs);
            let healthy = ten_minutes(&faults.healthy);
            let broken = faults.broken.iter().step_by(every);
            let broken = broken.map(|(fault, profile)| (*fault, ten_minutes(profile))).collect();
            FaultSet { faults, healthy, broken }
        });
        let faults = faults.collect();
        let beside_blue = profiles::beside_blue().into_iter().map(|(title, profile)| {
            let policies = policy::beside_blue(&profile);
            (title, simulated(&profile, &policies, effort.runs))
        });
        let beside_blue = beside_blue.collect();
        let latency = [20, 50].into_iter().flat_map(|rate| KINDS.map(|kind| (rate, kind)));
        let latency = latency.step_by(every).map(|(rate, kind)| {
            progress(&format!("latency, {} at {rate}/s", kind.title));
            let policy = policy::latency(rate);
            (rate, kind, latency::simulate(kind, &policy, rate, effort.seed, effort.runs))
        });
        let latency = latency.collect();
        Self { calibrated, hours, faults, beside_blue, latency }
    }
}

/// Share of gate's runs that were rolled back on evidence.
pub fn gate_rolled_back(runs: &[Ending]) -> Share {
    Share::count(runs, |ending| ending.rolled_back().is_some())
}

/// Share of another rule's runs that were rolled back.
pub fn peer_rolled_back(runs: &[PeerEnding]) -> Share {
    Share::count(runs, Option::is_some)
}

/// How a rule did on one fault.
#[derive(Clone, Copy, Debug)]
pub struct Detection {
    /// Seconds from the fault to the rollback, for half of the runs.
    pub median: Option<u32>,
    /// The same for 95 of a hundred.
    pub p95: Option<u32>,
    /// Runs that did not see the fault.
    pub missed: Share,
    /// Of these, runs that said so: neither answer was proven by the deadline.
    pub not_proven: Share,
}

impl Detection {
    /// Gate's runs.
    pub fn of_gate(runs: &[Ending], from_seconds: u32) -> Self {
        let ends: Vec<PeerEnding> = runs.iter().map(Ending::rolled_back).collect();
        let not_proven = Share::count(runs, |ending| *ending == Ending::NotProven);
        Self { not_proven, ..Self::of_peer(&ends, from_seconds) }
    }

    /// Another rule's runs.
    pub fn of_peer(runs: &[PeerEnding], from_seconds: u32) -> Self {
        // What was rolled back too early says nothing of the time to see the fault.
        let late: Vec<PeerEnding> = runs
            .iter()
            .filter(|end| end.is_none_or(|end| end > from_seconds))
            .map(|end| end.map(|end| end - from_seconds))
            .collect();
        Self {
            median: time_by(&late, 0.5),
            p95: time_by(&late, 0.95),
            missed: Share::count(runs, Option::is_none),
            not_proven: Share { part: 0, of: runs.len() as u32 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_the_fault_and_a_rollback_before_it_is_none() {
        let found = Detection::of_peer(&[Some(300), Some(302), Some(306), None], 300);
        assert_eq!((found.median, found.p95), (Some(6), None));
        assert_eq!((found.missed.part, found.missed.of), (1, 4));
    }
}
