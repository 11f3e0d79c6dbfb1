"""One execution environment: the function's bootstrap as a process, and the Runtime API it talks to.

By the AWS Lambda developer guide, "Using the Lambda runtime API" and "Lambda execution environment".
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import re
import time
import uuid
from typing import Any

from aiohttp import web

from ..processes import Child, Processes
from .store import Version

_API = "/2018-06-01/runtime"
_INIT_SECONDS = 10.0  # "The Init phase is limited to 10 seconds"
_MAX_RESPONSE = 6 * 1024 * 1024  # synchronous payload quota


@dataclasses.dataclass
class Outcome:
    """How an invocation ended; `error` is the X-Amz-Function-Error header."""

    payload: bytes
    error: str | None = None
    status: str | None = None  # REPORT's: "timeout" or "error" when the process did not answer by itself
    error_type: str | None = None


@dataclasses.dataclass
class Invocation:
    """One event on its way through a sandbox."""

    payload: bytes
    function_arn: str  # as it was invoked, qualifier included
    client_context: str | None = None
    deadline_ms: int = 0
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    outcome: asyncio.Future[Outcome] = dataclasses.field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def end(self, outcome: Outcome) -> None:
        """The first ending counts."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def failure(kind: str, message: str, status: str | None = "error") -> Outcome:
    """What the caller sees when the function did not answer by itself."""
    payload = json.dumps({"errorType": kind, "errorMessage": message}).encode()
    return Outcome(payload, "Unhandled", status, kind if status == "error" else None)


class Sandbox:
    """Serves one invocation at a time, and stays warm for the next."""

    def __init__(self, version: Version, number: int) -> None:
        self.version = version
        self.number = number
        self.idle_since = time.monotonic()
        self.child: Child | None = None
        self.init_ms = 0.0
        self._revision = version.revision
        self._server: asyncio.Server | None = None
        self._offered: asyncio.Queue[Invocation] = asyncio.Queue(maxsize=1)
        self._current: Invocation | None = None
        self._asked = asyncio.Event()
        self._waiting: set[asyncio.Task[Any]] = set()  # for the next invocation
        self._init_error: Outcome | None = None
        self._killed = False  # a killed process looks alive until it is reaped

    @property
    def usable(self) -> bool:
        """Warm, alive and of the version's present revision."""
        return (
            self.child is not None
            and self.child.alive
            and self._init_error is None
            and not self._killed
            and self._revision == self.version.revision
        )

    async def start(self, processes: Processes, env: dict[str, str]) -> None:
        """Opens the Runtime API and starts the bootstrap; raises OSError when it cannot be executed."""
        handler = web.Server(self._serve, access_log=None)
        self._server = await asyncio.get_running_loop().create_server(handler, "127.0.0.1", 0)
        address, port = self._server.sockets[0].getsockname()
        version = self.version
        self.child = await processes.spawn(
            [str(version.directory / "bootstrap")],
            env | {"AWS_LAMBDA_RUNTIME_API": f"{address}:{port}"},
            f"functions/{version.name}-{self.number}",
            cwd=version.directory,
        )

    async def initialised(self, request_id: str) -> Outcome | None:
        """Waits until the process asks for its first event; what the caller sees when it never does."""
        child = self.child
        assert child is not None
        begun = time.monotonic()
        asked = asyncio.create_task(self._asked.wait())
        await asyncio.wait([child.exited, asked], timeout=_INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        self.init_ms = (time.monotonic() - begun) * 1000
        if self._asked.is_set():
            return None
        if self._init_error:
            return self._init_error
        if child.alive:
            self.kill()
            return failure("Sandbox.Timedout", f"RequestId: {request_id} Error: init took over 10 s", "timeout")
        return _exited(child, request_id)

    async def run(self, invocation: Invocation, timeout: float) -> Outcome:
        """The outcome, whatever happens to the process; a time-out or a crash ends the sandbox."""
        child = self.child
        assert child is not None
        invocation.deadline_ms = int((time.time() + timeout) * 1000)
        self._current = invocation
        self._offered.put_nowait(invocation)
        try:
            await asyncio.wait([child.exited, invocation.outcome], timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._current = None
            self.idle_since = time.monotonic()
        if invocation.outcome.done():
            return invocation.outcome.result()
        if child.alive:
            message = f"RequestId: {invocation.id} Error: Task timed out after {timeout:.2f} seconds"
            return failure("Sandbox.Timedout", message, "timeout")
        return _exited(child, invocation.id)

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if request.method == "GET" and path == f"{_API}/invocation/next":
            return await self._next(request)
        if request.method == "POST" and path == f"{_API}/init/error":
            self._init_error = Outcome(await _read(request), "Unhandled", "error", "Runtime.Unknown")
            return _json(202, {"status": "OK"})
        match = re.fullmatch(rf"{_API}/invocation/([0-9a-f-]+)/(response|error)", path)
        if request.method != "POST" or not match:
            return _json(404, {"errorType": "NotFound", "errorMessage": "no such Runtime API path"})
        if self._current is None or self._current.id != match[1]:
            return _json(400, {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"})
        current, body = self._current, await _read(request)
        if len(body) > _MAX_RESPONSE:
            message = f"Exceeded maximum allowed payload size ({_MAX_RESPONSE} bytes)."
            current.end(failure("Function.ResponseSizeTooLarge", message, None))
            return _json(413, {"errorType": "RequestEntityTooLarge", "errorMessage": message})
        current.end(Outcome(body, "Unhandled" if match[2] == "error" else None))
        return _json(202, {"status": "OK"})

    async def _next(self, request: web.BaseRequest) -> web.StreamResponse:
        task = asyncio.current_task()
        if self._killed or task is None:  # what it asked with its last breath
            return _gone()
        self._asked.set()
        self._waiting.add(task)
        try:
            invocation = await self._offered.get()
        finally:
            self._waiting.discard(task)
        if request.transport is None:  # it hung up meanwhile, and may have asked again
            self._offered.put_nowait(invocation)
            return _gone()
        headers = {
            "Lambda-Runtime-Aws-Request-Id": invocation.id,
            "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
            "Lambda-Runtime-Invoked-Function-Arn": invocation.function_arn,
            "Lambda-Runtime-Trace-Id": f"Root=1-{invocation.id[:8]}-{uuid.uuid4().hex[:24]};Sampled=0",
        }
        if invocation.client_context is not None:
            headers["Lambda-Runtime-Client-Context"] = invocation.client_context
        return web.Response(body=invocation.payload, content_type="application/json", headers=headers)

    def kill(self) -> None:
        """Ends the process and its Runtime API."""
        self._killed = True
        if self.child:
            self.child.kill()
        if self._server:
            self._server.close()
            self._server = None
        for task in self._waiting:  # nobody else will end them
            task.cancel()


def _exited(child: Child, request_id: str) -> Outcome:
    code = child.exited.result()
    told = f"exit status {code}" if code >= 0 else f"signal: {-code}"
    return failure("Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited with error: {told}")


async def _read(request: web.BaseRequest) -> bytes:
    """The body, cut off a little past the quota; aiohttp's own limit is lower."""
    body = bytearray()
    async for piece in request.content.iter_chunked(65536):
        if len(body) <= _MAX_RESPONSE:
            body += piece
    return bytes(body)


def _gone() -> web.Response:
    return _json(500, {"errorType": "Gone", "errorMessage": "nobody listens"})


def _json(status: int, value: dict[str, Any]) -> web.Response:
    return web.json_response(value, status=status)
