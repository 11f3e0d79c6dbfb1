"""Published versions do not change, and aliases point to one or two of them."""

import pytest
from botocore.exceptions import ClientError

from emulated_aws.scenario.setup import bootstrap_zip, role
from releases import FUNCTION


@pytest.fixture
def two(new_function):
    """A function with two versions."""
    function = new_function()
    assert [function.publish(), function.publish("second")] == ["1", "2"]
    return function


def code(call, **params):
    with pytest.raises(ClientError) as raised:
        call(**params)
    return raised.value.response["Error"]["Code"], raised.value.response["ResponseMetadata"]["HTTPStatusCode"]


def test_published_version_keeps_code_environment_and_timeout(two):
    two.configure(Timeout=7, Environment={"Variables": {"NAME": "latest"}})
    two.api.update_function_code(FunctionName=two.name, ZipFile=bootstrap_zip("exit 4"))
    assert [two.invoke(number)[1]["name"] for number in ("1", "2")] == ["first", "second"]
    assert two.invoke()[1]["errorType"] == "Runtime.ExitError"
    get = two.api.get_function_configuration
    timeouts = [get(FunctionName=two.name, Qualifier=one)["Timeout"] for one in ("1", "2", "$LATEST")]
    assert timeouts == [3, 3, 7]
    shown = [get(FunctionName=two.name), get(FunctionName=two.name, Qualifier="1")]
    assert [one["Version"] for one in shown] == ["$LATEST", "1"]
    assert shown[1]["FunctionArn"] == shown[0]["FunctionArn"] + ":1"
    assert shown[0]["CodeSha256"] != shown[1]["CodeSha256"]


def test_publishing_the_same_again_makes_no_version(two):
    assert two.publish() == "2"
    two.api.update_function_code(FunctionName=two.name, ZipFile=bootstrap_zip(FUNCTION))
    assert two.publish() == "2", "the same code"
    published = two.api.update_function_code(FunctionName=two.name, ZipFile=bootstrap_zip("exit 4"), Publish=True)
    assert published["Version"] == "3"
    versions = two.api.list_versions_by_function(FunctionName=two.name)["Versions"]
    assert [one["Version"] for one in versions] == ["$LATEST", "1", "2", "3"]
    paged = two.api.list_versions_by_function(FunctionName=two.name, MaxItems=3)
    rest = two.api.list_versions_by_function(FunctionName=two.name, Marker=paged["NextMarker"])["Versions"]
    assert [one["Version"] for one in rest] == ["3"]


def test_publish_only_what_was_looked_at(two):
    now = two.configure(Description="again")
    wrong = [
        ({"CodeSha256": "AAAA"}, ("InvalidParameterValueException", 400)),
        ({"RevisionId": "old"}, ("PreconditionFailedException", 412)),
    ]
    for change, wanted in wrong:
        assert code(two.api.publish_version, FunctionName=two.name, **change) == wanted
    right = {"CodeSha256": now["CodeSha256"], "RevisionId": now["RevisionId"], "Description": "third"}
    made = two.api.publish_version(FunctionName=two.name, **right)
    assert (made["Version"], made["Description"]) == ("3", "third")
    stale = {"FunctionName": two.name, "RevisionId": "old"}
    assert code(two.api.update_function_configuration, **stale)[1] == 412
    assert code(two.api.update_function_code, ZipFile=bootstrap_zip("exit"), **stale)[1] == 412


def test_code_on_trial_changes_nothing(two):
    before = two.api.get_function(FunctionName=two.name)["Configuration"]["CodeSha256"]
    tried = two.api.update_function_code(FunctionName=two.name, ZipFile=bootstrap_zip("exit 4"), DryRun=True)
    assert tried["CodeSha256"] != before
    assert two.api.get_function(FunctionName=two.name)["Configuration"]["CodeSha256"] == before


