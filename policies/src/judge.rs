//! Ticks and readings folded into evidence: what each objective knows, and what was measured.

mod condition;
mod counterfactual;
mod each;
mod judged;
mod memory;
mod sentence;
mod share;
mod tally;
mod versus;

use std::time::Duration;

use serde::Serialize;

use crate::decision::{Answer, Basis};
use crate::deployment::{Arm, Target};
use crate::evidence::{Accept, ErrorRates, Evidence, Leaning, Part, RatioLimits, Refused, fold};
use crate::moment::Moment;
use crate::policy::{During, Limits, Policy};
use crate::reading::{Reading, Seen};
use crate::tick::{ArmTick, Tick};
use crate::verdict::Verdict;
use judged::Seeing;
use versus::History;

pub(crate) use sentence::{Sentence, aside, interval_of, say, sentence};

pub use judged::{BASELINE_POINTS_MIN, Judged, Missing};
pub(crate) use tally::faults;
pub use tally::{Counts, TARGETS_KEPT_MAX, Tally};

/// Ticks whose evidence is kept for the page: two hours at the default tick.
pub const SERIES_MAX: usize = 3600;
/// An arm without a finished sample for this long has no data.
pub const NO_DATA_AFTER: Duration = Duration::from_secs(10);

/// The judging of one run, or of one window of its watch.
#[derive(Debug)]
pub struct Judge {
    objectives: Vec<Judged>,
    rates: ErrorRates,
    no_data: Answer,
    tick: Duration,
    /// From when data is waited for: since the judging began, or gate was last started.
    awaits: Moment,
    /// From when readings count: since a probe found green and was judged.
    reached: Option<Moment>,
    /// Targets of green to probe: those that share the error rate of an objective of each target.
    targets: usize,
    history: History,
    green: Tally,
    blue: Tally,
    warm_up: u64,
    set_aside: u64,
    fenced: u64,
    unusable: u64,
    series: Vec<SeriesPoint>,
    /// Whether what was measured is kept beside the evidence.
    numbers: bool,
}

/// What an engine is sized by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) per_tick: f64,
    pub(crate) horizon_ticks: u64,
    pub(crate) tick: Duration,
    pub(crate) accept: Accept,
    pub(crate) rates: ErrorRates,
}

/// When, for how long and how surely something is judged.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// The question, or the watch after it.
    pub during: During,
    /// α and β.
    pub rates: ErrorRates,
    /// Ticks until the end, as far as it is known.
    pub horizon_ticks: u64,
    /// When the judging began.
    pub began: Moment,
}

/// For how long no probe that was due has finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Silence {
    /// Of green.
    pub green: Duration,
    /// Of blue; `None` where there is no blue.
    pub blue: Option<Duration>,
}

impl Silence {
    /// At the start: nobody is silent yet.
    pub fn of(there_is_blue: bool) -> Self {
        Self { green: Duration::ZERO, blue: there_is_blue.then_some(Duration::ZERO) }
    }
}

/// What all objectives together say now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is proven yet.
    Watch,
    /// An objective is broken.
    Rollback {
        /// Which one: its place in the list.
        objective: usize,
        /// By evidence, or because a condition failed.
        basis: Basis,
    },
    /// Everything is kept.
    Continue,
    /// There is no data, and the rule for that applies.
    NoData {
        /// The objective whose rule it is.
        objective: usize,
        /// What is missing.
        what: Missing,
        /// For how long.
        time: Duration,
        /// What the rule says.
        answer: Answer,
    },
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

impl Judge {
    /// A judge of the question, with no evidence yet.
    ///
    /// # Errors
    /// [`Refused::Limits`] where an objective's numbers contradict each other; checked policies never do.
    pub fn of_question(policy: &Policy, began: Moment) -> Result<Self, Refused> {
        let (rates, horizon_ticks) = (policy.decide.rates, policy.horizon_ticks());
        Self::new(policy, Scope { during: During::Question, rates, horizon_ticks, began })
    }

