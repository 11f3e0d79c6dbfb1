//! What is resolved from what AWS says, on each platform.

use expect_test::{Expect, expect};
use policies::{Stage, Target};

use super::codedeploy::ROLLBACK_CREATOR;
use super::*;
use crate::aws::codedeploy::{DeploymentTarget, FunctionTarget, Shift};
use crate::aws::ecs::{HookFacts, ServiceDeployment, ServiceRevision};
use crate::aws::fake::{FakeAws, events, forwards, registered};
use crate::aws::functions::AliasFacts;
use crate::aws::{Call, Failure};

/// Resolves a CodeDeploy deployment against an AWS changed by `change`, and shows what came of it.
async fn check(change: impl FnOnce(&mut FakeAws), expected: Expect) {
    check_of(Subject::CodeDeploy { id: "d-1".into() }, Purpose::Question, change, expected).await;
}

async fn check_of(
    subject: Subject,
    purpose: Purpose,
    change: impl FnOnce(&mut FakeAws),
    expected: Expect,
) {
    let mut aws = FakeAws::new();
    change(&mut aws);
    let shown = match Resolver::new(subject, Arc::default()).resolve(&aws, purpose).await {
        Ok(Resolved::Deployment(deployment)) => {
            let ids = |targets: &[Target]| {
                let ids: Vec<&str> = targets.iter().map(|target| target.id.as_str()).collect();
                ids.join(", ")
            };
            let mut shown = format!(
                "{} of {}: green [{}], blue [{}]",
                deployment.stage,
                deployment.service,
                ids(&deployment.green),
                ids(&deployment.blue)
            );
            if deployment.is_rollback {
                shown.push_str("; rollback");
            }
            if let Some(weight) = deployment.green_weight {
                shown.push_str(&format!("; {weight} % to green"));
            }
            if let Some(seconds) = deployment.remaining_seconds {
                shown.push_str(&format!("; {seconds} s left"));
            }
            for warning in &deployment.warnings {
                shown.push_str("; warning: ");
                shown.push_str(warning);
            }
            shown
        }
        Ok(Resolved::Ended(status)) => format!("ended: {status}"),
        Ok(Resolved::Answered(status)) => format!("answered: {status}"),
        Err(trouble) => format!(
            "{:?}, {}: {trouble}",
            trouble.blame,
            if trouble.lasting { "lasting" } else { "passing" }
        ),
    };
    expected.assert_eq(&shown);
}

#[tokio::test]
async fn green_is_what_codedeploy_labels_green_whatever_its_target_group_is_called() {
    check(
        |_| {},
        expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]"],
    )
    .await;
}

#[tokio::test]
async fn targets_that_leave_are_left_out_and_unused_ones_are_not() {
    check(
        |aws| {
            let green = vec![
                registered("10.0.0.2", "unused", Some("Target.NotInUse")),
                registered("10.0.0.3", "draining", Some("Target.DeregistrationInProgress")),
                registered("10.0.0.4", "unhealthy", Some("Target.Timeout")),
            ];
            aws.health.insert("arn:web-blue".into(), green);
            aws.facts.test_listener = None;
        },
        expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, 10.0.0.4:8080], blue [10.0.0.1:8080, listener web.elb:80]"],
    )
    .await;
}

#[tokio::test]
async fn a_first_deployment_has_no_blue() {
    check(
        |aws| {
            aws.ecs().task_sets.retain(|set| set.label == "Green");
        },
        expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue []"],
    )
    .await;
}

#[tokio::test]
async fn instance_targets_are_reached_by_their_listener() {
    check(
        |aws| {
            for group in aws.groups.values_mut() {
                group.target_type = "instance".into();
            }
        },
        expect!["AfterAllowTestTraffic of prod:web: green [listener web.elb:9000], blue [listener web.elb:80]"],
    )
    .await;
}

#[tokio::test]
async fn a_listener_is_asked_for_a_host_that_its_rule_takes() {
    for (pattern, name) in [
        ("shop.example.com", "shop.example.com"),
        ("*.example.com", "gate.example.com"),
        ("shop-?.example.com", "shop-x.example.com"),
    ] {
        let mut aws = FakeAws::new();
        for listener in aws.listeners.values_mut() {
            listener.hosts = vec![pattern.into(), "other.example.com".into()];
        }
        let resolver = Resolver::new(Subject::CodeDeploy { id: "d-1".into() }, Arc::default());
        let Ok(Resolved::Deployment(found)) = resolver.resolve(&aws, Purpose::Question).await
        else {
            panic!("not resolved");
        };
        let named: Vec<_> = found.green.iter().map(|target| target.name.as_deref()).collect();
        assert_eq!(named, [None, Some(name)], "{:?}", found.green);
        assert_eq!(found.green[1].id, format!("listener web.elb:9000 as {name}"));
    }
}

