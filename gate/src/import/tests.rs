//! What holds of every import: nothing is lost, nothing goes beyond a policy, what is written reads back.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::document::Document;
use super::{Imported, Kind, fit, import, read};

fn imported(kind: Kind, text: &str) -> Result<Imported, Vec<String>> {
    import(kind, "shop", text, &BTreeMap::new()).inspect(check_good)
}

/// What is written is a good policy, whatever it came from.
pub(super) fn check_good(imported: &Imported) {
    let file = policies::PolicyFile::parse("imported", &imported.policy);
    let faults: Vec<String> = file.errors().map(policies::Fault::one_line).collect();
    assert!(faults.is_empty(), "{faults:#?}\n{}", imported.policy);
}

/// The places of the steps of a document and of what was left out of it, after its limits are kept.
fn places(kind: Kind, text: &str) -> (Vec<String>, Vec<String>) {
    let mut document: Document = read(kind, text, &BTreeMap::new()).unwrap();
    fit::fit(&mut document);
    let steps = document.scenarios.iter().flat_map(|scenario| &scenario.steps);
    let steps = steps.map(|step| step.place.clone()).collect();
    (steps, document.left_out.into_iter().map(|remark| remark.place).collect())
}

/// Each of these is a step or listed.
fn check_nothing_is_lost(kind: Kind, text: &str, all: &[String]) {
    drop(imported(kind, text));
    let (steps, left_out) = places(kind, text);
    for place in all {
        assert!(steps.contains(place) || left_out.contains(place), "{place} is lost");
    }
    assert!(steps.len() <= policies::plan::STEPS_MAX, "{} steps", steps.len());
}

/// A small generator, so that a failure says which number it was.
fn mixed(seed: usize, of: usize) -> usize {
    (seed.wrapping_mul(2_654_435_761) >> 7) % of
}

#[test]
fn every_request_of_a_collection_is_a_step_or_listed() {
    for size in [1, 5, 16, 17, 40, 120] {
        let urls =
            ["https://a.example/x", "{{unknown}}/y", "{{unknown}}", "https://b.example/z", ""];
        let bodies = [
            json!(null),
            json!({ "mode": "raw", "raw": "{{token}}" }),
            json!({ "mode": "file", "file": {} }),
            json!({ "mode": "raw", "raw": "x".repeat(20_000) }),
        ];
        let scripts = ["pm.environment.set('token', pm.response.json().token)", "pm.test(", ""];
        let mut folders = BTreeMap::<usize, Vec<Value>>::new();
        let mut all = Vec::new();
        for number in 0..size {
            let folder = mixed(number, 20);
            all.push(format!("folder {folder} / request {number}"));
            folders.entry(folder).or_default().push(json!({
                "name": format!("request {number}"),
                "request": {
                    "method": "POST",
                    "url": urls[mixed(number * 3, urls.len())],
                    "body": bodies[mixed(number * 7, bodies.len())],
                },
                "event": [{ "listen": "test", "script": { "exec": scripts[mixed(number * 5, 3)] } }],
            }));
        }
        let items: Vec<Value> = folders
            .into_iter()
            .map(|(folder, item)| json!({ "name": format!("folder {folder}"), "item": item }))
            .collect();
        check_nothing_is_lost(Kind::Postman, &json!({ "item": items }).to_string(), &all);
    }
}

#[test]
fn every_interaction_of_a_pact_is_a_step_or_listed() {
    for size in [1, 16, 17, 33, 90] {
        let kinds = ["Synchronous/HTTP", "Asynchronous/Messages", "Synchronous/Messages"];
        let interaction = |number: usize| {
            json!({
                "type": kinds[mixed(number, 3)],
                "description": format!("number {number}"),
                "providerStates": [{ "name": format!("state {}", mixed(number, 19)) }],
                "request": { "path": "/" },
                "response": { "status": 200 },
            })
        };
        let interactions: Vec<Value> = (0..size).map(interaction).collect();
        let all: Vec<_> =
            (0..size).map(|number| format!("interaction `number {number}`")).collect();
        let text = json!({ "interactions": interactions }).to_string();
        check_nothing_is_lost(Kind::Pact, &text, &all);
    }
}

