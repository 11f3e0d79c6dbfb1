"""Tells the event bus what becomes of deployments: "CodeDeploy Deployment State-change Notification" events."""

from __future__ import annotations

import asyncio
import collections
import logging

from ..dispatch import Dispatch
from ..errors import AwsError
from ..events import announce
from ..settings import ACCOUNT
from .model import Deployment

log = logging.getLogger(__name__)

ENDINGS = {"Succeeded": "SUCCESS", "Failed": "FAILURE", "Stopped": "STOP"}


class Announcer:
    """Announces in order, and lets no deployment wait for it."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._pending: collections.deque[tuple[Deployment, str]] = collections.deque()
        self._task: asyncio.Task[None] | None = None

    def say(self, deployment: Deployment, state: str) -> None:
        """START, READY, SUCCESS, FAILURE or STOP."""
        self._pending.append((deployment, state))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._work())

    def close(self) -> None:
        """What is not announced yet never is."""
        if self._task:
            self._task.cancel()

    async def _work(self) -> None:
        while self._pending:
            deployment, state = self._pending.popleft()
            group = deployment.group
            where = f"arn:aws:codedeploy:{group.region}:{ACCOUNT}"
            resources = [
                f"{where}:application:{group.application}", f"{where}:deploymentgroup:{group.application}/{group.name}",
            ]  # fmt: skip
            detail = {
                "region": group.region, "deploymentId": deployment.id, "instanceGroupId": group.id,
                "deploymentGroup": group.name, "application": group.application, "state": state,
            }  # fmt: skip
            kind = "CodeDeploy Deployment State-change Notification"
            try:
                await announce(self._dispatch, group.region, "aws.codedeploy", kind, resources, detail)
            except AwsError as error:
                log.warning("deployment %s, %s was not announced: %s", deployment.id, state, error)
