//! One target judged for ever, under injected time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use common::{arm, target};
use policies::histogram::Interval;
use policies::run::{Continuous, RECENT_SPAN, Unjudgeable};
use policies::{ArmTick, Moment, Outcome, PolicyFile, Tick, Verdict};
use rand_distr::{Binomial, Distribution};

const POLICY: &str = "
gate: v1
probe: { http: { path: / }, rate: 10/s }
objectives:
  - errors:  { at-most: 2% }
  - latency: { quantile: p95, at-most: 300ms }
decide: { at-least: 20s, deadline: 2m }
";

fn judging(policy: &str) -> Continuous {
    let file = PolicyFile::parse("sidecar.policy.yaml", policy);
    let faults: Vec<String> = file.errors().map(policies::Fault::one_line).collect();
    Continuous::new("sidecar.policy.yaml", file.policy.unwrap_or_else(|| panic!("{faults:?}")))
        .unwrap()
        .0
}

/// Feeds ticks of 2 s.
struct Feed {
    judging: Continuous,
    tick: u64,
    changes: Vec<(u64, Verdict)>,
}

impl Feed {
    fn new(policy: &str) -> Self {
        Self { judging: judging(policy), tick: 0, changes: Vec::new() }
    }

    fn tick(&mut self, green: ArmTick, throttled_millis: u32) {
        let tick = Tick { index: self.tick, green, blue: None, throttled_millis };
        self.tick += 1;
        let changed = self.judging.take(&tick, Moment::from_millis(self.tick * 2000));
        if let Some(state) = changed {
            self.changes.push((self.tick * 2, state.verdict));
        }
    }

    fn feed(&mut self, ticks: u64, outcomes: &[(Outcome, u32)]) -> &mut Self {
        for _ in 0..ticks {
            self.tick(arm("127.0.0.1:3000", outcomes, 1, 5), 0);
        }
        self
    }

    fn healthy(&mut self, ticks: u64) -> &mut Self {
        self.feed(ticks, &[(Outcome::Ok, 20)])
    }

    /// Gate itself is starved: nine of ten probes are late, the others look terrible.
    fn starved(&mut self, ticks: u64) -> &mut Self {
        for _ in 0..ticks {
            let mut green = arm("127.0.0.1:3000", &[(Outcome::Ok, 18)], 70, 900);
            let seen = arm("127.0.0.1:3000", &[(Outcome::Timeout, 2)], 1, 2000);
            for (id, tick) in &seen.targets {
                green.targets.get_mut(id).unwrap().merge(tick);
            }
            self.tick(green, 1900);
        }
        self
    }

    fn verdict(&self) -> Verdict {
        self.judging.state().verdict
    }

    fn reason(&self) -> &str {
        &self.judging.state().reason
    }

    fn objectives(&self) -> Vec<Verdict> {
        self.judging.judged().map(|(_, verdict)| verdict).collect()
    }
}

#[test]
fn a_healthy_target_is_kept_after_a_while_and_stays_so_over_all_windows() {
    let mut feed = Feed::new(POLICY);
    assert_eq!(feed.verdict(), Verdict::Unknown);
    feed.healthy(9);
    assert_eq!(feed.verdict(), Verdict::Unknown, "20 s are not over");
    feed.healthy(3000);
    assert_eq!((feed.verdict(), feed.changes.len()), (Verdict::Kept, 1), "{:?}", feed.changes);
    assert_eq!(feed.objectives(), [Verdict::Kept; 2]);
    assert!(feed.reason().starts_with("every objective is kept after"), "{}", feed.reason());
    assert_eq!(feed.judging.snapshot().window, 1 + 3009 / 60);
}

