"""AssumeRole and GetCallerIdentity; the rest of STS is moto's."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from ..dispatch import Call, Dispatch
from ..errors import AwsError, not_emulated
from ..settings import ACCOUNT, Settings
from .sessions import Sessions

_ROLE = re.compile(r"arn:aws(?:-[a-z-]+)?:iam::(\d{12}):role/(?:[\w+=,.@/-]+/)?([\w+=,.@-]{1,64})")
_DEFAULT_SECONDS, _CHAINED_SECONDS = 3600, 3600


class Sts:
    """Handlers over the sessions."""

    def __init__(self, settings: Settings, dispatch: Dispatch, sessions: Sessions) -> None:
        self._settings = settings
        self._dispatch = dispatch
        self._sessions = sessions
        dispatch.register("sts", self)

    def routes(self) -> list[web.RouteDef]:
        """The control API's part about roles."""
        return [web.post("/_emulated/denied-roles", self._deny)]

    async def AssumeRole(self, call: Call) -> dict[str, Any]:
        params = call.params
        for member in ("SerialNumber", "TokenCode", "ProvidedContexts"):
            if member in params:
                raise not_emulated(f"AssumeRole with {member}")
        match = _ROLE.fullmatch(params["RoleArn"])
        if not match:
            raise AwsError("ValidationError", f"{params['RoleArn'][:200]} is invalid")
        seconds = params.get("DurationSeconds", _DEFAULT_SECONDS)
        if self._sessions.find(call.access_key, call.session_token) and seconds > _CHAINED_SECONDS:
            raise AwsError(
                "ValidationError",
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            )
        account, name = match[1], match[2]
        role_id = "AROA" + hashlib.sha256(params["RoleArn"].encode()).hexdigest()[:17].upper()
        if params["RoleArn"] in self._sessions.denied:
            raise self._refusal(call)
        if account == ACCOUNT:
            role_id = await self._permitted(call, name, seconds)
        session = self._sessions.open(account, name, role_id, params["RoleSessionName"], seconds)
        result = {
            "Credentials": {
                "AccessKeyId": session.label, "SecretAccessKey": self._settings.secret_key,
                "SessionToken": session.token, "Expiration": session.expires,
            },
            "AssumedRoleUser": {"AssumedRoleId": f"{role_id}:{session.name}", "Arn": session.arn},
        }  # fmt: skip
        if "SourceIdentity" in params:
            result["SourceIdentity"] = params["SourceIdentity"]
        return result

    async def _permitted(self, call: Call, name: str, seconds: int) -> str:
        """The id of a role of our own account, whose trust policy we can read."""
        try:
            found = await self._dispatch.ask("iam", "GetRole", {"RoleName": name}, call.region, "sts.amazonaws.com")
        except AwsError:
            raise self._refusal(call) from None  # a role that is not there is not told from one that may not be assumed
        role = found["Role"]
        if role["Arn"] != call.params["RoleArn"] or not _trusts(role, call.params.get("ExternalId")):
            raise self._refusal(call)
        if seconds > role.get("MaxSessionDuration", _DEFAULT_SECONDS):
            raise AwsError(
                "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        return role["RoleId"]

    def _refusal(self, call: Call) -> AwsError:
        who = self._sessions.arn(call.access_key, call.session_token)
        what = f"perform: sts:AssumeRole on resource: {call.params['RoleArn']}"
        return AwsError("AccessDenied", f"User: {who} is not authorized to {what}", 403)

    async def GetCallerIdentity(self, call: Call) -> dict[str, Any]:
        session = self._sessions.find(call.access_key, call.session_token)
        if session is None:
            return await self._dispatch.moto(call)
        return {"UserId": f"{session.role_id}:{session.name}", "Account": session.account, "Arn": session.arn}

    async def _deny(self, request: web.Request) -> web.Response:
        try:
            body = json.loads(await request.read())
            if set(body) != {"roles"} or not all(isinstance(one, str) for one in body["roles"]):
                raise ValueError('{"roles": [ARN, ...]} is wanted')
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self._sessions.denied = set(body["roles"])
        return web.json_response({"roles": sorted(self._sessions.denied)})


def _trusts(role: dict[str, Any], external_id: str | None) -> bool:
    """Whether the trust policy lets some account assume the role; of conditions, the external id alone is looked at."""
    document = json.loads(unquote(role["AssumeRolePolicyDocument"]))
    statements = document.get("Statement", [])
    for one in statements if isinstance(statements, list) else [statements]:
        principal = one.get("Principal", {})
        if one.get("Effect") != "Allow" or not (principal == "*" or "AWS" in principal):
            continue
        wanted = one.get("Condition", {}).get("StringEquals", {}).get("sts:ExternalId")
        if wanted is None or external_id in ([wanted] if isinstance(wanted, str) else wanted):
            return True
    return False
