//! A record: everything needed to explain and to replay one decision, in one file.
//! The journal holds the same entries.
//!
//! It carries no secret: the token that the answer to a hook must carry stays in the journal.

use policies::replay::Fact;
use policies::{Decision, Event, Moment, Question};
use serde::{Deserialize, Serialize};

/// The form of a record, as its files say it.
const FORM: &str = "record-v1";

/// One thing that happened to a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Entry {
    /// A fact, as the run was told it.
    Fact {
        /// The fact.
        fact: Event,
    },
    /// The decision, written before it is sent.
    Decided {
        /// The decision.
        decision: Decision,
    },
}

/// One decision with all that led to it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    gate: String,
    /// What was asked.
    pub question: Question,
    /// AWS's id of the deployment, or `verify`.
    pub deployment_id: String,
    /// When it was accepted, in milliseconds since 1970.
    pub accepted_unix_millis: u64,
    /// What happened, in order.
    entries: Vec<(Moment, Entry)>,
}

/// Bytes are no record.
#[derive(Debug, thiserror::Error)]
pub enum NoRecord {
    /// Not JSON, or other JSON.
    #[error("it is no record")]
    Form(#[source] serde_json::Error),
    /// Of a form that a newer gate writes.
    #[error("it is a record of a form this gate does not know: {0}")]
    Newer(String),
}

/// Reads a record's file.
///
/// # Errors
/// It is none, or one that this gate does not know.
pub fn read(bytes: &[u8]) -> Result<Record, NoRecord> {
    let record: Record = serde_json::from_slice(bytes).map_err(NoRecord::Form)?;
    if record.gate == FORM { Ok(record) } else { Err(NoRecord::Newer(record.gate)) }
}

impl Record {
    /// A record of these entries.
    pub fn new(
        question: Question,
        deployment_id: String,
        accepted_unix_millis: u64,
        entries: Vec<(Moment, Entry)>,
    ) -> Self {
        Self { gate: FORM.to_owned(), question, deployment_id, accepted_unix_millis, entries }
    }

    /// What happened, as the core replays it.
    pub fn facts(&self) -> Vec<(Moment, Fact)> {
        let fact = |entry: &Entry| match entry {
            Entry::Fact { fact } => Fact::Event(fact.clone()),
            Entry::Decided { decision } => Fact::Decided(decision.clone()),
        };
        self.entries.iter().map(|(at, entry)| (*at, fact(entry))).collect()
    }
}
