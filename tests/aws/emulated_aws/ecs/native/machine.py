"""The life of one service deployment, stage by stage: our reading of ECS's blue/green, linear and canary guides."""

from __future__ import annotations

import asyncio
import logging
import time

from ...errors import AwsError
from ..runner import Host
from .balancing import Balancing
from .config import SHIFTING, steps
from .hooks import Hooks
from .model import Deployment, Revision, RollBack, Superseded
from .news import News
from .views import counts
from .waiting import pause

log = logging.getLogger(__name__)

_POLL = 0.05
_SETTLE_SECONDS = 3.0  # a task that runs that long has not failed to start
_STAGE_SECONDS = 86400.0  # "Each lifecycle stage can last up to 24 hours"
_FIRST_HEALTH_SECONDS = 120.0  # how long the test shift waits for a first word from every health check


class Machine:
    """Runs service deployments, one task each."""

    def __init__(self, host: Host, balancing: Balancing) -> None:
        self._settings = host.settings
        self._balancing = balancing
        self._news = News(host.dispatch)
        self._hooks = Hooks(host.settings, host.dispatch, self._news)

    async def run(self, deployment: Deployment, before: Deployment | None) -> None:
        """From PENDING to an end; every failure ends up in the deployment's status."""
        try:
            try:
                if before:  # not interrupted: what it leaves behind is what this one starts from
                    await before.done.wait()
                if isinstance(deployment.verdict, Superseded):
                    raise deployment.verdict
                await self._begin(deployment)
                await self._forward(deployment)
                await self._succeed(deployment)
            except Superseded:
                self._end(deployment, "STOPPED", "A newer service deployment was started.")
            except RollBack as wish:
                await self._back(deployment, wish.reason)
            except AwsError as error:
                await self._back(deployment, f"Unable to shift traffic: {error.message}")
        except Exception:
            log.exception("service deployment %s", deployment.arn)
            self._end(deployment, "ROLLBACK_FAILED", "the emulator has a bug; see its log")
        finally:
            deployment.done.set()

    # === forward ===

    async def _begin(self, deployment: Deployment) -> None:
        service = deployment.service
        deployment.sources = [one for one in service.revisions if not one.draining]
        source = deployment.source
        for revision in (*deployment.sources, deployment.target):
            deployment.production[revision.arn] = 100.0 if revision is source else 0.0
            deployment.test[revision.arn] = 100.0 if revision is source and _has_test(revision) else 0.0
        service.revisions.append(deployment.target)
        deployment.target.choose_group(source, deployment.strategy in SHIFTING)
        deployment.started = time.time()
        if deployment.status == "PENDING":
            deployment.status = "IN_PROGRESS"
        deployment.touch()
        number = deployment.target.deployment_id
        await self._news.deployment(
            deployment, "SERVICE_DEPLOYMENT_IN_PROGRESS", f"ECS deployment {number} in progress.", number
        )

    async def _forward(self, deployment: Deployment) -> None:
        if deployment.strategy not in SHIFTING:
            await self._roll(deployment)
            return
        if len(deployment.sources) > 1:
            # "only happens when you start a new service deployment with more than 1 service revision in an ACTIVE
            # state" (ServiceDeployment)
            await self._enter(deployment, "RECONCILE_SERVICE")
            await self._reconcile(deployment)
            await self._hooks.stage(deployment, "RECONCILE_SERVICE")
        await self._hooked(deployment, "PRE_SCALE_UP")
        await self._enter(deployment, "SCALE_UP")
        await self._scale_up(deployment)
        await self._hooked(deployment, "POST_SCALE_UP")
        await self._enter(deployment, "TEST_TRAFFIC_SHIFT")
        await self._shift_test(deployment)
        await self._hooks.stage(deployment, "TEST_TRAFFIC_SHIFT")
        await self._hooked(deployment, "POST_TEST_TRAFFIC_SHIFT")
        # without a source there is nobody to give the rest of the traffic to
        for percent, minutes in steps(deployment.config) if deployment.source else [(100.0, 0.0)]:
            await self._hooked(deployment, "PRE_PRODUCTION_TRAFFIC_SHIFT")
            await self._enter(deployment, "PRODUCTION_TRAFFIC_SHIFT")
            await self._shift(deployment, "production", percent)
            await self._hooks.stage(deployment, "PRODUCTION_TRAFFIC_SHIFT")
            await pause(deployment, self._settings.scaled(minutes * 60))
        await self._hooked(deployment, "POST_PRODUCTION_TRAFFIC_SHIFT")
        await self._enter(deployment, "BAKE_TIME")
        await pause(deployment, self._settings.scaled(deployment.config["bakeTimeInMinutes"] * 60))
        await self._enter(deployment, "CLEAN_UP")
        deployment.completing = True
        await self._drain(deployment, deployment.sources)

    async def _roll(self, deployment: Deployment) -> None:
        """A rolling update in its simplest form: the new tasks start, and when they serve the old ones stop."""
        await self._scale_up(deployment)
        deployment.completing = True
        await self._drain(deployment, deployment.sources)

    async def _enter(self, deployment: Deployment, stage: str) -> None:
        deployment.stage = stage
        deployment.stages.append({"stage": stage, "at": time.time()})
        deployment.touch()

    async def _hooked(self, deployment: Deployment, stage: str) -> None:
        """A stage that is its hooks and nothing else."""
        await self._enter(deployment, stage)
        await self._hooks.stage(deployment, stage)
        await pause(deployment, 0)

    async def _reconcile(self, deployment: Deployment) -> None:
        """Our reading: traffic goes back to the revision in production, and what an unfinished deployment left goes."""
        source = deployment.source
        assert source is not None
        await self._balancing.shift(deployment.service, "production", source, 100.0)
        await self._balancing.shift(deployment.service, "test", source, 100.0)
        left = [one for one in deployment.sources if one is not source]
        deployment.sources = [source]
        for revision in left:
            deployment.production.pop(revision.arn)
            deployment.test.pop(revision.arn)
        await self._drain(deployment, left)

    async def _scale_up(self, deployment: Deployment) -> None:
        target, service = deployment.target, deployment.service
        target.wanted = True
        target.runner.scale(service.wanted(target))
        limit = asyncio.get_running_loop().time() + self._settings.scaled(_STAGE_SECONDS)
        settle, settled = self._settings.scaled(_SETTLE_SECONDS, 0.2), 0.0
        while settled < settle:
            await pause(deployment, _POLL)
            settled = settled + _POLL if self._balancing.stable(target, service.wanted(target)) else 0.0
            if asyncio.get_running_loop().time() > limit:
                raise RollBack("The green service revision did not reach a steady state within 24 hours.")

    async def _shift_test(self, deployment: Deployment) -> None:
        if not _has_test(deployment.target):
            return
        await self._shift(deployment, "test", 100.0)
        limit = asyncio.get_running_loop().time() + self._settings.scaled(_FIRST_HEALTH_SECONDS, 5)
        while not self._balancing.judged(deployment.target) and asyncio.get_running_loop().time() < limit:
            await pause(deployment, _POLL)

    async def _shift(self, deployment: Deployment, kind: str, percent: float) -> None:
        await self._balancing.shift(deployment.service, kind, deployment.target, percent)
        weights = deployment.production if kind == "production" else deployment.test
        for arn in weights:
            weights[arn] = 0.0
        if deployment.source:
            weights[deployment.source.arn] = round(100 - percent, 1)
        weights[deployment.target.arn] = percent
        deployment.touch()

    async def _drain(self, deployment: Deployment, revisions: list[Revision]) -> None:
        for one in revisions:
            one.draining = True
        await asyncio.gather(*(one.runner.drain(self._balancing.drain_seconds(one)) for one in revisions))
        for one in revisions:
            if one in deployment.service.revisions:
                deployment.service.revisions.remove(one)

    async def _succeed(self, deployment: Deployment) -> None:
        deployment.service.current = deployment.target
        self._end(deployment, "SUCCESSFUL", None)
        number = deployment.target.deployment_id
        await self._news.deployment(
            deployment, "SERVICE_DEPLOYMENT_COMPLETED", f"ECS deployment {number} completed.", number
        )

    def _end(self, deployment: Deployment, status: str, reason: str | None) -> None:
        deployment.final_counts = counts(deployment)
        deployment.finished = time.time()
        if status == "STOPPED":
            deployment.stopped = deployment.finished
        deployment.reason = reason
        deployment.status = status
        deployment.touch()

    # === back ===

    async def _back(self, deployment: Deployment, reason: str) -> None:
        """Users first: production traffic, then test traffic, each with its functions asked again; then green goes."""
        source, target, number = deployment.source, deployment.target, deployment.target.deployment_id
        await self._news.deployment(deployment, "SERVICE_DEPLOYMENT_FAILED", reason, number)
        if source is None:
            # Our reading: there is nothing to go back to, so the deployment is stopped and its tasks with it.
            deployment.status = "STOP_REQUESTED"
            deployment.touch()
            await self._drain(deployment, [target])
            self._end(deployment, "STOPPED", f"{reason} There is no previous service revision to roll back to.")
            return
        deployment.rollback = {"reason": reason, "startedAt": time.time(), "serviceRevisionArn": source.arn}
        deployment.status, deployment.reason = "ROLLBACK_IN_PROGRESS", reason
        deployment.touch()
        if deployment is deployment.service.deployments[-1]:
            deployment.service.adopt(source)
        back_to = source.deployment_id
        await self._news.deployment(
            deployment, "SERVICE_DEPLOYMENT_IN_PROGRESS", f"{reason} Rolling back to deploymentId {back_to}.", back_to
        )
        try:
            if deployment.strategy in SHIFTING:
                for kind, stage in (("production", "PRODUCTION_TRAFFIC_SHIFT"), ("test", "TEST_TRAFFIC_SHIFT")):
                    await self._enter(deployment, stage)
                    if kind == "production" or _has_test(target):
                        await self._shift(deployment, kind, 0.0)
                    await self._hooks.stage(deployment, stage, rolling_back=True)
                await self._enter(deployment, "CLEAN_UP")
            await self._drain(deployment, [target])
        except (RollBack, AwsError) as failure:
            self._end(deployment, "ROLLBACK_FAILED", f"{reason} The rollback failed: {failure}")
            return
        self._end(deployment, "ROLLBACK_SUCCESSFUL", reason)
        await self._news.deployment(
            deployment, "SERVICE_DEPLOYMENT_COMPLETED", f"ECS deployment {back_to} completed.", back_to
        )


def _has_test(revision: Revision) -> bool:
    balancers = revision.params.get("loadBalancers") or [{}]
    return bool((balancers[0].get("advancedConfiguration") or {}).get("testListenerRule"))
