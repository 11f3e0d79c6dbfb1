"""The rule of a composite alarm: `ALARM("a") AND NOT (OK(b) OR FALSE)`, parsed and evaluated."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from ..errors import AwsError

_TOKEN = re.compile(
    r"\s*(?:(?P<state>ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*(?P<name>\"[^\"]+\"|'[^']+'|[^\s()\"']+)\s*\)"
    r"|(?P<word>AND\b|OR\b|NOT\b|TRUE\b|FALSE\b|\(|\)))"
)
_DEPTH = 20
Rule = Callable[[Mapping[str, str]], bool]


def parse(text: str) -> tuple[Rule, set[str]]:
    """What tells whether the rule holds, given every alarm's state, and the alarms it names (or their ARNs)."""
    tokens: list[tuple[str, str]] = []
    at = 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if not match:
            raise _malformed(text[at:].strip())
        tokens.append((match["state"] or match["word"], (match["name"] or "").strip("\"'")))
        at = match.end()
    parser = _Parser(list(tokens))
    rule = parser.either(_DEPTH)
    if parser.tokens:
        raise _malformed(parser.tokens[0][0])
    return rule, {name.rpartition(":alarm:")[2] for _, name in tokens if name}


class _Parser:
    """Recursive descent: OR binds loosest, NOT tightest."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self.tokens = tokens

    def _take(self, *words: str) -> bool:
        if self.tokens and self.tokens[0][0] in words:
            self.tokens.pop(0)
            return True
        return False

    def either(self, depth: int) -> Rule:
        parts = [self._both(depth)]
        while self._take("OR"):
            parts.append(self._both(depth))
        return lambda states: any(part(states) for part in parts)

    def _both(self, depth: int) -> Rule:
        parts = [self._one(depth)]
        while self._take("AND"):
            parts.append(self._one(depth))
        return lambda states: all(part(states) for part in parts)

    def _one(self, depth: int) -> Rule:
        if depth == 0 or not self.tokens:
            raise _malformed("end of the rule")
        if self._take("NOT"):
            inner = self._one(depth - 1)
            return lambda states: not inner(states)
        if self._take("("):
            inner = self.either(depth - 1)
            if not self._take(")"):
                raise _malformed("end of the rule")
            return inner
        word, name = self.tokens.pop(0)
        if word in ("TRUE", "FALSE"):
            return lambda states: word == "TRUE"
        if not name:
            raise _malformed(word)
        wanted = name.rpartition(":alarm:")[2]
        return lambda states: states.get(wanted) == word


def _malformed(at: str) -> AwsError:
    return AwsError("ValidationError", f"AlarmRule must not contain syntax errors, near {at[:50]!r}.")
