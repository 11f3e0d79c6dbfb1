"""What ECS refuses of native deployments, under its own names; what is not emulated is said to be so."""

import pytest
from botocore.exceptions import ClientError

from conftest import Stack
from emulated_aws.scenario.setup import teardown
from native import Native


@pytest.fixture(scope="module")
def one(aws):
    native = Native(aws, strategy="CANARY")
    yield native
    native.remove()


def refusal(one, operation, params):
    with pytest.raises(ClientError) as raised:
        getattr(one.aws.loose("ecs"), operation)(**params)
    return raised.value.response["Error"]["Code"]


def pausing(*stages, **changes):
    return {"targetType": "PAUSE", "lifecycleStages": list(stages or ["PRE_SCALE_UP"]), **changes}


def function(one, **changes):
    role = one.revision(one.describe(one.out["service_deployment_arn"])["targetServiceRevision"]["arn"])
    return {
        "targetType": "AWS_LAMBDA", "lifecycleStages": ["PRE_SCALE_UP"],
        "hookTargetArn": "arn:aws:lambda:us-east-1:123456789012:function:x",
        "roleArn": role["loadBalancers"][0]["advancedConfiguration"]["roleArn"], **changes,
    }  # fmt: skip


INVALID, ABSENT = "InvalidParameterException", "NotImplemented"
CONFIGURATIONS = [
    (lambda one: {"strategy": "SLOWLY"}, INVALID),
    (lambda one: {"strategy": "LINEAR", "canaryConfiguration": {}}, INVALID),
    (lambda one: {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 2.9}}, INVALID),
    (lambda one: {"strategy": "LINEAR", "linearConfiguration": {"stepPercent": 10.05}}, INVALID),
    (lambda one: {"strategy": "LINEAR", "linearConfiguration": {"stepBakeTimeInMinutes": 1441}}, INVALID),
    (lambda one: {"canaryConfiguration": {"canaryPercent": 0.0}}, INVALID),
    (lambda one: {"canaryConfiguration": {"canaryPercent": 100.1}}, INVALID),
    (lambda one: {"canaryConfiguration": {"canaryBakeTimeInMinutes": -1}}, INVALID),
    (lambda one: {"bakeTimeInMinutes": 1441}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing("TEST_TRAFFIC_SHIFT")]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing("PRE_SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT")]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing("SCALE_UP")]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing("BAKE_TIME")]}, INVALID),
    (lambda one: {"lifecycleHooks": [{"targetType": "PAUSE"}]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing(hookTargetArn="arn:aws:lambda:x:y:function:z")]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing(timeoutConfiguration={"timeoutInMinutes": 20161})]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing(timeoutConfiguration={"timeoutInMinutes": 0})]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing(timeoutConfiguration={"action": "PRAY"})]}, INVALID),
    (lambda one: {"lifecycleHooks": [pausing()] * 11}, INVALID),
    (lambda one: {"lifecycleHooks": [function(one)] * 11}, INVALID),
    (lambda one: {"lifecycleHooks": [function(one, hookTargetArn=None)]}, INVALID),
    (lambda one: {"lifecycleHooks": [function(one, roleArn=None)]}, INVALID),
    (lambda one: {"lifecycleHooks": [function(one, roleArn="arn:aws:iam::123456789012:role/nobody")]}, INVALID),
    (lambda one: {"lifecycleHooks": [function(one, hookTargetArn="arn:aws:sqs:x:y:z")]}, INVALID),
    (lambda one: {"lifecycleHooks": [function(one, timeoutConfiguration={"timeoutInMinutes": 1441})]}, INVALID),
    (lambda one: {"alarms": {"alarmNames": ["a"], "enable": True, "rollback": True}}, ABSENT),
    (lambda one: {"deploymentCircuitBreaker": {"enable": True, "rollback": True}}, ABSENT),
    (lambda one: {"strategy": "ROLLING"}, ABSENT),  # with advancedConfiguration left as it is
]


@pytest.mark.parametrize("change, wanted", CONFIGURATIONS)
def test_deployment_configurations_are_refused(one, change, wanted):
    assert refusal(one, "update_service", one.where | {"deploymentConfiguration": change(one)}) == wanted


def test_ten_hooks_of_each_type_are_not_too_many(one):
    hooks = [pausing()] * 10 + [function(one)] * 10
    one.ecs.update_service(**one.where, deploymentConfiguration={"lifecycleHooks": hooks})
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    config = service["deploymentConfiguration"]
    shown = config["lifecycleHooks"]
    assert shown[0] == {"lifecycleStages": ["PRE_SCALE_UP"]}, "a pause is shown without type, as users report"
    assert shown[10]["targetType"] == "AWS_LAMBDA" and shown[10]["timeoutConfiguration"]["timeoutInMinutes"] == 1440
    assert service["deploymentConfiguration"]["canaryConfiguration"]["canaryPercent"] == 10.0, (
        "what was not given stays"
    )
    one.ecs.update_service(**one.where, deploymentConfiguration={"lifecycleHooks": []})


