//! One sentence about a signal that must hold.

use std::time::Duration;

use crate::decision::Answer;
use crate::evidence::{Direction, auto_unacceptable};
use crate::units::{exact, exact_percent, spell};

/// One sentence about a signal that must hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Objective {
    /// How it is called everywhere: `errors at most 0.5 %`.
    pub name: String,
    /// What is measured, and what must hold of it.
    pub measure: Measure,
    /// The scenario or step whose probes are measured; `None` for all of them.
    pub step: Option<String>,
    /// Its share of the false-rollback rate, relative to the other objectives.
    pub weight: f64,
    /// Judged and shown, never decides.
    pub observe: bool,
    /// What to say when it has no data; `None` for the policy's rule.
    pub no_data: Option<Answer>,
    /// When it is judged.
    pub during: During,
}

/// When an objective is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum During {
    /// Before the answer.
    Question,
    /// After it, while traffic shifts.
    Watch,
    /// Before and after.
    #[default]
    Both,
}

/// What makes a probe bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It was not answered as expected.
    Errors,
    /// It took longer than this, or got no answer.
    SlowerThan(Duration),
}

/// Two shares that bound an objective: `0 ≤ acceptable < unacceptable < 1`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Limits {
    /// Allowed share of bad events, p0.
    pub acceptable: f64,
    /// Share that must not pass, p1.
    pub unacceptable: f64,
}

/// What is measured, and what must hold of it.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// At most a share of green's probes is bad.
    Share {
        /// What makes a probe bad.
        signal: Signal,
        /// The shares allowed and not.
        limits: Limits,
    },
    /// Green is no worse than blue, probed in the same second.
    Versus {
        /// What makes a pair of probes unequal.
        versus: Versus,
        /// Odds ratio that is still no worse, and the one that must not pass.
        odds: (f64, f64),
        /// Green's own share of bad probes: below it no difference matters.
        floor: Limits,
    },
    /// The same share for every target of green on its own. Can only veto.
    EachTarget {
        /// What makes a probe bad.
        signal: Signal,
        /// The shares allowed and not, at each target.
        limits: Limits,
    },
    /// At most a share of events that somebody else counted is bad.
    Counts {
        /// Who counts what.
        counted: Counted,
        /// The shares allowed and not.
        limits: Limits,
        /// Time that one reading covers.
        period: Duration,
    },
    /// A series of few points is like its baseline. Can only veto.
    Series {
        /// The series.
        metric: Metric,
        /// Which way is bad.
        direction: Direction,
        /// How much worse a point may be, relative to itself: 0.2 for `+20%`.
        relative: f64,
        /// Time that one point covers.
        period: Duration,
    },
    /// This share of green's targets is healthy in the load balancer's eyes: a condition.
    HealthyTargets {
        /// Share, 0 to 1.
        at_least: f64,
        /// Broken once it failed for this long.
        lasting: Duration,
    },
    /// No alarm of these is red that was not red before: a condition.
    Alarms {
        /// Names of CloudWatch alarms.
        names: Vec<String>,
        /// Broken once one was red for this long.
        lasting: Duration,
    },
    /// No more of green's tasks stopped by themselves than these: a condition.
    StoppedTasks {
        /// How many may.
        at_most: u32,
        /// Broken once more had for this long.
        lasting: Duration,
    },
}

/// What makes green's probe, or blue's, count against it when the two are compared.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Versus {
    /// It was not answered as expected.
    Errors,
    /// Green's took longer than `1 + margin` times what blue's quantile was so far, blue's longer than it.
    Latency {
        /// The quantile, 0 to 1.
        quantile: f64,
        /// How much slower green may be: 0.2 for `+20%`.
        margin: f64,
    },
}

/// A CloudWatch metric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metric {
    /// `AWS/ApplicationELB`, …
    pub namespace: String,
    /// `HTTPCode_Target_5XX_Count`, …
    pub name: String,
    /// `Sum`, `Average`, `p99`, …
    pub statistic: String,
    /// Name and value of each dimension; empty for those of green's target group or function.
    pub dimensions: Vec<(String, String)>,
}

/// Events that somebody else counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Counted {
    /// CloudWatch: the sum of one metric as a share of the sum of another.
    CloudWatch {
        /// Bad events.
        bad: Metric,
        /// All events.
        all: Metric,
    },
    /// The service's own counters.
    Counters {
        /// Selector of the counter of bad events.
        bad: String,
        /// Selector of the counter of all events.
        all: String,
    },
    /// The service's own histogram: what lies above a bound is bad.
    Buckets {
        /// Selector of the histogram.
        histogram: String,
        /// The bound.
        above: Duration,
    },
    /// Probes of the sidecars in green's tasks, each of the container beside it.
    Sidecars(Signal),
}

/// Readings that may be missed in a row before an objective has no data.
const READINGS_MISSED_MAX: u32 = 5;
/// No reading is missed sooner than this.
const PATIENCE_MIN: Duration = Duration::from_secs(10);
/// Target health comes with each look at the deployment, every 10 s, and later where many deployments are judged at once: gate makes
/// 5 calls of the load balancers' quota a second, and a hundred deployments of four calls each need 80 s for a round.
const HEALTH_PATIENCE: Duration = Duration::from_secs(150);
/// Alarms are read at most every 30 s, because `DescribeAlarms` is 9 a second for a whole account.
pub const ALARMS_PERIOD: Duration = Duration::from_secs(30);
/// Tasks are listed this often.
pub const TASKS_PERIOD: Duration = Duration::from_secs(15);

