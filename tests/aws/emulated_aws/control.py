"""The control API under /_emulated/: not AWS, but what a test needs to see and to break."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from aiohttp import web

from .codedeploy import views
from .codedeploy.deployments import Deployments
from .ecs.api import Ecs
from .ecs.native import views as native_views
from .errors import AwsError
from .faults import Faults
from .functions.api import Lambda
from .journal import Journal


class Control:
    """Handlers; JSON in and out."""

    def __init__(self, faults: Faults, journal: Journal, deployments: Deployments, ecs: Ecs, functions: Lambda) -> None:
        self._faults = faults
        self._journal = journal
        self._deployments = deployments
        self._ecs = ecs
        self._functions = functions
        self._started = time.time()

    def routes(self) -> list[web.RouteDef]:
        """To be added before the catch-all of the AWS front."""
        return [
            web.get("/_emulated/health", self._health),
            web.get("/_emulated/faults", self._list_faults),
            web.post("/_emulated/faults", self._add_fault),
            web.delete("/_emulated/faults", self._remove_faults),
            web.delete("/_emulated/faults/{id}", self._remove_faults),
            web.get("/_emulated/requests", self._requests),
            web.get("/_emulated/deployments", self._list_deployments),
            web.get("/_emulated/deployments/{id}", self._deployment),
            web.get("/_emulated/service-deployments", self._list_service_deployments),
            web.get("/_emulated/service-deployments/{id}", self._service_deployment),
            web.get("/_emulated/functions", self._list_functions),
            web.get("/_emulated/tasks", self._tasks),
            web.post("/_emulated/tasks/{ip}/kill", self._kill_task),
            web.post("/_emulated/hooks/{id}/redeliver", self._redeliver),
            web.route("*", "/_emulated/{rest:.*}", self._unknown),
        ]

    async def _health(self, request: web.Request) -> web.Response:
        return web.json_response({"status": "ok", "uptime_seconds": round(time.time() - self._started, 3)})

    async def _unknown(self, request: web.Request) -> web.Response:
        return _problem(404, f"no {request.method} {request.path} in the control API")

    # === faults ===

    async def _list_faults(self, request: web.Request) -> web.Response:
        return web.json_response({"faults": [dataclasses.asdict(fault) for fault in self._faults.rules.values()]})

    async def _add_fault(self, request: web.Request) -> web.Response:
        try:
            fault = self._faults.add(json.loads(await request.read()))
        except ValueError as error:
            return _problem(400, str(error))
        return web.json_response({"id": fault.id})

    async def _remove_faults(self, request: web.Request) -> web.Response:
        wanted = request.match_info.get("id")
        removed = self._faults.remove(wanted)
        if wanted and not removed:
            return _problem(404, f"no fault {wanted}")
        return web.json_response({"removed": removed})

    # === looking ===

    async def _requests(self, request: web.Request) -> web.Response:
        wanted = {key: request.query.get(key) for key in ("service", "operation", "access_key")}
        unknown = set(request.query) - set(wanted)
        if unknown:
            return _problem(400, f"unknown parameter {unknown.pop()}")
        return web.json_response({"requests": self._journal.find(**wanted), "lost": self._journal.lost})

    async def _list_deployments(self, request: web.Request) -> web.Response:
        application = request.query.get("application")
        found = [
            views.machine(one) for one in self._deployments.all.values() if application in (None, one.group.application)
        ]
        return web.json_response({"deployments": found})

    async def _deployment(self, request: web.Request) -> web.Response:
        try:
            return web.json_response(views.machine(self._deployments.by_id(request.match_info["id"])))
        except AwsError as error:
            return _problem(404, str(error))

    async def _list_service_deployments(self, request: web.Request) -> web.Response:
        service = request.query.get("service")
        known = self._ecs.native.deployments.values()
        found = [native_views.control(one) for one in known if service in (None, one.service.name)]
        return web.json_response({"service_deployments": found})

    async def _service_deployment(self, request: web.Request) -> web.Response:
        for arn, one in self._ecs.native.deployments.items():
            if arn.rpartition("/")[2] == request.match_info["id"]:
                return web.json_response(native_views.control(one))
        return _problem(404, f"no service deployment {request.match_info['id']}")

    async def _list_functions(self, request: web.Request) -> web.Response:
        return web.json_response({"functions": self._functions.overview()})

    async def _tasks(self, request: web.Request) -> web.Response:
        found = [
            {
                "service": task.owner.service, "task_set": task.owner.started_by, "ip": task.address, "arn": task.arn,
                "status": task.status,
                "pids": [one.child.pid for one in task.containers.values() if one.child],
            }
            for task in self._ecs.book.alive()
        ]  # fmt: skip
        return web.json_response({"tasks": found})

    # === breaking ===

    async def _kill_task(self, request: web.Request) -> web.Response:
        wanted = request.match_info["ip"]
        for task in self._ecs.book.alive():
            if task.address == wanted and any(one.child for one in task.containers.values()):
                task.kill()
                return web.json_response({"killed": task.arn})
        return _problem(404, f"no task runs at {wanted}")

    async def _redeliver(self, request: web.Request) -> web.Response:
        try:
            deployment = self._deployments.by_id(request.match_info["id"])
            run = await self._deployments.redeliver(deployment)
        except AwsError as error:
            return _problem(404 if error.status == 400 else error.status, str(error))
        return web.json_response({"hook": run.hook, "execution_id": run.execution_id, "deliveries": run.deliveries})


@web.middleware
async def no_browsers(request: web.Request, handler: Any) -> web.StreamResponse:
    """A web page on this machine could reach the control API, which asks for no signature: it sends an Origin."""
    if request.path.startswith("/_emulated/") and "Origin" in request.headers:
        return _problem(403, "the control API is not for browsers")
    return await handler(request)


def _problem(status: int, message: str) -> web.Response:
    return web.json_response({"error": message}, status=status)
