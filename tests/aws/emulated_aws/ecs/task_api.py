"""The ECS operations on tasks of services, whoever deploys them: listing, describing, stopping, protecting."""

from __future__ import annotations

import time
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from ..settings import Settings
from .runner import PRINCIPAL
from .task import Task, TaskBook, describe_task, moment

_MAX_DESCRIBED = 100
_MAX_PROTECTED = 10
_PROTECTED_MINUTES = 120
_LONGEST_MINUTES = 2880


class TaskApi:
    """Reads the book; tells tasks to end."""

    def __init__(self, settings: Settings, dispatch: Dispatch, book: TaskBook) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._book = book
        dispatch.register("ecs", self)

    async def ListTasks(self, call: Call) -> dict[str, Any]:
        params = call.params
        filters = set(params) - {"cluster", "maxResults", "nextToken"}
        for unknown in filters - {"serviceName", "startedBy", "family", "desiredStatus", "launchType"}:
            raise not_emulated(f"ListTasks by {unknown}")
        if "startedBy" in filters and len(filters) > 1:
            # "When you specify startedBy as the filter, it must be the only filter that you use." (ListTasks)
            raise _invalid("startedBy cannot be combined with other filters.")
        cluster = await self._cluster(call)
        if "serviceName" in params:
            await self._service(call, cluster, params["serviceName"])
        found = [task.arn for task in self._book.of(call.region, cluster) if _listed(task, params)]
        start, size = params.get("nextToken", "0"), params.get("maxResults", 100)
        if not start.isdigit() or not 1 <= size <= 100:
            raise _invalid("nextToken or maxResults is invalid.")
        end = int(start) + size
        return {"taskArns": found[int(start) : end]} | ({"nextToken": str(end)} if end < len(found) else {})

    async def DescribeTasks(self, call: Call) -> dict[str, Any]:
        if not 1 <= len(call.params["tasks"]) <= _MAX_DESCRIBED:
            raise _invalid(f"Tasks must have 1 to {_MAX_DESCRIBED} items.")
        known, failures = self._find(call, await self._cluster(call))
        return {"tasks": [describe_task(task) for task in known], "failures": failures}

    async def StopTask(self, call: Call) -> dict[str, Any]:
        cluster = await self._cluster(call)
        wanted = last(call.params["task"])
        for task in self._book.of(call.region, cluster):
            if task.id == wanted:
                task.stop("UserInitiated", call.params.get("reason", "Task stopped by user"))
                task.kill()
                return {"task": describe_task(task)}
        raise _invalid("The referenced task was not found.")

    async def RunTask(self, call: Call) -> dict[str, Any]:
        raise not_emulated("RunTask: tasks run in services only")

    async def StartTask(self, call: Call) -> dict[str, Any]:
        raise not_emulated("StartTask: tasks run in services only")

    # === protection ===

    async def UpdateTaskProtection(self, call: Call) -> dict[str, Any]:
        params = call.params
        minutes = params.get("expiresInMinutes", _PROTECTED_MINUTES)
        if not 1 <= minutes <= _LONGEST_MINUTES:
            raise _invalid(f"expiresInMinutes must be between 1 and {_LONGEST_MINUTES}.")
        if not 1 <= len(params["tasks"]) <= _MAX_PROTECTED:
            raise _invalid(f"Tasks must have 1 to {_MAX_PROTECTED} items.")
        known, failures = self._find(call, await self._cluster(call))
        protected = []
        for task in known:
            if task.desired == "STOPPED":
                failures.append({"arn": task.arn, "reason": "TASK_NOT_VALID"})
                continue
            until = time.time() + self._settings.scaled(minutes * 60)
            task.protected_until = until if params["protectionEnabled"] else 0.0
            protected.append(_protection(task))
        return {"protectedTasks": protected, "failures": failures}

    async def GetTaskProtection(self, call: Call) -> dict[str, Any]:
        cluster = await self._cluster(call)
        if "tasks" in call.params:
            known, failures = self._find(call, cluster)
        else:
            known, failures = [one for one in self._book.of(call.region, cluster) if one.desired == "RUNNING"], []
        return {"protectedTasks": [_protection(task) for task in known], "failures": failures}

    # === inside ===

    def _find(self, call: Call, cluster: str) -> tuple[list[Task], list[dict[str, Any]]]:
        known = {task.id: task for task in self._book.of(call.region, cluster)}
        asked = {one: last(one) for one in call.params["tasks"]}
        return (
            [known[short] for short in asked.values() if short in known],
            [{"arn": one, "reason": "MISSING"} for one, short in asked.items() if short not in known],
        )

    async def _cluster(self, call: Call) -> str:
        return await existing_cluster(self._dispatch, call)

    async def _service(self, call: Call, cluster: str, name: str) -> None:
        params = {"cluster": cluster, "services": [name]}
        found = await self._dispatch.ask("ecs", "DescribeServices", params, call.region, PRINCIPAL, quiet=True)
        if not found.get("services"):
            raise AwsError("ServiceNotFoundException", "Service not found.")


async def existing_cluster(dispatch: Dispatch, call: Call) -> str:
    """The name of the cluster a call is about, or AWS's error."""
    name = last(call.params.get("cluster") or "default")
    asked = {"clusters": [name]}
    found = await dispatch.ask("ecs", "DescribeClusters", asked, call.region, PRINCIPAL, quiet=True)
    if not found.get("clusters"):
        raise AwsError("ClusterNotFoundException", "Cluster not found.")
    return name


def last(name: str) -> str:
    """A name out of an ARN, or the name itself."""
    return name.rpartition("/")[2]


def _listed(task: Task, params: dict[str, Any]) -> bool:
    owner = task.owner
    return (
        task.desired == params.get("desiredStatus", "RUNNING")
        and last(params.get("serviceName", owner.service)) == owner.service
        and params.get("startedBy", owner.started_by) == owner.started_by
        and params.get("family", owner.definition["family"]) == owner.definition["family"]
        and params.get("launchType", owner.launch_type) == owner.launch_type
    )


def _protection(task: Task) -> dict[str, Any]:
    shown: dict[str, Any] = {"taskArn": task.arn, "protectionEnabled": task.protected}
    if task.protected:
        shown["expirationDate"] = moment(task.protected_until)
    return shown


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)
