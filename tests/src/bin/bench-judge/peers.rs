//! The rules of other systems, each as its documentation or its source says it decides.
//!
//! None is charged for the delay of metrics or for its own polling: the time shown is the earliest at
//! which the rule, given the probes, could have answered.

use std::collections::VecDeque;

use crate::data::Counts;
use crate::kayenta::Kayenta;

/// How often a rule looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looks {
    /// At the end of each tick.
    EveryTick,
    /// At the end of each minute.
    EveryMinute,
}

/// A rule that can only say "roll back"; as long as it does not, the release goes on.
pub trait Peer {
    /// How often it looks.
    fn looks(&self) -> Looks {
        Looks::EveryMinute
    }

    /// Looks at what came since the last look; whether it rolls back now.
    fn look(&mut self, green: Counts, blue: Counts) -> bool;
}

/// Thresholds of the alarms that were raised until they roll back as rarely as gate promises.
#[derive(Clone, Copy, Debug)]
pub struct Calibrated {
    /// Of 1 of 1 periods.
    pub one: f64,
    /// Of 3 of 3 periods.
    pub three: f64,
}

/// How many rules there are.
pub const PEERS: usize = 10;

/// What the rules are called, in the order of [`all`].
pub const NAMES: [&str; PEERS] = [
    "CloudWatch 1 of 1",
    "CloudWatch 3 of 3",
    "CloudWatch 1 of 1, calibrated",
    "CloudWatch 3 of 3, calibrated",
    "Argo, failureLimit 0",
    "Argo, failureLimit 3",
    "Flagger, threshold 1",
    "Flagger, threshold 5",
    "Kayenta, every minute",
    "naive estimate, every tick",
];

/// Places of the calibrated alarms in [`NAMES`].
pub const CALIBRATED: [usize; 2] = [2, 3];

/// Fresh rules, for an objective of at most `limit` bad.
pub fn all(limit: f64, calibrated: Calibrated) -> [Box<dyn Peer>; PEERS] {
    [
        Box::new(CloudWatch::new(limit, 1, 1)),
        Box::new(CloudWatch::new(limit, 3, 3)),
        Box::new(CloudWatch::new(calibrated.one, 1, 1)),
        Box::new(CloudWatch::new(calibrated.three, 3, 3)),
        Box::new(Argo { limit, failure_limit: 0, failed: 0 }),
        Box::new(Argo { limit, failure_limit: 3, failed: 0 }),
        Box::new(Flagger { limit, threshold: 1, failed_checks: 0 }),
        Box::new(Flagger { limit, threshold: 5, failed_checks: 0 }),
        Box::new(Kayenta::default()),
        Box::new(Naive { limit, so_far: Counts::default() }),
    ]
}

/// An alarm on the error rate of 60 s periods: ALARM where `breaching` of the last `periods` breach.
#[derive(Debug)]
pub struct CloudWatch {
    threshold: f64,
    breaching: usize,
    recent: VecDeque<bool>,
    periods: usize,
}

impl CloudWatch {
    /// `breaching` of `periods` above `threshold`.
    pub fn new(threshold: f64, breaching: usize, periods: usize) -> Self {
        Self { threshold, breaching, recent: VecDeque::new(), periods }
    }
}

impl Peer for CloudWatch {
    fn look(&mut self, green: Counts, _: Counts) -> bool {
        if self.recent.len() == self.periods {
            self.recent.pop_front();
        }
        self.recent.push_back(green.share() > self.threshold);
        self.recent.iter().filter(|&&breaching| breaching).count() >= self.breaching
    }
}

/// An Argo Rollouts analysis with `interval: 1m`: Failed once more than `failure_limit` measurements
/// have failed, in a row or not.
#[derive(Debug)]
struct Argo {
    limit: f64,
    failure_limit: u32,
    failed: u32,
}

impl Peer for Argo {
    fn look(&mut self, green: Counts, _: Counts) -> bool {
        self.failed += u32::from(green.share() > self.limit);
        self.failed > self.failure_limit
    }
}

/// A Flagger canary with `interval: 1m`: failed checks are counted after the test for the threshold,
/// so it rolls back one interval after the last failure.
#[derive(Debug)]
struct Flagger {
    limit: f64,
    threshold: u32,
    failed_checks: u32,
}

impl Peer for Flagger {
    fn look(&mut self, green: Counts, _: Counts) -> bool {
        let rolls_back = self.failed_checks >= self.threshold;
        self.failed_checks += u32::from(green.share() > self.limit);
        rolls_back
    }
}

/// What a script does: the error rate since the start, compared with the limit after every tick.
#[derive(Debug)]
struct Naive {
    limit: f64,
    so_far: Counts,
}

impl Peer for Naive {
    fn looks(&self) -> Looks {
        Looks::EveryTick
    }

    fn look(&mut self, green: Counts, _: Counts) -> bool {
        self.so_far.add(green);
        self.so_far.share() > self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The look at which a rule rolls back, counted from 1, given bad probes of 1,200 in each minute and
    /// a limit of 12.
    fn check(mut peer: impl Peer, bad: &[u32], rolls_back_at: Option<usize>) {
        let first = bad
            .iter()
            .position(|&bad| peer.look(Counts { bad, all: 1200 }, Counts { bad: 0, all: 1200 }));
        assert_eq!(first.map(|place| place + 1), rolls_back_at, "{bad:?}");
    }

    #[test]
    fn an_alarm_needs_m_of_the_last_n_above_and_not_at_the_threshold() {
        let alarm = |m, n| CloudWatch::new(0.01, m, n);
        check(alarm(1, 1), &[12, 12, 13], Some(3));
        check(alarm(3, 3), &[13, 13, 12, 13, 13, 13], Some(6));
        check(alarm(3, 3), &[13, 13, 0, 13, 13, 0], None);
        check(alarm(2, 3), &[13, 0, 0, 13, 0, 13], Some(6));
    }

    #[test]
    fn argo_fails_on_one_failure_more_than_its_limit_in_a_row_or_not() {
        let argo = |failure_limit| Argo { limit: 0.01, failure_limit, failed: 0 };
        check(argo(0), &[12, 13], Some(2));
        check(argo(3), &[13, 0, 13, 0, 13, 0, 0, 13], Some(8));
        check(argo(3), &[13, 13, 13, 0, 0, 0], None);
    }

    #[test]
    fn flagger_rolls_back_one_interval_after_the_last_failure_it_tolerates_no_more() {
        let flagger = |threshold| Flagger { limit: 0.01, threshold, failed_checks: 0 };
        check(flagger(1), &[12, 13, 0], Some(3));
        check(flagger(1), &[12, 13], None);
        check(flagger(5), &[13, 13, 13, 13, 13, 13], Some(6));
        check(flagger(5), &[13, 0, 13, 0, 13, 0, 13, 0, 13, 0], Some(10));
    }

    #[test]
    fn the_naive_rule_compares_all_there_was_so_far() {
        let naive = || Naive { limit: 0.01, so_far: Counts::default() };
        check(naive(), &[13], Some(1));
        check(naive(), &[12, 12, 13], Some(3));
        check(naive(), &[0, 24, 12, 13], Some(4));
        assert_eq!(naive().looks(), Looks::EveryTick);
    }
}
