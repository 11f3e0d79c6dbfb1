"""A service under the ECS controller: made, deployed to, watched and taken away, as a pipeline would."""

from __future__ import annotations

import dataclasses
import json
import time
from typing import Any

from .clients import Clients
from .events import make_queue, of_codedeploy, of_ecs, remove_queue
from .setup import balancer, function, network, register, role

_OVER = ("SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED")


@dataclasses.dataclass(frozen=True)
class WantedEcs:
    """What `setup-ecs` was asked for."""

    name: str
    command: list[str]
    strategy: str = "BLUE_GREEN"
    count: int = 2
    port: int = 8080
    health_path: str = "/healthz"
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    pause: tuple[str, ...] = ()
    pause_timeout_minutes: int = 1440
    pause_timeout_action: str = "ROLLBACK"
    lambda_hooks: tuple[str, ...] = ()
    bootstrap: str = ""
    function_environment: dict[str, str] = dataclasses.field(default_factory=dict)
    function_timeout: int = 60
    hook_timeout_minutes: int = 1440
    hook_details: dict[str, Any] = dataclasses.field(default_factory=dict)
    bake_minutes: int = 0
    canary_percent: float = 10.0
    canary_bake_minutes: int = 1
    step_percent: float = 25.0
    step_bake_minutes: int = 1
    events_queue: str | None = None
    wait: bool = True
    timeout: float = 60.0


def setup_ecs(clients: Clients, wanted: WantedEcs) -> dict[str, Any]:
    """Returns when the first deployment is over, or at once when it was not to be waited for."""
    name = wanted.name
    if wanted.lambda_hooks and not wanted.bootstrap:
        raise ValueError("--lambda-hooks needs --bootstrap")
    subnets, security_group, vpc = network(clients)
    made = balancer(clients, name, wanted.port, wanted.health_path, subnets, security_group, vpc)
    rules = [_rule(clients, listener, made["groups"]) for listener in made["listeners"]]
    cluster = clients.ecs.create_cluster(clusterName=f"{name}-cluster")["cluster"]
    out = {"name": name, "cluster": f"{name}-cluster", "cluster_arn": cluster["clusterArn"]}
    if wanted.events_queue:
        heard = of_ecs(cluster["clusterArn"]) | of_codedeploy()
        out["queue_url"] = make_queue(clients, name, wanted.events_queue, heard)
    config = _configuration(clients, wanted)
    definition = register(clients, name, wanted.command, wanted.port, wanted.environment)
    target: dict[str, Any] = {
        "targetGroupArn": made["groups"][0],
        "containerName": "app",
        "containerPort": wanted.port,
    }
    if wanted.strategy != "ROLLING":
        target["advancedConfiguration"] = {
            "alternateTargetGroupArn": made["groups"][1],
            "productionListenerRule": rules[0],
            "testListenerRule": rules[1],
            "roleArn": role(clients, f"{name}-balancing", "ecs.amazonaws.com"),
        }
    service = clients.ecs.create_service(
        cluster=out["cluster"],
        serviceName=f"{name}-service",
        taskDefinition=definition,
        desiredCount=wanted.count,
        launchType="FARGATE",
        deploymentController={"type": "ECS"},
        deploymentConfiguration=config,
        networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": [security_group]}},
        loadBalancers=[target],
    )["service"]
    deployment = _newest(clients, name)
    out |= {
        "service": f"{name}-service",
        "service_arn": service["serviceArn"],
        "task_definition": definition,
        "service_deployment_arn": deployment,
        "function": _function(name) if wanted.lambda_hooks else None,
        "load_balancer_dns": made["dns"],
        "prod_port": made["ports"][0],
        "test_port": made["ports"][1],
        "prod_listener": made["listeners"][0],
        "test_listener": made["listeners"][1],
        "prod_rule": rules[0],
        "test_rule": rules[1],
        "blue_target_group": made["groups"][0],
        "green_target_group": made["groups"][1],
    }
    if wanted.wait:
        ended = wait_ecs(clients, deployment, wanted.timeout)
        if ended["status"] != "SUCCESSFUL":
            raise ValueError(f"the first deployment did not succeed: {json.dumps(ended)}")
    return out


