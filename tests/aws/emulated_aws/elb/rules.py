"""Listener rules: kept by us alone, as moto forgets priorities; the data plane asks them in order, the default last."""

from __future__ import annotations

import dataclasses
import secrets
from typing import TYPE_CHECKING, Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from .actions import describe, route
from .conditions import Matcher, compile_conditions
from .http1 import Head
from .kinds import check_action
from .proxy import Listener, Route

if TYPE_CHECKING:
    from .api import Elb

_MAX_RULES = 100  # ALB quota: rules per load balancer, default rules not counted


@dataclasses.dataclass
class Rule:
    """One rule of one listener; the default rule is the listener's own route and is not among these."""

    arn: str
    priority: int
    conditions: list[dict[str, Any]]
    matchers: list[Matcher]
    route: Route
    action: dict[str, Any]

    def matches(self, head: Head, peer: str) -> bool:
        """Every condition of a rule must be met."""
        return all(matcher(head, peer) for matcher in self.matchers)

    def describe(self) -> dict[str, Any]:
        """A Rule as ELB describes it."""
        return {
            "RuleArn": self.arn, "Priority": str(self.priority), "Conditions": self.conditions,
            "Actions": [describe(self.action, self.route)], "IsDefault": False,
        }  # fmt: skip


class Rules:
    """The operations on rules."""

    def __init__(self, dispatch: Dispatch, elb: Elb) -> None:
        self._elb = elb
        dispatch.register("elbv2", self)

    async def CreateRule(self, call: Call) -> dict[str, Any]:
        params = call.params
        _refuse(params)
        listener = self._elb.listener(params["ListenerArn"])
        if listener.protocol != "HTTP":
            # "The listener must be associated with an Application Load Balancer." (CreateRule)
            raise AwsError("ValidationError", "Listeners of network load balancers have no rules but the default")
        siblings = [one for one in self._elb.listeners.values() if one.balancer == listener.balancer]
        if sum(len(one.rules) for one in siblings) >= _MAX_RULES:
            raise AwsError("TooManyRules", f"at most {_MAX_RULES} rules per load balancer")
        conditions, matchers = compile_conditions(params["Conditions"])
        made = route(params["Actions"], self._elb.group)
        check_action(listener, made)
        if any(one.priority == params["Priority"] for one in listener.rules):
            raise AwsError("PriorityInUse", f"Priority '{params['Priority']}' is currently in use")
        arn = f"{listener.arn.replace(':listener/', ':listener-rule/')}/{secrets.token_hex(8)}"
        rule = Rule(arn, params["Priority"], conditions, matchers, made, params["Actions"][0])
        listener.rules.append(rule)
        self._changed(listener)
        return {"Rules": [rule.describe()]}

    async def DescribeRules(self, call: Call) -> dict[str, Any]:
        arn, arns = call.params.get("ListenerArn"), call.params.get("RuleArns")
        if bool(arn) == bool(arns):
            raise AwsError("ValidationError", "You must specify either listener rule ARNs or a listener ARN")
        if arns:
            return {"Rules": [self._shown(one) for one in arns]}
        listener = self._elb.listener(arn)
        found = [rule.describe() for rule in listener.rules] + [self._default(listener)]
        marker = call.params.get("Marker", "0")
        if not marker.isdigit():
            raise AwsError("ValidationError", f"'{marker}' is not a valid marker")
        end = int(marker) + call.params.get("PageSize", len(found))
        return {"Rules": found[int(marker) : end]} | ({"NextMarker": str(end)} if end < len(found) else {})

    async def ModifyRule(self, call: Call) -> dict[str, Any]:
        params = call.params
        _refuse(params)
        listener, rule = self._changeable(params["RuleArn"])
        if not params.get("Conditions") and not params.get("Actions"):
            raise AwsError("ValidationError", "Either conditions or actions must be specified")
        made = route(params["Actions"], self._elb.group) if params.get("Actions") else None
        if made:
            check_action(listener, made)
        if params.get("Conditions"):
            rule.conditions, rule.matchers = compile_conditions(params["Conditions"])
        if made:
            rule.route, rule.action = made, params["Actions"][0]
        self._changed(listener)
        return {"Rules": [rule.describe()]}

    async def DeleteRule(self, call: Call) -> dict[str, Any]:
        listener, rule = self._changeable(call.params["RuleArn"])
        listener.rules.remove(rule)
        self._changed(listener)
        return {}

    async def SetRulePriorities(self, call: Call) -> dict[str, Any]:
        wanted = {one["RuleArn"]: one["Priority"] for one in call.params["RulePriorities"]}
        found = [self._changeable(arn) for arn in wanted]
        for listener in {id(one): one for one, _ in found}.values():
            after = [wanted.get(rule.arn, rule.priority) for rule in listener.rules]
            if len(set(after)) != len(after):
                raise AwsError("PriorityInUse", "A priority would be in use twice")
        for listener, rule in found:
            rule.priority = wanted[rule.arn]
            self._changed(listener)
        return {"Rules": [rule.describe() for _, rule in found]}

    # === inside ===

    def find(self, arn: str) -> tuple[Listener, Rule | None]:
        """A rule and its listener; None stands for the listener's default rule."""
        for listener in self._elb.listeners.values():
            if arn == default_arn(listener):
                return listener, None
            for rule in listener.rules:
                if rule.arn == arn:
                    return listener, rule
        raise AwsError("RuleNotFound", "One or more rules not found")

    def _changeable(self, arn: str) -> tuple[Listener, Rule]:
        listener, rule = self.find(arn)
        if rule is None:
            raise AwsError("OperationNotPermitted", "Default rule cannot be modified: modify the listener")
        return listener, rule

    def _shown(self, arn: str) -> dict[str, Any]:
        listener, rule = self.find(arn)
        return rule.describe() if rule else self._default(listener)

    @staticmethod
    def _default(listener: Listener) -> dict[str, Any]:
        return {
            "RuleArn": default_arn(listener), "Priority": "default", "Conditions": [],
            "Actions": [describe(listener.action, listener.route)], "IsDefault": True,
        }  # fmt: skip

    def _changed(self, listener: Listener) -> None:
        listener.rules.sort(key=lambda rule: rule.priority)
        self._elb.refresh()


def default_arn(listener: Listener) -> str:
    """The default rule's ARN, which must be the same for as long as the listener exists."""
    return f"{listener.arn.replace(':listener/', ':listener-rule/')}/{listener.default_id}"


def _refuse(params: dict[str, Any]) -> None:
    for key in ("Tags", "Transforms", "ResetTransforms"):
        if params.get(key):
            raise not_emulated(f"{key} of listener rules")
