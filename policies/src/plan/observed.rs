//! What AWS is asked about green beside the probes: its metrics of real traffic, its alarms, its tasks.

use std::time::Duration;

use crate::policy::Metric;

/// What one objective wants to know of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Name of the objective.
    pub objective: String,
    /// What is read for it.
    pub what: Observation,
}

/// What is read for an objective.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observation {
    /// Events of each period, as CloudWatch counts them.
    Counts {
        /// Bad ones.
        bad: Metric,
        /// All of them.
        all: Metric,
        /// Length of a period, in whole minutes.
        period: Duration,
    },
    /// A series of points, and once what it was like before the deployment.
    Series {
        /// The series.
        metric: Metric,
        /// Length of a period, in whole minutes.
        period: Duration,
    },
    /// The state of alarms.
    Alarms {
        /// Their names.
        names: Vec<String>,
    },
    /// Tasks of green that stopped by themselves.
    StoppedTasks,
}
