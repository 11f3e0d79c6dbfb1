"""Target groups and their targets: what DescribeTargetHealth and the data plane look at."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

MAX_TARGETS = 1000  # ALB quota: targets per target group


@dataclasses.dataclass
class Target:
    """One registration; the same address with another port is another target."""

    id: str
    port: int
    state: str = "unused"
    reason: str | None = "Target.NotInUse"
    description: str | None = "Target group is not configured to receive traffic from the load balancer"
    passed: int = 0
    failed: int = 0
    watcher: asyncio.Task[None] | None = None
    address: str = ""  # where it is reached; an instance's id is no address

    def __post_init__(self) -> None:
        self.address = self.address or self.id

    def become(self, state: str, reason: str | None = None, description: str | None = None) -> None:
        """A new state; healthy ones carry neither reason nor description."""
        self.state, self.reason, self.description = state, reason, description


@dataclasses.dataclass
class Group:
    """One target group as moto described it, and our targets in it."""

    arn: str
    region: str
    described: dict[str, Any]
    deregistration_delay: float = 300.0  # ALB default
    targets: dict[tuple[str, int], Target] = dataclasses.field(default_factory=dict)
    in_use: bool = False
    turn: int = 0

    @property
    def by_instance(self) -> bool:
        """Whether targets are named by instance id instead of address."""
        return self.described.get("TargetType") == "instance"

    @property
    def name(self) -> str:
        return self.described["TargetGroupName"]

    def health_check_port(self, target: Target) -> int:
        """The port probed: `traffic-port` means the target's own."""
        port = self.described.get("HealthCheckPort", "traffic-port")
        return target.port if port == "traffic-port" else int(port)

    def accepts(self, status: int) -> bool:
        """Whether the matcher, such as `200,301-399`, takes this status."""
        codes = (self.described.get("Matcher") or {}).get("HttpCode", "200")
        for part in codes.split(","):
            low, _, high = part.strip().partition("-")
            if int(low) <= status <= int(high or low):
                return True
        return False

    def next_target(self) -> Target | None:
        """Round robin over the healthy; when none is, over the unhealthy.

        "If there are no healthy targets, the load balancer routes requests to all targets in its target group,
        regardless of their health status" (ALB user guide, target group health: fail open).
        """
        healthy = [t for t in self.targets.values() if t.state == "healthy"]
        eligible = healthy or [t for t in self.targets.values() if t.state == "unhealthy"]
        if not eligible:
            return None
        self.turn += 1
        return eligible[self.turn % len(eligible)]


def describe_target(group: Group, pair: tuple[str, int], extras: bool, region: str) -> dict[str, Any]:
    """A TargetHealthDescription, with AnomalyDetection and AdministrativeOverride when asked for."""
    target = group.targets.get(pair)
    if target is None:
        health = {
            "State": "unused",
            "Reason": "Target.NotRegistered",
            "Description": "Target is not registered to the target group",
        }
    else:
        health = {"State": target.state, "Reason": target.reason, "Description": target.description}
    port = group.described.get("HealthCheckPort", "traffic-port")
    described: dict[str, Any] = {
        "Target": {"Id": pair[0], "Port": pair[1], "AvailabilityZone": f"{region}a"},
        "HealthCheckPort": str(pair[1]) if port == "traffic-port" else port,
        "TargetHealth": {k: v for k, v in health.items() if v is not None},
    }
    if extras:
        described["AnomalyDetection"] = {"Result": "normal", "MitigationInEffect": "no"}
        described["AdministrativeOverride"] = {
            "State": "no_override",
            "Reason": "AdministrativeOverride.NoOverride",
            "Description": "No override is currently active on target",
        }
    return described
