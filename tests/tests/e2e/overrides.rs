//! A person holds, continues or rolls back a waiting question: by the API, by a page, by `gate override`; on disk
//! before it is acknowledged, and for nobody without a token.

use std::process::Output;

use serde_json::{Value, json};
use tests::{Gate, check_said, eventually, http, place};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::matrix::check_metric;
use super::{AWS, LIMIT, POLICY, accepted, finished, reason};

const TOKEN: &str = "a token of the whole team";
const ALICES: &str = "a token of alice's alone";

/// A gate that takes overrides, and a hold that it was told of in time.
async fn gate(name: &str) -> Gate {
    let tokens = "overrides: { tokens: [ { secret: 'env:TEAM_TOKEN' }, { secret: 'env:ALICE_TOKEN', name: alice } ] }\n";
    let gate = Gate::new(&AWS.endpoint, name).policy(POLICY).settings(tokens);
    gate.env("TEAM_TOKEN", TOKEN).env("ALICE_TOKEN", ALICES).start().await
}

/// The id of the evaluation of this deployment, once there is one.
async fn asked(gate: &Gate, deployment: &str) -> String {
    let seen = eventually(LIMIT, async || gate.evaluation(deployment).await).await;
    seen.expect("it is asked")["id"].as_str().expect("an id").to_owned()
}

/// Says something of a question: status and body of what is answered.
async fn say(gate: &Gate, id: &str, token: Option<&str>, said: &Value) -> (u16, Value) {
    let url = format!("{}/evaluations/{id}/override", gate.url());
    let bearer = token.map(|token| format!("Bearer {token}"));
    let mut headers = vec![("content-type", "application/json")];
    headers.extend(bearer.as_deref().map(|bearer| ("authorization", bearer)));
    let answer = http::send("POST", &url, &headers, &said.to_string()).await.expect("an answer");
    (answer.status, answer.json())
}

/// Runs `gate override`; its exit code and what it says.
async fn command(gate: &Gate, token: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(place::binary("gate"));
    command.arg("override").args(arguments).env_clear().env("SHOWN", token);
    command.args(["--config", gate.folder().join("gate.yaml").to_str().expect("a plain path")]);
    said(command, token).await
}

/// What `gate override` ends with and says, without the token.
async fn said(mut command: Command, token: &str) -> (Option<i32>, String) {
    let output = command.env("GATE_LOG", "debug").output().await;
    let Output { status, stdout, stderr } = output.expect("gate runs");
    let said = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    check_said("what gate override says", &said, &[token]);
    (status.code(), said)
}

