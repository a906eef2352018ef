"""The properties of basic content (specification, section 4.2.6.1)."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from protocol.amqp.errors import syntax_error
from protocol.amqp.field_table import ITEM_COUNT_WITH_OWN_MAX, Timestamp, decode_table, encode_table

_HEAD = struct.Struct(">HHQH")
_LONG = struct.Struct(">I")
_LONGLONG = struct.Struct(">Q")
_BASIC_CLASS_ID = 60
_KINDS = {"headers": "table", "delivery_mode": "octet", "priority": "octet", "timestamp": "timestamp"}


@dataclass(slots=True)
class BasicProperties:
    """The fourteen properties, None where the content has none."""

    content_type: str | None = None
    content_encoding: str | None = None
    headers: Mapping[str, Any] | None = None
    delivery_mode: int | None = None
    priority: int | None = None
    correlation_id: str | None = None
    reply_to: str | None = None
    expiration: str | None = None
    message_id: str | None = None
    timestamp: int | None = None
    type: str | None = None
    user_id: str | None = None
    app_id: str | None = None
    cluster_id: str | None = None


NAMES = tuple(field.name for field in fields(BasicProperties))


def decode_properties(header: bytes) -> BasicProperties:
    """Return the properties in a content header payload.

    Raises ``ConnectionException`` (SYNTAX_ERROR or FRAME_ERROR) where they do not fill it exactly.
    """
    properties = BasicProperties()
    try:
        flags = _HEAD.unpack_from(header)[3]
        at = _HEAD.size
        for index, name in enumerate(NAMES):
            if flags >> (15 - index) & 1:
                value, at = _decode(_KINDS.get(name, "shortstr"), header, at)
                setattr(properties, name, value)
    except (struct.error, IndexError):
        raise syntax_error("malformed content header", 60, 40) from None
    if at != len(header):
        raise syntax_error("malformed content header", 60, 40)
    return properties


def _decode(kind: str, header: bytes, at: int) -> tuple[Any, int]:
    if kind == "octet":
        return header[at], at + 1
    if kind == "timestamp":
        return Timestamp(_LONGLONG.unpack_from(header, at)[0]), at + _LONGLONG.size
    if kind == "table":
        start = at + _LONG.size
        end = start + _LONG.unpack_from(header, at)[0]
        if end > len(header):
            raise IndexError
        return decode_table(header[start:end], ITEM_COUNT_WITH_OWN_MAX), end
    end = at + 1 + header[at]
    if end > len(header):
        raise IndexError
    return header[at + 1 : end].decode("utf-8", "surrogateescape"), end


def encode_properties(properties: BasicProperties, body_size: int) -> bytes:
    """Return the content header payload for a body of ``body_size`` octets.

    Raises ``ValueError`` for a value that does not fit its property.
    """
    flags = 0
    parts = [b""]
    for index, name in enumerate(NAMES):
        value = getattr(properties, name)
        if value is None:
            continue
        flags |= 1 << (15 - index)
        kind = _KINDS.get(name, "shortstr")
        if kind == "octet":
            parts.append(bytes((value,)))
        elif kind == "timestamp":
            parts.append(_LONGLONG.pack(value))
        elif kind == "table":
            table = encode_table(value)
            parts += (_LONG.pack(len(table)), table)
        else:
            octets = value.encode("utf-8", "surrogateescape")
            parts += (bytes((len(octets),)), octets)
    parts[0] = _HEAD.pack(_BASIC_CLASS_ID, 0, body_size, flags)
    return b"".join(parts)
