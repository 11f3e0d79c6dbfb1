//! Gates on one table, on simulated time: what one of them leaves, another answers, whatever cannot be read at first.

use std::sync::Arc;
use std::time::Duration;

use policies::{Answer, Override, Question};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::Policies;
use super::life;
use super::world::{Climate, Green, Kind, Shared, asked};
use crate::app::{Gate, Overridden};
use crate::aws::fake::table::FakeTable;
use crate::aws::table::Table;
use crate::clock::{Clock, MachineClock};
use crate::journal::{self, Accepted, Journal};

const LIMIT: Duration = Duration::from_secs(1800);

/// A table, and what is asked of the gates that share it.
struct Place {
    table: Arc<FakeTable>,
    world: Shared,
    policies: Policies,
}

impl Place {
    fn new(name: &str, questions: u64) -> Self {
        let only = Some((Kind::Hook, Green::Healthy));
        let world = Shared::new(1, Climate { questions, only, ..Climate::default() });
        world.lock().begin();
        Self { table: Arc::default(), world, policies: Policies::new(name) }
    }

    async fn journal(&self) -> Arc<journal::Shared> {
        let table: Arc<dyn Table> = Arc::<FakeTable>::clone(&self.table);
        Arc::new(journal::Shared::open(table, "gate", Arc::new(MachineClock)).await.unwrap())
    }

    async fn gate(&self, journal: &Arc<journal::Shared>) -> Arc<Gate> {
        let journal: Arc<dyn Journal> = Arc::<journal::Shared>::clone(journal);
        let stop = CancellationToken::new();
        let gate = life::gate_on(journal, &self.world, self.policies.0.clone(), stop).await;
        tokio::spawn(Arc::clone(&gate).share());
        gate
    }

    /// Has every question accepted by a gate that ends before it judges any.
    async fn leave_all(&self, journal: &journal::Shared) -> Vec<String> {
        let questions = self.world.lock().questions.clone();
        let mut ids = Vec::new();
        for (number, question) in questions.iter().enumerate() {
            let asked = asked(number, question);
            let now = self.world.unix_millis();
            let question = Question {
                id: asked.ask.evaluation_id(),
                limit: asked.limit(now),
                unmatched: Answer::Rollback,
                observe: false,
                watch_only: false,
            };
            ids.push(question.id.clone());
            let accepted_since_boot = self.world.since_boot();
            let accepted =
                Accepted { question, asked, accepted_unix_millis: now, accepted_since_boot };
            assert!(journal.accept(accepted).await.unwrap());
        }
        ids
    }

    /// Waits until all are answered; each is once.
    async fn answered(&self) {
        let until = Instant::now() + LIMIT;
        loop {
            let answers: Vec<usize> =
                self.world.lock().questions.iter().map(|one| one.accepted.len()).collect();
            assert!(answers.iter().all(|answers| *answers <= 1), "{answers:?}");
            if answers.iter().all(|answers| *answers == 1) {
                return;
            }
            assert!(Instant::now() < until, "not all are answered: {answers:?}");
            sleep(Duration::from_secs(1)).await;
        }
    }
}

fn hold() -> Override {
    Override::new("hold", "bob", "a look", Some("5m")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_override_is_taken_through_any_gate_and_refused_in_the_words_of_the_one_that_judges() {
    let place = Place::new("through", 1);
    let (judging, asked) = (place.journal().await, place.journal().await);
    let ids = place.leave_all(&judging).await;
    let _judge = place.gate(&judging).await;
    let gate = place.gate(&asked).await;
    sleep(Duration::from_secs(12)).await;
    let said = |action| Override::new(action, "bob", "a look", None).unwrap();
    let told = gate.overridden(&ids[0], said("hold")).await;
    let Overridden::Taken(report) = told else { panic!("{told:?}") };
    assert_eq!(report.held.as_ref().map(|held| held.by.as_str()), Some("bob"), "{report:?}");
    let told = gate.overridden(&ids[0], said("continue")).await;
    let Overridden::Taken(report) = told else { panic!("{told:?}") };
    assert_eq!(report.decision, Some("continue"), "{report:?}");
    place.answered().await;
    let told = gate.overridden(&ids[0], said("hold")).await;
    assert!(matches!(&told, Overridden::Refused(why) if why.contains("decided")), "{told:?}");
    let told = gate.overridden("nobody-asked", said("hold")).await;
    assert!(matches!(told, Overridden::Unknown), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn an_override_for_a_gate_that_does_not_answer_is_withdrawn_and_counts_never() {
    let place = Place::new("withdrawn", 1);
    let (paused, asked) = (place.journal().await, place.journal().await);
    let ids = place.leave_all(&paused).await;
    let gate = place.gate(&asked).await;
    let began = Instant::now();
    let told = gate.overridden(&ids[0], hold()).await;
    assert!(matches!(told, Overridden::Unanswered), "{told:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert!(
        paused.words(gate.clouds.home().unix_millis()).await.unwrap().is_empty(),
        "it wakes up, and takes nothing"
    );
    // By then this gate has taken it over, and takes it itself.
    sleep(Duration::from_secs(20)).await;
    let told = gate.overridden(&ids[0], hold()).await;
    assert!(matches!(told, Overridden::Taken(_)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn forty_questions_of_a_gate_that_is_gone_are_answered_though_every_third_read_fails() {
    let place = Place::new("left", 40);
    place.leave_all(&*place.journal().await).await;
    let journal = place.journal().await;
    let _gate = place.gate(&journal).await;
    // From then on they are free.
    sleep(Duration::from_secs(17)).await;
    let reads: Vec<bool> = (0..240).map(|number| number % 3 == 2).collect();
    place.table.break_reads(&reads);
    place.answered().await;
}

#[tokio::test(start_paused = true)]
async fn a_question_that_a_gate_holds_and_does_not_judge_is_taken_up_by_itself() {
    let place = Place::new("idle", 2);
    let journal = place.journal().await;
    let _gate = place.gate(&journal).await;
    sleep(Duration::from_secs(1)).await;
    let ids = place.leave_all(&journal).await;
    assert_eq!(journal.kept().len(), ids.len());
    place.answered().await;
}
