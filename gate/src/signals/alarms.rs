//! Alarms of all runs, asked about together: `DescribeAlarms` is 9 calls a second for a whole account, which
//! ECS and CodeDeploy use up as well.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use policies::Reading;
use policies::plan::{Observation, Observed};
use policies::policy::ALARMS_PERIOD;
use policies::reading::{AlarmState, Seen};
use tokio::time::{Instant, sleep_until};

use super::Reader;
use super::trouble::{Trouble, reason, wait};
use crate::aws::measurements::AlarmFacts;
use crate::aws::{Aws, CloudKey};

/// Names in one call.
//= https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_DescribeAlarms.html
const NAMES_MAX: usize = 100;
/// Names in one round, of all runs: ten calls each 30 s.
const ROUND_NAMES_MAX: usize = 1000;

/// One desk for each region and account: the runs that want the same alarms share its calls.
#[derive(Debug, Default)]
pub(crate) struct Desks(Mutex<BTreeMap<CloudKey, Arc<Desk>>>);

/// Where the alarms of one region and account are asked about.
#[derive(Debug, Default)]
struct Desk {
    /// Names that runs want, and how many want each.
    wanted: Mutex<BTreeMap<String, usize>>,
    round: tokio::sync::Mutex<Round>,
}

/// The newest round of calls.
#[derive(Debug, Default)]
struct Round {
    began: Option<Instant>,
    asked: BTreeSet<String>,
    /// Names there was no room for.
    left_out: BTreeSet<String>,
    found: BTreeMap<String, AlarmFacts>,
    failure: Option<Failed>,
    failures: u32,
}

/// Why a round came to nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Failed {
    reason: &'static str,
    story: String,
}

/// What a look at the desk came to, and when it is worth another.
#[derive(Debug, PartialEq)]
struct Look {
    /// `None` where these names are in the next round.
    told: Option<Result<BTreeMap<String, AlarmFacts>, Failed>>,
    next: Instant,
}

/// Names that one run wants, until it is dropped.
#[derive(Debug)]
struct Wanting {
    desk: Arc<Desk>,
    names: BTreeSet<String>,
}

impl Drop for Wanting {
    fn drop(&mut self) {
        let mut wanted = self.desk.wanted();
        for name in &self.names {
            if let Some(count) = wanted.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    wanted.remove(name);
                }
            }
        }
    }
}

impl Desks {
    fn at(&self, key: CloudKey) -> Arc<Desk> {
        let mut desks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(desks.entry(key).or_default())
    }
}

impl Desk {
    fn wanted(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn want(self: &Arc<Self>, names: BTreeSet<String>) -> Wanting {
        let mut wanted = self.wanted();
        for name in &names {
            *wanted.entry(name.clone()).or_default() += 1;
        }
        drop(wanted);
        Wanting { desk: Arc::clone(self), names }
    }

    /// What the newest round says of these names. Whoever comes once it is old enough begins the next, for
    /// everybody.
    async fn look(&self, aws: &dyn Aws, names: &BTreeSet<String>) -> Look {
        let mut round = self.round.lock().await;
        let next = round.next();
        if next.is_none_or(|next| Instant::now() >= next) {
            let wanted: BTreeSet<String> = self.wanted().keys().cloned().collect();
            round.ask(aws, wanted).await;
        }
        let told = if !names.is_disjoint(&round.left_out) {
            let story = format!("all runs together want more than {ROUND_NAMES_MAX} alarms");
            Some(Err(Failed { reason: "too-many", story }))
        } else if names.is_subset(&round.asked) {
            Some(round.failure.clone().map_or_else(|| Ok(round.of(names)), Err))
        } else {
            None
        };
        Look { told, next: round.next().unwrap_or_else(Instant::now) }
    }
}

impl Round {
    /// When the next may begin.
    fn next(&self) -> Option<Instant> {
        let apart = match self.failures {
            0 => ALARMS_PERIOD,
            failures => ALARMS_PERIOD.max(wait(failures)),
        };
        self.began.map(|began| began + apart)
    }

