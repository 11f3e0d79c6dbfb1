"""Queues as a consumer needs them: long polling, visibility, dead letters, and what fills them."""

import json
import socket
import threading
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from by_hand import send, signed
from conftest import eventually

NOT_IN_FLIGHT = "AWS.SimpleQueueService.MessageNotInflight"


@pytest.fixture
def sqs(aws):
    return aws.clients().sqs


@pytest.fixture
def queue(sqs):
    """Makes queues; gives their URLs."""
    made = []

    def make(**attributes):
        made.append(sqs.create_queue(QueueName=f"q{uuid.uuid4().hex[:8]}", Attributes=attributes)["QueueUrl"])
        return made[-1]

    yield make
    for one in made:
        sqs.delete_queue(QueueUrl=one)


def arn(sqs, url):
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def receive(sqs, url, **extra):
    return sqs.receive_message(QueueUrl=url, **extra).get("Messages", [])


def code(call, **params):
    with pytest.raises(ClientError) as raised:
        call(**params)
    return raised.value.response["Error"]["Code"]


def in_background(call):
    """Runs it in a thread; the list gets its result."""
    results = []
    thread = threading.Thread(target=lambda: results.append(call()), daemon=True)
    thread.start()
    return thread, results


def test_long_polling_ends_when_a_message_comes(aws, sqs, queue):
    url = queue()
    thread, results = in_background(lambda: receive(sqs, url, WaitTimeSeconds=20))
    others = [in_background(lambda: receive(sqs, url, WaitTimeSeconds=1)) for _ in range(3)]
    begun = time.monotonic()
    aws.clients().sts.get_caller_identity()
    assert time.monotonic() - begun < 1, "those who wait keep nobody else waiting"
    for other, _ in others:
        other.join(5)
    sqs.send_message(QueueUrl=url, MessageBody="hello")
    sent = time.monotonic()
    thread.join(5)
    assert results[0][0]["Body"] == "hello" and time.monotonic() - sent < 1
    assert [got for _, got in others] == [[[]]] * 3


def test_waiting_may_be_the_queues_own_setting(sqs, queue):
    url = queue(ReceiveMessageWaitTimeSeconds="1")
    begun = time.monotonic()
    assert receive(sqs, url) == [] and 0.9 < time.monotonic() - begun < 3
    begun = time.monotonic()
    assert receive(sqs, url, WaitTimeSeconds=0) == [] and time.monotonic() - begun < 0.9


def test_a_consumer_that_hangs_up_takes_no_message_along(aws, sqs, queue):
    url = queue()
    body = json.dumps({"QueueUrl": url, "WaitTimeSeconds": 20}).encode()
    _, headers, _ = signed(
        aws, body, "AmazonSQS.ReceiveMessage", "sqs", **{"Content-Type": "application/x-amz-json-1.0"}
    )  # fmt: skip
    host, port = aws.url.removeprefix("http://").split(":")
    lines = [f"{key}: {value}" for key, value in headers.items()] + [f"Host: {host}:{port}"]
    head = "\r\n".join(["POST / HTTP/1.1", *lines, f"Content-Length: {len(body)}", "", ""])
    ended = lambda: [  # noqa: E731
        one
        for one in aws.control("requests?service=sqs&operation=ReceiveMessage")[1]["requests"]
        if url in one["params"]
    ]
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.sendall(head.encode() + body)
        client.settimeout(0.4)
        with pytest.raises(TimeoutError):
            client.recv(1)
    sqs.send_message(QueueUrl=url, MessageBody="for somebody else")
    eventually(ended)
    (message,) = eventually(lambda: receive(sqs, url))
    assert message["Body"] == "for somebody else"


def test_one_message_goes_to_one_consumer(sqs, queue):
    url = queue()
    waiting = [in_background(lambda: receive(sqs, url, WaitTimeSeconds=2)) for _ in range(6)]
    sqs.send_message(QueueUrl=url, MessageBody="once")
    for thread, _ in waiting:
        thread.join(6)
    assert sum(len(results[0]) for _, results in waiting) == 1


def test_visibility_is_extended_until_the_work_is_done(sqs, queue):
    url = queue(VisibilityTimeout="1")
    sqs.send_message(QueueUrl=url, MessageBody="work")
    (message,) = receive(sqs, url)
    handle = message["ReceiptHandle"]
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=handle, VisibilityTimeout=30)
    assert receive(sqs, url, WaitTimeSeconds=2) == [], "past the queue's own second"
    sqs.delete_message(QueueUrl=url, ReceiptHandle=handle)
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert [found[f"ApproximateNumberOfMessages{kind}"] for kind in ("", "NotVisible", "Delayed")] == ["0", "0", "0"]
    assert found["VisibilityTimeout"] == "1"


def test_a_message_handed_back_is_received_again_at_once(sqs, queue):
    url = queue()
    sent = sqs.send_message(
        QueueUrl=url, MessageBody="work", MessageAttributes={"kind": {"DataType": "String", "StringValue": "hook"}}
    )  # fmt: skip
    system = {"MessageSystemAttributeNames": ["All"], "MessageAttributeNames": ["All"]}
    (first,) = receive(sqs, url, **system)
    assert first["MessageId"] == sent["MessageId"] and first["Attributes"]["ApproximateReceiveCount"] == "1"
    assert first["MessageAttributes"] == {"kind": {"DataType": "String", "StringValue": "hook"}}
    assert first["MD5OfMessageAttributes"] == sent["MD5OfMessageAttributes"]
    assert receive(sqs, url) == []
    sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    (second,) = receive(sqs, url, WaitTimeSeconds=1, **system)
    assert second["Attributes"]["ApproximateReceiveCount"] == "2"
    assert second["ReceiptHandle"] != first["ReceiptHandle"]


