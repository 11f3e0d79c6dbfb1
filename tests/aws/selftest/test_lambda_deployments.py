"""Deployments on the Lambda platform: an alias goes to the next version, and comes back when it must."""

import time

import pytest
from botocore.exceptions import ClientError

from conftest import eventually

HOOKS = ("BeforeAllowTraffic", "AfterAllowTraffic")


def shifts(release):
    """What CodeDeploy did to the alias: (version, weights as text) each time."""
    _, found = release.aws.control("requests?service=lambda&operation=UpdateAlias&access_key=codedeploy.amazonaws.com")
    return [one["params"] for one in found["requests"] if f'"{release.name}"' in one["params"]]


def test_good_release_takes_the_alias(release):
    assert release.invoke("live")[1]["name"] == "first"
    deployment = release.deploy(HOOKS)
    ended = release.wait(deployment)
    assert ended["status"] == "Succeeded", ended
    assert ended["events"] == dict.fromkeys(("BeforeAllowTraffic", "AllowTraffic", "AfterAllowTraffic"), "Succeeded")
    assert ended["versions"] == {"current": "1", "target": "2"} and ended["traffic"]["target"] == 100.0
    assert release.alias() == ("2", {})
    answer, body = release.invoke("live")
    assert (answer["ExecutedVersion"], body["name"]) == ("2", "second")
    assert [run["hook"] for run in release.aws.deployment(deployment)["hooks"]] == list(HOOKS)
    assert release.wait(release.deploy(name="third"))["versions"] == {"current": "2", "target": "3"}


def test_deployment_has_the_shape_of_aws(release):
    release.answer("silent")
    deployment = release.deploy(HOOKS)
    eventually(lambda: release.aws.deployment(deployment)["hooks"])
    codedeploy = release.codedeploy
    info = codedeploy.get_deployment(deploymentId=deployment)["deploymentInfo"]
    assert info["computePlatform"] == "Lambda" and info["status"] == "InProgress"
    assert info["deploymentStyle"] == {"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"}
    assert "loadBalancerInfo" not in info and "blueGreenDeploymentConfiguration" not in info
    ids = codedeploy.list_deployment_targets(deploymentId=deployment)["targetIds"]
    assert ids == [f"{release.name}:live"]
    target = codedeploy.get_deployment_target(deploymentId=deployment, targetId=ids[0])["deploymentTarget"]
    assert target["deploymentTargetType"] == "LambdaTarget"
    target = target["lambdaTarget"]
    assert target["targetArn"] == release.out["alias_arn"]
    assert [one["status"] for one in target["lifecycleEvents"]] == ["InProgress", "Pending", "Pending"]
    assert target["lambdaFunctionInfo"] == {
        "functionName": release.name, "functionAlias": "live", "currentVersion": "1", "targetVersion": "2",
        "targetVersionWeight": 0.0,
    }  # fmt: skip
    assert release.invoke("2")[1]["name"] == "second", "before traffic, by number"
    group = codedeploy.get_deployment_group(applicationName=release.name, deploymentGroupName=f"{release.name}-group")
    assert group["deploymentGroupInfo"]["computePlatform"] == "Lambda"
    assert codedeploy.get_application(applicationName=release.name)["application"]["computePlatform"] == "Lambda"
    with pytest.raises(ClientError, match="DeploymentLimitExceededException"):
        release.deploy()
    with pytest.raises(ClientError, match="DeploymentIsNotInReadyStateException"):
        codedeploy.continue_deployment(deploymentId=deployment, deploymentWaitType="READY_WAIT")
    codedeploy.stop_deployment(deploymentId=deployment, autoRollbackEnabled=False)
    release.wait(deployment)


def test_canary_splits_the_alias_and_then_takes_it(release):
    deployment = release.deploy(config=release.config("canary", 20))
    eventually(lambda: release.alias() == ("1", {"2": 0.2}))
    executed = [release.invoke("live")[0]["ExecutedVersion"] for _ in range(10)]
    assert executed.count("2") == 2
    assert release.info(deployment)["targetVersionWeight"] == 20.0
    assert release.wait(deployment)["status"] == "Succeeded"
    assert release.alias() == ("2", {}) and release.info(deployment)["targetVersionWeight"] == 100.0
    event = next(one for one in release.aws.deployment(deployment)["events"] if one["name"] == "AllowTraffic")
    assert 2 <= event["ended_at"] - event["started_at"] < 8, "one AWS minute"


def test_linear_goes_step_by_step(release):
    deployment = release.deploy(config=release.config("linear", 50))
    assert release.wait(deployment)["status"] == "Succeeded"
    first, last = shifts(release)
    assert '"AdditionalVersionWeights": {"2": 0.5}' in first and '"FunctionVersion": "1"' in first
    assert '"AdditionalVersionWeights": {}' in last and '"FunctionVersion": "2"' in last


@pytest.mark.parametrize("hook", HOOKS)
def test_failed_hook_rolls_the_alias_back(new_release, hook):
    release = new_release(answer="Failed")
    deployment = release.deploy((hook,))
    eventually(lambda: release.aws.deployment(deployment)["status"] == "Failed")
    release.answer("Succeeded")
    ended = release.wait(deployment)
    assert ended["error"]["code"] == "HOOK_EXECUTION_FAILURE" and ended["events"][hook] == "Failed"
    rollback = release.codedeploy.get_deployment(deploymentId=ended["rollback"]["deployment_id"])["deploymentInfo"]
    assert rollback["creator"] == "codeDeployRollback"
    assert rollback["rollbackInfo"]["rollbackTriggeringDeploymentId"] == deployment
    assert release.alias() == ("1", {}) and ended["rollback"]["traffic"] == {"current": 100.0, "target": 0.0}
    assert [run["hook"] for run in release.aws.deployment(rollback["deploymentId"])["hooks"]] == [hook]