    async fn ask(&mut self, aws: &dyn Aws, wanted: BTreeSet<String>) {
        // Noted first: a call that is given up counts as one.
        *self = Self { began: Some(Instant::now()), failures: self.failures, ..Self::default() };
        let names: Vec<String> = wanted.iter().take(ROUND_NAMES_MAX).cloned().collect();
        self.left_out = wanted.iter().skip(ROUND_NAMES_MAX).cloned().collect();
        for names in names.chunks(NAMES_MAX) {
            match aws.alarms(names).await {
                Ok(found) => {
                    self.found.extend(found.into_iter().map(|alarm| (alarm.name.clone(), alarm)));
                }
                Err(error) => {
                    self.failure = Some(Failed { reason: reason(&error), story: error.story() });
                    break;
                }
            }
        }
        // At the end: the run that asks may be over before, and what it did not hear is not without a state.
        self.asked = wanted;
        self.failures = if self.failure.is_some() { self.failures.saturating_add(1) } else { 0 };
    }

    fn of(&self, names: &BTreeSet<String>) -> BTreeMap<String, AlarmFacts> {
        let found = names.iter().filter_map(|name| self.found.get_key_value(name));
        found.map(|(name, alarm)| (name.clone(), alarm.clone())).collect()
    }
}

/// Reads for as long as anybody listens.
pub(super) async fn read(reader: Reader, observed: &[Observed]) {
    let objectives: Vec<(&str, &[String])> = observed
        .iter()
        .filter_map(|observed| match &observed.what {
            Observation::Alarms { names } => Some((observed.objective.as_str(), names.as_slice())),
            Observation::Counts { .. } | Observation::Series { .. } | Observation::StoppedTasks => {
                None
            }
        })
        .collect();
    if objectives.is_empty() {
        return;
    }
    let desk = reader.sources.desks.at(reader.sources.clouds.key(&reader.sources.place));
    let names = objectives.iter().flat_map(|(_, names)| names.iter().cloned()).collect();
    let wanting = desk.want(names);
    let mut trouble = Trouble::default();
    loop {
        let aws = reader.aws().await;
        let look = desk.look(aws.as_ref(), &wanting.names).await;
        let readings = match look.told {
            Some(Ok(found)) => {
                trouble.over("alarms");
                let began = reader.began_unix_seconds(&reader.measured());
                let began_millis = reader.clock.now_millis();
                let reading = |(objective, names): &(&str, &[String])| Reading {
                    objective: (*objective).to_owned(),
                    began_millis,
                    seen: Seen::Alarms { alarms: states(names, &found, began) },
                };
                objectives.iter().map(reading).collect()
            }
            Some(Err(failed)) => {
                trouble.say("alarms", failed.story);
                reader.lost("alarms", failed.reason);
                Vec::new()
            }
            None => Vec::new(),
        };
        if !reader.tell(readings).await {
            return;
        }
        // A little after, so that one of all who wait asks, and the others find what it was told.
        sleep_until(look.next + Duration::from_millis(1)).await;
    }
}

/// The state of each alarm. One that CloudWatch does not know has none.
fn states(
    names: &[String],
    found: &BTreeMap<String, AlarmFacts>,
    began_unix_seconds: i64,
) -> BTreeMap<String, AlarmState> {
    let state = |name: &String| {
        found.get(name).map_or(AlarmState::Unknown, |alarm| of(alarm, began_unix_seconds))
    };
    names.iter().map(|name| (name.clone(), state(name))).collect()
}

fn of(alarm: &AlarmFacts, began_unix_seconds: i64) -> AlarmState {
    match alarm.state.as_str() {
        "OK" => AlarmState::Ok,
        "ALARM" => match alarm.since_unix_seconds {
            Some(since) if since < began_unix_seconds => AlarmState::AlarmBefore,
            // Where nobody says since when, it is not excused.
            Some(_) | None => AlarmState::Alarm,
        },
        _ => AlarmState::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::fake::FakeAws;
    use crate::aws::{Call, Failure};

    fn alarm(name: &str, state: &str, since: Option<i64>) -> AlarmFacts {
        AlarmFacts {
            name: name.into(),
            state: state.into(),
            since_unix_seconds: since,
            reason: None,
        }
    }

    #[test]
    fn an_alarm_that_was_red_before_the_deployment_says_nothing_of_it() {
        use AlarmState::{Alarm, AlarmBefore, Ok, Unknown};
        for (state, since, expected) in [
            ("OK", Some(50), Ok),
            ("OK", Some(150), Ok),
            ("ALARM", Some(99), AlarmBefore),
            ("ALARM", Some(100), Alarm),
            ("ALARM", None, Alarm),
            ("INSUFFICIENT_DATA", Some(50), Unknown),
            ("SOMETHING_NEW", Some(50), Unknown),
        ] {
            assert_eq!(of(&alarm("a", state, since), 100), expected, "{state} since {since:?}");
        }
        let found = [("known".to_owned(), alarm("known", "OK", None))].into();
        let names = ["known".to_owned(), "deleted".to_owned()];
        let states = states(&names, &found, 100);
        assert_eq!(states, [("known".to_owned(), Ok), ("deleted".to_owned(), Unknown)].into());
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn all_runs_share_one_call_in_thirty_seconds() {
        let mut aws = FakeAws::new();
        aws.alarms = vec![alarm("a", "OK", None), alarm("b", "ALARM", Some(5))];
        let desk = Arc::new(Desk::default());
        let began = Instant::now();
        let one = desk.want(names(&["a"]));
        let seen =
            |look: Look| (look.told.map(|told| told.unwrap().len()), (look.next - began).as_secs());
        assert_eq!(seen(desk.look(&aws, &one.names).await), (Some(1), 30));
        tokio::time::advance(Duration::from_secs(10)).await;
        let other = desk.want(names(&["a", "b"]));
        assert_eq!(seen(desk.look(&aws, &other.names).await), (None, 30), "in the next round");
        assert_eq!(seen(desk.look(&aws, &one.names).await), (Some(1), 30), "as it was");
        assert_eq!(aws.calls.lock().unwrap().len(), 1);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(seen(desk.look(&aws, &other.names).await), (Some(2), 60));
        assert_eq!(seen(desk.look(&aws, &one.names).await), (Some(1), 60));
        assert_eq!(aws.calls.lock().unwrap().len(), 2);
        drop(one);
        drop(other);
        assert!(desk.wanted().is_empty(), "nobody wants any");
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_asked_for_by_the_hundred_and_no_more_than_a_thousand() {
        for (count, calls) in [(0, 0), (1, 1), (100, 1), (101, 2), (1000, 10), (1500, 10)] {
            let aws = FakeAws::new();
            let desk = Arc::new(Desk::default());
            let wanting = desk.want((0..count).map(|number| number.to_string()).collect());
            let look = desk.look(&aws, &wanting.names).await;
            let told = look.told.unwrap().map_err(|failed| failed.reason);
            assert_eq!(told, if count > 1000 { Err("too-many") } else { Ok(BTreeMap::new()) });
            assert_eq!(aws.calls.lock().unwrap().len(), calls, "{count} names");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_round_is_one_for_everybody_and_the_next_comes_later_each_time() {
        let mut aws = FakeAws::new();
        aws.failures = [(Call::DescribeAlarms, Failure::Passing)].into();
        let desk = Arc::new(Desk::default());
        let one = desk.want(names(&["a"]));
        for apart in [30, 30, 60, 120, 120] {
            let before = Instant::now();
            for _run in 0..3 {
                let look = desk.look(&aws, &one.names).await;
                assert_eq!(look.told.unwrap().unwrap_err().reason, "unavailable");
                assert_eq!((look.next - before).as_secs(), apart);
            }
            tokio::time::advance(Duration::from_secs(apart)).await;
        }
        assert_eq!(aws.calls.lock().unwrap().len(), 5);
    }
}
