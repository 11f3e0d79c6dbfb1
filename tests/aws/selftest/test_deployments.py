"""Deployments from one end to the other, with every outcome a hook can bring about."""

import time

import pytest
from botocore.exceptions import ClientError

from conftest import HOOK_LIMIT, eventually

EVERY_HOOK = ("BeforeInstall", "AfterInstall", "AfterAllowTestTraffic", "BeforeAllowTraffic", "AfterAllowTraffic")


def names(events, status):
    return [event["name"] for event in events if event["status"] == status]


def test_good_release_takes_over_and_blue_goes(stack):
    assert stack.get() == (200, "blue")
    deployment = stack.deploy(EVERY_HOOK)
    ended = stack.wait(deployment)
    assert ended["status"] == "Succeeded", ended
    assert set(ended["events"].values()) == {"Succeeded"}
    assert stack.get() == (200, "green") and stack.get("test") == (200, "green")
    machine = stack.aws.deployment(deployment)
    assert [run["hook"] for run in machine["hooks"]] == list(EVERY_HOOK)
    assert all(run["answers"][0]["accepted"] for run in machine["hooks"])
    service = stack.clients.ecs.describe_services(
        cluster=stack.out["cluster"], services=[stack.out["service"]]
    )["services"][0]  # fmt: skip
    assert service["runningCount"] == 2 and len(service["taskSets"]) == 1
    eventually(lambda: len(stack.aws.control("tasks")[1]["tasks"]) >= 2)


def test_colours_alternate_between_deployments(stack):
    for name, group in (("second", "green"), ("third", "blue"), ("fourth", "green")):
        deployment = stack.deploy(name=name)
        assert stack.wait(deployment)["status"] == "Succeeded"
        sets = stack.aws.deployment(deployment)["task_sets"]
        assert sets["green"]["target_group"] == f"{stack.name}-{group}"
        assert stack.get() == (200, name)


def test_get_deployment_and_targets_have_the_shape_of_aws(stack):
    stack.answer("silent")
    deployment = stack.deploy()
    stack.hook(deployment)
    codedeploy = stack.clients.codedeploy
    info = codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
    assert info["status"] == "InProgress" and info["creator"] == "user" and info["computePlatform"] == "ECS"
    assert "content" not in info["revision"]["appSpecContent"]
    assert info["deploymentOverview"]["InProgress"] == 1
    ids = codedeploy.list_deployment_targets(deploymentId=deployment)["targetIds"]
    assert ids == [f"{stack.out['cluster']}:{stack.out['service']}"]
    (target,) = codedeploy.batch_get_deployment_targets(deploymentId=deployment, targetIds=ids)["deploymentTargets"]
    events = {one["lifecycleEventName"]: one["status"] for one in target["ecsTarget"]["lifecycleEvents"]}
    assert events["AfterAllowTestTraffic"] == "InProgress" and events["AllowTraffic"] == "Pending"
    blue, green = target["ecsTarget"]["taskSetsInfo"]
    assert (blue["taskSetLabel"], blue["trafficWeight"], blue["status"]) == ("Blue", 100.0, "PRIMARY")
    assert (green["taskSetLabel"], green["trafficWeight"], green["status"]) == ("Green", 0.0, "ACTIVE")
    assert green["runningCount"] == 2 and green["identifer"] != blue["identifer"]
    assert {one["State"] for one in stack.health("green")} == {"healthy"}
    assert stack.get("test") == (200, "green") and stack.get() == (200, "blue")
    (group,) = stack.clients.elbv2.describe_target_groups(Names=[green["targetGroup"]["name"]])["TargetGroups"]
    (listener,) = stack.clients.elbv2.describe_listeners(ListenerArns=[stack.out["test_listener"]])["Listeners"]
    assert group["LoadBalancerArns"] == [listener["LoadBalancerArn"]]
    assert [one["TargetGroupArn"] for one in listener["DefaultActions"][0]["ForwardConfig"]["TargetGroups"]] == [
        group["TargetGroupArn"]
    ]
    content = codedeploy.get_application_revision(applicationName=stack.name, revision=info["revision"])
    assert "AfterAllowTestTraffic" in content["revision"]["appSpecContent"]["content"]
    tasks = stack.clients.ecs.list_tasks(cluster=stack.out["cluster"], startedBy=green["identifer"])["taskArns"]
    described = stack.clients.ecs.describe_tasks(cluster=stack.out["cluster"], tasks=tasks)["tasks"]
    assert len(described) == 2
    assert all(one["containers"][0]["networkInterfaces"][0]["privateIpv4Address"] for one in described)


