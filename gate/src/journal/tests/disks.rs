//! What becomes of a journal whose disk could not be written at the start, or was for a while.

use std::os::unix::fs::{MetadataExt, symlink};

use super::*;

/// Keeps a file from being made or opened, as a disk without room does: this link leads to itself.
fn bar(place: &Place, ending: &str) {
    let path = place.0.join(format!("journal.db{ending}"));
    drop(std::fs::remove_file(&path));
    symlink(&path, &path).unwrap();
}

fn unbar(place: &Place, ending: &str) {
    std::fs::remove_file(place.0.join(format!("journal.db{ending}"))).unwrap();
}

async fn until_well(journal: &Embedded) {
    let began = std::time::Instant::now();
    while let Some(trouble) = journal.state().trouble {
        assert!(began.elapsed() < Duration::from_secs(20), "{trouble}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether this process has a lock on the journal that others respect.
#[cfg(target_os = "linux")]
fn is_locked(place: &Place) -> bool {
    let inode = std::fs::metadata(place.path()).unwrap().ino();
    let own = format!(" {} ", std::process::id());
    let of = format!(":{inode} ");
    let locks = std::fs::read_to_string("/proc/locks").unwrap();
    locks.lines().any(|line| line.contains(" POSIX ") && line.contains(&own) && line.contains(&of))
}

/// A journal as a kill would leave it now.
fn killed(place: &Place, name: &str) -> Place {
    let left = Place::new(name);
    for ending in ["", "-wal"] {
        let file = format!("journal.db{ending}");
        if let Ok(bytes) = std::fs::read(place.0.join(&file)) {
            std::fs::write(left.0.join(&file), bytes).unwrap();
        }
    }
    left
}

#[tokio::test]
async fn what_is_accepted_once_a_full_disk_has_room_outlives_a_kill() {
    let place = Place::new("roomless");
    let journal = Embedded::open(&place.path()).unwrap();
    journal.accept(accepted("before")).await.unwrap();
    journal.end().await.unwrap();
    for ending in ["-shm", ".lock"] {
        bar(&place, ending);
    }
    let journal = Embedded::open(&place.path()).unwrap();
    assert!(journal.state().trouble.is_some());
    drop(journal.accept(accepted("refused")).await.unwrap_err());
    assert_eq!(journal.unfinished_ids().await.unwrap(), ["before"]);
    for ending in ["-shm", ".lock"] {
        unbar(&place, ending);
    }
    until_well(&journal).await;
    for number in 0..20 {
        assert!(journal.accept(accepted(&format!("d-{number}"))).await.unwrap());
    }
    assert_eq!(journal.list(100).await.unwrap().len(), 21);
    assert!(journal.load("d-19").await.unwrap().is_some());
    #[cfg(target_os = "linux")]
    assert!(is_locked(&place), "somebody with sqlite3 would put the log away");
    let left = killed(&place, "roomless-killed");
    let after = Embedded::open(&left.path()).unwrap();
    assert_eq!(after.unfinished_ids().await.unwrap().len(), 21);
}

#[tokio::test]
async fn a_file_that_cannot_be_written_for_a_while_is_opened_anew() {
    let first = Place::new("anew-first");
    let journal = Embedded::open(&first.path()).unwrap();
    journal.accept(accepted("one")).await.unwrap();
    let place = killed(&first, "anew");
    // What can be opened to read alone makes the file read-only for this process, and would for ever.
    let shared_memory = place.0.join("journal.db-shm");
    std::fs::create_dir(&shared_memory).unwrap();
    let journal = Embedded::open(&place.path()).unwrap();
    drop(journal.accept(accepted("refused")).await.unwrap_err());
    assert!(journal.state().trouble.is_some());
    assert_eq!(journal.unfinished_ids().await.unwrap(), ["one"]);
    std::fs::remove_dir(&shared_memory).unwrap();
    until_well(&journal).await;
    assert!(journal.accept(accepted("two")).await.unwrap());
    assert_eq!(journal.unfinished_ids().await.unwrap(), ["one", "two"]);
    let refused = Embedded::open(&place.path()).unwrap_err();
    assert!(matches!(refused, JournalError::InUse { .. }), "{refused}");
    let left = killed(&place, "anew-killed");
    let after = Embedded::open(&left.path()).unwrap();
    assert_eq!(after.unfinished_ids().await.unwrap().len(), 2);
}

#[test]
fn a_journal_that_somebody_may_write_is_not_read_past_its_locks() {
    let place = Place::new("past");
    drop(Sqlite::open(&place.path(), &mut None).unwrap());
    bar(&place, "-shm");
    drop(Archive::open(&place.path()).unwrap());
    let held = sqlite::Lock::to_read(&place.path()).unwrap();
    let refused = Archive::open(&place.path()).unwrap_err();
    assert!(matches!(refused, JournalError::Open { .. }), "{refused}");
    drop(held);
    drop(Archive::open(&place.path()).unwrap());
}

#[tokio::test]
async fn what_was_freed_is_given_back_hundreds_of_pages_at_a_time() {
    let place = Place::new("freed");
    let journal = Embedded::open(&place.path()).unwrap();
    let long = Accepted {
        question: Question { id: "x".repeat(4_000_000), ..accepted("long").question },
        ..accepted("long")
    };
    let id = long.question.id.clone();
    journal.accept(long).await.unwrap();
    journal.close(&id).await.unwrap();
    let all = Retention { keep: Some(Duration::ZERO), max_bytes: None };
    assert!(journal.prune(all, u64::MAX).await.unwrap().more);
    let before = sqlite::free_pages(&place.path()).unwrap();
    assert!(before > 600, "{before}");
    assert!(journal.prune(all, u64::MAX).await.unwrap().more);
    assert_eq!(before - sqlite::free_pages(&place.path()).unwrap(), 256);
}
