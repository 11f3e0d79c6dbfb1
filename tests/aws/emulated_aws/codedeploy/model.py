"""Applications, deployment groups and deployments as we keep them."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import random
import string
import time
import uuid
from typing import Any

from .appspec import AppSpec, LambdaSpec
from .configs import TrafficConfig

ACTIVE = ("Created", "Queued", "InProgress", "Baking", "Ready")
_ID_CHARS = string.ascii_uppercase + string.digits


def now() -> datetime.datetime:
    """The time as AWS reports it."""
    return datetime.datetime.now(datetime.UTC)


@dataclasses.dataclass
class Group:
    """One deployment group: the settings as given, and where its service runs if it is one of ECS."""

    application: str
    name: str
    region: str
    platform: str
    settings: dict[str, Any]
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    target_revision: dict[str, Any] | None = None
    last_successful: dict[str, Any] | None = None
    last_attempted: dict[str, Any] | None = None

    @property
    def cluster(self) -> str:
        return self.settings["ecsServices"][0]["clusterName"]

    @property
    def service(self) -> str:
        return self.settings["ecsServices"][0]["serviceName"]

    @property
    def pair(self) -> dict[str, Any]:
        return self.settings["loadBalancerInfo"]["targetGroupPairInfoList"][0]

    @property
    def prod_listener(self) -> str:
        return self.pair["prodTrafficRoute"]["listenerArns"][0]

    @property
    def test_listener(self) -> str | None:
        arns = (self.pair.get("testTrafficRoute") or {}).get("listenerArns")
        return arns[0] if arns else None


@dataclasses.dataclass
class Application:
    """One application and its groups."""

    name: str
    region: str
    platform: str
    created: datetime.datetime = dataclasses.field(default_factory=now)
    id: str = dataclasses.field(default_factory=lambda: str(uuid.uuid4()))
    groups: dict[str, Group] = dataclasses.field(default_factory=dict)
    revisions: dict[str, str] = dataclasses.field(default_factory=dict)  # sha256 -> content


@dataclasses.dataclass
class Event:
    """One lifecycle event of the one target."""

    name: str
    status: str = "Pending"
    started: datetime.datetime | None = None
    ended: datetime.datetime | None = None
    diagnostics: dict[str, Any] | None = None

    def begin(self) -> None:
        """The event runs now."""
        self.status, self.started = "InProgress", now()

    def end(self, status: str, diagnostics: dict[str, Any] | None = None) -> None:
        """The event is over."""
        self.status, self.ended, self.diagnostics = status, now(), diagnostics


@dataclasses.dataclass
class HookRun:
    """One hook's question, and everything anybody answered to it."""

    hook: str
    function: str
    execution_id: str
    invoked_at: float = dataclasses.field(default_factory=time.time)
    answered_at: float | None = None
    status: str = "InProgress"
    answers: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    deliveries: int = 1
    answered: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)


@dataclasses.dataclass
class TaskSetRef:
    """A task set as last seen; kept after ECS has forgotten it, as CodeDeploy still shows it."""

    arn: str
    id: str
    group_arn: str
    group_name: str
    desired: int = 0
    pending: int = 0
    running: int = 0
    status: str = "ACTIVE"


@dataclasses.dataclass
class Deployment:
    """One deployment on its way."""

    group: Group
    appspec: AppSpec
    config: TrafficConfig
    creator: str = "user"
    description: str | None = None
    auto_rollback: dict[str, Any] = dataclasses.field(default_factory=dict)
    rollback_of: str | None = None
    id: str = dataclasses.field(default_factory=lambda: "d-" + "".join(random.choices(_ID_CHARS, k=9)))
    status: str = "Created"
    target_status: str = "Pending"
    created: datetime.datetime = dataclasses.field(default_factory=now)
    started: datetime.datetime | None = None
    completed: datetime.datetime | None = None
    updated: datetime.datetime = dataclasses.field(default_factory=now)
    error: tuple[str, str] | None = None
    rollback_id: str | None = None
    rollback_message: str | None = None
    events: list[Event] = dataclasses.field(default_factory=list)
    hooks: dict[str, HookRun] = dataclasses.field(default_factory=dict)
    blue: TaskSetRef | None = None
    green: TaskSetRef | None = None
    green_weight: float = 0.0  # percent of production on the new task set or version
    reversible: bool = False  # whether there is something a rollback would put back
    test_route: str | None = None
    waiting: str | None = None
    proceed: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    stop: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)
    stop_rollback: bool | None = None

    @property
    def active(self) -> bool:
        return self.status in ACTIVE

    @property
    def target_id(self) -> str:
        if isinstance(self.appspec, LambdaSpec):
            return f"{self.appspec.function}:{self.appspec.alias}"
        return f"{self.group.cluster}:{self.group.service}"

    def event(self, name: str) -> Event | None:
        """The event of that name; None when this deployment has none such (no test listener)."""
        return next((event for event in self.events if event.name == name), None)

    def rolls_back_on(self, event: str) -> bool:
        """Whether the automatic rollback is configured for such an ending."""
        return bool(self.auto_rollback.get("enabled")) and event in self.auto_rollback.get("events", [])
