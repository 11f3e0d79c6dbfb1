"""Service deployments, revisions and services as ECS describes them, and as the control API shows them."""

from __future__ import annotations

from typing import Any

from ..task import digest, moment
from .config import SHIFTING
from .model import Deployment, HookRun, NativeService, Revision


def counts(deployment: Deployment) -> dict[str, dict[str, int]]:
    """Task counts by revision ARN, as they are now."""
    found = {}
    for revision in (*deployment.sources, deployment.target):
        wanted, running = deployment.service.wanted(revision), revision.runner.running
        found[revision.arn] = {
            "requestedTaskCount": wanted, "runningTaskCount": running, "pendingTaskCount": max(0, wanted - running),
        }  # fmt: skip
    return found


def brief(deployment: Deployment) -> dict[str, Any]:
    """ServiceDeploymentBrief."""
    return {
        "serviceDeploymentArn": deployment.arn,
        "serviceArn": deployment.service.arn,
        "clusterArn": deployment.service.cluster_arn,
        "targetServiceRevisionArn": deployment.target.arn,
        "status": deployment.status,
        **({"statusReason": deployment.reason} if deployment.reason else {}),
        **_times(deployment, ("created", "started", "finished")),
    }


def describe(deployment: Deployment) -> dict[str, Any]:
    """ServiceDeployment; PRE_PRODUCTION_TRAFFIC_SHIFT is sent although no SDK's enum has it, as AWS does."""
    tasks = deployment.final_counts or counts(deployment)

    def summary(revision: Revision) -> dict[str, Any]:
        shown: dict[str, Any] = {"arn": revision.arn, **tasks.get(revision.arn, {})}
        if deployment.strategy in SHIFTING:
            shown["requestedTestTrafficWeight"] = deployment.test.get(revision.arn, 0.0)
            shown["requestedProductionTrafficWeight"] = deployment.production.get(revision.arn, 0.0)
        return shown

    shown = {
        "serviceDeploymentArn": deployment.arn,
        "serviceArn": deployment.service.arn,
        "clusterArn": deployment.service.cluster_arn,
        "sourceServiceRevisions": [summary(one) for one in deployment.sources],
        "targetServiceRevision": summary(deployment.target),
        "status": deployment.status,
        "lifecycleHookDetails": [_hook(one) for one in deployment.hooks],
        "deploymentConfiguration": deployment.config,
        "deploymentCircuitBreaker": {"status": "DISABLED", "failureCount": 0, "threshold": 0},
        "alarms": {"status": "DISABLED"},
        **_times(deployment, ("created", "started", "finished", "stopped", "updated")),
    }
    if deployment.reason:
        shown["statusReason"] = deployment.reason
    if deployment.stage:
        shown["lifecycleStage"] = deployment.stage
    if deployment.rollback:
        shown["rollback"] = deployment.rollback | {"startedAt": moment(deployment.rollback["startedAt"])}
    return shown


def _hook(run: HookRun) -> dict[str, Any]:
    shown = {
        "hookId": run.id,
        "targetType": run.type,
        "status": run.status,
        "expiresAt": moment(run.expires),
        "timeoutAction": run.timeout_action,
    }
    if run.type != "PAUSE":
        shown["targetArn"] = run.config["hookTargetArn"]
    return shown


def _times(deployment: Deployment, names: tuple[str, ...]) -> dict[str, Any]:
    return {f"{name}At": moment(value) for name in names if (value := getattr(deployment, name))}


def revision(service: NativeService, one: Revision) -> dict[str, Any]:
    """ServiceRevision."""
    balancers = one.params.get("loadBalancers") or []
    shown = {
        "serviceRevisionArn": one.arn,
        "serviceArn": service.arn,
        "clusterArn": service.cluster_arn,
        "taskDefinition": one.definition["taskDefinitionArn"],
        "launchType": one.runner.owner.launch_type,
        "platformVersion": "1.4.0",
        "platformFamily": "Linux",
        "loadBalancers": balancers,
        "networkConfiguration": one.params["networkConfiguration"],
        "containerImages": [
            {"containerName": part["name"], "image": part["image"], "imageDigest": digest(part["image"])}
            for part in one.definition["containerDefinitions"]
        ],
        "guardDutyEnabled": False,
        "createdAt": moment(one.created),
    }
    resolved = []
    for balancer in balancers:
        advanced = balancer.get("advancedConfiguration") or {}
        entry = {"targetGroupArn": one.target_group or balancer["targetGroupArn"]}
        if "productionListenerRule" in advanced:
            entry["productionListenerRule"] = advanced["productionListenerRule"]
        resolved.append(entry)
    if resolved:
        shown["resolvedConfiguration"] = {"loadBalancers": resolved}
    return shown