    /// A judge with no evidence yet.
    ///
    /// # Errors
    /// [`Refused::Limits`] where an objective's numbers contradict each other; checked policies never do.
    pub fn new(policy: &Policy, scope: Scope) -> Result<Self, Refused> {
        let setting = Setting {
            per_tick: policy.probes_per_tick(),
            horizon_ticks: scope.horizon_ticks,
            tick: policy.decide.tick,
            accept: policy.accept(),
            rates: scope.rates,
        };
        let weighs = |o: &&crate::policy::Objective| !o.observe && !o.measure.is_condition();
        let total: f64 = policy.judged_during(scope.during).filter(weighs).map(|o| o.weight).sum();
        let objectives = policy
            .judged_during(scope.during)
            .map(|objective| {
                // One that only observes is shown as if it decided beside the others.
                let beside = if objective.observe { objective.weight } else { 0.0 };
                let share = objective.weight / (total + beside).max(objective.weight);
                let of = |step: &String| policy.probe.script.share_of(step);
                let probes = setting.per_tick * objective.step.as_ref().map_or(1.0, of);
                Judged::new(objective.clone(), share, setting.of_size(probes))
            })
            .collect::<Result<_, Refused>>()?;
        Ok(Self {
            objectives,
            rates: scope.rates,
            no_data: policy.decide.no_data,
            tick: policy.decide.tick,
            awaits: scope.began,
            reached: None,
            targets: 0,
            history: History::default(),
            green: Tally::new(),
            blue: Tally::new(),
            warm_up: 0,
            set_aside: 0,
            fenced: 0,
            unusable: 0,
            series: Vec::new(),
            numbers: true,
        })
    }

    /// Says how many targets green has when the judging begins.
    #[must_use]
    pub fn of_targets(mut self, targets: usize) -> Self {
        self.targets = targets;
        self
    }

    /// Keeps the evidence alone, not what was measured: for simulations.
    #[must_use]
    pub fn without_numbers(mut self) -> Self {
        self.numbers = false;
        self
    }

    /// Takes over what another judge knows that is no evidence: blue's latency, since when green is reached,
    /// for how long a condition has failed, and the baseline of a series.
    #[must_use]
    pub fn knowing(mut self, other: &Self) -> Self {
        self.history = other.history.clone();
        self.reached = other.reached;
        for judged in &mut self.objectives {
            let name = &judged.objective.name;
            if let Some(before) = other.objectives.iter().find(|o| o.objective.name == *name) {
                judged.know(before);
            }
        }
        self
    }

    /// Notes that gate was started again: nobody can say that there was no data while it was not there to look.
    pub fn resume(&mut self, now: Moment) {
        self.awaits = now;
        for judged in &mut self.objectives {
            judged.forget_condition(now);
        }
    }

    /// Counts a tick of the warm-up, which is shown and never judged.
    pub fn warm_up(&mut self, tick: &Tick) {
        self.warm_up += u64::from(tick.green.total().due);
        if let Some(blue) = &tick.blue {
            self.remember(blue);
        }
    }

    /// What blue's latency was, for those that compare with it later.
    fn remember(&mut self, blue: &ArmTick) {
        self.history.add(&blue.total());
        for judged in &mut self.objectives {
            judged.remember(blue);
        }
    }

    /// Takes a tick that closed `now` as evidence. Probes of green that were judged in it.
    pub fn take(&mut self, tick: &Tick, now: Moment) -> u64 {
        let green = tick.green.total();
        let blue = tick.blue.as_ref().map(ArmTick::total);
        // Connections that failed on blue too, in the same tick, are not green's doing.
        let shared = blue.as_ref().map_or(0, |blue| blue.unconnected().min(green.unconnected()));
        self.set_aside += shared;
        if self.reached.is_none() && green.answered() > 0 {
            self.reached = Some(now.before(self.tick));
        }
        let whole = Seeing::of(tick, None, self.targets);
        for judged in &mut self.objectives {
            // A step is seen by itself: its probes, its targets, its failed connections.
            let part = judged.objective.step.as_deref();
            let part = part.map(|step| Seeing::of(tick, Some(step), self.targets));
            if judged.take(part.as_ref().unwrap_or(&whole), &self.history).is_err() {
                self.unusable += 1;
            }
        }
        if let Some(blue) = &tick.blue {
            // Only earlier ticks say what blue's latency is.
            self.remember(blue);
        }
        let judged = green.judged().saturating_sub(shared);
        if !self.numbers {
            return judged;
        }
        self.green.add(&tick.green);
        if let Some(blue) = &tick.blue {
            self.blue.add(blue);
        }
        if self.series.len() < SERIES_MAX {
            let evidence = self.evidence().shown();
            self.series.push(SeriesPoint {
                tick: tick.index,
                probes: green.judged(),
                bad: green.bad(),
                log_rollback: evidence.rollback,
                log_continue: evidence.keep,
            });
        }
        judged
    }

