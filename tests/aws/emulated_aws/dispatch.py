"""Decides who answers an operation: a handler of ours, moto, or nobody; the front and our machines both ask here."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

from .errors import AwsError, not_emulated
from .journal import Journal
from .moto import Moto

# Served by us alone: moto's idea of them would contradict ours.
OWN_SERVICES = {"cloudwatch", "codedeploy", "codepipeline", "lambda"}


@dataclasses.dataclass(frozen=True)
class Call:
    """One operation being called, validated."""

    service: str
    operation: str
    params: dict[str, Any]
    region: str
    access_key: str
    session_token: str = ""
    gone: Callable[[], bool] = lambda: False  # whether the client has hung up


Handler = Callable[[Call], Awaitable[dict[str, Any]]]


class Dispatch:
    """The table of handlers."""

    def __init__(self, moto: Moto, journal: Journal) -> None:
        self._moto = moto
        self._journal = journal
        self._handlers: dict[tuple[str, str], Handler] = {}

    def register(self, service: str, api: object) -> None:
        """Every public coroutine of `api` named like an operation, in CamelCase, handles that operation."""
        for name in dir(api):
            if name[0].isupper():
                self._handlers[service, name] = getattr(api, name)

    def handler(self, service: str, operation: str) -> Handler | None:
        """Our handler, or None when moto answers; raises when nobody does."""
        found = self._handlers.get((service, operation))
        if found is None and service in OWN_SERVICES:
            raise not_emulated(f"{service} {operation}")
        return found

    async def moto(
        self, call: Call, params: dict[str, Any] | None = None, operation: str | None = None
    ) -> dict[str, Any]:
        """The same operation asked of moto, possibly with other parameters, or another of the same service."""
        return await self._moto.call(
            call.service, operation or call.operation, call.params if params is None else params, call.region
        )

    def rename(self, theirs: str, ours: str) -> None:
        """What moto calls `theirs` in elbv2 is `ours` to everybody else from now on."""
        self._moto.renamed[theirs] = ours

    async def ask(
        self, service: str, operation: str, params: dict[str, Any], region: str, by: str, quiet: bool = False
    ) -> dict[str, Any]:
        """A call of our own, as a service of AWS would make it: same handlers, same journal, no signature.

        `quiet` is for polling, which would push everything of interest out of the journal.
        """
        status, failed = 200, None
        try:
            handler = self.handler(service, operation)
            if handler:
                return await handler(Call(service, operation, params, region, by))
            return await self._moto.call(service, operation, params, region)
        except AwsError as error:
            status, failed = error.status, error.code
            raise
        finally:
            if not quiet:
                self._journal.record(service, operation, by, status, failed, params)
