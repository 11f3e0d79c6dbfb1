//! Any bytes as a policy: see `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate_fuzz::policy(bytes));
