"""A hook for the self-test: a Lambda custom runtime that answers as HOOK_ANSWER says.

Succeeded, Failed: calls the API. silent: returns without calling. crash: exits. error: reports a function error.
Asked by a service deployment, what it returns is the answer: `later` says IN_PROGRESS twice before it succeeds, `never`
always; `fail at STAGE` fails there alone.
"""

import json
import os
import sys
import time

from speak import aws, runtime


def put(event, status):
    wanted = {name: event[name] for name in ("DeploymentId", "LifecycleEventHookExecutionId")}
    members = {name[0].lower() + name[1:]: value for name, value in wanted.items()} | {"status": status}
    operation = "CodeDeploy_20141006.PutLifecycleEventHookExecutionStatus"
    code, answer = aws("codedeploy", operation, json.dumps(members).encode())
    if code != 200:
        sys.exit(f"refused: {answer}")


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
        headers, body = runtime("GET", "invocation/next")
        event = json.loads(body)
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
        where = f"invocation/{headers['lambda-runtime-aws-request-id']}/{kind}"
        runtime("POST", where, json.dumps(result).encode())


if __name__ == "__main__":
    main()
