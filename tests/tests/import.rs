//! `gate import` as its page shows it: the commands run, and what they write is what stands there.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tests::place;

fn gate(arguments: &[&str]) -> Output {
    Command::new(place::binary("gate"))
        .arg("import")
        .args(arguments)
        .current_dir(place::root())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The first block of a language in the page.
fn block(language: &str) -> String {
    let page = fs::read_to_string(place::root().join("docs/import.md")).unwrap();
    let block = page.split(&format!("```{language}\n")).nth(1).unwrap();
    block.split("```").next().unwrap().to_owned()
}

#[test]
fn every_command_of_the_page_works() {
    let folder = place::Folder::new("import");
    for line in block("sh").lines() {
        let out = folder.path().join("shop.policy.yaml").display().to_string();
        let words = line.split_whitespace().skip(2);
        let words: Vec<&str> =
            words.map(|word| if word == "shop.policy.yaml" { &out } else { word }).collect();
        let output = gate(&words);
        assert!(output.status.success(), "{line}: {}", text(&output.stderr));
    }
    let written = fs::read_to_string(folder.path().join("shop.policy.yaml")).unwrap();
    let head: String = block("text").lines().map(|line| format!("# {line}\n")).collect();
    let first = "# Written by `gate import` from shop.postman_collection.json.\n";
    assert_eq!(written, format!("{first}{head}{}", block("yaml")));
}

#[test]
fn what_is_left_out_is_on_standard_error_and_in_the_json() {
    let output =
        gate(&["postman", "tests/import/shop.postman_collection.json", "--output", "json"]);
    assert_eq!(text(&output.stderr), block("text"));
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&json["scenarios"], &json["steps"]), (&Value::from(2), &Value::from(3)));
    assert_eq!(json["left_out"].as_array().unwrap().len(), 3);
    assert_eq!(json["left_out"][1]["place"], "Account / Upload a picture");
    assert!(json["policy"].as_str().unwrap().ends_with(&block("yaml")));
}

#[test]
fn a_file_that_is_there_is_not_written_over() {
    let folder = place::Folder::new("import");
    let out = folder.path().join("a.policy.yaml");
    fs::write(&out, "mine").unwrap();
    let path = out.display().to_string();
    let arguments = ["pact", "tests/import/shop.pact.json", "--out", path.as_str()];
    let refused = gate(&arguments);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("--force"), "{}", text(&refused.stderr));
    assert_eq!(fs::read_to_string(&out).unwrap(), "mine");
    assert!(gate(&[&arguments[..], &["--force"]].concat()).status.success());
    assert!(fs::read_to_string(&out).unwrap().contains("gate: v1"));
    assert_eq!(names(folder.path()), ["a.policy.yaml"]);
}

#[test]
fn an_unusable_file_leaves_nothing_behind() {
    let folder = place::Folder::new("import");
    let out = folder.path().join("a.policy.yaml").display().to_string();
    let check = |kind: &str, content: &[u8], expected: &str| {
        let file = folder.path().join("input").display().to_string();
        fs::write(&file, content).unwrap();
        let output = gate(&[kind, &file, "--out", &out]);
        assert_eq!(output.status.code(), Some(2), "{expected}");
        assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
        assert_eq!(names(folder.path()), ["input"]);
    };
    check("postman", b"\xff\xfe", "no text in UTF-8: byte 0 is not");
    check("pact", b"{}", "no Pact: it has no list `interactions`");
    check("openapi", b"openapi: 4.0.0", "paths: it has none");
    check("openapi", &vec![b' '; 16 * 1024 * 1024 + 1], "larger than 16777216 bytes");
    let output = gate(&["pact", "no-such-file", "--var", "a=b"]);
    let shown = text(&output.stderr);
    assert!(shown.contains("cannot be read") && shown.contains("--var"), "{shown}");
}

#[test]
fn variables_come_from_an_environment_and_the_command_line() {
    let folder = place::Folder::new("import");
    let write = |name: &str, content: &str| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let collection = write(
        "c.json",
        r#"{ "item": [{ "name": "a", "request": "{{host}}/{{a}}/{{b}}/{{c}}" }], "variable": [{ "key": "c", "value": "own" }] }"#,
    );
    let environment = write(
        "e.json",
        r#"{ "values": [{ "key": "host", "value": "https://x.example" }, { "key": "a", "value": "1", "enabled": true },
            { "key": "b", "value": "2" }, { "key": "off", "value": "3", "enabled": false }] }"#,
    );
    let output = gate(&["postman", &collection, "--environment", &environment, "--var", "b=line"]);
    let policy = text(&output.stdout);
    assert!(policy.contains("path: /1/line/own\n"), "{policy}{}", text(&output.stderr));
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
