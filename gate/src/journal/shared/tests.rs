//! Gates that share a table in memory, under time that stands still until it is moved.

use std::sync::Arc;

use policies::{Answer, Basis, Decision, Event, Override, Question};
use tokio::time::advance;

use super::*;
use crate::ask::{Ask, Asked, Token};
use crate::aws::Place;
use crate::aws::fake::table::{FakeTable, Write};
use crate::clock::MachineClock;

async fn gate(table: &Arc<FakeTable>) -> Shared {
    let table: Arc<dyn Table> = Arc::<FakeTable>::clone(table);
    Shared::open(table, "gate", Arc::new(MachineClock)).await.unwrap()
}

async fn two() -> (Arc<FakeTable>, Shared, Shared) {
    let table = Arc::new(FakeTable::default());
    let (one, other) = (gate(&table).await, gate(&table).await);
    (table, one, other)
}

fn question(id: &str) -> Accepted {
    let question = Question {
        id: id.into(),
        limit: None,
        unmatched: Answer::Rollback,
        observe: false,
        watch_only: false,
    };
    let ask =
        Ask::CodedeployHook { deployment_id: "d-1".into(), execution_id: Token("token".into()) };
    let asked = Asked::now(ask, Place::default());
    Accepted { question, asked, accepted_unix_millis: 1, accepted_since_boot: None }
}

fn woke() -> Entry {
    Entry::Fact { fact: Event::Woke }
}

fn decided(answer: Answer) -> Entry {
    let reason = "because".into();
    let decision =
        Decision { answer, basis: Basis::Proven, reason, objective: None, counterfactual: None };
    Entry::Decided { decision }
}

async fn append(gate: &Shared, millis: u64, entry: Entry) -> Result<(), JournalError> {
    gate.append("one", Moment::from_millis(millis), entry).await
}

async fn entries(gate: &Shared) -> Vec<u64> {
    let stored = gate.load("one").await.unwrap().unwrap();
    assert_eq!(stored.unreadable, 0);
    stored.entries.iter().map(|(at, _entry)| at.as_millis()).collect()
}

/// What a gate takes over that looks once.
async fn taking(gate: &Shared) -> Vec<Stored> {
    let mut taken = Vec::new();
    for left in gate.sweep().await.unwrap().left {
        taken.extend(gate.take(&left).await.unwrap());
    }
    taken
}

/// The same, again and again for so long.
async fn looking(gate: &Shared, seconds: u64) -> Vec<Stored> {
    let mut taken = Vec::new();
    for _second in 0..=seconds {
        taken.extend(taking(gate).await);
        advance(Duration::from_secs(1)).await;
    }
    taken
}

#[tokio::test(start_paused = true)]
async fn of_two_gates_that_are_asked_the_same_one_accepts() {
    let (_table, one, other) = two().await;
    let (first, second) = tokio::join!(one.accept(question("one")), other.accept(question("one")));
    let (first, second) = (first.unwrap(), second.unwrap());
    assert!(first ^ second, "{first} {second}");
    let (one, other) = if first { (one, other) } else { (other, one) };
    assert!(!one.accept(question("one")).await.unwrap(), "delivered again, it joins");
    append(&one, 1, woke()).await.unwrap();
    let refused = append(&other, 1, woke()).await;
    assert!(matches!(refused, Err(JournalError::TakenOver)), "{refused:?}");
    let known = other.known("one").await.unwrap().unwrap();
    assert!(known.open && !known.decided && known.accepted == question("one"));
}

