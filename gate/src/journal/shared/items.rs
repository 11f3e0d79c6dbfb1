//! What the table of a shared journal holds: questions, their entries, leases, signatures.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use policies::{Decision, Delivery, Moment, Override};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::{Accepted, Entry, JournalError, Listed, Stored};
use super::{Outcome, Watcher};
use crate::aws::table::{Change, ENTRY, Expected, Item, Key, QUESTION, Shape, Value};

/// Version of what is written here. A gate leaves questions of a newer one alone.
const VERSION: u64 = 1;
/// The number of a question's own item; its entries follow.
pub(super) const HEADER: u64 = 0;

/// Index of questions whose run is not over, and its partition key.
pub(super) const OPEN: &str = "open";
/// Index of all questions by age, and its partition key.
pub(super) const LISTED: &str = "listed";
/// The one partition of both.
pub(super) const YES: &str = "yes";
/// When a question was accepted, in milliseconds since 1970: the sort key of both.
const ACCEPTED: &str = "accepted";
/// The gate that judges a question. Absent where it gave it back.
pub(super) const OWNER: &str = "owner";
/// The gate that wrote an item, and which of its writes that was.
pub(super) const BY: &str = "by";
const WRITE: &str = "write";
pub(super) const DECISION: &str = "decision";
pub(super) const TOLD: &str = "told";
const DEPLOYMENT: &str = "deployment";
const CLOSED: &str = "closed";
/// When DynamoDB may delete an item, in seconds since 1970: the attribute that is the table's time to live.
const EXPIRES: &str = "expires";

/// Closed questions are kept so long, and their entries.
const KEPT_SECONDS: u64 = 90 * 24 * 3600;
/// A lease that nobody renews goes after so long.
const LEASES_KEPT_SECONDS: u64 = 24 * 3600;
/// A signature is kept for longer than it is good: clocks differ.
const SIGNATURES_KEPT_SECONDS: u64 = 2 * 300;
/// Who watches a deployment is known for so long: longer than any is under way.
const WATCHES_KEPT_SECONDS: u64 = 4 * 24 * 3600;
/// A word is good for so long: whoever left it withdraws it before.
const WORDS_KEPT_SECONDS: u64 = 60;
/// Words that are left in the same millisecond are told apart by so many bits.
const WORD_BITS: u32 = 12;
/// The write that took a word, or [`WITHDRAWN`].
pub(super) const TAKEN: &str = "taken";
/// Whoever left it wants it no more.
pub(super) const WITHDRAWN: &str = "withdrawn";
/// What became of a word.
pub(super) const HEARD: &str = "heard";
/// Entries beyond this are compressed: DynamoDB's unit of writing.
const PACKED_FROM_BYTES: usize = 1024;
/// The largest entry, packed: an item of DynamoDB's holds 400 KB, names and keys included.
//= https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
const ENTRY_MAX_BYTES: usize = 390 * 1024;
/// The largest entry, unpacked again: nobody wrote a larger one.
const UNPACKED_MAX_BYTES: u64 = 64 * 1024 * 1024;

/// A name that no other start of any gate has.
pub(super) fn owner() -> Result<String, JournalError> {
    let mut random = [0_u8; 8];
    aws_lc_rs::rand::fill(&mut random).map_err(|source| JournalError::Database {
        attempt: "find a name for this gate",
        source: source.to_string().into(),
    })?;
    Ok(format!("gate-{:016x}", u64::from_be_bytes(random)))
}

/// What keeps gate from using a table.
pub(super) fn unfit(shape: &Shape) -> Option<String> {
    let key = |name: &str, of: &str| (name.to_owned(), of.to_owned());
    if shape.keys != [key(QUESTION, "S"), key(ENTRY, "N")] {
        return Some(format!("its keys are not `{QUESTION}` (S) and `{ENTRY}` (N)"));
    }
    let needed: [(&str, &[&str]); 2] =
        [(OPEN, &[OWNER, TOLD]), (LISTED, &[DEPLOYMENT, DECISION, CLOSED])];
    for (index, attributes) in needed {
        let found = shape.indexes.get(index);
        let Some(found) = found.filter(|found| found.keys.iter().eq([index, ACCEPTED])) else {
            return Some(format!(
                "it has no index `{index}` with the keys `{index}` and `{ACCEPTED}`"
            ));
        };
        let carries = |name: &&&str| {
            found.attributes.as_ref().is_none_or(|all| all.iter().any(|one| one == **name))
        };
        if let Some(missing) = attributes.iter().find(|name| !carries(name)) {
            return Some(format!("its index `{index}` does not carry `{missing}`"));
        }
    }
    (!shape.active).then(|| "it is not active".to_owned())
}

