"""What an invocation runs on, what it tells of itself, and when there is no room for it."""

import base64
import json
import re
import threading
import time

import pytest
from botocore.exceptions import ClientError

from conftest import eventually

REPORT = re.compile(
    r"REPORT RequestId: (?P<id>[0-9a-f-]{36})\tDuration: (?P<duration>\d+\.\d\d) ms\t"
    r"Billed Duration: (?P<billed>\d+) ms\tMemory Size: 128 MB\tMax Memory Used: (?P<used>\d+) MB\t"
    r"(?:Init Duration: (?P<init>\d+\.\d\d) ms\t)?(?P<rest>.*)\n"
)


def counts(function):
    """The control API's view of one function."""
    listed = function.aws.control("functions")[1]["functions"]
    return next(one for one in listed if one["name"] == function.name)


def together(function, number, event, qualifier=None):
    """So many invocations at once; what became of each."""
    seen = []

    def one():
        try:
            seen.append(function.invoke(qualifier, event)[1])
        except ClientError as error:
            seen.append(error.response)

    threads = [threading.Thread(target=one) for _ in range(number)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return seen


def test_event_goes_to_who_still_listens(new_function):
    function = new_function()
    _, first = function.invoke(event={"hang_up": 0.1})
    time.sleep(0.3)  # it has hung up and asked again by then
    assert function.invoke()[1]["pid"] == first["pid"]


def test_alias_spreads_invocations_by_weight(new_function):
    function = new_function()
    function.publish()
    function.publish("second")
    function.api.create_alias(
        FunctionName=function.name, Name="live", FunctionVersion="1",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.2}},
    )  # fmt: skip
    answers = [function.invoke("live") for _ in range(20)]
    executed = [answer["ExecutedVersion"] for answer, _ in answers]
    assert executed.count("2") == 4 and executed.count("1") == 16
    assert all(body["version"] == version for (_, body), version in zip(answers, executed, strict=True))
    assert {body["name"] for _, body in answers} == {"first", "second"}
    assert {body["arn"].rpartition(":")[2] for _, body in answers} == {"live"}
    for weight, only in ((0.0, "1"), (1.0, "2")):
        function.api.update_alias(
            FunctionName=function.name, Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": weight}}
        )
        assert {function.invoke("live")[0]["ExecutedVersion"] for _ in range(5)} == {only}
    seen = counts(function)
    assert {number: one["invocations"] for number, one in seen["versions"].items()} == {"$LATEST": 0, "1": 21, "2": 9}
    assert seen["aliases"]["live"] == {"version": "1", "weights": {"2": 1.0}, "invocations": 30}


def test_report_is_as_lambda_prints_it(new_function):
    function = new_function()
    answer, text = function.log({"sleep": 0.05})
    lines = text.splitlines()
    request = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    assert lines[0] == f"START RequestId: {request} Version: $LATEST"
    assert lines[-2] == f"END RequestId: {request}"
    report = REPORT.search(text)
    assert report and report["id"] == request and report["rest"] == "" and text.endswith("\t\n")
    assert 50 <= float(report["duration"]) < 1000 and float(report["init"]) > 1
    assert int(report["billed"]) - 1 < float(report["duration"]) <= int(report["billed"])
    assert 1 < int(report["used"]) < 100
    warm = REPORT.search(function.log({})[1])
    assert warm and warm["init"] is None and float(warm["duration"]) < float(report["duration"])
    assert "LogResult" not in function.invoke()[0]


def test_log_tail_is_the_last_four_kilobytes(new_function):
    _, text = new_function().log({"chatter": 6000})
    assert len(text) == 4096 and text.startswith("xxx") and REPORT.search(text)


def test_report_as_json(new_function):
    function = new_function(LoggingConfig={"LogFormat": "JSON"})
    function.publish()
    answer, text = function.log({}, "1")
    request = answer["ResponseMetadata"]["HTTPHeaders"]["x-amzn-requestid"]
    start, *_, report = (json.loads(line) for line in text.splitlines() if line.startswith("{"))
    assert start["type"] == "platform.start" and start["record"] == {"requestId": request, "version": "1"}
    assert report["type"] == "platform.report" and report["record"]["status"] == "success"
    metrics = report["record"]["metrics"]
    assert set(metrics) == {"durationMs", "billedDurationMs", "memorySizeMB", "maxMemoryUsedMB", "initDurationMs"}
    warm = json.loads(function.log({"fail": "on purpose"}, "1")[1].splitlines()[-1])
    assert "initDurationMs" not in warm["record"]["metrics"] and warm["record"]["status"] == "error"


