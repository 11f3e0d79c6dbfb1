"""The scenario command line for services under the ECS controller, as demos and end-to-end tests call it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import HOOK, SERVICE


@pytest.fixture
def scenario(aws):
    """Runs one command: (exit code, what it printed as JSON)."""

    def run(*arguments):
        environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[1])}
        done = subprocess.run(
            [sys.executable, "-m", "emulated_aws.scenario", "--endpoint", aws.url, *arguments],
            env=environment, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr

    return run


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


def test_setup_says_what_is_asked_wrongly(scenario):
    code, said = scenario(
        "setup-ecs", "--name", "wrong", "--command", '["x"]', "--lambda-hooks", "PRE_SCALE_UP", "--count", "1"
    )
    assert code == 2 and "--bootstrap" in said
