"""The data plane of one listener: an HTTP/1.1 reverse proxy that chooses a target anew for every request."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import logging
import secrets
import time
import uuid
from typing import TYPE_CHECKING, Any

from .http1 import MAX_HEAD, BadMessage, Head, read_head, relay_body
from .metrics import Traffic
from .state import Group

if TYPE_CHECKING:
    from .rules import Rule

log = logging.getLogger(__name__)

MAX_CONNECTIONS = 2000
_IDLE_SECONDS = 60.0  # ALB default idle timeout, unscaled: clients have their own clocks
_POOL_PER_TARGET = 32
_POOL_IDLE_SECONDS = 5.0

Upstream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclasses.dataclass
class Route:
    """What a listener does with requests: forward by weight, or answer by itself."""

    groups: list[tuple[Group, int]]
    fixed: tuple[int, str, str] | None = None
    credit: dict[str, int] = dataclasses.field(default_factory=dict)

    def choose(self) -> Group | None:
        """Smooth weighted round robin: exact shares even over a few requests, which tests can count on."""
        weighted = [(group, weight) for group, weight in self.groups if weight > 0]
        if not weighted:
            return None
        for group, weight in weighted:
            self.credit[group.arn] = self.credit.get(group.arn, 0) + weight
        best = max(weighted, key=lambda pair: self.credit[pair[0].arn])[0]
        self.credit[best.arn] -= sum(weight for _, weight in weighted)
        return best


class Listener:
    """One bound port of one load balancer."""

    protocol = "HTTP"

    def __init__(self, arn: str, balancer: str, address: str, port: int, route: Route, action: dict[str, Any]) -> None:
        self.arn = arn
        self.balancer = balancer
        self.address = address
        self.port = port
        self.route = route  # the default rule's
        self.action = action
        self.default_id = secrets.token_hex(8)
        self.rules: list[Rule] = []  # by priority
        self.traffic: Traffic | None = None
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self._pool: dict[tuple[str, int], collections.deque[tuple[float, Upstream]]] = {}

    def groups(self) -> set[str]:
        """The target groups any rule names, whatever the weight."""
        routes = [self.route, *(rule.route for rule in self.rules)]
        return {group.arn for one in routes for group, _ in one.groups}

    def _chosen(self, request: Head, client: asyncio.StreamWriter) -> Route:
        if not self.rules:
            return self.route
        peer = (client.get_extra_info("peername") or ("127.0.0.1",))[0]
        return next((rule.route for rule in self.rules if rule.matches(request, peer)), self.route)

    async def open(self) -> None:
        """Binds; raises OSError when the port is taken."""
        self._server = await asyncio.start_server(
            self._accept, self.address, self.port, limit=MAX_HEAD, reuse_address=True
        )

    async def close(self) -> None:
        """Stops listening and cuts every connection."""
        if self._server:
            self._server.close()
        for client in list(self._clients):
            client.cancel()
        for idle in self._pool.values():
            for _, (_, writer) in idle:
                writer.close()
        self._pool.clear()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if len(self._clients) >= MAX_CONNECTIONS or task is None:
            writer.close()
            return
        self._clients.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (OSError, BadMessage, asyncio.IncompleteReadError, TimeoutError):
            pass  # the client went away, or cannot be answered any more
        except asyncio.CancelledError:
            pass  # close(): the server waits for nobody
        except Exception:
            log.exception("listener %s", self.arn)
        finally:
            self._clients.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its response; True when another may follow on the connection."""
        try:
            async with asyncio.timeout(_IDLE_SECONDS):
                request = await read_head(reader)
            if request is None:
                return False
            method, _, version = request.start
            length = request.length() or 0
            if version not in (b"HTTP/1.1", b"HTTP/1.0"):
                raise BadMessage("version")
        except BadMessage:
            await _answer(writer, 400, "Bad Request")
            return False
        keep = request.keeps_alive(version)
        if b"100-continue" in [v.lower() for v in request.values(b"expect")]:
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        route = self._chosen(request, writer)
        if route.fixed:
            status, content_type, text = route.fixed
            await _answer(writer, status, text, content_type, raw=True, head_only=method == b"HEAD")
            return False
        group = route.choose()
        target = group.next_target() if group else None
        if target is None:
            if self.traffic:
                self.traffic.rejected(self.balancer, 503)
            # "HTTP 503: the target groups for the load balancer have no registered targets" (ALB troubleshooting)
            await _answer(writer, 503, "Service Temporarily Unavailable", head_only=method == b"HEAD")
            return False
        begun = time.monotonic()
        if self.traffic:
            self.traffic.request(self.balancer, group.arn)
        try:
            upstream, response = await self._send(request, length, reader, writer, (target.address, target.port))
            self._measured(group, response, time.monotonic() - begun)
        except TimeoutError:
            self._failed(group, 504)
            await _answer(writer, 504, "Gateway Time-out", head_only=method == b"HEAD")
            return False
        except (OSError, BadMessage, asyncio.IncompleteReadError) as error:
            self._failed(group, 502, isinstance(error, ConnectionRefusedError))
            await _answer(writer, 502, "Bad Gateway", head_only=method == b"HEAD")
            return False
        return await self._return(method, version, keep, upstream, response, writer, (target.address, target.port))

    def _measured(self, group: Group, response: Head, seconds: float) -> None:
        if self.traffic and response.start[1].isdigit():
            self.traffic.response(self.balancer, group.arn, int(response.start[1]), seconds)

    def _failed(self, group: Group, status: int, unreachable: bool = False) -> None:
        if self.traffic:
            self.traffic.rejected(self.balancer, status)
            if unreachable:
                self.traffic.unreachable(self.balancer, group.arn)

    async def _send(
        self,
        request: Head,
        length: int,
        reader: asyncio.StreamReader,
        client: asyncio.StreamWriter,
        to: tuple[str, int],
    ) -> tuple[Upstream, Head]:
        """The request sent on and the response's head; a kept connection that died meanwhile is tried anew once."""
        head = self._request_head(request, client)
        kept = self._kept(to)
        while True:
            fresh = kept is None
            async with asyncio.timeout(_IDLE_SECONDS):
                upstream = kept or await asyncio.open_connection(*to, limit=MAX_HEAD)
                kept = None
                try:
                    upstream[1].write(head)
                    if length:
                        await relay_body(reader, upstream[1], length)
                    response = await read_head(upstream[0])
                    while response is not None and response.start[1].startswith(b"1"):
                        response = await read_head(upstream[0])
                    if response is not None:
                        return upstream, response
                    raise BadMessage("no response")
                except BaseException as error:
                    upstream[1].close()
                    # only what was not consumed can be sent again
                    if fresh or length or not isinstance(error, (OSError, BadMessage, asyncio.IncompleteReadError)):
                        raise

    def _request_head(self, request: Head, client: asyncio.StreamWriter) -> bytes:
        peer = (client.get_extra_info("peername") or ("127.0.0.1",))[0].encode()
        headers = request.forwardable()
        forwarded = request.values(b"x-forwarded-for") + [peer]
        added = {
            b"x-forwarded-for": b", ".join(forwarded),
            b"x-forwarded-proto": b"http",
            b"x-forwarded-port": str(self.port).encode(),
        }
        if not request.values(b"x-amzn-trace-id"):
            added[b"x-amzn-trace-id"] = f"Root=1-{uuid.uuid4().hex[:8]}-{uuid.uuid4().hex[:24]}".encode()
        lines = [b" ".join((request.start[0], request.start[1], b"HTTP/1.1"))]
        lines += [k + b": " + v for k, v in headers if k not in added]
        lines += [k + b": " + v for k, v in added.items()]
        return b"\r\n".join(lines) + b"\r\n\r\n"

    async def _return(
        self, method: bytes, version: bytes, keep: bool, upstream: Upstream, response: Head,
        writer: asyncio.StreamWriter, to: tuple[str, int],
    ) -> bool:  # fmt: skip
        status = response.start[1]
        try:
            bodyless = method == b"HEAD" or status in (b"204", b"304")
            length = 0 if bodyless else response.length()
            plain = length == -1 and version == b"HTTP/1.0"
            keep = keep and length is not None and not plain
            headers = response.forwardable()
            if plain:
                headers = [(k, v) for k, v in headers if k != b"transfer-encoding"]
            lines = [b" ".join((b"HTTP/1.1", status, response.start[2]))] + [k + b": " + v for k, v in headers]
            lines.append(b"connection: keep-alive" if keep else b"connection: close")
            writer.write(b"\r\n".join(lines) + b"\r\n\r\n")
            async with asyncio.timeout(_IDLE_SECONDS * 10):
                await relay_body(upstream[0], writer, length, plain)
            await writer.drain()
        except BaseException:
            upstream[1].close()
            raise
        if length is not None and response.keeps_alive(response.start[0]):
            self._keep(to, upstream)
        else:
            upstream[1].close()
        return keep

    def _kept(self, to: tuple[str, int]) -> Upstream | None:
        now = asyncio.get_running_loop().time()
        idle = self._pool.get(to)
        while idle:
            since, upstream = idle.pop()
            if now - since < _POOL_IDLE_SECONDS and not upstream[0].at_eof() and not upstream[1].is_closing():
                return upstream
            upstream[1].close()
        return None

    def _keep(self, to: tuple[str, int], upstream: Upstream) -> None:
        idle = self._pool.setdefault(to, collections.deque())
        if len(idle) >= _POOL_PER_TARGET:
            upstream[1].close()
        else:
            idle.append((asyncio.get_running_loop().time(), upstream))

    def forget(self, to: tuple[str, int]) -> None:
        """Closes the idle connections to a target that is gone."""
        for _, (_, writer) in self._pool.pop(to, ()):
            writer.close()


async def _answer(
    writer: asyncio.StreamWriter, status: int, reason: str, content_type: str = "text/html", raw: bool = False,
    head_only: bool = False,
) -> None:  # fmt: skip
    text = reason if raw else f"<html>\r\n<head><title>{status} {reason}</title></head>\r\n</html>\r\n"
    body = text.encode()
    writer.write(
        f"HTTP/1.1 {status} {'Fixed' if raw else reason}\r\nServer: awselb/2.0\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n".encode()
        + (b"" if head_only else body)
    )
    await writer.drain()
