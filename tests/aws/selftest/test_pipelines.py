"""Pipelines: executions in every mode, declarations refused as AWS does, and the scenario that makes one."""

import copy
import json
import subprocess
import sys
import uuid

import pytest

from conftest import eventually
from pipelines import approval, code, invoke, job


def test_parallel_executions_are_approved_by_external_execution_id(aws, pipe):
    clients = aws.clients()
    name = f"t{uuid.uuid4().hex[:8]}"
    topic = clients.sns.create_topic(Name=name)["TopicArn"]
    queue = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    clients.sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{name}",
        Attributes={"RawMessageDelivery": "true"},
    )  # fmt: skip
    one = pipe(approval(NotificationArn=topic), mode="PARALLEL")
    executions = [one.start(), one.start()]
    for execution in executions:
        eventually(lambda wanted=execution: one.runs(wanted, "Gate"))
    assert one.action() == {} and "latestExecution" not in one.stage(), "no token to be had from the state"
    (message,) = eventually(lambda: clients.sqs.receive_message(QueueUrl=queue).get("Messages"))
    assert "token" not in json.loads(message["Body"])["approval"]
    tokens = [
        one.runs(execution, "Gate")[0]["output"]["executionResult"]["externalExecutionId"] for execution in executions
    ]
    one.answer(tokens[0])
    one.answer(tokens[1], "Rejected")
    eventually(lambda: one.status(executions[1]) == "Failed")
    assert one.status(executions[0]) == "InProgress"
    assert code(one.answer, tokens[0]) == "ApprovalAlreadyCompletedException"


def test_a_newer_execution_supersedes_the_one_that_waits(pipe):
    one = pipe(approval())
    first = one.start()
    token = one.token(first)
    second = one.start()
    eventually(lambda: one.stage().get("inboundExecution", {}).get("pipelineExecutionId") == second)
    third = one.start()
    eventually(lambda: one.status(second) == "Superseded")
    assert one.status(first) == "InProgress" and one.stage()["inboundExecution"]["pipelineExecutionId"] == third
    one.answer(token)
    assert one.token(third)


def test_queued_executions_take_their_turn(pipe):
    one = pipe(approval(), mode="QUEUED")
    first, second, third = one.start(), one.start(), one.start()
    token = one.token(first)
    eventually(lambda: len(one.stage().get("inboundExecutions", [])) == 2)
    one.answer(token, "Rejected")
    one.answer(one.token(second))
    assert one.token(third) and [one.status(it) for it in (first, second)] == ["Failed", "InProgress"]
    listed = one.client.list_pipeline_executions(pipelineName=one.name, maxResults=2)
    assert [it["pipelineExecutionId"] for it in listed["pipelineExecutionSummaries"]] == [third, second]
    rest = one.client.list_pipeline_executions(pipelineName=one.name, nextToken=listed["nextToken"])
    assert [it["status"] for it in rest["pipelineExecutionSummaries"]] == ["Failed"]


def test_pipelines_are_kept_completed_and_deleted(pipe):
    one = pipe(approval())
    kept = one.client.get_pipeline(name=one.name)
    assert kept["pipeline"]["version"] == 1 and kept["metadata"]["pipelineArn"].endswith(f":{one.name}")
    assert kept["pipeline"]["stages"][1]["actions"][0]["runOrder"] == 1
    assert one.name in [it["name"] for it in one.client.list_pipelines()["pipelines"]]
    execution = one.start()
    one.token(execution)
    one.delete()
    assert code(one.client.get_pipeline, name=one.name) == "PipelineNotFoundException"
    one.delete()