def test_old_receipt_handles_neither_extend_nor_delete(sqs, queue, aws):
    url = queue()
    sqs.send_message(QueueUrl=url, MessageBody="work")
    (first,) = receive(sqs, url, VisibilityTimeout=1)
    (second,) = receive(sqs, url, WaitTimeSeconds=3, VisibilityTimeout=1)  # the first consumer was too slow
    old = {"QueueUrl": url, "ReceiptHandle": first["ReceiptHandle"]}
    assert code(aws.loose("sqs").change_message_visibility, VisibilityTimeout=30, **old) == NOT_IN_FLIGHT
    sqs.delete_message(**old)
    (third,) = receive(sqs, url, WaitTimeSeconds=3)
    assert third["MessageId"] == second["MessageId"], "deleting by an old handle says yes and does nothing"
    batch = sqs.change_message_visibility_batch(QueueUrl=url, Entries=[
        {"Id": "old", "ReceiptHandle": second["ReceiptHandle"], "VisibilityTimeout": 9},
        {"Id": "new", "ReceiptHandle": third["ReceiptHandle"], "VisibilityTimeout": 9},
    ])  # fmt: skip
    assert [one["Id"] for one in batch["Successful"]] == ["new"] and batch["Failed"][0]["Code"] == "MessageNotInflight"
    entries = [{"Id": str(n), "ReceiptHandle": one["ReceiptHandle"]} for n, one in enumerate((second, third))]
    assert len(sqs.delete_message_batch(QueueUrl=url, Entries=entries)["Successful"]) == 2
    sqs.delete_message(QueueUrl=url, ReceiptHandle=third["ReceiptHandle"])  # again is fine
    assert receive(sqs, url) == []


def test_messages_received_too_often_go_to_the_dead_letter_queue(sqs, queue):
    dead = queue()
    redrive = {"deadLetterTargetArn": arn(sqs, dead), "maxReceiveCount": 2}
    url = queue(RedrivePolicy=json.dumps(redrive), VisibilityTimeout="30")
    sqs.send_message(QueueUrl=url, MessageBody="poison")
    for turn in ("1", "2"):
        (message,) = receive(sqs, url, MessageSystemAttributeNames=["ApproximateReceiveCount"])
        assert message["Attributes"]["ApproximateReceiveCount"] == turn
        sqs.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    eventually(lambda: not receive(sqs, url) and receive(sqs, dead))
    found = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["RedrivePolicy"])["Attributes"]
    assert json.loads(found["RedrivePolicy"]) == redrive


def test_topics_and_rules_wake_a_waiting_consumer(aws, sqs, queue):
    clients, url = aws.clients(), queue()
    name = url.rpartition("/")[2]
    topic = clients.sns.create_topic(Name=name)["TopicArn"]
    clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn(sqs, url))
    clients.events.put_rule(Name=name, EventPattern=json.dumps({"source": [name]}))
    clients.events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn(sqs, url)}])
    entry = {"Source": name, "DetailType": "t", "Detail": '{"a":1}'}
    for fill, member, wanted in (
        (lambda: clients.sns.publish(TopicArn=topic, Message="by topic"), "Message", "by topic"),
        (lambda: clients.events.put_events(Entries=[entry]), "detail", {"a": 1}),
    ):
        thread, results = in_background(lambda: receive(sqs, url, WaitTimeSeconds=10))
        fill()
        begun = time.monotonic()
        thread.join(8)
        (message,) = results[0]
        assert json.loads(message["Body"])[member] == wanted and time.monotonic() - begun < 2
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def test_refusals_have_the_names_of_both_protocols(aws, sqs, queue):
    url, loose = queue(), aws.loose("sqs")
    gone = f"{url}-not-there"
    missing = "AWS.SimpleQueueService.NonExistentQueue"
    for operation, params, wanted in (
        ("receive_message", {"QueueUrl": gone}, missing),
        ("receive_message", {"QueueUrl": gone, "WaitTimeSeconds": 1, "VisibilityTimeout": 1}, missing),
        ("delete_message", {"QueueUrl": gone, "ReceiptHandle": "x"}, missing),
        ("change_message_visibility", {"QueueUrl": gone, "ReceiptHandle": "x", "VisibilityTimeout": 1}, missing),
        ("get_queue_attributes", {"QueueUrl": gone}, missing),
        ("send_message", {"QueueUrl": gone, "MessageBody": "x"}, missing),
        ("receive_message", {"QueueUrl": url, "WaitTimeSeconds": 21}, "InvalidParameterValue"),
        ("receive_message", {"QueueUrl": url, "MaxNumberOfMessages": 11}, "InvalidParameterValue"),
        ("delete_message", {"QueueUrl": url, "ReceiptHandle": "x"}, "ReceiptHandleIsInvalid"),
        ("change_message_visibility", {"QueueUrl": url, "ReceiptHandle": "x", "VisibilityTimeout": 1},
         "ReceiptHandleIsInvalid"),
        ("delete_message_batch", {"QueueUrl": url, "Entries": []}, "AWS.SimpleQueueService.EmptyBatchRequest"),
    ):  # fmt: skip
        assert code(getattr(loose, operation), **params) == wanted, (operation, params)
    for operation in ("ReceiveMessage", "GetQueueAttributes"):
        status, headers, body = send(*signed(
            aws, json.dumps({"QueueUrl": gone}).encode(), f"AmazonSQS.{operation}", "sqs",
            **{"Content-Type": "application/x-amz-json-1.0"},
        ))  # fmt: skip
        assert status == 400 and json.loads(body)["__type"].rpartition("#")[2] == "QueueDoesNotExist", body
        named = {key.lower(): value for key, value in headers.items()}
        assert named["x-amzn-query-error"] == f"{missing};Sender"
