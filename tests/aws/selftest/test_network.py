"""Network load balancers and instance targets: connections that arrive where the group says, or are refused."""

import contextlib
import http.server
import socket
import socketserver
import threading
import uuid

import pytest
from botocore.exceptions import ClientError

from conftest import eventually
from emulated_aws.scenario.setup import free_ports


class Greeter(socketserver.BaseRequestHandler):
    """Says its name, then everything it hears in upper case, until the end."""

    def handle(self):
        with contextlib.suppress(OSError):  # health checks hang up at once
            self.request.sendall(self.server.name)
            while data := self.request.recv(4096):
                self.request.sendall(data.upper())
            self.request.sendall(b"!")


class Web(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.server.name
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@contextlib.contextmanager
def serving(name, handler=Greeter):
    """A server on loopback; gives its port."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads, server.name = True, name
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


class Network:
    """A load balancer made by hand, and what it takes to reach it."""

    def __init__(self, aws, kind="network"):
        self.elbv2 = aws.clients().elbv2
        self.name, ec2 = f"n{uuid.uuid4().hex[:8]}", aws.clients().ec2
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=self.vpc, CidrBlock=f"10.0.{n}.0/24", AvailabilityZone=f"us-east-1{zone}")
            for n, zone in enumerate("ab")
        ]
        made = self.elbv2.create_load_balancer(
            Name=self.name, Type=kind, Subnets=[one["Subnet"]["SubnetId"] for one in subnets]
        )["LoadBalancers"][0]
        self.arn, self.address, self.type = made["LoadBalancerArn"], made["DNSName"], made["Type"]
        self.groups = []

    def group(self, protocol="TCP", kind="ip", **extra):
        made = self.elbv2.create_target_group(
            Name=f"{self.name}-{len(self.groups)}", Protocol=protocol, Port=80, VpcId=self.vpc, TargetType=kind,
            **{
                "HealthCheckIntervalSeconds": 5, "HealthCheckTimeoutSeconds": 2, "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 2,
            } | extra,
        )["TargetGroups"][0]  # fmt: skip
        self.groups.append(made["TargetGroupArn"])
        return made

    def register(self, group, *targets):
        self.elbv2.register_targets(
            TargetGroupArn=group["TargetGroupArn"], Targets=[{"Id": name, "Port": port} for name, port in targets]
        )

    def listen(self, *groups, protocol="TCP", port=None):
        """A listener that forwards to (group, weight) pairs; its port."""
        port = port or free_ports(self.address, 1)[0]
        tuples = [{"TargetGroupArn": group["TargetGroupArn"], "Weight": weight} for group, weight in groups]
        self.elbv2.create_listener(
            LoadBalancerArn=self.arn, Protocol=protocol, Port=port,
            DefaultActions=[{"Type": "forward", "ForwardConfig": {"TargetGroups": tuples}}],
        )  # fmt: skip
        return port

    def health(self, group):
        found = self.elbv2.describe_target_health(TargetGroupArn=group["TargetGroupArn"])
        return {one["Target"]["Port"]: one["TargetHealth"] for one in found["TargetHealthDescriptions"]}

    def healthy(self, group):
        eventually(lambda: {one["State"] for one in self.health(group).values()} == {"healthy"})

    def greeting(self, port):
        with socket.create_connection((self.address, port), timeout=5) as client:
            return client.recv(100)

    def close(self):
        self.elbv2.delete_load_balancer(LoadBalancerArn=self.arn)
        for group in self.groups:
            self.elbv2.delete_target_group(TargetGroupArn=group)


@pytest.fixture
def network(aws):
    made = []

    def make(kind="network"):
        made.append(Network(aws, kind))
        return made[-1]

    yield make
    for one in made:
        one.close()


def code(call, **params):
    with pytest.raises(ClientError) as raised:
        call(**params)
    return raised.value.response["Error"]["Code"]


def test_connections_are_forwarded_both_ways_until_each_side_ends(aws, network):
    nlb = network()
    group = nlb.group()
    assert nlb.type == "network" and ":loadbalancer/net/" in nlb.arn
    assert (group["Protocol"], group["HealthCheckProtocol"]) == ("TCP", "TCP")
    with serving(b"one") as port:
        nlb.register(group, ("127.0.0.1", port))
        listening = nlb.listen((group, 1))
        (listed,) = nlb.elbv2.describe_listeners(LoadBalancerArn=nlb.arn)["Listeners"]
        assert listed["Protocol"] == "TCP" and ":listener/net/" in listed["ListenerArn"]
        (balancer,) = nlb.elbv2.describe_load_balancers(LoadBalancerArns=[nlb.arn])["LoadBalancers"]
        assert balancer["LoadBalancerArn"] == listed["LoadBalancerArn"] == nlb.arn
        (described,) = nlb.elbv2.describe_target_groups(LoadBalancerArn=nlb.arn)["TargetGroups"]
        assert described["LoadBalancerArns"] == [nlb.arn]
        nlb.healthy(group)
        with socket.create_connection((nlb.address, listening), timeout=5) as client:
            assert client.recv(3) == b"one"
            client.sendall(b"abc")
            assert client.recv(3) == b"ABC"
            client.shutdown(socket.SHUT_WR)
            assert client.recv(3) == b"!" and client.recv(1) == b""
        counted = lambda: aws.clients().cloudwatch.list_metrics(  # noqa: E731
            Namespace="AWS/NetworkELB", MetricName="HealthyHostCount",
            Dimensions=[{"Name": "LoadBalancer", "Value": nlb.arn.partition("loadbalancer/")[2]}],
        )["Metrics"]  # fmt: skip
        eventually(counted)


def test_connections_go_to_healthy_targets_only(network):
    nlb = network()
    group = nlb.group()
    with serving(b"one") as one, serving(b"two") as two, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))  # and does not listen: nobody else can have the port
        dead = silent.getsockname()[1]
        nlb.register(group, ("127.0.0.1", one), ("127.0.0.1", two), ("127.0.0.1", dead))
        listening = nlb.listen((group, 1))
        eventually(lambda: nlb.health(group)[dead]["State"] == "unhealthy")
        assert nlb.health(group)[dead]["Reason"] == "Target.FailedHealthChecks"
        eventually(lambda: [nlb.health(group)[port]["State"] for port in (one, two)] == ["healthy"] * 2)
        assert {nlb.greeting(listening) for _ in range(6)} == {b"one", b"two"}
    eventually(lambda: {state["State"] for state in nlb.health(group).values()} == {"unhealthy"})
    with pytest.raises(ConnectionResetError):
        nlb.greeting(listening)


def test_a_listener_without_targets_resets(network):
    nlb = network()
    listening = nlb.listen((nlb.group(), 1))
    with pytest.raises(ConnectionResetError):
        nlb.greeting(listening)


def test_weights_divide_connections(network):
    nlb = network()
    blue, green = nlb.group(), nlb.group()
    with serving(b"blue") as one, serving(b"green") as two:
        nlb.register(blue, ("127.0.0.1", one))
        nlb.register(green, ("127.0.0.1", two))
        listening = nlb.listen((blue, 3), (green, 1))
        nlb.healthy(blue)
        nlb.healthy(green)
        got = [nlb.greeting(listening) for _ in range(8)]
        assert (got.count(b"blue"), got.count(b"green")) == (6, 2)


def test_health_checks_may_be_http(network):
    nlb = network()
    group = nlb.group(HealthCheckProtocol="HTTP", HealthCheckPath="/healthz")
    with serving(b"web", Web) as web, serving(b"tcp") as tcp:
        nlb.register(group, ("127.0.0.1", web), ("127.0.0.1", tcp))
        nlb.listen((group, 1))
        eventually(lambda: nlb.health(group)[web]["State"] == "healthy")
        eventually(lambda: nlb.health(group)[tcp]["State"] == "unhealthy")


def test_instances_are_reached_where_a_test_puts_them(aws, network):
    alb = network("application")
    group = alb.group("HTTP", "instance", HealthCheckPath="/healthz")
    assert group["TargetType"] == "instance"
    image = "ami-12c6146b"
    (instance,) = aws.clients().ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"]
    made_up = f"i-{uuid.uuid4().hex[:17]}"
    register = {"TargetGroupArn": group["TargetGroupArn"], "Targets": [{"Id": made_up}]}
    assert code(aws.loose("elbv2").register_targets, **register) == "InvalidTarget"
    with serving(b"here", Web) as port:
        assert aws.control("instances", "POST", {made_up: "127.0.0.1"})[0] == 200
        alb.register(group, (made_up, port), (instance["InstanceId"], port))
        listening = alb.listen((group, 1), protocol="HTTP")
        states = lambda: {  # noqa: E731
            one["Target"]["Id"]: one["TargetHealth"]["State"]
            for one in alb.elbv2.describe_target_health(TargetGroupArn=group["TargetGroupArn"])[
                "TargetHealthDescriptions"
            ]
        }
        eventually(lambda: states() == {made_up: "healthy", instance["InstanceId"]: "unhealthy"})
        import urllib.request

        assert urllib.request.urlopen(f"http://{alb.address}:{listening}/", timeout=5).read() == b"here"
        assert aws.control("instances", "POST", {instance["InstanceId"]: "127.0.0.1"})[0] == 200
        eventually(lambda: set(states().values()) == {"healthy"})
    for bad in ({"x": "127.0.0.1"}, {made_up: "8.8.8.8"}, [], {made_up: 7}):
        assert aws.control("instances", "POST", bad)[0] == 400


def test_what_does_not_go_together_is_refused(aws, network):
    nlb, alb, loose = network(), network("application"), aws.loose("elbv2")
    tcp, web = nlb.group(), alb.group("HTTP")

    def listener(balancer, group, protocol, **action):
        forward = {"Type": "forward", "TargetGroupArn": group["TargetGroupArn"]}
        params = {"LoadBalancerArn": balancer.arn, "Port": 1024, "DefaultActions": [action or forward]}
        return code(loose.create_listener, **params | ({"Protocol": protocol} if protocol else {}))

    fixed = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "200"}}
    assert listener(nlb, tcp, "HTTP") == "ValidationError"
    assert listener(alb, web, "TCP") == "ValidationError"
    assert listener(nlb, tcp, None) == "ValidationError"
    assert listener(nlb, tcp, "UDP") == "NotImplemented"
    assert listener(alb, web, "HTTPS") == "NotImplemented"
    assert listener(nlb, web, "TCP") == "InvalidConfigurationRequest"
    assert listener(alb, tcp, "HTTP") == "InvalidConfigurationRequest"
    assert listener(nlb, tcp, "TCP", **fixed) == "InvalidLoadBalancerAction"
    nlb.listen((tcp, 1))
    alb.listen((web, 1), protocol="HTTP")
    (at_nlb,), (at_alb,) = (
        loose.describe_listeners(LoadBalancerArn=balancer.arn)["Listeners"] for balancer in (nlb, alb)
    )  # fmt: skip
    (default,) = loose.describe_rules(ListenerArn=at_nlb["ListenerArn"])["Rules"]
    assert default["IsDefault"] and default["Actions"][0]["TargetGroupArn"] == tcp["TargetGroupArn"]
    forward = [{"Type": "forward", "TargetGroupArn": tcp["TargetGroupArn"]}]
    rule = {"Priority": 1, "Conditions": [{"Field": "path-pattern", "Values": ["/*"]}], "Actions": forward}
    assert code(loose.create_rule, ListenerArn=at_nlb["ListenerArn"], **rule) == "ValidationError"
    rule["ListenerArn"] = at_alb["ListenerArn"]
    assert code(loose.create_rule, **rule) == "InvalidConfigurationRequest"
    (made,) = loose.create_rule(**rule | {"Actions": [fixed]})["Rules"]
    assert code(loose.modify_rule, RuleArn=made["RuleArn"], Actions=forward) == "InvalidConfigurationRequest"
    group = {"Name": "x", "Protocol": "TCP", "Port": 80, "VpcId": nlb.vpc, "TargetType": "ip"}
    for change, wanted in (
        ({"Protocol": "UDP"}, "NotImplemented"),
        ({"Protocol": "HTTPS"}, "NotImplemented"),
        ({"TargetType": "lambda"}, "NotImplemented"),
        ({"ProtocolVersion": "HTTP1"}, "ValidationError"),
        ({"Protocol": "HTTP", "ProtocolVersion": "GRPC"}, "NotImplemented"),
        ({"Protocol": "HTTP", "ProtocolVersion": "HTTP2"}, "NotImplemented"),
        ({"Protocol": "HTTP", "HealthCheckProtocol": "TCP"}, "ValidationError"),
        ({"HealthCheckPath": "/"}, "ValidationError"),
        ({"VpcId": None}, "ValidationError"),
        ({"Port": None}, "ValidationError"),
    ):
        params = {key: value for key, value in (group | change).items() if value is not None}
        assert code(loose.create_target_group, **params) == wanted, change
    subnet = aws.clients().ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    assert code(loose.create_load_balancer, Name="x", Type="gateway", Subnets=[subnet]) == "NotImplemented"
