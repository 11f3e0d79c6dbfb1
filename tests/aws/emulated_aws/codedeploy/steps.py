"""How a deployment takes its lifecycle events, one after the other, whatever the compute platform."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from ..settings import Settings
from .hooks import Hooks
from .model import Deployment, now
from .waiting import Stopped, pause, until


class Steps:
    """One deployment's way."""

    def __init__(
        self, settings: Settings, hooks: Hooks, deployment: Deployment, announce: Callable[[Deployment, str], None]
    ) -> None:
        self.deployment = deployment
        self.settings = settings
        self._hooks = hooks
        self._announce = announce

    async def take(self, name: str, action: Callable[[], Awaitable[None]] | None = None) -> None:
        """One lifecycle event: its action, or its hook when the AppSpec names one; nothing else also succeeds."""
        deployment = self.deployment
        event = deployment.event(name)
        if event is None:
            return
        event.begin()
        deployment.updated = now()
        function = deployment.appspec.hooks.get(name)
        if action:
            await action()
        elif function and (self.settings.rollback_hooks or not deployment.rollback_of):
            await self._hooks.execute(deployment, event, function)
        if deployment.stop.is_set():
            raise Stopped
        event.end("Succeeded")
        deployment.updated = now()

    async def shift(self, route: Callable[[int], Awaitable[None]]) -> None:
        """Moves production by the deployment configuration: `route` is told the new side's percentage."""
        deployment = self.deployment
        for index, percent in enumerate(deployment.config.weights()):
            if index:
                await pause(deployment, self.settings.scaled(deployment.config.minutes * 60))
            await route(percent)
            deployment.green_weight, deployment.updated = float(percent), now()

    async def wait_until_ready(self, minutes: int) -> None:
        """READY_WAIT: somebody says ContinueDeployment in time, or the deployment stops."""
        deployment = self.deployment
        deployment.status = deployment.target_status = "Ready"
        deployment.waiting, deployment.updated = "READY_WAIT", now()
        self._announce(deployment, "READY")
        went = await until(deployment, deployment.proceed, self.settings.scaled(minutes * 60))
        deployment.waiting = None
        deployment.proceed.clear()
        if not went:
            raise Stopped("TIMEOUT", "The deployment was stopped: traffic was not rerouted within the wait time.")
        deployment.status = deployment.target_status = "InProgress"

    async def wait_before_end(self, minutes: int) -> None:
        """TERMINATION_WAIT: as long as configured, or until somebody says ContinueDeployment."""
        deployment = self.deployment
        deployment.waiting = "TERMINATION_WAIT"
        await until(deployment, deployment.proceed, self.settings.scaled(minutes * 60))
        deployment.waiting = None
