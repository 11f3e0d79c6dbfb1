//! What was written down: records, and what the journal holds of a question.

use policies::Event;
use policies::replay::{policy_of, recorded, replay};
use questions::ask::Asked;
use questions::record::{self, Entry, Record};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Any bytes are a record or are refused; one that is read can be explained and judged again, the same each time.
pub fn record(bytes: &[u8]) {
    again::<Entry>(bytes);
    again::<Event>(bytes);
    again::<Asked>(bytes);
    let Ok(read) = record::read(bytes) else { return };
    let written = serde_json::to_vec(&read).expect("it was read");
    let facts = read.facts();
    let once_more = record::read(&written).expect("what was written can be read").facts();
    assert!(once_more == facts, "{}", String::from_utf8_lossy(&written));
    let _policy = policy_of(&facts);
    let _fell = recorded(&facts);
    let Record { question, .. } = read;
    let (one, other) = (replay(question.clone(), &facts, None), replay(question, &facts, None));
    assert_eq!(format!("{:?}", one.fell), format!("{:?}", other.fell));
    assert_eq!(one.decision, other.decision);
    serde_json::to_vec(&one.report).expect("a report is text");
}

/// What is read is the same after it was written down.
fn again<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(bytes: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(bytes) else { return };
    let written = serde_json::to_vec(&read).expect("it was read");
    let once_more: T = serde_json::from_slice(&written).expect("what was written can be read");
    assert_eq!(once_more, read);
}
