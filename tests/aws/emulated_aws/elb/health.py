"""Real health checks of targets: connect, ask, compare; the states and reasons are those of the ELBv2 API."""

from __future__ import annotations

import asyncio
import random
import ssl

from ..settings import Settings
from .state import Group, Target

_MIN_INTERVAL = 0.2  # however fast time runs, a check costs real CPU
_MIN_TIMEOUT = 1.0
_HEAD_LIMIT = 16 * 1024

_trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # "ALB does not validate these certificates"
_trusting.check_hostname = False
_trusting.verify_mode = ssl.CERT_NONE


class HealthChecks:
    """One watcher per target of a group in use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def begin(self, group: Group, target: Target) -> None:
        """Starts watching, or marks the target unused when its group gets no traffic anyway."""
        self.end(target)
        if group.in_use:
            target.passed = target.failed = 0
            target.become("initial", "Elb.RegistrationInProgress", "Target registration is in progress")
            target.watcher = asyncio.create_task(self._watch(group, target))
        else:
            target.become(
                "unused", "Target.NotInUse", "Target group is not configured to receive traffic from the load balancer"
            )

    @staticmethod
    def end(target: Target) -> None:
        """Stops watching."""
        if target.watcher:
            target.watcher.cancel()
            target.watcher = None

    async def _watch(self, group: Group, target: Target) -> None:
        await asyncio.sleep(self._settings.scaled(1, 0.05))
        target.become("initial", "Elb.InitialHealthChecking", "Initial health checks in progress")
        while True:
            reason, description = await self._check(group, target)
            self._count(group, target, reason, description)
            interval = self._settings.scaled(group.described.get("HealthCheckIntervalSeconds", 30), _MIN_INTERVAL)
            # spread, so that hundreds of targets do not all ask in the same millisecond
            await asyncio.sleep(interval * random.uniform(0.9, 1.1))

    @staticmethod
    def _count(group: Group, target: Target, reason: str | None, description: str | None) -> None:
        if reason is None:
            target.passed, target.failed = target.passed + 1, 0
            # "After your target is registered, it must pass one health check to be considered healthy" (ALB guide);
            # the threshold is for coming back from unhealthy.
            needed = 1 if target.state == "initial" else group.described.get("HealthyThresholdCount", 5)
            if target.state != "healthy" and target.passed >= needed:
                target.become("healthy")
        else:
            target.passed, target.failed = 0, target.failed + 1
            if target.state == "unhealthy" or target.failed >= group.described.get("UnhealthyThresholdCount", 2):
                target.become("unhealthy", reason, description)

    async def _check(self, group: Group, target: Target) -> tuple[str | None, str | None]:
        """(None, None) when it passed, else the API's reason and description."""
        timeout = self._settings.scaled(group.described.get("HealthCheckTimeoutSeconds", 5), _MIN_TIMEOUT)
        port = group.health_check_port(target)
        tls = _trusting if group.described.get("HealthCheckProtocol") == "HTTPS" else None
        path = group.described.get("HealthCheckPath", "/")
        try:
            async with asyncio.timeout(timeout):
                reader, writer = await asyncio.open_connection(target.address, port, ssl=tls, limit=_HEAD_LIMIT)
                try:
                    if group.described.get("HealthCheckProtocol") == "TCP":
                        return None, None  # a connection is all that is asked for
                    writer.write(
                        f"GET {path} HTTP/1.1\r\nHost: {target.address}:{port}\r\nConnection: close\r\n"
                        "User-Agent: ELB-HealthChecker/2.0\r\nAccept-Encoding: gzip, compressed\r\n\r\n".encode()
                    )
                    line = await reader.readline()
                finally:
                    writer.close()
        except TimeoutError:
            return "Target.Timeout", "Request timed out"
        except (OSError, ValueError):
            return "Target.FailedHealthChecks", "Health checks failed"
        parts = line.split()
        if len(parts) < 2 or not parts[0].startswith(b"HTTP/1.") or not parts[1].isdigit():
            return "Target.FailedHealthChecks", "Health checks failed"
        status = int(parts[1])
        if group.accepts(status):
            return None, None
        return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]"
