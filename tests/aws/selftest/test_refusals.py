"""Bad input and the name of the error it gets: an emulator that always says yes proves nothing."""

import json

import pytest
from botocore.exceptions import ClientError

from conftest import Stack
from emulated_aws.scenario.setup import bootstrap_zip, teardown


@pytest.fixture(scope="module")
def one(aws):
    """A service nothing is deployed to."""
    stack = Stack(aws, count=1)
    yield stack
    teardown(stack.clients, stack.name)


def refusal(aws, service, operation, params):
    with pytest.raises(ClientError) as raised:
        getattr(aws.loose(service), operation)(**params)
    return raised.value.response["Error"]["Code"]


NOWHERE = "d-000000000"
CODEDEPLOY = [
    ("get_deployment", {}, "DeploymentIdRequiredException"),
    ("get_deployment", {"deploymentId": ""}, "DeploymentIdRequiredException"),
    ("get_deployment", {"deploymentId": "x"}, "InvalidDeploymentIdException"),
    ("get_deployment", {"deploymentId": NOWHERE}, "DeploymentDoesNotExistException"),
    ("put_lifecycle_event_hook_execution_status", {}, "DeploymentIdRequiredException"),
    ("put_lifecycle_event_hook_execution_status", {"deploymentId": "x"}, "InvalidDeploymentIdException"),
    ("put_lifecycle_event_hook_execution_status", {"deploymentId": NOWHERE}, "DeploymentDoesNotExistException"),
    ("stop_deployment", {}, "DeploymentIdRequiredException"),
    ("stop_deployment", {"deploymentId": NOWHERE}, "DeploymentDoesNotExistException"),
    ("continue_deployment", {}, "DeploymentIdRequiredException"),
    ("list_deployment_targets", {"deploymentId": NOWHERE}, "DeploymentDoesNotExistException"),
    ("batch_get_deployment_targets", {"deploymentId": NOWHERE}, "DeploymentTargetIdRequiredException"),
    ("get_deployment_target", {"deploymentId": NOWHERE}, "DeploymentTargetIdRequiredException"),
    ("batch_get_deployments", {}, "DeploymentIdRequiredException"),
    ("batch_get_deployments", {"deploymentIds": [NOWHERE] * 26}, "BatchLimitExceededException"),
    ("get_deployment_config", {}, "DeploymentConfigNameRequiredException"),
    ("get_deployment_config", {"deploymentConfigName": "x"}, "DeploymentConfigDoesNotExistException"),
    ("create_application", {}, "ApplicationNameRequiredException"),
    ("create_application", {"applicationName": "a b", "computePlatform": "ECS"}, "InvalidApplicationNameException"),
    ("create_application", {"applicationName": "a", "computePlatform": "EC2"}, "InvalidComputePlatformException"),
    ("create_application", {"applicationName": "a"}, "NotImplemented"),
    ("get_application", {"applicationName": "nobody"}, "ApplicationDoesNotExistException"),
    ("list_deployments", {"applicationName": "nobody"}, "DeploymentGroupNameRequiredException"),
    ("list_deployments", {"includeOnlyStatuses": ["Done"]}, "InvalidDeploymentStatusException"),
    ("list_deployments", {"nextToken": "?"}, "InvalidNextTokenException"),
    (
        "create_deployment",
        {"applicationName": "nobody", "deploymentGroupName": "g"},
        "ApplicationDoesNotExistException",
    ),
    ("create_deployment", {"deploymentGroupName": "g"}, "ApplicationNameRequiredException"),
]


@pytest.mark.parametrize("operation, params, wanted", CODEDEPLOY)
def test_codedeploy_refuses(aws, operation, params, wanted):
    assert refusal(aws, "codedeploy", operation, params) == wanted


def spec(one, **changes):
    properties = {
        "TaskDefinition": one.out["task_definition"],
        "LoadBalancerInfo": {"ContainerName": "app", "ContainerPort": 8080},
    } | changes.pop("properties", {})
    document = {
        "version": 0.0,
        "Resources": [{"TargetService": {"Type": "AWS::ECS::Service", "Properties": properties}}],
    } | changes
    return json.dumps(document)


