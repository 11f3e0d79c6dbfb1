"""AppSpecs, by "AppSpec file structure for Amazon ECS deployments" and "for AWS Lambda" of the CodeDeploy guide."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Any

import yaml

from ..errors import AwsError, not_emulated

MAX_CHARS = 64 * 1024
HOOKABLE = {
    "ECS": ("BeforeInstall", "AfterInstall", "AfterAllowTestTraffic", "BeforeAllowTraffic", "AfterAllowTraffic"),
    "Lambda": ("BeforeAllowTraffic", "AfterAllowTraffic"),
}
_TYPES = {"ECS": "AWS::ECS::Service", "Lambda": "AWS::Lambda::Function"}
_ECS_PROPERTIES = {
    "TaskDefinition",
    "LoadBalancerInfo",
    "PlatformVersion",
    "NetworkConfiguration",
    "CapacityProviderStrategy",
}
_LAMBDA_PROPERTIES = {"Name", "Alias", "CurrentVersion", "TargetVersion"}
_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")
_FUNCTION = re.compile(r"(?:arn:aws:lambda:[a-z0-9-]+:\d{12}:function:)?[A-Za-z0-9_-]{1,64}")


@dataclasses.dataclass(frozen=True)
class AppSpec:
    """What the AppSpec of every compute platform has."""

    content: str
    sha256: str
    hooks: dict[str, str]


@dataclasses.dataclass(frozen=True)
class EcsSpec(AppSpec):
    """A replacement task set."""

    task_definition: str
    container: str
    port: int
    network: dict[str, Any] | None


@dataclasses.dataclass(frozen=True)
class LambdaSpec(AppSpec):
    """An alias on its way from one version to another."""

    function: str
    alias: str
    current: str
    target: str


def parse(revision: dict[str, Any], platform: str) -> AppSpec:
    """The AppSpec in a CreateDeployment revision; raises the API's errors."""
    kind = revision.get("revisionType")
    if platform == "Lambda" and kind in ("S3", "String"):
        raise not_emulated(f"revisions of type {kind}: only AppSpecContent")
    if kind != "AppSpecContent":
        raise AwsError("InvalidRevisionException", f"a revision here is AppSpecContent, not {kind}")
    given = revision.get("appSpecContent") or {}
    content = given.get("content")
    if not content:
        raise AwsError("InvalidRevisionException", "appSpecContent has no content")
    if len(content) > MAX_CHARS:
        raise AwsError("InvalidRevisionException", f"the AppSpec is longer than {MAX_CHARS} characters")
    digest = hashlib.sha256(content.encode()).hexdigest()
    if given.get("sha256", digest).lower() != digest:
        raise AwsError("InvalidRevisionException", "the SHA256 hash value does not match the content")
    try:
        document = yaml.safe_load(content)  # JSON is YAML
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise AwsError(
            "InvalidRevisionException", f"The AppSpec is not valid YAML or JSON: {str(error)[:300]}"
        ) from None
    return _read(document, content, digest, platform)


def _read(document: Any, content: str, digest: str, platform: str) -> AppSpec:
    # YAML samples write Resources and Hooks, JSON samples resources and hooks
    top = {str(k).lower(): v for k, v in _mapping(document, "the AppSpec").items()}
    _only(top, {"version", "resources", "hooks"}, "the AppSpec")
    if str(top.get("version")) != "0.0":
        raise _bad("version must be 0.0")
    resources = top.get("resources")
    if not isinstance(resources, list) or not resources:
        raise _bad("Resources must be a list of exactly one target")
    if len(resources) > 1:
        raise not_emulated("an AppSpec of several functions") if platform == "Lambda" else _bad("one service only")
    (resource,) = _mapping(resources[0], "the resource").values() or ({},)
    resource = _mapping(resource, "the target")
    if resource.get("Type") != _TYPES[platform]:
        raise _bad(f"the resource's Type must be {_TYPES[platform]}")
    properties = _mapping(resource.get("Properties"), "Properties")
    read = _ecs if platform == "ECS" else _lambda
    return read((content, digest, _hooks(top.get("hooks"), HOOKABLE[platform])), properties)


def _ecs(common: tuple[str, str, dict[str, str]], properties: dict[str, Any]) -> EcsSpec:
    _only(properties, _ECS_PROPERTIES, "Properties")
    balancer = _mapping(properties.get("LoadBalancerInfo"), "LoadBalancerInfo")
    container, port = balancer.get("ContainerName"), balancer.get("ContainerPort")
    definition = properties.get("TaskDefinition")
    if not isinstance(definition, str) or not definition:
        raise _bad("TaskDefinition is required")
    if not isinstance(container, str) or not str(port).isdigit():
        raise _bad("LoadBalancerInfo needs ContainerName and ContainerPort")
    return EcsSpec(*common, definition, container, int(port), _network(properties))


def _lambda(common: tuple[str, str, dict[str, str]], properties: dict[str, Any]) -> LambdaSpec:
    _only(properties, _LAMBDA_PROPERTIES, "Properties")
    for key in ("Name", "Alias"):
        if not _NAME.fullmatch(str(properties.get(key, ""))):
            raise _bad(f"{key} is required")
    for key in ("CurrentVersion", "TargetVersion"):
        if not str(properties.get(key, "")).isdigit():
            raise _bad(f"{key} must be the number of a published version")
    return LambdaSpec(
        *common, properties["Name"], properties["Alias"], str(properties["CurrentVersion"]),
        str(properties["TargetVersion"]),
    )  # fmt: skip


def _network(properties: dict[str, Any]) -> dict[str, Any] | None:
    if properties.get("NetworkConfiguration") is None:
        return None
    network = _mapping(properties["NetworkConfiguration"], "NetworkConfiguration")
    inner = {k.lower(): v for k, v in network.items()}.get("awsvpcconfiguration")
    lower = {k[0].lower() + k[1:]: v for k, v in _mapping(inner, "AwsvpcConfiguration").items()}
    _only(lower, {"subnets", "securityGroups", "assignPublicIp"}, "AwsvpcConfiguration")
    return {"awsvpcConfiguration": lower}


def _hooks(given: Any, hookable: tuple[str, ...]) -> dict[str, str]:
    hooks: dict[str, str] = {}
    if given is None:
        return hooks
    if not isinstance(given, list):
        raise _bad("Hooks must be a list")
    for entry in given:
        for name, function in _mapping(entry, "a hook").items():
            if name not in hookable:
                raise _bad(f"{name} is not a lifecycle event that takes a hook")
            if name in hooks:
                raise _bad(f"{name} is given twice")
            if not isinstance(function, str) or not _FUNCTION.fullmatch(function):
                raise _bad(f"{name} does not name a Lambda function")
            hooks[name] = function
    return hooks


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(k, str) for k in value):
        raise _bad(f"{what} must be a mapping")
    return value


def _only(value: dict[str, Any], known: set[str], what: str) -> None:
    unknown = sorted(set(value) - known)
    if unknown:
        raise _bad(f"{what} has an unknown key {unknown[0]}")


def _bad(message: str) -> AwsError:
    return AwsError("InvalidRevisionException", f"The AppSpec is invalid: {message}")