def test_failed_hook_rolls_back_and_hooks_run_again(stack):
    stack.answer("Failed")
    deployment = stack.deploy()
    eventually(lambda: stack.aws.deployment(deployment)["status"] == "Failed")
    stack.answer("Succeeded")
    ended = stack.wait(deployment)
    assert ended["status"] == "Failed" and ended["error"]["code"] == "HOOK_EXECUTION_FAILURE"
    events = stack.aws.deployment(deployment)["events"]
    assert names(events, "Failed") == ["AfterAllowTestTraffic"]
    assert names(events, "Skipped") == ["BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic"]
    rollback = stack.clients.codedeploy.get_deployment(deploymentId=ended["rollback"]["deployment_id"])[
        "deploymentInfo"
    ]
    assert rollback["creator"] == "codeDeployRollback"
    assert rollback["rollbackInfo"]["rollbackTriggeringDeploymentId"] == deployment
    assert stack.get() == (200, "blue") and stack.get("test") == (200, "blue")
    again = stack.aws.deployment(rollback["deploymentId"])["hooks"]
    # the warm sandbox of the old revision may have been asked, or the new one
    assert [run["hook"] for run in again] == ["AfterAllowTestTraffic"]


def test_failed_hook_without_auto_rollback_leaves_things_as_they_are(new_stack):
    stack = new_stack(auto_rollback=False, answer="Failed")
    ended = stack.wait(stack.deploy())
    assert ended["status"] == "Failed" and "rollback" not in ended
    assert stack.get() == (200, "blue") and stack.get("test") == (200, "green")
    # and the next deployment cleans up by itself
    stack.answer("Succeeded")
    assert stack.wait(stack.deploy(name="next"))["status"] == "Succeeded"
    assert stack.get() == (200, "next")


def test_hook_that_never_answers_costs_the_whole_limit(new_stack):
    # side by side, as each takes the limit
    stacks = {one: new_stack(answer=one, auto_rollback=False, count=1) for one in ("silent", "crash", "error")}
    deployments = {one: stack.deploy() for one, stack in stacks.items()}
    for one, stack in stacks.items():
        ended = stack.wait(deployments[one])
        machine = stack.aws.deployment(deployments[one])
        event = next(each for each in machine["events"] if each["name"] == "AfterAllowTestTraffic")
        assert event["ended_at"] - event["started_at"] >= HOOK_LIMIT - 0.1, one
        assert event["diagnostics"]["errorCode"] == "ScriptTimedOut", one
        assert ended["error"]["code"] == "HOOK_EXECUTION_FAILURE", one


def test_answer_after_the_end_or_twice_is_refused(stack):
    stack.answer("silent")
    stack.clients.codedeploy.update_deployment_group(
        applicationName=stack.name,
        currentDeploymentGroupName=f"{stack.name}-group",
        autoRollbackConfiguration={"enabled": False},
    )
    deployment = stack.deploy(("AfterInstall", "AfterAllowTestTraffic"))
    run = stack.hook(deployment)
    put = stack.aws.clients("tester").codedeploy.put_lifecycle_event_hook_execution_status
    asked = {"deploymentId": deployment, "lifecycleEventHookExecutionId": run["execution_id"]}
    assert put(**asked, status="Succeeded")["lifecycleEventHookExecutionId"] == run["execution_id"]
    for status in ("Succeeded", "Failed"):
        with pytest.raises(ClientError, match="LifecycleEventAlreadyCompletedException"):
            put(**asked, status=status)
    stack.wait(deployment)
    late = stack.aws.deployment(deployment)["hooks"][1]
    with pytest.raises(ClientError, match="LifecycleEventAlreadyCompletedException"):
        put(deploymentId=deployment, lifecycleEventHookExecutionId=late["execution_id"], status="Succeeded")
    answers = stack.aws.deployment(deployment)["hooks"][0]["answers"]
    assert [one["accepted"] for one in answers] == [True, False, False] and answers[0]["access_key"] == "tester"


