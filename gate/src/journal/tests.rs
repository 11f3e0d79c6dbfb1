//! What is written down is there again, whatever happened to the file in between.

use std::time::Duration;

use super::*;
use policies::{Answer, ArmTick, Basis, Delivery, Event, Outcome, Sample, TargetTick, Tick};
use sqlite::Write;

mod damage;
mod disks;

/// A journal in a folder of its own, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let folder =
            std::env::temp_dir().join(format!("gate-journal-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.join("journal.db")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

fn accepted(id: &str) -> Accepted {
    let question = Question {
        id: id.into(),
        limit: None,
        unmatched: Answer::Rollback,
        observe: false,
        watch_only: false,
    };
    Accepted {
        question,
        asked: Asked::now(
            Ask::CodedeployHook {
                deployment_id: "d-1".into(),
                execution_id: Token("token".into()),
            },
            crate::aws::Place::default(),
        ),
        accepted_unix_millis: 1_700_000_000_000,
        accepted_since_boot: None,
    }
}

fn entries() -> Vec<(Moment, Entry)> {
    let mut target = TargetTick::default();
    for (outcome, status) in [(Outcome::Ok, 200), (Outcome::Status, 503), (Outcome::Timeout, 0)] {
        target.record(&Sample {
            held: Duration::ZERO,
            latency: Duration::from_millis(12),
            outcome,
            status: Some(status),
            ..Sample::default()
        });
    }
    let green = ArmTick { targets: [("10.0.0.1:80".to_owned(), target)].into() };
    let tick = Tick { index: 3, green: green.clone(), blue: Some(green), ..Tick::default() };
    let decision = Decision {
        answer: Answer::Rollback,
        basis: Basis::Proven,
        reason: "because".into(),
        objective: Some("errors".into()),
        counterfactual: None,
    };
    let facts = [
        Event::Woke,
        Event::Resumed,
        Event::Ended { status: "Stopped".into() },
        Event::Ticked { tick: Box::new(tick) },
        Event::Delivered { delivery: Delivery::TooLate { reason: "late".into() } },
    ];
    let mut entries: Vec<(Moment, Entry)> = facts
        .into_iter()
        .enumerate()
        .map(|(i, fact)| (Moment::from_millis(i as u64), Entry::Fact { fact }))
        .collect();
    entries.push((Moment::from_millis(9), Entry::Decided { decision }));
    entries
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_word_for_word() {
    let place = Place::new("restart");
    {
        let journal = Embedded::open(&place.path()).unwrap();
        assert!(journal.accept(accepted("one")).await.unwrap());
        assert!(!journal.accept(accepted("one")).await.unwrap(), "delivered again, it joins");
        for (at, entry) in entries() {
            journal.append("one", at, entry).await.unwrap();
        }
        journal.end().await.unwrap();
    }
    let journal = Embedded::open(&place.path()).unwrap();
    let stored = journal.unfinished().await.unwrap();
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0].accepted, accepted("one"));
    assert_eq!(stored[0].entries, entries());
    let listed = journal.list(10).await.unwrap();
    assert_eq!(
        listed[0].decision.as_ref().map(|decision| decision.reason.as_str()),
        Some("because")
    );
    journal.close("one").await.unwrap();
    assert!(journal.unfinished().await.unwrap().is_empty());
    assert!(journal.load("one").await.unwrap().is_some());
    assert!(journal.load("two").await.unwrap().is_none());
}

#[tokio::test]
async fn what_cannot_be_read_costs_itself_and_never_the_rest() {
    let place = Place::new("torn");
    let journal = Embedded::open(&place.path()).unwrap();
    for id in ["one", "two", "three"] {
        journal.accept(accepted(id)).await.unwrap();
        for (at, entry) in entries() {
            journal.append(id, at, entry).await.unwrap();
        }
    }
    let torn = "UPDATE questions SET body = '{' WHERE id = 'two';
                DELETE FROM entries WHERE question = 'three' AND number > 14;
                INSERT INTO entries (question, at_millis, body) VALUES ('three', 5, '{');";
    sqlite::execute(&place.path(), torn).unwrap();
    let stored = journal.unfinished().await.unwrap();
    let seen: Vec<(&str, usize, usize)> = stored
        .iter()
        .map(|stored| {
            (stored.accepted.question.id.as_str(), stored.entries.len(), stored.unreadable)
        })
        .collect();
    assert_eq!(seen, [("one", 6, 0), ("three", 2, 1)]);
    let looked = Archive::open(&place.path()).unwrap().look().unwrap();
    assert_eq!((looked.questions, looked.open, looked.entries), (3, 3, 15));
    let faults: Vec<String> = looked.faults.iter().map(|fault| format!("{fault:?}")).collect();
    assert_eq!(faults.len(), 2, "{faults:#?}");
    assert!(faults[0].contains("`two` is not as it was written"), "{faults:#?}");
    assert!(faults[1].contains("entry 0 (number 19) is not as it was written"), "{faults:#?}");
    assert_eq!(journal.list(10).await.unwrap().len(), 2);
}

#[tokio::test]
async fn only_the_owner_can_read_it_and_nobody_can_change_an_entry() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new("private");
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("one")).await.unwrap();
    journal.append("one", Moment::ZERO, Entry::Fact { fact: Event::Woke }).await.unwrap();
    let mode = std::fs::metadata(place.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let refused = sqlite::execute(&place.path(), "UPDATE entries SET body = '{}'").unwrap_err();
    assert!(refused.to_string().contains("entries are never changed"), "{refused}");
}

