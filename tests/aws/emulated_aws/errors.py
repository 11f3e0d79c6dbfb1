"""The one error every layer raises: a name and a status an AWS client understands."""

from __future__ import annotations


class AwsError(Exception):
    """An error as AWS would answer it; the wire layer gives it the shape of the protocol."""

    def __init__(self, code: str, message: str, status: int = 400, details: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.details = details or {}  # what the error's shape has besides a message, such as a throttle's Reason


def not_emulated(what: str) -> AwsError:
    """AWS has it and we do not: said loudly, so that nobody takes silence for success."""
    return AwsError("NotImplemented", f"the emulated AWS does not do this: {what}", 501)
