//! Latency beside blue: gate alone, on lognormal latencies, as statistics.md §11 has them.
//!
//! The other rules are not here: what they compare, a percentile of a minute, has no allowed share of
//! bad probes to hold them to.

use std::time::Duration;

use policies::histogram::Interval;
use policies::{Outcome, TargetTick};

use crate::data::TICK_SECONDS;
use crate::ours::{Ending, Gate};
use crate::policy::Policy;
use crate::profiles::Watch;
use crate::random::{Random, of_name};
use crate::simulate::in_parallel;

const MEDIAN: Duration = Duration::from_millis(50);
/// Standard deviation of the logarithm.
const SPREAD: f64 = 0.5;
/// What a slow request takes of a usual one's time.
const SLOW: f64 = 5.0;

/// How green's latencies differ from blue's.
#[derive(Clone, Copy, Debug)]
pub struct Slower {
    /// What it is called.
    pub title: &'static str,
    /// Every latency is so many times blue's.
    pub scale: f64,
    /// Share of the requests that take five times as long.
    pub slow: f64,
}

/// What is simulated: up to 1.2 times blue's quantile is allowed.
pub const KINDS: [Slower; 8] = [
    Slower { title: "like blue", scale: 1.0, slow: 0.0 },
    Slower { title: "1.1 times", scale: 1.1, slow: 0.0 },
    Slower { title: "1.2 times, the limit", scale: 1.2, slow: 0.0 },
    Slower { title: "1.35 times", scale: 1.35, slow: 0.0 },
    Slower { title: "1.5 times", scale: 1.5, slow: 0.0 },
    Slower { title: "2 times", scale: 2.0, slow: 0.0 },
    Slower { title: "2 % of requests 5 times", scale: 1.0, slow: 0.02 },
    Slower { title: "5 % of requests 5 times", scale: 1.0, slow: 0.05 },
];

/// Simulates one kind of green, `rate` probes a second for each arm, for ten minutes at most.
pub fn simulate(kind: Slower, policy: &Policy, rate: u32, seed: u64, runs: u32) -> Vec<Ending> {
    let blue = Slower { title: "blue", scale: 1.0, slow: 0.0 };
    in_parallel(runs, |run| {
        let stream = |which| {
            let name = of_name(kind.title);
            Random::of(&[seed, name, u64::from(rate), u64::from(run), which])
        };
        let (mut of_green, mut of_blue) = (stream(0), stream(1));
        let mut gate = Gate::start(policy);
        let end = (0..Watch::Default.ticks()).find_map(|index| {
            gate.take(index, tick(kind, &mut of_green, rate), tick(blue, &mut of_blue, rate))
        });
        end.unwrap_or(Ending::NotProven)
    })
}

fn tick(kind: Slower, random: &mut Random, rate: u32) -> TargetTick {
    let due = rate * TICK_SECONDS;
    let mut latency = Interval::default();
    for _ in 0..due {
        let slow = kind.slow > 0.0 && random.uniform() <= kind.slow;
        let scale = kind.scale * if slow { SLOW } else { 1.0 };
        latency.record(MEDIAN.mul_f64(scale * (SPREAD * random.normal()).exp()));
    }
    TargetTick { due, outcomes: [(Outcome::Ok, due)].into(), latency, ..TargetTick::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figures::Share;

    #[test]
    fn latencies_are_lognormal_and_a_slower_green_is_rolled_back() {
        // The 99th percentile is 50 ms · exp(0.5 · 2.326) = 160 ms, and of twice that 320 ms.
        let text = "gate: v1\nprobe: { http: { path: / } }\n\
            objectives: [ { latency: { quantile: p99, at-most: 200ms } } ]\n";
        let policy = Policy { name: "gate".into(), text: text.into(), sees_blue: true };
        for (kind, rolled_back) in [(KINDS[0], 0), (KINDS[5], 40), (KINDS[7], 40)] {
            let endings = simulate(kind, &policy, 20, 1, 40);
            let found = Share::count(&endings, |end| matches!(end, Ending::RolledBack(_)));
            assert_eq!(found.part, rolled_back, "{}: {endings:?}", kind.title);
        }
        let tick = tick(KINDS[0], &mut Random::of(&[1]), 50_000);
        let above = |limit| f64::from(tick.latency.above(Duration::from_millis(limit)) as u32);
        assert!((above(50) / 1e5 - 0.5).abs() < 0.01 && (above(160) / 1e5 - 0.01).abs() < 0.001);
    }
}
