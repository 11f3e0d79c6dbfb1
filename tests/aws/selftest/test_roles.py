"""Assumed roles: whose credentials they are, and who may not have them."""

import datetime
import json
import uuid

import pytest
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"


@pytest.fixture
def role(aws):
    """Makes roles of our own account with a trust statement changed as asked; gives their ARNs."""
    iam, made = aws.clients().iam, []

    def make(**change):
        statement = {
            "Effect": "Allow",
            "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
            "Action": "sts:AssumeRole",
        }
        document = {"Version": "2012-10-17", "Statement": [statement | change]}
        made.append(f"reader-{uuid.uuid4().hex[:8]}")
        return iam.create_role(RoleName=made[-1], AssumeRolePolicyDocument=json.dumps(document))["Role"]["Arn"]

    yield make
    for name in made:
        iam.delete_role(RoleName=name)


@pytest.fixture
def deny(aws):
    def set_denied(*roles):
        assert aws.control("denied-roles", "POST", {"roles": roles})[0] == 200

    yield set_denied
    set_denied()


def client(aws, service, credentials, **change):
    given = credentials | change
    return aws._session.create_client(
        service, endpoint_url=aws.url, region_name="us-east-1", aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"], aws_session_token=given["SessionToken"],
    )  # fmt: skip


def assume(aws, arn, session="gate", **extra):
    return aws.loose("sts").assume_role(RoleArn=arn, RoleSessionName=session, **extra)


def code(call, *arguments, **named):
    with pytest.raises(ClientError) as raised:
        call(*arguments, **named)
    return raised.value.response["Error"]["Code"]


def test_an_assumed_role_calls_under_its_own_name(aws, role):
    arn = role()
    name = arn.rpartition("/")[2]
    answer = assume(aws, arn, DurationSeconds=900)
    credentials = answer["Credentials"]
    assert credentials["AccessKeyId"] == f"ASIA{ACCOUNT}_{name.replace('-', '_')}"
    left = credentials["Expiration"] - datetime.datetime.now(datetime.UTC)
    assert datetime.timedelta(seconds=880) < left <= datetime.timedelta(seconds=900)
    assumed = f"arn:aws:sts::{ACCOUNT}:assumed-role/{name}/gate"
    assert answer["AssumedRoleUser"]["Arn"] == assumed
    identity = client(aws, "sts", credentials).get_caller_identity()
    assert (identity["Arn"], identity["Account"]) == (assumed, ACCOUNT)
    assert identity["UserId"] == answer["AssumedRoleUser"]["AssumedRoleId"]
    client(aws, "codedeploy", credentials).list_applications()
    _, found = aws.control(f"requests?service=codedeploy&access_key={credentials['AccessKeyId']}")
    assert [one["operation"] for one in found["requests"]] == ["ListApplications"]
    assert aws.clients().sts.get_caller_identity()["Arn"] != assumed, "others are who they were"


def test_sessions_of_one_role_are_told_apart(aws, role):
    arn = role()
    one, two = (assume(aws, arn, session)["Credentials"] for session in ("one", "two"))
    names = [client(aws, "sts", given).get_caller_identity()["Arn"].rpartition("/")[2] for given in (one, two)]
    assert names == ["one", "two"]


def test_roles_of_other_accounts_see_the_same_world(aws):
    credentials = assume(aws, "arn:aws:iam::210987654321:role/ci/deployer")["Credentials"]
    assert credentials["AccessKeyId"] == "ASIA210987654321_deployer"
    assert client(aws, "sts", credentials).get_caller_identity()["Account"] == "210987654321"
    name = f"q{uuid.uuid4().hex[:8]}"
    client(aws, "sqs", credentials).create_queue(QueueName=name)
    url = aws.clients().sqs.get_queue_url(QueueName=name)["QueueUrl"]
    assert f"/{ACCOUNT}/" in url
    got = client(aws, "sqs", credentials).get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    assert got["Attributes"]["QueueArn"] == f"arn:aws:sqs:us-east-1:{ACCOUNT}:{name}"
    topic = client(aws, "sns", credentials).create_topic(Name=name)["TopicArn"]
    assert topic.split(":")[4] == ACCOUNT


def test_assumed_keys_are_worth_nothing_without_their_token(aws, role):
    credentials = assume(aws, role())["Credentials"]
    for service, operation, wanted in (
        ("sts", "get_caller_identity", "InvalidClientTokenId"),
        ("codedeploy", "list_applications", "UnrecognizedClientException"),
    ):
        for token in (None, "x"):
            assert code(getattr(client(aws, service, credentials, SessionToken=token), operation)) == wanted
    wrong = client(aws, "codedeploy", credentials, SecretAccessKey="wrong")
    assert code(wrong.list_applications) == "InvalidSignatureException"


def test_denied_roles_are_refused_until_allowed_again(aws, role, deny):
    arn = role()
    deny(arn)
    assert code(assume, aws, arn) == "AccessDenied"
    deny()
    assert assume(aws, arn)["Credentials"]
    assert aws.control("denied-roles", "POST", {"role": "x"})[0] == 400


def test_assume_role_refuses(aws, role):
    arn = role()
    secret = role(Condition={"StringEquals": {"sts:ExternalId": "s3cret"}})
    assert assume(aws, secret, ExternalId="s3cret")["Credentials"]
    chained = client(aws, "sts", assume(aws, arn)["Credentials"])
    for call, extra, wanted in (
        (aws.loose("sts"), {"RoleArn": f"arn:aws:iam::{ACCOUNT}:role/nobody"}, "AccessDenied"),
        (aws.loose("sts"), {"RoleArn": secret}, "AccessDenied"),
        (aws.loose("sts"), {"RoleArn": secret, "ExternalId": "guess"}, "AccessDenied"),
        (aws.loose("sts"), {"RoleArn": role(Principal={"Service": "ecs.amazonaws.com"})}, "AccessDenied"),
        (aws.loose("sts"), {"RoleArn": role(Effect="Deny")}, "AccessDenied"),
        (aws.loose("sts"), {"RoleArn": "arn:aws:iam::1:role/nobody"}, "ValidationError"),
        (aws.loose("sts"), {"RoleArn": arn, "RoleSessionName": "a b"}, "ValidationError"),
        (aws.loose("sts"), {"RoleArn": arn, "DurationSeconds": 60}, "ValidationError"),
        (aws.loose("sts"), {"RoleArn": arn, "DurationSeconds": 7200}, "ValidationError"),
        (chained, {"RoleArn": arn, "DurationSeconds": 7200}, "ValidationError"),
        (aws.loose("sts"), {"RoleArn": arn, "SerialNumber": "arn:aws:iam::1:mfa/x", "TokenCode": "123456"},
         "NotImplemented"),
    ):  # fmt: skip
        assert code(call.assume_role, **{"RoleSessionName": "gate"} | extra) == wanted, extra
