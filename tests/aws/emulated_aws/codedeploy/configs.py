"""The predefined ECS deployment configurations ("Predefined deployment configurations", CodeDeploy guide)."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..errors import AwsError


@dataclasses.dataclass(frozen=True)
class TrafficConfig:
    """How AllowTraffic moves: `percent` per step, a step every `minutes`; a canary has two steps."""

    name: str
    kind: str = "AllAtOnce"
    percent: int = 100
    minutes: int = 0

    def weights(self) -> list[int]:
        """Green's percentage after each step."""
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
        return {"deploymentConfigName": self.name, "computePlatform": "ECS", "trafficRoutingConfig": routing}


_ALL = (
    TrafficConfig("CodeDeployDefault.ECSAllAtOnce"),
    TrafficConfig("CodeDeployDefault.ECSLinear10PercentEvery1Minutes", "TimeBasedLinear", 10, 1),
    TrafficConfig("CodeDeployDefault.ECSLinear10PercentEvery3Minutes", "TimeBasedLinear", 10, 3),
    TrafficConfig("CodeDeployDefault.ECSCanary10Percent5Minutes", "TimeBasedCanary", 10, 5),
    TrafficConfig("CodeDeployDefault.ECSCanary10Percent15Minutes", "TimeBasedCanary", 10, 15),
)
CONFIGS = {config.name: config for config in _ALL}
DEFAULT = "CodeDeployDefault.ECSAllAtOnce"


def find(name: str) -> TrafficConfig:
    """The configuration of that name, or the API's error."""
    if name not in CONFIGS:
        raise AwsError("DeploymentConfigDoesNotExistException", f"No deployment configuration found for name: {name}")
    return CONFIGS[name]
