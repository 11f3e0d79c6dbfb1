//! What is simulated: releases, good and bad, and how long they are looked at.

use crate::data::{TICK_SECONDS, TICKS_IN_A_MINUTE};

/// An objective on errors.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Objective {
    /// Allowed share of bad probes, p0.
    pub acceptable: f64,
    /// Share that must not pass, p1.
    pub unacceptable: f64,
}

/// The objectives of statistics.md §0.
pub const OBJECTIVES: [Objective; 3] = [
    Objective { acceptable: 0.001, unacceptable: 0.005 },
    Objective { acceptable: 0.005, unacceptable: 0.01 },
    Objective { acceptable: 0.01, unacceptable: 0.02 },
];

/// Shares of bad probes of a broken release.
pub const FAULTS: [f64; 7] = [0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0];

/// Where late faults begin.
pub const ONSET_SECONDS: u32 = 300;

/// The shared outages, in seconds, and their share of errors.
pub const OUTAGES: [(&str, u32); 2] = [("20 s", 20), ("2 min", 120)];
const OUTAGE_ERRORS: f64 = 0.2;

/// What an arm is like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Health {
    /// Share of the probes that fail, each by itself.
    pub errors: f64,
    /// Times in which every probe fails.
    pub stalls: Option<Stalls>,
}

/// Stalls arrive at random and last exponentially long.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stalls {
    /// Share of the time in stalls.
    pub share: f64,
    /// Mean length.
    pub seconds: f64,
}

impl Health {
    /// Independent errors alone.
    pub const fn errors(errors: f64) -> Self {
        Self { errors, stalls: None }
    }

    /// Stalls alone.
    pub const fn stalls(share: f64, seconds: f64) -> Self {
        Self { errors: 0.0, stalls: Some(Stalls { share, seconds }) }
    }
}

/// Something that both arms depend on fails for a while.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outage {
    /// Share of bad probes meanwhile.
    pub errors: f64,
    /// Its length.
    pub ticks: u32,
}

/// How long a release is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// At every tick for an hour, whatever the evidence to continue.
    Hour,
    /// At every tick for ten minutes, whatever the evidence to continue.
    TenMinutes,
    /// As a policy without `decide` has it: ten minutes at most, one at least.
    Default,
}

impl Watch {
    /// Ticks until nobody looks any more.
    pub const fn ticks(self) -> u32 {
        match self {
            Self::Hour => 60 * TICKS_IN_A_MINUTE,
            Self::TenMinutes | Self::Default => 10 * TICKS_IN_A_MINUTE,
        }
    }
}

/// A kind of release.
#[derive(Clone, Debug)]
pub struct Profile {
    /// What it is called; names its random numbers too.
    pub name: String,
    /// The objective it is judged by.
    pub objective: Objective,
    /// Probes a second for each arm.
    pub rate: u32,
    /// The candidate.
    pub green: Health,
    /// The baseline.
    pub blue: Health,
    /// The tick from which green fails at this share.
    pub onset: Option<(u32, f64)>,
    /// A failure of both.
    pub outage: Option<Outage>,
    /// How long it is looked at.
    pub watch: Watch,
}

/// A release that fails at a quarter of its budget, and a blue like it.
pub fn healthy(name: &str, objective: Objective, rate: u32, watch: Watch) -> Profile {
    let health = Health::errors(objective.acceptable / 4.0);
    let name = format!("{name}, {} at {rate}/s", percent(objective.acceptable));
    Profile { name, objective, rate, green: health, blue: health, onset: None, outage: None, watch }
}

/// `0.5 %`.
pub fn percent(share: f64) -> String {
    // Shares are decimals; what binary adds to them is not to be seen.
    format!("{} %", (share * 1e6).round() / 1e4)
}

/// A healthy release watched for an hour, and whether the promise on false rollbacks covers it.
#[derive(Clone, Debug)]
pub struct Hour {
    /// The release.
    pub profile: Profile,
    /// Whether stalls are short enough, and the budget free enough, for the promise.
    pub inside: bool,
    /// How its bad probes come: a column of the table.
    pub badness: String,
}

