"""Tasks and their containers as records: what is known of each, alive or stopped, and how ECS describes it."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
import uuid
from typing import Any

from ..processes import Child
from ..settings import ACCOUNT

_STOPPED_SECONDS = 3600.0  # "Recently stopped tasks might appear in the returned results ... for at least one hour"
_STOPPED_KEPT = 1000


@dataclasses.dataclass(frozen=True)
class Owner:
    """What a task belongs to: it stays true of a stopped task when task set and service are gone."""

    region: str
    cluster: str
    service: str
    started_by: str  # the task set's id, or the deployment's
    definition: dict[str, Any]
    balancers: list[dict[str, Any]]
    launch_type: str

    @property
    def cluster_arn(self) -> str:
        return f"arn:aws:ecs:{self.region}:{ACCOUNT}:cluster/{self.cluster}"


@dataclasses.dataclass
class Container:
    """One container of one task; without a child it was never started."""

    name: str
    id: str
    definition: dict[str, Any]
    child: Child | None = None
    exit_code: int | None = None
    reason: str | None = None
    health: str = "UNKNOWN"

    @property
    def status(self) -> str:
        if self.child is None:
            return "STOPPED" if self.reason else "PENDING"
        return "RUNNING" if self.child.alive else "STOPPED"

    def ended(self, code: int) -> None:
        """As a container runtime tells it: a signal's number counts from 128."""
        self.exit_code = code if code >= 0 else 128 - code

    @property
    def health_status(self) -> str:
        return self.health if self.status == "RUNNING" else "UNKNOWN"


@dataclasses.dataclass
class Task:
    """One task, running or stopped."""

    owner: Owner
    address: str
    id: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    created_at: float = dataclasses.field(default_factory=time.time)
    started_at: float | None = None
    stopping_at: float | None = None
    stopped_at: float | None = None
    status: str = "PENDING"
    stop_code: str | None = None
    stopped_reason: str | None = None
    containers: dict[str, Container] = dataclasses.field(default_factory=dict)
    protected_until: float = 0.0

    @property
    def arn(self) -> str:
        return f"arn:aws:ecs:{self.owner.region}:{ACCOUNT}:task/{self.owner.cluster}/{self.id}"

    @property
    def instance(self) -> str | None:
        """The container instance it runs on, where its address is the instance's: one for each task."""
        return f"i-{self.id[:17]}" if self.owner.definition.get("networkMode") == "bridge" else None

    @property
    def desired(self) -> str:
        return "RUNNING" if self.status in ("PENDING", "RUNNING") else "STOPPED"

    @property
    def protected(self) -> bool:
        return self.protected_until > time.time()

    @property
    def health(self) -> str:
        """Of the essential containers that have a health check; one unhealthy makes the task so."""
        states = [
            one.health_status
            for one in self.containers.values()
            if one.definition.get("healthCheck") and one.definition.get("essential", True)
        ]
        if "UNHEALTHY" in states:
            return "UNHEALTHY"
        return "HEALTHY" if states and set(states) == {"HEALTHY"} else "UNKNOWN"

    @property
    def unhealthy(self) -> bool:
        """Whether any container was found unhealthy, alive or not."""
        return any(one.health == "UNHEALTHY" for one in self.containers.values())

    @property
    def steady(self) -> bool:
        """Running, and healthy as far as its own health checks say."""
        checked = any(
            one.definition.get("healthCheck") and one.definition.get("essential", True)
            for one in self.containers.values()
        )
        return self.status == "RUNNING" and (not checked or self.health == "HEALTHY")

    def stop(self, code: str, reason: str) -> None:
        """Remembers why; the first reason counts."""
        if self.stop_code is None:
            self.stop_code, self.stopped_reason = code, reason
            self.stopping_at = time.time()

    def kill(self) -> None:
        """Ends every process of the task at once."""
        for one in self.containers.values():
            if one.child:
                one.child.kill()


