"""Invoke: who is asked, whether there is room, and what the caller gets back."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from ..settings import Settings
from ..wire.responses import HttpResponse
from . import names
from .pool import Pool
from .sandbox import Invocation, Outcome
from .store import Function, Functions, Version

log = logging.getLogger(__name__)

_MAX_RUNNING = 50  # invocations of one function at once; ours, so that a runaway test stops here
_PENDING_EVENTS = 200
_MAX_SYNC, _MAX_EVENT = 6 * 1024 * 1024, 1024 * 1024  # Lambda payload quotas
_EVENT_AGE_SECONDS = 6 * 3600.0  # "up to 6 hours" for events that are throttled
_EVENT_RETRY_SECONDS = 1.0


class Invocations:
    """Handlers."""

    def __init__(self, settings: Settings, dispatch: Dispatch, functions: Functions, pool: Pool) -> None:
        self._settings = settings
        self._functions = functions
        self._pool = pool
        self._events: set[asyncio.Task[None]] = set()
        dispatch.register("lambda", self)

    def close(self) -> None:
        """Forgets events that wait for room."""
        for event in self._events:
            event.cancel()

    async def Invoke(self, call: Call) -> Any:
        params = call.params
        function, qualifier = self._functions.find(params["FunctionName"], call.region, params.get("Qualifier"))
        function.resolve(qualifier)
        payload = params.get("Payload") or b""
        kind = params.get("InvocationType", "RequestResponse")
        _check(params, payload, kind)
        if kind == "DryRun":
            return HttpResponse(204, {}, b"")
        if kind == "Event":
            self._accept(function, qualifier, payload)
            return HttpResponse(202, {}, b"")
        invocation = _invocation(function, qualifier, payload)
        invocation.client_context = params.get("ClientContext")
        version, outcome, tail = await self._run(function, qualifier, invocation)
        headers = {
            "X-Amz-Executed-Version": version.number, "Content-Type": "application/json",
            "x-amzn-RequestId": invocation.id,
        }  # fmt: skip
        if outcome.error:
            headers["X-Amz-Function-Error"] = outcome.error
        if params.get("LogType") == "Tail":
            headers["X-Amz-Log-Result"] = base64.b64encode(tail).decode()
        return HttpResponse(200, headers, outcome.payload)

    async def _run(
        self, function: Function, qualifier: str | None, invocation: Invocation
    ) -> tuple[Version, Outcome, bytes]:
        if function.reserved is not None and function.running >= function.reserved:
            raise _throttled(function, "ReservedFunctionConcurrentInvocationLimitExceeded")
        if function.running >= _MAX_RUNNING:
            raise _throttled(function, "ConcurrentInvocationLimitExceeded")
        alias = function.aliases.get(qualifier or "")
        version = function.version(alias.pick()) if alias else function.resolve(qualifier)
        function.running += 1
        version.invocations += 1
        try:
            outcome, tail = await self._pool.run(version, invocation)
        finally:
            function.running -= 1
        version.errors += outcome.error is not None
        return version, outcome, tail

    # === events ===

    def _accept(self, function: Function, qualifier: str | None, payload: bytes) -> None:
        """An asynchronous invocation: accepted now, run at once, its result seen by nobody."""
        if len(self._events) >= _PENDING_EVENTS:
            raise AwsError("TooManyRequestsException", "Rate Exceeded.", 429, {"Reason": "CallerRateLimitExceeded"})
        event = asyncio.create_task(self._run_event(function, qualifier, payload))
        self._events.add(event)
        event.add_done_callback(self._events.discard)

    async def _run_event(self, function: Function, qualifier: str | None, payload: bytes) -> None:
        clock = asyncio.get_running_loop().time
        limit = clock() + self._settings.scaled(_EVENT_AGE_SECONDS)
        # a function may be deleted while its event waits
        while self._functions.all.get((function.region, function.name)) is function:
            try:
                _, outcome, _ = await self._run(function, qualifier, _invocation(function, qualifier, payload))
                if outcome.error:
                    log.warning("function %s failed: %s", function.name, outcome.payload[:500])
                return
            except AwsError as error:
                if error.status != 429 or clock() > limit:
                    log.warning("function %s: %s", function.name, error)
                    return
            await asyncio.sleep(self._settings.scaled(_EVENT_RETRY_SECONDS, 0.05))


def _check(params: dict[str, Any], payload: bytes, kind: str) -> None:
    for key in ("TenantId", "DurableExecutionName"):
        if key in params:
            raise not_emulated(f"Invoke with {key}")
    if len(payload) > (_MAX_EVENT if kind == "Event" else _MAX_SYNC):
        raise AwsError("RequestTooLargeException", "payload too large", 413)
    try:
        json.loads(payload or b"{}")
    except (ValueError, RecursionError):
        raise AwsError("InvalidRequestContentException", "Could not parse request body into json") from None
    try:
        json.loads(base64.b64decode(params.get("ClientContext", "e30="), validate=True))
    except ValueError:
        raise AwsError("InvalidRequestContentException", "Client context must be a valid Base64-encoded JSON") from None


def _invocation(function: Function, qualifier: str | None, payload: bytes) -> Invocation:
    return Invocation(payload or b"{}", names.arn(function.region, function.name, qualifier))


def _throttled(function: Function, reason: str) -> AwsError:
    function.throttles += 1
    return AwsError("TooManyRequestsException", "Rate Exceeded.", 429, {"Reason": reason})
