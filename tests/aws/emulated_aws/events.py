"""Announces what happened on the default event bus, as AWS services do; rules and targets are moto's."""

from __future__ import annotations

import json
from typing import Any

from .dispatch import Dispatch


async def announce(
    dispatch: Dispatch, region: str, source: str, detail_type: str, resources: list[str], detail: dict[str, Any]
) -> None:
    """One event to whoever has a rule for it. Nobody has one most of the time: then nothing happens."""
    entry = {
        "Source": source, "DetailType": detail_type, "Resources": resources,
        "Detail": json.dumps(detail), "EventBusName": "default",
    }  # fmt: skip
    await dispatch.ask("events", "PutEvents", {"Entries": [entry]}, region, source, quiet=True)
