//! What the probes see: bad probes of green and blue, tick by tick.
//!
//! A run is a function of (seed, profile, number of the run) and of nothing else, and each arm has a
//! stream of its own: green's data is the same whether or not anybody looks at blue's.

use crate::profiles::{Health, Outage, Profile, Stalls};
use crate::random::{Random, of_name};

/// Length of a tick: gate's default.
pub const TICK_SECONDS: u32 = 2;
/// Ticks in the period by which the other rules look.
pub const TICKS_IN_A_MINUTE: u32 = 60 / TICK_SECONDS;

/// Bad probes among all of a stretch of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Bad ones.
    pub bad: u32,
    /// All.
    pub all: u32,
}

impl Counts {
    /// The share that was bad.
    pub fn share(self) -> f64 {
        f64::from(self.bad) / f64::from(self.all)
    }

    /// Adds a later stretch.
    pub fn add(&mut self, other: Self) {
        self.bad += other.bad;
        self.all += other.all;
    }
}

/// Both arms of one run.
#[derive(Debug)]
pub struct World {
    green: Arm,
    blue: Arm,
    onset: Option<(u32, f64)>,
    outage: Option<(u32, Outage)>,
    next_tick: u32,
}

impl World {
    /// Run number `run` of a profile.
    pub fn new(profile: &Profile, seed: u64, run: u32) -> Self {
        let stream = |which| Random::of(&[seed, of_name(&profile.name), u64::from(run), which]);
        let outage = profile.outage.map(|outage| {
            // Anywhere but the first minute and the end: its edges fall where they fall in a minute.
            let places = profile.watch.ticks() - 2 * TICKS_IN_A_MINUTE - outage.ticks;
            (TICKS_IN_A_MINUTE + stream(2).below(places), outage)
        });
        Self {
            green: Arm::new(stream(0), profile.green, profile.rate),
            blue: Arm::new(stream(1), profile.blue, profile.rate),
            onset: profile.onset,
            outage,
            next_tick: 0,
        }
    }

    /// Moves on to the next tick and gives green's probes in it.
    pub fn green(&mut self) -> Counts {
        let tick = self.next_tick;
        self.next_tick += 1;
        if let Some((from, errors)) = self.onset
            && tick == from
        {
            self.green.errors_become(errors);
        }
        if let Some((from, outage)) = self.outage {
            for arm in [&mut self.green, &mut self.blue] {
                if tick == from {
                    arm.errors_become(outage.errors);
                } else if tick == from + outage.ticks {
                    arm.errors_become(arm.usual);
                }
            }
        }
        self.green.tick()
    }

    /// Blue's probes in the tick that [`World::green`] moved to.
    pub fn blue(&mut self) -> Counts {
        self.blue.tick()
    }
}

#[derive(Debug)]
struct Arm {
    random: Random,
    per_tick: u32,
    usual: f64,
    errors: f64,
    /// Probes outside stalls until the next error.
    gap: u64,
    stall: Option<Stall>,
}

/// The stall that is on or comes next, in probes since the start of the tick.
#[derive(Debug)]
struct Stall {
    from: f64,
    to: f64,
    mean: f64,
    mean_between: f64,
}

impl Arm {
    fn new(mut random: Random, health: Health, rate: u32) -> Self {
        let stall = health.stalls.map(|stalls| Stall::first(&mut random, stalls, rate));
        let gap = random.gap(health.errors);
        let (usual, errors) = (health.errors, health.errors);
        Self { random, per_tick: rate * TICK_SECONDS, usual, errors, gap, stall }
    }

    fn errors_become(&mut self, errors: f64) {
        self.errors = errors;
        // The gap has no memory, so it may be drawn afresh.
        self.gap = self.random.gap(errors);
    }

    fn tick(&mut self) -> Counts {
        let stalled =
            self.stall.as_mut().map_or(0, |stall| stall.tick(&mut self.random, self.per_tick));
        let mut left = u64::from(self.per_tick - stalled);
        let mut bad = stalled;
        while self.gap < left {
            left -= self.gap + 1;
            bad += 1;
            self.gap = self.random.gap(self.errors);
        }
        self.gap -= left;
        Counts { bad, all: self.per_tick }
    }
}