#[test]
fn a_target_that_breaks_is_broken_within_seconds_and_heals_once_it_is_proven_kept() {
    let mut feed = Feed::new(POLICY);
    feed.healthy(100).feed(4, &[(Outcome::Status, 20)]);
    assert_eq!(feed.verdict(), Verdict::Broken);
    assert!(
        feed.reason().starts_with("`errors at most 2 %` is broken: ")
            && feed.reason().contains(" × status 500"),
        "{}",
        feed.reason()
    );
    assert_eq!(feed.objectives()[0], Verdict::Broken);
    // Hours of it are one verdict, and spend nothing.
    let window = feed.judging.snapshot().window;
    feed.feed(5000, &[(Outcome::Status, 20)]);
    assert_eq!((feed.verdict(), feed.judging.snapshot().window), (Verdict::Broken, window));
    feed.healthy(9);
    assert_eq!(feed.verdict(), Verdict::Broken, "nothing is proven in less than `at-least`");
    feed.healthy(20);
    assert_eq!(feed.verdict(), Verdict::Kept, "{}", feed.reason());
    assert_eq!(feed.judging.snapshot().window, window + 1);
    let verdicts: Vec<Verdict> = feed.changes.iter().map(|(_, verdict)| *verdict).collect();
    assert_eq!(verdicts, [Verdict::Kept, Verdict::Broken, Verdict::Kept]);
}

#[test]
fn a_refused_connection_counts_against_the_target_though_there_is_no_blue() {
    let mut feed = Feed::new(POLICY);
    feed.healthy(20).feed(4, &[(Outcome::Refused, 20)]);
    assert_eq!(feed.verdict(), Verdict::Broken, "{}", feed.reason());
}

#[test]
fn gates_own_trouble_is_evidence_of_nothing_and_lapses_every_verdict() {
    let mut feed = Feed::new(POLICY);
    feed.starved(3000);
    assert_eq!((feed.verdict(), feed.changes.len()), (Verdict::Unknown, 0), "{}", feed.reason());
    assert!(feed.reason().contains("says nothing about the target"), "{}", feed.reason());
    assert_eq!(feed.judging.snapshot().gate_trouble_ticks, feed.judging.snapshot().ticks);
    feed.healthy(100);
    assert_eq!(feed.verdict(), Verdict::Kept);
    feed.starved(200);
    assert_eq!(feed.verdict(), Verdict::Unknown);
    feed.healthy(100).feed(10, &[(Outcome::Status, 20)]).starved(200);
    assert_eq!(feed.verdict(), Verdict::Unknown, "a guard fails by no old verdict of a blind gate");
    assert_eq!(feed.objectives(), [Verdict::Unknown; 2]);
}

#[test]
fn without_data_nothing_is_held_whatever_the_rule_for_it() {
    for rule in ["rollback", "continue"] {
        let policy = POLICY.replace("deadline", &format!("no-data: {rule}, deadline"));
        let mut feed = Feed::new(&policy);
        feed.healthy(50).feed(10, &[(Outcome::Dns, 20)]);
        assert_eq!(feed.verdict(), Verdict::Unknown, "{}", feed.reason());
        assert!(feed.reason().contains("no probe finished for"), "{}", feed.reason());
        feed.healthy(30);
        assert_eq!(feed.verdict(), Verdict::Kept, "{}", feed.reason());
    }
}

#[test]
fn a_window_that_proves_nothing_leaves_unknown() {
    let mut feed = Feed::new(POLICY);
    feed.healthy(60);
    assert_eq!(feed.verdict(), Verdict::Kept);
    // Between what is allowed and what must not pass.
    for index in 0..120_u32 {
        let bad = u32::from(index % 3 > 0);
        feed.feed(1, &[(Outcome::Ok, 20 - bad), (Outcome::Status, bad)]);
    }
    assert_ne!(feed.verdict(), Verdict::Kept, "{}", feed.reason());
}

#[test]
fn a_warm_up_is_measured_and_not_judged() {
    let mut feed = Feed::new(&POLICY.replace("rate:", "warm-up: 60s, rate:"));
    feed.feed(30, &[(Outcome::Status, 20)]);
    assert_eq!((feed.verdict(), feed.judging.snapshot().probes), (Verdict::Unknown, 600));
    feed.healthy(30);
    assert_eq!(feed.verdict(), Verdict::Kept);
}

