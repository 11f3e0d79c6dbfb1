"""Metrics: what is put comes back by period and statistic, in every protocol; what AWS refuses is refused."""

import json
import time
import uuid

import pytest
from botocore.exceptions import ClientError

from by_hand import code, send, signed

MINUTE = 60
NOW = int(time.time()) // MINUTE * MINUTE


@pytest.fixture
def cw(aws):
    """A client, and what a test set taken back at its end."""
    yield aws.clients().cloudwatch
    aws.control("metrics/delay", "POST", {"seconds": 0})
    aws.control("metrics/statuses", "POST", {"statuses": []})


@pytest.fixture
def namespace():
    return f"test/{uuid.uuid4().hex[:8]}"


def query(namespace, stat="Sum", period=60, name="m", id="q", dimensions=(), **extra):
    metric = {
        "Namespace": namespace, "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions],
    }  # fmt: skip
    return {"Id": id, "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}, **extra}


def ask(client, *queries, start=NOW - 3600, end=NOW + 60, **extra):
    """The whole answer, the oldest points first."""
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


def test_statistics_of_single_values(cw, namespace):
    for value in (1, 2, 3, 10):
        put(cw, namespace, Value=value)
    stats = {"Sum": 16, "Average": 4, "Minimum": 1, "Maximum": 10, "SampleCount": 4, "p50": 2, "p100": 10, "p75.1": 10}
    queries = [query(namespace, stat, id=f"q{n}") for n, stat in enumerate(stats)]
    assert points(cw, *queries) == {f"q{n}": [(NOW, value)] for n, value in enumerate(stats.values())}


def test_values_with_counts_keep_percentiles(cw, namespace):
    put(cw, namespace, Values=[0.1, 0.2, 5], Counts=[98, 1, 1])
    found = points(cw, *(query(namespace, stat, id=stat.replace(".", "_")) for stat in ("p50", "p98.5", "p99.9")))
    assert found == {"p50": [(NOW, 0.1)], "p98_5": [(NOW, 0.2)], "p99_9": [(NOW, 5)]}


def test_statistic_sets_lose_percentiles_unless_they_are_one_value(cw, namespace):
    whole = {"SampleCount": 10, "Sum": 30, "Minimum": 1, "Maximum": 9}
    put(cw, namespace, StatisticValues=whole)
    put(cw, namespace, name="flat", StatisticValues={"SampleCount": 3, "Sum": 6, "Minimum": 2, "Maximum": 2})
    found = points(
        cw, query(namespace, "p99", id="lost"), query(namespace, "Average", id="mean"),
        query(namespace, "p99", name="flat", id="flat"),
    )  # fmt: skip
    assert found == {"lost": [], "mean": [(NOW, 3)], "flat": [(NOW, 2)]}


def test_periods_without_data_are_absent_and_never_zero(cw, namespace):
    put(cw, namespace, at=NOW - 300, Value=1)
    put(cw, namespace, at=NOW - 60, Value=2)
    assert points(cw, query(namespace)) == {"q": [(NOW - 300, 1), (NOW - 60, 2)]}
    assert points(cw, query(namespace, period=600), start=NOW - 600, end=NOW) == {"q": [(NOW - 600, 3)]}
    assert points(cw, query("nobody"))["q"] == []
    newest = ask(cw, query(namespace), ScanBy="TimestampDescending")["MetricDataResults"][0]
    assert newest["Values"] == [2, 1] and newest["StatusCode"] == "Complete" and newest["Label"] == "m"


def test_start_is_inclusive_and_end_exclusive(cw, namespace):
    for minute in range(3):
        put(cw, namespace, at=NOW - minute * 60, Value=minute)
    assert points(cw, query(namespace), start=NOW - 60, end=NOW)["q"] == [(NOW - 60, 1)]
    assert points(cw, query(namespace), start=NOW - 31, end=NOW)["q"] == [(NOW - 60, 1)], "the start is rounded down"


def test_dimensions_are_matched_exactly(cw, namespace):
    both = [{"Name": "b", "Value": "2"}, {"Name": "a", "Value": "1"}]
    put(cw, namespace, Value=1, Dimensions=both)
    put(cw, namespace, Value=5)
    found = points(
        cw, query(namespace, id="both", dimensions=[("a", "1"), ("b", "2")]),
        query(namespace, id="one", dimensions=[("a", "1")]), query(namespace, id="none"),
    )  # fmt: skip
    assert found == {"both": [(NOW, 1)], "one": [], "none": [(NOW, 5)]}


def test_units_are_not_converted(cw, namespace):
    put(cw, namespace, Value=7, Unit="Seconds")
    other = query(namespace, id="other")
    other["MetricStat"]["Unit"] = "Milliseconds"
    same = query(namespace, id="same")
    same["MetricStat"]["Unit"] = "Seconds"
    assert points(cw, other, same) == {"other": [], "same": [(NOW, 7)]}


def test_high_resolution_is_kept_by_the_second(cw, namespace):
    for second in (1, 2, 31):
        put(cw, namespace, at=NOW - 60 + second, Value=1, StorageResolution=1)
        put(cw, namespace, at=NOW - 60 + second, name="coarse", Value=1)
    found = points(cw, query(namespace, period=10, id="fine"), query(namespace, period=10, name="coarse", id="coarse"))
    assert found == {"fine": [(NOW - 60, 2), (NOW - 30, 1)], "coarse": [(NOW - 60, 3)]}


def test_pages_hold_no_more_points_than_asked_for(cw, namespace):
    for minute in range(5):
        put(cw, namespace, at=NOW - minute * 60, Value=minute)
    queries = [query(namespace, id="a"), query("nobody", id="none"), query(namespace, "Average", id="b")]
    seen, token, statuses = {}, {}, []
    while True:
        page = ask(cw, *queries, MaxDatapoints=3, **token)
        assert sum(len(one["Values"]) for one in page["MetricDataResults"]) <= 3
        for one in page["MetricDataResults"]:
            seen.setdefault(one["Id"], []).extend(one["Values"])
            statuses.append((one["Id"], one["StatusCode"]))
        if "NextToken" not in page:
            break
        token = {"NextToken": page["NextToken"]}
        put(cw, namespace, at=NOW - 400, Value=99)  # later pages do not see it
    assert seen == {"a": [4, 3, 2, 1, 0], "none": [], "b": [4, 3, 2, 1, 0]}
    assert statuses == [
        ("a", "PartialData"), ("a", "Complete"), ("none", "Complete"), ("b", "PartialData"), ("b", "PartialData"),
        ("b", "Complete"),
    ]  # fmt: skip
    with pytest.raises(ClientError, match="InvalidNextToken"):
        ask(cw, queries[0], **token)
    with pytest.raises(ClientError, match="InvalidNextToken"):
        ask(cw, queries[0], NextToken="x")


def test_statuses_are_set_for_chosen_metrics(aws, cw, namespace):
    for name in ("m", "n"):
        for minute in range(4):
            put(cw, namespace, at=NOW - minute * 60, name=name, Value=1)
    for status, left in (("PartialData", 2), ("InternalError", 0), ("Forbidden", 0)):
        chosen = {"status": status, "namespace": namespace, "name": "m"}
        assert aws.control("metrics/statuses", "POST", {"statuses": [chosen]})[0] == 200
        m, n = ask(cw, query(namespace, id="m"), query(namespace, name="n", id="n"))["MetricDataResults"]
        assert (m["StatusCode"], len(m["Values"])) == (status, left)
        assert (n["StatusCode"], len(n["Values"])) == ("Complete", 4)
    for bad in ({"status": "Fine"}, {"state": "Forbidden"}, []):
        assert aws.control("metrics/statuses", "POST", {"statuses": [bad]})[0] == 400


def test_points_become_visible_after_the_publishing_delay(aws, cw, namespace):
    assert aws.control("metrics/delay", "POST", {"seconds": 0.3})[0] == 200
    put(cw, namespace, Value=1)
    begun = time.monotonic()
    assert points(cw, query(namespace))["q"] == [] and cw.list_metrics(Namespace=namespace)["Metrics"] == []
    from conftest import eventually

    eventually(lambda: points(cw, query(namespace))["q"] == [(NOW, 1)])
    assert time.monotonic() - begun >= 0.3
    assert aws.control("metrics/delay", "POST", {"seconds": -1})[0] == 400


def test_the_control_api_writes_history(aws, cw):
    group = {"TargetGroup": "targetgroup/web/1", "LoadBalancer": "app/web/2"}
    old, recent = NOW - 20 * 86400, int(time.time()) - 60
    body = {
        "namespace": "AWS/ApplicationELB", "name": "TargetResponseTime", "dimensions": group,
        "points": [
            {"age_seconds": 240, "values": [0.1, 2], "counts": [99, 1], "unit": "Seconds"},
            {"at": old, "value": 3}, {"at": recent, "statistics": {"SampleCount": 1, "Sum": 4, "Minimum": 4,
                                                                     "Maximum": 4}},
        ],
    }  # fmt: skip
    assert aws.control("metrics/points", "POST", body) == (200, {"points": 3})
    asked = query("AWS/ApplicationELB", "p99", name="TargetResponseTime", dimensions=group.items())
    assert [value for _, value in points(cw, asked)["q"]] == [0.1, 4]
    asked["MetricStat"]["Period"] = 300
    assert points(cw, asked, start=old - 300, end=old + 300)["q"] == [(old // 300 * 300, 3)]
    asked["MetricStat"]["Period"] = 60
    assert points(cw, asked, start=old - 300, end=old + 300)["q"] == [], "by the minute for 15 days only"
    for bad in ({"points": [{"val": 1}]}, {"points": [{}]}, {"points": [{"value": "x"}]}, {"name": None}, {"x": 1}):
        assert aws.control("metrics/points", "POST", body | bad)[0] == 400, bad
    assert aws.control("metrics/points", "POST", {})[0] == 400


def test_metrics_are_listed(cw, namespace):
    for colour in ("blue", "green"):
        put(cw, namespace, Value=1, Dimensions=[{"Name": "colour", "Value": colour}])
    put(cw, namespace, name="other", Value=1)
    listed = lambda **wanted: cw.list_metrics(Namespace=namespace, **wanted)["Metrics"]  # noqa: E731
    assert [one["MetricName"] for one in listed()] == ["m", "m", "other"]
    assert len(listed(Dimensions=[{"Name": "colour"}])) == 2
    (green,) = listed(Dimensions=[{"Name": "colour", "Value": "green"}], RecentlyActive="PT3H")
    assert green["Dimensions"] == [{"Name": "colour", "Value": "green"}]
    data = [{"MetricName": f"n{n}", "Value": 1} for n in range(600)]
    cw.put_metric_data(Namespace=namespace, MetricData=data)
    pages = list(cw.get_paginator("list_metrics").paginate(Namespace=namespace))
    assert [len(page["Metrics"]) for page in pages] == [500, 103]


def test_the_same_by_json_and_by_query(aws, cw, namespace):
    import xml.etree.ElementTree as xml
    from urllib.parse import urlencode

    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    target, json_10 = "GraniteServiceVersion20100801", {"Content-Type": "application/x-amz-json-1.0"}

    def by_json(operation, params):
        body = json.dumps(params).encode()
        return send(*signed(aws, body, f"{target}.{operation}", "monitoring", **json_10))

    def by_query(operation, **params):
        form = urlencode({"Action": operation, "Version": "2010-08-01", **params}).encode()
        request = AWSRequest("POST", aws.url + "/", {"Content-Type": "application/x-www-form-urlencoded"}, form)
        SigV4Auth(Credentials("tester", "emulated"), "monitoring", "us-east-1").add_auth(request)
        return send(aws.url + "/", dict(request.headers), form)

    datum = {"MetricName": "m", "Value": 1.5, "Timestamp": NOW}
    assert by_json("PutMetricData", {"Namespace": namespace, "MetricData": [datum]})[0] == 200
    first = "MetricData.member.1."
    stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW))
    status, _, body = by_query("PutMetricData", Namespace=namespace, **{
        f"{first}MetricName": "m", f"{first}Values.member.1": "2.5", f"{first}Counts.member.1": "2",
        f"{first}Timestamp": stamp,
    })  # fmt: skip
    assert status == 200, body
    status, _, body = by_json("GetMetricData", {
        "MetricDataQueries": [query(namespace)], "StartTime": NOW - 60, "EndTime": NOW + 60,
    })  # fmt: skip
    (result,) = json.loads(body)["MetricDataResults"]
    assert (result["Timestamps"], result["Values"]) == ([NOW], [6.5])
    asked = "MetricDataQueries.member.1."
    status, _, body = by_query("GetMetricData", StartTime=stamp, EndTime=NOW + 60, **{
        f"{asked}Id": "q", f"{asked}MetricStat.Metric.Namespace": namespace,
        f"{asked}MetricStat.Metric.MetricName": "m", f"{asked}MetricStat.Period": "60",
        f"{asked}MetricStat.Stat": "SampleCount",
    })  # fmt: skip
    values = [node.text for node in xml.fromstring(body).iter() if node.tag.endswith("}Values") for node in node]
    assert status == 200 and values == ["3.0"], body
    assert points(cw, query(namespace))["q"] == [(NOW, 6.5)]
    # one error, named as each protocol names it
    empty = {"Namespace": namespace, "MetricData": [{"MetricName": "m"}]}
    status, headers, body = by_json("PutMetricData", empty)
    assert (status, code(body)) == (400, "MissingRequiredParameterException")
    assert headers["x-amzn-query-error"] == "MissingParameter;Sender"
    status, _, body = by_query("PutMetricData", Namespace=namespace, **{f"{first}MetricName": "m"})
    assert status == 400 and b"<Code>MissingParameter</Code>" in body
    refused(aws, "put_metric_data", empty, "MissingParameter")


def test_large_requests_are_compressed_or_refused(aws, cw, namespace):
    padding = [{"Name": f"d{n}", "Value": "x" * 100} for n in range(30)]
    data = [{"MetricName": f"m{n}", "Value": 1, "Dimensions": padding} for n in range(400)]
    cw.put_metric_data(Namespace=namespace, MetricData=data)  # botocore sends more than 10 KB by gzip
    _, _, body = send(*signed(
        aws, b" " * (1024 * 1024 + 1), "GraniteServiceVersion20100801.PutMetricData", "monitoring",
        **{"Content-Type": "application/x-amz-json-1.0"},
    ))  # fmt: skip
    assert code(body) == "RequestEntityTooLarge"


def test_put_metric_data_refuses(aws):
    good = {"MetricName": "m", "Value": 1}
    for change, wanted in (
        ({"Value": float("nan")}, "InvalidParameterValue"),
        ({"Value": float("inf")}, "InvalidParameterValue"),
        ({"Value": 2.0**361}, "InvalidParameterValue"),
        ({"Value": None}, "MissingParameter"),
        ({"Values": [1.0]}, "InvalidParameterCombination"),
        ({"Counts": [1.0]}, "InvalidParameterCombination"),
        ({"Value": None, "Values": [1.0, 2.0], "Counts": [1.0]}, "InvalidParameterValue"),
        ({"Value": None, "Values": [float(n) for n in range(151)]}, "InvalidParameterValue"),
        ({"Value": None, "StatisticValues": {"SampleCount": 0, "Sum": 1, "Minimum": 1, "Maximum": 1}},
         "InvalidParameterValue"),
        ({"Value": None, "StatisticValues": {"SampleCount": 1}}, "MissingParameter"),
        ({"StorageResolution": 30}, "InvalidParameterValue"),
        ({"Unit": "Furlongs"}, "InvalidParameterValue"),
        ({"Timestamp": NOW - 15 * 86400}, "InvalidParameterValue"),
        ({"Timestamp": NOW + 3 * 3600}, "InvalidParameterValue"),
        ({"Dimensions": [{"Name": "a", "Value": "1"}] * 2}, "InvalidParameterValue"),
        ({"Dimensions": [{"Name": f"a{n}", "Value": "1"} for n in range(31)]}, "InvalidParameterValue"),
        ({"Dimensions": [{"Name": ":a", "Value": "1"}]}, "InvalidParameterValue"),
    ):  # fmt: skip
        datum = {key: value for key, value in (good | change).items() if value is not None}
        if "Colour" in datum:
            continue  # botocore drops what it does not know; by hand below
        refused(aws, "put_metric_data", {"Namespace": "n", "MetricData": [datum]}, wanted)
    refused(aws, "put_metric_data", {"Namespace": "n"}, "MissingParameter")
    refused(aws, "put_metric_data", {"MetricData": [good]}, "MissingParameter")
    refused(aws, "put_metric_data", {"Namespace": "AWS/EC2", "MetricData": [good]}, "InvalidParameterValue")
    refused(aws, "put_metric_data", {"Namespace": "n", "MetricData": [good] * 1001}, "InvalidParameterValue")
    entity = [{"MetricData": [good]}]
    refused(aws, "put_metric_data", {"Namespace": "n", "EntityMetricData": entity}, "NotImplemented")
    refused(aws, "get_dashboard", {"DashboardName": "d"}, "NotImplemented")


def test_get_metric_data_refuses(aws):
    span = {"StartTime": NOW - 60, "EndTime": NOW}
    for change, wanted in (
        ({"MetricDataQueries": []}, "ValidationError"),
        ({"MetricDataQueries": [query("n", id=f"q{n}") for n in range(501)]}, "ValidationError"),
        ({"MetricDataQueries": [query("n")] * 2}, "ValidationError"),
        ({"MetricDataQueries": [query("n", id="Q")]}, "ValidationError"),
        ({"MetricDataQueries": [query("n", period=90)]}, "ValidationError"),
        ({"MetricDataQueries": [query("n", "p101")]}, "ValidationError"),
        ({"MetricDataQueries": [query("n", "Median")]}, "ValidationError"),
        ({"MetricDataQueries": [query("n", "tm99")]}, "NotImplemented"),
        ({"MetricDataQueries": [query("n", "TM(10%:90%)")]}, "NotImplemented"),
        ({"MetricDataQueries": [{"Id": "e", "Expression": "q/2"}]}, "NotImplemented"),
        ({"MetricDataQueries": [{"Id": "e"}]}, "ValidationError"),
        ({"MetricDataQueries": [query("n", ReturnData=False)]}, "ValidationError"),
        ({"StartTime": NOW, "EndTime": NOW}, "ValidationError"),
        ({"MaxDatapoints": 100_801}, "ValidationError"),
        ({"ScanBy": "Sideways"}, "InvalidParameterValue"),
        ({"StartTime": None}, "MissingParameter"),
    ):
        params = {"MetricDataQueries": [query("n")]} | span | change
        refused(aws, "get_metric_data", {k: v for k, v in params.items() if v is not None}, wanted)
