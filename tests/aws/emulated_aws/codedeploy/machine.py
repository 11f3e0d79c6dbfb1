"""The life of one deployment, event by event: our reading of "What happens during an Amazon ECS deployment"."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from ..dispatch import Dispatch
from ..errors import AwsError
from ..settings import Settings
from .fleet import Fleet
from .hooks import Hooks
from .model import Deployment, Event, TaskSetRef, now
from .waiting import Failed, Stopped, pause, until

log = logging.getLogger(__name__)

ORDER = (
    "BeforeInstall", "Install", "AfterInstall", "AllowTestTraffic", "AfterAllowTestTraffic",
    "BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic",
)  # fmt: skip
_TEST_EVENTS = ("AllowTestTraffic", "AfterAllowTestTraffic")
_START_SECONDS = 2.0  # AWS seconds in Created and Queued
_INSTALL_SECONDS = 3600.0  # "This time out period is 60 minutes."
_SETTLE_SECONDS = 3.0  # a task that runs that long has not failed to start
_FIRST_HEALTH_SECONDS = 120.0  # how long AllowTestTraffic waits for a first word from every health check
_POLL = 0.1


class Machine:
    """Runs deployments, one task each."""

    def __init__(self, settings: Settings, dispatch: Dispatch, hooks: Hooks) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._hooks = hooks
        self._rolled_back: Callable[[Deployment, str], None] = lambda deployment, message: None

    def on_rollback(self, start: Callable[[Deployment, str], None]) -> None:
        """Who creates the rollback deployment when one is due."""
        self._rolled_back = start

    async def run(self, deployment: Deployment) -> None:
        """From Created to an end; every failure ends up in the deployment's status."""
        fleet = Fleet(self._dispatch, deployment.group)
        has_test = deployment.group.test_listener is not None
        deployment.events = [Event(name) for name in ORDER if has_test or name not in _TEST_EVENTS]
        scaled = self._settings.scaled
        try:
            await pause(deployment, scaled(_START_SECONDS, 0.05))
            deployment.status = deployment.target_status = "InProgress"
            deployment.started = now()
            if deployment.rollback_of:
                await self._roll_back(deployment, fleet)
            else:
                await self._roll_forward(deployment, fleet)
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
            # an error of the services we drive is how ECS_UPDATE_ERROR comes about
            code = failure.code if isinstance(failure, Failed) else "ECS_UPDATE_ERROR"
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
        if deployment.green and deployment.blue and not deployment.rollback_of:
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

    async def _step(
        self, deployment: Deployment, name: str, action: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """One lifecycle event: its action, or its hook when the AppSpec names one; nothing else also succeeds."""
        event = deployment.event(name)
        if event is None:
            return
        event.begin()
        deployment.updated = now()
        function = deployment.appspec.hooks.get(name)
        if action:
            await action()
        elif function and (self._settings.rollback_hooks or not deployment.rollback_of):
            await self._hooks.execute(deployment, event, function)
        if deployment.stop.is_set():
            raise Stopped
        event.end("Succeeded")
        deployment.updated = now()

    # === forward ===

    async def _roll_forward(self, deployment: Deployment, fleet: Fleet) -> None:
        await self._prepare(deployment, fleet)
        await self._step(deployment, "BeforeInstall")
        await self._step(deployment, "Install", lambda: self._install(deployment, fleet))
        await self._step(deployment, "AfterInstall")
        await self._step(deployment, "AllowTestTraffic", lambda: self._allow_test_traffic(deployment, fleet))
        await self._step(deployment, "AfterAllowTestTraffic")
        await self._wait_for_go(deployment)
        await self._step(deployment, "BeforeAllowTraffic")
        await self._step(deployment, "AllowTraffic", lambda: self._allow_traffic(deployment, fleet))
        await self._step(deployment, "AfterAllowTraffic")
        deployment.target_status = "Succeeded"
        await self._terminate_blue(deployment, fleet)

    async def _prepare(self, deployment: Deployment, fleet: Fleet) -> None:
        """Finds blue, which is whatever is primary now, and clears what an unfinished deployment left."""
        arns = await fleet.target_groups()
        names = {arn: name for name, arn in arns.items()}
        sets = await fleet.task_sets()
        primary = next((one for one in sets if one["status"] == "PRIMARY"), None)
        if primary is None:
            raise Failed("INVALID_ECS_SERVICE", "The ECS service has no primary task set.")
        blue_arn = primary["loadBalancers"][0]["targetGroupArn"]
        if blue_arn not in names:
            raise Failed(
                "INVALID_ECS_SERVICE", "The primary task set's target group is not one of the deployment group's."
            )
        deployment.blue = TaskSetRef(primary["taskSetArn"], primary["id"], blue_arn, names[blue_arn])
        leftovers = [one for one in sets if one["status"] == "ACTIVE"]
        if leftovers:
            # Our reading: traffic goes to the primary before what is left of a stopped deployment is removed.
            await fleet.route(deployment.group.prod_listener, {blue_arn: 100})
            for one in leftovers:
                await fleet.delete(one["taskSetArn"])
        await fleet.refresh(deployment)

    async def _install(self, deployment: Deployment, fleet: Fleet) -> None:
        assert deployment.blue is not None
        arns = await fleet.target_groups()
        name, arn = next((n, a) for n, a in arns.items() if a != deployment.blue.group_arn)
        deployment.green = await fleet.create_green(deployment, name, arn)
        limit = asyncio.get_running_loop().time() + self._settings.scaled(_INSTALL_SECONDS)
        settled = 0.0
        while settled < self._settings.scaled(_SETTLE_SECONDS, 0.2):
            await pause(deployment, _POLL)
            await fleet.refresh(deployment)
            green = deployment.green
            settled = settled + _POLL if green.running >= green.desired else 0.0
            if asyncio.get_running_loop().time() > limit:
                raise Failed(
                    "ECS_UPDATE_ERROR",
                    "The deployment timed out while waiting for the replacement task set to become healthy. "
                    "This time out period is 60 minutes.",
                )

    async def _allow_test_traffic(self, deployment: Deployment, fleet: Fleet) -> None:
        """Only now is green on a listener, so only now is its health checked.

        Our reading: the hook is asked when every target has had a first verdict, good or bad. Whether AWS waits at all
        is not documented; a hook must survive `initial` anyway.
        """
        green, listener = deployment.green, deployment.group.test_listener
        assert green is not None and listener is not None
        await fleet.route(listener, {green.group_arn: 100})
        deployment.test_route = green.group_name
        limit = asyncio.get_running_loop().time() + self._settings.scaled(_FIRST_HEALTH_SECONDS, 5)
        while asyncio.get_running_loop().time() < limit:
            states = [state for state in await fleet.health(green.group_arn) if state != "draining"]
            if len(states) >= green.desired and not {"initial", "unused"} & set(states):
                return
            await pause(deployment, _POLL)

    async def _wait_for_go(self, deployment: Deployment) -> None:
        option = deployment.group.settings["blueGreenDeploymentConfiguration"].get("deploymentReadyOption") or {}
        if option.get("actionOnTimeout") != "STOP_DEPLOYMENT":
            return
        deployment.status = deployment.target_status = "Ready"
        deployment.waiting, deployment.updated = "READY_WAIT", now()
        went = await until(
            deployment, deployment.proceed, self._settings.scaled(option.get("waitTimeInMinutes", 0) * 60)
        )
        deployment.waiting = None
        deployment.proceed.clear()
        if not went:
            raise Stopped("TIMEOUT", "The deployment was stopped: traffic was not rerouted within the wait time.")
        deployment.status = deployment.target_status = "InProgress"

    async def _allow_traffic(self, deployment: Deployment, fleet: Fleet) -> None:
        blue, green = deployment.blue, deployment.green
        assert blue is not None and green is not None
        for index, percent in enumerate(deployment.config.weights()):
            if index:
                await pause(deployment, self._settings.scaled(deployment.config.minutes * 60))
            weights = {green.group_arn: percent}
            if percent < 100:
                weights = {blue.group_arn: 100 - percent, green.group_arn: percent}
            await fleet.route(deployment.group.prod_listener, weights)
            deployment.green_weight, deployment.updated = float(percent), now()
        await fleet.make_primary(green)

    async def _terminate_blue(self, deployment: Deployment, fleet: Fleet) -> None:
        blue = deployment.blue
        assert blue is not None
        option = deployment.group.settings["blueGreenDeploymentConfiguration"].get(
            "terminateBlueInstancesOnDeploymentSuccess"
        ) or {"action": "TERMINATE"}
        if option.get("action") == "KEEP_ALIVE":
            return
        # the deployment stays InProgress; instanceTerminationWaitTimeStarted stays false, as users report of AWS
        minutes = option.get("terminationWaitTimeInMinutes", 0)
        if minutes:
            deployment.waiting = "TERMINATION_WAIT"
            await until(deployment, deployment.proceed, self._settings.scaled(minutes * 60))
            deployment.waiting = None
        await fleet.delete(blue.arn)
        await fleet.refresh(deployment)

    # === back ===

    async def _roll_back(self, deployment: Deployment, fleet: Fleet) -> None:
        """Traffic first: users must not wait for hooks. Then the same events and hooks, then green goes.

        Whether AWS runs hooks in a rollback is not documented; that it might is the harder case for a hook's owner.
        """
        blue, green, group = deployment.blue, deployment.green, deployment.group
        assert blue is not None and green is not None
        await fleet.route(group.prod_listener, {blue.group_arn: 100})
        deployment.green_weight = 0.0
        if group.test_listener:
            await fleet.route(group.test_listener, {blue.group_arn: 100})
            deployment.test_route = blue.group_name
        await fleet.make_primary(blue)
        for name in ORDER:
            await self._step(deployment, name)
        await fleet.delete(green.arn)
        await fleet.refresh(deployment)


def _last(deployment: Deployment) -> dict[str, object]:
    last: dict[str, object] = {
        "deploymentId": deployment.id, "status": deployment.status, "createTime": deployment.created,
    }  # fmt: skip
    if deployment.completed:
        last["endTime"] = deployment.completed
    return last
