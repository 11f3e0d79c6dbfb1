"""Native ECS deployments from one end to the other: stages, weights and tasks, and every way back."""

import datetime

import pytest

from conftest import eventually
from native import Native

SHIFTING_STAGES = [
    "PRE_SCALE_UP", "SCALE_UP", "POST_SCALE_UP", "TEST_TRAFFIC_SHIFT", "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT", "POST_PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME",
    "CLEAN_UP",
]  # fmt: skip
NOBODY = "arn:aws:ecs:us-east-1:123456789012:service-deployment/c/s/nobody"


def test_a_blue_green_deployment_goes_through_every_stage_and_blue_goes(new_native):
    one = new_native(count=2)
    assert one.get() == (200, "blue")
    (first,) = one.ecs.list_service_deployments(**one.where)["serviceDeployments"]
    assert one.describe(first["serviceDeploymentArn"])["sourceServiceRevisions"] == []
    arn = one.deploy()
    assert one.wait(arn)["status"] == "SUCCESSFUL"
    assert one.stages(arn) == SHIFTING_STAGES
    assert one.get() == (200, "green") and one.get("test") == (200, "green") and one.weights() == (0, 100)
    shown = one.describe(arn)
    target, (source,) = shown["targetServiceRevision"], shown["sourceServiceRevisions"]
    assert source["arn"] == first["targetServiceRevisionArn"] and source["runningTaskCount"] == 0
    assert target["runningTaskCount"] == target["requestedTaskCount"] == 2
    assert target["requestedProductionTrafficWeight"] == target["requestedTestTrafficWeight"] == 100.0
    assert shown["createdAt"] <= shown["startedAt"] <= shown["finishedAt"] <= shown["updatedAt"]
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    assert service["runningCount"] == 2 and service["deploymentController"] == {"type": "ECS"}
    (rollout,) = service["deployments"]
    assert (rollout["status"], rollout["rolloutState"], rollout["runningCount"]) == ("PRIMARY", "COMPLETED", 2)
    assert rollout["taskDefinition"] == service["taskDefinition"] and "currentServiceDeployment" not in service
    assert one.wait(one.deploy("third"))["status"] == "SUCCESSFUL"
    assert one.get() == (200, "third") and one.weights() == (100, 0), "target groups alternate"


def test_revisions_say_where_their_tasks_are(new_native):
    one = new_native(pause=("POST_TEST_TRAFFIC_SHIFT",), wait=False)
    (first,) = one.ecs.list_service_deployments(**one.where)["serviceDeployments"]
    one.go(first["serviceDeploymentArn"])
    one.wait(first["serviceDeploymentArn"])
    arn = one.deploy()
    one.paused(arn)
    shown = one.describe(arn)
    target, (source,) = shown["targetServiceRevision"], shown["sourceServiceRevisions"]
    green, blue = one.revision(target["arn"]), one.revision(source["arn"])
    rule = one.out["prod_rule"]
    assert green["resolvedConfiguration"]["loadBalancers"] == [
        {"targetGroupArn": one.out["green_target_group"], "productionListenerRule": rule}
    ]
    assert blue["resolvedConfiguration"]["loadBalancers"][0]["targetGroupArn"] == one.out["blue_target_group"]
    advanced = green["loadBalancers"][0]["advancedConfiguration"]
    assert advanced["alternateTargetGroupArn"] == one.out["green_target_group"]
    assert (advanced["productionListenerRule"], advanced["testListenerRule"]) == (rule, one.out["test_rule"])
    assert green["taskDefinition"] != blue["taskDefinition"]
    assert green["containerImages"][0]["imageDigest"].startswith("sha256:")
    assert one.health("green") == [{"State": "healthy"}]
    assert (target["requestedTestTrafficWeight"], source["requestedTestTrafficWeight"]) == (100.0, 0.0)
    assert (target["requestedProductionTrafficWeight"], source["requestedProductionTrafficWeight"]) == (0.0, 100.0)
    assert one.get("test") == (200, "green") and one.get() == (200, "blue")
    started_by = f"ecs-svc/{target['arn'].rpartition('/')[2]}"
    (task,) = one.ecs.list_tasks(cluster=one.out["cluster"], startedBy=started_by)["taskArns"]
    (described,) = one.ecs.describe_tasks(cluster=one.out["cluster"], tasks=[task])["tasks"]
    assert described["startedBy"] == started_by and described["group"] == f"service:{one.out['service']}"
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    assert service["currentServiceDeployment"] == arn
    assert [one["id"] for one in service["deployments"] if one["status"] == "PRIMARY"] == [started_by]