def test_failed_hook_without_auto_rollback_leaves_the_new_version(new_release):
    release = new_release(answer="Failed", auto_rollback=False)
    ended = release.wait(release.deploy(("AfterAllowTraffic",)))
    assert ended["status"] == "Failed" and "rollback" not in ended
    assert release.alias() == ("2", {})


@pytest.mark.parametrize("auto_rollback", [True, False])
def test_stop_in_a_canary_with_and_without_rollback(release, auto_rollback):
    deployment = release.deploy(config="CodeDeployDefault.LambdaCanary10Percent30Minutes")
    eventually(lambda: release.alias() == ("1", {"2": 0.1}))
    stop = lambda: release.codedeploy.stop_deployment(  # noqa: E731
        deploymentId=deployment, autoRollbackEnabled=auto_rollback
    )
    assert stop()["status"] == "Pending"
    ended = release.wait(deployment)
    assert ended["status"] == "Stopped" and ended["error"]["code"] == "MANUAL_STOP"
    assert ended["events"]["AllowTraffic"] == "Skipped"
    if auto_rollback:
        assert ended["rollback"]["status"] == "Succeeded" and release.alias() == ("1", {})
        return
    assert "rollback" not in ended and release.alias() == ("1", {"2": 0.1})
    # the trouble of the troubleshooting page: nothing can be deployed until somebody puts the alias right
    again = release.wait(release.deploy(name="third"))
    assert again["status"] == "Failed" and again["error"]["code"] == "INVALID_LAMBDA_CONFIGURATION"
    assert "two versions" in again["error"]["message"] and "rollback" not in again
    release.api.update_alias(
        FunctionName=release.name, Name="live", RoutingConfig={"AdditionalVersionWeights": {}}
    )  # fmt: skip
    assert release.wait(release.deploy(name="fourth"))["status"] == "Succeeded"


def test_deployment_that_does_not_fit_the_alias_fails_before_any_event(release):
    release.publish("second")
    for properties, code, words in (
        ({"CurrentVersion": "2"}, "INVALID_LAMBDA_CONFIGURATION", "does not match the current version"),
        ({"TargetVersion": "1"}, "INVALID_LAMBDA_CONFIGURATION", "invalid configuration."),
        ({"TargetVersion": "9"}, "INVALID_LAMBDA_FUNCTION", "not found"),
        ({"Alias": "nobody"}, "INVALID_LAMBDA_FUNCTION", "Cannot find alias"),
        ({"Name": "nobody"}, "INVALID_LAMBDA_FUNCTION", "not found"),
    ):
        ended = release.wait(release.create(**properties))
        assert ended["status"] == "Failed" and "rollback" not in ended, properties
        assert ended["error"]["code"] == code and words in ended["error"]["message"]
        assert set(ended["events"].values()) == {"Skipped"}
    assert release.alias() == ("1", {}) and shifts(release) == []


def test_alias_that_vanishes_fails_the_deployment(release):
    deployment = release.deploy(config=release.config("canary", 20))
    eventually(lambda: release.alias() == ("1", {"2": 0.2}))
    release.api.delete_alias(FunctionName=release.name, Name="live")
    ended = release.wait(deployment)
    assert ended["error"]["code"] == "INVALID_LAMBDA_FUNCTION" and ended["rollback"]["status"] == "Failed"


def test_configurations_are_made_shown_and_deleted(release):
    name = release.config("linear", 30)
    get, codedeploy = release.codedeploy.get_deployment_config, release.codedeploy
    shown = get(deploymentConfigName=name)["deploymentConfigInfo"]
    assert shown["computePlatform"] == "Lambda" and shown["trafficRoutingConfig"] == {
        "type": "TimeBasedLinear", "timeBasedLinear": {"linearPercentage": 30, "linearInterval": 1},
    }  # fmt: skip
    given = get(deploymentConfigName="CodeDeployDefault.LambdaLinear10PercentEvery1Minute")["deploymentConfigInfo"]
    assert given["trafficRoutingConfig"]["timeBasedLinear"] == {"linearPercentage": 10, "linearInterval": 1}
    listed = codedeploy.list_deployment_configs()["deploymentConfigsList"]
    assert {name, "CodeDeployDefault.LambdaCanary10Percent5Minutes", "CodeDeployDefault.LambdaAllAtOnce"} <= set(listed)
    where = {"applicationName": release.name, "currentDeploymentGroupName": f"{release.name}-group"}
    codedeploy.update_deployment_group(**where, deploymentConfigName=name)
    with pytest.raises(ClientError, match="DeploymentConfigInUseException"):
        codedeploy.delete_deployment_config(deploymentConfigName=name)
    codedeploy.update_deployment_group(**where, deploymentConfigName="CodeDeployDefault.LambdaAllAtOnce")
    codedeploy.delete_deployment_config(deploymentConfigName=name)
    with pytest.raises(ClientError, match="DeploymentConfigDoesNotExistException"):
        get(deploymentConfigName=name)


def test_hook_that_never_answers_costs_the_limit_on_lambda_too(new_release):
    release = new_release(answer="crash", auto_rollback=False)
    begun = time.monotonic()
    ended = release.wait(release.deploy(("BeforeAllowTraffic",)))
    assert ended["error"]["code"] == "HOOK_EXECUTION_FAILURE" and time.monotonic() - begun >= 2
    assert release.alias() == ("1", {})