#[test]
fn every_operation_of_a_description_is_a_step_or_listed() {
    for size in [1, 16, 17, 33, 90] {
        let mut paths = serde_json::Map::new();
        let mut all = Vec::new();
        for number in 0..size {
            let path = if mixed(number, 3) == 0 {
                format!("/{number}/{{id}}")
            } else {
                format!("/{number}")
            };
            let mut item = serde_json::Map::new();
            for method in ["get", "head", "put", "delete"] {
                if mixed(number + method.len(), 2) == 0 {
                    let operation = json!({ "tags": [format!("tag {}", mixed(number, 18))], "responses": { "200": {} } });
                    item.insert(method.to_owned(), operation);
                    all.push(format!("{} {path}", method.to_uppercase()));
                }
            }
            paths.insert(path, Value::Object(item));
        }
        let text = json!({ "openapi": "3.0.0", "paths": paths }).to_string();
        check_nothing_is_lost(Kind::Openapi, &text, &all);
    }
}

#[test]
fn more_than_a_policy_holds_is_listed() {
    let interaction = |number: usize| {
        json!({
            "description": format!("number {number}"),
            "providerState": format!("state {}", number % 20),
            "request": { "path": "/" },
            "response": { "status": 200 },
        })
    };
    let interactions: Vec<Value> = (0..40).map(interaction).collect();
    let imported =
        imported(Kind::Pact, &json!({ "interactions": interactions }).to_string()).unwrap();
    assert_eq!((imported.scenarios, imported.steps), (16, 32));
    let beyond = imported.left_out.iter().filter(|of| of.reason == "a policy has at most 32 steps");
    assert_eq!(beyond.count(), 8);
}

/// Values of a body that YAML would take for something else come back as they were.
#[test]
fn every_text_reads_back_as_it_was_written() {
    let texts = [
        "NO",
        "yes",
        "null",
        "~",
        "1e3",
        "0x1f",
        "1_000",
        "12:30:00",
        "2026-01-02",
        ".inf",
        "- a",
        "a: b",
        "a #b",
        "#",
        "",
        " ",
        "  a  ",
        "$.a",
        "${x}",
        "{{x}}",
        "[1]",
        "{a: 1}",
        "'",
        "\"",
        "\\",
        "a\nb",
        "a\r\nb\n\n",
        "\ttab",
        "é ü 日本",
        "\u{feff}",
        "\u{2028}",
        "\u{85}",
        "\u{1f600}",
        "*a",
        "&a",
        "!a",
        "|",
        ">",
        "%a",
        "@a",
        "`a`",
        "a:",
        "?",
        "-",
        "=",
        "<<",
        "\u{7f}",
        "a\u{a0}b",
    ];
    for text in texts {
        let pact = json!({ "interactions": [{
            "description": "one",
            "request": { "method": "POST", "path": "/", "headers": { "content-type": "text/plain" }, "body": text },
            "response": { "status": 200, "body": { "key": text } },
        }]});
        let imported = imported(Kind::Pact, &pact.to_string()).unwrap();
        let options = serde_saphyr::options! { strict_booleans: true };
        let back: Value = serde_saphyr::from_str_with_options(&imported.policy, options).unwrap();
        let http = &back["probe"]["scenarios"][0]["steps"][0]["http"];
        assert_eq!(http["body"], text.replace('$', "$$"), "{}", imported.policy);
        assert_eq!(http["expect"]["json"]["$.key"], text, "{}", imported.policy);
    }
}

