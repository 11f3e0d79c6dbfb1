//! Reads what arrives at gate from outside: questions, signatures, records, what AWS's agents and functions say.
//!
//! Every function here takes bytes or text and gives back what they say or why they say nothing. There is no IO and
//! no AWS SDK, so that each can be fuzzed by itself (`fuzz/`); policies, metrics and snapshots are read in
//! `policies` and `probes`, which can be fuzzed for the same reason.

pub mod ask;
pub mod envelope;
pub mod hooks;
pub mod invoked;
pub mod key;
pub mod overriding;
pub mod place;
pub mod record;
pub mod report;
pub mod signature;
pub mod task;

pub use place::Place;

/// What a parser says of JSON it cannot read, without what it may quote: a value of the wrong kind may be a token.
fn unread(error: &serde_json::Error) -> String {
    let told = error.to_string();
    // These name a key of ours, and nothing of what was sent.
    let named = told.strip_prefix("missing field `").and_then(|rest| rest.split('`').next());
    let what = match (named, error.classify()) {
        (Some(key), _) => format!("`{key}` is missing"),
        (None, serde_json::error::Category::Data) => "a value is not of its kind".to_owned(),
        (None, serde_json::error::Category::Syntax) => "it is no JSON".to_owned(),
        (None, serde_json::error::Category::Eof) => "it ends too early".to_owned(),
        (None, serde_json::error::Category::Io) => "it cannot be read".to_owned(),
    };
    // What was parsed before has no place.
    if error.line() == 0 {
        return what;
    }
    format!("{what} (line {}, column {})", error.line(), error.column())
}
