"""HTTP/1.1 messages as a proxy must read them: heads with limits, bodies by their framing."""

from __future__ import annotations

import asyncio
import dataclasses

MAX_HEAD = 64 * 1024  # ALB: request line and headers together
_PIECE = 64 * 1024
_HOP_BY_HOP = {b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade", b"expect"}


class BadMessage(Exception):
    """Not HTTP/1.1 as RFC 9112 has it."""


@dataclasses.dataclass
class Head:
    """A start line and the headers as sent, names in lower case."""

    start: tuple[bytes, bytes, bytes]
    headers: list[tuple[bytes, bytes]]

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a header, lists taken apart."""
        found = [value for key, value in self.headers if key == name]
        return [part.strip() for value in found for part in value.split(b",") if part.strip()]

    def forwardable(self) -> list[tuple[bytes, bytes]]:
        """Without what concerns one connection only."""
        named = {token.lower() for token in self.values(b"connection")}
        return [(k, v) for k, v in self.headers if k not in _HOP_BY_HOP and k not in named]

    def keeps_alive(self, version: bytes) -> bool:
        """Whether the connection may carry another message after this one."""
        tokens = {token.lower() for token in self.values(b"connection")}
        return b"close" not in tokens if version == b"HTTP/1.1" else b"keep-alive" in tokens

    def length(self) -> int | None:
        """The body's length: a number, -1 for chunked, None when the head does not say."""
        coding = [token.lower() for token in self.values(b"transfer-encoding")]
        lengths = set(self.values(b"content-length"))
        if coding:
            # both at once is how requests are smuggled
            if coding != [b"chunked"] or lengths:
                raise BadMessage("unusable transfer-encoding")
            return -1
        if not lengths:
            return None
        text = lengths.pop()
        if lengths or not text.isdigit():
            raise BadMessage("unusable content-length")
        return int(text)


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """The next head, or None when the peer closed in between messages."""
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial.strip():
            return None
        raise BadMessage("closed within a head") from None
    except asyncio.LimitOverrunError:
        raise BadMessage("head too large") from None
    lines = raw[:-4].lstrip(b"\r\n").split(b"\r\n")
    start = lines[0].split(b" ", 2)
    if len(start) < 2:
        raise BadMessage("no start line")
    headers = []
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip():
            raise BadMessage("broken header")
        headers.append((name.lower(), value.strip()))
    return Head((start[0], start[1], start[2] if len(start) > 2 else b""), headers)


async def relay_body(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, length: int | None, plain: bool = False
) -> None:
    """Copies one body; None copies until the end of the stream, `plain` takes chunks apart (for HTTP/1.0 clients)."""
    if length == -1:
        await _relay_chunks(reader, writer, plain)
        return
    left = length
    while left is None or left > 0:
        piece = await reader.read(_PIECE if left is None else min(_PIECE, left))
        if not piece:
            if left is None:
                return
            raise BadMessage("body ends early")
        writer.write(piece)
        await writer.drain()
        left = None if left is None else left - len(piece)


async def _relay_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, plain: bool) -> None:
    while True:
        line = await reader.readline()
        try:
            size = int(line.split(b";")[0].strip() or b"x", 16)
        except ValueError:
            raise BadMessage("broken chunk") from None
        if not plain:
            writer.write(line)
        if size == 0:
            break
        await relay_body(reader, writer, size)
        end = await reader.readexactly(2)
        if not plain:
            writer.write(end)
    while (line := await reader.readline()) not in (b"\r\n", b"\n", b""):  # trailers
        if not plain:
            writer.write(line)
    if not plain:
        writer.write(b"\r\n")
    await writer.drain()
