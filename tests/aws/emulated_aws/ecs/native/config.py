"""deploymentConfiguration: defaults filled in, and everything refused that ECS refuses or that is not emulated."""

from __future__ import annotations

from typing import Any

from ...errors import AwsError, not_emulated

SHIFTING = ("BLUE_GREEN", "LINEAR", "CANARY")
_NO_PAUSE = ("TEST_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT")
_DAY = 1440
_MAX_HOOKS = 10  # of each type per service
_HOOK_MINUTES = {"PAUSE": 20160, "AWS_LAMBDA": _DAY}
_NEEDS = {"LINEAR": "linearConfiguration", "CANARY": "canaryConfiguration"}


def complete(given: dict[str, Any], before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The configuration in force: members given replace those before, the rest stays or takes ECS's defaults."""
    config = {"maximumPercent": 200, "minimumHealthyPercent": 100, **(before or {}), **given}
    strategy = config.setdefault("strategy", "ROLLING")
    for switch in ("deploymentCircuitBreaker", "alarms", "earlySuccessCriteria"):
        if (config.get(switch) or {}).get("enable"):
            raise not_emulated(f"deploymentConfiguration.{switch}")
    for owner, member in _NEEDS.items():
        if member in given and strategy != owner:
            raise _invalid(f"{member} is only valid when the deployment strategy is {owner}.")
        if strategy != owner:
            config.pop(member, None)
    if strategy == "ROLLING":
        if config.get("lifecycleHooks"):
            raise not_emulated("lifecycle hooks of rolling deployments")
        return config
    if strategy == "BLUE_GREEN" and "bakeTimeInMinutes" not in config:
        # "You must provide this parameter when you use the BLUE_GREEN deployment strategy."
        raise _invalid("bakeTimeInMinutes must be provided when the deployment strategy is BLUE_GREEN.")
    config.setdefault("bakeTimeInMinutes", 0)
    _within("bakeTimeInMinutes", config["bakeTimeInMinutes"], 0, _DAY)
    if strategy == "LINEAR":
        linear = {"stepPercent": 10.0, "stepBakeTimeInMinutes": 6, **config.get("linearConfiguration", {})}
        _percent("stepPercent", linear["stepPercent"], 3.0)
        _within("stepBakeTimeInMinutes", linear["stepBakeTimeInMinutes"], 0, _DAY)
        config["linearConfiguration"] = linear
    if strategy == "CANARY":
        canary = {"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 10, **config.get("canaryConfiguration", {})}
        _percent("canaryPercent", canary["canaryPercent"], 0.1)
        _within("canaryBakeTimeInMinutes", canary["canaryBakeTimeInMinutes"], 0, _DAY)
        config["canaryConfiguration"] = canary
    config["lifecycleHooks"] = [_hook(one) for one in config.get("lifecycleHooks") or []]
    for kind in _HOOK_MINUTES:
        if sum(one["targetType"] == kind for one in config["lifecycleHooks"]) > _MAX_HOOKS:
            raise _invalid(f"A service can have at most {_MAX_HOOKS} lifecycle hooks of type {kind}.")
    return config


def steps(config: dict[str, Any]) -> list[tuple[float, float]]:
    """(production percent, minutes to bake before the next step) of every step; the last is 100 and has no bake."""
    if config["strategy"] == "CANARY":
        canary = config["canaryConfiguration"]
        first = [(canary["canaryPercent"], canary["canaryBakeTimeInMinutes"])] if canary["canaryPercent"] < 100 else []
        return [*first, (100.0, 0)]
    if config["strategy"] == "LINEAR":
        linear = config["linearConfiguration"]
        tenths, found = round(linear["stepPercent"] * 10), []
        for reached in range(tenths, 1000, tenths):
            found.append((reached / 10, linear["stepBakeTimeInMinutes"]))
        return [*found, (100.0, 0)]
    return [(100.0, 0)]


def _hook(given: dict[str, Any]) -> dict[str, Any]:
    kind = given.get("targetType", "AWS_LAMBDA")
    stages = given.get("lifecycleStages") or []
    if not stages:
        raise _invalid("lifecycleStages must be provided for a lifecycle hook.")
    if kind == "PAUSE":
        for stage in stages:
            if stage in _NO_PAUSE:
                raise _invalid(f"PAUSE hooks cannot be configured at the {stage} stage.")
        for member in ("hookTargetArn", "roleArn", "hookDetails"):
            if member in given:
                raise _invalid(f"{member} is not applicable for PAUSE hooks.")
    else:
        for member in ("hookTargetArn", "roleArn"):
            if not given.get(member):
                raise _invalid(f"{member} must be provided for AWS_LAMBDA hooks.")
        if ":function:" not in given["hookTargetArn"]:
            raise _invalid("hookTargetArn must be the ARN of a Lambda function.")
        if not isinstance(given.get("hookDetails", {}), dict):
            raise _invalid("hookDetails must be a JSON object.")
    timeout = {"timeoutInMinutes": _DAY, "action": "ROLLBACK", **given.get("timeoutConfiguration", {})}
    _within("timeoutInMinutes", timeout["timeoutInMinutes"], 1, _HOOK_MINUTES[kind])
    return {**given, "targetType": kind, "lifecycleStages": stages, "timeoutConfiguration": timeout}


def _percent(name: str, value: float, low: float) -> None:
    _within(name, value, low, 100.0)
    if abs(value * 10 - round(value * 10)) > 1e-6:
        raise _invalid(f"{name} must be a multiple of 0.1.")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise _invalid(f"{name} must be between {low} and {high}.")


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)
