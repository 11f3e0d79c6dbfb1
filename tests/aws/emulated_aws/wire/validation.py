"""Refuses what the service model does not allow: unknown or missing members, wrong types, values out of bounds."""

from __future__ import annotations

import re
from typing import Any

from botocore.model import OperationModel, Shape
from botocore.validate import ParamValidator

from ..errors import AwsError

_DEPTH = 32  # deeper than any model's input but bounded, as some shapes are recursive
_validator = ParamValidator()

# Services whose documentation names another error for a bad parameter than the usual ValidationException.
_CODES = {
    "ecs": "InvalidParameterException",
    "ec2": "InvalidParameterValue",
    "elbv2": "ValidationError",
    "iam": "ValidationError",
    "sts": "ValidationError",
    "sns": "InvalidParameter",
    "cloudwatch": "InvalidParameterValue",
    "lambda": "InvalidParameterValueException",
}
_MISSING = {"ec2": "MissingParameter", "cloudwatch": "MissingParameter"}
_UNKNOWN = {"ec2": "UnknownParameter"}
_MALFORMED = {"lambda": "InvalidRequestContentException", "cloudwatch": "InvalidParameterValue"}


def check(service: str, model: OperationModel, params: dict[str, Any]) -> None:
    """Raises the service's error for the first thing wrong with the parameters."""
    shape = model.input_shape
    if shape is None:
        if params:
            raise AwsError(_CODES.get(service, "ValidationException"), f"{model.name} takes no parameters")
        return
    if service == "codedeploy":
        _codedeploy_required(model, params)
    report = _validator.validate(params, shape)
    if report.has_errors():
        kind = report._errors[0][0]  # botocore keeps the kinds in a private list; its text is for humans only
        text = report.generate_report()
        if kind in ("invalid type", "invalid type for document"):
            raise AwsError(_MALFORMED.get(service, "SerializationException"), text)
        table = {"missing required field": _MISSING, "unknown field": _UNKNOWN}.get(kind, {})
        raise AwsError(table.get(service, _CODES.get(service, "ValidationException")), text)
    # CodeDeploy has an exception of its own for each bad value: its operations check those themselves.
    if service != "codedeploy":
        problem = _out_of_bounds(params, shape, "", _DEPTH)
        if problem:
            raise AwsError(_CODES.get(service, "ValidationException"), problem)


def _codedeploy_required(model: OperationModel, params: dict[str, Any]) -> None:
    declared = {error.name for error in model.error_shapes}
    for member in model.input_shape.required_members:
        if params.get(member) in (None, ""):
            stem = {
                "serviceRoleArn": "Role",
                "currentDeploymentGroupName": "DeploymentGroupName",
                "targetIds": "DeploymentTargetId",
                "targetId": "DeploymentTargetId",
                "deploymentIds": "DeploymentId",
            }.get(member, member[0].upper() + member[1:])
            if f"{stem}RequiredException" in declared:
                raise AwsError(f"{stem}RequiredException", f"The {member} was not specified.")


def _out_of_bounds(value: Any, shape: Shape, name: str, depth: int) -> str | None:
    """botocore checks minimums only; AWS also refuses what is too long, not in the enum or off the pattern."""
    if depth == 0 or value is None:
        return None
    kind = shape.type_name
    if kind == "structure":
        pairs = [(v, shape.members[k], f"{name}.{k}".lstrip(".")) for k, v in value.items() if k in shape.members]
    elif kind == "list":
        pairs = [(v, shape.member, f"{name}[{i}]") for i, v in enumerate(value)]
    elif kind == "map":
        pairs = [(v, shape.value, f"{name}.{k}") for k, v in value.items()]
    else:
        pairs = []
    allowed = getattr(shape, "enum", None)
    if allowed and value not in allowed:
        return (
            f"Value '{value}' at '{name}' failed to satisfy constraint: Member must satisfy enum value set: {allowed}"
        )
    most = shape.metadata.get("max")
    if most is not None:
        size = value if isinstance(value, (int, float)) else len(value) if hasattr(value, "__len__") else 0
        if size > most:
            return f"Value at '{name}' failed to satisfy constraint: Member must have length or value at most {most}"
    pattern = shape.metadata.get("pattern")
    if pattern and isinstance(value, str) and not _matches(pattern, value):
        return f"Value '{value[:100]}' at '{name}' failed to satisfy constraint: must match pattern {pattern}"
    for inner, inner_shape, inner_name in pairs:
        problem = _out_of_bounds(inner, inner_shape, inner_name, depth - 1)
        if problem:
            return problem
    return None


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(rf"\A(?:{pattern})\Z", value) is not None
    except re.error:
        return True  # models hold Java patterns; the few Python cannot read decide nothing
