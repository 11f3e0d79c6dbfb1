//! The life of a question, tested without a runtime or a socket.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "the whole file is a test; clippy knows only `#[test]` functions as such"
)]

mod common;

use common::{arm, at, deployment, question, read, resolved_to, said, target, tick, trouble};
use expect_test::{Expect, expect};
use policies::reading::Seen;
use policies::{
    Action, Answer, Delivery, Deployment, Event, Moment, Outcome, Phase, PolicyInForce, Question,
    Run, Stage, Tick,
};

const POLICY: &str = "
gate: v1
probe: { http: { path: / }, warm-up: 4s }
objectives:
  - errors:  { at-most: 0.5% }
  - latency: { quantile: p99, at-most: 250ms }
";

const WATCHED: &str = "
gate: v1
probe: { http: { path: / }, warm-up: 4s }
objectives: [ { errors: { at-most: 1% } } ]
watch: { until: end-of-deployment }
";

fn resolved() -> Event {
    resolved_to(deployment(), POLICY)
}

/// A run in each phase.
fn run_in(phase: Phase) -> Run {
    let mut run = Run::new(question());
    let healthy = |index| tick(index, &[(Outcome::Ok, 40)], &[(Outcome::Ok, 40)]);
    let broken = |index| tick(index, &[(Outcome::Refused, 40)], &[(Outcome::Ok, 40)]);
    let confirmed = || Event::Delivered { delivery: Delivery::Confirmed };
    if phase >= Phase::WarmUp {
        run.step(resolved_to(deployment(), WATCHED), at(0));
    }
    if phase >= Phase::Judging {
        run.step(healthy(0), at(2));
        run.step(healthy(1), at(4));
    }
    match phase {
        Phase::Resolving | Phase::WarmUp | Phase::Judging => {}
        Phase::Answering | Phase::Done => {
            run.step(broken(2), at(6));
            run.step(broken(3), at(8));
        }
        Phase::Watching | Phase::Vetoing => {
            (2..40).for_each(|i| drop(run.step(healthy(i), at(2 * i + 2))));
            run.step(confirmed(), at(90));
        }
    }
    if phase == Phase::Vetoing {
        run.step(broken(40), at(92));
        run.step(broken(41), at(94));
    }
    if phase == Phase::Done {
        run.step(confirmed(), at(8));
    }
    assert_eq!(run.phase(), phase, "{:?}", run.report().timeline);
    run
}

