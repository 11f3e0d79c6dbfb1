//! What goes wrong between gates and the table they share: each write counts once, and what is on many pages is read whole.
//!
//! A gate that is dropped is asked for its pages, which it reads by its way: another thread has to serve that meanwhile.

use futures_util::future::join_all;
use tests::{Faults, Gate, Misdeed, Person, Rule, eventually};

use super::faults::{PUT, calm, spoilt, spoilt_calls, standing};
use super::matrix::{told, unhurried};
use super::replicas::ticks;
use super::{AWS, LIMIT};

/// Calls of one operation that go wrong at most.
const SPOILT_MAX: usize = 20;

/// Every fourth call goes wrong, each in the next of these ways: accepting, evidence, decision, lease, whichever it is.
fn now_and_then(operation: &'static str, misdeeds: &[Misdeed]) -> Vec<Rule> {
    let ways = misdeeds.iter().cycle().take(SPOILT_MAX).enumerate();
    // A rule does not count what those before it have taken.
    ways.map(|(earlier, way)| Rule::of(operation, *way).times(1).after(3 * earlier)).collect()
}

/// A gate on this table, on a way of its own; its answer goes nowhere. Long enough at it to write a dozen entries.
async fn sharing(table: &str) -> (Faults, Gate) {
    let (way, gate) = spoilt(table, &unhurried(&calm()), Vec::new()).await;
    (way, gate.shared(table).start().await)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn what_goes_wrong_with_a_shared_table_is_written_once_all_the_same() {
    use Misdeed::*;
    let throttled = Refuses("ProvisionedThroughputExceededException");
    let cases: [(&str, &[Misdeed]); 4] = [
        ("table-throttled", &[throttled, Throttles]),
        ("table-500", &[Status(500), Status(503)]),
        ("table-reset", &[ResetAfter, ResetBefore]),
        ("table-half", &[Half, Garbage]),
    ];
    let standing = standing().await;
    let person = Person::of(&AWS.endpoint);
    join_all(cases.map(async |(name, misdeeds)| {
        person.make_table(name).await;
        let (way, mut gate) = sharing(name).await;
        for operation in ["PutItem", "UpdateItem", "Query", "GetItem"] {
            now_and_then(operation, misdeeds).into_iter().for_each(|rule| way.add(rule));
        }
        standing.ask(&gate).await;
        let outcome = gate.outcome(&standing.deployment, LIMIT).await;
        assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{name}: {outcome:#}");
        assert_eq!(way.seen(PUT).len(), 1, "{name}: it is answered once");
        for operation in ["PutItem", "UpdateItem", "Query"] {
            assert!(spoilt_calls(&way.seen(operation)) > 0, "{name}: {operation} went well");
        }
        // What the table has is what was judged.
        assert_eq!(gate.stop().await, Some(0), "{name}: {}", gate.logged());
        way.heal();
        gate.restart().await;
        assert_eq!(gate.evaluations().await.len(), 1, "{name}: it is one question");
        let written = gate.outcome(&standing.deployment, LIMIT).await;
        assert_eq!(told(&written), told(&outcome), "{name}: {written:#}");
        assert_eq!(ticks(&written), ticks(&outcome), "{name}: each tick is there once");
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_question_on_many_pages_is_taken_over_whole() {
    let table = "many-pages";
    let standing = standing().await;
    Person::of(&AWS.endpoint).make_table(table).await;
    let (before_it, mut one) = sharing(table).await;
    let (way, other) = sharing(table).await;
    way.add(Rule::of("Query", Misdeed::FewItems));
    standing.ask(&one).await;
    let seen = eventually(LIMIT, async || {
        other.evaluation(&standing.deployment).await.filter(|seen| ticks(seen).len() >= 3)
    });
    let seen = ticks(&seen.await.unwrap_or_else(|| panic!("not seen: {}", other.logged())));
    assert_eq!(one.stop().await, Some(0), "{}", one.logged());
    let outcome = other.outcome(&standing.deployment, LIMIT).await;
    assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{outcome:#}");
    assert!(other.logged().contains("taken over"), "{}", other.logged());
    let judged = ticks(&outcome);
    assert!(judged.starts_with(&seen), "evidence goes along: {seen:?} {judged:?}");
    assert!(judged.is_sorted_by(|one, next| one < next), "no tick counts twice: {judged:?}");
    assert_eq!((before_it.seen(PUT).len(), way.seen(PUT).len()), (0, 1), "it is answered once");
    // What has no page before it is one that was held back.
    let further = way.seen("Query").iter().filter(|seen| seen.misdeed.is_none()).count();
    assert!(further >= 2, "{further} pages but the first");
}
