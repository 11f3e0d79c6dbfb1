//! Ticks folded into evidence: what each objective knows, and what was measured.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::deployment::Arm;
use crate::evidence::{Evidence, Leaning, Part, Ratio, RatioLimits, Refused, fold, numerics};
use crate::histogram::Histogram;
use crate::policy::{Objective, Policy, Signal};
use crate::sample::Outcome;
use crate::tick::{ArmTick, TargetTick, Tick};
use crate::verdict::Verdict;

/// Targets of an arm whose numbers are kept apart; the rest are in the arm's sums only, and counted.
pub const TARGETS_KEPT_MAX: usize = 1000;
/// Ticks whose evidence is kept for the page: two hours at the default tick.
pub const SERIES_MAX: usize = 3600;

/// The judging of one run.
#[derive(Debug)]
pub struct Judge {
    objectives: Vec<Judged>,
    green: Tally,
    blue: Tally,
    warm_up: u64,
    set_aside: u64,
    series: Vec<SeriesPoint>,
}

/// One objective under judgement.
#[derive(Debug)]
pub struct Judged {
    /// What must hold.
    pub objective: Objective,
    /// Bad samples so far.
    pub bad: u64,
    /// Judged samples so far.
    pub total: u64,
    engine: Ratio,
}

/// Evidence of all objectives after one tick, for plots.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeriesPoint {
    /// Index of the tick.
    pub tick: u64,
    /// Green's judged probes in it.
    pub probes: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// `ln E` of all objectives together.
    pub log_rollback: f64,
    /// `ln F` of the least sure objective.
    pub log_continue: f64,
}

/// What was measured of one arm.
#[derive(Debug)]
pub struct Tally {
    /// All targets together.
    pub total: Counts,
    /// Each target.
    pub targets: BTreeMap<String, Counts>,
    /// Targets beyond [`TARGETS_KEPT_MAX`].
    pub targets_dropped: u64,
}

/// Sums over judged ticks.
#[derive(Debug)]
pub struct Counts {
    /// Probes due.
    pub due: u64,
    /// Probes that say something about the target.
    pub judged: u64,
    /// Bad ones among them.
    pub bad: u64,
    /// Probes gate itself sent too late to judge.
    pub late: u64,
    /// Outcomes of the probes sent in time.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Unexpected statuses.
    pub statuses: BTreeMap<u16, u64>,
    /// Latencies of the answered probes.
    pub latency: Histogram,
}

impl Judge {
    /// A judge for this policy, with no evidence yet.
    ///
    /// # Errors
    /// [`Refused::Limits`] where an objective's numbers contradict each other; checked policies never do.
    pub fn new(policy: &Policy) -> Result<Self, Refused> {
        let objectives = policy
            .objectives
            .iter()
            .map(|objective| {
                let limits = RatioLimits::new(
                    objective.acceptable,
                    objective.unacceptable,
                    policy.probes_per_tick(),
                    policy.horizon_ticks(),
                );
                let engine = Ratio::new(limits)?;
                Ok(Judged { objective: objective.clone(), bad: 0, total: 0, engine })
            })
            .collect::<Result<_, Refused>>()?;
        Ok(Self {
            objectives,
            green: Tally::new(),
            blue: Tally::new(),
            warm_up: 0,
            set_aside: 0,
            series: Vec::new(),
        })
    }

    /// Counts a tick of the warm-up, which is shown and never judged.
    pub fn warm_up(&mut self, tick: &Tick) {
        self.warm_up += u64::from(tick.green.total().due);
    }

    /// Takes a tick as evidence.
    pub fn take(&mut self, tick: &Tick) {
        let green = tick.green.total();
        let blue = tick.blue.as_ref().map(ArmTick::total);
        // Connections that failed on blue too, in the same tick, are not green's doing.
        let shared = blue.as_ref().map_or(0, |blue| blue.unconnected().min(green.unconnected()));
        self.set_aside += shared;
        for judged in &mut self.objectives {
            judged.take(&green, shared);
        }
        self.green.add(&tick.green);
        if let Some(blue) = &tick.blue {
            self.blue.add(blue);
        }
        if self.series.len() < SERIES_MAX {
            let evidence = self.evidence();
            self.series.push(SeriesPoint {
                tick: tick.index,
                probes: green.judged(),
                bad: green.bad(),
                log_rollback: evidence.rollback,
                log_continue: evidence.keep,
            });
        }
    }

    /// The evidence of all objectives together.
    pub fn evidence(&self) -> Evidence {
        let parts: Vec<Part> = self
            .objectives
            .iter()
            .map(|judged| Part { weight: 1.0, evidence: judged.evidence() })
            .collect();
        fold(&parts)
    }