pub(super) fn expires(now_seconds: u64) -> u64 {
    now_seconds + KEPT_SECONDS
}

pub(super) fn lease_key(owner: &str) -> Key {
    Key::new(&format!("gate/{owner}"), HEADER)
}

pub(super) fn lease(owner: &str, number: u64, now_seconds: u64) -> Change {
    Change {
        key: lease_key(owner),
        expected: Vec::new(),
        set: vec![("lease", number.into()), (EXPIRES, (now_seconds + LEASES_KEPT_SECONDS).into())],
        remove: Vec::new(),
    }
}

pub(super) fn signature(signature: &str, by: (&str, u64), good_until_seconds: u64) -> Item {
    let key = Key::new(&format!("signature/{signature}"), HEADER);
    let until = good_until_seconds + SIGNATURES_KEPT_SECONDS;
    Item::new(key).with(BY, by.0).with(WRITE, by.1).with(EXPIRES, until)
}

pub(super) fn watch_key(deployment: &str) -> Key {
    Key::new(&format!("watch/{deployment}"), HEADER)
}

/// Gives a watch to `own`, where it is still `from`'s.
pub(super) fn watch(
    deployment: &str,
    own: &Watcher,
    from: Option<&Watcher>,
    now_seconds: u64,
) -> Change {
    Change {
        key: watch_key(deployment),
        expected: vec![from.map_or(Expected::Absent("id"), |from| {
            Expected::Is("id", Value::Text(from.id.clone()))
        })],
        set: vec![
            ("id", Value::Text(own.id.clone())),
            (ACCEPTED, own.accepted_unix_millis.into()),
            (EXPIRES, (now_seconds + WATCHES_KEPT_SECONDS).into()),
        ],
        remove: Vec::new(),
    }
}

pub(super) fn watcher(item: &Item) -> Option<Watcher> {
    let (accepted_unix_millis, id) = (item.number(ACCEPTED)?, item.text("id")?.to_owned());
    Some(Watcher { accepted_unix_millis, id })
}

/// Where other gates leave words for this one.
pub(super) fn words_of(owner: &str) -> String {
    format!("word/{owner}")
}

/// A word for another gate: the newest has the greatest number.
pub(super) fn word(
    owner: &str,
    (id, said): (&str, &Override),
    by: (&str, u64),
    now_unix_millis: u64,
) -> Result<Item, JournalError> {
    let random = by.1 & ((1 << WORD_BITS) - 1);
    let key = Key::new(&words_of(owner), (now_unix_millis << WORD_BITS) | random);
    Ok(Item::new(key)
        .with("id", id)
        .with("body", written(said)?.as_str())
        .with(BY, by.0)
        .with(WRITE, by.1)
        .with(EXPIRES, now_unix_millis / 1000 + WORDS_KEPT_SECONDS))
}

/// A word that nobody took, and that is still good: the question, and what is said of it.
pub(super) fn waiting(item: &Item, now_seconds: u64) -> Option<(String, Override)> {
    let good = item.number(EXPIRES).is_some_and(|until| now_seconds <= until);
    if item.text(TAKEN).is_some() || !good {
        return None;
    }
    Some((item.text("id")?.to_owned(), read(item.text("body")?).ok()?))
}

pub(super) fn heard(item: &Item) -> Option<Outcome> {
    read(item.text(HEARD)?).ok()
}

/// A new question of this gate's.
pub(super) fn header(accepted: &Accepted, by: (&str, u64)) -> Result<Item, JournalError> {
    let key = Key::new(&accepted.question.id, HEADER);
    Ok(Item::new(key)
        .with("version", VERSION)
        .with("body", written(accepted)?.as_str())
        .with(DEPLOYMENT, accepted.asked.ask.subject().id())
        .with(ACCEPTED, accepted.accepted_unix_millis)
        .with(LISTED, YES)
        .with(OPEN, YES)
        .with(OWNER, by.0)
        .with(BY, by.0)
        .with(WRITE, by.1))
}

pub(super) fn closing(id: &str, owner: &str, expires: u64) -> Change {
    Change {
        key: Key::new(id, HEADER),
        expected: vec![Expected::Is(OWNER, owner.into())],
        set: vec![(CLOSED, 1.into()), (EXPIRES, expires.into())],
        remove: vec![OPEN],
    }
}

