"""Faults a test injects in front of any operation: errors by name, delays, dropped connections, other parameters."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

MAX_FAULTS = 200
MAX_DELAY_SECONDS = 300


@dataclasses.dataclass
class Fault:
    """One rule; None matches everything."""

    id: str
    service: str
    operation: str
    access_key: str | None
    deployment_id: str | None
    error: str | None
    status: int
    message: str
    count: int | None
    delay_seconds: float
    drop: bool
    after: int
    each: bool
    params: dict[str, Any]
    matched: dict[str, int] = dataclasses.field(default_factory=dict)

    def matches(self, service: str, operation: str, access_key: str, params: dict[str, Any]) -> bool:
        """Whether the rule is about this call, used up or not."""
        return (
            self.service in ("*", service)
            and self.operation in ("*", operation)
            and self.access_key in (None, access_key)
            and self.deployment_id in (None, params.get("deploymentId"))
        )

    def hits(self, service: str, operation: str) -> bool:
        """Counts a call it is about; whether it strikes this one."""
        counted = f"{service}.{operation}" if self.each else "*"
        seen = self.matched.get(counted, 0)
        if self.count is not None and seen >= self.after + self.count:
            return False
        self.matched[counted] = seen + 1
        return seen >= self.after


_TYPES: dict[str, tuple[type | tuple[type, ...], Any]] = {
    "service": (str, "*"),
    "operation": (str, "*"),
    "access_key": (str, None),
    "deployment_id": (str, None),
    "error": (str, None),
    "status": (int, 400),
    "message": (str, "injected by a test"),
    "count": (int, None),
    "delay_seconds": ((int, float), 0),
    "drop": (bool, False),
    "after": (int, 0),
    "each": (bool, False),
    "params": (dict, {}),
}


class Faults:
    """The rules in force, the oldest first."""

    def __init__(self) -> None:
        self.rules: dict[str, Fault] = {}
        self._ids = itertools.count(1)

    def add(self, spec: Any) -> Fault:
        """A new rule from the control API's JSON; raises ValueError for what is not one."""
        if not isinstance(spec, dict):
            raise ValueError("a fault is a JSON object")
        if len(self.rules) >= MAX_FAULTS:
            raise ValueError(f"at most {MAX_FAULTS} faults")
        values = {}
        for key, value in spec.items():
            if key not in _TYPES:
                raise ValueError(f"unknown member {key}; known: {', '.join(_TYPES)}")
            if value is not None and (
                not isinstance(value, _TYPES[key][0]) or isinstance(value, bool) != (_TYPES[key][0] is bool)
            ):
                raise ValueError(f"{key} has the wrong type")
            if value is not None:
                values[key] = value
        fault = Fault(f"f-{next(self._ids)}", **{k: values.get(k, default) for k, (_, default) in _TYPES.items()})
        if not (fault.error or fault.drop or fault.delay_seconds or fault.params):
            raise ValueError("a fault needs one of error, drop, delay_seconds, params")
        if not 400 <= fault.status <= 599 or not 0 <= fault.delay_seconds <= MAX_DELAY_SECONDS or fault.after < 0:
            raise ValueError("status, delay_seconds or after is out of range")
        if fault.count is not None and fault.count < 1:
            raise ValueError("count is at least 1, or null for as long as the fault exists")
        self.rules[fault.id] = fault
        return fault

    def remove(self, fault_id: str | None) -> int:
        """Removes one rule, or all; says how many."""
        if fault_id is None:
            gone = len(self.rules)
            self.rules.clear()
            return gone
        return 1 if self.rules.pop(fault_id, None) else 0

    def strike(self, service: str, operation: str, access_key: str, params: dict[str, Any]) -> Fault | None:
        """The first rule this call falls under, counted."""
        for fault in self.rules.values():
            if fault.matches(service, operation, access_key, params) and fault.hits(service, operation):
                return fault
        return None
