"""Signature Version 4, verified for real: canonicalisation and key derivation are botocore's own."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from http.client import HTTPMessage

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from ..errors import AwsError

# "Requests must reach AWS within five minutes of the time stamp" (AWS General Reference, SigV4; 15 for some).
CLOCK_SKEW = datetime.timedelta(minutes=5)
UNSIGNED = "UNSIGNED-PAYLOAD"
# An access key has no dots here: codedeploy.amazonaws.com and the like are what we call ourselves.
_AUTHORIZATION = re.compile(
    r"^AWS4-HMAC-SHA256\s+Credential=([A-Za-z0-9_-]{1,128})/(\d{8})/([a-z0-9-]{1,32})/([a-z0-9.-]{1,64})/aws4_request\s*,"
    r"\s*SignedHeaders=([A-Za-z0-9;_-]{1,2000})\s*,\s*Signature=([0-9a-f]{64})$"
)


@dataclasses.dataclass(frozen=True)
class Scope:
    """Who called which service where, as the credential scope says."""

    access_key: str
    date: str
    region: str
    signing_name: str
    signed_headers: tuple[str, ...]
    signature: str


def parse(headers: Mapping[str, str]) -> Scope:
    """The credential scope of a request, or the error AWS gives for a missing or broken one."""
    value = headers.get("Authorization")
    if not value:
        raise AwsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    match = _AUTHORIZATION.match(value)
    if not match:
        raise AwsError("IncompleteSignature", "Authorization header is not a complete Signature Version 4", 400)
    signed = tuple(match[5].lower().split(";"))
    return Scope(match[1], match[2], match[3], match[4], signed, match[6])


def verify(
    scope: Scope, secret_keys: Iterable[str], method: str, url: str, headers: Mapping[str, str], body: bytes,
    now: datetime.datetime,
) -> None:  # fmt: skip
    """Raises unless the signature covers exactly this request and was made just now."""
    stamp = headers.get("X-Amz-Date", "")
    try:
        signed_at = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError:
        raise AwsError("IncompleteSignature", "X-Amz-Date is missing or is not YYYYMMDDTHHMMSSZ", 400) from None
    if stamp[:8] != scope.date:
        raise _mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP")
    if now - signed_at > CLOCK_SKEW:
        bounds = f"{now - CLOCK_SKEW:%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} - 5 min.)"
        raise _mismatch(f"Signature expired: {stamp} is now earlier than {bounds}")
    if signed_at - now > CLOCK_SKEW:
        bounds = f"{now + CLOCK_SKEW:%Y%m%dT%H%M%SZ} ({now:%Y%m%dT%H%M%SZ} + 5 min.)"
        raise _mismatch(f"Signature not yet current: {stamp} is still later than {bounds}")
    if "host" not in scope.signed_headers:
        raise _mismatch("'Host' must be a 'SignedHeader' in the AWS Authorization.")
    for required in ("x-amz-date", "x-amz-target"):
        if required in headers and required not in scope.signed_headers:
            raise _mismatch(f"'{required}' must be a 'SignedHeader' in the AWS Authorization.")

    # What the client claims about the body must be true before it can be trusted in the canonical request.
    claimed = headers.get("X-Amz-Content-SHA256")
    if claimed and claimed != UNSIGNED and claimed != hashlib.sha256(body).hexdigest():
        raise AwsError("XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' does not match the body")

    # Built only of the signed headers, so botocore signs exactly those.
    request = AWSRequest(method=method, url=url, data=body)
    for name in scope.signed_headers:
        if name not in headers:
            raise _mismatch(f"signed header {name} is not in the request")
        request.headers[name] = headers[name]
    if claimed:
        request.headers["X-Amz-Content-SHA256"] = claimed
    request.context["timestamp"] = stamp
    for secret_key in secret_keys:
        signer = _EverySignedHeader(Credentials(scope.access_key, secret_key), scope.signing_name, scope.region)
        signer.only = scope.signed_headers
        text = signer.string_to_sign(request, signer.canonical_request(request))
        if hmac.compare_digest(signer.signature(text, request), scope.signature):
            return
    raise _mismatch(
        "The request signature we calculated does not match the signature you provided. "
        "Check your AWS Secret Access Key and signing method."
    )


class _EverySignedHeader(SigV4Auth):
    """botocore leaves some headers out when signing; when verifying, the client's list decides."""

    only: tuple[str, ...] = ()

    def headers_to_sign(self, request):  # noqa: ANN001, ANN201 - the base class is untyped
        chosen = HTTPMessage()
        for name in self.only:
            chosen[name] = request.headers[name]
        return chosen


def _mismatch(message: str) -> AwsError:
    return AwsError("SignatureDoesNotMatch", message, 403)
