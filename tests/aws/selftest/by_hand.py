"""Requests made by hand: signed, but saying what no SDK would let them say."""

import json
import urllib.error
import urllib.request

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

PREFIX = "CodeDeploy_20141006"


def send(url, headers, body, method="POST"):
    """(status, headers, body), whatever the status."""
    request = urllib.request.Request(url, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read()


def signed(
    aws, body=b"{}", target=f"{PREFIX}.ListApplications", service="codedeploy", secret="emulated", path="/",
    access_key="tester", **extra,
):  # fmt: skip
    """What `send` takes, for a JSON service."""
    headers = {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": target, **extra}
    request = AWSRequest("POST", aws.url + path, headers=headers, data=body)
    SigV4Auth(Credentials(access_key, secret), service, "us-east-1").add_auth(request)
    return aws.url + path, dict(request.headers), body


def code(body):
    """The error's name in a JSON body."""
    return json.loads(body)["__type"]


def json_code(aws, operation, params, target=PREFIX, service="codedeploy"):
    """The error's name for one JSON call, the empty string for none."""
    status, _, body = send(*signed(aws, json.dumps(params).encode(), f"{target}.{operation}", service))
    return "" if status == 200 else code(body)