#[tokio::test]
async fn a_second_gate_on_the_same_journal_is_refused_until_the_first_is_gone() {
    let place = Place::new("second");
    let first = Embedded::open(&place.path()).unwrap();
    let refused = Embedded::open(&place.path()).unwrap_err();
    assert!(matches!(refused, JournalError::InUse { .. }), "{refused}");
    first.end().await.unwrap();
    Embedded::open(&place.path()).unwrap();
}

#[tokio::test]
async fn a_journal_of_a_newer_gate_and_what_is_no_journal_are_refused() {
    let place = Place::new("newer");
    Embedded::open(&place.path()).unwrap().end().await.unwrap();
    sqlite::execute(&place.path(), "PRAGMA user_version = 99").unwrap();
    let refused = Embedded::open(&place.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Newer { found: 99, .. }), "{refused}");
    let refused = Archive::open(&place.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Newer { found: 99, .. }), "{refused}");
    let rubbish = place.0.join("rubbish.db");
    std::fs::write(&rubbish, "this is no database, but long enough to be taken for one".repeat(20))
        .unwrap();
    assert!(matches!(Embedded::open(&rubbish), Err(JournalError::Open { .. })));
    assert!(matches!(Embedded::open(Path::new("/nowhere/j.db")), Err(JournalError::Create { .. })));
}

/// A journal of that version, as a gate of its time left it.
fn older(place: &Place, version: i64) {
    let dump = match version {
        1 => include_str!("tests/v1.sql"),
        2 => include_str!("tests/v2.sql"),
        _ => include_str!("tests/v3.sql"),
    };
    drop(std::fs::remove_file(place.path()));
    sqlite::execute(&place.path(), dump).unwrap();
    assert_eq!(sqlite::version(&place.path()).unwrap(), version);
}