def test_create_pipeline_refuses(aws, pipe):
    one = pipe(approval())
    client = one.client
    assert code(client.create_pipeline, pipeline=one.declared) == "PipelineNameInUseException"

    def changed(change):
        pipeline = copy.deepcopy(one.declared) | {"name": "another"}
        change(pipeline)
        return pipeline

    check = lambda pipeline: pipeline["stages"][1]["actions"][0]  # noqa: E731
    build = {"category": "Build", "owner": "AWS", "provider": "CodeBuild", "version": "1"}
    for change, wanted in (
        (lambda p: p["stages"].pop() and p["stages"].pop(), "InvalidStructureException"),
        (lambda p: p["stages"].reverse(), "InvalidStructureException"),
        (lambda p: p["stages"][2].update(name="Check"), "InvalidStageDeclarationException"),
        (lambda p: p["stages"][1]["actions"].clear(), "InvalidStageDeclarationException"),
        (lambda p: p["stages"][1]["actions"].append(check(p)), "InvalidActionDeclarationException"),
        (lambda p: check(p)["configuration"].update(Colour="blue"), "InvalidActionDeclarationException"),
        (lambda p: check(p).update(inputArtifacts=[{"name": "code"}]), "InvalidActionDeclarationException"),
        (lambda p: check(p).update(invoke("f") | {"inputArtifacts": [{"name": "x"}]}), "InvalidStructureException"),
        (lambda p: check(p).update(invoke("f") | {"configuration": {}}), "InvalidActionDeclarationException"),
        (lambda p: check(p).update(timeoutInMinutes=1), "ValidationException"),
        (lambda p: check(p).update(actionTypeId=build), "NotImplemented"),
        (lambda p: p["stages"][1].update(onFailure={"result": "ROLLBACK"}), "NotImplemented"),
        (lambda p: p.update(pipelineType="V1", executionMode="QUEUED"), "InvalidStructureException"),
        (lambda p: p.update(executionMode="SOMEHOW"), "ValidationException"),
        (lambda p: p.pop("artifactStore"), "InvalidStructureException"),
        (lambda p: p.pop("roleArn"), "ValidationException"),
        (lambda p: p.update(name="a b"), "ValidationException"),
    ):
        pipeline = changed(change)
        assert code(client.create_pipeline, pipeline=pipeline) == wanted, pipeline
    for operation, params, wanted in (
        ("start_pipeline_execution", {"name": "nobody"}, "PipelineNotFoundException"),
        ("get_pipeline_state", {"name": "nobody"}, "PipelineNotFoundException"),
        ("list_action_executions", {"pipelineName": "nobody"}, "PipelineNotFoundException"),
        ("list_action_executions", {"pipelineName": one.name, "nextToken": "x"}, "InvalidNextTokenException"),
        ("get_pipeline_execution", {"pipelineName": one.name, "pipelineExecutionId": str(uuid.uuid4())},
         "PipelineExecutionNotFoundException"),
        ("start_pipeline_execution", {"name": one.name, "variables": [{"name": "a", "value": "b"}]},
         "ValidationException"),
        ("update_pipeline", {"pipeline": one.declared}, "NotImplemented"),
        ("stop_pipeline_execution", {"pipelineName": one.name, "pipelineExecutionId": str(uuid.uuid4())},
         "NotImplemented"),
    ):  # fmt: skip
        assert code(getattr(client, operation), **params) == wanted, (operation, params)


@pytest.mark.parametrize("mode", ["QUEUED", "PARALLEL"])
def test_the_scenario_makes_a_pipeline_a_gate_can_approve(aws, job_function, mode):
    name = f"s{uuid.uuid4().hex[:8]}"

    def scenario(verb, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "emulated_aws.scenario", "--endpoint", aws.url, verb, "--name", name, *arguments],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    seen, verify = len(job_function[1]()), ["--lambda", job_function[0]] if mode == "QUEUED" else []
    made = scenario("setup-pipeline", "--policy-name", "web", "--mode", mode, "--approval-minutes", "60", *verify)
    assert made["queue_url"].endswith(f"/gate-{name}"), made
    execution = scenario("start-pipeline")["execution_id"]
    sqs, client = aws.clients().sqs, aws.clients().codepipeline
    if verify:
        given = job(job_function, seen)
        assert given["data"]["actionConfiguration"]["configuration"]["UserParameters"] == "web"
        client.put_job_success_result(jobId=given["id"])
    (message,) = sqs.receive_message(QueueUrl=made["queue_url"], WaitTimeSeconds=10)["Messages"]
    asked = json.loads(json.loads(message["Body"])["Message"])["approval"]
    assert (asked["pipelineName"], asked["stageName"], asked["actionName"], asked["customData"]) == (
        name, made["stage"], made["action"], "web",
    )  # fmt: skip
    waiting = scenario("pipeline-status")
    assert (waiting["execution_id"], waiting["status"]) == (execution, "InProgress")
    token = waiting["actions"]["Approve/Gate"]["external_execution_id"]
    assert asked.get("token") == (None if mode == "PARALLEL" else token)
    client.put_approval_result(
        pipelineName=name, stageName="Approve", actionName="Gate", token=token,
        result={"status": "Approved", "summary": "fine"},
    )  # fmt: skip
    status = lambda: client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)  # noqa: E731
    eventually(lambda: status()["pipelineExecution"]["status"] == "Succeeded")
    done = scenario("pipeline-status", "--execution", execution)
    assert done["actions"]["Release/Release"]["summary"] == "released"
    assert done["actions"]["Approve/Gate"]["summary"] == "fine"
    assert scenario("teardown-pipeline") == {"removed": name}
    assert "PipelineNotFoundException" in scenario("pipeline-status")
