"""The last few thousand AWS calls, for tests to look at: who asked what and what came back."""

from __future__ import annotations

import collections
import dataclasses
import json
import time
from typing import Any

CAPACITY = 50_000
_SUMMARY_CHARS = 1600
_TEXT_CHARS = 200


@dataclasses.dataclass(frozen=True)
class Entry:
    """One call."""

    at: float
    service: str
    operation: str
    access_key: str
    status: int
    error: str | None
    params: str


class Journal:
    """A bounded ring; what falls out is counted."""

    def __init__(self) -> None:
        self._entries: collections.deque[Entry] = collections.deque(maxlen=CAPACITY)
        self.lost = 0

    def record(
        self, service: str, operation: str, access_key: str, status: int, error: str | None, params: dict[str, Any]
    ) -> None:
        """Adds a call at its end."""
        if len(self._entries) == CAPACITY:
            self.lost += 1
        summary = json.dumps(_cut(params), default=_short)
        self._entries.append(
            Entry(time.time(), service, operation, access_key, status, error, summary[:_SUMMARY_CHARS])
        )

    def find(self, **wanted: str | None) -> list[dict[str, Any]]:
        """Calls whose members have the wanted values, the oldest first."""
        return [
            dataclasses.asdict(entry)
            for entry in self._entries
            if all(value is None or getattr(entry, key) == value for key, value in wanted.items())
        ]


def _cut(value: Any) -> Any:
    """Without the ends of long texts, so that what comes after them is there, and most calls are JSON that can be read."""
    if isinstance(value, dict):
        return {key: _cut(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_cut(inner) for inner in value]
    return value[:_TEXT_CHARS] if isinstance(value, str) else value


def _short(value: Any) -> str:
    return f"<{len(value)} bytes>" if isinstance(value, (bytes, bytearray)) else str(value)
