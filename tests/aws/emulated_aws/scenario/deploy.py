"""Deploying a new revision and waiting for what becomes of it."""

from __future__ import annotations

import json
import time
from typing import Any

from .clients import Clients
from .setup import register

DEFAULT_HOOKS = ("AfterAllowTestTraffic",)


def deploy(
    clients: Clients,
    name: str,
    command: list[str],
    environment: dict[str, str],
    hooks: tuple[str, ...] = DEFAULT_HOOKS,
    config: str | None = None,
) -> str:
    """Registers the revision and creates the deployment; its id."""
    before = clients.ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]["containerDefinitions"][0]
    port = before["portMappings"][0]["containerPort"]
    definition = register(clients, name, command, port, environment)
    spec = {
        "version": 0.0,
        "Resources": [
            {
                "TargetService": {
                    "Type": "AWS::ECS::Service",
                    "Properties": {
                        "TaskDefinition": definition,
                        "LoadBalancerInfo": {"ContainerName": "app", "ContainerPort": port},
                    },
                }
            }
        ],
        "Hooks": [{hook: f"CodeDeployHook_{name}"} for hook in hooks],
    }
    extra = {"deploymentConfigName": config} if config else {}
    made = clients.codedeploy.create_deployment(
        applicationName=name,
        deploymentGroupName=f"{name}-group",
        revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": json.dumps(spec)}},
        **extra,
    )
    return made["deploymentId"]


def status(clients: Clients, deployment_id: str) -> dict[str, Any]:
    """A deployment in a few words, its rollback included."""
    info = clients.codedeploy.get_deployment(deploymentId=deployment_id)["deploymentInfo"]
    shown: dict[str, Any] = {"deployment_id": deployment_id, "status": info["status"], "creator": info["creator"]}
    if "errorInformation" in info:
        shown["error"] = info["errorInformation"]
    try:
        target = clients.codedeploy.get_deployment_target(
            deploymentId=deployment_id,
            targetId=clients.codedeploy.list_deployment_targets(deploymentId=deployment_id)["targetIds"][0],
        )["deploymentTarget"]
        shown |= _alias(target["lambdaTarget"]) if "lambdaTarget" in target else _service(target["ecsTarget"])
    except clients.codedeploy.exceptions.DeploymentNotStartedException:
        pass
    rollback = info.get("rollbackInfo", {}).get("rollbackDeploymentId")
    if rollback:
        shown["rollback"] = status(clients, rollback)
    return shown


def _service(target: dict[str, Any]) -> dict[str, Any]:
    traffic = {one["taskSetLabel"].lower(): one["trafficWeight"] for one in target["taskSetsInfo"]}
    return {"events": _events(target), "traffic": traffic}


def _alias(target: dict[str, Any]) -> dict[str, Any]:
    info = target["lambdaFunctionInfo"]
    weight = info["targetVersionWeight"]
    return {
        "events": _events(target),
        "versions": {"current": info["currentVersion"], "target": info["targetVersion"]},
        "traffic": {"current": 100.0 - weight, "target": weight},
    }


def _events(target: dict[str, Any]) -> dict[str, str]:
    return {one["lifecycleEventName"]: one["status"] for one in target["lifecycleEvents"]}


def wait(clients: Clients, deployment_id: str, timeout: float) -> dict[str, Any]:
    """The final state, when the deployment and its rollback are over; raises TimeoutError."""
    limit = time.monotonic() + timeout
    while True:
        shown = status(clients, deployment_id)
        last = shown.get("rollback", shown)
        if last["status"] in ("Succeeded", "Failed", "Stopped"):
            return shown
        if time.monotonic() > limit:
            raise TimeoutError(json.dumps(shown))
        time.sleep(0.1)
