"""A function for the self-test that writes each of its events to EVENTS, a line each, and answers nobody."""

import os
import urllib.request

API = f"http://{os.environ['AWS_LAMBDA_RUNTIME_API']}/2018-06-01/runtime/invocation"

while True:
    with urllib.request.urlopen(f"{API}/next") as got:
        request_id = got.headers["Lambda-Runtime-Aws-Request-Id"]
        event = got.read()
    with open(os.environ["EVENTS"], "ab") as events:
        events.write(event + b"\n")
    urllib.request.urlopen(urllib.request.Request(f"{API}/{request_id}/response", b"null", method="POST")).read()
