"""Lambda's lists in pages, by Marker and MaxItems."""

from __future__ import annotations

import base64
from typing import Any

from ..errors import AwsError

_MOST = 50  # "Lambda returns a maximum of 50 items" whatever MaxItems says


def page(member: str, items: list[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
    """The page the request asks for."""
    try:
        start = int(base64.b64decode(params.get("Marker", ""), validate=True) or 0)
    except ValueError:
        raise AwsError("InvalidParameterValueException", "Invalid value for Marker") from None
    end = start + min(params.get("MaxItems", _MOST), _MOST)
    found: dict[str, Any] = {member: items[start:end]}
    if end < len(items):
        found["NextMarker"] = base64.b64encode(str(end).encode()).decode()
    return found
