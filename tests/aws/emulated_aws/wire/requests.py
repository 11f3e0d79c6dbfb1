"""From an HTTP request to (service, operation, parameters), whatever protocol it came in."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import datetime
import gzip
import json
import urllib.parse
import zlib
from collections.abc import Mapping
from typing import Any

from botocore.model import OperationModel, Shape

from ..errors import AwsError
from . import cbor, models, query

_MAX_CLOUDWATCH_BODY = 1024 * 1024  # "Each PutMetricData request is limited to 1 MB", as it was sent
MAX_BODY = 64 * 1024 * 1024  # a function's zip may be 50 MB, in base64


@dataclasses.dataclass(frozen=True)
class HttpRequest:
    """The parts of an HTTP request that matter, exactly as they were sent."""

    method: str
    target: str  # path and query, undecoded: the signature covers it so
    headers: Mapping[str, str]
    body: bytes


@dataclasses.dataclass(frozen=True)
class Decoded:
    """A request understood, but not validated yet."""

    operation: str
    model: OperationModel
    params: dict[str, Any]
    protocol: str


def protocol_of(service: str, request: HttpRequest) -> str:
    """Which of its service's protocols a request came in; it decides the shape of errors, too."""
    if request.headers.get("smithy-protocol") == "rpc-v2-cbor" or request.target.startswith("/service/"):
        return "smithy-rpc-v2-cbor"
    if "X-Amz-Target" in request.headers:
        return "json"
    own = models.service(service).metadata["protocols"]
    return next((p for p in own if p in ("query", "ec2", "rest-json")), "json")


def operation_name(service: str, request: HttpRequest, protocol: str) -> str:
    """The operation's name before its parameters are looked at, so that a fault can precede validation."""
    if protocol == "json":
        prefix, _, name = request.headers.get("X-Amz-Target", "").rpartition(".")
        if prefix != models.target_prefix(service):
            raise AwsError("UnknownOperationException", "X-Amz-Target does not name an operation of this service")
        return name
    if protocol == "smithy-rpc-v2-cbor":
        parts = request.target.split("?")[0].split("/")
        if len(parts) != 5 or parts[1] != "service" or parts[3] != "operation" or request.method != "POST":
            raise AwsError("UnknownOperationException", "not a Smithy RPC path", 404)
        if parts[2] != models.target_prefix(service):
            raise AwsError("UnknownOperationException", f"{parts[2]} is not the service that signed", 404)
        return parts[4]
    if protocol in ("query", "ec2"):
        form = query.parse_form(request.target, _body(request))
        version = models.service(service).metadata["apiVersion"]
        if form.get("Version", version) != version:
            raise AwsError("InvalidAction", f"version {form['Version']} of this service is not served, {version} is")
        return form.get("Action", "")
    return _route(service, request)[0].name


def _route(service: str, request: HttpRequest) -> tuple[OperationModel, dict[str, str], dict[str, list[str]]]:
    path, _, text = request.target.partition("?")
    given = urllib.parse.parse_qs(text, keep_blank_values=True)
    for method, pattern, fixed, found in models.rest_routes(service):
        match = pattern.match(path) if method == request.method else None
        if match and all(given.get(k, [""])[0] == v if v else k in given for k, v in fixed.items()):
            names = {k: urllib.parse.unquote(v) for k, v in match.groupdict().items()}
            return found, names, {k: v for k, v in given.items() if k not in fixed}
    raise AwsError("UnknownOperationException", f"no operation at {request.method} {path[:200]}", 404)


