"""Deployments tell the event bus of every state, and rules take it to queues."""

import json

import pytest

from conftest import eventually


@pytest.fixture
def queue(aws):
    """What arrives in a queue behind a rule for CodeDeploy's events: a function that reads all so far."""
    clients = aws.clients()
    url = clients.sqs.create_queue(QueueName="announced")["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    pattern = {"source": ["aws.codedeploy"], "detail-type": ["CodeDeploy Deployment State-change Notification"]}
    clients.events.put_rule(Name="announced", EventPattern=json.dumps(pattern))
    clients.events.put_targets(Rule="announced", Targets=[{"Id": "queue", "Arn": arn}])
    seen = []

    def read(deployment):
        for message in clients.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
            seen.append(json.loads(message["Body"]))
            clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return [event for event in seen if event["detail"]["deploymentId"] == deployment]

    yield read
    clients.events.remove_targets(Rule="announced", Ids=["queue"])
    clients.events.delete_rule(Name="announced")
    clients.sqs.delete_queue(QueueUrl=url)


def states(queue, deployment, number):
    events = eventually(lambda: len(found := queue(deployment)) >= number and found, what="the events")
    return [event["detail"]["state"] for event in events]


def test_lambda_deployment_is_announced(queue, release):
    deployment = release.deploy()
    assert states(queue, deployment, 2) == ["START", "SUCCESS"]
    event = queue(deployment)[0]
    assert event["source"] == "aws.codedeploy" and event["region"] == "us-east-1"
    assert event["detail-type"] == "CodeDeploy Deployment State-change Notification"
    start = "arn:aws:codedeploy:us-east-1:123456789012"
    assert event["resources"] == [
        f"{start}:application:{release.name}", f"{start}:deploymentgroup:{release.name}/{release.name}-group",
    ]  # fmt: skip
    group = release.codedeploy.get_deployment_group(
        applicationName=release.name, deploymentGroupName=f"{release.name}-group"
    )["deploymentGroupInfo"]  # fmt: skip
    assert event["detail"] == {
        "region": "us-east-1", "deploymentId": deployment, "instanceGroupId": group["deploymentGroupId"],
        "deploymentGroup": f"{release.name}-group", "application": release.name, "state": "START",
    }  # fmt: skip


def test_failure_and_its_rollback_are_announced(queue, new_release):
    release = new_release(answer="Failed")
    deployment = release.deploy(("BeforeAllowTraffic",))
    assert states(queue, deployment, 2) == ["START", "FAILURE"]
    rollback = release.wait(deployment)["rollback"]["deployment_id"]
    assert states(queue, rollback, 2) == ["START", "FAILURE"], "its hook fails, too"


def test_ready_and_stop_are_announced(queue, new_stack):
    stack = new_stack(ready_wait_minutes=60, count=1)
    deployment = stack.deploy(())
    assert states(queue, deployment, 2) == ["START", "READY"]
    status = stack.clients.codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]["status"]
    assert status == "Ready"
    stack.clients.codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=False)
    assert states(queue, deployment, 3) == ["START", "READY", "STOP"]
    assert stack.wait(deployment)["status"] == "Stopped" and stack.get() == (200, "blue")
