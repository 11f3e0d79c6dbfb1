"""The ECS operations around services under CODE_DEPLOY: moto keeps records, we run what they describe."""

from __future__ import annotations

import asyncio
from typing import Any

from ..addresses import Addresses
from ..dispatch import Call, Dispatch
from ..elb.api import Elb
from ..errors import AwsError, not_emulated
from ..processes import Processes
from ..settings import Settings
from .state import Service, TaskSet, describe_service, describe_task, describe_task_set
from .tasks import PRINCIPAL, TaskSetRunner

CODEDEPLOY = "codedeploy.amazonaws.com"
MAX_DESIRED = 20  # per service: they are processes on one machine


class Ecs:
    """Services, task sets and tasks of every region."""

    def __init__(
        self, settings: Settings, dispatch: Dispatch, processes: Processes, addresses: Addresses, elb: Elb
    ) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._processes = processes
        self._addresses = addresses
        self._elb = elb
        self.services: dict[tuple[str, str, str], Service] = {}
        self._background: set[asyncio.Task[None]] = set()
        dispatch.register("ecs", self)

    async def close(self) -> None:
        """Stops scheduling; the processes themselves are killed by their owner."""
        for job in self._background:
            job.cancel()
        for service in self.services.values():
            for task_set in service.task_sets:
                task_set.runner.scale(0)

    # === services ===

    async def CreateService(self, call: Call) -> dict[str, Any]:
        params = call.params
        controller = (params.get("deploymentController") or {}).get("type", "ECS")
        if controller != "CODE_DEPLOY":
            raise not_emulated(f"services under the {controller} controller: only CODE_DEPLOY")
        desired = params.get("desiredCount", 0)
        if not 0 <= desired <= MAX_DESIRED:
            raise _invalid(f"desiredCount must be between 0 and {MAX_DESIRED} here")
        if not params.get("taskDefinition"):
            raise _invalid("TaskDefinition cannot be blank.")
        definition = await self._definition(call, params["taskDefinition"])
        network = params.get("networkConfiguration") or {}
        balancers = params.get("loadBalancers") or []
        self._check(definition, network, balancers)
        for one in balancers:
            if not self._elb.group(one["targetGroupArn"]).in_use:
                raise _invalid(
                    f"The target group with targetGroupArn {one['targetGroupArn']} "
                    "does not have an associated load balancer."
                )
        # moto wants the list of groups, AWS falls back to the VPC's default group
        network["awsvpcConfiguration"].setdefault("securityGroups", [])
        cluster = _last(params.get("cluster") or "default")
        if (call.region, cluster, params["serviceName"]) in self.services:
            raise _invalid("Creation of service was not idempotent.")
        result = await self._dispatch.moto(call, params | {"networkConfiguration": network})
        record = result["service"]
        service = Service(
            call.region, cluster, params["serviceName"], record["serviceArn"], desired, network,
            params.get("launchType", "FARGATE"),
        )  # fmt: skip
        self.services[call.region, cluster, service.name] = service
        initial = await self._add(service, {
            "taskDefinition": definition["taskDefinitionArn"],
            "loadBalancers": balancers,
            "networkConfiguration": network,
        }, definition)  # fmt: skip
        await self._make_primary(service, initial)
        return {"service": describe_service(service, record)}

    async def UpdateService(self, call: Call) -> dict[str, Any]:
        service = self._service(call)
        if "taskDefinition" in call.params or "networkConfiguration" in call.params:
            raise _invalid(
                "Unable to update task definition on services with a CODE_DEPLOY deployment controller. "
                "Use AWS CodeDeploy to trigger a new deployment."
            )
        desired = call.params.get("desiredCount", service.desired)
        if not 0 <= desired <= MAX_DESIRED:
            raise _invalid(f"desiredCount must be between 0 and {MAX_DESIRED} here")
        result = await self._dispatch.moto(call)
        service.desired = desired
        for task_set in service.task_sets:
            task_set.runner.scale(service.computed(task_set))
        return {"service": describe_service(service, result["service"])}

    async def DescribeServices(self, call: Call) -> dict[str, Any]:
        result = await self._dispatch.moto(call)
        cluster = _last(call.params.get("cluster") or "default")
        for index, record in enumerate(result.get("services", [])):
            service = self.services.get((call.region, cluster, record["serviceName"]))
            if service:
                result["services"][index] = describe_service(service, record)
        return result

    async def DeleteService(self, call: Call) -> dict[str, Any]:
        service = self._service(call)
        if service.desired and not call.params.get("force"):
            raise _invalid("The service cannot be stopped while it is scaled above 0.")
        result = await self._dispatch.moto(call, call.params | {"force": True})
        del self.services[call.region, service.cluster, service.name]
        for task_set in list(service.task_sets):
            self._retire(service, task_set)
        return result

    # === task sets ===

    async def CreateTaskSet(self, call: Call) -> dict[str, Any]:
        if call.access_key != CODEDEPLOY:
            # "used when a service uses the EXTERNAL deployment controller type" (ECS API, CreateTaskSet)
            raise _invalid("CreateTaskSet is not supported on services with a CODE_DEPLOY deployment controller.")
        service = self._service(call)
        definition = await self._definition(call, call.params["taskDefinition"])
        balancers = call.params.get("loadBalancers") or []
        self._check(definition, call.params.get("networkConfiguration") or service.network, balancers)
        task_set = await self._add(service, {k: v for k, v in call.params.items() if k != "scale"}, definition)
        return {"taskSet": describe_task_set(service, task_set)}

    async def DescribeTaskSets(self, call: Call) -> dict[str, Any]:
        service = self._service(call)
        wanted = call.params.get("taskSets")
        found = [one for one in service.task_sets if not wanted or one.arn in wanted or one.record["id"] in wanted]
        return {"taskSets": [describe_task_set(service, one) for one in found], "failures": []}

    async def UpdateServicePrimaryTaskSet(self, call: Call) -> dict[str, Any]:
        service = self._service(call)
        task_set = self._task_set(service, call.params["primaryTaskSet"])
        await self._make_primary(service, task_set)
        return {"taskSet": describe_task_set(service, task_set)}

    async def DeleteTaskSet(self, call: Call) -> dict[str, Any]:
        service = self._service(call)
        task_set = self._task_set(service, call.params["taskSet"])
        if task_set.status == "PRIMARY" and not call.params.get("force"):
            raise _invalid("The primary task set cannot be deleted while it is scaled above 0.")
        await self._dispatch.moto(call)
        self._retire(service, task_set)
        return {"taskSet": describe_task_set(service, task_set)}

    async def UpdateTaskSet(self, call: Call) -> dict[str, Any]:
        raise not_emulated("UpdateTaskSet")

    # === tasks ===

    async def ListTasks(self, call: Call) -> dict[str, Any]:
        params = call.params
        cluster = _last(params.get("cluster") or "default")
        wanted = params.get("desiredStatus", "RUNNING")
        arns = []
        for service, task_set in self._all(call.region, cluster):
            if "serviceName" in params and _last(params["serviceName"]) != service.name:
                continue
            if "startedBy" in params and params["startedBy"] != task_set.record["id"]:
                continue
            if "family" in params and f"/{params['family']}:" not in task_set.record["taskDefinition"]:
                continue
            runner = task_set.runner
            arns += [t.arn for t in (runner.stopped if wanted == "STOPPED" else runner.tasks.values())]
        return {"taskArns": arns[: params.get("maxResults", 100)]}

    async def DescribeTasks(self, call: Call) -> dict[str, Any]:
        cluster = _last(call.params.get("cluster") or "default")
        if len(call.params["tasks"]) > 100:
            raise _invalid("Tasks can have at most 100 items.")
        known = {}
        for service, task_set in self._all(call.region, cluster):
            for task in (*task_set.runner.stopped, *task_set.runner.tasks.values()):
                known[task.id] = describe_task(service, task_set, task)
        asked = {one: _last(one) for one in call.params["tasks"]}
        return {
            "tasks": [known[short] for short in asked.values() if short in known],
            "failures": [{"arn": one, "reason": "MISSING"} for one, short in asked.items() if short not in known],
        }

    async def StopTask(self, call: Call) -> dict[str, Any]:
        cluster = _last(call.params.get("cluster") or "default")
        for service, task_set in self._all(call.region, cluster):
            task = task_set.runner.tasks.get(_last(call.params["task"]))
            if task:
                task.stop_code, task.stopped_reason = "UserInitiated", call.params.get("reason", "Task stopped by user")
                for child in task.containers.values():
                    child.kill()
                return {"task": describe_task(service, task_set, task)}
        raise _invalid("The referenced task was not found.")

    async def RunTask(self, call: Call) -> dict[str, Any]:
        raise not_emulated("RunTask: tasks run in services only")

    # === inside ===

    def _all(self, region: str, cluster: str) -> list[tuple[Service, TaskSet]]:
        return [
            (service, task_set)
            for (where, of, _), service in self.services.items()
            if where == region and of == cluster
            for task_set in service.task_sets
        ]

    def _service(self, call: Call) -> Service:
        key = (call.region, _last(call.params.get("cluster") or "default"), _last(call.params["service"]))
        if key not in self.services:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        return self.services[key]

    @staticmethod
    def _task_set(service: Service, wanted: str) -> TaskSet:
        for one in service.task_sets:
            if wanted in (one.arn, one.record["id"]) and not one.draining:
                return one
        raise AwsError("TaskSetNotFoundException", "The specified task set could not be found.")

    async def _definition(self, call: Call, name: str) -> dict[str, Any]:
        try:
            found = await self._dispatch.ask(
                "ecs", "DescribeTaskDefinition", {"taskDefinition": name}, call.region, PRINCIPAL
            )
        except AwsError:
            raise _invalid("The specified task definition does not exist.") from None
        definition = found["taskDefinition"]
        if definition.get("status", "ACTIVE") != "ACTIVE":
            raise _invalid("TaskDefinition is inactive")
        return definition

    def _check(self, definition: dict[str, Any], network: dict[str, Any], balancers: list[dict[str, Any]]) -> None:
        if definition.get("networkMode") != "awsvpc":
            raise not_emulated("task definitions whose networkMode is not awsvpc")
        if not (network.get("awsvpcConfiguration") or {}).get("subnets"):
            raise _invalid("Network Configuration must be provided when networkMode 'awsvpc' is specified.")
        if not balancers:
            raise _invalid("Services with the CODE_DEPLOY controller need a load balancer.")
        containers = {one["name"]: one for one in definition["containerDefinitions"]}
        for container in containers.values():
            if container.get("secrets") or container.get("environmentFiles"):
                raise not_emulated("containers with secrets or environmentFiles")
        for one in balancers:
            name, port = one.get("containerName"), one.get("containerPort")
            if name not in containers:
                raise _invalid(f"The container {name} does not exist in the task definition.")
            if port not in [mapping.get("containerPort") for mapping in containers[name].get("portMappings", [])]:
                raise _invalid(f"The container {name} did not have a container port {port} defined.")
            self._elb.group(one.get("targetGroupArn", ""))

    async def _add(self, service: Service, params: dict[str, Any], definition: dict[str, Any]) -> TaskSet:
        asked = {
            "launchType": service.launch_type,
            "networkConfiguration": service.network,
            **params,
            "cluster": service.cluster,
            "service": service.name,
        }
        asked["networkConfiguration"]["awsvpcConfiguration"].setdefault("securityGroups", [])
        # The scale is ours: given one, moto would make up tasks of its own.
        call = Call("ecs", "CreateTaskSet", asked, service.region, PRINCIPAL)
        record = (await self._dispatch.moto(call))["taskSet"]
        runner = TaskSetRunner(
            self._settings, self._dispatch, self._processes, self._addresses,
            service.region, service.cluster, definition, record["loadBalancers"],
        )  # fmt: skip
        task_set = TaskSet(record, runner, 100.0)
        service.task_sets.append(task_set)
        runner.scale(service.computed(task_set))
        return task_set

    async def _make_primary(self, service: Service, task_set: TaskSet) -> None:
        params = {"cluster": service.cluster, "service": service.name, "primaryTaskSet": task_set.arn}
        await self._dispatch.moto(Call("ecs", "UpdateServicePrimaryTaskSet", params, service.region, PRINCIPAL))
        for one in service.task_sets:
            one.status = "PRIMARY" if one is task_set else "ACTIVE"

    def _retire(self, service: Service, task_set: TaskSet) -> None:
        task_set.draining = True
        job = asyncio.create_task(self._drained(service, task_set))
        self._background.add(job)
        job.add_done_callback(self._background.discard)

    async def _drained(self, service: Service, task_set: TaskSet) -> None:
        seconds = 0.0
        for arn in task_set.target_groups:
            group = self._elb.groups.get(arn)
            if group and group.in_use:
                seconds = max(seconds, self._elb.drain_seconds(group))
        await task_set.runner.drain(seconds)
        if task_set in service.task_sets:
            service.task_sets.remove(task_set)


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterException", message)
