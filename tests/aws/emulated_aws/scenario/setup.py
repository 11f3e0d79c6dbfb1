"""Everything a blue/green service needs, created in the order a template would create it."""

from __future__ import annotations

import dataclasses
import io
import json
import socket
import time
import zipfile
from typing import Any

from .clients import Clients
from .events import make_queue, of_codedeploy, remove_queue

_HEALTH_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What `setup` was asked for."""

    name: str
    command: list[str]
    bootstrap: str
    count: int = 2
    port: int = 8080
    health_path: str = "/healthz"
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    function_environment: dict[str, str] = dataclasses.field(default_factory=dict)
    function_timeout: int = 60
    auto_rollback: bool = True
    deployment_config: str = "CodeDeployDefault.ECSAllAtOnce"
    ready_wait_minutes: int = 0
    termination_wait_minutes: int = 0
    events_queue: str | None = None


def role(clients: Clients, name: str, service: str) -> str:
    """A role a service may assume; its ARN."""
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}],
    }
    made = clients.iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(trust))
    return made["Role"]["Arn"]


def bootstrap_zip(line: str) -> bytes:
    """A function package whose bootstrap is a shell script of one line."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = 0o100755 << 16
        archive.writestr(entry, f"#!/bin/sh\n{line}\n")
    return data.getvalue()


def function(
    clients: Clients, name: str, bootstrap: str, role_arn: str, environment: dict[str, str], timeout: int, **more: Any
) -> str:
    """A function whose bootstrap is a shell script of one line; its ARN."""
    made = clients.functions.create_function(
        FunctionName=name,
        Runtime="provided.al2023",
        Handler="bootstrap",
        Role=role_arn,
        Code={"ZipFile": bootstrap_zip(bootstrap)},
        Timeout=timeout,
        Environment={"Variables": environment},
        **more,
    )
    return made["FunctionArn"]


def hook(clients: Clients, name: str, bootstrap: str, environment: dict[str, str], timeout: int) -> str:
    """The hook function of a scenario, and its role; its name."""
    hook_name = f"CodeDeployHook_{name}"
    function(clients, hook_name, bootstrap, role(clients, f"{name}-hook", "lambda.amazonaws.com"), environment, timeout)
    return hook_name


def rollback_on(auto_rollback: bool) -> dict[str, Any]:
    """autoRollbackConfiguration."""
    events = ["DEPLOYMENT_FAILURE", "DEPLOYMENT_STOP_ON_REQUEST"] if auto_rollback else []
    return {"enabled": auto_rollback, "events": events}


def register(clients: Clients, name: str, command: list[str], port: int, environment: dict[str, str]) -> str:
    """A new task-definition revision; its ARN."""
    made = clients.ecs.register_task_definition(
        family=name,
        networkMode="awsvpc",
        requiresCompatibilities=["FARGATE"],
        cpu="256",
        memory="512",
        containerDefinitions=[
            {
                "name": "app",
                "image": f"{name}:latest",
                "essential": True,
                "command": command,
                "environment": [{"name": k, "value": v} for k, v in environment.items()],
                "portMappings": [{"containerPort": port, "protocol": "tcp"}],
            }
        ],
    )
    return made["taskDefinition"]["taskDefinitionArn"]


def setup(clients: Clients, wanted: Wanted) -> dict[str, Any]:
    """Returns once blue is healthy."""
    name = wanted.name
    subnets, security_group, vpc = network(clients)
    made = balancer(clients, name, wanted.port, wanted.health_path, subnets, security_group, vpc)
    groups, listeners, ports = made["groups"], made["listeners"], made["ports"]
    cluster = f"{name}-cluster"
    clients.ecs.create_cluster(clusterName=cluster)
    definition = register(clients, name, wanted.command, wanted.port, wanted.environment)
    service = f"{name}-service"
    clients.ecs.create_service(
        cluster=cluster,
        serviceName=service,
        taskDefinition=definition,
        desiredCount=wanted.count,
        launchType="FARGATE",
        deploymentController={"type": "CODE_DEPLOY"},
        networkConfiguration={"awsvpcConfiguration": {"subnets": subnets, "securityGroups": [security_group]}},
        loadBalancers=[{"targetGroupArn": groups[0], "containerName": "app", "containerPort": wanted.port}],
    )
    hook_name = hook(clients, name, wanted.bootstrap, wanted.function_environment, wanted.function_timeout)
    queue = {}
    if wanted.events_queue:
        queue["queue_url"] = make_queue(clients, name, wanted.events_queue, of_codedeploy(name))
    clients.codedeploy.create_application(applicationName=name, computePlatform="ECS")
    _group(clients, wanted, cluster, service, listeners)
    wait_healthy(clients, groups[0], wanted.count)
    return {
        "application": name,
        "deployment_group": f"{name}-group",
        "cluster": cluster,
        "service": service,
        "task_definition": definition,
        "function": hook_name,
        "load_balancer_dns": made["dns"],
        "prod_port": ports[0],
        "test_port": ports[1],
        "prod_listener": listeners[0],
        "test_listener": listeners[1],
        "blue_target_group": groups[0],
        "green_target_group": groups[1],
        **queue,
    }


