"""A queue that hears what a deployment gate wants to hear: hooks waiting for an answer, deployments changing state."""

from __future__ import annotations

import json
from typing import Any

from .clients import Clients

# One rule a kind: patterns filter on what the events carry, and the two kinds carry different things.
_PATTERNS: dict[str, dict[str, Any]] = {
    "ecs-hooks": {"source": ["aws.ecs"], "detail-type": ["ECS Hook State Change"]},
    "codedeploy": {"source": ["aws.codedeploy"], "detail-type": ["CodeDeploy Deployment State-change Notification"]},
}


def make_queue(clients: Clients, name: str, cluster_arn: str) -> str:
    """Queue and rules; the queue's URL. To be made before the service: its first deployment pauses already."""
    url = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    policy = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
            }
        ],
    }
    clients.sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    for kind, pattern in _PATTERNS.items():
        # filtered on the cluster, not on the service, which need not exist yet
        detail = {"detail": {"clusterArn": [cluster_arn]}} if kind == "ecs-hooks" else {}
        rule = f"{name}-{kind}"
        clients.events.put_rule(Name=rule, EventPattern=json.dumps(pattern | detail), State="ENABLED")
        clients.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def remove_queues(clients: Clients, cluster_arn: str) -> None:
    """Takes away the queues whose rules name the cluster, and the rules."""
    for rule in clients.events.list_rules()["Rules"]:
        name = rule["Name"].removesuffix("-ecs-hooks")
        if name == rule["Name"] or cluster_arn not in rule.get("EventPattern", ""):
            continue
        for kind in _PATTERNS:
            clients.events.remove_targets(Rule=f"{name}-{kind}", Ids=["queue"])
            clients.events.delete_rule(Name=f"{name}-{kind}")
        clients.sqs.delete_queue(QueueUrl=clients.sqs.get_queue_url(QueueName=name)["QueueUrl"])