def test_hook_is_delivered_again_on_request(stack):
    stack.answer("silent")
    deployment = stack.deploy()
    run = stack.hook(deployment)
    stack.answer("Succeeded")
    status, again = stack.aws.control(f"hooks/{deployment}/redeliver", "POST")
    assert status == 200 and again["execution_id"] == run["execution_id"] and again["deliveries"] == 2
    assert stack.wait(deployment)["status"] == "Succeeded"
    assert stack.aws.control("hooks/d-000000000/redeliver", "POST")[0] == 404


def test_function_without_the_prefix_or_missing_fails_the_event_at_once(stack):
    import json

    spec = json.dumps({
        "version": 0.0,
        "Resources": [{"TargetService": {"Type": "AWS::ECS::Service", "Properties": {
            "TaskDefinition": stack.out["task_definition"],
            "LoadBalancerInfo": {"ContainerName": "app", "ContainerPort": 8080}}}}],
        "Hooks": [{"AfterAllowTestTraffic": "FUNCTION"}],
    })  # fmt: skip
    for function in ("gate", "CodeDeployHook_missing"):
        content = spec.replace("FUNCTION", function)
        deployment = stack.clients.codedeploy.create_deployment(
            applicationName=stack.name, deploymentGroupName=f"{stack.name}-group",
            revision={"revisionType": "AppSpecContent", "appSpecContent": {"content": content}},
        )["deploymentId"]  # fmt: skip
        ended = stack.wait(deployment)
        assert ended["status"] == "Failed" and "cannot be invoked" in ended["error"]["message"]
        event = next(one for one in stack.aws.deployment(deployment)["events"] if one["diagnostics"])
        assert event["ended_at"] - event["started_at"] < 1


def test_one_deployment_at_a_time(stack):
    stack.answer("silent")
    deployment = stack.deploy()
    with pytest.raises(ClientError, match="DeploymentLimitExceededException"):
        stack.deploy()
    stack.clients.codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=False)
    stack.wait(deployment)


@pytest.mark.parametrize("auto_rollback", [True, False])
def test_stop_with_and_without_rollback(stack, auto_rollback):
    stack.answer("silent")
    deployment = stack.deploy()
    run = stack.hook(deployment)
    codedeploy = stack.clients.codedeploy
    stack.answer("Succeeded")
    stopped = codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=auto_rollback)
    assert stopped["status"] == "Pending"
    ended = stack.wait(deployment)
    assert ended["status"] == "Stopped" and ended["error"]["code"] == "MANUAL_STOP"
    assert ("rollback" in ended) == auto_rollback
    assert stack.get() == (200, "blue") and stack.get("test")[1] == ("blue" if auto_rollback else "green")
    assert codedeploy.stop_deployment(deploymentId=deployment)["status"] == "Succeeded"
    with pytest.raises(ClientError, match="LifecycleEventAlreadyCompletedException"):
        codedeploy.put_lifecycle_event_hook_execution_status(
            deploymentId=deployment, lifecycleEventHookExecutionId=run["execution_id"], status="Succeeded"
        )


def test_stop_after_success_is_refused(stack):
    deployment = stack.deploy(())
    assert stack.wait(deployment)["status"] == "Succeeded"
    for call in ("stop_deployment", "continue_deployment"):
        with pytest.raises(ClientError, match="DeploymentAlreadyCompletedException"):
            getattr(stack.clients.codedeploy, call)(deploymentId=deployment)