class TaskBook:
    """Every task of the emulator, the stopped ones for as long as ECS shows them."""

    def __init__(self) -> None:
        self.all: dict[str, Task] = {}
        self._stopped: list[Task] = []

    def add(self, task: Task) -> None:
        self.all[task.id] = task

    def stopped(self, task: Task) -> None:
        """Kept for a while, the oldest forgotten first."""
        self._stopped.append(task)
        limit = time.time() - _STOPPED_SECONDS
        while len(self._stopped) > _STOPPED_KEPT or (self._stopped[0].stopped_at or 0) < limit:
            self.all.pop(self._stopped.pop(0).id, None)

    def of(self, region: str, cluster: str) -> list[Task]:
        """A cluster's tasks, the oldest first."""
        return [task for task in self.all.values() if (task.owner.region, task.owner.cluster) == (region, cluster)]

    def alive(self) -> list[Task]:
        """Those that are not over."""
        return [task for task in self.all.values() if task.status != "STOPPED"]

    def by_container(self, container_id: str) -> tuple[Task, Container] | None:
        """Whose metadata endpoint it is."""
        task = self.all.get(container_id.partition("-")[0])
        for one in task.containers.values() if task else ():
            if task and one.id == container_id:
                return task, one
        return None


def endpoints(agent_url: str, container: Container) -> dict[str, str]:
    """Where a container asks about its task, by the environment variables that tell it."""
    return {
        "ECS_CONTAINER_METADATA_URI_V4": f"{agent_url}/v4/{container.id}",
        "ECS_AGENT_URI": f"{agent_url}/api/{container.id}",
    }


def digest(image: str) -> str:
    """Made up, but the same for the same image: nothing is pulled here."""
    return "sha256:" + hashlib.sha256(image.encode()).hexdigest()


def describe_task(task: Task) -> dict[str, Any]:
    """A Task as ECS describes it; the address is where Fargate tasks have it."""
    owner = task.owner
    described: dict[str, Any] = {
        "taskArn": task.arn,
        "clusterArn": owner.cluster_arn,
        "taskDefinitionArn": owner.definition["taskDefinitionArn"],
        "group": f"service:{owner.service}",
        "startedBy": owner.started_by,
        "launchType": owner.launch_type,
        "lastStatus": task.status,
        "desiredStatus": task.desired,
        "healthStatus": task.health,
        "availabilityZone": f"{owner.region}a",
        "connectivity": "CONNECTED",
        "cpu": str(owner.definition.get("cpu", "256")),
        "memory": str(owner.definition.get("memory", "512")),
        "createdAt": moment(task.created_at),
        "containers": [_describe_container(task, one) for one in task.containers.values()],
    }
    if task.instance:
        described["containerInstanceArn"] = (
            f"arn:aws:ecs:{owner.region}:{ACCOUNT}:container-instance/{owner.cluster}/{task.id}"
        )
    else:
        described["attachments"] = [
            {
                "id": task.id,
                "type": "ElasticNetworkInterface",
                "status": "DELETED" if task.status == "STOPPED" else "ATTACHED",
                "details": [{"name": "privateIPv4Address", "value": task.address}],
            }
        ]
    times = (("startedAt", task.started_at), ("stoppingAt", task.stopping_at), ("stoppedAt", task.stopped_at))
    described |= {key: moment(value) for key, value in times if value}
    if task.stop_code:
        described |= {"stopCode": task.stop_code, "stoppedReason": task.stopped_reason}
    return described


def _describe_container(task: Task, container: Container) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "containerArn": f"arn:aws:ecs:{task.owner.region}:{ACCOUNT}:container/{task.owner.cluster}/{task.id}/"
        f"{container.id}",
        "name": container.name,
        "taskArn": task.arn,
        "runtimeId": container.id,
        "image": container.definition["image"],
        "imageDigest": digest(container.definition["image"]),
        "lastStatus": container.status,
        "healthStatus": container.health_status,
    }
    if task.instance:
        ports = [one["containerPort"] for one in container.definition.get("portMappings", [])]
        shown["networkBindings"] = [
            {"bindIP": "0.0.0.0", "containerPort": port, "hostPort": port, "protocol": "tcp"} for port in ports
        ]
    else:
        shown["networkInterfaces"] = [{"attachmentId": task.id, "privateIpv4Address": task.address}]
    if container.exit_code is not None:
        shown["exitCode"] = container.exit_code
    if container.reason:
        shown["reason"] = container.reason
    return shown


def moment(seconds: float) -> datetime.datetime:
    """A time as responses carry it."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC)