#[test]
fn what_needs_blue_or_readings_is_let_go_of_and_said_so() {
    let more = "objectives:
  - latency: { quantile: p95, versus: blue, at-most: +20% }
  - healthy-targets: { at-least: 100% }
  - alarms: { names: [red] }
  - each-target: { errors: { at-most: 30% } }";
    let file = PolicyFile::parse("x", &POLICY.replace("objectives:", more));
    let (judging, warnings) = Continuous::new("x", file.policy.unwrap()).unwrap();
    assert_eq!(judging.judged().count(), 3);
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[0].contains("versus blue") && warnings[0].contains("has no blue"));
    let only = "
gate: v1
probe: { http: { path: / } }
objectives: [ { latency: { quantile: p95, versus: blue, at-most: +20% } } ]
";
    let file = PolicyFile::parse("x", only);
    let refused = Continuous::new("x", file.policy.unwrap()).unwrap_err();
    assert!(matches!(refused, Unjudgeable::NothingLeft), "{refused}");
    // Only Kept ends Broken: a window in which it can never be proven would keep a target Broken for ever.
    let short = format!("{POLICY}watch: {{ until: end-of-deployment, window: 20s }}\n");
    let file = PolicyFile::parse("x", &short);
    let refused = Continuous::new("x", file.policy.unwrap()).unwrap_err();
    assert!(matches!(refused, Unjudgeable::Window { .. }), "{refused}");
    let function = POLICY.replace("http: { path: / }", "lambda: {}");
    let file = PolicyFile::parse("x", &function);
    let refused = Continuous::new("x", file.policy.unwrap()).unwrap_err();
    assert!(matches!(refused, Unjudgeable::Function), "{refused}");
}

#[test]
fn a_healthy_target_is_called_broken_by_one_in_a_hundred_at_most_in_all_its_windows() {
    let mut random = rand_pcg::Pcg64Mcg::new(11);
    // Half of the budget.
    let bad = Binomial::new(20, 0.01).unwrap();
    let mut broken = 0;
    for _ in 0..500 {
        let mut feed = Feed::new(POLICY);
        for _ in 0..600 {
            let bad = u32::try_from(bad.sample(&mut random)).unwrap();
            feed.feed(1, &[(Outcome::Ok, 20 - bad), (Outcome::Status, bad)]);
        }
        broken += u32::from(feed.changes.iter().any(|(_, verdict)| *verdict == Verdict::Broken));
    }
    assert!(broken <= 5, "{broken} of 500, each over ten windows");
}

#[test]
fn a_snapshot_is_of_the_last_minutes_and_its_histograms_can_be_read_and_merged() {
    let mut feed = Feed::new(POLICY);
    let span = RECENT_SPAN.as_secs() / 2;
    feed.healthy(span / 2);
    assert_eq!(feed.judging.measured_since(), Moment::ZERO);
    for _ in 0..7 {
        feed.healthy(span);
        let snapshot = feed.judging.snapshot();
        assert!((span..=2 * span).contains(&snapshot.ticks), "{}", snapshot.ticks);
        assert_eq!(u64::from(snapshot.probes), snapshot.ticks * 20);
        let since = feed.judging.measured_since();
        assert_eq!(since.as_millis(), (feed.tick - snapshot.ticks) * 2000);
    }
    let snapshot = serde_json::to_value(feed.judging.snapshot()).unwrap();
    let probes = snapshot["probes"].as_u64().unwrap();
    assert_eq!(snapshot["outcomes"]["ok"], probes);
    let mut merged = Interval::default();
    for _ in 0..2 {
        merged.merge(&Interval::from_wire(snapshot["latency"].as_str().unwrap()).unwrap());
    }
    assert_eq!(merged.count(), 2 * probes);
    // All of it is a tick to whoever merges it.
    let tick: policies::TargetTick = serde_json::from_value(snapshot).unwrap();
    assert_eq!((u64::from(tick.due), tick.judged(), tick.bad()), (probes, probes, 0));
}

#[test]
fn a_tick_counts_once_and_time_never_runs_backwards() {
    let mut feed = Feed::new(POLICY);
    feed.healthy(5);
    feed.tick = 2;
    feed.healthy(3);
    assert_eq!(feed.judging.snapshot().ticks, 5);
    let plan = feed.judging.plan(7, target("127.0.0.1:3000"));
    assert_eq!((plan.green.len(), plan.blue.len(), plan.first_tick), (1, 0, 0));
}
