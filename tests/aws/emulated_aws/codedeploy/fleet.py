"""What CodeDeploy does to ECS and ELB, through their APIs and nothing else."""

from __future__ import annotations

from typing import Any

from ..dispatch import Dispatch
from .appspec import EcsSpec
from .model import Deployment, Group, TaskSetRef

PRINCIPAL = "codedeploy.amazonaws.com"


class Fleet:
    """The service, listeners and target groups of one deployment group."""

    def __init__(self, dispatch: Dispatch, group: Group) -> None:
        self._dispatch = dispatch
        self._group = group

    async def _ask(self, service: str, operation: str, params: dict[str, Any], quiet: bool = False) -> dict[str, Any]:
        return await self._dispatch.ask(service, operation, params, self._group.region, PRINCIPAL, quiet)

    @property
    def _where(self) -> dict[str, str]:
        return {"cluster": self._group.cluster, "service": self._group.service}

    async def task_sets(self) -> list[dict[str, Any]]:
        """The service's task sets as ECS describes them."""
        return (await self._ask("ecs", "DescribeTaskSets", self._where, quiet=True))["taskSets"]

    async def target_groups(self) -> dict[str, str]:
        """ARN by name of the pair's two target groups."""
        names = [one["name"] for one in self._group.pair["targetGroups"]]
        found = await self._ask("elbv2", "DescribeTargetGroups", {"Names": names}, quiet=True)
        return {one["TargetGroupName"]: one["TargetGroupArn"] for one in found["TargetGroups"]}

    async def refresh(self, deployment: Deployment) -> None:
        """Brings the two task sets' counts up to date; a set ECS has forgotten runs nothing."""
        known = {one["taskSetArn"]: one for one in await self.task_sets()}
        for ref in (deployment.blue, deployment.green):
            if ref is None:
                continue
            seen = known.get(ref.arn)
            if seen is None:
                ref.desired = ref.pending = ref.running = 0
                ref.status = "DRAINING"
            else:
                ref.desired, ref.pending = seen["computedDesiredCount"], seen["pendingCount"]
                ref.running, ref.status = seen["runningCount"], seen["status"]

    async def create_green(self, deployment: Deployment, group_name: str, group_arn: str) -> TaskSetRef:
        """The replacement task set, at the full count."""
        spec = deployment.appspec
        assert isinstance(spec, EcsSpec)
        params: dict[str, Any] = {
            **self._where,
            "externalId": deployment.id,
            "taskDefinition": spec.task_definition,
            "scale": {"value": 100.0, "unit": "PERCENT"},
            "loadBalancers": [
                {"targetGroupArn": group_arn, "containerName": spec.container, "containerPort": spec.port}
            ],
        }
        if spec.network:
            params["networkConfiguration"] = spec.network
        made = (await self._ask("ecs", "CreateTaskSet", params))["taskSet"]
        return TaskSetRef(made["taskSetArn"], made["id"], group_arn, group_name, made["computedDesiredCount"])

    async def make_primary(self, ref: TaskSetRef) -> None:
        """ECS's own idea of which task set is in production."""
        await self._ask("ecs", "UpdateServicePrimaryTaskSet", {**self._where, "primaryTaskSet": ref.arn})

    async def delete(self, arn: str) -> None:
        """Takes a task set away; ECS drains it first."""
        await self._ask("ecs", "DeleteTaskSet", {**self._where, "taskSet": arn, "force": True})

    async def route(self, listener: str, weights: dict[str, int]) -> None:
        """Points a listener at target groups by weight."""
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
        action: dict[str, Any] = {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}
        if len(groups) == 1:
            action["TargetGroupArn"] = groups[0]["TargetGroupArn"]
        await self._ask("elbv2", "ModifyListener", {"ListenerArn": listener, "DefaultActions": [action]})

    async def health(self, group_arn: str) -> list[str]:
        """The states of a target group's targets."""
        found = await self._ask("elbv2", "DescribeTargetHealth", {"TargetGroupArn": group_arn}, quiet=True)
        return [one["TargetHealth"]["State"] for one in found["TargetHealthDescriptions"]]
