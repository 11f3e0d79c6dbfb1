//! Any bytes as a hook, at gate and at the relay: see `../src/lib.rs`.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| gate_fuzz::hook(bytes));
