"""What a deployment group must have, and what it must not."""

from __future__ import annotations

import re
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from .configs import Configs
from .fleet import PRINCIPAL
from .model import Group

_EVENTS = ("DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST")
_MAX_WAIT_MINUTES = 2880  # quota: between traffic shift and termination of the original task set
_FOR_SERVERS = ("ec2TagFilters", "onPremisesInstanceTagFilters", "autoScalingGroups", "ec2TagSet", "onPremisesTagSet")
# a Lambda group knows nothing of where it deploys to: that is in each AppSpec
_NOT_FOR_LAMBDA = {
    "ecsServices": "InvalidECSServiceException",
    "loadBalancerInfo": "InvalidLoadBalancerInfoException",
    "blueGreenDeploymentConfiguration": "InvalidBlueGreenDeploymentConfigurationException",
}


class Rules:
    """Asks the other services whether what a group names is there."""

    def __init__(self, dispatch: Dispatch, configs: Configs) -> None:
        self._dispatch = dispatch
        self._configs = configs

    async def check(self, call: Call, platform: str, settings: dict[str, Any], others: list[Group]) -> None:
        """Raises for the first thing AWS would refuse; `others` are the region's other groups."""
        for key in _FOR_SERVERS:
            if call.params.get(key):
                raise AwsError(
                    "InvalidInputException", f"{key} is not for deployment groups of the {platform} platform"
                )
        if call.params.get("triggerConfigurations"):
            raise not_emulated("SNS triggers of deployment groups")
        if (settings.get("alarmConfiguration") or {}).get("enabled"):
            raise not_emulated("alarms of deployment groups")
        self._configs.find(settings["deploymentConfigName"], call.region, platform)
        style = settings.get("deploymentStyle") or {}
        if (style.get("deploymentType"), style.get("deploymentOption")) != ("BLUE_GREEN", "WITH_TRAFFIC_CONTROL"):
            raise AwsError(
                "InvalidDeploymentStyleException",
                f"{platform} deployments must have deploymentType BLUE_GREEN and deploymentOption WITH_TRAFFIC_CONTROL",
            )
        if platform == "ECS":
            _check_blue_green(settings.get("blueGreenDeploymentConfiguration"))
        else:
            for key, code in _NOT_FOR_LAMBDA.items():
                if settings.get(key):
                    raise AwsError(code, f"{key} is not for deployment groups of the {platform} platform")
        check_auto_rollback(settings.get("autoRollbackConfiguration"))
        await self._check_role(call, settings["serviceRoleArn"])
        if platform == "ECS":
            await self._check_balancer(call, settings.get("loadBalancerInfo"))
            await self._check_service(call, settings.get("ecsServices"), others)

    async def _check_role(self, call: Call, arn: str) -> None:
        name = arn.rpartition("/")[2]
        try:
            if not re.fullmatch(r"arn:aws:iam::\d{12}:role/.+", arn):
                raise AwsError("InvalidRoleException", "not a role")
            await self._dispatch.ask("iam", "GetRole", {"RoleName": name}, call.region, PRINCIPAL)
        except AwsError:
            raise AwsError("InvalidRoleException", f"AWS CodeDeploy cannot assume the role {arn}") from None

    async def _check_balancer(self, call: Call, info: dict[str, Any] | None) -> None:
        pairs = (info or {}).get("targetGroupPairInfoList")
        if not pairs or len(pairs) != 1:
            raise AwsError("InvalidLoadBalancerInfoException", "an ECS group needs exactly one targetGroupPairInfo")
        pair = pairs[0]
        names = [one.get("name") for one in pair.get("targetGroups") or []]
        if len(names) != 2 or None in names or names[0] == names[1]:
            raise AwsError("InvalidTargetGroupPairException", "a target group pair is two different target groups")
        prod = (pair.get("prodTrafficRoute") or {}).get("listenerArns") or []
        test = (pair.get("testTrafficRoute") or {}).get("listenerArns") or []
        if len(prod) != 1 or len(test) > 1 or prod == test:
            raise AwsError(
                "InvalidTrafficRoutingConfigurationException",
                "one production listener, and at most one other for tests",
            )
        for arn in (*prod, *test):
            await self._exists(
                call, "DescribeListeners", {"ListenerArns": [arn]},
                "InvalidTrafficRoutingConfigurationException", f"there is no listener {arn}",
            )  # fmt: skip
        for name in names:
            await self._exists(
                call, "DescribeTargetGroups", {"Names": [name]},
                "InvalidTargetGroupPairException", f"there is no target group {name}",
            )  # fmt: skip

    async def _exists(self, call: Call, operation: str, params: dict[str, Any], code: str, message: str) -> None:
        try:
            await self._dispatch.ask("elbv2", operation, params, call.region, PRINCIPAL)
        except AwsError:
            raise AwsError(code, message) from None

    async def _check_service(self, call: Call, services: list[dict[str, Any]] | None, others: list[Group]) -> None:
        if not services or len(services) != 1:
            raise AwsError("InvalidECSServiceException", "an ECS group needs exactly one service")
        cluster, name = services[0].get("clusterName"), services[0].get("serviceName")
        try:
            found = await self._dispatch.ask(
                "ecs", "DescribeServices", {"cluster": cluster, "services": [name]}, call.region, PRINCIPAL
            )
            service = found["services"][0]
        except (AwsError, IndexError):
            raise AwsError("InvalidECSServiceException", f"there is no service {name} in cluster {cluster}") from None
        if (service.get("deploymentController") or {}).get("type") != "CODE_DEPLOY":
            raise AwsError(
                "InvalidECSServiceException",
                "Deployment group's ECS service must be configured for a CODE_DEPLOY deployment controller.",
            )
        for group in others:
            if group.platform == "ECS" and (group.cluster, group.service) == (cluster, name):
                raise AwsError(
                    "ECSServiceMappingLimitExceededException",
                    f"service {name} already belongs to deployment group {group.name}",
                )