    /// The objectives, in the policy's order.
    pub fn objectives(&self) -> &[Judged] {
        &self.objectives
    }

    /// The objective with the most evidence against it.
    pub fn worst(&self) -> Option<&Judged> {
        self.objectives
            .iter()
            .max_by(|a, b| a.evidence().rollback.total_cmp(&b.evidence().rollback))
    }

    /// The objective with the least evidence for it.
    pub fn least_sure(&self) -> Option<&Judged> {
        self.objectives.iter().min_by(|a, b| a.evidence().keep.total_cmp(&b.evidence().keep))
    }

    /// What was measured of an arm.
    pub fn arm(&self, arm: Arm) -> &Tally {
        match arm {
            Arm::Green => &self.green,
            Arm::Blue => &self.blue,
        }
    }

    /// Probes of the warm-up.
    pub fn warm_up_probes(&self) -> u64 {
        self.warm_up
    }

    /// Probes set aside because blue failed to connect in the same tick too.
    pub fn set_aside(&self) -> u64 {
        self.set_aside
    }

    /// Evidence after each tick.
    pub fn series(&self) -> &[SeriesPoint] {
        &self.series
    }
}

// === impl Judged ===

impl Judged {
    fn take(&mut self, green: &TargetTick, shared: u64) {
        let bad = match self.objective.signal {
            Signal::Errors => green.bad(),
            Signal::SlowerThan(threshold) => green.slower_than(threshold),
        };
        let (bad, total) = (bad.saturating_sub(shared), green.judged().saturating_sub(shared));
        // The engine refuses only what is no count, which these are by their types.
        if self.engine.step(numerics::count(bad), numerics::count(total)).is_ok() {
            self.bad += bad;
            self.total += total;
        }
    }

    /// Evidence after the last tick.
    pub fn evidence(&self) -> Evidence {
        self.engine.evidence()
    }

    /// What the evidence says of this objective by itself. The policy's objectives share α, so that one
    /// that is Broken has rolled the release back.
    pub fn verdict(&self, policy: &Policy) -> Verdict {
        let sharing = u32::try_from(policy.objectives.len().max(1)).unwrap_or(u32::MAX);
        let mut rates = policy.decide.rates;
        rates.false_rollback /= f64::from(sharing);
        match self.evidence().leaning(rates, true) {
            Leaning::Rollback => Verdict::Broken,
            Leaning::Continue => Verdict::Kept,
            Leaning::Watch => Verdict::Unknown,
        }
    }
}

// === impl Tally ===

impl Tally {
    fn new() -> Self {
        Self {
            total: Counts::new(Histogram::of_arm()),
            targets: BTreeMap::new(),
            targets_dropped: 0,
        }
    }

    fn add(&mut self, arm: &ArmTick) {
        for (id, tick) in &arm.targets {
            self.total.add(tick);
            if let Some(counts) = self.targets.get_mut(id) {
                counts.add(tick);
            } else if self.targets.len() < TARGETS_KEPT_MAX {
                let mut counts = Counts::new(Histogram::of_target());
                counts.add(tick);
                self.targets.insert(id.clone(), counts);
            } else {
                self.targets_dropped += 1;
            }
        }
    }
}

impl Counts {
    fn new(latency: Histogram) -> Self {
        Self {
            due: 0,
            judged: 0,
            bad: 0,
            late: 0,
            outcomes: BTreeMap::new(),
            statuses: BTreeMap::new(),
            latency,
        }
    }

    fn add(&mut self, tick: &TargetTick) {
        self.due += u64::from(tick.due);
        self.judged += tick.judged();
        self.bad += tick.bad();
        self.late += u64::from(tick.late);
        for (&outcome, &count) in &tick.outcomes {
            *self.outcomes.entry(outcome).or_default() += u64::from(count);
        }
        for (&status, &count) in &tick.statuses {
            *self.statuses.entry(status).or_default() += u64::from(count);
        }
        self.latency.add(&tick.latency);
    }

    /// What went wrong, most often first: `11 × status 503, 2 × timeout`. Empty where nothing did.
    pub fn faults(&self) -> String {
        let statuses = self.statuses.iter().map(|(status, &n)| (n, format!("status {status}")));
        let others = self
            .outcomes
            .iter()
            .filter(|&(&o, _)| !matches!(o, Outcome::Ok | Outcome::Status))
            .map(|(outcome, &n)| (n, outcome.name().to_owned()));
        let mut faults: Vec<(u64, String)> = statuses.chain(others).collect();
        faults.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let shown: Vec<String> =
            faults.iter().take(4).map(|(n, what)| format!("{n} × {what}")).collect();
        shown.join(", ")
    }
}
