"""How a service deployment waits: for something, for a while, and never past somebody's wish to end it."""

from __future__ import annotations

import asyncio

from .model import Deployment


async def until(deployment: Deployment | None, event: asyncio.Event, seconds: float | None) -> bool:
    """True when the event came in time; raises the deployment's verdict as soon as there is one.

    Without a deployment nothing interrupts the wait.
    """
    waits = [asyncio.create_task(event.wait())]
    if deployment:
        waits.append(asyncio.create_task(deployment.interrupted.wait()))
    try:
        await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
    if deployment and deployment.verdict:
        raise deployment.verdict
    return event.is_set()


async def pause(deployment: Deployment | None, seconds: float) -> None:
    """Sleeps, unless the deployment is to end."""
    await until(deployment, asyncio.Event(), seconds)
