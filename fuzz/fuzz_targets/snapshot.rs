//! Any bytes as the snapshot of a sidecar: see `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate_fuzz::snapshot(bytes));
