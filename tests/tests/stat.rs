//! `gate stat` against the agreed vectors: every `ln E`, `ln F` and decision of all 74 cases.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use tests::place;

/// A conversation with `gate stat`.
struct Stat {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Stat {
    fn start() -> Self {
        let mut process = Command::new(place::binary("gate"))
            .arg("stat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap());
        Self { process, input, output }
    }

    /// One line in, one line out.
    fn ask(&mut self, line: &str) -> Value {
        writeln!(self.input, "{line}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    fn end(self) {
        drop(self.input);
        let mut process = self.process;
        assert!(process.wait().unwrap().success());
    }
}

fn same(at: &str, got: &Value, want: &Value) {
    if let (Some(got), Some(want)) = (got.as_f64(), want.as_f64()) {
        assert!(
            (got - want).abs() <= 1e-9 * want.abs().max(1.0),
            "{at}: {got}, the vector says {want}"
        );
    } else {
        assert_eq!(got, want, "{at}");
    }
}

#[test]
fn every_vector_of_every_kind_agrees_with_independent_arithmetic() {
    let vectors = place::root().join("policies/tests/vectors/engine.jsonl");
    let vectors = std::fs::read_to_string(vectors).unwrap();
    let mut stat = Stat::start();
    let (mut cases, mut steps) = (0, 0);
    for line in vectors.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        assert_eq!(stat.ask(&case["objective"].to_string()), json!({ "ready": name }));
        cases += 1;
        let observations = case["observations"].as_array().unwrap();
        for (seen, want) in observations.iter().zip(case["expected"].as_array().unwrap()) {
            let got = stat.ask(&seen.to_string());
            let at = format!("{name} t={}", want["t"]);
            assert_eq!(
                (&got["t"], &got["decision"]),
                (&want["t"], &want["decision"]),
                "{at} {got}"
            );
            assert_eq!(got.get("error").is_some(), want.get("error").is_some(), "{at} {got}");
            same(&at, &got["logE"], &want["logE"]);
            same(&at, &got["logF"], &want["logF"]);
            steps += 1;
        }
    }
    assert_eq!((cases, steps), (74, 7361));
    stat.end();
}

#[test]
fn what_is_wrong_is_said_and_changes_nothing() {
    let mut stat = Stat::start();
    let mut check = |line: &str, error: &str| {
        let answer = stat.ask(line);
        assert!(
            answer["error"].as_str().is_some_and(|said| said.contains(error)),
            "{line}: {answer}"
        );
    };
    check(r#"{"k":1,"n":2}"#, "no objective yet");
    check("rubbish", "not JSON");
    check(r#"{"type":"wish"}"#, "`wish` is no type of line");
    check(r#"{"type":"objective","kind":"guess"}"#, "one of ratio, relative, rank, all");
    check(r#"{"type":"objective","kind":"ratio","p0":0.5,"p1":0.1}"#, "contradict each other");
    check(r#"{"type":"objective","kind":"ratio","p1":0.1}"#, "`p0` is a number that is needed");
    check(r#"{"type":"objective","kind":"rank","baseline":[]}"#, "contradict");
    check(r#"{"type":"objective","kind":"all","items":[]}"#, "a list of 1 to 64");
    check(
        r#"{"type":"cs","k":3,"n":2,"alpha":0.01,"t_opt":100,"alpha_opt":0.01}"#,
        "more bad events",
    );
    check(r#"{"type":"sprt_oc","p0":0.1,"p1":0.2,"log_lo":1,"log_hi":2,"ps":[0.1]}"#, "contradict");
    let ready =
        stat.ask(r#"{"type":"objective","kind":"ratio","p0":0.01,"p1":0.02,"m":40,"id":"x"}"#);
    assert_eq!(ready, json!({ "ready": "x" }));
    let good = stat.ask(r#"{"k":0,"n":40}"#);
    let bad = stat.ask(r#"{"k":41,"n":40}"#);
    assert_eq!((&bad["t"], &bad["decision"]), (&json!(2), &json!("watch")), "{bad}");
    let empty = stat.ask(r#"{"k":0,"n":0}"#);
    assert_eq!((&empty["logE"], &empty["logF"]), (&good["logE"], &good["logF"]));
    stat.end();
}

#[test]
fn intervals_and_plain_tests_answer_in_one_line() {
    let mut stat = Stat::start();
    let cs = stat.ask(r#"{"type":"cs","k":37,"n":812,"alpha":0.01,"t_opt":1000,"alpha_opt":0.01}"#);
    let (lower, upper) = (cs["lower"].as_f64().unwrap(), cs["upper"].as_f64().unwrap());
    assert!((0.02..0.03).contains(&lower) && (0.065..0.08).contains(&upper), "{cs}");
    let line =
        r#"{"type":"sprt_oc","p0":0.01,"p1":0.03,"log_lo":-4.6,"log_hi":4.6,"ps":[0.0,0.01,0.03]}"#;
    let oc = stat.ask(line);
    // At a share of 0, of p0 and of p1; limits of 99:1 either way.
    for (place, rollback) in [0.0, 0.0, 1.0].into_iter().enumerate() {
        let got = |key: &str| oc[key][place].as_f64().unwrap();
        assert!((got("rollback") - rollback).abs() < 0.011, "{oc}");
        assert!((got("rollback") + got("accept") - 1.0).abs() < 1e-10, "{oc}");
    }
    assert!(oc["asn"][1].as_f64().unwrap() > 100.0, "{oc}");
    stat.end();
}

#[test]
fn the_conversation_in_the_documentation_is_one_it_has() {
    let page = std::fs::read_to_string(place::root().join("docs/statistics.md")).unwrap();
    let conversation = page.split("$ gate stat\n").nth(1).unwrap().split("```").next().unwrap();
    let lines: Vec<&str> = conversation.lines().collect();
    assert!(lines.len() >= 4, "{conversation}");
    let mut stat = Stat::start();
    for pair in lines.chunks(2) {
        let said: Value = serde_json::from_str(pair[1]).unwrap();
        assert_eq!(stat.ask(pair[0]), said);
    }
    stat.end();
}
