"""The operations on functions and versions: creating, changing, publishing, looking, deleting."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from ..processes import Processes
from ..settings import Settings
from ..wire.responses import HttpResponse
from . import names
from .aliases import Aliases
from .invoke import Invocations
from .names import LATEST
from .package import configuration, unpack
from .paging import page
from .pool import Pool
from .store import MAX_FUNCTIONS, Function, Functions, Version, check_revision

_ACCOUNT_CONCURRENCY = 1000
_UNRESERVED_CONCURRENCY = 100  # what reserving must leave to all other functions


class Lambda:
    """Handlers, and the parts they work with."""

    def __init__(self, settings: Settings, dispatch: Dispatch, processes: Processes) -> None:
        self._code = settings.log_dir / "code"
        self._logs = settings.log_dir / "functions"
        self._dispatch = dispatch
        self._functions = Functions()
        self._pool = Pool(settings, processes)
        self._invocations = Invocations(settings, dispatch, self._functions, self._pool)
        self._packages = 0
        Aliases(dispatch, self._functions)
        dispatch.register("lambda", self)

    async def start(self, endpoint: str) -> None:
        """Functions reach AWS at this URL."""
        self._pool.endpoint = endpoint

    async def close(self) -> None:
        """Ends every process."""
        self._invocations.close()
        self._pool.close()

    def overview(self) -> list[dict[str, Any]]:
        """Every function with its counts, for tests; plain JSON values."""
        return [
            {
                "name": function.name,
                "region": function.region,
                "reserved": function.reserved,
                "running": function.running,
                "throttles": function.throttles,
                "versions": {
                    version.number: {
                        "invocations": version.invocations,
                        "errors": version.errors,
                        "cold_starts": version.cold_starts,
                        "processes": self._pool.count(version),
                    }
                    for version in (function.latest, *function.versions.values())
                },
                "aliases": {
                    alias.name: {"version": alias.version, "weights": alias.weights, "invocations": alias.invocations}
                    for alias in function.aliases.values()
                },
                "logs": [str(log) for log in sorted(self._logs.glob(f"{function.name}-[0-9]*.log"))],
            }
            for function in self._functions.all.values()
        ]

    # === functions ===

    async def CreateFunction(self, call: Call) -> dict[str, Any]:
        params = call.params
        if params.get("PackageType", "Zip") != "Zip":
            raise AwsError("InvalidParameterValueException", "only Zip packages run here")
        reference = names.parse(params["FunctionName"], call.region)
        if reference.qualifier:
            raise AwsError("InvalidParameterValueException", "a function's name has no qualifier")
        name = reference.name
        if (call.region, name) in self._functions.all:
            raise AwsError("ResourceConflictException", f"Function already exist: {name}", 409)
        if len(self._functions.all) >= MAX_FUNCTIONS:
            raise AwsError("CodeStorageExceededException", f"at most {MAX_FUNCTIONS} functions")
        config = configuration(name, params)
        await self._check_role(call, params["Role"])
        directory, code = self._unpack(name, params["Code"])
        latest = Version(name, call.region, LATEST, directory, {})
        latest.change(config | code)
        function = Function(name, call.region, latest, params.get("Tags", {}))
        self._functions.all[call.region, name] = function
        return self._changed(function, params)

    async def GetFunction(self, call: Call) -> dict[str, Any]:
        function, qualifier = self._find(call)
        # the location is where Lambda keeps the zip; ours is not to be downloaded
        found: dict[str, Any] = {
            "Configuration": function.resolve(qualifier).describe(qualifier), "Code": {"RepositoryType": "S3"},
        }  # fmt: skip
        if function.tags:
            found["Tags"] = function.tags
        if function.reserved is not None:
            found["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
        return found

    async def GetFunctionConfiguration(self, call: Call) -> dict[str, Any]:
        function, qualifier = self._find(call)
        return function.resolve(qualifier).describe(qualifier)

    async def ListFunctions(self, call: Call) -> dict[str, Any]:
        if "MasterRegion" in call.params:
            raise not_emulated("ListFunctions by MasterRegion")
        found = []
        for (region, _), function in self._functions.all.items():
            if region == call.region and call.params.get("FunctionVersion") == "ALL":
                found += _every_version(function)
            elif region == call.region:
                found.append(function.latest.describe())
        return page("Functions", found, call.params)

    async def UpdateFunctionConfiguration(self, call: Call) -> dict[str, Any]:
        function = self._unqualified(call)
        latest = function.latest
        check_revision(call.params.get("RevisionId"), latest.revision)
        config = configuration(function.name, call.params, latest.config)
        if "Role" in call.params:
            await self._check_role(call, call.params["Role"])
        latest.change(config)
        return self._changed(function)

    async def UpdateFunctionCode(self, call: Call) -> dict[str, Any]:
        params = call.params
        function = self._unqualified(call)
        latest = function.latest
        for key in ("SourceKMSKeyArn", "PublishTo"):
            if key in params:
                raise not_emulated(f"UpdateFunctionCode with {key}")
        check_revision(params.get("RevisionId"), latest.revision)
        directory, code = self._unpack(function.name, params)
        if "Architectures" in params:
            code["Architectures"] = params["Architectures"]
        if params.get("DryRun"):
            shutil.rmtree(directory)
            return latest.describe() | code
        latest.change(latest.config | code, directory)
        return self._changed(function, params)

    async def DeleteFunction(self, call: Call) -> Any:
        function, qualifier = self._find(call)
        if qualifier is None:
            del self._functions.all[call.region, function.name]
            for version in (function.latest, *function.versions.values()):
                self._pool.drop(version)
            return HttpResponse(204, {}, b"")
        if qualifier == LATEST or qualifier in function.aliases:
            raise AwsError("InvalidParameterValueException", "only a published version can be deleted by itself")
        version = function.version(qualifier)
        users = [alias.name for alias in function.aliases.values() if qualifier in (alias.version, *alias.weights)]
        if users:
            raise AwsError("ResourceConflictException", f"version {qualifier} is used by alias {users[0]}", 409)
        del function.versions[qualifier]
        self._pool.drop(version)
        return HttpResponse(204, {}, b"")

    # === versions ===

    async def PublishVersion(self, call: Call) -> dict[str, Any]:
        params = call.params
        function = self._unqualified(call)
        check_revision(params.get("RevisionId"), function.latest.revision)
        if "PublishTo" in params:
            raise not_emulated("publishing elsewhere than to a numbered version")
        current = function.latest.config["CodeSha256"]
        if params.get("CodeSha256", current) != current:
            raise AwsError(
                "InvalidParameterValueException",
                f"CodeSHA256 ({params['CodeSha256'][:100]}) is different from current CodeSHA256 in $LATEST "
                f"({current}). Please try again with the CodeSHA256 in $LATEST.",
            )
        version = function.publish(params.get("Description"))
        return version.describe(version.number)

    async def ListVersionsByFunction(self, call: Call) -> dict[str, Any]:
        return page("Versions", _every_version(self._unqualified(call)), call.params)

    # === concurrency ===

    async def PutFunctionConcurrency(self, call: Call) -> dict[str, Any]:
        function = self._unqualified(call)
        wanted = call.params["ReservedConcurrentExecutions"]
        others = sum(one.reserved or 0 for one in self._functions.all.values() if one is not function)
        if others + wanted > _ACCOUNT_CONCURRENCY - _UNRESERVED_CONCURRENCY:
            raise AwsError(
                "InvalidParameterValueException",
                "Specified ReservedConcurrentExecutions for function decreases account's "
                f"UnreservedConcurrentExecution below its minimum value of [{_UNRESERVED_CONCURRENCY}].",
            )
        function.reserved = wanted
        return {"ReservedConcurrentExecutions": wanted}

    async def GetFunctionConcurrency(self, call: Call) -> dict[str, Any]:
        reserved = self._unqualified(call).reserved
        return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}

    async def DeleteFunctionConcurrency(self, call: Call) -> dict[str, Any]:
        self._unqualified(call).reserved = None
        return {}

    # === what they share ===

    def _find(self, call: Call) -> tuple[Function, str | None]:
        return self._functions.find(call.params["FunctionName"], call.region, call.params.get("Qualifier"))

    def _unqualified(self, call: Call) -> Function:
        return self._functions.unqualified(call.params["FunctionName"], call.region)

    def _unpack(self, name: str, code: dict[str, Any]) -> tuple[Path, dict[str, Any]]:
        self._packages += 1
        directory = self._code / f"{name}-{self._packages}"
        return directory, unpack(code, directory)

    def _changed(self, function: Function, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """What a request that changed $LATEST answers with: $LATEST, or the version it also published."""
        self._pool.retire(function.latest)
        if params and params.get("Publish"):
            version = function.publish(None)
            return version.describe(version.number)
        return function.latest.describe()

    async def _check_role(self, call: Call, arn: str) -> None:
        try:
            await self._dispatch.ask(
                "iam", "GetRole", {"RoleName": arn.rpartition("/")[2]}, call.region, "lambda.amazonaws.com"
            )
        except AwsError:
            raise AwsError(
                "InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda."
            ) from None


def _every_version(function: Function) -> list[dict[str, Any]]:
    published = [version.describe(version.number) for version in function.versions.values()]
    return [function.latest.describe(LATEST), *published]
