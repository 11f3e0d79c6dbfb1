//! Deployments that nobody asks about in every case: watched in silence, or vetoed.

use serde_json::{Value, json};
use tests::{Gate, Site, eventually};

use super::matrix::{Befalls, FAULTY, QUICK, calls, check_metric, queue, throttle, told, watched};
use super::matrix_codedeploy::{event, rollback_of};
use super::{AWS, ENDED, LIMIT};

const CANARY: [&str; 2] = ["--deployment-config", "CodeDeployDefault.ECSCanary10Percent5Minutes"];

fn policy(quick: &str) -> String {
    format!("{quick}watch: {{ until: end-of-deployment, window: 60s }}\n")
}

/// A site whose deployments are heard of by their events alone, and its gate.
pub(crate) async fn heard<'a>(endpoint: &str, key: &str, count: &str) -> (Site<'a>, Gate) {
    let events = format!("{key}-events");
    let more = [&["--events-queue", &events, "--count", count], &CANARY[..]].concat();
    let site = AWS.site(key, "http://127.0.0.1:1", &[], &more).await;
    let settings = queue(site.made["queue_url"].as_str().unwrap());
    let befalls = if count == "0" { Befalls::NoTargets } else { Befalls::Throttling };
    let policy = policy(&befalls.policy(QUICK));
    let gate = Gate::new(endpoint, key).policy(&policy).settings(&settings);
    (site, gate.start().await)
}

pub(crate) fn ended(watch: &Value) -> &str {
    watch["watch"]["ended"].as_str().unwrap_or("it never began")
}

