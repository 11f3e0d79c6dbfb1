//! One objective under judgement: its engine, what it has seen, what it says.

use std::borrow::Cow;
use std::time::Duration;

use super::condition::Condition;
use super::each::{Each, Suspect};
use super::memory::Memory;
use super::share::Share;
use super::versus::{History, Versus, events};
use super::{NO_DATA_AFTER, Setting, Silence};
use crate::decision::Answer;
use crate::deployment::Target;
use crate::evidence::numerics::whole;
use crate::evidence::{Direction, Evidence, Rank, RankLimits, Ratio, Refused};
use crate::moment::Moment;
use crate::policy::{Counted, Limits, Measure, Objective};
use crate::reading::Seen;
use crate::tick::{ArmTick, TargetTick, Tick};
use crate::verdict::Verdict;

/// Points of a series before it stops standing in the way of Continue.
const SERIES_POINTS_MIN: u64 = 5;
/// Points a baseline needs before a series is judged (statistics.md §5).
pub const BASELINE_POINTS_MIN: usize = 20;

/// One objective under judgement.
#[derive(Debug)]
pub struct Judged {
    /// What must hold.
    pub objective: Objective,
    /// Its share of the false-rollback rate among those that decide, 0 to 1.
    pub share: f64,
    /// Bad events so far.
    pub bad: u64,
    /// Judged events so far.
    pub total: u64,
    pub(super) engine: Engine,
    pub(super) memory: Memory,
    setting: Setting,
    read_at: Option<Moment>,
    /// Of the step it is about, where it is about one and compares latencies.
    history: Option<Box<History>>,
}

#[derive(Debug)]
pub(super) enum Engine {
    Share(Share),
    Versus(Box<Versus>),
    Each(Each),
    /// From the first reading, whose count sizes the bets.
    Counts(Option<Ratio>),
    Series {
        /// From the baseline on.
        rank: Option<Rank>,
        /// What it is compared with.
        baseline: Vec<f64>,
    },
    Condition(Condition),
}

/// What there is no data of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Finished probes of green.
    Green,
    /// Finished probes of blue, or blue itself.
    Blue,
    /// Readings of what somebody else measures.
    Reading,
}

/// A tick as an objective sees it.
pub(super) struct Seeing<'a> {
    green_targets: Cow<'a, ArmTick>,
    targets: usize,
    green: TargetTick,
    blue: Option<TargetTick>,
    /// Connections that failed on both arms.
    shared: u64,
}

impl<'a> Seeing<'a> {
    /// A tick of all probes, or of one scenario or step.
    pub(super) fn of(tick: &'a Tick, step: Option<&str>, targets: usize) -> Self {
        let green_targets = tick.green.of(step);
        let green = green_targets.total();
        let blue = tick.blue.as_ref().map(|blue| blue.of(step).total());
        let shared = blue.as_ref().map_or(0, |blue| blue.unconnected().min(green.unconnected()));
        Self { green_targets, targets, green, blue, shared }
    }
}

impl Judged {
    pub(super) fn new(objective: Objective, share: f64, setting: Setting) -> Result<Self, Refused> {
        let engine = match &objective.measure {
            Measure::Share { limits, .. } => Engine::Share(Share::new(setting, *limits)?),
            Measure::Versus { versus, odds, floor } => {
                Engine::Versus(Box::new(Versus::new(setting, *versus, *odds, *floor)?))
            }
            Measure::EachTarget { limits, .. } => Engine::Each(Each::new(setting, *limits)),
            Measure::Counts { .. } => Engine::Counts(None),
            Measure::Series { .. } => Engine::Series { rank: None, baseline: Vec::new() },
            Measure::HealthyTargets { lasting, .. }
            | Measure::Alarms { lasting, .. }
            | Measure::StoppedTasks { lasting, .. } => Engine::Condition(Condition::new(*lasting)),
        };
        let memory = Memory::default();
        let compares = matches!(engine, Engine::Versus(_)) && objective.step.is_some();
        let history = compares.then(Box::default);
        let (bad, total, read_at) = (0, 0, None);
        Ok(Self { objective, share, bad, total, engine, memory, setting, read_at, history })
    }

    /// Remembers what blue's latency was in the step it is about.
    pub(super) fn remember(&mut self, blue: &ArmTick) {
        if let Some(history) = &mut self.history {
            history.add(&blue.of(self.objective.step.as_deref()).total());
        }
    }

