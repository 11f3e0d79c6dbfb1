"""Tasks as ECS tells of them, alive and stopped, and as they see themselves through their endpoints."""

import json
import sys
import urllib.error
import urllib.request

import pytest
from botocore.exceptions import ClientError

from conftest import PROGRAMS, eventually
from emulated_aws.scenario.setup import register


def tasks(one, **wanted):
    """DescribeTasks of what ListTasks found."""
    arns = one.clients.ecs.list_tasks(cluster=one.out["cluster"], **wanted)["taskArns"]
    return one.clients.ecs.describe_tasks(cluster=one.out["cluster"], tasks=arns)["tasks"] if arns else []


def code(one, operation, **params):
    with pytest.raises(ClientError) as raised:
        getattr(one.aws.loose("ecs"), operation)(**params)
    return raised.value.response["Error"]["Code"]


def test_tasks_of_a_task_set_are_found_by_it(stack):
    stack.answer("silent")
    deployment = stack.deploy()
    stack.hook(deployment)
    where = {"cluster": stack.out["cluster"], "service": stack.out["service"]}
    blue, green = stack.clients.ecs.describe_task_sets(**where)["taskSets"]
    assert (green["externalId"], green["startedBy"]) == (deployment, "CODE_DEPLOY")
    assert "externalId" not in blue or blue["externalId"] != deployment
    found = tasks(stack, startedBy=green["id"])
    assert len(found) == 2 and {one["startedBy"] for one in found} == {green["id"]}
    assert {one["taskDefinitionArn"] for one in found} == {green["taskDefinition"]}
    assert {one["group"] for one in found} == {f"service:{stack.out['service']}"}
    assert len(tasks(stack, serviceName=stack.out["service"])) == 4
    assert len(tasks(stack, family=stack.name, launchType="FARGATE")) == 4 and tasks(stack, family="nobody") == []


def test_green_tasks_that_crash_are_remembered_with_their_exit_codes(new_stack):
    stack = new_stack(count=1)
    stack.deploy((), CRASH="yes")
    crashed = eventually(
        lambda: tasks(stack, serviceName=stack.out["service"], desiredStatus="STOPPED"), what="a crash"
    )
    (container,) = crashed[0]["containers"]
    assert crashed[0]["stopCode"] == "EssentialContainerExited" and container["exitCode"] == 3
    assert crashed[0]["stoppedReason"] == "Essential container in task exited"
    assert crashed[0]["lastStatus"] == crashed[0]["desiredStatus"] == "STOPPED" and crashed[0]["stoppedAt"]
    assert crashed[0]["startedBy"].startswith("ecs-svc/")


def test_tasks_that_cannot_start_say_why(new_native):
    one = new_native()
    definition = register(one.clients, one.name, ["/nonexistent/program"], 8080, {})
    one.ecs.update_service(**one.where, taskDefinition=definition)
    (task, *_) = eventually(lambda: tasks(one, serviceName=one.out["service"], desiredStatus="STOPPED"))
    assert task["stopCode"] == "TaskFailedToStart" and task["taskDefinitionArn"] == definition
    assert task["containers"][0]["reason"].startswith("CannotStartContainerError")
    assert "exitCode" not in task["containers"][0]
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    failing = next(rollout for rollout in service["deployments"] if rollout["status"] == "PRIMARY")
    assert failing["failedTasks"] >= 1 and failing["rolloutState"] == "IN_PROGRESS"


def test_stopped_tasks_outlive_their_service_and_signals_count_from_128(new_native):
    one = new_native()
    (task,) = tasks(one)
    one.ecs.stop_task(cluster=one.out["cluster"], task=task["taskArn"], reason="enough")
    (stopped,) = eventually(lambda: tasks(one, desiredStatus="STOPPED"))
    eventually(lambda: tasks(one, desiredStatus="STOPPED")[0]["lastStatus"] == "STOPPED")
    (stopped,) = tasks(one, desiredStatus="STOPPED")
    assert (stopped["stopCode"], stopped["stoppedReason"]) == ("UserInitiated", "enough")
    assert stopped["containers"][0]["exitCode"] == 137
    one.ecs.update_service(**one.where, desiredCount=0)
    eventually(lambda: not tasks(one))
    codes = {one["stopCode"] for one in tasks(one, desiredStatus="STOPPED")}
    assert codes <= {"UserInitiated", "ServiceSchedulerInitiated"}


