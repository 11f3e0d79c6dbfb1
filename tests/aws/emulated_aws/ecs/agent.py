"""What a task asks about itself: the metadata endpoint version 4, and the agent's endpoint for its protection."""

from __future__ import annotations

import datetime
import json
from typing import Any

from aiohttp import web

from ..dispatch import Dispatch
from ..errors import AwsError
from .runner import PRINCIPAL
from .task import Container, Task, TaskBook, digest

_MEMORY = 512 * 1024 * 1024


class Agent:
    """A server of its own on loopback, as the agent's link-local address is no AWS endpoint either."""

    def __init__(self, dispatch: Dispatch, book: TaskBook) -> None:
        self._dispatch = dispatch
        self._book = book
        application = web.Application()
        application.add_routes([
            web.get("/v4/{id}", self._container),
            web.get("/v4/{id}/task", self._task),
            web.get("/v4/{id}/stats", self._stats),
            web.get("/v4/{id}/task/stats", self._task_stats),
            web.get("/api/{id}/task-protection/v1/state", self._protection),
            web.put("/api/{id}/task-protection/v1/state", self._protect),
        ])  # fmt: skip
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)

    async def open(self) -> str:
        """The address, without a slash at its end."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def close(self) -> None:
        """Stops answering."""
        await self._runner.cleanup()

    def _find(self, request: web.Request) -> tuple[Task, Container]:
        found = self._book.by_container(request.match_info["id"])
        if found is None:
            raise web.HTTPNotFound(text=json.dumps(f"V4 metadata handler: unable to find {request.match_info['id']}"))
        return found

    # === metadata ===

    async def _container(self, request: web.Request) -> web.Response:
        return web.json_response(_container(*self._find(request)))

    async def _task(self, request: web.Request) -> web.Response:
        task, _ = self._find(request)
        owner = task.owner
        shown = {
            "Cluster": owner.cluster_arn,
            "TaskARN": task.arn,
            "Family": owner.definition["family"],
            "Revision": str(owner.definition["revision"]),
            "ServiceName": owner.service,
            "DesiredStatus": task.desired,
            "KnownStatus": task.status,
            "Limits": {"CPU": int(owner.definition.get("cpu", 256)) / 1024, "Memory": 512},
            "AvailabilityZone": f"{owner.region}a",
            "LaunchType": owner.launch_type,
            "Containers": [_container(task, one) for one in task.containers.values()],
        }
        return web.json_response(shown)

    async def _stats(self, request: web.Request) -> web.Response:
        return web.json_response(_stats(self._find(request)[1]))

    async def _task_stats(self, request: web.Request) -> web.Response:
        task, _ = self._find(request)
        return web.json_response({one.id: _stats(one) for one in task.containers.values()})

    # === protection ===

    async def _protection(self, request: web.Request) -> web.Response:
        return await self._ask(self._find(request)[0], "GetTaskProtection", {})

    async def _protect(self, request: web.Request) -> web.Response:
        task, _ = self._find(request)
        try:
            asked = json.loads(await request.read())
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or set(asked) - {"ProtectionEnabled", "ExpiresInMinutes"}:
            return _refused(task, 400, "InvalidParameterException", "UpdateTaskProtection: failed to decode request")
        enabled, minutes = asked.get("ProtectionEnabled"), asked.get("ExpiresInMinutes")
        if not isinstance(enabled, bool):
            return _refused(task, 400, "InvalidParameterException", "'ProtectionEnabled' is required")
        if minutes is not None and (isinstance(minutes, bool) or not isinstance(minutes, int)):
            return _refused(task, 400, "InvalidParameterException", "'ExpiresInMinutes' is not a number")
        params: dict[str, Any] = {"protectionEnabled": enabled}
        if minutes is not None:
            params["expiresInMinutes"] = minutes
        return await self._ask(task, "UpdateTaskProtection", params)

    async def _ask(self, task: Task, operation: str, params: dict[str, Any]) -> web.Response:
        asked = {"cluster": task.owner.cluster, "tasks": [task.arn], **params}
        try:
            found = await self._dispatch.ask("ecs", operation, asked, task.owner.region, PRINCIPAL)
        except AwsError as error:
            return _refused(task, error.status, error.code, error.message)
        if found["failures"]:
            failure = found["failures"][0]
            return web.json_response({"failure": {"Arn": failure["arn"], "Reason": failure["reason"], "Detail": None}})
        (one,) = found["protectedTasks"]
        shown = {"ProtectionEnabled": one["protectionEnabled"], "TaskArn": one["taskArn"]}
        if "expirationDate" in one:
            shown["ExpirationDate"] = one["expirationDate"].strftime("%Y-%m-%dT%H:%M:%SZ")
        return web.json_response({"protection": shown})


def _refused(task: Task, status: int, code: str, message: str) -> web.Response:
    return web.json_response({"error": {"Arn": task.arn, "Code": code, "Message": message}}, status=status)


def _container(task: Task, one: Container) -> dict[str, Any]:
    family, revision = task.owner.definition["family"], str(task.owner.definition["revision"])
    shown = {
        "DockerId": one.id,
        "Name": one.name,
        "DockerName": one.name,
        "Image": one.definition["image"],
        "ImageID": digest(one.definition["image"]),
        "Labels": {
            "com.amazonaws.ecs.cluster": task.owner.cluster_arn,
            "com.amazonaws.ecs.container-name": one.name,
            "com.amazonaws.ecs.task-arn": task.arn,
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": revision,
        },
        "DesiredStatus": task.desired,
        "KnownStatus": one.status,
        "Limits": {"CPU": 2},
        "CreatedAt": _stamp(task.created_at),
        "Type": "NORMAL",
        "ContainerARN": f"{task.arn.replace(':task/', ':container/')}/{one.id}",
        "Networks": [{"NetworkMode": "bridge" if task.instance else "awsvpc", "IPv4Addresses": [task.address]}],
    }
    if task.started_at:
        shown["StartedAt"] = _stamp(task.started_at)
    if one.exit_code is not None:
        shown["ExitCode"] = one.exit_code
    if one.definition.get("healthCheck"):
        shown["Health"] = {"status": one.health_status}
    return shown


def _stats(one: Container) -> dict[str, Any]:
    """As little of Docker's statistics as a reader can do with; the numbers are not measured."""
    now = _stamp(datetime.datetime.now(datetime.UTC).timestamp())
    return {
        "read": now,
        "name": one.name,
        "id": one.id,
        "cpu_stats": {"cpu_usage": {"total_usage": 0}, "system_cpu_usage": 0, "online_cpus": 2},
        "memory_stats": {"usage": 0, "limit": _MEMORY},
        "networks": {"eth1": {"rx_bytes": 0, "tx_bytes": 0}},
    }


def _stamp(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return f"{moment.strftime('%Y-%m-%dT%H:%M:%S')}.{moment.microsecond * 1000:09}Z"
