"""Who is let in at all: signatures, clocks, services and operations; every answer is one an SDK can read."""

import datetime
import hashlib
import json
import re
from email.utils import parsedate_to_datetime

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from by_hand import PREFIX, code, json_code, send, signed


def test_signed_json_is_answered(aws):
    status, headers, body = send(*signed(aws))
    assert status == 200 and "applications" in json.loads(body)
    assert headers["Content-Type"] == "application/x-amz-json-1.1"


def test_unsigned_is_refused(aws):
    url, headers, body = signed(aws)
    del headers["Authorization"]
    status, _, answer = send(url, headers, body)
    assert (status, code(answer)) == (403, "MissingAuthenticationTokenException")
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    status, _, answer = send(aws.url, form, b"Action=DescribeLoadBalancers&Version=2015-12-01")
    assert status == 403 and b"<Code>MissingAuthenticationToken</Code>" in answer


def test_tampering_is_noticed(aws):
    url, headers, _ = signed(aws)
    assert code(send(url, headers, b'{"nextToken":"x"}')[2]) == "InvalidSignatureException"
    url, headers, body = signed(aws)
    headers["X-Amz-Target"] = f"{PREFIX}.GetApplication"
    assert send(url, headers, body)[0] == 403
    url, headers, body = signed(aws)
    assert send(url + "?a=b", headers, body)[0] == 403


def test_wrong_secret_is_refused(aws):
    status, _, answer = send(*signed(aws, secret="wrong"))
    assert (status, code(answer)) == (403, "InvalidSignatureException")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        aws.loose("elbv2", secret="wrong").describe_load_balancers()


@pytest.mark.parametrize("secret", ["emulated", "test", "testing", "tester"])
def test_common_secrets_are_good(aws, secret):
    assert send(*signed(aws, secret=secret))[0] == 200


TIME = r"\d{8}T\d{6}Z"
EXPIRED = rf"Signature expired: {TIME} is now earlier than {TIME} \({TIME} - 5 min\.\)"
NOT_YET = rf"Signature not yet current: {TIME} is still later than {TIME} \({TIME} \+ 5 min\.\)"


@pytest.mark.parametrize("minutes, message", [(-6, EXPIRED), (6, NOT_YET)])
def test_wrong_clock_is_refused(aws, monkeypatch, minutes, message):
    at = datetime.datetime.now(datetime.UTC) + datetime.timedelta(minutes=minutes)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *a, **k: at.replace(tzinfo=None))
    status, _, answer = send(*signed(aws))
    assert (status, code(answer)) == (403, "InvalidSignatureException")
    assert re.fullmatch(message, json.loads(answer)["message"])


@pytest.mark.parametrize("ahead, message", [(3600, EXPIRED), (-3600, NOT_YET)])
def test_the_clock_of_one_access_key_is_shifted(aws, monkeypatch, ahead, message):
    shifted = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=ahead)

    def is_dated(headers):
        return abs(parsedate_to_datetime(headers["Date"]) - shifted) < datetime.timedelta(minutes=1)

    assert aws.control("clocks", "POST", {"access_key": "slow", "ahead_seconds": ahead})[0] == 200
    status, headers, answer = send(*signed(aws, access_key="slow"))
    assert status == 403 and re.fullmatch(message, json.loads(answer)["message"]) and is_dated(headers)
    with pytest.raises(ClientError, match="SignatureDoesNotMatch.*Signature"):
        aws.loose("elbv2", "slow").describe_load_balancers()
    assert send(*signed(aws))[0] == 200, "nobody else's"
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *a, **k: shifted.replace(tzinfo=None))
    to_moto = {"target": "AmazonSSM.DescribeParameters", "service": "ssm"}
    for asked in ({}, to_moto):
        status, headers, _ = send(*signed(aws, access_key="slow", **asked))
        assert status == 200 and is_dated(headers)
    monkeypatch.undo()
    assert aws.control("clocks", "POST", {"access_key": "slow", "ahead_seconds": 0})[0] == 200
    assert send(*signed(aws, access_key="slow"))[0] == 200


@pytest.mark.parametrize(
    "asked",
    [[], {}, {"access_key": "a"}, {"access_key": "a", "ahead_seconds": "1"}, {"access_key": "a", "ahead_seconds": 1e9}],
)
def test_no_clock_is_shifted_by_what_makes_no_sense(aws, asked):
    assert aws.control("clocks", "POST", asked)[0] == 400


def test_body_hash_claimed_must_be_true(aws):
    claim = hashlib.sha256(b"other").hexdigest()
    url, headers, body = signed(aws, **{"X-Amz-Content-SHA256": claim})
    assert code(send(url, headers, body)[2]) == "XAmzContentSHA256Mismatch"


@pytest.mark.parametrize(
    "arguments, wanted",
    [
        ({"target": f"{PREFIX}.MakeCoffee"}, "UnknownOperationException"),
        ({"target": "Other_20141006.ListApplications"}, "UnknownOperationException"),
        ({"body": b"{"}, "SerializationException"),
        ({"body": b"[]"}, "SerializationException"),
        ({"body": b'{"nextToken": 7}'}, "SerializationException"),
        ({"body": b'{"nextTokens": "x"}'}, "ValidationException"),
        ({"Content-Type": "text/plain"}, "UnknownOperationException"),
        ({"service": "quantum"}, "NotImplemented"),
        ({"target": f"{PREFIX}.CreateDeploymentConfig", "body": b'{"deploymentConfigName":"x"}'}, "NotImplemented"),
    ],
)
def test_what_cannot_be_understood_has_a_name(aws, arguments, wanted):
    status, headers, answer = send(*signed(aws, **arguments))
    assert code(answer) == wanted and 400 <= status < 600 and "html" not in headers["Content-Type"]


