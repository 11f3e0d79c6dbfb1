//! Every rule of a policy file, broken once: what `gate check` shows of it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "the whole file is a test and reads its cases; clippy knows only `#[test]` functions as such"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect, expect_file};
use policies::document::{DOCUMENT_MAX_BYTES, render};
use policies::{PolicyFile, PolicySet};

/// Accepted, with warnings.
const WARNINGS: [&str; 1] = ["warning-notify"];

const ENDING: &str = ".policy.yaml";

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad")
}

/// Names in a folder, in order.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn policy(folder: &Path, name: &str) -> PolicyFile {
    PolicyFile::parse(name, &fs::read_to_string(folder.join(name)).unwrap())
}

fn shown(files: &[PolicyFile]) -> String {
    files.iter().map(|file| render(&file.faults, &file.text, false)).collect()
}

/// Each case: the rule's name, and its files.
fn cases() -> Vec<(String, Vec<PolicyFile>)> {
    let folder = folder();
    let mut cases = Vec::new();
    for name in names(&folder) {
        let inner = folder.join(&name);
        if inner.is_dir() {
            let files = names(&inner).iter().map(|name| policy(&inner, name)).collect();
            cases.push((name, PolicySet::of(files).files().to_vec()));
        } else if let Some(rule) = name.strip_suffix(ENDING) {
            cases.push((rule.to_owned(), vec![policy(&folder, &name)]));
        }
    }
    cases
}

#[test]
fn every_rule_is_shown_with_its_place_and_a_way_out() {
    for (rule, files) in cases() {
        let snapshot = folder().join(format!("{rule}.txt"));
        expect_file![snapshot].assert_eq(&shown(&files));
    }
}

#[test]
fn every_case_is_refused_but_those_that_only_warn() {
    for (rule, files) in cases() {
        let errors = files.iter().flat_map(PolicyFile::errors).count();
        let faults = files.iter().map(|file| file.faults.len()).sum::<usize>();
        assert!(faults > 0, "{rule} has no fault");
        assert_eq!(errors == 0, WARNINGS.contains(&rule.as_str()), "{rule} has {errors} errors");
        let accepted = files.iter().all(|file| file.policy.is_some());
        // Tied files are good by themselves: it is the folder that is not.
        assert!(files.len() > 1 || accepted == (errors == 0), "{rule}");
    }
}

#[test]
fn every_code_occurs_and_no_snapshot_is_left_over() {
    let cases = cases();
    let faults = cases.iter().flat_map(|(_, files)| files).flat_map(|file| &file.faults);
    let codes: BTreeSet<String> = faults.map(|fault| format!("{:?}", fault.code)).collect();
    let all: BTreeSet<String> = (1..=10).map(|number| format!("G{number:04}")).collect();
    assert_eq!(codes, all);
    let rules: BTreeSet<String> = cases.into_iter().map(|(rule, _)| rule).collect();
    let snapshots = names(&folder()).into_iter().filter(|name| name.ends_with(".txt"));
    let shown: BTreeSet<String> =
        snapshots.map(|name| name.trim_end_matches(".txt").to_owned()).collect();
    assert_eq!(shown, rules);
}

#[test]
fn all_mistakes_of_a_file_are_shown_at_once() {
    let file = policy(&folder(), "many-mistakes.policy.yaml");
    let lines: BTreeSet<usize> = file.errors().map(|fault| fault.line).collect();
    assert!(file.errors().count() >= 15 && lines.len() >= 12, "{:#?}", file.faults);
}

/// What no file of a repository should hold.
fn check(text: &str, expected: Expect) {
    let file = PolicyFile::parse("a.policy.yaml", text);
    assert!(file.policy.is_none());
    let faults = file.faults.iter().map(|fault| format!("{:?} {}", fault.code, fault.one_line()));
    expected.assert_eq(&faults.collect::<Vec<_>>().join("\n"));
    // It can be shown, whatever it is.
    let rendered = render(&file.faults, &file.text, true);
    assert!(rendered.len() < 2000, "{} bytes", rendered.len());
}

#[test]
fn what_is_too_large_or_no_text_is_refused_before_it_is_read() {
    check(
        &" ".repeat(DOCUMENT_MAX_BYTES + 1),
        expect!["G0001 a.policy.yaml:1:1: the file has 262145 bytes; a policy has at most 262144"],
    );
    check("gate: v1\0", expect!["G0001 a.policy.yaml:1:1: the file is binary"]);
    check(
        &format!("gate: [{}]", "a,".repeat(10_001)),
        expect!["G0001 a.policy.yaml:1:20002: more than 10000 keys and values"],
    );
}
