"""What AWS refuses of task definitions, networks and load balancers of a service, whoever deploys it."""

from __future__ import annotations

from typing import Any

from ..dispatch import Call, Dispatch
from ..elb.api import Elb
from ..errors import AwsError, not_emulated
from .runner import PRINCIPAL

MAX_DESIRED = 20  # per service: they are processes on one machine


def invalid(message: str) -> AwsError:
    """ECS's error for most of what is wrong."""
    return AwsError("InvalidParameterException", message)


def desired_count(wanted: int) -> int:
    """The count, refused when it is more than we run."""
    if not 0 <= wanted <= MAX_DESIRED:
        raise invalid(f"desiredCount must be between 0 and {MAX_DESIRED} here")
    return wanted


async def task_definition(dispatch: Dispatch, call: Call, name: str | None) -> dict[str, Any]:
    """The definition of that name, active."""
    if not name:
        raise invalid("TaskDefinition cannot be blank.")
    asked = {"taskDefinition": name}
    try:
        found = await dispatch.ask("ecs", "DescribeTaskDefinition", asked, call.region, PRINCIPAL)
    except AwsError:
        raise invalid("The specified task definition does not exist.") from None
    definition = found["taskDefinition"]
    if definition.get("status", "ACTIVE") != "ACTIVE":
        raise invalid("TaskDefinition is inactive")
    return definition


def runnable(elb: Elb, definition: dict[str, Any], network: dict[str, Any], balancers: list[dict[str, Any]]) -> None:
    """Raises when tasks of this kind cannot be run, or cannot be reached."""
    if definition.get("networkMode") != "awsvpc":
        raise not_emulated("task definitions whose networkMode is not awsvpc")
    if not (network.get("awsvpcConfiguration") or {}).get("subnets"):
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    containers = {one["name"]: one for one in definition["containerDefinitions"]}
    for container in containers.values():
        if container.get("secrets") or container.get("environmentFiles"):
            raise not_emulated("containers with secrets or environmentFiles")
    for one in balancers:
        name, port = one.get("containerName"), one.get("containerPort")
        if name not in containers:
            raise invalid(f"The container {name} does not exist in the task definition.")
        if port not in [mapping.get("containerPort") for mapping in containers[name].get("portMappings", [])]:
            raise invalid(f"The container {name} did not have a container port {port} defined.")
        reachable(elb, one.get("targetGroupArn", ""))


def reachable(elb: Elb, group: str) -> None:
    """Raises for a target group that tasks with addresses of their own cannot be registered with."""
    if elb.group(group).by_instance:
        raise invalid(
            f"The provided target group {group} has target type instance, which is incompatible with the awsvpc "
            "network mode specified in the task definition."
        )


def balanced(elb: Elb, balancers: list[dict[str, Any]]) -> None:
    """Raises for a target group that no listener names."""
    for one in balancers:
        if not elb.group(one["targetGroupArn"]).in_use:
            raise invalid(
                f"The target group with targetGroupArn {one['targetGroupArn']} "
                "does not have an associated load balancer."
            )
