//! `make demo`: a bad and a good release through CodeDeploy's hook, live, on this machine alone.

use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;
use tests::{EmulatedAws, Gate, Site, eventually, place};

/// Any secret will do; both sides get it from their environment.
const KEY: &str = "demo-key-demo-key-demo-key";
/// From the deployment to the answer: a minute of observation, and time to start tasks.
const LIMIT: Duration = Duration::from_secs(240);

#[tokio::main]
async fn main() -> ExitCode {
    let keep = std::env::var("KEEP").is_ok_and(|keep| keep == "1");
    println!("Starting the emulated AWS, gate, and a service `web` with two blue tasks …");
    let aws = if keep { EmulatedAws::start_kept() } else { EmulatedAws::start(&[]) };
    let policy = std::fs::read_to_string(place::root().join("deploy/policies/web.policy.yaml"));
    let gate = Gate::new(&aws.endpoint, "demo-gate")
        .policy_named("web.policy.yaml", &policy.expect("the sample policy"))
        .env("HOOK_KEY", KEY)
        .env("GATE_HOOKS_KEYS", "env:HOOK_KEY")
        .start()
        .await;
    let key = format!("HOOK_KEY={KEY}");
    let keys = ["--function-env", "GATE_HOOK_KEY=env:HOOK_KEY", "--function-env", &key];
    let site = aws.site("web", &gate.url(), &[], &keys).await;
    println!("  AWS API     {}", aws.endpoint);
    println!("  gate        {}/evaluations", gate.url());
    println!(
        "  policy      deploy/policies/web.policy.yaml: at most 0.5 % errors, p99 at most 250 ms\n"
    );

    let bad = release(
        &aws,
        &gate,
        &site,
        "bad release: green fails 5 % of its requests",
        &["--errors", "5%"],
    )
    .await;
    let good = release(&aws, &gate, &site, "good release: green is healthy", &[]).await;

    let mut right = true;
    for (name, outcome, answer, status) in [
        ("bad release", &bad, "rollback", "Failed"),
        ("good release", &good, "continue", "Succeeded"),
    ] {
        right &= outcome.answer == answer && outcome.status == status;
        let url = format!("{}/evaluations/{}", gate.url(), outcome.id);
        let saved = save_page(&url, name).await;
        println!("{name}'s page: {url}, saved as {saved}");
    }
    if keep {
        // Dropped, it would be deleted.
        std::mem::forget(site);
        leave_running(aws, gate);
    }
    println!("good release: {}", good.answer);
    println!("bad release: {}", bad.answer);
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Outcome {
    id: String,
    answer: String,
    status: String,
}

async fn release(
    aws: &EmulatedAws,
    gate: &Gate,
    site: &Site<'_>,
    title: &str,
    green: &[&str],
) -> Outcome {
    println!("== {title}");
    let deployment = site.deploy(green).await;
    println!("   CodeDeploy deployment {deployment}; its AfterAllowTestTraffic hook will ask");
    let mut shown = String::new();
    let outcome = eventually(LIMIT, async || {
        let seen = gate.evaluation(&deployment).await?;
        let line = live(&seen);
        if line != shown {
            println!("   {line}");
            shown = line;
        }
        (seen["phase"] == "done").then_some(seen)
    });
    let Some(outcome) = outcome.await else {
        println!("   no answer within {LIMIT:?}\n{}", gate.logged());
        return Outcome { id: String::new(), answer: "none".to_owned(), status: "none".to_owned() };
    };
    println!("   decision: {}", text(&outcome["decision"]));
    println!("   reason: {}", text(&outcome["reason"]));
    let ended = aws.until(&deployment, &["Succeeded", "Failed", "Stopped"], LIMIT).await;
    let status = text(&ended["status"]);
    println!("   CodeDeploy: {deployment} {status}");
    if let Some(rollback) =
        eventually(Duration::from_secs(10), async || rolled_back(aws, &deployment).await)
            .await
            .filter(|_| status == "Failed")
    {
        let seen = aws.until(&rollback, &["Succeeded", "Failed", "Stopped"], LIMIT).await;
        println!(
            "   rolled back by deployment {rollback}: {}; traffic is on blue",
            text(&seen["status"])
        );
    }
    println!();
    Outcome { id: text(&outcome["id"]), answer: text(&outcome["decision"]), status }
}

/// Id of the deployment that rolled this one back; an empty one where it did not fail.
async fn rolled_back(aws: &EmulatedAws, deployment: &str) -> Option<String> {
    let seen = aws.deployment(deployment).await;
    if seen["status"] != "Failed" {
        return Some(String::new());
    }
    seen["rollback_id"].as_str().map(str::to_owned)
}

/// One line of where a run is.
fn live(seen: &Value) -> String {
    let total = &seen["green"]["total"];
    let Some(point) = seen["series"].as_array().and_then(|series| series.last()) else {
        return format!("{:<9}", text(&seen["phase"]));
    };
    let odds = |key: &str| policies::verdict::odds(point[key].as_f64().unwrap_or(0.0));
    let p99 = Duration::from_secs_f64(total["latency_seconds"]["p99"].as_f64().unwrap_or(0.0));
    format!(
        "{:<9} tick {:>2}: {:>4} probes of green, {:>2} bad, p99 {}; evidence rollback {}, continue {}",
        text(&seen["phase"]),
        point["tick"],
        total["judged"],
        total["bad"],
        policies::units::spell(p99),
        odds("log_rollback"),
        odds("log_continue"),
    )
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or("none").to_owned()
}

/// Keeps a page for when its gate is gone; the path as seen from the checkout.
async fn save_page(url: &str, name: &str) -> String {
    let path = format!("target/demo/{}.html", name.replace(' ', "-"));
    if let Some(page) = tests::http::send("GET", url, &[("accept", "text/html")], "").await {
        let whole = place::root().join(&path);
        let folder = whole.parent().expect("a folder");
        std::fs::create_dir_all(folder).expect("the build directory is writable");
        std::fs::write(&whole, page.text).expect("the build directory is writable");
    }
    path
}

/// Lets go of everything without ending it, and says how to end it.
fn leave_running(aws: EmulatedAws, gate: Gate) {
    let pids = format!("{} {}\n", aws.pid(), gate.pid());
    let path = place::root().join("target/demo.pids");
    std::fs::write(path, pids).expect("the build directory is writable");
    std::mem::forget(aws);
    std::mem::forget(gate);
    println!("left running; `make demo-stop` ends it");
}
