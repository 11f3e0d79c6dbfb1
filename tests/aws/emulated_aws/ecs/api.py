"""The ECS operations on services and task sets: moto keeps records, we run what they describe."""

from __future__ import annotations

import asyncio
from typing import Any

from ..addresses import Addresses
from ..dispatch import Call, Dispatch
from ..elb.api import Elb
from ..errors import AwsError, not_emulated
from ..processes import Processes
from ..settings import Settings
from . import checks
from .agent import Agent
from .native.api import ServiceDeployments
from .native.model import NativeService
from .native.services import NativeServices
from .runner import PRINCIPAL, Host, Runner
from .state import Service, TaskSet, describe_service, describe_task_set
from .task import Owner, TaskBook
from .task_api import TaskApi, last

CODEDEPLOY = "codedeploy.amazonaws.com"


class Ecs:
    """Services, task sets and tasks of every region."""

    def __init__(
        self, settings: Settings, dispatch: Dispatch, processes: Processes, addresses: Addresses, elb: Elb
    ) -> None:
        self._dispatch = dispatch
        self._elb = elb
        self.book = TaskBook()
        self._host = Host(settings, dispatch, processes, addresses, self.book, elb.targets.instances)
        self.services: dict[tuple[str, str, str], Service | NativeService] = {}
        self._background: set[asyncio.Task[None]] = set()
        self._agent = Agent(dispatch, self.book)
        self.native = NativeServices(self._host, elb)
        dispatch.register("ecs", self)
        TaskApi(settings, dispatch, self.book)
        ServiceDeployments(dispatch, self.native)

    async def start(self) -> None:
        """Opens the endpoints tasks ask about themselves."""
        self._host.agent_url = await self._agent.open()

    @property
    def agent_url(self) -> str:
        """Where the endpoints are that tasks ask about themselves."""
        return self._host.agent_url

    async def close(self) -> None:
        """Stops scheduling; the processes themselves are killed by their owner."""
        for job in self._background:
            job.cancel()
        self.native.close()
        for service in self.services.values():
            for runner in service.runners:
                runner.scale(0, force=True)
        await self._agent.close()

    # === services ===

    async def CreateService(self, call: Call) -> dict[str, Any]:
        params = call.params
        controller = (params.get("deploymentController") or {}).get("type", "ECS")
        if controller == "ECS":
            return await self._create_native(call)
        if controller != "CODE_DEPLOY":
            raise not_emulated(f"services under the {controller} controller: only CODE_DEPLOY and ECS")
        desired = checks.desired_count(params.get("desiredCount", 0))
        definition = await checks.task_definition(self._dispatch, call, params.get("taskDefinition"))
        network = params.get("networkConfiguration") or {}
        balancers = params.get("loadBalancers") or []
        launch_type = params.get("launchType", "FARGATE")
        self._check(definition, network, balancers, launch_type)
        checks.balanced(self._elb, balancers)
        _complete(network)
        cluster = last(params.get("cluster") or "default")
        self._new(call, cluster)
        # moto takes none, or a whole one
        result = await self._dispatch.moto(call, params | ({"networkConfiguration": network} if network else {}))
        record = result["service"]
        service = Service(
            call.region, cluster, params["serviceName"], record["serviceArn"], desired, network,
            launch_type,
        )  # fmt: skip
        self.services[call.region, cluster, service.name] = service
        initial = await self._add(service, {
            "taskDefinition": definition["taskDefinitionArn"],
            "loadBalancers": balancers,
            "networkConfiguration": network,
        }, definition)  # fmt: skip
        await self._make_primary(service, initial)
        return {"service": describe_service(service, record)}

    async def _create_native(self, call: Call) -> dict[str, Any]:
        cluster = last(call.params.get("cluster") or "default")
        self._new(call, cluster)
        service = await self.native.create(call, cluster)
        self.services[call.region, cluster, service.name] = service
        return {"service": self.native.begin(service)}

    def _new(self, call: Call, cluster: str) -> None:
        if (call.region, cluster, call.params["serviceName"]) in self.services:
            raise checks.invalid("Creation of service was not idempotent.")

    async def UpdateService(self, call: Call) -> dict[str, Any]:
        service = self._service(call)
        if isinstance(service, NativeService):
            return {"service": await self.native.update(call, service)}
        if {"taskDefinition", "networkConfiguration", "forceNewDeployment"} & set(call.params):
            raise checks.invalid(
                "Unable to update task definition on services with a CODE_DEPLOY deployment controller. "
                "Use AWS CodeDeploy to trigger a new deployment."
            )
        desired = checks.desired_count(call.params.get("desiredCount", service.desired))
        result = await self._dispatch.moto(call)
        service.desired = desired
        for task_set in service.task_sets:
            task_set.runner.scale(service.computed(task_set))
        return {"service": describe_service(service, result["service"])}

    async def DescribeServices(self, call: Call) -> dict[str, Any]:
        result = await self._dispatch.moto(call)
        cluster = last(call.params.get("cluster") or "default")
        for index, record in enumerate(result.get("services", [])):
            service = self.services.get((call.region, cluster, record["serviceName"]))
            if isinstance(service, NativeService):
                result["services"][index] = self.native.describe(service)
            elif service:
                result["services"][index] = describe_service(service, record)
        return result

    async def DeleteService(self, call: Call) -> dict[str, Any]:
        service = self._service(call)
        if service.desired and not call.params.get("force"):
            raise checks.invalid("The service cannot be stopped while it is scaled above 0.")
        result = await self._dispatch.moto(call, call.params | {"force": True})
        del self.services[call.region, service.cluster, service.name]
        if isinstance(service, NativeService):
            return {"service": self.native.delete(service)}
        for task_set in list(service.task_sets):
            self._retire(service, task_set, force=True)
        return result

    # === task sets ===

    async def CreateTaskSet(self, call: Call) -> dict[str, Any]:
        if call.access_key != CODEDEPLOY:
            # "used when a service uses the EXTERNAL deployment controller type" (ECS API, CreateTaskSet)
            raise checks.invalid("CreateTaskSet is not supported on services with a CODE_DEPLOY deployment controller.")
        service = self._with_task_sets(call)
        definition = await checks.task_definition(self._dispatch, call, call.params["taskDefinition"])
        balancers = call.params.get("loadBalancers") or []
        network = call.params.get("networkConfiguration") or service.network
        self._check(definition, network, balancers, call.params.get("launchType", service.launch_type))
        task_set = await self._add(service, {k: v for k, v in call.params.items() if k != "scale"}, definition)
        return {"taskSet": describe_task_set(service, task_set)}

    async def DescribeTaskSets(self, call: Call) -> dict[str, Any]:
        service = self._with_task_sets(call)
        wanted = call.params.get("taskSets")
        found = [one for one in service.task_sets if not wanted or one.arn in wanted or one.record["id"] in wanted]
        return {"taskSets": [describe_task_set(service, one) for one in found], "failures": []}

    async def UpdateServicePrimaryTaskSet(self, call: Call) -> dict[str, Any]:
        service = self._with_task_sets(call)
        task_set = self._task_set(service, call.params["primaryTaskSet"])
        await self._make_primary(service, task_set)
        return {"taskSet": describe_task_set(service, task_set)}

    async def DeleteTaskSet(self, call: Call) -> dict[str, Any]:
        service = self._with_task_sets(call)
        task_set = self._task_set(service, call.params["taskSet"])
        if task_set.status == "PRIMARY" and not call.params.get("force"):
            raise checks.invalid("The primary task set cannot be deleted while it is scaled above 0.")
        await self._dispatch.moto(call)
        self._retire(service, task_set)
        return {"taskSet": describe_task_set(service, task_set)}

    async def UpdateTaskSet(self, call: Call) -> dict[str, Any]:
        raise not_emulated("UpdateTaskSet")

    # === inside ===

    def _service(self, call: Call) -> Service | NativeService:
        key = (call.region, last(call.params.get("cluster") or "default"), last(call.params["service"]))
        if key not in self.services:
            raise AwsError("ServiceNotFoundException", "Service not found.")
        return self.services[key]

    def _with_task_sets(self, call: Call) -> Service:
        service = self._service(call)
        if isinstance(service, NativeService):
            raise checks.invalid("Task sets are not supported on services with an ECS deployment controller.")
        return service

    def _check(
        self, definition: dict[str, Any], network: dict[str, Any], balancers: list[dict[str, Any]], launch_type: str
    ) -> None:
        if not balancers:
            raise checks.invalid("Services with the CODE_DEPLOY controller need a load balancer.")
        checks.runnable(self._elb, definition, network, balancers, launch_type)

    @staticmethod
    def _task_set(service: Service, wanted: str) -> TaskSet:
        for one in service.task_sets:
            if wanted in (one.arn, one.record["id"]) and not one.draining:
                return one
        raise AwsError("TaskSetNotFoundException", "The specified task set could not be found.")

    async def _add(self, service: Service, params: dict[str, Any], definition: dict[str, Any]) -> TaskSet:
        asked = {
            "launchType": service.launch_type,
            "networkConfiguration": service.network,
            **params,
            "cluster": service.cluster,
            "service": service.name,
        }
        _complete(asked["networkConfiguration"])
        if not asked["networkConfiguration"]:
            del asked["networkConfiguration"]
        # The scale is ours: given one, moto would make up tasks of its own.
        call = Call("ecs", "CreateTaskSet", asked, service.region, PRINCIPAL)
        record = (await self._dispatch.moto(call))["taskSet"]
        owner = Owner(
            service.region, service.cluster, service.name, record["id"], definition, record["loadBalancers"],
            asked["launchType"],
        )  # fmt: skip
        runner = Runner(self._host, owner)
        task_set = TaskSet(record, runner, 100.0)
        service.task_sets.append(task_set)
        runner.scale(service.computed(task_set))
        return task_set

    async def _make_primary(self, service: Service, task_set: TaskSet) -> None:
        params = {"cluster": service.cluster, "service": service.name, "primaryTaskSet": task_set.arn}
        await self._dispatch.moto(Call("ecs", "UpdateServicePrimaryTaskSet", params, service.region, PRINCIPAL))
        for one in service.task_sets:
            one.status = "PRIMARY" if one is task_set else "ACTIVE"

    def _retire(self, service: Service, task_set: TaskSet, force: bool = False) -> None:
        task_set.draining = True
        job = asyncio.create_task(self._drained(service, task_set, force))
        self._background.add(job)
        job.add_done_callback(self._background.discard)

    async def _drained(self, service: Service, task_set: TaskSet, force: bool) -> None:
        seconds = 0.0
        for arn in task_set.target_groups:
            group = self._elb.groups.get(arn)
            if group and group.in_use:
                seconds = max(seconds, self._elb.drain_seconds(group))
        await task_set.runner.drain(seconds, force)
        if task_set in service.task_sets:
            service.task_sets.remove(task_set)


def _complete(network: dict[str, Any]) -> None:
    """Moto wants the list of groups, AWS falls back to the VPC's default group."""
    if network:
        network["awsvpcConfiguration"].setdefault("securityGroups", [])
