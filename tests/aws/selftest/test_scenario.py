"""The scenario's command line: what demos and end-to-end tests type."""

import json
import os
import shlex
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from conftest import SERVICE, eventually
from releases import FUNCTION, HOOK


@pytest.fixture
def scenario(aws):
    """Runs one command: (exit code, the JSON it printed or what it complained of)."""

    def run(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "emulated_aws.scenario", "--endpoint", aws.url, *arguments],
            env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout) if done.returncode == 0 else done.stderr

    return run


@pytest.fixture
def name(scenario):
    """A name for one scenario, torn down at the end."""
    name = f"s{uuid.uuid4().hex[:8]}"
    yield name
    assert scenario("teardown", "--name", name) == (0, {"removed": name})


def test_a_service_is_set_up_deployed_to_watched_and_removed(aws, scenario):
    code, out = scenario(
        "setup-ecs", "--name", "cli", "--command", json.dumps(SERVICE), "--strategy", "LINEAR", "--count", "1",
        "--step-percent", "50", "--step-bake-minutes", "0", "--env", "NAME=blue", "--pause", "PRE_SCALE_UP",
        "--pause-timeout-minutes", "5", "--lambda-hooks", "POST_SCALE_UP,TEST_TRAFFIC_SHIFT", "--bootstrap", HOOK,
        "--function-env", "HOOK_ANSWER=Succeeded", "--events-queue", "cli-events", "--no-wait",
    )  # fmt: skip
    assert code == 0, out
    try:
        first = out["service_deployment_arn"]
        code, timed_out = scenario("wait", "--deployment", first, "--timeout", "0.5")
        assert code == 3 and "AWAITING_ACTION" in timed_out, "the first deployment pauses, too"
        code, shown = scenario("status", "--deployment", first)
        assert (shown["status"], shown["stage"]) == ("IN_PROGRESS", "PRE_SCALE_UP")
        ecs = aws.clients().ecs
        ecs.continue_service_deployment(serviceDeploymentArn=first, hookId=shown["hooks"][0]["hook_id"])
        code, ended = scenario("wait", "--deployment", first)
        assert (code, ended["status"], ended["production_weight"]) == (0, "SUCCESSFUL", 100.0)
        got = aws.clients().sqs.receive_message(QueueUrl=out["events_queue_url"], MaxNumberOfMessages=1)
        assert json.loads(got["Messages"][0]["Body"])["detail"]["eventName"] == "HOOK_AWAITING_ACTION"
        code, made = scenario("deploy-ecs", "--name", "cli", "--command", json.dumps(SERVICE), "--env", "NAME=green")
        assert code == 0 and made["service_deployment_arn"] != first
    finally:
        assert scenario("teardown", "--name", "cli") == (0, {"removed": "cli"})


def test_function_from_setup_to_teardown(aws, scenario, name):
    code, out = scenario(
        "setup-function", "--name", name, "--bootstrap", FUNCTION, "--env", "NAME=first", "MODE=a",
        "--hook-bootstrap", HOOK, "--hook-env", "HOOK_ANSWER=Succeeded", "--log-format", "JSON",
    )  # fmt: skip
    assert code == 0, out
    assert out == {
        "application": name, "deployment_group": f"{name}-group", "function": name, "alias": "live",
        "alias_arn": f"arn:aws:lambda:us-east-1:123456789012:function:{name}:live", "version": "1",
        "hook": f"CodeDeployHook_{name}",
    }  # fmt: skip
    code, made = scenario(
        "deploy-function", "--name", name, "--bootstrap", f"NAME=third {shlex.quote('env')} {FUNCTION[5:]}",
        "--hooks", "BeforeAllowTraffic", "--config", "CodeDeployDefault.LambdaCanary10Percent30Minutes",
    )  # fmt: skip
    assert code == 0 and (made["current_version"], made["target_version"]) == ("1", "2"), made
    deployment = made["deployment_id"]
    code, told = scenario("wait", "--deployment", deployment, "--timeout", "0.1")
    assert code == 3 and "InProgress" in told
    assert scenario("deploy-function", "--name", name)[0] == 1, "one deployment at a time"
    _, seen = scenario("status", "--deployment", deployment)
    assert seen["versions"] == {"current": "1", "target": "2"} and seen["events"]["BeforeAllowTraffic"] == "Succeeded"
    aws.clients().codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
    code, ended = scenario("wait", "--deployment", deployment)
    assert code == 0 and ended["status"] == "Stopped" and ended["rollback"]["status"] == "Succeeded"
    answer = aws.clients().functions.invoke(FunctionName=name, Qualifier="2")
    assert json.loads(answer["Payload"].read())["name"] == "third"


def test_service_waits_for_a_go_ahead_from_setup_to_teardown(aws, scenario, name):
    command = json.dumps(SERVICE)
    code, out = scenario(
        "setup", "--name", name, "--command", command, "--bootstrap", HOOK, "--count", "1",
        "--ready-wait-minutes", "60",
    )  # fmt: skip
    assert code == 0, out
    _, made = scenario("deploy", "--name", name, "--command", command, "--env", "NAME=green", "--hooks", "")
    eventually(lambda: aws.deployment(made["deployment_id"])["status"] == "Ready")
    assert scenario("status", "--deployment", made["deployment_id"])[1]["status"] == "Ready"
    aws.clients().codedeploy.continue_deployment(
        deploymentId=made["deployment_id"], deploymentWaitType="READY_WAIT"
    )  # fmt: skip
    code, ended = scenario("wait", "--deployment", made["deployment_id"])
    assert code == 0 and ended["status"] == "Succeeded" and ended["traffic"]["green"] == 100.0


def test_setup_says_what_is_asked_wrongly(scenario):
    code, said = scenario(
        "setup-ecs", "--name", "wrong", "--command", '["x"]', "--lambda-hooks", "PRE_SCALE_UP", "--count", "1"
    )
    assert code == 2 and "--bootstrap" in said


def test_asked_wrongly(scenario):
    assert scenario("setup-function", "--name", "x", "--bootstrap", "y", "--env", "novalue")[0] == 2
    assert scenario("teardown", "--name", "nobody")[0] == 1
