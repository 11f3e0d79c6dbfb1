//! Invocations through a whole prober session, with AWS from memory, and what each refusal counts as.

#![allow(clippy::unwrap_used, clippy::panic, reason = "the whole file is a test's")]

use std::collections::BTreeMap;
use std::time::Duration;

use expect_test::{Expect, expect};
use policies::deployment::Route;
use policies::{Blame, PolicyFile, Target, TargetTick};
use probes::{Order, Prober};

use super::*;
use crate::aws::Call;
use crate::aws::fake::FakeAws;
use crate::shell::References;

const ID: &str = "8f507cfc";

fn version(number: &str) -> Target {
    Target {
        id: format!("checkout:{number}"),
        host: format!("arn:aws:lambda:eu-west-1:123456789012:function:checkout:{number}"),
        port: 0,
        tls: true,
        route: Route::Function,
        health: None,
    }
}

fn returns(payload: &str) -> Invoked {
    Invoked {
        payload: payload.as_bytes().to_vec(),
        executed_version: Some("42".to_owned()),
        request_id: Some(ID.to_owned()),
        log_tail: Some(format!(
            "REPORT RequestId: {ID}\tDuration: 0.01 ms\tBilled Duration: 2 ms\tMax Memory Used: 45 MB\n"
        )),
        ..Invoked::default()
    }
}

fn fails(payload: &str) -> Invoked {
    Invoked { function_error: Some("Unhandled".to_owned()), ..returns(payload) }
}

/// One tick of ten probes of version 42.
async fn probed(aws: FakeAws, probe: &str) -> TargetTick {
    let text =
        format!("gate: v1\nprobe: {probe}\nobjectives: [ {{ errors: {{ at-most: 1% }} }} ]\n");
    let file = PolicyFile::parse("test.policy.yaml", &text);
    let policy = file.policy.unwrap_or_else(|| panic!("{text}\n{:?}", file.faults));
    let mut plan = policy.plan(0, 7, vec![version("42")], Vec::new());
    plan.rate = policies::plan::Rate::constant(50.0);
    plan.tick = Duration::from_millis(200);
    let invoker: Arc<dyn Invoker> = Arc::new(Functions(Arc::new(aws)));
    let order =
        Order::new(plan, &WithFunctions::new(&References::default(), Some(invoker))).unwrap();
    let prober = Prober::start().unwrap();
    let mut session = prober.begin(order);
    let mut tick = TargetTick::default();
    // A tick in which this machine was too busy is not looked at.
    for _attempt in 0..8 {
        tick = session.tick().await.unwrap().green.total();
        if tick.late == 0 {
            break;
        }
    }
    tick
}

async fn check(invoked: Invoked, expect: &str, expected: Expect) {
    let aws = FakeAws { invocation: Some(invoked), ..FakeAws::new() };
    let tick = probed(aws, &format!("{{ lambda: {{ expect: {{ {expect} }} }} }}")).await;
    let counted = |counts: &BTreeMap<Outcome, u32>| {
        counts.iter().map(|(outcome, n)| format!("{n} {outcome}\n")).collect::<String>()
    };
    let seen: String = tick.unmet.iter().map(|(saw, n)| format!("{n} × {saw}\n")).collect();
    expected.assert_eq(&format!("{}{seen}", counted(&tick.outcomes)));
}

