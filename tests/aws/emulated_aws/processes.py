"""Child processes that can never be left behind: own group, death signal, and a guard for the emulator's own end."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

_PR_SET_PDEATHSIG = 1
MAX_PROCESSES = 400  # of all kinds together; a runaway test should stop here and not at the machine's end
MAX_LOG_BYTES = 16 * 1024 * 1024
_SWEEP_SECONDS = 10.0
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class TooManyProcesses(Exception):
    """The emulator's own limit of child processes is reached."""


class Child:
    """One running child and its process group."""

    def __init__(self, process: asyncio.subprocess.Process, owner: Processes, log: Path) -> None:
        self._process = process
        self._owner = owner
        self.log = log
        self.pid = process.pid
        # one reaper per child, so that any number of others can wait for the exit
        self.exited: asyncio.Task[int] = asyncio.create_task(self._reap())

    @property
    def alive(self) -> bool:
        """Whether the leader still runs."""
        return not self.exited.done()

    async def _reap(self) -> int:
        code = await self._process.wait()
        self._signal(signal.SIGKILL)  # whatever it started and left behind
        self._owner.forget(self)
        return code

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def kill(self) -> None:
        """Ends the whole group at once."""
        if self.alive:
            self._signal(signal.SIGKILL)

    async def stop(self, grace: float) -> None:
        """SIGTERM, and SIGKILL for what is left after `grace` seconds."""
        if self.alive:
            self._signal(signal.SIGTERM)
            await asyncio.wait([self.exited], timeout=grace)
            self.kill()
            await asyncio.wait([self.exited], timeout=5)


class Processes:
    """Starts children and keeps the list of those alive."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir
        self.children: dict[int, Child] = {}
        self._guard: subprocess.Popen[bytes] | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self._logs: set[Path] = set()

    def start(self) -> None:
        """Starts the guard; must come before the first child."""
        if sys.version_info < (3, 12):  # later versions choose it themselves; the default makes a thread per child
            watcher = asyncio.PidfdChildWatcher()
            watcher.attach_loop(asyncio.get_running_loop())
            asyncio.set_child_watcher(watcher)
        guard = Path(__file__).with_name("guard.py")
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(guard)], stdin=subprocess.PIPE, start_new_session=True
        )
        self._sweeper = asyncio.create_task(self._sweep())

    async def spawn(self, argv: Sequence[str], env: Mapping[str, str], log_name: str, cwd: Path | None = None) -> Child:
        """Starts one child with its output in a log file; raises OSError when it cannot be started."""
        if len(self.children) >= MAX_PROCESSES:
            raise TooManyProcesses(f"{MAX_PROCESSES} processes run already")
        log = self.log_dir / f"{log_name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        parent = os.getpid()
        with open(log, "ab") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=dict(env),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: _die_with(parent),
            )
        self._tell(f"+{process.pid}\n")
        child = Child(process, self, log)
        self.children[child.pid] = child
        self._logs.add(log)
        return child

    def forget(self, child: Child) -> None:
        """The child's group is gone."""
        self.children.pop(child.pid, None)
        self._tell(f"-{child.pid}\n")

    def _tell(self, line: str) -> None:
        try:
            if self._guard and self._guard.stdin:
                self._guard.stdin.write(line.encode())
                self._guard.stdin.flush()
        except (BrokenPipeError, ValueError):
            pass  # somebody killed the guard; the death signal is still there

    async def _sweep(self) -> None:
        """Keeps logs bounded: files are opened for appending, so cutting them is safe."""
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            for log in self._logs:
                try:
                    if log.stat().st_size > MAX_LOG_BYTES:
                        os.truncate(log, 0)
                except OSError:
                    pass

    async def close(self) -> None:
        """Kills everything that is left; the guard goes last, by the end of its input."""
        if self._sweeper:
            self._sweeper.cancel()
        children = list(self.children.values())
        for child in children:
            child.kill()
        if children:
            await asyncio.wait([child.exited for child in children], timeout=5)
        if self._guard and self._guard.stdin:
            self._guard.stdin.close()
            try:
                self._guard.wait(timeout=5)
            except subprocess.TimeoutExpired:
                self._guard.kill()


def _die_with(parent: int) -> None:
    """In the child, before exec: the kernel kills it when the emulator dies."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before we asked
            os._exit(1)