#[tokio::test]
async fn after_the_shift_the_production_listener_belongs_to_green() {
    check(
        |aws| {
            aws.ecs().events = events("AfterAllowTraffic");
            for listener in aws.listeners.values_mut() {
                listener.forwards_to = forwards("arn:web-blue");
            }
        },
        expect!["AfterAllowTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080]"],
    )
    .await;
}

#[tokio::test]
async fn what_cannot_be_resolved_says_whose_fault_it_is() {
    check(|aws| aws.target = None, expect!["Aws, passing: deployment d-1 has no targets yet"])
        .await;
    check(
        |aws| {
            aws.ecs().task_sets.retain(|set| set.label == "Blue");
        },
        expect!["Aws, lasting: service prod:web has no task set labelled Green"],
    )
    .await;
    check(
        |aws| aws.failures = [(Call::GetDeployment, Failure::Denied)].into(),
        expect!["User, lasting: GetDeployment of d-1 failed: Told (to fail); allow `codedeploy:GetDeployment` to the role gate runs with, see docs/permissions.md"],
    )
    .await;
    check(
        |aws| aws.failures = [(Call::DescribeTargetHealth, Failure::Passing)].into(),
        expect!["Aws, passing: DescribeTargetHealth of arn:web-blue failed: Told (to fail)"],
    )
    .await;
    check(
        |aws| aws.failures = [(Call::DescribeListeners, Failure::Passing)].into(),
        expect!["Aws, passing: DescribeListeners of arn:test failed: Told (to fail)"],
    )
    .await;
    check(
        |aws| {
            aws.ecs().events = events("AllowTestTraffic");
        },
        expect!["Aws, passing: deployment d-1 is at no lifecycle event that can be hooked (in progress: [AllowTestTraffic])"],
    )
    .await;
}

#[tokio::test]
async fn a_listener_that_may_not_be_read_is_a_warning_where_tasks_are_known() {
    check(|aws| aws.failures = [(Call::DescribeListeners, Failure::Denied)].into(), expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080], blue [10.0.0.1:8080]; warning: a listener is not probed: DescribeListeners of arn:test failed: Told (to fail); allow `elasticloadbalancing:DescribeListeners` to the role gate runs with, see docs/permissions.md; warning: a listener is not probed: DescribeListeners of arn:prod failed: Told (to fail); allow `elasticloadbalancing:DescribeListeners` to the role gate runs with, see docs/permissions.md"])
        .await;
}

#[tokio::test]
async fn a_deployment_that_is_over_and_a_rollback_need_no_targets() {
    check(|aws| aws.facts.status = "Stopped".into(), expect!["ended: Stopped"]).await;
    check(
        |aws| {
            aws.facts.creator = ROLLBACK_CREATOR.into();
            aws.failures = [(Call::BatchGetDeploymentTargets, Failure::Denied)].into();
        },
        expect!["unknown of : green [], blue []; rollback"],
    )
    .await;
}

#[tokio::test]
async fn a_group_that_does_not_roll_back_is_warned_about_early() {
    check(
        |aws| aws.facts.rolls_back_on_failure = false,
        expect!["AfterAllowTestTraffic of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]; warning: deployment group web-group does not roll back when a hook fails; gate will stop the deployment with rollback instead (needs codedeploy:StopDeployment)"],
    )
    .await;
}

fn function(aws: &mut FakeAws) {
    aws.facts.platform = "Lambda".into();
    aws.target = Some(DeploymentTarget::Function(FunctionTarget {
        events: events("BeforeAllowTraffic"),
        function: "checkout".into(),
        alias: "live".into(),
        current_version: Some("41".into()),
        target_version: Some("42".into()),
    }));
    let alias = AliasFacts { version: "41".into(), weights: Vec::new() };
    aws.aliases.insert("checkout:live".into(), alias);
}

