"""The AppSpec of an ECS deployment, by "AppSpec file structure for Amazon ECS deployments" of the CodeDeploy guide."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from typing import Any

import yaml

from ..errors import AwsError

MAX_CHARS = 64 * 1024
HOOKABLE = ("BeforeInstall", "AfterInstall", "AfterAllowTestTraffic", "BeforeAllowTraffic", "AfterAllowTraffic")
_PROPERTIES = {
    "TaskDefinition",
    "LoadBalancerInfo",
    "PlatformVersion",
    "NetworkConfiguration",
    "CapacityProviderStrategy",
}
_FUNCTION = re.compile(r"(?:arn:aws:lambda:[a-z0-9-]+:\d{12}:function:)?[A-Za-z0-9_-]{1,64}")


@dataclasses.dataclass(frozen=True)
class AppSpec:
    """What a deployment needs to know."""

    content: str
    sha256: str
    task_definition: str
    container: str
    port: int
    network: dict[str, Any] | None
    hooks: dict[str, str]


def parse(revision: dict[str, Any]) -> AppSpec:
    """The AppSpec in a CreateDeployment revision; raises the API's errors."""
    kind = revision.get("revisionType")
    if kind != "AppSpecContent":
        raise AwsError("InvalidRevisionException", f"an ECS revision here is AppSpecContent, not {kind}")
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
    return _read(document, content, digest)


def _read(document: Any, content: str, digest: str) -> AppSpec:
    # YAML samples write Resources and Hooks, JSON samples resources and hooks
    top = {str(k).lower(): v for k, v in _mapping(document, "the AppSpec").items()}
    _only(top, {"version", "resources", "hooks"}, "the AppSpec")
    if str(top.get("version")) != "0.0":
        raise _bad("version must be 0.0")
    resources = top.get("resources")
    if not isinstance(resources, list) or len(resources) != 1:
        raise _bad("Resources must be a list of exactly one target service")
    (service,) = _mapping(resources[0], "the resource").values() or ({},)
    service = _mapping(service, "the target service")
    if service.get("Type") != "AWS::ECS::Service":
        raise _bad("the resource's Type must be AWS::ECS::Service")
    properties = _mapping(service.get("Properties"), "Properties")
    _only(properties, _PROPERTIES, "Properties")
    balancer = _mapping(properties.get("LoadBalancerInfo"), "LoadBalancerInfo")
    container, port = balancer.get("ContainerName"), balancer.get("ContainerPort")
    definition = properties.get("TaskDefinition")
    if not isinstance(definition, str) or not definition:
        raise _bad("TaskDefinition is required")
    if not isinstance(container, str) or not str(port).isdigit():
        raise _bad("LoadBalancerInfo needs ContainerName and ContainerPort")
    return AppSpec(content, digest, definition, container, int(port), _network(properties), _hooks(top.get("hooks")))


def _network(properties: dict[str, Any]) -> dict[str, Any] | None:
    if properties.get("NetworkConfiguration") is None:
        return None
    network = _mapping(properties["NetworkConfiguration"], "NetworkConfiguration")
    inner = {k.lower(): v for k, v in network.items()}.get("awsvpcconfiguration")
    lower = {k[0].lower() + k[1:]: v for k, v in _mapping(inner, "AwsvpcConfiguration").items()}
    _only(lower, {"subnets", "securityGroups", "assignPublicIp"}, "AwsvpcConfiguration")
    return {"awsvpcConfiguration": lower}


def _hooks(given: Any) -> dict[str, str]:
    hooks: dict[str, str] = {}
    if given is None:
        return hooks
    if not isinstance(given, list):
        raise _bad("Hooks must be a list")
    for entry in given:
        for name, function in _mapping(entry, "a hook").items():
            if name not in HOOKABLE:
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
