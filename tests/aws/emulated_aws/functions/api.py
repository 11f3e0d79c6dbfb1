"""The Lambda operations: functions kept and run here, invoked synchronously or as events."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import os
import re
import time
from pathlib import Path
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError
from ..processes import Processes, TooManyProcesses
from ..settings import Settings
from ..wire.responses import HttpResponse
from .sandbox import Invocation, Outcome, Sandbox, failure
from .store import ACCESS_KEY_VARIABLE, MAX_FUNCTIONS, Function, configuration, unpack

log = logging.getLogger(__name__)

_CONCURRENCY = 10  # per function
_PENDING_EVENTS = 200
_IDLE_SECONDS = 300.0
_MAX_SYNC, _MAX_EVENT = 6 * 1024 * 1024, 1024 * 1024  # Lambda payload quotas
_LOG_TAIL = 4096
_NAME = re.compile(r"(?:arn:aws:lambda:[a-z0-9-]+:\d{12}:function:|\d{12}:function:)?([A-Za-z0-9_-]{1,64})(?::(.+))?")


class Lambda:
    """Functions of every region and their sandboxes."""

    def __init__(self, settings: Settings, dispatch: Dispatch, processes: Processes) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._processes = processes
        self._functions: dict[tuple[str, str], Function] = {}
        self._sandboxes: dict[str, list[Sandbox]] = {}  # by ARN
        self._busy: set[Sandbox] = set()
        self._events: set[asyncio.Task[None]] = set()
        self._count = 0
        self.endpoint = ""
        dispatch.register("lambda", self)

    async def close(self) -> None:
        """Ends every sandbox."""
        for event in self._events:
            event.cancel()
        for sandboxes in self._sandboxes.values():
            for sandbox in sandboxes:
                sandbox.kill()

    # === functions ===

    async def CreateFunction(self, call: Call) -> dict[str, Any]:
        params = call.params
        if params.get("PackageType", "Zip") != "Zip":
            raise AwsError("InvalidParameterValueException", "only Zip packages run here", 400)
        name = _name(params["FunctionName"])
        if (call.region, name) in self._functions:
            raise AwsError("ResourceConflictException", f"Function already exist: {name}", 409)
        if len(self._functions) >= MAX_FUNCTIONS:
            raise AwsError("CodeStorageExceededException", f"at most {MAX_FUNCTIONS} functions")
        config = configuration(params)
        await self._check_role(call, params["Role"])
        self._count += 1
        directory = self._settings.log_dir / "code" / f"{name}-{self._count}"
        unpack(params["Code"], directory, config)
        function = Function(name, call.region, directory, config)
        function.changed()
        self._functions[call.region, name] = function
        return function.describe()

    async def GetFunction(self, call: Call) -> dict[str, Any]:
        function = self._function(call)
        # the location is where Lambda keeps the zip; ours is not to be downloaded
        return {"Configuration": function.describe(), "Code": {"RepositoryType": "S3"}}

    async def GetFunctionConfiguration(self, call: Call) -> dict[str, Any]:
        return self._function(call).describe()

    async def ListFunctions(self, call: Call) -> dict[str, Any]:
        return {"Functions": [f.describe() for (region, _), f in self._functions.items() if region == call.region]}

    async def UpdateFunctionConfiguration(self, call: Call) -> dict[str, Any]:
        function = self._function(call)
        config = configuration(call.params, function.config)
        if "Role" in call.params:
            await self._check_role(call, call.params["Role"])
        function.config = config
        self._replaced(function)
        return function.describe()

    async def UpdateFunctionCode(self, call: Call) -> dict[str, Any]:
        function = self._function(call)
        self._count += 1
        directory = self._settings.log_dir / "code" / f"{function.name}-{self._count}"
        unpack(call.params, directory, function.config)
        function.directory = directory
        self._replaced(function)
        return function.describe()

    async def DeleteFunction(self, call: Call) -> Any:
        function = self._function(call)
        del self._functions[call.region, function.name]
        for sandbox in self._sandboxes.pop(function.arn, []):
            sandbox.kill()
        return HttpResponse(204, {}, b"")

    async def _check_role(self, call: Call, arn: str) -> None:
        try:
            await self._dispatch.ask(
                "iam", "GetRole", {"RoleName": arn.rpartition("/")[2]}, call.region, "lambda.amazonaws.com"
            )
        except AwsError:
            raise AwsError(
                "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."
            ) from None

    def _function(self, call: Call) -> Function:
        return self.find(call.params["FunctionName"], call.region, call.params.get("Qualifier"))

    def find(self, reference: str, region: str, qualifier: str | None = None) -> Function:
        """The function named by name or ARN; only $LATEST exists."""
        match = _NAME.fullmatch(reference)
        function = self._functions.get((region, match[1])) if match else None
        if match and match[2]:
            qualifier = match[2]
        if function is None or qualifier not in (None, "$LATEST"):
            suffix = f":{qualifier}" if qualifier else ""
            raise AwsError("ResourceNotFoundException", f"Function not found: {reference}{suffix}", 404)
        return function

    def _replaced(self, function: Function) -> None:
        function.changed()
        for sandbox in self._sandboxes.get(function.arn, []):
            if sandbox not in self._busy:
                sandbox.kill()

    # === invocations ===

    async def Invoke(self, call: Call) -> Any:
        params = call.params
        function = self._function(call)
        payload = params.get("Payload") or b""
        kind = params.get("InvocationType", "RequestResponse")
        if len(payload) > (_MAX_EVENT if kind == "Event" else _MAX_SYNC):
            raise AwsError("RequestTooLargeException", "payload too large", 413)
        if payload:
            try:
                json.loads(payload)
            except (ValueError, RecursionError):
                raise AwsError("InvalidRequestContentException", "Could not parse request body into json") from None
        if kind == "DryRun":
            return HttpResponse(204, {}, b"")
        if kind == "Event":
            self.send_event(function, payload)
            return HttpResponse(202, {}, b"")
        outcome, tail = await self._run(function, payload)
        headers = {"X-Amz-Executed-Version": "$LATEST", "Content-Type": "application/json"}
        if outcome.error:
            headers["X-Amz-Function-Error"] = outcome.error
        if params.get("LogType") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
        return HttpResponse(200, headers, outcome.payload)

    def send_event(self, function: Function, payload: bytes) -> None:
        """An asynchronous invocation: accepted now, run at once, its result seen by nobody."""
        if len(self._events) >= _PENDING_EVENTS:
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429)
        event = asyncio.create_task(self._run_event(function, payload))
        self._events.add(event)
        event.add_done_callback(self._events.discard)

    async def _run_event(self, function: Function, payload: bytes) -> None:
        try:
            outcome, _ = await self._run(function, payload)
            if outcome.error:
                log.warning("function %s failed: %s", function.name, outcome.payload[:500])
        except AwsError as error:
            log.warning("function %s: %s", function.name, error)

    async def _run(self, function: Function, payload: bytes) -> tuple[Outcome, bytes]:
        sandboxes = self._sandboxes.setdefault(function.arn, [])
        self._clean(sandboxes)
        sandbox = next((one for one in sandboxes if one not in self._busy and one.usable), None)
        if sandbox is None:
            if len(sandboxes) >= _CONCURRENCY:
                raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429)
            self._count += 1
            sandbox = Sandbox(function, self._count)
            sandboxes.append(sandbox)
        self._busy.add(sandbox)
        timeout = float(function.timeout)
        invocation = Invocation(payload or b"{}", int((time.time() + timeout) * 1000))
        started = time.monotonic()
        offset = 0
        try:
            if sandbox.child is None:
                try:
                    await sandbox.start(self._processes, self._environment(function, sandbox))
                except (OSError, TooManyProcesses) as error:
                    sandbox.kill()
                    message = f"RequestId: {invocation.id} Error: Couldn't find valid bootstrap(s): {error}"
                    return failure("Runtime.InvalidEntrypoint", message), message.encode()
            offset = _log(sandbox.child.log, f"START RequestId: {invocation.id} Version: $LATEST\n")
            outcome = await sandbox.run(invocation, timeout)
        finally:
            self._busy.discard(sandbox)
            if not sandbox.usable:
                sandbox.kill()
        spent = (time.monotonic() - started) * 1000
        billed, memory = int(spent) + 1, function.config["MemorySize"]
        _log(
            sandbox.child.log,
            f"END RequestId: {invocation.id}\nREPORT RequestId: {invocation.id}\tDuration: {spent:.2f} ms\t"
            f"Billed Duration: {billed} ms\tMemory Size: {memory} MB\tMax Memory Used: 0 MB\t\n",
        )
        return outcome, _tail(sandbox.child.log, offset)

    def _clean(self, sandboxes: list[Sandbox]) -> None:
        now = time.monotonic()
        for sandbox in list(sandboxes):
            stale = now - sandbox.idle_since > _IDLE_SECONDS
            if sandbox not in self._busy and (stale or not sandbox.usable):
                sandbox.kill()
                sandboxes.remove(sandbox)

    def _environment(self, function: Function, sandbox: Sandbox) -> dict[str, str]:
        variables = dict(function.config.get("Environment", {}).get("Variables", {}))
        access_key = variables.pop(ACCESS_KEY_VARIABLE, function.name)
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "AWS_ENDPOINT_URL": self.endpoint,
            **variables,
            "_HANDLER": function.config["Handler"],
            "LAMBDA_TASK_ROOT": str(function.directory),
            "AWS_REGION": function.region,
            "AWS_DEFAULT_REGION": function.region,
            "AWS_ACCESS_KEY_ID": access_key,
            "AWS_SECRET_ACCESS_KEY": self._settings.secret_key,
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.config["MemorySize"]),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": f"{time.strftime('%Y/%m/%d')}/[$LATEST]{sandbox.number:032x}",
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{function.config['Runtime']}",
        }


def _name(reference: str) -> str:
    match = _NAME.fullmatch(reference)
    if not match or match[2]:
        raise AwsError("InvalidParameterValueException", f"{reference[:150]} is not a function name")
    return match[1]


def _log(path: Path, line: str) -> int:
    """Appends a platform line; says where the log stood before."""
    with open(path, "a") as output:
        before = output.tell()
        output.write(line)
    return before


def _tail(path: Path, offset: int) -> bytes:
    with open(path, "rb") as text:
        text.seek(0, os.SEEK_END)
        text.seek(max(min(offset, text.tell()), text.tell() - _LOG_TAIL))
        return text.read()
