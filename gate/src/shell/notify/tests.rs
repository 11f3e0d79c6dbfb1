//! What is told of a decision, to whom, and what becomes of it where it cannot be told.

use std::sync::PoisonError;

use expect_test::{Expect, expect};
use policies::deployment::Route;
use policies::{
    Answer, ArmTick, Delivery, Event, Moment, Outcome, PolicyInForce, Question, Run, Sample, Stage,
    Target, TargetTick, Tick,
};

use super::*;
use crate::aws::fake::FakeAws;
use crate::aws::{Call, Failure};

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:releases";

const POLICY: &str = "
gate: v1
probe: { http: { path: / } }
objectives: [ { errors: { at-most: 1% } } ]
watch: { until: end-of-deployment }
";

/// 40 probes of green in each tick of two seconds.
fn tick(index: u64, outcome: Outcome) -> Event {
    let mut seen = TargetTick::default();
    for _ in 0..40 {
        seen.record(&Sample { outcome, ..Sample::default() });
    }
    let green = ArmTick { targets: [("10.0.0.2:80".to_owned(), seen)].into() };
    Event::Ticked { tick: Box::new(Tick { index, green, blue: None, throttled_millis: 0 }) }
}

/// A run that was answered, and vetoed where green breaks after that.
fn run(application: &str, outcome: Outcome, veto: bool) -> Run {
    let question = Question {
        id: "d-1-3f61df3c".into(),
        limit: None,
        unmatched: Answer::Rollback,
        observe: false,
        watch_only: false,
    };
    let green = Target {
        id: "10.0.0.2:80".into(),
        host: "10.0.0.2".into(),
        port: 80,
        tls: false,
        route: Route::Task,
        health: None,
    };
    let deployment = Deployment {
        id: "d-1".into(),
        application: application.into(),
        group: "prod".into(),
        stage: Stage::AfterAllowTestTraffic,
        rolls_back_on_failure: true,
        green: vec![green],
        ..Deployment::default()
    };
    let policy = PolicyInForce::Chosen { file: "web.policy.yaml".into(), text: POLICY.into() };
    let mut run = Run::new(question);
    let at = |seconds: u64| Moment::from_millis(seconds * 1000);
    run.step(Event::Resolved { deployment: Box::new(deployment), policy }, at(0));
    for index in 0..40 {
        run.step(tick(index, outcome), at(2 * index + 2));
    }
    run.step(Event::Delivered { delivery: Delivery::Confirmed }, at(90));
    if veto {
        (40..44)
            .for_each(|index| drop(run.step(tick(index, Outcome::Refused), at(2 * index + 12))));
        run.step(Event::Delivered { delivery: Delivery::Stopped }, at(120));
    }
    run
}

fn check(run: &Run, expected: Expect) {
    let report = run.report();
    expected.assert_eq(&format!("{}\n\n{}", subject(&report), message(&report)));
}