def network(clients: Clients) -> tuple[list[str], str, str]:
    """Subnets, security group and VPC."""
    vpc = clients.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        clients.ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"{clients.region}{zone}")[
            "Subnet"
        ]["SubnetId"]
        for n, zone in enumerate("ab")
    ]
    group = clients.ec2.create_security_group(GroupName="service", Description="service", VpcId=vpc)["GroupId"]
    return subnets, group, vpc


def balancer(
    clients: Clients, name: str, port: int, health_path: str, subnets: list[str], security_group: str, vpc: str
) -> dict[str, Any]:
    """A load balancer with two target groups, and listeners for production and test whose default is the first."""
    made = clients.elbv2.create_load_balancer(Name=name, Subnets=subnets, SecurityGroups=[security_group])
    balancer = made["LoadBalancers"][0]
    groups = []
    for colour in ("blue", "green"):
        group = clients.elbv2.create_target_group(
            Name=f"{name}-{colour}",
            Protocol="HTTP",
            Port=port,
            VpcId=vpc,
            TargetType="ip",
            HealthCheckPath=health_path,
            HealthCheckIntervalSeconds=5,
            HealthCheckTimeoutSeconds=2,
            HealthyThresholdCount=2,
            UnhealthyThresholdCount=2,
        )["TargetGroups"][0]["TargetGroupArn"]
        clients.elbv2.modify_target_group_attributes(
            TargetGroupArn=group, Attributes=[{"Key": "deregistration_delay.timeout_seconds", "Value": "5"}]
        )
        groups.append(group)
    ports = free_ports(balancer["DNSName"], 2)
    listeners = [
        clients.elbv2.create_listener(
            LoadBalancerArn=balancer["LoadBalancerArn"],
            Protocol="HTTP",
            Port=number,
            DefaultActions=[{"Type": "forward", "TargetGroupArn": groups[0]}],
        )["Listeners"][0]["ListenerArn"]
        for number in ports
    ]
    return {"dns": balancer["DNSName"], "groups": groups, "listeners": listeners, "ports": ports}


def _group(clients: Clients, wanted: Wanted, cluster: str, service: str, listeners: list[str]) -> None:
    name = wanted.name
    ready: dict[str, Any] = {"actionOnTimeout": "CONTINUE_DEPLOYMENT"}
    if wanted.ready_wait_minutes:
        ready = {"actionOnTimeout": "STOP_DEPLOYMENT", "waitTimeInMinutes": wanted.ready_wait_minutes}
    clients.codedeploy.create_deployment_group(
        applicationName=name,
        deploymentGroupName=f"{name}-group",
        deploymentConfigName=wanted.deployment_config,
        serviceRoleArn=role(clients, f"{name}-codedeploy", "codedeploy.amazonaws.com"),
        deploymentStyle={"deploymentType": "BLUE_GREEN", "deploymentOption": "WITH_TRAFFIC_CONTROL"},
        ecsServices=[{"clusterName": cluster, "serviceName": service}],
        autoRollbackConfiguration=rollback_on(wanted.auto_rollback),
        blueGreenDeploymentConfiguration={
            "deploymentReadyOption": ready,
            "terminateBlueInstancesOnDeploymentSuccess": {
                "action": "TERMINATE",
                "terminationWaitTimeInMinutes": wanted.termination_wait_minutes,
            },
        },
        loadBalancerInfo={
            "targetGroupPairInfoList": [
                {
                    "targetGroups": [{"name": f"{name}-blue"}, {"name": f"{name}-green"}],
                    "prodTrafficRoute": {"listenerArns": [listeners[0]]},
                    "testTrafficRoute": {"listenerArns": [listeners[1]]},
                }
            ]
        },
    )


def teardown(clients: Clients, name: str) -> None:
    """Takes away what `setup` made, its processes too; a deployment in progress is left to fail."""
    clients.codedeploy.delete_deployment_group(applicationName=name, deploymentGroupName=f"{name}-group")
    clients.codedeploy.delete_application(applicationName=name)
    remove_queue(clients, name)
    clients.ecs.delete_service(cluster=f"{name}-cluster", service=f"{name}-service", force=True)
    clients.functions.delete_function(FunctionName=f"CodeDeployHook_{name}")
    found = clients.elbv2.describe_load_balancers(Names=[name])["LoadBalancers"]
    clients.elbv2.delete_load_balancer(LoadBalancerArn=found[0]["LoadBalancerArn"])
    for colour in ("blue", "green"):
        group = clients.elbv2.describe_target_groups(Names=[f"{name}-{colour}"])["TargetGroups"][0]
        clients.elbv2.delete_target_group(TargetGroupArn=group["TargetGroupArn"])
    for suffix in ("hook", "codedeploy"):
        clients.iam.delete_role(RoleName=f"{name}-{suffix}")


def free_ports(address: str, count: int) -> list[int]:
    """Ports nobody listens on at the address now, above those of outgoing connections where possible."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind((address, 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def wait_healthy(clients: Clients, group: str, count: int) -> None:
    """Raises TimeoutError with the last states when the targets do not become healthy."""
    limit = time.monotonic() + _HEALTH_SECONDS
    while True:
        found = clients.elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]
        states = [one["TargetHealth"] for one in found]
        if len(states) >= count and all(state["State"] == "healthy" for state in states):
            return
        if time.monotonic() > limit:
            raise TimeoutError(f"blue did not become healthy within {_HEALTH_SECONDS} s: {states}")
        time.sleep(0.05)
