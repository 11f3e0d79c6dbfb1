//! Reading a journal: what is damaged costs itself and never the rest.

use std::collections::BTreeMap;

use policies::Moment;
use rusqlite::{Params, Row, params};

use super::super::{Accepted, Entry, JournalError, Listed, Stored};
use super::tables::CHECKED_SINCE;
use super::{Sqlite, failed, parse, sums};

/// A row of the table of questions.
#[derive(Debug)]
pub(super) struct QuestionRow {
    pub(super) id: String,
    pub(super) accepted_unix_millis: i64,
    pub(super) closed: i64,
    pub(super) version: i64,
    pub(super) entries: Option<i64>,
    pub(super) body: String,
    /// `None` where the journal is older than checksums.
    pub(super) checksum: Option<i64>,
}

/// A row of the table of entries.
#[derive(Debug)]
pub(super) struct EntryRow {
    pub(super) number: i64,
    pub(super) place: i64,
    pub(super) version: i64,
    pub(super) at_millis: i64,
    pub(super) body: String,
    /// `None` where the journal is older than checksums.
    pub(super) checksum: Option<i64>,
}

impl QuestionRow {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            accepted_unix_millis: row.get(1)?,
            closed: row.get(2)?,
            version: row.get(3)?,
            entries: row.get(4)?,
            body: row.get(5)?,
            checksum: row.get(6)?,
        })
    }

    /// Whether it is as it was written.
    pub(super) fn is_sound(&self) -> bool {
        let sums = sums::Question {
            id: &self.id,
            accepted_unix_millis: self.accepted_unix_millis,
            closed: self.closed,
            version: self.version,
            entries: self.entries,
            body: &self.body,
        };
        self.checksum.is_none_or(|sum| sum == sums.sum())
    }

    pub(super) fn accepted(&self) -> Result<Accepted, JournalError> {
        if self.is_sound() {
            parse(&self.body)
        } else {
            Err(JournalError::Damaged { id: self.id.clone() })
        }
    }
}

impl EntryRow {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            number: row.get(0)?,
            place: row.get(1)?,
            version: row.get(2)?,
            at_millis: row.get(3)?,
            body: row.get(4)?,
            checksum: row.get(5)?,
        })
    }

    /// Whether it is as it was written.
    pub(super) fn is_sound(&self, question: &str) -> bool {
        let sums = sums::Entry {
            question,
            place: self.place,
            version: self.version,
            at_millis: self.at_millis,
            body: &self.body,
        };
        self.checksum.is_none_or(|sum| sum == sums.sum())
    }

    /// What it says, where it is as it was written.
    pub(super) fn entry(&self, question: &str) -> Option<(Moment, Entry)> {
        let at = Moment::from_millis(u64::try_from(self.at_millis).unwrap_or(0));
        self.is_sound(question).then(|| Some((at, parse(&self.body).ok()?))).flatten()
    }
}

/// The entries of a question as they were found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// In order.
    pub(super) rows: Vec<EntryRow>,
    /// Rows whose very columns cannot be read.
    pub(super) broken: usize,
}

