//! Runs a profile many times, on every processor, and keeps how each rule ended.
//!
//! Which thread takes which run changes nothing: a run is a function of its number.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::data::{Counts, TICK_SECONDS, TICKS_IN_A_MINUTE, World};
use crate::ours::{Ending, Gate};
use crate::peers::{self, Calibrated, Looks, PEERS};
use crate::policy::Policy;
use crate::profiles::{Health, Objective, Profile, Watch, healthy};

/// How much to simulate.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Names all random numbers.
    pub seed: u64,
    /// Runs of an hour for gate.
    pub hour_runs: u32,
    /// Runs of an hour in which the other rules look too, and runs of ten minutes for all.
    pub runs: u32,
}

/// How one rule of another system ended: the second at which it rolled back, if it did.
pub type PeerEnding = Option<u32>;

/// How every rule ended in every run of a profile.
#[derive(Debug, Default)]
pub struct Endings {
    /// What gate's policies are called.
    pub policies: Vec<String>,
    /// For each policy of gate, its runs.
    pub gate: Vec<Vec<Ending>>,
    /// For each other rule, its runs; the first ones of gate's, on the same data.
    pub peers: Vec<Vec<PeerEnding>>,
}

/// Calls `work` for each number below `runs`, and returns what it gave in their order.
pub fn in_parallel<T: Send>(runs: u32, work: impl Fn(u32) -> T + Sync) -> Vec<T> {
    // Small enough that no thread is left alone with the last piece for long.
    const PIECE: u32 = 16;
    let next = AtomicU32::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let mut done: Vec<(u32, T)> = thread::scope(|scope| {
        let worker = || {
            let mut done = Vec::new();
            loop {
                let first = next.fetch_add(PIECE, Ordering::Relaxed);
                if first >= runs {
                    return done;
                }
                done.extend((first..runs.min(first + PIECE)).map(|run| (run, work(run))));
            }
        };
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(worker)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a run panicked")).collect()
    });
    done.sort_by_key(|&(run, _)| run);
    done.into_iter().map(|(_, ended)| ended).collect()
}

/// Simulates `runs` runs of a profile; in the first `peer_runs` of them the other rules look too.
pub fn simulate(
    profile: &Profile,
    policies: &[Policy],
    calibrated: Calibrated,
    seed: u64,
    (runs, peer_runs): (u32, u32),
) -> Endings {
    let ended = in_parallel(runs.max(peer_runs), |run| {
        let policies = if run < runs { policies } else { &[] };
        one(profile, policies, calibrated, World::new(profile, seed, run), run < peer_runs)
    });
    let names = policies.iter().map(|policy| policy.name.clone()).collect();
    let mut endings = Endings { policies: names, ..Endings::default() };
    endings.gate.resize_with(policies.len(), Vec::new);
    endings.peers.resize_with(PEERS, Vec::new);
    for (gate, peers) in ended {
        for (all, ending) in endings.gate.iter_mut().zip(gate) {
            all.push(ending);
        }
        for (all, ending) in endings.peers.iter_mut().zip(peers.into_iter().flatten()) {
            all.push(ending);
        }
    }
    endings
}

/// One run: every rule sees the same ticks, and each stops at its own answer.
fn one(
    profile: &Profile,
    policies: &[Policy],
    calibrated: Calibrated,
    mut world: World,
    with_peers: bool,
) -> (Vec<Ending>, Option<[PeerEnding; PEERS]>) {
    let mut gates: Vec<(Gate, Option<Ending>)> =
        policies.iter().map(|policy| (Gate::start(policy), None)).collect();
    let mut peers = peers::all(profile.objective.acceptable, calibrated);
    let mut peer_endings = [None; PEERS];
    let mut minute = (Counts::default(), Counts::default());
    let needs_blue = with_peers || policies.iter().any(|policy| policy.sees_blue);
    for index in 0..profile.watch.ticks() {
        let green = world.green();
        let blue = if needs_blue { world.blue() } else { Counts::default() };
        for (gate, ending) in gates.iter_mut().filter(|(_, ending)| ending.is_none()) {
            *ending = gate.tick(index, green, blue);
        }
        if with_peers {
            minute.0.add(green);
            minute.1.add(blue);
            let minute_ends = (index + 1).is_multiple_of(TICKS_IN_A_MINUTE);
            let still = peers.iter_mut().zip(&mut peer_endings).filter(|(_, end)| end.is_none());
            for (peer, ending) in still {
                let rolls_back = match peer.looks() {
                    Looks::EveryTick => peer.look(green, blue),
                    Looks::EveryMinute => minute_ends && peer.look(minute.0, minute.1),
                };
                *ending = rolls_back.then_some((index + 1) * TICK_SECONDS);
            }
            if minute_ends {
                minute = Default::default();
            }
        }
        let peers_done = !with_peers || peer_endings.iter().all(Option::is_some);
        if peers_done && gates.iter().all(|(_, ending)| ending.is_some()) {
            break;
        }
    }
    let gates = gates.into_iter().map(|(_, ending)| ending.unwrap_or(Ending::NotProven)).collect();
    (gates, with_peers.then_some(peer_endings))
}

/// The smallest thresholds at which an alarm rolls back at most `rate` of the releases that use up
/// their whole budget, independently, for an hour. On runs of their own.
pub fn calibrate(objective: Objective, probes: u32, rate: f64, seed: u64, runs: u32) -> Calibrated {
    let profile = healthy("calibration", objective, probes, Watch::Hour);
    let profile = Profile { green: Health::errors(objective.acceptable), ..profile };
    let highest: Vec<(u32, u32)> = in_parallel(runs, |run| {
        let mut world = World::new(&profile, seed, run);
        let minutes = profile.watch.ticks() / TICKS_IN_A_MINUTE;
        let minutes: Vec<u32> =
            (0..minutes).map(|_| (0..TICKS_IN_A_MINUTE).map(|_| world.green().bad).sum()).collect();
        let of = |periods: usize| {
            minutes.windows(periods).filter_map(|last| last.iter().min()).max().copied()
        };
        (of(1).unwrap_or(0), of(3).unwrap_or(0))
    });
    let all = f64::from(probes * TICK_SECONDS * TICKS_IN_A_MINUTE);
    let threshold = |mut highest: Vec<u32>| {
        highest.sort_unstable();
        // At most this many runs may end above the threshold.
        let above = (highest.len() as f64 * rate) as usize;
        f64::from(highest[highest.len() - 1 - above]) / all
    };
    Calibrated {
        one: threshold(highest.iter().map(|highest| highest.0).collect()),
        three: threshold(highest.iter().map(|highest| highest.1).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy;
    use crate::profiles::OBJECTIVES;

    #[test]
    fn the_same_seed_gives_the_same_endings_and_another_seed_others() {
        let profile = healthy("again", OBJECTIVES[2], 20, Watch::Default);
        let profile = Profile { green: Health::errors(0.03), ..profile };
        let calibrated = Calibrated { one: 0.02, three: 0.02 };
        let run = |seed| {
            let policies = policy::apart(&profile);
            let endings = simulate(&profile, &policies, calibrated, seed, (40, 20));
            assert_eq!((endings.gate[0].len(), endings.peers[9].len()), (40, 20));
            format!("{endings:?}")
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn a_calibrated_threshold_is_above_the_limit_and_lower_for_three_periods() {
        let found = calibrate(OBJECTIVES[2], 20, 0.01, 1, 500);
        assert!(found.one > found.three && found.three > 0.01, "{found:?}");
    }
}
