"""The operations on applications and deployment groups."""

from __future__ import annotations

import re
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from . import views
from .configs import DEFAULT, Configs
from .model import Application, Group
from .rules import Rules

MAX_APPLICATIONS = 200
_NAME = re.compile(r"[A-Za-z0-9+=,.@_-]{1,100}")
_KEPT = (
    "serviceRoleArn", "deploymentConfigName", "autoRollbackConfiguration", "deploymentStyle",
    "blueGreenDeploymentConfiguration", "loadBalancerInfo", "ecsServices", "alarmConfiguration",
    "outdatedInstancesStrategy",
)  # fmt: skip


class Groups:
    """Every region's applications."""

    def __init__(self, dispatch: Dispatch) -> None:
        self.applications: dict[tuple[str, str], Application] = {}
        self.configs = Configs(dispatch, self._uses)
        self._rules = Rules(dispatch, self.configs)
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
        if platform not in DEFAULT:
            raise not_emulated(f"the {platform} compute platform: only {' and '.join(DEFAULT)}")
        if (call.region, name) in self.applications:
            raise AwsError("ApplicationAlreadyExistsException", f"Application already exists: {name}")
        if len(self.applications) >= MAX_APPLICATIONS:
            raise AwsError("ApplicationLimitExceededException", f"at most {MAX_APPLICATIONS} applications")
        application = Application(name, call.region, platform)
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
                "computePlatform": application.platform,
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

    # === deployment groups ===

    async def CreateDeploymentGroup(self, call: Call) -> dict[str, Any]:
        application = self.application(call)
        name = call.params["deploymentGroupName"]
        if not _NAME.fullmatch(name):
            raise AwsError("InvalidDeploymentGroupNameException", "The deployment group name is invalid.")
        if name in application.groups:
            raise AwsError("DeploymentGroupAlreadyExistsException", f"Deployment group already exists: {name}")
        settings = {key: call.params[key] for key in _KEPT if key in call.params}
        settings.setdefault("deploymentConfigName", DEFAULT[application.platform])
        await self._rules.check(call, application.platform, settings, self._others(call.region, None))
        group = Group(application.name, name, call.region, application.platform, settings)
        application.groups[name] = group
        return {"deploymentGroupId": group.id}

    async def UpdateDeploymentGroup(self, call: Call) -> dict[str, Any]:
        group = self.group(call, "currentDeploymentGroupName")
        if call.params.get("newDeploymentGroupName", group.name) != group.name:
            raise not_emulated("renaming a deployment group")
        settings = group.settings | {key: call.params[key] for key in _KEPT if key in call.params}
        await self._rules.check(call, group.platform, settings, self._others(call.region, group))
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

    def _others(self, region: str, known: Group | None) -> list[Group]:
        """Every other group of the region."""
        return [
            group
            for (where, _), application in self.applications.items()
            for group in application.groups.values()
            if where == region and group is not known
        ]

    def _uses(self, region: str, config: str) -> bool:
        return any(group.settings["deploymentConfigName"] == config for group in self._others(region, None))
