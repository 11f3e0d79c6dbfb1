"""What Lambda itself writes into a function's log: START, END and REPORT, as text or as JSON."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import os
import re
from pathlib import Path
from typing import Any

_TAIL = 4096  # "the last 4 KB of the execution log"
_PEAK = re.compile(rb"^VmHWM:\s+(\d+) kB", re.MULTILINE)


@dataclasses.dataclass(frozen=True)
class Report:
    """How one invocation went."""

    request_id: str
    duration_ms: float
    memory_mb: int
    used_mb: int
    init_ms: float | None = None  # of the invocation that started the process only
    status: str | None = None  # "timeout" or "error"
    error_type: str | None = None
    handler_failed: bool = False  # the function answered, but with an error: REPORT does not tell, JSON does

    @property
    def billed_ms(self) -> int:
        return math.ceil(self.duration_ms)


class Journal:
    """The platform's lines of one process's log, in the format the function asked for."""

    def __init__(self, log: Path, logging: dict[str, str], version: str) -> None:
        self._log = log
        self._json = logging["LogFormat"] == "JSON"
        self._quiet = self._json and logging["SystemLogLevel"] == "WARN"
        self._version = version

    def start(self, request_id: str) -> int:
        """The invocation begins; says where in the log."""
        if self._quiet:
            return self._write("")
        if self._json:
            return self._write(_record("platform.start", {"requestId": request_id, "version": self._version}))
        return self._write(f"START RequestId: {request_id} Version: {self._version}\n")

    def end(self, report: Report) -> None:
        """The invocation is over."""
        if self._json:
            if not self._quiet or report.status:
                self._write(_record("platform.report", _metrics(report)))
            return
        text = f"END RequestId: {report.request_id}\n{_line(report)}\n"
        if report.status == "timeout":
            seconds = report.duration_ms / 1000
            text = f"{_now()} {report.request_id} Task timed out after {seconds:.2f} seconds\n\n{text}"
        self._write(text)

    def tail(self, offset: int) -> bytes:
        """The end of what was logged since."""
        with open(self._log, "rb") as text:
            size = text.seek(0, os.SEEK_END)
            text.seek(max(min(offset, size), size - _TAIL))
            return text.read()

    def _write(self, text: str) -> int:
        # opened for appending each time: the process writes to the same file, and it is cut when it grows too long
        with open(self._log, "a") as output:
            before = output.tell()
            output.write(text)
        return before


def _line(report: Report) -> str:
    parts = [
        f"REPORT RequestId: {report.request_id}",
        f"Duration: {report.duration_ms:.2f} ms",
        f"Billed Duration: {report.billed_ms} ms",
        f"Memory Size: {report.memory_mb} MB",
        f"Max Memory Used: {report.used_mb} MB",
    ]
    if report.init_ms is not None:
        parts.append(f"Init Duration: {report.init_ms:.2f} ms")
    if report.status:
        parts.append(f"Status: {report.status}")
    if report.error_type:
        parts.append(f"Error Type: {report.error_type}")
    if not report.status:
        parts.append("")  # Lambda ends a good REPORT with a tab
    return "\t".join(parts)


def _metrics(report: Report) -> dict[str, Any]:
    metrics: dict[str, Any] = {
        "durationMs": round(report.duration_ms, 3),
        "billedDurationMs": report.billed_ms,
        "memorySizeMB": report.memory_mb,
        "maxMemoryUsedMB": report.used_mb,
    }
    if report.init_ms is not None:
        metrics["initDurationMs"] = round(report.init_ms, 3)
    status = report.status or ("error" if report.handler_failed else "success")
    record: dict[str, Any] = {"requestId": report.request_id, "metrics": metrics, "status": status}
    if report.error_type:
        record["errorType"] = report.error_type
    return record


def _record(kind: str, record: dict[str, Any]) -> str:
    return json.dumps({"time": _now(), "type": kind, "record": record}, separators=(",", ":")) + "\n"


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def peak_mb(pid: int) -> int:
    """The most memory a process and those it started have had, by /proc; 0 where that cannot be read."""
    try:
        found = _PEAK.search(Path(f"/proc/{pid}/status").read_bytes())
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    own = math.ceil(int(found[1]) / 1024) if found else 0
    return own + sum(peak_mb(int(child)) for child in children)
