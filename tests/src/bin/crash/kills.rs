//! Where gate is killed, and how often each place was hit.

use std::collections::BTreeMap;
use std::fmt;

use tests::cloud::Stage;
use tests::seeded::Seeded;

use crate::hook::Cut;

const ANSWER: &str = "PutLifecycleEventHookExecutionStatus";

/// A place to kill at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kill {
    /// A point of gate's own (`gate/src/crash.rs`), the n-th time of at most this many.
    Point(&'static str, u64),
    /// In the middle of a call of AWS.
    Call(&'static str, Stage),
    /// In the middle of a hook.
    Hook(Cut),
    /// While it starts.
    Starting,
    /// Whenever.
    Moment,
}

/// Every place there is.
pub const ALL: [Kill; 29] = [
    Kill::Point("accepted-unwritten", 2),
    Kill::Point("accepted-written", 2),
    Kill::Point("fact-unwritten", 4),
    Kill::Point("fact-written", 4),
    Kill::Point("tick-unwritten", 40),
    Kill::Point("tick-written", 40),
    Kill::Point("decision-unwritten", 3),
    Kill::Point("decision-written", 3),
    Kill::Point("answer-unsent", 3),
    Kill::Point("confirmed-unwritten", 3),
    Kill::Point("confirmed-written", 3),
    Kill::Point("closed-unwritten", 3),
    Kill::Point("closed-written", 3),
    Kill::Point("resumed-unwritten", 3),
    Kill::Point("resumed-written", 3),
    Kill::Call(ANSWER, Stage::Asked),
    Kill::Call(ANSWER, Stage::Done),
    Kill::Call(ANSWER, Stage::Replied),
    Kill::Call("GetDeployment", Stage::Asked),
    Kill::Call("DescribeTargetHealth", Stage::Done),
    Kill::Call("ReceiveMessage", Stage::Done),
    Kill::Call("ReceiveMessage", Stage::Replied),
    Kill::Call("DeleteMessage", Stage::Asked),
    Kill::Call("DeleteMessage", Stage::Done),
    Kill::Hook(Cut::Half),
    Kill::Hook(Cut::Sent),
    Kill::Hook(Cut::Acknowledged),
    Kill::Starting,
    Kill::Moment,
];

impl fmt::Display for Kill {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Point(name, _) => write!(f, "{name}"),
            Self::Call(operation, stage) => write!(f, "{operation} {stage:?}"),
            Self::Hook(cut) => write!(f, "hook {cut:?}"),
            Self::Starting => write!(f, "starting"),
            Self::Moment => write!(f, "any moment"),
        }
    }
}

/// So many kills, each kind as often as the others, in any order.
pub fn order(kills: u32, seeded: &mut Seeded) -> Vec<Kill> {
    let mut order = Vec::new();
    while order.len() < kills as usize {
        let mut round = ALL;
        seeded.shuffle(&mut round);
        order.extend(round);
    }
    order.truncate(kills as usize);
    order
}

/// How often each place was hit.
#[derive(Clone, Debug)]
pub struct Hits(BTreeMap<String, u32>);

impl Default for Hits {
    fn default() -> Self {
        Self(ALL.iter().map(|kill| (kill.to_string(), 0)).collect())
    }
}

impl Hits {
    /// One more.
    pub fn hit(&mut self, kill: Kill) {
        *self.0.entry(kill.to_string()).or_default() += 1;
    }

    /// All of them.
    pub fn total(&self) -> u32 {
        self.0.values().sum()
    }

    /// What was never hit.
    pub fn missed(&self) -> Vec<&str> {
        self.0.iter().filter(|(_, times)| **times == 0).map(|(name, _)| name.as_str()).collect()
    }
}

impl fmt::Display for Hits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "killed at:")?;
        for (name, times) in &self.0 {
            write!(f, "\n  {times:>4}  {name}")?;
        }
        Ok(())
    }
}