#[test]
fn what_the_format_has_no_word_for_is_listed() {
    let pact = json!({ "interactions": [
        { "description": "one", "request": { "method": "PROPFIND" }, "response": {} },
        { "description": "two", "request": {}, "response": { "status": 999 } },
        { "description": "three", "request": { "headers": { "x y": "z", "x": "é" } }, "response": { "headers": { "a b": "c" } } },
    ]});
    let imported = imported(Kind::Pact, &pact.to_string()).unwrap();
    let shown: Vec<String> =
        imported.left_out.iter().map(|of| format!("{}: {}\n", of.place, of.reason)).collect();
    expect![[r#"
        interaction `one`: no step has the method `PROPFIND`
        interaction `two`: the status `999`: there is none such
        interaction `three`: its header `x y`: no name that a policy can write
        interaction `three`: its header `x`: not printable ASCII of at most 4096 characters
        interaction `three`: its header `a b` of the answer: no name that a policy can write
    "#]]
    .assert_eq(&shown.concat());
}

#[test]
fn a_line_break_in_a_name_stays_in_its_comment() {
    let text = json!({ "interactions": [
        { "description": "a\ngate: v2\u{2028}b", "request": {}, "response": {} },
        { "description": "c\nd", "type": "x\ny" },
    ]});
    let imported = imported(Kind::Pact, &text.to_string()).unwrap();
    let lines = imported.policy.lines().take_while(|line| line.starts_with('#')).count();
    assert_eq!(imported.policy.lines().nth(lines), Some("gate: v1"), "{}", imported.policy);
}

fn check_refused(kind: Kind, text: &str, expected: Expect) {
    let mistakes = imported(kind, text).err().unwrap_or_default();
    expected.assert_eq(&mistakes.join("\n"));
}

#[test]
fn a_file_of_another_kind_is_refused_with_the_reason() {
    use Kind::{Openapi, Pact, Postman};
    check_refused(
        Postman,
        "{",
        expect!["not JSON: EOF while parsing an object at line 1 column 1"],
    );
    check_refused(Postman, "{}", expect!["no collection of Postman: it has no list `item`"]);
    check_refused(
        Postman,
        r#"{ "requests": [] }"#,
        expect!["a collection of format v1: export it as v2.1"],
    );
    check_refused(
        Postman,
        r#"{ "item": [] }"#,
        expect!["nothing in it can become a step of a scenario"],
    );
    check_refused(Pact, "[]", expect!["no Pact: it has no list `interactions`"]);
    check_refused(
        Pact,
        r#"{ "messages": [{ "description": "a" }] }"#,
        expect!["it holds messages alone, and no HTTP requests"],
    );
    check_refused(
        Openapi,
        "swagger: '2.0'",
        expect!["Swagger 2.0: only OpenAPI 3.0 and 3.1 are read; converters to 3.0 exist"],
    );
    check_refused(
        Openapi,
        "openapi: 4.0.0",
        expect![[r#"
            openapi: version 4.0.0; 3.0 and 3.1 are read
            paths: it has none"#]],
    );
    check_refused(
        Openapi,
        "openapi: 3.0.0\npaths: {",
        expect!["line 2, column 8: not YAML: unclosed bracket '{' at line 2, column 8"],
    );
    check_refused(
        Openapi,
        "openapi: 3.0.0\npaths: { /a: { post: {} } }",
        expect![[r#"
            nothing in it can become a step of a scenario
            POST /a: not a safe method: an example of it could change something"#]],
    );
}

#[test]
fn documents_written_to_hurt_are_refused() {
    let mut bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..12 {
        let items = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(&format!("a{level}: &a{level} [{items}]\n"));
    }
    imported(Kind::Openapi, &bomb).unwrap_err();
    imported(Kind::Openapi, &format!("a: {}", "[".repeat(100_000))).unwrap_err();
    for kind in [Kind::Postman, Kind::Pact, Kind::Openapi] {
        imported(kind, &"{\"a\":".repeat(100_000)).unwrap_err();
    }
    let mut deep = json!({ "name": "x", "request": "https://a.example/" });
    for _ in 0..40 {
        deep = json!({ "name": "f", "item": [deep] });
    }
    let text = json!({ "item": [deep] }).to_string();
    check_refused(Kind::Postman, &text, expect!["folders nested more than 32 deep"]);
}