def service(one: NativeService) -> dict[str, Any]:
    """Service, with its deployments as they were shown before there were service deployments."""
    revisions = list(one.revisions)
    ongoing = one.ongoing
    if ongoing and ongoing.target not in revisions:
        revisions.append(ongoing.target)
    going_back = bool(ongoing and ongoing.rollback)
    primary = one.current if going_back or not ongoing else ongoing.target
    running = sum(revision.runner.running for revision in revisions)
    wanted = sum(one.wanted(revision) for revision in revisions)
    shown = one.record | {
        "status": "ACTIVE",
        "taskDefinition": one.params["taskDefinition"],
        "loadBalancers": one.params.get("loadBalancers") or [],
        "networkConfiguration": one.params["networkConfiguration"],
        "deploymentController": {"type": "ECS"},
        "deploymentConfiguration": _configuration(one.params["deploymentConfiguration"]),
        "desiredCount": one.desired,
        "runningCount": running,
        "pendingCount": max(0, wanted - running),
        "taskSets": [],
        "deployments": [_rollout(one, revision, revision is primary) for revision in reversed(revisions)],
        "currentServiceRevisions": [
            {
                "arn": revision.arn,
                "requestedTaskCount": one.wanted(revision),
                "runningTaskCount": revision.runner.running,
                "pendingTaskCount": max(0, one.wanted(revision) - revision.runner.running),
            }
            for revision in revisions
        ],
    }
    if ongoing:
        shown["currentServiceDeployment"] = ongoing.arn
    return shown


def _configuration(config: dict[str, Any]) -> dict[str, Any]:
    """DescribeServices leaves out a pause's targetType and time-out, as users report of AWS."""
    hooks = [
        {k: v for k, v in hook.items() if hook["targetType"] != "PAUSE" or k == "lifecycleStages"}
        for hook in config.get("lifecycleHooks", [])
    ]
    return config | ({"lifecycleHooks": hooks} if "lifecycleHooks" in config else {})


def _rollout(one: NativeService, revision: Revision, primary: bool) -> dict[str, Any]:
    ongoing, wanted, running = one.ongoing, one.wanted(revision), revision.runner.running
    state = "COMPLETED"
    if ongoing and ongoing.target is revision:
        state = "FAILED" if ongoing.rollback else "IN_PROGRESS"
    return {
        "id": revision.deployment_id,
        "status": "PRIMARY" if primary else "ACTIVE",
        "taskDefinition": revision.definition["taskDefinitionArn"],
        "desiredCount": wanted,
        "pendingCount": max(0, wanted - running),
        "runningCount": running,
        "failedTasks": revision.runner.failed,
        "createdAt": moment(revision.created),
        "updatedAt": moment(revision.created),
        "launchType": revision.runner.owner.launch_type,
        "networkConfiguration": revision.params["networkConfiguration"],
        "rolloutState": state,
        "rolloutStateReason": f"ECS deployment {revision.deployment_id} {state.lower().replace('_', ' ')}.",
    }


def control(deployment: Deployment) -> dict[str, Any]:
    """Everything a test may want to see, as JSON."""
    return {
        "arn": deployment.arn,
        "service": deployment.service.name,
        "cluster": deployment.service.cluster,
        "status": deployment.status,
        "status_reason": deployment.reason,
        "strategy": deployment.strategy,
        "stage": deployment.stage,
        "stages": deployment.stages,
        "target": deployment.target.arn,
        "sources": [one.arn for one in deployment.sources],
        "target_group": deployment.target.target_group,
        "production_weights": deployment.production,
        "test_weights": deployment.test,
        "rollback": deployment.rollback,
        "tasks": deployment.final_counts or counts(deployment),
        "hooks": [
            {
                "id": run.id, "type": run.type, "stage": run.stage, "status": run.status, "expires_at": run.expires,
                "asked_at": run.asked_at, "execution_id": run.execution_id, "invocations": run.invocations,
            }
            for run in deployment.hooks
        ],
    }  # fmt: skip
