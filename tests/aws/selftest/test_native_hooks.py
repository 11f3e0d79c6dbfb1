"""Hooks of service deployments: pauses with their events and answers, functions with their payloads and answers."""

import datetime
import re
import time

import pytest
from botocore.exceptions import ClientError

from conftest import Emulator, eventually
from native import PAUSABLE, Native

LAMBDA_STAGES = (
    "PRE_SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT", "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT",
)  # fmt: skip


def first(one):
    return one.out["service_deployment_arn"]


def refused(one, arn, hook, action="CONTINUE"):
    with pytest.raises(ClientError) as raised:
        one.aws.loose("ecs").continue_service_deployment(serviceDeploymentArn=arn, hookId=hook, action=action)
    return raised.value.response["Error"]["Code"]


# === pauses ===


def test_the_first_deployment_pauses_at_every_stage_that_can_pause(new_native):
    one = new_native(pause=PAUSABLE, wait=False)
    hooks = [one.go(first(one), stage) for stage in PAUSABLE]
    assert one.wait(first(one))["status"] == "SUCCESSFUL"
    assert len(set(hooks)) == len(PAUSABLE), "a hook id for every pause"
    assert all(re.fullmatch(r"ecs-pause-[\w-]{43}", hook) for hook in hooks)


def test_pauses_are_announced_on_the_bus(new_native):
    one = new_native(pause=("POST_SCALE_UP", "POST_TEST_TRAFFIC_SHIFT"), wait=False, pause_timeout_minutes=30,
                     events_queue="heard")  # fmt: skip
    hook = one.paused(first(one), "POST_SCALE_UP")
    assert hook["targetType"] == "PAUSE" and hook["timeoutAction"] == "ROLLBACK"
    left = hook["expiresAt"] - datetime.datetime.now(datetime.UTC)
    assert 50 < left.total_seconds() <= 60, "half an hour at 30 AWS seconds a second"
    (event,) = one.events(1)
    assert event["source"] == "aws.ecs" and event["detail-type"] == "ECS Hook State Change"
    assert event["resources"] == [first(one)] and event["region"] == "us-east-1"
    detail = event["detail"]
    stamps = {name: detail.pop(name) for name in ("expiresAt", "updatedAt")}
    assert detail == {
        "eventType": "INFO", "eventName": "HOOK_AWAITING_ACTION", "hookId": hook["hookId"], "hookType": "PAUSE",
        "lifecycleStage": "POST_SCALE_UP", "clusterArn": one.out["cluster_arn"], "serviceArn": one.out["service_arn"],
        "serviceDeploymentArn": first(one),
    }  # fmt: skip
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stamps["expiresAt"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", stamps["updatedAt"])
    one.go(first(one), "POST_SCALE_UP")
    one.go(first(one), "POST_TEST_TRAFFIC_SHIFT", action="ROLLBACK")
    names = [found["detail"]["eventName"] for found in one.events(3)]
    assert sorted(names) == ["HOOK_AWAITING_ACTION", "HOOK_FAILED", "HOOK_SUCCEEDED"]


def test_deployments_are_announced_on_the_bus(new_native):
    one = new_native(pause=("POST_TEST_TRAFFIC_SHIFT",), wait=False)
    one.go(first(one))
    one.wait(first(one))
    url = one.clients.sqs.create_queue(QueueName=one.name)["QueueUrl"]
    arn = one.clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = f'{{"detail-type": ["ECS Deployment State Change"], "resources": ["{one.out["service_arn"]}"]}}'
    one.clients.events.put_rule(Name=one.name, EventPattern=pattern)
    one.clients.events.put_targets(Rule=one.name, Targets=[{"Id": "queue", "Arn": arn}])
    one.out["queue_url"] = url
    deployment = one.deploy()
    one.go(deployment, action="ROLLBACK")
    one.wait(deployment)
    details = [event["detail"] for event in one.events(4)]
    assert [(one["eventName"], one["eventType"]) for one in details] == [
        ("SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO"), ("SERVICE_DEPLOYMENT_FAILED", "ERROR"),
        ("SERVICE_DEPLOYMENT_IN_PROGRESS", "INFO"), ("SERVICE_DEPLOYMENT_COMPLETED", "INFO"),
    ]  # fmt: skip
    shown = one.describe(deployment)
    green, blue = shown["targetServiceRevision"]["arn"], shown["sourceServiceRevisions"][0]["arn"]
    numbers = [f"ecs-svc/{arn.rpartition('/')[2]}" for arn in (green, green, blue, blue)]
    assert [one["deploymentId"] for one in details] == numbers and "olling back" in details[2]["reason"]
    one.clients.events.remove_targets(Rule=one.name, Ids=["queue"])
    one.clients.events.delete_rule(Name=one.name)


def test_a_pause_takes_one_answer_only(new_native):
    one = new_native(pause=("PRE_SCALE_UP", "POST_SCALE_UP"), wait=False)
    nobody = first(one)[:-3] + "xxx"
    assert refused(one, nobody, "ecs-pause-x") == "ServiceDeploymentNotFoundException"
    assert refused(one, first(one), "ecs-pause-x") == "InvalidParameterException"
    assert refused(one, first(one), "ecs-pause-x", "PERHAPS") == "InvalidParameterException"
    hook = one.paused(first(one), "PRE_SCALE_UP")["hookId"]
    answered = one.ecs.continue_service_deployment(serviceDeploymentArn=first(one), hookId=hook)
    assert answered["serviceDeploymentArn"] == first(one), "CONTINUE is the default"
    assert refused(one, first(one), hook, "ROLLBACK") == "InvalidParameterException"
    assert one.go(first(one), "POST_SCALE_UP") != hook
    assert one.wait(first(one))["status"] == "SUCCESSFUL"
    assert refused(one, first(one), hook) == "InvalidParameterException"


@pytest.mark.parametrize("action, status", [("ROLLBACK", "ROLLBACK_SUCCESSFUL"), ("CONTINUE", "SUCCESSFUL")])
def test_a_pause_nobody_answers_times_out(new_native, action, status):
    one = new_native(pause=("POST_TEST_TRAFFIC_SHIFT",), pause_timeout_minutes=1, pause_timeout_action=action,
                     wait=False, events_queue=f"timeouts-{action}")  # fmt: skip
    one.go(first(one))
    one.wait(first(one))
    ended = one.wait(one.deploy())
    assert ended["status"] == status and ended["hooks"][0]["status"] == "TIMED_OUT"
    names = [event["detail"]["eventName"] for event in one.events(4)]
    assert names == ["HOOK_AWAITING_ACTION", "HOOK_SUCCEEDED", "HOOK_AWAITING_ACTION", "HOOK_TIMED_OUT"]


def test_stopping_ends_a_pause(new_native):
    one = new_native(pause=("POST_TEST_TRAFFIC_SHIFT",), wait=False)
    one.go(first(one))
    one.wait(first(one))
    deployment = one.deploy()
    hook = one.paused(deployment)["hookId"]
    one.ecs.stop_service_deployment(serviceDeploymentArn=deployment)
    assert refused(one, deployment, hook) == "InvalidParameterException"
    ended = one.wait(deployment)
    assert ended["status"] == "ROLLBACK_SUCCESSFUL" and ended["hooks"] == [
        {"hook_id": hook, "type": "PAUSE", "status": "FAILED"}
    ]


# === functions ===


def test_a_function_is_asked_at_every_stage_with_the_payload_of_aws(new_native):
    one = new_native(lambda_hooks=LAMBDA_STAGES, answer="Succeeded", hook_details={"team": "gate"})
    arn = one.deploy()
    assert one.wait(arn)["status"] == "SUCCESSFUL"
    runs = one.machine(arn)["hooks"]
    assert [run["stage"] for run in runs] == list(LAMBDA_STAGES)
    shown = one.describe(arn)
    green, blue = shown["targetServiceRevision"]["arn"], shown["sourceServiceRevisions"][0]["arn"]
    for run in runs:
        (invocation,) = run["invocations"]
        moved = {green: 100, blue: 0}
        assert invocation["payload"] == {
            "executionId": run["execution_id"], "lifecycleStage": run["stage"], "resourceArn": arn,
            "hookDetails": {"team": "gate"},
            "executionDetails": {
                "serviceArn": one.out["service_arn"], "targetServiceRevisionArn": green,
                "testTrafficWeights": moved if run["stage"] == "TEST_TRAFFIC_SHIFT" else {},
                "productionTrafficWeights": moved if run["stage"] == "PRODUCTION_TRAFFIC_SHIFT" else {},
            },
        }  # fmt: skip
    details = shown["lifecycleHookDetails"]
    assert {one["status"] for one in details} == {"SUCCEEDED"} and {one["targetType"] for one in details} == {
        "AWS_LAMBDA"
    }
    assert details[0]["targetArn"].endswith(f":function:{one.out['function']}")


def test_a_function_in_progress_is_asked_again_with_what_it_said(new_native):
    one = new_native(lambda_hooks=("PRE_SCALE_UP",), answer="later", hook_details={"team": "gate"})
    (run,) = one.machine(first(one))["hooks"]
    payloads = [invocation["payload"] for invocation in run["invocations"]]
    assert [payload["hookDetails"] for payload in payloads] == [
        {"team": "gate"}, {"team": "gate", "count": 1}, {"team": "gate", "count": 2},
    ]  # fmt: skip
    assert len({payload["executionId"] for payload in payloads}) == 1 and run["status"] == "SUCCEEDED"


def test_a_function_that_does_not_succeed_rolls_back(new_native):
    one = new_native(lambda_hooks=("POST_TEST_TRAFFIC_SHIFT",), answer="Succeeded")
    for answer in ("fail at POST_TEST_TRAFFIC_SHIFT", "silent", "crash", "error"):
        one.answer(answer)
        ended = one.wait(one.deploy())
        assert ended["status"] == "ROLLBACK_SUCCESSFUL" and ended["hooks"][0]["status"] == "FAILED", answer
        assert "POST_TEST_TRAFFIC_SHIFT" in ended["reason"] and one.get("test") == (200, "blue")


def test_a_rollback_asks_the_functions_of_the_shifts_again(new_native):
    one = new_native(lambda_hooks=("TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT"),
                     answer="Succeeded")  # fmt: skip
    one.answer("fail at POST_PRODUCTION_TRAFFIC_SHIFT")
    arn = one.deploy()
    assert one.wait(arn)["status"] == "ROLLBACK_SUCCESSFUL"
    runs = one.machine(arn)["hooks"]
    assert [run["stage"] for run in runs] == [
        "TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT",
        "PRODUCTION_TRAFFIC_SHIFT", "TEST_TRAFFIC_SHIFT",
    ]  # fmt: skip
    shown = one.describe(arn)
    green, blue = shown["targetServiceRevision"]["arn"], shown["sourceServiceRevisions"][0]["arn"]
    back = {green: 0, blue: 100}
    production, test = (run["invocations"][0]["payload"]["executionDetails"] for run in runs[3:])
    assert production["productionTrafficWeights"] == back and test["testTrafficWeights"] == back
    assert production["targetServiceRevisionArn"] == green, "still green"


def test_a_rollback_whose_function_fails_is_failed(new_native):
    one = new_native(lambda_hooks=("PRODUCTION_TRAFFIC_SHIFT",), answer="Succeeded")
    one.answer("Failed")
    arn = one.deploy()
    assert one.wait(arn)["status"] == "ROLLBACK_FAILED" and one.get() == (200, "blue")
    one.answer("Succeeded")
    after = one.deploy("after")
    assert one.wait(after)["status"] == "SUCCESSFUL" and one.stages(after)[0] == "RECONCILE_SERVICE"


def test_a_function_that_never_ends_times_out(new_native):
    one = new_native(lambda_hooks=("PRE_SCALE_UP",), answer="Succeeded", hook_timeout_minutes=1)
    one.answer("never")
    begun = time.monotonic()
    ended = one.wait(one.deploy())
    assert ended["status"] == "ROLLBACK_SUCCESSFUL" and ended["hooks"][0]["status"] == "TIMED_OUT"
    assert time.monotonic() - begun < 15


def test_one_hook_of_a_stage_that_fails_ends_the_others(new_native):
    one = new_native(lambda_hooks=("POST_SCALE_UP",), answer="Succeeded", pause=("POST_SCALE_UP",), wait=False)
    one.go(first(one))
    one.wait(first(one))
    one.answer("Failed")
    arn = one.deploy()
    assert one.wait(arn)["status"] == "ROLLBACK_SUCCESSFUL"
    assert {hook["status"] for hook in one.describe(arn)["lifecycleHookDetails"]} == {"FAILED"}


def test_the_flat_payload_of_older_guides(tmp_path):
    emulator = Emulator(tmp_path, "--time-scale", "30", "--flat-hook-payload")
    try:
        one = Native(emulator, lambda_hooks=("TEST_TRAFFIC_SHIFT",), answer="Succeeded")
        (run,) = one.machine(first(one))["hooks"]
        payload = run["invocations"][0]["payload"]
        target = one.describe(first(one))["targetServiceRevision"]["arn"]
        assert "executionDetails" not in payload and payload["targetServiceRevisionArn"] == target
        assert payload["testTrafficWeights"] == {target: 100}
    finally:
        emulator.stop()
    eventually(lambda: emulator.process.poll() is not None)
