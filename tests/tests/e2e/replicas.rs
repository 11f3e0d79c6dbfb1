//! Several gates on one table: to whoever asks they are one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tests::place::{self, Folder};
use tests::{Gate, Person, eventually};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::{AWS, LIMIT, POLICY, accepted, finished, shell};

/// Two gates that share a table of this name.
async fn two(name: &str) -> [Gate; 2] {
    two_with(name, POLICY, "").await
}

async fn two_with(name: &str, policy: &str, settings: &str) -> [Gate; 2] {
    Person::of(&AWS.endpoint).make_table(name).await;
    let gate = || Gate::new(&AWS.endpoint, name).policy(policy).settings(settings).shared(name);
    let token = |gate: Gate| gate.env("TEAM_TOKEN", TOKEN).start();
    [token(gate()).await, token(gate()).await]
}

const TOKEN: &str = "a token of the whole team";

pub(crate) fn ticks(seen: &Value) -> Vec<u64> {
    let series = seen["series"].as_array().unwrap();
    series.iter().map(|point| point["tick"].as_u64().unwrap()).collect()
}

/// A load balancer before two gates: it is told of each connection which of them has it, and hangs up on those there are
/// when it is told to.
async fn balancer(
    gates: &[Gate; 2],
    hang_up: &Arc<Notify>,
    mut choose: impl FnMut() -> usize + Send + 'static,
) -> (JoinHandle<()>, String) {
    let listener = TcpListener::bind((place::address(), 8080)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let behind: Vec<String> = gates.iter().map(|gate| gate.url().replace("http://", "")).collect();
    let hang_up = Arc::clone(hang_up);
    let serving = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            let (address, hang_up) = (behind[choose() % 2].clone(), Arc::clone(&hang_up));
            tokio::spawn(async move {
                let Ok(mut gate) = TcpStream::connect(address).await else { return };
                tokio::select! {
                    _ = copy_bidirectional(&mut client, &mut gate) => {}
                    () = hang_up.notified() => {}
                }
            });
        }
    });
    (serving, url)
}

