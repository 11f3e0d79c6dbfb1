"""Alarms: their states as tests set them, when those changed, and who hears of it."""

import json
import uuid

import pytest
from botocore.exceptions import ClientError

from conftest import eventually

METRIC = {
    "Namespace": "n", "MetricName": "m", "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 1, "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}  # fmt: skip


@pytest.fixture
def cw(aws):
    return aws.clients().cloudwatch


@pytest.fixture
def name(cw):
    """A prefix for the test's alarms, which are deleted at its end."""
    prefix = f"a{uuid.uuid4().hex[:8]}"
    yield prefix
    found = cw.describe_alarms(AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    for kind in ("CompositeAlarms", "MetricAlarms"):
        for one in found[kind]:
            cw.delete_alarms(AlarmNames=[one["AlarmName"]])


def described(cw, name):
    (alarm,) = cw.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    return alarm


def test_a_new_alarm_has_insufficient_data_and_keeps_its_configuration(cw, name):
    cw.put_metric_alarm(AlarmName=name, AlarmDescription="d", Dimensions=[{"Name": "a", "Value": "b"}], **METRIC)
    alarm = described(cw, name)
    assert alarm["StateValue"] == "INSUFFICIENT_DATA" and alarm["ActionsEnabled"] is True
    assert METRIC.items() <= alarm.items() and alarm["Dimensions"] == [{"Name": "a", "Value": "b"}]
    assert alarm["AlarmArn"] == f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"
    assert alarm["StateUpdatedTimestamp"] == alarm["StateTransitionedTimestamp"]
    assert "EvaluationState" not in alarm


def test_both_timestamps_of_a_state_are_true(cw, name):
    cw.put_metric_alarm(AlarmName=name, **METRIC)
    first = described(cw, name)
    cw.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="on purpose", StateReasonData='{"a":1}')
    second = described(cw, name)
    assert (second["StateValue"], second["StateReason"]) == ("ALARM", "on purpose")
    assert second["StateReasonData"] == '{"a":1}'
    assert second["StateTransitionedTimestamp"] == second["StateUpdatedTimestamp"] > first["StateUpdatedTimestamp"]
    cw.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="again")
    third = described(cw, name)
    assert third["StateUpdatedTimestamp"] > third["StateTransitionedTimestamp"] == second["StateTransitionedTimestamp"]
    cw.put_metric_alarm(AlarmName=name, **METRIC | {"Threshold": 2.0})
    fourth = described(cw, name)
    assert (fourth["StateValue"], fourth["Threshold"]) == ("ALARM", 2.0), "an update leaves the state alone"
    assert fourth["AlarmConfigurationUpdatedTimestamp"] > first["AlarmConfigurationUpdatedTimestamp"]


def test_composite_alarms_are_described_only_when_asked_for(cw, name):
    for child in ("one", "two"):
        cw.put_metric_alarm(AlarmName=f"{name}-{child}", **METRIC)
    rule = f'ALARM("{name}-one") AND NOT (OK({name}-two) OR FALSE)'
    cw.put_composite_alarm(AlarmName=f"{name}-both", AlarmRule=rule)
    plain = cw.describe_alarms(AlarmNamePrefix=name)
    assert len(plain["MetricAlarms"]) == 2 and plain["CompositeAlarms"] == []
    assert cw.describe_alarms(AlarmNames=[f"{name}-both"])["CompositeAlarms"] == []
    composite = lambda: cw.describe_alarms(AlarmNames=[f"{name}-both"], AlarmTypes=["CompositeAlarm"])[  # noqa: E731
        "CompositeAlarms"
    ][0]
    assert composite()["AlarmRule"] == rule and composite()["StateValue"] == "OK"
    cw.set_alarm_state(AlarmName=f"{name}-one", StateValue="ALARM", StateReason="r")
    assert composite()["StateValue"] == "ALARM"
    cw.set_alarm_state(AlarmName=f"{name}-two", StateValue="OK", StateReason="r")
    assert composite()["StateValue"] == "OK"
    cw.set_alarm_state(AlarmName=f"{name}-both", StateValue="ALARM", StateReason="by hand")
    assert composite()["StateValue"] == "ALARM"


def test_alarms_are_found_by_name_prefix_and_state_in_pages(cw, name):
    for n in range(5):
        cw.put_metric_alarm(AlarmName=f"{name}-{n}", **METRIC)
    cw.set_alarm_state(AlarmName=f"{name}-3", StateValue="ALARM", StateReason="r")
    names = lambda **wanted: [one["AlarmName"] for one in cw.describe_alarms(**wanted)["MetricAlarms"]]  # noqa: E731
    assert names(AlarmNames=[f"{name}-1", f"{name}-4", "nobody"]) == [f"{name}-1", f"{name}-4"]
    assert names(AlarmNamePrefix=name, StateValue="ALARM") == [f"{name}-3"]
    assert names(AlarmNamePrefix=name, ActionPrefix="arn:") == []
    pages = list(cw.get_paginator("describe_alarms").paginate(AlarmNamePrefix=name, MaxRecords=2))
    assert [len(page["MetricAlarms"]) for page in pages] == [2, 2, 1]


