//! Every input of the checked-in fuzz corpora, through what the fuzzers run: needs no nightly compiler.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "the whole file is a test, and reads its inputs from a folder"
)]

#[path = "../fuzz/bodies.rs"]
mod bodies;

use std::fs;

fn check(target: &str, body: fn(&[u8])) {
    let folder = format!("{}/fuzz/corpus/{target}", env!("CARGO_MANIFEST_DIR"));
    let mut replayed = 0;
    for entry in fs::read_dir(folder).unwrap().flatten() {
        // Shown by the test harness where one of them fails.
        println!("{}", entry.path().display());
        body(&fs::read(entry.path()).unwrap());
        replayed += 1;
    }
    assert!((5..=40).contains(&replayed), "{replayed} inputs for {target}");
}

#[test]
fn no_text_of_the_corpus_panics_as_a_policy() {
    check("policy", bodies::policy);
}

#[test]
fn no_numbers_of_the_corpus_panic_or_give_nan_as_evidence() {
    check("evidence", bodies::evidence);
}
