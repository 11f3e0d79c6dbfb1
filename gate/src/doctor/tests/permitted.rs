//! Permissions, endpoints, credentials and the clock.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn every_missing_permission_is_named_at_once_with_the_statement_to_add() {
    let nothing = |_: &mut Setup| {};
    check_denied(nothing, &[Call::PutLifecycleEventHookExecutionStatus, Call::StopDeployment, Call::DescribeTaskSets, Call::DescribeListeners], expect![[r#"
        error: codedeploy:PutLifecycleEventHookExecutionStatus is refused: answers a hook
          add to the role's policy: {"Effect": "Allow", "Action": "codedeploy:PutLifecycleEventHookExecutionStatus", "Resource": "arn:aws:codedeploy:eu-west-1:123456789012:deploymentgroup:web/web-group"}
        error: codedeploy:StopDeployment is refused: vetoes; and rolls back where a failed hook alone would not
          add to the role's policy: {"Effect": "Allow", "Action": "codedeploy:StopDeployment", "Resource": "*"}
        error: elasticloadbalancing:DescribeListeners is refused: port and protocol of the test and production listeners
          add to the role's policy: {"Effect": "Allow", "Action": "elasticloadbalancing:DescribeListeners", "Resource": "*"}
        warning: ecs:DescribeTaskSets is refused: which tasks are green's
          add to the role's policy: {"Effect": "Allow", "Action": "ecs:DescribeTaskSets", "Resource": "arn:aws:ecs:eu-west-1:123456789012:task-set/prod/web/*"}"#]]).await;
    // Not needed where nothing waits at READY, and nothing is polled.
    check_denied(nothing, &[Call::ContinueDeployment, Call::ListDeployments], expect![[r#""#]])
        .await;
    check_denied(|setup| setup.group().ready_wait_minutes = Some(60), &[Call::ContinueDeployment], expect![[r#"
        error: codedeploy:ContinueDeployment is refused: answers a READY wait
          add to the role's policy: {"Effect": "Allow", "Action": "codedeploy:ContinueDeployment", "Resource": "*"}"#]]).await;
    check_denied(
        |setup| setup.settings.mode = Mode::Observe,
        &[Call::StopDeployment],
        expect![[r#""#]],
    )
    .await;
    check_denied(function, &[Call::Invoke, Call::GetAlias], expect![[r#"
        error: lambda:InvokeFunction is refused: probes a version
          add to the role's policy: {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": "arn:aws:lambda:eu-west-1:123456789012:function:checkout*"}
        warning: lambda:GetAlias is refused: traffic weights of the two versions
          add to the role's policy: {"Effect": "Allow", "Action": "lambda:GetAlias", "Resource": "arn:aws:lambda:eu-west-1:123456789012:function:checkout*"}"#]]).await;
    check_denied(service, &[Call::ContinueServiceDeployment, Call::StopServiceDeployment, Call::ListServiceDeployments, Call::DescribeServiceRevisions], expect![[r#"
        error: ecs:ListServiceDeployments is refused: finds deployments that wait, where `intake.poll` names a service
          add to the role's policy: {"Effect": "Allow", "Action": "ecs:ListServiceDeployments", "Resource": "arn:aws:ecs:eu-west-1:123456789012:service/prod/web"}
        error: ecs:DescribeServiceRevisions is refused: target groups and listener rules of green and blue
          add to the role's policy: {"Effect": "Allow", "Action": "ecs:DescribeServiceRevisions", "Resource": "arn:aws:ecs:eu-west-1:123456789012:service-revision/prod/web/*"}
        error: ecs:ContinueServiceDeployment is refused: answers a pause
          add to the role's policy: {"Effect": "Allow", "Action": "ecs:ContinueServiceDeployment", "Resource": "arn:aws:ecs:eu-west-1:123456789012:service-deployment/prod/web/*"}
        error: ecs:StopServiceDeployment is refused: vetoes
          add to the role's policy: {"Effect": "Allow", "Action": "ecs:StopServiceDeployment", "Resource": "arn:aws:ecs:eu-west-1:123456789012:service-deployment/prod/web/*"}"#]]).await;
    check_denied(pipeline, &[Call::PutApprovalResult, Call::ListActionExecutions, Call::DeleteMessage], expect![[r#"
        error: codepipeline:PutApprovalResult is refused: answers a manual approval
          add to the role's policy: {"Effect": "Allow", "Action": "codepipeline:PutApprovalResult", "Resource": "arn:aws:codepipeline:eu-west-1:123456789012:web/STAGE/ACTION"}
        error: codepipeline:ListActionExecutions is refused: the token of an approval in a PARALLEL pipeline, and whether it still waits
          add to the role's policy: {"Effect": "Allow", "Action": "codepipeline:ListActionExecutions", "Resource": "arn:aws:codepipeline:eu-west-1:123456789012:web"}
        error: sqs:DeleteMessage is refused: lets go of an answered question
          add to the role's policy: {"Effect": "Allow", "Action": "sqs:DeleteMessage", "Resource": "arn:aws:sqs:eu-west-1:123456789012:gate"}"#]]).await;
}

#[tokio::test]
async fn a_role_that_may_not_read_the_set_up_is_tried_all_the_same() {
    let denied = [Call::GetDeploymentGroup, Call::DescribeServices];
    check_denied(|_| {}, &[denied[0], denied[1], Call::StopDeployment], expect![[r#"
        error: codedeploy:StopDeployment is refused: vetoes; and rolls back where a failed hook alone would not
          add to the role's policy: {"Effect": "Allow", "Action": "codedeploy:StopDeployment", "Resource": "*"}"#]]).await;
    let unread = |setup: &mut Setup| {
        setup.aws.failures = denied.map(|call| (call, Failure::Denied)).into();
    };
    check(Area::Permissions, unread, expect![[r#"
        ok: CodeDeploy: not refused: GetDeployment, ListDeploymentTargets, BatchGetDeploymentTargets, PutLifecycleEventHookExecutionStatus, StopDeployment
        untested: CodeDeploy: not known: GetDeploymentConfig"#]]).await;
    let unread = |setup: &mut Setup| {
        service(setup);
        setup.aws.failures = denied.map(|call| (call, Failure::Denied)).into();
    };
    check(Area::Permissions, unread, expect![[r#"
        ok: ECS blue/green, linear and canary: not refused: DescribeTargetGroups, ListServiceDeployments, DescribeServiceDeployments, DescribeServiceRevisions, ContinueServiceDeployment, StopServiceDeployment, ListTasks
        untested: ECS blue/green, linear and canary: not known: DescribeTargetHealth, DescribeListeners, DescribeLoadBalancers, DescribeRules, DescribeTasks"#]]).await;
    check(Area::Permissions, |setup| setup.aws.deployment_groups.clear(), expect![[r#""#]]).await;
}

#[tokio::test]
async fn a_refusal_for_what_is_not_there_proves_nothing_where_permissions_can_be_scoped() {
    let under_way = |setup: &mut Setup| {
        setup.aws.facts.status = "InProgress".into();
        setup.aws.failures = [(Call::PutLifecycleEventHookExecutionStatus, Failure::Denied)].into();
    };
    check(Area::Permissions, under_way, expect![[r#"
        ok: CodeDeploy on ECS: not refused: GetDeployment, ListDeploymentTargets, BatchGetDeploymentTargets, GetDeploymentConfig, StopDeployment, DescribeTargetGroups, DescribeTargetHealth, DescribeListeners, DescribeLoadBalancers, DescribeRules, ListTasks, DescribeTaskSets
        untested: CodeDeploy on ECS: not known: PutLifecycleEventHookExecutionStatus, DescribeTasks"#]]).await;
}

#[tokio::test]
async fn what_does_not_answer_is_told_apart_from_what_refuses() {
    let slow = |setup: &mut Setup| {
        setup.aws.failures = [(Call::GetCallerIdentity, Failure::Passing)].into();
    };
    check(Area::Credentials, slow, expect!["untested: who gate is here is not known"]).await;
    check(
        Area::Endpoints,
        slow,
        expect!["ok: these answer: codedeploy, ecs, elasticloadbalancing, lambda, sts"],
    )
    .await;
}

#[tokio::test]
async fn a_wrong_clock_is_said() {
    check(
        Area::Clock,
        |setup| setup.aws.clock_ahead_seconds = None,
        expect!["untested: whether the clock is right"],
    )
    .await;
    check(
        Area::Clock,
        |setup| setup.aws.clock_ahead_seconds = Some(-61),
        expect!["warning: this machine's clock is 61 s ahead of AWS's"],
    )
    .await;
    check(
        Area::Clock,
        |setup| setup.aws.clock_ahead_seconds = Some(400),
        expect!["error: this machine's clock is 400 s behind AWS's"],
    )
    .await;
}

#[tokio::test]
async fn a_service_that_does_not_answer_is_an_error_only_where_the_daemon_needs_it() {
    let silent = |calls: &'static [Call]| {
        move |setup: &mut Setup| {
            setup.aws.silent = calls.to_vec();
        }
    };
    let sts = &[Call::GetCallerIdentity];
    check(
        Area::Endpoints,
        silent(sts),
        expect![[r#"
        ok: these answer: codedeploy, ecs, elasticloadbalancing, lambda
        warning: sts cannot be reached from here"#]],
    )
    .await;
    let ecs = &[Call::DescribeServices, Call::ListTasks, Call::DescribeTaskSets];
    check(
        Area::Endpoints,
        silent(ecs),
        expect![[r#"
        ok: these answer: codedeploy, elasticloadbalancing, lambda, sts
        warning: ecs cannot be reached from here"#]],
    )
    .await;
    let balancing = &[Call::DescribeTargetGroups, Call::DescribeListeners];
    check(
        Area::Endpoints,
        silent(balancing),
        expect![[r#"
        ok: these answer: codedeploy, ecs, lambda, sts
        error: elasticloadbalancing cannot be reached from here"#]],
    )
    .await;
}
