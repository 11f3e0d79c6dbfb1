//! Looks for secrets in everything that a test's daemon has written and shows, when its handle goes: no test can
//! forget to.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// With what every daemon signs its calls of the emulated AWS.
pub(crate) const SECRET_KEY: &str = "never-shown-secret-key-of-e2e";
/// What secrets begin with that the emulated AWS hands out: execution ids of hooks, tokens of sessions.
const HANDED_OUT: [&str; 2] = ["eyJlbmNyeXB0ZWREYXRh", "session-token-"];
/// What the names of variables say that hold a secret.
const CALLED: [&str; 4] = ["KEY", "TOKEN", "SECRET", "PASSWORD"];
/// Questions whose pages are read.
const EVALUATIONS_MAX: usize = 10;
/// A daemon that is suspended shows nothing.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Fails where a secret is in a file of this folder, or in what the daemon with this address for operators shows.
pub(crate) fn search(folder: &Path, environment: &[(String, String)], operators: Option<&str>) {
    let own = secrets(environment);
    let all: Vec<&str> = own.iter().copied().chain(HANDED_OUT).collect();
    let files = std::fs::read_dir(folder).into_iter().flatten().flatten();
    for path in files.map(|file| file.path()).filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        // Execution ids are the journal's to keep: the answer must carry them.
        let secrets = if name.starts_with("journal.db") { &own } else { &all };
        let is_a_key = name == "tls.key" || name.starts_with("secret");
        if let Ok(bytes) = std::fs::read(&path)
            && !is_a_key
        {
            check(&path.display().to_string(), &String::from_utf8_lossy(&bytes), secrets);
        }
    }
    let Some(operators) = operators else { return };
    let shown = |path: &str, accept: &str| {
        let text = get(operators, path, accept).unwrap_or_default();
        check(path, &text, &all);
        text
    };
    shown("/metrics", "*/*");
    shown("/evaluations", "text/html");
    let listed = shown("/evaluations", "application/json");
    let listed = listed.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let listed: Value = serde_json::from_str(listed).unwrap_or_default();
    let listed = listed["evaluations"].as_array().cloned().unwrap_or_default();
    for id in listed.iter().filter_map(|one| one["id"].as_str()).take(EVALUATIONS_MAX) {
        let path = format!("/evaluations/{id}");
        shown(&path, "text/html");
        shown(&path, "application/json");
        shown(&format!("{path}/record"), "application/json");
        shown(&format!("{path}/override"), "text/html");
    }
}

/// Fails where what a program has said holds one of these secrets, or one that every test has.
pub fn check_said(program: &str, said: &str, own: &[&str]) {
    let all: Vec<&str> = own.iter().copied().chain([SECRET_KEY]).chain(HANDED_OUT).collect();
    check(program, said, &all);
}

/// The secrets in an environment: what is called one, and is no reference to one.
fn secrets(environment: &[(String, String)]) -> Vec<&str> {
    let is_secret = |(name, value): &&(String, String)| {
        let called = CALLED.iter().any(|word| name.contains(word));
        called && !name.starts_with("GATE_") && name != "AWS_ACCESS_KEY_ID" && value.len() >= 12
    };
    environment.iter().filter(is_secret).map(|(_, value)| value.as_str()).collect()
}

fn check(place: &str, text: &str, secrets: &[&str]) {
    if let Some(secret) = secrets.iter().find(|secret| text.contains(**secret)) {
        panic!("`{secret}` is in {place}");
    }
}

/// An answer whole, with its head.
fn get(address: &str, path: &str, accept: &str) -> Option<String> {
    let mut stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(ANSWER_TIMEOUT)).ok()?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nhost: gate\r\naccept: {accept}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).ok()?;
    let mut bytes = Vec::new();
    // What came before a time-out counts, too.
    let _ended = stream.read_to_end(&mut bytes);
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_what_is_called_one_and_no_reference() {
        let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let environment = [
            variable("HOOK_KEY", "a hook key of the tests"),
            variable("GATE_HOOKS_KEYS", "env:HOOK_KEY_OF_TESTS"),
            variable("AWS_ACCESS_KEY_ID", "a-name-of-a-test"),
            variable("AWS_REGION", "us-east-1"),
        ];
        assert_eq!(secrets(&environment), ["a hook key of the tests"]);
    }

    #[test]
    #[should_panic(expected = "is in a page")]
    fn a_secret_that_is_shown_fails_the_test() {
        check("a page", "the key is `a hook key of the tests`", &["a hook key of the tests"]);
    }
}