def test_a_canary_shifts_a_little_then_the_rest(new_native):
    one = new_native(strategy="CANARY", canary_percent=20.0, canary_bake_minutes=1)
    arn = one.deploy()
    eventually(lambda: one.weights() == (80, 20), what="the canary's weights")
    assert one.shares(20) == {"blue": 16, "green": 4}
    target = one.describe(arn)["targetServiceRevision"]
    assert target["requestedProductionTrafficWeight"] == 20.0
    one.wait(arn)
    assert one.weights() == (0, 100)
    step = ["PRE_PRODUCTION_TRAFFIC_SHIFT", "PRODUCTION_TRAFFIC_SHIFT"]
    assert one.stages(arn) == SHIFTING_STAGES[:5] + step * 2 + SHIFTING_STAGES[7:]


def test_a_linear_deployment_asks_before_every_step(new_native):
    one = new_native(strategy="LINEAR", step_percent=33.4, step_bake_minutes=0, wait=False,
                     pause=("PRE_PRODUCTION_TRAFFIC_SHIFT",))  # fmt: skip
    (first,) = one.ecs.list_service_deployments(**one.where)["serviceDeployments"]
    one.go(first["serviceDeploymentArn"])
    assert one.wait(first["serviceDeploymentArn"])["status"] == "SUCCESSFUL", "without blue there is one step"
    arn = one.deploy()
    seen = []
    for expected in (0.0, 33.4, 66.8):
        seen.append(one.paused(arn, "PRE_PRODUCTION_TRAFFIC_SHIFT")["hookId"])
        shown = one.describe(arn)
        assert shown["targetServiceRevision"]["requestedProductionTrafficWeight"] == expected
        assert shown["sourceServiceRevisions"][0]["requestedProductionTrafficWeight"] == round(100 - expected, 1)
        one.go(arn)
    assert one.wait(arn)["status"] == "SUCCESSFUL" and len(set(seen)) == 3
    statuses = [hook["status"] for hook in one.describe(arn)["lifecycleHookDetails"]]
    assert statuses == ["SUCCEEDED"] * 3


def test_a_rolling_deployment_starts_the_new_and_stops_the_old(new_native):
    one = new_native(strategy="ROLLING", count=2)
    arn = one.deploy()
    assert one.wait(arn)["status"] == "SUCCESSFUL" and one.stages(arn) == []
    assert one.get() == (200, "green") and len(one.health("blue")) == 2
    assert "requestedProductionTrafficWeight" not in one.describe(arn)["targetServiceRevision"]


def test_the_same_definition_is_deployed_only_when_forced(new_native):
    one = new_native()
    now = lambda: len(one.ecs.list_service_deployments(**one.where)["serviceDeployments"])  # noqa: E731
    one.ecs.update_service(**one.where, taskDefinition=one.out["task_definition"])
    one.ecs.update_service(**one.where, desiredCount=2, deploymentConfiguration={"bakeTimeInMinutes": 1})
    assert now() == 1
    eventually(lambda: len(one.health("blue")) == 2, what="the second task")
    one.ecs.update_service(**one.where, forceNewDeployment=True)
    assert now() == 2


