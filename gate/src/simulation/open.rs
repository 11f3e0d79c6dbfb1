//! Open questions that a start did not take up: their next delivery does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use policies::{Event, Moment};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::world::{Climate, Green, Kind, Shared, asked};
use super::{Policies, life};
use crate::app::{Gate, Intake};
use crate::journal::{Embedded, Entry, Journal};

/// A journal on a real disk, in a folder with the policies.
struct Place {
    world: Shared,
    policies: Policies,
}

impl Place {
    fn new(name: &str) -> Self {
        let only = Some((Kind::Hook, Green::Healthy));
        let world = Shared::new(1, Climate { questions: 1, only, ..Climate::default() });
        world.lock().begin();
        Self { world, policies: Policies::new(name) }
    }

    fn path(&self) -> PathBuf {
        self.policies.0.join("journal.db")
    }

    async fn gate(&self) -> Arc<Gate> {
        let journal = Arc::new(Embedded::open(&self.path()).unwrap());
        let stop = CancellationToken::new();
        life::gate_on(journal, &self.world, self.policies.0.clone(), stop).await
    }

    fn id(&self) -> String {
        asked(0, &self.world.lock().questions[0]).ask.evaluation_id()
    }

    async fn deliver(&self, gate: &Arc<Gate>) -> Intake {
        let question = self.world.lock().questions[0].clone();
        gate.accept(asked(0, &question)).await
    }

    /// A question that was accepted by a gate which is gone, and that no start has taken up.
    async fn left(&self) {
        let gate = self.gate().await;
        let taken = self.deliver(&gate).await;
        assert!(matches!(taken, Intake::Accepted(_)), "{taken:?}");
        sleep(Duration::from_secs(3)).await;
        gate.stop.cancel();
        assert!(gate.drained(Duration::from_secs(15)).await);
        gate.end_journal().await;
    }

    async fn answers(&self) -> usize {
        for _second in 0..60 {
            let answers = self.world.lock().questions[0].accepted.len();
            if answers > 0 {
                return answers;
            }
            sleep(Duration::from_secs(1)).await;
        }
        0
    }
}

/// Whatever a delivery finds, it is answered once.
async fn check(name: &str, garble: &str) {
    let place = Place::new(name);
    place.left().await;
    if !garble.is_empty() {
        crate::journal::change_behind(&place.path(), garble);
    }
    // This one has not read what is open, as where reading it failed.
    let gate = place.gate().await;
    let (first, second) = tokio::join!(place.deliver(&gate), place.deliver(&gate));
    for taken in [first, second] {
        assert!(matches!(taken, Intake::Joined(_)), "{name}: {taken:?}");
    }
    assert_eq!(gate.questions_waiting(), 1, "{name}: one run");
    assert_eq!(place.answers().await, 1, "{name}");
    gate.stop.cancel();
    assert!(gate.drained(Duration::from_secs(15)).await);
    gate.end_journal().await;
}

#[tokio::test]
async fn an_open_question_without_a_run_is_taken_up_by_its_next_delivery() {
    Box::pin(check("open", "")).await;
}

#[tokio::test]
async fn a_damaged_one_is_written_once_more_and_answered() {
    let garble = "UPDATE questions SET body = replace(body, 'token', 'tokem')";
    Box::pin(check("damaged", garble)).await;
}

#[tokio::test]
async fn a_delivery_while_gate_resumes_begins_the_run_once() {
    let place = Place::new("resuming");
    place.left().await;
    let gate = place.gate().await;
    let left = gate.look_for_open().await.unwrap();
    assert_eq!((left.len(), gate.resuming()), (1, 1), "not ready before it is taken up");
    let (taken, ()) = tokio::join!(place.deliver(&gate), gate.resume_all(left));
    assert!(matches!(taken, Intake::Joined(_)), "{taken:?}");
    gate.resumed().await;
    assert_eq!((gate.questions_waiting(), gate.resuming()), (1, 0));
    assert_eq!(place.answers().await, 1);
    let stored = gate.stored(&place.id()).await.unwrap().expect("it is in the journal");
    let resumed = |entry: &Entry| matches!(entry, Entry::Fact { fact: Event::Resumed });
    let resumed = stored.entries.iter().filter(|(_, entry)| resumed(entry)).count();
    assert_eq!(resumed, 1, "begun once: {:#?}", stored.entries);
    gate.stop.cancel();
    assert!(gate.drained(Duration::from_secs(15)).await);
    gate.end_journal().await;
}

#[tokio::test]
async fn one_that_is_over_is_joined_and_has_no_run() {
    let place = Place::new("over");
    let gate = place.gate().await;
    let taken = place.deliver(&gate).await;
    let Intake::Accepted(id) = taken else { panic!("{taken:?}") };
    gate.stop.cancel();
    assert!(gate.drained(Duration::from_secs(15)).await);
    gate.end_journal().await;
    let journal = Embedded::open(&place.path()).unwrap();
    let ended = Event::Ended { status: "Stopped".into() };
    journal.append(&id, Moment::from_millis(1), Entry::Fact { fact: ended }).await.unwrap();
    journal.close(&id).await.unwrap();
    journal.end().await.unwrap();
    let gate = place.gate().await;
    let taken = place.deliver(&gate).await;
    assert!(matches!(taken, Intake::Joined(_)), "{taken:?}");
    assert_eq!(gate.questions_waiting(), 0);
    gate.end_journal().await;
}
