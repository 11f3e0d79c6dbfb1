//! What happens to a gate: killed, paused or stopped, again and again.

use std::time::{Duration, Instant};

use rand_distr::{Distribution, Uniform};
use rand_pcg::Pcg32;
use tests::Gate;
use tokio::time::sleep;

/// A gate is left alone for so many seconds; then one of these happens to it.
const ALONE: (u64, u64) = (4, 22);
/// How long it is paused: shorter and longer than its lease.
const PAUSED: (u64, u64) = (5, 40);
/// How long it is gone, in milliseconds.
const GONE_MILLIS: (u64, u64) = (0, 5_000);

/// What happened to a gate.
#[derive(Debug, Default)]
#[allow(dead_code, reason = "shown whole")]
pub(crate) struct Done {
    killed: u32,
    paused: u32,
    stopped: u32,
}

fn between((least, most): (u64, u64), random: &mut Pcg32) -> u64 {
    Uniform::new_inclusive(least, most).expect("a range").sample(random)
}

/// Does it until then.
pub(crate) async fn harass(gate: &mut Gate, mut random: Pcg32, until: Instant) -> Done {
    let mut done = Done::default();
    loop {
        sleep(Duration::from_secs(between(ALONE, &mut random))).await;
        if Instant::now() >= until {
            return done;
        }
        match between((0, 2), &mut random) {
            0 => {
                done.killed += 1;
                gate.kill();
            }
            1 => {
                done.paused += 1;
                gate.pause();
                sleep(Duration::from_secs(between(PAUSED, &mut random))).await;
                gate.go_on();
                continue;
            }
            _ => {
                done.stopped += 1;
                gate.stop().await;
            }
        }
        sleep(Duration::from_millis(between(GONE_MILLIS, &mut random))).await;
        gate.restart().await;
    }
}
