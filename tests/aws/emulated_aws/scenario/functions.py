"""A Lambda function behind an alias, and its next versions, created as a template and a pipeline would."""

from __future__ import annotations

import dataclasses
import json
import uuid
from typing import Any

from .clients import Clients
from .events import make_queue, of_codedeploy, remove_queue
from .setup import bootstrap_zip, function, hook, role, rollback_on

ALIAS = "live"


@dataclasses.dataclass(frozen=True)
class WantedFunction:
    """What `setup-function` was asked for."""

    name: str
    bootstrap: str
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    timeout: int = 3
    log_format: str = "Text"
    hook_bootstrap: str | None = None
    hook_environment: dict[str, str] = dataclasses.field(default_factory=dict)
    hook_timeout: int = 60
    auto_rollback: bool = True
    deployment_config: str = "CodeDeployDefault.LambdaAllAtOnce"
    events_queue: str | None = None


def setup_lambda(clients: Clients, wanted: WantedFunction) -> dict[str, Any]:
    """The function, its version 1 behind the alias, and what CodeDeploy needs to move the alias."""
    name = wanted.name
    function(
        clients, name, wanted.bootstrap, role(clients, f"{name}-function", "lambda.amazonaws.com"),
        wanted.environment, wanted.timeout, LoggingConfig={"LogFormat": wanted.log_format},
    )  # fmt: skip
    version = clients.functions.publish_version(FunctionName=name)["Version"]
    alias = clients.functions.create_alias(FunctionName=name, Name=ALIAS, FunctionVersion=version)
    hook_name = None
    if wanted.hook_bootstrap:
        hook_name = hook(clients, name, wanted.hook_bootstrap, wanted.hook_environment, wanted.hook_timeout)
    queue = {}
    if wanted.events_queue:
        queue["queue_url"] = make_queue(clients, name, wanted.events_queue, of_codedeploy(name))
    clients.codedeploy.create_application(applicationName=name, computePlatform="Lambda")
    clients.codedeploy.create_deployment_group(
        applicationName=name,
        deploymentGroupName=f"{name}-group",
        deploymentConfigName=wanted.deployment_config,
        serviceRoleArn=role(clients, f"{name}-codedeploy", "codedeploy.amazonaws.com"),
        deploymentStyle={"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        autoRollbackConfiguration=rollback_on(wanted.auto_rollback),
    )
    return {
        "application": name,
        "deployment_group": f"{name}-group",
        "function": name,
        "alias": ALIAS,
        "alias_arn": alias["AliasArn"],
        "version": version,
        "hook": hook_name,
        **queue,
    }


def deploy_lambda(
    clients: Clients,
    name: str,
    bootstrap: str | None = None,
    environment: dict[str, str] | None = None,
    hooks: tuple[str, ...] = (),
    config: str | None = None,
) -> dict[str, str]:
    """Publishes the next version and creates the deployment; its id and the two versions.

    What is not given stays as it was. The description is new each time, since Lambda publishes no version of something
    that has not changed.
    """
    api = clients.functions
    if bootstrap:
        api.update_function_code(FunctionName=name, ZipFile=bootstrap_zip(bootstrap))
    changes: dict[str, Any] = {"Environment": {"Variables": environment}} if environment else {}
    api.update_function_configuration(FunctionName=name, Description=f"release {uuid.uuid4()}", **changes)
    target = api.publish_version(FunctionName=name)["Version"]
    current = api.get_alias(FunctionName=name, Name=ALIAS)["FunctionVersion"]
    properties = {"Name": name, "Alias": ALIAS, "CurrentVersion": current, "TargetVersion": target}
    spec = {
        "version": 0.0,
        "Resources": [{name: {"Type": "AWS::Lambda::Function", "Properties": properties}}],
        "Hooks": [{one: f"CodeDeployHook_{name}"} for one in hooks],
    }
    extra = {"deploymentConfigName": config} if config else {}
    made = clients.codedeploy.create_deployment(
        applicationName=name,
        deploymentGroupName=f"{name}-group",
        revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": json.dumps(spec)}},
        **extra,
    )
    return {"deployment_id": made["deploymentId"], "current_version": current, "target_version": target}


def teardown_lambda(clients: Clients, name: str) -> None:
    """Takes away what `setup_lambda` made; a deployment in progress is left to fail."""
    clients.codedeploy.delete_deployment_group(applicationName=name, deploymentGroupName=f"{name}-group")
    clients.codedeploy.delete_application(applicationName=name)
    remove_queue(clients, name)
    clients.functions.delete_function(FunctionName=name)
    roles = ["function", "codedeploy"]
    try:
        clients.functions.delete_function(FunctionName=f"CodeDeployHook_{name}")
        roles.append("hook")
    except clients.functions.exceptions.ResourceNotFoundException:
        pass  # it was set up without one
    for suffix in roles:
        clients.iam.delete_role(RoleName=f"{name}-{suffix}")