#[tokio::test]
async fn a_gate_that_stops_gives_its_question_to_another_with_the_evidence() {
    let [mut one, other] = two("shared").await;
    let site = AWS.site("shared", &one.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let seen = eventually(LIMIT, async || {
        other.evaluation(&id).await.filter(|seen| ticks(seen).len() >= 2)
    });
    let before = ticks(&seen.await.unwrap_or_else(|| panic!("not seen: {}", other.logged())));
    assert_eq!(one.stop().await, Some(0), "{}", one.logged());
    let (outcome, deployment) = finished(&other, &id).await;
    assert_eq!(outcome["decision"], "continue", "{outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{deployment:#}");
    let after = ticks(&outcome);
    assert!(after.starts_with(&before), "evidence goes along: {before:?} {after:?}");
    assert!(after.windows(2).all(|pair| pair[0] < pair[1]), "no tick counts twice: {after:?}");
    one.restart().await;
    let listed = one.evaluations().await;
    assert_eq!(listed.len(), 1, "{listed:#?}");
    assert_eq!(one.outcome(&id, LIMIT).await["reason"], outcome["reason"]);
}

#[tokio::test]
async fn whoever_polls_may_come_to_any_gate() {
    let gates = two("balanced").await;
    let turns = AtomicUsize::new(0);
    let (balancing, url) =
        balancer(&gates, &Arc::default(), move || turns.fetch_add(1, Ordering::Relaxed)).await;
    let service = AWS.hooked_service("balanced", (&url, "POST_TEST_TRAFFIC_SHIFT"), &[]).await;
    let deployed = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    let id = service.first.rsplit('/').next().unwrap();
    for gate in &gates {
        let outcome = gate.outcome(id, LIMIT).await;
        assert_eq!(outcome["delivery"]["delivery"], "confirmed", "{outcome:#}");
        assert_eq!(gate.evaluations().await.len(), 1, "it is one question");
    }
    balancing.abort();
}

#[tokio::test]
async fn a_further_question_that_another_gate_judges_takes_over_the_watch() {
    let policy = format!("{POLICY}watch: {{ until: end-of-deployment, window: 60s }}\n");
    let gates = two_with("watched", &policy, "").await;
    let chosen = Arc::new(AtomicUsize::new(0));
    let (choice, hang_up) = (Arc::clone(&chosen), Arc::default());
    let (balancing, url) = balancer(&gates, &hang_up, move || choice.load(Ordering::Relaxed)).await;
    let site = AWS.site("watched", &url, &[], &[]).await;
    let deployment = site.deploy_with_hooks(&[], "AfterAllowTestTraffic,BeforeAllowTraffic").await;
    let asked = eventually(LIMIT, async || gates[0].evaluation(&deployment).await).await;
    asked.expect("the first question is asked");
    chosen.store(1, Ordering::Relaxed);
    // The relay keeps its connection for the next hook.
    hang_up.notify_waiters();
    AWS.until(&deployment, &super::ENDED, LIMIT).await;
    let ends = eventually(LIMIT, async || {
        let mut ends = Vec::new();
        for listed in gates[0].evaluations().await {
            let url = format!("{}/evaluations/{}", gates[0].url(), listed["id"].as_str()?);
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
    for gate in &gates {
        let judged = gate.logged().matches("question accepted").count();
        assert_eq!(judged, 1, "each judges one: {}", gate.logged());
    }
    balancing.abort();
}

/// Says something of a question to this gate: status and body of what is answered.
async fn say(gate: &Gate, id: &str, said: &Value) -> (u16, Value) {
    let url = format!("{}/evaluations/{id}/override", gate.url());
    let bearer = format!("Bearer {TOKEN}");
    let headers = [("content-type", "application/json"), ("authorization", &*bearer)];
    let answer = tests::http::send("POST", &url, &headers, &said.to_string()).await;
    let answer = answer.expect("an answer");
    (answer.status, answer.json())
}

#[tokio::test]
async fn an_override_told_to_a_gate_that_does_not_judge_is_in_force_at_the_one_that_does() {
    let tokens = "overrides: { tokens: [ { secret: 'env:TEAM_TOKEN' } ] }\n";
    let [one, other] = two_with("through", POLICY, tokens).await;
    let site = AWS.site("through", &one.url(), &[], &[]).await;
    let deployment = site.deploy(&[]).await;
    let seen = eventually(LIMIT, async || other.evaluation(&deployment).await).await;
    let id = seen.expect("it is asked")["id"].as_str().unwrap().to_owned();
    let hold = json!({ "action": "hold", "by": "bob", "reason": "a look", "for": "10m" });
    let (status, held) = say(&other, &id, &hold).await;
    assert_eq!((status, &held["held"]["by"]), (200, &json!("bob")), "{held:#}");
    let seen = one.evaluation(&deployment).await.expect("it is judged there");
    assert_eq!(seen["held"]["reason"], "a look", "{seen:#}");
    let page = format!("{}/evaluations/{id}/override", other.url());
    let form = format!("action=rollback&by=bob&reason=the+wrong+branch&for=&token={TOKEN}");
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    let sent = tests::http::send("POST", &page, &headers, &form.replace(' ', "+")).await.unwrap();
    assert_eq!(sent.status, 303, "{}", sent.text);
    let (outcome, deployed) = finished(&one, &deployment).await;
    assert_eq!((&outcome["basis"], &deployed["status"]), (&json!("overridden"), &json!("Failed")));
    assert_eq!(accepted(&deployed).len(), 1, "{deployed:#}");
    let (status, late) = say(&other, &id, &hold).await;
    assert_eq!((status, &late["error"]), (409, &json!("it is decided already: rollback")));
}

/// What a start says that ends with exit code 2.
async fn refused(table: &str) -> String {
    let folder = Folder::new("no-table");
    let path = folder.path().join("gate.yaml");
    let settings = format!(
        "policies: {}\njournal: {{ dynamodb: {{ table: {table} }} }}\n\
         hooks: {{ listen: \"127.0.0.1:0\" }}\nadmin: {{ listen: \"127.0.0.1:0\" }}\n",
        folder.path().display()
    );
    std::fs::write(&path, settings).unwrap();
    let output = shell::asking("no-table", &["serve", "--config", path.to_str().unwrap()]).await;
    assert_eq!(output.status.code(), Some(2));
    shell::text(&output.stderr)
}

#[tokio::test]
async fn a_table_that_is_no_journal_ends_the_start_in_words() {
    let said = refused("nowhere").await;
    assert!(said.contains("DescribeTable of nowhere failed: ResourceNotFoundException"), "{said}");
    let other = json!({
        "TableName": "other", "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "id", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "id", "KeyType": "HASH" }],
    });
    AWS.call("dynamodb", "CreateTable", other).await;
    let said = refused("other").await;
    assert!(said.contains("its keys are not `question` (S) and `entry` (N)"), "{said}");
}
