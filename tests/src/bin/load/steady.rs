//! 100 runs at once, each with 20 probes a second for each arm, for a minute.

use std::time::Duration;

use crate::figures::{above, buckets, counter};
use crate::place::{Most, Place};
use crate::post;

/// Runs at once.
pub const RUNS: usize = 100;
/// Longer than a minute, on a busy machine.
const ANSWERED_WITHIN: Duration = Duration::from_secs(270);
/// Half of a tick of two seconds.
pub const LATE: f64 = 1.0;

/// Each run is judged for a minute: its first tick may be over before it is ready.
pub const TICKS_LEAST: u64 = RUNS as u64 * 29;

/// What was measured.
#[derive(Clone, Debug)]
pub struct Steady {
    pub answered: usize,
    /// Bound in seconds, and ticks that were at most so late.
    pub ticks: Vec<(f64, u64)>,
    pub ticks_late: u64,
    /// All that were judged.
    pub ticks_judged: u64,
    pub probes: f64,
    pub probes_late: f64,
    pub entries_lost: f64,
    pub held: Most,
}

/// Begins them all, and waits for their answers.
pub async fn run(place: &mut Place) -> Steady {
    let deployments: Vec<String> = (0..RUNS).map(|_| place.deploy("steady", true)).collect();
    let at = place.gate.at(8080);
    let looking = place.look();
    for deployment in &deployments {
        let told = post::post(post::connect(&at).await, &place.cloud.hook(deployment)).await;
        assert_eq!(told.map(|told| told.status), Some(202), "gate takes it");
    }
    let answered = place.answered(&deployments, ANSWERED_WITHIN).await;
    let held = looking.end();
    let metrics = place.metrics().await;
    let ticks = buckets(&metrics, "gate_tick_lateness_seconds");
    Steady {
        answered,
        ticks_late: above(&ticks, LATE),
        ticks_judged: ticks.last().map_or(0, |(_, count)| *count),
        ticks,
        probes: counter(&metrics, "gate_probes_total", "outcome=\"ok\""),
        probes_late: counter(&metrics, "gate_probes_late_total", "arm"),
        entries_lost: counter(&metrics, "gate_lost_total", "journal-entry"),
        held,
    }
}
