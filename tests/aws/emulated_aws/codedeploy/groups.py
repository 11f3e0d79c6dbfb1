"""Applications and deployment groups: mostly what must be refused."""

from __future__ import annotations

import re
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from . import configs, views
from .fleet import PRINCIPAL
from .model import Application, Group

MAX_APPLICATIONS = 200
_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,100}")
_EVENTS = ("DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_ALARM", "DEPLOYMENT_STOP_ON_REQUEST")
_MAX_WAIT_MINUTES = 2880  # quota: between traffic shift and termination of the original task set
_KEPT = (
    "serviceRoleArn", "deploymentConfigName", "autoRollbackConfiguration", "deploymentStyle",
    "blueGreenDeploymentConfiguration", "loadBalancerInfo", "ecsServices", "alarmConfiguration",
    "outdatedInstancesStrategy",
)  # fmt: skip
_NOT_FOR_ECS = ("ec2TagFilters", "onPremisesInstanceTagFilters", "autoScalingGroups", "ec2TagSet", "onPremisesTagSet")


class Groups:
    """Every region's applications."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self.applications: dict[tuple[str, str], Application] = {}
        dispatch.register("codedeploy", self)

    def application(self, call: Call) -> Application:
        """The application named in the request."""
        name = call.params.get("applicationName")
        if not name:
            raise AwsError("ApplicationNameRequiredException", "The application name is required.")
        if not _NAME.fullmatch(name):
            raise AwsError("InvalidApplicationNameException", "The application name is invalid.")
        found = self.applications.get((call.region, name))
        if found is None:
            raise AwsError("ApplicationDoesNotExistException", f"No application found for name: {name}")
        return found

    def group(self, call: Call, member: str = "deploymentGroupName") -> Group:
        """The deployment group named in the request."""
        application = self.application(call)
        name = call.params.get(member)
        if not name:
            raise AwsError("DeploymentGroupNameRequiredException", "The deployment group name is required.")
        if not _NAME.fullmatch(name):
            raise AwsError("InvalidDeploymentGroupNameException", "The deployment group name is invalid.")
        if name not in application.groups:
            raise AwsError("DeploymentGroupDoesNotExistException", f"No Deployment Group found for name: {name}")
        return application.groups[name]

    # === applications ===

    async def CreateApplication(self, call: Call) -> dict[str, Any]:
        name = call.params["applicationName"]
        if not _NAME.fullmatch(name):
            raise AwsError("InvalidApplicationNameException", "The application name is invalid.")
        platform = call.params.get("computePlatform", "Server")
        if platform not in ("Server", "Lambda", "ECS", "Kubernetes"):
            raise AwsError("InvalidComputePlatformException", f"{platform} is not a compute platform")
        if platform != "ECS":
            raise not_emulated(f"the {platform} compute platform: only ECS")
        if (call.region, name) in self.applications:
            raise AwsError("ApplicationAlreadyExistsException", f"Application already exists: {name}")
        if len(self.applications) >= MAX_APPLICATIONS:
            raise AwsError("ApplicationLimitExceededException", f"at most {MAX_APPLICATIONS} applications")
        application = Application(name, call.region)
        self.applications[call.region, name] = application
        return {"applicationId": application.id}

    async def GetApplication(self, call: Call) -> dict[str, Any]:
        application = self.application(call)
        return {
            "application": {
                "applicationId": application.id,
                "applicationName": application.name,
                "createTime": application.created,
                "linkedToGitHub": False,
                "computePlatform": "ECS",
            }
        }

    async def ListApplications(self, call: Call) -> dict[str, Any]:
        return {"applications": [name for region, name in self.applications if region == call.region]}

    async def DeleteApplication(self, call: Call) -> dict[str, Any]:
        application = self.application(call)
        del self.applications[call.region, application.name]
        return {}

    async def GetApplicationRevision(self, call: Call) -> dict[str, Any]:
        application = self.application(call)
        given = call.params["revision"].get("appSpecContent") or {}
        content = application.revisions.get(given.get("sha256", ""))
        if content is None:
            raise AwsError("RevisionDoesNotExistException", "The named revision does not exist for the application.")
        return {
            "applicationName": application.name,
            "revision": {
                "revisionType": "AppSpecContent",
                "appSpecContent": {"content": content, "sha256": given["sha256"]},
            },
        }

    async def GetDeploymentConfig(self, call: Call) -> dict[str, Any]:
        return {"deploymentConfigInfo": configs.find(call.params["deploymentConfigName"]).describe()}

    async def ListDeploymentConfigs(self, call: Call) -> dict[str, Any]:
        return {"deploymentConfigsList": list(configs.CONFIGS)}

    # === deployment groups ===

    async def CreateDeploymentGroup(self, call: Call) -> dict[str, Any]:
        application = self.application(call)
        name = call.params["deploymentGroupName"]
        if not _NAME.fullmatch(name):
            raise AwsError("InvalidDeploymentGroupNameException", "The deployment group name is invalid.")
        if name in application.groups:
            raise AwsError("DeploymentGroupAlreadyExistsException", f"Deployment group already exists: {name}")
        settings = {key: call.params[key] for key in _KEPT if key in call.params}
        settings.setdefault("deploymentConfigName", configs.DEFAULT)
        await self._check(call, settings, None)
        group = Group(application.name, name, call.region, settings)
        application.groups[name] = group
        return {"deploymentGroupId": group.id}

    async def UpdateDeploymentGroup(self, call: Call) -> dict[str, Any]:
        group = self.group(call, "currentDeploymentGroupName")
        if call.params.get("newDeploymentGroupName", group.name) != group.name:
            raise not_emulated("renaming a deployment group")
        settings = group.settings | {key: call.params[key] for key in _KEPT if key in call.params}
        await self._check(call, settings, group)
        group.settings = settings
        return {"hooksNotCleanedUp": []}

    async def GetDeploymentGroup(self, call: Call) -> dict[str, Any]:
        return {"deploymentGroupInfo": views.group_info(self.group(call))}

    async def ListDeploymentGroups(self, call: Call) -> dict[str, Any]:
        application = self.application(call)
        return {"applicationName": application.name, "deploymentGroups": list(application.groups)}

    async def DeleteDeploymentGroup(self, call: Call) -> dict[str, Any]:
        group = self.group(call)
        del self.applications[call.region, group.application].groups[group.name]
        return {"hooksNotCleanedUp": []}

    async def _check(self, call: Call, settings: dict[str, Any], known: Group | None) -> None:
        """Everything an ECS blue/green group must have."""
        for key in _NOT_FOR_ECS:
            if call.params.get(key):
                raise AwsError("InvalidInputException", f"{key} is not for deployment groups of the ECS platform")
        if call.params.get("triggerConfigurations"):
            raise not_emulated("SNS triggers of deployment groups")
        if (settings.get("alarmConfiguration") or {}).get("enabled"):
            raise not_emulated("alarms of deployment groups")
        configs.find(settings["deploymentConfigName"])
        style = settings.get("deploymentStyle") or {}
        if (style.get("deploymentType"), style.get("deploymentOption")) != ("BLUE_GREEN", "WITH_TRAFFIC_CONTROL"):
            raise AwsError(
                "InvalidDeploymentStyleException",
                "An ECS deployment must have deploymentType BLUE_GREEN and deploymentOption WITH_TRAFFIC_CONTROL",
            )
        _check_blue_green(settings.get("blueGreenDeploymentConfiguration"))
        check_auto_rollback(settings.get("autoRollbackConfiguration"))
        await self._check_role(call, settings["serviceRoleArn"])
        await self._check_balancer(call, settings.get("loadBalancerInfo"))
        await self._check_service(call, settings.get("ecsServices"), known)

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

    async def _check_service(self, call: Call, services: list[dict[str, Any]] | None, known: Group | None) -> None:
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
        for (region, _), application in self.applications.items():
            for group in application.groups.values():
                if group is not known and region == call.region and (group.cluster, group.service) == (cluster, name):
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
