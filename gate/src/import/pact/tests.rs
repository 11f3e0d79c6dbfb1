//! Interactions, one rule each, and what is expected of the answer.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::super::tests::check_good;
use super::super::{Kind, import};

/// The one step of this interaction without its name, then what was left out.
fn check(interaction: Value, version: &str, expected: Expect) {
    let pact = json!({
        "interactions": [interaction],
        "metadata": { "pactSpecification": { "version": version } },
    });
    let shown = match import(Kind::Pact, "p", &pact.to_string(), &BTreeMap::new()) {
        Ok(imported) => {
            check_good(&imported);
            let http = imported.policy.lines().skip_while(|line| !line.contains("http:")).skip(1);
            let http = http.take_while(|line| line.starts_with("            "));
            let http = http.map(|line| line.trim_start_matches("            ").to_owned());
            let http: Vec<String> = http.filter(|line| !line.is_empty()).collect();
            let notes = imported.notes.into_iter().map(|of| format!("note: {}", of.reason));
            let left = imported.left_out.into_iter().map(|of| format!("left out: {}", of.reason));
            http.into_iter().chain(notes).chain(left).collect::<Vec<_>>().join("\n")
        }
        Err(mistakes) => mistakes.join("\n"),
    };
    expected.assert_eq(&format!("{shown}\n"));
}

/// What is expected of an answer with this body under these rules of version 3.
fn check_body(body: Value, rules: Value, expected: Expect) {
    let response = json!({ "status": 200, "body": body, "matchingRules": { "body": rules } });
    check(json!({ "request": {}, "response": response }), "3.0.0", expected);
}