def test_ready_and_termination_waits_end_by_continue_deployment(new_stack):
    stack = new_stack(ready_wait_minutes=60, termination_wait_minutes=60)
    codedeploy = stack.clients.codedeploy
    deployment = stack.deploy(())
    status = lambda: codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]["status"]  # noqa: E731
    eventually(lambda: status() == "Ready")
    assert stack.get("test") == (200, "green") and stack.get() == (200, "blue")
    with pytest.raises(ClientError, match="DeploymentIsNotInReadyStateException"):
        codedeploy.continue_deployment(deploymentId=deployment, deploymentWaitType="TERMINATION_WAIT")
    codedeploy.continue_deployment(deploymentId=deployment, deploymentWaitType="READY_WAIT")
    eventually(lambda: stack.aws.deployment(deployment)["waiting"] == "TERMINATION_WAIT")
    assert status() == "InProgress" and stack.get() == (200, "green")
    target = codedeploy.get_deployment_target(
        deploymentId=deployment, targetId=f"{stack.out['cluster']}:{stack.out['service']}"
    )["deploymentTarget"]["ecsTarget"]  # fmt: skip
    assert target["status"] == "Succeeded" and target["taskSetsInfo"][0]["runningCount"] == 2
    codedeploy.continue_deployment(deploymentId=deployment, deploymentWaitType="TERMINATION_WAIT")
    assert stack.wait(deployment)["status"] == "Succeeded"


def test_ready_wait_that_runs_out_stops(new_stack):
    stack = new_stack(ready_wait_minutes=1)  # two seconds here
    ended = stack.wait(stack.deploy(()))
    assert ended["status"] == "Stopped" and ended["error"]["code"] == "TIMEOUT" and "rollback" in ended


def test_termination_wait_that_runs_out_takes_blue_away(new_stack):
    stack = new_stack(termination_wait_minutes=1, count=1)
    deployment = stack.deploy(())
    eventually(lambda: stack.aws.deployment(deployment)["waiting"] == "TERMINATION_WAIT")
    sets = lambda: stack.clients.ecs.describe_task_sets(  # noqa: E731
        cluster=stack.out["cluster"], service=stack.out["service"]
    )["taskSets"]  # fmt: skip
    assert len(sets()) == 2
    assert stack.wait(deployment)["status"] == "Succeeded"
    eventually(lambda: len(sets()) == 1)


def test_canary_splits_traffic_exactly_and_stop_takes_it_back(stack):
    deployment = stack.deploy((), config="CodeDeployDefault.ECSCanary10Percent15Minutes")
    eventually(lambda: stack.aws.deployment(deployment)["traffic"]["production"]["green"] == 10.0)
    answers = [stack.get()[1] for _ in range(50)]
    assert answers.count("green") == 5
    stack.clients.codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=True)
    ended = stack.wait(deployment)
    assert ended["status"] == "Stopped" and ended["rollback"]["status"] == "Succeeded"
    assert {stack.get()[1] for _ in range(20)} == {"blue"}


def test_green_that_never_starts_leaves_install_running(new_stack):
    stack = new_stack()
    deployment = stack.deploy(command=["/nonexistent"])
    eventually(lambda: stack.aws.deployment(deployment)["task_sets"].get("green"))
    time.sleep(1)
    machine = stack.aws.deployment(deployment)
    assert names(machine["events"], "InProgress") == ["Install"]
    stopped = stack.clients.ecs.list_tasks(cluster=stack.out["cluster"], desiredStatus="STOPPED")["taskArns"]
    task = stack.clients.ecs.describe_tasks(cluster=stack.out["cluster"], tasks=stopped[:1])["tasks"][0]
    assert task["stopCode"] == "TaskFailedToStart" and "exitCode" not in task["containers"][0]
    stack.clients.codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=False)
    stack.wait(deployment)


def test_green_that_is_unhealthy_still_reaches_its_hook(stack, tmp_path):
    sick = tmp_path / "sick"
    sick.touch()
    stack.answer("silent")
    deployment = stack.deploy(SICK_FILE=str(sick))
    stack.hook(deployment)
    assert {one["State"] for one in stack.health("green")} == {"unhealthy"}
    stack.clients.codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=False)
    stack.wait(deployment)
