//! Records: what was decided can be explained and replayed, and another policy tried on it.

use std::process::Stdio;

use serde_json::Value;
use tests::place::{self, Folder};
use tokio::process::Command;

use super::{deploy, gate};

/// Runs `gate` and gives its exit code, output and errors.
async fn run(arguments: &[&str]) -> (i32, String, String) {
    let mut command = Command::new(place::binary("gate"));
    let output = command.args(arguments).env_clear().stdin(Stdio::null()).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code().unwrap(), text(&output.stdout), text(&output.stderr))
}

async fn json(arguments: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(arguments).await;
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

#[tokio::test]
async fn a_deployments_record_explains_and_replays_itself() {
    let mut daemon = gate("records").await;
    let (outcome, _) = deploy(&daemon, "records", &["--errors", "25%"]).await;
    let id = outcome["id"].as_str().unwrap().to_owned();
    let url = format!("{}/evaluations/{id}/record", daemon.url());
    let fetched = tests::http::get(&url).await.unwrap();
    assert_eq!(fetched.status, 200);
    assert!(!fetched.text.contains("execution"), "the hook's token stays in the journal");
    let folder = Folder::new("records");
    let path = folder.path().join("bad.record.json");
    std::fs::write(&path, &fetched.text).unwrap();
    let path = path.to_str().unwrap();

    let (code, explained, _) = run(&["explain", path]).await;
    assert_eq!(code, 0, "{explained}");
    assert!(explained.lines().count() <= 10, "{explained}");
    assert!(explained.starts_with("ROLLBACK (proven) after"), "{explained}");
    assert!(explained.contains("errors at most 2 %") && explained.contains("otherwise: it would"));

    // The same from the daemon's own journal, while it runs and after.
    let journal = daemon.folder().join("journal.db");
    let journal = journal.to_str().unwrap();
    let same = tests::eventually(super::LIMIT, async || {
        let (code, by_id, _) = run(&["explain", &id, "--journal", journal]).await;
        ((code, &by_id) == (0, &explained)).then_some(())
    });
    assert!(same.await.is_some(), "{:?}", run(&["explain", &id, "--journal", journal]).await);
    daemon.stop().await;

    for named in [vec![path], vec![journal], vec![id.as_str(), "--journal", journal]] {
        let mut arguments = vec!["replay"];
        arguments.extend(&named);
        arguments.extend(["--output", "json"]);
        let (code, replayed) = json(&arguments).await;
        assert_eq!(code, 0, "{replayed:#}");
        let once = &replayed["records"][0];
        assert_eq!((&once["same"], &once["identical"]), (&true.into(), &true.into()), "{once:#}");
        assert_eq!(once["recorded"]["tick"], once["replayed"]["tick"]);
        assert_eq!(once["recorded"]["reason"], outcome["reason"]);
    }

    // What a laxer policy would have done with the same probes.
    let lax = folder.path().join("lax.policy.yaml");
    let text = super::POLICY.replace("at-most: 2%", "at-most: 60%");
    std::fs::write(&lax, text).unwrap();
    let arguments = ["replay", path, "--policy", lax.to_str().unwrap(), "--output", "json"];
    let (code, replayed) = json(&arguments).await;
    assert_eq!((code, &replayed["summary"]["differ"]), (0, &1.into()), "{replayed:#}");
    assert_eq!(replayed["summary"]["rolls_back"], 0);
    assert_eq!(replayed["summary"]["rolled_back_then"], 1);
    assert!(replayed["records"][0]["ticks"].as_array().is_some_and(|ticks| !ticks.is_empty()));
}

#[tokio::test]
async fn hundreds_of_records_are_replayed_into_one_table() {
    let (_green, green) = super::shell::service(&["--errors", "30%"]).await;
    let folder = Folder::new("table");
    let policy = folder.path().join("shop.policy.yaml");
    std::fs::write(&policy, super::shell::POLICY).unwrap();
    let policy = policy.to_str().unwrap();
    let first = folder.path().join("0.record.json");
    let arguments = ["verify", "--policy", policy, "--green", &green, "--record"];
    let (code, ..) = run(&[&arguments[..], &[first.to_str().unwrap()]].concat()).await;
    assert_eq!(code, 1);
    for copy in 1..200 {
        std::fs::copy(&first, folder.path().join(format!("{copy}.record.json"))).unwrap();
    }
    let all = folder.path().to_str().unwrap();
    let (code, table, _) = run(&["replay", all]).await;
    assert_eq!(code, 0, "{table}");
    assert!(table.ends_with("200 of 200: the same decision at the same tick\n"), "{table}");
    let lax = folder.path().join("lax.policy.yaml");
    std::fs::write(&lax, super::shell::POLICY.replace("at-most: 2%", "at-most: 70%")).unwrap();
    let (code, table, _) = run(&["replay", all, "--policy", lax.to_str().unwrap()]).await;
    assert_eq!(code, 0, "{table}");
    assert!(table.contains("would have rolled back 0 of 200 (recorded: 200)"), "{table}");
}

#[tokio::test]
async fn what_is_no_record_is_refused_with_the_reason() {
    let folder = Folder::new("none");
    let path = folder.path().join("x.record.json");
    std::fs::write(&path, "{}").unwrap();
    for (arguments, told) in [
        (vec!["replay", path.to_str().unwrap()], "is no record"),
        (vec!["explain", "d-UNKNOWN"], "name the journal"),
        (vec!["explain", "d-1", "--journal", "/nowhere/journal.db"], "cannot be opened"),
        (vec!["replay", "/"], "holds no .record.json files"),
    ] {
        let (code, _, err) = run(&arguments).await;
        assert!(code == 2 && err.contains(told), "{arguments:?}: {err}");
    }
}

#[tokio::test]
async fn a_plan_is_the_same_for_the_same_seed_and_refuses_what_cannot_be_decided() {
    let folder = Folder::new("plan");
    let path = folder.path().join("shop.policy.yaml");
    let write = |text: &str| std::fs::write(&path, text).unwrap();
    let plan = async |more: &[&str]| {
        let arguments = ["plan", path.to_str().unwrap(), "--output", "json"];
        json(&[&arguments[..], more].concat()).await
    };
    write(
        "gate: v1\nprobe: { http: { path: / } }\nobjectives: [ { errors: { at-most: 0.5% } } ]\n",
    );
    let (code, planned) = plan(&["--seed", "7", "--runs", "300"]).await;
    assert_eq!((code, &planned["decidable"]), (0, &true.into()), "{planned:#}");
    assert_eq!(planned, plan(&["--seed", "7", "--runs", "300"]).await.1);
    let scenarios = planned["scenarios"].as_array().unwrap();
    assert_eq!(scenarios[0]["name"], "healthy");
    assert!(scenarios[0]["continue"].as_f64().unwrap() > 0.97, "{planned:#}");
    for scenario in scenarios {
        let whole: f64 = ["continue", "rollback", "undecided"]
            .iter()
            .map(|outcome| scenario[*outcome].as_f64().unwrap())
            .sum();
        assert!((whole - 1.0).abs() < 1e-9, "{scenario:#}");
        assert!(
            scenario["p95_seconds"].as_f64() >= scenario["expected_seconds"].as_f64().map(|_| 0.0)
        );
    }
    // Good by the rule of thumb, but half of the healthy releases would run out of time.
    write(
        "gate: v1\nprobe: { http: { path: / }, rate: 1/s }\nobjectives: [ { errors: { at-most: 1%, unacceptable: 2% } } ]\ndecide: { deadline: 7m 10s }\n",
    );
    let (code, planned) = plan(&["--runs", "300"]).await;
    let advice = planned["advice"].to_string();
    assert_eq!((code, &planned["decidable"]), (2, &false.into()), "{planned:#}");
    assert!(advice.contains("`probe.rate`") && advice.contains("`decide.deadline`"), "{advice}");
}

#[tokio::test]
async fn two_policies_that_match_equally_well_are_a_fault_at_check_time() {
    let folder = Folder::new("ties");
    let text = |applies: &str| super::POLICY.replace("gate: v1", &format!("gate: v1\n{applies}"));
    for (name, applies) in [
        ("one", "applies-to: { application: check* }"),
        ("two", "applies-to: { application: '*out' }"),
        ("three", "applies-to: { application: search }"),
    ] {
        std::fs::write(folder.path().join(format!("{name}.policy.yaml")), text(applies)).unwrap();
    }
    let (code, faults) =
        json(&["check", folder.path().to_str().unwrap(), "--output", "json"]).await;
    assert_eq!((code, faults.as_array().unwrap().len()), (2, 1), "{faults:#}");
    assert_eq!((&faults[0]["code"], &faults[0]["level"]), (&"G0010".into(), &"error".into()));
    assert!(faults[0]["file"].as_str().unwrap().ends_with("two.policy.yaml"), "{faults:#}");
    assert!(faults[0]["message"].as_str().unwrap().contains("one.policy.yaml"), "{faults:#}");
}

#[tokio::test]
async fn the_schema_is_printed_and_is_the_one_in_the_docs() {
    let (code, printed) = json(&["schema"]).await;
    assert_eq!(code, 0);
    assert_eq!(printed["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(printed["properties"]["objectives"]["items"]["properties"]["latency"].is_object());
}
