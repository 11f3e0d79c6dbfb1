"""Who hears of an alarm's new state: the event bus, and the SNS topics the alarm names."""

from __future__ import annotations

import json
from typing import Any

from ..dispatch import Dispatch
from ..events import announce
from ..settings import ACCOUNT
from .alarm import Alarm

_BY = "cloudwatch.amazonaws.com"
_ACTIONS = {"ALARM": "AlarmActions", "OK": "OKActions", "INSUFFICIENT_DATA": "InsufficientDataActions"}


async def notify(dispatch: Dispatch, alarm: Alarm, before: dict[str, Any]) -> None:
    """By "Alarm events and EventBridge" and "Amazon SNS notification schemas for alarm state changes"."""
    state = alarm.state
    detail = {
        "alarmName": alarm.name,
        "state": _event_state(state),
        "previousState": _event_state(before),
        "configuration": {"description": alarm.config.get("AlarmDescription", "")},
    }
    await announce(
        dispatch, alarm.region, "aws.cloudwatch", "CloudWatch Alarm State Change", [alarm.arn], detail
    )  # fmt: skip
    if not alarm.config["ActionsEnabled"]:
        return
    message = json.dumps({
        "AlarmName": alarm.name, "AlarmDescription": alarm.config.get("AlarmDescription"), "AWSAccountId": ACCOUNT,
        "NewStateValue": state["StateValue"], "NewStateReason": state["StateReason"],
        "StateChangeTime": state["StateUpdatedTimestamp"].strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000",
        "Region": alarm.region, "AlarmArn": alarm.arn, "OldStateValue": before["StateValue"],
    })  # fmt: skip
    subject = f'{state["StateValue"]}: "{alarm.name}" in {alarm.region}'[:100]
    for topic in alarm.config[_ACTIONS[state["StateValue"]]]:
        await dispatch.ask(
            "sns", "Publish", {"TopicArn": topic, "Subject": subject, "Message": message}, alarm.region, _BY
        )


def _event_state(state: dict[str, Any]) -> dict[str, Any]:
    return {
        "value": state["StateValue"],
        "reason": state["StateReason"],
        "timestamp": state["StateUpdatedTimestamp"].strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "+0000",
    }