#[tokio::test]
async fn what_a_function_returns_is_held_to_what_is_expected_of_it() {
    let ok = r#"{"status":"ok"}"#;
    check(
        returns(ok),
        "",
        expect![[r#"
        10 ok
    "#]],
    )
    .await;
    check(
        returns(ok),
        "json: { $.status: ok }, size: { at-most: 1KiB }, within: { total: 1s }",
        expect![[r#"
            10 ok
        "#]],
    )
    .await;
    check(
        returns(ok),
        "json: { $.status: good }",
        expect![[r#"
        10 expectation
        10 × $.status is `good`: saw `ok`
    "#]],
    )
    .await;
    check(
        returns(&"x".repeat(1024 * 1024 + 1)),
        "",
        expect![[r#"
        10 too-large
    "#]],
    )
    .await;
}

#[tokio::test]
async fn a_function_that_fails_is_bad_whatever_is_expected() {
    let error = r#"{"errorType":"Runtime.ImportModuleError","errorMessage":"RequestId: 8f507cfc Error: Unable to import module 'app'","stackTrace":["a"]}"#;
    check(fails(error), "", expect![[r#"
        10 expectation
        10 × function error Unhandled: `Runtime.ImportModuleError`: `RequestId: … Error: Unable to import module 'app'`
    "#]]).await;
    check(
        fails("out of memory\n"),
        "",
        expect![[r#"
        10 expectation
        10 × function error Unhandled: `out of memory\n`
    "#]],
    )
    .await;
    check(fails(&format!(r#"{{"errorMessage":"{}"}}"#, "long ".repeat(500))), "", expect![[r#"
        10 expectation
        10 × function error Unhandled: `long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long long l…
    "#]])
        .await;
    let timed_out = r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: 8f507cfc Error: Task timed out after 3.00 seconds"}"#;
    check(
        fails(timed_out),
        "",
        expect![[r#"
        10 timeout
        10 × function error: Task timed out after 3.00 seconds
    "#]],
    )
    .await;
    let before =
        r#"{"errorMessage":"2026-01-01T00:00:00.000Z 8f507cfc Task timed out after 3.00 seconds"}"#;
    check(
        fails(before),
        "",
        expect![[r#"
        10 timeout
        10 × function error: Task timed out after 3.00 seconds
    "#]],
    )
    .await;
    let own = r#"{"errorType":"Error","errorMessage":"Task timed out after lunch"}"#;
    check(
        fails(own),
        "",
        expect![[r#"
        10 expectation
        10 × function error Unhandled: `Error`: `Task timed out after lunch`
    "#]],
    )
    .await;
}

#[tokio::test]
async fn another_version_than_the_one_asked_for_is_no_answer() {
    let other = |version: Option<&str>| Invoked {
        executed_version: version.map(str::to_owned),
        ..returns("{}")
    };
    check(
        other(Some("41")),
        "",
        expect![[r#"
        10 protocol
        10 × asked for version 42, and version 41 ran
    "#]],
    )
    .await;
    check(
        other(None),
        "",
        expect![[r#"
        10 ok
    "#]],
    )
    .await;
}

#[tokio::test]
async fn starts_are_kept_apart_and_what_is_reported_is_summed() {
    let tail = |line: &str| Some(format!("REPORT RequestId: {ID}\t{line}"));
    let with = |line: &str| Invoked { log_tail: tail(line), ..returns("{}") };
    let sums = async |invoked: Invoked| {
        let aws = FakeAws { invocation: Some(invoked), ..FakeAws::new() };
        let tick = probed(aws, "{ lambda: {} }").await;
        let sums = tick.invocations.clone().unwrap();
        (tick.due, sums)
    };
    let (due, sums_of) = sums(with(
        "Duration: 0.01 ms\tBilled Duration: 3 ms\tMax Memory Used: 45 MB\tInit Duration: 400 ms",
    ))
    .await;
    assert_eq!((sums_of.count, sums_of.cold), (due, due));
    assert_eq!(sums_of.billed_millis, 3 * u64::from(due));
    assert_eq!(sums_of.max_memory_bytes, 45 * 1024 * 1024);
    assert_eq!((sums_of.init.count(), sums_of.reported.count()), (due.into(), due.into()));
    let (due, none) = sums(Invoked { log_tail: None, ..returns("{}") }).await;
    assert_eq!((none.count, none.cold, none.billed_millis), (due, 0, 0));
    assert!(none.reported.is_empty() && !none.wall.is_empty(), "the wall clock is left");
}

#[tokio::test]
async fn a_missing_permission_is_not_the_targets_fault_and_is_named() {
    let failures = [(Call::Invoke, Failure::Denied)].into();
    let tick = probed(FakeAws { failures, ..FakeAws::new() }, "{ lambda: {} }").await;
    assert_eq!((tick.judged(), tick.gates_fault()), (0, u64::from(tick.due)));
    expect![[r#"["Invoke of arn:aws:lambda:eu-west-1:123456789012:function:checkout:42 failed: Told; allow `lambda:InvokeFunction` on it to the role gate runs with, see docs/permissions.md (to fail)"]"#]].assert_eq(&format!("{:?}", tick.unmet.keys().collect::<Vec<_>>()));
}

fn refused(code: &str, failure: Failure) -> AwsError {
    AwsError {
        call: Call::Invoke,
        subject: "checkout:42".to_owned(),
        code: code.to_owned(),
        message: String::new(),
        failure,
    }
}

#[test]
fn each_refusal_has_its_outcome_and_only_the_versions_own_count() {
    let target = (Outcome::Refused, Some(Blame::Target));
    let throttled = (Outcome::Throttled, Some(Blame::Aws));
    let not_sent = (Outcome::NotSent, Some(Blame::Gate));
    let away = (Outcome::Unreachable, Some(Blame::Network));
    for (code, expected) in [
        ("TooManyRequestsException", throttled),
        ("EC2ThrottledException", throttled),
        ("ThrottlingException", throttled),
        ("ResourceConflictException", target),
        ("ResourceNotReadyException", target),
        ("SnapStartNotReadyException", target),
        ("SnapStartTimeoutException", target),
        ("SnapStartException", target),
        ("ENILimitReachedException", target),
        ("ENINotReadyException", target),
        ("EC2AccessDeniedException", target),
        ("EC2UnexpectedException", target),
        ("EFSMountTimeoutException", target),
        ("S3FilesMountFailureException", target),
        ("KMSDisabledException", target),
        ("KMSAccessDeniedException", target),
        ("InvalidRuntimeException", target),
        ("InvalidZipFileException", target),
        ("SubnetIPAddressLimitReachedException", target),
        ("ResourceNotFoundException", not_sent),
        ("InvalidRequestContentException", not_sent),
        ("RequestTooLargeException", not_sent),
        ("ServiceException", away),
        ("Unreachable", away),
        ("SomethingNew", away),
        (ANSWER_TOO_LARGE, (Outcome::TooLarge, Some(Blame::Target))),
    ] {
        let found = outcome(&refused(code, Failure::Passing));
        assert_eq!((found, found.blame()), expected, "{code}");
    }
    for failure in [Failure::Denied, Failure::Invalid, Failure::Missing] {
        assert_eq!(outcome(&refused("Whatever", failure)), Outcome::NotSent, "{failure:?}");
    }
}

#[test]
fn a_refusal_is_told_with_a_way_out_and_in_bounds() {
    let told = |error: &AwsError| lost(error).saw.unwrap();
    expect!["Invoke of checkout:42 failed: AccessDeniedException; allow `lambda:InvokeFunction` on it to the role gate runs with, see docs/permissions.md (User: arn:aws:sts::123456789012:assumed-role/gate/x is not authorized)"].assert_eq(&told(&AwsError {
        message: "User: arn:aws:sts::123456789012:assumed-role/gate/x is not authorized".to_owned(),
        ..refused("AccessDeniedException", Failure::Denied)
    }));
    expect!["Invoke of checkout:42 failed: ResourceNotFoundException; the version is gone, or gate looks in another region or account"].assert_eq(&told(&refused("ResourceNotFoundException", Failure::Passing)));
    let long = AwsError {
        message: "line\nbreak ".repeat(100),
        ..refused("TooManyRequestsException", Failure::Passing)
    };
    let saw = told(&long);
    assert!(saw.len() <= policies::plan::SEEN_MAX_BYTES && !saw.contains('\n'), "{saw}");
}