#[tokio::test(start_paused = true)]
async fn who_renews_keeps_its_questions_and_who_does_not_is_taken_over_from_with_all_it_wrote() {
    let (_table, one, other) = two().await;
    one.accept(question("one")).await.unwrap();
    for tick in 1..=3 {
        append(&one, tick, woke()).await.unwrap();
    }
    for _round in 0..20 {
        one.renew().await.unwrap();
        assert!(looking(&other, 5).await.is_empty(), "it lives");
    }
    let taken = looking(&other, 20).await;
    assert_eq!(taken.len(), 1);
    assert_eq!(taken[0].accepted, question("one"));
    assert_eq!(taken[0].entries.len(), 3);
    append(&other, 4, woke()).await.unwrap();
    // It was paused, not gone, and comes back with a decision.
    let late = append(&one, 5, decided(Answer::Rollback)).await;
    assert!(matches!(late, Err(JournalError::TakenOver)), "{late:?}");
    assert!(matches!(one.close("one").await, Ok(()) | Err(JournalError::TakenOver)));
    assert!(other.known("one").await.unwrap().unwrap().open, "it closes nothing either");
    append(&other, 6, decided(Answer::Continue)).await.unwrap();
    other.close("one").await.unwrap();
    assert_eq!(entries(&one).await, [1, 2, 3, 4, 6]);
    let listed = one.list(10).await.unwrap();
    assert!(listed[0].closed);
    assert_eq!(listed[0].decision.as_ref().map(|found| found.answer), Some(Answer::Continue));
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_was_paused_learns_by_looking_what_it_lost() {
    let (_table, one, other) = two().await;
    for id in ["one", "two"] {
        one.accept(question(id)).await.unwrap();
    }
    assert_eq!(looking(&other, 21).await.len(), 2);
    other.close("two").await.unwrap();
    let swept = one.sweep().await.unwrap();
    assert_eq!(swept.lost, ["one", "two"], "open elsewhere, and over");
    assert!(swept.left.is_empty());
    assert!(one.sweep().await.unwrap().lost.is_empty(), "it is told once");
}

#[tokio::test(start_paused = true)]
async fn of_two_gates_that_take_over_one_does() {
    let (table, one, other) = two().await;
    let gone = gate(&table).await;
    gone.accept(question("one")).await.unwrap();
    let mut taken = 0;
    for _second in 0..25 {
        let (first, second) = tokio::join!(taking(&one), taking(&other));
        taken += first.len() + second.len();
        for gate in [&one, &other] {
            gate.renew().await.unwrap();
        }
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(taken, 1);
}

#[tokio::test(start_paused = true)]
async fn a_gate_that_stops_gives_back_at_once() {
    let (_table, one, other) = two().await;
    one.accept(question("one")).await.unwrap();
    append(&one, 1, woke()).await.unwrap();
    one.end().await.unwrap();
    assert_eq!(other.sweep().await.unwrap().left.len(), 1);
    assert_eq!(taking(&other).await.len(), 1, "looking took nothing");
    assert!(matches!(append(&one, 2, woke()).await, Err(JournalError::TakenOver)));
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_ones_own() {
    let (table, one, other) = two().await;
    table.break_writes(&[Some(Write::Retried)]);
    assert!(one.accept(question("one")).await.unwrap(), "accepted by its first try");
    table.break_writes(&[Some(Write::Retried)]);
    append(&one, 1, woke()).await.unwrap();
    // Tried again by whoever was not told: it is there once.
    table.break_writes(&[Some(Write::Unanswered)]);
    append(&one, 1, decided(Answer::Continue)).await.unwrap_err();
    append(&one, 1, decided(Answer::Continue)).await.unwrap();
    // Given up on, and written all the same: the next entry comes after it.
    table.break_writes(&[Some(Write::Unanswered)]);
    append(&one, 2, woke()).await.unwrap_err();
    append(&one, 3, woke()).await.unwrap();
    table.break_writes(&[Some(Write::Refused)]);
    append(&one, 4, woke()).await.unwrap_err();
    append(&one, 5, woke()).await.unwrap();
    assert_eq!(entries(&other).await, [1, 1, 2, 3, 5]);
    looking(&other, 19).await;
    // Its own answer to taking over is lost as well.
    table.break_writes(&[Some(Write::Retried)]);
    assert_eq!(looking(&other, 2).await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_was_written_and_not_accepted_is_taken_up_by_the_gate_itself() {
    let (table, one, _other) = two().await;
    table.break_writes(&[Some(Write::Unanswered)]);
    one.accept(question("one")).await.unwrap_err();
    assert!(!one.accept(question("one")).await.unwrap(), "it is there");
    assert_eq!(taking(&one).await.len(), 1);
    append(&one, 1, woke()).await.unwrap();
    // Closed where nobody heard of it: over for good.
    table.break_writes(&[Some(Write::Refused)]);
    one.close("one").await.unwrap_err();
    assert_eq!(taking(&one).await.len(), 1);
    one.close("one").await.unwrap();
    assert_eq!(taking(&one).await.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_read_once_is_found_by_the_next_look() {
    let (table, one, other) = two().await;
    for id in ["one", "two", "three"] {
        one.accept(question(id)).await.unwrap();
    }
    other.accept(question("own")).await.unwrap();
    assert!(looking(&other, 19).await.is_empty());
    // Its own question is closed behind its back, so that each look has to read it.
    table.close("own");
    table.break_reads(&[false, true]);
    let swept = other.sweep().await.unwrap();
    assert!(swept.lost.is_empty(), "it is not known to be lost");
    assert_eq!(swept.left.len(), 3, "the others are free all the same");
    // Claimed, and its entries cannot be read.
    table.break_reads(&[false, true]);
    other.take(&swept.left[0]).await.unwrap_err();
    assert_eq!(other.kept(), ["own"], "it is not held, for nobody judges it");
    assert!(other.take(&swept.left[1]).await.unwrap().is_some(), "the next is not concerned");
    table.break_reads(&[false, true]);
    assert_eq!(other.sweep().await.unwrap().left.len(), 1, "what failed is not tried at once");
    advance(SWEEP_EVERY).await;
    // Whether the other gate lives cannot be read: only what is this gate's is free.
    table.break_reads(&[true]);
    let swept = other.sweep().await.unwrap();
    assert_eq!(swept.lost, ["own"]);
    assert_eq!(swept.left.len(), 1, "claimed before, and taken up by the next look");
    let stored = other.take(&swept.left[0]).await.unwrap().unwrap();
    assert_eq!(taking(&other).await.len(), 1, "and the third");
    assert_eq!(other.kept().len(), 3, "{stored:?}");
}

#[tokio::test(start_paused = true)]
async fn a_question_that_cannot_be_taken_over_is_in_nobodys_way_and_tried_less_and_less() {
    let (table, one, other) = two().await;
    for id in ["one", "two"] {
        one.accept(question(id)).await.unwrap();
    }
    assert!(looking(&other, 19).await.is_empty());
    let mut tries = Vec::new();
    let began = Instant::now();
    for _sweep in 0..200 {
        for left in other.sweep().await.unwrap().left {
            if left.id == "one" {
                tries.push(began.elapsed().as_secs());
                table.break_reads(&[true]);
                other.take(&left).await.unwrap_err();
            } else {
                assert!(other.take(&left).await.unwrap().is_some());
            }
        }
        advance(SWEEP_EVERY).await;
    }
    assert_eq!(other.kept(), ["two"]);
    assert_eq!(tries, [0, 5, 15, 35, 75, 155, 315, 635]);
}

#[tokio::test(start_paused = true)]
async fn when_nobody_could_reach_the_table_for_a_minute_nobody_is_taken_to_be_gone() {
    let (_table, one, other) = two().await;
    one.accept(question("one")).await.unwrap();
    for _round in 0..3 {
        one.renew().await.unwrap();
        assert!(looking(&other, 5).await.is_empty());
    }
    assert!(!one.is_cut_off() && one.state().trouble.is_none());
    advance(Duration::from_secs(60)).await;
    assert!(one.is_cut_off(), "others may have it by now");
    let trouble = one.state().trouble.unwrap();
    assert!(trouble.contains("the table `gate` has not been written to for 6"), "{trouble}");
    assert!(taking(&other).await.is_empty(), "it may be about to say that it lives");
    one.renew().await.unwrap();
    assert!(!one.is_cut_off() && one.state().trouble.is_none());
    assert!(looking(&other, 19).await.is_empty());
    assert_eq!(looking(&other, 10).await.len(), 1, "and if it does not say so again, it is gone");
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_could_not_be_listed_is_listed_by_a_later_look_or_by_whoever_takes_over() {
    let (table, one, other) = two().await;
    for id in ["one", "two"] {
        one.accept(question(id)).await.unwrap();
        table.break_writes(&[None, Some(Write::Refused)]);
        one.append(id, Moment::ZERO, decided(Answer::Continue)).await.unwrap();
    }
    assert!(!other.known("one").await.unwrap().unwrap().decided);
    one.sweep().await.unwrap();
    assert!(other.known("one").await.unwrap().unwrap().decided);
    let listed = other.list(10).await.unwrap();
    assert!(listed.iter().all(|listed| listed.decision.is_some()), "{listed:?}");
    // Written, and its gate gone before it was listed.
    one.accept(question("three")).await.unwrap();
    table.break_writes(&[None, Some(Write::Refused)]);
    one.append("three", Moment::ZERO, decided(Answer::Continue)).await.unwrap();
    assert_eq!(looking(&other, 20).await.len(), 3);
    other.sweep().await.unwrap();
    assert!(one.known("three").await.unwrap().unwrap().decided);
}

#[tokio::test(start_paused = true)]
async fn whoever_polls_may_come_to_any_gate() {
    let (_table, one, other) = two().await;
    one.accept(question("one")).await.unwrap();
    append(&one, 1, decided(Answer::Continue)).await.unwrap();
    assert!(other.known("one").await.unwrap().unwrap().decided);
    other.tell("one", &Delivery::Confirmed).await.unwrap();
    other.tell("one", &Delivery::AlreadyCompleted).await.unwrap();
    let told = one.sweep().await.unwrap().told;
    assert_eq!(told, [("one".to_owned(), Delivery::Confirmed)]);
    assert!(other.sweep().await.unwrap().told.is_empty(), "it is not the other's");
}

#[tokio::test(start_paused = true)]
async fn the_latest_question_of_a_deployment_has_its_watch_whichever_gate_says_so_first() {
    let (table, one, other) = two().await;
    let watcher = |accepted_unix_millis, id: &str| Watcher { accepted_unix_millis, id: id.into() };
    let (earlier, later, latest) = (watcher(1, "b"), watcher(2, "a"), watcher(2, "b"));
    let has = async |whose: Option<&Watcher>| {
        assert_eq!(other.watcher("d-1").await.unwrap().as_ref(), whose);
    };
    has(None).await;
    one.watch("d-1", &later).await.unwrap();
    other.watch("d-1", &earlier).await.unwrap();
    has(Some(&later)).await;
    let (first, second) = tokio::join!(one.watch("d-1", &latest), other.watch("d-1", &later));
    first.and(second).unwrap();
    has(Some(&latest)).await;
    // Its answer is lost, and the next look finds that it is there.
    table.break_writes(&[Some(Write::Retried)]);
    one.watch("d-2", &earlier).await.unwrap();
    table.break_writes(&[Some(Write::Refused)]);
    one.watch("d-2", &later).await.unwrap_err();
    assert_eq!(other.watcher("d-2").await.unwrap(), Some(earlier));
}

const NOW: u64 = 1_700_000_000_000;

fn hold() -> Override {
    Override::new("hold", "bob", "a look", Some("5m")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_word_for_another_gate_is_taken_once_and_answered() {
    let (table, one, other) = two().await;
    one.accept(question("one")).await.unwrap();
    assert_eq!(one.judge("one").await.unwrap(), Judge::HereOrSoon);
    assert_eq!(one.judge("two").await.unwrap(), Judge::Nobody);
    let Judge::Other(owner) = other.judge("one").await.unwrap() else { panic!("it is another's") };
    table.break_writes(&[Some(Write::Retried)]);
    let word = other.leave_word(&owner, "one", &hold(), NOW).await.unwrap();
    assert!(other.words(NOW).await.unwrap().is_empty(), "it is not for this one");
    let found = one.words(NOW).await.unwrap();
    assert_eq!((found.len(), found[0].id.as_str(), &found[0].said), (1, "one", &hold()));
    assert_eq!(other.heard(&word).await.unwrap(), None);
    // The answer to taking it is lost, and it is taken all the same: by this gate, and once.
    table.break_writes(&[Some(Write::Retried)]);
    assert!(one.take_word(&found[0]).await.unwrap());
    assert!(!one.take_word(&found[0]).await.unwrap());
    assert!(one.words(NOW).await.unwrap().is_empty());
    assert!(!other.withdraw(&word).await.unwrap(), "it is too late for that");
    let refused = Outcome::Refused("it is over".into());
    one.answer_word(&found[0], &refused).await.unwrap();
    assert_eq!(other.heard(&word).await.unwrap(), Some(refused));
}

#[tokio::test(start_paused = true)]
async fn a_word_that_was_withdrawn_is_never_taken_and_of_many_the_newest_hundred_are_looked_at() {
    let (table, one, other) = two().await;
    one.accept(question("one")).await.unwrap();
    let Judge::Other(owner) = other.judge("one").await.unwrap() else { panic!("it is another's") };
    let word = other.leave_word(&owner, "one", &hold(), NOW).await.unwrap();
    let found = one.words(NOW).await.unwrap();
    table.break_writes(&[Some(Write::Retried)]);
    assert!(other.withdraw(&word).await.unwrap());
    assert!(one.words(NOW).await.unwrap().is_empty());
    assert!(!one.take_word(&found[0]).await.unwrap());
    for number in 0..120 {
        other.leave_word(&owner, &number.to_string(), &hold(), NOW).await.unwrap();
    }
    assert_eq!(one.words(NOW).await.unwrap().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn an_answer_waits_for_the_list_no_longer_than_for_a_moment() {
    let (table, one, other) = two().await;
    one.accept(question("one")).await.unwrap();
    table.break_writes(&[None, Some(Write::Hanging)]);
    let began = Instant::now();
    append(&one, 1, decided(Answer::Continue)).await.unwrap();
    assert_eq!(began.elapsed(), LISTING_TIMEOUT);
    assert!(other.list(10).await.unwrap()[0].decision.is_none());
    one.close("one").await.unwrap();
    let listed = other.list(10).await.unwrap().remove(0);
    assert!(listed.closed && listed.decision.is_some(), "{listed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_signature_is_new_once_whichever_gate_it_comes_to() {
    let (table, one, other) = two().await;
    table.break_writes(&[Some(Write::Retried)]);
    assert!(one.first_seen("signature", 100).await.unwrap());
    assert!(!one.first_seen("signature", 100).await.unwrap());
    assert!(!other.first_seen("signature", 100).await.unwrap());
}

#[test]
fn large_entries_are_compressed_and_too_large_ones_refused() {
    let ended = |status: String| Entry::Fact { fact: Event::Ended { status } };
    let packed = |entry: &Entry| items::packed(entry);
    assert!(matches!(packed(&woke()), Ok(Value::Text(_))));
    let repetitive = ended("a".repeat(1_000_000));
    assert!(matches!(packed(&repetitive), Ok(Value::Bytes(bytes)) if bytes.len() < 10_000));
    let mut seed = 1_u64;
    let noise = std::iter::repeat_with(|| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        format!("{seed:016x}")
    });
    let noise = ended(noise.take(100_000).collect());
    assert!(matches!(packed(&noise), Err(JournalError::TooLarge { .. })));
}

#[tokio::test]
async fn a_table_of_another_make_is_refused_in_words() {
    let shape = crate::aws::table::Shape {
        active: true,
        keys: vec![("id".into(), "S".into())],
        ..Default::default()
    };
    assert_eq!(items::unfit(&shape).unwrap(), "its keys are not `question` (S) and `entry` (N)");
    let mut shape = FakeTable::default().shape("gate").await.unwrap();
    assert_eq!(items::unfit(&shape), None);
    let open = shape.indexes.get_mut("open").unwrap();
    open.attributes = Some(vec!["owner".into(), "told".into()]);
    assert_eq!(items::unfit(&shape), None);
    let open = shape.indexes.get_mut("open").unwrap();
    open.attributes = Some(vec!["owner".into()]);
    assert_eq!(items::unfit(&shape).unwrap(), "its index `open` does not carry `told`");
}
