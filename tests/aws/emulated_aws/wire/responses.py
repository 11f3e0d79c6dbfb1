"""From a result or an error to the HTTP response of the protocol the request came in."""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import uuid
from typing import Any
from xml.sax.saxutils import escape

from botocore.model import OperationModel, Shape

from ..errors import AwsError
from . import cbor, models


@dataclasses.dataclass
class HttpResponse:
    """What goes back to the client."""

    status: int
    headers: dict[str, str]
    body: bytes


def result(service: str, model: OperationModel, protocol: str, value: dict[str, Any]) -> HttpResponse:
    """A success in the protocol's shape; a member the model does not know is our own bug and raises."""
    request_id = str(uuid.uuid4())
    shape = model.output_shape
    headers = {"x-amzn-RequestId": request_id}
    if shape is not None:
        _known(value, shape, model.name)
    if protocol == "smithy-rpc-v2-cbor":
        headers |= {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
        return HttpResponse(200, headers, cbor.encode(value))
    if protocol in ("query", "ec2"):
        headers["Content-Type"] = "text/xml"
        namespace = models.service(service).metadata.get("xmlNamespace", "")
        if isinstance(namespace, dict):
            namespace = namespace.get("uri", "")
        inner = "".join(_xml_members(value, shape, protocol)) if shape is not None else ""
        if protocol == "query":
            wrapper = (shape.serialization.get("resultWrapper") if shape is not None else None) or f"{model.name}Result"
            inner = (
                f"<{wrapper}>{inner}</{wrapper}>"
                f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
            )
        else:
            inner = f"<requestId>{request_id}</requestId>{inner}"
        text = f'<{model.name}Response xmlns="{namespace}">{inner}</{model.name}Response>'
        return HttpResponse(200, headers, text.encode())
    version = models.service(service).metadata.get("jsonVersion")
    headers["Content-Type"] = f"application/x-amz-json-{version}" if version else "application/json"
    status = model.http.get("responseCode", 200)
    body = json.dumps(value, default=_plain).encode() if shape is not None and shape.members else b""
    return HttpResponse(status, headers, body)


def error(service: str | None, protocol: str, failure: AwsError) -> HttpResponse:
    """An error every SDK can name, never HTML."""
    request_id = str(uuid.uuid4())
    headers = {"x-amzn-RequestId": request_id}
    fault = "Sender" if failure.status < 500 else "Receiver"
    if protocol in ("query", "ec2"):
        headers["Content-Type"] = "text/xml"
        if protocol == "ec2" and failure.code == "SignatureDoesNotMatch":
            failure = AwsError("AuthFailure", failure.message, 401)
        code, message = escape(failure.code), escape(failure.message)
        if protocol == "ec2":
            text = (
                f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
                f"<RequestID>{request_id}</RequestID></Response>"
            )
        else:
            text = (
                f"<ErrorResponse><Error><Type>{fault}</Type><Code>{code}</Code><Message>{message}</Message></Error>"
                f"<RequestId>{request_id}</RequestId></ErrorResponse>"
            )
        return HttpResponse(failure.status, headers, text.encode())
    code = _json_code(failure.code)
    compatible = service and "awsQueryCompatible" in models.service(service).metadata
    if compatible:
        # such services name an error twice: its shape in the body, and what the query protocol calls it in a header
        shape, queried = models.error_names(service, code)
        headers["x-amzn-query-error"] = f"{queried};{fault}"
        code = shape
    body = {"__type": code, "message": failure.message, **failure.details}
    if protocol == "smithy-rpc-v2-cbor":
        headers |= {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"}
        return HttpResponse(failure.status, headers, cbor.encode(body))
    headers["x-amzn-ErrorType"] = code
    if protocol == "rest-json":
        headers["Content-Type"] = "application/json"
        body = {"Type": "User" if failure.status < 500 else "Service", "Message": failure.message, **body}
        del body["__type"]
    else:
        version = models.service(service).metadata.get("jsonVersion", "1.1") if service else "1.1"
        headers["Content-Type"] = f"application/x-amz-json-{version}"
    return HttpResponse(failure.status, headers, json.dumps(body).encode())


def _json_code(code: str) -> str:
    """JSON services call the errors of authentication by other names than query services do."""
    return {
        "MissingAuthenticationToken": "MissingAuthenticationTokenException",
        "IncompleteSignature": "IncompleteSignatureException",
        "SignatureDoesNotMatch": "InvalidSignatureException",
        "InvalidClientTokenId": "UnrecognizedClientException",
        "ExpiredToken": "ExpiredTokenException",
    }.get(code, code)


def _known(value: Any, shape: Shape, where: str) -> None:
    if getattr(shape, "is_document_type", False):
        return  # any JSON
    if shape.type_name == "structure" and isinstance(value, dict):
        for key, inner in value.items():
            if key not in shape.members:
                raise TypeError(f"{where}: our response has {key}, the model has not")
            _known(inner, shape.members[key], f"{where}.{key}")
    elif shape.type_name == "list" and isinstance(value, list):
        for inner in value:
            _known(inner, shape.member, where)


def _plain(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.timestamp()
    if isinstance(value, (bytes, bytearray)):
        return base64.b64encode(value).decode()
    raise TypeError(f"cannot encode {type(value).__name__}")


def _xml_members(value: dict[str, Any], shape: Shape, protocol: str) -> list[str]:
    out = []
    for key, inner in value.items():
        if inner is not None:
            inner_shape = shape.members[key]
            out.append(_xml(inner_shape.serialization.get("name", key), inner, inner_shape, protocol))
    return out


def _xml(name: str, value: Any, shape: Shape, protocol: str) -> str:
    if shape.type_name == "structure":
        inner = "".join(_xml_members(value, shape, protocol))
    elif shape.type_name == "list":
        flat = shape.serialization.get("flattened")
        item = shape.member.serialization.get("name", "item" if protocol == "ec2" else "member")
        inner = "".join(_xml(name if flat else item, v, shape.member, protocol) for v in value)
        if flat:
            return inner
    elif shape.type_name == "map":
        inner = "".join(
            f"<entry>{_xml('key', k, shape.key, protocol)}{_xml('value', v, shape.value, protocol)}</entry>"
            for k, v in value.items()
        )
    elif isinstance(value, bool):
        inner = "true" if value else "false"
    elif isinstance(value, datetime.datetime):
        inner = value.astimezone(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
    elif isinstance(value, (bytes, bytearray)):
        inner = base64.b64encode(value).decode()
    else:
        inner = escape(str(value))
    return f"<{name}>{inner}</{name}>"
