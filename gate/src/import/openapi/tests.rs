//! Operations, one thing each, and the step that comes of them.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};

use super::super::tests::check_good;
use super::super::{Kind, import};

/// The steps of this description without their names, then what was noted and left out.
fn check(version: &str, text: &str, expected: Expect) {
    let text = format!("openapi: {version}\n{text}");
    let shown = match import(Kind::Openapi, "o", &text, &BTreeMap::new()) {
        Ok(imported) => {
            check_good(&imported);
            let http = imported.policy.lines().filter(|line| line.starts_with("            "));
            let http = http.map(|line| line.trim_start_matches("            ").to_owned());
            let http: Vec<String> = http.collect();
            let notes = imported.notes.into_iter().map(|of| format!("note: {}", of.reason));
            let left = imported.left_out.into_iter();
            let left = left.map(|of| format!("left out: {}: {}", of.place, of.reason));
            http.into_iter().chain(notes).chain(left).collect::<Vec<_>>().join("\n")
        }
        Err(mistakes) => mistakes.join("\n"),
    };
    expected.assert_eq(&format!("{shown}\n"));
}

#[test]
fn parameters_take_the_examples_of_the_document() {
    check(
        "3.0.3",
        r##"
paths:
  /a/{own}/{first}/{schema}/{enum}/{list}:
    parameters:
      - { name: own, in: path, required: true, example: "x/y", schema: { example: z } }
      - { name: schema, in: path, required: true, schema: { type: integer } }
    get:
      parameters:
        - { name: first, in: path, required: true, examples: { one: { $ref: "#/components/examples/e" } } }
        - { name: schema, in: path, required: true, schema: { type: integer, example: 7 } }
        - { name: enum, in: path, required: true, schema: { $ref: "#/components/schemas/Color" } }
        - { name: list, in: path, required: true, schema: { type: array, items: { default: 1.50 } } }
        - { name: q, in: query, required: true, example: "a b&c" }
        - { name: many, in: query, required: true, example: [1, 2] }
        - { name: short, in: query, required: true, explode: false, example: [1, 2] }
        - { name: deep, in: query, required: true, style: deepObject, example: { k: v } }
        - { name: optional, in: query, example: 1 }
        - { name: X-Plain, in: header, required: true, example: yes }
        - { name: X-Api-Key, in: header, required: true }
      responses: { 200: {} }
components:
  examples: { e: { value: first } }
  schemas: { Color: { enum: [ red, blue ] } }
"##,
        expect![[r#"
            path: /a/x%2Fy/first/7/red/1.5?q=a%20b%26c&many=1&many=2&short=1%2C2&deep%5Bk%5D=v
            headers:
              x-plain: "yes"
              x-api-key:
                secret: env:X_API_KEY
            expect:
              status: 200
            note: the header `x-api-key` is read from the environment variable X_API_KEY, and not from the file
        "#]],
    );
}

#[test]
fn an_operation_without_what_it_needs_is_listed() {
    check(
        "3.0.3",
        r##"
paths:
  /fine: { get: { responses: { 200: {} } }, head: { responses: { 2XX: {} } } }
  /path/{id}: { get: { parameters: [ { name: id, in: path, required: true } ], responses: { 200: {} } } }
  /forgot/{id}: { get: { responses: { 200: {} } } }
  /query: { get: { parameters: [ { name: q, in: query, required: true } ], responses: { 200: {} } } }
  /cookie: { get: { parameters: [ { name: c, in: cookie, required: true, example: 1 } ], responses: { 200: {} } } }
  /never: { get: { responses: { 404: {} } } }
  /gone: { get: { parameters: [ { $ref: "#/components/parameters/none" } ] } }
  /else: { $ref: "other.yaml#/x" }
  /locked: { get: { security: [ { q: [] } ], responses: { 200: {} } } }
  /moved: { get: { responses: { 302: {} } } }
  /any: { get: { responses: { default: {} } } }
components:
  securitySchemes: { q: { type: apiKey, in: query, name: key } }
webhooks: { paid: { post: {} } }
"##,
        expect![[r#"
            path: /any
            expect:
              status: 2xx
            path: /fine
            expect:
              status: 200
            method: HEAD
            path: /fine
            expect:
              status: 2xx
            path: /moved
            expect:
              status: 302
            left out: GET /cookie: its cookie parameter `c` has no counterpart
            left out: /else: `other.yaml#/x` is in another file
            left out: GET /forgot/{id}: `{id}` of its path is no parameter of it
            left out: GET /gone: `#/components/parameters/none` leads nowhere
            left out: GET /locked: its security `q` (apiKey query) has no counterpart
            left out: GET /never: no answer of it is a success
            left out: GET /path/{id}: its path parameter `id` has no example
            left out: GET /query: its query parameter `q` has no example
            left out: webhook paid: the service sends it
        "#]],
    );
}

#[test]
fn a_base_path_comes_from_the_closest_server() {
    check(
        "3.1.0",
        r##"
servers: [ { url: "https://{region}.example/{base}/", variables: { region: { default: eu }, base: { default: v2 } } } ]
paths:
  /a: { get: { responses: { 200: {} } } }
  /b: { servers: [ { url: /b-base } ], get: { responses: { 200: {} } } }
  /c: { servers: [ { url: /b-base } ], get: { servers: [ { url: "//x.example" } ], responses: { 200: {} } } }
"##,
        expect![[r#"
            path: /v2/a
            expect:
              status: 200
            path: /b-base/b
            expect:
              status: 200
            path: /c
            expect:
              status: 200
        "#]],
    );
}

#[test]
fn schemas_are_written_out_as_json_schema() {
    check(
        "3.0.3",
        r##"
paths:
  /a:
    get:
      responses:
        200:
          content:
            text/html: {}
            application/hal+json: { schema: { $ref: "#/components/schemas/A" } }
  /loop:
    get: { responses: { 200: { content: { application/json: { schema: { $ref: "#/components/schemas/Loop" } } } } } }
components:
  schemas:
    A:
      type: object
      title: a
      required: [ id, secret ]
      properties:
        id: { type: integer, format: int64, minimum: 0, exclusiveMinimum: true, example: 7 }
        secret: { type: string, writeOnly: true }
        name: { type: string, nullable: true, pattern: "^(?=a)" }
        color: { type: string, nullable: true, enum: [ red ] }
        example: { allOf: [ { $ref: "#/components/schemas/B" } ] }
    B: { type: object, additionalProperties: { type: string } }
    Loop: { type: object, properties: { next: { $ref: "#/components/schemas/Loop" } } }
"##,
        expect![[r#"
            path: /a
            headers:
              accept: application/hal+json
            expect:
              status: 200
              json-schema: '{"properties":{"color":{"anyOf":[{"type":"null"},{"enum":["red"],"type":"string"}]},"example":{"allOf":[{"additionalProperties":{"type":"string"},"type":"object"}]},"id":{"exclusiveMinimum":0,"type":"integer"},"name":{"type":["string","null"]},"secret":{"type":"string"}},"required":["id"],"type":"object"}'
            path: /loop
            expect:
              status: 200
            left out: GET /loop: the schema of its answer: `#/components/schemas/Loop` refers to itself
            left out: GET /a: `^(?=a)` of its JSON Schema: not gate's kind of regular expression
        "#]],
    );
}

#[test]
fn what_lets_somebody_in_is_read_from_the_environment() {
    check(
        "3.0.3",
        r##"
security: [ { b: [] } ]
paths:
  /bearer: { get: { responses: { 200: {} } } }
  /basic: { get: { security: [ { basic: [] } ], responses: { 200: {} } } }
  /key: { get: { security: [ { query: [] }, { key: [] } ], responses: { 200: {} } } }
  /oauth: { get: { security: [ { oauth: [ read ] } ], responses: { 200: {} } } }
  /open: { get: { security: [], responses: { 200: {} } } }
  /either: { get: { security: [ { key: [] }, {} ], responses: { 200: {} } } }
components:
  securitySchemes:
    b: { type: http, scheme: bearer }
    basic: { type: http, scheme: basic }
    key: { type: apiKey, in: header, name: X-Key }
    query: { type: apiKey, in: query, name: key }
    oauth: { type: oauth2 }
"##,
        expect![[r#"
            path: /basic
            headers:
              authorization:
                secret: env:BASIC_AUTHORIZATION
                prefix: "Basic "
            expect:
              status: 200
            path: /bearer
            headers:
              authorization:
                secret: env:AUTHORIZATION
                prefix: "Bearer "
            expect:
              status: 200
            path: /either
            expect:
              status: 200
            path: /key
            headers:
              x-key:
                secret: env:X_KEY
            expect:
              status: 200
            path: /oauth
            headers:
              authorization:
                secret: env:AUTHORIZATION
                prefix: "Bearer "
            expect:
              status: 200
            path: /open
            expect:
              status: 200
            note: the header `authorization` (the Base64 of `user:password`) is read from the environment variable BASIC_AUTHORIZATION, and not from the file
            note: the header `authorization` (what comes after `Bearer`) is read from the environment variable AUTHORIZATION, and not from the file
            note: the header `x-key` is read from the environment variable X_KEY, and not from the file
        "#]],
    );
}
