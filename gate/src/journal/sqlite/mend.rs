//! A question whose row is damaged, written once more from its next delivery.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::reading::QuestionRow;
use super::{Accepted, Fault, VERSION, sums, write};

/// No question is open for longer: a row that says otherwise does not know when it was accepted.
const OPEN_MAX_MILLIS: u64 = 14 * 24 * 3600 * 1000;

/// Replaces the row of a question that is open and not as it was written. Its entries stay, and so does the moment of its
/// acceptance where that can be right: what they say is relative to it.
pub(super) fn mend(writing: &Connection, again: &Accepted) -> Result<bool, Fault> {
    let id = &again.question.id;
    let sql = "SELECT id, accepted_unix_millis, closed, version, entries, body, checksum
               FROM questions WHERE id = ?1 AND closed = 0";
    let found = writing.query_row(sql, [id], QuestionRow::read).optional()?;
    let Some(found) = found.filter(|row| row.accepted().is_err()) else { return Ok(false) };
    let now = again.accepted_unix_millis;
    let then = u64::try_from(found.accepted_unix_millis).unwrap_or(0);
    let mut accepted = again.clone();
    if then <= now && now - then <= OPEN_MAX_MILLIS {
        let since = Duration::from_millis(now - then);
        accepted.accepted_unix_millis = then;
        accepted.accepted_since_boot = None;
        accepted.question.limit = again.question.limit.map(|limit| limit + since);
    }
    let body = write(&accepted).map_err(Fault::Form)?;
    let sums = sums::Question {
        id,
        accepted_unix_millis: i64::try_from(accepted.accepted_unix_millis).unwrap_or(i64::MAX),
        closed: 0,
        version: VERSION,
        entries: None,
        body: &body,
    };
    let sql = "UPDATE questions SET accepted_unix_millis = ?2, version = ?3, entries = NULL,
               body = ?4, checksum = ?5 WHERE id = ?1";
    let row = params![id, sums.accepted_unix_millis, sums.version, body, sums.sum()];
    Ok(writing.execute(sql, row)? == 1)
}
