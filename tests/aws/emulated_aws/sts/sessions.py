"""Sessions of assumed roles: their credentials, and who a request's credentials say is calling."""

from __future__ import annotations

import dataclasses
import datetime
import re
import secrets

from ..errors import AwsError
from ..settings import ACCOUNT

_MAX_SESSIONS = 10_000


@dataclasses.dataclass(frozen=True)
class Session:
    """One AssumeRole's outcome."""

    account: str
    role: str  # name, without its path
    role_id: str
    name: str
    token: str
    expires: datetime.datetime

    @property
    def label(self) -> str:
        """The access key: by it the request log and faults tell which role asked."""
        return f"ASIA{self.account}_{re.sub('[^A-Za-z0-9_]', '_', self.role)}"

    @property
    def arn(self) -> str:
        return f"arn:aws:sts::{self.account}:assumed-role/{self.role}/{self.name}"


class Sessions:
    """Open sessions by token."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._labels: set[str] = set()
        self.denied: set[str] = set()  # ARNs of roles nobody may assume, as a test says

    def open(self, account: str, role: str, role_id: str, name: str, seconds: int) -> Session:
        """A new session, which lives so many real seconds."""
        expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=seconds)
        session = Session(account, role, role_id, name, f"session-token-{secrets.token_hex(32)}", expires)
        if len(self._sessions) >= _MAX_SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        self._sessions[session.token] = session
        self._labels.add(session.label)
        return session

    def check(self, access_key: str, token: str) -> None:
        """Refuses an assumed role's access key without its own token; other keys need none."""
        if access_key not in self._labels:
            return
        session = self._sessions.get(token)
        if session is None or session.label != access_key:
            raise AwsError("InvalidClientTokenId", "The security token included in the request is invalid.", 403)
        if session.expires <= datetime.datetime.now(datetime.UTC):
            raise AwsError("ExpiredToken", "The security token included in the request is expired", 403)

    def find(self, access_key: str, token: str) -> Session | None:
        """The session that makes a call, None when a user makes it."""
        session = self._sessions.get(token)
        return session if session and session.label == access_key else None

    def arn(self, access_key: str, token: str) -> str:
        """Who makes a call; users are named like their access keys."""
        session = self.find(access_key, token)
        return session.arn if session else f"arn:aws:iam::{ACCOUNT}:user/{access_key}"