#[tokio::test]
async fn a_journal_of_an_older_gate_is_read_as_it_is_and_taken_over_step_by_step() {
    let place = Place::new("older");
    for (version, entries) in [(1, 5), (2, 7), (3, 6)] {
        older(&place, version);
        let read = |of: i64| {
            let archive = Archive::open(&place.path()).unwrap();
            let looked = archive.look().unwrap();
            assert_eq!(looked.faults, [], "version {version}");
            assert_eq!((looked.version, looked.questions, looked.open), (of, 2, 1));
            let ids = archive.ids(None).unwrap();
            assert_eq!(ids, ["d-OLD-over", "d-OLD-open"]);
            archive.load("d-OLD-open").unwrap().unwrap()
        };
        let before = read(version);
        assert_eq!((before.entries.len(), before.unreadable), (entries, 0), "version {version}");
        let Ask::CodedeployHook { execution_id, .. } = &before.accepted.asked.ask else {
            panic!("{:?}", before.accepted)
        };
        assert_eq!(execution_id.0, "token-1");
        let journal = Embedded::open(&place.path()).unwrap();
        journal
            .append("d-OLD-open", Moment::from_millis(60_000), Entry::Fact { fact: Event::Woke })
            .await
            .unwrap();
        assert!(journal.first_seen("mac", 1).await.unwrap());
        journal.end().await.unwrap();
        assert_eq!(sqlite::version(&place.path()).unwrap(), sqlite::VERSION);
        let after = read(sqlite::VERSION);
        assert_eq!(after.accepted, before.accepted);
        assert_eq!(after.entries[..entries], before.entries);
        assert_eq!((after.entries.len(), after.unreadable), (entries + 1, 0));
    }
}

#[tokio::test]
async fn a_step_forward_that_was_cut_short_is_taken_again() {
    let place = Place::new("halfway");
    older(&place, 1);
    // Killed after the tables of signatures were there, and before what comes next.
    sqlite::execute(
        &place.path(),
        "CREATE TABLE signatures (signature TEXT PRIMARY KEY, good_until_seconds INTEGER NOT NULL)
           STRICT, WITHOUT ROWID;
         CREATE INDEX signatures_by_age ON signatures (good_until_seconds);
         PRAGMA user_version = 4;",
    )
    .unwrap();
    let journal = Embedded::open(&place.path()).unwrap();
    assert_eq!(journal.load("d-OLD-open").await.unwrap().unwrap().unreadable, 0);
}

/// What is seen of a question with six entries after this was done to it behind the journal's back.
async fn check_damage(
    name: &str,
    damage: &str,
    closed: bool,
    readable: Option<(usize, usize)>,
    named: &str,
) {
    let place = Place::new(name);
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("one")).await.unwrap();
    for (at, entry) in entries() {
        journal.append("one", at, entry).await.unwrap();
    }
    if closed {
        journal.close("one").await.unwrap();
    }
    sqlite::execute(&place.path(), &format!("DROP TRIGGER entries_stand; {damage}")).unwrap();
    let seen = journal.load("one").await;
    let seen = seen.map(|stored| stored.map(|stored| (stored.entries.len(), stored.unreadable)));
    assert_eq!(seen.ok().flatten(), readable, "{damage}");
    let looked = Archive::open(&place.path()).unwrap().look().unwrap();
    let faults = format!("{:?}", looked.faults);
    assert!(faults.contains(named), "{damage}: {faults}");
    assert_eq!(faults == "[]", named.is_empty(), "{damage}: {faults}");
}

#[tokio::test]
async fn a_row_that_is_not_as_it_was_written_is_never_used_and_is_named() {
    check_damage("sound", "", false, Some((6, 0)), "").await;
    let bit = "UPDATE entries SET body = replace(body, 'woke', 'Woke') WHERE number = 1";
    check_damage("bit", bit, false, Some((5, 1)), "entry 1 (number 1)").await;
    // It could be read, and would change a decision.
    let answer = "UPDATE entries SET body = replace(body, 'rollback', 'continue')";
    check_damage("answer", answer, false, Some((5, 1)), "entry 6 (number 6)").await;
    let late = "UPDATE entries SET at_millis = 7 WHERE number = 2";
    check_damage("late", late, false, Some((5, 1)), "entry 2").await;
    let swapped = "UPDATE entries SET place = 3 - place WHERE place < 3";
    check_damage("swapped", swapped, false, Some((4, 2)), "entry 2 (number 1)").await;
    let missing = "DELETE FROM entries WHERE number IN (2, 3)";
    check_damage("missing", missing, false, Some((4, 2)), "entries 2 to 3 are missing").await;
    let twice = "INSERT INTO entries (question, place, version, at_millis, body, checksum)
                 SELECT question, place, version, at_millis, body, checksum FROM entries LIMIT 1";
    check_damage("twice", twice, false, Some((7, 0)), "entry 1 (number 7) is there twice").await;
    let tail = "DELETE FROM entries WHERE number > 4";
    check_damage("open-tail", tail, false, Some((4, 0)), "").await;
    check_damage("tail", tail, true, Some((4, 2)), "entries 5 to 6 are missing").await;
    let over = "UPDATE questions SET closed = 1";
    check_damage("over", over, false, None, "`one` is not as it was written").await;
    let body = "UPDATE questions SET body = replace(body, 'rollback', 'continue')";
    check_damage("body", body, false, None, "`one` is not as it was written").await;
}

