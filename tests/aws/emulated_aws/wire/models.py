"""The service models we serve, loaded from botocore once each, and how to find one from a request."""

from __future__ import annotations

import functools
import re

from botocore.loaders import Loader
from botocore.model import OperationModel, ServiceModel

# Only these are served. botocore name -> signing names seen in credential scopes.
SIGNING_NAMES = {
    "cloudwatch": "monitoring",
    "codedeploy": "codedeploy",
    "codepipeline": "codepipeline",
    "dynamodb": "dynamodb",
    "ec2": "ec2",
    "ecs": "ecs",
    "elbv2": "elasticloadbalancing",
    "events": "events",
    "iam": "iam",
    "lambda": "lambda",
    "logs": "logs",
    "secretsmanager": "secretsmanager",
    "sns": "sns",
    "sqs": "sqs",
    "ssm": "ssm",
    "sts": "sts",
}
SERVICE_BY_SIGNING_NAME = {signing: service for service, signing in SIGNING_NAMES.items()}

_loader = Loader()


@functools.cache
def service(name: str) -> ServiceModel:
    """botocore's model of one service (ec2's takes a tenth of a second, so never load it unasked)."""
    return ServiceModel(_loader.load_service_model(name, "service-2"), name)


@functools.cache
def operation(service_name: str, operation_name: str) -> OperationModel | None:
    """The operation's model, or None when the service has no such operation."""
    model = service(service_name)
    # membership first: operation_model() raises for unknown names
    return model.operation_model(operation_name) if operation_name in model.operation_names else None


@functools.cache
def target_prefix(service_name: str) -> str:
    """What stands before the dot in X-Amz-Target."""
    return service(service_name).metadata["targetPrefix"]


# SQS's own names of the query protocol, which botocore's model leaves out but Smithy's, and so other SDKs, have.
_SQS_PREFIX = "AWS.SimpleQueueService."
_SQS_QUERIED = {"QueueDoesNotExist": f"{_SQS_PREFIX}NonExistentQueue", "QueueNameExists": "QueueAlreadyExists"} | {
    name: _SQS_PREFIX + name
    for name in (
        "BatchEntryIdsNotDistinct", "BatchRequestTooLong", "EmptyBatchRequest", "InvalidBatchEntryId",
        "MessageNotInflight", "PurgeQueueInProgress", "QueueDeletedRecently", "TooManyEntriesInBatchRequest",
        "UnsupportedOperation",
    )
}  # fmt: skip


@functools.cache
def error_names(service_name: str, code: str) -> tuple[str, str]:
    """An error's shape name and its name in the query protocol, given either; what no model knows is both."""
    special = _SQS_QUERIED if service_name == "sqs" else {}
    names = {
        shape.name: special.get(shape.name) or shape.metadata.get("error", {}).get("code", shape.name)
        for shape in service(service_name).error_shapes
    }
    if code in names:  # shapes first: two of them may share a name in the query protocol
        return code, names[code]
    for shape, queried in names.items():
        if code == queried:
            return shape, queried
    return code, code


def protocol(service_name: str) -> str:
    """The protocol moto is spoken to; CBOR is taken off before, because moto does not speak it."""
    spoken = [p for p in service(service_name).metadata["protocols"] if p != "smithy-rpc-v2-cbor"]
    # moto answers CloudWatch by the query protocol only
    return "query" if "query" in spoken else spoken[0]


@functools.cache
def rest_routes(service_name: str) -> tuple[tuple[str, re.Pattern[str], dict[str, str], OperationModel], ...]:
    """(method, path pattern, fixed query, operation) of a REST service, most specific first."""
    routes = []
    model = service(service_name)
    for name in model.operation_names:
        found = model.operation_model(name)
        path, _, query = found.http["requestUri"].partition("?")
        fixed = dict(pair.partition("=")[::2] for pair in query.split("&") if pair)
        pattern = re.sub(
            r"\\\{(\w+)(\\\+)?\\\}",
            lambda m: f"(?P<{m[1]}>.+)" if m[2] else f"(?P<{m[1]}>[^/]+)",
            re.escape(path),
        )
        routes.append((found.http["method"], re.compile(f"^{pattern}/?$"), fixed, found))
    routes.sort(key=lambda route: (-len(route[2]), route[1].groups, -len(route[1].pattern)))
    return tuple(routes)