def _rule(clients: Clients, listener: str, groups: list[str]) -> str:
    forward = {
        "Type": "forward",
        "ForwardConfig": {
            "TargetGroups": [
                {"TargetGroupArn": groups[0], "Weight": 100},
                {"TargetGroupArn": groups[1], "Weight": 0},
            ]
        },
    }
    everything = {"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}
    made = clients.elbv2.create_rule(ListenerArn=listener, Priority=1, Conditions=[everything], Actions=[forward])
    return made["Rules"][0]["RuleArn"]


def _function(name: str) -> str:
    return f"ecs-hook-{name}"


def _configuration(clients: Clients, wanted: WantedEcs) -> dict[str, Any]:
    if wanted.strategy == "ROLLING":
        return {"strategy": "ROLLING"}
    config: dict[str, Any] = {"strategy": wanted.strategy, "bakeTimeInMinutes": wanted.bake_minutes}
    if wanted.strategy == "CANARY":
        config["canaryConfiguration"] = {
            "canaryPercent": wanted.canary_percent,
            "canaryBakeTimeInMinutes": wanted.canary_bake_minutes,
        }
    if wanted.strategy == "LINEAR":
        config["linearConfiguration"] = {
            "stepPercent": wanted.step_percent,
            "stepBakeTimeInMinutes": wanted.step_bake_minutes,
        }
    hooks: list[dict[str, Any]] = []
    if wanted.pause:
        hooks.append({
            "targetType": "PAUSE",
            "lifecycleStages": list(wanted.pause),
            "timeoutConfiguration": {
                "timeoutInMinutes": wanted.pause_timeout_minutes, "action": wanted.pause_timeout_action,
            },
        })  # fmt: skip
    if wanted.lambda_hooks:
        made = function(
            clients, _function(wanted.name), wanted.bootstrap,
            role(clients, f"{wanted.name}-hook", "lambda.amazonaws.com"), wanted.function_environment,
            wanted.function_timeout,
        )  # fmt: skip
        hooks.append({
            "targetType": "AWS_LAMBDA",
            "hookTargetArn": made,
            "roleArn": role(clients, f"{wanted.name}-hooks", "ecs.amazonaws.com"),
            "lifecycleStages": list(wanted.lambda_hooks),
            "timeoutConfiguration": {"timeoutInMinutes": wanted.hook_timeout_minutes, "action": "ROLLBACK"},
            **({"hookDetails": wanted.hook_details} if wanted.hook_details else {}),
        })  # fmt: skip
    return config | {"lifecycleHooks": hooks}


def _newest(clients: Clients, name: str) -> str:
    where = {"cluster": f"{name}-cluster", "service": f"{name}-service"}
    return clients.ecs.list_service_deployments(**where, maxResults=1)["serviceDeployments"][0]["serviceDeploymentArn"]


def deploy_ecs(
    clients: Clients, name: str, command: list[str], environment: dict[str, str], **changes: Any
) -> dict[str, Any]:
    """A new task definition deployed; the service deployment it is."""
    before = clients.ecs.describe_task_definition(taskDefinition=name)["taskDefinition"]["containerDefinitions"][0]
    definition = register(clients, name, command, before["portMappings"][0]["containerPort"], environment)
    clients.ecs.update_service(
        cluster=f"{name}-cluster", service=f"{name}-service", taskDefinition=definition, **changes
    )
    return {"service_deployment_arn": _newest(clients, name), "task_definition": definition}


def status_ecs(clients: Clients, arn: str) -> dict[str, Any]:
    """A service deployment in a few words."""
    found = clients.ecs.describe_service_deployments(serviceDeploymentArns=[arn])["serviceDeployments"]
    if not found:
        raise ValueError(f"there is no service deployment {arn}")
    target = found[0]["targetServiceRevision"]
    shown: dict[str, Any] = {
        "service_deployment_arn": arn,
        "status": found[0]["status"],
        "stage": found[0].get("lifecycleStage"),
        "target_revision": target["arn"],
        "production_weight": target.get("requestedProductionTrafficWeight"),
        "test_weight": target.get("requestedTestTrafficWeight"),
        "hooks": [
            {"hook_id": one["hookId"], "type": one["targetType"], "status": one["status"]}
            for one in found[0].get("lifecycleHookDetails", [])
        ],
    }
    if "statusReason" in found[0]:
        shown["reason"] = found[0]["statusReason"]
    return shown


def wait_ecs(clients: Clients, arn: str, timeout: float) -> dict[str, Any]:
    """The final state; raises TimeoutError."""
    limit = time.monotonic() + timeout
    while True:
        shown = status_ecs(clients, arn)
        if shown["status"] in _OVER:
            return shown
        if time.monotonic() > limit:
            raise TimeoutError(json.dumps(shown))
        time.sleep(0.1)


def is_ecs(clients: Clients, name: str) -> bool:
    """Whether `setup-ecs` made it, not `setup` or `setup-function`."""
    try:
        found = clients.ecs.describe_services(cluster=f"{name}-cluster", services=[f"{name}-service"])["services"]
    except clients.ecs.exceptions.ClusterNotFoundException:
        return False
    return bool(found) and found[0].get("deploymentController", {}).get("type") == "ECS"


def teardown_ecs(clients: Clients, name: str) -> None:
    """Takes away what `setup_ecs` made, its processes too, in whatever state a deployment is."""
    clients.ecs.delete_service(cluster=f"{name}-cluster", service=f"{name}-service", force=True)
    remove_queue(clients, name)
    found = clients.elbv2.describe_load_balancers(Names=[name])["LoadBalancers"]
    clients.elbv2.delete_load_balancer(LoadBalancerArn=found[0]["LoadBalancerArn"])
    for colour in ("blue", "green"):
        group = clients.elbv2.describe_target_groups(Names=[f"{name}-{colour}"])["TargetGroups"][0]
        clients.elbv2.delete_target_group(TargetGroupArn=group["TargetGroupArn"])
    functions = [one["FunctionName"] for one in clients.functions.list_functions()["Functions"]]
    if _function(name) in functions:
        clients.functions.delete_function(FunctionName=_function(name))
    for one in clients.iam.list_roles(MaxItems=1000)["Roles"]:
        if one["RoleName"] in (f"{name}-balancing", f"{name}-hook", f"{name}-hooks"):
            clients.iam.delete_role(RoleName=one["RoleName"])
