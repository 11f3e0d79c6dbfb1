//! A disk that hangs or is full delays nobody, and loses nothing that there is room to keep.

use std::sync::{Mutex, PoisonError};

use policies::{Answer, Basis, Decision, Event};
use tokio::sync::watch;
use tokio::time::Instant;

use super::*;
use crate::journal::{Accepted, Listed, Stored, Written as Writing};

/// How a journal in memory takes what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Well,
    Full,
    Hanging,
    /// The journal was closed.
    Stopped,
    /// It will have no fact, and anything else.
    Picky,
    /// Another gate writes of this question by now.
    TakenOver,
}

#[derive(Debug)]
struct Fake {
    disk: watch::Sender<Disk>,
    taken: Mutex<Vec<String>>,
    closed: AtomicUsize,
}

impl Fake {
    fn new(disk: Disk) -> Arc<Self> {
        let (taken, closed) = (Mutex::default(), AtomicUsize::new(0));
        Arc::new(Self { disk: watch::Sender::new(disk), taken, closed })
    }

    fn taken(&self) -> Vec<String> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ready(&self, fact: bool) -> Result<(), JournalError> {
        let mut disk = self.disk.subscribe();
        let found = *disk.wait_for(|disk| *disk != Disk::Hanging).await.unwrap();
        match found {
            Disk::Stopped => Err(JournalError::Stopped),
            Disk::Full => Err(JournalError::Trouble("the disk is full".into())),
            Disk::Picky if fact => {
                Err(JournalError::Refused { attempt: "append an entry", source: "too big".into() })
            }
            Disk::TakenOver => Err(JournalError::TakenOver),
            Disk::Well | Disk::Picky | Disk::Hanging => Ok(()),
        }
    }
}

impl Journal for Fake {
    fn accept(&self, _accepted: Accepted) -> Writing<'_, bool> {
        Box::pin(async { Ok(true) })
    }

    fn append<'a>(&'a self, _id: &'a str, at: Moment, entry: Entry) -> Writing<'a, ()> {
        Box::pin(async move {
            self.ready(matches!(entry, Entry::Fact { .. })).await?;
            let what = match entry {
                Entry::Fact { .. } => format!("{}", at.as_millis()),
                Entry::Decided { .. } => "decided".to_owned(),
            };
            self.taken.lock().unwrap_or_else(PoisonError::into_inner).push(what);
            Ok(())
        })
    }

    fn close<'a>(&'a self, _id: &'a str) -> Writing<'a, ()> {
        Box::pin(async {
            self.ready(false).await?;
            self.closed.fetch_add(1, Ordering::Relaxed);
            Ok(())
        })
    }

    fn unfinished(&self) -> Writing<'_, Vec<Stored>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn load<'a>(&'a self, _id: &'a str) -> Writing<'a, Option<Stored>> {
        Box::pin(async { Ok(None) })
    }

    fn list(&self, _most: u32) -> Writing<'_, Vec<Listed>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn first_seen<'a>(&'a self, _signature: &'a str, _until: u64) -> Writing<'a, bool> {
        Box::pin(async { Ok(true) })
    }

    fn end(&self) -> Writing<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

fn outbox(journal: &Arc<Fake>, backlog: &Backlog) -> Outbox {
    counting(journal, backlog).0
}

fn counting(journal: &Arc<Fake>, backlog: &Backlog) -> (Outbox, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let journal = Arc::<Fake>::clone(journal);
    let outbox = Outbox::new("d-1".into(), journal, backlog.clone(), Arc::clone(&metrics));
    (outbox, metrics)
}

/// Entries that were counted as lost.
fn lost(metrics: &Metrics) -> u64 {
    let text = metrics.text().unwrap();
    let found = text.lines().find_map(|line| line.strip_prefix(LOST_SERIES));
    found.map_or(0, |number| number.trim().parse().unwrap())
}

const LOST_SERIES: &str = r#"gate_lost_total{what="journal-entry"}"#;

async fn woke(outbox: &Outbox, at: u64) -> Written {
    outbox.write(Moment::from_millis(at), Entry::Fact { fact: Event::Woke }).await
}

