//! What is asked of a gate whose question is under way: by people, and by a queue that says the same again and again.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use policies::Override;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::world::{Climate, Green, Kind, Shared, asked};
use super::{Policies, life};
use crate::app::{Gate, Intake, Overridden};
use crate::intake::queue;

/// A gate with a question that nothing decides for an hour, and the id of its evaluation.
async fn asked_one(policies: &Policies) -> (Shared, Arc<Gate>, String) {
    let only = Some((Kind::Hook, Green::Starved));
    let world = Shared::new(1, Climate { questions: 1, only, ..Climate::default() });
    world.lock().begin();
    let gate = life::gate(&world, policies.0.clone(), CancellationToken::new()).await;
    let question = world.lock().questions[0].clone();
    let Intake::Accepted(id) = gate.accept(asked(0, &question)).await else { panic!("it is new") };
    (world, gate, id)
}

fn said(wish: &str) -> Override {
    Override::new(wish, "alice", "a reason", None).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_override_whose_sender_went_away_before_it_was_taken_does_not_count() {
    let policies = Policies::new("doors-gone");
    let (_, gate, id) = asked_one(&policies).await;
    tokio::select! {
        biased;
        taken = gate.overridden(&id, said("rollback")) => panic!("taken at once: {taken:?}"),
        () = ready(()) => {}
    }
    sleep(Duration::from_secs(10)).await;
    let (report, _) = gate.report(&id).unwrap();
    assert_eq!((report.decision, report.overrides.len()), (None, 0), "{report:?}");
    let taken = gate.overridden(&id, said("rollback")).await;
    assert!(matches!(&taken, Overridden::Taken(_)), "{taken:?}");
}

#[tokio::test(start_paused = true)]
async fn a_queue_without_an_end_is_read_for_as_much_as_may_be_kept_and_on_once_that_is_let_go() {
    let policies = Policies::new("doors-flood");
    let (world, gate, id) = asked_one(&policies).await;
    // Each says what is asked already, so that it is kept until there is an answer.
    world.lock().flood = Some(0);
    let tasks = TaskTracker::new();
    tasks.spawn(queue::take(Arc::clone(&gate), "sim".to_owned(), tasks.clone()));
    for _ in 0..3 {
        sleep(Duration::from_secs(10)).await;
        assert_eq!(world.lock().flood, Some(2000));
    }
    let taken = gate.overridden(&id, said("continue")).await;
    assert!(matches!(&taken, Overridden::Taken(_)), "{taken:?}");
    sleep(Duration::from_secs(10)).await;
    let received = world.lock().flood.unwrap();
    assert!(received > 2000, "{received}");
    gate.stop.cancel();
}