impl Sqlite {
    fn question_columns(&self) -> &'static str {
        if self.version >= CHECKED_SINCE {
            "id, accepted_unix_millis, closed, version, entries, body, checksum"
        } else {
            "id, accepted_unix_millis, closed, 0, NULL, body, NULL"
        }
    }

    fn entry_columns(&self) -> &'static str {
        if self.version >= CHECKED_SINCE {
            "number, place, version, at_millis, body, checksum"
        } else {
            "number, 0, 0, at_millis, body, NULL"
        }
    }

    /// Rows up to the first page that cannot be read, and what stood in the way.
    fn rows<T>(
        &self,
        sql: &str,
        values: impl Params,
        read: impl Fn(&Row<'_>) -> rusqlite::Result<T>,
    ) -> (Vec<rusqlite::Result<T>>, Option<rusqlite::Error>) {
        let mut found = Vec::new();
        let collect = || -> rusqlite::Result<()> {
            let mut statement = self.connection.prepare(sql)?;
            let mut rows = statement.query(values)?;
            while let Some(row) = rows.next()? {
                found.push(read(row));
            }
            Ok(())
        };
        let error = collect().err();
        (found, error)
    }

    /// Ids of questions, oldest first. Where a page cannot be read, those from both sides of it.
    pub(in crate::journal) fn ids(&self, open: bool) -> Result<Vec<String>, JournalError> {
        let which = if open { "closed = 0" } else { "closed < 2" };
        let read = |row: &Row<'_>| Ok((row.get::<_, i64>(1)?, row.get::<_, String>(0)?));
        let select = "SELECT id, accepted_unix_millis, rowid FROM questions";
        let good = format!("{select} WHERE {which} ORDER BY accepted_unix_millis, rowid");
        let (found, trouble) = self.rows(&good, [], read);
        if trouble.is_none() {
            return Ok(found.into_iter().flatten().map(|(_, id)| id).collect());
        }
        let mut all: BTreeMap<(i64, String), ()> =
            found.into_iter().flatten().map(|key| (key, ())).collect();
        for order in ["ASC", "DESC"] {
            let sql = format!("{select} NOT INDEXED WHERE {which} ORDER BY rowid {order}");
            let (found, _until_the_bad_page) = self.rows(&sql, [], read);
            all.extend(found.into_iter().flatten().map(|key| (key, ())));
        }
        match trouble {
            Some(error) if all.is_empty() => Err(failed("read questions")(error)),
            _ => Ok(all.into_keys().map(|(_, id)| id).collect()),
        }
    }

    /// Ids of those accepted since then, oldest first.
    pub(in crate::journal) fn ids_since(
        &self,
        unix_millis: u64,
    ) -> Result<Vec<String>, JournalError> {
        let since = i64::try_from(unix_millis).unwrap_or(i64::MAX);
        let sql = "SELECT id FROM questions WHERE closed < 2 AND accepted_unix_millis >= ?1
                   ORDER BY accepted_unix_millis, rowid";
        let (found, error) = self.rows(sql, [since], |row| row.get(0));
        error.map_or_else(
            || Ok(found.into_iter().flatten().collect()),
            |error| Err(failed("read questions")(error)),
        )
    }

    /// A question's row, by whatever way leads to it.
    pub(super) fn question(&self, id: &str) -> Result<Option<QuestionRow>, JournalError> {
        let mut trouble = None;
        for way in ["", " NOT INDEXED"] {
            let columns = self.question_columns();
            let sql = format!("SELECT {columns} FROM questions{way} WHERE id = ?1 AND closed < 2");
            let (found, error) = self.rows(&sql, [id], QuestionRow::read);
            match (found.into_iter().next(), error) {
                (Some(Ok(row)), _) => return Ok(Some(row)),
                (None, None) => return Ok(None),
                (Some(Err(error)), _) | (None, Some(error)) => trouble = Some(error),
            }
        }
        trouble.map_or(Ok(None), |error| Err(failed("read a question")(error)))
    }

    /// The entries of a question. Where a page cannot be read, those from both sides of it.
    pub(super) fn entries(&self, question: &str) -> Found {
        let columns = self.entry_columns();
        let sql = format!("SELECT {columns} FROM entries WHERE question = ?1 ORDER BY number");
        let (found, trouble) = self.rows(&sql, [question], EntryRow::read);
        let mut rows = BTreeMap::new();
        let mut broken = 0;
        let mut keep = |found: Vec<rusqlite::Result<EntryRow>>, broken: &mut usize| {
            for row in found {
                match row {
                    Ok(row) => drop(rows.insert(row.number, row)),
                    Err(_columns) => *broken += 1,
                }
            }
        };
        keep(found, &mut broken);
        if trouble.is_some() {
            broken = 0;
            for order in ["ASC", "DESC"] {
                let sql = format!(
                    "SELECT {columns} FROM entries NOT INDEXED WHERE question = ?1 ORDER BY number {order}"
                );
                let (found, _until_the_bad_page) =
                    self.rows(&sql, params![question], EntryRow::read);
                keep(found, &mut broken);
            }
            broken = broken.max(1);
        }
        Found { rows: rows.into_values().collect(), broken }
    }

    /// One question with everything that happened to it.
    pub(in crate::journal) fn load(&self, id: &str) -> Result<Option<Stored>, JournalError> {
        let Some(question) = self.question(id)? else { return Ok(None) };
        let accepted = question.accepted()?;
        let found = self.entries(id);
        let mut good: BTreeMap<(i64, i64), (Moment, Entry)> = BTreeMap::new();
        let mut last = question.entries.unwrap_or(0);
        for row in &found.rows {
            if let Some(entry) = row.entry(id) {
                last = last.max(row.place);
                good.insert((row.place, row.number), entry);
            }
        }
        // What is missing counts as well.
        let places = usize::try_from(last).unwrap_or(0);
        let expected = places.max(found.rows.len() + found.broken);
        let unreadable = expected.saturating_sub(good.len());
        Ok(Some(Stored { accepted, entries: good.into_values().collect(), unreadable }))
    }

    /// The newest questions.
    pub(in crate::journal) fn list(&self, most: u32) -> Result<Vec<Listed>, JournalError> {
        let columns = self.question_columns();
        let sql = format!(
            "SELECT {columns} FROM questions WHERE closed < 2 ORDER BY accepted_unix_millis DESC LIMIT ?1"
        );
        let (found, error) = self.rows(&sql, [most], QuestionRow::read);
        if let Some(error) = error.filter(|_| found.is_empty()) {
            return Err(failed("list questions")(error));
        }
        let listed =
            found.into_iter().map(|row| self.listed(&row.map_err(failed("read a question"))?));
        Ok(readable(listed))
    }

    fn listed(&self, row: &QuestionRow) -> Result<Listed, JournalError> {
        let accepted = row.accepted()?;
        // The decision is the only entry of its kind; the newest one is the one that stands.
        let columns = self.entry_columns();
        let sql = format!(
            "SELECT {columns} FROM entries WHERE question = ?1 AND body LIKE '{{\"decided\"%'
             ORDER BY number DESC LIMIT 1"
        );
        let (found, _unread) = self.rows(&sql, [&row.id], EntryRow::read);
        let entry = found.into_iter().flatten().next().and_then(|found| found.entry(&row.id));
        let decision = match entry {
            Some((_, Entry::Decided { decision })) => Some(decision),
            Some((_, Entry::Fact { .. })) | None => None,
        };
        Ok(Listed {
            id: accepted.question.id,
            deployment_id: accepted.asked.ask.subject().id().to_owned(),
            accepted_unix_millis: accepted.accepted_unix_millis,
            decision,
            closed: row.closed > 0,
        })
    }
}

/// One row that cannot be read must not keep the others from being answered or shown.
fn readable<T>(rows: impl Iterator<Item = Result<T, JournalError>>) -> Vec<T> {
    let report = |error: &JournalError| {
        tracing::error!(error = error as &dyn std::error::Error, "a question cannot be read");
    };
    rows.filter_map(|row| row.inspect_err(report).ok()).collect()
}