    /// Takes over what is no evidence: how long a condition has failed, the baseline of a series.
    pub(super) fn know(&mut self, before: &Self) {
        self.history.clone_from(&before.history);
        match (&mut self.engine, &before.engine) {
            (Engine::Condition(mine), Engine::Condition(theirs)) => {
                mine.clone_from(theirs);
                self.read_at = before.read_at;
            }
            (Engine::Series { rank, baseline }, Engine::Series { baseline: theirs, .. }) => {
                baseline.clone_from(theirs);
                if let Measure::Series { direction, relative, period, .. } = &self.objective.measure
                {
                    let limits = series_limits(*direction, *relative, *period, self.setting);
                    *rank = Rank::new(baseline, limits).ok();
                }
            }
            _ => {}
        }
    }

    /// Takes a tick of probes. The engines refuse only what is no count, which counts are by their types.
    pub(super) fn take(&mut self, tick: &Seeing<'_>, history: &History) -> Result<(), Refused> {
        let history = self.history.as_deref().unwrap_or(history);
        let less = |count: u64| count.saturating_sub(tick.shared);
        let seen = match (&mut self.engine, &self.objective.measure) {
            (Engine::Share(engine), Measure::Share { signal, .. }) => {
                let of = |arm: &TargetTick| (less(arm.bad_for(*signal)), less(arm.judged()));
                let green = of(&tick.green);
                if engine.take(events(green), tick.blue.as_ref().map(|blue| events(of(blue))))? {
                    self.memory.add(green);
                }
                Some(green)
            }
            (Engine::Versus(engine), Measure::Versus { .. }) => match &tick.blue {
                Some(blue) => engine.take(&tick.green, blue, history, tick.shared)?,
                None => None,
            },
            (Engine::Each(engine), Measure::EachTarget { signal, .. }) => {
                let mut shared = tick.shared;
                let targets: Vec<(&str, u64, u64)> = tick
                    .green_targets
                    .targets
                    .iter()
                    .map(|(id, target)| {
                        let aside = shared.min(target.unconnected());
                        shared -= aside;
                        let (bad, all) = (target.bad_for(*signal), target.judged());
                        (id.as_str(), bad.saturating_sub(aside), all.saturating_sub(aside))
                    })
                    .collect();
                engine.take(&targets, tick.targets)?;
                let sum = |(bad, all): (u64, u64), of: &(&str, u64, u64)| (bad + of.1, all + of.2);
                Some(targets.iter().fold((0, 0), sum))
            }
            _ => None,
        };
        if let Some((bad, all)) = seen {
            self.bad += bad;
            self.total += all;
        }
        Ok(())
    }

    /// Takes what somebody else measured. True where it was of use.
    pub(super) fn read(&mut self, seen: &Seen, now: Moment) -> Result<bool, Refused> {
        let taken = match (&mut self.engine, &self.objective.measure) {
            (Engine::Counts(engine), Measure::Counts { counted, limits, .. }) => {
                let counts = match (counted, seen) {
                    (
                        Counted::CloudWatch { .. }
                        | Counted::Counters { .. }
                        | Counted::Sidecars(_),
                        Seen::Counts { bad, all },
                    ) => Some((*bad, *all)),
                    (Counted::Buckets { above, .. }, seen) => seen.above(*above),
                    _ => None,
                };
                let Some((bad, all)) = counts else { return Ok(false) };
                if all > 0.0 {
                    let counting = match engine {
                        Some(ratio) => ratio,
                        None => engine.insert(self.setting.of_size(all).engine(*limits)?),
                    };
                    counting.step(bad, all)?;
                    let (bad, all) = (whole(bad), whole(all));
                    self.memory.add((bad, all));
                    self.bad = self.bad.saturating_add(bad);
                    self.total = self.total.saturating_add(all);
                }
                true
            }
            (
                Engine::Series { rank, baseline },
                Measure::Series { direction, relative, period, .. },
            ) => match (seen, rank.as_mut()) {
                (Seen::Baseline { points }, None) if points.len() >= BASELINE_POINTS_MIN => {
                    let limits = series_limits(*direction, *relative, *period, self.setting);
                    *rank = Some(Rank::new(points, limits)?);
                    baseline.clone_from(points);
                    true
                }
                (Seen::Point { value: Some(value) }, Some(rank)) => {
                    rank.step(*value)?;
                    self.total += 1;
                    true
                }
                (_, None | Some(_)) => false,
            },
            (Engine::Condition(condition), Measure::Alarms { names, .. }) => {
                if let Seen::Alarms { alarms } = seen {
                    condition.alarms(names, alarms, now);
                }
                matches!(seen, Seen::Alarms { .. })
            }
            (Engine::Condition(condition), Measure::StoppedTasks { at_most, .. }) => {
                if let Seen::Stopped { count, tasks } = seen {
                    condition.stopped(*at_most, *count, tasks, now);
                }
                matches!(seen, Seen::Stopped { .. })
            }
            _ => false,
        };
        if taken {
            self.read_at = Some(now);
        }
        Ok(taken)
    }

