"""Keeps tasks running as local processes: started on an address of their own, registered, restarted, drained."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import os
import secrets
import time
from pathlib import Path
from typing import Any

from ..addresses import Addresses, NoAddress
from ..dispatch import Dispatch
from ..elb.instances import Instances
from ..errors import AwsError
from ..processes import Child, Processes, TooManyProcesses
from ..settings import Settings
from .container_health import watch
from .task import Container, Owner, Task, TaskBook, endpoints

log = logging.getLogger(__name__)

PRINCIPAL = "ecs.amazonaws.com"
_RESTART_SECONDS = 10.0  # AWS seconds; ECS throttles tasks that keep failing, we do not slow down further
_STOP_TIMEOUT = 30.0  # ECS default stopTimeout
_PROTECTION_POLL = 0.1


@dataclasses.dataclass
class Host:
    """What every runner needs of the machine."""

    settings: Settings
    dispatch: Dispatch
    processes: Processes
    addresses: Addresses
    book: TaskBook
    instances: Instances
    agent_url: str = ""  # of the agent's endpoints, once they are there


class Runner:
    """Keeps the wanted number of tasks of one task set or revision alive, and its target groups informed."""

    def __init__(self, host: Host, owner: Owner) -> None:
        self._host = host
        self.owner = owner
        self.tasks: dict[str, Task] = {}
        self.failed = 0  # tasks that ended by themselves
        self._slots: dict[asyncio.Task[None], Task | None] = {}
        self._wanted = 0
        self._shrinking: asyncio.Task[None] | None = None
        self._draining = False

    @property
    def running(self) -> int:
        return sum(task.status == "RUNNING" for task in self.tasks.values())

    def scale(self, count: int, force: bool = False) -> None:
        """Runs that many tasks from now on; protected ones are taken away only by force."""
        self._wanted = count
        while len(self._slots) < count:
            slot = asyncio.create_task(self._slot())
            self._slots[slot] = None
        self._shrink(force)
        if len(self._slots) > count and (self._shrinking is None or self._shrinking.done()):
            self._shrinking = asyncio.create_task(self._shrink_later())
        elif force and self._shrinking:
            self._shrinking.cancel()

    def _shrink(self, force: bool) -> None:
        for slot, task in reversed(list(self._slots.items())):
            if len(self._slots) > self._wanted and (force or task is None or not task.protected):
                slot.cancel()
                del self._slots[slot]

    async def _shrink_later(self) -> None:
        while len(self._slots) > self._wanted:
            await asyncio.sleep(_PROTECTION_POLL)
            self._shrink(False)

    async def drain(self, seconds: float, force: bool = False) -> None:
        """Deregisters every task, waits for the drain, then stops them all; protected tasks are waited for before."""
        while not force and any(task.protected for task in self.tasks.values()):
            await asyncio.sleep(_PROTECTION_POLL)
        self._draining = True
        for task in list(self.tasks.values()):
            if task.status == "RUNNING":
                task.status = "DEACTIVATING"
                task.stop("ServiceSchedulerInitiated", f"Scaling activity initiated by deployment {self._by}")
                await self._deregister(task)
        await asyncio.sleep(seconds)
        slots = list(self._slots)
        self.scale(0, force=True)
        if slots:
            await asyncio.wait(slots, timeout=_STOP_TIMEOUT)

    @property
    def _by(self) -> str:
        return self.owner.started_by

    async def _slot(self) -> None:
        """One wanted task: started again whenever it ends."""
        me = asyncio.current_task()
        assert me is not None
        while not self._draining:
            try:
                address = self._host.addresses.task()
            except NoAddress as error:
                log.error("%s", error)
                await asyncio.sleep(1)
                continue
            task = Task(self.owner, address)
            self.tasks[task.id] = task
            if me in self._slots:
                self._slots[me] = task
            self._host.book.add(task)
            if task.instance:
                self._host.instances.place(task.instance, address)
            try:
                await self._run(task)
            finally:
                # Also when cancelled: nothing may listen on the address before it is given back.
                await asyncio.shield(asyncio.create_task(self._end(task)))
            self.failed += task.stop_code in ("TaskFailedToStart", "EssentialContainerExited") or task.unhealthy
            await asyncio.sleep(self._host.settings.scaled(_RESTART_SECONDS))

    async def _run(self, task: Task) -> None:
        for definition in self.owner.definition["containerDefinitions"]:
            container = Container(definition["name"], f"{task.id}-{secrets.randbelow(10**10):010}", definition)
            task.containers[container.name] = container
        essential: list[Child] = []
        for container in task.containers.values():
            if not container.definition.get("command"):
                continue  # an image without a command cannot be run here
            try:
                child = await self._spawn(task, container)
            except (OSError, TooManyProcesses) as error:
                container.reason = f"CannotStartContainerError: {error}"
                task.stop("TaskFailedToStart", container.reason)
                return
            container.child = child
            if container.definition.get("essential", True):
                essential.append(child)
        if not essential:
            task.stop("TaskFailedToStart", "CannotStartContainerError: no essential container has a command")
            return
        task.status, task.started_at = "RUNNING", time.time()
        for target in self._targets(task):
            try:
                await self._ask("RegisterTargets", target)
            except AwsError as error:
                log.warning("task %s: %s", task.id, error)
        watchers = [
            asyncio.create_task(
                watch(self._host.settings, self._host.processes, task, one, self._environment(one, task))
            )
            for one in task.containers.values()
            if one.child and one.definition.get("healthCheck")
        ]
        try:
            await asyncio.wait([child.exited for child in essential], return_when=asyncio.FIRST_COMPLETED)
        finally:
            for watcher in watchers:
                watcher.cancel()
        task.stop("EssentialContainerExited", "Essential container in task exited")

    async def _spawn(self, task: Task, container: Container) -> Child:
        family = f"{self.owner.definition['family']}-{self.owner.definition['revision']}"
        return await self._host.processes.spawn(
            container.definition["command"],
            self._environment(container, task),
            f"tasks/{family}-{task.address}-{container.name}",
            cwd=Path("/"),
        )

    async def _end(self, task: Task) -> None:
        if task.status == "RUNNING":
            await self._deregister(task)
        task.status = "DEPROVISIONING"
        task.stop("ServiceSchedulerInitiated", f"Scaling activity initiated by deployment {self._by}")
        grace = self._host.settings.scaled(_STOP_TIMEOUT, 0.5)
        started = [one for one in task.containers.values() if one.child]
        if started:
            await asyncio.gather(*(one.child.stop(grace) for one in started if one.child))
        for one in started:
            if one.child and one.child.exited.done():
                one.ended(one.child.exited.result())
        task.status, task.stopped_at = "STOPPED", time.time()
        task.protected_until = 0.0
        self.tasks.pop(task.id, None)
        self._host.book.stopped(task)
        if task.instance:
            self._host.instances.forget(task.instance)
        self._host.addresses.release(task.address)

    def _targets(self, task: Task) -> list[dict[str, Any]]:
        return [
            {
                "TargetGroupArn": one["targetGroupArn"],
                "Targets": [{"Id": task.instance or task.address, "Port": one["containerPort"]}],
            }
            for one in self.owner.balancers
        ]

    async def _deregister(self, task: Task) -> None:
        for target in self._targets(task):
            with contextlib.suppress(AwsError):  # already gone, or its group is
                await self._ask("DeregisterTargets", target)

    async def _ask(self, operation: str, params: dict[str, Any]) -> None:
        await self._host.dispatch.ask("elbv2", operation, params, self.owner.region, PRINCIPAL)

    def _environment(self, container: Container, task: Task) -> dict[str, str]:
        env = {"PATH": os.environ.get("PATH", "/usr/bin:/bin")}
        env |= {pair["name"]: pair["value"] for pair in container.definition.get("environment", [])}
        env["TASK_IP"] = task.address
        ports = container.definition.get("portMappings") or []
        if ports:
            env["PORT"] = str(ports[0]["containerPort"])
        if self._host.agent_url:
            env |= endpoints(self._host.agent_url, container)
        return env
