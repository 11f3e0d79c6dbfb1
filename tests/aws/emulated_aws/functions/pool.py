"""The processes of every version: an idle one is used again, and another one starts when none is idle."""

from __future__ import annotations

import os
import time

from ..errors import AwsError
from ..processes import Processes, TooManyProcesses
from ..settings import Settings
from .package import ACCESS_KEY_VARIABLE
from .report import Journal, Report, peak_mb
from .sandbox import Invocation, Outcome, Sandbox, failure
from .store import Version

_IDLE_SECONDS = 300.0


class Pool:
    """Every sandbox there is."""

    def __init__(self, settings: Settings, processes: Processes) -> None:
        self._settings = settings
        self._processes = processes
        self._sandboxes: dict[Version, list[Sandbox]] = {}
        self._busy: set[Sandbox] = set()
        self._started = 0
        self.endpoint = ""

    def close(self) -> None:
        """Ends every process."""
        for version in list(self._sandboxes):
            self.drop(version)

    def drop(self, version: Version) -> None:
        """The version is gone, and its processes with it."""
        for sandbox in self._sandboxes.pop(version, []):
            sandbox.kill()

    def retire(self, version: Version) -> None:
        """Ends what may not be used again; what is busy finishes first."""
        now = time.monotonic()
        kept = []
        for sandbox in self._sandboxes.get(version, []):
            stale = now - sandbox.idle_since > _IDLE_SECONDS
            if sandbox not in self._busy and (stale or not sandbox.usable):
                sandbox.kill()
            else:
                kept.append(sandbox)
        self._sandboxes[version] = kept

    def count(self, version: Version) -> int:
        """How many processes the version has now."""
        return sum(sandbox.usable for sandbox in self._sandboxes.get(version, []))

    async def run(self, version: Version, invocation: Invocation) -> tuple[Outcome, bytes]:
        """The outcome and the end of the log, whatever becomes of the process."""
        self.retire(version)
        sandboxes = self._sandboxes[version]
        sandbox = next((one for one in reversed(sandboxes) if one not in self._busy), None)
        cold = sandbox is None
        if sandbox is None:
            self._started += 1
            sandbox = Sandbox(version, self._started)
            sandboxes.append(sandbox)
        self._busy.add(sandbox)
        try:
            return await self._run(sandbox, cold, invocation)
        finally:
            self._busy.discard(sandbox)
            if not sandbox.usable:
                sandbox.kill()

    async def _run(self, sandbox: Sandbox, cold: bool, invocation: Invocation) -> tuple[Outcome, bytes]:
        version, broken = sandbox.version, None
        if cold:
            version.cold_starts += 1
            try:
                await sandbox.start(self._processes, self._environment(version, sandbox.number))
            except TooManyProcesses as error:
                raise AwsError("ServiceException", str(error), 500) from None
            except OSError as error:
                message = f"RequestId: {invocation.id} Error: Couldn't find valid bootstrap(s): {error}"
                return failure("Runtime.InvalidEntrypoint", message), message.encode()
            broken = await sandbox.initialised(invocation.id)
        child, config = sandbox.child, version.config
        assert child is not None
        journal = Journal(child.log, config["LoggingConfig"], version.number)
        offset = journal.start(invocation.id)
        begun = time.monotonic()
        outcome = broken or await sandbox.run(invocation, float(version.timeout))
        spent = (time.monotonic() - begun) * 1000
        if outcome.status == "timeout":
            spent = max(spent, version.timeout * 1000.0)
        report = Report(
            invocation.id, spent, config["MemorySize"], peak_mb(child.pid), sandbox.init_ms if cold else None,
            outcome.status, outcome.error_type, handler_failed=outcome.error is not None,
        )  # fmt: skip
        if outcome.status:
            sandbox.kill()  # only now: a dead process has no peak memory to read
        journal.end(report)
        return outcome, journal.tail(offset)

    def _environment(self, version: Version, number: int) -> dict[str, str]:
        config = version.config
        variables = dict(config.get("Environment", {}).get("Variables", {}))
        access_key = variables.pop(ACCESS_KEY_VARIABLE, version.name)
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "AWS_ENDPOINT_URL": self.endpoint,
            **variables,
            "_HANDLER": config["Handler"],
            "LAMBDA_TASK_ROOT": str(version.directory),
            "AWS_REGION": version.region,
            "AWS_DEFAULT_REGION": version.region,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": self._settings.secret_key,
            "AWS_LAMBDA_FUNCTION_NAME": version.name,
            "AWS_LAMBDA_FUNCTION_VERSION": version.number,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config["MemorySize"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": config["LoggingConfig"]["LogGroup"],
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[{version.number}]{number:032x}",
            "AWS_LAMBDA_LOG_FORMAT": config["LoggingConfig"]["LogFormat"],
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{config['Runtime']}",
        }