def test_alias_lives_and_dies(two):
    made = two.api.create_alias(FunctionName=two.name, Name="live", FunctionVersion="1", Description="production")
    assert made["AliasArn"].endswith(f"function:{two.name}:live") and "RoutingConfig" not in made
    get = lambda: two.api.get_alias(FunctionName=two.name, Name="live")  # noqa: E731
    split = {"AdditionalVersionWeights": {"2": 0.25}}
    two.api.update_alias(FunctionName=two.name, Name="live", RoutingConfig=split)
    shown = get()
    assert shown["RoutingConfig"] == split and shown["FunctionVersion"] == "1" and shown["Description"] == "production"
    assert shown["RevisionId"] != made["RevisionId"]
    stale = {"FunctionName": two.name, "Name": "live", "RevisionId": made["RevisionId"]}
    assert code(two.api.update_alias, Description="late", **stale) == ("PreconditionFailedException", 412)
    for number, wanted in (("1", ["live"]), ("2", ["live"])):
        listed = two.api.list_aliases(FunctionName=two.name, FunctionVersion=number)["Aliases"]
        assert [one["Name"] for one in listed] == wanted
    two.api.update_alias(
        FunctionName=two.name, Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert get()["FunctionVersion"] == "2" and "RoutingConfig" not in get()
    shown = two.api.get_function_configuration(FunctionName=two.name, Qualifier="live")
    assert shown["Version"] == "2" and shown["FunctionArn"].endswith(":live")
    two.api.delete_alias(FunctionName=two.name, Name="live")
    assert code(two.api.get_alias, FunctionName=two.name, Name="live") == ("ResourceNotFoundException", 404)


def test_alias_that_cannot_be(two):
    other = role(two.clients, f"{two.name}-other", "lambda.amazonaws.com")
    two.configure(Role=other)
    two.publish()
    make = two.api.create_alias
    invalid, missing = ("InvalidParameterValueException", 400), ("ResourceNotFoundException", 404)
    loose = two.aws.loose("lambda").create_alias
    for change, wanted in (
        ({"FunctionVersion": "9"}, missing),
        ({"FunctionName": "nobody"}, missing),
        ({"Name": "7"}, invalid),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"9": 0.1}}}, missing),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.1}}}, invalid),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}}}, invalid),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"2": -0.1}}}, invalid),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1, "3": 0.1}}}, invalid),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"3": 0.1}}}, invalid),
        ({"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}}, invalid),
    ):
        params = {"FunctionName": two.name, "Name": "live", "FunctionVersion": "1"} | change
        assert code(loose, **params) == wanted, change
    make(FunctionName=two.name, Name="live", FunctionVersion="1")
    again = {"FunctionName": two.name, "Name": "live", "FunctionVersion": "1"}
    assert code(make, **again) == ("ResourceConflictException", 409)


def test_version_in_use_is_not_deleted(two):
    two.api.create_alias(FunctionName=two.name, Name="live", FunctionVersion="1")
    delete = two.api.delete_function
    assert code(delete, FunctionName=two.name, Qualifier="1") == ("ResourceConflictException", 409)
    assert code(delete, FunctionName=two.name, Qualifier="$LATEST")[0] == "InvalidParameterValueException"
    delete(FunctionName=two.name, Qualifier="2")
    assert code(two.api.invoke, FunctionName=two.name, Qualifier="2") == ("ResourceNotFoundException", 404)
    assert two.publish() == "3", "numbers are never given twice"


def test_function_is_named_in_every_way(two):
    two.api.create_alias(FunctionName=two.name, Name="live", FunctionVersion="1")
    arn = two.api.get_function(FunctionName=two.name)["Configuration"]["FunctionArn"]
    account = arn.split(":")[4]
    for name, version in (
        (arn, "$LATEST"), (f"{arn}:2", "2"), (f"{arn}:live", "1"), (f"{two.name}:$LATEST", "$LATEST"),
        (f"{account}:function:{two.name}:2", "2"),
    ):  # fmt: skip
        answer, body = two.invoke(FunctionName=name)
        assert answer["ExecutedVersion"] == version, name
        assert body["arn"] == (arn + ":" + name.rpartition(":")[2] if version != "$LATEST" or "$" in name else arn)
    answer, _ = two.invoke("2", FunctionName=f"{two.name}:2")
    assert answer["ExecutedVersion"] == "2"
    for params, wanted in (
        ({"FunctionName": f"{two.name}:1", "Qualifier": "2"}, "InvalidParameterValueException"),
        ({"FunctionName": arn.replace("us-east-1", "eu-west-1")}, "ResourceNotFoundException"),
        ({"FunctionName": two.name, "Qualifier": "nobody"}, "ResourceNotFoundException"),
    ):
        assert code(two.api.invoke, **params)[0] == wanted, params
