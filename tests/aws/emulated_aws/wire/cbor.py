"""CBOR as the Smithy RPC v2 protocol uses it: botocore's decoder, and an encoder of plain values."""

from __future__ import annotations

import datetime
import struct
from typing import Any

from botocore.parsers import RpcV2CBORParser

_parser = RpcV2CBORParser()


def decode(body: bytes) -> Any:
    """The decoded data item; raises ValueError for anything malformed."""
    if not body:
        return {}
    try:
        return _parser.parse_data_item(_parser.get_peekable_stream_from_bytes(body))
    except Exception as error:  # botocore raises several kinds for one fact: not CBOR
        raise ValueError(f"malformed CBOR: {error}") from error


def encode(value: Any) -> bytes:
    """One data item for a value made of dicts, lists, strings, bytes, numbers, times and None."""
    out = bytearray()
    _encode(value, out)
    return bytes(out)


def _head(major: int, number: int, out: bytearray) -> None:
    if number < 24:
        out.append(major << 5 | number)
        return
    for extra, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * width:
            out.append(major << 5 | extra)
            out += number.to_bytes(width, "big")
            return
    raise ValueError("integer too large for CBOR")


def _encode(value: Any, out: bytearray) -> None:
    if value is None:
        out.append(0xF6)
    elif isinstance(value, bool):
        out.append(0xF5 if value else 0xF4)
    elif isinstance(value, int):
        _head(0, value, out) if value >= 0 else _head(1, -1 - value, out)
    elif isinstance(value, float):
        out += b"\xfb" + struct.pack(">d", value)
    elif isinstance(value, str):
        data = value.encode()
        _head(3, len(data), out)
        out += data
    elif isinstance(value, (bytes, bytearray)):
        _head(2, len(value), out)
        out += value
    elif isinstance(value, datetime.datetime):
        _head(6, 1, out)  # tag 1: epoch seconds
        _encode(value.timestamp(), out)
    elif isinstance(value, (list, tuple)):
        _head(4, len(value), out)
        for item in value:
            _encode(item, out)
    elif isinstance(value, dict):
        _head(5, len(value), out)
        for key, item in value.items():
            _encode(key, out)
            _encode(item, out)
    else:
        raise TypeError(f"cannot encode {type(value).__name__} as CBOR")
