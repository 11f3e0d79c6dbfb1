"""Listener rules: refused as ELB refuses them, described as it describes them, and honoured request by request."""

import http.client

import pytest
from botocore.exceptions import ClientError

from conftest import Stack, eventually
from emulated_aws.scenario.setup import teardown


@pytest.fixture(scope="module")
def one(aws):
    stack = Stack(aws, count=1)
    yield stack
    teardown(stack.clients, stack.name)


@pytest.fixture
def rule(one):
    """Rules of the test listener, taken away at the end."""
    made = []

    def make(priority, conditions, **action):
        actions = [action or fixed(str(priority))]
        found = one.clients.elbv2.create_rule(
            ListenerArn=one.out["test_listener"], Priority=priority, Conditions=conditions, Actions=actions
        )["Rules"][0]  # fmt: skip
        made.append(found["RuleArn"])
        return found

    yield make
    for arn in made:
        one.clients.elbv2.delete_rule(RuleArn=arn)


def fixed(text):
    config = {"StatusCode": "200", "ContentType": "text/plain", "MessageBody": text}
    return {"Type": "fixed-response", "FixedResponseConfig": config}


def path(*values):
    return {"Field": "path-pattern", "PathPatternConfig": {"Values": list(values)}}


def ask(one, target="/", method="GET", **headers):
    """What comes back through the test listener."""
    connection = http.client.HTTPConnection(one.out["load_balancer_dns"], one.out["test_port"], timeout=5)
    connection.request(method, target, headers={key.replace("_", "-"): value for key, value in headers.items()})
    return connection.getresponse().read().decode()


def test_the_lowest_priority_number_wins_and_the_default_rule_is_last(one, rule):
    rule(20, [path("/api/*")])
    rule(10, [path("/api/v1/*")])
    assert ask(one, "/api/v1/x?y=1") == "10" and ask(one, "/api/x") == "20" and ask(one, "/other") == "blue"
    assert ask(one, "/API/x") == "blue", "paths are case-sensitive"


def test_every_condition_of_a_rule_must_be_met(one, rule):
    rule(1, [path("/a?"), {"Field": "host-header", "Values": ["*.example.com"]}])
    assert ask(one, "/ab", Host="WWW.Example.com:8080") == "1"
    assert ask(one, "/ab") == "blue" and ask(one, "/abc", Host="www.example.com") == "blue"


def test_headers_methods_queries_and_sources_are_matched(one, rule):
    header = {"HttpHeaderName": "X-Canary", "Values": ["yes", "on*"]}
    rule(1, [{"Field": "http-header", "HttpHeaderConfig": header}])
    rule(2, [{"Field": "http-request-method", "HttpRequestMethodConfig": {"Values": ["PUT"]}}])
    rule(3, [{"Field": "query-string", "QueryStringConfig": {"Values": [{"Key": "colour", "Value": "gr*"}]}}])
    rule(4, [{"Field": "source-ip", "SourceIpConfig": {"Values": ["127.0.0.0/8"]}}, path("/from-here")])
    rule(5, [{"Field": "source-ip", "SourceIpConfig": {"Values": ["10.0.0.0/8"]}}, path("/from-there")])
    assert ask(one, x_canary="ON fire") == "1" and ask(one, X_Canary="no") == "blue"
    assert ask(one, method="PUT") == "2" and ask(one, "/?colour=GREEN") == "3" and ask(one, "/?color=green") == "blue"
    assert ask(one, "/from-here") == "4" and ask(one, "/from-there") == "blue"


def test_a_rule_forwards_by_weight_and_its_groups_are_in_use(one, rule):
    blue, green = one.out["blue_target_group"], one.out["green_target_group"]
    weighted = [{"TargetGroupArn": blue, "Weight": 3}, {"TargetGroupArn": green, "Weight": 1}]
    address = {"Id": one.out["load_balancer_dns"], "Port": one.out["prod_port"]}  # the production listener as a target
    one.clients.elbv2.register_targets(TargetGroupArn=green, Targets=[address])
    made = rule(7, [path("/both")], Type="forward", ForwardConfig={"TargetGroups": weighted})
    config = made["Actions"][0]["ForwardConfig"]
    assert config["TargetGroups"] == weighted and config["TargetGroupStickinessConfig"] == {"Enabled": False}
    eventually(lambda: one.health("green") == [{"State": "healthy"}], what="a health check of the rule's group")
    with pytest.raises(ClientError, match="ResourceInUse"):
        one.clients.elbv2.delete_target_group(TargetGroupArn=green)
    only_green = {"Type": "forward", "TargetGroupArn": green}
    (changed,) = one.clients.elbv2.modify_rule(RuleArn=made["RuleArn"], Actions=[only_green])["Rules"]
    assert changed["Actions"][0]["TargetGroupArn"] == green and changed["Conditions"] == made["Conditions"]
    assert ask(one, "/both") == "blue"
    one.clients.elbv2.deregister_targets(TargetGroupArn=green, Targets=[address])
    (group,) = one.clients.elbv2.describe_target_groups(TargetGroupArns=[green])["TargetGroups"]
    assert len(group["LoadBalancerArns"]) == 1


