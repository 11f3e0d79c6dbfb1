//! Any bytes as a record, and as what the journal holds: see `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate_fuzz::record(bytes));