def test_task_operations_are_refused(new_native):
    one = new_native()
    cluster = {"cluster": one.out["cluster"]}
    (task,) = one.ecs.list_tasks(**cluster)["taskArns"]
    for operation, params, wanted in (
        ("list_tasks", cluster | {"startedBy": "x", "serviceName": one.out["service"]}, "InvalidParameterException"),
        ("list_tasks", cluster | {"startedBy": "x", "desiredStatus": "STOPPED"}, "InvalidParameterException"),
        ("list_tasks", cluster | {"serviceName": "nobody"}, "ServiceNotFoundException"),
        ("list_tasks", {"cluster": "nowhere"}, "ClusterNotFoundException"),
        ("list_tasks", cluster | {"containerInstance": "x"}, "NotImplemented"),
        ("describe_tasks", cluster | {"tasks": []}, "InvalidParameterException"),
        ("describe_tasks", cluster | {"tasks": ["x"] * 101}, "InvalidParameterException"),
        ("stop_task", cluster | {"task": "x"}, "InvalidParameterException"),
        ("run_task", cluster | {"taskDefinition": one.name}, "NotImplemented"),
        ("update_task_protection", cluster | {"tasks": [task], "protectionEnabled": True, "expiresInMinutes": 2881},
         "InvalidParameterException"),
        ("update_task_protection", cluster | {"tasks": [task] * 11, "protectionEnabled": True},
         "InvalidParameterException"),
    ):  # fmt: skip
        assert code(one, operation, **params) == wanted, (operation, params)
    missing = one.ecs.describe_tasks(**cluster, tasks=["f" * 32])["failures"]
    assert missing == [{"arn": "f" * 32, "reason": "MISSING"}]


def test_a_protected_task_outlives_its_deployment(new_native):
    one = new_native()
    (blue,) = one.ecs.list_tasks(cluster=one.out["cluster"])["taskArns"]
    protect = {"cluster": one.out["cluster"], "tasks": [blue]}
    (made,) = one.ecs.update_task_protection(**protect, protectionEnabled=True, expiresInMinutes=60)["protectedTasks"]
    assert made["protectionEnabled"] and made["expirationDate"]
    arn = one.deploy()
    one.at(arn, "CLEAN_UP")
    assert one.get() == (200, "green") and blue in one.ecs.list_tasks(cluster=one.out["cluster"])["taskArns"]
    assert one.describe(arn)["status"] == "IN_PROGRESS"
    (shown,) = one.ecs.get_task_protection(**protect)["protectedTasks"]
    assert shown == made
    one.ecs.update_task_protection(**protect, protectionEnabled=False)
    assert one.wait(arn)["status"] == "SUCCESSFUL"
    one.ecs.get_task_protection(**protect)


# === what a task asks about itself ===


@pytest.fixture
def sidecar(new_native):
    one = new_native()
    definition = register(one.clients, one.name, [sys.executable, "-S", str(PROGRAMS / "sidecar.py")], 8080, {})
    one.ecs.update_service(**one.where, taskDefinition=definition)
    arn = one.ecs.list_service_deployments(**one.where, maxResults=1)["serviceDeployments"][0]["serviceDeploymentArn"]
    assert one.wait(arn)["status"] == "SUCCESSFUL"
    return one


