"""Which receipt handles are still good: a message has one at a time, for as long as it is not visible."""

from __future__ import annotations

import collections
import dataclasses
import time

_MAX_RECEIPTS = 50_000


@dataclasses.dataclass
class Receipt:
    """What a handle was given out for."""

    message: str
    until: float  # monotonic

    @property
    def in_flight(self) -> bool:
        return time.monotonic() < self.until


class Receipts:
    """The handles given out, the oldest forgotten first."""

    def __init__(self) -> None:
        self._receipts: collections.OrderedDict[str, Receipt] = collections.OrderedDict()
        self._newest: dict[str, str] = {}  # message -> handle; a message keeps its id in a dead-letter queue

    def give(self, message: str, handle: str, seconds: float) -> None:
        """A message was received; any handle it had before is superseded."""
        self._receipts[handle] = Receipt(message, time.monotonic() + seconds)
        self._newest[message] = handle
        if len(self._receipts) > _MAX_RECEIPTS:
            old, receipt = self._receipts.popitem(last=False)
            if self._newest.get(receipt.message) == old:
                del self._newest[receipt.message]

    def superseded(self, handle: str) -> bool:
        """Whether somebody has received the message since."""
        receipt = self._receipts.get(handle)
        return receipt is not None and self._newest.get(receipt.message) != handle

    def in_flight(self, handle: str) -> bool:
        """False when it is known that the handle's time is over."""
        receipt = self._receipts.get(handle)
        return receipt is None or (receipt.in_flight and not self.superseded(handle))

    def extend(self, handle: str, seconds: float) -> None:
        """Another time until the message is visible again, from now on."""
        if handle in self._receipts:
            self._receipts[handle].until = time.monotonic() + seconds