REVISIONS = [
    (lambda one: None, "RevisionRequiredException"),
    (lambda one: {"revisionType": "S3"}, "InvalidRevisionException"),
    (lambda one: {"revisionType": "AppSpecContent"}, "InvalidRevisionException"),
    (lambda one: content("{"), "InvalidRevisionException"),
    (lambda one: content("a: [1"), "InvalidRevisionException"),
    (lambda one: content("just text"), "InvalidRevisionException"),
    (lambda one: content(spec(one, version=1.0)), "InvalidRevisionException"),
    (lambda one: content(spec(one, Resources=[])), "InvalidRevisionException"),
    (lambda one: content(spec(one, Extra=1)), "InvalidRevisionException"),
    (lambda one: content(spec(one, Hooks=[{"Install": "CodeDeployHook_x"}])), "InvalidRevisionException"),
    (lambda one: content(spec(one, Hooks=[{"AfterInstall": "not a function"}])), "InvalidRevisionException"),
    (lambda one: content(spec(one, properties={"TaskDefinition": "nobody:1"})), "InvalidRevisionException"),
    (lambda one: content(spec(one, properties={"LoadBalancerInfo": {}})), "InvalidRevisionException"),
    (lambda one: content(spec(one, properties={"Colour": "blue"})), "InvalidRevisionException"),
    (lambda one: content(spec(one)) | {"appSpecContent": {"content": spec(one), "sha256": "0" * 64}},
     "InvalidRevisionException"),
]  # fmt: skip


def content(text):
    return {"revisionType": "AppSpecContent", "appSpecContent": {"content": text}}


@pytest.mark.parametrize("revision, wanted", REVISIONS)
def test_create_deployment_refuses_revisions(aws, one, revision, wanted):
    params = {"applicationName": one.name, "deploymentGroupName": f"{one.name}-group"}
    made = revision(one)
    assert refusal(aws, "codedeploy", "create_deployment", params | ({"revision": made} if made else {})) == wanted


def test_yaml_and_both_spellings_are_appspecs(one):
    from emulated_aws.codedeploy.appspec import parse

    yaml = """
version: 0.0
Resources:
  - TargetService:
      Type: AWS::ECS::Service
      Properties:
        TaskDefinition: "web:1"
        LoadBalancerInfo: {ContainerName: "app", ContainerPort: 8080}
Hooks:
  - AfterAllowTestTraffic: "CodeDeployHook_gate"
"""
    for text in (yaml, yaml.replace("Resources", "resources").replace("Hooks", "hooks")):
        parsed = parse(content(text), "ECS")
        assert parsed.hooks == {"AfterAllowTestTraffic": "CodeDeployHook_gate"} and parsed.port == 8080


GROUP_CHANGES = [
    ({"deploymentStyle": {"deploymentType": "IN_PLACE"}}, "InvalidDeploymentStyleException"),
    ({"deploymentStyle": None}, "InvalidDeploymentStyleException"),
    ({"blueGreenDeploymentConfiguration": None}, "InvalidBlueGreenDeploymentConfigurationException"),
    ({"ecsServices": None}, "InvalidECSServiceException"),
    ({"ecsServices": [{"clusterName": "c", "serviceName": "s"}]}, "InvalidECSServiceException"),
    ({"loadBalancerInfo": None}, "InvalidLoadBalancerInfoException"),
    ({"loadBalancerInfo": {"targetGroupPairInfoList": [{"targetGroups": [{"name": "x"}]}]}},
     "InvalidTargetGroupPairException"),
    ({"serviceRoleArn": "arn:aws:iam::123456789012:role/nobody"}, "InvalidRoleException"),
    ({"serviceRoleArn": None}, "RoleRequiredException"),
    ({"deploymentConfigName": "x"}, "DeploymentConfigDoesNotExistException"),
    ({"autoRollbackConfiguration": {"enabled": True}}, "InvalidAutoRollbackConfigException"),
    ({"ec2TagFilters": [{"Key": "a", "Value": "b", "Type": "KEY_AND_VALUE"}]}, "InvalidInputException"),
    ({"alarmConfiguration": {"enabled": True, "alarms": [{"name": "a"}]}}, "NotImplemented"),
    ({}, "ECSServiceMappingLimitExceededException"),
]  # fmt: skip


