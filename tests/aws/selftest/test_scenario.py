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
from emulated_aws.scenario.events import make_queue, of_codedeploy, remove_queue
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


def heard(aws, url, source, number):
    """What a queue got from the source until there was so much: (deployment or hook's stage, state or name) of each."""
    sqs, seen = aws.clients().sqs, []

    def look():
        for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            event = json.loads(message["Body"])
            detail = event["detail"]
            if event["source"] == source:
                seen.append((
                    detail.get("deploymentId") or detail["lifecycleStage"], detail.get("state") or detail["eventName"]
                ))  # fmt: skip
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return len(seen) >= number

    eventually(look, what=f"{number} events")
    return seen


def test_a_service_is_set_up_deployed_to_watched_and_removed(aws, scenario, name):
    code, out = scenario(
        "setup-ecs", "--name", name, "--command", json.dumps(SERVICE), "--strategy", "LINEAR", "--count", "1",
        "--step-percent", "50", "--step-bake-minutes", "0", "--env", "NAME=blue", "--pause", "PRE_SCALE_UP",
        "--pause-timeout-minutes", "5", "--lambda-hooks", "POST_SCALE_UP,TEST_TRAFFIC_SHIFT", "--bootstrap", HOOK,
        "--function-env", "HOOK_ANSWER=Succeeded", "--events-queue", f"{name}-events", "--no-wait",
    )  # fmt: skip
    assert code == 0, out
    first = out["service_deployment_arn"]
    code, timed_out = scenario("wait", "--deployment", first, "--timeout", "0.5")
    assert code == 3 and "AWAITING_ACTION" in timed_out, "the first deployment pauses, too"
    code, shown = scenario("status", "--deployment", first)
    assert (shown["status"], shown["stage"]) == ("IN_PROGRESS", "PRE_SCALE_UP")
    ecs = aws.clients().ecs
    ecs.continue_service_deployment(serviceDeploymentArn=first, hookId=shown["hooks"][0]["hook_id"])
    code, ended = scenario("wait", "--deployment", first)
    assert (code, ended["status"], ended["production_weight"]) == (0, "SUCCESSFUL", 100.0)
    (paused, *_) = heard(aws, out["queue_url"], "aws.ecs", 1)
    assert paused == ("PRE_SCALE_UP", "HOOK_AWAITING_ACTION")
    code, made = scenario("deploy-ecs", "--name", name, "--command", json.dumps(SERVICE), "--env", "NAME=green")
    assert code == 0 and made["service_deployment_arn"] != first


def test_the_queue_of_a_service_hears_of_every_deployment_by_codedeploy(aws, new_native, release):
    queue = new_native(strategy="ROLLING", events_queue=f"{release.name}-events").out["queue_url"]
    deployment = release.deploy()
    events = eventually(
        lambda: [state for which, state in heard(aws, queue, "aws.codedeploy", 1) if which == deployment]
    )
    assert events[0] == "START"


def test_a_queue_goes_with_the_last_scenario_that_hears_by_it(aws):
    clients = aws.clients()
    for scenario in ("shared-a", "shared-b"):
        url = make_queue(clients, scenario, "shared", of_codedeploy(scenario))
    remove_queue(clients, "shared-a")
    assert clients.sqs.get_queue_url(QueueName="shared")["QueueUrl"] == url
    remove_queue(clients, "shared-b")
    with pytest.raises(clients.sqs.exceptions.QueueDoesNotExist):
        clients.sqs.get_queue_url(QueueName="shared")
    assert clients.events.list_rules(NamePrefix="shared-")["Rules"] == []


def test_function_from_setup_to_teardown(aws, scenario, name):
    code, out = scenario(
        "setup-function", "--name", name, "--bootstrap", FUNCTION, "--env", "NAME=first", "MODE=a",
        "--hook-bootstrap", HOOK, "--hook-env", "HOOK_ANSWER=Succeeded", "--log-format", "JSON",
        "--events-queue", f"{name}-events",
    )  # fmt: skip
    assert code == 0, out
    queue = out.pop("queue_url")
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
    rollback = ended["rollback"]["deployment_id"]
    assert heard(aws, queue, "aws.codedeploy", 4) == [
        (deployment, "START"), (deployment, "STOP"), (rollback, "START"), (rollback, "SUCCESS"),
    ]  # fmt: skip
    answer = aws.clients().functions.invoke(FunctionName=name, Qualifier="2")
    assert json.loads(answer["Payload"].read())["name"] == "third"


def test_service_waits_for_a_go_ahead_from_setup_to_teardown(aws, scenario, name):
    command = json.dumps(SERVICE)
    code, out = scenario(
        "setup", "--name", name, "--command", command, "--bootstrap", HOOK, "--count", "1",
        "--ready-wait-minutes", "60", "--events-queue", f"{name}-events",
    )  # fmt: skip
    assert code == 0, out
    _, made = scenario("deploy", "--name", name, "--command", command, "--env", "NAME=green", "--hooks", "")
    deployment = made["deployment_id"]
    assert heard(aws, out["queue_url"], "aws.codedeploy", 2) == [(deployment, "START"), (deployment, "READY")]
    assert scenario("status", "--deployment", deployment)[1]["status"] == "Ready"
    aws.clients().codedeploy.continue_deployment(deploymentId=deployment, deploymentWaitType="READY_WAIT")
    code, ended = scenario("wait", "--deployment", deployment)
    assert code == 0 and ended["status"] == "Succeeded" and ended["traffic"]["green"] == 100.0


def test_setup_says_what_is_asked_wrongly(scenario):
    code, said = scenario(
        "setup-ecs", "--name", "wrong", "--command", '["x"]', "--lambda-hooks", "PRE_SCALE_UP", "--count", "1"
    )
    assert code == 2 and "--bootstrap" in said


def test_asked_wrongly(scenario):
    assert scenario("setup-function", "--name", "x", "--bootstrap", "y", "--env", "novalue")[0] == 2
    assert scenario("teardown", "--name", "nobody")[0] == 1