def _check_blue_green(config: dict[str, Any] | None) -> None:
    code = "InvalidBlueGreenDeploymentConfigurationException"
    if not config:
        raise AwsError(code, "an ECS group needs a blueGreenDeploymentConfiguration")
    if config.get("greenFleetProvisioningOption"):
        raise AwsError(code, "greenFleetProvisioningOption is not for ECS")
    ready = config.get("deploymentReadyOption")
    if not ready or ready.get("actionOnTimeout") not in ("CONTINUE_DEPLOYMENT", "STOP_DEPLOYMENT"):
        raise AwsError(code, "deploymentReadyOption with a valid actionOnTimeout is required")
    wait = ready.get("waitTimeInMinutes", 0)
    if ready["actionOnTimeout"] == "CONTINUE_DEPLOYMENT" and wait:
        raise AwsError(code, "waitTimeInMinutes is for STOP_DEPLOYMENT only")
    if ready["actionOnTimeout"] == "STOP_DEPLOYMENT" and not 1 <= wait <= _MAX_WAIT_MINUTES:
        raise AwsError(code, f"waitTimeInMinutes must be between 1 and {_MAX_WAIT_MINUTES}")
    end = config.get("terminateBlueInstancesOnDeploymentSuccess")
    if not end or end.get("action") not in ("TERMINATE", "KEEP_ALIVE"):
        raise AwsError(code, "terminateBlueInstancesOnDeploymentSuccess with a valid action is required")
    if not 0 <= end.get("terminationWaitTimeInMinutes", 0) <= _MAX_WAIT_MINUTES:
        raise AwsError(code, f"terminationWaitTimeInMinutes must be between 0 and {_MAX_WAIT_MINUTES}")


def check_auto_rollback(config: dict[str, Any] | None) -> None:
    """Raises unless an automatic rollback says when."""
    if config is None:
        return
    events = config.get("events", [])
    if any(event not in _EVENTS for event in events) or (config.get("enabled") and not events):
        raise AwsError("InvalidAutoRollbackConfigException", "The automatic rollback configuration is invalid: events")