ECS = {"target": "AmazonEC2ContainerServiceV20141113", "service": "ecs"}


@pytest.mark.parametrize(
    "operation, params, to, wanted",
    [
        ("PutLifecycleEventHookExecutionStatus", {"lifecycleEventHookExecutionID": "x"}, {}, "ValidationException"),
        ("PutLifecycleEventHookExecutionStatus", {"deploymentId": 7}, {}, "SerializationException"),
        ("StopDeployment", {"deploymentId": "d-000000000", "autoRollback": True}, {}, "ValidationException"),
        ("BatchGetDeploymentTargets", {"deploymentId": "d-000000000", "targetIds": "x"}, {}, "SerializationException"),
        ("GetDeployment", {"deploymentId": None}, {}, "DeploymentIdRequiredException"),
        ("DescribeServices", {"servces": ["x"]}, ECS, "InvalidParameterException"),
        ("DescribeServices", {"services": "x"}, ECS, "SerializationException"),
        ("RegisterTaskDefinition", {"family": "f"}, ECS, "InvalidParameterException"),
        ("CreateService", {"serviceName": "s", "launchType": "MOON"}, ECS, "InvalidParameterException"),
    ],
)
def test_members_and_types_are_those_of_the_model(aws, operation, params, to, wanted):
    assert json_code(aws, operation, params, **to) == wanted


def test_query_errors_are_xml(aws):
    for form, wanted in (
        (b"Action=MakeCoffee&Version=2015-12-01", b"InvalidAction"),
        (b"Action=DescribeLoadBalancers&Version=2012-06-01", b"InvalidAction"),
        (b"Action=DescribeLoadBalancers&Version=2015-12-01&Colour=blue", b"ValidationError"),
        (b"Action=DescribeLoadBalancers&Version=2015-12-01&PageSize=many", b"MalformedInput"),
        (b"Action=DescribeLoadBalancers&Action=CreateRule&Version=2015-12-01", b"MalformedQueryString"),
    ):
        request = AWSRequest("POST", aws.url + "/", {"Content-Type": "application/x-www-form-urlencoded"}, form)
        SigV4Auth(Credentials("tester", "emulated"), "elasticloadbalancing", "us-east-1").add_auth(request)
        status, _, answer = send(aws.url + "/", dict(request.headers), form)
        assert status == 400 and b"<Code>" + wanted + b"</Code>" in answer, answer


def test_cbor_and_json_say_the_same(aws):
    # botocore speaks CBOR to CodeDeploy; the fixtures and the Rust SDK speak JSON
    status, _, answer = send(*signed(
        aws, b'{"deploymentConfigName":"CodeDeployDefault.ECSCanary10Percent5Minutes"}', f"{PREFIX}.GetDeploymentConfig"
    ))  # fmt: skip
    by_cbor = aws.clients().codedeploy.get_deployment_config(
        deploymentConfigName="CodeDeployDefault.ECSCanary10Percent5Minutes"
    )
    seen = by_cbor["deploymentConfigInfo"]
    seen["createTime"] = seen["createTime"].timestamp()
    assert status == 200 and json.loads(answer)["deploymentConfigInfo"] == seen


def test_what_moto_serves_passes_through(aws):
    clients = aws.clients()
    assert clients.sts.get_caller_identity()["Account"] == "123456789012"
    url = clients.sqs.create_queue(QueueName="q")["QueueUrl"]
    clients.sqs.send_message(QueueUrl=url, MessageBody="hello")
    assert clients.sqs.receive_message(QueueUrl=url)["Messages"][0]["Body"] == "hello"
    topic = clients.sns.create_topic(Name="t")["TopicArn"]
    clients.sns.publish(TopicArn=topic, Message="hello")
    clients.ssm.put_parameter(Name="/p", Value="v", Type="String")
    assert clients.ssm.get_parameter(Name="/p")["Parameter"]["Value"] == "v"
    clients.secretsmanager.create_secret(Name="s", SecretString="x")
    assert clients.secretsmanager.get_secret_value(SecretId="s")["SecretString"] == "x"
    clients.dynamodb.create_table(
        TableName="d", BillingMode="PAY_PER_REQUEST", KeySchema=[{"AttributeName": "k", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "k", "AttributeType": "S"}],
    )  # fmt: skip
    clients.dynamodb.put_item(TableName="d", Item={"k": {"S": "1"}})
    assert clients.dynamodb.get_item(TableName="d", Key={"k": {"S": "1"}})["Item"]
    clients.events.put_rule(Name="r", EventPattern='{"source":["aws.codedeploy"]}')
    # CloudWatch by CBOR, which moto does not speak
    clients.cloudwatch.put_metric_data(Namespace="n", MetricData=[{"MetricName": "m", "Value": 1.5}])
    assert clients.cloudwatch.list_metrics(Namespace="n")["Metrics"][0]["MetricName"] == "m"
