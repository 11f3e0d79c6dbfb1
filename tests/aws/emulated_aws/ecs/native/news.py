"""What EventBridge hears of service deployments and their hooks."""

from __future__ import annotations

import datetime
import logging
import time

from ...dispatch import Dispatch
from ...errors import AwsError
from ...events import announce
from .model import Deployment, HookRun

log = logging.getLogger(__name__)

_BAD = ("HOOK_FAILED", "HOOK_TIMED_OUT", "SERVICE_DEPLOYMENT_FAILED")


class News:
    """Announces; that nobody can be told stops no deployment."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch

    async def hook(self, deployment: Deployment, run: HookRun, name: str) -> None:
        """ECS Hook State Change."""
        service = deployment.service
        detail = {
            "eventType": _kind(name),
            "eventName": name,
            "hookId": run.id,
            "hookType": run.type,
            "expiresAt": _stamp(run.expires),
            "lifecycleStage": run.stage,
            "clusterArn": service.cluster_arn,
            "serviceArn": service.arn,
            "serviceDeploymentArn": deployment.arn,
            "updatedAt": _stamp(time.time(), fine=True),
        }
        await self._tell(deployment, "ECS Hook State Change", [deployment.arn], detail)

    async def deployment(self, deployment: Deployment, name: str, reason: str, deployment_id: str) -> None:
        """ECS Deployment State Change, as it was before there were service deployments: it names the service."""
        detail = {
            "eventType": _kind(name),
            "eventName": name,
            "deploymentId": deployment_id,
            "updatedAt": _stamp(time.time()),
            "reason": reason,
        }
        await self._tell(deployment, "ECS Deployment State Change", [deployment.service.arn], detail)

    async def _tell(self, deployment: Deployment, kind: str, resources: list[str], detail: dict[str, str]) -> None:
        try:
            await announce(self._dispatch, deployment.service.region, "aws.ecs", kind, resources, detail)
        except (AwsError, RuntimeError) as error:  # the latter when the emulator ends
            log.warning("%s of %s: %s", detail["eventName"], deployment.arn, error)


def _kind(name: str) -> str:
    return "ERROR" if name in _BAD else "INFO"


def _stamp(seconds: float, fine: bool = False) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{moment.microsecond * 1000:09}Z" if fine else f"{text}Z"