#[tokio::test]
async fn five_hundred_questions_at_once_are_written_in_a_few_goes() {
    let place = Place::new("together");
    let journal = Embedded::open(&place.path()).unwrap();
    let before = journal.commits();
    let mut accepting = tokio::task::JoinSet::new();
    for number in 0..500 {
        let journal = journal.clone();
        accepting.spawn(async move { journal.accept(accepted(&format!("d-{number}"))).await });
    }
    while let Some(new) = accepting.join_next().await {
        assert!(new.unwrap().unwrap());
    }
    let commits = journal.commits() - before;
    assert!(commits <= 50, "{commits} commits");
    assert_eq!(journal.unfinished_ids().await.unwrap().len(), 500);
}

#[tokio::test]
async fn what_is_refused_costs_itself_and_nothing_that_was_written_with_it() {
    let place = Place::new("refused");
    let mut database = Sqlite::open(&place.path(), &mut None).unwrap();
    let woke = |id: &str| {
        Write::Append(id.into(), Moment::ZERO, Box::new(Entry::Fact { fact: Event::Woke }))
    };
    let accept = |id: &str| Write::Accept(Box::new(accepted(id)));
    let writes = [accept("one"), woke("one"), woke("nobody"), woke("one"), accept("one")];
    let outcomes = database.together(&writes).unwrap();
    let seen: Vec<Option<bool>> =
        outcomes.iter().map(|outcome| outcome.as_ref().ok().copied()).collect();
    assert_eq!(seen, [Some(true), Some(true), None, Some(true), Some(false)]);
    assert!(matches!(outcomes[2], Err(JournalError::Refused { .. })), "{outcomes:?}");
    assert_eq!(database.load("one").unwrap().unwrap().entries.len(), 2);
}

#[tokio::test]
async fn a_long_run_that_is_read_keeps_nobody_from_writing() {
    let place = Place::new("beside");
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("long")).await.unwrap();
    let many = (0..20_000).map(|number| {
        let (at, entry) = (Moment::from_millis(number), Entry::Fact { fact: Event::Woke });
        let journal = journal.clone();
        async move { journal.append("long", at, entry).await.unwrap() }
    });
    let mut writing: tokio::task::JoinSet<()> = many.collect();
    while let Some(written) = writing.join_next().await {
        written.unwrap();
    }
    journal.accept(accepted("short")).await.unwrap();
    let (reading, began) = (journal.clone(), std::time::Instant::now());
    let reading = tokio::spawn(async move {
        let read = reading.load("long").await.unwrap().unwrap().entries.len();
        (read, began.elapsed())
    });
    tokio::task::yield_now().await;
    let mut written = 0;
    while !reading.is_finished() {
        journal.append("short", Moment::ZERO, Entry::Fact { fact: Event::Woke }).await.unwrap();
        written += 1;
    }
    let (read, took) = reading.await.unwrap();
    assert_eq!(read, 20_000);
    assert!(written >= 2, "only {written} writes while one was read for {took:?}");
}

