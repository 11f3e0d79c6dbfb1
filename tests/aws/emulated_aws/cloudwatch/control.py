"""The control API's part about CloudWatch: points at any time, a publishing delay, statuses and evaluation states."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from ..errors import AwsError
from .alarms import Alarms
from .samples import sample
from .store import STATUSES, Key, Store, Verdict

_REGION = "us-east-1"
_EVALUATIONS = (None, "PARTIAL_DATA", "EVALUATION_FAILURE", "EVALUATION_ERROR")
_MAX_DELAY_SECONDS = 3600


class CloudWatchControl:
    """Handlers; JSON in and out."""

    def __init__(self, store: Store, alarms: Alarms) -> None:
        self._store = store
        self._alarms = alarms

    def routes(self) -> list[web.RouteDef]:
        """To be added before the control API's catch-all."""
        return [
            web.post("/_emulated/metrics/points", _answering(self._points)),
            web.post("/_emulated/metrics/delay", _answering(self._delay)),
            web.post("/_emulated/metrics/statuses", _answering(self._statuses)),
            web.delete("/_emulated/metrics", _answering(self._clear)),
            web.post("/_emulated/alarms/evaluation", _answering(self._evaluation)),
        ]

    def _points(self, body: dict[str, Any]) -> dict[str, Any]:
        _only(body, "namespace", "name", "dimensions", "region", "points")
        named = body.get("region", _REGION), body["namespace"], body["name"]
        dimensions = body.get("dimensions", {})
        if not all(isinstance(one, str) for one in (*named, *dimensions, *dimensions.values())):
            raise ValueError("region, namespace, name and dimensions are strings")
        key = Key.of(*named, dimensions)
        now = time.time()
        samples = []
        for point in body["points"]:
            _only(point, "at", "age_seconds", "value", "values", "counts", "statistics", "unit", "resolution")
            if "at" in point and "age_seconds" in point:
                raise ValueError("a point has at or age_seconds, not both")
            names = {
                "value": "Value", "values": "Values", "counts": "Counts", "statistics": "StatisticValues",
                "unit": "Unit", "resolution": "StorageResolution",
            }  # fmt: skip
            datum = {names[k]: v for k, v in point.items() if k in names}
            datum["Timestamp"] = point.get("at", now - point.get("age_seconds", 0))
            samples.append(sample(datum, now, now, anytime=True))
        for one in samples:
            self._store.add(key, one)
        return {"points": len(samples)}

    def _delay(self, body: dict[str, Any]) -> dict[str, Any]:
        _only(body, "seconds")
        seconds = float(body["seconds"])
        if not 0 <= seconds <= _MAX_DELAY_SECONDS:
            raise ValueError(f"seconds must be between 0 and {_MAX_DELAY_SECONDS}")
        self._store.delay_seconds = seconds
        return {"seconds": seconds}

    def _statuses(self, body: dict[str, Any]) -> dict[str, Any]:
        _only(body, "statuses")
        found = []
        for one in body["statuses"]:
            _only(one, "status", "namespace", "name", "dimensions")
            if one["status"] not in STATUSES:
                raise ValueError(f"status is one of {', '.join(STATUSES)}")
            dimensions = tuple(sorted(one.get("dimensions", {}).items()))
            found.append(Verdict(one["status"], one.get("namespace"), one.get("name"), dimensions))
        self._store.verdicts = found
        return {"statuses": len(found)}

    def _clear(self, body: dict[str, Any]) -> dict[str, Any]:
        self._store.clear()
        return {}

    def _evaluation(self, body: dict[str, Any]) -> dict[str, Any]:
        _only(body, "alarm", "state", "region")
        alarm = self._alarms.find(body.get("region", _REGION), body["alarm"])
        if alarm is None:
            raise ValueError(f"no alarm {body['alarm']}")
        if body["state"] not in _EVALUATIONS:
            raise ValueError(f"state is null or one of {', '.join(str(one) for one in _EVALUATIONS[1:])}")
        alarm.evaluated(body["state"])
        return {"alarm": alarm.arn}


def _only(body: Any, *known: str) -> None:
    if not isinstance(body, dict):
        raise ValueError("a JSON object is wanted")
    unknown = sorted(set(body) - set(known))
    if unknown:
        raise ValueError(f"unknown member {unknown[0]}; known: {', '.join(known)}")


def _answering(handler: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    async def handle(request: web.Request) -> web.Response:
        try:
            return web.json_response(handler(json.loads(await request.read() or b"{}")))
        except KeyError as error:
            return web.json_response({"error": f"{error} is missing"}, status=400)
        except (ValueError, TypeError, AttributeError, AwsError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle
