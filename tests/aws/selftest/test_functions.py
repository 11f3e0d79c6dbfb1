"""Functions as processes: what they get, what they answer, and every way they fail to."""

import base64
import json

import pytest

from conftest import HOOK, Stack
from emulated_aws.scenario.setup import bootstrap_zip, teardown


@pytest.fixture(scope="module")
def one(aws):
    stack = Stack(aws, count=1, function_timeout=2)
    yield stack
    teardown(stack.clients, stack.name)


def invoke(stack, payload=None, **extra):
    answer = stack.clients.functions.invoke(
        FunctionName=stack.out["function"], Payload=json.dumps(payload or {"a": 1}).encode(), **extra
    )
    body = answer["Payload"].read()
    return answer, json.loads(body) if body else None


def test_invoked_with_the_environment_of_lambda(one):
    answer, body = invoke(one, LogType="Tail")
    assert answer["StatusCode"] == 200 and "FunctionError" not in answer and answer["ExecutedVersion"] == "$LATEST"
    assert body["event"] == {"a": 1}
    assert {
        "AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "_HANDLER", "AWS_REGION", "AWS_ENDPOINT_URL",
        "AWS_LAMBDA_FUNCTION_VERSION", "AWS_LAMBDA_LOG_GROUP_NAME", "AWS_LAMBDA_LOG_STREAM_NAME", "HOOK_ANSWER",
    } <= set(body["env"])  # fmt: skip
    assert "PYTHONPATH" not in body["env"], "nothing of the emulator's own environment"
    log = base64.b64decode(answer["LogResult"]).decode()
    assert "REPORT RequestId" in log and "event {'a': 1}" in log


def test_event_is_accepted_without_an_answer(one):
    answer, body = invoke(one, InvocationType="Event")
    assert answer["StatusCode"] == 202 and body is None
    assert invoke(one, InvocationType="DryRun")[0]["StatusCode"] == 204


@pytest.mark.parametrize(
    "behaviour, kind", [("crash", "Runtime.ExitError"), ("error", "Oops"), ("sleep", "Sandbox.Timedout")]
)
def test_function_errors(one, behaviour, kind):
    one.answer(behaviour)
    answer, body = invoke(one)
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled" and body["errorType"] == kind
    one.answer("Succeeded")
    assert "FunctionError" not in invoke(one)[0]


def test_bootstrap_that_cannot_be_run(one):
    functions = one.clients.functions
    import io
    import zipfile

    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        archive.writestr("readme", "no bootstrap")
    functions.update_function_code(FunctionName=one.out["function"], ZipFile=data.getvalue())
    answer, body = invoke(one)
    assert answer["FunctionError"] == "Unhandled" and body["errorType"] == "Runtime.InvalidEntrypoint"
    functions.update_function_code(FunctionName=one.out["function"], ZipFile=bootstrap_zip("exit 4"))
    assert invoke(one)[1]["errorType"] == "Runtime.ExitError"
    functions.update_function_code(FunctionName=one.out["function"], ZipFile=bootstrap_zip(HOOK))
    assert "FunctionError" not in invoke(one)[0]


def test_signs_with_its_own_access_key(one):
    one.clients.functions.update_function_configuration(
        FunctionName=one.out["function"], Environment={"Variables": {"EMULATED_ACCESS_KEY_ID": "relay"}}
    )
    invoke(one, {"DeploymentId": "d-000000000", "LifecycleEventHookExecutionId": "x"})
    _, found = one.aws.control("requests?access_key=relay")
    assert [entry["error"] for entry in found["requests"]] == ["DeploymentDoesNotExistException"]
    one.answer("Succeeded")


def test_large_answers_arrive(one):
    big = "x" * (3 * 1024 * 1024)
    assert invoke(one, {"big": big})[1]["event"]["big"] == big
