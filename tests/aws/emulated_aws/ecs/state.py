"""Services and task sets as we keep them, and how they look in ECS responses."""

from __future__ import annotations

import dataclasses
from typing import Any

from .runner import Runner


@dataclasses.dataclass
class TaskSet:
    """One task set: moto's record of it, and the processes behind it."""

    record: dict[str, Any]
    runner: Runner
    percent: float
    status: str = "ACTIVE"
    draining: bool = False

    @property
    def arn(self) -> str:
        return self.record["taskSetArn"]

    @property
    def target_groups(self) -> list[str]:
        return [one["targetGroupArn"] for one in self.record.get("loadBalancers", [])]


@dataclasses.dataclass
class Service:
    """One service under the CODE_DEPLOY controller."""

    region: str
    cluster: str
    name: str
    arn: str
    desired: int
    network: dict[str, Any]
    launch_type: str
    task_sets: list[TaskSet] = dataclasses.field(default_factory=list)

    @property
    def runners(self) -> list[Runner]:
        return [one.runner for one in self.task_sets]

    @property
    def primary(self) -> TaskSet | None:
        return next((one for one in self.task_sets if one.status == "PRIMARY"), None)

    def computed(self, task_set: TaskSet) -> int:
        """How many tasks a task set should run: its percentage of the service's desired count, rounded up."""
        if task_set.draining:
            return 0
        return -int(-self.desired * task_set.percent // 100)


def describe_task_set(service: Service, task_set: TaskSet) -> dict[str, Any]:
    """A TaskSet as ECS describes it."""
    wanted = service.computed(task_set)
    running = task_set.runner.running
    steady = running == wanted and not task_set.draining
    return task_set.record | {
        "status": "DRAINING" if task_set.draining else task_set.status,
        "startedBy": "CODE_DEPLOY" if task_set.record.get("externalId") else "ecs",
        "computedDesiredCount": wanted,
        "pendingCount": max(0, wanted - running),
        "runningCount": running,
        "scale": {"value": task_set.percent, "unit": "PERCENT"},
        "stabilityStatus": "STEADY_STATE" if steady else "STABILIZING",
    }


def describe_service(service: Service, moto: dict[str, Any]) -> dict[str, Any]:
    """A Service as ECS describes it: moto's record with the counts of what really runs."""
    wanted = sum(service.computed(one) for one in service.task_sets)
    running = sum(one.runner.running for one in service.task_sets)
    return moto | {
        "desiredCount": service.desired,
        "runningCount": running,
        "pendingCount": max(0, wanted - running),
        "taskSets": [describe_task_set(service, one) for one in service.task_sets],
        "deployments": [],
    }
