"""The operations on aliases, and what AWS refuses to let an alias point to."""

from __future__ import annotations

import re
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError
from . import names
from .names import LATEST
from .paging import page
from .store import Alias, Function, Functions, check_revision, revision

_NAME = re.compile(r"(?![0-9]+$)[A-Za-z0-9_-]{1,128}")


class Aliases:
    """Handlers."""

    def __init__(self, dispatch: Dispatch, functions: Functions) -> None:
        self._functions = functions
        dispatch.register("lambda", self)

    async def CreateAlias(self, call: Call) -> dict[str, Any]:
        params = call.params
        function = self._function(call)
        name = params["Name"]
        if not _NAME.fullmatch(name):
            raise AwsError("InvalidParameterValueException", f"{name[:150]} is not a name for an alias")
        if name in function.aliases:
            taken = names.arn(function.region, function.name, name)
            raise AwsError("ResourceConflictException", f"Alias already exists: {taken}", 409)
        version = function.version(params["FunctionVersion"]).number
        weights = _weights(function, version, params.get("RoutingConfig"))
        alias = Alias(name, version, params.get("Description", ""), weights)
        function.aliases[name] = alias
        return alias.describe(function)

    async def GetAlias(self, call: Call) -> dict[str, Any]:
        function, alias = self._alias(call)
        return alias.describe(function)

    async def ListAliases(self, call: Call) -> dict[str, Any]:
        function = self._function(call)
        wanted = call.params.get("FunctionVersion")
        if wanted is not None:
            function.version(wanted)
        found = [
            alias.describe(function)
            for alias in function.aliases.values()
            if wanted in (None, alias.version, *alias.weights)
        ]
        return page("Aliases", found, call.params)

    async def UpdateAlias(self, call: Call) -> dict[str, Any]:
        params = call.params
        function, alias = self._alias(call)
        check_revision(params.get("RevisionId"), alias.revision)
        version = function.version(params.get("FunctionVersion", alias.version)).number
        # what is not mentioned stays: a routing goes only by an empty AdditionalVersionWeights
        routing = params.get("RoutingConfig", {"AdditionalVersionWeights": alias.weights})
        weights = _weights(function, version, routing)
        if (version, weights) != (alias.version, alias.weights):
            alias.owed = 0.0
        alias.version, alias.weights = version, weights
        alias.description = params.get("Description", alias.description)
        alias.revision = revision()
        return alias.describe(function)

    async def DeleteAlias(self, call: Call) -> dict[str, Any]:
        function, alias = self._alias(call)
        del function.aliases[alias.name]
        return {}

    def _function(self, call: Call) -> Function:
        return self._functions.unqualified(call.params["FunctionName"], call.region)

    def _alias(self, call: Call) -> tuple[Function, Alias]:
        function = self._function(call)
        name = call.params["Name"]
        if name not in function.aliases:
            missing = names.arn(function.region, function.name, name)
            raise AwsError("ResourceNotFoundException", f"Cannot find alias arn: {missing}", 404)
        return function, function.aliases[name]


def _weights(function: Function, version: str, routing: dict[str, Any] | None) -> dict[str, float]:
    """The share of the additional version, by "Implement Lambda canary deployments using a weighted alias"."""
    weights = (routing or {}).get("AdditionalVersionWeights") or {}
    if not weights:
        return {}
    if len(weights) > 1:
        raise _invalid("an alias can point to at most two versions")
    ((other, weight),) = weights.items()
    if LATEST in (version, other):
        raise _invalid("$LATEST is not supported for an alias pointing to more than 1 version")
    if other == version:
        raise _invalid(f"version {other} is the alias's own and cannot be its additional version")
    if not 0 <= weight <= 1:  # also what is not a number
        raise _invalid("the weight of an additional version is between 0.0 and 1.0")
    if function.version(other).config["Role"] != function.version(version).config["Role"]:
        raise _invalid("both versions of an alias must have the same execution role")
    return {other: weight}


def _invalid(message: str) -> AwsError:
    return AwsError("InvalidParameterValueException", message)
