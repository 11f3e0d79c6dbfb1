//! Any text as a message of the queue: see `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate_fuzz::message(bytes));
