"""Deployments as the API shows them, and as the control API shows them."""

from __future__ import annotations

import copy
from typing import Any

from ..settings import ACCOUNT
from .appspec import LambdaSpec
from .model import Deployment, Event, Group, TaskSetRef

_COUNTS = ("Pending", "InProgress", "Succeeded", "Failed", "Skipped", "Ready")
# of a group's settings, what GetDeployment repeats
_COPIED = ("deploymentStyle", "blueGreenDeploymentConfiguration", "loadBalancerInfo")


def deployment_info(deployment: Deployment) -> dict[str, Any]:
    """DeploymentInfo. The AppSpec's content is left out: GetDeployment always returns it as null."""
    group = deployment.group
    info: dict[str, Any] = {
        "applicationName": group.application,
        "deploymentGroupName": group.name,
        "deploymentConfigName": deployment.config.name,
        "deploymentId": deployment.id,
        "revision": {"revisionType": "AppSpecContent", "appSpecContent": {"sha256": deployment.appspec.sha256}},
        "status": deployment.status,
        "createTime": deployment.created,
        "creator": deployment.creator,
        "ignoreApplicationStopFailures": False,
        "autoRollbackConfiguration": deployment.auto_rollback or {"enabled": False, "events": []},
        "updateOutdatedInstancesOnly": False,
        "instanceTerminationWaitTimeStarted": False,
        "fileExistsBehavior": "DISALLOW",
        "deploymentStatusMessages": [],
        "computePlatform": group.platform,
    }
    info |= {key: copy.deepcopy(group.settings[key]) for key in _COPIED if key in group.settings}
    if deployment.started:
        info["startTime"] = deployment.started
        info["deploymentOverview"] = {name: int(name == deployment.target_status) for name in _COUNTS}
    if deployment.completed:
        info["completeTime"] = deployment.completed
    if deployment.description:
        info["description"] = deployment.description
    if deployment.error:
        info["errorInformation"] = {"code": deployment.error[0], "message": deployment.error[1]}
    if deployment.rollback_id:
        info["rollbackInfo"] = {
            "rollbackDeploymentId": deployment.rollback_id, "rollbackMessage": deployment.rollback_message or "",
        }  # fmt: skip
    if deployment.rollback_of:
        info["rollbackInfo"] = {"rollbackTriggeringDeploymentId": deployment.rollback_of}
    return info


def target(deployment: Deployment) -> dict[str, Any]:
    """DeploymentTarget of the one ECS service or Lambda alias."""
    common = {
        "deploymentId": deployment.id,
        "targetId": deployment.target_id,
        "lastUpdatedAt": deployment.updated,
        "status": deployment.target_status,
        "lifecycleEvents": [_event(event) for event in deployment.events],
    }
    if isinstance(deployment.appspec, LambdaSpec):
        return {"deploymentTargetType": "LambdaTarget", "lambdaTarget": common | _alias(deployment, deployment.appspec)}
    return {"deploymentTargetType": "ECSTarget", "ecsTarget": common | _service(deployment)}


def _event(event: Event) -> dict[str, Any]:
    shown: dict[str, Any] = {"lifecycleEventName": event.name, "status": event.status}
    if event.started:
        shown["startTime"] = event.started
    if event.ended:
        shown["endTime"] = event.ended
    if event.diagnostics:
        shown["diagnostics"] = event.diagnostics
    return shown


def _alias(deployment: Deployment, spec: LambdaSpec) -> dict[str, Any]:
    return {
        "targetArn": f"arn:aws:lambda:{deployment.group.region}:{ACCOUNT}:function:{deployment.target_id}",
        "lambdaFunctionInfo": {
            "functionName": spec.function,
            "functionAlias": spec.alias,
            "currentVersion": spec.current,
            "targetVersion": spec.target,
            "targetVersionWeight": deployment.green_weight,
        },
    }


def _service(deployment: Deployment) -> dict[str, Any]:
    group = deployment.group
    sets = []
    if deployment.blue:
        sets.append(_task_set(deployment.blue, "Blue", 100.0 - deployment.green_weight))
    if deployment.green:
        sets.append(_task_set(deployment.green, "Green", deployment.green_weight))
    return {
        "targetArn": f"arn:aws:ecs:{group.region}:{ACCOUNT}:service/{group.cluster}/{group.service}",
        "taskSetsInfo": sets,
    }


def _task_set(ref: TaskSetRef, label: str, weight: float) -> dict[str, Any]:
    return {
        "identifer": ref.id,  # so spelled in the service model
        "desiredCount": ref.desired,
        "pendingCount": ref.pending,
        "runningCount": ref.running,
        "status": ref.status,
        "trafficWeight": weight,
        "targetGroup": {"name": ref.group_name},
        "taskSetLabel": label,
    }


def group_info(group: Group) -> dict[str, Any]:
    """DeploymentGroupInfo."""
    info = {
        "applicationName": group.application,
        "deploymentGroupName": group.name,
        "deploymentGroupId": group.id,
        "computePlatform": group.platform,
        "autoRollbackConfiguration": {"enabled": False, "events": []},
        "alarmConfiguration": {"enabled": False, "ignorePollAlarmFailure": False, "alarms": []},
        "triggerConfigurations": [],
        **copy.deepcopy(group.settings),
    }
    for key, value in (
        ("targetRevision", group.target_revision),
        ("lastSuccessfulDeployment", group.last_successful),
        ("lastAttemptedDeployment", group.last_attempted),
    ):
        if value:
            info[key] = value
    return info


def machine(deployment: Deployment) -> dict[str, Any]:
    """Everything there is to know, for tests; plain JSON values."""
    return {
        "deployment_id": deployment.id,
        "application": deployment.group.application,
        "deployment_group": deployment.group.name,
        "status": deployment.status,
        "target_status": deployment.target_status,
        "creator": deployment.creator,
        "error": list(deployment.error) if deployment.error else None,
        "rollback_of": deployment.rollback_of,
        "rollback_id": deployment.rollback_id,
        "waiting": deployment.waiting,
        "created_at": deployment.created.timestamp(),
        "started_at": deployment.started.timestamp() if deployment.started else None,
        "completed_at": deployment.completed.timestamp() if deployment.completed else None,
        "events": [
            {
                "name": event.name,
                "status": event.status,
                "started_at": event.started.timestamp() if event.started else None,
                "ended_at": event.ended.timestamp() if event.ended else None,
                "diagnostics": event.diagnostics,
            }
            for event in deployment.events
        ],
        "hooks": [
            {
                "hook": run.hook,
                "function": run.function,
                "execution_id": run.execution_id,
                "invoked_at": run.invoked_at,
                "answered_at": run.answered_at,
                "status": run.status,
                "deliveries": run.deliveries,
                "answers": run.answers,
            }
            for run in deployment.hooks.values()
        ],
        "traffic": {
            "production": {"blue": 100.0 - deployment.green_weight, "green": deployment.green_weight},
            "test": deployment.test_route,
        },
        "task_sets": {
            label: {
                "id": ref.id, "target_group": ref.group_name, "desired": ref.desired, "running": ref.running,
                "status": ref.status,
            }
            for label, ref in (("blue", deployment.blue), ("green", deployment.green))
            if ref
        },
        "versions": (
            {"blue": deployment.appspec.current, "green": deployment.appspec.target}
            if isinstance(deployment.appspec, LambdaSpec)
            else None
        ),
    }  # fmt: skip
