//! What the sidecars in green's tasks measure: what each `GET /snapshot` says, as probes since it was last asked.
//!
//! Without sockets, as [`super::Scrapes`]:
//!
//! - The first answer of a task says where its counts are, and no probes.
//! - Counts that say they began at another moment, or that went down, began again: they count from zero.
//! - An answer that cannot be read changes nothing: what came between is found late, not lost.
//! - A sidecar's targets are told apart by their place, for their order is that of its settings and those only change
//!   with a restart. One more than before says only where its counts are.

use std::collections::BTreeMap;

use policies::Reading;
use policies::evidence::numerics::count;
use policies::policy::{Counted, Signal};
use policies::reading::Seen;
use policies::snapshot::{self, SnapshotError};

use super::merge;

/// The sidecars of all of green's tasks.
#[derive(Debug)]
pub struct Sidecars {
    wanted: Vec<(String, Signal)>,
    /// Sidecar → where each of its targets' counts were.
    known: BTreeMap<String, Vec<Position>>,
    /// What was seen since it was last read, by objective.
    seen: BTreeMap<String, Seen>,
}

/// Where the counts of one target of a sidecar are. Histograms are not kept: what each objective makes of one is.
#[derive(Debug, PartialEq)]
struct Position {
    since: String,
    all: u64,
    /// Bad probes of each objective, in their order.
    bad: Vec<u64>,
}

impl Sidecars {
    /// No sidecar was asked yet. What other objectives count is passed over.
    pub fn new(objectives: &[(String, Counted)]) -> Self {
        let wanted = objectives.iter().filter_map(|(objective, counted)| match counted {
            Counted::Sidecars(signal) => Some((objective.clone(), *signal)),
            Counted::CloudWatch { .. } | Counted::Counters { .. } | Counted::Buckets { .. } => None,
        });
        Self { wanted: wanted.collect(), known: BTreeMap::new(), seen: BTreeMap::new() }
    }

    /// Whether nothing of sidecars is wanted.
    pub const fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Reads one whole answer of one sidecar.
    ///
    /// Up to 1 MiB is read and 16 histograms decoded, which can take milliseconds: not for a thread that probes.
    ///
    /// # Errors
    /// An answer that cannot be read, or is beyond a limit. It is as if it had not been there.
    pub fn digest(&mut self, sidecar: &str, body: &[u8]) -> Result<(), SnapshotError> {
        let targets = snapshot::read(body)?;
        let now: Vec<Position> = targets
            .into_iter()
            .map(|target| Position {
                since: target.since,
                all: target.counts.judged,
                bad: self.wanted.iter().map(|(_, s)| target.counts.bad_for(*s)).collect(),
            })
            .collect();
        if let Some(before) = self.known.get(sidecar) {
            for (place, (objective, _)) in self.wanted.iter().enumerate() {
                let new = now.iter().zip(before).filter_map(|(now, then)| now.beyond(then, place));
                let (bad, all) = new.fold((0.0, 0.0), |(bad, all), (more_bad, more)| {
                    (bad + count(more_bad), all + count(more))
                });
                let seen = Seen::Counts { bad, all };
                let sum = merge(self.seen.remove(objective).into_iter().chain([seen]));
                self.seen.extend(sum.map(|sum| (objective.clone(), sum)));
            }
        }
        self.known.insert(sidecar.to_owned(), now);
        Ok(())
    }

    /// Forgets sidecars that are there no more. One that comes back begins afresh.
    pub fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.known.retain(|sidecar, _| is_there(sidecar));
    }

    /// What all sidecars together counted since this was last called: one reading for each objective, if any was read
    /// twice by now.
    pub fn readings(&mut self, began_millis: i64) -> Vec<Reading> {
        let seen = std::mem::take(&mut self.seen).into_iter();
        seen.map(|(objective, seen)| Reading { objective, began_millis, seen }).collect()
    }
}

