"""The elbv2 operations that have an effect here: moto keeps the records, we bind ports and watch targets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..addresses import Addresses, NoAddress
from ..cloudwatch.store import Store
from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from ..settings import Settings
from .actions import route
from .health import HealthChecks
from .kinds import check_action, check_group, listener_class
from .metrics import Hosts, Traffic
from .proxy import Listener
from .rules import Rules
from .state import Group
from .targets import Targets


class Elb:
    """Load balancers, listeners and target groups of every region."""

    def __init__(self, settings: Settings, dispatch: Dispatch, addresses: Addresses, metrics: Store) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._addresses = addresses
        self.health = HealthChecks(settings)
        self._balancers: dict[str, str] = {}  # arn -> address
        self.listeners: dict[str, Listener] = {}
        self.groups: dict[str, Group] = {}
        self.rules = Rules(dispatch, self)
        self.targets = Targets(dispatch, self)
        self.traffic = Traffic(settings, metrics, self._hosts)
        dispatch.register("elbv2", self)

    async def close(self) -> None:
        """Closes every port."""
        self.traffic.close()
        for listener in self.listeners.values():
            await listener.close()
        for group in self.groups.values():
            for target in group.targets.values():
                self.health.end(target)
        self.targets.close()

    # === load balancers ===

    async def CreateLoadBalancer(self, call: Call) -> dict[str, Any]:
        if call.params.get("Type", "application") not in ("application", "network"):
            raise not_emulated("gateway load balancers")
        result = await self._dispatch.moto(call)
        for balancer in result["LoadBalancers"]:
            if balancer.get("Type") == "network":
                # moto names them as if they were application load balancers; ARNs tell the kinds apart on AWS
                name = balancer["LoadBalancerArn"].partition(":loadbalancer/")[2]
                ours = "net/" + name.partition("/")[2]
                self._dispatch.rename(name, ours)
                balancer["LoadBalancerArn"] = balancer["LoadBalancerArn"].replace(name, ours)
            if balancer["LoadBalancerArn"] not in self._balancers:
                try:
                    self._balancers[balancer["LoadBalancerArn"]] = self._addresses.balancer()
                except NoAddress as error:
                    raise AwsError("TooManyLoadBalancers", str(error)) from None
        return self._with_address(result)

    async def DescribeLoadBalancers(self, call: Call) -> dict[str, Any]:
        return self._with_address(await self._dispatch.moto(call))

    async def DeleteLoadBalancer(self, call: Call) -> dict[str, Any]:
        result = await self._dispatch.moto(call)
        arn = call.params["LoadBalancerArn"]
        for listener in [one for one in self.listeners.values() if one.balancer == arn]:
            await self._drop(listener)
        address = self._balancers.pop(arn, None)
        if address:
            self._addresses.release(address)
        self.refresh()
        return result

    def _with_address(self, result: dict[str, Any]) -> dict[str, Any]:
        for balancer in result.get("LoadBalancers", []):
            address = self._balancers.get(balancer["LoadBalancerArn"])
            if address:
                balancer["DNSName"] = address
                balancer["State"] = {"Code": "active"}
        return result

    # === listeners ===

    async def CreateListener(self, call: Call) -> dict[str, Any]:
        params = call.params
        balancer = params["LoadBalancerArn"]
        address = self._balancers.get(balancer)
        if address is None:
            raise AwsError("LoadBalancerNotFound", "The specified load balancer does not exist.")
        plane = listener_class(balancer, params.get("Protocol"))
        made = route(params["DefaultActions"], self.group)
        check_action(plane, made)
        port = params.get("Port")
        if port is None:
            raise AwsError("ValidationError", "A port must be specified")
        if any(one.balancer == balancer and one.port == port for one in self.listeners.values()):
            raise AwsError("DuplicateListener", "A listener already exists on this port for this load balancer")
        # Bound before moto hears of it: a listener that is described but not there would be a lie.
        listener = plane("", balancer, address, port, made, params["DefaultActions"][0])
        listener.traffic = self.traffic
        try:
            await listener.open()
        except OSError as error:
            raise AwsError("ServiceUnavailable", f"port {port} cannot be bound on {address}: {error}", 503) from None
        try:
            result = await self._dispatch.moto(call)
        except BaseException:
            await listener.close()
            raise
        listener.arn = result["Listeners"][0]["ListenerArn"]
        self.listeners[listener.arn] = listener
        self.refresh()
        return result

    async def ModifyListener(self, call: Call) -> dict[str, Any]:
        listener = self.listener(call.params["ListenerArn"])
        if (
            call.params.get("Port", listener.port) != listener.port
            or call.params.get("Protocol", listener.protocol) != listener.protocol
        ):
            raise not_emulated("changing a listener's port or protocol")
        actions = call.params.get("DefaultActions")
        made = route(actions, self.group) if actions else None
        if made:
            check_action(listener, made)
        result = await self._dispatch.moto(call)
        if actions and made:
            listener.route, listener.action = made, actions[0]
            self.refresh()
        return result

    async def DeleteListener(self, call: Call) -> dict[str, Any]:
        listener = self.listener(call.params["ListenerArn"])
        result = await self._dispatch.moto(call)
        await self._drop(listener)
        self.refresh()
        return result

    def listener(self, arn: str) -> Listener:
        """The listener with this ARN, or AWS's error."""
        if arn not in self.listeners:
            raise AwsError("ListenerNotFound", "The specified listener does not exist.")
        return self.listeners[arn]

    async def _drop(self, listener: Listener) -> None:
        self.listeners.pop(listener.arn, None)
        await listener.close()

    def refresh(self) -> None:
        """Health checks run exactly for the groups some listener names, whatever the weight."""
        used = {arn for one in self.listeners.values() for arn in one.groups()}
        for group in self.groups.values():
            if group.in_use != (group.arn in used):
                group.in_use = group.arn in used
                for target in group.targets.values():
                    if target.state != "draining":
                        self.health.begin(group, target)

    # === target groups ===

    async def CreateTargetGroup(self, call: Call) -> dict[str, Any]:
        result = await self._dispatch.moto(call, check_group(call.params))
        for described in result["TargetGroups"]:
            arn = described["TargetGroupArn"]
            if arn not in self.groups:
                self.groups[arn] = Group(arn, call.region, described)
        return result

    async def DescribeTargetGroups(self, call: Call) -> dict[str, Any]:
        # moto forgets to move a group between load balancers when a listener is modified: the routes say where it is
        wanted = call.params.get("LoadBalancerArn")
        if wanted and wanted not in self._balancers:
            raise AwsError("LoadBalancerNotFound", "The specified load balancer does not exist.")
        result = await self._dispatch.moto(call, {k: v for k, v in call.params.items() if k != "LoadBalancerArn"})
        for group in result["TargetGroups"]:
            group["LoadBalancerArns"] = self._balancers_of(group["TargetGroupArn"])
        if wanted:
            result["TargetGroups"] = [one for one in result["TargetGroups"] if wanted in one["LoadBalancerArns"]]
        return result

    def _balancers_of(self, group: str) -> list[str]:
        return sorted({one.balancer for one in self.listeners.values() if group in one.groups()})

    def _hosts(self) -> Iterator[Hosts]:
        for group in self.groups.values():
            states = [target.state for target in group.targets.values()]
            for balancer in self._balancers_of(group.arn) if states else ():
                yield Hosts(balancer, group.arn, states.count("healthy"), states.count("unhealthy"))

    async def ModifyTargetGroup(self, call: Call) -> dict[str, Any]:
        group = self.group(call.params["TargetGroupArn"])
        result = await self._dispatch.moto(call)
        group.described = result["TargetGroups"][0]
        return result

    async def ModifyTargetGroupAttributes(self, call: Call) -> dict[str, Any]:
        group = self.group(call.params["TargetGroupArn"])
        delay = group.deregistration_delay
        for attribute in call.params["Attributes"]:
            if attribute.get("Key") == "deregistration_delay.timeout_seconds":
                text = attribute.get("Value", "")
                if not text.isdigit() or not 0 <= int(text) <= 3600:
                    raise AwsError("InvalidConfigurationRequest", "deregistration delay must be 0-3600 seconds")
                delay = float(text)
        result = await self._dispatch.moto(call)
        group.deregistration_delay = delay
        return result

    async def DeleteTargetGroup(self, call: Call) -> dict[str, Any]:
        group = self.groups.get(call.params["TargetGroupArn"])
        if group and group.in_use:
            raise AwsError("ResourceInUse", f"Target group '{group.arn}' is currently in use by a listener or a rule")
        result = await self._dispatch.moto(call)
        if group:
            for target in group.targets.values():
                self.health.end(target)
            del self.groups[group.arn]
        return result

    def drain_seconds(self, group: Group) -> float:
        """Real seconds a target of the group drains."""
        return self._settings.scaled(group.deregistration_delay)

    def group(self, arn: str) -> Group:
        """The group with this ARN, or AWS's error."""
        if arn not in self.groups:
            raise AwsError("TargetGroupNotFound", "One or more target groups not found")
        return self.groups[arn]
