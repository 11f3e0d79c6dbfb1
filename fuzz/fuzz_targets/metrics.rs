//! Any bytes as the metrics of a service: see `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate_fuzz::metrics(bytes));