#[tokio::test]
async fn what_was_acknowledged_stands_after_kill_9() {
    let mut gate = gate("overruled").await;
    let site = AWS.site("overruled", &gate.url(), &[], &[]).await;
    let deployment = site.deploy(&[]).await;
    let id = asked(&gate, &deployment).await;
    let hold = json!({ "action": "hold", "by": "bob", "reason": "a look", "for": "10m" });
    let (status, held) = say(&gate, &id, Some(TOKEN), &hold).await;
    assert_eq!((status, &held["held"]["by"]), (200, &json!("bob")), "{held:#}");
    gate.kill();
    gate.restart().await;
    let seen = gate.evaluation(&deployment).await.expect("it is taken up again");
    assert_eq!(seen["held"]["reason"], "a look", "{seen:#}");
    // What would have let it through is shown, and does not.
    let proven = eventually(LIMIT, async || {
        let seen = gate.evaluation(&deployment).await?;
        let meanwhile = seen["held"]["meanwhile"].as_str()?.to_owned();
        meanwhile.starts_with("continue (proven)").then_some(())
    });
    proven.await.expect("it is proven under the hold");
    let rollback = json!({ "action": "rollback", "reason": "the wrong branch" });
    let (status, answered) = say(&gate, &id, Some(ALICES), &rollback).await;
    assert_eq!((status, &answered["decision"]), (200, &json!("rollback")), "{answered:#}");
    gate.kill();
    gate.restart().await;
    let (outcome, deployment) = finished(&gate, &deployment).await;
    assert_eq!(deployment["status"], "Failed", "{deployment:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    assert_eq!(outcome["basis"], "overridden", "{outcome:#}");
    assert_eq!(reason(&outcome), "alice rolls it back: the wrong branch");
    assert_eq!(answered["series"], json!([]), "what was measured is on its page");
    assert_eq!(outcome["overrides"].as_array().map(Vec::len), Some(2), "{outcome:#}");
    let (status, late) = say(&gate, &id, Some(TOKEN), &hold).await;
    assert_eq!((status, &late["error"]), (409, &json!("it is decided already: rollback")));
}

#[tokio::test]
async fn a_broken_release_is_held_and_let_through_from_the_command_line() {
    let gate = gate("let-through").await;
    let site = AWS.site("let-through", &gate.url(), &[], &[]).await;
    let deployment = site.deploy(&["--errors", "60%"]).await;
    let id = asked(&gate, &deployment).await;
    let by = ["--by", "bob", "--token", "env:SHOWN"];
    let hold = [&[&*id, "--hold", "--for", "5m", "--reason", "a known outage"], &by[..]].concat();
    let (code, told) = command(&gate, TOKEN, &hold).await;
    assert_eq!((code, told.contains("is held for 5 min")), (Some(0), true), "{told}");
    let broken = eventually(LIMIT, async || {
        let seen = gate.evaluation(&deployment).await?;
        let meanwhile = seen["held"]["meanwhile"].as_str()?.to_owned();
        meanwhile.starts_with("rollback (proven)").then_some(())
    });
    broken.await.expect("it is proven broken under the hold");
    let goes_on = [&[&*id, "--continue", "--reason", "not ours"], &by[..]].concat();
    let (code, told) = command(&gate, "a token that nobody knows", &goes_on).await;
    assert_eq!((code, told.contains("not known")), (Some(2), true), "{told}");
    let (code, told) = command(&gate, TOKEN, &goes_on).await;
    assert_eq!(
        (code, told.contains("answered continue: bob continues it: not ours")),
        (Some(0), true),
        "{told}"
    );
    let (code, told) = command(&gate, TOKEN, &goes_on).await;
    assert_eq!((code, told.contains("it is decided already")), (Some(1), true), "{told}");
    let nowhere = [&goes_on[..], &["--url", "http://127.0.0.1:1"]].concat();
    assert_eq!(command(&gate, TOKEN, &nowhere).await.0, Some(3));
    let both = [&goes_on[..], &["--rollback"]].concat();
    assert_eq!(command(&gate, TOKEN, &both).await.0, Some(2));
    let (outcome, deployment) = finished(&gate, &deployment).await;
    assert_eq!(deployment["status"], "Succeeded", "{outcome:#}");
    assert_eq!(outcome["basis"], "overridden", "{outcome:#}");
    let explain = Command::new(place::binary("gate"))
        .args(["explain", &id, "--journal"])
        .arg(gate.folder().join("journal.db"))
        .output();
    let explained = String::from_utf8_lossy(&explain.await.expect("gate runs").stdout).into_owned();
    for part in ["CONTINUE (overridden)", "said: bob, continue after", "(the last of 2): not ours"]
    {
        assert!(explained.contains(part), "{part} is not in {explained}");
    }
    for line in [
        r#"gate_overrides_total{action="hold",outcome="taken"} 1"#,
        r#"gate_overrides_total{action="continue",outcome="taken"} 1"#,
        r#"gate_overrides_total{action="continue",outcome="unsigned"} 1"#,
        r#"gate_overrides_total{action="continue",outcome="refused"} 1"#,
        r#"gate_decisions_total{answer="continue",application="let-through",delivery="confirmed",reason="overridden"} 1"#,
    ] {
        check_metric(&gate, line).await;
    }
}

#[tokio::test]
async fn a_page_has_a_form_for_whoever_has_a_token_and_for_nobody_else() {
    let gate = gate("formed").await;
    let site = AWS.site("formed", &gate.url(), &[], &[]).await;
    let deployment = site.deploy(&[]).await;
    let id = asked(&gate, &deployment).await;
    let url = format!("{}/evaluations/{id}", gate.url());
    let page = http::send("GET", &url, &[("accept", "text/html")], "").await.unwrap().text;
    assert!(page.contains(&format!("href=\"/evaluations/{id}/override\"")), "{page}");
    let form = format!("{url}/override");
    let page = http::send("GET", &form, &[("accept", "text/html")], "").await.unwrap().text;
    assert!(page.contains("<form") && !page.contains("http-equiv"), "{page}");
    let sent = async |token: &str, body: &str| {
        let body = format!("{body}&by=bob&token={}", token.replace(' ', "+"));
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        http::send("POST", &form, &headers, &body).await.expect("an answer")
    };
    let wrong = sent("some other token", "action=hold&for=15s&reason=%3Cb%3Elook").await;
    assert_eq!(wrong.status, 401);
    assert!(wrong.text.contains("this token is not known"), "{}", wrong.text);
    assert!(wrong.text.contains("&#60;b&#62;look"), "kept, and told as text: {}", wrong.text);
    assert!(!wrong.text.contains("some other token"), "{}", wrong.text);
    let taken = sent(TOKEN, "action=hold&for=15s&reason=look").await;
    assert_eq!((taken.status, taken.location), (303, Some(format!("/evaluations/{id}"))));
    let said = json!({ "action": "stop", "reason": "", "url": "http://169.254.169.254/" });
    for (status, token, what) in [
        (401, None, "an override needs a signature or a token"),
        (400, Some(TOKEN), "`url` is unknown"),
        (400, Some(TOKEN), "`reason` is missing"),
        (400, Some(ALICES), "`action` is one of `hold`"),
    ] {
        let (told, text) = say(&gate, &id, token, &said).await;
        assert_eq!((told, text.to_string().contains(what)), (status, true), "{what}: {text}");
    }
    let release = json!({ "action": "release", "by": "bob", "reason": "x" });
    assert_eq!(say(&gate, &id, Some(ALICES), &release).await.0, 403, "she speaks for herself");
    let hers = json!({ "action": "release", "by": "Alice", "reason": "x" });
    assert_eq!(say(&gate, &id, Some(TOKEN), &hers).await.0, 403, "nobody else speaks for her");
    assert_eq!(say(&gate, "nobody-asked", Some(TOKEN), &release).await.0, 404);
    // By now one wrong token was shown; after ten nobody's is looked at.
    for _ in 0..9 {
        assert_eq!(say(&gate, &id, Some("a wrong token"), &release).await.0, 401);
    }
    assert_eq!(say(&gate, &id, Some(TOKEN), &release).await.0, 429);
    let (outcome, _) = finished(&gate, &deployment).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&json!("continue"), &json!("proven")));
    assert!(reason(&outcome).contains("; held by bob until "), "{outcome:#}");
    assert!(outcome["duration_seconds"].as_f64().unwrap() >= 15.0, "{outcome:#}");
    let shut = super::gate("formless").await;
    let (status, told) = say(&shut, &id, Some(TOKEN), &release).await;
    assert_eq!(status, 403, "{told}");
    assert!(told.to_string().contains("set `overrides.tokens`"), "{told}");
}

