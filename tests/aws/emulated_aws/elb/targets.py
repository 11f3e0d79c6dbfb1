"""The operations on targets: registered, watched, drained and described."""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING, Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError
from .instances import Instances
from .state import MAX_TARGETS, Group, Target, describe_target

if TYPE_CHECKING:
    from .api import Elb


class Targets:
    """Targets of every group."""

    def __init__(self, dispatch: Dispatch, elb: Elb) -> None:
        self._elb = elb
        self.instances = Instances(dispatch, self._moved)
        self._drains: set[asyncio.Task[None]] = set()
        dispatch.register("elbv2", self)

    def close(self) -> None:
        """Nobody waits for draining targets any more."""
        for drain in self._drains:
            drain.cancel()

    async def RegisterTargets(self, call: Call) -> dict[str, Any]:
        group = self._elb.group(call.params["TargetGroupArn"])
        pairs = [self._pair(group, one) for one in call.params["Targets"]]
        if group.by_instance:
            for instance in {instance for instance, _ in pairs}:
                await self.instances.check(call, instance)
        if len(group.targets) + len(pairs) > MAX_TARGETS:
            raise AwsError("TooManyTargets", f"at most {MAX_TARGETS} targets per target group")
        for pair in pairs:
            known = group.targets.get(pair)
            if known is None or known.state == "draining":
                target = Target(*pair)
                if group.by_instance:
                    target.address = self.instances.address(target.id)
                group.targets[pair] = target
                self._elb.health.begin(group, target)
        return {}

    async def DeregisterTargets(self, call: Call) -> dict[str, Any]:
        group = self._elb.group(call.params["TargetGroupArn"])
        for pair in [self._pair(group, one) for one in call.params["Targets"]]:
            target = group.targets.get(pair)
            if target is None:
                raise AwsError("InvalidTarget", f"{pair[0]}:{pair[1]} is not registered with the target group")
            self._elb.health.end(target)
            if group.in_use and target.state in ("healthy", "unhealthy"):
                target.become("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress")
                drain = asyncio.create_task(self._drain(group, target))
                self._drains.add(drain)
                drain.add_done_callback(self._drains.discard)
            else:
                self._remove(group, target)
        return {}

    async def _drain(self, group: Group, target: Target) -> None:
        await asyncio.sleep(self._elb.drain_seconds(group))
        self._remove(group, target)

    def _remove(self, group: Group, target: Target) -> None:
        if group.targets.get((target.id, target.port)) is target:
            del group.targets[target.id, target.port]
        for listener in self._elb.listeners.values():
            listener.forget((target.address, target.port))

    def _moved(self, instance: str, address: str) -> None:
        for group in self._elb.groups.values():
            for target in group.targets.values():
                if target.id == instance:
                    target.address = address

    @staticmethod
    def _pair(group: Group, spec: dict[str, Any]) -> tuple[str, int]:
        port = spec.get("Port", group.described.get("Port"))
        if not group.by_instance:
            try:
                # AWS wants an address of the VPC or of a private range; here only loopback can be reached
                good = ipaddress.IPv4Address(spec["Id"]).is_loopback
            except ValueError:
                good = False
            if not good:
                raise AwsError("ValidationError", f"The IP address '{spec['Id']}' is not a loopback IPv4 address")
        if not isinstance(port, int) or not 1 <= port <= 65535:
            raise AwsError("ValidationError", f"Port '{port}' is not valid")
        return spec["Id"], port

    async def DescribeTargetHealth(self, call: Call) -> dict[str, Any]:
        group = self._elb.group(call.params["TargetGroupArn"])
        wanted = [self._pair(group, one) for one in call.params.get("Targets", [])] or list(group.targets)
        extras = bool({"All", "AnomalyDetection"} & set(call.params.get("Include", [])))
        return {"TargetHealthDescriptions": [describe_target(group, pair, extras, call.region) for pair in wanted]}