def test_evaluation_state_is_what_a_test_says(aws, cw, name):
    cw.put_metric_alarm(AlarmName=name, **METRIC)
    before = described(cw, name)
    body = {"alarm": name, "state": "PARTIAL_DATA"}
    assert aws.control("alarms/evaluation", "POST", body)[0] == 200
    after = described(cw, name)
    assert after["EvaluationState"] == "PARTIAL_DATA"
    assert after["StateUpdatedTimestamp"] > before["StateUpdatedTimestamp"]
    assert after["StateTransitionedTimestamp"] == before["StateTransitionedTimestamp"]
    for bad in ({"state": "FINE"}, {"alarm": "nobody"}, {"x": 1}):
        assert aws.control("alarms/evaluation", "POST", body | bad)[0] == 400


def test_changes_of_state_are_announced_and_sent_to_topics(aws, cw, name):
    clients = aws.clients()
    queue = clients.sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:us-east-1:123456789012:{name}"
    topic = clients.sns.create_topic(Name=name)["TopicArn"]
    clients.sns.subscribe(
        TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes={"RawMessageDelivery": "true"}
    )  # fmt: skip
    clients.events.put_rule(Name=name, EventPattern=json.dumps({
        "source": ["aws.cloudwatch"], "resources": [f"arn:aws:cloudwatch:us-east-1:123456789012:alarm:{name}"],
    }))  # fmt: skip
    clients.events.put_targets(Rule=name, Targets=[{"Id": "q", "Arn": arn}])
    cw.put_metric_alarm(AlarmName=name, AlarmActions=[topic], **METRIC)
    cw.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="r")
    cw.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="not a change")
    got = []

    def both():
        got.extend(
            json.loads(one["Body"])
            for one in clients.sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        )
        return len(got) >= 2

    eventually(both)
    event, notice = sorted(got, key=lambda one: "source" not in one)
    assert event["detail-type"] == "CloudWatch Alarm State Change"
    assert (event["detail"]["state"]["value"], event["detail"]["previousState"]["value"]) == (
        "ALARM", "INSUFFICIENT_DATA",
    )  # fmt: skip
    assert (notice["AlarmName"], notice["NewStateValue"]) == (name, "ALARM")


def test_alarms_refuse(aws, cw, name):
    put = {"AlarmName": name} | METRIC
    cw.put_metric_alarm(AlarmName=f"{name}-there", **METRIC)
    for operation, params, wanted in (
        ("put_metric_alarm", put | {"Period": 45}, "ValidationError"),
        ("put_metric_alarm", put | {"Statistic": None}, "ValidationError"),
        ("put_metric_alarm", put | {"Threshold": None}, "ValidationError"),
        ("put_metric_alarm", put | {"ExtendedStatistic": "p99"}, "ValidationError"),
        ("put_metric_alarm", put | {"DatapointsToAlarm": 2}, "ValidationError"),
        ("put_metric_alarm", put | {"TreatMissingData": "panic"}, "ValidationError"),
        ("put_metric_alarm", put | {"ComparisonOperator": "Above"}, "InvalidParameterValue"),
        ("put_metric_alarm", put | {"AlarmActions": ["arn:aws:automate:us-east-1:ec2:stop"]}, "NotImplemented"),
        ("put_metric_alarm", put | {"AlarmName": None}, "MissingParameter"),
        ("put_composite_alarm", {"AlarmName": name, "AlarmRule": "ALARM(nobody)"}, "ValidationError"),
        ("put_composite_alarm", {"AlarmName": name, "AlarmRule": "ALARM("}, "ValidationError"),
        ("put_composite_alarm", {"AlarmName": name, "AlarmRule": "TRUE FALSE"}, "ValidationError"),
        ("put_composite_alarm", {"AlarmName": f"{name}-there", "AlarmRule": "TRUE"}, "ValidationError"),
        ("set_alarm_state", {"AlarmName": "nobody", "StateValue": "OK", "StateReason": "r"}, "ResourceNotFound"),
        ("set_alarm_state", {"AlarmName": f"{name}-there", "StateValue": "FINE", "StateReason": "r"},
         "InvalidParameterValue"),
        ("set_alarm_state", {"AlarmName": f"{name}-there", "StateValue": "OK", "StateReason": "r",
                             "StateReasonData": "{"}, "InvalidFormat"),
        ("delete_alarms", {"AlarmNames": [f"{name}-there", "nobody"]}, "ResourceNotFound"),
        ("describe_alarms", {"AlarmNames": ["a"], "AlarmNamePrefix": "a"}, "ValidationError"),
        ("describe_alarms", {"AlarmNames": [f"a{n}" for n in range(101)]}, "InvalidParameterValue"),
        ("describe_alarms", {"NextToken": "x"}, "InvalidNextToken"),
        ("describe_alarms", {"ChildrenOfAlarmName": "a"}, "NotImplemented"),
        ("disable_alarm_actions", {"AlarmNames": ["a"]}, "NotImplemented"),
    ):  # fmt: skip
        given = {key: value for key, value in params.items() if value is not None}
        with pytest.raises(ClientError) as raised:
            getattr(aws.loose("cloudwatch"), operation)(**given)
            pytest.fail(f"{operation} {params}")
        assert raised.value.response["Error"]["Code"] == wanted, (operation, params)
    assert described(cw, f"{name}-there"), "nothing is deleted when one name is wrong"