/// Every healthy release that is watched for an hour.
pub fn hours() -> Vec<Hour> {
    let [tenth, half, one] = OBJECTIVES;
    let hour = |inside, objective: Objective, rate, budget: f64, stall: Option<f64>| {
        let share = objective.acceptable * budget;
        let (health, how) = match stall {
            None => (Health::errors(share), "independent".to_owned()),
            Some(mean) => (Health::stalls(share, mean), format!("stalls of {mean} s")),
        };
        let level = if budget < 1.0 { "half the budget" } else { "the whole budget" };
        let badness = format!("{how}, {level}");
        let profile = healthy(&format!("hour, {badness}"), objective, rate, Watch::Hour);
        Hour { profile: Profile { green: health, blue: health, ..profile }, inside, badness }
    };
    vec![
        hour(true, tenth, 20, 1.0, None),
        hour(true, half, 20, 1.0, None),
        hour(true, one, 20, 1.0, None),
        hour(true, tenth, 100, 1.0, None),
        hour(true, one, 100, 1.0, None),
        hour(true, tenth, 20, 0.5, Some(0.2)),
        hour(true, one, 20, 0.5, Some(0.2)),
        hour(true, tenth, 20, 0.5, Some(0.4)),
        hour(true, tenth, 100, 0.5, Some(0.4)),
        hour(true, half, 20, 0.5, Some(0.4)),
        hour(true, one, 20, 0.5, Some(0.4)),
        hour(true, one, 100, 0.5, Some(0.4)),
        hour(false, one, 20, 1.0, Some(0.2)),
        hour(false, tenth, 20, 1.0, Some(0.4)),
        hour(false, half, 20, 1.0, Some(0.4)),
        hour(false, one, 20, 1.0, Some(0.4)),
        hour(false, one, 20, 0.5, Some(1.0)),
        hour(false, one, 20, 1.0, Some(1.0)),
        hour(false, one, 20, 0.5, Some(2.0)),
    ]
}

/// One healthy release and the broken ones beside it, for one table.
#[derive(Clone, Debug)]
pub struct Faults {
    /// Heading of the table.
    pub title: String,
    /// The healthy one.
    pub healthy: Profile,
    /// The broken ones and their share of bad probes.
    pub broken: Vec<(f64, Profile)>,
    /// When the fault begins; times are counted from here.
    pub from_seconds: u32,
}

/// Every set of broken releases.
pub fn faults() -> Vec<Faults> {
    let [tenth, half, one] = OBJECTIVES;
    let set = |objective: Objective, rate, stalls: Option<Stalls>, late: bool| {
        let watch = if late { Watch::TenMinutes } else { Watch::Default };
        let with = match (stalls, late) {
            (Some(_), _) => ", on top of stalls of 0.4 s at half the budget",
            (None, true) => ", from minute five",
            (None, false) => "",
        };
        let base = healthy(&format!("fault{with}"), objective, rate, watch);
        let base = match stalls {
            Some(_) => Profile {
                green: Health { errors: 0.0, stalls },
                blue: Health { errors: 0.0, stalls },
                ..base
            },
            None => base,
        };
        let broken =
            FAULTS.into_iter().filter(|&fault| fault > objective.acceptable).map(|fault| {
                let name = format!("{}: {}", base.name, percent(fault));
                let profile = Profile { name, ..base.clone() };
                let profile = if late {
                    Profile { onset: Some((ONSET_SECONDS / TICK_SECONDS, fault)), ..profile }
                } else {
                    Profile { green: Health { errors: fault, stalls }, ..profile }
                };
                (fault, profile)
            });
        let title = format!(
            "at most {} (unacceptable {}), {rate} probes a second{with}",
            percent(objective.acceptable),
            percent(objective.unacceptable)
        );
        let from_seconds = if late { ONSET_SECONDS } else { 0 };
        Faults { title, broken: broken.collect(), healthy: base, from_seconds }
    };
    let stalls = Stalls { share: one.acceptable / 2.0, seconds: 0.4 };
    vec![
        set(tenth, 20, None, false),
        set(half, 20, None, false),
        set(one, 20, None, false),
        set(tenth, 100, None, false),
        set(one, 20, Some(stalls), false),
        set(tenth, 20, None, true),
    ]
}

/// Releases of which blue says more than any limit: all of them ought to continue.
pub fn beside_blue() -> Vec<(String, Profile)> {
    let objective = OBJECTIVES[2];
    let mut found: Vec<(String, Profile)> = OUTAGES
        .iter()
        .map(|&(length, seconds)| {
            let outage = Outage { errors: OUTAGE_ERRORS, ticks: seconds / TICK_SECONDS };
            let title = format!("both arms {} for {length}", percent(OUTAGE_ERRORS));
            let profile = healthy(&title, objective, 20, Watch::TenMinutes);
            (title, Profile { outage: Some(outage), ..profile })
        })
        .collect();
    for (blue, green) in [(0.1, 0.02), (0.03, 0.002), (0.03, 0.03), (0.1, 0.1)] {
        let title = format!("blue {}, green {}", percent(blue), percent(green));
        let profile = healthy(&title, objective, 20, Watch::Default);
        let (green, blue) = (Health::errors(green), Health::errors(blue));
        found.push((title, Profile { green, blue, ..profile }));
    }
    found
}
