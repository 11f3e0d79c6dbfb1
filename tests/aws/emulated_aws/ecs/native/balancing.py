"""The load balancer of a shifting service: what ECS wants of its rules, and weights set on them through ELB's API."""

from __future__ import annotations

from typing import Any

from ...elb.api import Elb
from ...errors import AwsError, not_emulated
from ..checks import invalid, reachable
from ..runner import PRINCIPAL, Host
from .model import NativeService, Revision


class Balancing:
    """Checks and shifts."""

    def __init__(self, host: Host, elb: Elb) -> None:
        self._host = host
        self._elb = elb

    async def check(self, region: str, balancers: list[dict[str, Any]]) -> None:
        """Raises for a load balancer that traffic cannot be shifted on."""
        if len(balancers) != 1:
            raise not_emulated("blue/green, linear and canary services without exactly one load balancer")
        advanced = balancers[0].get("advancedConfiguration")
        if not advanced:
            raise invalid("advancedConfiguration must be provided for this deployment strategy.")
        for member in ("alternateTargetGroupArn", "productionListenerRule", "roleArn"):
            if not advanced.get(member):
                raise invalid(f"{member} must be provided in advancedConfiguration.")
        primary, alternate = balancers[0]["targetGroupArn"], advanced["alternateTargetGroupArn"]
        if primary == alternate:
            raise invalid("alternateTargetGroupArn must differ from targetGroupArn.")
        for arn in (primary, alternate):
            try:
                reachable(self._elb, arn)
            except AwsError as error:
                raise invalid(f"Unable to use target group {arn}: {error.message}") from None
        production, test = advanced["productionListenerRule"], advanced.get("testListenerRule")
        if production == test:
            raise invalid("testListenerRule must differ from productionListenerRule.")
        if primary not in self._forwarded(production):
            raise invalid(f"The rule {production} does not forward to the target group {primary}.")
        if test:
            self._forwarded(test)
        await self.role(region, advanced["roleArn"])

    async def role(self, region: str, arn: str) -> None:
        """Raises for a role that is not there."""
        name = arn.rpartition("/")[2]
        try:
            await self._host.dispatch.ask("iam", "GetRole", {"RoleName": name}, region, PRINCIPAL, quiet=True)
        except AwsError:
            raise invalid(f"Unable to assume the role {arn}.") from None

    def _forwarded(self, rule_arn: str) -> list[str]:
        try:
            listener, rule = self._elb.rules.find(rule_arn)
        except AwsError:
            raise invalid(f"The listener rule {rule_arn} does not exist.") from None
        return [group.arn for group, _ in (rule.route if rule else listener.route).groups]

    async def shift(self, service: NativeService, kind: str, green: Revision, percent: float) -> None:
        """Points the production or test rule at green by so many percent, and at the other group by the rest."""
        balancer = green.params["loadBalancers"][0]
        rule_arn = balancer["advancedConfiguration"].get(f"{kind}ListenerRule")
        if not rule_arn:
            return
        pair = (balancer["targetGroupArn"], balancer["advancedConfiguration"]["alternateTargetGroupArn"])
        tuples = [
            {"TargetGroupArn": arn, "Weight": weight(percent if arn == green.target_group else 100 - percent)}
            for arn in pair
        ]
        actions = [{"Type": "forward", "ForwardConfig": {"TargetGroups": tuples}}]
        listener, rule = self._elb.rules.find(rule_arn)
        if rule is None:  # a default rule is changed with its listener
            operation, params = "ModifyListener", {"ListenerArn": listener.arn, "DefaultActions": actions}
        else:
            operation, params = "ModifyRule", {"RuleArn": rule_arn, "Actions": actions}
        await self._host.dispatch.ask("elbv2", operation, params, service.region, PRINCIPAL)

    def stable(self, revision: Revision, wanted: int) -> bool:
        """Whether all tasks run and, where a listener names their group, are healthy."""
        if sum(task.steady for task in revision.runner.tasks.values()) < wanted:
            return False
        return all(self._healthy(revision, arn, wanted) for arn in groups_of(revision))

    def judged(self, revision: Revision) -> bool:
        """Whether every target has had a first verdict, good or bad."""
        states = [
            target.state
            for arn in groups_of(revision)
            if (group := self._elb.groups.get(arn)) and group.in_use
            for target in group.targets.values()
        ]
        return not {"initial", "unused"} & set(states)

    def _healthy(self, revision: Revision, arn: str, wanted: int) -> bool:
        group = self._elb.groups.get(arn)
        if group is None or not group.in_use:
            return True
        ours = {task.address for task in revision.runner.tasks.values()}
        return sum(one.state == "healthy" and one.id in ours for one in group.targets.values()) >= wanted

    def drain_seconds(self, revision: Revision) -> float:
        """Real seconds the targets of a revision drain."""
        groups = [self._elb.groups[arn] for arn in groups_of(revision) if arn in self._elb.groups]
        return max((self._elb.drain_seconds(group) for group in groups if group.in_use), default=0.0)


def weight(percent: float) -> int:
    """ALB weights are whole numbers to 999: tenths of a percent are told by per mille."""
    return round(percent) if abs(percent - round(percent)) < 1e-9 else min(999, round(percent * 10))


def groups_of(revision: Revision) -> list[str]:
    """The target groups a revision's tasks are registered with."""
    return [one["targetGroupArn"] for one in revision.runner.owner.balancers]
