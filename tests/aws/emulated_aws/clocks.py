"""AWS's clock as each access key sees it: to one whose machine is an hour slow, AWS is an hour ahead."""

from __future__ import annotations

import datetime
import json
from email.utils import format_datetime

from aiohttp import web

MAX_AHEAD_SECONDS = 86_400


class Clocks:
    """By how much AWS is ahead of the time that everybody else has; of most keys, by nothing."""

    def __init__(self) -> None:
        self._ahead: dict[str, datetime.timedelta] = {}

    def routes(self) -> list[web.RouteDef]:
        """The control API's part about clocks."""
        return [web.post("/_emulated/clocks", self._shift)]

    def now(self, access_key: str) -> datetime.datetime:
        """What signatures of this key are measured by."""
        return datetime.datetime.now(datetime.UTC) + self._ahead.get(access_key, datetime.timedelta())

    def dated(self, access_key: str, headers: dict[str, str]) -> dict[str, str]:
        """The headers of an answer to this key, with the date that it is to believe."""
        if access_key not in self._ahead:
            return headers
        return headers | {"Date": format_datetime(self.now(access_key), usegmt=True)}

    async def _shift(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read())
            access_key, ahead = asked.pop("access_key"), asked.pop("ahead_seconds")
        except (ValueError, KeyError, AttributeError, TypeError):
            return _problem("needs access_key and ahead_seconds")
        good = isinstance(access_key, str) and isinstance(ahead, int) and not isinstance(ahead, bool)
        if asked or not good or abs(ahead) > MAX_AHEAD_SECONDS:
            return _problem(f"access_key is a text, ahead_seconds a number up to {MAX_AHEAD_SECONDS} either way")
        self._ahead[access_key] = datetime.timedelta(seconds=ahead)
        if not ahead:
            del self._ahead[access_key]
        return web.json_response({"ahead_seconds": ahead})


def _problem(message: str) -> web.Response:
    return web.json_response({"error": message}, status=400)
