"""The operations on metrics: PutMetricData, GetMetricData, ListMetrics."""

from __future__ import annotations

import time
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from . import queries
from .samples import invalid, sample
from .store import Key, Store, dimensions

MAX_METRIC_DATA = 1000  # PutMetricData: "up to 1000 different metrics" per request
_PAGE = 500  # ListMetrics: "up to 500 results are returned for any one call"
_LISTED_SECONDS = 14 * 86400.0  # "metrics that have had data points in the past two weeks"
_RECENT_SECONDS = 3 * 3600.0


class Metrics:
    """Handlers over one store."""

    def __init__(self, dispatch: Dispatch, store: Store) -> None:
        self._store = store
        dispatch.register("cloudwatch", self)

    async def PutMetricData(self, call: Call) -> dict[str, Any]:
        params = call.params
        if params.get("EntityMetricData") or "StrictEntityValidation" in params:
            raise not_emulated("PutMetricData with entities")
        namespace, data = params["Namespace"], params.get("MetricData")
        if not data:
            raise AwsError("MissingParameter", "The parameter MetricData is required.")
        if namespace.startswith("AWS/"):
            raise invalid("The value AWS/ for parameter Namespace is invalid.")
        if len(data) > MAX_METRIC_DATA:
            raise invalid(f"The collection MetricData must not have a size greater than {MAX_METRIC_DATA}.")
        now = time.time()
        # all or nothing: the first bad datum refuses the request
        checked = [(_key(call.region, namespace, datum), sample(datum, now, now)) for datum in data]
        for key, one in checked:
            self._store.add(key, one)
        return {}

    async def GetMetricData(self, call: Call) -> dict[str, Any]:
        return queries.answer(self._store, call.params, call.region)

    async def ListMetrics(self, call: Call) -> dict[str, Any]:
        params = call.params
        if params.get("IncludeLinkedAccounts") or "OwningAccount" in params:
            raise not_emulated("metrics of other accounts")
        age = _RECENT_SECONDS if "RecentlyActive" in params else _LISTED_SECONDS
        found = [key for key in self._store.keys(call.region, time.time() - age) if _wanted(key, params)]
        token = params.get("NextToken", "0")
        if not token.isdigit() or (token != "0" and int(token) >= len(found)):
            raise invalid("The value for parameter NextToken is invalid.")
        page = found[int(token) : int(token) + _PAGE]
        result: dict[str, Any] = {"Metrics": [_describe(key) for key in page]}
        if len(found) > int(token) + _PAGE:
            result["NextToken"] = str(int(token) + _PAGE)
        return result


def _key(region: str, namespace: str, datum: dict[str, Any]) -> Key:
    given = datum.get("Dimensions", [])
    found = dimensions(given)
    if len(found) != len(given):
        raise invalid("The parameter Dimensions must not name a dimension twice.")
    for name, value in found.items():
        if name.startswith(":") or not (name + value).isascii() or not name.strip() or not value.strip():
            raise invalid(f"The dimension {name[:50]!r} is invalid.")
    return Key.of(region, namespace, datum["MetricName"], found)


def _wanted(key: Key, params: dict[str, Any]) -> bool:
    held = dict(key.dimensions)
    return (
        params.get("Namespace") in (None, key.namespace)
        and params.get("MetricName") in (None, key.name)
        and all(
            one["Name"] in held and one.get("Value") in (None, held[one["Name"]])
            for one in params.get("Dimensions", [])
        )
    )


def _describe(key: Key) -> dict[str, Any]:
    return {
        "Namespace": key.namespace,
        "MetricName": key.name,
        "Dimensions": [{"Name": name, "Value": value} for name, value in key.dimensions],
    }
