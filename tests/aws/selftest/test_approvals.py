"""Manual approvals: asked for by message, answered by token, and every way a token stops being good."""

import json
import uuid

import pytest

from conftest import Emulator, eventually
from pipelines import approval, code


@pytest.fixture(scope="module")
def fast(tmp_path_factory):
    """An emulator in which minutes take milliseconds."""
    emulator = Emulator(tmp_path_factory.mktemp("fast"), "--time-scale", "1000")
    yield emulator
    assert emulator.stop() == 0


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
