"""What a listener rule asks of a request: hosts, paths, headers, methods, queries and addresses, as an ALB reads."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from collections.abc import Callable
from typing import Any

from ..errors import AwsError, not_emulated
from .http1 import Head

Matcher = Callable[[Head, str], bool]

_MAX_VALUES = 5  # ALB quota: condition values per rule
_MAX_WILDCARDS = 6  # ALB quota: condition wildcards per rule
_MAX_LENGTH = 128
_CONFIGS = {
    "host-header": "HostHeaderConfig",
    "path-pattern": "PathPatternConfig",
    "http-header": "HttpHeaderConfig",
    "http-request-method": "HttpRequestMethodConfig",
    "query-string": "QueryStringConfig",
    "source-ip": "SourceIpConfig",
}
_OLD_STYLE = ("host-header", "path-pattern")  # the two that also take plain `Values`
_REPEATABLE = ("http-header", "query-string")  # "zero or one of the others" (ALB guide, listener rules)


def compile_conditions(conditions: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[Matcher]]:
    """The conditions as ELB describes them, and what decides each; refused as ELB refuses them."""
    if not conditions:
        raise _invalid("A condition must be specified")
    shown, matchers, fields, values = [], [], [], []
    for condition in conditions:
        described, matcher, used = _compile(condition)
        shown.append(described)
        matchers.append(matcher)
        fields.append(described["Field"])
        values += used
    for field in set(fields) - set(_REPEATABLE):
        if fields.count(field) > 1:
            raise _invalid(f"A rule can have only one '{field}' condition")
    if len(values) > _MAX_VALUES:
        raise _invalid(f"A rule can have at most {_MAX_VALUES} condition values")
    if sum(value.count("*") + value.count("?") for value in values) > _MAX_WILDCARDS:
        raise _invalid(f"A rule can have at most {_MAX_WILDCARDS} condition wildcards")
    return shown, matchers


def _compile(condition: dict[str, Any]) -> tuple[dict[str, Any], Matcher, list[str]]:
    field = condition.get("Field")
    if field not in _CONFIGS:
        raise _invalid(f"Condition field '{field}' must be one of '[{', '.join(sorted(_CONFIGS))}]'")
    name = _CONFIGS[field]
    stray = [key for key in condition if key not in ("Field", "Values", name)]
    if stray and "RegexValues" not in stray:
        raise _invalid(f"'{stray[0]}' is not compatible with the field '{field}'")
    config = condition.get(name) or {}
    if "RegexValues" in condition or "RegexValues" in config:
        raise not_emulated("regular expressions in rule conditions")
    values = config.get("Values") or (condition.get("Values") if field in _OLD_STYLE else None)
    if condition.get("Values") and (field not in _OLD_STYLE or config.get("Values")):
        raise _invalid(f"The 'Values' field is not compatible with '{field}'")
    if not values:
        raise _invalid("A condition value must be specified")
    shown = {"Field": field, name: {**config, "Values": values}}
    if field in _OLD_STYLE:
        shown["Values"] = values
    texts = [text for value in values for text in (value.values() if isinstance(value, dict) else [value])]
    if any(not text or len(text) > _MAX_LENGTH for text in texts):
        raise _invalid(f"A condition value must have 1 to {_MAX_LENGTH} characters")
    return shown, _MAKERS[field](values, config), [str(text) for text in texts]


def _wild(values: list[str], flags: int = 0) -> Callable[[str], bool]:
    patterns = [
        re.compile(re.escape(value).replace(r"\*", ".*").replace(r"\?", "."), flags | re.DOTALL) for value in values
    ]
    return lambda text: any(pattern.fullmatch(text) for pattern in patterns)


def _target(head: Head) -> tuple[str, str]:
    path, _, query = head.start[1].decode("latin-1").partition("?")
    if "://" in path:  # the absolute form of a request target
        path = "/" + path.split("://", 1)[1].partition("/")[2]
    return path, query


def _host(values: list[str], config: dict[str, Any]) -> Matcher:
    matches = _wild(values, re.IGNORECASE)

    def matcher(head: Head, peer: str) -> bool:
        hosts = head.values(b"host")
        # a port in the Host header is not part of the name
        return bool(hosts) and matches(re.sub(r":\d+$", "", hosts[0].decode("latin-1")))

    return matcher


def _path(values: list[str], config: dict[str, Any]) -> Matcher:
    matches = _wild(values)  # "path patterns are case-sensitive", and look at the path only, not at the query
    return lambda head, peer: matches(_target(head)[0])


def _header(values: list[str], config: dict[str, Any]) -> Matcher:
    name = config.get("HttpHeaderName")
    if not name or len(name) > 40:
        raise _invalid("The 'HttpHeaderName' must have 1 to 40 characters")
    if name.lower() == "host":
        raise _invalid("Use a host-header condition for the header 'host'")
    matches = _wild(values, re.IGNORECASE)
    wanted = name.lower().encode()

    def matcher(head: Head, peer: str) -> bool:
        return any(matches(value.decode("latin-1")) for key, value in head.headers if key == wanted)

    return matcher


def _method(values: list[str], config: dict[str, Any]) -> Matcher:
    if not all(re.fullmatch(r"[A-Z_-]{1,40}", value) for value in values):
        raise _invalid("An HTTP method has A-Z, - and _ only")
    return lambda head, peer: head.start[0].decode("latin-1") in values


def _query(values: list[dict[str, str]], config: dict[str, Any]) -> Matcher:
    pairs = [(_wild([one.get("Key", "*")], re.IGNORECASE), _wild([one["Value"]], re.IGNORECASE)) for one in values]

    def matcher(head: Head, peer: str) -> bool:
        given = urllib.parse.parse_qsl(_target(head)[1], keep_blank_values=True)
        return any(key(k) and value(v) for k, v in given for key, value in pairs)

    return matcher


def _source(values: list[str], config: dict[str, Any]) -> Matcher:
    try:
        networks = [ipaddress.ip_network(value) for value in values]
    except ValueError as error:
        raise _invalid(str(error)) from None
    return lambda head, peer: any(ipaddress.ip_address(peer) in network for network in networks)


_MAKERS: dict[str, Callable[[list[Any], dict[str, Any]], Matcher]] = {
    "host-header": _host,
    "path-pattern": _path,
    "http-header": _header,
    "http-request-method": _method,
    "query-string": _query,
    "source-ip": _source,
}


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