#[tokio::test]
async fn versions_of_a_function_are_invoked_by_their_number() {
    check(
        function,
        expect!["BeforeAllowTraffic of : green [checkout:42], blue [checkout:41]; 0 % to green"],
    )
    .await;
    check(
        |aws| {
            function(aws);
            aws.facts.config = Some("CodeDeployDefault.LambdaCanary10Percent5Minutes".into());
            aws.shift = Shift { minutes: 5 };
            let weights = vec![("42".to_owned(), 0.1)];
            let alias = AliasFacts { version: "41".into(), weights };
            aws.aliases.insert("checkout:live".into(), alias);
        },
        expect!["BeforeAllowTraffic of : green [checkout:42], blue [checkout:41]; 10 % to green; 300 s left"],
    )
    .await;
    check(
        |aws| {
            function(aws);
            let alias = AliasFacts { version: "42".into(), weights: Vec::new() };
            aws.aliases.insert("checkout:live".into(), alias);
        },
        expect!["BeforeAllowTraffic of : green [checkout:42], blue [checkout:41]; 100 % to green"],
    )
    .await;
    check(
        |aws| {
            function(aws);
            aws.failures = [(Call::GetAlias, Failure::Denied)].into();
        },
        expect!["BeforeAllowTraffic of : green [checkout:42], blue [checkout:41]; warning: traffic weights are not known: GetAlias of checkout failed: Told (to fail); allow `lambda:GetAlias` to the role gate runs with, see docs/permissions.md"],
    )
    .await;
}

#[tokio::test]
async fn a_ready_deployment_needs_no_lifecycle_event() {
    check(
        |aws| {
            aws.facts.status = "Ready".into();
            aws.facts.ready_wait_minutes = Some(60);
            aws.ecs().events = events("None");
        },
        expect!["READY of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]"],
    )
    .await;
}

#[tokio::test]
async fn between_its_hooks_a_deployment_is_only_watched() {
    check_of(
        Subject::CodeDeploy { id: "d-1".into() },
        Purpose::Watch,
        |aws| aws.ecs().events = events("AllowTraffic"),
        expect!["unknown of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]"],
    )
    .await;
}

const ARN: &str = "arn:aws:ecs:eu-west-1:1:service-deployment/prod/web/0EYS";

fn service(aws: &mut FakeAws) {
    let hook = HookFacts {
        id: "pause-1".into(),
        kind: "PAUSE".into(),
        status: "AWAITING_ACTION".into(),
        expires_unix_seconds: None,
    };
    let deployment = ServiceDeployment {
        arn: ARN.into(),
        service_arn: "arn:aws:ecs:eu-west-1:1:service/prod/web".into(),
        status: "IN_PROGRESS".into(),
        stage: Some("PRE_PRODUCTION_TRAFFIC_SHIFT".into()),
        target_revision: Some("arn:new".into()),
        source_revisions: vec!["arn:old".into()],
        green_weight: Some(10.0),
        hooks: vec![hook],
        strategy: "LINEAR".into(),
        step: Some((10.0, 6)),
        bake_minutes: 15,
        ..ServiceDeployment::default()
    };
    aws.service_deployments.insert(ARN.into(), deployment);
    let revision = |arn: &str, group: &str| ServiceRevision {
        arn: arn.into(),
        target_groups: vec![format!("arn:{group}")],
        production_rule: Some("arn:prod".into()),
        test_rule: Some("arn:test".into()),
        task_definition: None,
    };
    aws.revisions = vec![revision("arn:new", "web-blue"), revision("arn:old", "web-green")];
}

async fn check_service(
    (hook_id, purpose): (Option<&str>, Purpose),
    change: impl FnOnce(&mut ServiceDeployment),
    expected: Expect,
) {
    let hook_id = hook_id.map(str::to_owned);
    let subject = Subject::Service { arn: ARN.into(), hook_id, stage: None };
    let changed = |aws: &mut FakeAws| {
        service(aws);
        change(aws.service_deployments.get_mut(ARN).unwrap());
    };
    check_of(subject, purpose, changed, expected).await;
}

