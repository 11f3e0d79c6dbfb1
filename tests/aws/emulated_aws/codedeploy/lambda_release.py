"""A Lambda deployment: an alias moves from one version to the next, at once, by a canary or in steps."""

from __future__ import annotations

from typing import Any

from ..dispatch import Dispatch
from .appspec import LambdaSpec
from .fleet import PRINCIPAL
from .steps import Steps
from .waiting import Failed

_INVALID = (
    "The deployment failed because the AppSpec file that specifies the AWS Lambda deployment configuration is missing "
    "or has an invalid configuration."
)


class LambdaRelease:
    """All that is driven is one alias."""

    EVENTS = ("BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic")
    BROKEN = "INVALID_LAMBDA_FUNCTION"

    def __init__(self, dispatch: Dispatch, steps: Steps) -> None:
        assert isinstance(steps.deployment.appspec, LambdaSpec)
        self._dispatch = dispatch
        self._steps = steps
        self._deployment = steps.deployment
        self._spec = steps.deployment.appspec

    def events(self) -> list[str]:
        """The lifecycle events."""
        return list(self.EVENTS)

    async def forward(self) -> None:
        """From the current to the target version."""
        await self._prepare()
        await self._steps.take("BeforeAllowTraffic")
        await self._steps.take("AllowTraffic", lambda: self._steps.shift(self._route))
        await self._steps.take("AfterAllowTraffic")

    async def back(self) -> None:
        """The alias first, as users must not wait for hooks; then the same events and hooks."""
        await self._route(0)
        self._deployment.green_weight = 0.0
        for name in self.EVENTS:
            await self._steps.take(name)

    async def _prepare(self) -> None:
        """What CodeDeploy cannot start from fails here, before any event, and is not rolled back."""
        spec = self._spec
        alias = await self._ask("GetAlias", {"FunctionName": spec.function, "Name": spec.alias})
        for version in (spec.current, spec.target):
            await self._ask("GetFunctionConfiguration", {"FunctionName": spec.function, "Qualifier": version})
        if alias.get("RoutingConfig"):
            raise _invalid("The Lambda function alias points to two versions.")
        if alias["FunctionVersion"] != spec.current:
            raise _invalid("The Lambda function alias version does not match the current version in AppSpec file.")
        if spec.target == spec.current:
            raise _invalid("")  # users report that AWS gives no reason for this one
        self._deployment.reversible = True

    async def _route(self, percent: int) -> None:
        """Gives the target version its share of the alias."""
        spec = self._spec
        version = spec.target if percent == 100 else spec.current
        weights = {spec.target: percent / 100} if 0 < percent < 100 else {}
        await self._ask("UpdateAlias", {
            "FunctionName": spec.function, "Name": spec.alias, "FunctionVersion": version,
            "RoutingConfig": {"AdditionalVersionWeights": weights},
        })  # fmt: skip

    async def _ask(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return await self._dispatch.ask("lambda", operation, params, self._deployment.group.region, PRINCIPAL)


def _invalid(why: str) -> Failed:
    return Failed("INVALID_LAMBDA_CONFIGURATION", f"{_INVALID} {why}".strip())


async def check(dispatch: Dispatch, region: str, spec: object) -> None:
    """Nothing: CodeDeploy looks at functions and aliases only when the deployment runs."""