def test_rules_are_described_by_listener_and_by_arn(one, rule):
    listener = one.out["test_listener"]
    made = [rule(9, [path("/nine")]), rule(8, [path("/eight")])]
    describe = one.clients.elbv2.describe_rules
    shown = describe(ListenerArn=listener)["Rules"]
    assert [(one["Priority"], one["IsDefault"]) for one in shown] == [("8", False), ("9", False), ("default", True)]
    assert shown[0]["Conditions"] == [
        {"Field": "path-pattern", "Values": ["/eight"], "PathPatternConfig": {"Values": ["/eight"]}}
    ]
    assert shown[2]["Actions"][0]["TargetGroupArn"] == one.out["blue_target_group"]
    by_arn = describe(RuleArns=[shown[2]["RuleArn"], made[0]["RuleArn"]])["Rules"]
    assert [one["Priority"] for one in by_arn] == ["default", "9"]
    page = describe(ListenerArn=listener, PageSize=2)
    assert len(page["Rules"]) == 2
    assert describe(ListenerArn=listener, Marker=page["NextMarker"])["Rules"] == shown[2:]
    one.clients.elbv2.set_rule_priorities(RulePriorities=[{"RuleArn": made[0]["RuleArn"], "Priority": 1}])
    assert [one["Priority"] for one in describe(ListenerArn=listener)["Rules"]] == ["1", "8", "default"]


def test_bad_rules_are_refused(one, rule):
    made = rule(5, [path("/five")])
    default = one.clients.elbv2.describe_rules(ListenerArn=one.out["test_listener"])["Rules"][-1]["RuleArn"]
    good = {
        "ListenerArn": one.out["test_listener"], "Priority": 6, "Conditions": [path("/six")], "Actions": [fixed("6")],
    }  # fmt: skip
    forward = {"Type": "forward", "ForwardConfig": {"TargetGroups": [
        {"TargetGroupArn": one.out["blue_target_group"], "Weight": 1000},
    ]}}  # fmt: skip
    sticky = {"Type": "forward", "ForwardConfig": {
        "TargetGroups": [{"TargetGroupArn": one.out["blue_target_group"]}],
        "TargetGroupStickinessConfig": {"Enabled": True, "DurationSeconds": 60},
    }}  # fmt: skip
    for operation, change, wanted in (
        ("create_rule", {"Priority": 5}, "PriorityInUse"),
        ("create_rule", {"Priority": 0}, "ValidationError"),
        ("create_rule", {"Priority": 50001}, "ValidationError"),
        ("create_rule", {"ListenerArn": "arn:x"}, "ListenerNotFound"),
        ("create_rule", {"Conditions": [{"Field": "moon"}]}, "ValidationError"),
        ("create_rule", {"Conditions": [path("/a"), path("/b")]}, "ValidationError"),
        ("create_rule", {"Conditions": [path(*"abcdef")]}, "ValidationError"),
        ("create_rule", {"Conditions": [path("*" * 7)]}, "ValidationError"),
        ("create_rule", {"Conditions": [{"Field": "http-header", "Values": ["x"]}]}, "ValidationError"),
        ("create_rule", {"Conditions": [{"Field": "path-pattern", "RegexValues": ["x"]}]}, "NotImplemented"),
        ("create_rule", {"Actions": [forward]}, "InvalidLoadBalancerAction"),
        ("create_rule", {"Actions": [sticky]}, "NotImplemented"),
        ("create_rule", {"Actions": [{"Type": "forward", "TargetGroupArn": "arn:x"}]}, "TargetGroupNotFound"),
        ("create_rule", {"Actions": [{"Type": "redirect", "RedirectConfig": {"StatusCode": "HTTP_301"}}]},
         "NotImplemented"),
        ("create_rule", {"Tags": [{"Key": "a", "Value": "b"}]}, "NotImplemented"),
        ("modify_rule", {"RuleArn": made["RuleArn"]}, "ValidationError"),
        ("modify_rule", {"RuleArn": "arn:x", "Actions": [fixed("x")]}, "RuleNotFound"),
        ("modify_rule", {"RuleArn": default, "Actions": [fixed("x")]}, "OperationNotPermitted"),
        ("delete_rule", {"RuleArn": default}, "OperationNotPermitted"),
        ("delete_rule", {"RuleArn": "arn:x"}, "RuleNotFound"),
        ("describe_rules", {"RuleArns": ["arn:x"]}, "RuleNotFound"),
        ("describe_rules", {}, "ValidationError"),
        ("set_rule_priorities", {"RulePriorities": [{"RuleArn": "arn:x", "Priority": 1}]}, "RuleNotFound"),
    ):  # fmt: skip
        params = good | change if operation == "create_rule" else change
        with pytest.raises(ClientError) as raised:
            getattr(one.aws.loose("elbv2"), operation)(**params)
        assert raised.value.response["Error"]["Code"] == wanted, (operation, change)
