"""How a deployment waits: for something, for a while, and never past somebody's wish to stop it."""

from __future__ import annotations

import asyncio

from .model import Deployment


class Stopped(Exception):
    """Somebody stopped the deployment, or its wait for a go-ahead ran out."""

    def __init__(self, code: str = "MANUAL_STOP", message: str = "Deployment was stopped by a user.") -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Failed(Exception):
    """The deployment failed, with the errorInformation to show."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


async def until(deployment: Deployment, event: asyncio.Event, seconds: float | None) -> bool:
    """True when the event came in time; raises Stopped as soon as a stop is asked for."""
    waits = [asyncio.create_task(event.wait()), asyncio.create_task(deployment.stop.wait())]
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if deployment.stop.is_set():
        raise Stopped
    return event.is_set()


async def pause(deployment: Deployment, seconds: float) -> None:
    """Sleeps, unless stopped."""
    await until(deployment, asyncio.Event(), seconds)