pub(super) fn entry(key: Key, by: (&str, u64), at: Moment, packed: &Value, expires: u64) -> Item {
    Item::new(key)
        .with(BY, by.0)
        .with(WRITE, by.1)
        .with("at", at.as_millis())
        .with("body", packed.clone())
        .with(EXPIRES, expires)
}

/// Whether this very write made the item.
pub(super) fn is_of(item: &Item, (owner, write): (&str, u64)) -> bool {
    item.text(BY) == Some(owner) && item.number(WRITE) == Some(write)
}

/// Whether an item is the same entry by another write.
pub(super) fn says_the_same(found: &Item, entry: &Item) -> bool {
    let same = |name: &str| found.values.get(name) == entry.values.get(name);
    same("at") && same("body")
}

pub(super) fn is_open_of(header: &Item, owner: &str) -> bool {
    header.text(OPEN).is_some() && header.text(OWNER) == Some(owner)
}

pub(super) fn accepted(header: &Item) -> Result<Accepted, JournalError> {
    match header.number("version") {
        Some(version) if version > VERSION => {
            Err(JournalError::NewerQuestion { found: version, known: VERSION })
        }
        _ => read(header.text("body").unwrap_or_default()),
    }
}

/// A row of the index of open questions.
pub(super) struct Open {
    pub(super) id: String,
    pub(super) owner: Option<String>,
    pub(super) told: Option<Delivery>,
}

impl Open {
    pub(super) fn of(row: &Item) -> Self {
        Self {
            id: row.key.question.clone(),
            owner: row.text(OWNER).map(str::to_owned),
            told: row.text(TOLD).and_then(|told| read(told).ok()),
        }
    }
}

pub(super) fn listed(row: &Item) -> Listed {
    let decision: Option<Decision> = row.text(DECISION).and_then(|decision| read(decision).ok());
    Listed {
        id: row.key.question.clone(),
        deployment_id: row.text(DEPLOYMENT).unwrap_or_default().to_owned(),
        accepted_unix_millis: row.number(ACCEPTED).unwrap_or(0),
        decision,
        closed: row.number(CLOSED).is_some(),
    }
}

/// A question from all its items in order; `None` where there are none.
pub(super) fn stored(items: Vec<Item>) -> Result<Option<Stored>, JournalError> {
    let mut items = items.into_iter();
    let Some(header) = items.next().filter(|first| first.key.entry == HEADER) else {
        return Ok(None);
    };
    let accepted = accepted(&header)?;
    let mut stored = Stored { accepted, entries: Vec::new(), unreadable: 0 };
    for item in items {
        let at = Moment::from_millis(item.number("at").unwrap_or(0));
        match item.values.get("body").and_then(unpacked) {
            Some(entry) => stored.entries.push((at, entry)),
            None => stored.unreadable += 1,
        }
    }
    Ok(Some(stored))
}

pub(super) fn written<T: Serialize>(value: &T) -> Result<String, JournalError> {
    serde_json::to_string(value)
        .map_err(|source| JournalError::Entry { attempt: "written", source })
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, JournalError> {
    serde_json::from_str(text).map_err(|source| JournalError::Entry { attempt: "read", source })
}

/// An entry as it is sent: what costs more than one unit is compressed.
pub(super) fn packed(entry: &Entry) -> Result<Value, JournalError> {
    let text = written(entry)?;
    if text.len() <= PACKED_FROM_BYTES {
        return Ok(Value::Text(text));
    }
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    let packed = encoder.write_all(text.as_bytes()).and_then(|()| encoder.finish());
    match packed {
        Ok(packed) if packed.len() <= ENTRY_MAX_BYTES => Ok(Value::Bytes(packed)),
        Ok(packed) => Err(JournalError::TooLarge { bytes: packed.len() }),
        Err(source) => {
            Err(JournalError::Database { attempt: "compress an entry", source: Box::new(source) })
        }
    }
}

fn unpacked(body: &Value) -> Option<Entry> {
    match body {
        Value::Text(text) => read(text).ok(),
        Value::Bytes(bytes) => {
            let mut text = String::new();
            let mut decoder = GzDecoder::new(bytes.as_slice()).take(UNPACKED_MAX_BYTES);
            decoder.read_to_string(&mut text).ok()?;
            read(&text).ok()
        }
        Value::Number(_) => None,
    }
}