#[test]
fn the_reason_comes_first() {
    check(
        &run("checkout", Outcome::Refused, false),
        expect![[r#"
        gate: ROLLBACK of checkout prod at AfterAllowTestTraffic

        ROLLBACK (proven): `errors at most 1 %` is broken: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence): 80 × refused; evidence 2053:1 that more than 1 % are (rollback at 100:1)

        evaluation: d-1-3f61df3c
        deployment: d-1, checkout prod at AfterAllowTestTraffic
        policy: web.policy.yaml
        answer: confirmed
        otherwise: it would not have been rolled back by then if at-most were 6.9 % (`errors at most 1 %`)
        Broken  errors at most 1 %: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence); evidence 2053:1 that more than 1 % are (rollback at 100:1), 1 to over 1000000 that fewer than 2 % are
    "#]],
    );
    check(
        &run("checkout", Outcome::Ok, false),
        expect![[r#"
        gate: CONTINUE of checkout prod at AfterAllowTestTraffic

        CONTINUE (proven): every objective is kept after 60 s: `errors at most 1 %`: 0 of 1200 bad; evidence at least over 1000000:1 (continue at 100:1)

        evaluation: d-1-3f61df3c
        deployment: d-1, checkout prod at AfterAllowTestTraffic
        policy: web.policy.yaml
        answer: confirmed
        otherwise: it would have continued as soon with at-most down to 0.23 % (`errors at most 1 %`)
        Kept    errors at most 1 %: 0 of 1200 probes bad (0 %, at any time 0-0.47 % with 99 % confidence); evidence 1:4 that more than 1 % are (rollback at 100:1), over 1000000:1 that fewer than 2 % are
    "#]],
    );
    check(
        &run("checkout", Outcome::Ok, true),
        expect![[r#"
        gate: VETO of checkout prod at AfterAllowTestTraffic

        VETO: `errors at most 1 %` is broken: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence): 80 × refused; evidence 2053:1 that more than 1 % are (rollback at 164:1)

        evaluation: d-1-3f61df3c
        deployment: d-1, checkout prod at AfterAllowTestTraffic
        policy: web.policy.yaml
        watch: veto deployment stopped with rollback
        Broken  errors at most 1 %: 80 of 80 probes bad (100 %, at any time 83-100 % with 99 % confidence); evidence 2053:1 that more than 1 % are (rollback at 164:1), 1 to over 1000000 that fewer than 2 % are
    "#]],
    );
}

#[test]
fn a_subject_is_short_and_plain_and_a_message_is_cut_between_characters() {
    let long = run(&format!("größe\n{}", "x".repeat(200)), Outcome::Refused, false);
    let subject = subject(&long.report());
    assert_eq!(subject.len(), SUBJECT_MAX);
    assert!(subject.starts_with("gate: ROLLBACK of gr??e?xxx"), "{subject}");
    let text = bounded("ü".repeat(MESSAGE_MAX_BYTES));
    assert!(text.len() <= MESSAGE_MAX_BYTES && text.ends_with("ü…\n"), "{} bytes", text.len());
}

/// Tells a topic, and shows what was counted.
async fn told(aws: FakeAws, topics: usize) -> (usize, String) {
    let aws = Arc::new(aws);
    let metrics = Arc::new(Metrics::new().unwrap());
    let tasks = TaskTracker::new();
    let clouds = Clouds::only(Arc::<FakeAws>::clone(&aws));
    let notifier = Notifier::new(clouds, Arc::clone(&metrics), tasks.clone());
    let report = run("checkout", Outcome::Refused, false).report();
    notifier.tell(&vec![TOPIC.to_owned(); topics], &report);
    tasks.close();
    tasks.wait().await;
    let published = aws.published.lock().unwrap_or_else(PoisonError::into_inner).clone();
    for [topic, told, text] in &published {
        assert_eq!((topic.as_str(), told, text), (TOPIC, &subject(&report), &message(&report)));
    }
    let metrics = metrics.text().unwrap();
    let counted = metrics.lines().filter(|line| line.starts_with("gate_notifications_total"));
    (published.len(), counted.collect::<Vec<_>>().join(" "))
}

#[tokio::test]
async fn what_cannot_be_told_is_counted_and_stands_in_nobodys_way() {
    let counted = |outcome: &str, count: usize| {
        format!("gate_notifications_total{{outcome=\"{outcome}\"}} {count}")
    };
    assert_eq!(told(FakeAws::new(), 2).await, (2, counted("sent", 2)));
    let mut denied = FakeAws::new();
    denied.failures.insert(Call::Publish, Failure::Denied);
    assert_eq!(told(denied, 1).await, (1, counted("failed", 1)));
    let (published, seen) = told(FakeAws::new(), NOTIFYING_MAX + 3).await;
    let both = format!("{} {}", counted("dropped", 3), counted("sent", NOTIFYING_MAX));
    assert_eq!((published, seen), (NOTIFYING_MAX, both));
}
