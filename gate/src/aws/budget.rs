//! How often gate makes each call of AWS: a token bucket for each quota that AWS has, of which gate takes a share.
//!
//! Quotas are an account's: what gate used up would be missing to every other program there, to CodeDeploy and ECS
//! too. Pure: whoever asks says what time it is.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Call;

/// Of an account's quotas gate takes this many percent, where the settings say nothing else.
pub(crate) const SHARE_PERCENT: u32 = 50;

/// What an account may do in all: so many calls a second, and so many at once after a pause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    pub(crate) per_second: u32,
    pub(crate) burst: u32,
}

const fn rate(per_second: u32, burst: u32) -> Option<Rate> {
    Some(Rate { per_second, burst })
}

/// The quotas that gate's calls count against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Quota {
    /// Nothing is published. A guess that is low, for each call by itself.
    Unpublished,
    /// An answer or a veto, for which nothing is published either: each by itself, so that no read uses it up.
    Answers,
    /// Every `Describe*` of load balancers together.
    LoadBalancers,
    /// Reads of service deployments.
    ServiceDeployments,
    /// Reads of service revisions.
    ServiceRevisions,
    /// Reads of services.
    Services,
    /// Reads of tasks.
    Tasks,
    /// Protection of tasks. The agent makes that call: it counts against nothing here.
    TaskProtection,
    /// Lambda's control plane, all its calls together.
    Functions,
    /// Invocations. They are probes: the policy says how many, and a throttled one is no evidence.
    Invocations,
    /// `DescribeAlarms`, which CodeDeploy and ECS need as well.
    Alarms,
    /// `GetMetricData`.
    MetricData,
    /// `ListMetrics`.
    Metrics,
    /// Each call of a queue: that of a FIFO queue, for others have none.
    Queue,
    /// Publishing, in the smaller regions.
    Topics,
    /// Parameters of SSM.
    Parameters,
    /// Secrets of Secrets Manager.
    Secrets,
    /// STS.
    Roles,
    /// The table of a shared journal: what it may take is the table's own, and nobody else's.
    Tables,
}

impl Quota {
    /// What AWS publishes, or what is taken for it. `None` where gate does not hold itself back.
    pub(crate) const fn rate(self) -> Option<Rate> {
        match self {
            Self::Unpublished | Self::Answers => rate(20, 100),
            //= https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html
            Self::LoadBalancers => rate(10, 40),
            //= https://docs.aws.amazon.com/AmazonECS/latest/APIReference/request-throttling.html
            Self::ServiceDeployments | Self::ServiceRevisions => rate(20, 50),
            Self::Services | Self::Tasks => rate(20, 100),
            //= https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html
            Self::Functions => rate(15, 15),
            //= https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/cloudwatch_limits.html
            Self::Alarms => rate(9, 9),
            Self::MetricData => rate(50, 50),
            Self::Metrics => rate(25, 25),
            //= https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html
            Self::Queue => rate(300, 300),
            //= https://docs.aws.amazon.com/general/latest/gr/sns.html
            Self::Topics => rate(300, 300),
            //= https://docs.aws.amazon.com/general/latest/gr/ssm.html
            Self::Parameters => rate(40, 40),
            //= https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html
            Self::Secrets => rate(10_000, 10_000),
            Self::Roles => rate(20, 100),
            Self::Invocations | Self::TaskProtection | Self::Tables => None,
        }
    }

    /// Whether all calls against it share one bucket.
    const fn is_shared(self) -> bool {
        !matches!(self, Self::Unpublished | Self::Answers | Self::Queue)
    }
}

/// One bucket, as the moment from which on it is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    full_at: Duration,
}

impl Bucket {
    /// Takes a token: how long to wait before it may be used. Tokens are handed out in order, each once. `None`, and
    /// none is taken, where the wait would be longer than `patience`.
    fn take(
        &mut self,
        (interval, burst): (Duration, u32),
        now: Duration,
        patience: Duration,
    ) -> Option<Duration> {
        let full_at = self.full_at.max(now) + interval;
        let wait = full_at.saturating_sub(now + interval * burst);
        if wait > patience {
            return None;
        }
        self.full_at = full_at;
        Some(wait)
    }
}

/// The budgets of one account in one region, shared by everything in this process that calls AWS there.
#[derive(Debug)]
pub(crate) struct Budgets {
    share_percent: u32,
    buckets: Mutex<BTreeMap<(Quota, Option<Call>), Bucket>>,
}

impl Budgets {
    /// Of an account that gate takes so many percent of.
    pub(crate) fn new(share_percent: u32) -> Self {
        Self { share_percent: share_percent.max(1), buckets: Mutex::default() }
    }

    /// The percentage.
    pub(crate) const fn share_percent(&self) -> u32 {
        self.share_percent
    }

    /// Takes the token of a call at `now`, a time since any moment that stays the same: how long to wait before the
    /// call. `None` where that would be longer than `patience`.
    pub(crate) fn take(&self, call: Call, now: Duration, patience: Duration) -> Option<Duration> {
        let quota = call.quota();
        let Some(rate) = quota.rate() else { return Some(Duration::ZERO) };
        let key = (quota, (!quota.is_shared()).then_some(call));
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        buckets.entry(key).or_default().take(self.paced(quota, rate), now, patience)
    }

