//! One target judged for ever, without a question and without blue: what a sidecar does.
//!
//! Evidence comes in windows, as in a watch: the `k`th may spend `6/(π²k²)` of α, so that a healthy target is
//! called Broken with probability α at most, however long this lasts. Within a window:
//!
//! - **Broken** once that is proven, until Kept is. Meanwhile windows spend nothing, for the target cannot be
//!   called Broken again; whenever they prove it once more, or turn against Kept, evidence begins afresh. So
//!   a target that is whole again has no past to make up for.
//! - **Kept** once that is proven, after `at-least`. It stands until a window ends without a proof.
//! - **Unknown** at first, where there is no data, and after a window that proved nothing. A window most of
//!   whose ticks gate itself could not measure leaves Unknown whatever was before, Broken included.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::recent::Recent;
use super::{reason, watching::window_rate};
use crate::deployment::Target;
use crate::evidence::{ErrorRates, Refused};
use crate::judge::{Judge, Judged, Scope, Silence, Standing, faults};
use crate::moment::Moment;
use crate::plan::Plan;
use crate::policy::{During, Measure, Objective, Policy, Watch};
use crate::report::ObjectiveReport;
use crate::sample::Outcome;
use crate::tick::{Cumulative, TargetTick, Tick};
use crate::units::spell;
use crate::verdict::Verdict;

/// The judging of one target.
#[derive(Debug)]
pub struct Continuous {
    file: String,
    policy: Policy,
    watch: Watch,
    state: State,
    /// The verdict on each objective, in their order: as lasting as that on all of them.
    verdicts: Vec<Verdict>,
    now: Moment,
    next_tick: u64,
    silence: Silence,
    window: Window,
    recent: Recent,
    counted: Cumulative,
    counted_since: Moment,
}

/// Judged probes after which the snapshot counts from zero again, so that no bucket of its histogram is ever full.
const COUNTED_MAX: u64 = 1 << 31;

/// What is held of the target now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Of all objectives that decide, together.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Since when that is the verdict.
    pub since: Moment,
}

/// Evidence under way.
#[derive(Debug)]
struct Window {
    judge: Judge,
    number: u32,
    ticks: u64,
    judged_ticks: u64,
    trouble_ticks: u64,
    /// It was proven one way or the other.
    proven: bool,
    outcomes: BTreeMap<Outcome, u64>,
    statuses: BTreeMap<u16, u64>,
}

/// A policy by which no single target can be judged.
#[derive(Debug, thiserror::Error)]
pub enum Unjudgeable {
    /// Nothing is left of it.
    #[error(
        "no objective of it that decides can be proven kept by probing one target: it needs `errors`, `latency` or `slo` against a limit of its own, not only `during: question`"
    )]
    NothingLeft,
    /// A function cannot be invoked by its URL.
    #[error(
        "it invokes a Lambda function (`lambda`), and a static target is an address: write `http`, `grpc` or another protocol"
    )]
    Function,
    /// No window is long enough to prove a target kept.
    #[error(
        "a window of {} is not longer than `at-least` and `warm-up` ({}), so that nothing would ever be proven kept: make `watch.window` longer",
        spell(*window), spell(*at_least)
    )]
    Window {
        /// Of `watch.window`, or the deadline.
        window: Duration,
        /// With the warm-up.
        at_least: Duration,
    },
    /// Its numbers contradict each other.
    #[error("an objective cannot be judged")]
    Limits(#[source] Refused),
}

/// What was measured of late, and what is held of it.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// File of the policy.
    pub policy: String,
    /// Of all objectives that decide, together.
    pub verdict: Verdict,
    /// Why, in one sentence.
    pub reason: String,
    /// Each objective, of the window in force.
    pub objectives: Vec<ObjectiveReport>,
    /// The window of evidence in force, from 1.
    pub window: u32,
    /// Ticks measured.
    pub ticks: u64,
    /// Those of them that gate itself could not measure, and that bear no evidence.
    pub gate_trouble_ticks: u64,
    /// Time in them that the quota of gate's own container kept it from its CPU.
    pub throttled_millis: u64,
    /// Probes due.
    pub probes: u32,
    /// Everything else of them, as a tick has it: histograms are HDR V2 in base64, of microseconds.
    #[serde(flatten)]
    pub seen: TargetTick,
    /// What bore evidence since the counting began, however long ago: for who takes differences.
    pub counted: Cumulative,
}

