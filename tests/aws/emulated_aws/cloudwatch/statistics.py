"""Statistics over samples: the five plain ones and percentiles."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from ..errors import AwsError, not_emulated
from .samples import Sample

PLAIN = ("SampleCount", "Average", "Sum", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d{1,10})?)")
# "tm99", "TC(10%:90%)", "PR(:300)", "IQM" and so on: AWS has them, we do not
_OTHERS = re.compile(r"(?:tm|wm|tc|ts)\d{1,2}(?:\.\d{1,10})?|(?:TM|WM|TC|TS|PR)\([^()]*:[^()]*\)|IQM", re.IGNORECASE)


def check(stat: str) -> None:
    """Raises for a statistic AWS does not know, and otherwise for one we do not."""
    if stat in PLAIN:
        return
    match = _PERCENTILE.fullmatch(stat)
    if match and float(match[1]) <= 100:
        return
    if _OTHERS.fullmatch(stat):
        raise not_emulated(f"statistic {stat}: only {', '.join(PLAIN)} and percentiles")
    raise AwsError("ValidationError", f"The value {stat} for parameter Stat is not supported.")


def of(samples: Sequence[Sample], stat: str) -> float | None:
    """The statistic of at least one sample; None when it cannot be told."""
    count = sum(one.count for one in samples)
    total = sum(one.total for one in samples)
    plain = {
        "SampleCount": count, "Sum": total, "Minimum": min(one.low for one in samples),
        "Maximum": max(one.high for one in samples),
    }  # fmt: skip
    if stat in plain:
        return plain[stat]
    if stat == "Average":
        return total / count
    # "not available when any of the metric values are negative numbers", nor of bare statistic sets
    if plain["Minimum"] < 0 or any(one.values is None for one in samples):
        return None
    return _percentile([pair for one in samples for pair in one.values or ()], float(stat[1:]))


def _percentile(pairs: list[tuple[float, float]], percent: float) -> float:
    """The nearest rank: the smallest value that at least so many percent of the measurements do not exceed."""
    pairs.sort()
    rank = sum(count for _, count in pairs) * percent / 100
    seen = 0.0
    for value, count in pairs:
        seen += count
        if count and (seen >= rank or math.isclose(seen, rank)):
            return value
    return pairs[-1][0]
