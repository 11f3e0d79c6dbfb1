"""A pipeline with an approval a gate can give: its topic, the queue a gate listens on, and a stage that follows."""

from __future__ import annotations

import json
import shlex
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import Any

from .clients import Clients
from .setup import function, role

STAGE, ACTION = "Approve", "Gate"
VERBS = ("setup-pipeline", "start-pipeline", "pipeline-status", "teardown-pipeline")


def add_verbs(verbs: Any) -> None:
    """The verbs and their options."""
    parsers: dict[str, ArgumentParser] = {}
    for verb, text in zip(
        VERBS,
        (
            "create topic, queue and pipeline", "start an execution",
            "an execution's actions, the newest one's if none is named", "take away what setup-pipeline made",
        ),
        strict=True,
    ):  # fmt: skip
        parsers[verb] = verbs.add_parser(verb, help=text)
        parsers[verb].add_argument("--name", required=True)
    make = parsers["setup-pipeline"]
    make.add_argument(
        "--policy-name", required=True, help="the approval's CustomData and the function's UserParameters"
    )
    make.add_argument("--mode", choices=("QUEUED", "SUPERSEDED", "PARALLEL"), default="QUEUED")
    make.add_argument("--approval-minutes", type=int, help="AWS minutes; a week if not given")
    make.add_argument("--lambda", dest="function", help="a function to be invoked in a stage before the approval")
    parsers["pipeline-status"].add_argument("--execution")


def run(clients: Clients, arguments: Namespace) -> dict[str, Any]:
    """Does what a verb of ours asks."""
    name = arguments.name
    if arguments.verb == "setup-pipeline":
        return setup_pipeline(
            clients, name, arguments.policy_name, arguments.mode, arguments.approval_minutes, arguments.function
        )
    if arguments.verb == "start-pipeline":
        return {"execution_id": clients.codepipeline.start_pipeline_execution(name=name)["pipelineExecutionId"]}
    if arguments.verb == "pipeline-status":
        return pipeline_status(clients, name, arguments.execution)
    teardown_pipeline(clients, name)
    return {"removed": name}


def setup_pipeline(
    clients: Clients, name: str, policy: str, mode: str = "QUEUED", minutes: int | None = None,
    function: str | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Returns once everything is there; nothing runs yet."""
    topic = clients.sns.create_topic(Name=f"gate-{name}")["TopicArn"]
    queue = clients.sqs.create_queue(QueueName=f"gate-{name}")["QueueUrl"]
    arn = clients.sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {
        "Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage", "Resource": arn,
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }  # fmt: skip
    document = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    clients.sqs.set_queue_attributes(QueueUrl=queue, Attributes={"Policy": document})
    clients.sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    release = _release_function(clients, name)
    approval = _action(ACTION, ("Approval", "Manual"), {"NotificationArn": topic, "CustomData": policy})
    if minutes is not None:
        approval["timeoutInMinutes"] = minutes
    source = _action("Checkout", ("Source", "S3"), {"S3Bucket": f"{name}-source", "S3ObjectKey": "source.zip"})
    stages = [{"name": "Source", "actions": [source | {"outputArtifacts": [{"name": "source"}]}]}]
    if function:
        verify = _action("Verify", ("Invoke", "Lambda"), {"FunctionName": function, "UserParameters": policy})
        stages.append({"name": "Verify", "actions": [verify]})
    stages.append({"name": STAGE, "actions": [approval]})
    stages.append({"name": "Release", "actions": [_action("Release", ("Invoke", "Lambda"), {"FunctionName": release})]})
    clients.codepipeline.create_pipeline(
        pipeline={
            "name": name, "roleArn": role(clients, f"{name}-pipeline", "codepipeline.amazonaws.com"),
            "artifactStore": {"type": "S3", "location": f"{name.lower()}-artifacts"[:63]}, "stages": stages,
            "executionMode": mode, "pipelineType": "V2",
        }
    )  # fmt: skip
    return {
        "pipeline": name, "stage": STAGE, "action": ACTION, "mode": mode, "policy": policy, "topic": topic,
        "queue_url": queue, "queue_arn": arn,
    }  # fmt: skip


def _action(name: str, kind: tuple[str, str], configuration: dict[str, str]) -> dict[str, Any]:
    category, provider = kind
    kinds = {"category": category, "owner": "AWS", "provider": provider, "version": "1"}
    return {"name": name, "actionTypeId": kinds, "configuration": configuration}


def _release_function(clients: Clients, name: str) -> str:
    made = f"{name}-release"
    program = shlex.quote(str(Path(__file__).with_name("release.py")))
    line = f"exec {shlex.quote(sys.executable)} {program}"
    function(clients, made, line, role(clients, made, "lambda.amazonaws.com"), {}, 60)
    return made


def pipeline_status(clients: Clients, name: str, execution: str | None = None) -> dict[str, Any]:
    """An execution in a few words."""
    client = clients.codepipeline
    if execution is None:
        newest = client.list_pipeline_executions(pipelineName=name, maxResults=1)["pipelineExecutionSummaries"]
        if not newest:
            return {"pipeline": name, "execution_id": None, "status": "NeverStarted", "actions": {}}
        execution = newest[0]["pipelineExecutionId"]
    found = client.get_pipeline_execution(pipelineName=name, pipelineExecutionId=execution)["pipelineExecution"]
    runs = client.list_action_executions(pipelineName=name, filter={"pipelineExecutionId": execution})
    actions = {}
    for run in reversed(runs["actionExecutionDetails"]):
        result = run["output"]["executionResult"]
        shown = {
            "status": run["status"], "summary": result.get("externalExecutionSummary"),
            "external_execution_id": result.get("externalExecutionId"), "error": result.get("errorDetails"),
            "updated_by": run.get("updatedBy"),
        }  # fmt: skip
        actions[f"{run['stageName']}/{run['actionName']}"] = {k: v for k, v in shown.items() if v is not None}
    return {"pipeline": name, "execution_id": execution, "status": found["status"], "actions": actions}


def teardown_pipeline(clients: Clients, name: str) -> None:
    """Executions in progress end with their pipeline."""
    clients.codepipeline.delete_pipeline(name=name)
    clients.functions.delete_function(FunctionName=f"{name}-release")
    topics = clients.sns.get_paginator("list_topics").paginate()
    for topic in [one["TopicArn"] for page in topics for one in page["Topics"]]:
        if topic.endswith(f":gate-{name}"):
            for one in clients.sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]:
                clients.sns.unsubscribe(SubscriptionArn=one["SubscriptionArn"])
            clients.sns.delete_topic(TopicArn=topic)
    clients.sqs.delete_queue(QueueUrl=clients.sqs.get_queue_url(QueueName=f"gate-{name}")["QueueUrl"])
    for suffix in ("release", "pipeline"):
        clients.iam.delete_role(RoleName=f"{name}-{suffix}")