def test_log_level_may_drop_the_report(new_function):
    function = new_function(LoggingConfig={"LogFormat": "JSON", "SystemLogLevel": "WARN"}, Timeout=1)
    assert function.log({})[1] == " event {}\n"
    assert json.loads(function.log({"sleep": 9})[1].splitlines()[-1])["record"]["status"] == "timeout"


def test_timeout_is_told_to_the_caller_and_in_the_log(new_function):
    function = new_function(Timeout=1)
    answer, text = function.log({"sleep": 9})
    assert answer["StatusCode"] == 200 and answer["FunctionError"] == "Unhandled"
    assert (
        re.search(r"Z [0-9a-f-]{36} Task timed out after 1\.\d\d seconds", text)
        and REPORT.search(text)["rest"] == "Status: timeout"
    )
    _, body = function.invoke(event={"sleep": 9})
    assert body["errorType"] == "Sandbox.Timedout" and body["errorMessage"].endswith(
        "Task timed out after 1.00 seconds"
    )
    assert 0 < function.invoke()[1]["left_ms"] <= 1000


@pytest.mark.parametrize("event, kind", [({"exit": 3}, "Runtime.ExitError"), ({"fail": "no"}, "Oops")])
def test_function_error_is_told_apart_in_the_report(new_function, event, kind):
    function = new_function()
    answer, text = function.log(event)
    assert answer["FunctionError"] == "Unhandled"
    crashed = kind == "Runtime.ExitError"
    assert REPORT.search(text)["rest"] == ("Status: error\tError Type: Runtime.ExitError" if crashed else "")
    assert counts(function)["versions"]["$LATEST"]["errors"] == 1
    assert function.invoke()[1]["name"] == "first", "the next one works"
    assert counts(function)["versions"]["$LATEST"]["cold_starts"] == (2 if crashed else 1)


@pytest.mark.parametrize("variable, kind", [("BROKEN", "Runtime.ExitError"), ("INIT_ERROR", "NoDatabase")])
def test_process_that_never_asks_for_an_event(new_function, variable, kind):
    function = new_function(variables={variable: "1"})
    answer, body = function.invoke()
    assert answer["FunctionError"] == "Unhandled" and body["errorType"] == kind
    assert "Status: error" in function.log()[1]


def test_processes_start_when_none_is_idle_and_are_used_again(new_function):
    function = new_function()
    pids = {body["pid"] for body in together(function, 3, {"sleep": 0.5})}
    assert len(pids) == 3
    assert function.invoke()[1]["pid"] in pids
    assert counts(function)["versions"]["$LATEST"] == {
        "invocations": 4, "errors": 0, "cold_starts": 3, "processes": 3,
    }  # fmt: skip


def test_reserved_concurrency_throttles(new_function):
    function = new_function()
    limit = {"FunctionName": function.name, "ReservedConcurrentExecutions": 2}
    assert function.api.put_function_concurrency(**limit)["ReservedConcurrentExecutions"] == 2
    assert function.api.get_function(FunctionName=function.name)["Concurrency"]["ReservedConcurrentExecutions"] == 2
    function.api = function.aws.loose("lambda")  # without retries
    seen = together(function, 4, {"sleep": 0.5})
    refused = [one for one in seen if "Error" in one]
    assert len(refused) == 2 and counts(function)["throttles"] == 2
    assert refused[0]["Error"]["Code"] == "TooManyRequestsException"
    assert refused[0]["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert refused[0]["ResponseMetadata"]["HTTPStatusCode"] == 429
    function.api.delete_function_concurrency(FunctionName=function.name)
    assert function.api.get_function_concurrency(FunctionName=function.name).get("ReservedConcurrentExecutions") is None
    with pytest.raises(ClientError, match="below its minimum value"):
        function.api.put_function_concurrency(**limit | {"ReservedConcurrentExecutions": 901})


def test_event_waits_for_room(new_function):
    function = new_function()
    function.api.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    assert function.invoke(InvocationType="Event")[0]["StatusCode"] == 202
    eventually(lambda: counts(function)["throttles"])
    assert counts(function)["versions"]["$LATEST"]["invocations"] == 0
    function.api.delete_function_concurrency(FunctionName=function.name)
    eventually(lambda: counts(function)["versions"]["$LATEST"]["invocations"] == 1)


def test_client_context_reaches_the_function(new_function):
    function = new_function()
    context = base64.b64encode(b'{"custom": 1}').decode()
    assert function.invoke(ClientContext=context)[1]["context"] == context
    with pytest.raises(ClientError, match="InvalidRequestContentException"):
        function.invoke(ClientContext="no")