@pytest.mark.parametrize("change, wanted", GROUP_CHANGES)
def test_create_deployment_group_refuses(aws, one, change, wanted):
    info = one.clients.codedeploy.get_deployment_group(
        applicationName=one.name, deploymentGroupName=f"{one.name}-group"
    )["deploymentGroupInfo"]  # fmt: skip
    kept = (
        "applicationName", "serviceRoleArn", "deploymentConfigName", "autoRollbackConfiguration", "deploymentStyle",
        "blueGreenDeploymentConfiguration", "loadBalancerInfo", "ecsServices",
    )  # fmt: skip
    params = {key: info[key] for key in kept} | {"deploymentGroupName": "another"} | change
    params = {key: value for key, value in params.items() if value is not None}
    assert refusal(aws, "codedeploy", "create_deployment_group", params) == wanted


def test_hook_answers_of_the_wrong_kind(one):
    one.answer("silent")
    deployment = one.deploy(("BeforeInstall",))  # where no rollback follows
    run = one.hook(deployment)
    asked = {"deploymentId": deployment, "lifecycleEventHookExecutionId": run["execution_id"]}
    for change, wanted in (
        ({"status": "InProgress"}, "InvalidLifecycleEventHookExecutionStatusException"),
        ({"status": "Skipped"}, "InvalidLifecycleEventHookExecutionStatusException"),
        ({"status": "succeeded"}, "InvalidLifecycleEventHookExecutionStatusException"),
        ({}, "InvalidLifecycleEventHookExecutionStatusException"),
        (
            {"status": "Succeeded", "lifecycleEventHookExecutionId": "x"},
            "InvalidLifecycleEventHookExecutionIdException",
        ),
    ):
        params = asked | change
        assert refusal(one.aws, "codedeploy", "put_lifecycle_event_hook_execution_status", params) == wanted, change
    for operation, params, wanted in (
        ("get_deployment_target", {"targetId": "x"}, "InvalidDeploymentTargetIdException"),
        ("get_deployment_target", {"targetId": "a:b"}, "DeploymentTargetDoesNotExistException"),
        ("batch_get_deployment_targets", {"targetIds": ["a:b"] * 26}, "DeploymentTargetListSizeExceededException"),
        ("list_deployment_targets", {"targetFilters": {"Colour": ["blue"]}}, "InvalidTargetFilterNameException"),
        ("continue_deployment", {"deploymentWaitType": "SOON"}, "InvalidDeploymentWaitTypeException"),
        ("continue_deployment", {}, "DeploymentIsNotInReadyStateException"),
    ):
        assert refusal(one.aws, "codedeploy", operation, {"deploymentId": deployment} | params) == wanted
    assert one.wait(deployment)["status"] == "Failed"
    assert [answer["error"] for answer in one.aws.deployment(deployment)["hooks"][0]["answers"]] == [
        "InvalidLifecycleEventHookExecutionStatusException"
    ] * 4


def test_deployment_not_started_has_no_targets(one):
    slow = one.aws.loose("codedeploy")
    deployment = one.deploy(())
    with pytest.raises(ClientError, match="DeploymentNotStartedException"):
        slow.list_deployment_targets(deploymentId=deployment)
    one.wait(deployment)


