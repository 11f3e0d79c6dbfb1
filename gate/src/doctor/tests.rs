//! Findings about set-ups that are right but for one thing.

mod judged;
mod permitted;
mod wired;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use expect_test::{Expect, expect};
use policies::Answer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::aws::OnDemand;
use crate::aws::codedeploy::{DeploymentTarget, FunctionTarget, GroupFacts};
use crate::aws::ecs::{Pause, ServiceFacts};
use crate::aws::fake::{FakeAws, forwards, registered};
use crate::aws::functions::{AliasFacts, FunctionFacts};
use crate::aws::identity::Caller;
use crate::aws::measurements::{AlarmFacts, Series};
use crate::aws::pipelines::{ActionFacts, PipelineFacts};
use crate::config::{Mode, Polled};
use crate::telemetry::Metrics;

const POLICY: &str = "gate: v1
applies-to: { application: web }
probe: { http: { path: /healthz } }
objectives:
  - errors: { at-most: 0.5% }
";

/// What one case changes.
struct Setup {
    aws: FakeAws,
    settings: Settings,
    settings_are_named: bool,
    patient: Patient,
    policies: Vec<(&'static str, String)>,
    relay: Option<String>,
    gate: Option<String>,
}

/// A deployment group of ECS as it should be, its tasks at a port that takes connections.
fn group(port: u16) -> Setup {
    let mut aws = FakeAws::new();
    aws.facts.status = "Succeeded".into();
    aws.caller = Some(Caller {
        account: "123456789012".into(),
        arn: "arn:aws:sts::123456789012:assumed-role/gate/task".into(),
    });
    aws.clock_ahead_seconds = Some(1);
    for targets in aws.health.values_mut() {
        *targets = vec![registered("127.0.0.1", "healthy", None)];
        targets[0].port = port;
    }
    for group in aws.groups.values_mut() {
        let name = group.arn.trim_start_matches("arn:").to_owned();
        group.arn = format!("arn:aws:elasticloadbalancing:r:1:targetgroup/{name}/1");
        group.load_balancer =
            Some("arn:aws:elasticloadbalancing:r:1:loadbalancer/app/web/2".into());
    }
    aws.health = aws
        .health
        .into_iter()
        .map(|(arn, targets)| (aws.groups[arn.trim_start_matches("arn:")].arn.clone(), targets))
        .collect();
    let arn = |name: &str| aws.groups[name].arn.clone();
    let (blue, green) = (arn("web-blue"), arn("web-green"));
    aws.listeners.get_mut("arn:test").unwrap().forwards_to = forwards(&blue);
    aws.listeners.get_mut("arn:prod").unwrap().forwards_to = forwards(&green);
    let group = GroupFacts {
        platform: "ECS".into(),
        services: vec!["prod:web".into()],
        rolls_back_on_failure: true,
        production_listener: Some("arn:prod".into()),
        test_listener: Some("arn:test".into()),
        target_groups: vec!["web-blue".into(), "web-green".into()],
        config: Some("CodeDeployDefault.ECSAllAtOnce".into()),
        last_deployment: Some("d-1".into()),
        ..GroupFacts::default()
    };
    aws.deployment_groups.insert("web-group".into(), group);
    let service = ServiceFacts { controller: "CODE_DEPLOY".into(), ..ServiceFacts::default() };
    aws.services.insert("web".into(), service);
    let relay = FunctionFacts {
        role: Some("arn:aws:iam::123456789012:role/relay".into()),
        timeout_seconds: 90,
        environment: vec!["GATE_URL".into(), "GATE_HOOK_KEY".into()],
        ..FunctionFacts::default()
    };
    aws.functions.insert("CodeDeployHook_gate".into(), relay);
    Setup {
        aws,
        settings: Settings::default(),
        settings_are_named: true,
        patient: Patient::Group { application: "web".into(), group: "web-group".into() },
        policies: vec![("web.policy.yaml", POLICY.to_owned())],
        relay: Some("CodeDeployHook_gate".into()),
        gate: None,
    }
}

impl Setup {
    fn group(&mut self) -> &mut GroupFacts {
        self.aws.deployment_groups.get_mut("web-group").unwrap()
    }

    fn service(&mut self) -> &mut ServiceFacts {
        self.aws.services.get_mut("web").unwrap()
    }

    fn relay(&mut self) -> &mut FunctionFacts {
        self.aws.functions.get_mut("CodeDeployHook_gate").unwrap()
    }