fn decision() -> Entry {
    let decision = Decision {
        answer: Answer::Rollback,
        basis: Basis::Proven,
        reason: "because".into(),
        objective: None,
        counterfactual: None,
    };
    Entry::Decided { decision }
}

async fn decided(outbox: &Outbox) -> Written {
    outbox.write(Moment::ZERO, decision()).await
}

/// Waits until nothing waits for the disk.
async fn emptied(backlog: &Backlog) {
    while backlog.waiting() > 0 {
        sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_on_disk_when_it_is_said_to_be() {
    let (journal, backlog) = (Fake::new(Disk::Well), Backlog::default());
    let outbox = outbox(&journal, &backlog);
    for at in 0..3 {
        assert_eq!(woke(&outbox, at).await, Written::OnDisk);
    }
    assert_eq!(outbox.close().await, Written::OnDisk);
    assert_eq!(journal.taken(), ["0", "1", "2"]);
    assert_eq!(backlog.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hangs_delays_one_fact_by_two_seconds_and_nothing_else() {
    let (journal, backlog) = (Fake::new(Disk::Hanging), Backlog::default());
    let outbox = outbox(&journal, &backlog);
    let began = Instant::now();
    assert_eq!(woke(&outbox, 0).await, Written::Kept);
    assert_eq!(began.elapsed(), JOURNAL_TIMEOUT);
    for at in 1..100 {
        assert_eq!(woke(&outbox, at).await, Written::Kept);
    }
    assert_eq!(decided(&outbox).await, Written::Kept);
    assert_eq!(outbox.close().await, Written::Kept);
    assert_eq!(began.elapsed(), JOURNAL_TIMEOUT);
    assert_eq!((journal.taken().len(), backlog.waiting()), (0, 102));
    // The run is over, and what it said is still to be written: once each, and in order.
    drop(outbox);
    journal.disk.send_replace(Disk::Well);
    emptied(&backlog).await;
    let mut order: Vec<String> = (0..100).map(|at| at.to_string()).collect();
    order.push("decided".into());
    assert_eq!(journal.taken(), order);
    assert_eq!(journal.closed.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_is_full_delays_nothing_and_has_everything_once_there_is_room() {
    let (journal, backlog) = (Fake::new(Disk::Full), Backlog::default());
    let outbox = outbox(&journal, &backlog);
    let began = Instant::now();
    for at in 0..5 {
        assert_eq!(woke(&outbox, at).await, Written::Kept);
    }
    assert_eq!(decided(&outbox).await, Written::Kept);
    assert_eq!(began.elapsed(), Duration::ZERO);
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(backlog.waiting(), 6);
    timeout(Duration::from_secs(60), outbox.written()).await.unwrap_err();
    journal.disk.send_replace(Disk::Well);
    outbox.written().await;
    assert_eq!(backlog.waiting(), 0);
    assert_eq!(journal.taken(), ["0", "1", "2", "3", "4", "decided"]);
    assert_eq!(woke(&outbox, 9).await, Written::OnDisk);
}

#[tokio::test(start_paused = true)]
async fn beyond_the_limit_facts_are_lost_and_said_to_be_and_decisions_never() {
    let (journal, backlog) = (Fake::new(Disk::Full), Backlog::default());
    let (one, other) = (outbox(&journal, &backlog), outbox(&journal, &backlog));
    for _ in 0..FACTS_KEPT_MAX {
        one.keep(Moment::ZERO, Entry::Fact { fact: Event::Woke });
    }
    assert_eq!(woke(&one, 0).await, Written::Dropped);
    assert_eq!(woke(&other, 0).await, Written::Dropped);
    assert_eq!(decided(&other).await, Written::Kept);
    journal.disk.send_replace(Disk::Well);
    emptied(&backlog).await;
    assert_eq!(journal.taken().len(), FACTS_KEPT_MAX + 1);
}

#[tokio::test(start_paused = true)]
async fn what_the_journal_will_not_have_stands_in_nobodys_way() {
    let (journal, backlog) = (Fake::new(Disk::Picky), Backlog::default());
    let outbox = outbox(&journal, &backlog);
    assert_eq!(woke(&outbox, 0).await, Written::Dropped);
    assert_eq!(decided(&outbox).await, Written::OnDisk);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_and_never_will_be_on_disk_is_counted_once() {
    let (journal, backlog) = (Fake::new(Disk::Full), Backlog::default());
    let (outbox, metrics) = counting(&journal, &backlog);
    for at in 0..3 {
        assert_eq!(woke(&outbox, at).await, Written::Kept);
    }
    assert_eq!((lost(&metrics), outbox.refusals()), (0, 0));
    journal.disk.send_replace(Disk::Picky);
    outbox.written().await;
    assert_eq!((lost(&metrics), outbox.refusals()), (3, 3));
    // Who waits is told at once, and needs nothing else.
    assert_eq!(woke(&outbox, 4).await, Written::Dropped);
    assert_eq!((lost(&metrics), outbox.refusals()), (4, 3));
    journal.disk.send_replace(Disk::Full);
    for at in 5..9 {
        assert_eq!(woke(&outbox, at).await, Written::Kept);
    }
    assert_eq!(outbox.close().await, Written::Kept);
    journal.disk.send_replace(Disk::Stopped);
    emptied(&backlog).await;
    assert_eq!((lost(&metrics), outbox.refusals()), (8, 3));
    assert!(journal.taken().is_empty());
}

#[tokio::test]
async fn a_question_that_another_gate_has_taken_over_is_lost_and_nothing_more_is_written_of_it() {
    let (journal, backlog) = (Fake::new(Disk::Well), Backlog::default());
    let outbox = outbox(&journal, &backlog);
    assert_eq!(woke(&outbox, 0).await, Written::OnDisk);
    assert!(!outbox.lost.is_cancelled());
    journal.disk.send_replace(Disk::TakenOver);
    assert_eq!(woke(&outbox, 1).await, Written::Dropped);
    assert!(outbox.lost.is_cancelled(), "its run is to end");
    // Were it to come back, what it says would come after what the other one said.
    journal.disk.send_replace(Disk::Well);
    assert_eq!(decided(&outbox).await, Written::Dropped);
    assert_eq!(outbox.close().await, Written::Dropped);
    assert_eq!((journal.taken(), backlog.waiting()), (vec!["0".to_owned()], 0));
    assert_eq!(journal.closed.load(Ordering::Relaxed), 0);
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_waited_for_as_long_as_it_is_said_and_no_longer_than_it_takes() {
    let check = async |well_after: Option<u64>, expected: Written, seconds: u64| {
        let journal = Fake::new(Disk::Full);
        let outbox = outbox(&journal, &Backlog::default());
        let began = Instant::now();
        let deciding = outbox.decide(Moment::ZERO, decision(), |waited| waited.as_secs() < 20);
        let mending = async {
            if let Some(after) = well_after {
                sleep(Duration::from_secs(after)).await;
                journal.disk.send_replace(Disk::Well);
            }
        };
        let (written, ()) = tokio::join!(deciding, mending);
        assert_eq!(written, expected);
        assert!(began.elapsed().as_secs().abs_diff(seconds) <= 1, "{:?}", began.elapsed());
    };
    check(None, Written::Kept, 20).await;
    check(Some(5), Written::OnDisk, 5).await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_sent_unwritten_and_that_another_gate_knows_nothing_of_is_counted() {
    for facts_before in [0, 3] {
        let (journal, backlog) = (Fake::new(Disk::Full), Backlog::default());
        let (outbox, metrics) = counting(&journal, &backlog);
        for at in 0..facts_before {
            assert_eq!(woke(&outbox, at).await, Written::Kept);
        }
        assert_eq!(decided(&outbox).await, Written::Kept);
        journal.disk.send_replace(Disk::TakenOver);
        emptied(&backlog).await;
        assert!(outbox.lost.is_cancelled());
        assert_eq!(
            lost(&metrics),
            1,
            "after {facts_before} facts, which the other gate measures itself"
        );
    }
}
