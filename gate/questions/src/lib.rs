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
pub mod place;
pub mod record;
pub mod report;
pub mod signature;
pub mod task;

pub use place::Place;
