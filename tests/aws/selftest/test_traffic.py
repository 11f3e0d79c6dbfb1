"""Load balancing for real: health states as they change, and a data plane that speaks HTTP/1.1 as an ALB does."""

import http.client
import socket
import time

import pytest

from conftest import Stack, eventually
from emulated_aws.scenario.setup import free_ports, teardown


@pytest.fixture(scope="module")
def one(aws):
    stack = Stack(aws, count=1)
    yield stack
    teardown(stack.clients, stack.name)


def connect(stack, port="prod"):
    return http.client.HTTPConnection(stack.out["load_balancer_dns"], stack.out[f"{port}_port"], timeout=5)


def test_health_follows_the_service(new_stack, tmp_path):
    sick = tmp_path / "sick"
    stack = new_stack(environment={"NAME": "blue", "SICK_FILE": str(sick)}, count=1)
    assert stack.health() == [{"State": "healthy"}]
    sick.touch()
    unhealthy = eventually(lambda: [one for one in stack.health() if one["State"] == "unhealthy"])
    assert unhealthy == [{
        "State": "unhealthy", "Reason": "Target.ResponseCodeMismatch",
        "Description": "Health checks failed with these codes: [503]",
    }]  # fmt: skip
    assert stack.get() == (200, "blue"), "with no healthy target an ALB fails open"
    sick.unlink()
    eventually(lambda: stack.health() == [{"State": "healthy"}])


def test_killed_task_is_replaced_on_another_address(new_stack):
    stack = new_stack(count=1)
    group = stack.out["blue_target_group"]
    describe = lambda: stack.clients.elbv2.describe_target_health(TargetGroupArn=group)["TargetHealthDescriptions"]  # noqa: E731
    (before,) = describe()
    assert stack.aws.control(f"tasks/{before['Target']['Id']}/kill", "POST")[0] == 200
    after = eventually(lambda: [
        one for one in describe()
        if one["Target"]["Id"] != before["Target"]["Id"] and one["TargetHealth"]["State"] == "healthy"
    ])  # fmt: skip
    assert after and stack.aws.control("tasks/127.0.0.1/kill", "POST")[0] == 404


def test_targets_by_hand_have_every_state(aws, one):
    elbv2 = one.clients.elbv2
    green = one.out["green_target_group"]
    address = one.out["load_balancer_dns"]
    silent, closed = socket.socket(), free_ports(address, 1)[0]
    silent.bind((address, 0))
    silent.listen()  # accepts and says nothing
    targets = [{"Id": address, "Port": silent.getsockname()[1]}, {"Id": address, "Port": closed}]

    def states():
        found = elbv2.describe_target_health(TargetGroupArn=green)["TargetHealthDescriptions"]
        return {
            one["Target"]["Port"]: (one["TargetHealth"]["State"], one["TargetHealth"].get("Reason")) for one in found
        }

    elbv2.register_targets(TargetGroupArn=green, Targets=targets)
    unused = ("unused", "Target.NotInUse")
    assert states() == {targets[0]["Port"]: unused, closed: unused}, "two ports of one address are two targets"
    route = {"ListenerArn": one.out["test_listener"], "DefaultActions": [{"Type": "forward", "TargetGroupArn": green}]}
    elbv2.modify_listener(**route)
    try:
        assert {state for state, _ in states().values()} == {"initial"}
        eventually(lambda: states()[closed] == ("unhealthy", "Target.FailedHealthChecks"))
        eventually(lambda: states()[targets[0]["Port"]] == ("unhealthy", "Target.Timeout"))
        elbv2.deregister_targets(TargetGroupArn=green, Targets=targets[:1])
        elbv2.deregister_targets(TargetGroupArn=green, Targets=targets[1:])
        assert set(states().values()) <= {("draining", "Target.DeregistrationInProgress")}
        eventually(lambda: not states())
        assert one.get("test")[0] == 503
        asked = elbv2.describe_target_health(TargetGroupArn=green, Targets=targets[:1], Include=["All"])
        (shown,) = asked["TargetHealthDescriptions"]
        assert shown["TargetHealth"]["Reason"] == "Target.NotRegistered" and shown["AnomalyDetection"]
    finally:
        route["DefaultActions"][0]["TargetGroupArn"] = one.out["blue_target_group"]
        elbv2.modify_listener(**route)
        silent.close()


def test_dead_target_is_502(new_stack):
    stack = new_stack(count=1)
    group = stack.out["green_target_group"]
    port = free_ports(stack.out["load_balancer_dns"], 1)[0]
    stack.clients.elbv2.register_targets(
        TargetGroupArn=group, Targets=[{"Id": stack.out["load_balancer_dns"], "Port": port}]
    )
    actions = [{"Type": "forward", "TargetGroupArn": group}]
    stack.clients.elbv2.modify_listener(ListenerArn=stack.out["test_listener"], DefaultActions=actions)
    eventually(lambda: stack.health("green")[0]["State"] == "unhealthy")
    assert stack.get("test")[0] == 502
    stack.clients.elbv2.deregister_targets(
        TargetGroupArn=group, Targets=[{"Id": stack.out["load_balancer_dns"], "Port": port}]
    )


def test_fixed_response(one):
    config = {"StatusCode": "418", "ContentType": "text/plain", "MessageBody": "teapot"}
    elbv2, listener = one.clients.elbv2, one.out["test_listener"]
    elbv2.modify_listener(
        ListenerArn=listener, DefaultActions=[{"Type": "fixed-response", "FixedResponseConfig": config}]
    )
    assert one.get("test") == (418, "teapot")
    forward = [{"Type": "forward", "TargetGroupArn": one.out["blue_target_group"]}]
    elbv2.modify_listener(ListenerArn=listener, DefaultActions=forward)


def test_connection_is_kept_and_follows_the_listener(one):
    connection = connect(one)
    for _ in range(3):
        connection.request("GET", "/")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b"blue")
        first = connection.sock
    assert connection.sock is first, "one connection for every request"
    connection.request("HEAD", "/healthz")
    assert connection.getresponse().read() == b""


def test_bodies_arrive_whole_both_ways(one):
    body = bytes(range(256)) * 2000
    connection = connect(one)
    connection.request("POST", "/", body)
    assert connection.getresponse().read() == body
    connection.request("POST", "/", iter([body[:1000], body[1000:]]), encode_chunked=True)
    assert connection.getresponse().read() == body
    connection.request("POST", "/", b"x", headers={"Expect": "100-continue"})
    assert connection.getresponse().read() == b"x"


@pytest.mark.parametrize(
    "raw, status",
    [
        (b"GARBAGE\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", b"400"),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"400"),
        (b"GET / HTTP/1.0\r\n\r\n", b"200"),
    ],
)
def test_broken_requests_do_not_reach_a_target(one, raw, status):
    with socket.create_connection((one.out["load_balancer_dns"], one.out["prod_port"]), timeout=5) as client:
        client.sendall(raw)
        assert client.recv(100).split()[1] == status


def test_many_requests_at_once(one):
    from concurrent.futures import ThreadPoolExecutor

    begun = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: one.get()[0], range(300)))
    assert answers == [200] * 300 and time.monotonic() - begun < 10