#[tokio::test]
async fn green_and_blue_of_a_service_are_its_revisions() {
    let pause = (Some("pause-1"), Purpose::Question);
    check_service(pause, |_| {}, expect!["PRE_PRODUCTION_TRAFFIC_SHIFT of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]; 10 % to green; 4140 s left"]).await;
    check_service(pause, |found| found.source_revisions.clear(), expect!["PRE_PRODUCTION_TRAFFIC_SHIFT of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue []; 10 % to green; 4140 s left"]).await;
    check_service(
        pause,
        |found| found.stage = Some("RECONCILE_SERVICE".into()),
        expect!["RECONCILE_SERVICE of prod:web: green [], blue []; 10 % to green; 4140 s left"],
    )
    .await;
    check_service(pause, |found| found.stage = Some("A_STAGE_OF_TOMORROW".into()), expect!["unknown of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]; 10 % to green; 4140 s left"])
        .await;
    check_service(
        pause,
        |found| found.hooks[0].status = "SUCCEEDED".into(),
        expect!["answered: pause SUCCEEDED"],
    )
    .await;
    check_service(
        pause,
        |found| found.hooks.clear(),
        expect!["Aws, passing: 0EYS shows no hook pause-1"],
    )
    .await;
    check_service(pause, |found| found.status = "ROLLBACK_IN_PROGRESS".into(), expect!["PRE_PRODUCTION_TRAFFIC_SHIFT of prod:web: green [], blue []; rollback; 10 % to green; 4140 s left"]).await;
    check_service(pause, |found| found.status = "SUCCESSFUL".into(), expect!["ended: SUCCESSFUL"])
        .await;
    let watch = (None, Purpose::Watch);
    check_service(watch, |found| found.hooks.clear(), expect!["PRE_PRODUCTION_TRAFFIC_SHIFT of prod:web: green [10.0.0.2:8080, listener web.elb:9000], blue [10.0.0.1:8080, listener web.elb:80]; 10 % to green; 4140 s left"]).await;
    check_service(
        watch,
        |found| found.status = "ROLLBACK_IN_PROGRESS".into(),
        expect!["ended: ROLLBACK_IN_PROGRESS"],
    )
    .await;
    check_service(watch, |found| found.target_revision = Some("arn:none".into()), expect!["PRE_PRODUCTION_TRAFFIC_SHIFT of prod:web: green [], blue []; 10 % to green; 4140 s left"])
        .await;
}

#[tokio::test]
async fn a_pipeline_is_known_by_its_name_alone() {
    let subject = Subject::Pipeline { pipeline: "P".into(), stage: Stage::Approval, policy: None };
    check_of(subject, Purpose::Question, |_| {}, expect!["Approval of : green [], blue []"]).await;
}

#[tokio::test]
async fn what_cloudwatch_calls_green_and_blue_comes_with_each_platform() {
    let balanced = |aws: &mut FakeAws| {
        for (name, group) in &mut aws.groups {
            group.load_balancer =
                Some("arn:aws:elasticloadbalancing:r:1:loadbalancer/app/web/50dc".into());
            group.arn = format!("arn:aws:elasticloadbalancing:r:1:targetgroup/{name}/73e2");
            aws.health.insert(group.arn.clone(), vec![registered("10.0.0.2", "healthy", None)]);
        }
    };
    let measured = async |subject, aws: FakeAws| {
        let resolver = Resolver::new(subject, Arc::default());
        resolver.resolve(&aws, Purpose::Question).await.unwrap();
        resolver.dimensions.now()
    };
    let groups = Measured {
        target_group: Some("targetgroup/web-blue/73e2".into()),
        load_balancer: Some("app/web/50dc".into()),
        blue_target_group: Some("targetgroup/web-green/73e2".into()),
        blue_load_balancer: Some("app/web/50dc".into()),
        service: Some(("prod".into(), "web".into())),
        function: None,
        tasks: Some(GreenTasks::StartedBy("ecs-svc/Green".into())),
        began_unix_seconds: Some(5),
    };
    let codedeploy = || Subject::CodeDeploy { id: "d-1".into() };
    let mut aws = FakeAws::new();
    balanced(&mut aws);
    aws.facts.began_unix_seconds = Some(5);
    assert_eq!(measured(codedeploy(), aws).await, groups);

    let mut aws = FakeAws::new();
    service(&mut aws);
    balanced(&mut aws);
    let group =
        |name: &str| vec![format!("arn:aws:elasticloadbalancing:r:1:targetgroup/{name}/73e2")];
    aws.revisions[0].arn = "arn:aws:ecs:r:1:service-revision/prod/web/9313".into();
    aws.revisions[0].task_definition = Some("arn:web:43".into());
    aws.revisions[0].target_groups = group("web-blue");
    aws.revisions[1].target_groups = group("web-green");
    let found = aws.service_deployments.get_mut(ARN).unwrap();
    found.target_revision = Some("arn:aws:ecs:r:1:service-revision/prod/web/9313".into());
    found.began_unix_seconds = Some(5);
    let subject = Subject::Service { arn: ARN.into(), hook_id: None, stage: None };
    let tasks = Some(GreenTasks::Running("arn:web:43".into()));
    assert_eq!(measured(subject, aws).await, Measured { tasks, ..groups });

    let mut aws = FakeAws::new();
    function(&mut aws);
    aws.facts.began_unix_seconds = Some(5);
    let function = Some(("checkout".into(), "live".into(), "42".into()));
    let expected = Measured { function, began_unix_seconds: Some(5), ..Measured::default() };
    assert_eq!(measured(codedeploy(), aws).await, expected);
}
