"""The ECS operations on service deployments and revisions."""

from __future__ import annotations

from typing import Any

from ...dispatch import Call, Dispatch
from ...errors import AwsError
from ..checks import invalid
from ..runner import PRINCIPAL
from ..task_api import existing_cluster, last
from . import views
from .hooks import Hooks
from .model import Deployment, NativeService, RollBack
from .services import NativeServices

_MAX_DESCRIBED = 20


class ServiceDeployments:
    """Looks at deployments, answers their pauses, stops them."""

    def __init__(self, dispatch: Dispatch, services: NativeServices) -> None:
        self._dispatch = dispatch
        self._services = services
        dispatch.register("ecs", self)

    async def ListServiceDeployments(self, call: Call) -> dict[str, Any]:
        params = call.params
        size, start = params.get("maxResults", 20), params.get("nextToken", "0")
        if not 1 <= size <= 100 or not start.isdigit():
            raise invalid("maxResults must be between 1 and 100, and nextToken one that was returned.")
        service = await self._service(call)
        created = params.get("createdAt", {})
        found = [
            views.brief(one)
            for one in reversed(service.deployments)
            if one.status in (params.get("status") or [one.status])
            and ("before" not in created or one.created < created["before"].timestamp())
            and ("after" not in created or one.created > created["after"].timestamp())
        ]
        end = int(start) + size
        page = {"serviceDeployments": found[int(start) : end]}
        return page | ({"nextToken": str(end)} if end < len(found) else {})

    async def DescribeServiceDeployments(self, call: Call) -> dict[str, Any]:
        arns = _few(call.params["serviceDeploymentArns"], "serviceDeploymentArns")
        known = self._services.deployments
        return {
            "serviceDeployments": [views.describe(known[arn]) for arn in arns if self._here(arn, call, known)],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns if not self._here(arn, call, known)],
        }

    async def DescribeServiceRevisions(self, call: Call) -> dict[str, Any]:
        arns = _few(call.params["serviceRevisionArns"], "serviceRevisionArns")
        known = self._services.revisions
        return {
            "serviceRevisions": [views.revision(*known[arn]) for arn in arns if self._here(arn, call, known)],
            "failures": [{"arn": arn, "reason": "MISSING"} for arn in arns if not self._here(arn, call, known)],
        }

    async def ContinueServiceDeployment(self, call: Call) -> dict[str, Any]:
        deployment = self._deployment(call)
        Hooks.answer(deployment, call.params["hookId"], call.params.get("action", "CONTINUE"))
        return {"serviceDeploymentArn": deployment.arn}

    async def StopServiceDeployment(self, call: Call) -> dict[str, Any]:
        if call.params.get("stopType", "ROLLBACK") != "ROLLBACK":
            # the enum has ABORT, but "The valid values are ROLLBACK" (StopServiceDeployment)
            raise invalid("The valid values of stopType are ROLLBACK.")
        deployment = self._deployment(call)
        if not deployment.active:
            raise AwsError("ConflictException", f"The service deployment is over: {deployment.status}.")
        if deployment.completing:
            raise AwsError("ConflictException", "The service deployment is being completed: its source is removed.")
        if deployment.status in ("PENDING", "IN_PROGRESS"):
            deployment.status = "ROLLBACK_REQUESTED"
            deployment.touch()
            deployment.interrupt(RollBack("Service deployment was stopped by StopServiceDeployment."))
        return {"serviceDeploymentArn": deployment.arn}

    # === inside ===

    async def _service(self, call: Call) -> NativeService:
        cluster = await existing_cluster(self._dispatch, call)
        name = last(call.params["service"])
        for service in {id(one): one for one, _ in self._services.revisions.values()}.values():
            if (service.region, service.cluster, service.name) == (call.region, cluster, name):
                return service
        asked = {"cluster": cluster, "services": [name]}
        found = await self._dispatch.ask("ecs", "DescribeServices", asked, call.region, PRINCIPAL, quiet=True)
        if found.get("services"):
            raise AwsError(
                "UnsupportedFeatureException",
                "Service deployments are supported for the ECS deployment controller only.",
            )
        raise AwsError("ServiceNotFoundException", "Service not found.")

    def _deployment(self, call: Call) -> Deployment:
        arn = call.params["serviceDeploymentArn"]
        if not self._here(arn, call, self._services.deployments):
            raise AwsError("ServiceDeploymentNotFoundException", "The service deployment could not be found.")
        return self._services.deployments[arn]

    @staticmethod
    def _here(arn: str, call: Call, known: dict[str, Any]) -> bool:
        return arn in known and arn.split(":")[3] == call.region


def _few(arns: list[str], name: str) -> list[str]:
    if not 1 <= len(arns) <= _MAX_DESCRIBED:
        raise invalid(f"{name} must have 1 to {_MAX_DESCRIBED} items.")
    for arn in arns:
        if not arn.startswith("arn:aws:ecs:"):
            raise invalid(f"{arn[:100]} is not an ARN of ECS.")
    return arns
