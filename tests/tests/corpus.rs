//! Every input of the fuzz targets' corpora and some thousands of variations of them, always the same ones, through what
//! the fuzzers run: needs no nightly compiler.

#[path = "../../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;

use peak_alloc::PeakAlloc;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::RngCore;
use tests::place;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Variations of each target's corpus.
const VARIATIONS: usize = 2_000;
/// What a variation may grow to.
const BYTES_MAX: usize = 64 * 1024;
/// Most that all targets together may take at any time.
const MEMORY_MAX_MEGABYTES: f32 = 256.0;
/// What formats have in common and parsers trip over.
const TOKENS: [&[u8]; 40] = [
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b",",
    b"\\",
    b"\\ud800",
    b"\\u0000",
    b"\0",
    b"\n",
    b"\r\n",
    b"\t",
    b" ",
    b"-",
    b"+",
    b".",
    b"=",
    b"#",
    b"null",
    b"true",
    b"false",
    b"{}",
    b"[]",
    b"\"\"",
    b"0",
    b"-1",
    b"1e308",
    b"1e400",
    b"-0.0",
    b"NaN",
    b"+Inf",
    b"18446744073709551615",
    b"18446744073709551616",
    b"4294967295",
    b"../",
    b"\xff",
    b"\xf0\x9f\x98\x80",
    b"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];

/// An input, shown if it is the one that panics.
struct Shown<'a>(&'a str, &'a [u8]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}: b\"{}\"", self.0, self.1.escape_ascii());
        }
    }
}

fn run(body: fn(&[u8]), name: &str, input: &[u8]) {
    let _shown = Shown(name, input);
    body(input);
}

/// Each input of a target's corpus, then variations of them.
#[track_caller]
fn check(target: &str) {
    let (_, body) = fuzz::ALL.into_iter().find(|(name, _)| *name == target).unwrap();
    let mut corpus = Vec::new();
    let folder = place::root().join("fuzz/corpus").join(target);
    let mut paths: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let input = fs::read(&path).unwrap();
        run(body, &path.display().to_string(), &input);
        corpus.push(input);
    }
    assert!((5..=60).contains(&corpus.len()), "{} inputs for {target}", corpus.len());
    let mut random = Pcg64Mcg::new(0x6761_7465);
    for number in 0..VARIATIONS {
        let mut input = corpus[number % corpus.len()].clone();
        for _ in 0..=random.next_u32() % 4 {
            vary(&mut input, &corpus, &mut random);
        }
        input.truncate(BYTES_MAX);
        run(body, &format!("variation {number}"), &input);
    }
    let most = MEMORY.peak_usage_as_mb();
    assert!(most < MEMORY_MAX_MEGABYTES, "{most} MB");
}

/// One change of the kinds that fuzzers make.
fn vary(input: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut Pcg64Mcg) {
    let mut below = |bound: usize| (random.next_u64() % bound.max(1) as u64) as usize;
    let at = below(input.len());
    let end = (at + 1 + below(64)).min(input.len());
    match below(7) {
        0 if !input.is_empty() => input[at] ^= 1 << below(8),
        1 if !input.is_empty() => input[at] = below(256) as u8,
        2 => input.truncate(at),
        3 => drop(input.drain(at..end)),
        4 => {
            let again = input[at..end].repeat(1 + below(16));
            input.splice(at..at, again);
        }
        5 => {
            let other = &corpus[below(corpus.len())];
            let from = below(other.len());
            input.truncate(at);
            input.extend_from_slice(&other[from..]);
        }
        _ => {
            let token = TOKENS[below(TOKENS.len())];
            let replaced = if below(2) == 0 { at } else { end };
            input.splice(at..replaced, token.iter().copied());
        }
    }
}

#[test]
fn no_text_panics_as_a_policy() {
    check("policy");
}

#[test]
fn no_numbers_panic_or_give_nan_as_evidence() {
    check("evidence");
}

#[test]
fn a_hook_is_a_question_whose_id_can_stand_in_a_url_or_is_refused() {
    check("hook");
}

#[test]
fn a_message_of_the_queue_is_a_question_nothing_or_refused() {
    check("message");
}

#[test]
fn a_record_is_judged_the_same_each_time_and_is_the_same_when_it_was_written_again() {
    check("record");
}

#[test]
fn metrics_give_counts_that_can_be_or_change_nothing() {
    check("metrics");
}

#[test]
fn a_snapshot_gives_counts_that_do_not_contradict_each_other_or_is_refused() {
    check("snapshot");
}

#[test]
fn what_the_agent_says_names_a_task_or_nobody() {
    check("task");
}

#[test]
fn a_request_is_let_in_exactly_when_one_of_the_keys_signed_it_lately() {
    check("signature");
}

#[test]
fn a_log_says_what_lambda_can_have_measured_or_nothing() {
    check("report");
}

#[test]
fn a_body_is_an_override_in_words_that_can_be_seen_or_is_refused() {
    check("overriding");
}

#[test]
fn every_target_is_built_run_and_has_a_test_here() {
    let here = fs::read_to_string(place::root().join("tests/tests/corpus.rs")).unwrap();
    let built = fs::read_to_string(place::root().join("fuzz/Cargo.toml")).unwrap();
    let mut files: Vec<String> = fs::read_dir(place::root().join("fuzz/fuzz_targets"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    files.sort();
    let mut names = fuzz::ALL.map(|(name, _)| name);
    names.sort_unstable();
    // The Makefile runs every file of that folder.
    assert_eq!(files, names.map(|name| format!("{name}.rs")));
    for name in names {
        assert!(here.contains(&format!("    check(\"{name}\");")), "{name}");
        assert!(built.contains(&format!("name = \"{name}\"")), "{name}");
    }
}
