"""The life of one deployment from Created to its end, and whether a rollback follows."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from ..dispatch import Dispatch
from ..errors import AwsError
from ..settings import Settings
from . import ecs_release, lambda_release
from .announcer import ENDINGS, Announcer
from .appspec import AppSpec
from .ecs_release import EcsRelease
from .hooks import Hooks
from .lambda_release import LambdaRelease
from .model import Deployment, Event, now
from .steps import Steps
from .waiting import Failed, Stopped, pause

log = logging.getLogger(__name__)

_START_SECONDS = 2.0  # AWS seconds in Created and Queued


class Release(Protocol):
    """What differs between compute platforms."""

    BROKEN: str  # the errorInformation code when a service we drive refuses

    def events(self) -> list[str]: ...
    async def forward(self) -> None: ...
    async def back(self) -> None: ...


class Machine:
    """Runs deployments, one task each."""

    def __init__(self, settings: Settings, dispatch: Dispatch, hooks: Hooks) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._hooks = hooks
        self._announcer = Announcer(dispatch)
        self._rolled_back: Callable[[Deployment, str], None] = lambda deployment, message: None

    def on_rollback(self, start: Callable[[Deployment, str], None]) -> None:
        """Who creates the rollback deployment when one is due."""
        self._rolled_back = start

    def close(self) -> None:
        """Announces no more."""
        self._announcer.close()

    async def check(self, platform: str, region: str, spec: AppSpec) -> None:
        """Raises what CreateDeployment raises for an AppSpec that cannot work."""
        module = ecs_release if platform == "ECS" else lambda_release
        await module.check(self._dispatch, region, spec)

    async def run(self, deployment: Deployment) -> None:
        """From Created to an end; every failure ends up in the deployment's status."""
        steps = Steps(self._settings, self._hooks, deployment, self._announcer.say)
        kind = EcsRelease if deployment.group.platform == "ECS" else LambdaRelease
        release: Release = kind(self._dispatch, steps)
        deployment.events = [Event(name) for name in release.events()]
        try:
            await pause(deployment, self._settings.scaled(_START_SECONDS, 0.05))
            deployment.status = deployment.target_status = "InProgress"
            deployment.started = now()
            self._announcer.say(deployment, "START")
            await (release.back() if deployment.rollback_of else release.forward())
            self._end(deployment, "Succeeded")
            deployment.group.last_successful = _last(deployment)
            deployment.group.target_revision = {
                "revisionType": "AppSpecContent", "appSpecContent": {"sha256": deployment.appspec.sha256},
            }  # fmt: skip
        except Stopped as stop:
            deployment.error = (stop.code, stop.message)
            self._end(deployment, "Stopped")
            wanted = deployment.stop_rollback
            if wanted if wanted is not None else deployment.rolls_back_on("DEPLOYMENT_STOP_ON_REQUEST"):
                self._maybe_roll_back(deployment, stop.message)
        except (Failed, AwsError) as failure:
            code = failure.code if isinstance(failure, Failed) else release.BROKEN
            deployment.error = (code, failure.message)
            self._end(deployment, "Failed")
            if deployment.rolls_back_on("DEPLOYMENT_FAILURE"):
                self._maybe_roll_back(deployment, failure.message)
        except Exception:
            log.exception("deployment %s", deployment.id)
            deployment.error = ("INTERNAL_ERROR", "the emulator has a bug; see its log")
            self._end(deployment, "Failed")
        finally:
            deployment.group.last_attempted = _last(deployment)

    def _maybe_roll_back(self, deployment: Deployment, message: str) -> None:
        # "A rollback is not possible" before there is a replacement; and a rollback is not rolled back.
        if deployment.reversible and not deployment.rollback_of:
            self._rolled_back(deployment, message)

    def _end(self, deployment: Deployment, status: str) -> None:
        for event in deployment.events:
            if event.status == "InProgress":
                event.end("Failed" if status == "Failed" else "Skipped")
            elif event.status == "Pending":
                event.status = "Skipped"
        for run in deployment.hooks.values():
            if run.status == "InProgress":
                run.status = "Abandoned"
        deployment.target_status = {"Succeeded": "Succeeded", "Failed": "Failed"}.get(status, "Skipped")
        deployment.waiting = None
        deployment.status = status
        deployment.completed = deployment.updated = now()
        self._announcer.say(deployment, ENDINGS[status])


def _last(deployment: Deployment) -> dict[str, object]:
    last: dict[str, object] = {
        "deploymentId": deployment.id, "status": deployment.status, "createTime": deployment.created,
    }  # fmt: skip
    if deployment.completed:
        last["endTime"] = deployment.completed
    return last
