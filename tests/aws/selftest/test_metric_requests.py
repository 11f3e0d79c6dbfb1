"""Requests about metrics: the same in every protocol, and refused where AWS refuses."""

import json
import time
import xml.etree.ElementTree as xml
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from by_hand import code, send, signed
from measures import NOW, points, query, refused


def test_the_same_by_json_and_by_query(aws, cw, namespace):
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
