"""Functions in pipelines: the job they are given, the results they put, and being asked again."""

import uuid

from conftest import eventually
from pipelines import approval, code, invoke, job


def test_a_function_gets_a_job_and_its_success_lets_the_execution_on(aws, pipe, job_function):
    seen = len(job_function[1]())
    action = invoke(job_function[0], namespace="verify", inputArtifacts=[{"name": "code"}])
    action["configuration"]["UserParameters"] = '{"policy":"#{variables.policy}"}'
    one = pipe(
        action, approval("Gate", CustomData="#{verify.verdict}") | {"runOrder": 2},
        variables=[{"name": "policy", "defaultValue": "web"}],
    )  # fmt: skip
    execution = one.start(variables=[{"name": "policy", "value": "api"}])
    given = job(job_function, seen)
    assert given["accountId"] == "123456789012" and set(given) == {"id", "accountId", "data"}
    assert given["data"]["actionConfiguration"]["configuration"] == {
        "FunctionName": job_function[0], "UserParameters": '{"policy":"api"}',
    }  # fmt: skip
    assert set(given["data"]["artifactCredentials"]) == {"accessKeyId", "secretAccessKey", "sessionToken"}
    assert given["data"]["inputArtifacts"][0]["name"] == "code" and "continuationToken" not in given["data"]
    one.client.put_job_success_result(
        jobId=given["id"], outputVariables={"verdict": "pass"},
        executionDetails={"summary": "8 checks", "externalExecutionId": "v-1", "percentComplete": 100},
    )  # fmt: skip
    (run,) = one.runs(execution, "Verify")
    assert run["status"] == "Succeeded" and run["output"]["outputVariables"] == {"verdict": "pass"}
    assert run["output"]["executionResult"] == {"externalExecutionId": "v-1", "externalExecutionSummary": "8 checks"}
    (gate,) = eventually(lambda: one.runs(execution, "Gate"))
    assert gate["input"]["resolvedConfiguration"]["CustomData"] == "pass"
    again = {"jobId": given["id"]}
    assert code(one.client.put_job_success_result, **again) == "InvalidJobStateException"


def test_a_continuation_token_calls_the_function_again(pipe, job_function):
    seen = len(job_function[1]())
    one = pipe(invoke(job_function[0]))
    execution = one.start()
    first = job(job_function, seen)
    one.client.put_job_success_result(
        jobId=first["id"], continuationToken="d-1", executionDetails={"summary": "half", "percentComplete": 50}
    )  # fmt: skip
    state = one.action()
    assert (state["status"], state["summary"], state["percentComplete"]) == ("InProgress", "half", 50)
    assert code(one.client.put_job_success_result, jobId=first["id"]) == "InvalidJobStateException"
    second = job(job_function, seen + 1)
    assert second["data"]["continuationToken"] == "d-1" and second["id"] != first["id"]
    one.client.put_job_failure_result(
        jobId=second["id"], failureDetails={"type": "JobFailed", "message": "too slow", "externalExecutionId": "v-2"}
    )  # fmt: skip
    eventually(lambda: one.status(execution) == "Failed")
    state = one.action()
    assert state["errorDetails"] == {"code": "JobFailed", "message": "too slow"}
    assert state["externalExecutionId"] == "v-2"


def test_a_function_that_does_not_exist_fails_its_action(pipe):
    one = pipe(invoke("nobody"))
    execution = one.start()
    eventually(lambda: one.status(execution) == "Failed")
    assert one.action()["errorDetails"]["code"] == "ConfigurationError"


def test_job_results_are_refused(aws, pipe, job_function):
    seen = len(job_function[1]())
    one = pipe(invoke(job_function[0]))
    one.start()
    open_job = job(job_function, seen)["id"]
    failure = {"type": "JobFailed", "message": "m"}
    for operation, params, wanted in (
        ("put_job_success_result", {"jobId": str(uuid.uuid4())}, "JobNotFoundException"),
        ("put_job_success_result", {"jobId": "x"}, "ValidationException"),
        ("put_job_success_result", {"jobId": open_job, "continuationToken": "t", "outputVariables": {"a": "b"}},
         "ValidationException"),
        ("put_job_success_result", {"jobId": open_job, "continuationToken": "x" * 2049}, "ValidationException"),
        ("put_job_success_result", {"jobId": open_job, "outputVariables": {"a": "x" * 122_880}},
         "OutputVariablesSizeExceededException"),
        ("put_job_failure_result", {"jobId": str(uuid.uuid4()), "failureDetails": failure}, "JobNotFoundException"),
        ("put_job_failure_result", {"jobId": open_job, "failureDetails": {"type": "JobFailed"}}, "ValidationException"),
        ("put_job_failure_result", {"jobId": open_job, "failureDetails": failure | {"message": "x" * 5001}},
         "ValidationException"),
        ("put_job_failure_result", {"jobId": open_job, "failureDetails": failure | {"type": "Bad"}},
         "ValidationException"),
    ):  # fmt: skip
        assert code(getattr(one.client, operation), **params) == wanted, params
    assert one.action()["status"] == "InProgress"
