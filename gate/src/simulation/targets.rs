//! The simulated targets: ticks of probes as each green would have them, when the prober would have closed them.

use std::collections::BTreeMap;
use std::time::Duration;

use policies::{ArmTick, Outcome, Sample, Target, TargetTick, Tick};
use probes::Order;
use tokio::time::{Instant, sleep_until};

use super::world::{Green, Shared};
use crate::shell::{Probing, Ticks};

/// Probes for each arm in a tick.
const PROBES: u32 = 40;

impl Probing for Shared {
    fn begin(&self, order: Order) -> Box<dyn Ticks> {
        let index = order.plan.first_tick;
        Box::new(Session {
            world: self.clone(),
            tick: order.plan.tick,
            targets: std::sync::Mutex::new((order.plan.green, order.plan.blue)),
            began: Instant::now(),
            first: index,
            index,
        })
    }
}

struct Session {
    world: Shared,
    tick: Duration,
    targets: std::sync::Mutex<(Vec<Target>, Vec<Target>)>,
    began: Instant,
    first: u64,
    index: u64,
}

impl Ticks for Session {
    fn change(&self, order: Order) {
        *self.targets.lock().unwrap() = (order.plan.green, order.plan.blue);
    }

    fn tick(&mut self) -> crate::shell::Doing<'_, Option<Tick>> {
        Box::pin(async {
            let number = u32::try_from(self.index - self.first + 1).unwrap();
            let (green, blue) = self.targets.lock().unwrap().clone();
            let hangs = green.iter().any(|target| like(target) == Some(Green::Hangs));
            // A tick is over when its last probe is.
            let timeout = Duration::from_secs(if hangs { 2 } else { 0 });
            sleep_until(self.began + self.tick * number + timeout).await;
            let index = self.index;
            self.index += 1;
            let blue = (!blue.is_empty()).then(|| self.arm(&blue));
            Some(Tick { index, green: self.arm(&green), blue, ..Tick::default() })
        })
    }
}

impl Session {
    fn arm(&self, targets: &[Target]) -> ArmTick {
        let each = PROBES / u32::try_from(targets.len().max(1)).unwrap();
        let probed = |target: &Target| (target.id.clone(), self.probed(target, each));
        ArmTick { targets: targets.iter().map(probed).collect::<BTreeMap<_, _>>() }
    }

    fn probed(&self, target: &Target, number: u32) -> TargetTick {
        let bad_share = match like(target) {
            Some(Green::Faulty) => 0.5,
            Some(Green::Healthy | Green::Hangs | Green::Starved | Green::Absent) | None => 0.0005,
        };
        if like(target) == Some(Green::Starved) {
            return TargetTick { due: number, late: number, ..TargetTick::default() };
        }
        let mut tick = TargetTick::default();
        for _ in 0..number {
            let (outcome, status) = match like(target) {
                Some(Green::Hangs) => (Outcome::Timeout, None),
                _ if self.world.chance(&target.id) < bad_share => (Outcome::Status, Some(500)),
                _ => (Outcome::Ok, Some(200)),
            };
            let latency = Duration::from_millis(12);
            tick.record(&Sample { latency, outcome, status, ..Sample::default() });
        }
        tick
    }
}

/// Addresses of greens, and of blues, which are healthy.
pub(super) fn address(green: Green, number: usize) -> String {
    format!("10.{}.{}.{}", 1 + green as usize, number / 250, 1 + number % 250)
}

/// What is behind an address.
fn like(target: &Target) -> Option<Green> {
    let all = [Green::Healthy, Green::Faulty, Green::Hangs, Green::Starved, Green::Absent];
    let second = target.host.split('.').nth(1)?.parse::<usize>().ok()?;
    all.get(second.checked_sub(1)?).copied()
}
