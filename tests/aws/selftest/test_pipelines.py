"""CodePipeline: approvals asked for and answered, functions invoked as jobs, and executions side by side."""

import copy
import json
import shlex
import sys
import uuid

import pytest
from botocore.exceptions import ClientError

from conftest import PROGRAMS, Emulator, eventually
from emulated_aws.scenario.setup import bootstrap_zip

SOURCE = {"name": "Source", "actions": [{
    "name": "Checkout", "actionTypeId": {"category": "Source", "owner": "AWS", "provider": "S3", "version": "1"},
    "configuration": {"S3Bucket": "b", "S3ObjectKey": "k"}, "outputArtifacts": [{"name": "code"}],
}]}  # fmt: skip


def approval(name="Gate", **configuration):
    kind = {"category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1"}
    return {"name": name, "actionTypeId": kind, "configuration": configuration}


def invoke(function, name="Verify", **extra):
    kind = {"category": "Invoke", "owner": "AWS", "provider": "Lambda", "version": "1"}
    return {"name": name, "actionTypeId": kind, "configuration": {"FunctionName": function}} | extra


class Pipe:
    """One pipeline: a source, the stage under test, and an end."""

    def __init__(self, emulator, *actions, mode="SUPERSEDED", **extra):
        self.client = emulator.loose("codepipeline")
        self.name = f"p{uuid.uuid4().hex[:8]}"
        last = {"name": "End", "actions": [approval("Last")]}
        self.declared = {
            "name": self.name, "roleArn": "arn:aws:iam::123456789012:role/pipeline", "pipelineType": "V2",
            "artifactStore": {"type": "S3", "location": "artifacts"}, "executionMode": mode,
            "stages": [SOURCE, {"name": "Check", "actions": list(actions)}, last], **extra,
        }  # fmt: skip
        self.client.create_pipeline(pipeline=self.declared)

    def start(self, **extra):
        return self.client.start_pipeline_execution(name=self.name, **extra)["pipelineExecutionId"]

    def status(self, execution):
        found = self.client.get_pipeline_execution(pipelineName=self.name, pipelineExecutionId=execution)
        return found["pipelineExecution"]["status"]

    def stage(self, name="Check"):
        (found,) = [
            one for one in self.client.get_pipeline_state(name=self.name)["stageStates"] if one["stageName"] == name
        ]
        return found

    def action(self, stage="Check", number=0):
        return self.stage(stage)["actionStates"][number].get("latestExecution", {})

    def runs(self, execution=None, action=None):
        chosen = {"filter": {"pipelineExecutionId": execution}} if execution else {}
        found = self.client.list_action_executions(pipelineName=self.name, **chosen)["actionExecutionDetails"]
        return [one for one in found if action in (None, one["actionName"])]

    def token(self, execution, stage="Check"):
        """The open approval's token, once the execution waits there."""
        return eventually(
            lambda: (
                self.stage(stage).get("latestExecution", {}).get("pipelineExecutionId") == execution
                and self.action(stage).get("token")
            )
        )

    def answer(self, token, status="Approved", summary="all good", stage="Check", action="Gate"):
        return self.client.put_approval_result(
            pipelineName=self.name, stageName=stage, actionName=action, token=token,
            result={"status": status, "summary": summary},
        )  # fmt: skip

    def delete(self):
        self.client.delete_pipeline(name=self.name)


@pytest.fixture
def pipe(aws):
    made = []

    def make(*actions, emulator=aws, **extra):
        made.append(Pipe(emulator, *actions, **extra))
        return made[-1]

    yield make
    for one in made:
        one.delete()


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """An emulator in which minutes take milliseconds."""
    emulator = Emulator(tmp_path_factory.mktemp("fast"), "--time-scale", "1000")
    yield emulator
    assert emulator.stop() == 0