def decode(service: str, request: HttpRequest) -> Decoded:
    """The request's operation and parameters; raises for what cannot be read at all."""
    protocol = protocol_of(service, request)
    if service == "cloudwatch" and len(request.body) > _MAX_CLOUDWATCH_BODY:
        raise AwsError("RequestEntityTooLarge", f"at most {_MAX_CLOUDWATCH_BODY} bytes", 413)
    name = operation_name(service, request, protocol)
    model = models.operation(service, name)
    if model is None:
        code = "InvalidAction" if protocol in ("query", "ec2") else "UnknownOperationException"
        raise AwsError(code, f"The action {name[:100]} is not valid for this web service.")
    if protocol in ("query", "ec2"):
        params = query.decode(service, query.parse_form(request.target, _body(request)), model, protocol)
    elif protocol == "smithy-rpc-v2-cbor":
        try:
            params = cbor.decode(_body(request))
        except ValueError as error:
            raise AwsError("SerializationException", str(error)) from None
    elif protocol == "json":
        expected = f"application/x-amz-json-{models.service(service).metadata['jsonVersion']}"
        if request.headers.get("Content-Type", "").split(";")[0] != expected:
            raise AwsError("UnknownOperationException", f"Content-Type must be {expected}", 404)
        params = _from_json(_body(request), model.input_shape)
    else:
        params = _rest(service, request)
    if not isinstance(params, dict):
        raise AwsError("SerializationException", "Start of structure or map found where not expected.")
    return Decoded(name, model, params, protocol)


def _body(request: HttpRequest) -> bytes:
    if request.headers.get("Content-Encoding", "") != "gzip":
        return request.body
    try:
        plain = zlib.decompressobj(wbits=31).decompress(request.body, MAX_BODY)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise AwsError("SerializationException", f"body is not gzip: {error}") from None
    return plain


def _from_json(body: bytes, shape: Shape | None) -> Any:
    try:
        value = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        raise AwsError("SerializationException", "body is not JSON") from None
    return _typed(value, shape)


def _typed(value: Any, shape: Shape | None) -> Any:
    """JSON has no nulls, bytes or times for AWS: drop the first, decode the others by the model."""
    if shape is None or value is None:
        return value
    if shape.type_name == "structure" and isinstance(value, dict):
        return {k: _typed(v, shape.members.get(k)) for k, v in value.items() if v is not None and k != "__type"}
    if shape.type_name == "list" and isinstance(value, list):
        return [_typed(v, shape.member) for v in value]
    if shape.type_name == "map" and isinstance(value, dict):
        return {k: _typed(v, shape.value) for k, v in value.items() if v is not None}
    if shape.type_name == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except binascii.Error:
            raise AwsError("SerializationException", "blob is not base64") from None
    if shape.type_name == "timestamp" and isinstance(value, (int, float)):
        try:
            return datetime.datetime.fromtimestamp(value, datetime.UTC)
        except (ValueError, OverflowError, OSError):
            raise AwsError("SerializationException", "timestamp out of range") from None
    return value


def _rest(service: str, request: HttpRequest) -> dict[str, Any]:
    model, names, given = _route(service, request)
    shape = model.input_shape
    params: dict[str, Any] = {}
    if shape is None:
        return params
    payload = shape.serialization.get("payload")
    body_members = []
    for member, inner in shape.members.items():
        where, key = inner.serialization.get("location"), inner.serialization.get("name", member)
        if where == "uri" and key in names:
            params[member] = _scalar(names[key], inner)
        elif where == "querystring" and key in given:
            values = given.pop(key)
            params[member] = values if inner.type_name == "list" else _scalar(values[0], inner)
        elif where == "header" and key in request.headers:
            params[member] = _scalar(request.headers[key], inner)
        elif where is None:
            body_members.append((member, key))
    if given:
        raise AwsError("ValidationException", f"unknown query parameters: {', '.join(sorted(given))[:200]}")
    if payload:
        inner = shape.members[payload]
        if request.body:
            params[payload] = request.body if inner.type_name == "blob" else _from_json(_body(request), inner)
    elif body_members and request.body:
        params |= _from_json(_body(request), shape)
    elif request.body.strip() not in (b"", b"{}"):
        raise AwsError("InvalidRequestContentException", f"{model.name} takes no body")
    return params


def _scalar(text: str, shape: Shape) -> Any:
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name == "boolean":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        raise AwsError("SerializationException", f"{text[:50]!r} is not a {shape.type_name}") from None
    return text
