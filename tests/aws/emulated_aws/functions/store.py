"""Functions, their published versions and their aliases, as we keep them."""

from __future__ import annotations

import dataclasses
import datetime
import uuid
from pathlib import Path
from typing import Any

from ..errors import AwsError
from . import names
from .names import LATEST

MAX_FUNCTIONS = 100


def revision() -> str:
    """A new RevisionId."""
    return str(uuid.uuid4())


@dataclasses.dataclass(eq=False)
class Version:
    """Code and configuration: $LATEST may still change, a number may not."""

    name: str
    region: str
    number: str
    directory: Path
    config: dict[str, Any]
    revision: str = dataclasses.field(default_factory=revision)
    invocations: int = 0
    errors: int = 0
    cold_starts: int = 0

    @property
    def timeout(self) -> int:
        return self.config["Timeout"]

    def change(self, config: dict[str, Any], directory: Path | None = None) -> None:
        """Another configuration or code, in a new revision: processes of the old one are not used again."""
        now = datetime.datetime.now(datetime.UTC)
        self.config = config | {"LastModified": now.strftime("%Y-%m-%dT%H:%M:%S.000+0000")}
        self.directory = directory or self.directory
        self.revision = revision()

    def describe(self, qualifier: str | None = None) -> dict[str, Any]:
        """FunctionConfiguration; the ARN ends in what the request was qualified by."""
        return self.config | {
            "FunctionName": self.name,
            "FunctionArn": names.arn(self.region, self.name, qualifier),
            "RevisionId": self.revision,
            "Version": self.number,
            "State": "Active",
            "LastUpdateStatus": "Successful",
            "PackageType": "Zip",
        }


@dataclasses.dataclass
class Alias:
    """A name for one version, or for two with a share of the invocations each."""

    name: str
    version: str
    description: str
    weights: dict[str, float]  # of the one additional version; empty when there is none
    revision: str = dataclasses.field(default_factory=revision)
    invocations: int = 0
    owed: float = 0.0

    def pick(self) -> str:
        """The version of the next invocation: spread evenly instead of by chance, so that tests can count."""
        self.invocations += 1
        for other, weight in self.weights.items():
            self.owed += weight
            if self.owed >= 1 - 1e-9:
                self.owed -= 1
                return other
        return self.version

    def describe(self, function: Function) -> dict[str, Any]:
        """AliasConfiguration."""
        shown: dict[str, Any] = {
            "AliasArn": names.arn(function.region, function.name, self.name),
            "Name": self.name,
            "FunctionVersion": self.version,
            "Description": self.description,
            "RevisionId": self.revision,
        }
        if self.weights:
            shown["RoutingConfig"] = {"AdditionalVersionWeights": dict(self.weights)}
        return shown


@dataclasses.dataclass(eq=False)
class Function:
    """One function."""

    name: str
    region: str
    latest: Version
    tags: dict[str, str]
    versions: dict[str, Version] = dataclasses.field(default_factory=dict)  # the published ones, the oldest first
    aliases: dict[str, Alias] = dataclasses.field(default_factory=dict)
    reserved: int | None = None
    running: int = 0
    throttles: int = 0
    _published: int = 0
    _last: tuple[str, dict[str, Any]] = ("", {})  # the newest version's number and what $LATEST was then

    def publish(self, description: str | None) -> Version:
        """A frozen copy of $LATEST; the newest version again when nothing has changed since."""
        latest = self.latest
        made_of = {key: value for key, value in latest.config.items() if key != "LastModified"}
        number, before = self._last
        if number in self.versions and before == made_of:
            return self.versions[number]
        self._published += 1
        config = latest.config | ({"Description": description} if description else {})
        version = Version(self.name, self.region, str(self._published), latest.directory, config)
        self.versions[version.number] = version
        self._last = (version.number, made_of)
        return version

    def version(self, number: str) -> Version:
        """The version of that number, or $LATEST."""
        if number == LATEST:
            return self.latest
        if number not in self.versions:
            raise names.not_found(self.region, self.name, number)
        return self.versions[number]

    def resolve(self, qualifier: str | None) -> Version:
        """What a qualifier stands for, an alias being its first version."""
        alias = self.aliases.get(qualifier or "")
        return self.version(alias.version if alias else qualifier or LATEST)


class Functions:
    """The functions of every region."""

    def __init__(self) -> None:
        self.all: dict[tuple[str, str], Function] = {}

    def find(self, reference: str, region: str, qualifier: str | None = None) -> tuple[Function, str | None]:
        """The function and the qualifier it is asked for by, which may not exist."""
        found = names.parse(reference, region, qualifier)
        function = self.all.get((region, found.name))
        if function is None:
            raise names.not_found(region, found.name, found.qualifier)
        return function, found.qualifier

    def unqualified(self, reference: str, region: str) -> Function:
        """The function, for operations that are about no version of it."""
        function, qualifier = self.find(reference, region)
        if qualifier not in (None, LATEST):
            raise AwsError(
                "InvalidParameterValueException", "This operation does not support versions other than $LATEST."
            )
        return function


def check_revision(given: str | None, current: str) -> None:
    """Raises when the caller looked at something older than what is there now."""
    if given not in (None, current):
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id",
            412,
        )
