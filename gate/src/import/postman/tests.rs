//! Collections and their scripts, one plain thing each, and what becomes of it.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::super::tests::check_good;
use super::super::{Kind, Variable, import};

/// What a step expects and takes for this script, then what was left out.
fn check_script(script: &str, expected: Expect) {
    let uses = "{{token}} {{id}} {{header}}";
    let collection = json!({ "item": [
        { "name": "one", "request": "https://a.example/x", "event": [{ "listen": "test", "script": { "exec": script } }] },
        { "name": "two", "request": { "url": "https://a.example/y", "header": [{ "key": "x", "value": uses }] } },
    ]});
    let mut variables = BTreeMap::new();
    for name in ["token", "id", "header"] {
        variables.insert(name.to_owned(), Variable { value: "given".to_owned(), secret: false });
    }
    let imported = import(Kind::Postman, "c", &collection.to_string(), &variables).unwrap();
    check_good(&imported);
    let policy: Value = serde_saphyr::from_str(&imported.policy).unwrap();
    let step = &policy["probe"]["scenarios"][0]["steps"][0];
    let mut shown = String::new();
    for (what, value) in [("expect", &step["http"]["expect"]), ("take", &step["take"])] {
        for (key, value) in value.as_object().into_iter().flatten() {
            shown.push_str(&format!("{what} {key}: {value}\n"));
        }
    }
    for remark in imported.left_out {
        shown.push_str(&format!("left out: {}\n", remark.reason));
    }
    expected.assert_eq(&shown);
}

