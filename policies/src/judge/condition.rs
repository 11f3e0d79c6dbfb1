//! Conditions: no statistics, but something that must be true when a release continues.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::deployment::{HEALTHY, NOT_IN_USE, Target};
use crate::moment::Moment;
use crate::plan::clipped;
use crate::reading::{AlarmState, StoppedTask};
use crate::units::percent;
use crate::verdict::Verdict;

/// One condition.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    lasting: Duration,
    state: State,
    failing_since: Option<Moment>,
    /// The newest look: what failed then is not known to fail since.
    looked: Moment,
    /// What was seen last, in words.
    pub(super) seen: String,
    /// Tasks that stopped by themselves.
    pub(super) stopped: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Holds,
    Fails,
    Unknown,
}

impl Condition {
    pub(super) fn new(lasting: Duration) -> Self {
        let seen = "nothing was read yet".to_owned();
        let (state, looked) = (State::Unknown, Moment::ZERO);
        Self { lasting, state, failing_since: None, looked, seen, stopped: 0 }
    }

    /// What was seen is too old to go by.
    pub(super) fn forget(&mut self, now: Moment) {
        self.becomes(State::Unknown, now);
    }

    /// Looks at what the load balancer says of green's tasks. True where it said anything.
    pub(super) fn health(&mut self, green: &[Target], at_least: f64, now: Moment) -> bool {
        let said: Vec<&str> = green.iter().filter_map(Target::health_state).collect();
        if said.is_empty() {
            "no load balancer says anything of green".clone_into(&mut self.seen);
            self.becomes(State::Unknown, now);
            return false;
        }
        let in_use = said.iter().filter(|state| **state != NOT_IN_USE).count();
        let healthy = said.iter().filter(|state| **state == HEALTHY).count();
        if in_use == 0 {
            // Normal before test traffic: there is nothing that could be unhealthy.
            "green is not in use yet, so the load balancer does not check it"
                .clone_into(&mut self.seen);
            self.becomes(State::Holds, now);
            return true;
        }
        let size = |of: usize| f64::from(u32::try_from(of).unwrap_or(u32::MAX));
        let share = size(healthy) / size(in_use);
        self.seen = format!("{healthy} of {in_use} targets healthy ({})", percent(share));
        self.becomes(if share >= at_least { State::Holds } else { State::Fails }, now);
        true
    }

    /// Looks at alarms.
    pub(super) fn alarms(
        &mut self,
        names: &[String],
        alarms: &BTreeMap<String, AlarmState>,
        now: Moment,
    ) {
        let of = |wanted: AlarmState| -> Vec<&str> {
            let state = |name: &String| alarms.get(name).copied().unwrap_or(AlarmState::Unknown);
            names.iter().filter(|name| state(name) == wanted).map(String::as_str).collect()
        };
        let (red, before, unknown) =
            (of(AlarmState::Alarm), of(AlarmState::AlarmBefore), of(AlarmState::Unknown));
        let mut said = Vec::new();
        for (names, what) in [
            (&red, "red"),
            (&before, "red since before the deployment, which says nothing about it"),
            (&unknown, "without a state"),
        ] {
            if !names.is_empty() {
                said.push(format!("{}: {what}", names.join(", ")));
            }
        }
        self.seen = if said.is_empty() { "no alarm is red".to_owned() } else { said.join("; ") };
        let state = if !red.is_empty() {
            State::Fails
        } else if !unknown.is_empty() {
            State::Unknown
        } else {
            State::Holds
        };
        self.becomes(state, now);
    }

    /// Looks at tasks that stopped by themselves.
    pub(super) fn stopped(&mut self, at_most: u32, count: u32, tasks: &[StoppedTask], now: Moment) {
        self.stopped = count;
        self.seen = match count {
            0 => "no task of green stopped by itself".to_owned(),
            count => {
                let what = match count {
                    1 => "1 task of green stopped by itself".to_owned(),
                    _ => format!("{count} tasks of green stopped by themselves"),
                };
                let told: Vec<String> = tasks.iter().map(ended).collect();
                let colon = if told.is_empty() { "" } else { ": " };
                clipped(&format!("{what}{colon}{}", told.join("; ")))
            }
        };
        self.becomes(if count > at_most { State::Fails } else { State::Holds }, now);
    }

    fn becomes(&mut self, state: State, now: Moment) {
        (self.state, self.looked) = (state, now);
        self.failing_since = match state {
            State::Fails => Some(self.failing_since.unwrap_or(now)),
            State::Holds | State::Unknown => None,
        };
    }

    /// Broken once it was seen to fail for long enough, Kept while it holds, else Unknown (design.md §6). By looks, not
    /// by the time since: where AWS does not let gate look, nothing is known.
    pub(super) fn verdict(&self) -> Verdict {
        match (self.state, self.failing_for()) {
            (State::Holds, _) => Verdict::Kept,
            (State::Fails, Some(failing)) if failing >= self.lasting => Verdict::Broken,
            (State::Fails | State::Unknown, _) => Verdict::Unknown,
        }
    }

    /// For how long it was seen to fail.
    pub(super) fn failing_for(&self) -> Option<Duration> {
        self.failing_since.map(|since| self.looked.since(since))
    }
}

/// `web exited with 1 (Essential container in task exited)`, in one line.
fn ended(task: &StoppedTask) -> String {
    let container = if task.container.is_empty() { "a task" } else { task.container.as_str() };
    let how = match task.exit_code {
        Some(code) => format!("exited with {code}"),
        None => "stopped without an exit code".to_owned(),
    };
    let words: Vec<&str> = task.reason.split(|c: char| c.is_control() || c == ' ').collect();
    let reason = words.join(" ");
    if reason.is_empty() {
        format!("{container} {how}")
    } else {
        format!("{container} {how} ({reason})")
    }
}