#[test]
fn a_request_is_sent_as_its_example_says() {
    let request = json!({
        "method": "post",
        "path": "/a b",
        "query": { "q": ["1", "x&y"] },
        "headers": { "Accept": "text/html", "X-Many": ["a", "b"], "Authorization": "Bearer hidden", "Host": "h" },
        "body": { "price": "$5" },
        "generators": { "body": { "$.price": { "type": "RandomInt" } } },
    });
    let states = json!([{ "name": "a user", "params": { "id": 7 } }, { "name": "a basket" }]);
    check(
        json!({ "description": "d", "providerStates": states, "request": request, "response": { "status": 204 } }),
        "3.0.0",
        expect![[r#"
            method: POST
            path: /a%20b?q=1&q=x%26y
            headers:
              accept: text/html
              authorization:
                secret: env:AUTHORIZATION
                prefix: "Bearer "
              x-many: a, b
              content-type: application/json
            body: "{\"price\":\"$$5\"}"
            expect:
              status: 204
            note: the header `authorization` (what comes after `Bearer`) is read from the environment variable AUTHORIZATION, and not from the file
            note: 1 of its steps may change something, and each probe takes them, on blue as on green: choose `rate` with that in mind
            left out: its header `host`: gate sets it
            left out: generators of its request: the example is sent
            left out: needs the provider state `a user` with {"id":7}: the target must have it already
            left out: needs the provider state `a basket`: the target must have it already
        "#]],
    );
    check(
        json!({ "request": { "path": "x", "query": "a=b c&d=%20" }, "response": {} }),
        "2.0.0",
        expect![[r#"
            path: /x?a=b%20c&d=%20
            expect:
              status: 200
        "#]],
    );
}

#[test]
fn without_a_rule_the_answer_must_have_what_the_example_has() {
    check_body(
        json!({ "a": { "b": "x" }, "n": null, "list": [1, { "c": true }], "none": {}, "x.y": 1 }),
        json!({}),
        expect![[r#"
            path: /
            expect:
              status: 200
              json:
                $.a.b: x
                "$.list[0]": 1
                "$.list[1].c": true
                $.n: "null"
                "$['x.y']": 1
              json-schema: '{"properties":{"list":{"maxItems":2,"minItems":2,"type":"array"},"none":{"type":"object"}},"required":["list","none"],"type":"object"}'
        "#]],
    );
}

#[test]
fn rules_about_types_and_patterns_are_a_schema() {
    let rule = |matcher: Value| json!({ "matchers": [matcher] });
    check_body(
        json!({ "id": 7, "name": "a", "price": 1.5, "on": true, "at": "2026-01-01", "code": "A-1", "same": 1, "has": "xyz" }),
        json!({
            "$.id": rule(json!({ "match": "integer" })),
            "$.name": rule(json!({ "match": "type" })),
            "$.price": rule(json!({ "match": "decimal" })),
            "$.on": rule(json!({ "match": "boolean" })),
            "$.at": rule(json!({ "match": "date", "format": "yyyy-MM-dd" })),
            "$.code": rule(json!({ "match": "regex", "regex": "^[A-Z]-\\d$" })),
            "$.same": rule(json!({ "match": "equality" })),
            "$.has": rule(json!({ "match": "include", "value": "y" })),
        }),
        expect![[r#"
            path: /
            expect:
              status: 200
              json:
                $.code:
                  matches: ^[A-Z]-\d$
              json-schema: '{"properties":{"at":{"type":"string"},"has":{"pattern":"y","type":"string"},"id":{"type":"integer"},"name":{"type":"string"},"on":{"type":"boolean"},"price":{"type":"number"},"same":{"const":1}},"required":["at","has","id","name","on","price","same"],"type":"object"}'
            left out: its rule `date` for `$.at`: only the kind of value is looked at
        "#]],
    );
    check_body(
        json!({ "code": "a" }),
        json!({ "$.code": rule(json!({ "match": "regex", "regex": "^(?!b)a$" })) }),
        expect![[r#"
            path: /
            expect:
              status: 200
            left out: `^(?!b)a$` of `$.code`: not gate's kind of regular expression
        "#]],
    );
}

#[test]
fn rules_about_lists_hold_for_each_element() {
    let rule = |matcher: Value| json!({ "matchers": [matcher] });
    check_body(
        json!({ "items": [{ "sku": "A", "tags": ["x"] }] }),
        json!({
            "$.items": rule(json!({ "match": "type", "min": 1, "max": 9 })),
            "$.items[*].sku": rule(json!({ "match": "regex", "regex": "[A-Z]" })),
        }),
        expect![[r#"
            path: /
            expect:
              status: 200
              json-schema: '{"properties":{"items":{"items":{"properties":{"sku":{"pattern":"[A-Z]"},"tags":{"items":{"type":"string"},"type":"array"}},"required":["sku","tags"],"type":"object"},"maxItems":9,"minItems":1,"type":"array"}},"required":["items"],"type":"object"}'
        "#]],
    );
    check_body(
        json!([{ "id": 1 }]),
        json!({ "$[*].id": rule(json!({ "match": "number" })) }),
        expect![[r#"
            path: /
            expect:
              status: 200
              json-schema: '{"items":{"properties":{"id":{"type":"number"}},"required":["id"],"type":"object"},"type":"array"}'
        "#]],
    );
    check_body(
        json!({ "by": { "k1": { "n": 1 } } }),
        json!({ "$.by": rule(json!({ "match": "values" })), "$.by.*.n": rule(json!({ "match": "integer" })) }),
        expect![[r#"
            path: /
            expect:
              status: 200
              json-schema: '{"properties":{"by":{"additionalProperties":{"properties":{"n":{"type":"integer"}},"required":["n"],"type":"object"},"type":"object"}},"required":["by"],"type":"object"}'
        "#]],
    );
    check_body(
        json!({ "some": [1, "a"], "odd": "x" }),
        json!({
            "$.some": rule(json!({ "match": "arrayContains", "variants": [] })),
            "$.odd": rule(json!({ "match": "eachKey" })),
        }),
        expect![[r#"
            path: /
            expect:
              status: 200
              json-schema: '{"properties":{"odd":{"type":"string"},"some":{"type":"array"}},"required":["odd","some"],"type":"object"}'
            left out: its rule `eachKey` for `$.odd`: only the kind of value is looked at
            left out: its rule `arrayContains` for `$.some`: only the kind of value is looked at
        "#]],
    );
}

#[test]
fn rules_of_version_2_say_where_in_their_path() {
    check(
        json!({ "request": {}, "response": {
            "headers": { "X-Id": "7", "Content-Type": "application/json; charset=utf-8" },
            "body": { "a": { "b": 1 } },
            "matchingRules": {
                "$.headers['X-Id']": { "match": "regex", "regex": "\\d+" },
                "$.body.a": { "match": "type" },
            },
        } }),
        "2.0.0",
        expect![[r#"
            path: /
            expect:
              status: 200
              headers:
                content-type:
                  matches: (?i)^application/json\s*;\s*charset=utf\-8
                x-id:
                  matches: \d+
              json-schema: '{"properties":{"a":{"properties":{"b":{"type":"number"}},"required":["b"],"type":"object"}},"required":["a"],"type":"object"}'
        "#]],
    );
}

#[test]
fn bodies_of_version_4_are_unwrapped() {
    let body = |of: Value, kind: &str, encoded: Value| json!({ "content": of, "contentType": kind, "encoded": encoded });
    check(
        json!({
            "request": { "method": "POST", "body": body(json!("a=b"), "text/plain", json!(false)) },
            "response": { "body": body(json!("x.y"), "text/plain", json!(false)),
                "matchingRules": { "status": { "matchers": [{ "match": "statusCode", "status": "success" }] } } },
        }),
        "4.0",
        expect![[r#"
            method: POST
            path: /
            body: a=b
            expect:
              status: 2xx
              regex: \Ax\.y\z
            note: 1 of its steps may change something, and each probe takes them, on blue as on green: choose `rate` with that in mind
        "#]],
    );
    check(
        json!({ "request": {}, "response": { "body": body(json!("R0lG"), "image/gif", json!("base64")) } }),
        "4.0",
        expect![[r#"
            path: /
            expect:
              status: 200
            left out: the body of its answer: it is binary
        "#]],
    );
    check(
        json!({ "request": { "body": body(json!("R0lG"), "image/gif", json!(true)) }, "response": {} }),
        "4.0",
        expect![[r#"
            nothing in it can become a step of a scenario
            interaction `without a description`: its body is binary
        "#]],
    );
}

#[test]
fn messages_are_listed() {
    check(
        json!({ "type": "Asynchronous/Messages", "description": "m" }),
        "4.0",
        expect![[r#"
        nothing in it can become a step of a scenario
        interaction `m`: `Asynchronous/Messages`, and no HTTP request
    "#]],
    );
}
