"""The query and ec2 protocols: form fields to nested parameters, refusing every field the model does not know."""

from __future__ import annotations

import urllib.parse
from typing import Any

from botocore.model import OperationModel, Shape

from ..errors import AwsError

_MAX_FIELDS = 10_000
_UNKNOWN = {"ec2": "UnknownParameter"}


def parse_form(target: str, body: bytes) -> dict[str, str]:
    """The fields of body and query string; a field given twice is an error, as nothing says which counts."""
    text = target.partition("?")[2]
    if body:
        try:
            text = f"{text}&{body.decode()}" if text else body.decode()
        except UnicodeDecodeError:
            raise AwsError("MalformedQueryString", "body is not UTF-8") from None
    try:
        pairs = urllib.parse.parse_qsl(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise AwsError("MalformedQueryString", str(error)) from None
    form = dict(pairs)
    if len(form) != len(pairs):
        raise AwsError("MalformedQueryString", "a parameter is given twice")
    return form


def decode(service: str, form: dict[str, str], model: OperationModel, protocol: str) -> dict[str, Any]:
    """Parameters by the operation's input shape; every field must be consumed."""
    fields = {k: v for k, v in form.items() if k not in ("Action", "Version")}
    reader = _Reader(fields, protocol == "ec2")
    params = reader.structure(model.input_shape, "") if model.input_shape else {}
    left = sorted(set(fields) - reader.used)
    if left:
        raise AwsError(_UNKNOWN.get(service, "ValidationError"), f"The parameter {left[0][:100]} is not recognized")
    return params or {}


class _Reader:
    def __init__(self, fields: dict[str, str], ec2: bool) -> None:
        self.fields = fields
        self.ec2 = ec2
        self.used: set[str] = set()
        # every dotted prefix that has fields, so that looking for an absent member costs nothing
        self.prefixes = {k[:i] for k in fields for i in range(len(k)) if k[i] == "."} | set(fields)

    def name(self, member: str, shape: Shape) -> str:
        if self.ec2:
            found = shape.serialization.get("queryName")
            if found:
                return found
            located = shape.serialization.get("name", member)
            return located[0].upper() + located[1:]
        return shape.serialization.get("name", member)

    def value(self, shape: Shape, key: str) -> Any:
        if key not in self.prefixes:
            return None
        if shape.type_name == "structure":
            return self.structure(shape, key)
        if shape.type_name == "list":
            return self.list(shape, key)
        if shape.type_name == "map":
            return self.map(shape, key)
        if key not in self.fields:
            return None
        self.used.add(key)
        return _scalar(self.fields[key], shape, key)

    def structure(self, shape: Shape, prefix: str) -> dict[str, Any] | None:
        found = {}
        for member, inner in shape.members.items():
            name = self.name(member, inner)
            if not self.ec2 and inner.type_name == "list" and inner.serialization.get("flattened"):
                name = inner.member.serialization.get("name", name)
            value = self.value(inner, f"{prefix}.{name}" if prefix else name)
            if value is not None:
                found[member] = value
        return found

    def list(self, shape: Shape, key: str) -> list[Any] | None:
        if key in self.fields and self.fields[key] == "":
            self.used.add(key)  # how an empty list is sent
            return []
        flat = self.ec2 or shape.serialization.get("flattened")
        base = key if flat else f"{key}.{shape.member.serialization.get('name', 'member')}"
        if not flat and base not in self.prefixes and f"{key}.member" in self.prefixes:
            base = f"{key}.member"  # accepted by AWS besides the model's own name
        items = []
        while (value := self.value(shape.member, f"{base}.{len(items) + 1}")) is not None:
            items.append(value)
        return items or None

    def map(self, shape: Shape, key: str) -> dict[str, Any] | None:
        flat = shape.serialization.get("flattened")
        base = key if flat else f"{key}.entry"
        k_name = shape.key.serialization.get("name", "key")
        v_name = shape.value.serialization.get("name", "value")
        found = {}
        while (name := self.value(shape.key, f"{base}.{len(found) + 1}.{k_name}")) is not None:
            found[name] = self.value(shape.value, f"{base}.{len(found) + 1}.{v_name}")
        return found or None


def _scalar(text: str, shape: Shape, key: str) -> Any:
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name in ("float", "double"):
            return float(text)
        if shape.type_name == "boolean":
            return {"true": True, "false": False}[text.lower()]
    except (ValueError, KeyError):
        raise AwsError("MalformedInput", f"{key}: {text[:50]!r} is not a {shape.type_name}") from None
    return text