def put(one, body):
    url = f"http://{one.out['load_balancer_dns']}:{one.out['prod_port']}/ECS_AGENT_URI/task-protection/v1/state"
    request = urllib.request.Request(url, json.dumps(body).encode(), method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_task_learns_who_it_is(sidecar):
    (task,) = tasks(sidecar)
    shown = json.loads(sidecar.get(path="/ECS_CONTAINER_METADATA_URI_V4/task")[1])
    assert shown["TaskARN"] == task["taskArn"] and shown["Cluster"] == task["clusterArn"]
    assert shown["ServiceName"] == sidecar.out["service"] and shown["LaunchType"] == "FARGATE"
    assert f"{shown['Family']}:{shown['Revision']}" == task["taskDefinitionArn"].rpartition("/")[2]
    assert shown["KnownStatus"] == shown["DesiredStatus"] == "RUNNING"
    (inner,) = shown["Containers"]
    container = json.loads(sidecar.get(path="/ECS_CONTAINER_METADATA_URI_V4")[1])
    assert container == inner and container["Name"] == "app" and container["Type"] == "NORMAL"
    address = task["containers"][0]["networkInterfaces"][0]["privateIpv4Address"]
    assert container["Networks"] == [{"NetworkMode": "awsvpc", "IPv4Addresses": [address]}]
    assert container["Labels"]["com.amazonaws.ecs.task-arn"] == task["taskArn"]
    assert container["ContainerARN"] == task["containers"][0]["containerArn"]
    for path in ("stats", "task/stats"):
        status, body = sidecar.get(path=f"/ECS_CONTAINER_METADATA_URI_V4/{path}")
        assert status == 200 and json.loads(body)
    assert sidecar.get(path="/ECS_CONTAINER_METADATA_URI_V4/nothing")[0] == 404
    (told,) = [one for one in sidecar.aws.control("tasks")[1]["tasks"] if one["arn"] == task["taskArn"]]
    outside = told["endpoints"]["app"]["ECS_CONTAINER_METADATA_URI_V4"]
    with urllib.request.urlopen(f"{outside}/task", timeout=5) as answer:
        assert json.loads(answer.read()) == shown


def test_a_task_protects_itself(sidecar):
    (arn,) = sidecar.ecs.list_tasks(cluster=sidecar.out["cluster"])["taskArns"]
    unprotected = {"protection": {"ProtectionEnabled": False, "TaskArn": arn}}
    assert json.loads(sidecar.get(path="/ECS_AGENT_URI/task-protection/v1/state")[1]) == unprotected
    status, body = put(sidecar, {"ProtectionEnabled": True, "ExpiresInMinutes": 60})
    assert status == 200 and body["protection"]["ProtectionEnabled"] and body["protection"]["TaskArn"] == arn
    assert body["protection"]["ExpirationDate"].endswith("Z")
    (seen,) = sidecar.ecs.get_task_protection(cluster=sidecar.out["cluster"], tasks=[arn])["protectedTasks"]
    assert seen["protectionEnabled"]
    assert put(sidecar, {"ProtectionEnabled": False}) == (200, unprotected)
    for bad in (
        {},
        {"ProtectionEnabled": "yes"},
        {"ProtectionEnabled": True, "ExpiresInMinutes": 0},
        [],
        {"Colour": 1},
    ):
        status, body = put(sidecar, bad)
        assert status == 400 and body["error"]["Code"] == "InvalidParameterException", bad


def with_check(one, *command):
    """A new definition whose container has a health check."""
    definition = one.ecs.describe_task_definition(taskDefinition=one.name)["taskDefinition"]
    container = definition["containerDefinitions"][0]
    container["healthCheck"] = {"command": list(command), "interval": 5, "timeout": 2, "retries": 2}
    made = one.ecs.register_task_definition(
        family=one.name, networkMode="awsvpc", requiresCompatibilities=["FARGATE"], cpu="256", memory="512",
        containerDefinitions=[container],
    )  # fmt: skip
    return made["taskDefinition"]["taskDefinitionArn"]


def test_container_health_checks_decide_whether_a_task_is_healthy(new_native, tmp_path):
    one, sick = new_native(), tmp_path / "sick"
    assert [task["healthStatus"] for task in tasks(one)] == ["UNKNOWN"], "without a check"
    healthy = with_check(one, "CMD-SHELL", f'test -n "$TASK_IP" && test ! -e {sick}')
    one.ecs.update_service(**one.where, taskDefinition=healthy)
    arn = one.ecs.list_service_deployments(**one.where, maxResults=1)["serviceDeployments"][0]["serviceDeploymentArn"]
    assert one.wait(arn)["status"] == "SUCCESSFUL"
    (task,) = tasks(one)
    assert task["healthStatus"] == task["containers"][0]["healthStatus"] == "HEALTHY"
    sick.touch()
    eventually(lambda: "UNHEALTHY" in [one["healthStatus"] for one in tasks(one)], what="an unhealthy task")
    stopped = eventually(
        lambda: [one for one in tasks(one, desiredStatus="STOPPED") if one["taskArn"] == task["taskArn"]]
    )
    assert stopped[0]["stoppedReason"] == "Task failed container health checks"


def test_a_task_whose_own_check_fails_never_ends_scale_up(new_native):
    one = new_native()
    one.ecs.update_service(**one.where, taskDefinition=with_check(one, "CMD", "false"))
    found = one.ecs.list_service_deployments(**one.where, maxResults=1)["serviceDeployments"]
    one.at(found[0]["serviceDeploymentArn"], "SCALE_UP")
    eventually(lambda: "UNHEALTHY" in [task["healthStatus"] for task in tasks(one)], what="an unhealthy task")
    assert one.describe(found[0]["serviceDeploymentArn"])["lifecycleStage"] == "SCALE_UP"
