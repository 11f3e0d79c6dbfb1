//! What becomes of a journal whose file is damaged, or whose disk hangs.

use super::*;

/// A journal of forty questions with six entries each, put away, as bytes.
async fn forty(place: &Place) -> Vec<u8> {
    let journal = Embedded::open(&place.path()).unwrap();
    for number in 0..40 {
        let id = format!("d-{number}");
        journal.accept(accepted(&id)).await.unwrap();
        for (at, entry) in entries() {
            journal.append(&id, at, entry).await.unwrap();
        }
    }
    journal.end().await.unwrap();
    std::fs::read(place.path()).unwrap()
}

#[tokio::test]
async fn whatever_page_is_garbled_the_rest_is_read_and_taken_up() {
    const PAGE: usize = 4096;
    let place = Place::new("garbled");
    let sound = forty(&place).await;
    let mut most_lost = 0;
    for page in 0..sound.len() / PAGE {
        let mut garbled = sound.clone();
        let bytes = &mut garbled[page * PAGE..(page + 1) * PAGE];
        bytes.iter_mut().zip(0_u8..=250).for_each(|(byte, with)| *byte ^= with | 0x81);
        std::fs::write(place.path(), &garbled).unwrap();
        let opened = Embedded::open(&place.path());
        if page == 0 {
            let refused = crate::cli::story(&opened.unwrap_err());
            assert!(refused.contains("file is not a database"), "{refused}");
            assert!(refused.contains("moved aside"), "{refused}");
            continue;
        }
        let Ok(journal) = opened else { continue };
        let stored = journal.unfinished().await.unwrap_or_default();
        let entries: usize = stored.iter().map(|stored| stored.entries.len()).sum();
        most_lost = most_lost.max(240 - entries);
        let looked = Archive::open(&place.path()).and_then(|archive| archive.look());
        if let Ok(looked) = &looked {
            assert!(entries == 240 || !looked.faults.is_empty(), "page {page}: {looked:?}");
        }
        // It may fail, and says so; it must not hang or panic.
        drop(journal.append("d-1", Moment::ZERO, Entry::Fact { fact: Event::Woke }).await);
        journal.end().await.unwrap();
    }
    assert!(most_lost > 0);
}

#[tokio::test]
async fn a_damaged_question_is_written_once_more_from_its_next_delivery_with_all_its_entries() {
    let place = Place::new("mended");
    let journal = Embedded::open(&place.path()).unwrap();
    for id in ["sound", "open", "over", "lost"] {
        journal.accept(accepted(id)).await.unwrap();
        for (at, entry) in entries() {
            journal.append(id, at, entry).await.unwrap();
        }
    }
    journal.close("over").await.unwrap();
    let garble = "UPDATE questions SET body = replace(body, 'token', 'tokem') WHERE id != 'sound';
                  UPDATE questions SET accepted_unix_millis = 5 WHERE id = 'lost';";
    sqlite::execute(&place.path(), garble).unwrap();
    let again = |id: &str| {
        let mut again = accepted(id);
        again.accepted_unix_millis += 60_000;
        again.question.limit = Some(Duration::from_secs(100));
        again
    };
    for (id, is_mended) in [("sound", false), ("over", false), ("nobody", false)] {
        assert_eq!(journal.mend(again(id)).await.unwrap(), is_mended, "{id}");
    }
    for (id, seconds_before) in [("open", 60), ("lost", 0)] {
        let damaged = journal.load(id).await;
        assert!(matches!(damaged, Err(JournalError::Damaged { .. })), "{damaged:?}");
        assert!(journal.mend(again(id)).await.unwrap());
        let stored = journal.load(id).await.unwrap().unwrap();
        assert_eq!((stored.entries.len(), stored.unreadable), (entries().len(), 0));
        // Its end is where it was: the limit counts from the acceptance.
        let then = again(id).accepted_unix_millis - seconds_before * 1000;
        assert_eq!(stored.accepted.accepted_unix_millis, then, "{id}");
        assert_eq!(stored.accepted.question.limit, Some(Duration::from_secs(100 + seconds_before)));
        assert_eq!(stored.accepted.asked, accepted(id).asked);
    }
    journal.end().await.unwrap();
}

#[tokio::test]
async fn a_journal_that_is_cut_short_is_read_as_far_as_it_goes_or_refused() {
    let place = Place::new("cut");
    let sound = forty(&place).await;
    for part in 0..16 {
        std::fs::write(place.path(), &sound[..sound.len() * part / 16 + 100]).unwrap();
        match Embedded::open(&place.path()) {
            Ok(journal) => {
                drop(journal.unfinished().await);
                journal.end().await.unwrap();
            }
            Err(refused) => assert!(matches!(refused, JournalError::Open { .. }), "{refused}"),
        }
    }
}

