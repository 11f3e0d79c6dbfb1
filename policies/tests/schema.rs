//! The JSON Schema in `docs/` is the one gate prints, and the good policies are good.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "the whole file is a test and reads its cases; clippy knows only `#[test]` functions as such"
)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use expect_test::expect_file;
use policies::document::{keys, render, schema};
use policies::plan::{Call, Comparison, HeaderValue};
use policies::{Policy, PolicyFile};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

#[test]
fn the_schema_in_the_docs_is_the_one_that_is_printed() {
    let printed = serde_json::to_string_pretty(&schema()).unwrap();
    expect_file![root().join("docs/policy.schema.json")].assert_eq(&format!("{printed}\n"));
}

/// Name, text and what became of it.
fn good() -> Vec<(String, String, Policy)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good");
    let mut paths: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let parsed = |path: PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let file = PolicyFile::parse(&name, &text);
        assert_eq!(file.errors().count(), 0, "{}", render(&file.faults, &text, false));
        (name, text, file.policy.unwrap())
    };
    paths.into_iter().map(parsed).collect()
}

#[test]
fn every_good_policy_is_accepted() {
    assert!(good().len() > 6);
}

#[test]
fn every_key_is_used_by_a_good_policy() {
    let good = good();
    let used = |key: &str| good.iter().any(|(_, text, _)| text.contains(&format!("{key}:")));
    let unused: BTreeSet<&str> = keys().map(|(_, key)| key).filter(|key| !used(key)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn a_number_keeps_the_text_it_was_written_in() {
    let good = good();
    let (_, _, policy) = good.iter().find(|(name, ..)| name == "request.policy.yaml").unwrap();
    let step = &policy.probe.script.scenarios[0].steps[0];
    let Call::Http(http) = &step.call else { panic!("{:?}", step.call) };
    let headers: Vec<&str> = http
        .headers
        .iter()
        .filter_map(|(_, value)| match value {
            HeaderValue::Literal(text) => text.plain(),
            HeaderValue::Secret { .. } => None,
        })
        .collect();
    assert_eq!(headers, ["1.10", "007", "true", "gate"]);
    let expected: Vec<&Comparison> = step.expect.json.iter().map(|(_, wanted)| wanted).collect();
    let equals = ["ok", "true", "1.20"].map(|text| Comparison::Equals(text.to_owned()));
    assert_eq!(expected, equals.each_ref());
}
#[test]
fn every_key_is_in_the_docs() {
    let docs = fs::read_to_string(root().join("docs/policy.md")).unwrap();
    let code: BTreeSet<&str> = docs.split('`').skip(1).step_by(2).collect();
    let missing: Vec<(&str, &str)> = keys().filter(|(_, key)| !code.contains(key)).collect();
    assert!(missing.is_empty(), "not in docs/policy.md: {missing:?}");
}
