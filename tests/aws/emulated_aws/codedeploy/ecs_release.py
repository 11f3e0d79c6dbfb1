"""An ECS blue/green deployment: our reading of "What happens during an Amazon ECS deployment"."""

from __future__ import annotations

import asyncio
from typing import Any

from ..dispatch import Dispatch
from ..errors import AwsError
from .appspec import AppSpec, EcsSpec
from .fleet import PRINCIPAL, Fleet
from .model import TaskSetRef
from .steps import Steps
from .waiting import Failed, pause

_TEST_EVENTS = ("AllowTestTraffic", "AfterAllowTestTraffic")
_INSTALL_SECONDS = 3600.0  # "This time out period is 60 minutes."
_SETTLE_SECONDS = 3.0  # a task that runs that long has not failed to start
_FIRST_HEALTH_SECONDS = 120.0  # how long AllowTestTraffic waits for a first word from every health check
_POLL = 0.1


class EcsRelease:
    """A replacement task set comes, gets traffic, and the original goes."""

    EVENTS = (
        "BeforeInstall", "Install", "AfterInstall", "AllowTestTraffic", "AfterAllowTestTraffic",
        "BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic",
    )  # fmt: skip
    BROKEN = "ECS_UPDATE_ERROR"  # an error of the services we drive is how it comes about

    def __init__(self, dispatch: Dispatch, steps: Steps) -> None:
        self._steps = steps
        self._deployment = steps.deployment
        self._scaled = steps.settings.scaled
        self._fleet = Fleet(dispatch, steps.deployment.group)

    def events(self) -> list[str]:
        """The lifecycle events; without a test listener two less."""
        has_test = self._deployment.group.test_listener is not None
        return [name for name in self.EVENTS if has_test or name not in _TEST_EVENTS]

    async def forward(self) -> None:
        """From blue to green."""
        deployment, take = self._deployment, self._steps.take
        await self._prepare()
        await take("BeforeInstall")
        await take("Install", self._install)
        await take("AfterInstall")
        await take("AllowTestTraffic", self._allow_test_traffic)
        await take("AfterAllowTestTraffic")
        ready = self._option("deploymentReadyOption")
        if ready.get("actionOnTimeout") == "STOP_DEPLOYMENT":
            await self._steps.wait_until_ready(ready.get("waitTimeInMinutes", 0))
        await take("BeforeAllowTraffic")
        await take("AllowTraffic", self._allow_traffic)
        await take("AfterAllowTraffic")
        deployment.target_status = "Succeeded"
        await self._terminate_blue()

    async def back(self) -> None:
        """Traffic first: users must not wait for hooks. Then the same events and hooks, then green goes.

        Whether AWS runs hooks in a rollback is not documented; that it might is the harder case for a hook's owner.
        """
        deployment, fleet = self._deployment, self._fleet
        blue, green, group = deployment.blue, deployment.green, deployment.group
        assert blue is not None and green is not None
        await fleet.route(group.prod_listener, {blue.group_arn: 100})
        deployment.green_weight = 0.0
        if group.test_listener:
            await fleet.route(group.test_listener, {blue.group_arn: 100})
            deployment.test_route = blue.group_name
        await fleet.make_primary(blue)
        for name in self.EVENTS:
            await self._steps.take(name)
        await fleet.delete(green.arn)
        await fleet.refresh(deployment)

    def _option(self, name: str) -> dict[str, Any]:
        return self._deployment.group.settings["blueGreenDeploymentConfiguration"].get(name) or {}

    async def _prepare(self) -> None:
        """Finds blue, which is whatever is primary now, and clears what an unfinished deployment left."""
        deployment, fleet = self._deployment, self._fleet
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

    async def _install(self) -> None:
        deployment, fleet = self._deployment, self._fleet
        assert deployment.blue is not None
        arns = await fleet.target_groups()
        name, arn = next((n, a) for n, a in arns.items() if a != deployment.blue.group_arn)
        deployment.green = await fleet.create_green(deployment, name, arn)
        deployment.reversible = True
        limit = asyncio.get_running_loop().time() + self._scaled(_INSTALL_SECONDS)
        settled = 0.0
        while settled < self._scaled(_SETTLE_SECONDS, 0.2):
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

    async def _allow_test_traffic(self) -> None:
        """Only now is green on a listener, so only now is its health checked.

        Our reading: the hook is asked when every target has had a first verdict, good or bad. Whether AWS waits at all
        is not documented; a hook must survive `initial` anyway.
        """
        deployment, fleet = self._deployment, self._fleet
        green, listener = deployment.green, deployment.group.test_listener
        assert green is not None and listener is not None
        await fleet.route(listener, {green.group_arn: 100})
        deployment.test_route = green.group_name
        limit = asyncio.get_running_loop().time() + self._scaled(_FIRST_HEALTH_SECONDS, 5)
        while asyncio.get_running_loop().time() < limit:
            states = [state for state in await fleet.health(green.group_arn) if state != "draining"]
            if len(states) >= green.desired and not {"initial", "unused"} & set(states):
                return
            await pause(deployment, _POLL)

    async def _allow_traffic(self) -> None:
        await self._steps.shift(self._route)
        assert self._deployment.green is not None
        await self._fleet.make_primary(self._deployment.green)

    async def _route(self, percent: int) -> None:
        blue, green = self._deployment.blue, self._deployment.green
        assert blue is not None and green is not None
        weights = {green.group_arn: percent}
        if percent < 100:
            weights = {blue.group_arn: 100 - percent, green.group_arn: percent}
        await self._fleet.route(self._deployment.group.prod_listener, weights)

    async def _terminate_blue(self) -> None:
        blue = self._deployment.blue
        assert blue is not None
        option = self._option("terminateBlueInstancesOnDeploymentSuccess")
        if option.get("action") == "KEEP_ALIVE":
            return
        # the deployment stays InProgress; instanceTerminationWaitTimeStarted stays false, as users report of AWS
        if option.get("terminationWaitTimeInMinutes", 0):
            await self._steps.wait_before_end(option["terminationWaitTimeInMinutes"])
        await self._fleet.delete(blue.arn)
        await self._fleet.refresh(self._deployment)


async def check(dispatch: Dispatch, region: str, spec: AppSpec) -> None:
    """Raises for what cannot work: AWS may notice only later, here it is refused as early as possible."""
    assert isinstance(spec, EcsSpec)
    try:
        await dispatch.ask("ecs", "DescribeTaskDefinition", {"taskDefinition": spec.task_definition}, region, PRINCIPAL)
    except AwsError:
        raise AwsError("InvalidRevisionException", f"there is no task definition {spec.task_definition}") from None
