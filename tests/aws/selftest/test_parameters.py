"""Parameters and secrets, which moto keeps: what a consumer of configuration reads, also after a rotation."""

import uuid

import pytest
from botocore.exceptions import ClientError


@pytest.fixture
def name():
    return f"t{uuid.uuid4().hex[:8]}"


def test_secure_parameters_are_decrypted_on_demand(aws, name):
    ssm, path = aws.clients().ssm, f"/gate/{name}"
    first = ssm.put_parameter(Name=path, Value="s3cret", Type="SecureString")
    assert first["Version"] == 1
    found = ssm.get_parameter(Name=path, WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Type"], found["Version"]) == ("s3cret", "SecureString", 1)
    assert found["ARN"] == f"arn:aws:ssm:us-east-1:123456789012:parameter{path}"
    assert ssm.get_parameter(Name=path)["Parameter"]["Value"] != "s3cret"
    ssm.put_parameter(Name=path, Value="r0tated", Type="SecureString", Overwrite=True)
    found = ssm.get_parameter(Name=path, WithDecryption=True)["Parameter"]
    assert (found["Value"], found["Version"]) == ("r0tated", 2)
    assert ssm.get_parameter(Name=f"{path}:1", WithDecryption=True)["Parameter"]["Value"] == "s3cret"


def test_parameters_are_refused_by_name(aws, name):
    ssm = aws.loose("ssm")
    with pytest.raises(ClientError, match="ParameterNotFound"):
        ssm.get_parameter(Name=f"/gate/{name}")
    aws.clients().ssm.put_parameter(Name=name, Value="v", Type="String")
    with pytest.raises(ClientError, match="ParameterAlreadyExists"):
        ssm.put_parameter(Name=name, Value="w", Type="String")


def test_secrets_are_read_by_name_and_stage_after_a_rotation(aws, name):
    secrets = aws.clients().secretsmanager
    arn = secrets.create_secret(Name=name, SecretString='{"token":"one"}')["ARN"]
    first = secrets.get_secret_value(SecretId=arn)
    assert first["SecretString"] == '{"token":"one"}' and first["VersionStages"] == ["AWSCURRENT"]
    assert first["Name"] == name and arn.startswith(f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}-")
    secrets.put_secret_value(SecretId=name, SecretString='{"token":"two"}')
    second = secrets.get_secret_value(SecretId=name)
    assert second["SecretString"] == '{"token":"two"}' and second["VersionId"] != first["VersionId"]
    before = secrets.get_secret_value(SecretId=name, VersionStage="AWSPREVIOUS")
    assert (before["SecretString"], before["VersionId"]) == ('{"token":"one"}', first["VersionId"])
    secrets.put_secret_value(SecretId=name, SecretBinary=b"\x00\xff")
    assert secrets.get_secret_value(SecretId=name)["SecretBinary"] == b"\x00\xff"


def test_secrets_are_refused_by_name(aws, name):
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        aws.loose("secretsmanager").get_secret_value(SecretId=name)
