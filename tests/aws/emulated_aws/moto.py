"""moto, the third-party emulator behind us: a stock server in a process of its own, spoken to over the wire."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, urlencode

import aiohttp
from botocore.parsers import create_parser
from botocore.serialize import create_serializer
from yarl import URL

from .errors import AwsError, not_emulated
from .processes import Child, Processes
from .wire import models
from .wire.requests import HttpRequest
from .wire.responses import HttpResponse

_START_SECONDS = 60
_CALL_SECONDS = 30
_HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive"}
_NOT_RETURNED = _HOP_BY_HOP | {"content-encoding", "server", "date"}  # aiohttp has decoded the body already
# Not checked by moto; it only reads service, region and access key out of it.
_SIGNATURE = "SignedHeaders=host, Signature=0"
_WARM = (("ec2", "DescribeVpcs"), ("elbv2", "DescribeLoadBalancers"), ("ecs", "ListClusters"), ("iam", "ListRoles"))


class Moto:
    """Starts the server and forwards to it."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._child: Child | None = None
        self._url = ""
        self._session: aiohttp.ClientSession | None = None
        self.renamed: dict[str, str] = {}  # moto's name to ours, in elbv2's ARNs
        self.on_answer: Callable[[str, str], None] = lambda service, operation: None

    async def start(self) -> None:
        """Returns when moto answers, its slow first calls done."""
        env = {"PATH": os.environ.get("PATH", ""), "PYTHONUNBUFFERED": "1", "MOTO_PORT": "0", "NO_COLOR": "1"}
        argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        log = self._processes.log_dir / "moto.log"
        log.unlink(missing_ok=True)  # the address in an earlier run's log is not ours
        self._child = await self._processes.spawn(argv, env, "moto")
        for _ in range(_START_SECONDS * 50):
            text = log.read_text(errors="replace")
            if match := re.search(r"Running on (http://127\.0\.0\.1:\d+)", text):
                break
            if not self._child.alive:
                raise RuntimeError(f"moto did not start: {text[-2000:]}")
            await asyncio.sleep(0.02)
        else:
            raise RuntimeError(f"moto did not start within {_START_SECONDS} s")
        self._url = match[1]
        timeout = aiohttp.ClientTimeout(total=_CALL_SECONDS)
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=True)
        # the first call of each service makes moto import it
        await asyncio.gather(*(self.call(service, name, {}, "us-east-1") for service, name in _WARM))

    async def close(self) -> None:
        """Ends the connections; the process goes with all the others."""
        if self._session:
            await self._session.close()

    async def forward(self, service: str, operation: str, request: HttpRequest) -> HttpResponse:
        """The client's request as it came, and moto's answer as it is; HTML becomes an error with a name."""
        headers = {k: v for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP}
        asked = self._theirs(service, request.body)
        status, answer, body = await self._send(request.method, request.target, headers, asked)
        _named(service, operation, status, answer)
        self.on_answer(service, operation)
        kept = {k: v for k, v in answer.items() if k.lower() not in _NOT_RETURNED}
        return HttpResponse(status, kept, self._ours(service, body))

    async def call(self, service: str, operation: str, params: dict[str, Any], region: str) -> dict[str, Any]:
        """One operation with parameters in and the parsed result out; raises the error moto named."""
        model = models.operation(service, operation)
        if model is None:
            raise ValueError(f"{service} has no {operation}")
        protocol = models.protocol(service)
        request = create_serializer(protocol, include_validation=False).serialize_to_request(params, model)
        signing = models.SIGNING_NAMES[service]
        request["headers"]["Authorization"] = (
            f"AWS4-HMAC-SHA256 Credential=emulator/20260101/{region}/{signing}/aws4_request, {_SIGNATURE}"
        )
        body = request["body"]
        if isinstance(body, dict):
            body = self._theirs(service, urlencode(body).encode())
        target = request["url_path"]
        if request["query_string"]:
            target += "?" + urlencode(request["query_string"], doseq=True)
        status, headers, content = await self._send(request["method"], target, request["headers"], body)
        _named(service, operation, status, headers)
        self.on_answer(service, operation)
        parsed = create_parser(protocol).parse(
            {"status_code": status, "headers": headers, "body": self._ours(service, content)}, model.output_shape
        )
        if status >= 300:
            found = parsed.get("Error", {})
            raise AwsError(found.get("Code") or "InternalFailure", found.get("Message") or "", status)
        parsed.pop("ResponseMetadata", None)
        return parsed

    def _theirs(self, service: str, body: bytes) -> bytes:
        for theirs, ours in self.renamed.items() if service == "elbv2" else ():
            body = body.replace(quote(ours, safe="").encode(), quote(theirs, safe="").encode())
        return body

    def _ours(self, service: str, body: bytes) -> bytes:
        for theirs, ours in self.renamed.items() if service == "elbv2" else ():
            body = body.replace(theirs.encode(), ours.encode())
        return body

    async def _send(self, method: str, target: str, headers: dict[str, str], body: Any) -> tuple[int, dict, bytes]:
        if self._session is None:
            raise RuntimeError("moto is not started")
        try:
            url = URL(self._url + target, encoded=True)
            async with self._session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer:
                return answer.status, dict(answer.headers), await answer.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise AwsError("InternalFailure", f"the server behind does not answer: {error!r}", 500) from None


def _named(service: str, operation: str, status: int, headers: dict[str, str]) -> None:
    # moto answers what it does not implement, and its own crashes, with a page of HTML and no error name
    if status >= 400 and "html" in headers.get("Content-Type", ""):
        raise not_emulated(f"{service} {operation} (moto: HTTP {status}, see moto.log)")
