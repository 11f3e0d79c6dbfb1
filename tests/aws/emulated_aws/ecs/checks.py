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


def runnable(
    elb: Elb, definition: dict[str, Any], network: dict[str, Any], balancers: list[dict[str, Any]], launch_type: str
) -> None:
    """Raises when tasks of this kind cannot be run, or cannot be reached."""
    mode = definition.get("networkMode")
    if mode not in ("awsvpc", "bridge"):
        raise not_emulated("task definitions whose networkMode is neither awsvpc nor bridge")
    if mode == "awsvpc" and not (network.get("awsvpcConfiguration") or {}).get("subnets"):
        raise invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
    if mode == "bridge":
        _bridged(definition, network, launch_type)
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
        reachable(elb, one.get("targetGroupArn", ""), mode)


def _bridged(definition: dict[str, Any], network: dict[str, Any], launch_type: str) -> None:
    """Raises for tasks that share an instance's address in a way AWS does not take, or we do not."""
    if network.get("awsvpcConfiguration"):
        raise invalid("Network Configuration is not valid for the given networkMode of this task definition.")
    if launch_type != "EC2":
        raise invalid(f"Task definition does not support launch_type {launch_type}.")
    for container in definition["containerDefinitions"]:
        for mapping in container.get("portMappings", []):
            if mapping.get("hostPort", 0) not in (0, mapping.get("containerPort")):
                raise not_emulated("host ports other than 0 and the container's")


def reachable(elb: Elb, group: str, mode: str = "awsvpc") -> None:
    """Raises for a target group that tasks of this network mode cannot be registered with."""
    by_instance = elb.group(group).by_instance
    if by_instance != (mode == "bridge"):
        kind = "instance" if by_instance else "ip"
        raise invalid(
            f"The provided target group {group} has target type {kind}, which is incompatible with the {mode} "
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
