"""What load balancers publish about real traffic: by target group, by the period, and nothing where nothing was."""

import time

import pytest

from conftest import Stack, eventually
from emulated_aws.scenario.setup import free_ports, teardown

KINDS = ["RequestCount", "TargetResponseTime", "TargetConnectionErrorCount"] + [
    f"HTTPCode_Target_{n}XX_Count" for n in (2, 3, 4, 5)
]


@pytest.fixture(scope="module")
def one(aws):
    stack = Stack(aws, count=1)
    yield stack
    teardown(stack.clients, stack.name)


def dimensions(stack, colour):
    group = stack.out[f"{colour}_target_group"].rpartition(":")[2]
    (balancer,) = stack.clients.elbv2.describe_load_balancers(Names=[stack.name])["LoadBalancers"]
    suffix = balancer["LoadBalancerArn"].partition("loadbalancer/")[2]
    assert group.startswith("targetgroup/") and suffix.startswith("app/")
    return {"TargetGroup": group, "LoadBalancer": suffix}


def total(stack, name, stat="Sum", period=60, **wanted):
    """[(epoch, value)] since the emulator runs."""
    metric = {
        "Namespace": "AWS/ApplicationELB", "MetricName": name,
        "Dimensions": [{"Name": key, "Value": value} for key, value in wanted.items()],
    }  # fmt: skip
    query = {"Id": "q", "MetricStat": {"Metric": metric, "Period": period, "Stat": stat}}
    (found,) = stack.clients.cloudwatch.get_metric_data(
        MetricDataQueries=[query], StartTime=time.time() - 600, EndTime=time.time() + 60, ScanBy="TimestampAscending"
    )["MetricDataResults"]
    return [(at.timestamp(), value) for at, value in zip(found["Timestamps"], found["Values"], strict=True)]


def sum_of(stack, name, **wanted):
    return sum(value for _, value in total(stack, name, **wanted))


def test_traffic_is_counted_by_target_group_and_load_balancer(one):
    blue = dimensions(one, "blue")
    before = {name: sum_of(one, name, **blue) for name in KINDS if name != "TargetResponseTime"}
    for _ in range(20):
        assert one.get()[0] == 200
    eventually(lambda: sum_of(one, "RequestCount", **blue) == before["RequestCount"] + 20)
    assert sum_of(one, "HTTPCode_Target_2XX_Count", **blue) == before["HTTPCode_Target_2XX_Count"] + 20
    assert sum_of(one, "RequestCount", LoadBalancer=blue["LoadBalancer"]) >= 20
    slowest = [value for _, value in total(one, "TargetResponseTime", "p99", **blue)]
    typical = [value for _, value in total(one, "TargetResponseTime", "p50", **blue)]
    assert 0 < max(typical) <= max(slowest) < 5, "in seconds"
    at = total(one, "RequestCount", period=1, **blue)
    assert at and all(stamp == int(stamp) <= time.time() for stamp, _ in at)


def test_traffic_is_counted_for_the_group_a_rule_chose(new_stack):
    stack = new_stack(count=1)
    green = dimensions(stack, "green")
    address = {"Id": stack.out["load_balancer_dns"], "Port": stack.out["prod_port"]}  # production as a target
    stack.clients.elbv2.register_targets(TargetGroupArn=stack.out["green_target_group"], Targets=[address])
    (rule,) = stack.clients.elbv2.create_rule(
        ListenerArn=stack.out["test_listener"], Priority=1,
        Conditions=[{"Field": "path-pattern", "Values": ["/green/*"]}],
        Actions=[{"Type": "forward", "TargetGroupArn": stack.out["green_target_group"]}],
    )["Rules"]  # fmt: skip
    eventually(lambda: stack.health("green")[0]["State"] == "healthy")
    for path in ("/green/1", "/green/2", "/blue"):
        assert stack.get("test", path)[0] == 200
    eventually(lambda: sum_of(stack, "RequestCount", **green) == 2)
    stack.clients.elbv2.delete_rule(RuleArn=rule["RuleArn"])


def test_metrics_without_traffic_are_absent(one):
    green = dimensions(one, "green")
    eventually(lambda: total(one, "HealthyHostCount", **dimensions(one, "blue")), what="a period has been published")
    for name in (*KINDS, "HealthyHostCount", "UnHealthyHostCount"):
        assert total(one, name, **green) == [], name
    assert total(one, "HTTPCode_Target_5XX_Count", **dimensions(one, "blue")) == []


def test_health_checks_are_not_traffic_but_hosts_are_counted(new_stack):
    stack = new_stack(count=2)
    blue = dimensions(stack, "blue")
    eventually(lambda: (2.0 in [value for _, value in total(stack, "HealthyHostCount", "Maximum", **blue)]))
    assert total(stack, "UnHealthyHostCount", "Minimum", **blue)[-1][1] == 0
    assert total(stack, "RequestCount", **blue) == []


def test_failures_are_counted_by_who_caused_them(new_stack, tmp_path):
    sick = tmp_path / "sick"
    stack = new_stack(count=1, environment={"NAME": "blue", "SICK_FILE": str(sick)})
    blue, green = dimensions(stack, "blue"), dimensions(stack, "green")
    sick.touch()
    for _ in range(3):
        assert stack.get(path="/healthz")[0] == 503
    address = stack.out["load_balancer_dns"]
    target = {"Id": address, "Port": free_ports(address, 1)[0]}
    stack.clients.elbv2.register_targets(TargetGroupArn=stack.out["green_target_group"], Targets=[target])
    stack.clients.elbv2.modify_listener(
        ListenerArn=stack.out["test_listener"],
        DefaultActions=[{"Type": "forward", "TargetGroupArn": stack.out["green_target_group"]}],
    )
    eventually(lambda: stack.health("green")[0]["State"] == "unhealthy")
    assert stack.get("test")[0] == 502
    eventually(lambda: sum_of(stack, "TargetConnectionErrorCount", **green) == 1)
    assert sum_of(stack, "RequestCount", **green) == 1 and total(stack, "TargetResponseTime", **green) == []
    assert sum_of(stack, "HTTPCode_Target_5XX_Count", **blue) == 3
    assert sum_of(stack, "HTTPCode_ELB_5XX_Count", LoadBalancer=blue["LoadBalancer"]) == 1
    assert total(stack, "HTTPCode_ELB_5XX_Count", **blue) == [], "cannot be split by target group"
    eventually(lambda: total(stack, "UnHealthyHostCount", "Maximum", **green)[-1:] and True)
    stack.clients.elbv2.deregister_targets(TargetGroupArn=stack.out["green_target_group"], Targets=[target])