@pytest.mark.parametrize("stage", ["SCALE_UP", "PRODUCTION_TRAFFIC_SHIFT", "BAKE_TIME"])
def test_stopping_rolls_back_from_any_stage(new_native, tmp_path, stage):
    one, sick = new_native(strategy="CANARY"), tmp_path / "sick"
    if stage == "SCALE_UP":
        sick.touch()  # green never gets healthy, so it stays there
    slow = {
        "bakeTimeInMinutes": 10,
        "canaryConfiguration": {"canaryPercent": 5.0, "canaryBakeTimeInMinutes": 0 if stage == "BAKE_TIME" else 10},
    }
    arn = one.deploy(changes={"deploymentConfiguration": slow}, SICK_FILE=str(sick))
    one.at(arn, stage)
    stopped = one.ecs.stop_service_deployment(serviceDeploymentArn=arn, stopType="ROLLBACK")
    assert stopped == {"serviceDeploymentArn": arn, "ResponseMetadata": stopped["ResponseMetadata"]}
    assert one.describe(arn)["status"] in ("ROLLBACK_REQUESTED", "ROLLBACK_IN_PROGRESS", "ROLLBACK_SUCCESSFUL")
    assert one.wait(arn)["status"] == "ROLLBACK_SUCCESSFUL"
    shown = one.describe(arn)
    (source,) = shown["sourceServiceRevisions"]
    assert shown["rollback"]["serviceRevisionArn"] == source["arn"] and "StopServiceDeployment" in shown["statusReason"]
    assert shown["rollback"]["reason"] and shown["rollback"]["startedAt"] <= shown["finishedAt"]
    assert source["requestedProductionTrafficWeight"] == 100.0 and source["runningTaskCount"] == 1
    assert shown["targetServiceRevision"]["requestedProductionTrafficWeight"] == 0.0
    assert one.get() == (200, "blue") and one.get("test") == (200, "blue") and one.weights() == (100, 0)
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    assert service["taskDefinition"] == one.out["task_definition"]


def test_a_newer_deployment_takes_over_and_reconciles(new_native):
    one = new_native(pause=("POST_TEST_TRAFFIC_SHIFT",), wait=False)
    (first,) = one.ecs.list_service_deployments(**one.where)["serviceDeployments"]
    one.go(first["serviceDeploymentArn"])
    one.wait(first["serviceDeploymentArn"])
    abandoned = one.deploy("abandoned")
    one.paused(abandoned)
    arn = one.deploy("newer")
    ended = one.wait(abandoned)
    assert ended["status"] == "STOPPED" and ended["hooks"][0]["status"] == "FAILED"
    assert one.describe(abandoned)["stoppedAt"]
    one.go(arn, "POST_TEST_TRAFFIC_SHIFT")
    assert one.wait(arn)["status"] == "SUCCESSFUL" and one.stages(arn)[0] == "RECONCILE_SERVICE"
    assert one.get() == (200, "newer")
    newest = one.ecs.list_service_deployments(**one.where, status=["STOPPED", "SUCCESSFUL"])["serviceDeployments"]
    assert [one["status"] for one in newest] == ["SUCCESSFUL", "STOPPED", "SUCCESSFUL"]


def test_a_first_deployment_has_nothing_to_go_back_to(new_native):
    one = new_native(pause=("POST_SCALE_UP",), wait=False)
    (first,) = one.ecs.list_service_deployments(**one.where)["serviceDeployments"]
    one.go(first["serviceDeploymentArn"], action="ROLLBACK")
    ended = one.wait(first["serviceDeploymentArn"])
    assert ended["status"] == "STOPPED" and "no previous service revision" in ended["reason"]
    eventually(lambda: not one.health("blue"), what="its tasks gone")
    assert one.deploy("again") and one.paused(one.machine(one.deploy("once more"))["arn"])


