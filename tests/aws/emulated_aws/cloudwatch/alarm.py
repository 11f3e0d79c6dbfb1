"""One alarm: its configuration as it was given, and its state with the times of both kinds of change."""

from __future__ import annotations

import dataclasses
import datetime
import json
from typing import Any

from ..errors import AwsError, not_emulated
from ..settings import ACCOUNT
from . import statistics
from .rules import Rule

_ACTIONS = ("AlarmActions", "OKActions", "InsufficientDataActions")
_NOT_SERVED = (
    "EvaluationCriteria", "EvaluationInterval", "EvaluationWindow", "WarmUpConfiguration", "ThresholdMetricId",
    "ActionsSuppressor", "ActionConfiguration",
)  # fmt: skip
_TREATMENTS = ("breaching", "notBreaching", "ignore", "missing")


@dataclasses.dataclass
class Alarm:
    """A metric or a composite alarm."""

    region: str
    name: str
    composite: bool
    config: dict[str, Any]
    reason: dataclasses.InitVar[str]
    state: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluation: str | None = None  # EvaluationState: set by a test, absent otherwise
    rule: Rule | None = None

    def __post_init__(self, reason: str) -> None:
        now = self.configured = datetime.datetime.now(datetime.UTC)
        self.state = {
            "StateValue": "INSUFFICIENT_DATA", "StateReason": reason, "StateUpdatedTimestamp": now,
            "StateTransitionedTimestamp": now,
        }  # fmt: skip

    @property
    def arn(self) -> str:
        return f"arn:aws:cloudwatch:{self.region}:{ACCOUNT}:alarm:{self.name}"

    @property
    def type(self) -> str:
        return "CompositeAlarm" if self.composite else "MetricAlarm"

    def reconfigure(self, config: dict[str, Any]) -> None:
        """Put again: everything is replaced, the state stays."""
        self.config = config
        self.configured = datetime.datetime.now(datetime.UTC)

    def become(self, value: str, reason: str, data: str | None) -> dict[str, Any]:
        """A new state or the same anew; returns the old one."""
        if data is not None:
            try:
                json.loads(data)
            except ValueError:
                raise AwsError("InvalidFormat", "StateReasonData was not valid JSON") from None
        before, now = self.state, datetime.datetime.now(datetime.UTC)
        changed = value != before["StateValue"]
        self.state = {
            "StateValue": value, "StateReason": reason, "StateUpdatedTimestamp": now,
            "StateTransitionedTimestamp": now if changed else before["StateTransitionedTimestamp"],
        }  # fmt: skip
        if data is not None:
            self.state["StateReasonData"] = data
        return before

    def evaluated(self, outcome: str | None) -> None:
        """Another EvaluationState; the time is "of the last update to the value of either" of the two."""
        self.evaluation = outcome
        self.state["StateUpdatedTimestamp"] = datetime.datetime.now(datetime.UTC)

    def acts_on(self, prefix: str | None) -> bool:
        """Whether some action's ARN begins so."""
        return prefix is None or any(arn.startswith(prefix) for key in _ACTIONS for arn in self.config.get(key, []))

    def describe(self) -> dict[str, Any]:
        """MetricAlarm or CompositeAlarm."""
        described = self.config | self.state | {
            "AlarmName": self.name, "AlarmArn": self.arn, "AlarmConfigurationUpdatedTimestamp": self.configured,
        }  # fmt: skip
        if self.evaluation and not self.composite:
            described["EvaluationState"] = self.evaluation
        return described


def configuration(params: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a Put request."""
    for member in _NOT_SERVED:
        if member in params:
            raise not_emulated(f"alarms with {member}")
    for key in _ACTIONS:
        for arn in params.get(key, []):
            if not arn.startswith("arn:aws:sns:"):
                raise not_emulated(f"alarm actions other than SNS topics: {arn[:100]}")
    config = {key: params.get(key, []) for key in _ACTIONS} | {"ActionsEnabled": params.get("ActionsEnabled", True)}
    if "Threshold" in params:
        config["Threshold"] = float(params["Threshold"])  # JSON may say 1, but CBOR's readers want a double back
    return {k: v for k, v in params.items() if k not in ("Tags", "AlarmName")} | config


def check_metric_alarm(params: dict[str, Any]) -> None:
    """Refuses what PutMetricAlarm refuses."""
    simple = {"MetricName", "Namespace", "Statistic", "ExtendedStatistic", "Dimensions", "Period", "Unit"} & set(params)
    if "Metrics" in params:
        if simple:
            raise _invalid(f"Metrics must not be given together with {', '.join(sorted(simple))}.")
    else:
        for member in ("MetricName", "Namespace", "Period"):
            if member not in params:
                raise _invalid(f"The parameter {member} is required.")
        if ("Statistic" in params) == ("ExtendedStatistic" in params):
            raise _invalid("Exactly one of Statistic and ExtendedStatistic must be given.")
        if "ExtendedStatistic" in params:
            statistics.check(params["ExtendedStatistic"])
        if params["Period"] not in (10, 20, 30) and params["Period"] % 60:
            raise _invalid("Period must be 10, 20, 30 or a multiple of 60.")
    for member in ("EvaluationPeriods", "ComparisonOperator", "Threshold"):
        if member not in params:
            raise _invalid(f"The parameter {member} is required.")
    if params.get("DatapointsToAlarm", 1) > params["EvaluationPeriods"]:
        raise _invalid("DatapointsToAlarm must be less than or equal to EvaluationPeriods.")
    if params.get("TreatMissingData", "missing") not in _TREATMENTS:
        raise _invalid(f"TreatMissingData must be one of {', '.join(_TREATMENTS)}.")


def _invalid(message: str) -> AwsError:
    return AwsError("ValidationError", message)
