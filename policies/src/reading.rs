//! What somebody else measured: CloudWatch, the service's own metrics, the load balancer, alarms.
//!
//! The shell reads and reports; whether a reading counts is decided by the judge.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One reading for one objective.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reading {
    /// Name of the objective it is for.
    pub objective: String,
    /// When the time it covers began, in milliseconds from the acceptance of the question; negative for
    /// what was before.
    pub began_millis: i64,
    /// What was read.
    pub seen: Seen,
}

/// What was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Seen {
    /// Events of one period.
    Counts {
        /// Bad ones.
        bad: f64,
        /// All of them.
        all: f64,
    },
    /// Events of one period in a histogram, as Prometheus has it: cumulative counts.
    Buckets {
        /// Upper bound in seconds and the events at most that long, in ascending order.
        cumulative: Vec<(f64, f64)>,
        /// All events, those above the last bound included.
        all: f64,
    },
    /// One point of a series.
    Point {
        /// Its value; `None` where there was none, which is no zero.
        value: Option<f64>,
    },
    /// Points of a series from before the deployment, or of blue, to compare with.
    Baseline {
        /// Their values.
        points: Vec<f64>,
    },
    /// The state of alarms.
    Alarms {
        /// Name → state.
        alarms: BTreeMap<String, AlarmState>,
    },
    /// Green's tasks that stopped by themselves since the question was accepted.
    Stopped {
        /// How many.
        count: u32,
        /// The first of them.
        tasks: Vec<StoppedTask>,
    },
}

/// A task that stopped by itself: a container of it ended, or it never started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoppedTask {
    /// The container that ended; empty where none had started.
    pub container: String,
    /// What it ended with, where it ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// ECS's own sentence about it.
    pub reason: String,
}

/// What CloudWatch says of an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AlarmState {
    /// Green.
    Ok,
    /// Red, since the deployment began.
    Alarm,
    /// Red since before the deployment began: no sign against this release.
    AlarmBefore,
    /// Too little data, or no such alarm.
    Unknown,
}

impl Seen {
    /// Whether its numbers can be what they are said to be: finite counts, no more bad ones than all.
    pub fn is_sound(&self) -> bool {
        let is_count = |count: f64| (0.0..f64::INFINITY).contains(&count);
        match self {
            Self::Counts { bad, all } => is_count(*bad) && is_count(*all) && bad <= all,
            Self::Buckets { cumulative, all } => {
                let ascend = cumulative.windows(2).all(|pair| match pair {
                    [one, two] => one.0 < two.0 && one.1 <= two.1,
                    _ => true,
                });
                let counts = cumulative
                    .iter()
                    .all(|(upper, count)| !upper.is_nan() && is_count(*count) && count <= all);
                is_count(*all) && ascend && counts
            }
            Self::Point { value } => value.is_none_or(f64::is_finite),
            Self::Baseline { points } => points.iter().all(|point| point.is_finite()),
            Self::Alarms { .. } | Self::Stopped { .. } => true,
        }
    }

    /// Events of a histogram above a bound, and all: `(bad, all)`. A bucket that holds the bound itself has
    /// the benefit of the doubt. `None` where this is no histogram or has no bound as high.
    pub fn above(&self, bound: Duration) -> Option<(f64, f64)> {
        let Self::Buckets { cumulative, all } = self else { return None };
        let bound = bound.as_secs_f64();
        let within = cumulative.iter().find(|(upper, _)| *upper >= bound)?;
        Some(((all - within.1).max(0.0), *all))
    }
}
