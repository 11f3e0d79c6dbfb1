"""What CodeDeploy refuses on the Lambda platform, and the name of the error."""

import json

import pytest
from botocore.exceptions import ClientError

from emulated_aws.codedeploy.appspec import parse
from emulated_aws.scenario.functions import teardown_lambda
from releases import Release


@pytest.fixture(scope="module")
def one(aws):
    """A function nothing is deployed to."""
    release = Release(aws)
    yield release
    teardown_lambda(release.clients, release.name)


def refusal(call, **params):
    with pytest.raises(ClientError) as raised:
        call(**params)
    return raised.value.response["Error"]["Code"]


def appspec(**changes):
    properties = {"Name": "f", "Alias": "live", "CurrentVersion": 1, "TargetVersion": "2"}
    properties |= changes.pop("properties", {})
    resource = {"f": {"Type": "AWS::Lambda::Function", "Properties": properties}}
    return {"version": 0.0, "Resources": [resource]} | changes


INVALID = "InvalidRevisionException"


@pytest.mark.parametrize("spec, wanted", [
    (appspec(Hooks=[{"AfterAllowTestTraffic": "CodeDeployHook_x"}]), INVALID),
    (appspec(Hooks=[{"AllowTraffic": "CodeDeployHook_x"}]), INVALID),
    (appspec(properties={"TargetVersion": "$LATEST"}), INVALID),
    (appspec(properties={"CurrentVersion": None}), INVALID),
    (appspec(properties={"Alias": ""}), INVALID),
    (appspec(properties={"Name": "a b"}), INVALID),
    (appspec(properties={"TaskDefinition": "web:1"}), INVALID),
    (appspec(Resources=[{"f": {"Type": "AWS::ECS::Service", "Properties": {}}}]), INVALID),
    (appspec(Resources=[]), INVALID),
    (appspec(Resources=appspec()["Resources"] * 2), "NotImplemented"),
])  # fmt: skip
def test_create_deployment_refuses_appspecs(one, spec, wanted):
    assert refusal(one.create, appspec=json.dumps(spec)) == wanted


def test_create_deployment_refuses_other_revisions_and_configurations(one):
    create = one.codedeploy.create_deployment
    where = {"applicationName": one.name, "deploymentGroupName": f"{one.name}-group"}
    for kind in ("S3", "String"):
        assert refusal(create, **where, revision={"revisionType": kind}) == "NotImplemented"
    right = {"revisionType": "AppSpecContent", "appSpecContent": {"content": json.dumps(appspec())}}
    wrong = "CodeDeployDefault.ECSAllAtOnce"
    refused = refusal(create, **where, revision=right, deploymentConfigName=wrong)
    assert refused == "InvalidDeploymentConfigNameException"


def test_yaml_appspec_of_the_documentation(one):
    text = """
version: 0.0
Resources:
  - myLambdaFunction:
      Type: AWS::Lambda::Function
      Properties:
        Name: "checkout"
        Alias: "live"
        CurrentVersion: "41"
        TargetVersion: "42"
Hooks:
  - BeforeAllowTraffic: "CodeDeployHook_before"
  - AfterAllowTraffic: "CodeDeployHook_after"
"""
    spec = parse({"revisionType": "AppSpecContent", "appSpecContent": {"content": text}}, "Lambda")
    assert (spec.function, spec.alias, spec.current, spec.target) == ("checkout", "live", "41", "42")
    assert spec.hooks == {"BeforeAllowTraffic": "CodeDeployHook_before", "AfterAllowTraffic": "CodeDeployHook_after"}


