"""What listeners and rules do with a request: from ELB's actions to routes, refusing what an ALB would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import AwsError, not_emulated
from .proxy import Route
from .state import Group

_MAX_GROUPS = 5  # ALB quota: target groups per action


def route(actions: list[dict[str, Any]], find: Callable[[str], Group]) -> Route:
    """The one action's route."""
    if len(actions) != 1:
        raise AwsError("ValidationError", "Exactly one action is served")
    action = actions[0]
    if action["Type"] == "fixed-response":
        fixed = action.get("FixedResponseConfig")
        if not fixed:
            raise AwsError("InvalidLoadBalancerAction", "You must specify FixedResponseConfig")
        body, kind = fixed.get("MessageBody", ""), fixed.get("ContentType", "text/plain")
        return Route([], (int(fixed["StatusCode"]), kind, body))
    if action["Type"] != "forward":
        raise not_emulated(f"listener actions of type {action['Type']}")
    config = action.get("ForwardConfig") or {}
    if (config.get("TargetGroupStickinessConfig") or {}).get("Enabled"):
        raise not_emulated("target group stickiness")
    tuples = config.get("TargetGroups") or []
    if not tuples and action.get("TargetGroupArn"):
        tuples = [{"TargetGroupArn": action["TargetGroupArn"], "Weight": 1}]
    if not tuples:
        raise AwsError("InvalidLoadBalancerAction", "You must specify a target group")
    if len(tuples) > _MAX_GROUPS:
        raise AwsError("TooManyTargetGroups", f"An action can have at most {_MAX_GROUPS} target groups")
    pairs = []
    for one in tuples:
        weight = one.get("Weight", 1)
        if not 0 <= weight <= 999:
            raise AwsError("InvalidLoadBalancerAction", "Target group weights must be between 0 and 999")
        pairs.append((find(one["TargetGroupArn"]), weight))
    return Route(pairs)


def describe(action: dict[str, Any], made: Route) -> dict[str, Any]:
    """An action as ELB describes it: forwards carry both spellings where one target group is meant."""
    if made.fixed:
        return {"Type": action["Type"], "Order": 1, "FixedResponseConfig": action["FixedResponseConfig"]}
    shown: dict[str, Any] = {
        "Type": "forward",
        "Order": 1,
        "ForwardConfig": {
            "TargetGroups": [{"TargetGroupArn": group.arn, "Weight": weight} for group, weight in made.groups],
            "TargetGroupStickinessConfig": {"Enabled": False},
        },
    }
    if len(made.groups) == 1:
        shown["TargetGroupArn"] = made.groups[0][0].arn
    return shown