#[tokio::test]
async fn of_a_log_that_is_torn_everything_before_the_tear_stands() {
    let place = Place::new("log");
    let other = Place::new("log-torn");
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("one")).await.unwrap();
    for number in 0..20 {
        let at = Moment::from_millis(number);
        journal.append("one", at, Entry::Fact { fact: Event::Woke }).await.unwrap();
    }
    let read = |ending: &str| std::fs::read(place.0.join(format!("journal.db{ending}"))).unwrap();
    let (main, log) = (read(""), read("-wal"));
    let mut seen = Vec::new();
    for tear in (0..=20).map(|part| log.len() * part / 20) {
        for garbled in [false, true] {
            let mut torn = log.clone();
            if garbled {
                torn[tear.min(log.len() - 1)..].iter_mut().for_each(|byte| *byte = !*byte);
            } else {
                torn.truncate(tear);
            }
            let write = |ending: &str, bytes: &[u8]| {
                std::fs::write(other.0.join(format!("journal.db{ending}")), bytes).unwrap();
            };
            drop(std::fs::remove_file(other.0.join("journal.db-shm")));
            write("", &main);
            write("-wal", &torn);
            // Before the first frames there is not even a table.
            let Ok(journal) = Embedded::open(&other.path()) else { continue };
            let stored = journal.unfinished().await.unwrap();
            assert!(stored.iter().all(|stored| stored.unreadable == 0));
            seen.push(stored.first().map_or(0, |stored| stored.entries.len()));
            journal.end().await.unwrap();
        }
    }
    assert_eq!(seen.iter().max(), Some(&20));
    assert!(seen.is_sorted_by(|one, other| other + 1 >= *one), "{seen:?}");
}

#[tokio::test]
async fn a_write_that_hangs_is_said_to_and_reading_goes_on() {
    let place = Place::new("hangs");
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("one")).await.unwrap();
    let held = sqlite::hold(&place.path());
    let writing = journal.clone();
    let writing = tokio::spawn(async move { writing.accept(accepted("two")).await });
    let told = loop {
        if let Some(told) = journal.state().trouble {
            break told;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(told.contains("has been waiting for the disk"), "{told}");
    assert!(journal.load("one").await.unwrap().is_some());
    drop(held);
    assert!(writing.await.unwrap().unwrap());
    assert_eq!(journal.state().trouble, None);
}

#[tokio::test]
async fn a_start_while_writes_hang_reads_what_is_open_at_once() {
    let place = Place::new("hangs-at-start");
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("one")).await.unwrap();
    journal.end().await.unwrap();
    let held = sqlite::hold(&place.path());
    let began = std::time::Instant::now();
    let journal = Embedded::open(&place.path()).unwrap();
    assert_eq!(journal.unfinished_ids().await.unwrap(), ["one"]);
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(held);
    assert!(journal.accept(accepted("two")).await.unwrap());
    assert_eq!(journal.state().trouble, None);
}

#[tokio::test]
async fn a_run_that_cannot_be_let_go_of_keeps_no_other_from_going() {
    let place = Place::new("stuck");
    let journal = Embedded::open(&place.path()).unwrap();
    for id in ["one", "two", "three"] {
        journal.accept(accepted(id)).await.unwrap();
        journal.close(id).await.unwrap();
    }
    let no_text = "UPDATE questions SET body = CAST(x'ff' AS TEXT) WHERE id = 'one'";
    sqlite::execute(&place.path(), no_text).unwrap();
    let all = Retention { keep: Some(Duration::ZERO), max_bytes: None };
    let mut seen = Vec::new();
    for _step in 0..5 {
        let pruned = journal.prune(all, u64::MAX).await.unwrap();
        seen.push((pruned.questions, pruned.stuck, pruned.more));
    }
    let (gone, over) = ((1, 0, true), (0, 0, false));
    assert_eq!(seen, [(0, 1, true), gone, gone, over, over]);
    let looked = Archive::open(&place.path()).unwrap().look().unwrap();
    assert_eq!((looked.questions, looked.faults.len()), (1, 1), "{looked:?}");
}

#[tokio::test]
async fn a_question_that_is_damaged_is_not_sound_again_once_its_run_is_over() {
    let place = Place::new("signed");
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("one")).await.unwrap();
    let body = "UPDATE questions SET body = replace(body, 'rollback', 'continue')";
    sqlite::execute(&place.path(), body).unwrap();
    journal.close("one").await.unwrap();
    assert!(journal.unfinished_ids().await.unwrap().is_empty());
    let faults = format!("{:?}", Archive::open(&place.path()).unwrap().look().unwrap().faults);
    assert!(faults.contains("`one` is not as it was written"), "{faults}");
}
