"""Metrics: what is put comes back by period and statistic, late or failing when a test says so."""

import time

import pytest
from botocore.exceptions import ClientError

from conftest import eventually
from measures import NOW, ask, points, put, query


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
