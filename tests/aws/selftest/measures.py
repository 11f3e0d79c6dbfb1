"""What the tests of CloudWatch share: putting a datum and asking for points."""

import time

import pytest
from botocore.exceptions import ClientError

MINUTE = 60
NOW = int(time.time()) // MINUTE * MINUTE


def query(namespace, stat="Sum", period=60, name="m", id="q", dimensions=(), **extra):
    metric = {
        "Namespace": namespace, "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
    }  # fmt: skip
    return {"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **extra}


def ask(client, *queries, start=NOW - 3600, end=None, **extra):
    """The whole answer, the oldest points first; until a minute from now, which is not NOW in a suite of minutes."""
    end = end or int(time.time()) + 60
    extra = {"ScanBy": "TimestampAscending"} | extra
    return client.get_metric_data(MetricDataQueries=list(queries), StartTime=start, EndTime=end, **extra)


def points(client, *queries, **extra):
    """{id: [(epoch, value), ...]}"""
    return {
        one["Id"]: [(int(at.timestamp()), value) for at, value in zip(one["Timestamps"], one["Values"], strict=True)]
        for one in ask(client, *queries, **extra)["MetricDataResults"]
    }


def put(client, namespace, at=NOW, name="m", **datum):
    client.put_metric_data(Namespace=namespace, MetricData=[{"MetricName": name, "Timestamp": at, **datum}])


def refused(aws, operation, params, wanted):
    with pytest.raises(ClientError) as raised:
        getattr(aws.loose("cloudwatch"), operation)(**params)
    assert raised.value.response["Error"]["Code"] == wanted, raised.value
