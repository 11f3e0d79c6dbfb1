//! Everything that can go wrong on the way to AWS: what passes changes nothing, what lasts ends in the stated
//! fallback by AWS's fault, and never by the release's. `docs/aws-faults.md` has the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::faults::Seen;
use tests::{Endpoint, Faults, Gate, Manner, Misdeed, Rule, Site, eventually, http};
use tokio::sync::Mutex;

use super::matrix::{QUICK, check_metric, queue, told};
use super::{AWS, ENDED, LIMIT, accepted, finished, reason, signals};

pub(crate) const PUT: &str = "PutLifecycleEventHookExecutionStatus";
/// Who has no answer by now is answered by the fallback: the deadline where no policy is known.
const LATE: Duration = Duration::from_secs(597);

/// A healthy release that waits for the answer of its hook: what gates answer never gets there, so that any number of them
/// may be asked about it.
pub(crate) struct Standing {
    _site: Site<'static>,
    made: Instant,
    pub(crate) deployment: String,
    token: String,
}

/// CodeDeploy's patience with a hook is 360 s here.
const STANDS_FOR: Duration = Duration::from_secs(180);

/// The one that stands.
pub(crate) async fn standing() -> Arc<Standing> {
    static NEWEST: Mutex<Option<Arc<Standing>>> = Mutex::const_new(None);
    let mut newest = NEWEST.lock().await;
    if let Some(standing) = newest.as_ref().filter(|made| made.made.elapsed() < STANDS_FOR) {
        return Arc::clone(standing);
    }
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("standing-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
    let (_way, gate) = spoilt(&name, &calm(), Vec::new()).await;
    let gate = gate.start().await;
    let site = AWS.site(&name, &gate.url(), &[], &[]).await;
    let deployment = site.deploy(&[]).await;
    // The relay has done its part.
    gate.outcome(&deployment, LIMIT).await;
    let seen = AWS.deployment(&deployment).await;
    let token = seen["hooks"][0]["execution_id"].as_str().expect("its hook is asked").to_owned();
    let made = Arc::new(Standing { _site: site, made: Instant::now(), deployment, token });
    *newest = Some(Arc::clone(&made));
    made
}

/// [`QUICK`], for many gates at once.
pub(crate) fn calm() -> String {
    QUICK.replace("rate: 40/s }", "rate: 20/s }")
}

/// [`calm`], with what a probe needs beside its rate.
fn probing(more: &str) -> String {
    QUICK.replace("rate: 40/s }", &format!("rate: 20/s, {more} }}"))
}

impl Standing {
    /// What the relay would send.
    fn hook(&self) -> Value {
        json!({ "DeploymentId": self.deployment, "LifecycleEventHookExecutionId": self.token })
    }

    /// Asks a gate about it.
    pub(crate) async fn ask(&self, gate: &Gate) {
        let url = format!("{}/hooks/codedeploy", gate.url());
        let answer = http::post(&url, &self.hook()).await.expect("gate takes it");
        assert_eq!(answer.status, 202, "{}", answer.text);
    }
}

/// A gate on a way of its own, whose answer goes nowhere.
pub(crate) async fn spoilt(name: &str, policy: &str, rules: Vec<Rule>) -> (Faults, Gate) {
    let way = Faults::start(&AWS.endpoint, [Rule::of(PUT, Misdeed::Swallowed)]).await;
    rules.into_iter().for_each(|rule| way.add(rule));
    let gate = Gate::new(&way.url, name).policy(policy);
    (way, gate)
}

/// Checks that a gate lets a healthy release go on, whatever goes wrong with these calls.
pub(crate) async fn check_continues(name: &str, policy: &str, rules: Vec<Rule>) -> (Faults, Value) {
    let standing = standing().await;
    let (way, gate) = spoilt(name, policy, rules).await;
    let gate = gate.start().await;
    standing.ask(&gate).await;
    let outcome = gate.outcome(&standing.deployment, LIMIT).await;
    assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{name}: {outcome:#}");
    (way, outcome)
}

/// How often something went wrong with a call.
pub(crate) fn spoilt_calls(seen: &[Seen]) -> usize {
    seen.iter().filter(|seen| seen.misdeed.is_some_and(|m| m != Misdeed::Swallowed)).count()
}

/// Of each call of these operations (`*`: of any) the first go wrong, each in the next of these ways.
pub(crate) fn first(operation: &'static str, misdeeds: &[Misdeed]) -> Vec<Rule> {
    misdeeds.iter().map(|misdeed| Rule::of(operation, *misdeed).times(1)).collect()
}

#[tokio::test]
async fn faults_that_pass_change_nothing() {
    use Misdeed::*;
    let silent = [first("GetDeployment", &[Silence]), first("DescribeTargetHealth", &[Silence])];
    let slow = [first("BatchGetDeploymentTargets", &[Slow]), first("DescribeListeners", &[Slow])];
    let cases = [
        ("throttled-then-500", first("*", &[Throttles, Status(500)])),
        ("resets", first("*", &[ResetBefore, ResetAfter])),
        ("half-and-garbage", first("*", &[Half, Garbage])),
        ("expired-then-503", first("*", &[Refuses("ExpiredTokenException"), Status(503)])),
        ("empty", first("*", &[Empty])),
        ("silent-and-slow", [silent, slow].concat().concat()),
    ];
    join_all(cases.map(async |(name, rules)| {
        let (way, _) = check_continues(name, &calm(), rules).await;
        for operation in ["GetDeployment", "BatchGetDeploymentTargets", "DescribeTargetHealth"] {
            assert!(spoilt_calls(&way.seen(operation)) > 0, "{name}: {operation} went well");
        }
    }))
    .await;
}

#[tokio::test]
async fn what_nobody_has_heard_of_and_what_is_missing_is_lived_with() {
    use Misdeed::*;
    let unheard_of = vec![
        Rule::of("GetDeployment", Unknown(&["status", "computePlatform", "creator"])),
        Rule::of("BatchGetDeploymentTargets", Unknown(&["deploymentTargetType"])),
        Rule::of("DescribeTargetHealth", Unknown(&["State", "Reason"])),
        Rule::of("DescribeTargetGroups", Unknown(&["IpAddressType", "HealthCheckProtocol"])),
    ];
    let facts = &[
        "autoRollbackConfiguration",
        "blueGreenDeploymentConfiguration",
        "computePlatform",
        "createTime",
        "creator",
        "deploymentConfigName",
        "deploymentStyle",
        "loadBalancerInfo",
        "status",
    ];
    let missing = vec![
        Rule::of("GetDeployment", Without(facts)),
        Rule::of("BatchGetDeploymentTargets", Without(&["lastUpdatedAt", "trafficWeight"])),
        Rule::of("DescribeTargetHealth", Without(&["Reason", "Description", "HealthCheckPort"])),
        Rule::of("DescribeTargetGroups", Without(&["ProtocolVersion", "LoadBalancerArns"])),
    ];
    let shift = vec![Rule::of("GetDeploymentConfig", Without(&["trafficRoutingConfig"]))];
    let cases = [("unheard-of", unheard_of), ("missing", missing), ("missing-shift", shift)];
    let checks = cases.map(async |(name, rules)| check_continues(name, &calm(), rules).await);
    join_all(checks).await;
}

#[tokio::test]
async fn faults_that_last_end_in_the_fallback_by_the_fault_of_aws() {
    use Misdeed::*;
    let secret = probing("headers: { x-token: { secret: 'ssm:/faults/lost' } }");
    let cases = [
        ("ever-throttled", "GetDeployment", Throttles, "ThrottlingException"),
        ("ever-500", "GetDeployment", Status(500), "Http500"),
        ("ever-reset-before", "GetDeployment", ResetBefore, "Unreachable"),
        ("ever-reset", "GetDeployment", ResetAfter, "GetDeployment"),
        ("ever-silent", "GetDeployment", Silence, "Unreachable"),
        ("ever-half", "GetDeployment", Half, "UnreadableAnswer"),
        ("ever-slow", "GetDeployment", Slow, "Unreachable"),
        ("ever-garbage", "GetDeployment", Garbage, "UnreadableAnswer"),
        ("ever-empty", "GetDeployment", Empty, "IncompleteAnswer"),
        (
            "ever-expired",
            "BatchGetDeploymentTargets",
            Refuses("ExpiredTokenException"),
            "ExpiredToken",
        ),
        (
            "ever-unlabelled",
            "BatchGetDeploymentTargets",
            Unknown(&["taskSetLabel"]),
            "no task set labelled Green",
        ),
        (
            "ever-statusless",
            "BatchGetDeploymentTargets",
            Unknown(&["status"]),
            "no lifecycle event",
        ),
        ("ever-throttled-xml", "DescribeTargetGroups", Throttles, "Throttling"),
        ("ever-garbage-xml", "DescribeTargetHealth", Garbage, "UnreadableAnswer"),
        ("ever-secretless", "GetParameter", Status(503), "Http503"),
    ];
    let standing = standing().await;
    join_all(cases.map(async |(name, operation, misdeed, named)| {
        let policy = if operation == "GetParameter" { secret.clone() } else { calm() };
        let (way, gate) = spoilt(name, &policy, vec![Rule::of(operation, misdeed)]).await;
        // What a setting says is what is answered, whichever it is.
        let fallback = if operation == "GetDeployment" { "continue" } else { "rollback" };
        let mut gate = gate.env("GATE_UNMATCHED", fallback).start().await;
        standing.ask(&gate).await;
        // Not only tried, but on disk: what is written after it is shown.
        let written = eventually(LIMIT, async || {
            let seen = gate.evaluation(&standing.deployment).await?;
            seen["timeline"].to_string().contains(named).then_some(())
        });
        written.await.unwrap_or_else(|| panic!("{name}: it is not told: {}", gate.logged()));
        assert!(!way.seen(operation).is_empty(), "{name}: {operation} is not asked");
        // The proxies of all others are served by this thread.
        let aged = tokio::task::spawn_blocking(move || {
            gate.kill_and_age(LATE);
            gate
        });
        let mut gate = aged.await.expect("it is aged");
        gate.restart().await;
        let outcome = gate.outcome(&standing.deployment, LIMIT).await;
        let [decision, basis, _] = told(&outcome);
        assert_eq!((decision, basis), (fallback, "unresolved"), "{name}: {outcome:#}");
        assert!(reason(&outcome).contains(named), "{name}: {}", reason(&outcome));
        assert!(
            outcome["green"].is_null() || outcome["green"]["total"]["judged"] == 0,
            "{name}: {outcome:#}"
        );
    }))
    .await;
}

#[tokio::test]
async fn faults_that_begin_while_gate_judges_keep_no_release_back() {
    use Misdeed::*;
    // Long enough to look at the deployment again, which happens every 10 s.
    let patient = calm().replace("at-least: 2s", "at-least: 14s");
    let cases = [
        ("then-throttled", Throttles),
        ("then-silent", Silence),
        ("then-garbage", Garbage),
        ("then-empty", Empty),
    ];
    join_all(cases.map(async |(name, misdeed)| {
        let reads = ["GetDeployment", "BatchGetDeploymentTargets", "DescribeTargetGroups"];
        let mut rules = reads.map(|operation| Rule::of(operation, misdeed).after(1)).to_vec();
        // Both arms have been looked up by then.
        rules[2] = Rule::of("DescribeTargetGroups", misdeed).after(2);
        let (way, _) = check_continues(name, &patient, rules).await;
        assert!(spoilt_calls(&way.seen("GetDeployment")) > 0, "{name}: nothing went wrong");
    }))
    .await;
}

#[tokio::test]
async fn an_answer_gets_there_once_whatever_happens_to_it() {
    use Misdeed::*;
    let refused = [Throttles, Status(500), Refuses("ExpiredTokenException"), ResetBefore, Silence];
    // What AWS did and could not say, it says when it is asked to do it again.
    let cases: [(&str, &[Misdeed], &str); 5] = [
        ("put-refused", &refused, "confirmed"),
        ("put-reset", &[ResetAfter, Status(503), ResetAfter], "already-completed"),
        ("put-half", &[Half, Throttles], "already-completed"),
        ("put-slow", &[Slow], "already-completed"),
        ("put-garbage", &[Garbage, Garbage], "already-completed"),
    ];
    join_all(cases.map(async |(name, misdeeds, expected)| {
        let way = Faults::start(&AWS.endpoint, first(PUT, misdeeds)).await;
        let gate = Gate::new(&way.url, name).policy(&calm()).start().await;
        let site = AWS.site(name, &gate.url(), &[], &[]).await;
        let id = site.deploy(&[]).await;
        let outcome = gate.outcome(&id, LIMIT).await;
        let deployment = AWS.until(&id, &ENDED, LIMIT).await;
        assert_eq!(deployment["status"], "Succeeded", "{name}: {deployment:#}");
        assert_eq!(accepted(&deployment).len(), 1, "{name}: {deployment:#}");
        assert_eq!(told(&outcome), ["continue", "proven", expected], "{name}: {outcome:#}");
    }))
    .await;
}

#[tokio::test]
async fn no_question_on_a_queue_is_lost() {
    use Misdeed::*;
    let standing = standing().await;
    let both = |receive: &[Misdeed], delete: &[Misdeed]| {
        [first("ReceiveMessage", receive), first("DeleteMessage", delete)].concat()
    };
    let cases = [
        ("sqs-throttled", both(&[Throttles, ResetBefore], &[Throttles, ResetAfter])),
        ("sqs-refused", both(&[Status(503), Refuses("ExpiredToken")], &[Garbage, Status(500)])),
        ("sqs-silent", both(&[], &[Silence])),
        ("sqs-lost", both(&[ResetAfter], &[])),
    ];
    join_all(cases.map(async |(name, rules)| {
        let url = AWS.queue(name).await;
        let body = standing.hook().to_string();
        AWS.call("sqs", "SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await;
        let (way, gate) = spoilt(name, &calm(), rules).await;
        let gate = gate.settings(&queue(&url)).start().await;
        if name == "sqs-lost" {
            // It was handed out and got lost on the way: the queue keeps it, and hands it out again after 60 s.
            let asks = || way.seen("ReceiveMessage").len();
            let again = eventually(LIMIT, async || (asks() > 1).then_some(()));
            again.await.expect("it asks again");
            assert_eq!(AWS.depth(&url).await, (0, 1), "{name}: it is held, and not gone");
            return;
        }
        let outcome = gate.outcome(&standing.deployment, LIMIT).await;
        assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{name}: {outcome:#}");
        let gone = eventually(LIMIT, async || (AWS.depth(&url).await == (0, 0)).then_some(()));
        gone.await.unwrap_or_else(|| panic!("{name}: it stays on the queue: {}", gate.logged()));
        assert_eq!(gate.evaluations().await.len(), 1, "{name}: it is one question");
    }))
    .await;
}

#[tokio::test]
async fn a_message_is_given_back_although_the_first_tries_fail() {
    let standing = standing().await;
    let url = AWS.queue("given-back").await;
    let body = standing.hook().to_string();
    AWS.call("sqs", "SendMessage", json!({ "QueueUrl": url, "MessageBody": body })).await;
    let rules = vec![Rule::of("ChangeMessageVisibility", Misdeed::Throttles).times(2)];
    let patient = super::matrix::patient(QUICK);
    let (way, gate) = spoilt("given-back", &patient, rules).await;
    let mut gate = gate.settings(&queue(&url)).start().await;
    let asked = eventually(LIMIT, async || gate.evaluation(&standing.deployment).await);
    asked.await.expect("it is taken");
    assert_eq!(gate.stop().await, Some(0), "{}", gate.logged());
    assert_eq!(AWS.depth(&url).await, (1, 0), "another gate may take it at once");
    assert_eq!(way.seen("ChangeMessageVisibility").len(), 3);
}

#[tokio::test]
async fn a_secret_is_read_although_the_first_tries_fail() {
    use Misdeed::*;
    let parameter = json!({ "Name": "/faults/token", "Value": "from SSM", "Type": "SecureString" });
    AWS.call("ssm", "PutParameter", parameter).await;
    let secret = json!({ "Name": "faults/token", "SecretString": "from Secrets Manager" });
    AWS.call("secretsmanager", "CreateSecret", secret).await;
    let policy = probing(
        "headers: { x-one: { secret: 'ssm:/faults/token' }, x-two: { secret: 'secretsmanager:faults/token' } }",
    );
    let cases: [(&str, &[Misdeed]); 4] = [
        ("secret-throttled", &[Throttles, Status(500)]),
        ("secret-reset", &[ResetAfter, Half]),
        ("secret-garbage", &[Garbage, Refuses("ExpiredTokenException")]),
        ("secret-empty", &[Empty]),
    ];
    join_all(cases.map(async |(name, misdeeds)| {
        let rules = [first("GetParameter", misdeeds), first("GetSecretValue", misdeeds)].concat();
        let (way, _) = check_continues(name, &policy, rules).await;
        for operation in ["GetParameter", "GetSecretValue"] {
            assert!(spoilt_calls(&way.seen(operation)) > 0, "{name}: {operation}");
        }
    }))
    .await;
}

#[tokio::test]
async fn a_topic_is_told_although_the_first_tries_fail_and_nothing_waits_for_it() {
    use Misdeed::*;
    let made = AWS.call("sns", "CreateTopic", json!({ "Name": "faults" })).await;
    let topic = made["TopicArn"].as_str().expect("an ARN");
    let policy = format!("{}notify: [ {{ sns: \"{topic}\" }} ]\n", calm());
    let cases = [
        ("sns-throttled", first("Publish", &[Throttles, Status(500)]), "sent"),
        ("sns-reset", first("Publish", &[ResetBefore, Garbage]), "sent"),
        ("sns-expired", vec![Rule::of("Publish", Refuses("ExpiredToken"))], "failed"),
    ];
    let standing = standing().await;
    join_all(cases.map(async |(name, rules, told_of)| {
        let (_way, gate) = spoilt(name, &policy, rules).await;
        let gate = gate.start().await;
        standing.ask(&gate).await;
        let outcome = gate.outcome(&standing.deployment, LIMIT).await;
        assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{name}: {outcome:#}");
        let line = format!("gate_notifications_total{{outcome=\"{told_of}\"}} 1\n");
        let counted = eventually(LIMIT, async || {
            let url = format!("{}/metrics", gate.admin());
            http::get(&url).await?.text.contains(&line).then_some(())
        });
        counted.await.unwrap_or_else(|| panic!("{name}: `{line}` never comes: {}", gate.logged()));
    }))
    .await;
}

/// Credentials as ECS hands them out, good for so long.
fn credentials(key: &str, seconds: i64) -> Manner {
    let script = format!(
        "import datetime; print((datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds={seconds})).strftime('%Y-%m-%dT%H:%M:%SZ'))"
    );
    let output = std::process::Command::new("python3").args(["-c", &script]).output();
    let expires = String::from_utf8(output.expect("python runs").stdout).expect("a date");
    let credentials = json!({
        "AccessKeyId": key, "SecretAccessKey": "emulated", "Token": "of a task", "Expiration": expires.trim(),
    });
    Manner::Says(200, credentials.to_string())
}

#[tokio::test]
async fn credentials_that_expire_are_renewed_and_the_answer_is_signed_with_the_new_ones() {
    let standing = standing().await;
    let cases = [("renewed", false), ("renewed-late", true)];
    join_all(cases.map(async |(name, is_late)| {
        // The SDK renews them 10 s before they expire; by then gate has started and looked.
        let agent = Endpoint::start(credentials("renewal-1", 25)).await;
        let expired = Misdeed::Refuses("ExpiredTokenException");
        let rules = vec![Rule::of("*", expired).signed_by("renewal-1").after(1)];
        let way = Faults::start(&AWS.endpoint, rules).await;
        way.add(Rule::of(PUT, Misdeed::Swallowed));
        let gate = Gate::new(&way.url, name).policy(&calm());
        let gate = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
            .into_iter()
            .fold(gate, Gate::without_env)
            .env("AWS_CONTAINER_CREDENTIALS_FULL_URI", &format!("{}/v2/credentials", agent.url));
        let gate = gate.start().await;
        standing.ask(&gate).await;
        let first =
            eventually(LIMIT, async || (!way.seen("GetDeployment").is_empty()).then_some(()));
        first.await.expect("it looks");
        if is_late {
            agent.now(Manner::Says(500, "no credentials just now".to_owned()));
            let asked = agent.asked().len();
            let again = eventually(LIMIT, async || (agent.asked().len() > asked).then_some(()));
            again.await.expect("it asks for others");
        }
        agent.now(credentials("renewal-2", 3600));
        let outcome = gate.outcome(&standing.deployment, LIMIT).await;
        assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{name}: {outcome:#}");
        assert!(outcome["timeline"].to_string().contains("ExpiredToken"), "{name}: {outcome:#}");
        let answers = way.seen(PUT);
        let signed: Vec<&str> = answers.iter().map(|seen| seen.access_key.as_str()).collect();
        assert_eq!(signed, ["renewal-2"], "{name}");
    }))
    .await;
}

/// A release continues although the clock of gate's machine is so many seconds ahead of AWS's.
async fn check_clock(name: &str, ahead_seconds: i64) {
    // Who of the two is wrong makes no difference to a signature, and the clock of this machine is everybody's.
    let shift = json!({ "access_key": name, "ahead_seconds": -ahead_seconds });
    AWS.control("clocks", &shift).await;
    let gate = Gate::new(&AWS.endpoint, name).policy(&calm()).start().await;
    let site = AWS.site(name, &gate.url(), &[], &[]).await;
    let id = site.deploy(&[]).await;
    let (outcome, deployment) = finished(&gate, &id).await;
    assert_eq!(told(&outcome), ["continue", "proven", "confirmed"], "{name}: {outcome:#}");
    assert_eq!(accepted(&deployment).len(), 1, "{name}: {deployment:#}");
    let asked = AWS.all_requests(name).await;
    let refused = asked.iter().filter(|call| call["error"] == "SignatureDoesNotMatch").count();
    assert!(refused > 0, "{name}: no signature was refused");
}

#[tokio::test]
async fn a_clock_an_hour_off_keeps_no_release_back() {
    tokio::join!(check_clock("clock-ahead", 3600), check_clock("clock-behind", -3600));
}

#[tokio::test]
async fn every_list_is_read_to_its_last_page() {
    use Misdeed::EmptyPage;
    let of_one = |key: &'static str, pages: &'static [(&'static str, &'static str)]| async move {
        for (operation, size) in pages {
            let fault =
                json!({ "operation": operation, "access_key": key, "params": { *size: 1 } });
            AWS.fault(fault).await;
        }
    };
    let codedeploy = async {
        of_one("paged", &[("DescribeRules", "PageSize"), ("DescribeAlarms", "MaxRecords")]).await;
        for name in ["faults-one", "faults-two"] {
            signals::alarm(name, "OK").await;
        }
        let alarms = "objectives: [ { alarms: { names: [ faults-one, faults-two ], for: 1s } },";
        let policy = calm().replace("objectives: [", alarms);
        let rules = vec![Rule::of("ListDeploymentTargets", EmptyPage)];
        let (way, _) = check_continues("paged", &policy, rules).await;
        for operation in ["ListDeploymentTargets", "DescribeRules", "DescribeAlarms"] {
            assert!(way.seen(operation).len() > 1, "{operation}");
        }
    };
    let ecs = async {
        let more = ["--pause", "POST_TEST_TRAFFIC_SHIFT"];
        let service = AWS.service("paged-ecs", &[], &more).await;
        let rules =
            [Rule::of("ListServiceDeployments", EmptyPage), Rule::of("ListTasks", EmptyPage)];
        let way = Faults::start(&AWS.endpoint, rules).await;
        let settings = format!("intake: {{ poll: [ {} ] }}\n", service.polled());
        let gate =
            Gate::new(&way.url, "paged-ecs").policy(&calm()).settings(&settings).start().await;
        let first = AWS.service_deployed(&service.first, LIMIT).await;
        assert_eq!(first["status"], "SUCCESSFUL", "{first:#}");
        assert_eq!(gate.evaluations().await.len(), 1);
    };
    tokio::join!(codedeploy, ecs);
}

#[tokio::test]
async fn a_hundred_runs_at_once_stay_under_the_budget_of_a_call_that_is_throttled() {
    let rules = [Rule::of("GetDeployment", Misdeed::Throttles)];
    let way = Faults::start(&AWS.endpoint, rules).await;
    let gate = Gate::new(&way.url, "budgeted").policy(&calm()).start().await;
    let ask = async |number: u32| {
        let url = format!("{}/hooks/codedeploy", gate.url());
        let hook = json!({
            "DeploymentId": format!("d-BUDGET{number:03}"), "LifecycleEventHookExecutionId": "token",
        });
        let answer = http::post(&url, &hook).await.expect("gate takes it");
        assert_eq!(answer.status, 202, "{}", answer.text);
    };
    join_all((0..100).map(ask)).await;
    const CALLS: usize = 160;
    let enough =
        eventually(LIMIT, async || (way.seen("GetDeployment").len() >= CALLS).then_some(()));
    enough.await.expect("each of them asks");
    let seen = way.seen("GetDeployment");
    // Half of 20 a second, and half of 100 at once: `Quota::Unpublished`.
    for (first, began) in seen.iter().enumerate() {
        for span in [1, 5] {
            let ends = began.at + Duration::from_secs(span);
            let within = seen[first..].iter().take_while(|seen| seen.at < ends).count() as u64;
            // What is sent on time may be held up on the way, and arrive together with what is sent a second later.
            assert!(within <= 50 + 10 * (span + 1), "{within} calls in {span} s");
        }
    }
    check_metric(&gate, "gate_aws_calls_delayed_total{operation=\"GetDeployment\"}").await;
}
