//! Ways to green through load balancers: of every kind, by address or not, by a rule or by the listener as a whole.

use serde_json::{Value, json};
use tests::Gate;

use super::{AWS, LIMIT, POLICY, finished, reason};

/// The routes by which an arm is probed.
fn routes(arm: &Value) -> Vec<&str> {
    let mut routes: Vec<&str> =
        arm.as_array().unwrap().iter().map(|target| target["route"].as_str().unwrap()).collect();
    routes.dedup();
    routes
}

/// A release that is healthy goes on and a faulty one goes back, both beside blue, reached in these ways.
async fn check(name: &str, via: &str, more: &[&str], expected: &[&str]) {
    let policy = POLICY.replace("rate: 40/s", &format!("rate: 40/s, via: {via}"));
    let gate = Gate::new(&AWS.endpoint, name).policy(&policy).start().await;
    let site = AWS.site(name, &gate.url(), &[], more).await;
    for (green, decision, status) in
        [(&[][..], "continue", "Succeeded"), (&["--errors", "60%"], "rollback", "Failed")]
    {
        let id = site.deploy(green).await;
        let (outcome, deployment) = finished(&gate, &id).await;
        let decided = (&outcome["decision"], &outcome["basis"]);
        assert_eq!(decided, (&json!(decision), &json!("proven")), "{name}: {outcome:#}");
        assert_eq!(deployment["status"], status, "{name}: {deployment:#}");
        let warnings = outcome["deployment"]["warnings"].as_array().map_or(0, Vec::len);
        assert_eq!(warnings, 0, "{name}: {outcome:#}");
        for arm in ["green", "blue"] {
            let probed = &outcome["deployment"][arm];
            assert_eq!(routes(probed), expected, "{name}: {arm} {probed:#}");
            let judged = outcome[arm]["total"]["judged"].as_u64();
            assert!(judged.is_some_and(|judged| judged > 0), "{name}: {arm} {outcome:#}");
        }
    }
}

#[tokio::test]
async fn behind_a_network_load_balancer_tasks_and_listeners_are_probed() {
    check("network", "both", &["--balancer", "network"], &["task", "listener"]).await;
}

#[tokio::test]
async fn instances_are_reached_by_their_listener() {
    check("instances", "auto", &["--targets", "instance"], &["listener"]).await;
}

#[tokio::test]
async fn instances_behind_a_network_load_balancer_are_reached_by_their_listener() {
    let more = ["--balancer", "network", "--targets", "instance"];
    check("network-instances", "auto", &more, &["listener"]).await;
}

/// As [`check`], of a service that ECS deploys by itself, by its listeners alone.
async fn check_service(name: &str, more: &[&str], green_id: &str) {
    let policy = POLICY.replace("rate: 40/s", "rate: 40/s, via: listener");
    let pause = ["--pause", "POST_TEST_TRAFFIC_SHIFT"];
    let service = AWS.service(name, &[], &[&pause, more].concat()).await;
    let settings = format!("intake: {{ queue: \"{}\" }}\n", service.queue);
    let gate = Gate::new(&AWS.endpoint, name).policy(&policy).settings(&settings).start().await;
    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{name}: {first:#}");
    let arn = service.deploy(&["--errors", "60%"]).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "ROLLBACK_SUCCESSFUL", "{name}: {deployed:#}");
    let outcome = gate.outcome(arn.rsplit('/').next().unwrap(), LIMIT).await;
    let decided = (&outcome["decision"], &outcome["basis"]);
    assert_eq!(decided, (&json!("rollback"), &json!("proven")), "{name}: {outcome:#}");
    assert!(reason(&outcome).contains("errors at most 2 %"), "{name}: {outcome:#}");
    let green = &outcome["deployment"]["green"];
    let listener = green.as_array().unwrap().iter().find(|target| target["route"] == "listener");
    let id = listener.unwrap_or_else(|| panic!("{name}: {green:#}"))["id"].as_str().unwrap();
    assert!(id.starts_with("listener ") && id.ends_with(green_id), "{name}: {id}");
}

#[tokio::test]
async fn a_service_behind_a_network_load_balancer_names_listeners_in_place_of_rules() {
    check_service("network-ecs", &["--balancer", "network"], "").await;
}

#[tokio::test]
async fn a_rule_of_the_test_listener_is_asked_for_its_own_host() {
    // Any other host is answered by the listener's default, which is blue.
    let more = ["--rule-host", "*.shop.test"];
    check_service("hosted", &more, " as gate.shop.test").await;
}