@pytest.fixture(scope="module")
def function(aws, tmp_path_factory):
    """(name, events so far) of a function that keeps its events."""
    name, events = f"job{uuid.uuid4().hex[:8]}", tmp_path_factory.mktemp("job") / "events"
    clients = aws.clients()
    trust = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}}]}
    clients.functions.create_function(
        FunctionName=name, Runtime="provided.al2023", Handler="h", Timeout=30,
        Role=clients.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"],
        Code={"ZipFile": bootstrap_zip(f"exec {shlex.quote(sys.executable)} {PROGRAMS / 'job.py'}")},
        Environment={"Variables": {"EVENTS": str(events)}},
    )  # fmt: skip
    read = lambda: [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []  # noqa: E731
    yield name, read
    clients.functions.delete_function(FunctionName=name)


def code(call, *arguments, **named):
    with pytest.raises(ClientError) as raised:
        call(*arguments, **named)
    return raised.value.response["Error"]["Code"]


# === approvals ===


def test_an_approval_asks_by_message_and_lets_the_execution_on(aws, pipe):
    clients = aws.clients()
    name = f"t{uuid.uuid4().hex[:8]}"
    topic = clients.sns.create_topic(Name=name)["TopicArn"]
    queue = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=f"arn:aws:sqs:us-east-1:123456789012:{name}")
    one = pipe(approval(
        NotificationArn=topic, CustomData="policy=web #{codepipeline.PipelineExecutionId}",
        ExternalEntityLink="http://example.com",
    ))  # fmt: skip
    execution = one.start()
    token = one.token(execution)
    (message,) = eventually(lambda: clients.sqs.receive_message(QueueUrl=queue).get("Messages"))
    envelope = json.loads(message["Body"])
    assert envelope["TopicArn"] == topic and one.name in envelope["Subject"]
    asked = json.loads(envelope["Message"])
    assert set(asked) == {"region", "consoleLink", "approval"}
    assert asked["approval"].pop("expires").endswith("Z") and token in asked["approval"].pop("approvalReviewLink")
    assert asked["approval"] == {
        "pipelineName": one.name, "stageName": "Check", "actionName": "Gate", "token": token,
        "externalEntityLink": "http://example.com", "customData": f"policy=web {execution}",
    }  # fmt: skip
    assert one.action()["status"] == "InProgress" and one.status(execution) == "InProgress"
    assert one.answer(token)["approvedAt"]
    state = one.action()
    assert (state["status"], state["summary"]) == ("Succeeded", "all good") and "token" not in state
    assert state["lastUpdatedBy"] == "arn:aws:iam::123456789012:user/loose"
    one.answer(one.token(execution, "End"), stage="End", action="Last")
    eventually(lambda: one.status(execution) == "Succeeded")
    shown = [(run["stageName"], run["status"]) for run in one.runs(execution)]
    assert shown == [("End", "Succeeded"), ("Check", "Succeeded"), ("Source", "Succeeded")]


def test_a_rejection_fails_the_execution(pipe):
    one = pipe(approval())
    execution = one.start()
    token = one.token(execution)
    one.answer(token, "Rejected", "p99 is 3.2 s, 1.0 s allowed")
    eventually(lambda: one.status(execution) == "Failed")
    assert (one.action()["status"], one.action()["summary"]) == ("Failed", "p99 is 3.2 s, 1.0 s allowed")
    assert one.stage()["latestExecution"]["status"] == "Failed" and "latestExecution" not in one.stage("End")


def test_tokens_are_good_once_and_only_for_their_request(pipe):
    one = pipe(approval())
    execution = one.start()
    token = one.token(execution)
    other = str(uuid.uuid4())
    assert code(one.answer, other) == "InvalidApprovalTokenException"
    assert code(one.answer, "x") == "ValidationException"
    assert code(one.answer, token, stage="Nowhere") == "StageNotFoundException"
    assert code(one.answer, token, action="Nobody") == "ActionNotFoundException"
    assert code(one.answer, token, "Maybe") == "ValidationException"
    assert code(one.answer, token, summary="x" * 513) == "ValidationException"
    one.answer(token, summary="x" * 512)
    assert code(one.answer, token, "Rejected") == "ApprovalAlreadyCompletedException"
    assert one.action()["status"] == "Succeeded"
    again = one.start()
    one.token(again)
    assert code(one.answer, token) == "InvalidApprovalTokenException", "another request is open now"
    one.delete()
    assert code(one.answer, token) == "PipelineNotFoundException"


