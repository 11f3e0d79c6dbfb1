"""A queue that hears what a deployment gate wants to hear: hooks waiting for an answer, deployments changing state."""

from __future__ import annotations

import json
from typing import Any

from .clients import Clients

# One rule a kind: patterns filter on what the events carry, and the two kinds carry different things.
_KINDS = ("ecs-hooks", "codedeploy")


def of_codedeploy(application: str | None = None) -> dict[str, dict[str, Any]]:
    """The rule for deployments of one application, or of all."""
    pattern: dict[str, Any] = {
        "source": ["aws.codedeploy"], "detail-type": ["CodeDeploy Deployment State-change Notification"],
    }  # fmt: skip
    if application:
        pattern["detail"] = {"application": [application]}
    return {"codedeploy": pattern}


def of_ecs(cluster_arn: str) -> dict[str, dict[str, Any]]:
    """The rule for hooks of a cluster's services: filtered on the cluster, as the service need not exist yet."""
    pattern = {
        "source": ["aws.ecs"], "detail-type": ["ECS Hook State Change"], "detail": {"clusterArn": [cluster_arn]},
    }  # fmt: skip
    return {"ecs-hooks": pattern}


def make_queue(clients: Clients, scenario: str, name: str, patterns: dict[str, dict[str, Any]]) -> str:
    """Queue and the scenario's rules; the queue's URL. To be made before there is anything to hear of."""
    url = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = _arn(clients, url)
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
    for kind, pattern in patterns.items():
        rule = f"{scenario}-{kind}"
        clients.events.put_rule(Name=rule, EventPattern=json.dumps(pattern), State="ENABLED")
        clients.events.put_targets(Rule=rule, Targets=[{"Id": "queue", "Arn": arn}])
    return url


def remove_queue(clients: Clients, scenario: str) -> None:
    """Takes away the scenario's rules, and the queue when no other scenario's rules lead to it."""
    names = {f"{scenario}-{kind}" for kind in _KINDS}
    queues = set()
    for rule in clients.events.list_rules(NamePrefix=f"{scenario}-")["Rules"]:
        if rule["Name"] in names:
            queues |= {one["Arn"] for one in clients.events.list_targets_by_rule(Rule=rule["Name"])["Targets"]}
            clients.events.remove_targets(Rule=rule["Name"], Ids=["queue"])
            clients.events.delete_rule(Name=rule["Name"])
    for arn in queues:
        if not clients.events.list_rule_names_by_target(TargetArn=arn)["RuleNames"]:
            url = clients.sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
            clients.sqs.delete_queue(QueueUrl=url)


def _arn(clients: Clients, url: str) -> str:
    return clients.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