def test_ecs_and_elb_refuse(aws, new_stack):
    out = new_stack(count=1).out
    group = {"TargetGroupArn": out["blue_target_group"]}
    where = {"cluster": out["cluster"], "service": out["service"]}
    for service, operation, params, wanted in (
        ("elbv2", "register_targets", group | {"Targets": [{"Id": "8.8.8.8", "Port": 1}]}, "ValidationError"),
        ("elbv2", "register_targets", group | {"Targets": [{"Id": "127.0.0.1", "Port": 70000}]}, "ValidationError"),
        ("elbv2", "deregister_targets", group | {"Targets": [{"Id": "127.0.0.9", "Port": 1}]}, "InvalidTarget"),
        ("elbv2", "describe_target_health", {"TargetGroupArn": "arn:x"}, "TargetGroupNotFound"),
        ("elbv2", "describe_target_health", {}, "ValidationError"),
        ("elbv2", "describe_target_groups", {"Names": ["nobody"]}, "TargetGroupNotFound"),
        ("elbv2", "delete_target_group", group, "ResourceInUse"),
        ("elbv2", "modify_listener", {"ListenerArn": "arn:x"}, "ListenerNotFound"),
        ("elbv2", "create_target_group", {"Name": "x", "TargetType": "instance"}, "ValidationError"),
        ("elbv2", "create_target_group", {"Name": "x", "TargetType": "moon"}, "ValidationError"),
        ("elbv2", "create_load_balancer", {"Name": "x", "Type": "gateway"}, "NotImplemented"),
        ("ecs", "update_service", where | {"taskDefinition": out["task_definition"]}, "InvalidParameterException"),
        ("ecs", "delete_service", where, "InvalidParameterException"),
        ("ecs", "create_task_set", where | {"taskDefinition": out["task_definition"]}, "InvalidParameterException"),
        ("ecs", "create_service", {
            "serviceName": "x", "taskDefinition": out["task_definition"], "deploymentController": {"type": "EXTERNAL"},
        }, "NotImplemented"),
        ("ecs", "describe_task_sets", {"cluster": out["cluster"], "service": "x"}, "ServiceNotFoundException"),
    ):  # fmt: skip
        assert refusal(aws, service, operation, params) == wanted, (operation, params)


def test_lambda_refuses(aws, one):
    role = one.clients.functions.get_function(FunctionName=one.out["function"])["Configuration"]["Role"]
    good = {
        "FunctionName": "f", "Runtime": "provided.al2023", "Handler": "h", "Role": role,
        "Code": {"ZipFile": bootstrap_zip("exit")},
    }  # fmt: skip
    for change, wanted in (
        ({"Role": "arn:aws:iam::123456789012:role/nobody"}, "InvalidParameterValueException"),
        ({"Role": "nobody"}, "InvalidParameterValueException"),
        ({"Code": {"ZipFile": b"not a zip"}}, "InvalidParameterValueException"),
        ({"Environment": {"Variables": {"AWS_REGION": "x"}}}, "InvalidParameterValueException"),
        ({"Timeout": 901}, "InvalidParameterValueException"),
        ({"Runtime": "python3.13"}, "NotImplemented"),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"]}}, "NotImplemented"),
        ({"LoggingConfig": {"SystemLogLevel": "WARN"}}, "InvalidParameterValueException"),
        ({"LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "DEBUG"}}, "NotImplemented"),
        ({"FunctionName": one.out["function"]}, "ResourceConflictException"),
        ({"Handler": None}, "InvalidParameterValueException"),
    ):
        params = {key: value for key, value in (good | change).items() if value is not None}
        assert refusal(aws, "lambda", "create_function", params) == wanted, change
    assert refusal(aws, "lambda", "invoke", {"FunctionName": "nobody"}) == "ResourceNotFoundException"
    for change, wanted in (
        ({"Payload": b"{"}, "InvalidRequestContentException"),
        ({"Qualifier": "7"}, "ResourceNotFoundException"),
        ({"Payload": b'"' + b"x" * (6 * 1024 * 1024) + b'"'}, "RequestTooLargeException"),
    ):
        assert refusal(aws, "lambda", "invoke", {"FunctionName": one.out["function"]} | change) == wanted
    for operation, wanted in (("create_function_url_config", "NotImplemented"), ("get_policy", "NotImplemented")):
        params = {"FunctionName": one.out["function"]} | ({"AuthType": "NONE"} if "url" in operation else {})
        assert refusal(aws, "lambda", operation, params) == wanted