    fn policy(&mut self, more: &str) {
        self.policies = vec![("web.policy.yaml", format!("{POLICY}{more}"))];
    }
}

/// A service that ECS deploys by itself, with a pause.
fn service(setup: &mut Setup) {
    setup.patient = Patient::Service { cluster: "prod".into(), service: "web".into() };
    setup.relay = None;
    let pause = Pause {
        stages: vec!["POST_TEST_TRAFFIC_SHIFT".into()],
        timeout_minutes: Some(60),
        timeout_action: Some("ROLLBACK".into()),
    };
    *setup.service() = ServiceFacts {
        arn: "arn:aws:ecs:eu-west-1:123456789012:service/prod/web".into(),
        controller: "ECS".into(),
        strategy: "BLUE_GREEN".into(),
        pauses: vec![pause],
        production_rules: vec!["arn:prod".into()],
        test_rules: vec!["arn:test".into()],
        target_groups: ["web-blue", "web-green"]
            .map(|name| setup.aws.groups[name].arn.clone())
            .into(),
        ..ServiceFacts::default()
    };
    setup.policies = vec![("web.policy.yaml", POLICY.replace("application: web", "service: web"))];
    setup.settings.intake.poll = vec![Polled {
        cluster: Some("prod".into()),
        service: Some("web".into()),
        ..Polled::default()
    }];
}

/// A function that CodeDeploy deploys.
fn function(setup: &mut Setup) {
    setup.group().platform = "Lambda".into();
    setup.aws.target = Some(DeploymentTarget::Function(FunctionTarget {
        events: Vec::new(),
        function: "checkout".into(),
        alias: "live".into(),
        current_version: Some("41".into()),
        target_version: Some("42".into()),
    }));
    setup.aws.aliases.insert("checkout:live".into(), AliasFacts::default());
}

/// A pipeline with a manual approval.
fn pipeline(setup: &mut Setup) {
    setup.patient = Patient::Pipeline { name: "web".into() };
    setup.relay = None;
    let approval = ActionFacts {
        stage: "Release".into(),
        name: "Approve".into(),
        provider: "Manual".into(),
        configuration: vec![("CustomData".into(), "gate:web".into())],
    };
    let pipeline = PipelineFacts { mode: "QUEUED".into(), actions: vec![approval] };
    setup.aws.pipelines.insert("web".into(), pipeline);
    setup.settings.intake.queue =
        Some("https://sqs.eu-west-1.amazonaws.com/123456789012/gate".into());
}

/// A folder that goes away with its owner.
struct Folder(PathBuf);

impl Folder {
    fn new(files: &[(&str, String)]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("gate-doctor-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        for (name, text) in files {
            std::fs::write(path.join(name), text).unwrap();
        }
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

async fn report(change: impl FnOnce(&mut Setup)) -> Report {
    let open = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut setup = group(open.local_addr().unwrap().port());
    change(&mut setup);
    let folder = Folder::new(&setup.policies);
    setup.settings.policies.clone_from(&folder.0);
    let aws: Arc<dyn Aws> = Arc::new(setup.aws);
    let metrics = Arc::new(Metrics::new().unwrap());
    let clouds = Clouds::only(Arc::clone(&aws));
    let visit = Visit {
        vault: Vault::new(OnDemand::made(clouds, Arc::clone(&metrics)), metrics),
        patient: setup.patient,
        clouds: Clouds::only(Arc::clone(&aws)),
        aws,
        library: Library::new(folder.0.clone()),
        settings: setup.settings,
        settings_are_named: setup.settings_are_named,
        policies_are_named: true,
        settings_faults: Vec::new(),
        has_endpoint: false,
        relay: setup.relay,
        gate: setup.gate,
        until: Instant::now() + Duration::from_secs(20),
        call_within: Duration::from_secs(5),
        connect_within: Duration::from_secs(2),
        notes: Notes::default(),
    };
    let mut report = examine(&visit).await;
    for finding in &mut report.findings {
        let here = folder.0.display().to_string();
        for text in [&mut finding.fix, &mut finding.why].into_iter().flatten() {
            *text = text.replace(&here, "FOLDER");
        }
        let port = open.local_addr().unwrap().port().to_string();
        finding.what = finding.what.replace(&port, "PORT").replace(&here, "FOLDER");
    }
    report
}

/// The findings of one area, each by its level and its sentence.
async fn check(area: Area, change: impl FnOnce(&mut Setup), expected: Expect) {
    let report = report(change).await;
    let of = report.findings.iter().filter(|finding| finding.area == area);
    let lines: Vec<String> =
        of.map(|finding| format!("{}: {}", finding.level.name(), finding.what)).collect();
    expected.assert_eq(&lines.join("\n"));
}

/// Every refusal and how to mend it.
async fn check_denied(change: impl FnOnce(&mut Setup), denied: &[Call], expected: Expect) {
    let report = report(|setup| {
        change(setup);
        setup.aws.failures = denied.iter().map(|call| (*call, Failure::Denied)).collect();
    })
    .await;
    let bad = report.findings.iter().filter(|finding| {
        finding.area == Area::Permissions && !matches!(finding.level, Level::Ok | Level::Untested)
    });
    let lines: Vec<String> = bad
        .map(|finding| {
            let fix = finding.fix.clone().unwrap_or_default();
            format!("{}: {}\n  {fix}", finding.level.name(), finding.what)
        })
        .collect();
    expected.assert_eq(&lines.join("\n"));
}

#[tokio::test]
async fn a_set_up_that_is_right_has_nothing_to_mend() {
    let report = report(|_| {}).await;
    expect![[r#"
        deployment group web-group of application web

        ok        subject      deployment group web-group of application web: ECS, service prod:web
        ok        rollback     a failed hook rolls back: DEPLOYMENT_FAILURE is set
        ok        listeners    prod:web is deployed by CodeDeploy
        ok        listeners    the production listener web.elb:80 forwards to web-green
        ok        listeners    the test listener web.elb:9000 forwards to web-blue
        ok        relay        the relay CodeDeployHook_gate is there, with a time-out of 90 s
        untested  relay        whether CodeDeployHook_gate may answer by itself
                               why: its role is not the one this runs with
                               fix: aws iam simulate-principal-policy --policy-source-arn arn:aws:iam::123456789012:role/relay --action-names codedeploy:PutLifecycleEventHookExecutionStatus
        ok        policy       web.policy.yaml judges at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic
        ok        targets      127.0.0.1:PORT of web-blue takes connections
        ok        targets      127.0.0.1:PORT of web-green takes connections
        untested  daemon       whether the daemon answers
                               why: nobody said where it is
                               fix: --gate http://gate.internal:9090, where operators look
        ok        credentials  gate runs as arn:aws:sts::123456789012:assumed-role/gate/task in eu-west-1
        ok        permissions  CodeDeploy on ECS: not refused: GetDeployment, ListDeploymentTargets, BatchGetDeploymentTargets, GetDeploymentConfig, PutLifecycleEventHookExecutionStatus, StopDeployment, DescribeTargetGroups, DescribeTargetHealth, DescribeListeners, DescribeLoadBalancers, DescribeRules, ListTasks, DescribeTaskSets
        untested  permissions  CodeDeploy on ECS: not known: DescribeTasks
                               why: there is nothing to try it on
                               fix: aws iam simulate-principal-policy --policy-source-arn arn:aws:iam::123456789012:role/gate --action-names ecs:DescribeTasks
        ok        endpoints    these answer: codedeploy, ecs, elasticloadbalancing, lambda, sts
        ok        clock        the clock is within 60 s of AWS's

        13 ok, 0 warnings, 0 errors, 3 untested"#]].assert_eq(&report.text());
}

#[tokio::test]
async fn what_programs_read_has_a_fixed_form() {
    let report = report(|setup| setup.group().rolls_back_on_failure = false).await;
    let json = serde_json::to_value(&report).unwrap();
    expect![[r#"
        {
          "errors": 0,
          "ok": 12,
          "untested": 3,
          "warnings": 1
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&json["summary"]).unwrap());
    let rollback = json["findings"].as_array().unwrap().iter();
    let rollback: Vec<_> = rollback.filter(|finding| finding["area"] == "rollback").collect();
    expect![[r#"
        [
          {
            "area": "rollback",
            "fix": "aws deploy update-deployment-group --application-name web --current-deployment-group-name web-group --auto-rollback-configuration enabled=true,events=DEPLOYMENT_FAILURE",
            "level": "warning",
            "what": "a failed hook rolls nothing back: the group has no auto rollback on DEPLOYMENT_FAILURE",
            "why": "gate stops the deployment with rollback instead, which needs codedeploy:StopDeployment; the relay, where gate is away, only fails the hook"
          }
        ]"#]].assert_eq(&serde_json::to_string_pretty(&rollback).unwrap());
}

#[tokio::test]
async fn whether_it_is_there_comes_first() {
    check(Area::Subject, |setup| setup.aws.deployment_groups.clear(), expect!["error: there is no deployment group web-group of application web in this account and region"]).await;
    check(
        Area::Subject,
        |setup| setup.aws.failures = [(Call::GetDeploymentGroup, Failure::Denied)].into(),
        expect![
            "untested: how deployment group web-group of application web is set up is not known"
        ],
    )
    .await;
    check(
        Area::Subject,
        |setup| setup.group().last_deployment = None,
        expect![[r#"
        ok: deployment group web-group of application web: ECS, service prod:web
        untested: nothing was deployed yet"#]],
    )
    .await;
    check(
        Area::Subject,
        function,
        expect!["ok: deployment group web-group of application web: Lambda, function checkout"],
    )
    .await;
    check(
        Area::Subject,
        service,
        expect!["ok: service web of cluster prod: controller ECS, BLUE_GREEN"],
    )
    .await;
    check(Area::Subject, pipeline, expect!["ok: pipeline web: 1 actions, mode QUEUED"]).await;
}

#[tokio::test]
async fn a_refused_release_must_be_rolled_back() {
    let broken = |setup: &mut Setup| setup.group().rolls_back_on_failure = false;
    check(Area::Rollback, broken, expect!["warning: a failed hook rolls nothing back: the group has no auto rollback on DEPLOYMENT_FAILURE"]).await;
    let helpless = |setup: &mut Setup| {
        setup.group().rolls_back_on_failure = false;
        setup.aws.failures = [(Call::StopDeployment, Failure::Denied)].into();
    };
    check(Area::Rollback, helpless, expect![[r#"
        warning: a failed hook rolls nothing back: the group has no auto rollback on DEPLOYMENT_FAILURE
        error: a release that is refused is not rolled back"#]]).await;
}
