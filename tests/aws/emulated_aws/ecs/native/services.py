"""Services under the ECS controller: created, updated, deleted; each change of the workload is a service deployment."""

from __future__ import annotations

import asyncio
import copy
from typing import Any

from ...dispatch import Call
from ...elb.api import Elb
from ...errors import not_emulated
from .. import checks
from ..runner import Host, Runner
from ..task import Owner
from . import views
from .balancing import Balancing
from .config import SHIFTING, complete
from .machine import Machine
from .model import Deployment, NativeService, Revision, Superseded, revision_number, token

_MAX_DEPLOYMENTS = 100  # remembered per service
_PLAIN = {
    "cluster", "serviceName", "service", "taskDefinition", "desiredCount", "launchType", "deploymentConfiguration",
    "networkConfiguration", "loadBalancers", "deploymentController", "forceNewDeployment", "clientToken",
    "platformVersion", "schedulingStrategy", "tags", "propagateTags", "enableECSManagedTags", "enableExecuteCommand",
    "healthCheckGracePeriodSeconds", "availabilityZoneRebalancing",
}  # fmt: skip
# Members whose change AWS deploys; everything else waits for the next deployment.
_WORKLOAD = ("taskDefinition", "networkConfiguration", "loadBalancers", "platformVersion")


class NativeServices:
    """Makes services and starts their deployments."""

    def __init__(self, host: Host, elb: Elb) -> None:
        self._host = host
        self._elb = elb
        self._balancing = Balancing(host, elb)
        self._machine = Machine(host, self._balancing)
        self._jobs: dict[asyncio.Task[None], NativeService] = {}
        self.deployments: dict[str, Deployment] = {}
        self.revisions: dict[str, tuple[NativeService, Revision]] = {}

    def close(self) -> None:
        """Ends every deployment where it is."""
        for job in self._jobs:
            job.cancel()

    # === operations ===

    async def create(self, call: Call, cluster: str) -> NativeService:
        """The service, with nothing deployed yet; raises for what AWS refuses."""
        params = call.params
        wanted = {k: copy.deepcopy(v) for k, v in params.items() if k in (*_WORKLOAD, "launchType")}
        wanted["deploymentConfiguration"] = complete(params.get("deploymentConfiguration", {}))
        desired = checks.desired_count(params.get("desiredCount", 0))
        definition = await self._check(call, wanted)
        wanted["taskDefinition"] = definition["taskDefinitionArn"]
        for_moto = {k: v for k, v in params.items() if k not in ("deploymentConfiguration", "loadBalancers")}
        # a controller moto makes no tasks of its own for
        for_moto |= {"deploymentController": {"type": "CODE_DEPLOY"}, "taskDefinition": definition["taskDefinitionArn"]}
        for_moto["networkConfiguration"] = wanted["networkConfiguration"]
        record = (await self._host.dispatch.moto(call, for_moto))["service"]
        service = NativeService(
            call.region, cluster, params["serviceName"], record["serviceArn"], desired, wanted, record
        )
        service.definition = definition
        return service

    def begin(self, service: NativeService) -> dict[str, Any]:
        """Starts deploying what the service now says."""
        params = copy.deepcopy(service.params)
        config = params["deploymentConfiguration"]
        number = revision_number()
        balancers = [
            {k: v for k, v in one.items() if k != "advancedConfiguration"} for one in params.get("loadBalancers") or []
        ]
        owner = Owner(
            service.region, service.cluster, service.name, f"ecs-svc/{number}", service.definition, balancers,
            params.get("launchType", "FARGATE"),
        )  # fmt: skip
        arn = service.sub_arn("service-revision", number)
        target = Revision(arn, number, service.definition, params, None, Runner(self._host, owner))
        deployment = Deployment(service.sub_arn("service-deployment", token(16)[:21]), service, target, config)
        before = service.deployments[-1] if service.deployments else None
        if before and before.active and not before.completing:
            if before.status in ("PENDING", "IN_PROGRESS"):
                before.status = "STOP_REQUESTED"
                before.touch()
            before.interrupt(Superseded())
        service.deployments.append(deployment)
        self.deployments[deployment.arn] = deployment
        self.revisions[arn] = service, target
        while len(service.deployments) > _MAX_DEPLOYMENTS:
            old = service.deployments.pop(0)
            self.deployments.pop(old.arn, None)
        self._start(service, self._machine.run(deployment, before))
        return self.describe(service)

    async def update(self, call: Call, service: NativeService) -> dict[str, Any]:
        """UpdateService: the description, and a deployment when the workload changes or one is forced."""
        params = call.params
        controller = (params.get("deploymentController") or {}).get("type", "ECS")
        if controller != "ECS":
            raise not_emulated("changing the deployment controller of a service")
        wanted = service.params | {k: copy.deepcopy(v) for k, v in params.items() if k in _WORKLOAD}
        wanted["deploymentConfiguration"] = complete(
            params.get("deploymentConfiguration", {}), copy.deepcopy(service.params["deploymentConfiguration"])
        )
        desired = checks.desired_count(params.get("desiredCount", service.desired))
        definition = await self._check(call, wanted)
        wanted["taskDefinition"] = definition["taskDefinitionArn"]
        changed = any(wanted.get(member) != service.params.get(member) for member in _WORKLOAD)
        service.params, service.definition, service.desired = wanted, definition, desired
        for revision in service.revisions:
            if revision.wanted and not revision.draining:
                revision.runner.scale(desired)
        if changed or params.get("forceNewDeployment"):
            return self.begin(service)
        return self.describe(service)

    def delete(self, service: NativeService) -> dict[str, Any]:
        """Takes the service's tasks away, and its history: "When you delete a service, ECS deletes the deployments"."""
        shown = self.describe(service) | {"status": "DRAINING", "desiredCount": 0}
        for job, owner in self._jobs.items():
            if owner is service:
                job.cancel()
        for deployment in service.deployments:
            self.deployments.pop(deployment.arn, None)
        for arn in [arn for arn, (owner, _) in self.revisions.items() if owner is service]:
            del self.revisions[arn]
        for revision in service.revisions:
            revision.draining = True
            self._start(service, revision.runner.drain(self._balancing.drain_seconds(revision), force=True))
        return shown

    def describe(self, service: NativeService) -> dict[str, Any]:
        """The service as DescribeServices shows it."""
        return views.service(service)

    # === inside ===

    def _start(self, service: NativeService, work: Any) -> None:
        job = asyncio.create_task(work)
        self._jobs[job] = service
        job.add_done_callback(lambda done: self._jobs.pop(done, None))

    async def _check(self, call: Call, wanted: dict[str, Any]) -> dict[str, Any]:
        """Raises for what cannot be deployed; the task definition."""
        for member in set(call.params) - _PLAIN:
            raise not_emulated(f"{member} of services under the ECS controller")
        if call.params.get("schedulingStrategy", "REPLICA") != "REPLICA":
            raise not_emulated("the DAEMON scheduling strategy")
        definition = await checks.task_definition(self._host.dispatch, call, wanted.get("taskDefinition"))
        network, balancers = wanted.setdefault("networkConfiguration", {}), wanted.get("loadBalancers") or []
        if definition.get("networkMode") != "awsvpc":
            raise not_emulated("task definitions of services under the ECS controller whose networkMode is not awsvpc")
        checks.runnable(self._elb, definition, network, balancers, call.params.get("launchType", "FARGATE"))
        # moto wants the list of groups, AWS falls back to the VPC's default group
        network["awsvpcConfiguration"].setdefault("securityGroups", [])
        checks.balanced(self._elb, balancers)
        config = wanted["deploymentConfiguration"]
        if config["strategy"] in SHIFTING:
            await self._balancing.check(call.region, balancers)
        elif any("advancedConfiguration" in one for one in balancers):
            raise not_emulated("advancedConfiguration of rolling deployments")
        for hook in config.get("lifecycleHooks", []):
            if hook["targetType"] == "AWS_LAMBDA":
                await self._balancing.role(call.region, hook["roleArn"])
        return definition