#[test]
fn every_phase_knows_what_to_do_with_every_event() {
    let events: Vec<(&str, Event)> = vec![
        ("resolved", resolved()),
        ("unchanged", Event::Unchanged),
        ("unresolved", Event::Unresolved { trouble: trouble(false) }),
        ("ticked", tick(99, &[(Outcome::Ok, 40)], &[(Outcome::Ok, 40)])),
        ("read", read("alarms x", Seen::Alarms { alarms: [].into() })),
        ("woke", Event::Woke),
        ("ended", Event::Ended { status: "Stopped".into() }),
        ("delivered", Event::Delivered { delivery: Delivery::AlreadyCompleted }),
        ("undelivered", Event::Undelivered { trouble: trouble(false) }),
        ("resumed", Event::Resumed),
        ("taken-over", Event::TakenOver),
        ("hold", said("hold")),
        ("rollback", said("rollback")),
    ];
    let mut table = String::new();
    for phase in Phase::ALL {
        for (name, event) in &events {
            let mut run = run_in(phase);
            let actions = run.step(event.clone(), at(100));
            let actions: Vec<&str> = actions.iter().map(Action::name).collect();
            let line = format!("{phase} + {name} = {}: {}\n", run.phase(), actions.join(", "));
            table.push_str(&line.replace(": \n", ": nothing\n"));
        }
    }
    expect![[r#"
        resolving + resolved = warm-up: wake-at, probe, resolve
        resolving + unchanged = resolving: resolve
        resolving + unresolved = resolving: resolve
        resolving + ticked = resolving: nothing
        resolving + read = resolving: nothing
        resolving + woke = resolving: wake-at
        resolving + ended = done: stop-probing, close
        resolving + delivered = resolving: nothing
        resolving + undelivered = resolving: nothing
        resolving + resumed = resolving: wake-at, resolve
        resolving + taken-over = resolving: nothing
        resolving + hold = resolving: wake-at
        resolving + rollback = answering: stop-probing, answer
        warm-up + resolved = warm-up: resolve
        warm-up + unchanged = warm-up: resolve
        warm-up + unresolved = warm-up: resolve
        warm-up + ticked = judging: nothing
        warm-up + read = warm-up: nothing
        warm-up + woke = warm-up: wake-at
        warm-up + ended = done: stop-probing, close
        warm-up + delivered = warm-up: nothing
        warm-up + undelivered = warm-up: nothing
        warm-up + resumed = warm-up: wake-at, probe, resolve
        warm-up + taken-over = warm-up: nothing
        warm-up + hold = warm-up: wake-at
        warm-up + rollback = answering: stop-probing, answer
        judging + resolved = judging: resolve
        judging + unchanged = judging: resolve
        judging + unresolved = judging: resolve
        judging + ticked = judging: nothing
        judging + read = judging: nothing
        judging + woke = judging: wake-at
        judging + ended = done: stop-probing, close
        judging + delivered = judging: nothing
        judging + undelivered = judging: nothing
        judging + resumed = judging: wake-at, probe, resolve
        judging + taken-over = judging: nothing
        judging + hold = judging: wake-at
        judging + rollback = answering: stop-probing, answer
        answering + resolved = answering: nothing
        answering + unchanged = answering: nothing
        answering + unresolved = answering: nothing
        answering + ticked = answering: nothing
        answering + read = answering: nothing
        answering + woke = answering: nothing
        answering + ended = answering: nothing
        answering + delivered = done: close
        answering + undelivered = answering: answer
        answering + resumed = answering: answer
        answering + taken-over = answering: nothing
        answering + hold = answering: nothing
        answering + rollback = answering: nothing
        watching + resolved = watching: resolve
        watching + unchanged = watching: resolve
        watching + unresolved = watching: resolve
        watching + ticked = watching: nothing
        watching + read = watching: nothing
        watching + woke = watching: nothing
        watching + ended = done: stop-probing, close
        watching + delivered = watching: nothing
        watching + undelivered = watching: nothing
        watching + resumed = watching: probe, resolve
        watching + taken-over = done: stop-probing, close
        watching + hold = watching: nothing
        watching + rollback = vetoing: stop-probing, veto
        vetoing + resolved = vetoing: nothing
        vetoing + unchanged = vetoing: nothing
        vetoing + unresolved = vetoing: nothing
        vetoing + ticked = vetoing: nothing
        vetoing + read = vetoing: nothing
        vetoing + woke = vetoing: nothing
        vetoing + ended = vetoing: nothing
        vetoing + delivered = done: stop-probing, close
        vetoing + undelivered = vetoing: veto
        vetoing + resumed = vetoing: veto
        vetoing + taken-over = vetoing: nothing
        vetoing + hold = vetoing: nothing
        vetoing + rollback = vetoing: nothing
        done + resolved = done: nothing
        done + unchanged = done: nothing
        done + unresolved = done: nothing
        done + ticked = done: nothing
        done + read = done: nothing
        done + woke = done: nothing
        done + ended = done: nothing
        done + delivered = done: nothing
        done + undelivered = done: nothing
        done + resumed = done: nothing
        done + taken-over = done: nothing
        done + hold = done: nothing
        done + rollback = done: nothing
    "#]]
    .assert_eq(&table);
}

/// Feeds events at their seconds and shows the decision.
fn check(events: Vec<(u64, Event)>, expected: Expect) {
    check_question(question(), events, expected);
}

fn check_question(question: Question, events: Vec<(u64, Event)>, expected: Expect) {
    let mut run = Run::new(question);
    for (seconds, event) in events {
        run.step(event, at(seconds));
    }
    expected.assert_eq(&match run.decision() {
        Some(decision) => format!("{}, {}: {}", decision.answer, decision.basis, decision.reason),
        None => format!("{}: no decision", run.phase()),
    });
}

#[test]
fn a_rollback_and_a_stage_without_green_continue_at_once() {
    let rollback = Deployment { is_rollback: true, ..deployment() };
    check(
        vec![(1, resolved_to(rollback, POLICY))],
        expect![
            "continue, rollback-deployment: the deployment is itself a rollback, which is never gated"
        ],
    );
    let rollback = Deployment { is_rollback: true, ..deployment() };
    check(
        vec![
            (0, Event::Unresolved { trouble: trouble(false) }),
            (700, resolved_to(rollback, POLICY)),
        ],
        expect![
            "continue, rollback-deployment: the deployment is itself a rollback, which is never gated"
        ],
    );
    let early = Deployment { stage: Stage::BeforeInstall, ..deployment() };
    check(
        vec![(1, resolved_to(early, POLICY))],
        expect![
            "continue, nothing-to-measure: nothing to measure yet at BeforeInstall: there is no green"
        ],
    );
}

#[test]
fn without_a_usable_policy_the_setting_decides_and_is_named() {
    let with = |policy| Event::Resolved { deployment: Box::new(deployment()), policy };
    check(
        vec![(1, with(PolicyInForce::Unmatched))],
        expect![
            "rollback, unmatched: no policy applies to this deployment; answering rollback by the setting `unmatched`"
        ],
    );
    check(
        vec![(1, with(PolicyInForce::Tied { files: vec!["a".into(), "b".into()] }))],
        expect![
            "rollback, unmatched: these policies apply equally well: a, b; answering rollback by the setting `unmatched`"
        ],
    );
    check(
        vec![(1, resolved_to(deployment(), "gate: v1\nprobe: 3\n"))],
        expect![
            "rollback, broken-policy: the policy for this deployment is broken: web.policy.yaml:1:1: a policy has no `objectives`; web.policy.yaml:2:8: `probe` is a map of keys and values; answering rollback by the setting `unmatched`"
        ],
    );
    let grpc = Deployment { only_speaks: Some("GRPC".to_owned()), ..deployment() };
    check(
        vec![(1, resolved_to(grpc.clone(), POLICY))],
        expect![
            "rollback, broken-policy: the policy for this deployment is broken: web.policy.yaml: green's target group speaks GRPC alone, and the policy probes by HTTP/1.1; write `grpc` or `http: { version: 2 }`; answering rollback by the setting `unmatched`"
        ],
    );
    let two = POLICY.replace("path: /", "path: /, version: 2");
    let mut run = Run::new(question());
    run.step(resolved_to(grpc, &two), at(1));
    assert_eq!(run.phase(), Phase::WarmUp, "{two}");
    let open = Question { unmatched: Answer::Continue, ..question() };
    check_question(
        open,
        vec![(1, with(PolicyInForce::Unmatched))],
        expect![
            "continue, unmatched: no policy applies to this deployment; answering continue by the setting `unmatched`"
        ],
    );
}

#[test]
fn lasting_trouble_gets_a_grace_and_passing_trouble_the_whole_deadline() {
    let unresolved = |lasting| Event::Unresolved { trouble: trouble(lasting) };
    check(vec![(0, unresolved(true)), (19, unresolved(true))], expect!["resolving: no decision"]);
    check(
        vec![(0, unresolved(true)), (20, unresolved(true))],
        expect![
            "rollback, unresolved: the deployment could not be resolved in 20 s: GetDeployment of d-1 failed: Some; answering rollback by the setting `unmatched`"
        ],
    );
    check(
        vec![(0, unresolved(false)), (599, unresolved(false))],
        expect!["resolving: no decision"],
    );
    check(
        vec![(0, unresolved(false)), (600, Event::Woke)],
        expect![
            "rollback, unresolved: the deployment could not be resolved in 10 min: GetDeployment of d-1 failed: Some; answering rollback by the setting `unmatched`"
        ],
    );
}

#[test]
fn the_grace_for_lasting_trouble_is_not_used_up_by_an_outage_or_by_gates_own_absence() {
    let unresolved = |lasting| Event::Unresolved { trouble: trouble(lasting) };
    let empty = || resolved_to(Deployment { green: vec![], ..deployment() }, POLICY);
    check(
        vec![(0, unresolved(false)), (100, unresolved(false)), (101, unresolved(true))],
        expect!["resolving: no decision"],
    );
    check(vec![(0, unresolved(false)), (100, empty())], expect!["resolving: no decision"]);
    check(
        vec![(0, unresolved(true)), (100, Event::Resumed), (101, unresolved(true))],
        expect!["resolving: no decision"],
    );
}

#[test]
fn a_deadline_without_a_target_of_green_is_no_data_not_trouble_of_aws() {
    let hasty = POLICY.to_owned() + "decide: { deadline: 10s, at-least: 2s, no-data: continue }\n";
    let empty = resolved_to(Deployment { green: vec![], ..deployment() }, &hasty);
    check(
        vec![(0, empty), (10, Event::Woke)],
        expect![
            "continue, no-data: no data: green has no target to probe on the route the policy wants, after looking for 10 s; answering continue by the policy's `no-data` rule"
        ],
    );
}

#[test]
fn at_a_low_rate_ticks_without_a_probe_are_no_silence() {
    let slow = "
gate: v1
probe: { http: { path: / }, rate: 5/m }
objectives: [ { errors: { at-most: 5%, unacceptable: 60% } } ]
decide: { at-least: 30s, deadline: 5m }
";
    let mut events = vec![(0, resolved_to(deployment(), slow))];
    // A probe every twelve seconds is one in each sixth tick.
    events.extend((0..60).map(|i| {
        let due: &[(Outcome, u32)] = if i % 6 == 0 { &[(Outcome::Ok, 1)] } else { &[] };
        (2 * i + 2, tick(i, due, &[]))
    }));
    check(
        events,
        expect![
            "continue, proven: every objective is kept after 62 s: `errors at most 5 %`: 0 of 6 bad; evidence at least 207:1 (continue at 100:1)"
        ],
    );
}

#[test]
fn green_without_targets_or_without_samples_has_no_data() {
    let empty = || resolved_to(Deployment { green: vec![], ..deployment() }, POLICY);
    check(vec![(0, empty()), (19, empty())], expect!["resolving: no decision"]);
    check(
        vec![(0, empty()), (20, empty())],
        expect![
            "rollback, no-data: no data: green has no target to probe on the route the policy wants, after looking for 20 s; answering rollback by the policy's `no-data` rule"
        ],
    );
    let silence = |ticks: u64| {
        let mut events = vec![(0, resolved())];
        events.extend((0..ticks).map(|i| (2 * i + 2, tick(i, &[(Outcome::Dns, 40)], &[]))));
        events
    };
    // Two ticks of warm-up, then five of two seconds make the ten.
    check(silence(6), expect!["judging: no decision"]);
    check(
        silence(7),
        expect![
            "rollback, no-data: no data: no probe of green finished for 10 s: 200 × dns; answering rollback by the policy's `no-data` rule"
        ],
    );
}

#[test]
fn gates_own_trouble_never_counts_against_a_release() {
    let late = |index| {
        // Every probe failed, and every probe was sent half a second late by gate itself.
        let green = arm("10.0.0.2:80", &[(Outcome::Status, 40)], 500, 505);
        Event::Ticked { tick: Box::new(Tick { index, green, ..Tick::default() }) }
    };
    let mut events = vec![(0, resolved())];
    events.extend((0..300).map(|i| (2 * i + 2, late(i))));
    check(
        events,
        expect![
            "rollback, gate-trouble: not proven: gate itself could not measure in 298 of 298 ticks (short of CPU or sockets), which says nothing about the release; answering rollback by the policy's `undecided` rule"
        ],
    );
}

#[test]
fn connections_that_fail_on_blue_too_are_set_aside() {
    let outage = |blue: Outcome| {
        let mut events = vec![(0, resolved())];
        events
            .extend((0..6).map(|i| (2 * i + 2, tick(i, &[(Outcome::Refused, 40)], &[(blue, 40)]))));
        events
    };
    check(outage(Outcome::Refused), expect!["judging: no decision"]);
    check(
        outage(Outcome::Ok),
        expect![
            "rollback, proven: `errors at most 0.5 %` is broken: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence): 80 × refused; evidence 5950:1 that more than 0.5 % are; together 4001:1 (rollback at 100:1)"
        ],
    );
}

#[test]
fn nothing_proven_by_the_deadline_is_said_to_be_unproven() {
    // Between the allowed share and the unacceptable one, and asked to be very sure.
    let strict = "decide: { false-rollback: 0.0001%, false-continue: 0.0001% }\n";
    let mut events = vec![(0, resolved_to(deployment(), &format!("{POLICY}{strict}")))];
    events.extend((0..299).map(|i| {
        let bad = u32::from(i % 4 == 0);
        (2 * i + 2, tick(i, &[(Outcome::Ok, 40 - bad), (Outcome::Status, bad)], &[]))
    }));
    events.push((600, Event::Woke));
    check(
        events,
        expect![
            "rollback, undecided: not proven after 10 min (rollback needs over 1000000:1, continue over 1000000:1); least sure of `errors at most 0.5 %`: 74 of 11880 probes bad (0.62 %, at any time 0.38-0.93 % with 99 % confidence); evidence 1:2 that more than 0.5 % are (rollback at over 1000000:1), 1790:1 that fewer than 1 % are; answering rollback by the policy's `undecided` rule"
        ],
    );
}

#[test]
fn observing_judges_and_lets_everything_through() {
    let observing = Question { observe: true, ..question() };
    let mut events = vec![(0, resolved())];
    events.extend((0..6).map(|i| (2 * i + 2, tick(i, &[(Outcome::Timeout, 40)], &[]))));
    check_question(
        observing,
        events,
        expect![
            "continue, observed: only observing; would have answered rollback: `errors at most 0.5 %` is broken: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence): 80 × timeout; evidence 5950:1 that more than 0.5 % are; together 4001:1 (rollback at 100:1)"
        ],
    );
}

#[test]
fn the_platforms_deadline_less_a_margin_caps_the_policys() {
    let patient = format!("{POLICY}decide: {{ deadline: 5h }}\n");
    let run = |seconds| {
        let mut run = Run::new(question());
        run.step(resolved_to(deployment(), &patient), at(1));
        run.step(Event::Woke, at(seconds));
        run.phase()
    };
    assert_eq!(run(3600 - 120 - 1), Phase::WarmUp);
    assert_eq!(run(3600 - 120), Phase::Answering);
}

#[test]
fn an_answer_is_sent_until_it_is_confirmed_or_nobody_waits() {
    let mut run = run_in(Phase::Answering);
    let mut waits = Vec::new();
    for attempt in 0..8 {
        let actions = run.step(Event::Undelivered { trouble: trouble(false) }, at(10 + attempt));
        let [Action::Answer { after, until, stop_deployment: false, .. }] = actions.as_slice()
        else {
            panic!("{actions:?}");
        };
        assert_eq!(*until, Some(at(3600)), "nobody is answered late");
        waits.push(after.as_millis());
    }
    assert_eq!(waits, [250, 500, 1000, 2000, 4000, 8000, 8000, 8000]);
    let actions = run.step(Event::Undelivered { trouble: trouble(false) }, at(3600));
    assert_eq!(actions, [Action::Close]);
    assert!(matches!(run.report().delivery, Some(Delivery::TooLate { .. })));
}

#[test]
fn a_group_that_would_not_roll_back_has_its_deployment_stopped() {
    let mut run = Run::new(question());
    let stubborn = Deployment { rolls_back_on_failure: false, ..deployment() };
    run.step(resolved_to(stubborn, POLICY), at(0));
    let mut actions = Vec::new();
    for i in 0..6 {
        actions.extend(run.step(tick(i, &[(Outcome::Timeout, 40)], &[]), at(2 * i + 2)));
    }
    assert!(
        actions.iter().any(|action| matches!(action, Action::Answer { stop_deployment: true, .. })),
        "{actions:?}"
    );
}

#[test]
fn targets_that_join_and_leave_change_the_plan_and_are_noted() {
    let mut run = run_in(Phase::Judging);
    let scaled =
        Deployment { green: vec![target("10.0.0.3:80"), target("10.0.0.4:80")], ..deployment() };
    let actions = run.step(resolved_to(scaled, POLICY), at(10));
    let Some(Action::Probe(plan)) = actions.first() else { panic!("{actions:?}") };
    assert_eq!((plan.green.len(), plan.first_tick), (2, 2));
    let noted = run.report().timeline.iter().any(|note| {
        note.text == "targets of green changed; joined: 10.0.0.3:80, 10.0.0.4:80; left: 10.0.0.2:80"
    });
    assert!(noted, "{:?}", run.report().timeline);
}

#[test]
fn time_that_steps_back_moves_nothing() {
    let mut run = Run::new(question());
    run.step(resolved(), at(700));
    assert_eq!(run.phase(), Phase::Answering, "past the policy's deadline");
    let mut run = run_in(Phase::Judging);
    run.step(Event::Woke, at(0));
    assert_eq!(run.phase(), Phase::Judging);
}

/// Splitmix64: ticks drawn from a fixed generator, so that the figures below never flicker.
struct Dice(u64);

impl Dice {
    fn chance(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Runs one question against a green with this share of errors; seconds after warm-up, and the answer.
fn simulate(seed: u64, errors: f64, record: &mut Vec<(Moment, Event)>) -> (u64, Answer) {
    let mut dice = Dice(seed);
    let mut run = Run::new(question());
    let mut feed = |run: &mut Run, event: Event, at: Moment| {
        record.push((at, event.clone()));
        run.step(event, at);
    };
    feed(&mut run, resolved(), at(0));
    for index in 0..300 {
        let bad = (0..40).map(|_| u32::from(dice.chance() < errors)).sum();
        let event =
            tick(index, &[(Outcome::Ok, 40 - bad), (Outcome::Status, bad)], &[(Outcome::Ok, 40)]);
        feed(&mut run, event, at(2 * index + 2));
        if let Some(decision) = run.decision() {
            return (2 * index + 2 - 4, decision.answer);
        }
    }
    panic!("undecided with seed {seed}");
}

#[test]
fn five_percent_errors_are_rolled_back_in_seconds_and_a_healthy_release_passes_in_a_minute() {
    let mut bad: Vec<u64> = (0..1000)
        .map(|seed| {
            let (seconds, answer) = simulate(seed, 0.05, &mut Vec::new());
            assert_eq!(answer, Answer::Rollback, "seed {seed}");
            seconds
        })
        .collect();
    bad.sort_unstable();
    let (median, p95) = (bad[500], bad[950]);
    assert!(median <= 10 && p95 <= 20, "median {median} s, p95 {p95} s");

    let mut wrong = 0;
    let mut good: Vec<u64> = (0..1000)
        .map(|seed| {
            let (seconds, answer) = simulate(seed, 0.001, &mut Vec::new());
            wrong += usize::from(answer == Answer::Rollback);
            seconds
        })
        .collect();
    good.sort_unstable();
    assert!(wrong <= 10, "{wrong} of 1000 healthy releases were rolled back");
    assert!((60..=66).contains(&good[500]), "median {} s", good[500]);
    println!(
        "5 % errors: median {median} s, p95 {p95} s; healthy 0.1 %: median {} s, p95 {} s, {wrong} of 1000 rolled back",
        good[500], good[950]
    );
}

#[test]
fn a_recorded_run_replays_to_the_same_decision_at_the_same_tick() {
    for seed in 0..20 {
        let mut record = Vec::new();
        simulate(seed, 0.02, &mut record);
        let written: Vec<(Moment, String)> =
            record.iter().map(|(at, e)| (*at, serde_json::to_string(e).unwrap())).collect();
        let run_of = |events: Vec<(Moment, Event)>| {
            let mut run = Run::new(question());
            for (at, event) in events {
                run.step(event, at);
            }
            serde_json::to_string(&run.report()).unwrap()
        };
        let read = written.iter().map(|(at, text)| (*at, serde_json::from_str(text).unwrap()));
        assert_eq!(run_of(record.clone()), run_of(read.collect()), "seed {seed}");
    }
}