#[test]
fn a_status_is_expected_however_it_is_asserted() {
    for script in [
        "pm.response.to.have.status(201)",
        "pm.test('a', function () { pm.response.to.have.status(201); });",
        "pm.test(\"a\", () => pm.expect(pm.response.code).to.equal(201))",
        "pm.expect(pm.response.code, 'message').to.be.eql(201);",
        "tests['a'] = responseCode.code === 201;",
        "const ok = responseCode.code == 201; tests['a'] = ok",
        "pm.expect(pm.response.code === 201).to.be.true",
        "pm.response.to.have.status('Created')",
    ] {
        check_script(
            script,
            expect![[r#"
            expect status: 201
        "#]],
        );
    }
    check_script(
        "pm.expect(pm.response.code).to.be.oneOf([200, 202])",
        expect![[r#"
        expect status: [200,202]
    "#]],
    );
    check_script(
        "pm.response.to.be.success",
        expect![[r#"
        expect status: "2xx"
    "#]],
    );
    check_script(
        "pm.response.to.not.be.error",
        expect![[r#"
        expect status: ["2xx","3xx"]
    "#]],
    );
    check_script(
        "pm.expect(pm.response.code).to.not.equal(500)",
        expect![[r#"
        left out: `pm.expect(pm.response.code).to.not.equal(500)`: no plain comparison of the answer
    "#]],
    );
}

#[test]
fn times_headers_and_texts_are_expected() {
    check_script(
        "pm.expect(pm.response.responseTime).to.be.below(200); pm.response.to.have.responseTime.below(90)",
        expect![[r#"
            expect within: {"total":"90ms"}
        "#]],
    );
    check_script(
        "pm.response.to.have.header('X-Id'); pm.expect(pm.response.headers.get('Content-Type')).to.include('json');
         pm.response.to.have.header('x-a', 'b')",
        expect![[r#"
            expect headers: {"content-type":{"matches":"json"},"x-a":"b","x-id":{"present":true}}
        "#]],
    );
    check_script(
        "pm.expect(pm.response.text()).to.include('welcome'); tests.a = 1; tests['b'] = responseBody.has('you')",
        expect![[r#"
            expect text: ["welcome","you"]
            left out: `tests.a = 1`: no plain comparison of the answer
        "#]],
    );
    check_script(
        "pm.response.to.have.body('a.b')",
        expect![[r#"
        expect regex: "\\Aa\\.b\\z"
    "#]],
    );
    check_script(
        "pm.expect(pm.response.text()).to.match(/id=(?!0)/)",
        expect![[r#"
        left out: `id=(?!0)` of the body: not gate's kind of regular expression
    "#]],
    );
}

#[test]
fn values_in_json_are_expected_by_their_path() {
    check_script(
        "var data = JSON.parse(responseBody); const { user } = data;
         pm.expect(data.name).to.eql('a'); pm.expect(user.age).to.equal(3); pm.expect(data.list[1].ok).to.eq(true);
         pm.expect(data.at).to.match(/^\\d+$/i); pm.expect(data['a.b']).to.eql(1)",
        expect![[r#"
            expect json: {"$.at":{"matches":"(?i)^\\d+$"},"$.list[1].ok":true,"$.name":"a","$.user.age":3,"$['a.b']":1}
        "#]],
    );
    check_script(
        "const r = pm.response.json(); pm.expect(r.id).to.be.a('number'); pm.expect(r.list).to.be.an('array').that.is.not.empty;
         pm.expect(r).to.have.property('x').that.equals(1); pm.expect(r.n).to.be.above(0); pm.expect(r.gone).to.be.undefined",
        expect![[r#"
            expect json: {"$.x":1}
            expect json-schema: "{\"not\":{\"properties\":{\"gone\":{}},\"required\":[\"gone\"],\"type\":\"object\"},\"properties\":{\"id\":{\"type\":\"number\"},\"list\":{\"minItems\":1,\"minLength\":1,\"minProperties\":1,\"type\":\"array\"},\"n\":{\"exclusiveMinimum\":0,\"type\":\"number\"},\"x\":{}},\"required\":[\"id\",\"list\",\"x\",\"n\"],\"type\":\"object\"}"
        "#]],
    );
    check_script(
        "var d = pm.response.json(); tests['a'] = d.hasOwnProperty('a') && 'b' in d.c; tests['l'] = d.list.length > 2",
        expect![[r#"
            expect json-schema: "{\"properties\":{\"a\":{},\"c\":{\"properties\":{\"b\":{}},\"required\":[\"b\"],\"type\":\"object\"},\"list\":{\"minItems\":3,\"minLength\":3,\"type\":[\"string\",\"array\"]}},\"required\":[\"a\",\"c\",\"list\"],\"type\":\"object\"}"
        "#]],
    );
}

#[test]
fn values_are_taken_where_the_pattern_is_plain() {
    check_script(
        "pm.environment.set('token', pm.response.json().auth.token);
         pm.collectionVariables.set('id', pm.response.json()['items'][0].id);
         postman.setGlobalVariable(\"header\", pm.response.headers.get('X-Csrf'));",
        expect![[r#"
            take header: {"header":"x-csrf"}
            take id: {"json":"$.items[0].id"}
            take token: {"json":"$.auth.token"}
        "#]],
    );
    check_script(
        "if (pm.response.code === 200) { pm.globals.set('token', pm.response.json().t) }",
        expect![[r#"
        take token: {"json":"$.t"}
    "#]],
    );
    check_script(
        "pm.environment.set('token', 'Bearer ' + pm.response.json().t)",
        expect![[r#"
        left out: `pm.environment.set('token', 'Bearer ' + pm.response.json().t)`: its value is computed, and scripts are not run
        left out: the variable `token` is computed by the script of one, and scripts are not run
    "#]],
    );
}

#[test]
fn an_assertion_that_is_not_plain_is_listed() {
    check_script(
        "pm.test('a', () => { const sum = f(); pm.expect(sum).to.eql(3); });
         for (const item of pm.response.json()) { pm.expect(item.id).to.be.a('number'); }
         if (pm.response.json().x) { pm.expect(pm.response.code).to.eql(200) }
         postman.setNextRequest('two'); console.log('nothing');",
        expect![[r#"
            left out: `pm.expect(sum).to.eql(3)`: no plain comparison of the answer
            left out: `pm.expect(item.id).to.be.a('number')`: no plain comparison of the answer
            left out: `pm.expect(pm.response.code).to.eql(200)`: it holds only on a condition
            left out: `postman.setNextRequest('two')`: scripts are not run
        "#]],
    );
    check_script(
        "pm.test('a', function () { it never ends",
        expect![[r#"
        left out: `pm.test('a', function () { it never ends`: no plain comparison of the answer
    "#]],
    );
}

#[test]
fn a_condition_that_was_demanded_before_holds() {
    check_script(
        "var ok = responseCode.code === 200; tests['ok'] = ok;
         if (ok) { tests['a'] = JSON.parse(responseBody).hasOwnProperty('a'); }",
        expect![[r#"
            expect json-schema: "{\"properties\":{\"a\":{}},\"required\":[\"a\"],\"type\":\"object\"}"
            expect status: 200
        "#]],
    );
}

/// The policy without its head for these requests, then what was left out and noted.
fn check(collection: &Value, expected: Expect) {
    let shown = match import(Kind::Postman, "c", &collection.to_string(), &BTreeMap::new()) {
        Ok(imported) => {
            check_good(&imported);
            let yaml: Vec<&str> = imported
                .policy
                .lines()
                .filter(|line| !line.starts_with('#') && line.starts_with("      "))
                .filter(|line| !line.contains("redirects: 10"))
                .collect();
            let notes =
                imported.notes.iter().map(|of| format!("note: {}: {}", of.place, of.reason));
            let left =
                imported.left_out.iter().map(|of| format!("left out: {}: {}", of.place, of.reason));
            let lines = yaml.into_iter().map(str::to_owned).chain(notes).chain(left);
            lines.collect::<Vec<_>>().join("\n")
        }
        Err(mistakes) => mistakes.join("\n"),
    };
    expected.assert_eq(&format!("{shown}\n"));
}

#[test]
fn a_url_is_its_path_and_enabled_query() {
    check(
        &json!({
            "variable": [{ "key": "base", "value": "https://a.example:8443/v1" }],
            "item": [
                { "name": "a", "request": { "url": {
                    "host": ["{{base}}"], "path": ["users", ":id", "a b"],
                    "query": [{ "key": "q", "value": "x y" }, { "key": "off", "disabled": true }, { "key": "flag" }],
                    "variable": [{ "key": "id", "value": "7/8" }],
                } } },
                { "name": "b", "request": "a.example:8443?x=1#top" },
                { "name": "c", "request": "a.example:8443/:missing" },
                { "name": "d", "request": "ws://a.example:8443/" },
                { "name": "e", "request": "{{nothing}}" },
                { "name": "f" },
            ],
        }),
        expect![[r#"
                  cookies: true
                  steps:
                    - name: a
                      http:
                        path: /v1/users/7%2F8/a%20b?q=x%20y&flag
                    - name: b
                      http:
                        path: /?x=1
                  at-most: 0.5%
            note: policy: the target takes the place of `a.example:8443`
            left out: c: its path variable `:missing` has no value
            left out: d: `ws` is not HTTP
            left out: e: the variable `nothing` has no value; give it by --var or --environment
            left out: f: it has no request
        "#]],
    );
}

#[test]
fn secrets_are_read_from_the_environment_and_never_copied() {
    let basic = json!({ "type": "basic", "basic": [{ "key": "username", "value": "u" }, { "key": "password", "value": "hidden" }] });
    let bearer = json!({ "type": "bearer", "bearer": { "token": "hidden" } });
    let query = json!({ "type": "apikey", "apikey": [
        { "key": "key", "value": "k" }, { "key": "value", "value": "hidden" }, { "key": "in", "value": "query" },
    ] });
    let collection = json!({
        "auth": basic,
        "variable": [{ "key": "vault", "value": "hidden", "type": "secret" }],
        "item": [
            { "name": "basic", "request": "https://a.example/1" },
            { "name": "bearer", "request": { "url": "https://a.example/2", "auth": bearer } },
            { "name": "none", "request": { "url": "https://a.example/3", "auth": { "type": "noauth" } } },
            { "name": "query", "request": { "url": "https://a.example/4", "auth": query } },
            { "name": "digest", "request": { "url": "https://a.example/5", "auth": { "type": "digest" } } },
            { "name": "headers", "request": { "url": "https://a.example/6", "auth": { "type": "noauth" }, "header": [
                { "key": "X-Api-Key", "value": "hidden" }, { "key": "X-Other", "value": "{{vault}}" },
                { "key": "Cookie", "value": "{{given_cookie}}" }, { "key": "Host", "value": "h" },
            ] } },
            { "name": "second", "request": { "url": "https://a.example/7", "auth": { "type": "noauth" },
                "header": "X-Api-Key: hidden too" } },
            { "name": "path", "request": "https://a.example/{{vault}}" },
            { "name": "front", "request": "{{vault}}/x" },
            { "name": "key", "request": "https://a.example/?api_key=hidden" },
            { "name": "user", "request": "https://me:hidden@a.example/" },
        ],
    });
    let policy =
        import(Kind::Postman, "c", &collection.to_string(), &BTreeMap::new()).unwrap().policy;
    assert!(!policy.contains("hidden"), "{policy}");
    check(
        &collection,
        expect![[r#"
                  cookies: true
                  steps:
                    - name: basic
                      http:
                        path: /1
                        headers:
                          authorization:
                            secret: env:BASIC_AUTHORIZATION
                            prefix: "Basic "
                    - name: bearer
                      http:
                        path: /2
                        headers:
                          authorization:
                            secret: env:AUTHORIZATION
                            prefix: "Bearer "
                    - name: none
                      http:
                        path: /3
                    - name: headers
                      http:
                        path: /6
                        headers:
                          x-api-key:
                            secret: env:X_API_KEY
                          x-other:
                            secret: env:VAULT
                          cookie:
                            secret: env:GIVEN_COOKIE
                    - name: second
                      http:
                        path: /7
                        headers:
                          x-api-key:
                            secret: env:X_API_KEY_2
                  at-most: 0.5%
            note: policy: the target takes the place of `a.example`
            note: policy: the header `authorization` (the Base64 of `user:password`) is read from the environment variable BASIC_AUTHORIZATION, and not from the file
            note: policy: the header `authorization` (what comes after `Bearer`) is read from the environment variable AUTHORIZATION, and not from the file
            note: policy: the header `cookie` is read from the environment variable GIVEN_COOKIE, and not from the file
            note: policy: the header `x-api-key` is read from the environment variable X_API_KEY, and not from the file
            note: policy: the header `x-api-key` is read from the environment variable X_API_KEY_2, and not from the file
            note: policy: the header `x-other` is read from the environment variable VAULT, and not from the file
            left out: query: its API key is in the query, where it would stand in the policy in clear
            left out: digest: its authorization `digest` has no counterpart
            left out: headers: its header `Host`: gate sets it
            left out: path: the variable `vault` is secret, and would stand in the policy in clear
            left out: front: the variable `vault` is secret, and would stand in the policy in clear
            left out: key: `api_key` of its query is secret, and would stand in the policy in clear
            left out: user: its URL holds a user or a password, which would stand in clear
        "#]],
    );
}

#[test]
fn bodies_are_sent_as_newman_sends_them() {
    let request =
        |body: Value| json!({ "method": "POST", "url": "https://a.example/", "body": body });
    check(
        &json!({ "item": [
            { "name": "json", "request": request(json!({ "mode": "raw", "raw": "{\"a\":{\"b\":\"$1\"}}", "options": { "raw": { "language": "json" } } })) },
            { "name": "form", "request": request(json!({ "mode": "urlencoded", "urlencoded": [{ "key": "a b", "value": "c&d" }] })) },
            { "name": "fields", "request": request(json!({ "mode": "formdata", "formdata": [{ "key": "a", "value": "b", "type": "text" }] })) },
            { "name": "graph", "request": request(json!({ "mode": "graphql", "graphql": { "query": "{ me }", "variables": "" } })) },
            { "name": "upload", "request": request(json!({ "mode": "formdata", "formdata": [{ "key": "a", "src": "f", "type": "file" }] })) },
            { "name": "file", "request": request(json!({ "mode": "file" })) },
            { "name": "get", "request": { "method": "GET", "url": "https://a.example/", "body": { "mode": "raw", "raw": "x" } } },
        ]}),
        expect![[r#"
                  cookies: true
                  steps:
                    - name: json
                      http:
                        method: POST
                        path: /
                        headers:
                          content-type: application/json
                        body: "{\"a\":{\"b\":\"$$1\"}}"
                    - name: form
                      http:
                        method: POST
                        path: /
                        headers:
                          content-type: application/x-www-form-urlencoded
                        body: a%20b=c%26d
                    - name: fields
                      http:
                        method: POST
                        path: /
                        headers:
                          content-type: multipart/form-data; boundary=gate-form-5f1c7a0e9d
                        body: "--gate-form-5f1c7a0e9d\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nb\r\n--gate-form-5f1c7a0e9d--\r\n"
                    - name: graph
                      http:
                        method: POST
                        path: /
                        headers:
                          content-type: application/json
                        body: "{\"query\":\"{ me }\",\"variables\":{}}"
                    - name: get
                      http:
                        path: /
                  at-most: 0.5%
            note: policy: the target takes the place of `a.example`
            note: policy: 4 of its steps may change something, and each probe takes them, on blue as on green: choose `rate` with that in mind
            left out: upload: its form uploads a file
            left out: file: its body is a file
        "#]],
    );
}

#[test]
fn a_request_whose_value_another_folder_uses_is_copied_in_front() {
    let login = json!({ "name": "log in", "request": { "method": "POST", "url": "https://a.example/login" }, "event": [
        { "listen": "test", "script": { "exec": ["pm.environment.set('token', pm.response.json().token)"] } },
    ]});
    check(
        &json!({ "item": [
            { "name": "auth", "item": [login, { "name": "out", "request": "https://a.example/out" }] },
            { "name": "basket", "item": [
                { "name": "show", "request": { "url": "https://a.example/basket", "header": [
                    { "key": "Authorization", "value": "Bearer {{token}}" },
                ] } },
            ] },
        ]}),
        expect![[r#"
                  cookies: true
                  steps:
                    - name: log-in
                      http:
                        method: POST
                        path: /login
                    - name: out
                      http:
                        path: /out
                  cookies: true
                  steps:
                    - name: log-in
                      http:
                        method: POST
                        path: /login
                      take:
                        token:
                          json: $.token
                    - name: show
                      http:
                        path: /basket
                        headers:
                          authorization: Bearer ${token}
                  at-most: 0.5%
            note: policy: the target takes the place of `a.example`
            note: policy: 2 of its steps may change something, and each probe takes them, on blue as on green: choose `rate` with that in mind
        "#]],
    );
}

#[test]
fn one_target_is_asked_and_other_hosts_are_listed() {
    check(
        &json!({ "item": [
            { "name": "a", "request": "https://a.example/" },
            { "name": "token", "request": "https://login.example/token", "event": [
                { "listen": "test", "script": { "exec": ["pm.environment.set('token', pm.response.json().t)"] } },
            ] },
            { "name": "b", "request": "https://a.example/{{token}}" },
        ]}),
        expect![[r#"
                  steps:
                    - name: a
                      http:
                        path: /
                  at-most: 0.5%
            note: policy: the target takes the place of `a.example`
            left out: token: it asks `login.example`, and gate probes one target, here in place of `a.example`
            left out: b: it uses what `token` takes, which is left out
        "#]],
    );
}