@pytest.mark.parametrize("change, wanted", [
    ({"deploymentStyle": {"deploymentType": "IN_PLACE", "deploymentOption": "WITH_TRAFFIC_CONTROL"}},
     "InvalidDeploymentStyleException"),
    ({"deploymentStyle": {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITHOUT_TRAFFIC_CONTROL"}},
     "InvalidDeploymentStyleException"),
    ({"deploymentConfigName": "CodeDeployDefault.ECSAllAtOnce"}, "InvalidDeploymentConfigNameException"),
    ({"deploymentConfigName": "x"}, "DeploymentConfigDoesNotExistException"),
    ({"ecsServices": [{"clusterName": "c", "serviceName": "s"}]}, "InvalidECSServiceException"),
    ({"loadBalancerInfo": {"targetGroupInfoList": [{"name": "x"}]}}, "InvalidLoadBalancerInfoException"),
    ({"blueGreenDeploymentConfiguration": {"deploymentReadyOption": {"actionOnTimeout": "CONTINUE_DEPLOYMENT"}}},
     "InvalidBlueGreenDeploymentConfigurationException"),
    ({"ec2TagFilters": [{"Key": "a", "Value": "b", "Type": "KEY_AND_VALUE"}]}, "InvalidInputException"),
    ({"serviceRoleArn": "arn:aws:iam::123456789012:role/nobody"}, "InvalidRoleException"),
])  # fmt: skip
def test_create_deployment_group_refuses(one, change, wanted):
    info = one.codedeploy.get_deployment_group(applicationName=one.name, deploymentGroupName=f"{one.name}-group")
    info = info["deploymentGroupInfo"]
    kept = ("applicationName", "serviceRoleArn", "deploymentConfigName", "deploymentStyle")
    params = {key: info[key] for key in kept} | {"deploymentGroupName": "another"} | change
    assert refusal(one.codedeploy.create_deployment_group, **params) == wanted


ROUTING = "InvalidTrafficRoutingConfigurationException"


def canary(percent, minutes):
    return {"type": "TimeBasedCanary", "timeBasedCanary": {"canaryPercentage": percent, "canaryInterval": minutes}}


@pytest.mark.parametrize("change, wanted", [
    ({}, ROUTING),
    ({"trafficRoutingConfig": {"type": "Sometimes"}}, ROUTING),
    ({"trafficRoutingConfig": {"type": "TimeBasedCanary"}}, ROUTING),
    ({"trafficRoutingConfig": canary(100, 5)}, ROUTING),
    ({"trafficRoutingConfig": canary(0, 5)}, ROUTING),
    ({"trafficRoutingConfig": canary(10, 0)}, ROUTING),
    ({"trafficRoutingConfig": canary(10, 2881)}, ROUTING),
    ({"trafficRoutingConfig": canary(10, 5) | {"type": "TimeBasedLinear"}}, ROUTING),
    ({"trafficRoutingConfig": canary(10, 5) | {"type": "AllAtOnce"}}, ROUTING),
    ({"computePlatform": "Moon"}, "InvalidComputePlatformException"),
    ({"computePlatform": "Server"}, "NotImplemented"),
    ({"minimumHealthyHosts": {"type": "HOST_COUNT", "value": 1}}, "InvalidMinimumHealthyHostValueException"),
    ({"deploymentConfigName": "CodeDeployDefault.LambdaMine"}, "InvalidDeploymentConfigNameException"),
    ({"deploymentConfigName": "a b"}, "InvalidDeploymentConfigNameException"),
    ({"deploymentConfigName": None}, "DeploymentConfigNameRequiredException"),
])  # fmt: skip
def test_create_deployment_config_refuses(one, change, wanted):
    params = {"deploymentConfigName": "mine", "computePlatform": "Lambda"} | change
    params = {key: value for key, value in params.items() if value is not None}
    assert refusal(one.aws.loose("codedeploy").create_deployment_config, **params) == wanted


def test_predefined_configuration_stays(one):
    delete = one.codedeploy.delete_deployment_config
    assert refusal(delete, deploymentConfigName="CodeDeployDefault.LambdaAllAtOnce") == "InvalidOperationException"


def test_target_of_another_shape_is_no_target(one):
    one.answer("silent")
    deployment = one.deploy(("BeforeAllowTraffic",))
    get = one.codedeploy.get_deployment_target
    try:
        for target, wanted in (
            (one.name, "InvalidDeploymentTargetIdException"),
            (f"{one.name}:other", "DeploymentTargetDoesNotExistException"),
        ):
            seen = ""
            while seen in ("", "DeploymentNotStartedException"):
                seen = refusal(get, deploymentId=deployment, targetId=target)
            assert seen == wanted
    finally:
        one.codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=False)
        one.wait(deployment)
