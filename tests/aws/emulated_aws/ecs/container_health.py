"""Container health checks: the command of the task definition, run beside the container with its environment."""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Mapping
from pathlib import Path

from ..processes import Processes, TooManyProcesses
from ..settings import Settings
from .task import Container, Task

_MIN_SECONDS = 0.2  # however fast time runs, a process costs real CPU
_MIN_TIMEOUT = 1.0


async def watch(
    settings: Settings, processes: Processes, task: Task, container: Container, env: Mapping[str, str]
) -> None:
    """Keeps the container's health up to date; ends the task when an essential container is found unhealthy."""
    check = container.definition["healthCheck"]
    command = check["command"]
    argv = ["/bin/sh", "-c", shlex.join(command[1:]) if len(command) > 2 else command[1]]
    if command[0] == "CMD":
        argv = command[1:]
    interval = settings.scaled(check.get("interval") or 30, _MIN_SECONDS)
    started, grace, failed = time.monotonic(), settings.scaled(check.get("startPeriod") or 0), 0
    while True:
        await asyncio.sleep(interval)
        if await _passes(settings, processes, task, container, argv, env):
            failed, container.health = 0, "HEALTHY"
            continue
        # "failed health checks are not counted" within the start period
        failed += time.monotonic() - started > grace
        if failed >= (check.get("retries") or 3):
            container.health = "UNHEALTHY"
            if container.definition.get("essential", True):
                task.stop("ServiceSchedulerInitiated", "Task failed container health checks")
                await asyncio.sleep(interval)  # seen unhealthy for a while before it is replaced
                task.kill()
                return


async def _passes(
    settings: Settings, processes: Processes, task: Task, container: Container, argv: list[str], env: Mapping[str, str]
) -> bool:
    try:
        child = await processes.spawn(argv, env, f"tasks/health-{task.address}-{container.name}", cwd=Path("/"))
    except (OSError, TooManyProcesses):
        return False
    timeout = settings.scaled(container.definition["healthCheck"].get("timeout") or 5, _MIN_TIMEOUT)
    try:
        await asyncio.wait([child.exited], timeout=timeout)
    finally:
        child.kill()
    return child.exited.done() and child.exited.result() == 0