impl Signal {
    /// What is said of a bad probe: `bad`, `slower than 250 ms`.
    pub fn of_bad(self) -> String {
        match self {
            Self::Errors => "bad".to_owned(),
            Self::SlowerThan(threshold) => format!("slower than {}", spell(threshold)),
        }
    }
}

impl Measure {
    /// How an objective of this measure is called.
    pub fn name(&self) -> String {
        match self {
            Self::Share { signal, limits } => share_name(*signal, limits.acceptable),
            Self::EachTarget { signal, limits } => {
                format!("{} at each target", share_name(*signal, limits.acceptable))
            }
            Self::Versus { versus: Versus::Errors, odds: (acceptable, _), .. } => {
                let more = acceptable - 1.0;
                if more > 0.0 {
                    format!("errors versus blue at most +{}", exact_percent(more))
                } else {
                    "errors versus blue".to_owned()
                }
            }
            Self::Versus { versus: Versus::Latency { quantile, margin }, .. } => {
                format!(
                    "{} versus blue at most +{}",
                    quantile_name(*quantile),
                    exact_percent(*margin)
                )
            }
            Self::Counts { counted, limits, .. } => match counted {
                Counted::CloudWatch { bad, all } => {
                    format!(
                        "{} of {} at most {}",
                        bad.name,
                        all.name,
                        exact_percent(limits.acceptable)
                    )
                }
                Counted::Counters { bad, all } => {
                    format!("{bad} of {all} at most {}", exact_percent(limits.acceptable))
                }
                Counted::Buckets { histogram, above } => format!(
                    "{} of {histogram} at most {}",
                    quantile_name(1.0 - limits.acceptable),
                    exact(*above)
                ),
                Counted::Sidecars(signal) => sidecars_name(*signal, limits.acceptable),
            },
            Self::Series { metric, direction, relative, .. } => {
                let bound = match direction {
                    Direction::High => format!("at most +{}", exact_percent(*relative)),
                    Direction::Low => format!("at least -{}", exact_percent(*relative)),
                };
                format!("{} {} {bound}", metric.name, metric.statistic)
            }
            Self::HealthyTargets { at_least, .. } => {
                format!("healthy targets at least {}", exact_percent(*at_least))
            }
            Self::Alarms { names, .. } => format!("alarms {}", names.join(", ")),
            Self::StoppedTasks { at_most, .. } => format!("stopped tasks at most {at_most}"),
        }
    }

    /// Whether it can prove a release good; the others can only veto.
    pub const fn can_continue(&self) -> bool {
        matches!(self, Self::Share { .. } | Self::Versus { .. } | Self::Counts { .. })
    }

    /// Whether it is a condition, which spends no error rate and is no statistic (design.md §6).
    pub const fn is_condition(&self) -> bool {
        matches!(
            self,
            Self::HealthyTargets { .. } | Self::Alarms { .. } | Self::StoppedTasks { .. }
        )
    }

    /// For how long a condition must fail to be Broken.
    pub const fn lasting(&self) -> Option<Duration> {
        match self {
            Self::HealthyTargets { lasting, .. }
            | Self::Alarms { lasting, .. }
            | Self::StoppedTasks { lasting, .. } => Some(*lasting),
            Self::Share { .. }
            | Self::Versus { .. }
            | Self::EachTarget { .. }
            | Self::Counts { .. }
            | Self::Series { .. } => None,
        }
    }

    /// For what is read rather than probed: how long without a reading is no data.
    pub fn patience(&self) -> Option<Duration> {
        let period = match self {
            Self::Counts { period, .. } | Self::Series { period, .. } => *period,
            Self::HealthyTargets { .. } => return Some(HEALTH_PATIENCE),
            Self::Alarms { .. } => ALARMS_PERIOD,
            Self::StoppedTasks { .. } => TASKS_PERIOD,
            Self::Share { .. } | Self::Versus { .. } | Self::EachTarget { .. } => return None,
        };
        Some((period * READINGS_MISSED_MAX).max(PATIENCE_MIN))
    }
}

fn share_name(signal: Signal, acceptable: f64) -> String {
    match signal {
        Signal::Errors => format!("errors at most {}", exact_percent(acceptable)),
        Signal::SlowerThan(threshold) => {
            format!("{} at most {}", quantile_name(1.0 - acceptable), exact(threshold))
        }
    }
}

/// `errors of sidecars at most 0.5 %`, `p99 of sidecars at most 250 ms`.
fn sidecars_name(signal: Signal, acceptable: f64) -> String {
    match signal {
        Signal::Errors => format!("errors of sidecars at most {}", exact_percent(acceptable)),
        Signal::SlowerThan(threshold) => {
            let quantile = quantile_name(1.0 - acceptable);
            format!("{quantile} of sidecars at most {}", exact(threshold))
        }
    }
}

/// `p99`, `p99.9`.
pub(crate) fn quantile_name(quantile: f64) -> String {
    let text = format!("{:.4}", quantile * 100.0);
    format!("p{}", text.trim_end_matches('0').trim_end_matches('.'))
}

/// Share of probes that may be slower than a quantile's threshold, free of the rounding in `1 - 0.99`.
pub fn slow_share(quantile: f64) -> f64 {
    ((1.0 - quantile) * 1e12).round() / 1e12
}

/// The shares where a policy names only the allowed one (statistics.md §0).
pub fn auto_limits(
    acceptable: f64,
    false_continue: f64,
    rate_per_second: f64,
    deadline: Duration,
) -> Limits {
    let probes = rate_per_second * deadline.as_secs_f64() / 2.0;
    let unacceptable = auto_unacceptable(acceptable, false_continue, probes);
    Limits { acceptable, unacceptable }
}
