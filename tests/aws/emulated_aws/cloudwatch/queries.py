"""GetMetricData taken apart: its queries checked, its pages cut."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import hashlib
import json
import re
import time
from typing import Any

from ..errors import AwsError, not_emulated
from . import statistics
from .samples import moment
from .store import Key, Store, dimensions, rounded

MAX_QUERIES, MAX_POINTS = 500, 100_800  # "up to 500", "the default of 100,800 is used"
_ID = re.compile(r"[a-z][A-Za-z0-9_]*")
_FINE_PERIODS = (1, 5, 10, 20, 30)


@dataclasses.dataclass(frozen=True)
class Query:
    """One metric asked for."""

    id: str
    key: Key
    stat: str
    period: int
    unit: str | None
    label: str
    shown: bool


def parse(params: dict[str, Any], region: str) -> list[Query]:
    """The queries, refused where AWS would."""
    given = params["MetricDataQueries"]
    if not given:
        raise AwsError("ValidationError", "The collection MetricDataQueries must not be empty.")
    if len(given) > MAX_QUERIES:
        raise AwsError("ValidationError", f"The collection MetricDataQueries must not exceed {MAX_QUERIES} queries.")
    queries = [_query(one, region) for one in given]
    if len({one.id for one in queries}) != len(queries):
        raise AwsError("ValidationError", "The values for parameter id in MetricDataQueries are not unique.")
    return queries


def period(value: int, name: str = "Period") -> int:
    """A period AWS takes."""
    if value not in _FINE_PERIODS and value % 60:
        raise AwsError("ValidationError", f"{name} must be 1, 5, 10, 20, 30 or any multiple of 60, not {value}.")
    return value


def _query(given: dict[str, Any], region: str) -> Query:
    if not _ID.fullmatch(given["Id"]):
        raise AwsError(
            "ValidationError",
            f"The value {given['Id'][:50]} for parameter MetricDataQueries Id is not matching the expected pattern "
            "^[a-z][a-zA-Z0-9_]*$.",
        )
    if ("Expression" in given) == ("MetricStat" in given):
        raise AwsError("ValidationError", "Exactly one of Expression and MetricStat must be given in a query.")
    if "Expression" in given:
        raise not_emulated("metric math and Metrics Insights expressions")
    if "Period" in given:
        raise AwsError("ValidationError", "Period must not be given beside MetricStat.")
    if "AccountId" in given:
        raise not_emulated("metrics of other accounts")
    stat, metric = given["MetricStat"], given["MetricStat"]["Metric"]
    for member in ("Namespace", "MetricName"):
        if member not in metric:
            raise AwsError("ValidationError", f"The parameter MetricStat.Metric.{member} is required.")
    statistics.check(stat["Stat"])
    found = dimensions(metric.get("Dimensions", []))
    key = Key.of(region, metric["Namespace"], metric["MetricName"], found)
    return Query(
        given["Id"], key, stat["Stat"], period(stat["Period"]), stat.get("Unit"), given.get("Label", key.name),
        given.get("ReturnData", True),
    )  # fmt: skip


def answer(store: Store, params: dict[str, Any], region: str) -> dict[str, Any]:
    """GetMetricData's result, a page of it."""
    queries = [one for one in parse(params, region) if one.shown]
    if not queries:
        raise AwsError("ValidationError", "At least one query must return data.")
    start, end = moment(params["StartTime"]), moment(params["EndTime"])
    if start >= end:
        raise AwsError("ValidationError", "The parameter StartTime must be less than the parameter EndTime.")
    most = params.get("MaxDatapoints", MAX_POINTS)
    if not 1 <= most <= MAX_POINTS:
        raise AwsError("ValidationError", f"MaxDatapoints must be between 1 and {MAX_POINTS}.")
    print_ = _fingerprint(params)
    index, offset, as_of = _position(params.get("NextToken"), print_)
    results: list[dict[str, Any]] = []
    while index < len(queries):
        query = queries[index]
        status = store.status(query.key) or "Complete"
        points = store.points(
            query.key, query.stat, query.period, rounded(start, query.period, as_of), end, as_of, query.unit
        )
        if params.get("ScanBy", "TimestampDescending") == "TimestampDescending":
            points.reverse()
        points = _under(status, points)
        page = points[offset : offset + most]
        if points and not page:
            break  # this page is full; the query begins the next one
        most -= len(page)
        rest = len(points) - offset - len(page)
        results.append(_result(query, page, "PartialData" if rest and status == "Complete" else status))
        if rest:
            offset += len(page)
            break
        index, offset = index + 1, 0
    answered: dict[str, Any] = {"MetricDataResults": results, "Messages": []}
    if index < len(queries):
        answered["NextToken"] = _token(index, offset, as_of, print_)
    return answered


def _under(status: str, points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left to see of a metric a test has made fail: nothing, or some of it."""
    if status in ("Forbidden", "InternalError"):
        return []
    return points[: len(points) // 2] if status == "PartialData" else points


def _result(query: Query, points: list[tuple[float, float]], status: str) -> dict[str, Any]:
    result = {
        "Id": query.id,
        "Label": query.label,
        "Timestamps": [datetime.datetime.fromtimestamp(at, datetime.UTC) for at, _ in points],
        "Values": [value for _, value in points],
        "StatusCode": status,
    }
    if status in ("Forbidden", "InternalError"):
        result["Messages"] = [{"Code": status, "Value": "set by a test"}]
    return result


def _fingerprint(params: dict[str, Any]) -> str:
    rest = {k: v for k, v in params.items() if k not in ("NextToken", "MaxDatapoints")}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, default=moment).encode()).hexdigest()[:16]


def _token(index: int, offset: int, as_of: float, fingerprint: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([index, offset, as_of, fingerprint]).encode()).decode()


def _position(token: str | None, fingerprint: str) -> tuple[int, int, float]:
    """Where a page begins; later pages see what the first one saw."""
    if token is None:
        return 0, 0, time.time()
    try:
        index, offset, as_of, found = json.loads(base64.urlsafe_b64decode(token))
        if found != fingerprint:
            raise ValueError("of another request")
        return int(index), int(offset), float(as_of)
    except (ValueError, TypeError, binascii.Error) as error:
        raise AwsError("InvalidNextToken", f"The token is not one of this request: {error}") from None
