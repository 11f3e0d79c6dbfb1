//! What the rows of a journal add up to, so that a row that is damaged, missing or in another's place is noticed.
//!
//! CRC-32 as of zlib, over the columns as text, a line each: it is against disks, not against people, who could write a new sum as well.
//! It sees every burst of up to 32 bits and all but one in 4 billion of other damages, costs less than writing the
//! row, and every language has it.

use std::fmt::Display;

use crc32fast::Hasher;

/// A question's columns that are summed up.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Question<'a> {
    pub(super) id: &'a str,
    pub(super) accepted_unix_millis: i64,
    /// 1 once its run is over, 2 while it is being deleted.
    pub(super) closed: i64,
    pub(super) version: i64,
    /// How many entries there were when its run was over: what is missing at the end is noticed then.
    pub(super) entries: Option<i64>,
    pub(super) body: &'a str,
}

impl Question<'_> {
    pub(super) fn sum(&self) -> i64 {
        let entries = self.entries.unwrap_or(-1);
        let head: [&dyn Display; 5] =
            [&self.id, &self.accepted_unix_millis, &self.closed, &self.version, &entries];
        sum(&head, self.body)
    }
}

/// An entry's columns that are summed up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<'a> {
    pub(super) question: &'a str,
    /// 1, 2, 3 … within its question.
    pub(super) place: i64,
    pub(super) version: i64,
    pub(super) at_millis: i64,
    pub(super) body: &'a str,
}

impl Entry<'_> {
    pub(super) fn sum(&self) -> i64 {
        let head: [&dyn Display; 4] = [&self.question, &self.place, &self.version, &self.at_millis];
        sum(&head, self.body)
    }
}

fn sum(head: &[&dyn Display], body: &str) -> i64 {
    let mut hasher = Hasher::new();
    for column in head {
        hasher.update(format!("{column}\n").as_bytes());
    }
    hasher.update(body.as_bytes());
    i64::from(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_that_of_zlib_over_the_columns_and_sees_each_of_them() {
        let entry = Entry { question: "d-1", place: 2, version: 5, at_millis: 2_000, body: "{}" };
        // python3 -c 'import zlib; print(zlib.crc32(b"d-1\n2\n5\n2000\n{}"))'
        assert_eq!(entry.sum(), ENTRY);
        for other in [
            Entry { question: "d-2", ..entry },
            Entry { place: 3, ..entry },
            Entry { version: 4, ..entry },
            Entry { at_millis: 2_001, ..entry },
            Entry { body: "{} ", ..entry },
        ] {
            assert_ne!(other.sum(), ENTRY, "{other:?}");
        }
        let open = Question { id: "d-1", body: "{}", ..Question::default() };
        for other in [
            Question { closed: 1, ..open },
            Question { entries: Some(0), ..open },
            Question { accepted_unix_millis: 1, ..open },
        ] {
            assert_ne!(other.sum(), open.sum(), "{other:?}");
        }
    }

    const ENTRY: i64 = 1_123_145_717;
}
