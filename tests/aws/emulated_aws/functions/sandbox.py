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
from .store import Function

_API = "/2018-06-01/runtime"
_INIT_SECONDS = 10.0  # "The Init phase is limited to 10 seconds"
_MAX_RESPONSE = 6 * 1024 * 1024  # synchronous payload quota


@dataclasses.dataclass
class Outcome:
    """How an invocation ended; `error` is the X-Amz-Function-Error header."""

    payload: bytes
    error: str | None = None


@dataclasses.dataclass
class Invocation:
    """One event on its way through a sandbox."""

    payload: bytes
    deadline_ms: int
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    outcome: asyncio.Future[Outcome] = dataclasses.field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )

    def end(self, outcome: Outcome) -> None:
        """The first ending counts."""
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def failure(kind: str, message: str) -> Outcome:
    """What the caller sees when the function did not answer by itself."""
    return Outcome(json.dumps({"errorType": kind, "errorMessage": message}).encode(), "Unhandled")


class Sandbox:
    """Serves one invocation at a time, and stays warm for the next."""

    def __init__(self, function: Function, number: int) -> None:
        self.function = function
        self.revision = function.revision
        self.number = number
        self.idle_since = time.monotonic()
        self.child: Child | None = None
        self._server: asyncio.Server | None = None
        self._offered: asyncio.Queue[Invocation] = asyncio.Queue(maxsize=1)
        self._current: Invocation | None = None
        self._asked = asyncio.Event()
        self._init_error: Outcome | None = None

    @property
    def usable(self) -> bool:
        """Warm, alive and of the function's present revision."""
        return (
            self.child is not None
            and self.child.alive
            and self._init_error is None
            and self.revision == self.function.revision
        )

    async def start(self, processes: Processes, env: dict[str, str]) -> None:
        """Opens the Runtime API and starts the bootstrap; raises OSError when it cannot be executed."""
        handler = web.Server(self._serve)
        self._server = await asyncio.get_running_loop().create_server(handler, "127.0.0.1", 0)
        address, port = self._server.sockets[0].getsockname()
        function = self.function
        self.child = await processes.spawn(
            [str(function.directory / "bootstrap")],
            env | {"AWS_LAMBDA_RUNTIME_API": f"{address}:{port}"},
            f"functions/{function.name}-{self.number}",
            cwd=function.directory,
        )

    async def run(self, invocation: Invocation, timeout: float) -> Outcome:
        """The outcome, whatever happens to the process; a time-out or a crash ends the sandbox."""
        self._current = invocation
        self._offered.put_nowait(invocation)
        ended = asyncio.create_task(self._ended(invocation, timeout))
        try:
            return await invocation.outcome
        finally:
            ended.cancel()
            self._current = None
            self.idle_since = time.monotonic()

    async def _ended(self, invocation: Invocation, timeout: float) -> None:
        """Ends the invocation when the process dies or time is up; init has a limit of its own."""
        child = self.child
        if child is None:
            return
        asked = asyncio.create_task(self._asked.wait())
        await asyncio.wait([child.exited, asked], timeout=_INIT_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        if not self._asked.is_set() and child.alive:
            self.kill()
            invocation.end(failure("Sandbox.Timedout", f"RequestId: {invocation.id} Error: init took over 10 s"))
            return
        await asyncio.wait([child.exited], timeout=timeout)
        if child.alive:
            self.kill()
            invocation.end(
                failure(
                    "Sandbox.Timedout", f"RequestId: {invocation.id} Error: Task timed out after {timeout:.2f} seconds"
                )
            )
        elif self._init_error:
            invocation.end(self._init_error)
        else:
            code = child.exited.result()
            told = f"exit status {code}" if code >= 0 else f"signal: {-code}"
            invocation.end(
                failure("Runtime.ExitError", f"RequestId: {invocation.id} Error: Runtime exited with error: {told}")
            )

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if request.method == "GET" and path == f"{_API}/invocation/next":
            return await self._next()
        if request.method == "POST" and path == f"{_API}/init/error":
            self._init_error = Outcome(await _read(request), "Unhandled")
            return _json(202, {"status": "OK"})
        match = re.fullmatch(rf"{_API}/invocation/([0-9a-f-]+)/(response|error)", path)
        if request.method != "POST" or not match:
            return _json(404, {"errorType": "NotFound", "errorMessage": "no such Runtime API path"})
        if self._current is None or self._current.id != match[1]:
            return _json(400, {"errorType": "InvalidRequestID", "errorMessage": "Invalid request ID"})
        body = await _read(request)
        if len(body) > _MAX_RESPONSE:
            message = f"Exceeded maximum allowed payload size ({_MAX_RESPONSE} bytes)."
            self._current.end(failure("Function.ResponseSizeTooLarge", message))
            return _json(413, {"errorType": "RequestEntityTooLarge", "errorMessage": message})
        self._current.end(Outcome(body, "Unhandled" if match[2] == "error" else None))
        return _json(202, {"status": "OK"})

    async def _next(self) -> web.StreamResponse:
        self._asked.set()
        invocation = await self._offered.get()
        arn = self.function.arn
        return web.Response(
            body=invocation.payload,
            content_type="application/json",
            headers={
                "Lambda-Runtime-Aws-Request-Id": invocation.id,
                "Lambda-Runtime-Deadline-Ms": str(invocation.deadline_ms),
                "Lambda-Runtime-Invoked-Function-Arn": arn,
                "Lambda-Runtime-Trace-Id": f"Root=1-{invocation.id[:8]}-{uuid.uuid4().hex[:24]};Sampled=0",
            },
        )

    def kill(self) -> None:
        """Ends the process and its Runtime API."""
        if self.child:
            self.child.kill()
        if self._server:
            self._server.close()
            self._server = None


async def _read(request: web.BaseRequest) -> bytes:
    """The body, cut off a little past the quota; aiohttp's own limit is lower."""
    body = bytearray()
    async for piece in request.content.iter_chunked(65536):
        if len(body) <= _MAX_RESPONSE:
            body += piece
    return bytes(body)


def _json(status: int, value: dict[str, Any]) -> web.Response:
    return web.json_response(value, status=status)
