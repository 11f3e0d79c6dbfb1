"""The operations on deployments: creating, watching, answering, stopping, continuing."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from ..settings import Settings
from . import appspec, views
from .fleet import Fleet
from .groups import Groups
from .hooks import MAX_DELIVERIES, Hooks
from .machine import Machine
from .model import Deployment, HookRun
from .rules import check_auto_rollback

_ID = re.compile(r"d-[A-Z0-9]{9}")
_PAGE = 100
_MAX_BATCH = 25
MAX_KEPT = 2000
_STATUSES = ("Created", "Queued", "InProgress", "Baking", "Succeeded", "Failed", "Stopped", "Ready")


class Deployments:
    """Every region's deployments, the oldest first."""

    def __init__(self, settings: Settings, dispatch: Dispatch, groups: Groups) -> None:
        self._dispatch = dispatch
        self._groups = groups
        self._hooks = Hooks(settings, dispatch)
        self._machine = Machine(settings, dispatch, self._hooks)
        self._machine.on_rollback(self._start_rollback)
        self._running: set[asyncio.Task[None]] = set()
        self.all: dict[str, Deployment] = {}
        dispatch.register("codedeploy", self)

    async def close(self) -> None:
        """Leaves every deployment where it is."""
        self._machine.close()
        for task in self._running:
            task.cancel()

    # === creating ===

    async def CreateDeployment(self, call: Call) -> dict[str, Any]:
        params = call.params
        group = self._groups.group(call)
        for key in ("targetInstances", "overrideAlarmConfiguration", "ec2DeploymentOptions"):
            if params.get(key):
                raise not_emulated(f"CreateDeployment with {key}")
        if not params.get("revision"):
            raise AwsError("RevisionRequiredException", "The revision was not specified.")
        spec = appspec.parse(params["revision"], group.platform)
        name = params.get("deploymentConfigName", group.settings["deploymentConfigName"])
        config = self._groups.configs.find(name, call.region, group.platform)
        check_auto_rollback(params.get("autoRollbackConfiguration"))
        if len(params.get("description", "")) > 4096:
            raise AwsError("DescriptionTooLongException", "The description is too long.")
        await self._machine.check(group.platform, call.region, spec)
        # no await from here to the registration: two requests at once must not both pass
        active = next((d for d in self.all.values() if d.group is group and d.active), None)
        if active:
            raise AwsError(
                "DeploymentLimitExceededException",
                f"The Deployment Group '{group.name}' already has an active Deployment '{active.id}'",
            )
        self._groups.applications[call.region, group.application].revisions[spec.sha256] = spec.content
        auto_rollback = params.get("autoRollbackConfiguration") or group.settings.get("autoRollbackConfiguration") or {}
        deployment = Deployment(group, spec, config, description=params.get("description"), auto_rollback=auto_rollback)
        self._start(deployment)
        return {"deploymentId": deployment.id}

    def _start(self, deployment: Deployment) -> None:
        if len(self.all) >= MAX_KEPT:
            oldest = next((d.id for d in self.all.values() if not d.active), None)
            if oldest is None:
                raise AwsError("DeploymentLimitExceededException", f"at most {MAX_KEPT} deployments")
            del self.all[oldest]
        self.all[deployment.id] = deployment
        task = asyncio.create_task(self._machine.run(deployment))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    def _start_rollback(self, failed: Deployment, message: str) -> None:
        """A rollback is a deployment of its own, which the failed one points to."""
        rollback = Deployment(
            failed.group, failed.appspec, failed.config, creator="codeDeployRollback",
            description=f"Rollback of {failed.id}", auto_rollback=failed.auto_rollback, rollback_of=failed.id,
        )  # fmt: skip
        rollback.blue, rollback.green = failed.blue, failed.green
        rollback.green_weight, rollback.test_route = failed.green_weight, failed.test_route
        self._start(rollback)
        failed.rollback_id = rollback.id
        failed.rollback_message = f"Rolling back: {message}"[:256]

    # === watching ===

    def _find(self, call: Call) -> Deployment:
        wanted = call.params.get("deploymentId")
        if not wanted:
            raise AwsError("DeploymentIdRequiredException", "The deployment ID was not specified.")
        return self.by_id(wanted, call.region)

    def by_id(self, wanted: str, region: str | None = None) -> Deployment:
        """The deployment of that id, or the API's errors."""
        if not _ID.fullmatch(wanted):
            raise AwsError("InvalidDeploymentIdException", f"Deployment id {wanted[:50]} is not valid")
        found = self.all.get(wanted)
        if found is None or region not in (None, found.group.region):
            raise AwsError("DeploymentDoesNotExistException", f"The deployment {wanted} could not be found")
        return found

    async def GetDeployment(self, call: Call) -> dict[str, Any]:
        return {"deploymentInfo": views.deployment_info(self._find(call))}

    async def BatchGetDeployments(self, call: Call) -> dict[str, Any]:
        ids = call.params["deploymentIds"]
        if len(ids) > _MAX_BATCH:
            raise AwsError("BatchLimitExceededException", f"at most {_MAX_BATCH} deployments")
        found = [self.all[one] for one in ids if one in self.all and self.all[one].group.region == call.region]
        return {"deploymentsInfo": [views.deployment_info(one) for one in found]}

    async def ListDeployments(self, call: Call) -> dict[str, Any]:
        params = call.params
        if params.get("deploymentGroupName") and not params.get("applicationName"):
            raise AwsError("ApplicationNameRequiredException", "The application name is required.")
        if params.get("applicationName") and not params.get("deploymentGroupName"):
            raise AwsError("DeploymentGroupNameRequiredException", "The deployment group name is required.")
        group = self._groups.group(call) if params.get("applicationName") else None
        statuses = params.get("includeOnlyStatuses") or _STATUSES
        if any(status not in _STATUSES for status in statuses):
            raise AwsError("InvalidDeploymentStatusException", "The specified deployment status is unknown.")
        between = params.get("createTimeRange") or {}
        ids = [
            d.id
            for d in reversed(self.all.values())
            if d.group.region == call.region
            and group in (None, d.group)
            and d.status in statuses
            and (not between.get("start") or d.created >= between["start"])
            and (not between.get("end") or d.created <= between["end"])
        ]
        return _page("deployments", ids, params.get("nextToken"))

    async def ListDeploymentTargets(self, call: Call) -> dict[str, Any]:
        deployment = self._begun(call)
        filters = call.params.get("targetFilters") or {}
        if any(name not in ("TargetStatus", "ServerInstanceLabel") for name in filters):
            raise AwsError("InvalidTargetFilterNameException", "The target filter name is invalid.")
        ids = [deployment.target_id]
        if "TargetStatus" in filters and deployment.target_status not in filters["TargetStatus"]:
            ids = []
        return _page("targetIds", ids, call.params.get("nextToken"))

    async def BatchGetDeploymentTargets(self, call: Call) -> dict[str, Any]:
        deployment = self._begun(call)
        ids = call.params["targetIds"]
        if len(ids) > _MAX_BATCH:
            raise AwsError("DeploymentTargetListSizeExceededException", f"at most {_MAX_BATCH} targets")
        for one in ids:
            self._check_target(deployment, one)
        return {"deploymentTargets": [await self._target(deployment) for _ in ids]}

    async def GetDeploymentTarget(self, call: Call) -> dict[str, Any]:
        deployment = self._begun(call)
        self._check_target(deployment, call.params["targetId"])
        return {"deploymentTarget": await self._target(deployment)}

    def _begun(self, call: Call) -> Deployment:
        deployment = self._find(call)
        if deployment.started is None:
            raise AwsError("DeploymentNotStartedException", f"Deployment {deployment.id} has not started yet")
        return deployment

    @staticmethod
    def _check_target(deployment: Deployment, wanted: str) -> None:
        if not wanted or wanted.count(":") != 1:
            raise AwsError("InvalidDeploymentTargetIdException", f"The target ID {wanted[:100]} is invalid")
        if wanted != deployment.target_id:
            raise AwsError("DeploymentTargetDoesNotExistException", f"There is no target {wanted[:100]}")

    async def _target(self, deployment: Deployment) -> dict[str, Any]:
        if deployment.active and deployment.group.platform == "ECS":
            # the service may be gone; what was seen last is still true of the deployment
            with contextlib.suppress(AwsError):
                await Fleet(self._dispatch, deployment.group).refresh(deployment)
        return views.target(deployment)

    # === steering ===

    async def PutLifecycleEventHookExecutionStatus(self, call: Call) -> dict[str, Any]:
        deployment = self._find(call)
        execution = call.params.get("lifecycleEventHookExecutionId")
        self._hooks.answer(deployment, execution, call.params.get("status"), call.access_key)
        return {"lifecycleEventHookExecutionId": execution}

    async def StopDeployment(self, call: Call) -> dict[str, Any]:
        deployment = self._find(call)
        if deployment.status == "Stopped":
            # asked again after Pending: our reading of "Succeeded: The stop operation was successful"
            return {"status": "Succeeded", "statusMessage": "The deployment is stopped."}
        if not deployment.active:
            raise AwsError("DeploymentAlreadyCompletedException", f"Deployment {deployment.id} is already complete")
        if not deployment.stop.is_set():
            deployment.stop_rollback = call.params.get("autoRollbackEnabled")
            deployment.stop.set()
        return {"status": "Pending", "statusMessage": "The deployment is being stopped."}

    async def ContinueDeployment(self, call: Call) -> dict[str, Any]:
        deployment = self._find(call)
        wait = call.params.get("deploymentWaitType", "READY_WAIT")
        if wait not in ("READY_WAIT", "TERMINATION_WAIT"):
            raise AwsError("InvalidDeploymentWaitTypeException", f"The wait type {wait[:50]} is invalid.")
        if not deployment.active:
            raise AwsError("DeploymentAlreadyCompletedException", f"Deployment {deployment.id} is already complete")
        if deployment.waiting != wait:
            raise AwsError(
                "DeploymentIsNotInReadyStateException", f"Deployment {deployment.id} does not wait for {wait}"
            )
        deployment.proceed.set()
        return {}

    async def redeliver(self, deployment: Deployment) -> HookRun:
        """The newest hook asked once more, as at-least-once delivery would."""
        if not deployment.hooks:
            raise AwsError("NoHook", "no hook of this deployment was invoked yet", 409)
        run = list(deployment.hooks.values())[-1]
        if run.deliveries >= MAX_DELIVERIES:
            raise AwsError("TooManyDeliveries", f"at most {MAX_DELIVERIES} deliveries", 409)
        await self._hooks.deliver(deployment, run)
        run.deliveries += 1
        return run


def _page(member: str, values: list[str], token: str | None) -> dict[str, Any]:
    try:
        start = int(base64.b64decode(token, validate=True)) if token else 0
    except ValueError:
        raise AwsError("InvalidNextTokenException", "The next token was specified in an invalid format.") from None
    page: dict[str, Any] = {member: values[start : start + _PAGE]}
    if start + _PAGE < len(values):
        page["nextToken"] = base64.b64encode(str(start + _PAGE).encode()).decode()
    return page
