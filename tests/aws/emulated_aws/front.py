"""The front door: every AWS request is authenticated, resolved, validated and journalled here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiohttp import web

from .clocks import Clocks
from .dispatch import Call, Dispatch
from .errors import AwsError, not_emulated
from .faults import Faults
from .journal import Journal
from .moto import Moto
from .settings import Settings
from .sts.sessions import Sessions
from .wire import models, requests, responses, signature, validation
from .wire.requests import Decoded, HttpRequest
from .wire.responses import HttpResponse

log = logging.getLogger(__name__)


class Front:
    """One request at a time through the same five doors."""

    def __init__(
        self, settings: Settings, dispatch: Dispatch, moto: Moto, faults: Faults, journal: Journal,
        sessions: Sessions, clocks: Clocks,
    ) -> None:  # fmt: skip
        self._settings = settings
        self._clocks = clocks
        self._sessions = sessions
        self._dispatch = dispatch
        self._moto = moto
        self._faults = faults
        self._journal = journal

    async def handle(self, incoming: web.Request) -> web.StreamResponse:
        """aiohttp's entry: whatever happens, the client gets an answer its SDK can parse."""
        exchange = _Exchange()
        try:
            gone = lambda: incoming.transport is None or incoming.transport.is_closing()  # noqa: E731
            answer = await self._serve(await _read(incoming), exchange, gone)
        except AwsError as error:
            answer = exchange.failed(error)
        except Exception:
            log.exception("%s %s", exchange.service, exchange.operation)
            answer = exchange.failed(AwsError("InternalFailure", "the emulator has a bug; see its log", 500))
        status = answer.status if answer else 0
        self._journal.record(
            exchange.service or "?", exchange.operation, exchange.access_key, status, exchange.error, exchange.params
        )
        if answer is None:  # a fault said: close the connection
            if incoming.transport:
                incoming.transport.abort()
            return web.Response(status=500)
        headers = self._clocks.dated(exchange.access_key, answer.headers)
        return web.Response(status=answer.status, headers=headers, body=answer.body)

    async def _serve(self, request: HttpRequest, exchange: _Exchange, gone: Callable[[], bool]) -> HttpResponse | None:
        exchange.protocol = _guess_protocol(request)
        scope = signature.parse(request.headers)
        exchange.access_key = scope.access_key
        service = models.SERVICE_BY_SIGNING_NAME.get(scope.signing_name)
        if service is None:
            raise not_emulated(f"service {scope.signing_name}")
        exchange.service = service
        exchange.protocol = requests.protocol_of(service, request)
        url = f"http://{request.headers.get('Host', '')}{request.target}"
        secrets = self._settings.secret_keys(scope.access_key)
        now = self._clocks.now(scope.access_key)
        signature.verify(scope, secrets, request.method, url, request.headers, request.body, now)

        token = request.headers.get("X-Amz-Security-Token", "")
        self._sessions.check(scope.access_key, token)

        decoded = requests.decode(service, request)
        exchange.operation, exchange.params = decoded.operation, decoded.params
        fault = self._faults.strike(service, decoded.operation, scope.access_key, decoded.params)
        if fault:
            await asyncio.sleep(fault.delay_seconds)
            if fault.drop:
                exchange.error = "dropped"
                return None
            if fault.error:
                raise AwsError(fault.error, fault.message, fault.status)
            decoded.params.update(fault.params)
        validation.check(service, decoded.model, decoded.params)
        call = Call(service, decoded.operation, decoded.params, scope.region, scope.access_key, token, gone)
        return await self._answer(call, decoded, request)

    async def _answer(self, call: Call, decoded: Decoded, request: HttpRequest) -> HttpResponse:
        handler = self._dispatch.handler(call.service, call.operation)
        if handler is None and decoded.protocol == "smithy-rpc-v2-cbor":
            handler = self._dispatch.moto  # moto has no CBOR: translated
        if handler is None:
            return await self._moto.forward(call.service, call.operation, request)
        value = await handler(call)
        if isinstance(value, HttpResponse):  # lambda Invoke: a payload and headers of its own
            return value
        return responses.result(call.service, decoded.model, decoded.protocol, value)


class _Exchange:
    """What is known so far about a request, for the journal and for the shape of an error."""

    def __init__(self) -> None:
        self.service: str | None = None
        self.operation = "?"
        self.protocol = "json"
        self.access_key = ""
        self.error: str | None = None
        self.params: dict[str, Any] = {}

    def failed(self, error: AwsError) -> HttpResponse:
        """The error's response, in the shape of what came in."""
        self.error = error.code
        return responses.error(self.service, self.protocol, error)


async def _read(incoming: web.Request) -> HttpRequest:
    try:
        body = await incoming.read()
    except web.HTTPRequestEntityTooLarge:
        raise AwsError("RequestEntityTooLarge", f"at most {requests.MAX_BODY} bytes", 413) from None
    return HttpRequest(incoming.method, incoming.raw_path, incoming.headers, body)


def _guess_protocol(request: HttpRequest) -> str:
    """Before the service is known, the outside of the request must do."""
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor":
        return "smithy-rpc-v2-cbor"
    if "X-Amz-Target" in request.headers:
        return "json"
    return "query" if "form" in request.headers.get("Content-Type", "") else "rest-json"
