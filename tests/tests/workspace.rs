//! What must stay true of the source: the direction of dependencies, one place for each outside thing,
//! documents that agree with the code, nothing that belongs to one machine.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tests::place;

/// Files of a folder and below, by ending.
fn files(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", ".venv", ".git", "__pycache__", "vectors"].contains(&name.as_str()) {
                found.extend(files(&path, endings));
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn read(path: &str) -> String {
    fs::read_to_string(place::root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn metadata() -> Value {
    // Crates of other platforms are described as well, which no build has fetched.
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked"])
        .current_dir(place::root())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Crate → what it depends on, tests and benches included.
fn dependencies() -> BTreeMap<String, Vec<String>> {
    let metadata = metadata();
    let members = ["policies", "questions", "probes", "gate", "tests"];
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .filter(|package| members.contains(&package["name"].as_str().unwrap()))
        .filter(|package| package["source"].is_null())
        .map(|package| {
            let names = package["dependencies"].as_array().unwrap().iter();
            let names = names.map(|dependency| dependency["name"].as_str().unwrap().to_owned());
            (package["name"].as_str().unwrap().to_owned(), names.collect())
        })
        .collect()
}

#[test]
fn crates_stand_in_a_straight_line() {
    let dependencies = dependencies();
    let line = ["policies", "questions", "probes", "gate", "tests"];
    for (place, name) in line.iter().enumerate() {
        for right in &line[place..] {
            assert!(!dependencies[*name].contains(&(*right).to_owned()), "{name} knows {right}");
        }
    }
}

#[test]
fn the_core_depends_on_nothing_that_does_anything() {
    let allowed = [
        "annotate-snippets",
        // The wire form of histograms, and encoded messages in policies.
        "base64",
        "hdrhistogram",
        "jiff",
        "libm",
        // Latencies into buckets: sorted without comparing.
        "radsort",
        // Fixed generators: a seed is an argument, and there is no entropy.
        "rand_distr",
        "rand_pcg",
        // Patterns and schemas of expectations: linear in time, bounded in space, nothing fetched.
        "regex",
        "jsonschema",
        "serde_json_path",
        "serde",
        "serde-saphyr",
        "serde_json",
        "strsim",
        "thiserror",
        // For its tests and benches alone.
        "criterion",
        "expect-test",
        "peak_alloc",
        "proptest",
        "serde_json",
    ];
    for dependency in &dependencies()["policies"] {
        assert!(allowed.contains(&dependency.as_str()), "policies depends on {dependency}");
    }
}

#[test]
fn what_reads_questions_depends_on_nothing_that_does_anything() {
    // No runtime and no AWS SDK: each of its parsers can be fuzzed by itself.
    let allowed = [
        "policies",
        // Digests and signatures.
        "aws-lc-rs",
        // What keys are kept in: wiped when they go.
        "secrecy",
        "jiff",
        "serde",
        "serde_json",
        "thiserror",
        // Forms.
        "url",
        // For its tests alone.
        "expect-test",
    ];
    for dependency in &dependencies()["questions"] {
        assert!(allowed.contains(&dependency.as_str()), "questions depends on {dependency}");
    }
}

/// `needle` occurs in these files (by path prefix) and in no other Rust file.
fn check_only_in(needle: &str, places: &[&str]) {
    let root = place::root();
    for path in files(&root, &[".rs"]) {
        let name = path.strip_prefix(&root).unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        if text.contains(needle) && name != "tests/tests/workspace.rs" {
            assert!(places.iter().any(|place| name.starts_with(place)), "{name} names `{needle}`");
        }
    }
}

#[test]
fn each_outside_thing_is_named_in_one_place() {
    check_only_in("aws_sdk_", &["gate/src/aws/"]);
    check_only_in("aws_config", &["gate/src/aws/"]);
    check_only_in("rusqlite", &["gate/src/journal/sqlite"]);
    check_only_in(
        "SELECT ",
        &["gate/src/journal/sqlite", "gate/src/journal/tests.rs", "tests/src/gate.rs"],
    );
    check_only_in("figment", &["gate/src/config.rs"]);
    check_only_in("prometheus::", &["gate/src/telemetry/metrics", "gate/src/web.rs"]);
    check_only_in(
        "opentelemetry",
        &["gate/src/telemetry/traces.rs", "tests/tests/e2e/observability.rs"],
    );
    check_only_in("hdrhistogram", &["policies/src/histogram"]);
    check_only_in("annotate_snippets", &["policies/src/document/fault.rs"]);
    check_only_in("lambda_runtime::", &["gate/src/cli/relay"]);
    check_only_in("aws_sigv4", &["gate/src/aws/"]);
    check_only_in("aws_credential_types", &["gate/src/aws/"]);
    check_only_in(" regex::", &["policies/src/selector.rs", "policies/src/plan/compare.rs"]);
    check_only_in("jsonschema::", &["policies/src/plan/compare.rs"]);
    check_only_in("serde_json_path::", &["policies/src/plan/compare.rs"]);
    check_only_in("cookie_store", &["probes/src/cookies.rs"]);
    check_only_in("tungstenite", &["probes/src/websocket.rs", "probes/tests/"]);
    check_only_in("x509_parser", &["probes/src/connect.rs"]);
    check_only_in(
        "flate2",
        &["probes/src/compress.rs", "probes/tests/", "gate/src/journal/shared/items.rs"],
    );
    check_only_in("nom_openmetrics", &["probes/src/scrape/line.rs"]);
    check_only_in("askama", &["gate/src/web"]);
    check_only_in("tokio_rustls", &["gate/src/tls.rs", "probes/"]);
}

#[test]
fn there_is_one_http_stack_and_one_tls_stack() {
    let metadata = metadata();
    // Of `http` the SDK for CloudWatch names the types of an older version as well, and nothing that speaks.
    for name in ["hyper", "rustls", "h2", "tokio"] {
        let packages = metadata["packages"].as_array().unwrap().iter();
        let versions: Vec<&Value> = packages
            .filter(|package| package["name"] == name)
            .map(|package| &package["version"])
            .collect();
        assert_eq!(versions.len(), 1, "{name}: {versions:?}");
    }
}

#[test]
fn every_metric_is_in_the_docs_and_no_other() {
    let code = read("gate/src/telemetry/metrics.rs");
    let named = |text: &str, quote: char| -> Vec<String> {
        let words = text.split(quote).filter(|word| word.starts_with("gate_"));
        let mut words: Vec<String> =
            words.filter(|w| !w.contains([' ', '{'])).map(str::to_owned).collect();
        words.sort();
        words.dedup();
        words
    };
    assert_eq!(named(&code, '"'), named(&read("docs/metrics.md"), '`'));
}

/// Fenced blocks of a language in a document.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    text.split(&fence).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

#[test]
fn every_policy_in_the_docs_is_a_good_policy() {
    let mut checked = 0;
    for path in
        ["README.md", "docs/policy.md", "docs/aws.md", "docs/statistics.md", "docs/import.md"]
    {
        for block in
            blocks(&read(path), "yaml").iter().filter(|block| block.starts_with("gate: v1"))
        {
            let file = policies::PolicyFile::parse(path, block);
            // A warning is fine: the docs show what this version does not perform yet, and say so.
            let faults: Vec<String> = file.errors().map(policies::Fault::one_line).collect();
            assert!(faults.is_empty(), "{faults:#?}\n{block}");
            checked += 1;
        }
    }
    assert!(checked >= 3, "only {checked} policies found in the docs");
}

#[test]
fn every_command_in_the_readme_exists() {
    let makefile = read("Makefile");
    let readme = read("README.md");
    let mut checked = 0;
    for line in blocks(&readme, "sh").iter().flat_map(|block| block.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["make", target, ..] => {
                assert!(makefile.contains(&format!("\n{target}:")), "no target for `{line}`");
                checked += 1;
            }
            ["gate", command, rest @ ..] => {
                // Of a command with commands of its own, theirs have the flags.
                let more = rest.first().filter(|_| *command == "journal");
                let output = Command::new(place::binary("gate"))
                    .arg(command)
                    .args(more)
                    .arg("--help")
                    .output()
                    .unwrap();
                let help = String::from_utf8_lossy(&output.stdout).into_owned();
                assert!(output.status.success(), "`{line}`");
                for flag in rest.iter().filter(|word| word.starts_with("--")) {
                    assert!(help.contains(flag), "`{flag}` of `{line}` is not in its --help");
                }
                checked += 1;
            }
            _ => {}
        }
    }
    assert!(checked >= 4, "only {checked} commands found in the README");
}

#[test]
fn every_setting_of_the_environment_is_documented() {
    let operations = read("docs/operations.md");
    for variable in [
        "GATE_POLICIES",
        "GATE_HOOKS_LISTEN",
        "GATE_HOOKS_KEYS",
        "GATE_OVERRIDES_TOKENS",
        "GATE_OVERRIDE_TOKEN",
        "GATE_CA_FILE",
        "GATE_ADMIN_LISTEN",
        "GATE_JOURNAL_PATH",
        "GATE_JOURNAL_KEEP",
        "GATE_JOURNAL_MAX_SIZE",
        "GATE_JOURNAL_TABLE",
        "GATE_MODE",
        "GATE_UNMATCHED",
        "GATE_AWS_ENDPOINT",
        "GATE_AWS_QUOTA_SHARE",
        "GATE_INTAKE_QUEUE",
        "GATE_CONFIG",
        "GATE_PROFILE",
        "GATE_LOG",
        "GATE_URL",
        "GATE_QUEUE",
        "GATE_HOOK_KEY",
        "GATE_RELAY_PATIENCE",
        "GATE_UNREACHABLE",
    ] {
        assert!(operations.contains(variable), "{variable} is not in docs/operations.md");
    }
}

#[test]
fn every_limit_in_the_docs_is_a_constant_of_the_code() {
    let code: String = files(&place::root(), &[".rs"])
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    let operations = read("docs/operations.md");
    let mut checked = 0;
    for word in operations.split('`') {
        if is_a_limit(word) {
            assert!(code.contains(&format!("const {word}:")), "{word} is no constant");
            checked += 1;
        }
    }
    assert!(checked > 40, "only {checked} limits found");
    // In the table each stands before the file that it is defined in.
    let limits = operations.split("\n## ").find(|section| section.starts_with("Limits\n")).unwrap();
    for line in limits.lines().filter(|line| line.starts_with("| ")) {
        let mut nameless = Vec::new();
        for (place, part) in line.split('|').nth(3).unwrap().split('`').enumerate() {
            if place % 2 == 1 {
                nameless.push(part);
            } else if let Some(file) = part.split_whitespace().find(|word| word.contains(".rs")) {
                let file = file.trim_end_matches(',');
                let text = read(file);
                for word in nameless.drain(..) {
                    assert!(text.contains(&format!("const {word}:")), "{word} is not in {file}");
                }
            }
        }
        assert!(nameless.is_empty(), "where is {nameless:?}?");
    }
}

/// Whether a word in code quotes is the name of a limit, and not of a variable of the environment.
fn is_a_limit(word: &str) -> bool {
    let constant = word.len() > 4 && word.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
    let others = ["AWS_", "GATE_", "OTEL_", "HOOK_KEY", "ECS_"];
    constant && !others.iter().any(|of| word.starts_with(of))
}

/// Actions of a section of the page of permissions, which a test of gate's holds to the calls it makes; of all
/// sections where none is named.
fn permitted(section: Option<&str>) -> BTreeSet<String> {
    let page = read("docs/permissions.md");
    let of = |title: &str| section.is_none_or(|section| section == title);
    page.split("\n## ")
        .filter(|text| of(text.lines().next().unwrap()))
        .flat_map(str::lines)
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(action, _)| action.to_owned())
        .filter(|action| action.contains(':'))
        .collect()
}

/// What a file to apply allows, the actions of services that gate itself does not call left out.
fn allowed(file: &str) -> BTreeSet<String> {
    let policy: Value = serde_json::from_str(&read(&format!("deploy/{file}"))).unwrap();
    let statements = policy["Statement"].as_array().unwrap().iter();
    let allowing = statements.filter(|statement| statement["Effect"] == "Allow");
    let actions = allowing.flat_map(|statement| match &statement["Action"] {
        Value::Array(actions) => actions.clone(),
        action => vec![action.clone()],
    });
    let others = ["logs:", "ec2:", "elasticfilesystem:"];
    actions
        .map(|action| action.as_str().unwrap().to_owned())
        .filter(|action| !others.iter().any(|other| action.starts_with(other)))
        .collect()
}

#[test]
fn the_permissions_to_apply_are_the_calls_gate_makes_and_no_other() {
    let calls = permitted(None);
    assert!(calls.len() > 40, "{calls:?}");
    for path in files(&place::root().join("deploy"), &[".json"]) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("iam-") {
            for action in allowed(&name) {
                assert!(
                    calls.contains(&action),
                    "{name} allows {action}, which gate does not call"
                );
            }
        }
    }
    for (file, section) in [
        ("iam-policy.json", "CodeDeploy on ECS"),
        ("iam-lambda.json", "CodeDeploy on Lambda"),
        ("iam-ecs.json", "ECS blue/green, linear and canary"),
        ("iam-pipeline.json", "CodePipeline"),
        ("iam-cloudwatch.json", "CloudWatch metrics and alarms"),
        ("iam-queue.json", "Questions from a queue"),
        ("iam-replicas.json", "More than one gate"),
        ("iam-secrets.json", "Secrets"),
        ("iam-protection.json", "Task protection"),
        ("iam-policy-relay.json", "The relay"),
    ] {
        assert_eq!(allowed(file), permitted(Some(section)), "{file}");
    }
    // Only what `gate doctor` reads beside the calls that it tries.
    assert!(allowed("iam-doctor.json").is_subset(&permitted(Some("`gate doctor`"))));
}

#[test]
fn everything_to_apply_can_be_read() {
    let root = place::root();
    for path in files(&root.join("deploy"), &[".json"]) {
        let text = fs::read_to_string(&path).unwrap();
        let parsed: Result<Value, _> = serde_json::from_str(&text);
        assert!(parsed.is_ok(), "{}: {parsed:?}", path.display());
    }
    // Its folder and its key are elsewhere; nothing else is wrong with it.
    let output = Command::new(place::binary("gate"))
        .args(["serve", "--config", "deploy/gate.yaml", "--profile", "prod"])
        .current_dir(&root)
        .env_remove("HOOK_KEY")
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(shown.matches("\n  - ").count(), 2, "{shown}");
    assert!(shown.contains("`HOOK_KEY` is not set") && shown.contains("is no folder"), "{shown}");
}

#[test]
fn every_test_that_the_table_names_exists() {
    for table in ["tests/README.md", "docs/aws-faults.md"] {
        check_named_tests(table);
    }
}

/// Every test that a page names, with its file before it, exists.
fn check_named_tests(page: &str) {
    let table = read(page);
    let mut module = "";
    for name in table.split('`').skip(1).step_by(2) {
        let (in_module, name) = name.split_once("::").unwrap_or((module, name));
        if !name.contains('_') || name.contains(['/', ' ']) || name.starts_with("gate_") {
            continue;
        }
        module = in_module;
        let tests = read(&format!("tests/tests/e2e/{module}.rs"));
        let mut names = tests.lines().filter_map(|line| line.strip_prefix("async fn "));
        // `…` stands for any part of a name.
        let parts: Vec<_> = name.split('…').collect();
        let fits = |found: &str| {
            let rest = parts
                .iter()
                .try_fold(found, |rest, part| rest.split_once(part).map(|(_before, rest)| rest));
            rest.is_some_and(|rest| name.ends_with('…') || rest == "()")
        };
        let found = names.any(|found| fits(found.split(" {").next().unwrap_or_default()));
        assert!(found, "{module}::{name} is in {page} alone");
    }
}

/// The routes of gate, as the code names them: nothing else takes anything from anybody. Their inputs are in SECURITY.md.
#[test]
fn every_route_is_known_and_said_to_take_no_url_no_command_and_no_file_name() {
    let root = place::root();
    let mut routes = BTreeSet::new();
    for path in files(&root, &[".rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        let is_gates = path.strip_prefix(&root).unwrap().starts_with("gate/src");
        for part in text.split(".route(").skip(1).filter(|_| is_gates) {
            let name = part.split([',', ')']).next().unwrap_or_default();
            routes.extend((!name.is_empty()).then(|| name.trim_matches('"').to_owned()));
        }
    }
    let hooks = read("gate/questions/src/hooks.rs");
    let security = read("SECURITY.md");
    let mut expected = BTreeSet::new();
    for (constant, path) in [
        ("CODEDEPLOY_PATH", "/hooks/codedeploy"),
        ("CODEPIPELINE_PATH", "/hooks/codepipeline"),
        ("ECS_PATH", "/hooks/ecs"),
    ] {
        assert!(hooks.contains(&format!("const {constant}: &str = \"{path}\"")), "{constant}");
        assert!(security.contains(&format!("`{path}`")), "{path} is not in SECURITY.md");
        expected.insert(constant.to_owned());
    }
    for path in [
        "/",
        "/evaluations",
        "/evaluations/{id}",
        "/evaluations/{id}/override",
        "/evaluations/{id}/record",
        "/healthz",
        "/metrics",
        "/readyz",
        "/snapshot",
    ] {
        assert!(security.contains(&format!("`{path}`")), "{path} is not in SECURITY.md");
        expected.insert(path.to_owned());
    }
    assert_eq!(routes, expected);
}

#[test]
fn every_test_of_a_misbehaving_target_exists() {
    let page = read("docs/troubleshooting.md");
    let table = page.split("\n## ").find(|section| section.starts_with("What a misbehaving"));
    let rows: Vec<&str> = table.unwrap().lines().filter(|line| line.starts_with("| ")).collect();
    let mut checked = 0;
    for row in rows.iter().skip(1) {
        let tests = row.rsplit('|').nth(1).unwrap();
        if tests.trim() == "the same" {
            continue;
        }
        let mut words = tests.split('`').skip(1).step_by(2);
        while let Some(word) = words.next() {
            let (file, name) = match word.split_once("::") {
                Some((file, name)) => (format!("tests/{file}.rs"), name),
                None => (words.next().unwrap().to_owned(), word),
            };
            let text = read(&format!("probes/{file}"));
            assert!(text.contains(&format!("async fn {name}()")), "{name} is not in {file}");
            checked += 1;
        }
        let outcomes = row.split('|').nth(2).unwrap().split('`').skip(1).step_by(2);
        for outcome in outcomes.filter(|word| *word != "redirects") {
            assert!(policies::Outcome::ALL.iter().any(|one| one.name() == outcome), "{outcome}");
        }
    }
    assert!(checked >= 35, "only {checked} tests found");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let root = place::root();
    for path in files(&root, &[".md"]) {
        let text = fs::read_to_string(&path).unwrap();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap();
            if target.is_empty() || target.contains("://") {
                continue;
            }
            let linked = path.parent().unwrap().join(target);
            assert!(linked.exists(), "{} links to {target}", path.display());
        }
    }
}

#[test]
fn files_stay_small_enough_to_read() {
    let root = place::root();
    for path in files(&root, &[".rs", ".py", ".html"]) {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        let most = if name.contains("tests/") { 600 } else { 560 };
        assert!(lines <= most, "{name} has {lines} lines");
    }
}

#[test]
fn a_file_opens_with_a_sentence_that_says_what_it_is_for() {
    let root = place::root();
    for path in files(&root, &[".rs"]) {
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("//! "), "{} does not", path.display());
    }
}