impl Continuous {
    /// Judging by a policy, with no evidence yet, and what of the policy it has to let go of.
    ///
    /// # Errors
    /// Nothing of the policy that decides can be judged so.
    pub fn new(file: &str, mut policy: Policy) -> Result<(Self, Vec<String>), Unjudgeable> {
        if policy.probe.script.invokes() {
            return Err(Unjudgeable::Function);
        }
        let mut warnings = Vec::new();
        policy.objectives.retain(|objective| match let_go_of(objective) {
            Some(why) => {
                warnings.push(format!("`{}` is let go of: {why}", objective.name));
                false
            }
            None => objective.during != During::Question,
        });
        let proves = |o: &Objective| !o.observe && o.measure.can_continue();
        if !policy.objectives.iter().any(proves) {
            return Err(Unjudgeable::NothingLeft);
        }
        let (false_rollback, window) = (policy.decide.rates.false_rollback, policy.decide.deadline);
        let watch = policy.watch.unwrap_or(Watch { false_rollback, window });
        // Kept is proven within one window or never, and only Kept ends Broken.
        let at_least = policy.decide.at_least + policy.probe.warm_up;
        if watch.window < at_least + policy.decide.tick {
            return Err(Unjudgeable::Window { window: watch.window, at_least });
        }
        let judge = judge(&policy, watch, 1, Moment::ZERO).map_err(Unjudgeable::Limits)?;
        let state = State {
            verdict: Verdict::Unknown,
            reason: "nothing is proven yet: the judging has just begun".to_owned(),
            since: Moment::ZERO,
        };
        let continuous = Self {
            file: file.to_owned(),
            recent: Recent::new(policy.decide.tick),
            verdicts: vec![Verdict::Unknown; judge.objectives().len()],
            policy,
            watch,
            state,
            now: Moment::ZERO,
            next_tick: 0,
            silence: Silence::of(false),
            window: Window::new(judge, 1),
            counted: Cumulative::default(),
            counted_since: Moment::ZERO,
        };
        Ok((continuous, warnings))
    }

    /// What is to be probed.
    pub fn plan(&self, seed: u64, target: Target) -> Plan {
        self.policy.plan(seed, 0, vec![target], Vec::new())
    }

    /// Length of a tick.
    pub fn tick(&self) -> Duration {
        self.policy.decide.tick
    }

    /// Whether the policy only observes, so that nothing may follow from a verdict.
    pub fn observes(&self) -> bool {
        self.policy.observe
    }

    /// What is held of the target now.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Each objective with what is held of it now; its evidence is that of the window in force.
    pub fn judged(&self) -> impl Iterator<Item = (&Judged, Verdict)> {
        self.window.judge.objectives().iter().zip(self.verdicts.iter().copied())
    }

    /// Since when measurements of the snapshot count.
    pub fn measured_since(&self) -> Moment {
        self.recent.began()
    }

    /// Since when probes are counted that the snapshot has as `counted`.
    pub const fn counted_since(&self) -> Moment {
        self.counted_since
    }

    /// What was measured of late, and what is held of it.
    pub fn snapshot(&self) -> Snapshot {
        let recent = self.recent.total();
        Snapshot {
            policy: self.file.clone(),
            verdict: self.state.verdict,
            reason: self.state.reason.clone(),
            objectives: self
                .judged()
                .map(|(judged, verdict)| ObjectiveReport { verdict, ..ObjectiveReport::of(judged) })
                .collect(),
            window: self.window.number,
            ticks: recent.ticks,
            gate_trouble_ticks: recent.trouble_ticks,
            throttled_millis: recent.throttled_millis,
            probes: recent.seen.due,
            seen: recent.seen,
            counted: self.counted.clone(),
        }
    }

    /// Whether gate itself could not measure in this tick.
    pub fn is_gates_trouble(&self, tick: &Tick) -> bool {
        tick.is_gates_trouble(self.policy.decide.tick)
    }