    /// Takes what somebody else measured. What covers a time before green was reached never decides.
    pub fn read(&mut self, reading: &Reading, now: Moment) {
        if !reading.seen.is_sound() {
            self.unusable += 1;
            return;
        }
        // A task that never started keeps green from being reached; alarms and tasks have a fence of their own.
        let unfenced = matches!(
            reading.seen,
            Seen::Baseline { .. } | Seen::Alarms { .. } | Seen::Stopped { .. }
        );
        let began = u64::try_from(reading.began_millis).ok().map(Moment::from_millis);
        let counts = self.reached.zip(began).is_some_and(|(reached, began)| began >= reached);
        if !unfenced && !counts {
            self.fenced += 1;
            return;
        }
        let mut of = self.objectives.iter_mut().filter(|o| o.objective.name == reading.objective);
        let taken = of.next().is_some_and(|judged| judged.read(&reading.seen, now) == Ok(true));
        self.unusable += u64::from(!taken);
    }

    /// Looks at what the load balancer says of green.
    pub fn health(&mut self, green: &[Target], now: Moment) {
        for judged in &mut self.objectives {
            judged.health(green, now);
        }
    }

    /// What all objectives together say. `seen_enough` once the policy's `at-least` is over.
    pub fn standing(&self, now: Moment, silence: Silence, seen_enough: bool) -> Standing {
        let deciding = || self.objectives.iter().enumerate().filter(|(_, o)| !o.objective.observe);
        let conditions = || deciding().filter(|(_, o)| o.objective.measure.is_condition());
        let broken = conditions().find(|(_, o)| o.verdict() == Verdict::Broken);
        if let Some((objective, _)) = broken {
            return Standing::Rollback { objective, basis: Basis::Condition };
        }
        let missing = |o: &Judged| o.missing(now, self.awaits, silence);
        let excused = |o: &Judged| self.excused(o, now, silence);
        let hold = conditions().all(|(_, o)| o.verdict() == Verdict::Kept || excused(o));
        let leaning = self.standing_evidence(now, silence).leaning(self.rates, seen_enough && hold);
        if leaning == Leaning::Rollback {
            return Standing::Rollback { objective: self.worst_place(), basis: Basis::Proven };
        }
        let no_data = |(objective, o): (usize, &Judged), answer| {
            missing(o).map(|(what, time)| Standing::NoData { objective, what, time, answer })
        };
        let rolls_back = |o: &Judged| {
            missing(o).is_some_and(|(what, _)| o.rule(what, self.no_data) == Answer::Rollback)
        };
        if let Some(found) = deciding().find(|(_, o)| rolls_back(o)) {
            return no_data(found, Answer::Rollback).unwrap_or(Standing::Watch);
        }
        // Nobody is left who could prove anything: that is no proof, and the policy's rule applies.
        let mut provers = deciding().filter(|(_, o)| o.objective.measure.can_continue());
        if hold && provers.all(|(_, o)| excused(o)) {
            let own = |o: &Judged| o.objective.no_data.unwrap_or(self.no_data);
            let found = deciding().find_map(|(place, o)| no_data((place, o), own(o)));
            return found.unwrap_or(Standing::Watch);
        }
        if leaning == Leaning::Continue { Standing::Continue } else { Standing::Watch }
    }

