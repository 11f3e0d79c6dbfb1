//! Any text as the end of a function's log: see `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate_fuzz::report(bytes));