/// What the command says, and ends with, where this is what answers it.
async fn told(answer: &str) -> (Option<i32>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let answer = answer.to_owned();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let asked = stream.read(&mut [0; 4096]).await.expect("a request");
        stream.write_all(answer.as_bytes()).await.expect("it is read");
        asked
    });
    let mut command = Command::new(place::binary("gate"));
    command.args(["override", "d-1", "--continue", "--by", "bob", "--reason", "a test"]);
    command.args(["--url", &url, "--token", "env:SHOWN"]).env_clear().env("SHOWN", TOKEN);
    let told = said(command, TOKEN).await;
    assert!(answering.await.expect("it was asked") > 0);
    told
}

#[tokio::test]
async fn the_command_says_of_each_answer_what_is_known_of_the_override() {
    let with = |length: usize, body: &str| {
        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}")
    };
    let large = json!({ "id": "d-1", "decision": "continue", "reason": "r".repeat(200_000) });
    let large = large.to_string();
    for (answer, code, expected) in [
        (with(large.len(), &large), 0, "taken: d-1 is answered continue"),
        (with(100, "{"), 0, "taken: the state of d-1 could not be read: look at its page"),
        (with(2, "hi"), 3, "what answers is not gate"),
        (
            "HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n".to_owned(),
            3,
            "it is not known whether it was taken: look at its page",
        ),
        (
            "HTTP/1.1 409 Conflict\r\ncontent-length: 15\r\n\r\n{\"error\":\"late\"}".to_owned(),
            1,
            "not taken (409): ",
        ),
    ] {
        let (ended, said) = told(&answer).await;
        assert_eq!((ended, said.contains(expected)), (Some(code), true), "{expected}: {said}");
    }
}