def test_deployments_are_listed_by_status_and_time_and_page(new_native):
    one = new_native()
    before = datetime.datetime.now(datetime.UTC)
    arns = [one.deploy("second")]
    one.wait(arns[0])
    arns.append(one.deploy("third"))
    one.wait(arns[1])
    listed = one.ecs.list_service_deployments
    newest = lambda **asked: [  # noqa: E731
        found["serviceDeploymentArn"] for found in listed(**one.where, **asked)["serviceDeployments"]
    ]
    assert newest(createdAt={"after": before}) == arns[::-1] and newest(status=["IN_PROGRESS"]) == []
    assert newest(createdAt={"before": before}) == newest()[2:]
    page = listed(**one.where, maxResults=2)
    rest = listed(**one.where, nextToken=page["nextToken"])["serviceDeployments"]
    assert len(page["serviceDeployments"]) == 2 and len(rest) == 1 and rest[0]["status"] == "SUCCESSFUL"
    missing = one.ecs.describe_service_deployments(serviceDeploymentArns=[NOBODY])
    assert missing["failures"] == [{"arn": NOBODY, "reason": "MISSING"}]


def test_a_deleted_service_leaves_nothing(new_native):
    one = new_native(pause=("POST_SCALE_UP",), wait=False)
    (first,) = one.ecs.list_service_deployments(**one.where)["serviceDeployments"]
    one.paused(first["serviceDeploymentArn"])
    (service,) = one.ecs.describe_services(cluster=one.out["cluster"], services=[one.out["service"]])["services"]
    one.ecs.delete_service(**one.where, force=True)
    eventually(lambda: not [
        task for task in one.aws.control("tasks")[1]["tasks"] if task["service"] == one.out["service"]
    ])  # fmt: skip
    gone = one.ecs.describe_service_deployments(serviceDeploymentArns=[first["serviceDeploymentArn"]])
    assert gone["failures"]
    one.ecs.create_service(
        cluster=one.out["cluster"], serviceName=one.out["service"], taskDefinition=one.out["task_definition"],
        desiredCount=0, networkConfiguration=service["networkConfiguration"],
    )  # fmt: skip


def test_a_deployment_waits_for_one_that_is_being_completed_and_can_be_stopped_meanwhile(new_native):
    one = new_native()
    (blue,) = one.ecs.list_tasks(cluster=one.out["cluster"])["taskArns"]
    protect = {"cluster": one.out["cluster"], "tasks": [blue]}
    one.ecs.update_task_protection(**protect, protectionEnabled=True)  # holds the first in CLEAN_UP
    arn = one.deploy()
    one.at(arn, "CLEAN_UP")
    with pytest.raises(one.ecs.exceptions.ConflictException):
        one.ecs.stop_service_deployment(serviceDeploymentArn=arn)
    waiting = one.deploy("waiting")
    shown = one.describe(waiting)
    assert shown["status"] == "PENDING" and "lifecycleStage" not in shown and "startedAt" not in shown
    one.ecs.stop_service_deployment(serviceDeploymentArn=waiting)
    assert one.describe(waiting)["status"] == "ROLLBACK_REQUESTED"
    one.ecs.stop_service_deployment(serviceDeploymentArn=waiting)  # asked again, it goes on
    one.ecs.update_task_protection(**protect, protectionEnabled=False)
    assert one.wait(arn)["status"] == "SUCCESSFUL" and one.wait(waiting)["status"] == "ROLLBACK_SUCCESSFUL"
    assert one.get() == (200, "green")


def test_a_service_can_be_deleted_with_its_tasks_whatever_it_does(aws):
    service = Native(aws)
    path = f"services/{service.out['cluster']}/{service.out['service']}"

    def tasks():
        return [one for one in aws.control("tasks")[1]["tasks"] if one["service"] == service.out["service"]]

    assert tasks()
    assert aws.control(path, "DELETE")[0] == 200
    eventually(lambda: not tasks())
    assert aws.control(f"services/{service.out['cluster']}/nobody", "DELETE")[0] == 404
