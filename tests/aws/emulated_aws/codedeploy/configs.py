"""Deployment configurations: the predefined ones of ECS and Lambda, and those users make."""

from __future__ import annotations

import dataclasses
import datetime
import re
import uuid
from collections.abc import Callable
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated

MAX_CONFIGS = 100
_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,100}")
_PREDEFINED = "CodeDeployDefault."
_MAX_MINUTES = 2880  # quota: "between the first and last traffic shift"


@dataclasses.dataclass(frozen=True)
class TrafficConfig:
    """How AllowTraffic moves: `percent` per step, a step every `minutes`; a canary has two steps."""

    name: str
    platform: str
    kind: str = "AllAtOnce"
    percent: int = 100
    minutes: int = 0
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    created: datetime.datetime = dataclasses.field(default_factory=lambda: datetime.datetime.now(datetime.UTC))

    def weights(self) -> list[int]:
        """The new version's percentage after each step."""
        if self.kind == "TimeBasedCanary":
            return [self.percent, 100]
        if self.kind == "TimeBasedLinear":
            return [*range(self.percent, 100, self.percent), 100]
        return [100]

    def describe(self) -> dict[str, Any]:
        """DeploymentConfigInfo."""
        routing: dict[str, Any] = {"type": self.kind}
        if self.kind == "TimeBasedCanary":
            routing["timeBasedCanary"] = {"canaryPercentage": self.percent, "canaryInterval": self.minutes}
        if self.kind == "TimeBasedLinear":
            routing["timeBasedLinear"] = {"linearPercentage": self.percent, "linearInterval": self.minutes}
        return {
            "deploymentConfigId": self.id, "deploymentConfigName": self.name, "computePlatform": self.platform,
            "trafficRoutingConfig": routing, "createTime": self.created,
        }  # fmt: skip


def _predefined() -> dict[str, TrafficConfig]:
    """The table "Predefined deployment configurations" of the CodeDeploy guide."""
    found = []
    for platform in ("ECS", "Lambda"):
        found.append(TrafficConfig(f"{_PREDEFINED}{platform}AllAtOnce", platform))
        for minutes in (1, 3) if platform == "ECS" else (1, 2, 3, 10):
            # ECS writes 1Minutes, Lambda 1Minute
            unit = "Minute" if (platform, minutes) == ("Lambda", 1) else "Minutes"
            name = f"{_PREDEFINED}{platform}Linear10PercentEvery{minutes}{unit}"
            found.append(TrafficConfig(name, platform, "TimeBasedLinear", 10, minutes))
        for minutes in (5, 15) if platform == "ECS" else (5, 10, 15, 30):
            name = f"{_PREDEFINED}{platform}Canary10Percent{minutes}Minutes"
            found.append(TrafficConfig(name, platform, "TimeBasedCanary", 10, minutes))
    return {config.name: config for config in found}


CONFIGS = _predefined()
DEFAULT = {platform: f"{_PREDEFINED}{platform}AllAtOnce" for platform in ("ECS", "Lambda")}


class Configs:
    """Handlers, and every region's own configurations."""

    def __init__(self, dispatch: Dispatch, used: Callable[[str, str], bool]) -> None:
        self._own: dict[tuple[str, str], TrafficConfig] = {}
        self._used = used
        dispatch.register("codedeploy", self)

    def find(self, name: str, region: str, platform: str | None = None) -> TrafficConfig:
        """The configuration of that name, or the API's error; of that platform if one is wanted."""
        found = CONFIGS.get(name) or self._own.get((region, name))
        if found is None:
            raise AwsError(
                "DeploymentConfigDoesNotExistException", f"No deployment configuration found for name: {name}"
            )
        if platform not in (None, found.platform):
            raise AwsError(
                "InvalidDeploymentConfigNameException", f"{name} is for the {found.platform} compute platform"
            )
        return found

    async def CreateDeploymentConfig(self, call: Call) -> dict[str, Any]:
        name = call.params["deploymentConfigName"]
        if not _NAME.fullmatch(name) or name.startswith(_PREDEFINED):
            raise AwsError("InvalidDeploymentConfigNameException", f"{name[:100]} is not a name to be given")
        if name in CONFIGS or (call.region, name) in self._own:
            raise AwsError("DeploymentConfigAlreadyExistsException", f"Deployment config already exists: {name}")
        platform = call.params.get("computePlatform", "Server")
        if platform not in ("Server", "Lambda", "ECS", "Kubernetes"):
            raise AwsError("InvalidComputePlatformException", f"{platform} is not a compute platform")
        if platform not in DEFAULT:
            raise not_emulated(f"deployment configurations of the {platform} compute platform")
        if "minimumHealthyHosts" in call.params:
            raise AwsError("InvalidMinimumHealthyHostValueException", f"{platform} has no minimum of healthy hosts")
        if "zonalConfig" in call.params:
            raise AwsError("InvalidZonalDeploymentConfigurationException", f"{platform} has no zonal configuration")
        if len(self._own) >= MAX_CONFIGS:
            raise AwsError("DeploymentConfigLimitExceededException", f"at most {MAX_CONFIGS} configurations")
        kind, percent, minutes = _routing(call.params.get("trafficRoutingConfig") or {})
        made = self._own[call.region, name] = TrafficConfig(name, platform, kind, percent, minutes)
        return {"deploymentConfigId": made.id}

    async def GetDeploymentConfig(self, call: Call) -> dict[str, Any]:
        return {"deploymentConfigInfo": self.find(call.params["deploymentConfigName"], call.region).describe()}

    async def ListDeploymentConfigs(self, call: Call) -> dict[str, Any]:
        own = [name for region, name in self._own if region == call.region]
        return {"deploymentConfigsList": [*CONFIGS, *own]}

    async def DeleteDeploymentConfig(self, call: Call) -> dict[str, Any]:
        name = call.params["deploymentConfigName"]
        if name in CONFIGS:
            raise AwsError("InvalidOperationException", f"{name} is predefined and cannot be deleted")
        if self._used(call.region, name):
            raise AwsError("DeploymentConfigInUseException", f"{name} is used by a deployment group")
        self._own.pop((call.region, name), None)  # the model names no error for one that is not there
        return {}


def _routing(given: dict[str, Any]) -> tuple[str, int, int]:
    code = "InvalidTrafficRoutingConfigurationException"
    kind = given.get("type")
    stem = {"TimeBasedCanary": "canary", "TimeBasedLinear": "linear"}.get(kind, "")
    member = f"timeBased{stem.title()}"
    if kind not in ("AllAtOnce", "TimeBasedCanary", "TimeBasedLinear"):
        raise AwsError(code, f"{kind} is not a type of traffic routing")
    if set(given) - {"type", member}:
        raise AwsError(code, f"traffic routing of type {kind} takes nothing of another type")
    if kind == "AllAtOnce":
        return kind, 100, 0
    percent = given.get(member, {}).get(f"{stem}Percentage", 0)
    minutes = given.get(member, {}).get(f"{stem}Interval", 0)
    if not 1 <= percent <= 99 or minutes < 1:
        raise AwsError(code, f"{stem}Percentage must be between 1 and 99, {stem}Interval at least 1 minute")
    config = TrafficConfig("", "", kind, percent, minutes)
    if (len(config.weights()) - 1) * minutes > _MAX_MINUTES:
        raise AwsError(code, f"traffic must have shifted after {_MAX_MINUTES} minutes")
    return kind, percent, minutes
