//! Judging on after Continue, while CodeDeploy shifts traffic: silence, or a veto.

use tests::{Gate, eventually};

use super::matrix::check_metric;
use super::{AWS, ENDED, LIMIT};

/// [`super::POLICY`], watched on.
fn policy() -> String {
    format!("{}watch: {{ until: end-of-deployment, window: 60s }}\n", super::POLICY)
}

/// A tenth of the traffic for five minutes of AWS: half a minute here.
const CANARY: [&str; 2] = ["--deployment-config", "CodeDeployDefault.ECSCanary10Percent5Minutes"];

#[tokio::test]
async fn a_release_that_breaks_while_traffic_shifts_is_vetoed() {
    let gate = Gate::new(&AWS.endpoint, "veto").policy(&policy()).start().await;
    let site = AWS.site("veto", &gate.url(), &[], &CANARY).await;
    // Each task answers 20 probes a second: good for the 8 s of the question, gone in the shift.
    let id = site.deploy(&["--unreachable-after", "400"]).await;
    let outcome = gate.outcome(&id, LIMIT).await;
    assert_eq!((&outcome["decision"], &outcome["basis"]), (&"continue".into(), &"proven".into()));
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Stopped", "{outcome:#}");
    assert!(deployment["rollback_id"].is_string(), "{deployment:#}");
    let veto = outcome["watch"]["veto"].as_str().unwrap_or_else(|| panic!("{outcome:#}"));
    assert!(veto.contains("`errors at most 2 %` is broken"), "{veto}");
    assert_eq!(outcome["watch"]["ended"], "veto deployment stopped with rollback");
    for line in [
        r#"gate_watches_total{application="veto",outcome="veto"} 1"#,
        r#"gate_decisions_total{answer="continue",application="veto",delivery="confirmed",reason="proven"} 1"#,
    ] {
        check_metric(&gate, line).await;
    }
    let url = format!("{}/evaluations/{}", gate.url(), outcome["id"].as_str().unwrap());
    let page = tests::http::send("GET", &url, &[("accept", "text/html")], "").await.unwrap().text;
    assert!(page.contains("Watch after the answer") && page.contains("Vetoed"), "{page}");
}

#[tokio::test]
async fn a_healthy_release_is_watched_in_silence_over_a_restart() {
    let mut gate = Gate::new(&AWS.endpoint, "silent").policy(&policy()).start().await;
    let site = AWS.site("silent", &gate.url(), &[], &CANARY).await;
    let id = site.deploy(&[]).await;
    let watching = eventually(LIMIT, async || {
        gate.evaluation(&id).await.filter(|seen| seen["phase"] == "watching").map(drop)
    });
    watching.await.expect("it is watched");
    gate.kill();
    gate.restart().await;
    let outcome = gate.outcome(&id, LIMIT).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Succeeded", "{outcome:#}");
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(outcome["watch"]["ended"], "the deployment is Succeeded", "{outcome:#}");
    assert!(outcome["watch"]["veto"].is_null(), "{outcome:#}");
}

#[tokio::test]
async fn a_further_question_of_the_deployment_takes_over_its_watch() {
    let gate = Gate::new(&AWS.endpoint, "taken").policy(&policy()).start().await;
    let site = AWS.site("taken", &gate.url(), &[], &[]).await;
    let id = site.deploy_with_hooks(&[], "AfterAllowTestTraffic,BeforeAllowTraffic").await;
    AWS.until(&id, &ENDED, LIMIT).await;
    let ends = eventually(LIMIT, async || {
        let all = gate.evaluations().await;
        let details: Vec<_> =
            all.iter().filter_map(|listed| listed["id"].as_str().map(str::to_owned)).collect();
        let mut ends = Vec::new();
        for evaluation in details {
            let url = format!("{}/evaluations/{evaluation}", gate.url());
            let seen = tests::http::get(&url).await?.json();
            ends.push(seen["watch"]["ended"].as_str()?.to_owned());
        }
        (ends.len() == 2).then_some(ends)
    });
    let mut ends = ends.await.expect("both watches end");
    ends.sort();
    assert_eq!(
        ends,
        ["another question of the deployment took over", "the deployment is Succeeded"]
    );
}
