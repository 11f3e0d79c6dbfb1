"""Where metrics are kept: by region, namespace, name and exact set of dimensions."""

from __future__ import annotations

import collections
import dataclasses
import time
from collections.abc import Iterator, Mapping, Sequence

from ..errors import not_emulated
from . import statistics
from .samples import Sample

MAX_METRICS = 10_000
MAX_SAMPLES = 50_000  # per metric; the oldest go first
_HOURS_3, _DAY = 3 * 3600.0, 86400.0
# "Data points with a period of 60 seconds are available for 15 days", 300 for 63, 3600 for 455; under 60 for 3 hours
_RETENTION = ((455 * _DAY, None), (63 * _DAY, 3600), (15 * _DAY, 300), (_HOURS_3, 60))

STATUSES = ("Complete", "PartialData", "InternalError", "Forbidden")


@dataclasses.dataclass(frozen=True)
class Key:
    """A metric's identity; the order of its dimensions does not matter."""

    region: str
    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]

    @classmethod
    def of(cls, region: str, namespace: str, name: str, dimensions: Mapping[str, str]) -> Key:
        """The key for dimensions as a mapping."""
        return cls(region, namespace, name, tuple(sorted(dimensions.items())))


@dataclasses.dataclass(frozen=True)
class Verdict:
    """A status some metrics get whatever their data, as a test wants it."""

    status: str
    namespace: str | None
    name: str | None
    dimensions: tuple[tuple[str, str], ...]

    def concerns(self, key: Key) -> bool:
        """Whether the metric is one of the chosen."""
        return (
            self.namespace in (None, key.namespace)
            and self.name in (None, key.name)
            and set(self.dimensions) <= set(key.dimensions)
        )


class Store:
    """All samples, and what a test set about them."""

    def __init__(self) -> None:
        self._metrics: dict[Key, collections.deque[Sample]] = {}
        self.delay_seconds = 0.0
        self.verdicts: list[Verdict] = []

    def clear(self) -> None:
        """Forgets all samples; settings stay."""
        self._metrics.clear()

    def add(self, key: Key, sample: Sample) -> None:
        """Keeps a sample; from now on the metric exists."""
        found = self._metrics.get(key)
        if found is None:
            if len(self._metrics) >= MAX_METRICS:
                raise not_emulated(f"more than {MAX_METRICS} metrics")
            found = self._metrics[key] = collections.deque(maxlen=MAX_SAMPLES)
        found.append(sample)

    def keys(self, region: str, since: float) -> Iterator[Key]:
        """Metrics that have a visible sample since then, in a stable order."""
        limit = time.time() - self.delay_seconds
        named = [key for key in self._metrics if key.region == region]
        for key in sorted(named, key=lambda one: (one.namespace, one.name, one.dimensions)):
            if any(one.at >= since and one.published <= limit for one in self._metrics[key]):
                yield key

    def status(self, key: Key) -> str | None:
        """The status the newest matching verdict gives this metric."""
        return next((one.status for one in reversed(self.verdicts) if one.concerns(key)), None)

    def points(
        self, key: Key, stat: str, period: int, start: float, end: float, as_of: float, unit: str | None
    ) -> list[tuple[float, float]]:
        """(timestamp, value) by period from `start` on, the oldest first; periods without samples are not there."""
        now = time.time()
        visible = min(as_of, now - self.delay_seconds)
        buckets: dict[float, list[Sample]] = {}
        for one in self._metrics.get(key, ()):
            in_time = start <= one.at < end and one.published <= visible
            if in_time and _kept(now - one.at, period) and unit in (None, one.unit):
                buckets.setdefault(start + (one.at - start) // period * period, []).append(one)
        told = [(at, statistics.of(samples, stat)) for at, samples in sorted(buckets.items())]
        return [(at, value) for at, value in told if value is not None]


def _kept(age: float, period: int) -> bool:
    for limit, multiple in _RETENTION:
        if age > limit:
            return multiple is not None and period % multiple == 0
    return True


def rounded(start: float, period: int, now: float) -> float:
    """The start of a request as CloudWatch rounds it down."""
    age = now - start
    step = period if period < 60 else 3600 if age > 63 * _DAY else 300 if age > 15 * _DAY else 60
    return start // step * step


def dimensions(given: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Name to value."""
    return {one["Name"]: one["Value"] for one in given}
