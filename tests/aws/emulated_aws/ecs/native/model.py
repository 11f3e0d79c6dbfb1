"""Services, revisions and service deployments under the ECS controller, as we keep them."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import os
import random
import time
import uuid
from typing import Any

from ...settings import ACCOUNT
from ..runner import Runner

ACTIVE_STATES = ("PENDING", "IN_PROGRESS", "STOP_REQUESTED", "ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS")


def token(size: int) -> str:
    """Random text of the alphabet AWS uses in these identifiers."""
    return base64.urlsafe_b64encode(os.urandom(size)).decode().rstrip("=")


@dataclasses.dataclass
class Revision:
    """One service revision: what was asked for, and the tasks that run it."""

    arn: str
    number: str
    definition: dict[str, Any]
    params: dict[str, Any]  # the service's parameters when it was made
    target_group: str | None
    runner: Runner
    wanted: bool = False  # from SCALE_UP on
    draining: bool = False
    created: float = dataclasses.field(default_factory=time.time)

    @property
    def deployment_id(self) -> str:
        """What tasks have as startedBy, and DescribeServices as a deployment's id."""
        return f"ecs-svc/{self.number}"

    def choose_group(self, source: Revision | None, shifting: bool) -> None:
        """The target group the tasks will be in: where traffic is shifted, the one the source is not in."""
        for balancer, asked in zip(self.runner.owner.balancers, self.params.get("loadBalancers") or [], strict=True):
            primary, taken = asked["targetGroupArn"], source.target_group if source else None
            if shifting:
                alternate = asked["advancedConfiguration"]["alternateTargetGroupArn"]
                balancer["targetGroupArn"] = alternate if taken == primary else primary
            self.target_group = balancer["targetGroupArn"]


@dataclasses.dataclass
class HookRun:
    """One hook at one stage, asked once or, when it says IN_PROGRESS, again and again."""

    id: str
    type: str
    stage: str
    config: dict[str, Any]
    status: str
    expires: float
    timeout_action: str
    execution_id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    answered: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    asked_at: float = dataclasses.field(default_factory=time.time)
    invocations: list[dict[str, Any]] = dataclasses.field(default_factory=list)

    @property
    def open(self) -> bool:
        return self.status in ("AWAITING_ACTION", "IN_PROGRESS")


class RollBack(Exception):
    """The deployment goes back to what it came from."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Superseded(Exception):
    """A newer deployment of the service takes over."""


@dataclasses.dataclass
class Deployment:
    """One service deployment."""

    arn: str
    service: NativeService
    target: Revision
    config: dict[str, Any]
    sources: list[Revision] = dataclasses.field(default_factory=list)
    status: str = "PENDING"
    reason: str | None = None
    stage: str | None = None
    stages: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    hooks: list[HookRun] = dataclasses.field(default_factory=list)
    production: dict[str, float] = dataclasses.field(default_factory=dict)  # percent by revision ARN
    test: dict[str, float] = dataclasses.field(default_factory=dict)
    rollback: dict[str, Any] | None = None
    created: float = dataclasses.field(default_factory=time.time)
    started: float | None = None
    finished: float | None = None
    stopped: float | None = None
    updated: float = dataclasses.field(default_factory=time.time)
    verdict: RollBack | Superseded | None = None
    interrupted: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    done: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    completing: bool = False  # the source is being removed: too late for another verdict
    final_counts: dict[str, dict[str, int]] | None = None  # as they were at the end

    @property
    def strategy(self) -> str:
        return self.config["strategy"]

    @property
    def active(self) -> bool:
        return self.status in ACTIVE_STATES

    @property
    def source(self) -> Revision | None:
        """The revision in production before this one, which a rollback goes back to."""
        current = self.service.current
        if current in self.sources:
            return current
        return self.sources[-1] if self.sources else None

    def interrupt(self, verdict: RollBack | Superseded) -> None:
        """Ends every wait of the deployment; the first verdict counts."""
        if self.verdict is None:
            self.verdict = verdict
            self.interrupted.set()

    def touch(self) -> None:
        self.updated = time.time()


@dataclasses.dataclass
class NativeService:
    """One service under the ECS controller."""

    region: str
    cluster: str
    name: str
    arn: str
    desired: int
    params: dict[str, Any]
    record: dict[str, Any]  # moto's, for what we do not care about
    definition: dict[str, Any] = dataclasses.field(default_factory=dict)
    revisions: list[Revision] = dataclasses.field(default_factory=list)  # those with tasks
    deployments: list[Deployment] = dataclasses.field(default_factory=list)  # the newest last
    current: Revision | None = None  # the last that was deployed successfully

    @property
    def runners(self) -> list[Runner]:
        return [one.runner for one in self.revisions]

    @property
    def cluster_arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:cluster/{self.cluster}"

    @property
    def ongoing(self) -> Deployment | None:
        """The newest deployment, unless it is over."""
        return self.deployments[-1] if self.deployments and self.deployments[-1].active else None

    def adopt(self, revision: Revision) -> None:
        """The service says again what that revision was made of; how it is deployed stays."""
        self.params = revision.params | {"deploymentConfiguration": self.params["deploymentConfiguration"]}
        self.definition = revision.definition

    def wanted(self, revision: Revision) -> int:
        """How many tasks of a revision are requested."""
        return self.desired if revision.wanted and not revision.draining else 0

    def sub_arn(self, kind: str, name: str) -> str:
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:{kind}/{self.cluster}/{self.name}/{name}"


def revision_number() -> str:
    """Nineteen digits, as AWS numbers them."""
    return str(random.SystemRandom().randrange(10**18, 9 * 10**18))
