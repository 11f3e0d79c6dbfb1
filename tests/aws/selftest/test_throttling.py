"""Injected throttling, in every protocol: each service's own name for it, in a shape its SDK parses and retries by."""

import json

import pytest
from botocore.exceptions import ClientError
from botocore.retries.standard import RetryContext, ThrottledRetryableChecker

from by_hand import send, signed

UUID = "00000000-0000-0000-0000-000000000000"
CALLS = [
    ("cloudwatch", "GetMetricData", "get_metric_data",
     {"MetricDataQueries": [], "StartTime": 0, "EndTime": 1}, "Throttling"),
    ("cloudwatch", "DescribeAlarms", "describe_alarms", {}, "ThrottlingException"),
    ("codedeploy", "GetDeployment", "get_deployment", {"deploymentId": "d-000000000"}, "ThrottlingException"),
    ("codepipeline", "GetPipelineState", "get_pipeline_state", {"name": "x"}, "ThrottlingException"),
    ("codepipeline", "PutJobSuccessResult", "put_job_success_result", {"jobId": UUID}, "ThrottlingException"),
    ("sts", "AssumeRole", "assume_role",
     {"RoleArn": "arn:aws:iam::123456789012:role/x", "RoleSessionName": "gate"}, "Throttling"),
    ("ecs", "DescribeServices", "describe_services", {"services": ["x"]}, "ThrottlingException"),
    ("elbv2", "DescribeTargetHealth", "describe_target_health", {"TargetGroupArn": "arn:x"}, "Throttling"),
    ("ec2", "DescribeVpcs", "describe_vpcs", {}, "RequestLimitExceeded"),
    ("lambda", "Invoke", "invoke", {"FunctionName": "nobody"}, "TooManyRequestsException"),
    ("sqs", "ReceiveMessage", "receive_message", {"QueueUrl": "http://127.0.0.1/1/q"}, "RequestThrottled"),
    ("sns", "Publish", "publish", {"Message": "x", "TopicArn": "arn:x"}, "Throttling"),
    ("ssm", "GetParameter", "get_parameter", {"Name": "x"}, "ThrottlingException"),
    ("secretsmanager", "GetSecretValue", "get_secret_value", {"SecretId": "x"}, "ThrottlingException"),
    ("events", "PutEvents", "put_events", {"Entries": []}, "ThrottlingException"),
    ("dynamodb", "GetItem", "get_item", {"TableName": "t", "Key": {"k": {"S": "1"}}}, "ThrottlingException"),
]  # fmt: skip


@pytest.mark.parametrize("service, operation, method, params, error", CALLS)
def test_throttling_parses_and_is_worth_a_retry(aws, service, operation, method, params, error):
    _, made = aws.control("faults", "POST", {
        "service": service, "operation": operation, "access_key": "throttled", "error": error, "status": 400,
        "message": "Rate exceeded", "count": 1,
    })  # fmt: skip
    try:
        with pytest.raises(ClientError) as raised:
            getattr(aws.loose(service, "throttled"), method)(**params)
    finally:
        aws.control(f"faults/{made['id']}", "DELETE")
    response = raised.value.response
    assert response["Error"]["Code"] == error and response["Error"]["Message"] == "Rate exceeded"
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert ThrottledRetryableChecker().is_retryable(RetryContext(1, parsed_response=response))


def test_a_client_that_retries_gets_through(aws):
    _, made = aws.control("faults", "POST", {
        "service": "cloudwatch", "operation": "DescribeAlarms", "access_key": "patient", "error": "Throttling",
        "count": 2,
    })  # fmt: skip
    aws.clients("patient").cloudwatch.describe_alarms()
    _, found = aws.control("requests?service=cloudwatch&access_key=patient")
    assert [one["error"] for one in found["requests"]] == ["Throttling", "Throttling", None]
    aws.control(f"faults/{made['id']}", "DELETE")


@pytest.mark.parametrize("protocol", ["json", "cbor"])
def test_query_compatible_services_name_the_error_in_a_header(aws, protocol):
    _, made = aws.control("faults", "POST", {
        "service": "cloudwatch", "operation": "SetAlarmState", "access_key": "tester", "error": "ResourceNotFound",
        "status": 404,
    })  # fmt: skip
    try:
        if protocol == "json":
            status, headers, body = send(*signed(
                aws, b"{}", "GraniteServiceVersion20100801.SetAlarmState", "monitoring",
                **{"Content-Type": "application/x-amz-json-1.0"},
            ))  # fmt: skip
            assert json.loads(body)["__type"] == "ResourceNotFound"
        else:
            from emulated_aws.wire import cbor

            path = "/service/GraniteServiceVersion20100801/operation/SetAlarmState"
            headers = {"Content-Type": "application/cbor", "smithy-protocol": "rpc-v2-cbor"}
            url, sent, body = signed(aws, cbor.encode({}), "", "monitoring", path=path, **headers)
            status, headers, body = send(url, sent, body)
            assert cbor.decode(body)["__type"] == "ResourceNotFound"
        named = {key.lower(): value for key, value in headers.items()}
        assert status == 404 and named["x-amzn-query-error"] == "ResourceNotFound;Sender"
    finally:
        aws.control(f"faults/{made['id']}", "DELETE")


def test_a_fault_may_make_pages_small(aws):
    alarms = aws.loose("cloudwatch", "paged")
    for name in ("paged-one", "paged-two"):
        alarms.put_metric_alarm(
            AlarmName=name, MetricName="m", Namespace="n", Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1.0, ComparisonOperator="GreaterThanThreshold",
        )  # fmt: skip
    _, made = aws.control("faults", "POST", {
        "operation": "DescribeAlarms", "access_key": "paged", "params": {"MaxRecords": 1},
    })  # fmt: skip
    try:
        page = alarms.describe_alarms(AlarmNamePrefix="paged-", MaxRecords=100)
        assert [alarm["AlarmName"] for alarm in page["MetricAlarms"]] == ["paged-one"] and page["NextToken"]
    finally:
        aws.control(f"faults/{made['id']}", "DELETE")
