"""What one MetricDatum becomes: checked as PutMetricData checks it, and reduced to the numbers statistics need."""

from __future__ import annotations

import dataclasses
import datetime
import math
from collections.abc import Iterable
from typing import Any

from dateutil import parser as dates

from ..errors import AwsError

MAX_VALUES = 150  # "You can specify up to 150 unique values per metric" (PutMetricData)
_LARGEST = 2.0**360  # "values must be in the range of -2^360 to 2^360"
_PAST, _FUTURE = 14 * 86400.0, 2 * 3600.0  # "as much as two weeks before, and up to two hours after the current day"
_DISTRIBUTIONS = ("Value", "Values", "StatisticValues")


@dataclasses.dataclass(frozen=True)
class Sample:
    """Some measurements of one moment; without `values` no percentile can be told."""

    at: float
    published: float  # when it came in, by our clock
    fine: bool  # kept by the second (StorageResolution 1), not by the minute
    count: float
    total: float
    low: float
    high: float
    values: tuple[tuple[float, float], ...] | None
    unit: str = "None"


def moment(value: Any) -> float:
    """Epoch seconds of a timestamp in whatever form the protocol left it."""
    if isinstance(value, str):
        try:
            value = dates.isoparse(value) if not value.replace(".", "", 1).isdigit() else float(value)
        except ValueError:
            raise invalid(f"timestamp {value[:50]!r} cannot be read") from None
    if isinstance(value, datetime.datetime):
        return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
    return float(value)


def sample(datum: dict[str, Any], now: float, published: float, anytime: bool = False) -> Sample:
    """The datum as we keep it; `anytime` is the control API's right to write history."""
    at = moment(datum["Timestamp"]) if "Timestamp" in datum else now
    if not anytime and not now - _PAST <= at <= now + _FUTURE:
        raise invalid("The parameter Timestamp must specify a time within the past two weeks and the next two hours.")
    resolution = datum.get("StorageResolution", 60)
    if resolution not in (1, 60):
        raise invalid("The parameter StorageResolution must be 1 or 60.")
    given = [key for key in _DISTRIBUTIONS if key in datum]
    if not given:
        raise AwsError("MissingParameter", "At least one of the parameters Value, Values, StatisticValues is required.")
    if len(given) > 1:
        raise AwsError("InvalidParameterCombination", f"The parameters {' and '.join(given)} are mutually exclusive.")
    if "Counts" in datum and "Values" not in datum:
        raise AwsError("InvalidParameterCombination", "The parameter Counts requires the parameter Values.")
    at = math.floor(at) if resolution == 1 else math.floor(at / 60) * 60
    unit = datum.get("Unit", "None")
    if "StatisticValues" in datum:
        count, total, low, high = _statistics(datum["StatisticValues"])
        # "percentile statistics are available only if ... SampleCount is 1, or Min and Max are equal"
        values = ((low, count),) if low == high or count == 1 else None
        return Sample(at, published, resolution == 1, count, total, low, high, values, unit)
    pairs = _values(datum) if "Values" in datum else [(_number(datum["Value"], "Value"), 1.0)]
    return Sample(at, published, resolution == 1, *_summary(pairs), tuple(pairs), unit)


def spread(
    values: Iterable[tuple[float, float]], at: float, published: float, fine: bool = False, unit: str = "None"
) -> Sample:
    """A sample of (value, count) pairs, for what the emulated AWS measures itself."""
    pairs = tuple(values)
    return Sample(at, published, fine, *_summary(pairs), pairs, unit)


def _summary(pairs: Iterable[tuple[float, float]]) -> tuple[float, float, float, float]:
    counted = [(value, count) for value, count in pairs if count > 0]
    numbers = [value for value, _ in counted]
    return sum(c for _, c in counted), sum(v * c for v, c in counted), min(numbers), max(numbers)


def _values(datum: dict[str, Any]) -> list[tuple[float, float]]:
    values = [_number(one, "Values") for one in datum["Values"]]
    counts = [_number(one, "Counts") for one in datum.get("Counts", [1.0] * len(values))]
    if not values:
        raise AwsError("MissingParameter", "The parameter Values must not be empty.")
    if len(values) > MAX_VALUES:
        raise invalid(f"The collection Values must not have a size greater than {MAX_VALUES}.")
    if len(values) != len(counts):
        raise invalid("The parameters Values and Counts must have the same size.")
    if any(count < 0 for count in counts) or not any(counts):
        raise invalid("The parameter Counts must be positive.")
    return list(zip(values, counts, strict=True))


def _statistics(given: dict[str, Any]) -> tuple[float, float, float, float]:
    count, total, low, high = (
        _number(given[key], f"StatisticValues.{key}") for key in ("SampleCount", "Sum", "Minimum", "Maximum")
    )
    if count <= 0:
        raise invalid("The parameter StatisticValues.SampleCount must be greater than 0.")
    if low > high:
        raise invalid("The parameter StatisticValues.Maximum must be greater than or equal to Minimum.")
    return count, total, low, high


def _number(value: Any, name: str) -> float:
    number = float(value)
    if math.isnan(number) or math.isinf(number) or abs(number) > _LARGEST:
        raise invalid(f"The value {value} for parameter {name} is invalid.")
    return number


def invalid(message: str) -> AwsError:
    """PutMetricData's and ListMetrics' name for a bad value."""
    return AwsError("InvalidParameterValue", message)