#[tokio::test]
async fn a_deployment_that_is_watched_and_not_vetoed() {
    let healthy = async {
        let (site, gate) = heard(&AWS.endpoint, "watch-healthy", "1").await;
        let id = site.deploy_with_hooks(&[], "").await;
        let url = site.made["queue_url"].as_str().unwrap();
        let begun = eventually(LIMIT, async || gate.evaluation(&id).await.map(drop));
        begun.await.expect("it is heard of");
        AWS.send(url, &event(&id, "START")).await;
        let watch = watched(&gate, &id).await;
        assert_eq!(ended(&watch), "the deployment is Succeeded", "{watch:#}");
        assert_eq!(told(&watch), ["none"; 3], "nobody asked: {watch:#}");
        let seen = &watch["watch"]["objectives"][0]["counts"]["total"];
        assert!(seen.as_u64().is_some_and(|probes| probes > 100), "{watch:#}");
        assert_eq!(gate.evaluations().await.len(), 1, "it is watched once");
        check_metric(&gate, r#"kind="watch",outcome="joined"} 1"#).await;
        assert_eq!(calls("StopDeployment", "watch-healthy").await, (0, 0));

        // Heard of when all is over, there is nothing to watch.
        let late = Gate::new(&AWS.endpoint, "watch-late").policy(&policy(QUICK));
        drop(gate);
        let late = late.settings(&queue(url)).start().await;
        AWS.send(url, &event(&id, "START")).await;
        let watch = watched(&late, &id).await;
        assert_eq!(ended(&watch), "it never began", "{watch:#}");
        assert!(watch["timeline"].to_string().contains("the deployment is Succeeded"), "{watch:#}");
    };
    let empty = async {
        let (site, gate) = heard(&AWS.endpoint, "watch-empty", "0").await;
        let id = site.deploy_with_hooks(&[], "").await;
        let deployment = AWS.until(&id, &ENDED, LIMIT).await;
        assert_eq!(deployment["status"], "Succeeded", "no data is no veto: {deployment:#}");
        let watch = watched(&gate, &id).await;
        assert_eq!(ended(&watch), "it never began", "{watch:#}");
        assert_eq!(calls("StopDeployment", "watch-empty").await, (0, 0));
    };
    tokio::join!(healthy, empty);
}

#[tokio::test]
async fn a_veto_in_every_other_case() {
    let check = async |key: &str, throttled: bool| {
        let (site, gate) = heard(&AWS.endpoint, key, "1").await;
        if throttled {
            throttle(key).await;
            AWS.fault(json!({
                "operation": "StopDeployment", "access_key": key, "error": "ThrottlingException",
                "count": 4,
            }))
            .await;
        } else {
            // It is over before the veto arrives.
            let error = "DeploymentAlreadyCompletedException";
            AWS.fault(json!({ "operation": "StopDeployment", "access_key": key, "error": error }))
                .await;
        }
        let id = site.deploy_with_hooks(&FAULTY, "").await;
        let watch = watched(&gate, &id).await;
        assert!(watch["watch"]["veto"].is_string(), "{watch:#}");
        let (accepted, refused) = calls("StopDeployment", key).await;
        if !throttled {
            assert_eq!(ended(&watch), "veto already completed", "{watch:#}");
            assert_eq!((accepted, refused), (0, 1), "tried, and let go");
            return;
        }
        assert_eq!(ended(&watch), "veto deployment stopped with rollback", "{watch:#}");
        // Pending, and then done.
        assert_eq!((accepted, refused), (2, 6));
        let calls = AWS.all_requests(key).await;
        for operation in ["GetDeployment", "BatchGetDeploymentTargets", "DescribeTargetHealth"] {
            let of = |call: &&Value| {
                call["operation"] == operation && call["error"] == "ThrottlingException"
            };
            assert_eq!(calls.iter().filter(of).count(), 2, "{operation}");
        }
        // The rollback begins as any other deployment does, and is not watched.
        let rollback = rollback_of(&id).await;
        let watch = watched(&gate, &rollback).await;
        assert_eq!(ended(&watch), "it never began", "{watch:#}");
        let deployment = AWS.until(&rollback, &ENDED, LIMIT).await;
        assert_eq!(deployment["status"], "Succeeded", "{deployment:#}");
    };
    tokio::join!(check("veto-throttled", true), check("veto-late", false));
}

#[tokio::test]
async fn a_function_that_nobody_asks_about_is_vetoed() {
    const INVOKED: &str = "
gate: v1
probe: { lambda: { payload: '{}' }, rate: 10/s, timeout: 5s }
objectives: [ { errors: { at-most: 10%, unacceptable: 30% } } ]
decide: { at-least: 2s, deadline: 2m }
";
    let key = "veto-function";
    let function = AWS.function(key, "http://127.0.0.1:1", &["--events-queue", key]).await;
    let settings = queue(function.made["queue_url"].as_str().unwrap());
    let gate = Gate::new(&AWS.endpoint, key).policy(&policy(INVOKED)).settings(&settings);
    let gate = gate.start().await;
    let canary = ["--config", "CodeDeployDefault.LambdaCanary10Percent10Minutes"];
    let id = function.deploy(&["NAME=new", "FAIL_EVERY=2"], &canary).await;
    let deployment = AWS.until(&id, &ENDED, LIMIT).await;
    assert_eq!(deployment["status"], "Stopped", "{deployment:#}");
    let watch = watched(&gate, &id).await;
    assert_eq!(ended(&watch), "veto deployment stopped with rollback", "{watch:#}");
}

#[tokio::test]
async fn services_that_nobody_asks_about_are_watched_from_their_first_deployment_on() {
    let key = "unasked";
    // Six seconds of AWS's minute each: time to look, and to be convinced.
    let service = AWS.service(key, &[], &["--bake-minutes", "3", "--count", "1"]).await;
    let rule = json!({
        "Name": "unasked-begins",
        "EventPattern": json!({
            "source": ["aws.ecs"], "detail-type": ["ECS Deployment State Change"],
            "resources": [service.made["service_arn"]],
        }).to_string(),
    });
    let settings = format!(
        "intake: {{ queue: \"{}\", poll: [ {} ] }}\n",
        service.queue,
        service.polled().replace(" }", ", watch: true }")
    );
    let gate = Gate::new(&AWS.endpoint, key).policy(&policy(QUICK)).settings(&settings);
    let gate = gate.start().await;
    let id = |arn: &str| arn.rsplit('/').next().unwrap().to_owned();
    AWS.call("events", "PutRule", rule).await;
    let arn = AWS.call(
        "sqs",
        "GetQueueAttributes",
        json!({
            "QueueUrl": service.queue, "AttributeNames": ["QueueArn"],
        }),
    );
    let arn = arn.await["Attributes"]["QueueArn"].clone();
    let targets = json!({ "Rule": "unasked-begins", "Targets": [{ "Id": "queue", "Arn": arn }] });
    AWS.call("events", "PutTargets", targets).await;

    let first = AWS.service_deployed(&service.first, LIMIT).await;
    assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
    let watch = watched(&gate, &id(&service.first)).await;
    assert_eq!(ended(&watch), "the deployment is SUCCESSFUL", "{watch:#}");
    assert!(watch["blue"].is_null(), "a first deployment has no blue: {watch:#}");

    let arn = service.deploy(&FAULTY).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "ROLLBACK_SUCCESSFUL", "{deployed:#}");
    let watch = watched(&gate, &id(&arn)).await;
    assert_eq!(ended(&watch), "veto deployment stopped with rollback", "{watch:#}");
    assert_eq!(calls("StopServiceDeployment", key).await, (1, 0));
    assert_eq!(calls("ContinueServiceDeployment", key).await, (0, 0));

    // ECS will not stop what is over: said so for as long as it lasts, and let go then.
    AWS.fault(json!({
        "operation": "StopServiceDeployment", "access_key": key, "error": "ConflictException",
    }))
    .await;
    let arn = service.deploy(&FAULTY).await;
    let deployed = AWS.service_deployed(&arn, LIMIT).await;
    assert_eq!(deployed["status"], "SUCCESSFUL", "{deployed:#}");
    let watch = watched(&gate, &id(&arn)).await;
    assert_eq!(ended(&watch), "veto already completed", "{watch:#}");
}