def test_an_approval_nobody_gives_expires(fast, pipe):
    one = pipe(approval() | {"timeoutInMinutes": 5}, emulator=fast)
    execution = one.start()
    token = one.token(execution)
    eventually(lambda: one.status(execution) == "Failed")
    assert one.action()["errorDetails"]["code"] == "TimedOut"
    assert code(one.answer, token) == "InvalidApprovalTokenException"


def test_a_topic_that_is_not_there_fails_the_action(pipe):
    one = pipe(approval(NotificationArn="arn:aws:sns:us-east-1:123456789012:nobody"))
    execution = one.start()
    eventually(lambda: one.status(execution) == "Failed")
    assert one.action()["errorDetails"]["code"] == "ConfigurationError"


# === execution modes ===


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


# === jobs ===


def job(function, seen):
    """The newest job once there is another than so many."""
    events = eventually(lambda: len(function[1]()) > seen and function[1]())
    return events[-1]["CodePipeline.job"]


def test_a_function_gets_a_job_and_its_success_lets_the_execution_on(aws, pipe, function):
    seen = len(function[1]())
    action = invoke(function[0], namespace="verify", inputArtifacts=[{"name": "code"}])
    action["configuration"]["UserParameters"] = '{"policy":"#{variables.policy}"}'
    one = pipe(
        action, approval("Gate", CustomData="#{verify.verdict}") | {"runOrder": 2},
        variables=[{"name": "policy", "defaultValue": "web"}],
    )  # fmt: skip
    execution = one.start(variables=[{"name": "policy", "value": "api"}])
    given = job(function, seen)
    assert given["accountId"] == "123456789012" and set(given) == {"id", "accountId", "data"}
    assert given["data"]["actionConfiguration"]["configuration"] == {
        "FunctionName": function[0], "UserParameters": '{"policy":"api"}',
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


def test_a_continuation_token_calls_the_function_again(pipe, function):
    seen = len(function[1]())
    one = pipe(invoke(function[0]))
    execution = one.start()
    first = job(function, seen)
    one.client.put_job_success_result(
        jobId=first["id"], continuationToken="d-1", executionDetails={"summary": "half", "percentComplete": 50}
    )  # fmt: skip
    state = one.action()
    assert (state["status"], state["summary"], state["percentComplete"]) == ("InProgress", "half", 50)
    assert code(one.client.put_job_success_result, jobId=first["id"]) == "InvalidJobStateException"
    second = job(function, seen + 1)
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


def test_job_results_are_refused(aws, pipe, function):
    seen = len(function[1]())
    one = pipe(invoke(function[0]))
    one.start()
    open_job = job(function, seen)["id"]
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


# === declarations ===


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


# === the scenario ===


@pytest.mark.parametrize("mode", ["QUEUED", "PARALLEL"])
def test_the_scenario_makes_a_pipeline_a_gate_can_approve(aws, function, mode):
    import subprocess

    name = f"s{uuid.uuid4().hex[:8]}"

    def scenario(verb, *arguments):
        done = subprocess.run(
            [sys.executable, "-m", "emulated_aws.scenario", "--endpoint", aws.url, verb, "--name", name, *arguments],
            capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        return json.loads(done.stdout) if done.returncode == 0 else done.stderr

    seen, verify = len(function[1]()), ["--lambda", function[0]] if mode == "QUEUED" else []
    made = scenario("setup-pipeline", "--policy-name", "web", "--mode", mode, "--approval-minutes", "60", *verify)
    assert made["queue_url"].endswith(f"/gate-{name}"), made
    execution = scenario("start-pipeline")["execution_id"]
    sqs, client = aws.clients().sqs, aws.clients().codepipeline
    if verify:
        given = job(function, seen)
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
