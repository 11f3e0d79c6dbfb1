"""Tasks as local processes: started on an address of their own, registered, restarted when they crash, drained."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import os
import time
import uuid
from pathlib import Path
from typing import Any

from ..addresses import Addresses, NoAddress
from ..dispatch import Dispatch
from ..errors import AwsError
from ..processes import Child, Processes, TooManyProcesses
from ..settings import ACCOUNT, Settings

log = logging.getLogger(__name__)

PRINCIPAL = "ecs.amazonaws.com"
_RESTART_SECONDS = 10.0  # AWS seconds; ECS throttles tasks that keep failing, we do not slow down further
_STOP_TIMEOUT = 30.0  # ECS default stopTimeout
_STOPPED_KEPT = 100  # per task set, for ListTasks desiredStatus=STOPPED


@dataclasses.dataclass
class Task:
    """One task, running or stopped."""

    id: str
    cluster: str
    region: str
    address: str
    created_at: float = dataclasses.field(default_factory=time.time)
    started_at: float | None = None
    stopped_at: float | None = None
    status: str = "PENDING"
    stop_code: str | None = None
    stopped_reason: str | None = None
    containers: dict[str, Child] = dataclasses.field(default_factory=dict)
    exit_codes: dict[str, int] = dataclasses.field(default_factory=dict)

    @property
    def arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:task/{self.cluster}/{self.id}"


class TaskSetRunner:
    """Keeps the wanted number of tasks of one task set alive, and its target group informed."""

    def __init__(
        self, settings: Settings, dispatch: Dispatch, processes: Processes, addresses: Addresses,
        region: str, cluster: str, definition: dict[str, Any], balancers: list[dict[str, Any]],
    ) -> None:  # fmt: skip
        self._settings = settings
        self._dispatch = dispatch
        self._processes = processes
        self._addresses = addresses
        self._region = region
        self._cluster = cluster
        self._definition = definition
        self._balancers = balancers
        self.tasks: dict[str, Task] = {}
        self.stopped: collections.deque[Task] = collections.deque(maxlen=_STOPPED_KEPT)
        self._slots: list[asyncio.Task[None]] = []
        self._draining = False

    @property
    def running(self) -> int:
        return sum(task.status == "RUNNING" for task in self.tasks.values())

    def scale(self, count: int) -> None:
        """Runs that many tasks from now on."""
        while len(self._slots) < count:
            self._slots.append(asyncio.create_task(self._slot()))
        for slot in self._slots[count:]:
            slot.cancel()
        del self._slots[count:]

    async def drain(self, seconds: float) -> None:
        """Deregisters every task, waits for the drain, then stops them all."""
        self._draining = True
        for task in list(self.tasks.values()):
            if task.status == "RUNNING":
                task.status = "DEACTIVATING"
                await self._deregister(task)
        await asyncio.sleep(seconds)
        slots = list(self._slots)
        self.scale(0)
        if slots:
            await asyncio.wait(slots, timeout=_STOP_TIMEOUT)

    async def _slot(self) -> None:
        """One wanted task: started again whenever it ends."""
        while not self._draining:
            try:
                address = self._addresses.task()
            except NoAddress as error:
                log.error("%s", error)
                await asyncio.sleep(1)
                continue
            task = Task(uuid.uuid4().hex, self._cluster, self._region, address)
            self.tasks[task.id] = task
            try:
                await self._run(task)
            finally:
                # Also when cancelled: nothing may listen on the address before it is given back.
                await asyncio.shield(asyncio.create_task(self._end(task)))
            await asyncio.sleep(self._settings.scaled(_RESTART_SECONDS))

    async def _run(self, task: Task) -> None:
        essential = []
        for container in self._definition["containerDefinitions"]:
            if not container.get("command"):
                continue  # an image without a command cannot be run here
            try:
                child = await self._processes.spawn(
                    container["command"],
                    _environment(container, task),
                    f"tasks/{self._definition['family']}-{self._definition['revision']}-{task.address}-{container['name']}",
                    cwd=Path("/"),
                )
            except (OSError, TooManyProcesses) as error:
                task.stop_code = "TaskFailedToStart"
                task.stopped_reason = f"CannotStartContainerError: {error}"
                return
            task.containers[container["name"]] = child
            if container.get("essential", True):
                essential.append(child)
        if not essential:
            task.stop_code = "TaskFailedToStart"
            task.stopped_reason = "CannotStartContainerError: no essential container has a command"
            return
        task.status, task.started_at = "RUNNING", time.time()
        for target in self._targets(task):
            try:
                await self._dispatch.ask("elbv2", "RegisterTargets", target, self._region, PRINCIPAL)
            except AwsError as error:
                log.warning("task %s: %s", task.id, error)
        await asyncio.wait([child.exited for child in essential], return_when=asyncio.FIRST_COMPLETED)
        task.stop_code = "EssentialContainerExited"
        task.stopped_reason = "Essential container in task exited"

    async def _end(self, task: Task) -> None:
        if task.status == "RUNNING":
            await self._deregister(task)
        task.status = "DEPROVISIONING"
        grace = self._settings.scaled(_STOP_TIMEOUT, 0.5)
        if task.containers:
            await asyncio.gather(*(child.stop(grace) for child in task.containers.values()))
        for name, child in task.containers.items():
            if child.exited.done():
                task.exit_codes[name] = child.exited.result()
        task.stop_code = task.stop_code or "ServiceSchedulerInitiated"
        task.stopped_reason = task.stopped_reason or "Scaling activity initiated by deployment"
        task.status, task.stopped_at = "STOPPED", time.time()
        self.tasks.pop(task.id, None)
        self.stopped.append(task)
        self._addresses.release(task.address)

    def _targets(self, task: Task) -> list[dict[str, Any]]:
        return [
            {"TargetGroupArn": one["targetGroupArn"], "Targets": [{"Id": task.address, "Port": one["containerPort"]}]}
            for one in self._balancers
        ]

    async def _deregister(self, task: Task) -> None:
        for target in self._targets(task):
            try:
                await self._dispatch.ask("elbv2", "DeregisterTargets", target, self._region, PRINCIPAL)
            except AwsError as error:
                log.debug("task %s: %s", task.id, error)  # already gone, or its group is


def _environment(container: dict[str, Any], task: Task) -> dict[str, str]:
    env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
    env |= {pair["name"]: pair["value"] for pair in container.get("environment", [])}
    env["TASK_IP"] = task.address
    ports = container.get("portMappings") or []
    if ports:
        env["PORT"] = str(ports[0]["containerPort"])
    return env