    /// Gate's share of a rate: the time between two calls, and how many may be made at once. What is taken for the quota of
    /// answers is low as it is, and a lower one would have them late.
    fn paced(&self, quota: Quota, rate: Rate) -> (Duration, u32) {
        let least = if quota == Quota::Answers { 100 } else { 1 };
        let share_percent = self.share_percent.max(least);
        let per_hundred_seconds = rate.per_second.saturating_mul(share_percent).max(1);
        let burst = rate.burst.saturating_mul(share_percent) / 100;
        (Duration::from_secs(100) / per_hundred_seconds, burst.max(1))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::super::calls::CALLS;
    use super::*;

    const PATIENT: Duration = Duration::from_secs(1000);

    fn waits(budgets: &Budgets, call: Call, at: Duration, calls: usize) -> Vec<Duration> {
        (0..calls).map(|_| budgets.take(call, at, PATIENT).expect("it is patient")).collect()
    }

    #[test]
    fn a_burst_goes_at_once_and_the_rest_at_the_rate() {
        // Half of 9 a second: four at once, and one each 222 ms.
        let waits = waits(&Budgets::new(50), Call::DescribeAlarms, Duration::ZERO, 8);
        let millis: Vec<u128> = waits.iter().map(Duration::as_millis).collect();
        assert_eq!(millis, [0, 0, 0, 0, 222, 444, 666, 888]);
    }

    #[test]
    fn a_hundred_runs_at_once_stay_under_the_quota_whatever_they_retry() {
        let budgets = Budgets::new(SHARE_PERCENT);
        let calls = [Call::DescribeTargetGroups, Call::DescribeTargetHealth, Call::DescribeRules];
        let mut sent = Vec::new();
        // Each makes three calls of one quota, and everything is throttled: each call is tried three times.
        for attempt in 0..3_u64 {
            for run in 0..100_u64 {
                for call in calls {
                    let now = Duration::from_millis(attempt * 750 + run);
                    sent.push(now + budgets.take(call, now, PATIENT).expect("it is patient"));
                }
            }
        }
        sent.sort();
        let quota = Quota::LoadBalancers.rate().expect("it is published");
        for (first, began) in sent.iter().enumerate() {
            let within = |span: u64| {
                let ends = *began + Duration::from_secs(span);
                sent[first..].iter().take_while(|at| **at < ends).count()
            };
            for span in [1_u64, 10, 60] {
                let half = (u64::from(quota.burst) + u64::from(quota.per_second) * span) / 2;
                let seen = within(span);
                assert!(seen as u64 <= half + 1, "{seen} calls in {span} s from {began:?}");
            }
        }
    }

    #[test]
    fn who_would_wait_too_long_takes_no_token() {
        let budgets = Budgets::new(50);
        waits(&budgets, Call::DescribeAlarms, Duration::ZERO, 8);
        let second = Duration::from_secs(1);
        assert_eq!(budgets.take(Call::DescribeAlarms, Duration::ZERO, second), None);
        let later = Duration::from_millis(300);
        let wait = budgets.take(Call::DescribeAlarms, later, second);
        assert_eq!(wait.map(|wait| wait.as_millis()), Some(811), "the ninth token");
    }

    #[test]
    fn neither_reads_nor_a_small_share_use_up_what_answers_need() {
        let budgets = Budgets::new(10);
        waits(&budgets, Call::GetDeployment, Duration::ZERO, 500);
        for entry in CALLS.iter().filter(|entry| entry.call.quota() == Quota::Answers) {
            let waits = waits(&budgets, entry.call, Duration::ZERO, 100);
            assert!(waits.iter().all(Duration::is_zero), "{}: a hundred at once", entry.call);
        }
    }

    #[test]
    fn a_probe_is_never_held_back() {
        let budgets = Budgets::new(1);
        assert!(
            waits(&budgets, Call::Invoke, Duration::ZERO, 10_000).iter().all(Duration::is_zero)
        );
    }

    #[test]
    fn a_larger_share_is_a_larger_budget() {
        let of = |percent| {
            let waits = waits(&Budgets::new(percent), Call::DescribeRules, Duration::ZERO, 100);
            waits.last().map(Duration::as_millis)
        };
        assert_eq!((of(50), of(100), of(1000)), (Some(16_000), Some(6_000), Some(0)));
    }

    #[test]
    fn every_quota_is_in_the_docs_with_its_rate() {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/aws-faults.md");
        let page = fs::read_to_string(page).expect("the page is there");
        for entry in CALLS {
            let shown = format!("`{}`", entry.call.name());
            let line = page.lines().find(|line| line.starts_with("| ") && line.contains(&shown));
            let Some(rate) = entry.call.quota().rate() else { continue };
            let line = line.unwrap_or_else(|| panic!("{shown} is not in docs/aws-faults.md"));
            let said = format!("| {}, {} |", rate.per_second, rate.burst);
            assert!(line.replace(",000", "000").contains(&said), "`{said}` is not in {line}");
        }
    }
}