BALANCERS = [
    ({"advancedConfiguration": None}, INVALID),
    ({"containerPort": 1}, INVALID),
    ({"containerName": "x"}, INVALID),
    ({"targetGroupArn": "arn:x"}, "TargetGroupNotFound"),
    ({"alternateTargetGroupArn": None}, INVALID),
    ({"alternateTargetGroupArn": "arn:x"}, INVALID),
    ({"productionListenerRule": None}, INVALID),
    ({"productionListenerRule": "arn:x"}, INVALID),
    ({"testListenerRule": "arn:x"}, INVALID),
    ({"roleArn": None}, INVALID),
    ({"roleArn": "arn:aws:iam::123456789012:role/nobody"}, INVALID),
]


@pytest.mark.parametrize("change, wanted", BALANCERS)
def test_load_balancers_are_refused(one, change, wanted):
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    balancer = service["loadBalancers"][0]
    for key, value in change.items():
        place = balancer if key in ("advancedConfiguration", *balancer) else balancer["advancedConfiguration"]
        place[key] = value
        if value is None:
            del place[key]
    assert refusal(one, "update_service", one.where | {"loadBalancers": [balancer]}) == wanted


@pytest.mark.parametrize("member", ["targetGroupArn", "alternateTargetGroupArn"])
def test_tasks_are_not_registered_as_instances(one, member):
    (vpc, *_) = one.clients.ec2.describe_vpcs()["Vpcs"]
    group = one.clients.elbv2.create_target_group(
        Name=f"{one.name}-{len(member)}", Protocol="HTTP", Port=80, VpcId=vpc["VpcId"], TargetType="instance"
    )["TargetGroups"][0]["TargetGroupArn"]
    test_load_balancers_are_refused(one, {member: group}, INVALID)
    one.clients.elbv2.delete_target_group(TargetGroupArn=group)


def test_operations_on_service_deployments_are_refused(one):
    arn = one.out["service_deployment_arn"]
    nobody = arn[:-3] + "xxx"
    for operation, params, wanted in (
        ("stop_service_deployment", {"serviceDeploymentArn": nobody}, "ServiceDeploymentNotFoundException"),
        ("stop_service_deployment", {"serviceDeploymentArn": arn}, "ConflictException"),
        ("stop_service_deployment", {"serviceDeploymentArn": arn, "stopType": "ABORT"}, INVALID),
        ("continue_service_deployment", {"serviceDeploymentArn": arn}, INVALID),
        ("continue_service_deployment", {"serviceDeploymentArn": nobody, "hookId": "x"},
         "ServiceDeploymentNotFoundException"),
        ("describe_service_deployments", {"serviceDeploymentArns": [arn] * 21}, INVALID),
        ("describe_service_deployments", {"serviceDeploymentArns": []}, INVALID),
        ("describe_service_deployments", {"serviceDeploymentArns": ["web"]}, INVALID),
        ("describe_service_revisions", {"serviceRevisionArns": [arn] * 21}, INVALID),
        ("list_service_deployments", {"service": "nobody", "cluster": one.out["cluster"]}, "ServiceNotFoundException"),
        ("list_service_deployments", {"service": "nobody", "cluster": "nowhere"}, "ClusterNotFoundException"),
        ("list_service_deployments", one.where | {"maxResults": 101}, INVALID),
        ("list_service_deployments", one.where | {"status": ["DONE"]}, INVALID),
        ("create_task_set", one.where | {"taskDefinition": one.out["task_definition"]}, INVALID),
        ("update_service", one.where | {"taskDefinition": "nobody:1"}, INVALID),
        ("update_service", one.where | {"desiredCount": 21}, INVALID),
        ("update_service", one.where | {"deploymentController": {"type": "CODE_DEPLOY"}}, ABSENT),
        ("update_service", one.where | {"serviceRegistries": [{"registryArn": "x"}]}, ABSENT),
        ("delete_service", one.where, INVALID),
        ("create_service", {"cluster": one.out["cluster"], "serviceName": one.out["service"]}, INVALID),
    ):  # fmt: skip
        assert refusal(one, operation, params) == wanted, (operation, params)


def test_blue_green_wants_a_bake_time_and_rolling_takes_no_hooks(one):
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    params = {
        "cluster": one.out["cluster"], "serviceName": "other", "taskDefinition": one.out["task_definition"],
        "desiredCount": 1, "networkConfiguration": service["networkConfiguration"],
        "loadBalancers": service["loadBalancers"],
    }  # fmt: skip
    for config, wanted in (
        ({"strategy": "BLUE_GREEN"}, INVALID),
        ({"strategy": "ROLLING", "lifecycleHooks": [pausing()]}, ABSENT),
    ):
        assert refusal(one, "create_service", params | {"deploymentConfiguration": config}) == wanted


def test_services_under_codedeploy_have_no_service_deployments(aws, one):
    stack = Stack(aws, count=1)
    where = {"cluster": stack.out["cluster"], "service": stack.out["service"]}
    try:
        assert refusal(one, "list_service_deployments", where) == "UnsupportedFeatureException"
        assert refusal(one, "update_service", where | {"forceNewDeployment": True}) == INVALID
    finally:
        teardown(stack.clients, stack.name)