    /// Whether an objective has no data and its rule is to let go of it.
    pub(crate) fn excused(&self, judged: &Judged, now: Moment, silence: Silence) -> bool {
        let missing = judged.missing(now, self.awaits, silence);
        missing.is_some_and(|(what, _)| judged.rule(what, self.no_data) == Answer::Continue)
    }

    /// The evidence of all objectives that decide and are not let go of, together.
    pub(crate) fn standing_evidence(&self, now: Moment, silence: Silence) -> Evidence {
        let parts = self.statistical().map(|(_, o)| {
            let mut evidence = o.evidence();
            if self.excused(o, now, silence) {
                evidence.keep = f64::INFINITY;
            }
            Part { weight: o.objective.weight, evidence }
        });
        fold(&parts.collect::<Vec<_>>())
    }

    /// The evidence of all objectives that decide, together.
    pub fn evidence(&self) -> Evidence {
        let parts: Vec<Part> = self
            .statistical()
            .map(|(_, o)| Part { weight: o.objective.weight, evidence: o.evidence() })
            .collect();
        fold(&parts)
    }

    /// Objectives that decide by evidence.
    fn statistical(&self) -> impl Iterator<Item = (usize, &Judged)> {
        let decides = |o: &Judged| !o.objective.observe && !o.objective.measure.is_condition();
        self.objectives.iter().enumerate().filter(move |(_, o)| decides(o))
    }

    fn worst_place(&self) -> usize {
        let weighed = |o: &Judged| o.share.ln() + o.evidence().rollback;
        let worst = self.statistical().max_by(|(_, a), (_, b)| weighed(a).total_cmp(&weighed(b)));
        worst.map_or(0, |(place, _)| place)
    }

    /// The objectives, in the policy's order.
    pub fn objectives(&self) -> &[Judged] {
        &self.objectives
    }

    /// The objective in a place of the list.
    pub fn objective(&self, place: usize) -> Option<&Judged> {
        self.objectives.get(place)
    }

    /// Whether blue breaks an objective that decides, so that green is held to blue.
    pub fn blue_is_broken(&self) -> bool {
        self.statistical().any(|(_, o)| o.blue_is_broken())
    }

    /// The objective with the least evidence for it.
    pub fn least_sure(&self) -> Option<&Judged> {
        let keep = |o: &Judged| o.evidence().keep;
        self.statistical().min_by(|(_, a), (_, b)| keep(a).total_cmp(&keep(b))).map(|(_, o)| o)
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

    /// Readings that cover a time before green was reached, and so never decide.
    pub fn fenced_readings(&self) -> u64 {
        self.fenced
    }

    /// Readings that no objective could use.
    pub fn unusable_readings(&self) -> u64 {
        self.unusable
    }

    /// Evidence after each tick.
    pub fn series(&self) -> &[SeriesPoint] {
        &self.series
    }

    /// α and β in force.
    pub fn rates(&self) -> ErrorRates {
        self.rates
    }
}

// === impl Setting ===

impl Setting {
    /// What an engine with these limits is asked about.
    pub(crate) fn ratio(&self, limits: Limits) -> RatioLimits {
        RatioLimits {
            accept: self.accept,
            ..RatioLimits::new(
                limits.acceptable,
                limits.unacceptable,
                self.per_tick,
                self.horizon_ticks,
            )
        }
    }

    /// `ln 1/α`.
    pub(crate) fn log_rollback_at(&self) -> f64 {
        (1.0 / self.rates.false_rollback).ln()
    }

    /// The same for one of several targets that share the rate.
    pub(crate) fn shared_by(&self, targets: u64) -> Self {
        let targets = crate::evidence::numerics::count(targets.max(1));
        Self { per_tick: self.per_tick / targets, ..*self }
    }

    /// Points expected of a series, and at least one.
    pub(crate) fn points_of(&self, period: Duration) -> u64 {
        let ticks = period.as_millis().div_ceil(self.tick.as_millis().max(1));
        (self.horizon_ticks / u64::try_from(ticks).unwrap_or(u64::MAX).max(1)).max(1)
    }

    /// The same for ticks of another size.
    pub(crate) fn of_size(&self, per_tick: f64) -> Self {
        Self { per_tick, ..*self }
    }
}