    /// Takes a tick that closed `at`. The new state, where the verdict is another.
    pub fn take(&mut self, tick: &Tick, at: Moment) -> Option<&State> {
        self.now = self.now.max(at);
        if tick.index < self.next_tick {
            return None;
        }
        self.next_tick = tick.index.saturating_add(1);
        let (total, trouble) = (tick.green.total(), self.is_gates_trouble(tick));
        self.recent.add(&total, tick.throttled_millis, trouble, self.now);
        let length = self.policy.decide.tick;
        let warm_up = self.policy.probe.warm_up.as_millis().div_ceil(length.as_millis().max(1));
        if u128::from(tick.index) < warm_up {
            return None;
        }
        let before = self.state.verdict;
        self.window.ticks += 1;
        if trouble {
            // This says something about gate, nothing about the target.
            self.window.trouble_ticks += 1;
        } else {
            if total.judged() > 0 {
                self.silence.green = Duration::ZERO;
            } else if total.due > 0 {
                self.silence.green += length;
            }
            self.count(&total);
            self.window.take(tick, &total, self.now);
            self.note_verdicts();
            self.conclude();
        }
        if self.window.ticks >= self.policy.ticks_in(self.watch.window) {
            self.close_window();
        }
        (self.state.verdict != before).then_some(&self.state)
    }

    fn count(&mut self, total: &TargetTick) {
        if self.counted.judged >= COUNTED_MAX {
            (self.counted, self.counted_since) = (Cumulative::default(), self.now);
        }
        self.counted.add(total);
    }

    fn conclude(&mut self) {
        let length = self.policy.decide.tick;
        let ticks = u32::try_from(self.window.judged_ticks).unwrap_or(u32::MAX);
        let seen = length.saturating_mul(ticks);
        let enough = seen >= self.policy.decide.at_least;
        let judge = &self.window.judge;
        let broken = self.state.verdict == Verdict::Broken;
        let is_new = !self.window.proven || self.state.verdict != Verdict::Kept;
        match judge.standing(self.now, self.silence, enough) {
            Standing::Rollback { objective, .. } => {
                let Some(judged) = judge.objective(objective) else { return };
                let faults = self.window.faults();
                let reason = reason::broken_by(judge, judged, &faults);
                // Together they may prove what none of them proves alone.
                if let Some(held) = self.verdicts.get_mut(objective) {
                    *held = Verdict::Broken;
                }
                self.hold(Verdict::Broken, reason);
                // Nothing more can be spent while it is Broken: the same window once more.
                self.open(self.window.number);
            }
            Standing::Continue if is_new => {
                let reason = reason::kept(judge, &self.policy, seen, (self.now, self.silence));
                self.hold(Verdict::Kept, reason);
                if broken {
                    self.forget_verdicts();
                    // It can be called Broken again, which has to be paid for.
                    self.open(self.window.number.saturating_add(1));
                }
                self.window.proven = true;
            }
            // Whatever its rule for `no-data`: only proof breaks a target.
            Standing::NoData { time, .. } if !broken => {
                let faults = self.window.faults();
                let faults = if faults.is_empty() { faults } else { format!(": {faults}") };
                self.hold(
                    Verdict::Unknown,
                    format!("no data: no probe finished for {}{faults}", spell(time)),
                );
            }
            Standing::Watch if broken && self.turned_against() => self.open(self.window.number),
            Standing::Continue | Standing::NoData { .. } | Standing::Watch => {}
        }
    }

    /// Whether the evidence that the target is kept has fallen as far as it would have to rise.
    fn turned_against(&self) -> bool {
        let needed = (1.0 / self.policy.decide.rates.false_continue).ln();
        self.window.judge.evidence().keep <= -needed
    }

    /// Takes over what the window in force proves of each objective.
    fn note_verdicts(&mut self) {
        for (held, judged) in self.verdicts.iter_mut().zip(self.window.judge.objectives()) {
            match judged.verdict() {
                Verdict::Unknown => {}
                proven @ (Verdict::Kept | Verdict::Broken) => *held = proven,
            }
        }
    }

