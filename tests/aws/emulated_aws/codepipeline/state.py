"""Pipelines, their executions and what each action of an execution did."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import re
import uuid
from typing import Any

from ..settings import ACCOUNT

_REFERENCE = re.compile(r"#\{([A-Za-z0-9@_-]+)\.([^{}]+)\}")


def now() -> datetime.datetime:
    """UTC."""
    return datetime.datetime.now(datetime.UTC)


def new_id() -> str:
    """An id as CodePipeline makes them."""
    return str(uuid.uuid4())


@dataclasses.dataclass(eq=False)
class ActionRun:
    """One run of one action within one execution."""

    execution: Execution
    stage: str
    declared: dict[str, Any]
    configuration: dict[str, str]  # variables resolved
    id: str = dataclasses.field(default_factory=new_id)
    status: str = "InProgress"
    started: datetime.datetime = dataclasses.field(default_factory=now)
    updated: datetime.datetime = dataclasses.field(default_factory=now)
    updated_by: str | None = None
    summary: str | None = None
    external_id: str | None = None
    percent: int | None = None
    error: dict[str, str] | None = None
    approval_token: str | None = None
    expired: bool = False
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    ended: asyncio.Event = dataclasses.field(default_factory=asyncio.Event)

    @property
    def name(self) -> str:
        return self.declared["name"]

    def touch(self, **changes: Any) -> None:
        """Sets members and the time of the last change."""
        for key, value in changes.items():
            setattr(self, key, value)
        self.updated = now()

    def end(self, status: str, **changes: Any) -> None:
        """The first ending counts."""
        if self.status == "InProgress":
            self.touch(status=status, **changes)
            self.ended.set()

    def fail(self, code: str, message: str, **changes: Any) -> None:
        """Ends it as failed."""
        self.end("Failed", error={"code": code, "message": message[:5000]}, **changes)


@dataclasses.dataclass(eq=False)
class Execution:
    """One pipeline execution."""

    pipeline: Pipeline
    started_by: str
    variables: dict[str, str]
    id: str = dataclasses.field(default_factory=new_id)
    status: str = "InProgress"
    started: datetime.datetime = dataclasses.field(default_factory=now)
    updated: datetime.datetime = dataclasses.field(default_factory=now)
    stages: dict[str, str] = dataclasses.field(default_factory=dict)  # name -> status, in the order entered
    actions: list[ActionRun] = dataclasses.field(default_factory=list)
    waiting_for: str | None = None
    task: asyncio.Task[None] | None = None

    def become(self, status: str) -> None:
        """A new status of the whole."""
        self.status = status
        self.updated = now()

    def resolve(self, text: str) -> str:
        """Output variables, pipeline variables and the execution's own, in place of their references."""
        spaces = {
            "codepipeline": {"PipelineExecutionId": self.id},
            "variables": self.variables,
        } | {run.declared["namespace"]: run.variables for run in self.actions if "namespace" in run.declared}
        return _REFERENCE.sub(lambda match: spaces.get(match[1], {}).get(match[2], match[0]), text)


@dataclasses.dataclass(eq=False)
class Pipeline:
    """One pipeline; the declaration never changes, as UpdatePipeline is not served."""

    region: str
    declared: dict[str, Any]
    created: datetime.datetime = dataclasses.field(default_factory=now)
    executions: dict[str, Execution] = dataclasses.field(default_factory=dict)
    occupied: dict[str, Execution] = dataclasses.field(default_factory=dict)  # stage -> who is in it
    waiting: dict[str, list[tuple[Execution, asyncio.Event]]] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.declared["name"]

    @property
    def mode(self) -> str:
        return self.declared["executionMode"]

    @property
    def arn(self) -> str:
        return f"arn:aws:codepipeline:{self.region}:{ACCOUNT}:{self.name}"

    def runs(self, stage: str, action: str) -> list[ActionRun]:
        """Every run of an action, the oldest first."""
        found = [
            run for one in self.executions.values() for run in one.actions if (run.stage, run.name) == (stage, action)
        ]
        return sorted(found, key=lambda run: run.started)