#[tokio::test]
async fn old_runs_that_are_over_go_and_open_ones_never_do() {
    const DAY: u64 = 24 * 3600 * 1000;
    let place = Place::new("pruned");
    let journal = Embedded::open(&place.path()).unwrap();
    let accept =
        |days: u64, id: &str| Accepted { accepted_unix_millis: days * DAY, ..accepted(id) };
    for (days, id) in [(1, "open"), (1, "old"), (2, "older"), (30, "young"), (31, "today")] {
        journal.accept(accept(days, id)).await.unwrap();
        let entries = if id == "old" { 700 } else { 3 };
        for number in 0..entries {
            let at = Moment::from_millis(number);
            journal.append(id, at, Entry::Fact { fact: Event::Woke }).await.unwrap();
        }
        if id != "open" {
            journal.close(id).await.unwrap();
        }
    }
    let now = 31 * DAY + DAY / 2;
    let prune = async |retention: Retention| {
        let (mut questions, mut steps) = (0, 0);
        loop {
            let pruned = journal.prune(retention, now).await.unwrap();
            questions += pruned.questions;
            steps += 1;
            if !pruned.more {
                break (questions, steps);
            }
        }
    };
    let ids = || Archive::open(&place.path()).unwrap().ids(None).unwrap();
    let keep = |days: u32| Retention {
        keep: Some(Duration::from_secs(24 * 3600) * days),
        max_bytes: None,
    };
    assert_eq!(prune(keep(90)).await.0, 0);
    // Of one that has many entries a part goes at a time, and it is not seen meanwhile.
    assert_eq!(
        journal.prune(keep(20), now).await.unwrap(),
        Pruned { questions: 0, more: true, stuck: 0 }
    );
    assert_eq!(ids(), ["open", "older", "young", "today"]);
    assert!(journal.load("old").await.unwrap().is_none());
    assert_eq!(journal.list(10).await.unwrap().len(), 4);
    let (questions, steps) = prune(keep(20)).await;
    assert_eq!(questions, 2);
    assert!(steps <= 10, "{steps}");
    assert_eq!(ids(), ["open", "young", "today"]);
    // However large, what is younger than a day stays, and what is open.
    let large = Retention { keep: None, max_bytes: Some(1) };
    let going = Archive::open(&place.path()).unwrap().to_prune(large, now).unwrap();
    assert_eq!(going.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["young"]);
    assert_eq!(prune(large).await.0, 1);
    assert_eq!(ids(), ["open", "today"]);
    let refused = super::prune(&place.path(), large, now).unwrap_err();
    assert!(matches!(refused, JournalError::InUse { .. }), "{refused}");
    assert!(journal.state().bytes > 0);
    journal.end().await.unwrap();
    let later = now + 10 * DAY;
    let (questions, before, after) = super::prune(&place.path(), large, later).unwrap();
    assert_eq!(questions, 1);
    assert!(after <= before);
    assert_eq!(ids(), ["open"]);
    let looked = Archive::open(&place.path()).unwrap().look().unwrap();
    assert_eq!(looked.faults, []);
}

#[test]
fn a_disk_that_is_full_is_said_to_be_and_filled_no_further_until_there_is_room() {
    let place = Place::new("full");
    let mut database = Sqlite::open(&place.path(), &mut None).unwrap();
    database.limit_pages(Some(20));
    let mut number = 0;
    let full = loop {
        number += 1;
        match database.together(&[Write::Accept(Box::new(accepted(&format!("d-{number}"))))]) {
            Ok(outcomes) => assert_eq!(outcomes[0].as_ref().err().map(ToString::to_string), None),
            Err(error) => break error,
        }
    };
    assert_eq!(sqlite::told(&full), "the disk is full");
    assert_eq!(database.ids(true).unwrap().len(), number - 1);
    database.limit_pages(None);
    let again = Write::Accept(Box::new(accepted(&format!("d-{number}"))));
    assert!(database.together(&[again]).unwrap()[0].as_ref().unwrap());
}

#[test]
fn what_is_acknowledged_is_on_the_disk_also_when_the_power_is_cut() {
    let place = Place::new("full");
    for open in ["at first", "again"] {
        let sqlite = Sqlite::open(&place.path(), &mut None).unwrap();
        assert_eq!(sqlite.setting("journal_mode"), "wal", "{open}");
        // FULL: each commit is followed by an fsync of the log.
        assert_eq!(sqlite.setting("synchronous"), "2", "{open}");
    }
}
