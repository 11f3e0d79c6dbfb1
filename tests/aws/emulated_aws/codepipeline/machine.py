"""An execution's way through its stages: who may enter one, what its actions do, how it ends."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable

from ..settings import Settings
from .state import ActionRun, Execution, Pipeline

log = logging.getLogger(__name__)

# Defaults of "Action timeout" (quotas): approvals a week, Lambda invocations an hour.
_TIMEOUT_MINUTES = {"Approval": 7 * 24 * 60, "Invoke": 60}
_MAX_WAIT_SECONDS = 10 * 86400.0  # a timer's limit in real seconds, far beyond any emulator's life

Starter = Callable[[ActionRun], Awaitable[None]]


class Superseded(Exception):
    """A newer execution took this one's place before a stage."""


class Machine:
    """Runs executions; what an action does is its category's starter."""

    def __init__(self, settings: Settings, starters: dict[str, Starter]) -> None:
        self._settings = settings
        self._starters = starters

    def start(self, execution: Execution) -> None:
        """The execution on its way, as a task of its own."""
        execution.task = asyncio.create_task(self._run(execution))

    def timeout_seconds(self, run: ActionRun) -> float:
        """AWS seconds an action may take."""
        category = run.declared["actionTypeId"]["category"]
        return run.declared.get("timeoutInMinutes", _TIMEOUT_MINUTES.get(category, 60)) * 60.0

    async def _run(self, execution: Execution) -> None:
        try:
            for stage in execution.pipeline.declared["stages"]:
                await _enter(execution, stage["name"])
                execution.stages[stage["name"]] = "InProgress"
                try:
                    succeeded = await self._stage(execution, stage)
                    execution.stages[stage["name"]] = "Succeeded" if succeeded else "Failed"
                finally:
                    _leave(execution.pipeline, stage["name"], execution)
                if not succeeded:
                    execution.become("Failed")
                    return
            execution.become("Succeeded")
        except Superseded:
            execution.become("Superseded")
        except asyncio.CancelledError:  # the pipeline is deleted
            execution.become("Cancelled")
        except Exception:
            log.exception("pipeline %s", execution.pipeline.name)
            execution.become("Failed")

    async def _stage(self, execution: Execution, stage: dict) -> bool:
        """Actions of one run order together, the orders one after the other."""
        actions = sorted(stage["actions"], key=lambda one: one["runOrder"])
        for _, group in itertools.groupby(actions, key=lambda one: one["runOrder"]):
            runs = []
            for action in group:
                resolved = {k: execution.resolve(v) for k, v in action["configuration"].items()}
                runs.append(ActionRun(execution, stage["name"], action, resolved))
            execution.actions += runs
            await asyncio.gather(*(self._action(run) for run in runs))
            if any(run.status != "Succeeded" for run in runs):
                return False
        return True

    async def _action(self, run: ActionRun) -> None:
        starter = self._starters.get(run.declared["actionTypeId"]["category"])
        if starter is None:  # a source: there is nothing to fetch
            run.end("Succeeded")
            return
        await starter(run)
        seconds = self.timeout_seconds(run)
        try:
            async with asyncio.timeout(min(self._settings.scaled(seconds), _MAX_WAIT_SECONDS)):
                await run.ended.wait()
        except TimeoutError:
            run.expired = True
            run.fail("TimedOut", f"The action did not complete within {seconds / 60:g} minutes")


async def _enter(execution: Execution, stage: str) -> None:
    """Waits until the stage is free, unless executions run in parallel; a newer one may take our place."""
    pipeline = execution.pipeline
    if pipeline.mode == "PARALLEL":
        return
    if stage not in pipeline.occupied:
        pipeline.occupied[stage] = execution
        return
    queue = pipeline.waiting.setdefault(stage, [])
    if pipeline.mode == "SUPERSEDED":
        for _, older in queue:
            older.set()  # woken without having been given the stage
        queue.clear()
    woken = asyncio.Event()
    entry = (execution, woken)
    queue.append(entry)
    execution.waiting_for = stage
    try:
        await woken.wait()
    finally:
        execution.waiting_for = None
        if entry in queue:
            queue.remove(entry)
    if pipeline.occupied.get(stage) is not execution:
        raise Superseded


def _leave(pipeline: Pipeline, stage: str, execution: Execution) -> None:
    """The next in line gets the stage."""
    if pipeline.occupied.get(stage) is not execution:
        return
    del pipeline.occupied[stage]
    queue = pipeline.waiting.get(stage)
    if queue:
        following, woken = queue.pop(0)
        pipeline.occupied[stage] = following
        woken.set()
