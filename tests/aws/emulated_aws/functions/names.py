"""How requests name a function: by name, partial or whole ARN, each with or without a qualifier."""

from __future__ import annotations

import dataclasses
import re

from ..errors import AwsError
from ..settings import ACCOUNT

LATEST = "$LATEST"
_REFERENCE = re.compile(
    r"(?:arn:aws:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:|(?P<partial>\d{12}):function:)?"
    r"(?P<name>[A-Za-z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[A-Za-z0-9_-]{1,128}))?"
)


@dataclasses.dataclass(frozen=True)
class Reference:
    """One function, and which of its versions or aliases when that was said."""

    name: str
    qualifier: str | None


def arn(region: str, name: str, qualifier: str | None = None) -> str:
    """A function's ARN."""
    return f"arn:aws:lambda:{region}:{ACCOUNT}:function:{name}" + (f":{qualifier}" if qualifier else "")


def not_found(region: str, name: str, qualifier: str | None = None) -> AwsError:
    """What Lambda says of functions and versions that do not exist."""
    return AwsError("ResourceNotFoundException", f"Function not found: {arn(region, name, qualifier)}", 404)


def parse(text: str, region: str, qualifier: str | None = None) -> Reference:
    """The function meant, `qualifier` being the request's own; raises the API's errors."""
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise AwsError("InvalidParameterValueException", f"{text[:150]} does not name a function")
    account = match["account"] or match["partial"]
    if match["region"] not in (None, region) or account not in (None, ACCOUNT):
        raise not_found(region, match["name"], match["qualifier"])
    if match["qualifier"] and qualifier and match["qualifier"] != qualifier:
        raise AwsError(
            "InvalidParameterValueException",
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    return Reference(match["name"], match["qualifier"] or qualifier)
