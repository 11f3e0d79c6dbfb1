//! Policies, what they read, and what can be reached.

use expect_test::expect;

use super::*;

#[tokio::test]
async fn a_good_policy_must_apply() {
    check(Area::Policy, |setup| setup.policies.clear(), expect!["error: no policy applies at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic"]).await;
    let lenient = |setup: &mut Setup| {
        setup.policies.clear();
        setup.settings.unmatched = Answer::Continue;
    };
    check(Area::Policy, lenient, expect!["warning: no policy applies at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic"]).await;
    check(Area::Policy, |setup| setup.policies.push(("other.policy.yaml", POLICY.into())), expect!["error: these policies apply equally well at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic: other.policy.yaml, web.policy.yaml"]).await;
    check(Area::Policy, |setup| setup.policy("speed: 3\n"), expect!["error: the policy at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic is broken: web.policy.yaml:6:1: unknown key `speed`"]).await;
    let one_stage = |setup: &mut Setup| {
        setup.policies[0].1 =
            POLICY.replace("application: web", "application: web, stages: [AfterAllowTestTraffic]");
    };
    check(Area::Policy, one_stage, expect![[r#"
        ok: web.policy.yaml judges at AfterAllowTestTraffic
        ok: no policy at AfterInstall, BeforeAllowTraffic, AfterAllowTraffic: a hook there would be answered rollback, by the setting `unmatched`"#]]).await;
    let with_secret = |reference: &str| {
        let header = format!(
            "probe: {{ http: {{ path: / }}, headers: {{ x-token: {{ secret: \"{reference}\" }} }} }}"
        );
        move |setup: &mut Setup| {
            setup.policies[0].1 = POLICY.replace("probe: { http: { path: /healthz } }", &header);
        }
    };
    check(Area::Policy, with_secret("env:NO_SUCH_VARIABLE"), expect![[r#"
        ok: web.policy.yaml judges at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic
        error: web.policy.yaml cannot be probed by: the secret for header `x-token` could not be read: environment variable `NO_SUCH_VARIABLE` is not set"#]]).await;
    check(Area::Policy, with_secret("env:PATH"), expect!["ok: web.policy.yaml judges at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic"]).await;
    check(Area::Policy, service, expect!["ok: web.policy.yaml judges at POST_TEST_TRAFFIC_SHIFT"])
        .await;
    check(Area::Policy, pipeline, expect!["ok: web.policy.yaml judges at Approval"]).await;
    let missing = |setup: &mut Setup| {
        pipeline(setup);
        setup.policies.clear();
    };
    check(Area::Policy, missing, expect!["error: the policy at Approval is broken: whoever asks names policy `web`, and there is no web.policy.yaml"]).await;
}

#[tokio::test]
async fn a_policy_must_fit_what_is_deployed() {
    let fitting = |change: fn(&mut Setup), policy: fn(&mut Setup)| {
        move |setup: &mut Setup| {
            change(setup);
            policy(setup);
        }
    };
    let probing = |setup: &mut Setup| {
        setup.policies =
            vec![("web.policy.yaml", POLICY.replace("applies-to: { application: web }\n", ""))];
    };
    let invoking = |setup: &mut Setup| invoking(setup, "application: web");
    check(
        Area::Policy,
        fitting(function, invoking),
        expect!["ok: web.policy.yaml judges at BeforeAllowTraffic, AfterAllowTraffic"],
    )
    .await;
    check(Area::Policy, fitting(function, probing), expect![[r#"
        ok: web.policy.yaml judges at BeforeAllowTraffic, AfterAllowTraffic
        error: web.policy.yaml probes by `http`, and a version of a Lambda function has no address"#]]).await;
    check(Area::Policy, fitting(|_| {}, invoking), expect![[r#"
        ok: web.policy.yaml judges at AfterInstall, AfterAllowTestTraffic, BeforeAllowTraffic, AfterAllowTraffic
        error: web.policy.yaml invokes functions (`lambda`), and what is deployed here is none"#]]).await;
    check(
        Area::Policy,
        alone,
        expect!["ok: web.policy.yaml judges at BeforeAllowTraffic, AfterAllowTraffic"],
    )
    .await;
    check(
        Area::Policy,
        fitting(alone, invoking),
        expect!["untested: no policy is for function checkout alone"],
    )
    .await;
    check(
        Area::Policy,
        fitting(pipeline, probing),
        expect![[r#"
        ok: web.policy.yaml judges at Approval
        error: web.policy.yaml names no targets, and whoever asks here knows none"#]],
    )
    .await;
}

#[tokio::test]
async fn actions_that_hand_nothing_over_ask_for_no_policy() {
    let acting = |function: &'static str| {
        move |setup: &mut Setup| {
            pipeline(setup);
            let action = ActionFacts {
                stage: "Test".into(),
                name: "Invoke".into(),
                provider: "Lambda".into(),
                configuration: vec![("FunctionName".into(), function.into())],
            };
            setup.aws.pipelines.get_mut("web").unwrap().actions = vec![action];
            setup.aws.functions.insert("migrate".into(), FunctionFacts::default());
        }
    };
    check(Area::Policy, acting("migrate"), expect![[r#""#]]).await;
    check(Area::Stages, acting("migrate"), expect!["warning: nobody asks gate"]).await;
    check(
        Area::Policy,
        acting("CodeDeployHook_gate"),
        expect!["error: no policy applies at Invoke"],
    )
    .await;
}

#[tokio::test]
async fn alarms_must_be_there_and_not_be_red() {
    let alarm = |name: &str, state: &str| AlarmFacts {
        name: name.into(),
        state: state.into(),
        since_unix_seconds: None,
        reason: None,
    };
    let alarms = |setup: &mut Setup| {
        setup.group().alarms = vec!["latency".into(), "gone".into()];
        setup.policy("  - alarms: { names: [errors, absent] }\n");
        setup.aws.alarms = vec![alarm("latency", "ALARM"), alarm("errors", "OK")];
    };
    check(
        Area::Alarms,
        alarms,
        expect![[r#"
            error: there is no alarm absent, which a policy names
            ok: errors is there: OK
            warning: there is no alarm gone, which the deployment names
            warning: latency is red already"#]],
    )
    .await;
}

#[tokio::test]
async fn metrics_must_be_there_with_these_dimensions() {
    let metrics = |setup: &mut Setup| {
        setup.policy("  - cloudwatch: { metric: HTTPCode_Target_5XX_Count, of: RequestCount, at-most: 1% }\n");
    };
    check(Area::Metrics, metrics, expect![[r#"
        ok: AWS/ApplicationELB HTTPCode_Target_5XX_Count was not seen yet, as is right where nothing went bad
        warning: CloudWatch knows no AWS/ApplicationELB RequestCount with TargetGroup=targetgroup/web-blue/1, LoadBalancer=app/web/2 or TargetGroup=targetgroup/web-green/1, LoadBalancer=app/web/2"#]]).await;
    let seen = |setup: &mut Setup| {
        metrics(setup);
        setup.aws.series.insert("RequestCount".into(), Series::default());
    };
    check(Area::Metrics, seen, expect![[r#"
        ok: AWS/ApplicationELB HTTPCode_Target_5XX_Count was not seen yet, as is right where nothing went bad
        ok: AWS/ApplicationELB RequestCount is there"#]]).await;
}

#[tokio::test]
async fn targets_must_take_connections() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let targets = |state: &str, port: u16| {
        let mut target = registered("127.0.0.1", state, None);
        target.port = port;
        vec![target]
    };
    let report = report(|setup| {
        for found in setup.aws.health.values_mut() {
            *found = targets("healthy", closed);
        }
    })
    .await;
    let refused = report.findings.iter().filter(|finding| finding.area == Area::Targets);
    assert!(refused.clone().all(|finding| finding.level == Level::Warning), "{report:?}");
    assert_eq!(refused.count(), 2);
    let leaving = |setup: &mut Setup| {
        for found in setup.aws.health.values_mut() {
            *found = targets("draining", closed);
        }
    };
    check(Area::Targets, leaving, expect!["untested: whether targets can be reached"]).await;
    let metadata = |setup: &mut Setup| {
        for found in setup.aws.health.values_mut() {
            *found = vec![registered("169.254.169.254", "healthy", None)];
        }
    };
    check(
        Area::Targets,
        metadata,
        expect![[r#"
        untested: 169.254.169.254:8080 of web-blue
        untested: 169.254.169.254:8080 of web-green"#]],
    )
    .await;
    let instances = |setup: &mut Setup| {
        for group in setup.aws.groups.values_mut() {
            group.target_type = "instance".into();
        }
    };
    check(
        Area::Targets,
        instances,
        expect![[r#"
        untested: targets of web-blue, which are of type instance
        untested: targets of web-green, which are of type instance"#]],
    )
    .await;
}

#[tokio::test]
async fn the_daemon_must_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let serving = tokio::spawn(async move {
        for status in ["200 OK", "404 Not Found", "503 Service Unavailable"] {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer =
                format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    for level in [Level::Ok, Level::Ok, Level::Warning] {
        let gate = Some(url.clone());
        let report = report(|setup| setup.gate = gate).await;
        let daemon = report.findings.iter().find(|finding| finding.area == Area::Daemon).unwrap();
        assert_eq!(daemon.level, level, "{daemon:?}");
    }
    serving.await.unwrap();
    let report = report(|setup| setup.gate = Some(url)).await;
    let daemon = report.findings.iter().find(|finding| finding.area == Area::Daemon).unwrap();
    assert_eq!(daemon.level, Level::Error, "{daemon:?}");
}
