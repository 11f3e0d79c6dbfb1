"""The operations on alarms: kept, described, and set; metric alarms are not evaluated, composite ones are."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from . import rules
from .alarm import Alarm, check_metric_alarm, configuration
from .notices import notify

log = logging.getLogger(__name__)

MAX_ALARMS = 5000  # default quota per region
_DEFAULT_PAGE = 50


class Alarms:
    """Alarms of every region, by name."""

    def __init__(self, dispatch: Dispatch) -> None:
        self._dispatch = dispatch
        self._alarms: dict[tuple[str, str], Alarm] = {}
        self._notices: set[asyncio.Task[None]] = set()
        dispatch.register("cloudwatch", self)

    def find(self, region: str, name: str) -> Alarm | None:
        """The alarm, for the control API."""
        return self._alarms.get((region, name))

    async def PutMetricAlarm(self, call: Call) -> dict[str, Any]:
        check_metric_alarm(call.params)
        self._put(call, False, "Unchecked: Initial alarm creation")
        return {}

    async def PutCompositeAlarm(self, call: Call) -> dict[str, Any]:
        rule, named = rules.parse(call.params["AlarmRule"])
        for name in sorted(named):
            if name == call.params["AlarmName"]:
                raise AwsError("ValidationError", "AlarmRule must not reference the composite alarm itself.")
            if (call.region, name) not in self._alarms:
                raise AwsError("ValidationError", f"Could not save the composite alarm: alarms [{name}] do not exist.")
        alarm = self._put(call, True, "Unchecked: Initial alarm creation")
        alarm.rule = rule
        self._evaluate(call.region)
        return {}

    def _put(self, call: Call, composite: bool, reason: str) -> Alarm:
        name = call.params["AlarmName"]
        config = configuration(call.params)
        known = self._alarms.get((call.region, name))
        if known is not None and known.composite != composite:
            raise AwsError("ValidationError", f"An alarm of another type is named {name} already.")
        if known is None:
            if sum(region == call.region for region, _ in self._alarms) >= MAX_ALARMS:
                raise AwsError("LimitExceeded", f"at most {MAX_ALARMS} alarms")
            known = self._alarms[call.region, name] = Alarm(call.region, name, composite, config, reason)
        else:
            known.reconfigure(config)  # "when you update an existing alarm, its state is left unchanged"
        return known

    async def SetAlarmState(self, call: Call) -> dict[str, Any]:
        params = call.params
        alarm = self._alarms.get((call.region, params["AlarmName"]))
        if alarm is None:
            raise AwsError("ResourceNotFound", f"Alarm {params['AlarmName']} does not exist", 404)
        self._set(alarm, params["StateValue"], params["StateReason"], params.get("StateReasonData"))
        if not alarm.composite:
            self._evaluate(call.region)
        return {}

    def _set(self, alarm: Alarm, value: str, reason: str, data: str | None = None) -> None:
        before = alarm.become(value, reason, data)
        if before["StateValue"] != value:
            notice = asyncio.create_task(self._notify(alarm, before))
            self._notices.add(notice)
            notice.add_done_callback(self._notices.discard)

    async def _notify(self, alarm: Alarm, before: dict[str, Any]) -> None:
        try:
            await notify(self._dispatch, alarm, before)
        except AwsError as error:
            log.warning("alarm %s: %s", alarm.name, error)

    def _evaluate(self, region: str) -> None:
        """Composite alarms follow their children; in a few rounds, as they may name each other."""
        mine = [one for (where, _), one in self._alarms.items() if where == region]
        for _ in range(5):
            states = {one.name: one.state["StateValue"] for one in mine}
            changed = False
            for one in mine:
                value = one.rule and ("ALARM" if one.rule(states) else "OK")
                if value and value != one.state["StateValue"]:
                    self._set(one, value, f"{one.arn} transitioned to {value} by its rule")
                    changed = True
            if not changed:
                return

    async def DeleteAlarms(self, call: Call) -> dict[str, Any]:
        names = call.params["AlarmNames"]
        found = [self._alarms.get((call.region, name)) for name in names]
        missing = [name for name, alarm in zip(names, found, strict=True) if alarm is None]
        if missing:  # "the operation fails without deleting any alarms"
            raise AwsError("ResourceNotFound", f"Alarm {missing[0]} does not exist", 404)
        if sum(alarm.composite for alarm in found if alarm) > 1:
            raise AwsError("ValidationError", "At most one composite alarm can be deleted in one operation.")
        for name in names:
            self._alarms.pop((call.region, name), None)
        return {}

    async def DescribeAlarms(self, call: Call) -> dict[str, Any]:
        params = call.params
        for member in ("ChildrenOfAlarmName", "ParentsOfAlarmName"):
            if member in params:
                raise not_emulated(f"DescribeAlarms by {member}")
        names, prefix = params.get("AlarmNames"), params.get("AlarmNamePrefix")
        if names and prefix:
            raise AwsError("ValidationError", "AlarmNames and AlarmNamePrefix must not be given together.")
        # "If you omit this parameter, only metric alarms are returned, even if composite alarms exist"
        types = params.get("AlarmTypes") or ["MetricAlarm"]
        found = [
            alarm
            for (region, name), alarm in sorted(self._alarms.items())
            if region == call.region
            and (not names or name in names)
            and name.startswith(prefix or "")
            and alarm.type in types
            and params.get("StateValue") in (None, alarm.state["StateValue"])
            and alarm.acts_on(params.get("ActionPrefix"))
        ]
        token = params.get("NextToken", "0")
        if not token.isdigit() or (token != "0" and int(token) >= len(found)):
            raise AwsError("InvalidNextToken", "The value for parameter NextToken is invalid.")
        end = int(token) + params.get("MaxRecords", _DEFAULT_PAGE)
        page = found[int(token) : end]
        result: dict[str, Any] = {
            "CompositeAlarms": [one.describe() for one in page if one.composite],
            "MetricAlarms": [one.describe() for one in page if not one.composite],
        }
        if end < len(found):
            result["NextToken"] = str(end)
        return result
