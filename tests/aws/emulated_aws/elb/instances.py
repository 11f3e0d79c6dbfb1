"""EC2 instances as targets: moto keeps them, but nothing runs on them; a test says which address stands for one."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable

from aiohttp import web

from ..dispatch import Call, Dispatch
from ..errors import AwsError

_ID = re.compile(r"i-[0-9a-f]{8}(?:[0-9a-f]{9})?")
# Where an instance without an address is looked for: nothing of ours listens there, so it fails its health checks.
_NOWHERE = "127.255.255.254"


class Instances:
    """The table from instance id to loopback address."""

    def __init__(self, dispatch: Dispatch, changed: Callable[[str, str], None]) -> None:
        self._dispatch = dispatch
        self._changed = changed
        self._addresses: dict[str, str] = {}

    def routes(self) -> list[web.RouteDef]:
        """The control API's part about instances."""
        return [web.post("/_emulated/instances", self._set)]

    def address(self, instance: str) -> str:
        """Where the instance is reached."""
        return self._addresses.get(instance, _NOWHERE)

    async def check(self, call: Call, instance: str) -> None:
        """Refuses an instance neither the table nor EC2 knows as running."""
        if instance in self._addresses:
            return
        if _ID.fullmatch(instance):
            try:
                found = await self._dispatch.ask(
                    "ec2", "DescribeInstances", {"InstanceIds": [instance]}, call.region,
                    "elasticloadbalancing.amazonaws.com", quiet=True,
                )  # fmt: skip
                states = [one["State"]["Name"] for each in found["Reservations"] for one in each["Instances"]]
                if states == ["running"]:
                    return
            except AwsError:
                pass
        raise AwsError("InvalidTarget", f"Instance ID '{instance[:50]}' is not valid or not running")

    async def _set(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
            for instance, address in body.items():
                if not _ID.fullmatch(instance):
                    raise ValueError(f"{instance} is not an instance id")
                if not ipaddress.IPv4Address(address).is_loopback:
                    raise ValueError(f"{address} is not a loopback address")
        except (ValueError, TypeError, AttributeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._addresses |= body
        for instance, address in body.items():
            self._changed(instance, address)
        return web.json_response(self._addresses)
