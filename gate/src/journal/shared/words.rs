//! Words of people for a question that another gate judges: left for that gate, taken by it once, answered.

use std::sync::atomic::Ordering;
use std::time::Duration;

use policies::Override;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::super::JournalError;
use super::{Shared, failed, items};
use crate::aws::table::{Change, Expected, Key, Value};

/// Words that are looked at at once, the newest first.
const WORDS_MAX: u32 = 100;

/// A word is taken with so many tries: one whose mark is written and whose taking is not known would be nobody's.
const TAKE_TRIES_MAX: u32 = 4;
/// Between two of them.
const TAKE_AGAIN: Duration = Duration::from_millis(500);

/// Who judges a question.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judge {
    /// Its run is over, or nobody accepted it.
    Nobody,
    /// This gate does, or nobody does at this moment.
    HereOrSoon,
    Other(String),
}

/// A word that was left for this gate.
#[derive(Debug)]
pub(crate) struct Word {
    key: Key,
    /// The question it is about.
    pub(crate) id: String,
    pub(crate) said: Override,
}

/// A word that this gate left for another.
#[derive(Debug)]
pub(crate) struct Left(Key);

/// What became of a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", content = "why", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// It is written, and in force.
    Taken,
    /// It is in force, and not written yet.
    Kept,
    /// It would change nothing.
    Refused(String),
    /// It could not be written, so it does not count.
    Unwritten,
    /// That gate does not judge the question any more.
    Gone,
}

impl Shared {
    /// Who judges a question now.
    pub(crate) async fn judge(&self, id: &str) -> Result<Judge, JournalError> {
        let header = self.header(id).await?.filter(|header| header.text(items::OPEN).is_some());
        Ok(header.map_or(Judge::Nobody, |header| match header.text(items::OWNER) {
            Some(owner) if owner != self.owner => Judge::Other(owner.to_owned()),
            _ => Judge::HereOrSoon,
        }))
    }

    /// Leaves a word for another gate, good for a minute. Where this fails it may be there all the same. What time it is, both gates
    /// have from AWS.
    pub(crate) async fn leave_word(
        &self,
        owner: &str,
        id: &str,
        said: &Override,
        now_unix_millis: u64,
    ) -> Result<Left, JournalError> {
        loop {
            let by = (self.owner.as_str(), self.writes.fetch_add(1, Ordering::Relaxed));
            let item = items::word(owner, (id, said), by, now_unix_millis)?;
            let put = self.table.put_new(&self.name, &item).await;
            if put.map_err(failed("leave a word for another gate"))? {
                return Ok(Left(item.key));
            }
            let found = self.table.item(&self.name, &item.key).await;
            let found = found.map_err(failed("read a word"))?;
            if found.is_some_and(|found| items::is_of(&found, by)) {
                return Ok(Left(item.key));
            }
            // Another gate's, of the same millisecond.
        }
    }

    /// What became of a word, once that gate has said so.
    pub(crate) async fn heard(&self, left: &Left) -> Result<Option<Outcome>, JournalError> {
        let found = self.table.item(&self.name, &left.0).await;
        Ok(found.map_err(failed("read a word"))?.as_ref().and_then(items::heard))
    }

    /// Takes a word back. False where that gate has taken it already.
    pub(crate) async fn withdraw(&self, left: &Left) -> Result<bool, JournalError> {
        self.mark(&left.0, items::WITHDRAWN, "take a word back").await
    }

    /// Words for this gate that nobody took.
    pub(crate) async fn words(&self, now_unix_millis: u64) -> Result<Vec<Word>, JournalError> {
        let newest = self.table.newest(&self.name, &items::words_of(&self.owner), WORDS_MAX).await;
        let found = newest.map_err(failed("look for words of other gates"))?;
        let now = now_unix_millis / 1000;
        let waiting = found.into_iter().filter_map(|item| {
            let (id, said) = items::waiting(&item, now)?;
            Some(Word { key: item.key, id, said })
        });
        let mut words: Vec<Word> = waiting.collect();
        words.reverse();
        Ok(words)
    }

    /// Takes a word, so that it counts once at most. False where it was withdrawn.
    pub(crate) async fn take_word(&self, word: &Word) -> Result<bool, JournalError> {
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let mark = format!("{}/{write}", self.owner);
        let mut tries = 1;
        loop {
            match self.mark(&word.key, &mark, "take a word").await {
                // It may bear the mark already, and then nobody else takes it.
                Err(_unsure) if tries < TAKE_TRIES_MAX => tries += 1,
                told => return told,
            }
            sleep(TAKE_AGAIN).await;
        }
    }

    /// Says what became of a word that was taken.
    pub(crate) async fn answer_word(
        &self,
        word: &Word,
        outcome: &Outcome,
    ) -> Result<(), JournalError> {
        let change = Change {
            key: word.key.clone(),
            expected: vec![Expected::Present(items::TAKEN)],
            set: vec![(items::HEARD, Value::Text(items::written(outcome)?))],
            remove: Vec::new(),
        };
        let changed = self.table.change(&self.name, &change).await;
        changed.map_err(failed("answer a word")).map(|_changed| ())
    }

    /// Marks a word that nobody has marked.
    async fn mark(
        &self,
        key: &Key,
        mark: &str,
        attempt: &'static str,
    ) -> Result<bool, JournalError> {
        let change = Change {
            key: key.clone(),
            expected: vec![Expected::Present("id"), Expected::Absent(items::TAKEN)],
            set: vec![(items::TAKEN, mark.into())],
            remove: Vec::new(),
        };
        if self.table.change(&self.name, &change).await.map_err(failed(attempt))? {
            return Ok(true);
        }
        // An earlier try of the same call may have got through.
        let found = self.table.item(&self.name, key).await.map_err(failed("read a word"))?;
        Ok(found.is_some_and(|found| found.text(items::TAKEN) == Some(mark)))
    }
}
