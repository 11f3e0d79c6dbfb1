"""A hook for the self-test: a Lambda custom runtime that answers as HOOK_ANSWER says.

Succeeded, Failed: calls the API. silent: returns without calling. crash: exits. error: reports a function error.
Asked by a service deployment, what it returns is the answer: `later` says IN_PROGRESS twice before it succeeds, `never`
always; `fail at STAGE` fails there alone.
"""

import json
import os
import sys
import time
import urllib.request

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"


def put(event, status):
    # imported late: a crashing hook should crash at once
    import botocore.session

    client = botocore.session.Session().create_client("codedeploy", region_name=os.environ["AWS_REGION"])
    client.put_lifecycle_event_hook_execution_status(
        deploymentId=event["DeploymentId"],
        lifecycleEventHookExecutionId=event["LifecycleEventHookExecutionId"],
        status=status,
    )


def verdict(event, answer):
    """What ECS wants to be returned."""
    count = event["hookDetails"].get("count", 0) + 1
    if answer == "never" or (answer == "later" and count < 3):
        return {"hookStatus": "IN_PROGRESS", "callBackDelay": 3, "hookDetails": {"count": count}}
    if answer.startswith("fail at "):
        return {"hookStatus": "FAILED" if answer[8:] == event["lifecycleStage"] else "SUCCEEDED"}
    return {"hookStatus": {"later": "SUCCEEDED", "silent": "PERHAPS"}.get(answer, answer.upper())}


def main():
    while True:
        with urllib.request.urlopen(f"{API}/next") as got:
            request_id = got.headers["Lambda-Runtime-Aws-Request-Id"]
            event = json.loads(got.read())
        answer = os.environ.get("HOOK_ANSWER", "Succeeded")
        print("event", event, flush=True)
        result, kind = {"answered": answer, "env": sorted(os.environ), "event": event}, "response"
        if "lifecycleStage" in event:
            result = verdict(event, answer)
        if answer == "crash":
            sys.exit(7)
        if answer == "sleep":
            time.sleep(600)
        if answer == "error":
            result, kind = {"errorType": "Oops", "errorMessage": "on purpose"}, "error"
        if answer in ("Succeeded", "Failed") and "DeploymentId" in event:
            put(event, answer)
        request = urllib.request.Request(f"{API}/{request_id}/{kind}", json.dumps(result).encode(), method="POST")
        urllib.request.urlopen(request).read()


if __name__ == "__main__":
    main()
