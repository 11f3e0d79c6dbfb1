"""The control API: faults in front of any operation, and everything that can be seen."""

import time

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, HTTPClientError


@pytest.fixture
def fault(aws):
    """Adds a fault and takes it away at the end."""
    added = []

    def add(**spec):
        status, body = aws.control("faults", "POST", spec)
        assert status == 200, body
        added.append(body["id"])
        return body["id"]

    yield add
    for one in added:
        aws.control(f"faults/{one}", "DELETE")


def calls(client, times):
    """The errors of so many calls, None for success."""
    seen = []
    for _ in range(times):
        try:
            client.list_applications()
            seen.append(None)
        except ClientError as error:
            seen.append(error.response["Error"]["Code"])
    return seen


def test_fault_strikes_after_some_and_for_a_count(aws, fault):
    fault(service="codedeploy", operation="ListApplications", error="ThrottlingException", status=400, after=1, count=2)
    throttled = "ThrottlingException"
    assert calls(aws.loose("codedeploy"), 5) == [None, throttled, throttled, None, None]


def test_fault_counts_each_operation_by_itself(aws, fault):
    fault(service="*", operation="*", access_key="each", error="ThrottlingException", count=1, each=True)
    throttled = "ThrottlingException"
    assert calls(aws.loose("codedeploy", "each"), 2) == [throttled, None]
    with pytest.raises(ClientError, match=throttled):
        aws.loose("codepipeline", "each").list_pipelines()
    aws.loose("codepipeline", "each").list_pipelines()


def test_fault_is_for_one_access_key(aws, fault):
    fault(service="*", operation="*", access_key="victim", error="AccessDeniedException", status=403)
    assert calls(aws.loose("codedeploy", "victim"), 1) == ["AccessDeniedException"]
    assert calls(aws.loose("codedeploy", "other"), 1) == [None]
    with pytest.raises(ClientError, match="AccessDeniedException"):
        aws.loose("elbv2", "victim").describe_load_balancers()


def test_fault_until_deleted(aws, fault):
    made = fault(service="codedeploy", operation="*", error="InternalFailure", status=500)
    assert calls(aws.loose("codedeploy"), 3) == ["InternalFailure"] * 3
    assert aws.control(f"faults/{made}", "DELETE") == (200, {"removed": 1})
    assert calls(aws.loose("codedeploy"), 1) == [None]
    assert aws.control(f"faults/{made}", "DELETE")[0] == 404


def test_fault_for_one_deployment(aws, fault):
    fault(service="codedeploy", operation="GetDeployment", deployment_id="d-AAAAAAAAA", error="ThrottlingException")
    for wanted, code in (("d-AAAAAAAAA", "ThrottlingException"), ("d-BBBBBBBBB", "DeploymentDoesNotExistException")):
        with pytest.raises(ClientError, match=code):
            aws.loose("codedeploy").get_deployment(deploymentId=wanted)


def test_delay_and_drop(aws, fault):
    fault(service="codedeploy", operation="ListApplications", delay_seconds=0.5, count=1)
    begun = time.monotonic()
    assert calls(aws.loose("codedeploy"), 1) == [None] and time.monotonic() - begun >= 0.5
    fault(service="codedeploy", operation="ListApplications", drop=True, count=1)
    with pytest.raises((ConnectionClosedError, HTTPClientError)):
        aws.loose("codedeploy").list_applications()


@pytest.mark.parametrize(
    "spec", [[], {}, {"eror": "x"}, {"error": 7}, {"error": "x", "status": 200}, {"error": "x", "count": 0},
             {"delay_seconds": 1e9}, {"drop": "yes"}, {"error": "x", "count": True}],
)  # fmt: skip
def test_broken_faults_are_refused(aws, spec):
    assert aws.control("faults", "POST", spec)[0] == 400


def test_requests_are_recorded_with_their_errors(aws):
    client = aws.loose("codedeploy", "recorded")
    client.list_applications()
    with pytest.raises(ClientError):
        client.get_deployment(deploymentId="x")
    _, found = aws.control("requests?service=codedeploy&access_key=recorded")
    assert [(one["operation"], one["status"], one["error"]) for one in found["requests"]] == [
        ("ListApplications", 200, None), ("GetDeployment", 400, "InvalidDeploymentIdException"),
    ]  # fmt: skip
    assert found["lost"] >= 0


def test_health_and_unknown_paths(aws):
    assert aws.control("health")[1]["status"] == "ok"
    assert aws.control("nothing")[0] == 404
    assert aws.control("requests?color=blue")[0] == 400
    assert aws.control("deployments/d-000000000")[0] == 404
    assert aws.control("deployments?application=nobody")[1] == {"deployments": []}


def test_browsers_are_kept_out(aws):
    import urllib.error
    import urllib.request

    request = urllib.request.Request(
        f"{aws.url}/_emulated/faults", headers={"Origin": "http://evil.example"}, method="DELETE"
    )
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=5)
