"""What can be set on the command line, and the one rule by which emulated time runs faster than ours."""

from __future__ import annotations

import dataclasses
import ipaddress
from pathlib import Path

ACCOUNT = "123456789012"  # moto's default account; every ARN we make must agree with moto's
HOOK_LIMIT_SECONDS = 3600.0  # CodeDeploy quota: a lifecycle event fails if not completed in one hour
DEFAULT_TIME_SCALE = 10.0
DEFAULT_SECRET_KEY = "emulated"
# What people have in their environment for the other emulators; a signature with anything else is wrong.
# The last is that of the end-to-end tests, which look for it in everything gate writes.
COMMON_SECRET_KEYS = ("test", "testing", "secret", "fake", "mock", "dummy", "local", "never-shown-secret-key-of-e2e")


@dataclasses.dataclass(frozen=True)
class Settings:
    """The whole configuration of one emulator process."""

    log_dir: Path
    host: str = "127.0.0.1"
    port: int = 4566
    secret_key: str = DEFAULT_SECRET_KEY
    time_scale: float = DEFAULT_TIME_SCALE
    hook_limit_seconds: float | None = None
    rollback_hooks: bool = True
    flat_hook_payload: bool = False  # native ECS hooks get the payload of older documentation
    metric_period_seconds: int = 60

    def __post_init__(self) -> None:
        # Anybody who can sign a request can start processes here, so the outside must not reach it.
        if not ipaddress.ip_address(self.host).is_loopback:
            raise ValueError(f"--host {self.host}: the emulated AWS listens on loopback only")
        if not 0.1 <= self.time_scale <= 1000:
            raise ValueError("--time-scale must be between 0.1 and 1000")
        if self.hook_limit_seconds is not None and not 0.1 <= self.hook_limit_seconds <= 86400:
            raise ValueError("--hook-limit-seconds must be between 0.1 and 86400")
        if self.metric_period_seconds not in (1, 5, 10, 20, 30, 60):
            raise ValueError("--metric-period-seconds must be 1, 5, 10, 20, 30 or 60")

    def secret_keys(self, access_key: str) -> tuple[str, ...]:
        """The secrets that may have signed a request; one alone where one was asked for."""
        if self.secret_key != DEFAULT_SECRET_KEY:
            return (self.secret_key,)
        return (self.secret_key, access_key, *COMMON_SECRET_KEYS)

    def scaled(self, aws_seconds: float, floor: float = 0.0) -> float:
        """Real seconds for so many AWS seconds, at least `floor` but never longer than AWS would take."""
        return min(max(aws_seconds / self.time_scale, floor), max(aws_seconds, 0.0))

    @property
    def hook_limit(self) -> float:
        """Real seconds a lifecycle hook has for its answer."""
        return self.hook_limit_seconds or self.scaled(HOOK_LIMIT_SECONDS)