    /// Leaves only what the window in force proves of each objective.
    fn forget_verdicts(&mut self) {
        for (held, judged) in self.verdicts.iter_mut().zip(self.window.judge.objectives()) {
            *held = judged.verdict();
        }
    }

    /// The window is full: what it did not prove no longer stands.
    fn close_window(&mut self) {
        let Window { number, ticks, trouble_ticks, proven, .. } = self.window;
        let broken = self.state.verdict == Verdict::Broken;
        let blind = trouble_ticks.saturating_mul(2) > ticks;
        if blind {
            self.verdicts.fill(Verdict::Unknown);
            self.hold(
                Verdict::Unknown,
                format!(
                    "gate itself could not measure in {trouble_ticks} of {ticks} ticks (short of CPU or sockets), which says nothing about the target"
                ),
            );
        } else if !broken && !proven {
            self.hold(
                Verdict::Unknown,
                format!(
                    "not proven either way within {}{}",
                    spell(self.watch.window),
                    self.window.judge.least_sure().map_or_else(String::new, |judged| format!(
                        "; least sure of `{}`: {}",
                        judged.objective.name,
                        crate::judge::sentence(judged)
                    ))
                ),
            );
        }
        if !broken && !blind {
            self.forget_verdicts();
        }
        let spends = !broken || blind;
        self.open(if spends { number.saturating_add(1) } else { number });
    }

    /// Begins evidence anew. A policy that could be judged once can be judged again.
    fn open(&mut self, number: u32) {
        if let Ok(judge) = judge(&self.policy, self.watch, number, self.now) {
            self.window = Window::new(judge, number);
        }
    }

    fn hold(&mut self, verdict: Verdict, reason: String) {
        if self.state.verdict != verdict {
            self.state.since = self.now;
        }
        self.state.verdict = verdict;
        self.state.reason = reason;
    }
}

impl Window {
    fn new(judge: Judge, number: u32) -> Self {
        Self {
            judge,
            number,
            ticks: 0,
            judged_ticks: 0,
            trouble_ticks: 0,
            proven: false,
            outcomes: BTreeMap::new(),
            statuses: BTreeMap::new(),
        }
    }

    fn take(&mut self, tick: &Tick, total: &TargetTick, now: Moment) {
        for (&outcome, &count) in &total.outcomes {
            *self.outcomes.entry(outcome).or_default() += u64::from(count);
        }
        for (&status, &count) in &total.statuses {
            *self.statuses.entry(status).or_default() += u64::from(count);
        }
        let judged = self.judge.take(tick, now);
        // As in a run: at a low rate most ticks hold no probe, and are observed all the same.
        let idle = self.judged_ticks > 0 && total.due == 0;
        self.judged_ticks += u64::from(judged > 0 || idle);
    }

    /// `11 × status 503, 2 × timeout`, or nothing.
    fn faults(&self) -> String {
        let statuses = self.statuses.iter().map(|(&status, &count)| (status, count));
        faults(statuses, self.outcomes.iter().map(|(&outcome, &count)| (outcome, count)))
    }
}

/// A judge for the `number`th window. What was measured is kept apart, of a time of its own.
fn judge(policy: &Policy, watch: Watch, number: u32, began: Moment) -> Result<Judge, Refused> {
    let false_rollback = window_rate(watch.false_rollback, number);
    let rates = ErrorRates { false_rollback, ..policy.decide.rates };
    let horizon_ticks = policy.ticks_in(watch.window);
    let scope = Scope { during: During::Watch, rates, horizon_ticks, began };
    Ok(Judge::new(policy, scope)?.of_targets(1).without_numbers())
}

/// Why an objective cannot be judged beside a single target.
fn let_go_of(objective: &Objective) -> Option<&'static str> {
    match objective.measure {
        Measure::Share { .. } | Measure::EachTarget { .. } => None,
        Measure::Versus { .. } => Some("a static target has no blue to compare with"),
        Measure::Counts { .. }
        | Measure::Series { .. }
        | Measure::HealthyTargets { .. }
        | Measure::Alarms { .. }
        | Measure::StoppedTasks { .. } => {
            Some("nothing is read for a static target, it is only probed")
        }
    }
}
