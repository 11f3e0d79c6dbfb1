//! Listeners, stages, the relay, and how questions arrive.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn listeners_must_lead_to_green_and_blue() {
    check(
        Area::Listeners,
        |setup| setup.group().test_listener = None,
        expect![[r#"
        ok: prod:web is deployed by CodeDeploy
        warning: the group has no test listener
        ok: the production listener web.elb:80 forwards to web-green"#]],
    )
    .await;
    let counted_on = |setup: &mut Setup| {
        setup.group().test_listener = None;
        setup.policies[0].1 =
            POLICY.replace("application: web", "application: web, stages: [AfterAllowTestTraffic]");
    };
    check(
        Area::Listeners,
        counted_on,
        expect![[r#"
        ok: prod:web is deployed by CodeDeploy
        error: the group has no test listener
        ok: the production listener web.elb:80 forwards to web-green"#]],
    )
    .await;
    check(
        Area::Listeners,
        |setup| {
            setup.aws.listeners.get_mut("arn:test").unwrap().forwards_to = forwards("arn:other");
        },
        expect![[r#"
        ok: prod:web is deployed by CodeDeploy
        ok: the production listener web.elb:80 forwards to web-green
        error: the test listener web.elb:9000 forwards to none of the target groups"#]],
    )
    .await;
    check(
        Area::Listeners,
        |setup| drop(setup.aws.listeners.remove("arn:prod")),
        expect![[r#"
        ok: prod:web is deployed by CodeDeploy
        error: the production listener does not exist: arn:prod
        ok: the test listener web.elb:9000 forwards to web-blue"#]],
    )
    .await;
    check(
        Area::Listeners,
        |setup| drop(setup.aws.groups.remove("web-blue")),
        expect![[r#"
        error: target group web-blue does not exist
        ok: prod:web is deployed by CodeDeploy
        ok: the production listener web.elb:80 forwards to web-green
        error: the test listener web.elb:9000 forwards to none of the target groups"#]],
    )
    .await;
    check(
        Area::Listeners,
        |setup| setup.service().controller = "ECS".into(),
        expect![[r#"
        error: prod:web has the deployment controller ECS
        ok: the production listener web.elb:80 forwards to web-green
        ok: the test listener web.elb:9000 forwards to web-blue"#]],
    )
    .await;
    check(
        Area::Listeners,
        |setup| setup.aws.services.clear(),
        expect![[r#"
        error: there is no service prod:web
        ok: the production listener web.elb:80 forwards to web-green
        ok: the test listener web.elb:9000 forwards to web-blue"#]],
    )
    .await;
    let ruleless = |setup: &mut Setup| {
        service(setup);
        setup.service().test_rules.clear();
    };
    check(
        Area::Listeners,
        ruleless,
        expect![[r#"
        warning: gate is asked at POST_TEST_TRAFFIC_SHIFT, and there is no test listener rule
        ok: the production listener web.elb:80 forwards to web-green"#]],
    )
    .await;
    let codedeploy = |setup: &mut Setup| {
        service(setup);
        setup.service().controller = "CODE_DEPLOY".into();
        setup.service().target_groups.clear();
    };
    check(
        Area::Listeners,
        codedeploy,
        expect![[r#"
        error: the service is deployed by CODE_DEPLOY, not by ECS
        error: the service has no target group
        ok: the production listener web.elb:80 forwards to groups that are not known
        ok: the test listener web.elb:9000 forwards to groups that are not known"#]],
    )
    .await;
}

#[tokio::test]
async fn whoever_asks_must_wait_long_enough() {
    let ready = |minutes: u64, decide: &str| {
        let decide = decide.to_owned();
        move |setup: &mut Setup| {
            setup.group().ready_wait_minutes = Some(minutes);
            setup.policy(&decide);
        }
    };
    check(Area::Stages, ready(60, ""), expect![[r#""#]]).await;
    check(
        Area::Stages,
        ready(5, ""),
        expect!["warning: web.policy.yaml may take 10 min, and the READY wait ends after 5 min"],
    )
    .await;
    check(
        Area::Stages,
        ready(1, ""),
        expect!["error: web.policy.yaml can prove nothing before the READY wait ends, after 60 s"],
    )
    .await;
    check(
        Area::Stages,
        |setup| setup.policy("decide: { deadline: 2h }\n"),
        expect![
            "warning: web.policy.yaml may take 120 min, and a hook of CodeDeploy ends after 60 min"
        ],
    )
    .await;
    let for_ready = |setup: &mut Setup| {
        setup.policies[0].1 =
            POLICY.replace("application: web", "application: web, stages: [AfterInstall, READY]");
    };
    check(
        Area::Stages,
        for_ready,
        expect!["warning: a policy is for READY, and the group does not wait there"],
    )
    .await;
    check(
        Area::Stages,
        service,
        expect!["ok: the pause at POST_TEST_TRAFFIC_SHIFT waits 60 min, then rolls back"],
    )
    .await;
    let paused = |change: fn(&mut Pause)| {
        move |setup: &mut Setup| {
            service(setup);
            change(&mut setup.service().pauses[0]);
        }
    };
    check(
        Area::Stages,
        paused(|pause| pause.timeout_action = Some("CONTINUE".into())),
        expect!["warning: the pause at POST_TEST_TRAFFIC_SHIFT lets the release through when it times out"],
    )
    .await;
    check(Area::Stages, paused(|pause| pause.timeout_minutes = Some(3)), expect![[r#"
        ok: the pause at POST_TEST_TRAFFIC_SHIFT waits 3 min, then rolls back
        warning: web.policy.yaml may take 10 min, and the pause at POST_TEST_TRAFFIC_SHIFT ends after 3 min"#]]).await;
    let unsaid = paused(|pause| (pause.timeout_minutes, pause.timeout_action) = (None, None));
    check(
        Area::Stages,
        unsaid,
        expect![
            "untested: how long the pause at POST_TEST_TRAFFIC_SHIFT waits, and what happens then"
        ],
    )
    .await;
    check(
        Area::Stages,
        paused(|pause| pause.stages = vec!["PRE_SCALE_UP".into(), "POST_SCALE_UP".into()]),
        expect![[r#"
            warning: a pause asks at PRE_SCALE_UP, where there is nothing to measure
            ok: the pause at PRE_SCALE_UP, POST_SCALE_UP waits 60 min, then rolls back"#]],
    )
    .await;
    let nobody = |setup: &mut Setup| {
        service(setup);
        setup.service().pauses.clear();
        setup.service().strategy = "ROLLING".into();
    };
    check(
        Area::Stages,
        nobody,
        expect![[r#"
        warning: nobody asks gate
        warning: the service is deployed by replacing its tasks (ROLLING)"#]],
    )
    .await;
    let automatic = |setup: &mut Setup| {
        pipeline(setup);
        setup.aws.pipelines.get_mut("web").unwrap().actions.clear();
    };
    check(Area::Stages, automatic, expect!["warning: nobody asks gate"]).await;
}

#[tokio::test]
async fn the_relay_must_be_able_to_hand_over() {
    check(Area::Relay, |setup| setup.relay = None, expect!["untested: the relay"]).await;
    check(
        Area::Relay,
        |setup| setup.relay = Some("CodeDeployHook_other".into()),
        expect!["error: there is no function CodeDeployHook_other in this account and region"],
    )
    .await;
    check(
        Area::Relay,
        |setup| setup.relay().timeout_seconds = 3,
        expect![[r#"
        error: the relay's time-out is 3 s
        untested: whether CodeDeployHook_gate may answer by itself"#]],
    )
    .await;
    check(
        Area::Relay,
        |setup| setup.relay().environment.clear(),
        expect![[r#"
        error: the relay has neither GATE_URL nor GATE_QUEUE
        untested: whether CodeDeployHook_gate may answer by itself"#]],
    )
    .await;
    check(
        Area::Relay,
        |setup| setup.relay().environment.push("GATE_QUEUE".into()),
        expect![[r#"
        error: the relay has both GATE_URL and GATE_QUEUE
        untested: whether CodeDeployHook_gate may answer by itself"#]],
    )
    .await;
    check(
        Area::Relay,
        |setup| setup.relay().environment.retain(|name| name == "GATE_URL"),
        expect![[r#"
        warning: the relay has no GATE_HOOK_KEY, so it does not sign what it hands over
        untested: whether CodeDeployHook_gate may answer by itself"#]],
    )
    .await;
    let misnamed = |setup: &mut Setup| {
        let facts = setup.relay().clone();
        setup.aws.functions.insert("relay".into(), facts);
        setup.relay = Some("relay".into());
    };
    check(
        Area::Relay,
        misnamed,
        expect![[r#"
        warning: the relay is called relay, not CodeDeployHook_*
        untested: whether relay may answer by itself"#]],
    )
    .await;
    let hooked = |setup: &mut Setup| {
        service(setup);
        setup.service().functions = vec![
            ("CodeDeployHook_gate".into(), vec!["POST_SCALE_UP".into()]),
            ("other".into(), vec!["POST_SCALE_UP".into()]),
        ];
        setup.aws.functions.insert("other".into(), FunctionFacts::default());
    };
    check(
        Area::Relay,
        hooked,
        expect![[r#"
        ok: the relay CodeDeployHook_gate is there, with a time-out of 90 s
        ok: CodeDeployHook_gate answers ECS by what it returns
        ok: other is not gate's relay: it has neither GATE_URL nor GATE_QUEUE"#]],
    )
    .await;
}

#[tokio::test]
async fn questions_that_no_relay_brings_must_reach_the_daemon() {
    check(Area::Intake, service, expect!["ok: pauses are looked for: `intake.poll`"]).await;
    let nobody = |setup: &mut Setup| {
        service(setup);
        setup.settings.intake.poll.clear();
    };
    check(Area::Intake, nobody, expect!["error: nobody tells the daemon of pauses"]).await;
    let unnamed = |setup: &mut Setup| {
        nobody(setup);
        setup.settings_are_named = false;
    };
    check(
        Area::Intake,
        unnamed,
        expect!["untested: whether the daemon hears of pauses is not known"],
    )
    .await;
    check(
        Area::Intake,
        |setup| setup.group().ready_wait_minutes = Some(60),
        expect!["error: nobody tells the daemon of READY waits"],
    )
    .await;
    check(Area::Intake, pipeline, expect!["ok: manual approvals reach the daemon by https://sqs.eu-west-1.amazonaws.com/123456789012/gate, where its rule or topic sends them"]).await;
    let gone = |setup: &mut Setup| {
        pipeline(setup);
        setup.aws.failures = [(Call::DeleteMessage, Failure::Missing)].into();
    };
    check(Area::Intake, gone, expect![[r#"
        ok: manual approvals reach the daemon by https://sqs.eu-west-1.amazonaws.com/123456789012/gate, where its rule or topic sends them
        error: there is no queue https://sqs.eu-west-1.amazonaws.com/123456789012/gate"#]]).await;
}
