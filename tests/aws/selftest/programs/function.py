"""A function for tests: tells its NAME and version; sleeps, fails, exits or hangs up as its event says.

By its environment it fails every FAIL_EVERY-th event, or all after FAIL_AFTER of them.
"""

import itertools
import json
import os
import socket
import sys
import time

from speak import RUNTIME, runtime


def hang_up(seconds):
    """Asks for an event and loses patience."""
    host, port = RUNTIME.split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(f"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        time.sleep(seconds)


def main():
    if os.environ.get("BROKEN"):
        sys.exit(9)
    if os.environ.get("INIT_ERROR"):
        runtime("POST", "init/error", b'{"errorType": "NoDatabase", "errorMessage": "on purpose"}')
        sys.exit(1)
    every, after = (int(os.environ.get(name, 0)) for name in ("FAIL_EVERY", "FAIL_AFTER"))
    for count in itertools.count(1):
        headers, body = runtime("GET", "invocation/next")
        event = json.loads(body)
        print("x" * event.get("chatter", 0), "event", event, flush=True)
        time.sleep(event.get("sleep", 0))
        if "exit" in event:
            sys.exit(event["exit"])
        told = {
            "name": os.environ.get("NAME"), "version": os.environ["AWS_LAMBDA_FUNCTION_VERSION"], "pid": os.getpid(),
            "arn": headers["lambda-runtime-invoked-function-arn"],
            "context": headers.get("lambda-runtime-client-context"),
            "left_ms": int(headers["lambda-runtime-deadline-ms"]) - time.time() * 1000,
        }  # fmt: skip
        failed = "fail" in event or (every and count % every == 0) or (after and count > after)
        told = {"errorType": "Oops", "errorMessage": event.get("fail", "on purpose")} if failed else told
        where = f"invocation/{headers['lambda-runtime-aws-request-id']}/{'error' if failed else 'response'}"
        runtime("POST", where, json.dumps(told).encode())
        if "hang_up" in event:
            hang_up(event["hang_up"])


if __name__ == "__main__":
    main()
