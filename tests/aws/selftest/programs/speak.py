"""HTTP by hand over a socket, for programs that start often: importing a client takes longer than all the rest."""

import datetime
import hashlib
import hmac
import os
import socket

RUNTIME = os.environ.get("AWS_LAMBDA_RUNTIME_API", "")


def call(method, path, body=b"", host=RUNTIME, fields=None):
    """(status, headers by lower-case name, body)."""
    address, port = host.split(":")
    fields = {"Host": host, "Connection": "close", "Content-Length": len(body), **(fields or {})}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    with socket.create_connection((address, int(port))) as connection:
        connection.sendall(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    told = (line.partition(": ") for line in lines)
    return int(first.split()[1]), {name.lower(): value for name, _, value in told}, body


def runtime(method, path, body=b""):
    """The same of the Runtime API, without the status."""
    return call(method, f"/2018-06-01/runtime/{path}", body)[1:]


def aws(service, target, body):
    """(status, body) of one operation of a JSON service, signed as the Signature Version 4 guide says."""
    host, region = os.environ["AWS_ENDPOINT_URL"].removeprefix("http://"), os.environ["AWS_REGION"]
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    fields = {"content-type": "application/x-amz-json-1.1", "host": host, "x-amz-date": now, "x-amz-target": target}
    names = ";".join(fields)
    listed = "".join(f"{name}:{value}\n" for name, value in fields.items())
    request = f"POST\n/\n\n{listed}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    key = f"AWS4{os.environ['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    text = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    signature = hmac.digest(key, text.encode(), "sha256").hex()
    who = f"Credential={os.environ['AWS_ACCESS_KEY_ID']}/{scope}, SignedHeaders={names}, Signature={signature}"
    del fields["host"]
    status, _, answer = call("POST", "/", body, host, {**fields, "Authorization": f"AWS4-HMAC-SHA256 {who}"})
    return status, answer