impl Stall {
    /// Stalls arrive at random, so that the share of time in them is `stalls.share`; they may be on
    /// already when the run starts.
    fn first(random: &mut Random, stalls: Stalls, rate: u32) -> Self {
        let mean = stalls.seconds * f64::from(rate);
        let mean_between = mean * (1.0 - stalls.share) / stalls.share;
        let on = random.uniform() <= stalls.share;
        let from = if on { 0.0 } else { random.exponential(mean_between) };
        Self { from, to: from + random.exponential(mean), mean, mean_between }
    }

    /// Probes of the next `probes` that fall into stalls: number `j` does where `from ≤ j < to`.
    fn tick(&mut self, random: &mut Random, probes: u32) -> u32 {
        let end = f64::from(probes);
        let mut stalled = 0;
        loop {
            let (from, to) = (self.from.max(0.0).ceil(), self.to.min(end).ceil());
            stalled += (to - from).max(0.0) as u32;
            if self.to >= end {
                break;
            }
            self.from = self.to + random.exponential(self.mean_between);
            self.to = self.from + random.exponential(self.mean);
        }
        self.from -= end;
        self.to -= end;
        stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profiles::{self, Watch};

    fn profile(green: Health) -> Profile {
        Profile { green, ..profiles::healthy("data", profiles::OBJECTIVES[2], 20, Watch::Hour) }
    }

    /// Mean share of bad probes over 200 hours, and of ticks with a bad probe.
    fn check(green: Health, mean: std::ops::Range<f64>, ticks: std::ops::Range<f64>) {
        let (mut bad, mut touched) = (0u32, 0u32);
        for run in 0..200 {
            let mut world = World::new(&profile(green), 1, run);
            for _ in 0..1800 {
                let counts = world.green();
                assert!(counts.bad <= counts.all && counts.all == 40);
                bad += counts.bad;
                touched += u32::from(counts.bad > 0);
            }
        }
        let (bad, touched) = (f64::from(bad) / 14.4e6, f64::from(touched) / 360e3);
        assert!(mean.contains(&bad) && ticks.contains(&touched), "{green:?}: {bad} {touched}");
    }

    #[test]
    fn the_share_of_bad_probes_is_what_was_asked_for_and_stalls_keep_together() {
        check(Health::errors(0.01), 0.0099..0.0101, 0.325..0.337);
        check(Health::errors(1.0), 1.0..1.001, 1.0..1.001);
        // A stall every 80 s, one in five of them across two ticks, a few between two probes.
        check(Health::stalls(0.005, 0.4), 0.0047..0.0053, 0.026..0.030);
        let both = Health { errors: 0.05, ..Health::stalls(0.005, 0.4) };
        check(both, 0.0545..0.0555, 0.86..0.89);
    }

    #[test]
    fn an_outage_and_a_late_fault_begin_and_end() {
        let outage = Outage { errors: 1.0, ticks: 10 };
        let shared = Profile {
            outage: Some(outage),
            blue: Health::errors(0.0),
            watch: Watch::TenMinutes,
            ..profile(Health::errors(0.0))
        };
        for run in 0..20 {
            let mut world = World::new(&shared, 1, run);
            let both: Vec<(bool, bool)> =
                (0..300).map(|_| (world.green().bad == 40, world.blue().bad == 40)).collect();
            assert_eq!(both.iter().filter(|&&bad| bad == (true, true)).count(), 10);
            assert_eq!(both.iter().filter(|&&bad| bad == (false, false)).count(), 290);
        }
        let late = Profile { onset: Some((150, 1.0)), ..profile(Health::errors(0.0)) };
        let mut world = World::new(&late, 1, 0);
        let first = (0..300).position(|_| world.green().bad > 0);
        assert_eq!(first, Some(150));
    }
}