impl Position {
    /// `(bad, all)` of an objective since then.
    fn beyond(&self, then: &Self, objective: usize) -> Option<(u64, u64)> {
        let (bad, bad_then) = (*self.bad.get(objective)?, *then.bad.get(objective)?);
        let bads = self.bad.iter().zip(&then.bad);
        let went_down = self.all < then.all || bads.into_iter().any(|(now, then)| now < then);
        if went_down || self.since != then.since {
            return Some((bad, self.all));
        }
        // More bad probes than probes: between two sound answers that is a lie, and all that is new is bad at worst.
        let all = self.all - then.all;
        Some(((bad - bad_then).min(all), all))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use policies::PolicyFile;
    use policies::histogram::Interval;
    use proptest::prelude::*;

    use super::*;

    const POLICY: &str = "gate: v1
probe: { http: { path: / } }
objectives:
  - errors: { at-most: 1% }
  - sidecar: { at-most: 0.5%, no-data: continue }
  - sidecar: { quantile: p99, at-most: 250ms, no-data: continue }
  - metrics: { bad: a, of: b, at-most: 1%, no-data: continue }
";

    fn sidecars() -> Sidecars {
        let policy = PolicyFile::parse("p.policy.yaml", POLICY).policy.unwrap();
        let sidecars = Sidecars::new(&policy.plan(0, 0, vec![], vec![]).counted);
        assert_eq!(sidecars.wanted.len(), 2, "metrics are read elsewhere");
        sidecars
    }

    /// One target's counts: since when, fast, slow, failed with an answer, not answered.
    type Counts = (u32, u32, u32, u32, u32);

    fn target((since, fast, slow, failed, lost): Counts) -> String {
        let mut latency = Interval::default();
        latency.record_many(Duration::from_millis(9), fast + failed);
        latency.record_many(Duration::from_millis(900), slow);
        let latency = if latency.is_empty() { String::new() } else { latency.to_wire() };
        let (judged, bad) = (fast + slow + failed + lost, failed + lost);
        format!(
            r#"{{"url":"u","counted_since":"{since}","counted":{{"judged":{judged},"bad":{bad},"unanswered":{lost},"latency":"{latency}"}}}}"#
        )
    }

    fn answer(targets: &[Counts]) -> Vec<u8> {
        let targets: Vec<String> = targets.iter().map(|&counts| target(counts)).collect();
        format!(r#"{{"task":null,"targets":[{}]}}"#, targets.join(",")).into_bytes()
    }

    /// `bad/all` of errors and of what is slow.
    fn shown(sidecars: &mut Sidecars) -> String {
        let readings = sidecars.readings(0);
        let shown = readings.iter().map(|reading| {
            assert!(reading.seen.is_sound(), "{reading:?}");
            match reading.seen {
                Seen::Counts { bad, all } => format!("{bad}/{all}"),
                _ => panic!("{reading:?}"),
            }
        });
        shown.collect::<Vec<_>>().join(" slow ")
    }

    /// What answers, each of a sidecar, amount to one after the other.
    #[track_caller]
    fn check(answers: &[(&str, &[Counts], &str)]) {
        let mut sidecars = sidecars();
        for (place, (sidecar, targets, expected)) in answers.iter().enumerate() {
            sidecars.digest(sidecar, &answer(targets)).unwrap();
            // In the order of their names: errors of sidecars, then p99 of sidecars.
            assert_eq!(&shown(&mut sidecars), expected, "answer {place}");
        }
    }

    #[test]
    fn what_is_new_since_the_last_answer_counts() {
        check(&[
            ("a", &[(1, 1000, 10, 7, 3)], ""),
            ("a", &[(1, 1000, 10, 7, 3)], "0/0 slow 0/0"),
            ("a", &[(1, 1038, 10, 8, 3)], "1/39 slow 0/39"),
            ("a", &[(1, 1038, 12, 8, 4)], "1/3 slow 3/3"),
        ]);
    }

    #[test]
    fn counts_that_began_again_count_from_zero() {
        check(&[("a", &[(1, 100, 0, 9, 0)], ""), ("a", &[(2, 110, 1, 9, 0)], "9/120 slow 1/120")]);
        check(&[("a", &[(1, 100, 0, 0, 0)], ""), ("a", &[(1, 20, 0, 1, 0)], "1/21 slow 0/21")]);
        check(&[("a", &[(1, 100, 0, 9, 0)], ""), ("a", &[(1, 200, 0, 1, 0)], "1/201 slow 0/201")]);
        check(&[("a", &[(1, 100, 5, 0, 0)], ""), ("a", &[(1, 200, 0, 0, 0)], "0/200 slow 0/200")]);
    }

    #[test]
    fn all_targets_of_a_sidecar_are_one() {
        check(&[
            ("a", &[(1, 10, 0, 0, 0), (1, 5, 0, 0, 0)], ""),
            ("a", &[(1, 20, 0, 0, 0), (1, 5, 1, 2, 0)], "2/13 slow 1/13"),
            // One more only says where it is, and one less takes nothing back.
            ("a", &[(1, 21, 0, 0, 0), (1, 5, 1, 2, 0), (1, 900, 0, 9, 0)], "0/1 slow 0/1"),
            ("a", &[(1, 22, 0, 0, 0)], "0/1 slow 0/1"),
        ]);
    }

    #[test]
    fn sidecars_add_up_and_each_has_counts_of_its_own() {
        let mut sidecars = sidecars();
        for (a, b) in
            [((1, 10, 0, 0, 0), (7, 900, 9, 9, 9)), ((1, 20, 0, 1, 0), (7, 920, 9, 9, 10))]
        {
            sidecars.digest("a", &answer(&[a])).unwrap();
            sidecars.digest("b", &answer(&[b])).unwrap();
        }
        assert_eq!(shown(&mut sidecars), "2/32 slow 1/32");
        assert_eq!(shown(&mut sidecars), "");
        sidecars.retain(|id| id == "b");
        sidecars.digest("a", &answer(&[(1, 500, 0, 0, 0)])).unwrap();
        assert_eq!(shown(&mut sidecars), "", "it came back and begins afresh");
    }

    #[test]
    fn an_answer_that_cannot_be_read_loses_nothing() {
        let mut sidecars = sidecars();
        sidecars.digest("a", &answer(&[(1, 10, 0, 0, 0)])).unwrap();
        let cut = answer(&[(1, 15, 0, 1, 0)]);
        let hostile = String::from_utf8(cut.clone()).unwrap().replace("\"bad\":1", "\"bad\":99");
        for body in [&cut[..cut.len() / 2], b"<html>", b"", hostile.as_bytes()] {
            sidecars.digest("a", body).unwrap_err();
            assert_eq!(shown(&mut sidecars), "");
        }
        sidecars.digest("a", &answer(&[(1, 30, 0, 1, 0)])).unwrap();
        assert_eq!(shown(&mut sidecars), "1/21 slow 0/21");
    }

    proptest! {
        #[test]
        fn probes_are_neither_lost_nor_made(
            steps in prop::collection::vec((0_u32..50, 0_u32..5, 0_u32..5, any::<bool>()), 1..20),
        ) {
            let mut sidecars = sidecars();
            let (mut now, mut sum) = ((1, 100, 7, 3, 0), [(0.0, 0.0); 2]);
            let last = (0, 0, 0, true);
            for (fast, slow, failed, arrives) in [last].into_iter().chain(steps).chain([last]) {
                now = (1, now.1 + fast, now.2 + slow, now.3 + failed, 0);
                let body = answer(&[now]);
                let body = if arrives { &body[..] } else { &body[1..] };
                prop_assert_eq!(sidecars.digest("a", body).is_ok(), arrives);
                for (sum, reading) in sum.iter_mut().zip(sidecars.readings(0)) {
                    if let Seen::Counts { bad, all } = reading.seen {
                        *sum = (sum.0 + bad, sum.1 + all);
                    }
                }
            }
            let (slow, failed) = (now.2 - 7, now.3 - 3);
            let all = f64::from(now.1 - 100 + slow + failed);
            // Errors come first, by name.
            prop_assert_eq!(sum, [(f64::from(failed), all), (f64::from(slow), all)]);
        }
    }
}
