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


def scenario(aws, *arguments):
    """(exit code, the JSON it printed or what it complained of)."""
    done = subprocess.run(
        [sys.executable, "-m", "emulated_aws.scenario", "--endpoint", aws.url, *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}, capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout) if done.returncode == 0 else done.stderr


@pytest.fixture
def name(aws):
    """A name for one scenario, torn down at the end."""
    name = f"s{uuid.uuid4().hex[:8]}"
    yield name
    assert scenario(aws, "teardown", "--name", name) == (0, {"removed": name})


def test_function_from_setup_to_teardown(aws, name):
    code, out = scenario(
        aws, "setup-function", "--name", name, "--bootstrap", FUNCTION, "--env", "NAME=first", "MODE=a",
        "--hook-bootstrap", HOOK, "--hook-env", "HOOK_ANSWER=Succeeded", "--log-format", "JSON",
    )  # fmt: skip
    assert code == 0, out
    assert out == {
        "application": name, "deployment_group": f"{name}-group", "function": name, "alias": "live",
        "alias_arn": f"arn:aws:lambda:us-east-1:123456789012:function:{name}:live", "version": "1",
        "hook": f"CodeDeployHook_{name}",
    }  # fmt: skip
    code, made = scenario(
        aws, "deploy-function", "--name", name, "--bootstrap", f"NAME=third {shlex.quote('env')} {FUNCTION[5:]}",
        "--hooks", "BeforeAllowTraffic", "--config", "CodeDeployDefault.LambdaCanary10Percent30Minutes",
    )  # fmt: skip
    assert code == 0 and (made["current_version"], made["target_version"]) == ("1", "2"), made
    deployment = made["deployment_id"]
    code, told = scenario(aws, "wait", "--deployment", deployment, "--timeout", "0.1")
    assert code == 3 and "InProgress" in told
    assert scenario(aws, "deploy-function", "--name", name)[0] == 1, "one deployment at a time"
    _, seen = scenario(aws, "status", "--deployment", deployment)
    assert seen["versions"] == {"current": "1", "target": "2"} and seen["events"]["BeforeAllowTraffic"] == "Succeeded"
    aws.clients().codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
    code, ended = scenario(aws, "wait", "--deployment", deployment)
    assert code == 0 and ended["status"] == "Stopped" and ended["rollback"]["status"] == "Succeeded"
    answer = aws.clients().functions.invoke(FunctionName=name, Qualifier="2")
    assert json.loads(answer["Payload"].read())["name"] == "third"


def test_service_waits_for_a_go_ahead_from_setup_to_teardown(aws, name):
    command = json.dumps(SERVICE)
    code, out = scenario(
        aws, "setup", "--name", name, "--command", command, "--bootstrap", HOOK, "--count", "1",
        "--ready-wait-minutes", "60",
    )  # fmt: skip
    assert code == 0, out
    _, made = scenario(aws, "deploy", "--name", name, "--command", command, "--env", "NAME=green", "--hooks", "")
    eventually(lambda: aws.deployment(made["deployment_id"])["status"] == "Ready")
    assert scenario(aws, "status", "--deployment", made["deployment_id"])[1]["status"] == "Ready"
    aws.clients().codedeploy.continue_deployment(
        deploymentId=made["deployment_id"], deploymentWaitType="READY_WAIT"
    )  # fmt: skip
    code, ended = scenario(aws, "wait", "--deployment", made["deployment_id"])
    assert code == 0 and ended["status"] == "Succeeded" and ended["traffic"]["green"] == 100.0


def test_asked_wrongly(aws):
    assert scenario(aws, "setup-function", "--name", "x", "--bootstrap", "y", "--env", "novalue")[0] == 2
    assert scenario(aws, "teardown", "--name", "nobody")[0] == 1
