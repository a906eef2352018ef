"""Field tables (specification, section 4.2.5.5) with RabbitMQ's type tags.

A decoded table encodes to the octets it came from; of fields with the same name only the first is kept. Where
Python has a type of that meaning it is used, and where it has not, a thin subclass tells the tag:

    t  bool               I  int (32 bits)      f  Float            A  list
    b  SignedOctet        i  UnsignedLong       d  float            F  dict
    B  Octet              l  Longlong           D  Decimal          V  None
    s  Short              L  LonglongL          S  str, or ByteString where it is not UTF-8
    u  UnsignedShort      T  Timestamp          x  bytes

An int that does not fit into 32 bits is encoded with tag l. Depth and number of items are bounded, because a peer
that is not yet logged in may send tables.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar, TypeAlias

import cython

from protocol.amqp.errors import AMQPError, frame_error

DEPTH_MAX = 16
ITEM_COUNT_MAX = 65_536
# With what the broker adds to headers that were within the limit.
ITEM_COUNT_WITH_OWN_MAX = 16 * ITEM_COUNT_MAX

FieldValue: TypeAlias = Any
FieldTable: TypeAlias = Mapping[str, FieldValue]


class TaggedInt(int):
    """An integer of a width that a plain int would not keep."""

    tag: ClassVar[bytes]
    form: ClassVar[struct.Struct]


def _tagged(name: str, tag: bytes, form: str) -> type[TaggedInt]:
    return type(name, (TaggedInt,), {"tag": tag, "form": struct.Struct(form), "__doc__": f"Tag {tag.decode()}."})


SignedOctet = _tagged("SignedOctet", b"b", ">b")
Octet = _tagged("Octet", b"B", ">B")
Short = _tagged("Short", b"s", ">h")
UnsignedShort = _tagged("UnsignedShort", b"u", ">H")
UnsignedLong = _tagged("UnsignedLong", b"i", ">I")
Longlong = _tagged("Longlong", b"l", ">q")
LonglongL = _tagged("LonglongL", b"L", ">q")


class Timestamp(int):
    """Tag T: seconds since 1970, unsigned."""


class Float(float):
    """Tag f: a float of 32 bits."""


class ByteString(bytes):
    """Tag S with octets that are not UTF-8."""


_LONG = struct.Struct(">i")
_SIZE = struct.Struct(">I")
_LONGLONG = struct.Struct(">q")
_TIMESTAMP = struct.Struct(">Q")
_FLOAT = struct.Struct(">f")
_DOUBLE = struct.Struct(">d")
_DECIMAL = struct.Struct(">BI")
_INTEGERS: dict[int, type[TaggedInt]] = {
    kind.tag[0]: kind for kind in (SignedOctet, Octet, Short, UnsignedShort, UnsignedLong, Longlong, LonglongL)
}


class _Decoder:
    """Decodes one table; counts what it has made."""

    def __init__(self, data: bytes, item_count_max: int) -> None:
        self.data = data
        self.item_count_max = item_count_max
        self.items_left = item_count_max

    def table(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t, depth: cython.int) -> dict[str, FieldValue]:
        if depth > DEPTH_MAX:
            raise _malformed(f"tables nested deeper than {DEPTH_MAX}")
        table: dict[str, FieldValue] = {}
        while at < end:
            name_end = at + 1 + self.data[at]
            if name_end > end:
                raise _malformed("a field name ends outside of the table")
            name = self.data[at + 1 : name_end].decode("utf-8", "surrogateescape")
            value, at = self.value(name_end, end, depth)
            # RabbitMQ keeps fields of the same name all, and finds the first.
            table.setdefault(name, value)
        return table

    def array(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t, depth: cython.int) -> list[FieldValue]:
        if depth > DEPTH_MAX:
            raise _malformed(f"arrays nested deeper than {DEPTH_MAX}")
        array = []
        while at < end:
            item, at = self.value(at, end, depth)
            array.append(item)
        return array

    def value(self, at: cython.Py_ssize_t, end: cython.Py_ssize_t, depth: cython.int) -> tuple[FieldValue, int]:
        self.items_left -= 1
        if self.items_left < 0:
            raise _malformed(f"more than {self.item_count_max} fields")
        if at >= end:
            raise _malformed("a field has no value")
        tag = self.data[at]
        at += 1
        if tag in b"SxAF":
            content = self._fixed(_SIZE, at, end) + at + _SIZE.size
            at += _SIZE.size
            if content > end:
                raise _malformed("a field value ends outside of the table")
            return self._sized(tag, at, content, depth), content
        if tag in _INTEGERS:
            kind = _INTEGERS[tag]
            return kind(self._fixed(kind.form, at, end)), at + kind.form.size
        if tag == ord("I"):
            return self._fixed(_LONG, at, end), at + _LONG.size
        if tag == ord("t"):
            if at >= end:
                raise _malformed("a field has no value")
            return self.data[at] != 0, at + 1
        if tag == ord("V"):
            return None, at
        if tag == ord("T"):
            return Timestamp(self._fixed(_TIMESTAMP, at, end)), at + _TIMESTAMP.size
        if tag == ord("d"):
            return self._number(_DOUBLE, at, end), at + _DOUBLE.size
        if tag == ord("f"):
            return Float(self._number(_FLOAT, at, end)), at + _FLOAT.size
        if tag == ord("D"):
            if at + _DECIMAL.size > end:
                raise _malformed("a field value ends outside of the table")
            scale, unscaled = _DECIMAL.unpack_from(self.data, at)
            digits = tuple(int(digit) for digit in str(unscaled))
            return Decimal((0, digits, -scale)), at + _DECIMAL.size
        raise _malformed(f"unknown field type {bytes((tag,))!r}")

    def _sized(self, tag: cython.int, at: cython.Py_ssize_t, end: cython.Py_ssize_t, depth: cython.int) -> FieldValue:
        if tag == ord("F"):
            return self.table(at, end, depth + 1)
        if tag == ord("A"):
            return self.array(at, end, depth + 1)
        octets = self.data[at:end]
        if tag == ord("x"):
            return octets
        try:
            return octets.decode()
        except UnicodeDecodeError:
            return ByteString(octets)

    def _fixed(self, form: struct.Struct, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> Any:
        if at + form.size > end:
            raise _malformed("a field value ends outside of the table")
        return form.unpack_from(self.data, at)[0]

    def _number(self, form: struct.Struct, at: cython.Py_ssize_t, end: cython.Py_ssize_t) -> float:
        number: float = self._fixed(form, at, end)
        # Erlang's floats are all finite, so RabbitMQ takes no other ones.
        if not math.isfinite(number):
            raise _malformed(f"a float is no number: {number}")
        return number


def _malformed(detail: str) -> AMQPError:
    return frame_error(f"malformed field table: {detail}")


def decode_table(data: bytes, item_count_max: int = ITEM_COUNT_MAX) -> dict[str, FieldValue]:
    """Decode the octets of a table, without the size that stands before them on the wire.

    Raises ``ConnectionException`` (FRAME_ERROR) for anything that is not a table within the limits.
    """
    return _Decoder(data, item_count_max).table(0, len(data), 1)


def decode_value(raw: bytes) -> FieldValue:
    """Decode one field value of a header that was accepted: the octets of its type, and what follows.

    The limit leaves room for what the broker adds. Raises ``ConnectionException`` (FRAME_ERROR) for anything else.
    """
    value, end = _Decoder(raw, ITEM_COUNT_WITH_OWN_MAX).value(0, len(raw), 1)
    if end != len(raw):
        raise _malformed(f"{len(raw) - end} octets behind a field value")
    return value


def encode_value(value: FieldValue) -> bytes:
    """Encode one field value with its type; raises as ``encode_table`` does."""
    return _encode_value(value, 1)


def encode_table(table: FieldTable) -> bytes:
    """Encode a table, without the size that stands before it on the wire.

    Raises ``ValueError`` for a value that no tag can tell, and for tables nested deeper than ``DEPTH_MAX``.
    """
    return _encode_fields(table, 1)


def _encode_fields(table: FieldTable, depth: cython.int) -> bytes:
    if depth > DEPTH_MAX:
        raise ValueError(f"tables nested deeper than {DEPTH_MAX}")
    parts: list[bytes] = []
    for name, value in table.items():
        encoded = name.encode("utf-8", "surrogateescape")
        if len(encoded) > 255:
            raise ValueError(f"field name {name!r} has more than 255 octets")
        parts += (bytes((len(encoded),)), encoded, _encode_value(value, depth))
    return b"".join(parts)


def _with_size(tag: bytes, octets: bytes) -> bytes:
    return tag + _SIZE.pack(len(octets)) + octets


def _encode_value(value: FieldValue, depth: cython.int) -> bytes:
    if value is None:
        return b"V"
    if isinstance(value, bool):
        return b"t\x01" if value else b"t\x00"
    if isinstance(value, str):
        return _with_size(b"S", value.encode("utf-8", "surrogateescape"))
    if isinstance(value, TaggedInt):
        return value.tag + value.form.pack(value)
    if isinstance(value, Timestamp):
        return b"T" + _TIMESTAMP.pack(value)
    if isinstance(value, int):
        if -(1 << 31) <= value < 1 << 31:
            return b"I" + _LONG.pack(value)
        if -(1 << 63) <= value < 1 << 63:
            return b"l" + _LONGLONG.pack(value)
        raise ValueError(f"{value} does not fit into 64 bits")
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError(f"{value} is no number")
        return b"f" + _FLOAT.pack(value) if isinstance(value, Float) else b"d" + _DOUBLE.pack(value)
    if isinstance(value, Decimal):
        sign, digits, exponent = value.as_tuple()
        if sign or not isinstance(exponent, int) or exponent > 0:
            raise ValueError(f"{value} is no decimal of AMQP")
        return b"D" + _DECIMAL.pack(-exponent, int("".join(map(str, digits))))
    if isinstance(value, bytes):
        return _with_size(b"S", bytes(value)) if isinstance(value, ByteString) else _with_size(b"x", value)
    if isinstance(value, Mapping):
        return _with_size(b"F", _encode_fields(value, depth + 1))
    if isinstance(value, list | tuple):
        if depth >= DEPTH_MAX:
            raise ValueError(f"arrays nested deeper than {DEPTH_MAX}")
        return _with_size(b"A", b"".join(_encode_value(item, depth + 1) for item in value))
    raise ValueError(f"a field table cannot hold {value!r}")
