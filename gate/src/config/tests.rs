//! Settings are layered, checked, and every fault of them is said at once.

use super::*;
use crate::aws::fake::FakeAws;
use crate::shell::vault::tests::vault;

fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("gate-config-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Of a hook key, and of a token.
const SECRET: &str = "a key of more than 16 bytes";

async fn check(name: &str, file: &str, profile: Option<&str>, flags: Layer, expected: &[&str]) {
    let folder = folder(name);
    let path = folder.join("gate.yaml");
    std::fs::write(&path, file.replace("HERE", &folder.display().to_string())).unwrap();
    let aws = FakeAws::new();
    aws.put_secret("/gate/hook-key", SECRET);
    aws.put_secret("/gate/short", "short");
    let shown = match Box::pin(load(Some(&path), profile, flags, |_| vault(aws))).await {
        // Everything there is of it, as a dump would show it: keys, tokens, the vault they were read by.
        Ok(checked) => format!("{checked:?}"),
        Err(ConfigError(faults)) => faults.join("; "),
    };
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(!shown.contains(SECRET), "a secret is in {shown}");
    for part in expected {
        assert!(shown.contains(part), "`{part}` is not in {shown}");
    }
}

const FILE: &str = "
policies: HERE
hooks: { listen: 127.0.0.1:1000 }
unmatched: continue
profiles:
  prod: { mode: observe, hooks: { listen: 127.0.0.1:2000 } }
";

#[tokio::test]
async fn flags_lie_over_the_profile_over_the_file_over_the_defaults() {
    let flags = |listen: Option<&str>| Layer {
        hooks: listen.map(|l| HooksLayer { listen: Some(l.to_owned()), ..HooksLayer::default() }),
        ..Layer::default()
    };
    let defaults = "listen: \"127.0.0.1:9090\"";
    check(
        "file",
        FILE,
        None,
        flags(None),
        &["127.0.0.1:1000", "mode: Decide", "unmatched: Continue", defaults],
    )
    .await;
    check(
        "profile",
        FILE,
        Some("prod"),
        flags(None),
        &["127.0.0.1:2000", "mode: Observe", "unmatched: Continue"],
    )
    .await;
    check(
        "flags",
        FILE,
        Some("prod"),
        flags(Some("127.0.0.1:3000")),
        &["127.0.0.1:3000", "mode: Observe"],
    )
    .await;
    check(
        "absent",
        FILE,
        Some("dev"),
        flags(None),
        &["profile `dev` is not in the file's `profiles`"],
    )
    .await;
}

#[tokio::test]
async fn every_fault_is_reported_at_once_and_a_mistake_in_the_file_has_its_place() {
    let file =
        "policies: /nowhere\nhooks: { listen: 0.0.0.0:8080, keys: [] }\nadmin: { listen: x }\n";
    check(
        "faults",
        file,
        None,
        Layer::default(),
        &["is no folder", "is no address", "is not loopback"],
    )
    .await;
    let file = "policies: HERE\nhooks:\n  keys: [ { secret: \"env:NO_SUCH_VARIABLE\" } ]\n";
    check(
        "key",
        file,
        None,
        Layer::default(),
        &["environment variable `NO_SUCH_VARIABLE` is not set"],
    )
    .await;
    let file = "policies: HERE\nhooks:\n  keys: [ { secret: \"ssm:/gate/short\" }, { secret: \"secretsmanager:absent\" }, { secret: \"vault:x\" } ]\n";
    check(
        "keys",
        file,
        None,
        Layer::default(),
        &[
            "`hooks.keys`: a key of 5 bytes is shorter than 16",
            "`hooks.keys`: GetSecretValue of absent failed",
            "`hooks.keys`: `vault:` is no kind of reference",
        ],
    )
    .await;
    check(
        "place",
        "policies: HERE\nspeed: 3\n",
        None,
        Layer::default(),
        &["gate.yaml:2:1", "speed"],
    )
    .await;
    check("mode", "mode: maybe\n", None, Layer::default(), &["gate.yaml:1:7"]).await;
}

#[tokio::test]
async fn a_hook_key_may_be_kept_by_aws_and_is_not_shown() {
    let file = "policies: HERE\nhooks:\n  keys: [ { secret: \"ssm:/gate/hook-key\" } ]\n";
    let file = format!(
        "{file}overrides: {{ tokens: [ {{ secret: \"ssm:/gate/hook-key\", name: alice }} ] }}\n"
    );
    let shown = ["Keys { references: 1, .. }", "name: Some(\"alice\")"];
    check("kept", &file, None, Layer::default(), &shown).await;
    let file = "policies: HERE\noverrides: { tokens: [ { secret: \"ssm:/gate/short\" }, { secret: \"ssm:/gate/hook-key\", name: \"\" } ] }\n";
    let shown =
        ["`overrides.tokens`: a key of 5 bytes", "`overrides.tokens[1]`: its `name` is missing"];
    check("tokens", file, None, Layer::default(), &shown).await;
}

#[tokio::test]
async fn targets_are_looked_up_and_everything_wrong_with_them_is_said_at_once() {
    let file = "
policies: HERE
hooks: { listen: here }
targets:
  - { url: \"ftp://127.0.0.1:1\", policy: absent }
  - { url: \"http://127.0.0.1:3000/path\", policy: ../up }
  - { url: \"http://127.0.0.1:3001\", policy: absent }
  - { url: \"https://127.0.0.1:3001\", policy: absent }
";
    check(
        "targets",
        file,
        None,
        Layer::default(),
        &[
            "`hooks.listen: here` is no address",
            "`targets[0]`: `ftp://127.0.0.1:1` is no address to probe",
            "`targets[0]`: `policy: absent`: ",
            "absent.policy.yaml does not exist",
            "`targets[1]`: `http://127.0.0.1:3000/path` has a path",
            "`targets[1]`: `policy: ../up` is no name of a policy",
            "`targets[3]`: `https://127.0.0.1:3001` is there twice",
        ],
    )
    .await;
    let many: String =
        (0..17).map(|n| format!("  - {{ url: \"http://h{n}\", policy: x }}\n")).collect();
    let file = format!("policies: HERE\ntargets:\n{many}");
    check("many", &file, None, Layer::default(), &["17 of them, and at most 16"]).await;
    let unknown = "targets: [ { url: x, policy: y, gard: true } ]\n";
    check("unknown", unknown, None, Layer::default(), &["gate.yaml:1:", "gard"]).await;
}