    /// Looks at what the load balancer says of green.
    pub(super) fn health(&mut self, green: &[Target], now: Moment) {
        if let (Engine::Condition(condition), Measure::HealthyTargets { at_least, .. }) =
            (&mut self.engine, &self.objective.measure)
            && condition.health(green, *at_least, now)
        {
            self.read_at = Some(now);
        }
    }

    /// Whether it is a series that knows what it is compared with.
    pub(crate) fn has_baseline(&self) -> bool {
        matches!(&self.engine, Engine::Series { rank: Some(_), .. })
    }

    /// Evidence so far; none of a condition, which is no statistic.
    pub fn evidence(&self) -> Evidence {
        match &self.engine {
            Engine::Share(engine) => engine.evidence(),
            Engine::Versus(engine) => engine.evidence(),
            Engine::Each(engine) => engine.evidence(),
            Engine::Counts(Some(ratio)) => ratio.evidence(),
            Engine::Series { rank: Some(rank), .. } => rank.evidence(),
            Engine::Series { rank: None, .. } => {
                Evidence { rollback: 0.0, keep: f64::NEG_INFINITY }
            }
            Engine::Counts(None) | Engine::Condition(_) => Evidence::NONE,
        }
    }

    /// What the evidence says of this objective by itself. Those that decide share α, so that one that is
    /// Broken has rolled the release back.
    pub fn verdict(&self) -> Verdict {
        if let Engine::Condition(condition) = &self.engine {
            return condition.verdict();
        }
        let evidence = self.evidence();
        let rates = self.setting.rates;
        if self.share.ln() + evidence.rollback >= (1.0 / rates.false_rollback).ln() {
            Verdict::Broken
        } else if self.total > 0 && evidence.keep >= (1.0 / rates.false_continue).ln() {
            Verdict::Kept
        } else {
            Verdict::Unknown
        }
    }

    /// Whether blue breaks this objective too, so that green is held to blue.
    pub fn blue_is_broken(&self) -> bool {
        matches!(&self.engine, Engine::Share(share) if share.blue_is_broken())
    }

    /// Ticks that were judged beside a broken blue alone.
    pub(super) fn aside_ticks(&self) -> u64 {
        if let Engine::Share(share) = &self.engine { share.aside } else { 0 }
    }

    /// The target with the most evidence against it, where each is judged on its own.
    pub(super) fn suspect(&self) -> Option<Suspect> {
        if let Engine::Each(each) = &self.engine { each.suspect() } else { None }
    }

    /// A condition that was seen before gate was away is too old to go by.
    pub(super) fn forget_condition(&mut self, now: Moment) {
        if let Engine::Condition(condition) = &mut self.engine {
            condition.forget(now);
        }
    }

    /// What it has no data of, and for how long, of data that is waited for since `awaits`.
    pub(super) fn missing(
        &self,
        now: Moment,
        awaits: Moment,
        silence: Silence,
    ) -> Option<(Missing, Duration)> {
        if let Some(patience) = self.objective.measure.patience() {
            let waited = now.since(self.read_at.map_or(awaits, |at| at.max(awaits)));
            return (waited >= patience).then_some((Missing::Reading, waited));
        }
        if silence.green >= NO_DATA_AFTER {
            return Some((Missing::Green, silence.green));
        }
        if !matches!(self.engine, Engine::Versus(_)) {
            return None;
        }
        let silent = silence.blue.unwrap_or_else(|| now.since(awaits));
        (silent >= NO_DATA_AFTER).then_some((Missing::Blue, silent))
    }

    /// What is said where that is missing. Without blue there is nothing to compare with, which is no fault
    /// of green's: a comparison is let go of, unless its own rule says otherwise.
    pub(super) fn rule(&self, missing: Missing, policys: Answer) -> Answer {
        let default = if missing == Missing::Blue { Answer::Continue } else { policys };
        self.objective.no_data.unwrap_or(default)
    }

    pub(super) const fn setting(&self) -> Setting {
        self.setting
    }
}

fn series_limits(
    direction: Direction,
    relative: f64,
    period: Duration,
    setting: Setting,
) -> RankLimits {
    RankLimits {
        direction,
        relative,
        horizon_points: setting.points_of(period),
        points_min: SERIES_POINTS_MIN,
        ..RankLimits::default()
    }
}

impl Setting {
    fn engine(&self, limits: Limits) -> Result<Ratio, Refused> {
        Ratio::new(self.ratio(limits))
    }
}
